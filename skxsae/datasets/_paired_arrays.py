"""Two views on disk, the rows that pair them, and a split that keeps groups whole."""

import os
from numbers import Real

import numpy as np
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import Bunch
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._disk_array import DiskArray
from skxsae._files import call_given
from skxsae.datasets._arrays import MMAP_MODES, load_given
from skxsae.datasets._equal_rows import first_equal_rows

_VIEW = [str, os.PathLike, np.ndarray, DiskArray]
_COLUMN = [str, os.PathLike, "array-like", None]


@validate_params(
    {
        "x": _VIEW,
        "y": _VIEW,
        "groups": _COLUMN,
        "x_rows": _COLUMN,
        "test": _COLUMN,
        "test_size": [Interval(Real, 0, 1, closed="neither")],
        "mmap_mode": MMAP_MODES,
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def load_paired_arrays(
    x,
    y,
    *,
    groups=None,
    x_rows=None,
    test=None,
    test_size=0.2,
    mmap_mode="r",
    random_state=0,
):
    """Load two views with their pairing and a split that keeps groups whole.

    Each row of `y` makes one pair. Its row of `x` is the row of the same number or,
    where several rows of `y` belong to one row of `x` (captions of one image), the
    row that `x_rows` or `groups` says. The views stay on disk: the pairs of a batch
    are ``X[x_rows[batch]]`` and ``y[batch]``. Where they are of type
    :class:`DiskArray`, ``X.select(x_rows[train])`` and ``y.select(train)`` are the
    pairs to train on, still on disk.

    Parameters
    ----------
    x : str, path-like, ndarray or DiskArray of shape (n_rows_x, n_features_x)
        First view: an array, or where to find it, as in :func:`load_array`.

    y : str, path-like, ndarray or DiskArray of shape (n_pairs, n_features_y)
        Second view, likewise.

    groups : str, path-like or array-like of shape (n_pairs,), default=None
        Integer or string id of the group of each pair; pairs of one group are never
        split. If `x` has fewer rows than `y` and `x_rows` is None, `groups` must hold
        the row of `x` of each row of `y`. By default each row of `x` is a group, and
        rows of `x` that are equal, such as an image repeated for each of its captions,
        are one. Equal rows of `y` may be split: many images can share a short text.

    x_rows : str, path-like or array-like of shape (n_pairs,), default=None
        Row of `x` of each row of `y`. Only needed if neither the order of the rows nor
        `groups` tells it, such as where groups hold several rows of `x`.

    test : str, path-like or array-like of shape (n_pairs,) or (n_rows_x,), default=None
        Mask of the pairs to hold out, or of the rows of `x` whose pairs to hold out:
        booleans, or integers 0 and 1. A mask that fits both is one of pairs. By
        default `test_size` of the groups are drawn.

    test_size : float, default=0.2
        Share of the groups to hold out, in (0, 1). Ignored if `test` is given.

    mmap_mode : {'r', 'c'} or None, default='r'
        How to map the views into memory, as in :func:`load_array`.

    random_state : int, RandomState instance or None, default=0
        Determines which groups are held out. Ignored if `test` is given.

    Returns
    -------
    :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the following attributes.

        X : ndarray, memmap or DiskArray of shape (n_rows_x, n_features_x)
            First view, as stored.
        y : ndarray, memmap or DiskArray of shape (n_pairs, n_features_y)
            Second view, as stored.
        x_rows : ndarray of shape (n_pairs,)
            Row of `X` of each row of `y`. If `groups` is None, the first of those that
            are equal.
        groups : ndarray of shape (n_pairs,)
            Group of each pair.
        train : ndarray of shape (n_train,)
            Sorted rows of `y` to train on.
        test : ndarray of shape (n_test,)
            Sorted rows of `y` held out.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.

    ValueError
        If an array cannot be read or has an unusable shape or type, if the rows of
        the views cannot be paired, or if `test` splits a group or leaves one side
        empty.

    See Also
    --------
    load_array : Load a single array.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.datasets import load_paired_arrays
    >>> images, captions = np.eye(4, 3), np.ones((8, 2))
    >>> data = load_paired_arrays(
    ...     images, captions, groups=np.repeat([0, 1, 2, 3], 2), test_size=0.25
    ... )
    >>> data.test
    array([4, 5])
    >>> data.X[data.x_rows[data.train]].shape, data.y[data.train].shape
    ((6, 3), (6, 2))
    """
    X = _load_view("x", x, mmap_mode)
    Y = _load_view("y", y, mmap_mode)
    rows, ids = _load_pairing(len(X), len(Y), groups, x_rows)
    first_rows = rows
    if groups is None:
        first_rows = ids = first_equal_rows(X)[rows]
    if test is None:
        train, test = _draw_split(ids, test_size, random_state)
    else:
        train, test = _load_split(test, len(X), rows, ids)
    return Bunch(X=X, y=Y, x_rows=first_rows, groups=ids, train=train, test=test)


def _load_view(name, spec, mmap_mode):
    """A 2-D array of numbers with at least one row and one column."""
    array = load_given(name, spec, mmap_mode)
    given = call_given(name, spec)
    _check_kind(given, array, "fiub", "real numbers")
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{given} has shape {array.shape}; a view must be 2-D and not empty, of "
            "shape (n_rows, n_features) with one embedding per row. Reshape it and "
            "save it again."
        )
    return array


def _load_column(name, spec, kinds, meaning):
    """A 1-D array in memory whose dtype is of one of `kinds`."""
    array = load_given(name, spec, mmap_mode=None)
    given = call_given(name, spec)
    _check_kind(given, array, kinds, meaning)
    if array.ndim != 1:
        raise ValueError(
            f"{given} has shape {array.shape}; it must be 1-D. array.ravel() makes a "
            "column 1-D."
        )
    return array


def _check_kind(given, array, kinds, meaning):
    """Raise unless the dtype of `array` is of one of `kinds`."""
    if array.dtype.kind not in kinds:
        raise ValueError(
            f"{given} holds values of dtype {array.dtype}; it must hold {meaning}. "
            "Convert it with array.astype(...) and save it again."
        )


def _check_length(given, array, n_pairs):
    """Raise unless `array` has one entry per pair."""
    if len(array) != n_pairs:
        raise ValueError(
            f"{given} has {len(array)} entries, but y has {n_pairs} rows; it needs "
            "one entry per row of y."
        )


def _load_pairing(n_rows_x, n_pairs, groups, x_rows):
    """Row of x and group of each pair."""
    if x_rows is not None:
        rows = _load_x_rows("x_rows", x_rows, n_rows_x, n_pairs)
    elif n_rows_x == n_pairs:
        rows = np.arange(n_pairs)
    elif groups is not None and n_rows_x < n_pairs:
        rows = _load_x_rows("groups", groups, n_rows_x, n_pairs)
        return rows, rows
    else:
        raise ValueError(
            f"x has {n_rows_x} rows and y has {n_pairs}, so they do not pair row by "
            "row. Give views of equally many rows or, where several rows of y belong "
            "to one row of x (captions of an image), give groups: an integer array of "
            f"shape ({n_pairs},) with the row of x of each row of y. If several rows "
            "of x belong to one row of y, swap the views."
        )
    if groups is None:
        return rows, rows
    ids = _load_column("groups", groups, "iuUS", "integer or string ids")
    _check_length(call_given("groups", groups), ids, n_pairs)
    _check_nested(ids, rows)
    return rows, ids


def _load_x_rows(name, spec, n_rows_x, n_pairs):
    """Valid row numbers of x, one per pair."""
    rows = _load_column(name, spec, "iu", "the row of x of each row of y, as integers")
    given = call_given(name, spec)
    _check_length(given, rows, n_pairs)
    outside = np.flatnonzero((rows < 0) | (rows >= n_rows_x))
    if len(outside) > 0:
        raise ValueError(
            f"{given} has the value {rows[outside[0]]} at position {outside[0]}; x has "
            f"{n_rows_x} rows and y {n_pairs}, so it must hold the row of x of each "
            f"row of y, 0 to {n_rows_x - 1}. If the values are ids of the rows of x, "
            "replace each by the row that has this id."
        )
    return rows.astype(np.intp)


def _check_nested(groups, x_rows):
    """Raise if pairs of one row of x are in two groups."""
    _, codes = np.unique(groups, return_inverse=True)
    code_of_row = np.zeros(x_rows.max() + 1, dtype=codes.dtype)
    code_of_row[x_rows] = codes  # one of the groups of each row of x
    differing = np.flatnonzero(code_of_row[x_rows] != codes)
    if len(differing) > 0:
        row = x_rows[differing[0]]
        several = np.unique(groups[x_rows == row]).tolist()
        raise ValueError(
            f"groups puts pairs of row {row} of x into groups {several[0]!r} and "
            f"{several[1]!r}; all pairs of one row of x must be in one group. Merge "
            "the groups, or use x_rows as groups."
        )


def _draw_split(groups, test_size, random_state):
    """Rows to train on and rows held out, whole groups drawn at random."""
    n_groups = len(np.unique(groups))
    if n_groups <= np.ceil(test_size * n_groups):
        raise ValueError(
            f"test_size={test_size} of {n_groups} group(s) leaves none to train on. "
            "Lower test_size, give data with more groups, or choose the held-out rows "
            "with test."
        )
    splitter = GroupShuffleSplit(1, test_size=test_size, random_state=random_state)
    return next(splitter.split(groups, groups=groups))


def _load_split(test, n_rows_x, x_rows, groups):
    """Rows to train on and rows held out, by the mask of the user."""
    given = call_given("test", test)
    mask = _load_column("test", test, "biu", "booleans, True for held-out rows")
    if not np.all((mask == 0) | (mask == 1)):
        raise ValueError(
            f"{given} holds other integers than 0 and 1; it must be a mask, True for "
            "held-out rows. To hold out numbered rows: mask = numpy.zeros(n_rows, "
            "bool); mask[rows] = True."
        )
    if len(mask) not in (len(x_rows), n_rows_x):
        raise ValueError(
            f"{given} has {len(mask)} entries; it needs one per row of y "
            f"({len(x_rows)}) or one per row of x ({n_rows_x})."
        )
    mask = mask.astype(bool)
    if len(mask) != len(x_rows):
        mask = mask[x_rows]
    _check_mask(given, mask, groups)
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def _check_mask(given, mask, groups):
    """Raise if a mask of pairs leaves a side empty or splits a group."""
    if mask.all() or not mask.any():
        side = "no pair to train on" if mask.all() else "no pair to test on"
        raise ValueError(
            f"{given} is {mask[0]} for all {len(mask)} pairs and leaves {side}. Mark "
            "some pairs, not all, or leave test out to hold out a random share of the "
            "groups."
        )
    names, codes = np.unique(groups, return_inverse=True)
    sizes = np.bincount(codes)
    n_held_out = np.bincount(codes, weights=mask)
    split = np.flatnonzero((n_held_out > 0) & (n_held_out < sizes))
    if len(split) > 0:
        first = split[0]
        raise ValueError(
            f"{given} splits {len(split)} group(s): of the {sizes[first]} pairs of "
            f"group {names[first].item()!r} it holds out {n_held_out[first]:.0f}. All "
            "pairs of a group, by default those of equal rows of x, must be on one "
            "side; mark them all, or leave test out "
            "to hold out a random share of the groups."
        )
