"""Strong concepts of a single view, which act as a bias of that view."""

from dataclasses import dataclass
from numbers import Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._codes import SAME_LATENTS, check_codes, check_width, unit_rows
from skxsae.metrics._dictionary import check_dictionary
from skxsae.metrics._modality import (
    KINDS,
    check_energies,
    latent_kinds,
    modality_scores_of,
)
from skxsae.metrics._support import count_fires


@dataclass(frozen=True, eq=False, repr=False)
class BiasLatents:
    """Strong latents of one view, from the one with the most energy on.

    Parameters
    ----------
    latents : ndarray of int of shape (n_bias,)
        Numbers of the latents.

    energies : ndarray of shape (n_bias,)
        Their energies in the view.

    firing_rates : ndarray of shape (n_bias,)
        How often each is active: the mean of the shares of the samples of both views.

    cosines : ndarray of shape (n_bias, n_bias)
        Cosines of their directions.

    coactivations : ndarray of int of shape (n_bias, n_bias)
        Number of samples of either view in which both of two latents are active, and on
        the diagonal those in which one is.

    See Also
    --------
    bias_latents : Finds them.

    Examples
    --------
    >>> from skxsae.metrics import bias_latents
    >>> X, y = [[4.0, 0.0, 1.0], [0.0, 5.0, 0.0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]
    >>> directions = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    >>> bias_latents(X, y, directions, [8.0, 12.5, 0.5], [0.0, 0.0, 2.5])
    BiasLatents(n_latents=2, mean_cosine=0.8, n_coactivations=0, total_frequency=0.5)
    """

    latents: np.ndarray
    energies: np.ndarray
    firing_rates: np.ndarray
    cosines: np.ndarray
    coactivations: np.ndarray

    def __repr__(self):
        """Number of latents and what is said of all of them."""
        return (
            f"BiasLatents(n_latents={len(self.latents)}, "
            f"mean_cosine={self.mean_cosine:.4g}, "
            f"n_coactivations={self.n_coactivations}, "
            f"total_frequency={self.total_frequency:.4g})"
        )

    @property
    def mean_cosine(self):
        """Mean cosine of two different latents, NaN if there are fewer than two."""
        n = len(self.latents)
        if n < 2:
            return np.nan
        return float(self.cosines[~np.eye(n, dtype=bool)].mean())

    @property
    def n_coactivations(self):
        """Number of times that two of the latents are active in one sample."""
        return int((self.coactivations.sum() - np.trace(self.coactivations)) // 2)

    @property
    def total_frequency(self):
        """Sum of the firing rates: 0.5 if in each sample of one view just one fires."""
        return float(self.firing_rates.sum())

    def to_frame(self):
        """Describe each latent, as a table.

        Returns
        -------
        pandas.DataFrame of shape (n_bias, 4)
            A row for each latent, by its number: its "energy", its "firing_rate", the
            "mean_cosine" with the others (NaN for a single one), and
            "n_coactivations", the number of times that another is active with it.
        """
        others = len(self.latents) - 1
        off = self.cosines.sum(axis=1) - np.diag(self.cosines)
        together = self.coactivations.sum(axis=1) - np.diag(self.coactivations)
        columns = {
            "energy": self.energies,
            "firing_rate": self.firing_rates,
            "mean_cosine": off / others if others > 0 else np.full(len(off), np.nan),
            "n_coactivations": together,
        }
        return pd.DataFrame(columns, index=pd.Index(self.latents, name="latent"))


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like", "sparse matrix"],
        "components": ["array-like"],
        "x_energy": ["array-like"],
        "y_energy": ["array-like"],
        "view": [StrOptions({"x", "y"})],
        "min_share": [Interval(Real, 0, 1, closed="both")],
        "tau": [Interval(Real, 0, 0.5, closed="both")],
    },
    prefer_skip_nested_validation=True,
)
def bias_latents(
    X, y, components, x_energy, y_energy, *, view="x", min_share=0.01, tau=0.05
):
    """Find the strong concepts of a single view and tell whether they act as a bias.

    Several latents that have nearly one direction, of which one and only one is active
    in each sample of the view, are variations of a constant of that view. Then the mean
    cosine is high, there are no co-activations, and the total frequency is about 0.5,
    as half of the samples are of the view. In [1]_, cosines are above 0.9.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view.

    y : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
        Codes of the second view, with the same columns. Rows need not be paired.

    components : array-like of shape (n_latents, n_features)
        Directions of the latents in the view that is looked at.

    x_energy : array-like of shape (n_latents,)
        Energies in the first view, see :func:`energy`.

    y_energy : array-like of shape (n_latents,)
        Energies in the second view.

    view : {"x", "y"}, default="x"
        View whose concepts are looked for.

    min_share : float, default=0.01
        Share of the energy of the view that a latent must have to be strong. The paper
        circles the strong ones by eye.

    tau : float, default=0.05
        A latent is of x alone if its modality score is above ``1 - tau``, of y alone
        if it is below `tau`.

    Returns
    -------
    BiasLatents
        Cosines, frequencies and co-activations of the latents found, with `to_frame`.

    Raises
    ------
    ValueError
        If the arrays differ in their number of latents.

    See Also
    --------
    energy_spectrum : Energy and frequency of all latents.

    Notes
    -----
    Cosines and co-activations are of all pairs of the latents found, about 20 bytes for
    each: little for the few strong ones, 320 MiB for 4,096 latents, which a `min_share`
    of 0 may find.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026, appendix F.

    Examples
    --------
    >>> from skxsae.metrics import bias_latents, energy
    >>> X, y = [[4.0, 0.0, 1.0], [0.0, 5.0, 0.0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]]
    >>> directions = [[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]]
    >>> bias_latents(X, y, directions, energy(X), energy(y)).to_frame()
            energy  firing_rate  mean_cosine  n_coactivations
    latent
    1         12.5         0.25          0.8                0
    0          8.0         0.25          0.8                0
    """
    X, y = check_codes(X, "X"), check_codes(y, "y")
    check_width(X, y, "X", "y", SAME_LATENTS)
    components = check_dictionary(components, "components")
    n_latents = X.shape[1]
    if len(components) != n_latents:
        raise ValueError(
            f"components has {len(components)} rows and the codes have {n_latents} "
            "columns: there must be a direction for each latent."
        )
    of_x = check_energies(x_energy, "x_energy", n_latents)
    of_y = check_energies(y_energy, "y_energy", n_latents)
    energies = of_x if view == "x" else of_y
    of_view = latent_kinds(modality_scores_of(of_x, of_y), tau)
    strong = energies >= min_share * energies.sum()
    latents = np.flatnonzero(strong & (of_view == KINDS.index(f"{view}_only")))
    latents = latents[np.argsort(-energies[latents], kind="stable")]
    chosen = [codes[:, latents] for codes in (X, y)]
    rates = [count_fires(codes) / codes.shape[0] for codes in chosen]
    directions = unit_rows(components[latents])
    return BiasLatents(
        latents,
        energies[latents],
        (rates[0] + rates[1]) / 2,
        directions @ directions.T,
        _fire_together(chosen),
    )


@validate_params(
    {"energies": ["array-like"], "firing_rates": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def energy_spectrum(energies, firing_rates):
    """Energy and frequency of the latents, from the one with the most energy on.

    Parameters
    ----------
    energies : array-like of shape (n_latents,)
        Energies, such as the mean of those in the two views, see :func:`energy`.

    firing_rates : array-like of shape (n_latents,)
        Share of the samples in which each latent is active, see :func:`firing_rate`.

    Returns
    -------
    pandas.DataFrame of shape (n_latents, 4)
        A row for each energy rank: the number of the "latent", its "energy", its
        "firing_rate", and "energy_per_activation", the mean power of its activation
        where it is active: NaN for a latent that never is.

    Raises
    ------
    ValueError
        If an entry is negative or not finite, or if the shapes differ.

    See Also
    --------
    bias_latents : The strong latents of one view.

    Examples
    --------
    >>> from skxsae.metrics import energy_spectrum
    >>> energy_spectrum([1.0, 4.0], [0.5, 0.5])
          latent  energy  firing_rate  energy_per_activation
    rank
    0          1     4.0          0.5                    8.0
    1          0     1.0          0.5                    2.0
    """
    energies = check_energies(energies, "energies")
    rates = check_energies(firing_rates, "firing_rates", len(energies))
    order = np.argsort(-energies, kind="stable")
    each = np.full(len(order), np.nan)
    np.divide(energies, rates, out=each, where=rates > 0)
    columns = {
        "latent": order,
        "energy": energies[order],
        "firing_rate": rates[order],
        "energy_per_activation": each[order],
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(len(order), name="rank"))


def _fire_together(views):
    """Number of samples of all views in which two latents are active."""
    parts = [sparse.csr_array(codes != 0).astype(np.int32) for codes in views]
    active = sparse.vstack(parts, "csr")
    return (active.T @ active).toarray()
