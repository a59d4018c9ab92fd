"""Optimal transport between the dictionaries of two views, weighted by energy."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._quiet import quiet
from skxsae.metrics._codes import check_width, unit_rows
from skxsae.metrics._dictionary import check_dictionary, is_present
from skxsae.metrics._modality import check_energies

MAX_ITER = 10_000_000
_STEPS_USED_UP = 3  # POT's result code; others are of a programme without a solution


@dataclass(frozen=True, eq=False, repr=False)
class TransportPlan:
    """How the energy of one view is moved onto the directions of the other.

    Parameters
    ----------
    plan : csr_array of shape (n_latents_x, n_latents_y)
        Share of the energy that goes from each latent of x to each of y. Its sum is 1.

    cost : float
        Cost of the plan, the mean cosine distance that energy is moved, in [0, 2].

    left_out_x : float
        Share of the energy of x that is of latents which were left out, see
        `n_strongest` of :func:`transport_plan`.

    left_out_y : float
        The same share of y.

    See Also
    --------
    transport_plan : Finds the plan.

    Examples
    --------
    >>> from skxsae.metrics import transport_plan
    >>> transport_plan([[1.0, 0.0], [0.0, 1.0]], None, [1.0, 1.0], [1.0, 3.0])
    TransportPlan(n_pairs=3, cost=0.25, cost_bound=0)
    """

    plan: sparse.csr_array
    cost: float
    left_out_x: float
    left_out_y: float

    def __repr__(self):
        """Sizes, not arrays."""
        return (
            f"TransportPlan(n_pairs={self.plan.nnz}, cost={self.cost:.4g}, "
            f"cost_bound={self.cost_bound:.4g})"
        )

    @property
    def cost_bound(self):
        """Most that `cost` differs from that of all latents: 0 if none was left out."""
        bound = 2.0 * (self.left_out_x + self.left_out_y)
        # no cost is outside of [0, 2]
        return min(bound, max(self.cost, 2.0 - self.cost))


@validate_params(
    {
        "x_components": ["array-like"],
        "y_components": ["array-like", None],
        "x_energy": ["array-like"],
        "y_energy": ["array-like"],
        "n_strongest": [Interval(Integral, 1, None, closed="left"), None],
        "max_latents": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def transport_plan(
    x_components,
    y_components,
    x_energy,
    y_energy,
    *,
    n_strongest=None,
    max_latents=4096,
    max_iter=MAX_ITER,
):
    """Find the cheapest way to move the energy of one view onto that of the other.

    Energies are divided by their sum, and moving a share costs one minus the cosine of
    the two directions. The linear programme is solved exactly, by the network simplex
    of POT [2]_. The plan is the weight of the bridge matrix B_Gamma of [1]_, whose
    whole mass is one minus the cost.

    Parameters
    ----------
    x_components : array-like of shape (n_latents_x, n_features)
        Directions of the latents of the first view; their length does not matter.

    y_components : array-like of shape (n_latents_y, n_features) or None
        Directions of the latents of the second view, in the same space. None stands for
        those of the first: one dictionary for both views.

    x_energy : array-like of shape (n_latents_x,)
        Energies of the latents in the first view, see :func:`energy`. Latents without
        energy take no part.

    y_energy : array-like of shape (n_latents_y,)
        Energies of the latents in the second view.

    n_strongest : int, default=None
        If given, an approximation for large dictionaries: only this many latents of
        each view, those with the most energy, take part, and their plan is exact. If
        they leave out shares ``r_x`` and ``r_y`` of the energy, the cost differs from
        that of all latents by at most ``2 * (r_x + r_y)``, and no more than costs
        in ``[0, 2]`` can differ: the `cost_bound` of the result.

    max_latents : int, default=4096
        Largest number of latents of one view that may take part. Time grows faster than
        the square of it, memory as the square; see the notes.

    max_iter : int, default=10_000_000
        Largest number of steps of the simplex.

    Returns
    -------
    TransportPlan
        The plan, with at most ``n_latents_x + n_latents_y - 1`` entries, and its cost.

    Raises
    ------
    ValueError
        If more latents than `max_latents` have energy, if a view has no energy or has
        energy on an absent direction, or if the shapes do not fit.

    ImportError
        If POT is not installed.

    RuntimeError
        If `max_iter` was reached: what the solver has by then is no plan, as it moves a
        part of the energy only. Also if POT finds that there is no plan.

    See Also
    --------
    bridge_matrix : The plan times cosines, B_Gamma.
    functional_distributional_agreement : What is read from it.

    Notes
    -----
    The cost matrix and the plan are dense while the programme is solved, in float64:
    128 MiB each for 4,096 latents a view. With the solver, 4,096 latents a view take
    seconds and 0.8 GiB, and 8,192 take tens of seconds and 2.8 GiB.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026, equations 7 and 8.

    .. [2] Flamary et al., POT: Python optimal transport, JMLR 22(78), 2021.

    Examples
    --------
    >>> from skxsae.metrics import bridge_matrix, transport_plan
    >>> directions = [[1.0, 0.0], [0.0, 1.0]]
    >>> found = transport_plan(directions, None, [1.0, 1.0], [1.0, 3.0])
    >>> found.plan.toarray()
    array([[0.25, 0.25],
           [0.  , 0.5 ]])
    >>> found.cost
    0.25
    >>> float(bridge_matrix(found.plan, directions).sum())
    0.75
    """
    x_components = check_dictionary(x_components, "x_components")
    if y_components is None:
        y_components = x_components
    else:
        y_components = check_dictionary(y_components, "y_components")
    check_width(x_components, y_components, "x_components", "y_components")
    x_latents, a, left_out_x = _strongest(x_components, x_energy, "x", n_strongest)
    y_latents, b, left_out_y = _strongest(y_components, y_energy, "y", n_strongest)
    for latents, view in ((x_latents, "x"), (y_latents, "y")):
        _check_size(len(latents), view, max_latents)
    v, w = unit_rows(x_components[x_latents]), unit_rows(y_components[y_latents])
    cost = v @ w.T
    np.subtract(1.0, cost, out=cost)
    plan = exact_plan(a, b, cost, "transport_plan", "Increase max_iter", max_iter)
    rows, columns = np.nonzero(plan)
    shares = plan[rows, columns]
    total = float(shares @ cost[rows, columns])
    shape = len(x_components), len(y_components)
    stored = (shares, (x_latents[rows], y_latents[columns]))
    plan = sparse.csr_array(sparse.coo_array(stored, shape=shape))
    return TransportPlan(plan, total, left_out_x, left_out_y)


def _strongest(components, energies, view, n_strongest):
    """Latents that take part, their shares, and the share of what they leave out."""
    energies = check_energies(energies, f"{view}_energy", len(components))
    total = energies.sum()
    if total == 0:
        raise ValueError(f"{view}_energy has no energy: all entries are 0.")
    absent = (energies > 0) & ~is_present(components)
    if absent.any():
        latent = np.flatnonzero(absent)[0]
        raise ValueError(
            f"{view}_energy is not 0 for latent {latent}, whose row of "
            f"{view}_components is absent: set its energy to 0, or give its direction."
        )
    latents = np.flatnonzero(energies)
    if n_strongest is not None:
        order = np.argsort(-energies[latents], kind="stable")
        latents = np.sort(latents[order[:n_strongest]])
    kept = energies[latents].sum()
    others = np.ones(len(energies), dtype=bool)
    others[latents] = False
    return latents, energies[latents] / kept, float(energies[others].sum() / total)


def _check_size(n_latents, view, max_latents):
    """No more latents than a plan is affordable for."""
    if n_latents > max_latents:
        raise ValueError(
            f"{n_latents} latents of {view} have energy, more than max_latents="
            f"{max_latents}: an exact plan would take long. Give n_strongest="
            f"{max_latents} to leave out the weakest, or a larger max_latents."
        )


def exact_plan(a, b, cost, caller, advice, max_iter=MAX_ITER):
    """Cheapest plan between two weightings by POT, as a dense array."""
    try:
        import ot
    except ImportError as error:
        raise ImportError(
            f"{caller} requires POT: pip install 'skxsae[ot]'."
        ) from error
    with quiet():  # what it says is said below, in terms of the parameters
        plan, log = ot.emd(a, b, cost, numItermax=max_iter, log=True)
    if log["warning"] is None:
        return plan
    if log["result_code"] == _STEPS_USED_UP:
        raise RuntimeError(
            f"{caller}: there is no transport plan after {max_iter} steps. What the "
            f"solver has by then moves a part of the mass only. {advice}."
        )
    raise RuntimeError(
        f"{caller}: POT found no transport plan, whatever the number of steps: "
        f"{log['warning']}"
    )
