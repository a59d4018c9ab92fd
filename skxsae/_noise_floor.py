"""What a matching scores by chance: pairs of rows are broken, nothing else is."""

from typing import NamedTuple

import numpy as np
from scipy.stats import nbinom


def repaired_rows(groups, random_state):
    """Row of y for each row of X after whole groups were re-paired at random.

    No group keeps its partner. Groups are re-paired along a random ring in which
    neighbours have equal sizes, or the nearest sizes there are. The rows of a group of
    X take those of its new partner in order, starting over where the partner has fewer.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        raise ValueError(
            "groups has a single value, but the noise floor re-pairs whole groups and "
            "so needs at least 2. Pass groups=None if rows are independent, or "
            "n_null=0 to do without the noise floor."
        )
    order = np.argsort(group, kind="stable")
    first = np.cumsum(sizes) - sizes
    position = np.empty(len(group), dtype=np.intp)
    position[order] = np.arange(len(group)) - first[group[order]]
    partner = _repaired_groups(sizes, random_state)[group]
    return order[first[partner] + position % sizes[partner]]


def _repaired_groups(sizes, random_state):
    """New partner of each group: the next on a ring of groups of similar size."""
    by_size = np.lexsort((random_state.permutation(len(sizes)), sizes))
    # up through every second size and down through the others
    ring = np.concatenate([by_size[::2], by_size[1::2][::-1]])
    partner = np.empty_like(ring)
    partner[ring] = np.roll(ring, -1)
    return partner


class FalseMatchShare(NamedTuple):
    """Share of chance among some matches: expected, and a 95 % interval."""

    expected: float
    low: float
    high: float
    n_matches: int


def share_without_partner(scores, null_scores):
    """Share of the matches with no true partner: Storey's, at the null's median.

    One more match is taken to be low than are, so that the share is never 0.
    """
    if len(scores) == 0 or len(null_scores) == 0:
        return np.nan
    median = np.median(null_scores)
    low = (1 + np.count_nonzero(scores <= median)) / len(scores)
    return min(1.0, float(low / np.mean(null_scores <= median)))


class NullMatches:
    """What chance makes of matches, from the scores of `n_null` matchings of chance."""

    def __init__(self, scores, null_scores, n_null, chance, lowest=-np.inf):
        self.scores, self.null_scores = np.sort(scores), np.sort(null_scores)
        self.n_null, self.chance = n_null, chance
        self.lowest = lowest  # matches that score lower were given up

    def _counts(self, min_score):
        """Numbers of matches, and of those of chance, that score no lower."""
        min_score = np.maximum(min_score, self.lowest)
        return (
            len(self.scores) - np.searchsorted(self.scores, min_score),
            len(self.null_scores) - np.searchsorted(self.null_scores, min_score),
        )

    def share(self, min_score):
        """The `FalseMatchShare` of the matches that score no lower."""
        n_matches, n_null = self._counts(min_score)
        if n_matches == 0 or self.n_null == 0:
            return FalseMatchShare(np.nan, np.nan, np.nan, int(n_matches))
        per_count = self.chance / self.n_null
        # a count of chance, known from n_null in self.n_null tries: gamma-Poisson
        counts = nbinom(n_null + 0.5, 1 / (1 + per_count)).ppf([0.025, 0.975])
        shares = np.minimum(np.append(n_null * per_count, counts) / n_matches, 1.0)
        expected, low, high = shares.tolist()
        return FalseMatchShare(expected, low, high, int(n_matches))

    def lowest_share(self, scores):
        """Lowest expected share at which each score is kept."""
        if self.n_null == 0 or len(self.scores) == 0:
            return np.full(len(scores), np.nan)
        n_matches, n_null = self._counts(self.scores)
        shares = np.minimum(self.chance / self.n_null * n_null / n_matches, 1.0)
        lowest = np.minimum.accumulate(shares)
        return lowest[np.searchsorted(self.scores, scores)]

    def score_at(self, share):
        """Lowest score at which the expected share is no larger."""
        if self.n_null == 0:
            return np.nan
        kept = np.flatnonzero(self.lowest_share(self.scores) <= share)
        return float(self.scores[kept[0]]) if len(kept) else np.inf
