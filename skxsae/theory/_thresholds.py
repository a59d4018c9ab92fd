"""Weights of the alignment terms at which a concept is merged."""

from numbers import Real

import numpy as np
from sklearn.utils import check_array
from sklearn.utils._param_validation import validate_params


@validate_params(
    {"cosine": ["array-like", Real], "tied": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def inner_product_threshold(cosine, *, tied=True):
    """Weight of the inner-product term above which a concept is merged.

    ``2 (1 - cosine) / (1 + cosine)``, Proposition 2 of [1]_: below it the best
    dictionary has a column for each direction of the concept, above it one between
    them. It depends neither on the scale nor on the sparsity of the data.

    Parameters
    ----------
    cosine : float or array-like
        Cosine of the two directions of a concept, between 0 and 1.

    tied : bool, default=True
        Whether the encoder is the transpose of the dictionary, as in [1]_. An encoder
        of its own, as that of :class:`skxsae.PairedSAE`, can raise the codes of a
        merged concept, and merges above ``1 - cosine`` (ours).

    Returns
    -------
    float or ndarray of the shape of `cosine`
        Threshold of ``alignment_weight`` against the sum of the two views' squared
        errors, ``loss="mse_sum"``.

    Raises
    ------
    ValueError
        If a cosine is not between 0 and 1, both excluded.

    See Also
    --------
    iso_energy_threshold : The same for the cosine of the codes.
    optimal_concept : The columns and errors on both sides of the threshold.

    Notes
    -----
    For one concept, an autoencoder without biases, with one active latent, and columns
    of unit length; columns of free length merge at a smaller weight. From a weight of 2
    on, an encoder of its own makes the loss fall without bound.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, Proposition 2.

    Examples
    --------
    >>> from skxsae.theory import inner_product_threshold
    >>> inner_product_threshold([0.2, 0.6])
    array([1.33333333, 0.5       ])
    >>> inner_product_threshold(0.6, tied=False)
    0.4
    """
    cosine = check_cosine(cosine)
    return plain(2 * (1 - cosine) / (1 + cosine) if tied else 1 - cosine)


@validate_params(
    {"cosine": ["array-like", Real], "mean_square": ["array-like", Real]},
    prefer_skip_nested_validation=True,
)
def iso_energy_threshold(cosine, mean_square):
    """Weight of the iso-energy term above which a concept is merged.

    ``(1 - cosine) mean_square``. The term is the cosine of the codes, which the merged
    concept brings from 0 to 1, at the price of two times :func:`merged_error`. Ours, by
    the argument of Proposition 2 of [1]_, which has the inner product.

    Parameters
    ----------
    cosine : float or array-like
        Cosine of the two directions of a concept, between 0 and 1.

    mean_square : float or array-like
        Mean of z^2, the squared activation of the concept, over the samples in which
        the concept is active.

    Returns
    -------
    float or ndarray
        Threshold of ``alignment_weight`` against the sum of the two views' squared
        errors, ``loss="mse_sum"``, of the shape to which the arguments broadcast.

    Raises
    ------
    ValueError
        If a cosine is not between 0 and 1, both excluded, or a moment not positive.

    See Also
    --------
    inner_product_threshold : The same for the inner product of the codes.

    Notes
    -----
    For one concept, an autoencoder without biases, with one active latent, and columns
    of unit length. An encoder of its own does not change it.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, Proposition 2.

    Examples
    --------
    >>> from skxsae.theory import iso_energy_threshold
    >>> iso_energy_threshold(0.5, mean_square=0.1)
    0.05
    """
    cosine = check_cosine(cosine)
    return plain((1 - cosine) * check_positive(mean_square, "mean_square"))


@validate_params(
    {
        "cosine": ["array-like", Real],
        "mean": ["array-like", Real],
        "mean_square": ["array-like", Real],
        "tied": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def group_sparse_thresholds(cosine, mean, mean_square, *, tied=True):
    """Two weights of the group-sparse term: a concept is merged, then inactive.

    Proposition 1 of [1]_. Below the first the best dictionary has a column for each
    direction of the concept, between the two one for both, and above the second none:
    no latent is active.

    Parameters
    ----------
    cosine : float or array-like
        Cosine of the two directions of a concept, between 0 and 1.

    mean : float or array-like
        Mean of z, the activation of the concept, which is not negative.

    mean_square : float or array-like
        Mean of z^2. Only its ratio to `mean` counts, so that both may be over all
        samples or over those in which the concept is active.

    tied : bool, default=True
        Whether the encoder is the transpose of the dictionary, as in [1]_. An encoder
        of its own, as that of :class:`skxsae.PairedSAE`, shrinks its codes first, and
        both thresholds are higher (ours).

    Returns
    -------
    merged : float or ndarray
        ``(1 - cosine) / (2 - sqrt(1 + cosine))`` times ``mean_square / mean``, the
        threshold of ``alignment_weight`` against the sum of the two views' squared
        errors, ``loss="mse_sum"``. With an encoder of its own the factor is
        ``2 (sqrt(2) - sqrt(1 + cosine)) / (sqrt(2) - 1)``.

    inactive : float or ndarray
        ``sqrt(1 + cosine)`` times ``mean_square / mean``, and twice that with an
        encoder of its own.

    Raises
    ------
    ValueError
        If a cosine is not between 0 and 1, both excluded, a moment not positive, or
        `mean_square` smaller than the square of `mean`, which no activation can have.

    See Also
    --------
    optimal_concept : The columns and errors on both sides of the thresholds.

    Notes
    -----
    For one concept, an autoencoder without biases, with one active latent, and columns
    of unit length; columns of free length would shrink under any weight. The thresholds
    have the unit of an activation, which is that of an embedding.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, Proposition 1.

    Examples
    --------
    Activations that are exponential with mean 1 have a mean square of 2.

    >>> from skxsae.theory import group_sparse_thresholds
    >>> merged, inactive = group_sparse_thresholds(0.5, mean=1.0, mean_square=2.0)
    >>> round(merged, 3), round(inactive, 3)
    (1.29, 2.449)
    """
    cosine = check_cosine(cosine)
    scale = check_moment_ratio(mean, mean_square)
    length = np.sqrt(1 + cosine)
    if tied:
        return plain((1 - cosine) / (2 - length) * scale), plain(length * scale)
    # (1 - cosine) / (...) in place of a difference of roots, which would cancel
    gap = (1 - cosine) / (np.sqrt(2) + length)
    return plain(2 * gap / (np.sqrt(2) - 1) * scale), plain(2 * length * scale)


@validate_params(
    {"cosine": ["array-like", Real], "mean_square": ["array-like", Real]},
    prefer_skip_nested_validation=True,
)
def merged_error(cosine, mean_square):
    """Squared reconstruction error, in each view, of a concept that is merged.

    ``(1 - cosine) / 2 * mean_square``, what is left of z phi after its projection on
    the direction of phi + psi, in Propositions 1 and 2 of [1]_.

    Parameters
    ----------
    cosine : float or array-like
        Cosine of the two directions of a concept, between 0 and 1.

    mean_square : float or array-like
        Mean of z^2, over the samples over which the error is a mean.

    Returns
    -------
    float or ndarray
        Mean of the squared error of one view, summed over features, of the shape to
        which the arguments broadcast.

    Raises
    ------
    ValueError
        If a cosine is not between 0 and 1, both excluded, or a moment not positive.

    References
    ----------
    .. [1] C. Lee, J. Kwon, K. Min and J. Sohn, "Same concept, different directions:
       Cross-modal feature heterogeneity in sparse autoencoders", 2026,
       arXiv:2606.29888, Propositions 1 and 2.

    Examples
    --------
    >>> from skxsae.theory import merged_error
    >>> merged_error(0.5, mean_square=2.0)
    0.5
    """
    cosine = check_cosine(cosine)
    return plain((1 - cosine) / 2 * check_positive(mean_square, "mean_square"))


def check_cosine(cosine):
    """Cosines in float64, between 0 and 1."""
    cosine = _check_numbers(cosine, "cosine")
    wrong = cosine[~((cosine > 0) & (cosine < 1))]
    if wrong.size:
        raise ValueError(
            f"cosine must be greater than 0 and less than 1, got {wrong.flat[0]:g}: at "
            "1 the directions are one, and at 0 or less nothing is gained by merging."
        )
    return cosine


def check_positive(values, name):
    """Finite positive numbers in float64."""
    values = _check_numbers(values, name)
    wrong = values[~(values > 0)]
    if wrong.size:
        raise ValueError(f"{name} must be greater than 0, got {wrong.flat[0]:g}.")
    return values


def check_moment_ratio(mean, mean_square):
    """E[z^2] / E[z] of moments that an activation can have."""
    mean = check_positive(mean, "mean")
    mean_square = check_positive(mean_square, "mean_square")
    # equal for a constant activation, up to rounding
    if np.any(mean_square < mean**2 * (1 - 1e-6)):
        raise ValueError(
            "mean_square must not be smaller than the square of mean: pass the mean "
            "of z^2, and not the variance of z."
        )
    return mean_square / mean


def plain(values):
    """A float in place of an array without dimensions."""
    return float(values) if np.ndim(values) == 0 else values


def _check_numbers(values, name):
    """Finite numbers of any shape in float64."""
    return check_array(
        values,
        dtype=np.float64,
        ensure_2d=False,
        allow_nd=True,
        ensure_min_samples=0,
        input_name=name,
    )
