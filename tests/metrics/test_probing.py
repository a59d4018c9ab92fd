import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skxsae.metrics import probing_accuracy

SCORES = [0.0, 0.04, 0.3, 0.5, 0.96, 1.0, np.nan]


def make_case(seed, n_x, n_y, n_latents=6, n_features=4):
    """Embeddings of two views that differ in their means, directions and energies."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_x, n_features)) + rng.standard_normal(n_features)
    y = rng.standard_normal((n_y, n_features))
    D = rng.standard_normal((n_latents, n_features))
    if seed % 3 == 0:
        D[0] = 0
    scores = rng.choice(SCORES, n_latents)
    return X, y, D, scores, rng.exponential(size=n_latents)


def plain_accuracy(X, y, D, scores, energies, tau):
    """p_acc by loops over the latents and the rows."""
    rows = np.concatenate([X, y])
    is_x = [True] * len(X) + [False] * len(y)
    mean = rows.mean(axis=0)
    accuracies, weighted, total = [], 0.0, 0.0
    for direction, score, energy in zip(D, scores, energies, strict=True):
        if np.isnan(score) or not direction.any():
            accuracies.append(np.nan)
            continue
        target = [not of_x for of_x in is_x] if score < tau else is_x
        hits = [
            ((row - mean) @ direction > 0) == wanted
            for row, wanted in zip(rows, target, strict=True)
        ]
        accuracy = sum(hits) / len(hits)
        accuracies.append(accuracy)
        if tau <= score <= 1 - tau:
            accuracy = 1 - 2 * (max(accuracy, 1 - accuracy) - 0.5)
        weighted, total = weighted + energy * accuracy, total + energy
    return (weighted / total if total else np.nan), accuracies


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 9),
    tau=st.sampled_from([0.0, 0.05, 0.3]),
)
def test_score_is_that_of_loops(seed, n, tau):
    X, y, D, scores, energies = make_case(seed, n, n)
    expected, accuracies = plain_accuracy(X, y, D, scores, energies, tau)
    probing = probing_accuracy(X, y, D, scores, energies, tau=tau)
    assert_allclose(probing.accuracies, accuracies, rtol=1e-12)
    assert_allclose(probing.score, expected, rtol=1e-6)
    swapped = probing_accuracy(y, X, 2 * D, 1 - scores, 3 * energies, tau=tau)
    assert_allclose(swapped.score, probing.score, rtol=1e-6)


def test_many_rows_in_float32():
    X, y, D, scores, energies = make_case(1, 2500, 2500)
    X, y = X.astype(np.float32), y.astype(np.float32)
    expected, _ = plain_accuracy(
        X.astype(float), y.astype(float), D, scores, energies, 0.05
    )
    probing = probing_accuracy(X, y, D, scores, energies)
    assert_allclose(probing.score, expected, rtol=1e-6)


def test_equally_many_rows_of_each_view_are_drawn():
    X, y, D, scores, energies = make_case(2, 4, 400)
    scores[:] = 1.0
    drawn = probing_accuracy(X, y, D, scores, energies, random_state=0)
    again = probing_accuracy(X, y, D, scores, energies, random_state=0)
    assert_array_equal(drawn.accuracies, again.accuracies)
    assert set(drawn.accuracies * 8) <= set(range(9))
    one = probing_accuracy(X, y, D, scores, energies, max_samples=1, random_state=0)
    assert set(one.accuracies) <= {0, 1}  # centred, the two rows are opposite


def test_a_drawn_part_is_near_the_whole():
    X, y, D, scores, energies = make_case(4, 20_000, 20_000)
    whole = probing_accuracy(X, y, D, scores, energies, max_samples=None)
    part = probing_accuracy(X, y, D, scores, energies, random_state=0)
    known = ~np.isnan(scores)
    assert_allclose(part.accuracies[known], whole.accuracies[known], atol=0.015)
    assert (part.accuracies[known] != whole.accuracies[known]).any()


def test_frame_names_the_kinds():
    X, y, D, _, energies = make_case(5, 6, 6)
    scores = np.array([1.0, 0.5, 0.0, np.nan, 0.95, 0.05])
    frame = probing_accuracy(X, y, D, scores, energies).to_frame()
    kinds = ["x_only", "bimodal", "y_only", "dead", "bimodal", "bimodal"]
    assert frame["kind"].tolist() == kinds
    assert frame["score"].isna().tolist() == [False] * 3 + [True] + [False] * 2


def test_nothing_to_weight_by_is_nan():
    X, y, D, scores, energies = make_case(1, 5, 5)
    assert np.isnan(probing_accuracy(X, y, D, scores, 0 * energies).score)
    assert np.isnan(probing_accuracy(X, y, D, scores * np.nan, energies).score)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.ones((2, 3))}, "X has 4 columns and y has 3"),
        ({"components": np.ones((6, 3))}, "components has 3 columns and X has 4"),
        ({"scores": [0.5]}, "scores has 1 entries, but components has 6"),
        ({"energies": [0.5]}, "energies has 1 entries, but there are 6"),
        ({"X": np.ones(4)}, "X must be 2-dimensional.* got 1 dim"),
        ({"max_samples": 0}, "'max_samples' parameter of probing_accuracy"),
    ],
)
def test_bad_input_is_named(change, message):
    names = ("X", "y", "components", "scores", "energies")
    arguments = dict(zip(names, make_case(1, 5, 5), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        probing_accuracy(**arguments)
