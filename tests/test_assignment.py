"""Assignments, judged by exhaustive search, SciPy's dense solver and plain loops."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linear_sum_assignment

from skxsae import _assignment
from skxsae._affinity import StoredAffinity
from skxsae._assignment import (
    ASSIGNMENTS,
    _dense_hungarian,
    _match_core,
    _prices,
    best_partners,
    greedy,
    mutual_nearest,
)


def _affinity(scores, x_shift=None, y_shift=None, absolute=False):
    """Scores where they are not 0, and a background of rank one elsewhere."""
    x_back, y_back = np.zeros(scores.shape[0]), np.zeros(scores.shape[1])
    if x_shift is not None:
        x_back, y_back = -x_shift, y_shift
        scores = np.where(scores == 0, 0, scores + np.outer(x_back, y_back))
    if absolute:
        x_back, y_back, scores = np.abs(x_back), np.abs(y_back), np.abs(scores)
    floor = np.full(len(x_back), -np.inf)
    return StoredAffinity(sparse.csr_array(scores), x_back, y_back, floor)


def hungarian(scores):
    return _assignment.hungarian(scores, best_partners(scores), best_partners(scores.T))


def _dense_way(scores):
    if scores.shape[0] <= scores.shape[1]:
        return _dense_hungarian(scores)
    return _dense_hungarian(scores.T)[::-1]


def _dense(scores):
    return np.concatenate([block for _, block in scores.blocks()])


def _random(seed, n_x, n_y, density=0.2, shift=0.3, absolute=False):
    """Sparse positive scores on a background of rank one, as correlations are."""
    rng = np.random.default_rng(seed)
    scores = rng.random((n_x, n_y)) * (rng.random((n_x, n_y)) < density)
    return _affinity(
        0.7 * scores, shift * rng.random(n_x), shift * rng.random(n_y), absolute
    )


def _optimum(scores):
    dense = _dense(scores)
    rows, columns = linear_sum_assignment(dense, maximize=True)
    return dense[rows, columns].sum()


def _assert_one_to_one(x_latents, y_latents, n_matched):
    assert len(x_latents) == len(y_latents) == n_matched
    assert len(set(x_latents)) == len(set(y_latents)) == n_matched


def _make_cores_small(patch):
    patch.setattr("skxsae._affinity.BLOCK_CELLS", 60)
    patch.setattr("skxsae._affinity.STORED_CELLS", 90)
    patch.setattr(_assignment, "N_PARTNERS", 2)
    patch.setattr(_assignment, "MORE_CANDIDATES", 2)
    patch.setattr(_assignment, "MAX_DENSE_CELLS", 0)


@pytest.fixture
def small_cores(monkeypatch):
    """Make the priced solver work: poor cores, few pairs added, many blocks."""
    _make_cores_small(monkeypatch)


@pytest.mark.parametrize("solver", [_dense_way, hungarian])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (4, 4), (3, 5), (5, 3)])
def test_hungarian_finds_the_best_of_all_matchings(solver, shape):
    for seed in range(5):
        scores = _random(seed, *shape)
        dense = _dense(scores)
        wide = dense if shape[0] <= shape[1] else dense.T
        n, m = wide.shape
        best = max(wide[np.arange(n), list(p)].sum() for p in permutations(range(m), n))
        x_latents, y_latents = solver(scores)[:2]
        _assert_one_to_one(x_latents, y_latents, n)
        np.testing.assert_allclose(dense[x_latents, y_latents].sum(), best, rtol=1e-13)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 25),
    st.integers(1, 25),
    st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    st.sampled_from([0.0, 0.3, -0.3, 0.99]),
    st.booleans(),
)
def test_hungarian_is_optimal_and_proves_it(seed, n_x, n_y, density, shift, absolute):
    scores = _random(seed, n_x, n_y, density, shift, absolute)
    with pytest.MonkeyPatch.context() as patch:
        _make_cores_small(patch)
        x_latents, y_latents, gap = hungarian(scores)
    _assert_one_to_one(x_latents, y_latents, min(n_x, n_y))
    found = _dense(scores)[x_latents, y_latents].sum()
    np.testing.assert_allclose(found, _optimum(scores), atol=1e-11)
    assert abs(gap) < 1e-10


@pytest.mark.usefixtures("small_cores")
@pytest.mark.parametrize("shape", [(60, 60), (60, 61), (45, 80), (80, 45)])
@pytest.mark.parametrize(
    ("density", "shift"), [(0.02, 0.3), (0.02, 0.0), (0.5, 0.1), (0.0, 0.5), (1.0, 0.0)]
)
def test_hungarian_on_poor_cores(shape, density, shift):
    for seed in range(2):
        scores = _random(seed, *shape, density, shift)
        x_latents, y_latents, gap = hungarian(scores)
        _assert_one_to_one(x_latents, y_latents, min(shape))
        found = scores.pairs(x_latents, y_latents).sum()
        np.testing.assert_allclose(found, _optimum(scores), atol=1e-10)
        assert abs(gap) < 1e-10


@pytest.mark.usefixtures("small_cores")
@pytest.mark.parametrize(
    "scores",
    [
        np.zeros((30, 30)),
        np.ones((30, 40)),
        np.repeat(np.random.default_rng(0).random((30, 10)), 3, axis=1),
        np.repeat(np.random.default_rng(0).random((10, 25)), 4, axis=0),
        np.eye(30),
        np.round(np.random.default_rng(1).random((35, 30)), 1),
        np.outer(np.arange(30), np.arange(32)) / 1000,
        -np.random.default_rng(2).random((30, 30)),
    ],
    ids=["zeros", "ones", "twins", "x-twins", "eye", "ties", "rank-one", "negative"],
)
def test_hungarian_on_ties(scores):
    scores = _affinity(scores)
    x_latents, y_latents, gap = hungarian(scores)
    _assert_one_to_one(x_latents, y_latents, min(scores.shape))
    found = scores.pairs(x_latents, y_latents).sum()
    np.testing.assert_allclose(found, _optimum(scores), atol=1e-10)
    assert abs(gap) < 1e-10


@pytest.mark.parametrize("shape", [(30, 30), (20, 33)])
def test_prices_are_an_equilibrium(shape):
    dense = np.random.default_rng(4).random(shape)
    rows, match = linear_sum_assignment(dense, maximize=True)
    worth, price = _prices(sparse.csr_array(2 - dense), match)
    assert (worth[:, None] + price >= dense - 1e-11).all()
    np.testing.assert_allclose(worth + price[match], dense[rows, match], atol=1e-11)
    if shape[0] < shape[1]:
        assert (price >= 0).all()
        assert (np.delete(price, match) == 0).all()


def test_where_most_pairs_matter_the_dense_solver_takes_over(monkeypatch):
    # without a single joint firing every latent wants the same partners
    scores = _random(8, 150, 150, density=0.0)
    with monkeypatch.context() as patch:
        patch.setattr(_assignment, "N_PARTNERS", 2)
        patch.setattr(_assignment, "_dense_hungarian", lambda _: ("dense", "way"))
        assert hungarian(scores) == ("dense", "way", 0.0)
    x_latents, y_latents, gap = hungarian(scores)
    _assert_one_to_one(x_latents, y_latents, 150)
    assert gap == 0


def test_almost_equal_scores_do_not_take_for_ever():
    # SciPy's solver takes hours on the same costs without the empty column
    shifts = np.random.default_rng(9).random((2, 400))
    cost = 2 + 0.05 * np.outer(*shifts)
    match = _match_core(sparse.csr_array(cost), np.arange(400))
    best = np.sort(shifts[0]) @ np.sort(shifts[1])[::-1]
    np.testing.assert_allclose(cost[np.arange(400), match].sum(), 800 + 0.05 * best)


def test_the_known_matching_comes_first(monkeypatch):
    seen = []

    def solver(graph):
        seen.append(graph)
        return None, "match"

    monkeypatch.setattr(_assignment, "min_weight_full_bipartite_matching", solver)
    rng = np.random.default_rng(10)
    known = rng.permutation(30)[:20]
    dense = rng.random((20, 30)) * (rng.random((20, 30)) < 0.3)
    dense[np.arange(20), known] = 1.5
    graph = sparse.csr_array(dense)
    assert _match_core(graph, known) == "match"
    np.testing.assert_array_equal(seen[0].indices[seen[0].indptr[:-1]], known)
    np.testing.assert_array_equal(seen[0].toarray()[:, :30], dense)
    np.testing.assert_array_equal(graph.toarray(), dense)


def _plain_greedy(dense):
    dense, pairs = dense.copy(), set()
    for _ in range(min(dense.shape)):
        i, j = np.unravel_index(dense.argmax(), dense.shape)
        pairs.add((int(i), int(j)))
        dense[i], dense[:, j] = -np.inf, -np.inf
    return pairs


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (30, 30), (20, 45), (45, 20)])
@pytest.mark.parametrize("dense_cells", [0, 200, 2**22])
def test_greedy_takes_the_best_pair_first(shape, dense_cells, monkeypatch):
    monkeypatch.setattr(_assignment, "SORTED_CELLS", dense_cells)
    for seed in range(3):
        scores = _random(seed, *shape)
        x_latents, y_latents, _ = greedy(scores)
        _assert_one_to_one(x_latents, y_latents, min(shape))
        pairs = set(zip(x_latents.tolist(), y_latents.tolist(), strict=True))
        assert pairs == _plain_greedy(_dense(scores))


def test_greedy_breaks_ties_by_the_first_latents(monkeypatch):
    monkeypatch.setattr("skxsae._affinity.BLOCK_CELLS", 60)
    ties = np.round(np.random.default_rng(6).random((25, 25)), 1)
    expected = _plain_greedy(ties)
    for dense_cells in (0, 100, 2**22):
        monkeypatch.setattr(_assignment, "SORTED_CELLS", dense_cells)
        x_latents, y_latents, _ = greedy(_affinity(ties))
        pairs = set(zip(x_latents.tolist(), y_latents.tolist(), strict=True))
        assert pairs == expected


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (30, 30), (20, 45), (45, 20)])
def test_mutual_nearest_latents_are_each_others_best(shape, monkeypatch):
    monkeypatch.setattr("skxsae._affinity.BLOCK_CELLS", 100)
    for seed in range(3):
        scores = _random(seed, *shape)
        dense = _dense(scores)
        expected = {
            (i, int(row.argmax()))
            for i, row in enumerate(dense)
            if dense[:, row.argmax()].argmax() == i
        }
        x_latents, y_latents, gap = mutual_nearest(scores)
        assert np.isnan(gap)
        pairs = set(zip(x_latents.tolist(), y_latents.tolist(), strict=True))
        assert pairs == expected
        assert pairs


def test_no_assignment_beats_the_hungarian():
    scores = _random(7, 50, 40)
    partners = best_partners(scores), best_partners(scores.T)
    sums = {
        name: scores.pairs(*assign(scores, *partners)[:2]).sum()
        for name, assign in ASSIGNMENTS.items()
    }
    assert sums["greedy"] < sums["hungarian"]
    assert set(sums) == {"hungarian", "greedy", "mutual_nearest"}


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 12), st.integers(1, 40)),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.sampled_from([0.0, 0.3, -0.3]),
    st.integers(1, 50),
)
def test_the_two_best_partners_are_exact(seed, shape, density, shift, n_partners):
    scores = _random(seed, *shape, density, shift)
    partners = best_partners(scores, n_partners)
    dense = _dense(scores)
    for row, latents, found in zip(
        dense, partners.latents, partners.scores, strict=True
    ):
        expected = np.append(np.sort(row)[::-1], -np.inf)[:2]
        np.testing.assert_allclose(found[:2], expected, rtol=1e-14)
        known = latents >= 0
        assert len(set(latents[known])) == known.sum()
        np.testing.assert_allclose(found[known], row[latents[known]], rtol=1e-14)
        assert (found[:-1] >= found[1:]).all()
        assert np.isneginf(found[~known]).all()
