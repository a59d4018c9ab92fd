"""Checks and row-wise arithmetic on codes, CSR or dense, shared by the metrics."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

FLOATS = [np.float64, np.float32]

# what two arrays with the same columns must be
ONE_SPACE = "rows of one space"
SAME_LATENTS = "codes over the same latents"
ALIGNED_LATENTS = (
    f"{SAME_LATENTS}. Align them first, with PostHocAlignedSAE or CoactivationMatcher"
)


def refuse_pair(codes, name):
    """Refuse the codes of both views in place of those of one."""
    if isinstance(codes, tuple) and any(map(sparse.issparse, codes)):
        raise ValueError(
            f"{name} is a tuple of {len(codes)}, as transform(X, y) returns: pass the "
            "codes of one view."
        )


def check_codes(codes, name):
    """Finite 2-D codes of floats, as a csr_array or an ndarray."""
    if hasattr(codes, "fit"):
        raise TypeError(
            f"{name} is an estimator, {type(codes).__name__}: pass the codes that its "
            "transform returns."
        )
    refuse_pair(codes, name)
    if not sparse.issparse(codes) and np.ndim(codes) == 1:
        raise ValueError(
            f"{name} must be 2-dimensional, one row per sample, got a 1-dimensional "
            f"array of length {len(codes)}; use {name}.reshape(1, -1) for one sample."
        )
    codes = check_array(codes, accept_sparse="csr", dtype=FLOATS, input_name=name)
    if not sparse.issparse(codes):
        return codes
    codes = sparse.csr_array(codes)
    if not codes.has_canonical_format:
        codes = codes.copy()
        codes.sum_duplicates()
    return codes


def check_width(first, second, name, other, both=ONE_SPACE):
    """Two arrays have equally many columns."""
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"{name} has {first.shape[1]} columns and {other} has {second.shape[1]}: "
            f"both must be {both}."
        )


def check_views(X, y, both=ONE_SPACE):
    """Rows of two views over the same columns, both sparse or both dense."""
    X, y = check_codes(X, "X"), check_codes(y, "y")
    check_width(X, y, "X", "y", both)
    if sparse.issparse(X) != sparse.issparse(y):
        X, y = sparse.csr_array(X), sparse.csr_array(y)
    return X, y


def check_paired_codes(X, y, both=ALIGNED_LATENTS):
    """Codes of two views with one row per pair and one column per aligned latent."""
    X, y = check_views(X, y, both)
    check_consistent_length(X, y)
    return X, y


def check_labels(labels, name):
    """One class for each sample."""
    shape = np.shape(labels)
    if len(shape) == 2 and shape[1] > 1:
        raise ValueError(
            f"{name} must be 1-dimensional, one class per sample, got shape {shape}; "
            f"use {name}.argmax(axis=1) for one-hot rows."
        )
    if len(shape) not in (1, 2):
        raise ValueError(
            f"{name} must be 1-dimensional, one class per sample, got {len(shape)} "
            "dimensions."
        )
    return np.ravel(labels)


def row_batches(n_rows, size):
    """Consecutive slices of rows; none for no rows, unlike `gen_batches`."""
    return [slice(i, min(i + size, n_rows)) for i in range(0, n_rows, size)]


def row_of_entries(codes):
    """Row of each stored entry of a CSR array."""
    return np.repeat(np.arange(codes.shape[0]), np.diff(codes.indptr))


def row_dots(X, y):
    """Dot product of each row of X with the same row of y, in float64."""
    if sparse.issparse(X):
        return np.asarray(X.astype(np.float64).multiply(y).sum(axis=1)).ravel()
    return np.einsum("ij,ij->i", X, y, dtype=np.float64)


def row_norms(codes):
    """Euclidean length of each row, in float64."""
    return np.sqrt(row_dots(codes, codes))


def unit_rows(codes):
    """Rows in float64 scaled to unit length, all-zero rows left as they are."""
    norms = row_norms(codes)
    norms[norms == 0] = 1.0
    if not sparse.issparse(codes):
        return codes / norms[:, None]
    data = codes.data / norms[row_of_entries(codes)]
    unit = sparse.csr_array(
        (data, codes.indices.copy(), codes.indptr.copy()), shape=codes.shape
    )
    unit.eliminate_zeros()
    return unit


def is_zero_row(codes):
    """Mask of the rows without a non-zero entry."""
    if sparse.issparse(codes):
        rows = row_of_entries(codes)[codes.data != 0]
        return np.bincount(rows, minlength=codes.shape[0]) == 0
    return ~codes.any(axis=1)


def paired_cosines(X, y):
    """Cosine of each row of X with the same row of y, 0 where either row is zero."""
    return row_dots(unit_rows(X), unit_rows(y))


@validate_params(
    {
        "codes": ["array-like", "sparse matrix"],
        "k": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def keep_top_k(codes, k):
    """Keep the k entries of each row that are largest in absolute value.

    The top-1 of a top-k code is the code that the same encoder gives with k = 1, so the
    form of feature recovery and feature alignment with one active latent needs no
    second model. Of equal entries the one with the lowest latent index is kept.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes, dense or CSR.

    k : int
        Number of entries to keep per row. Rows with fewer are left as they are.

    Returns
    -------
    {ndarray, csr_array} of shape (n_samples, n_latents)
        The codes with everything else set to zero: an array for dense codes, a
        csr_array for sparse ones.

    Examples
    --------
    >>> from skxsae.metrics import keep_top_k
    >>> keep_top_k([[0.0, 3.0, 1.0], [2.0, 0.0, 0.5]], k=1)
    array([[0., 3., 0.],
           [2., 0., 0.]])
    """
    checked = check_codes(codes, "codes")
    if not sparse.issparse(checked):
        return _keep_top_k_sparse(sparse.csr_array(checked), k).toarray()
    return _keep_top_k_sparse(checked, k)


def _keep_top_k_sparse(codes, k):
    """`keep_top_k` on a canonical csr_array."""
    rows = row_of_entries(codes)
    order = np.lexsort((codes.indices, -np.abs(codes.data), rows))
    rank = np.empty(codes.nnz, dtype=np.intp)
    rank[order] = np.arange(codes.nnz) - codes.indptr[rows]
    kept = (rank < k) & (codes.data != 0)
    counts = np.bincount(rows[kept], minlength=codes.shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(codes.indptr.dtype)
    return sparse.csr_array(
        (codes.data[kept], codes.indices[kept], indptr), shape=codes.shape
    )
