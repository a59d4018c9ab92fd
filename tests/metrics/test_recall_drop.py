import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from skxsae.metrics import recall_at_k_score, recall_drop_at_k


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    return X, X + 0.5 * rng.standard_normal((60, 8))


def reference_recall(X, y, k):
    similarities = (X / np.linalg.norm(X, axis=1, keepdims=True)) @ (
        y / np.linalg.norm(y, axis=1, keepdims=True)
    ).T
    hits = [
        (scores >= scores[i]).sum() <= k
        for table in (similarities, similarities.T)
        for i, scores in enumerate(table)
    ]
    return np.mean(hits)


@pytest.mark.parametrize("k", [1, 5])
def test_drop_is_the_difference_of_recalls(pair, k):
    X, y = pair
    kept = X * [1, 1, 1, 0, 0, 0, 0, 0], y * [1, 1, 1, 0, 0, 0, 0, 0]
    expected = reference_recall(X, y, k) - reference_recall(
        kept[0][:, :3], kept[1][:, :3], k
    )
    assert expected > 0.1
    assert recall_drop_at_k(X, y, *kept, k=k) == pytest.approx(expected)
    assert recall_drop_at_k(*kept, X, y, k=k) == pytest.approx(-expected)
    rows = [sparse.csr_array(rows) for rows in (X, y, *kept)]
    assert recall_drop_at_k(*rows, k=k) == pytest.approx(expected)
    assert recall_drop_at_k(X, y, 2 * X, y, k=k) == 0


@pytest.mark.filterwarnings("ignore:Only .* distinct:UserWarning")
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(2, 10), n_kept=st.integers(1, 4))
def test_drop_of_any_rows(seed, n, n_kept):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((2, n, 4))
    mask = np.arange(4) < n_kept
    expected = reference_recall(X, y, 1) - reference_recall(X * mask, y * mask, 1)
    drop = recall_drop_at_k(sparse.csr_array(X), y, X * mask, y * mask)
    assert drop == pytest.approx(expected, abs=1e-12)
    order = rng.permutation(n)
    moved = 3 * X[order], y[order], X[order] * mask, 2 * y[order] * mask
    assert recall_drop_at_k(*moved) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        {"direction": "x_to_y"},
        {"direction": "y_to_x"},
        {"candidates": 16},
        {"groups": np.arange(60) // 3},
        {"ties": "optimistic"},
        {"ties": "pessimistic", "count_true_ties": False, "groups": np.arange(60) // 3},
        {"block_size": 7},
    ],
)
def test_options_are_those_of_recall(pair, options):
    X, y = (np.round(rows[:, :3]) for rows in pair)  # with ties
    full = recall_at_k_score(*pair, k=2, **options)
    drop = recall_drop_at_k(*pair, X, y, k=2, **options)
    # what was kept repeats, of which only the full rows warn
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = recall_at_k_score(X, y, k=2, **options)
    assert drop == pytest.approx(full - kept)


def test_full_rows_that_repeat_warn(pair):
    X, y = pair
    with pytest.warns(UserWarning, match="Only 6 of the 60 rows of X are") as caught:
        recall_drop_at_k(np.repeat(X[:6], 10, axis=0), y, X, y)
    assert "Pass groups" in str(caught[0].message)
    assert "scorer" not in str(caught[0].message)
    assert caught[0].filename == __file__


def test_true_ties_count_or_not():
    # three rows of one direction and of different lengths tie with each other
    base = np.repeat(np.eye(5), 3, axis=0) * np.tile([[1.0], [2.0], [3.0]], (5, 1))
    y = base.copy()
    y[-1] = 1.0  # a group of two directions: no row stands for all of its group
    views = base, y, np.zeros((15, 5)), y
    options = {"groups": np.arange(15) // 3, "direction": "x_to_y", "k": 1}
    counted = recall_drop_at_k(*views, **options)
    others = recall_drop_at_k(*views, count_true_ties=False, **options)
    for drop, count in ((counted, True), (others, False)):
        full = recall_at_k_score(*views[:2], count_true_ties=count, **options)
        kept = recall_at_k_score(*views[2:], count_true_ties=count, **options)
        assert drop == pytest.approx(full - kept)
    assert counted != others
