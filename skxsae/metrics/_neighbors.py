"""Distances to the nearest neighbours, and how far rows are from a native set."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._codes import check_codes, check_width, row_batches, unit_rows
from skxsae.metrics._repeats import warn_of_repeats

# 16 MiB, so that a block and its partition stay near the cache
_DISTANCES_PER_BLOCK = 2**21
# cosine distances are accurate to about 1e-15: what differs by less is a tie
_DECIMALS = 12

_BLOCKS = {
    "k": [Interval(Integral, 1, None, closed="left")],
    "block_size": [Interval(Integral, 1, None, closed="left"), None],
}


@validate_params(
    {
        "queries": ["array-like", "sparse matrix"],
        "targets": ["array-like", "sparse matrix", None],
        **_BLOCKS,
    },
    prefer_skip_nested_validation=True,
)
def nearest_neighbor_distances(queries, targets=None, *, k=10, block_size=None):
    """Cosine distance of each row to its k-th nearest neighbour.

    The search is exact. Two histograms of these distances, of native rows and of moved
    ones, show whether an intervention brings rows into a distribution [1]_.

    Parameters
    ----------
    queries : {array-like, sparse matrix} of shape (n_queries, n_features)
        Embeddings or codes.

    targets : {array-like, sparse matrix} of shape (n_targets, n_features), default=None
        Rows that are searched. If None, the queries themselves, and a row is not its
        own neighbour. Other rows that are equal to it are: repeated rows should be
        passed once.

    k : int, default=10
        Which neighbour, 1 for the nearest.

    block_size : int, default=None
        Number of queries that are compared with all targets at once. If None, 16 MiB
        of distances. It does not change the result.

    Returns
    -------
    distances : ndarray of shape (n_queries,)
        ``1 - cos``, between 0 and 2. An all-zero row has a distance of 1 to all.

    Raises
    ------
    ValueError
        If there are fewer targets than `k`, or the widths differ.

    Warns
    -----
    UserWarning
        If `targets` is None and a tenth of the queries or more are repeats.

    See Also
    --------
    ood_score : How well these distances tell moved rows from native ones.

    References
    ----------
    .. [1] Y. Sun, Y. Ming, X. Zhu and Y. Li, "Out-of-distribution detection with deep
       nearest neighbors", ICML 2022.

    Examples
    --------
    >>> from skxsae.metrics import nearest_neighbor_distances
    >>> targets = [[1.0, 0.0], [0.0, 2.0], [0.0, -1.0]]
    >>> nearest_neighbor_distances([[3.0, 0.0]], targets, k=1)
    array([0.])
    >>> nearest_neighbor_distances(targets, k=1)
    array([1., 1., 1.])
    """
    queries = check_codes(queries, "queries")
    if targets is None:
        _warn_of_own_neighbors(queries, "queries")
        unit = unit_rows(queries)
        return _kth_distances(unit, unit, k, block_size, exclude_self=True)
    targets = check_codes(targets, "targets")
    check_width(queries, targets, "queries", "targets")
    return _kth_distances(unit_rows(queries), unit_rows(targets), k, block_size)


@validate_params(
    {
        "rows": ["array-like", "sparse matrix"],
        "native": ["array-like", "sparse matrix"],
        "side": [StrOptions({"farther", "either"})],
        **_BLOCKS,
    },
    prefer_skip_nested_validation=True,
)
def ood_score(rows, native, *, k=10, side="farther", block_size=None):
    """How well the distance to a native set tells moved rows from native ones.

    Each row has a cosine distance to its `k`-th nearest neighbour among the native
    rows, which are not neighbours of themselves. The score is the accuracy, at the best
    threshold on that distance and with both classes weighted as if they were of equal
    size, of telling the rows from the native ones [1]_.

    Parameters
    ----------
    rows : {array-like, sparse matrix} of shape (n_rows, n_features)
        Rows that may be out of distribution: queries, or another view.

    native : {array-like, sparse matrix} of shape (n_native, n_features)
        Rows of the distribution itself, each once: a repeated row is its own neighbour.

    k : int, default=10
        Which neighbour.

    side : {"farther", "either"}, default="farther"
        Whether rows are recognised by a larger distance only, or by a larger or a
        smaller one, whichever tells more.

    block_size : int, default=None
        Number of rows that are compared with all native ones at once. If None, 16 MiB
        of distances. It does not change the result.

    Returns
    -------
    score : float
        0.5 if the distances tell nothing, 1 if they tell all.

    Raises
    ------
    ValueError
        If there are no more than `k` native rows, or the widths differ.

    Warns
    -----
    UserWarning
        If a tenth of the native rows or more are repeats.

    See Also
    --------
    nearest_neighbor_distances : The distances.
    modality_gap_report : This score beside other measures of the gap of two views.

    Notes
    -----
    The published values classify equally many rows of both kinds, where the score is
    the plain accuracy. Distances that agree to twelve decimals are equal.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix H.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import ood_score
    >>> native = np.random.default_rng(0).standard_normal((200, 8)) + 1
    >>> ood_score(-native, native)
    1.0
    """
    rows, native = check_codes(rows, "rows"), check_codes(native, "native")
    check_width(rows, native, "rows", "native")
    _warn_of_own_neighbors(native, "native")
    return checked_ood_score(rows, native, k, side, block_size)


def checked_ood_score(rows, native, k, side="farther", block_size=None):
    """`ood_score` of checked rows."""
    unit = unit_rows(native)
    inside = _kth_distances(unit, unit, k, block_size, exclude_self=True)
    outside = _kth_distances(unit_rows(rows), unit, k, block_size)
    score = _best_accuracy(inside, outside)
    if side == "either":
        score = max(score, _best_accuracy(outside, inside))
    return score


def _warn_of_own_neighbors(rows, name):
    """Warn of rows that are their own neighbours, as they are there twice."""
    consequence = (
        "a repeated row is its own nearest neighbour. Pass each row once, such as the "
        "first of each item."
    )
    warn_of_repeats({name: rows}, consequence, stacklevel=5)


def _kth_distances(queries, targets, k, block_size, exclude_self=False):
    """Distance of each unit row to its k-th nearest target."""
    n_targets = targets.shape[0] - exclude_self
    if k > n_targets:
        raise ValueError(
            f"k={k} is larger than the number of neighbours that a row can have, "
            f"{n_targets}. Use a smaller k, or more rows."
        )
    if sparse.issparse(queries) != sparse.issparse(targets):
        queries, targets = sparse.csr_array(queries), sparse.csr_array(targets)
    size = block_size or max(1, _DISTANCES_PER_BLOCK // targets.shape[0])
    kth = [
        _kth_largest(_similarities(queries, targets, rows, exclude_self), k)
        for rows in row_batches(queries.shape[0], size)
    ]
    return np.clip(1.0 - np.concatenate(kth), 0.0, 2.0)


def _similarities(queries, targets, rows, exclude_self):
    """Cosines of a block of queries with all targets, -inf of a row with itself."""
    cosines = queries[rows] @ targets.T
    if sparse.issparse(cosines):
        cosines = cosines.toarray()
    if exclude_self:
        cosines[np.arange(len(cosines)), np.arange(rows.start, rows.stop)] = -np.inf
    return cosines


def _kth_largest(values, k):
    """The k-th largest value of each row."""
    place = values.shape[1] - k
    return np.partition(values, place, axis=1)[:, place]


def _best_accuracy(inside, outside):
    """Balanced accuracy of "outside is above the threshold" at the best threshold."""
    inside = np.sort(np.round(inside, _DECIMALS))
    outside = np.sort(np.round(outside, _DECIMALS))
    thresholds = np.append(-np.inf, np.union1d(inside, outside))
    kept = np.searchsorted(inside, thresholds, side="right") / len(inside)
    missed = np.searchsorted(outside, thresholds, side="right") / len(outside)
    return float(np.max(kept + 1.0 - missed) / 2)
