"""Pairs to learn from and pairs to judge by, with whole groups on either side."""

from numbers import Integral, Real

from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.utils import _safe_indexing, indexable
from sklearn.utils._param_validation import Interval

TEST_SIZE = [
    Interval(Real, 0, 1, closed="neither"),
    Interval(Integral, 1, None, closed="left"),
]


def split_pairs(X, y, groups, test_size, random_state):
    """Two triples (X, y, groups): those that are learnt from, and those held out."""
    X, y, groups = indexable(X, y, groups)
    splitter = ShuffleSplit if groups is None else GroupShuffleSplit
    split = splitter(1, test_size=test_size, random_state=random_state)
    return tuple(
        tuple(None if part is None else _safe_indexing(part, rows) for part in parts)
        for parts, rows in (
            ((X, y, groups), rows) for rows in next(split.split(X, groups=groups))
        )
    )
