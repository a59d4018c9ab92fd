import itertools
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from skxsae.metrics import (
    _gap,
    linear_separability,
    mean_difference_gap,
    relative_modality_gap,
    wasserstein_gap,
)

VALUES = st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0, 0.7])


def views(n_rows):
    return hnp.arrays(
        np.float64, st.tuples(st.just(n_rows), st.just(3)), elements=VALUES
    )


def cosine_distance(a, b):
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return 1.0 if lengths == 0 else 1.0 - np.dot(a, b) / lengths


def reference_relative_gap(X, y, groups):
    matched = np.mean([cosine_distance(a, b) for a, b in zip(X, y, strict=True)])
    inside = []
    for view in (X, y):
        pairs = [
            cosine_distance(view[i], view[j])
            for i in range(len(view))
            for j in range(len(view))
            if groups[i] != groups[j]
        ]
        inside.append(np.mean(pairs))
    if abs(matched) < 1e-12:
        matched = 0.0
    within = np.mean(inside)
    within = 0.0 if abs(within) < 1e-12 else within
    return matched / (matched + within) if matched + within > 0 else np.nan


@settings(deadline=None)
@given(X=views(5), y=views(3))
def test_mean_difference(X, y):
    expected = np.sqrt(np.sum((X.mean(axis=0) - y.mean(axis=0)) ** 2))
    assert_allclose(mean_difference_gap(X, y), expected, rtol=1e-9, atol=1e-15)
    found = mean_difference_gap(sparse.csr_array(X), y)
    assert_allclose(found, expected, rtol=1e-9, atol=1e-15)
    assert_allclose(
        mean_difference_gap(3 * y, 3 * X), 3 * expected, rtol=1e-9, atol=1e-15
    )


def test_means_of_float32_are_taken_in_float64():
    X = np.full((2**15, 1), 0.1, dtype=np.float32)
    X[0] = 2**24
    expected = np.mean(X.astype(np.float64))
    assert_allclose(mean_difference_gap(X, np.zeros((1, 1))), expected, rtol=1e-12)


@settings(deadline=None)
@given(X=views(5), y=views(5))
def test_wasserstein_is_the_cheapest_assignment(X, y):
    cost = [[cosine_distance(a, b) for b in y] for a in X]
    orders = itertools.permutations(range(5))
    expected = min(np.mean([cost[i][j] for i, j in enumerate(p)]) for p in orders)
    assert_allclose(wasserstein_gap(X, y), expected, atol=1e-12)
    found = wasserstein_gap(y, sparse.csr_array(X), n_samples=None)
    assert_allclose(found, expected, atol=1e-12)


@settings(deadline=None)
@given(X=views(6), y=views(2))
def test_wasserstein_of_views_of_different_sizes(X, y):
    pytest.importorskip("ot")
    repeated = np.repeat(y, 3, axis=0)  # equally many rows with the same distribution
    expected = wasserstein_gap(X, repeated)
    assert_allclose(wasserstein_gap(X, y), expected, atol=1e-9)


def test_wasserstein_draws_rows_of_each_view():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 3)), rng.standard_normal((60, 3)) + 1
    found = wasserstein_gap(X, y, n_samples=20, random_state=3)
    assert found == wasserstein_gap(X, y, n_samples=20, random_state=3)
    assert found != wasserstein_gap(X, y, n_samples=20, random_state=4)
    # all rows of both are drawn at some time
    marked = np.vstack([np.eye(2)[[0]]] * 9 + [np.eye(2)[[1]]])
    gaps = {
        round(wasserstein_gap(marked, [[1.0, 0.0]], n_samples=1, random_state=seed))
        for seed in range(60)
    }
    assert gaps == {0, 1}


def test_wasserstein_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    assert wasserstein_gap(np.eye(2), np.eye(2)) == 0
    with pytest.raises(ImportError, match=r"skxsae\[ot\]"):
        wasserstein_gap(np.eye(2), np.eye(2)[:1])


def fit_logistic(rows, is_y, weights, C):
    """Newton's method for the penalised logistic regression of the docstring."""
    design = np.hstack([rows, np.ones((len(rows), 1))])
    penalty = np.append(np.ones(rows.shape[1]), 0.0) / C
    beta = np.zeros(design.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-design @ beta))
        gradient = design.T @ (weights * (p - is_y)) + penalty * beta
        hessian = (design.T * (weights * p * (1 - p))) @ design + np.diag(penalty)
        beta = beta - np.linalg.solve(hessian, gradient)
    return lambda new: np.hstack([new, np.ones((len(new), 1))]) @ beta > 0


def reference_training_accuracy(X, y, C):
    rows, is_y = np.vstack([X, y]), np.repeat([0, 1], [len(X), len(y)])
    rows = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    sizes = np.array([len(X), len(y)])
    weights = (sizes.sum() / (2 * sizes))[is_y]
    predicted = fit_logistic(rows, is_y, weights, C)(rows)
    return np.mean([(predicted[is_y == v] == v).mean() for v in (0, 1)])


@pytest.mark.parametrize("n_y", [60, 25])
@pytest.mark.parametrize("C", [1.0, 0.01])
def test_separability_on_the_training_rows(n_y, C):
    rng = np.random.default_rng(n_y)
    X, y = rng.standard_normal((60, 3)), rng.standard_normal((n_y, 3)) + [1, 0, 0.3]
    expected = reference_training_accuracy(X, y, C)
    assert 0.6 < expected < 0.95
    assert linear_separability(X, y, cv=None, C=C) == pytest.approx(expected)
    found = linear_separability(1e3 * y, 1e3 * X, cv=None, C=C)
    assert found == pytest.approx(expected)


def test_held_out_separability_of_equal_distributions():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 60, 20))
    assert linear_separability(X, y, cv=None) > 0.6
    assert linear_separability(X, y) < 0.6
    assert linear_separability(X - X.mean(0), X - X.mean(0)) <= 0.5


def test_no_fold_splits_a_pair():
    # a classifier that saw a row's partner would call the row by the other name
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 80))
    y = X + 1e-3 * rng.standard_normal((40, 80))
    accuracies = [linear_separability(X, y, random_state=seed) for seed in range(5)]
    assert np.mean(accuracies) == pytest.approx(0.5, abs=0.07)
    # nor one of a group: rows of a group of three are alike
    X = np.repeat(X, 3, axis=0)
    signs = np.repeat(rng.choice([-1.0, 1.0], (40, 80)), 3, axis=0)
    groups = np.repeat(np.arange(40), 3)
    with pytest.warns(UserWarning, match="40 of the 120 rows of X.*Pass groups"):
        split = linear_separability(X + 0.2 * signs, X - 0.2 * signs)
    whole = linear_separability(X + 0.2 * signs, X - 0.2 * signs, groups=groups)
    assert whole < split


def test_separability_of_sparse_codes():
    rng = np.random.default_rng(0)
    X = rng.exponential(size=(60, 5)) * (rng.random((60, 5)) < 0.4)
    y = rng.exponential(size=(60, 5)) * (rng.random((60, 5)) < 0.2)
    # mean and penalty: the intercept takes up the centring
    dense = linear_separability(X, y)
    csr = linear_separability(sparse.csr_array(X), sparse.csr_array(y))
    assert csr == pytest.approx(dense, abs=1e-12)


@pytest.mark.filterwarnings("ignore:Only .* distinct:UserWarning")
@settings(deadline=None)
@given(X=views(6), y=views(6), groups=st.sampled_from([None, [0, 0, 1, 1, 1, 2]]))
def test_relative_gap(X, y, groups):
    expected = reference_relative_gap(X, y, range(6) if groups is None else groups)
    found = relative_modality_gap(X, y, groups=groups)
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    found = relative_modality_gap(sparse.csr_array(y), 2 * X, groups=groups)
    assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_relative_gap_of_extremes():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 50))
    assert relative_modality_gap(X, 2 * X) == 0
    assert_allclose(relative_modality_gap(X, X[::-1]), 0.5, atol=0.01)
    ones = np.ones((3, 2))
    assert relative_modality_gap(ones, -ones, groups=range(3)) == 1
    assert np.isnan(relative_modality_gap(ones, ones, groups=range(3)))


def test_repeated_rows_are_told_of():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 40, 3))
    groups = np.repeat(np.arange(10), 4)
    X = X[groups]
    for gap in (relative_modality_gap, linear_separability):
        with pytest.warns(UserWarning, match="Only 10 of the 40 rows of X"):
            gap(X, y)
        gap(X, y, groups=groups)
    with pytest.warns(UserWarning, match="Pass groups, the item of each pair"):
        linear_separability(X, y)
    # groups are of pairs
    with pytest.warns(UserWarning, match="Pass each row once, as groups need equally"):
        linear_separability(X, y[:30])
    # one in twenty is no matter, and training rows are seen in any case
    relative_modality_gap(np.vstack([y[:38], y[:2]]), y)
    linear_separability(X, y, cv=None)


@settings(deadline=None, max_examples=25)
@given(X=views(3), y=views(4), seed=st.integers(0, 100))
def test_rows_that_repeat_share_a_place_in_the_transport(X, y, seed):
    pytest.importorskip("ot")
    rng = np.random.default_rng(seed)
    X, y = X[rng.integers(0, 3, 6)], y[rng.integers(0, 4, 6)]
    cost = np.array([[cosine_distance(a, b) for b in y] for a in X])
    expected = min(
        np.mean(cost[np.arange(6), list(p)]) for p in itertools.permutations(range(6))
    )
    assert_allclose(wasserstein_gap(X, y), expected, atol=1e-9)
    assert_allclose(wasserstein_gap(sparse.csr_array(X), y), expected, atol=1e-9)


def test_transport_of_repeated_rows_is_that_of_few(monkeypatch):
    pytest.importorskip("ot")
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2, 40, 8))
    sizes, costs_of = [], _gap._cosine_costs

    def costs(X, y):
        sizes.append((len(X), len(y)))
        return costs_of(X, y)

    monkeypatch.setattr(_gap, "_cosine_costs", costs)
    repeated = wasserstein_gap(*(np.repeat(view, 5, axis=0) for view in rows))
    assert sizes == [(40, 40)]
    assert_allclose(repeated, wasserstein_gap(*rows), atol=1e-9)


@pytest.mark.parametrize("n_repeats", [0, 1, 3, 4])
def test_a_few_repeated_rows_do_not_make_transport_slow(monkeypatch, n_repeats):
    pytest.importorskip("ot")
    X, y = np.random.default_rng(0).standard_normal((2, 40, 3))
    X[:n_repeats] = X[-1]
    solved, plan_of = [], _gap.exact_plan

    def plan(*args):
        solved.append(args)
        return plan_of(*args)

    monkeypatch.setattr(_gap, "exact_plan", plan)
    cost = np.array([[cosine_distance(a, b) for b in y] for a in X])
    expected = cost[linear_sum_assignment(cost)].mean()
    assert_allclose(wasserstein_gap(X, y), expected, atol=1e-9)
    assert_allclose(wasserstein_gap(y, X), expected, atol=1e-9)
    assert len(solved) == (2 if n_repeats == 4 else 0)  # a tenth


def test_the_way_out_of_a_long_transport_is_a_parameter(monkeypatch):
    pytest.importorskip("ot")
    monkeypatch.setattr(_gap, "_SIMPLEX_ITERATIONS", 1)
    X, y = np.random.default_rng(0).standard_normal((2, 40, 3))
    with pytest.raises(RuntimeError, match=r"wasserstein_gap.*Use a smaller n_samples"):
        wasserstein_gap(X, y[:30])


def test_bad_input():
    with pytest.raises(ValueError, match="X has 2 columns and y has 3"):
        mean_difference_gap(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="single item"):
        relative_modality_gap(np.ones((3, 2)), np.ones((3, 2)), groups=[1, 1, 1])
    with pytest.raises(ValueError, match=r"cv=5 is larger than .* 3"):
        linear_separability(np.eye(3), np.eye(3))
    with pytest.raises(ValueError, match=r"groups are of pairs, but X has 3 .* 2"):
        linear_separability(np.eye(3), np.eye(3)[:2], groups=[0, 1, 2])
    with pytest.raises(ValueError, match="'n_samples' parameter of wasserstein_gap"):
        wasserstein_gap(np.eye(3), np.eye(3), n_samples=0)
