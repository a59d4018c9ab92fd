"""Rows that are there more than once, such as an image for each of its captions."""

import warnings

import numpy as np
from scipy import sparse

from skxsae.metrics._codes import is_zero_row

_MUCH_REPEATED = 0.1


def first_equal_rows(view):
    """For each row of checked codes, the first row that equals it."""
    first: dict[int, int] = {}
    return np.array([first.setdefault(key, i) for i, key in enumerate(_keys(view))])


def first_of_groups(groups):
    """First row of each group, in the order of the rows."""
    return np.sort(np.unique(groups, return_index=True)[1])


def is_much_repeated(n_rows, n_distinct):
    """Whether a tenth of the rows or more are there before."""
    return n_rows - n_distinct >= max(1, _MUCH_REPEATED * n_rows)


def warn_of_repeats(views, consequence, stacklevel=4):
    """Warn that a tenth of the rows of a view or more are there before.

    Rows of zeros do not count: they say nothing of an item.
    """
    for name, view in views.items():
        distinct = first_equal_rows(view)[~is_zero_row(view)]
        n_rows, n_distinct = len(distinct), len(np.unique(distinct))
        if is_much_repeated(n_rows, n_distinct):
            warnings.warn(
                f"Only {n_distinct} of the {n_rows} rows of {name} are distinct: "
                f"{consequence}",
                UserWarning,
                stacklevel=stacklevel,
            )
            return


def _keys(view):
    """Yield what tells each row from others."""
    if not sparse.issparse(view):
        for row in view:
            yield hash((row + 0.0).tobytes())  # -0.0 is 0.0
        return
    if not view.data.all():
        view = view.copy()
        view.eliminate_zeros()
    for start, end in zip(view.indptr, view.indptr[1:], strict=False):
        yield hash((view.indices[start:end].tobytes(), view.data[start:end].tobytes()))
