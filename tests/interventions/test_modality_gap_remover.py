from unittest import SkipTest

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import estimator_checks_generator

from skxsae.interventions import ModalityGapRemover

METHODS = (
    "center",
    "shift",
    "random_shift",
    "project_means",
    "project_difference",
    "project_coordinates",
)
VALUES = st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0, 0.7])


def views(n_min, n_max):
    shape = st.tuples(st.integers(n_min, n_max), st.just(4))
    return hnp.arrays(np.float64, shape, elements=VALUES)


def without(x, direction):
    length = np.sqrt(np.sum(direction**2))
    if length == 0:
        return x
    direction = direction / length
    return x - np.dot(x, direction) * direction


def reference(x, method, own, other, n_coordinates):
    if method == "center":
        return x - own
    if method == "shift":
        return x - own + (own + other) / 2
    if method == "project_means":
        return without(x, own)
    if method == "project_difference":
        return without(x, other - own)
    order = sorted(range(len(x)), key=lambda j: (-abs(own[j] - other[j]), j))
    return np.array([0.0 if j in order[:n_coordinates] else x[j] for j in range(4)])


@settings(deadline=None)
@given(
    X=views(1, 6),
    y=views(1, 6),
    new=views(1, 3),
    method=st.sampled_from([m for m in METHODS if m != "random_shift"]),
    n_coordinates=st.integers(1, 3),
)
def test_every_method(X, y, new, method, n_coordinates):
    remover = ModalityGapRemover(method, n_coordinates=n_coordinates).fit(X, y)
    means = X.mean(axis=0), y.mean(axis=0)
    difference = np.abs(means[0] - means[1])
    if len(np.unique(np.round(difference, 9))) < 4 and method == "project_coordinates":
        return  # rounding would decide between coordinates
    if 0 < np.linalg.norm(difference) < 1e-9 and method == "project_difference":
        return  # the direction would be that of rounding
    expected = [reference(x, method, *means, n_coordinates) for x in new]
    assert_allclose(remover.transform(new), expected, atol=1e-9)
    expected = [reference(x, method, *means[::-1], n_coordinates) for x in new]
    assert_allclose(remover.transform_y(new), expected, atol=1e-9)
    of_x, of_y = remover.transform(new, new)
    assert_array_equal(of_x, remover.transform(new))
    assert_array_equal(of_y, remover.transform_y(new))


def test_random_shift_moves_both_means_to_one_unit_vector():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((9, 5)), rng.standard_normal((7, 5)) + 2
    remover = ModalityGapRemover("random_shift", random_state=0).fit(X, y)
    of_x, of_y = remover.transform(X, y)
    assert_allclose(of_x.mean(axis=0), of_y.mean(axis=0), atol=1e-12)
    assert np.linalg.norm(of_x.mean(axis=0)) == pytest.approx(1)
    assert_allclose(of_x - of_x[:1], X - X[:1], atol=1e-12)
    again = ModalityGapRemover("random_shift", random_state=0).fit(X, y)
    assert_array_equal(again.transform(X), of_x)
    other = ModalityGapRemover("random_shift", random_state=1).fit(X, y)
    assert abs(np.dot(other.transform(X).mean(axis=0), of_x.mean(axis=0))) < 0.95


@pytest.mark.parametrize("method", METHODS[:3] + ("project_difference",))
def test_means_of_the_training_set_agree(method):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 6)), rng.standard_normal((50, 6)) + 1
    of_x, of_y = ModalityGapRemover(method, random_state=0).fit(X, y).transform(X, y)
    assert_allclose(of_x.mean(axis=0), of_y.mean(axis=0), atol=1e-12)


def test_coordinates_with_the_largest_difference_become_zero():
    X = np.arange(8.0).reshape(2, 4)
    y = X + [0.0, -3.0, 1.0, 2.0]
    remover = ModalityGapRemover("project_coordinates").fit(X, y)
    assert_array_equal(remover.transform(X), X * [1, 0, 1, 0])
    remover.set_params(n_coordinates=3).fit(X, y)
    assert_array_equal(remover.transform(X), X * [1, 0, 0, 0])


@pytest.mark.parametrize("method", ["center", "project_means"])
def test_views_of_different_widths(method):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((9, 5)), rng.standard_normal((7, 3)) + 2
    of_x, of_y = ModalityGapRemover(method).fit(X, y).transform(X, y)
    assert of_x.shape == X.shape
    assert of_y.shape == y.shape
    if method == "center":
        assert_allclose(of_y, y - y.mean(axis=0), atol=1e-12)


def test_means_and_products_are_taken_in_float64():
    X = np.full((2**15, 2), 0.1, dtype=np.float32)
    X[0, 0] = 2**24
    remover = ModalityGapRemover().fit(X, X)
    assert_allclose(remover.x_mean_, X.astype(np.float64).mean(axis=0), rtol=1e-12)
    assert remover.transform(X).dtype == np.float32
    assert remover.transform(X[1:].astype(np.float16)).dtype == np.float32


def test_names_of_features():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((5, 3)), columns=["a", "b", "c"])
    y = pd.DataFrame(rng.standard_normal((5, 2)), columns=["d", "e"])
    remover = ModalityGapRemover().set_output(transform="pandas").fit(X, y)
    of_x, of_y = remover.transform(X, y)
    assert of_x.columns.tolist() == ["a", "b", "c"]
    assert of_y.columns.tolist() == ["d", "e"]
    assert remover.feature_names_in_.tolist() == ["a", "b", "c"]
    assert remover.transform_y(y).columns.tolist() == ["d", "e"]


@pytest.mark.parametrize("method", ["project_means", "project_difference"])
def test_means_that_are_only_rounding_have_no_direction(method):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 500, 4))
    X, y = X - X.mean(axis=0), y - y.mean(axis=0)
    if method == "project_difference":
        X, y = X + 3, y + 3
    of_x, of_y = ModalityGapRemover(method).fit(X, y).transform(X, y)
    assert_array_equal(of_x, X)
    assert_array_equal(of_y, y)


class WideningModalityGapRemover(ModalityGapRemover):
    """ModalityGapRemover for a y of one column, repeated to the width of X."""

    def fit(self, X, y=None):
        return super().fit(X, _widened(X, y))

    def transform(self, X, y=None):
        return super().transform(X, _widened(X, y))


def _widened(X, y):
    """y as it is, unless it has one column: then as wide as X."""
    if y is None:
        return None
    y, shape = np.asarray(y), np.asarray(X).shape
    if len(shape) < 2 or y.size != len(y):
        return y
    return np.repeat(y.reshape(-1, 1), shape[1], axis=1)


def _estimators():
    for method in METHODS:
        cls = WideningModalityGapRemover
        if method in ("center", "project_means"):
            cls = ModalityGapRemover
        yield cls(method, n_coordinates=1)


@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{estimator.method}-{check.func.__name__}")
        for each in _estimators()
        for estimator, check in estimator_checks_generator(each)
    ],
)
def test_estimator_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


def test_bad_input():
    X = np.ones((3, 2))
    with pytest.raises(ValueError, match="method='shift' needs views of one space"):
        ModalityGapRemover("shift").fit(X, np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"n_coordinates=3 is larger than .* 2"):
        ModalityGapRemover("project_coordinates", n_coordinates=3).fit(X, X)
    with pytest.raises(ValueError, match="'method' parameter of ModalityGapRemover"):
        ModalityGapRemover("whiten").fit(X, X)
    with pytest.raises(ValueError, match="y is the second view"):
        ModalityGapRemover().fit(X)


def test_features_of_y_keep_their_names():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.random((5, 3)), columns=list("abc"))
    y = pd.DataFrame(rng.random((5, 3)) + [1, 2, 3], columns=list("def"))
    remover = ModalityGapRemover().fit(X, y)
    assert remover.y_feature_names_in_.tolist() == list("def")
    assert_allclose(remover.transform(X, y)[1], y - y.mean(axis=0))
    assert_allclose(remover.transform_y(y.to_numpy()), y - y.mean(axis=0))
    for wrong, message in (
        (y[list("fed")], "column 0 is 'f', not 'd'"),
        (X, "column 0 is 'a', not 'd'"),
    ):
        with pytest.raises(ValueError, match=message):
            remover.transform(X, wrong)
    assert ModalityGapRemover().fit(X, y.to_numpy()).y_feature_names_in_ is None
