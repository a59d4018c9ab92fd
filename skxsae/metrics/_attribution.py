"""Insertion and deletion: what the active latents of a sample reconstruct of it."""

import warnings
from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length, gen_batches
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.metrics._codes import check_codes, check_width, row_of_entries
from skxsae.metrics._dictionary import check_dictionary
from skxsae.metrics._reconstruction import check_mean, column_means

# numbers of float64 in a block of samples and features
_CELLS_PER_BATCH = 2**18

_CONSTRAINTS = {
    "X": ["array-like"],
    "codes": ["array-like", "sparse matrix"],
    "components": ["array-like"],
    "intercept": ["array-like", None],
    "mean": ["array-like", None],
    "k": [Interval(Integral, 1, None, closed="left"), None],
}


@dataclass(frozen=True, eq=False)
class AttributionCurves:
    """Curves of insertion and deletion, as :func:`attribution_curves` returns them.

    Parameters
    ----------
    insertion : ndarray of shape (k + 1,)
        Mean R^2 of the samples with their 0, 1, ... k most important latents only.

    deletion : ndarray of shape (k + 1,)
        Mean R^2 of the samples without their 0, 1, ... k most important latents.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import AttributionCurves
    >>> curves = AttributionCurves(np.array([0.0, 0.8, 1.0]), np.array([1.0, 0.2, 0.0]))
    >>> round(curves.insertion_score, 6), round(curves.deletion_score, 6)
    (0.4, 0.6)
    """

    insertion: np.ndarray
    deletion: np.ndarray

    @property
    def insertion_score(self):
        """Mean of the insertion curve from 0 to k - 1 latents, higher is better."""
        return float(self.insertion[:-1].mean())

    @property
    def deletion_score(self):
        """Mean of the deletion curve from 0 to k - 1 latents, lower is better."""
        return float(self.deletion[:-1].mean())

    def to_frame(self):
        """Both curves over the number of latents.

        Returns
        -------
        pandas.DataFrame
            Columns "insertion" and "deletion", indexed by "n_latents" from 0 to k.
        """
        index = pd.RangeIndex(len(self.insertion), name="n_latents")
        table = {"insertion": self.insertion, "deletion": self.deletion}
        return pd.DataFrame(table, index=index)


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def attribution_curves(X, codes, components, *, intercept=None, mean=None, k=None):
    """R^2 of samples as their latents are put in or taken out by importance.

    The importance of an active latent is its integrated gradient of R^2 along the path
    from an empty code to the code of the sample.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features_in)
        Samples, in the space that the codes reconstruct.

    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Their codes.

    components : array-like of shape (n_latents, n_features_in)
        Direction of each latent, with the length that it has. Rows of zeros or NaN are
        absent latents, which reconstruct nothing.

    intercept : array-like of shape (n_features_in,), default=None
        What an empty code is decoded as, such as a pre-bias; 0 if None. A sample is
        reconstructed as ``code @ components + intercept``.

    mean : array-like of shape (n_features_in,), default=None
        Reference of R^2. If None, the mean of `X`.

    k : int, default=None
        Largest number of latents. If None, the largest number of active latents of a
        sample. The curves of samples with fewer stay where they end.

    Returns
    -------
    AttributionCurves
        Curves, with the scores as attributes and the method `to_frame`.

    Raises
    ------
    ValueError
        If shapes do not fit, no latent is active, or no sample differs from `mean`.

    Warns
    -----
    UserWarning
        If all latents together reconstruct `X` worse than `mean` does: `components` are
        not in units of `X`, or `intercept` is missing.

    See Also
    --------
    insertion_score, deletion_score : The scores alone.
    mean_sample_r2_score : The R^2 that the curves are of.

    Notes
    -----
    R^2 of a sample is ``1 - ||x - x_hat||^2 / ||x - mean||^2``. It is quadratic in the
    code, so its gradient is linear along the path, and the trapezoidal rule with any
    number of steps (the 10 of [1]_ are among them) gives what is computed here in
    closed form, ``z_j d_j . (2 (x - intercept) - z @ components) / ||x - mean||^2``.
    Importances of a sample sum to what its code adds to R^2. Equal ones are ranked by
    the index of the latent. A sample that equals `mean` but for
    rounding counts 1 where it is reconstructed and 0 where it is not, as in
    :func:`mean_sample_r2_score`.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix E.2.

    Examples
    --------
    >>> from skxsae.metrics import attribution_curves
    >>> X, directions = [[3.0, 1.0], [-3.0, -1.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> curves = attribution_curves(X, X, directions)
    >>> curves.to_frame()
               insertion  deletion
    n_latents
    0                0.0       1.0
    1                0.9       0.1
    2                1.0       0.0
    """
    return _curves(X, codes, components, intercept, mean, k)


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def insertion_score(X, codes, components, *, intercept=None, mean=None, k=None):
    """Mean R^2 of samples with only their most important latents ("C-insertion").

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features_in)
        Samples, in the space that the codes reconstruct.

    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Their codes.

    components : array-like of shape (n_latents, n_features_in)
        Direction of each latent.

    intercept : array-like of shape (n_features_in,), default=None
        What an empty code is decoded as; 0 if None.

    mean : array-like of shape (n_features_in,), default=None
        Reference of R^2. If None, the mean of `X`.

    k : int, default=None
        The mean is over 0 to k - 1 latents. If None, the largest number of active
        latents of a sample.

    Returns
    -------
    float
        At most 1. Higher is better.

    See Also
    --------
    attribution_curves : Both scores and their curves from one pass.

    Examples
    --------
    >>> from skxsae.metrics import insertion_score
    >>> X, directions = [[3.0, 1.0], [-3.0, -1.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> round(insertion_score(X, X, directions), 6)
    0.45
    """
    return _curves(X, codes, components, intercept, mean, k).insertion_score


@validate_params(_CONSTRAINTS, prefer_skip_nested_validation=True)
def deletion_score(X, codes, components, *, intercept=None, mean=None, k=None):
    """Mean R^2 of samples without their most important latents ("C-deletion").

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features_in)
        Samples, in the space that the codes reconstruct.

    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Their codes.

    components : array-like of shape (n_latents, n_features_in)
        Direction of each latent.

    intercept : array-like of shape (n_features_in,), default=None
        What an empty code is decoded as; 0 if None.

    mean : array-like of shape (n_features_in,), default=None
        Reference of R^2. If None, the mean of `X`.

    k : int, default=None
        The mean is over 0 to k - 1 latents. If None, the largest number of active
        latents of a sample.

    Returns
    -------
    float
        At most 1. Lower is better.

    See Also
    --------
    attribution_curves : Both scores and their curves from one pass.

    Examples
    --------
    >>> from skxsae.metrics import deletion_score
    >>> X, directions = [[3.0, 1.0], [-3.0, -1.0]], [[1.0, 0.0], [0.0, 1.0]]
    >>> round(deletion_score(X, X, directions), 6)
    0.55
    """
    return _curves(X, codes, components, intercept, mean, k).deletion_score


def _check(X, codes, components, intercept, mean):
    """Checked arrays of one width and one number of samples, codes as a csr_array."""
    X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
    codes = sparse.csr_array(check_codes(codes, "codes"), dtype=np.float64)
    codes.eliminate_zeros()
    check_consistent_length(X, codes)
    components = check_dictionary(components, "components")
    check_width(components, X, "components", "X")
    if len(components) != codes.shape[1]:
        raise ValueError(
            f"components has {len(components)} rows and codes has {codes.shape[1]} "
            "columns: give one direction for each latent."
        )
    n_features = X.shape[1]
    if intercept is None:
        intercept = np.zeros(n_features)
    intercept = check_mean(intercept, n_features, "intercept")
    mean = column_means(X) if mean is None else check_mean(mean, n_features)
    return X, codes, components, intercept, mean


def _curves(X, codes, components, intercept, mean, k):
    """`attribution_curves` with all parameters in their place."""
    X, codes, components, intercept, mean = _check(
        X, codes, components, intercept, mean
    )
    n_active = np.diff(codes.indptr)
    if codes.nnz == 0:
        raise ValueError("codes has no active latent: there is nothing to rank.")
    width = int(n_active.max())
    size = max(1, _CELLS_PER_BATCH // X.shape[1])
    rounding = (np.finfo(np.float64).eps * np.linalg.norm(mean)) ** 2
    sums, left, total = np.zeros((2, width + 1)), 0.0, 0.0
    for rows in gen_batches(X.shape[0], size):
        block = np.asarray(X[rows], dtype=np.float64)
        variance = np.sum((block - mean) ** 2, axis=1)
        used = variance > rounding
        errors = _errors(block - intercept, codes[rows], components, width)
        ratio = (errors > rounding).astype(np.float64)
        np.divide(errors, variance[:, None], out=ratio, where=used[:, None])
        sums += np.sum(1.0 - ratio, axis=1)
        left += float(errors[1, :, 0].sum())
        total += float(variance[used].sum())
    if total == 0:
        raise ValueError("X equals mean in every row: R^2 is undefined.")
    _warn_if_useless(1.0 - left / total)
    curves = sums / X.shape[0]
    kept = np.minimum(np.arange((width if k is None else k) + 1), width)
    return AttributionCurves(*curves[:, kept])


def _warn_if_useless(explained):
    """Warn that the parts of a reconstruction do not belong together."""
    if explained >= 0:
        return
    warnings.warn(
        f"codes @ components + intercept explains {explained:.3g} of the variance of "
        "X, less than mean does. Are components in units of X (an estimator that "
        "scales its input has them in scaled units: multiply by scale_), and is "
        "intercept what an empty code decodes to? skxsae.inspection.decoder gives "
        "both.",
        UserWarning,
        stacklevel=5,
    )


def _errors(residual, codes, components, width):
    """Squared errors (2, n_rows, width + 1) with and without the first latents."""
    rebuilt = codes @ components
    values, latents = _ranked(residual, rebuilt, codes, components, width)
    part = np.zeros_like(residual)  # of the latents up to here
    errors = np.empty((2, len(residual), width + 1))
    for r in range(width + 1):
        for i, approximation in enumerate((part, rebuilt - part)):
            left = residual - approximation
            errors[i, :, r] = np.einsum("ij,ij->i", left, left)
        if r < width:
            part += values[:, r, None] * components[latents[:, r]]
    return errors


def _ranked(residual, rebuilt, codes, components, width):
    """Values and latents of each row, most important first and padded with zeros."""
    rows = row_of_entries(codes)
    places = np.arange(codes.nnz) - codes.indptr[rows]
    values = np.zeros((len(residual), width))
    latents = np.zeros((len(residual), width), dtype=np.intp)
    values[rows, places] = codes.data
    latents[rows, places] = codes.indices
    # padding last, whatever it would add
    importance = np.full(values.shape, -np.inf)
    importance[rows, places] = 0.0
    target = 2.0 * residual - rebuilt
    for r in range(width):
        along = np.einsum("ij,ij->i", components[latents[:, r]], target)
        importance[:, r] += values[:, r] * along
    order = np.argsort(-importance, axis=1, kind="stable")
    return np.take_along_axis(values, order, 1), np.take_along_axis(latents, order, 1)
