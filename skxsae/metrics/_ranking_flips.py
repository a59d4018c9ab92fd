"""How rankings change when modality information is taken out of the queries."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

from skxsae.metrics._codes import check_width, row_batches, unit_rows
from skxsae.metrics._dictionary import check_directions

_SCORES_PER_BLOCK = 2**20
# of the largest score of a query: what differs by less is rounding
_DECIMALS = 12


@dataclass(frozen=True)
class RankingFlips:
    """Pairs of candidates that change places, query by query.

    Parameters
    ----------
    flipped : ndarray of shape (n_queries,)
        Share of the pairs of candidates whose order is reversed when the modality part
        of the query is taken away.

    guaranteed : ndarray of shape (n_queries,)
        Share of the pairs whose order no modality part of this spread can reverse.

    spread : ndarray of shape (n_queries,)
        Largest difference of the modality scores of two candidates.

    n_pairs : int
        Number of pairs of candidates.

    See Also
    --------
    ranking_flips : Counts them.

    Examples
    --------
    >>> from skxsae.metrics import ranking_flips
    >>> flips = ranking_flips([[0.0, 1.0]], [[0.1, 0.0]], [[1.0, 0.0], [0.6, 0.8]])
    >>> flips.n_pairs, flips.flipped_share, flips.guaranteed_share
    (1, 0.0, 1.0)
    """

    flipped: np.ndarray
    guaranteed: np.ndarray
    spread: np.ndarray
    n_pairs: int

    def __repr__(self):
        """Totals, not arrays."""
        return (
            f"RankingFlips(n_queries={len(self.flipped)}, n_pairs={self.n_pairs}, "
            f"flipped_share={self.flipped_share:.3g}, "
            f"guaranteed_share={self.guaranteed_share:.3g})"
        )

    @property
    def flipped_share(self):
        """Share of all pairs of all queries that are flipped."""
        return float(self.flipped.mean())

    @property
    def guaranteed_share(self):
        """Share of all pairs of all queries whose order is guaranteed."""
        return float(self.guaranteed.mean())

    def to_frame(self):
        """One row for each query.

        Returns
        -------
        DataFrame of shape (n_queries, 3)
            Columns "flipped", "guaranteed" and "spread".
        """
        return pd.DataFrame(
            {
                "flipped": self.flipped,
                "guaranteed": self.guaranteed,
                "spread": self.spread,
            }
        ).rename_axis("query")


@validate_params(
    {
        "content": ["array-like"],
        "modality": ["array-like"],
        "candidates": ["array-like"],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def ranking_flips(content, modality, candidates, *, block_size=None):
    """Count the pairs of candidates that removing modality information reorders.

    A query is the sum of a content part and a modality part. For two candidates, the
    content margin is the difference of their scores with the content part and the
    modality margin that with the modality part. The pair flips if and only if content
    margin times the sum of both is negative; it cannot flip if the content margin is
    larger than the spread of the modality scores over all candidates [1]_.

    Parameters
    ----------
    content : array-like of shape (n_queries, n_features)
        Content part of each query, such as its reconstruction from bimodal latents.

    modality : array-like of shape (n_queries, n_features)
        Modality part, such as what unimodal latents add to it.

    candidates : array-like of shape (n_candidates, n_features)
        Candidates, which are scaled to unit length.

    block_size : int, default=None
        Number of queries that are scored at once. If None, 8 MiB of scores. It does not
        change the result.

    Returns
    -------
    flips : RankingFlips
        Shares of the pairs, query by query and over all, with `to_frame`.

    Raises
    ------
    ValueError
        If shapes do not fit, or there are fewer than two candidates.

    See Also
    --------
    recall_drop_at_k : What retrieval loses by it.

    Notes
    -----
    Scores that agree to twelve decimals of the largest score of the query are equal,
    and a tie is no flip. Pairs are counted by sorting, in
    ``O(n_candidates log n_candidates)`` steps for each bit of a rank.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix K.

    Examples
    --------
    The content part prefers the second candidate and the modality part the first.

    >>> from skxsae.metrics import ranking_flips
    >>> candidates = [[1.0, 0.0], [0.6, 0.8]]
    >>> ranking_flips([[0.0, 1.0]], [[3.0, 0.0]], candidates).flipped
    array([1.])
    >>> ranking_flips([[0.0, 1.0]], [[1.0, 0.0]], candidates).flipped
    array([0.])
    """
    content = check_directions(content, "content")
    modality = check_directions(modality, "modality")
    candidates = check_directions(candidates, "candidates")
    check_consistent_length(content, modality)
    for part, name in ((content, "content"), (modality, "modality")):
        check_width(part, candidates, name, "candidates")
    n_candidates = len(candidates)
    if n_candidates < 2:
        raise ValueError(
            f"candidates has {n_candidates} row: a ranking needs at least two."
        )
    unit = unit_rows(candidates)
    size = block_size or max(1, _SCORES_PER_BLOCK // n_candidates)
    counts = [
        _count(row_of_content, row_of_modality)
        for rows in row_batches(len(content), size)
        for row_of_content, row_of_modality in zip(
            content[rows] @ unit.T, modality[rows] @ unit.T, strict=True
        )
    ]
    flipped, guaranteed, spread = map(np.array, zip(*counts, strict=True))
    n_pairs = n_candidates * (n_candidates - 1) // 2
    return RankingFlips(flipped / n_pairs, guaranteed / n_pairs, spread, n_pairs)


def _count(content, modality):
    """Numbers of flipped and of guaranteed pairs, and the spread, of one query."""
    spread = float(np.ptp(modality))
    unit = max(np.abs(content).max(), np.abs(modality).max()) or 1.0
    before = np.round((content + modality) / unit, _DECIMALS)
    after = np.round(content / unit, _DECIMALS)
    order = np.lexsort((before, after))
    ranks = np.unique(before, return_inverse=True)[1][order]
    return _n_inversions(ranks), _n_farther(after, spread / unit), spread


def _n_inversions(ranks):
    """Number of pairs of which the earlier has the larger rank.

    Two ranks differ at some highest bit. For each bit, those that agree above it are
    brought together, and every 0 counts the 1s before it.
    """
    total = 0
    for bit in range(int(ranks.max()).bit_length()):
        order = np.argsort(ranks >> (bit + 1), kind="stable")
        above = ranks[order] >> (bit + 1)
        is_one = (ranks[order] >> bit) & 1
        ones_before = np.cumsum(is_one) - is_one
        ones_before -= ones_before[np.searchsorted(above, above)]
        total += int(ones_before[is_one == 0].sum())
    return total


def _n_farther(scores, distance):
    """Number of pairs of scores that differ by more than a distance."""
    scores = np.sort(scores)
    farther = scores + distance + 2 * 10.0**-_DECIMALS  # both ends were rounded
    return int((len(scores) - np.searchsorted(scores, farther, side="right")).sum())
