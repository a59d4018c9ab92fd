"""How strongly each concept is active in each of two views."""

from numbers import Real

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.metrics._codes import check_codes


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
    codes = abs(check_codes(codes, "codes")).astype(np.float64)
    return np.asarray((codes**p).mean(axis=0)).ravel()


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
    of_x, of_y = energy(X, p=p), energy(y, p=p)
    if of_x.shape != of_y.shape:
        raise ValueError(
            f"X has {len(of_x)} columns and y has {len(of_y)}: both must be codes over "
            "the same latents."
        )
    total = of_x + of_y
    scores = np.full(len(total), np.nan)
    np.divide(of_x, total, out=scores, where=total > 0)
    return scores
