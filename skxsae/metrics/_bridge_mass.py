"""Whether bimodal concepts carry the alignment of two views: rho, FDA and masses."""

import warnings
from numbers import Real

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import validate_params

from skxsae.metrics._bridge import check_pairs, local_rows, row_blocks
from skxsae.metrics._modality import KINDS, check_energies, check_mask, latent_kinds

_BRIDGE = {"bridge": ["array-like", "sparse matrix"]}
_ROUNDING = 1e-6  # of the sum of a plan, which may be of float32
_TAUS = tuple(np.round(np.arange(0.0, 0.51, 0.05), 2).tolist())


@validate_params(
    _BRIDGE
    | {"scores": ["array-like"], "tau": ["array-like", Real], "absolute": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def bridge_mass(bridge, scores, *, tau=_TAUS, absolute=False):
    """Mass of a bridge matrix between kinds of concepts, for several thresholds.

    Helps to choose `tau`: once the mass between concepts of one and the same view is
    more than negligible, they are not concepts of that view alone.

    Parameters
    ----------
    bridge : {array-like, sparse matrix} of shape (n_latents, n_latents)
        Bridge matrix, see :func:`bridge_matrix`.

    scores : array-like of shape (n_latents,)
        Modality scores, see :func:`modality_score`. Latents that are never active, with
        a score of NaN, are left out.

    tau : float or array-like of shape (n_thresholds,), default=(0, 0.05, ..., 0.5)
        Thresholds: a concept is bimodal if its score is in ``[tau, 1 - tau]``.

    absolute : bool, default=False
        Whether absolute values are summed.

    Returns
    -------
    pandas.DataFrame of shape (9 * n_thresholds, 5)
        For each "tau" and each pair of kinds, "x_kind" and "y_kind" out of "bimodal",
        "x_only" and "y_only": the "mass" of the pairs whose latents in the first and
        the second view are of these kinds, and its "share" of the mass of all, NaN
        where that is not above 0.

    Raises
    ------
    ValueError
        If a threshold is outside of ``[0, 0.5]``, or if the shapes do not fit.

    See Also
    --------
    bimodal_latents : Latents that are bimodal at one threshold.

    Examples
    --------
    >>> from skxsae.metrics import bridge_mass
    >>> mass = bridge_mass([[4.0, 1.0], [0.0, 3.0]], [0.5, 0.9], tau=[0.05, 0.2])
    >>> mass.pivot(index="tau", columns=["x_kind", "y_kind"], values="mass")["bimodal"]
    y_kind  bimodal  x_only  y_only
    tau
    0.05        8.0     0.0     0.0
    0.20        4.0     1.0     0.0
    """
    bridge = _check_square(bridge)
    tau = _check_taus(tau)
    kinds = np.array([latent_kinds(scores, t) for t in tau])
    _check_per_latent(kinds[0], bridge, "scores")
    # latents that are of one kind at every threshold are summed together
    patterns, group = np.unique(kinds, axis=1, return_inverse=True)
    group = group.ravel()
    masses = _group_masses(bridge, group, patterns.shape[1], absolute)
    one_hot = (
        patterns[:, None, :] == np.arange(len(KINDS))[:, None]
    )  # (tau, kind, group)
    blocks = one_hot @ masses @ one_hot.transpose(0, 2, 1)
    total = blocks.sum(axis=(1, 2), keepdims=True)
    shares = np.full(blocks.shape, np.nan)
    np.divide(blocks, total, out=shares, where=total > 0)
    index = pd.MultiIndex.from_product(
        [tau, KINDS, KINDS], names=["tau", "x_kind", "y_kind"]
    )
    columns = {"mass": blocks.ravel(), "share": shares.ravel()}
    return pd.DataFrame(columns, index=index).reset_index()


@validate_params(
    _BRIDGE | {"bimodal": ["array-like"], "absolute": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def functional_alignment_ratio(bridge, bimodal, *, absolute=False):
    """Mass of a bridge matrix on bimodal concepts over that on the others (rho).

    The mass of the pairs of which at least one latent is bimodal, over that of those of
    which neither is: above 1 if bimodal concepts do most to align the views.

    Parameters
    ----------
    bridge : {array-like, sparse matrix} of shape (n_latents, n_latents)
        Bridge matrix B_Sigma, see :func:`bridge_matrix`.

    bimodal : array-like of bool of shape (n_latents,)
        Mask of the bimodal concepts, see :func:`bimodal_latents`.

    absolute : bool, default=False
        Whether absolute values are summed, as in the code that was released with [1]_,
        and not signed ones, as it prints.

    Returns
    -------
    float
        The ratio rho. Infinite if other pairs have no mass, NaN if no pair has, or if
        one of the two masses is negative, as signed sums can be.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Warns
    -----
    UserWarning
        If a mass is negative: the pairs that are active together point away from each
        other, and a ratio of masses would say nothing.

    See Also
    --------
    functional_distributional_agreement : The same for whole distributions.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026.

    Examples
    --------
    >>> from skxsae.metrics import functional_alignment_ratio
    >>> functional_alignment_ratio([[4.0, 1.0], [0.0, 2.0]], [True, False])
    2.5
    """
    touching, rest = _mass_touching(_check_square(bridge), bimodal, absolute)
    if _is_negative(touching, rest, "functional_alignment_ratio"):
        return np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(touching, rest))


@validate_params(
    _BRIDGE | {"bimodal": ["array-like"], "energies": ["array-like"]},
    prefer_skip_nested_validation=True,
)
def functional_distributional_agreement(bridge, bimodal, energies):
    """How well bimodal concepts align two distributions, for their energy (FDA).

    ``(alpha / eps) * (1 - eps) / ((1 - c) - alpha)``, with alpha the mass of the pairs
    of which at least one latent is bimodal, eps the share of the energy that bimodal
    concepts have, and c the cost of the transport plan [1]_.

    Parameters
    ----------
    bridge : {array-like, sparse matrix} of shape (n_latents, n_latents)
        Bridge matrix B_Gamma, that of a transport plan: see :func:`transport_plan` and
        :func:`bridge_matrix`. Its whole mass is ``1 - c``, so that c is not asked for.

    bimodal : array-like of bool of shape (n_latents,)
        Mask of the bimodal concepts, see :func:`bimodal_latents`.

    energies : array-like of shape (n_latents,)
        Energies of the concepts, the mean of those in the two views.

    Returns
    -------
    float
        Higher is better. Infinite if other concepts have energy but no mass, NaN where
        a zero is divided by a zero, or if one of the masses is negative.

    Raises
    ------
    ValueError
        If the shapes do not fit, or `bridge` is not of a transport plan: one of these
        has no more than a mass of 1.

    Warns
    -----
    UserWarning
        If the mass of the pairs that touch a bimodal latent, or of the others, is
        negative.

    See Also
    --------
    functional_alignment_ratio : The same for paired samples.

    References
    ----------
    .. [1] Dhimoïla et al., iso-energy alignment, 2026, equation 9.

    Examples
    --------
    >>> from skxsae.metrics import functional_distributional_agreement
    >>> bridge = [[0.5, 0.0], [0.1, 0.3]]
    >>> round(functional_distributional_agreement(bridge, [True, False], [1.0, 1.0]), 6)
    2.0
    """
    bridge = _check_square(bridge)
    touching, rest = _mass_touching(bridge, bimodal, absolute=False)
    mask = np.asarray(bimodal)
    energies = check_energies(energies, "energies", len(mask))
    mass = np.abs(bridge.data).sum()
    if mass > 1.0 + _ROUNDING:
        raise ValueError(
            f"bridge has a mass of {mass:.4g}, but that of a transport plan has no "
            "more than 1: give bridge_matrix(transport_plan(...).plan, ...), B_Gamma, "
            "not B_Sigma."
        )
    if _is_negative(touching, rest, "functional_distributional_agreement"):
        return np.nan
    inside, outside = energies[mask].sum(), energies[~mask].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.divide(touching, inside) * np.divide(outside, rest))


def _is_negative(touching, rest, caller):
    """Warn if a mass is negative."""
    if touching >= 0 and rest >= 0:
        return False
    warnings.warn(
        f"{caller} is NaN: the mass of the pairs that touch a bimodal latent is "
        f"{touching:.4g} and that of the others {rest:.4g}, and a ratio of negative "
        "masses says nothing. Latents that are active together point away from each "
        "other: are both dictionaries of one space? bridge_mass shows the parts.",
        UserWarning,
        stacklevel=4,
    )
    return True


def _mass_touching(bridge, bimodal, absolute):
    """Mass of the pairs that touch a bimodal latent, and of the others.

    What is no more than the rounding of the sums is 0: it has no sign.
    """
    bimodal = check_mask(bimodal, "bimodal", bridge.shape[0])
    masses = _group_masses(bridge, bimodal.astype(int), 2, absolute)
    sides = masses[0, 1] + masses[1, 0] + masses[1, 1], masses[0, 0]
    rounding = bridge.nnz * np.finfo(np.float64).eps * np.abs(bridge.data).sum()
    return tuple(0.0 if abs(mass) <= rounding else mass for mass in sides)


def _group_masses(bridge, group, n_groups, absolute):
    """Sum of the entries of a square matrix between groups of latents."""
    masses = np.zeros(n_groups * n_groups)
    for rows, entries in row_blocks(bridge):
        of_x = group[rows][local_rows(bridge, rows)]
        cell = of_x * n_groups + group[bridge.indices[entries]]
        data = bridge.data[entries]
        data = np.abs(data) if absolute else data
        masses += np.bincount(cell, weights=data, minlength=len(masses))
    return masses.reshape(n_groups, n_groups)


def _check_square(bridge):
    """A bridge matrix between the same latents."""
    bridge = check_pairs(bridge, "bridge")
    if bridge.shape[0] != bridge.shape[1]:
        raise ValueError(
            f"bridge has shape {bridge.shape}, but must be square: latent i of the two "
            "views must be one concept. Align the views first."
        )
    return bridge


def _check_per_latent(values, bridge, name):
    """As many values as a bridge matrix has latents."""
    if len(values) != bridge.shape[0]:
        raise ValueError(
            f"{name} has {len(values)} entries, but bridge has {bridge.shape[0]} "
            "latents: give one for each."
        )


def _check_taus(tau):
    """Thresholds between 0 and 1/2."""
    tau = np.atleast_1d(np.asarray(tau, dtype=np.float64))
    if tau.ndim != 1 or not len(tau) or not ((tau >= 0) & (tau <= 0.5)).all():
        raise ValueError(
            f"tau must be one or more thresholds in [0, 0.5], got {tau.tolist()}."
        )
    return tau
