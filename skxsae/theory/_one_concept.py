"""The best dictionary for one concept under an alignment term."""

from numbers import Real
from typing import NamedTuple

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.theory._directions import check_same_shape, check_unit_rows
from skxsae.theory._thresholds import (
    check_cosine,
    check_moment_ratio,
    group_sparse_thresholds,
    inner_product_threshold,
    iso_energy_threshold,
)


class ConceptOptimum(NamedTuple):
    """The best dictionary for one concept, as :func:`optimal_concept` finds it.

    Parameters
    ----------
    regime : {"split", "merged", "inactive"}
        Whether the two directions of the concept have a column each, share one, or
        activate none.

    components : ndarray of shape (2, n_features)
        Columns of the dictionary, as rows: the directions of the two views, or their
        normalised sum and zeros, or zeros. More latents would be zeros too.

    gain : float
        Code of the concept in either view where its activation z is 1.

    error : float
        Mean over samples of the squared reconstruction error of one view.

    loss : float
        Squared errors of both views and the weighted alignment term in sum: the
        minimum of the training loss.

    See Also
    --------
    optimal_concept : Where it comes from.

    Examples
    --------
    >>> from skxsae.theory import optimal_concept
    >>> optimum = optimal_concept([1.0, 0.0], [0.6, 0.8], "inner_product", weight=0.0)
    >>> optimum.regime, optimum.error
    ('split', 0.0)
    """

    regime: str
    components: np.ndarray
    gain: float
    error: float
    loss: float


@validate_params(
    {
        "phi": ["array-like"],
        "psi": ["array-like"],
        "alignment": [StrOptions({"inner_product", "iso_energy", "group_sparse"})],
        "weight": [Interval(Real, 0, None, closed="left")],
        "mean": [Interval(Real, 0, None, closed="neither")],
        "mean_square": [Interval(Real, 0, None, closed="neither")],
        "tied": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def optimal_concept(
    phi, psi, alignment, weight, *, mean=1.0, mean_square=1.0, tied=True
):
    """Best dictionary for one concept with two directions.

    The global minimum of the training loss of a shared dictionary, ``loss="mse_sum"``,
    over the columns of unit length or zero: Propositions 1 and 2 of [1]_.

    Parameters
    ----------
    phi : array-like of shape (n_features,)
        Direction of the concept in the first view. Its length does not count.

    psi : array-like of shape (n_features,)
        Direction of the concept in the second view. Its cosine with `phi` must be
        between 0 and 1.

    alignment : {"inner_product", "iso_energy", "group_sparse"}
        Alignment term of :class:`skxsae.PairedSAE`.

    weight : float
        Its ``alignment_weight``, lambda.

    mean : float, default=1.0
        Mean of z, the activation of the concept, over the samples in which it is
        active.

    mean_square : float, default=1.0
        Mean of z^2 over the same samples.

    tied : bool, default=True
        Whether the encoder is the transpose of the dictionary, as in [1]_, or one of
        its own, as that of :class:`skxsae.PairedSAE`; the latter is ours.

    Returns
    -------
    ConceptOptimum
        Columns, error and loss, means over the samples in which the concept is active.
        Exactly at a threshold the dictionaries of both sides are equally good, and
        the one for smaller weights is returned.

    Raises
    ------
    ValueError
        If the cosine of `phi` and `psi` is not between 0 and 1, if no activation has
        such moments, or if the loss has no minimum, which is so for "inner_product"
        with an encoder of its own and a weight of 2 or more.

    See Also
    --------
    group_sparse_thresholds : Where the regimes of "group_sparse" end.
    inner_product_threshold : Where that of "inner_product" ends.
    iso_energy_threshold : Where that of "iso_energy" ends.

    Notes
    -----
    For an autoencoder without biases and with one active latent. The optimum for
    several concepts whose directions are orthogonal to those of all others, of which
    one is active in a sample, is the union of these.

    Training need not find it: near a threshold both sides are local minima, and a
    concept that starts split or merged may stay so.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, Propositions 1 and 2.

    Examples
    --------
    The cosine is 0.6 and the threshold 0.5.

    >>> from skxsae.theory import optimal_concept
    >>> phi, psi = [1.0, 0.0], [0.6, 0.8]
    >>> optimal_concept(phi, psi, "inner_product", weight=0.49).components
    array([[1. , 0. ],
           [0.6, 0.8]])
    >>> merged = optimal_concept(phi, psi, "inner_product", weight=0.51)
    >>> merged.components.round(3), round(merged.error, 3)
    (array([[0.894, 0.447],
           [0.   , 0.   ]]), 0.2)
    """
    check_same_shape(phi, psi, "phi", "psi", n_dims=1)
    phi, psi = check_unit_rows([phi], "phi")[0], check_unit_rows([psi], "psi")[0]
    cosine = float(check_cosine(phi @ psi))
    ratio = float(check_moment_ratio(mean, mean_square))
    if alignment == "inner_product" and not tied and weight >= 2:
        raise ValueError(
            f"weight must be less than 2 with tied=False, got {weight:g}: from "
            "there on larger codes always lower the loss."
        )
    regime = _regime(cosine, alignment, weight, mean, mean_square, tied)
    middle = np.sqrt((1 + cosine) / 2)
    gain = column_cosine = {"split": 1.0, "merged": middle, "inactive": 0.0}[regime]
    if gain and not tied:
        merged = regime == "merged"
        gain = _free_gain(merged, column_cosine, alignment, weight, ratio)
    error = mean_square * (1 - 2 * gain * column_cosine + gain**2)
    term = _alignment_term(regime, alignment, gain, mean, mean_square)
    return ConceptOptimum(
        regime,
        _components(regime, phi, psi),
        float(gain),
        float(error),
        float(2 * error + weight * term),
    )


def _regime(cosine, alignment, weight, mean, mean_square, tied):
    """What is best for the concept at a weight."""
    if alignment == "group_sparse":
        ends = group_sparse_thresholds(cosine, mean, mean_square, tied=tied)
    elif alignment == "iso_energy":
        ends = (iso_energy_threshold(cosine, mean_square),)
    else:
        ends = (inner_product_threshold(cosine, tied=tied),)
    return ("split", "merged", "inactive")[np.searchsorted(ends, weight)]


def _free_gain(merged, column_cosine, alignment, weight, ratio):
    """Best code of an encoder of its own for a unit activation."""
    if alignment == "group_sparse":
        # a column costs the root of the number of views that use it, per unit of code
        return column_cosine - weight / ratio / (2 * np.sqrt(2 if merged else 1))
    if alignment == "inner_product" and merged:
        return column_cosine / (1 - weight / 2)
    return column_cosine


def _alignment_term(regime, alignment, gain, mean, mean_square):
    """Mean of the alignment term over samples in which the concept is active."""
    merged = regime == "merged"
    if alignment == "group_sparse":
        return (np.sqrt(2) if merged else 2) * gain * mean
    if not merged:
        return 0.0
    return -(gain**2) * mean_square if alignment == "inner_product" else -1.0


def _components(regime, phi, psi):
    """Rows of the dictionary."""
    zeros = np.zeros_like(phi)
    if regime == "merged":
        return np.array([(phi + psi) / np.linalg.norm(phi + psi), zeros])
    return np.array([phi, psi] if regime == "split" else [zeros, zeros])
