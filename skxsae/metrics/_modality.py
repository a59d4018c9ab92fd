"""How strongly each concept is active in each of two views."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.metrics._codes import SAME_LATENTS, check_codes, check_width, row_batches

KINDS = ("bimodal", "x_only", "y_only")

_ROWS_PER_BATCH = 1024


@validate_params(
    {"p": [Interval(Real, 0, None, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def energy(codes, *, p=2):
    """Energy of each latent: the mean of the `p`-th power of its activation.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of one view.

    p : float, default=2
        Power: 2 is that of the iso-energy paper [1]_, 1 the mean activation.

    Returns
    -------
    energies : ndarray of shape (n_latents,)
        Energies in float64, 0 for a latent that is never active.

    See Also
    --------
    modality_score : Share of the energy that one of two views has.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026.

    Examples
    --------
    >>> from skxsae.metrics import energy
    >>> energy([[1.0, 0.0], [3.0, 0.0]])
    array([5., 0.])
    """
    return _energy(check_codes(codes, "codes"), p)


@validate_params(
    {"p": [Interval(Real, 0, None, closed="neither")]},
    prefer_skip_nested_validation=True,
)
def modality_score(X, y, *, p=2):
    """Share of the energy of each concept that the first view has.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view.

    y : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
        Codes of the second view, with the same columns. Rows need not be paired.

    p : float, default=2
        Power of the energy, see :func:`energy`.

    Returns
    -------
    scores : ndarray of shape (n_latents,)
        1 for a concept of the first view alone, 0 for one of the second alone, 0.5 for
        one that is equally strong in both; NaN for one that is never active.

    Raises
    ------
    ValueError
        If the views differ in their number of columns.

    Examples
    --------
    >>> from skxsae.metrics import modality_score
    >>> modality_score([[1.0, 0.0, 2.0, 0.0]], [[0.0, 1.0, 2.0, 0.0]])
    array([1. , 0. , 0.5, nan])
    """
    X, y = check_codes(X, "X"), check_codes(y, "y")
    check_width(X, y, "X", "y", SAME_LATENTS)
    unit = _power_of_two(np.maximum(_largest(X), _largest(y)))
    return modality_scores_of(_energy(X, p, unit), _energy(y, p, unit))


@validate_params(
    {"scores": ["array-like"], "tau": [Interval(Real, 0, 0.5, closed="both")]},
    prefer_skip_nested_validation=True,
)
def bimodal_latents(scores, *, tau=0.05):
    """Mask of the concepts that both views have.

    Parameters
    ----------
    scores : array-like of shape (n_latents,)
        Modality scores, see :func:`modality_score`.

    tau : float, default=0.05
        A concept is bimodal if its score is at least `tau` and at most ``1 - tau``.

    Returns
    -------
    bimodal : ndarray of bool of shape (n_latents,)
        True for a bimodal concept; False for one of a single view and for one that is
        never active, whose score is NaN.

    Raises
    ------
    ValueError
        If a score is below 0 or above 1.

    See Also
    --------
    bridge_mass : Helps to choose `tau`.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import bimodal_latents
    >>> bimodal_latents([1.0, 0.5, 0.96, 0.05, np.nan])
    array([False,  True, False,  True, False])
    """
    return latent_kinds(scores, tau) == KINDS.index("bimodal")


@dataclass(frozen=True)
class EnergyShares:
    """How the energy of a dictionary is shared out among kinds of concepts.

    Parameters
    ----------
    bimodal : float
        Share of the energy that bimodal concepts have, between 0 and 1. The shares of
        bimodal, x-only and y-only concepts sum to 1.

    x_only : float
        Share of the concepts of the first view alone.

    y_only : float
        Share of the concepts of the second view alone.

    always_on : float
        Share of the latents that are always on, which are also of one of the kinds
        above; NaN if they were not given.

    n_latents : dict
        Number of latents of each kind.

    See Also
    --------
    energy_shares : Computes them.

    Examples
    --------
    >>> from skxsae.metrics import energy_shares
    >>> energy_shares([3.0, 1.0, 0.0], [0.0, 1.0, 3.0]).x_only
    0.375
    """

    bimodal: float
    x_only: float
    y_only: float
    always_on: float
    n_latents: dict

    def to_frame(self):
        """Return the shares as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each kind of latent, with "energy_share" and "n_latents".
        """
        kinds = [*KINDS, "always_on"]
        columns = {
            "energy_share": [getattr(self, kind) for kind in kinds],
            "n_latents": [self.n_latents[kind] for kind in kinds],
        }
        return pd.DataFrame(columns, index=pd.Index(kinds, name="kind"))


@validate_params(
    {
        "x_energy": ["array-like"],
        "y_energy": ["array-like"],
        "tau": [Interval(Real, 0, 0.5, closed="both")],
        "always_on": ["array-like", None],
    },
    prefer_skip_nested_validation=True,
)
def energy_shares(x_energy, y_energy, *, tau=0.05, always_on=None):
    """Share of the energy that bimodal, x-only and y-only concepts have.

    The energy of a concept is the mean of its energies in the two views.

    Parameters
    ----------
    x_energy : array-like of shape (n_latents,)
        Energies of the concepts in the first view, see :func:`energy`.

    y_energy : array-like of shape (n_latents,)
        Their energies in the second view.

    tau : float, default=0.05
        A concept is bimodal if its modality score is in ``[tau, 1 - tau]``.

    always_on : array-like of bool of shape (n_latents,), default=None
        Mask of the latents whose share is wanted beside the others, such as that of
        :func:`always_on_latents`.

    Returns
    -------
    EnergyShares
        The shares, NaN if there is no energy at all, and the numbers of latents.

    Raises
    ------
    ValueError
        If an energy is negative or not finite, or if the shapes differ.

    See Also
    --------
    modality_score : Share of the energy of one concept that one view has.

    Examples
    --------
    >>> from skxsae.metrics import energy_shares
    >>> energy_shares([3.0, 1.0, 0.0, 0.0], [0.0, 1.0, 3.0, 0.0]).to_frame()
               energy_share  n_latents
    kind
    bimodal           0.250          1
    x_only            0.375          1
    y_only            0.375          1
    always_on           NaN          0
    """
    of_x = check_energies(x_energy, "x_energy")
    of_y = check_energies(y_energy, "y_energy", len(of_x))
    kinds = latent_kinds(modality_scores_of(of_x, of_y), tau)
    masks = {kind: kinds == number for number, kind in enumerate(KINDS)}
    if always_on is not None:
        masks["always_on"] = check_mask(always_on, "always_on", len(of_x))
    total = of_x.sum() + of_y.sum()
    shares, counts = dict.fromkeys([*KINDS, "always_on"], np.nan), {"always_on": 0}
    for kind, mask in masks.items():
        counts[kind] = int(mask.sum())
        if total > 0:
            shares[kind] = float((of_x[mask].sum() + of_y[mask].sum()) / total)
    return EnergyShares(**shares, n_latents=counts)


def _energy(codes, p, unit=1.0):
    """`energy` of checked codes, in units of each latent."""
    n_rows, n_latents = codes.shape
    sums, unit = np.zeros(n_latents), np.broadcast_to(unit, n_latents)
    sum_powers = _sparse_powers if sparse.issparse(codes) else _dense_powers
    for rows in row_batches(n_rows, _ROWS_PER_BATCH):
        sums += sum_powers(codes[rows], p, unit)
    return sums / n_rows


def _sparse_powers(block, p, unit):
    """Sum of the powers of each column of a csr_array, from the first row on."""
    powers = np.abs(block.data.astype(np.float64))
    powers /= unit[block.indices]
    powers **= p
    return np.bincount(block.indices, powers, minlength=block.shape[1])


def _dense_powers(block, p, unit):
    """The same of an array, in the same order, so that the results are the same."""
    powers = np.array(block, dtype=np.float64, order="C")
    np.abs(powers, out=powers)
    powers /= unit
    powers **= p
    sums = np.zeros(block.shape[1])
    for row in powers:  # sum(axis=0) would take the rows of a single column in pairs
        sums += row
    return sums


def _largest(codes):
    """Largest absolute activation of each latent, in float64."""
    largest = np.zeros(codes.shape[1])
    for rows in row_batches(codes.shape[0], _ROWS_PER_BATCH):
        block = np.abs(codes[rows])
        if sparse.issparse(block):
            np.maximum.at(largest, block.indices, block.data)
        else:
            np.maximum(largest, block.max(axis=0), out=largest)
    return largest


def _power_of_two(largest):
    """Units so that no power overflows or underflows, and no quotient is rounded."""
    return np.where(largest > 0, np.ldexp(1.0, np.frexp(largest)[1] - 1), 1.0)


def latent_kinds(scores, tau):
    """Number in `KINDS` of each latent, -1 for one that is never active."""
    scores = check_scores(scores)
    kinds = np.full(len(scores), -1)
    kinds[(scores >= tau) & (scores <= 1 - tau)] = KINDS.index("bimodal")
    kinds[scores > 1 - tau] = KINDS.index("x_only")
    kinds[scores < tau] = KINDS.index("y_only")
    return kinds


def check_scores(scores):
    """Modality scores in float64, NaN for latents that are never active."""
    if np.asarray(scores).dtype == bool:
        raise ValueError(
            "scores is a mask of bool: give what modality_score returns, not what "
            "bimodal_latents does."
        )
    scores = _as_vector(scores, "scores", ensure_all_finite="allow-nan")
    outside = (scores < 0) | (scores > 1)
    if outside.any():
        latent = int(np.flatnonzero(outside)[0])
        raise ValueError(
            f"scores must be in [0, 1] or NaN, got {scores[latent]} for latent "
            f"{latent}: give what modality_score returns."
        )
    return scores


def check_energies(energies, name, n_latents=None):
    """Finite energies >= 0 in float64, one for each latent."""
    energies = _as_vector(energies, name)
    _check_length(energies, name, n_latents)
    if (energies < 0).any():
        latent = int(np.flatnonzero(energies < 0)[0])
        raise ValueError(
            f"{name} must be >= 0, got {energies[latent]} for latent {latent}: give "
            "what energy returns."
        )
    return energies


def check_mask(mask, name, n_latents):
    """A boolean mask with one entry for each latent."""
    mask = np.asarray(mask)
    if mask.dtype != bool or mask.ndim != 1:
        raise ValueError(
            f"{name} must be a 1-dimensional mask of bool, got {mask.ndim} dimensions "
            f"of {mask.dtype}: give what bimodal_latents or always_on_latents returns."
        )
    _check_length(mask, name, n_latents)
    return mask


def _as_vector(values, name, **options):
    """A 1-D array of float64."""
    if np.ndim(values) != 1:
        raise ValueError(
            f"{name} must be 1-dimensional, one entry per latent, got "
            f"{np.ndim(values)} dimensions."
        )
    return check_array(
        values, dtype=np.float64, ensure_2d=False, input_name=name, **options
    )


def _check_length(values, name, n_latents):
    """One entry for each latent."""
    if n_latents is not None and len(values) != n_latents:
        raise ValueError(
            f"{name} has {len(values)} entries, but there are {n_latents} latents: "
            "give one for each."
        )


def modality_scores_of(of_x, of_y):
    """Modality scores of energies, NaN where there is none."""
    total = of_x + of_y
    scores = np.full(len(total), np.nan)
    np.divide(of_x, total, out=scores, where=total > 0)
    return scores
