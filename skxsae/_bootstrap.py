"""How much the score of a match depends on the samples that happened to be there."""

import numpy as np
from scipy import sparse

from skxsae._affinity import METRICS
from skxsae._coactivation import Marginals

_RESAMPLES_AT_ONCE = 16


def score_intervals(X, y, groups, metric, n_resamples, random_state, level=0.95):
    """Percentile interval of the score of each column of X with that of y: (n, 2).

    `X` and `y` are csr_arrays with a column for each match. Whole groups are drawn with
    replacement.
    """
    if groups.max() == 0:
        raise ValueError(
            "groups has a single value, but the bootstrap draws whole groups and so "
            "needs at least 2. Pass groups=None if rows are independent, or "
            "n_bootstrap=0 to do without intervals."
        )
    X, y = X.astype(np.float64), y.astype(np.float64)
    parts = (X, X.multiply(X), y, y.multiply(y), X.multiply(y))
    sums = [_group_sums(part, groups) for part in parts]
    sizes = np.bincount(groups)
    samples = np.empty((n_resamples, X.shape[1]))
    for first in range(0, n_resamples, _RESAMPLES_AT_ONCE):
        rows = slice(first, min(first + _RESAMPLES_AT_ONCE, n_resamples))
        chances = np.full(len(sizes), 1 / len(sizes))
        drawn = random_state.multinomial(len(sizes), chances, rows.stop - rows.start)
        resampled = [np.asarray(drawn @ part) for part in sums]
        for i, n_samples in enumerate(drawn @ sizes):
            sums_i = [part[i] for part in resampled]
            samples[rows.start + i] = _scores(n_samples, sums_i, metric)
    tail = 50 * (1 - level)
    return np.percentile(samples, [tail, 100 - tail], axis=0).T


def _group_sums(codes, groups):
    """Sums of the rows of each group as a csr_array."""
    shape = (groups.max() + 1, len(groups))
    ones = np.ones(len(groups))
    return sparse.csr_array((ones, (groups, np.arange(len(groups)))), shape) @ codes


def _scores(n_samples, sums, metric):
    """Scores from the sums of each match."""
    x_total, x_square, y_total, y_square, cross = sums
    terms, combine = METRICS[metric]
    # codes that are 0 or 1 where firings are counted, so that totals are firings
    x_scale, x_shift = terms(Marginals(n_samples, x_total, x_total, x_square))
    y_scale, y_shift = terms(Marginals(n_samples, y_total, y_total, y_square))
    with np.errstate(invalid="ignore"):
        return np.nan_to_num(combine(cross, x_scale, y_scale, -x_shift * y_shift))
