"""How well reconstructions match their inputs: MSE, FVU, explained variance."""

import numpy as np
from sklearn.utils import check_array, check_consistent_length, gen_batches
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae._disk_array import DiskArray

_ROWS_PER_BATCH = 4096


@validate_params(
    {
        "X": ["array-like"],
        "X_hat": ["array-like"],
        "reduction": [StrOptions({"sum", "mean"})],
    },
    prefer_skip_nested_validation=True,
)
def mean_squared_reconstruction_error(X, X_hat, *, reduction="sum"):
    """Squared reconstruction error, averaged over rows.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs. Arrays on disk are read in batches of rows.

    X_hat : array-like of shape (n_samples, n_features)
        Their reconstructions.

    reduction : {"sum", "mean"}, default="sum"
        Whether the squared error of a row is the sum over its features or their mean.
        Sparse autoencoder papers print the sum for rows of unit length.

    Returns
    -------
    float
        Mean over rows, in squared units of `X`. Lower is better.

    Examples
    --------
    >>> from skxsae.metrics import mean_squared_reconstruction_error
    >>> X, X_hat = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]
    >>> mean_squared_reconstruction_error(X, X_hat)
    0.25
    >>> mean_squared_reconstruction_error(X, X_hat, reduction="mean")
    0.125
    """
    X, X_hat = _check_reconstruction(X, X_hat)
    error = _squared_error(X, X_hat) / X.shape[0]
    return error / X.shape[1] if reduction == "mean" else error


@validate_params(
    {"X": ["array-like"], "X_hat": ["array-like"], "mean": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def fraction_of_variance_unexplained(X, X_hat, *, mean=None):
    """Squared reconstruction error over the variance of the inputs (FVU).

    One ratio of two sums over the whole set, ``sum ||x - x_hat||^2 / sum ||x -
    mean||^2``, never an average of the ratios of batches.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs. Arrays on disk are read in batches of rows.

    X_hat : array-like of shape (n_samples, n_features)
        Their reconstructions.

    mean : array-like of shape (n_features,), default=None
        Reference that the variance is taken about, such as the mean of the training
        data. If None, the mean of `X`.

    Returns
    -------
    float
        0 for a perfect reconstruction, 1 for one that is no better than `mean`. Where
        the inputs do not vary but for rounding, 0 if the reconstruction is perfect but
        for rounding and 1 if it is not, as in :func:`sklearn.metrics.r2_score`.

    See Also
    --------
    explained_variance_ratio : One minus this.

    Examples
    --------
    >>> from skxsae.metrics import fraction_of_variance_unexplained
    >>> X, X_hat = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]
    >>> fraction_of_variance_unexplained(X, X_hat)
    0.5
    """
    X, X_hat = _check_reconstruction(X, X_hat)
    mean = column_means(X) if mean is None else check_mean(mean, X.shape[1])
    error = _squared_error(X, X_hat)
    variance = sum(np.sum((block - mean) ** 2) for block in _blocks(X, "X"))
    # constant rows: what is left is the rounding of their mean
    rounding = len(X) * (np.finfo(np.float64).eps * np.linalg.norm(mean)) ** 2
    if variance <= rounding:
        return float(error > rounding)
    return float(error / variance)


@validate_params(
    {"X": ["array-like"], "X_hat": ["array-like"], "mean": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def explained_variance_ratio(X, X_hat, *, mean=None):
    """Share of the variance of the inputs that reconstructions explain.

    One minus :func:`fraction_of_variance_unexplained`. For PCA it is the sum of its
    ``explained_variance_ratio_``. The `score` of the estimators of this package is the
    same ratio in the space that they normalise samples to: equal to this for
    ``normalize="scale"``, "center" and None, another number for those that change the
    rows or features by different factors.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs. Arrays on disk are read in batches of rows.

    X_hat : array-like of shape (n_samples, n_features)
        Their reconstructions.

    mean : array-like of shape (n_features,), default=None
        Reference that the variance is taken about, such as the mean of the training
        data. If None, the mean of `X`.

    Returns
    -------
    float
        1 for a perfect reconstruction; negative for one that is worse than `mean`.

    Examples
    --------
    >>> from skxsae.metrics import explained_variance_ratio
    >>> X, X_hat = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]
    >>> explained_variance_ratio(X, X_hat)
    0.5
    """
    return 1.0 - fraction_of_variance_unexplained(X, X_hat, mean=mean)


@validate_params(
    {"X": ["array-like"], "X_hat": ["array-like"], "mean": ["array-like", None]},
    prefer_skip_nested_validation=True,
)
def mean_sample_r2_score(X, X_hat, *, mean=None):
    """Explained variance of each sample, averaged over the samples.

    ``1 - ||x - x_hat||^2 / ||x - mean||^2`` of each row, the R^2 of [1]_ (whose printed
    formula has the two sums swapped). Rows close to the mean weigh as much as others,
    unlike in :func:`explained_variance_ratio`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs. Arrays on disk are read in batches of rows.

    X_hat : array-like of shape (n_samples, n_features)
        Their reconstructions.

    mean : array-like of shape (n_features,), default=None
        Reference that the variance is taken about. If None, the mean of `X`.

    Returns
    -------
    float
        1 for a perfect reconstruction. A row that equals `mean` but for rounding scores
        1 if its reconstruction does too, and 0 if not.

    See Also
    --------
    explained_variance_ratio : One ratio over all samples.
    scalar_mean_r2_score : The form about the mean of all entries.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix E.2.

    Examples
    --------
    >>> from skxsae.metrics import mean_sample_r2_score
    >>> X, X_hat = [[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.0, 1.0]]
    >>> mean_sample_r2_score(X, X_hat)
    0.5
    """
    X, X_hat = _check_reconstruction(X, X_hat)
    mean = column_means(X) if mean is None else check_mean(mean, X.shape[1])
    rounding = (np.finfo(np.float64).eps * np.linalg.norm(mean)) ** 2
    total = 0.0
    for block, block_hat in zip(_blocks(X, "X"), _blocks(X_hat, "X_hat"), strict=True):
        error = np.sum((block - block_hat) ** 2, axis=1)
        variance = np.sum((block - mean) ** 2, axis=1)
        ratio = (error > rounding).astype(np.float64)
        np.divide(error, variance, out=ratio, where=variance > rounding)
        total += np.sum(1.0 - ratio)
    return float(total / X.shape[0])


@validate_params(
    {"X": ["array-like"], "X_hat": ["array-like"]}, prefer_skip_nested_validation=True
)
def scalar_mean_r2_score(X, X_hat):
    """Explained variance about the mean of all entries, one number for all features.

    ``1 - sum (x_ij - x_hat_ij)^2 / sum (x_ij - m)^2`` with m the mean of every entry of
    `X`. On rows of unit length, whose entries average to about 0, it is about 1 minus
    the mean squared error: a set that does not vary but for its mean seems explained.
    Some released code reports this number as R^2.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Inputs. Arrays on disk are read in batches of rows.

    X_hat : array-like of shape (n_samples, n_features)
        Their reconstructions.

    Returns
    -------
    float
        1 for a perfect reconstruction. Where all entries are equal but for rounding, 1
        if the reconstruction is perfect but for rounding and 0 if it is not.

    See Also
    --------
    explained_variance_ratio : The same about the mean of each feature.

    Examples
    --------
    >>> from skxsae.metrics import scalar_mean_r2_score
    >>> X, X_hat = [[1.0, 3.0], [1.0, 3.0]], [[1.0, 2.0], [1.0, 3.0]]
    >>> scalar_mean_r2_score(X, X_hat)
    0.75
    """
    X, X_hat = _check_reconstruction(X, X_hat)
    mean = np.full(X.shape[1], column_means(X).mean())
    return explained_variance_ratio(X, X_hat, mean=mean)


def _check_reconstruction(X, X_hat):
    """Two 2-D arrays of one shape; arrays stay on disk if that is where they are."""
    X, X_hat = _as_2d(X, "X"), _as_2d(X_hat, "X_hat")
    check_consistent_length(X, X_hat)
    if X.shape[1] != X_hat.shape[1]:
        raise ValueError(
            f"X_hat has {X_hat.shape[1]} features and X has {X.shape[1]}: a "
            "reconstruction has the width of its input."
        )
    return X, X_hat


def _as_2d(X, name):
    """`X` itself if it is an array of floats, also on disk, else a checked copy."""
    if np.ndim(X) != 2:
        raise ValueError(
            f"{name} must be 2-dimensional, one row per sample, got {np.ndim(X)} "
            "dimensions."
        )
    if isinstance(X, (np.ndarray, DiskArray)) and X.dtype.kind == "f" and X.shape[0]:
        return X
    return check_array(X, dtype=[np.float64, np.float32], input_name=name)


def _blocks(X, name):
    """Consecutive rows in float64, checked to be finite."""
    for rows in gen_batches(X.shape[0], _ROWS_PER_BATCH):
        block = np.asarray(X[rows], dtype=np.float64)
        if not np.isfinite(block).all():
            row = rows.start + int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise ValueError(
                f"Input {name} contains NaN or infinity, first in row {row}."
            )
        yield block


def _squared_error(X, X_hat):
    """Sum of squared differences over all entries."""
    pairs = zip(_blocks(X, "X"), _blocks(X_hat, "X_hat"), strict=True)
    return float(sum(np.sum((block - block_hat) ** 2) for block, block_hat in pairs))


def column_means(X):
    """Mean of each feature, summed about the first row: long sums of 0.1 drift."""
    first = np.asarray(X[:1], dtype=np.float64)[0]
    return first + sum((b - first).sum(axis=0) for b in _blocks(X, "X")) / len(X)


def check_mean(mean, n_features, name="mean"):
    """A reference point as wide as the inputs."""
    mean = check_array(mean, dtype=np.float64, ensure_2d=False, input_name=name)
    if mean.shape != (n_features,):
        raise ValueError(
            f"{name} has shape {mean.shape}, but inputs have {n_features} features: "
            f"give an array of shape ({n_features},)."
        )
    return mean
