import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skxsae.metrics import keep_top_k
from skxsae.metrics._codes import (
    check_codes,
    check_paired_codes,
    is_zero_row,
    paired_cosines,
    row_norms,
    unit_rows,
)

small_codes = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 6), st.integers(1, 5)),
    elements=st.integers(-3, 3).map(float),
)


def reference_top_k(codes, k):
    kept = np.zeros_like(codes)
    for row, code in enumerate(codes):
        by_size = sorted(range(len(code)), key=lambda j: (-abs(code[j]), j))
        kept[row, by_size[:k]] = code[by_size[:k]]
    return kept


@settings(deadline=None, max_examples=50)
@given(codes=small_codes, k=st.integers(1, 6))
def test_keep_top_k_matches_sorting_each_row(codes, k):
    expected = reference_top_k(codes, k)
    assert_array_equal(keep_top_k(codes, k), expected)
    assert_array_equal(keep_top_k(sparse.csr_array(codes), k).toarray(), expected)


def test_top_1_of_a_top_k_code_is_the_top_1_code():
    activations = np.random.default_rng(0).exponential(size=(50, 20))
    assert_array_equal(
        keep_top_k(keep_top_k(activations, 4), 1), keep_top_k(activations, 1)
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csr_matrix])
def test_keep_top_k_gives_a_valid_csr_array_of_the_same_dtype(kind, dtype):
    codes = kind(np.array([[0, 2, 1], [0, 0, 0], [3, 1, 2]], dtype=dtype))
    top = keep_top_k(codes, 2)
    assert isinstance(top, sparse.csr_array)
    assert top.dtype == dtype
    assert top.has_canonical_format
    assert_array_equal(np.diff(top.indptr), [2, 0, 2])


def test_keep_top_k_leaves_its_input_alone():
    codes = sparse.csr_array(np.array([[1.0, 2.0], [3.0, 0.0]]))
    before = codes.copy()
    keep_top_k(codes, 1)
    assert (codes != before).nnz == 0


@pytest.mark.parametrize("k", [0, -1, 1.5, None])
def test_keep_top_k_rejects_a_bad_k(k):
    with pytest.raises(ValueError, match="'k' parameter of keep_top_k"):
        keep_top_k([[1.0]], k)


def test_explicit_zeros_and_duplicate_entries_are_no_codes():
    data, indices = np.array([0.0, 1.0, 2.0]), np.array([0, 1, 1])
    codes = sparse.csr_array((data, indices, np.array([0, 3])), shape=(1, 3))
    assert_array_equal(keep_top_k(codes, 2).toarray(), [[0.0, 3.0, 0.0]])
    assert keep_top_k(codes, 2).nnz == 1
    assert codes.nnz == 3


@settings(deadline=None, max_examples=50)
@given(codes=small_codes)
def test_row_arithmetic_is_the_same_dense_and_sparse(codes):
    other = np.roll(codes, 1, axis=0)
    norms = np.linalg.norm(codes, axis=1)
    for kind in (np.asarray, sparse.csr_array):
        view = kind(codes.astype(np.float32))
        unit = unit_rows(view)
        dense = unit.toarray() if sparse.issparse(unit) else unit
        assert dense.dtype == np.float64
        assert_allclose(dense, codes / np.where(norms > 0, norms, 1)[:, None])
        assert_allclose(row_norms(view), norms)
        assert_array_equal(is_zero_row(view), norms == 0)
        products = norms * np.linalg.norm(other, axis=1)
        expected = np.sum(codes * other, axis=1) / np.where(products > 0, products, 1)
        assert_allclose(paired_cosines(view, kind(other)), expected, atol=1e-12)


def test_large_float32_codes_do_not_overflow():
    codes = np.full((1, 4), 1e30, dtype=np.float32)
    assert_allclose(row_norms(codes), 2e30, rtol=1e-6)
    assert_allclose(row_norms(sparse.csr_array(codes)), 2e30, rtol=1e-6)


@pytest.mark.parametrize(
    "codes",
    [
        [[1, 0], [0, 2]],
        np.array([[1, 0], [0, 2]], dtype=np.float16),
        np.array([[1, 0], [0, 2]], dtype=object),
        np.asfortranarray([[1.0, 0.0], [0.0, 2.0]]),
        pd.DataFrame([[1.0, 0.0], [0.0, 2.0]]),
        sparse.csc_array([[1.0, 0.0], [0.0, 2.0]]),
        sparse.coo_array([[1, 0], [0, 2]]),
        sparse.csr_matrix([[1.0, 0.0], [0.0, 2.0]]),
    ],
    ids=lambda codes: type(codes).__name__,
)
def test_every_usual_input_is_taken(codes):
    checked = check_codes(codes, "X")
    dense = checked.toarray() if sparse.issparse(checked) else checked
    assert checked.dtype in (np.float32, np.float64)
    assert_array_equal(dense, [[1.0, 0.0], [0.0, 2.0]])


def test_a_sparse_and_a_dense_view_meet_as_csr():
    X, y = check_paired_codes(sparse.csr_array(np.eye(2)), np.eye(2))
    assert isinstance(X, sparse.csr_array)
    assert isinstance(y, sparse.csr_array)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.ones(3), np.ones((3, 1)), "X must be 2-dimensional.* length 3"),
        (np.ones((3, 1)), np.ones(3), "y must be 2-dimensional.* length 3"),
        (np.ones((3, 2)), np.ones((2, 2)), "inconsistent numbers of samples"),
        (np.ones((3, 2)), np.ones((3, 4)), "X has 2 columns and y has 4.*Align them"),
        (np.ones((3, 2)), np.full((3, 2), np.nan), "Input y contains NaN"),
        (np.full((3, 2), np.inf), np.ones((3, 2)), "Input X contains infinity"),
        (sparse.csr_array([[np.nan]]), [[1.0]], "Input X contains NaN"),
        (np.ones((0, 2)), np.ones((0, 2)), "0 sample"),
        ([["a"]], [[1.0]], "could not convert string to float"),
    ],
)
def test_bad_codes_are_named(X, y, message):
    with pytest.raises(ValueError, match=message):
        check_paired_codes(X, y)


def test_an_estimator_is_no_code():
    class Estimator:
        def fit(self):
            """As estimators have."""

    with pytest.raises(TypeError, match="codes is an estimator, Estimator: pass the"):
        check_codes(Estimator(), "codes")
