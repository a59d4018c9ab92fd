"""Concepts of estimators, and the largest entries of rows."""

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skxsae._concepts import largest_of_rows


@given(
    block=hnp.arrays(
        np.float64,
        st.tuples(st.integers(1, 5), st.integers(1, 9)),
        elements=st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0]),
    ),
    n=st.integers(1, 10),
)
def test_the_largest_of_each_row_with_ties_by_column(block, n):
    columns, values = largest_of_rows(block, n)
    expected = np.argsort(-block, axis=1, kind="stable")[:, :n]
    assert_array_equal(columns, expected)
    assert_array_equal(values, np.take_along_axis(block, expected, axis=1))


def test_ties_at_the_cut():
    block = np.r_[np.zeros(50), np.ones(50)][None]
    assert largest_of_rows(block, 1)[0].tolist() == [[50]]
