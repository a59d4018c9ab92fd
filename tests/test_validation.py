import re

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from sklearn.base import BaseEstimator
from sklearn.exceptions import DataConversionWarning

from skxsae import _views
from skxsae._distributed import ALONE, Peers
from skxsae._validation import (
    _fingerprints,
    check_finite,
    check_same_length,
    check_second_view,
    check_view,
    distinct_rows,
    resolve_device,
    unchanged_on_error,
    without_torch,
)

ROWS = np.random.default_rng(0).normal(size=(20, 3))


class Estimator(BaseEstimator):
    """Something to validate for."""


# views


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_float_array_is_returned_as_it_is(dtype, order):
    X = ROWS.astype(dtype, order=order)
    X.flags.writeable = False
    assert check_view(Estimator(), X, reset=True) is X
    assert check_second_view(Estimator(), X) is X


def test_a_memmap_stays_on_disk(tmp_path):
    np.save(tmp_path / "view.npy", ROWS.astype(np.float16))
    X = np.load(tmp_path / "view.npy", mmap_mode="r")
    assert check_view(Estimator(), X, reset=True) is X
    assert check_second_view(Estimator(), X) is X


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.int64, np.float32),
        (bool, np.float32),
        (object, np.float32),
        (np.longdouble, np.float32),
    ],
)
def test_other_types_become_float32(given, expected):
    X = (10 * ROWS).astype(given)
    for checked in (
        check_view(Estimator(), X, reset=True),
        check_second_view(Estimator(), X),
    ):
        assert checked.dtype == expected
        np.testing.assert_array_equal(checked, X.astype(expected))


def test_the_width_is_learnt_and_then_required():
    estimator = Estimator()
    check_view(estimator, ROWS, reset=True)
    assert estimator.n_features_in_ == 3
    with pytest.raises(
        ValueError, match="X has 2 features, but Estimator is expecting"
    ):
        check_view(estimator, ROWS[:, :2], reset=False)


def test_the_width_of_the_second_view_is_required():
    with pytest.raises(
        ValueError, match="y has 3 features, but Estimator is expecting 4"
    ):
        check_second_view(Estimator(), ROWS, n_features=4)


@pytest.mark.parametrize("n_rows", [0, 1])
def test_the_number_of_rows_is_required(n_rows):
    for check in (
        lambda rows: check_view(Estimator(), rows, reset=True, min_samples=2),
        lambda rows: check_second_view(Estimator(), rows, min_samples=2),
    ):
        message = rf"Found array with {n_rows} sample\(s\) .* minimum of 2 is required"
        with pytest.raises(ValueError, match=message):
            check(ROWS[:n_rows])
        assert len(check(ROWS[:2])) == 2


def test_a_one_dimensional_second_view_becomes_a_column():
    with pytest.warns(DataConversionWarning, match="one feature"):
        y = check_second_view(Estimator(), ROWS[:, 0])
    np.testing.assert_array_equal(y, ROWS[:, :1])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
def test_tensors_become_arrays(dtype):
    tensor = torch.from_numpy(ROWS).to(getattr(torch, dtype)).requires_grad_()
    array = without_torch(tensor)
    assert type(array) is np.ndarray
    assert array.dtype == ("float32" if dtype == "bfloat16" else dtype)
    np.testing.assert_array_equal(array, tensor.detach().to(torch.float64).numpy())


def test_what_is_no_tensor_is_left_alone():
    for rows in (ROWS, ROWS.tolist(), None):
        assert without_torch(rows) is rows


# finite numbers


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 40),
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 5)), max_size=3),
    st.sampled_from([np.nan, np.inf, -np.inf]),
    st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_the_first_bad_row_is_named(n_rows, n_columns, bad, value, dtype):
    X = np.ones((n_rows, n_columns), dtype=dtype)
    for row, column in bad:
        X[row % n_rows, column % n_columns] = value
    wrong = [
        (row, column)
        for row in range(n_rows)
        for column in range(n_columns)
        if not np.isfinite(X[row, column])
    ]
    if not wrong:
        assert check_finite(X, "X") is None
        return
    row, column = wrong[0]
    kind = "NaN" if np.isnan(value) else "infinity"
    message = re.escape(f"Input X contains {kind} in row {row}, column {column}.")
    with pytest.raises(ValueError, match=message):
        check_finite(X, "X")


def test_infinities_of_both_signs():
    X = ROWS.copy()
    X[4, 1], X[5, 2] = -np.inf, np.inf
    with pytest.raises(ValueError, match="infinity in row 4, column 1"):
        check_finite(X, "X")


def test_finite_numbers_whose_sum_overflows():
    check_finite(np.full((4, 2), np.finfo(np.float64).max), "X")


# lengths and groups


def test_lengths_that_agree():
    check_same_length(ROWS, ROWS)
    check_same_length(ROWS, ROWS, groups=list(range(20)))


def test_views_of_different_lengths():
    with pytest.raises(ValueError, match="X has 20 rows and y has 19"):
        check_same_length(ROWS, ROWS[1:])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([1, 2], "groups has 2 entries for 20 rows"),
        (np.zeros((20, 1)), "groups has 2 dimensions, but 1 is required"),
        (7, "groups has 0 dimensions, but 1 is required"),
    ],
)
def test_groups_of_the_wrong_shape(groups, message):
    with pytest.raises(ValueError, match=message):
        check_same_length(ROWS, ROWS, groups)


@settings(deadline=None, max_examples=50)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.just(2)),
        elements=st.sampled_from([0, 1]),
    ),
    st.data(),
)
def test_distinct_rows_of_each_group(X, data):
    groups = data.draw(st.lists(st.integers(0, 2), min_size=len(X), max_size=len(X)))
    rows, inverse = distinct_rows(X, groups)
    first = {}
    for row in range(len(X)):
        first.setdefault((groups[row], *X[row]), row)
    assert rows.tolist() == list(first.values())
    np.testing.assert_array_equal(X[rows][inverse], X)
    np.testing.assert_array_equal(np.asarray(groups)[rows][inverse], groups)


@pytest.mark.parametrize("dtype", ["f2", "f4", ">f4", "f8", "i1"])
@pytest.mark.parametrize("group", [ALONE, Peers(1, 3)])
def test_rows_that_differ_in_one_bit_are_distinct(dtype, group, monkeypatch):
    monkeypatch.setattr(_views, "_BLOCK_ENTRIES", 64)
    # what the others found is not asked for
    monkeypatch.setattr(Peers, "concatenated", lambda self, tensor: tensor)
    monkeypatch.setattr(Peers, "gathered", lambda self, thing: [thing])
    rng = np.random.default_rng(0)
    X = np.repeat(rng.integers(-9, 9, (1, 24)).astype(dtype), 90, axis=0)
    bits = X.view(np.uint8)
    for row in range(60):
        bits[row, row % bits.shape[1]] ^= 1 << row % 7
    own = X[group.share(90)]
    rows, inverse = distinct_rows(own, np.zeros(len(own)))
    prints = _fingerprints(X, group)
    assert len(np.unique(prints)) == len(rows) == len({row.tobytes() for row in own})
    np.testing.assert_array_equal(own[rows][inverse].view(np.uint8), own.view(np.uint8))


def test_distinct_rows_of_named_groups():
    X = ROWS[[0, 0, 1, 0]]
    rows, inverse = distinct_rows(X, ["a", "a", "a", "b"])
    assert rows.tolist() == [0, 2, 3]
    assert inverse.tolist() == [0, 0, 1, 2]


# devices


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_the_cpu_is_there(device):
    assert resolve_device(device) == device


def test_auto_takes_cuda_if_it_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize("device", ["nonsense", "", "cuda:one"])
def test_what_is_no_device(device):
    with pytest.raises(ValueError, match=f"device='{device}' is not a torch device"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "xpu", "meta"])
def test_a_device_that_is_not_there(device, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: None)
    kind = device.split(":")[0].upper()
    message = f"device='{device}' was asked for, but torch sees no {kind} device; use"
    with pytest.raises(ValueError, match=message):
        resolve_device(device)


def test_a_number_beyond_the_devices(monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert resolve_device("cuda") == "cuda"
    assert resolve_device("cuda:1") == "cuda:1"
    with pytest.raises(ValueError, match="torch sees 2 CUDA devices; use"):
        resolve_device("cuda:2")
    with pytest.raises(ValueError, match="torch sees no MPS device; use"):
        resolve_device("mps")


# fitted attributes


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_restores_the_fitted_attributes(error):
    estimator = Estimator()
    estimator.coef_ = coef = [1, 2]
    estimator.alpha = 1

    def fit():
        with unchanged_on_error(estimator):
            estimator.coef_ = [3]
            estimator.intercept_ = 4
            estimator.alpha = 2
            raise error

    with pytest.raises(error):
        fit()
    assert estimator.coef_ is coef
    assert not hasattr(estimator, "intercept_")
    # not a fitted attribute
    assert estimator.alpha == 2


def test_without_an_error_they_stay():
    estimator = Estimator()
    with unchanged_on_error(estimator):
        estimator.coef_ = [3]
    assert estimator.coef_ == [3]


@pytest.mark.parametrize("wrap", [list, np.array, pd.Series, pd.DataFrame])
def test_texts_as_the_second_view_are_explained(wrap):
    with pytest.raises(ValueError, match=r"y must be numbers.*a dog.*TextEncoder"):
        check_second_view(Estimator(), wrap(["a dog", "a cat"]))
