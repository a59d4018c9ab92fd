"""Pairs to learn from and pairs to judge by, with whole groups on either side."""

from numbers import Integral, Real

import numpy as np
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.utils import _safe_indexing, check_consistent_length, indexable
from sklearn.utils._param_validation import Interval

from skxsae._validation import check_groups
from skxsae.metrics._recall import check_depths
from skxsae.metrics._retrieval import warn_if_repeated

TEST_SIZE = [
    Interval(Real, 0, 1, closed="neither"),
    Interval(Integral, 1, None, closed="left"),
]


def split_pairs(X, y, groups, test_size, random_state, test=None, *, stacklevel=5):
    """Two triples (X, y, groups): those that are learnt from, and those held out.

    The rows of `test` are held out if they are given, else a random share. A warning
    tells of repeats without groups, wherever the random share falls.
    """
    X, y, groups = indexable(X, y, groups)
    check_consistent_length(X, y)
    if groups is None:
        warn_if_repeated(np.asarray(X), np.asarray(y), stacklevel=stacklevel)
    else:
        numbers = check_groups(groups, len(groups))
    if test is None:
        splitter = ShuffleSplit if groups is None else GroupShuffleSplit
        split = splitter(1, test_size=test_size, random_state=random_state)
        sides = next(split.split(X, groups=groups))
    else:
        is_test = _check_test(test, len(X))
        if groups is not None:
            _check_sides(numbers, is_test)
        sides = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    return tuple(
        tuple(None if part is None else _safe_indexing(part, rows) for part in parts)
        for parts, rows in (((X, y, groups), rows) for rows in sides)
    )


def items_of(X, groups):
    """Number of the item of each held-out pair."""
    return np.arange(len(X)) if groups is None else check_groups(groups, len(groups))


def check_held_out_depths(k, items, name="k"):
    """Numbers of answers that recall can look at among held-out items."""
    return check_depths(
        k,
        items.max() + 1,
        name,
        "pairs, or groups, that are held out. Raise test_size for more of them",
    )


def _check_test(test, n_samples):
    """Mask of the rows that are held out."""
    test = np.asarray(test)
    if not test.size:
        raise ValueError("test is empty: no pair is held out.")
    if test.ndim != 1 or test.dtype.kind not in "biu":
        raise ValueError(
            f"test has type {test.dtype} and {test.ndim} dimensions: it must be a mask "
            "of the rows that are held out, or their numbers."
        )
    if test.dtype == bool:
        if len(test) != n_samples:
            raise ValueError(
                f"test is a mask of {len(test)} rows for {n_samples} pairs."
            )
        mask = test
    else:
        wrong = test[(test < 0) | (test >= n_samples)]
        if len(wrong):
            raise ValueError(
                f"test has the row {wrong[0]}, but rows are 0 to {n_samples - 1}."
            )
        mask = np.isin(np.arange(n_samples), test)
    if mask.all() or not mask.any():
        raise ValueError(
            f"test holds out {mask.sum()} of {n_samples} pairs: leave some to learn "
            "from and some to judge by."
        )
    return mask


def _check_sides(groups, is_test):
    """Refuse a group that is learnt from and judged by."""
    both = np.intersect1d(groups[is_test], groups[~is_test])
    if len(both):
        row = int(np.flatnonzero(groups == both[0])[0])
        raise ValueError(
            f"test holds out some pairs of the group of row {row} and not the others: "
            "hold out whole groups."
        )
