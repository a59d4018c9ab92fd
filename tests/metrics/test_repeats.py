import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skxsae.metrics._codes import check_codes
from skxsae.metrics._repeats import first_equal_rows, first_of_groups, warn_of_repeats

ROWS = st.lists(
    st.lists(st.sampled_from([0.0, -0.0, 1.0, 2.5]), min_size=2, max_size=2),
    min_size=1,
    max_size=8,
)


@settings(deadline=None)
@given(rows=ROWS)
def test_first_rows_are_those_of_a_loop(rows):
    expected = [rows.index(row) for row in rows]
    dense = np.array(rows)
    assert first_equal_rows(dense).tolist() == expected
    assert first_equal_rows(sparse.csr_array(dense)).tolist() == expected
    stored = sparse.csr_array(np.ones_like(dense))
    stored.data[:] = dense.ravel()  # zeros that are stored
    assert first_equal_rows(check_codes(stored, "stored")).tolist() == expected


def test_first_rows_of_groups_are_in_the_order_of_rows():
    assert first_of_groups([2, 2, 0, 1, 0, 2]).tolist() == [0, 2, 3]
    assert first_of_groups(["b", "a", "b"]).tolist() == [0, 1]


@pytest.mark.parametrize(("n_repeats", "warns"), [(0, False), (1, False), (2, True)])
def test_a_tenth_of_repeats_is_worth_a_warning(n_repeats, warns):
    rows = np.arange(1.0, 21.0)[:, None]
    rows[20 - n_repeats :] = 1.0
    zeros = np.zeros((50, 1))  # say nothing of an item
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_repeats({"zeros": zeros, "rows": rows}, "Pass something.")
    assert len(caught) == warns
    if warns:
        assert str(caught[0].message) == (
            "Only 18 of the 20 rows of rows are distinct: Pass something."
        )
