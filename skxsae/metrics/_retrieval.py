"""Recall at k of cross-view retrieval."""

from numbers import Integral

import numpy as np
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae._validation import check_groups
from skxsae.metrics._codes import check_paired_codes
from skxsae.metrics._ranking import count_ahead, distinct_items
from skxsae.metrics._recall import DIRECTIONS, TIES, QueryRanks, RetrievalRanks
from skxsae.metrics._repeats import warn_of_repeats

_PASS_GROUPS = "Pass groups, the item that each pair belongs to."

_RANKS_CONSTRAINTS = {
    "X": ["array-like", "sparse matrix"],
    "y": ["array-like", "sparse matrix"],
    "groups": ["array-like", None],
    "candidates": [Interval(Integral, 1, None, closed="left"), None],
    "block_size": [Interval(Integral, 1, None, closed="left"), None],
}


@validate_params(_RANKS_CONSTRAINTS, prefer_skip_nested_validation=True)
def retrieval_ranks(X, y, *, groups=None, candidates=None, block_size=None):
    """Rank the true answers of every query once, in both directions.

    The result gives recall at any k, in either direction and with any rule for ties,
    without another pass over the scores. `recall_at_k_score` states what is ranked.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view, or dense embeddings in a joint space.

    y : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the second view, row i paired with row i of `X`.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to. If None, every pair is an item of its own.

    candidates : int, default=None
        If given, rank inside consecutive batches of this many pairs. Pairs that do not
        fill a batch are left out.

    block_size : int, default=None
        Number of queries that are scored at once. If None, about 4 MiB of scores for
        sparse codes and 32 MiB for dense ones. It does not change the result.

    Returns
    -------
    RetrievalRanks
        Ranks with the methods `recall` and `to_frame`.

    Raises
    ------
    ValueError
        If the views differ in shape, hold NaN or infinity, or if there are fewer pairs
        than `candidates`.

    Warns
    -----
    UserWarning
        If a tenth of the rows of a view or more are repeats and `groups` is None.

    See Also
    --------
    recall_at_k_score : One recall in one call.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import retrieval_ranks
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 8))
    >>> y = X + rng.standard_normal((100, 8))
    >>> retrieval_ranks(X, y).to_frame(k=(1, 5)).round(2)
               recall@1  recall@5
    direction
    x_to_y         0.46      0.79
    y_to_x         0.37      0.78
    mean           0.42      0.78
    """
    X, y = check_paired_codes(X, y)
    if groups is None:
        warn_if_repeated(X, y)
    return rank_pairs(X, y, groups, candidates, block_size)


@validate_params(
    {
        **_RANKS_CONSTRAINTS,
        "k": [Interval(Integral, 1, None, closed="left")],
        "direction": [StrOptions(set(DIRECTIONS))],
        "ties": [StrOptions(set(TIES))],
        "count_true_ties": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def recall_at_k_score(
    X,
    y,
    *,
    k=10,
    direction="mean",
    groups=None,
    ties="pessimistic",
    count_true_ties=True,
    candidates=None,
    block_size=None,
):
    """Share of queries that find a true answer among the k most similar.

    Similarity is the cosine of codes. Every item of one view queries the items of the
    other, and is a hit if at least one answer of its own group is in the top k.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view. Dense embeddings of a joint space do as well: they are
        the control that a dictionary is compared with.

    y : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the second view, row i paired with row i of `X`.

    k : int, default=10
        Number of answers that are looked at. No more than the distinct answers.

    direction : {"x_to_y", "y_to_x", "mean"}, default="mean"
        View of the queries and view of the answers; "mean" averages the two recalls.

    groups : array-like of shape (n_samples,), default=None
        Item that each pair belongs to, such as the image of a caption: all rows of the
        other view with the same group are true answers. If None, every pair is an item
        of its own. See the notes for rows that repeat.

    ties : {"pessimistic", "optimistic", "expected"}, default="pessimistic"
        Rank of the best true answer among answers with the same score: last of them,
        first of them, or the expectation over a random order of them.

    count_true_ties : bool, default=True
        Whether, in a pessimistic rank, further true answers that tie with the best one
        stand before it. The default gives ``rank = #{score >= best true score} - 1``.

    candidates : int, default=None
        If given, retrieve inside consecutive batches of this many pairs and average
        over all queries: with 256 and one-to-one pairs, the recall of [2]_. Pairs that
        do not fill the last batch are left out, as a smaller batch is an easier task.

    block_size : int, default=None
        Number of queries that are scored at once. If None, about 4 MiB of scores for
        sparse codes and 32 MiB for dense ones. It does not change the result.

    Returns
    -------
    float
        Recall at k, between 0 and 1.

    Raises
    ------
    ValueError
        If the views differ in shape, hold NaN or infinity, or if there are fewer pairs
        than `candidates` or fewer answers than `k`.

    Warns
    -----
    UserWarning
        If a tenth of the rows of a view or more are repeats and `groups` is None.

    See Also
    --------
    retrieval_ranks : All recalls of two views from one pass.
    make_recall_scorer : The same as a scorer of paired estimators.

    Notes
    -----
    *Repeated rows.* With several captions per image, the rows of the image repeat
    within its group. A view that points in one direction throughout every group, as the
    images do, is one query and one answer per group. In any other view every row is a
    query and an answer, but rows of a group that are equal, to a thousandth of their
    length, are one answer. Different rows do not merge because their codes share one
    latent, which would reward a poor dictionary with a smaller gallery.

    *Ties.* Scores within 1e-10 of the best true score tie with it, far above the
    rounding of a float64 sum, so that no rank depends on the order of a sum.

    *All-zero codes* rank last, as query and as answer, whatever `ties`.

    Scores are computed in blocks of ``block_size * n_samples``. The expectation over
    tied orders follows [1]_.

    References
    ----------
    .. [1] F. McSherry and M. Najork, "Computing information retrieval performance
       measures efficiently in the presence of tied scores", ECIR 2008.

    .. [2] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026.

    Examples
    --------
    Two images with two captions each. The second caption of the second image is closer
    to the first image.

    >>> from skxsae.metrics import recall_at_k_score
    >>> images = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
    >>> captions = [[2.0, 0.0], [3.0, 1.0], [0.0, 1.0], [2.0, 1.0]]
    >>> groups = [0, 0, 1, 1]
    >>> recall_at_k_score(images, captions, k=1, direction="x_to_y", groups=groups)
    1.0
    >>> recall_at_k_score(images, captions, k=1, direction="y_to_x", groups=groups)
    0.75
    """
    X, y = check_paired_codes(X, y)
    if groups is None:
        warn_if_repeated(X, y)
    ranks = rank_pairs(X, y, groups, candidates, block_size)
    return ranks.recall(
        k, direction=direction, ties=ties, count_true_ties=count_true_ties
    )


def rank_pairs(X, y, groups, candidates=None, block_size=None):
    """`retrieval_ranks` of checked codes."""
    groups = _check_groups(groups, X.shape[0])
    batches = _candidate_batches(X.shape[0], candidates)
    parts = [_rank_batch(X, y, groups, rows, block_size) for rows in batches]
    return RetrievalRanks(*(_join(side) for side in zip(*parts, strict=True)))


def warn_if_repeated(X, y, stacklevel=4, advice=_PASS_GROUPS):
    """Warn that repeated rows need groups to be ranked as what they are."""
    consequence = (
        "a repeated row counts as a wrong answer that ties with the right one. "
    )
    warn_of_repeats({"X": X, "y": y}, consequence + advice, stacklevel + 1)


def _check_groups(groups, n_samples):
    """Group of each row as an integer, each row its own by default."""
    return np.arange(n_samples) if groups is None else check_groups(groups, n_samples)


def _candidate_batches(n_samples, candidates):
    """Full batches of pairs."""
    if candidates is None:
        return [slice(0, n_samples)]
    if candidates > n_samples:
        raise ValueError(
            f"candidates={candidates} is larger than the number of pairs, {n_samples}: "
            "there is no full batch. Use fewer candidates."
        )
    return list(gen_batches(n_samples - n_samples % candidates, candidates))


def _rank_batch(X, y, groups, rows, block_size):
    """`QueryRanks` of both directions in one batch of pairs."""
    x_items = distinct_items(X[rows], groups[rows])
    y_items = distinct_items(y[rows], groups[rows])
    x_counts, y_counts = count_ahead(x_items, y_items, block_size)
    return (
        _query_ranks(x_items, x_counts, len(y_items.groups), rows.start),
        _query_ranks(y_items, y_counts, len(x_items.groups), rows.start),
    )


def _query_ranks(items, counts, n_gallery, first_row):
    """Ranks of one query per group if the view allows it, else of every row."""
    if items.is_one_per_group:
        query_items = np.argsort(items.first_row)
        queries = items.first_row[query_items]
    else:
        query_items = items.of_row
        queries = np.arange(len(query_items))
    counts = counts[query_items]
    return QueryRanks(
        queries + first_row,
        counts.above,
        counts.tied_wrong,
        counts.tied_true,
        np.full(len(queries), n_gallery),
    )


def _join(parts):
    """One `QueryRanks` from those of all batches."""
    names = QueryRanks.__dataclass_fields__
    return QueryRanks(*(np.concatenate([getattr(p, n) for p in parts]) for n in names))
