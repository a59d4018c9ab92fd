"""Statistics from sparse codes, judged by NumPy on the dense ones."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from skxsae._affinity import (
    METRICS,
    DirectionAffinity,
    affinity,
    direction_affinity,
    is_alive,
    upper_envelope,
)
from skxsae._coactivation import Coactivation, Marginals, Product, as_codes


def _codes(rng, n_samples, n_latents, density, dtype=np.float64):
    fires = rng.random((n_samples, n_latents)) < density
    return (fires * rng.exponential(size=fires.shape)).astype(dtype)


def _statistics(x, y):
    return Coactivation.from_codes(x, y)


def _lazy(x, y):
    """The same sums, but for a product that is computed where it is needed."""
    x, y = as_codes(x), as_codes(y)
    sums = Marginals.from_codes(x), Marginals.from_codes(y)
    return Coactivation(*sums, Product(x, y))


def _dense(scores):
    return np.concatenate([block for _, block in scores.blocks()])


def _scores(x, y, metric="correlation"):
    return _dense(affinity(_statistics(x, y), metric))


def _reference_scores(x, y, metric):
    scores = np.zeros((x.shape[1], y.shape[1]))
    if metric == "jaccard":
        x, y = x != 0, y != 0
    for i, u in enumerate(x.T.astype(float)):
        for j, v in enumerate(y.T.astype(float)):
            if metric == "jaccard":
                either = np.count_nonzero(u + v)
                scores[i, j] = u @ v / either if u.any() and v.any() else 0.0
                continue
            if metric != "cosine":
                u, v = u - u.mean(), v - v.mean()
            norms = np.sqrt((u @ u) * (v @ v))
            scores[i, j] = u @ v / norms if norms > 1e-12 else 0.0
    return np.abs(scores) if metric == "absolute_correlation" else scores


shapes = st.tuples(st.integers(2, 30), st.integers(1, 9), st.integers(1, 9))


@settings(deadline=None)
@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.3, 1.0]))
def test_sums_are_those_of_the_dense_codes(shape, seed, density):
    n_samples, n_x, n_y = shape
    rng = np.random.default_rng(seed)
    x, y = (_codes(rng, n_samples, n, density) for n in (n_x, n_y))
    statistics = _statistics(x, y)
    for marginals, z in ((statistics.x, x), (statistics.y, y)):
        assert marginals.n_samples == n_samples
        np.testing.assert_array_equal(marginals.fires, (z > 0).sum(axis=0))
        np.testing.assert_allclose(marginals.total, z.sum(axis=0), rtol=1e-13)
        np.testing.assert_allclose(marginals.square, (z**2).sum(axis=0), rtol=1e-13)
        np.testing.assert_allclose(
            marginals.spread(), np.sqrt(n_samples) * z.std(axis=0), atol=1e-7
        )
    np.testing.assert_allclose(statistics.cross.toarray(), x.T @ y, rtol=1e-13)


@settings(deadline=None)
@given(shapes, st.integers(0, 2**32 - 1), st.integers(1, 29))
def test_two_parts_merge_to_the_whole(shape, seed, cut):
    n_samples, n_x, n_y = shape
    rng = np.random.default_rng(seed)
    x, y = (
        np.round(8 * _codes(rng, n_samples, n, 0.4)) for n in (n_x, n_y)
    )  # sums of integers are exact, whatever their order
    whole = _statistics(x, y)
    cut = 1 + cut % (n_samples - 1)
    merged = _statistics(x[:cut], y[:cut]) + _statistics(x[cut:], y[cut:])
    for ours, theirs in ((merged.x, whole.x), (merged.y, whole.y)):
        assert ours.n_samples == theirs.n_samples
        np.testing.assert_array_equal(ours.fires, theirs.fires)
        np.testing.assert_array_equal(ours.total, theirs.total)
        np.testing.assert_array_equal(ours.square, theirs.square)
    np.testing.assert_array_equal(merged.cross.toarray(), whole.cross.toarray())


def test_codes_that_cannot_be_summed_are_refused():
    x = np.eye(4)
    bad = x.copy()
    bad[1, 1] = np.nan
    with pytest.raises(ValueError, match="Input y contains NaN"):
        Coactivation.from_codes(x, bad)
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        Coactivation.from_codes(x, x[0])


def test_sums_can_be_summed():
    x = np.eye(4)
    parts = [_statistics(x[:2], x[:2]), _statistics(x[2:], x[2:])]
    np.testing.assert_array_equal(sum(parts).cross.toarray(), np.eye(4))


def test_sums_of_other_latents_cannot_be_added():
    x = np.ones((4, 3))
    with pytest.raises(ValueError, match=r"n_latents=\(3, 3\).* cannot be added"):
        _statistics(x, x) + _statistics(x, x[:, :2])
    with pytest.raises(ValueError, match="X has 4 rows and y has 3"):
        Coactivation.from_codes(x, x[:3])


def test_float32_codes_are_summed_in_float64():
    z = np.full((2000, 1), 0.1, dtype=np.float32)
    z[0] = 1e4
    marginals = Marginals.from_codes(as_codes(z))
    np.testing.assert_allclose(marginals.total, z.astype(float).sum(), rtol=1e-14)
    cross = _statistics(z, z).cross
    assert cross.dtype == np.float64
    np.testing.assert_allclose(cross.toarray(), (z.astype(float) ** 2).sum())


@settings(deadline=None)
@given(shapes, st.integers(0, 2**32 - 1), st.sampled_from(sorted(METRICS)))
def test_scores_are_those_of_the_dense_codes(shape, seed, metric):
    n_samples, n_x, n_y = shape
    rng = np.random.default_rng(seed)
    x, y = (_codes(rng, n_samples, n, 0.3) for n in (n_x, n_y))
    signs = rng.choice([-1.0, 1.0], size=n_x)
    x = x * signs
    expected = _reference_scores(x, y, metric)
    if metric == "jaccard":
        x, y = ((z != 0).astype(float) for z in (x, y))
        x[:, ~x.any(axis=0)] = y[:, ~y.any(axis=0)] = 0
    with np.errstate(invalid="ignore"):
        for sums in (_statistics(x, y), _lazy(x, y)):
            scores = affinity(sums, metric)
            np.testing.assert_allclose(_dense(scores), expected, atol=1e-12)
            np.testing.assert_allclose(_dense(scores.T), expected.T, atol=1e-12)


def test_correlation_is_numpys():
    rng = np.random.default_rng(0)
    x, y = _codes(rng, 500, 40, 0.1), _codes(rng, 500, 30, 0.2)
    expected = np.corrcoef(x.T, y.T)[:40, 40:]
    np.testing.assert_allclose(_scores(x, y), expected, atol=1e-13)


def test_latents_that_never_fire_together_have_the_closed_form():
    x = np.array([[1.0, 2.0, 0.0, 0.0, 0.0]]).T
    y = np.array([[0.0, 0.0, 3.0, 1.0, 1.0]]).T
    assert _statistics(x, y).cross.nnz == 0
    expected = -(x.mean() * y.mean()) / (x.std() * y.std())
    np.testing.assert_allclose(_scores(x, y), [[expected]], rtol=1e-14)


@pytest.mark.parametrize("metric", [*METRICS, "directions"])
@pytest.mark.parametrize("make", [_statistics, _lazy])
def test_blocks_pairs_and_selections_agree(metric, make, monkeypatch):
    monkeypatch.setattr("skxsae._affinity.BLOCK_CELLS", 50)
    monkeypatch.setattr("skxsae._affinity.STORED_CELLS", 80)
    monkeypatch.setattr("skxsae._affinity.MAX_STORED", 0)
    monkeypatch.setattr("skxsae._affinity.MIN_KEPT", 3)
    rng = np.random.default_rng(1)
    x, y = _codes(rng, 60, 23, 0.2), _codes(rng, 60, 17, 0.2)
    if metric == "jaccard":
        x, y = np.ceil(x / 100), np.ceil(y / 100)
    if metric == "directions":
        scores = direction_affinity(x.T[:, :9], y.T[:, :9])
    else:
        scores = affinity(make(x, y), metric)
    blocks = list(scores.blocks())
    assert len(blocks) == 12
    dense = np.concatenate([block for _, block in blocks])
    i, j = rng.integers(23, size=50), rng.integers(17, size=50)
    np.testing.assert_allclose(scores.pairs(i, j), dense[i, j], atol=1e-15)
    assert scores.pairs(i[:0], j[:0]).shape == (0,)
    x_back, y_back = scores.background
    for rows, stored in scores.stored_blocks():
        assert stored.shape[0] <= 4
        filled = np.multiply.outer(x_back[rows], y_back)
        row = np.repeat(np.arange(stored.shape[0]), np.diff(stored.indptr))
        filled[row, stored.indices] = stored.data
        n_kept = np.diff(stored.indptr)
        floor = getattr(scores, "floor", np.full(23, -np.inf))[rows]
        is_stored = np.zeros(filled.shape, dtype=bool)
        is_stored[row, stored.indices] = True
        np.testing.assert_allclose(
            filled[is_stored], dense[rows][is_stored], atol=1e-15
        )
        for i, (full, bound) in enumerate(zip(dense[rows], floor, strict=True)):
            if np.isneginf(bound):
                np.testing.assert_allclose(filled[i], full, atol=1e-15)
            else:
                assert n_kept[i] <= 3
                back = x_back[rows][i] * y_back
                left_out = full[~is_stored[i]]
                assert (left_out <= np.maximum(bound, back[~is_stored[i]])).all()
    price = rng.random(17)
    hidden = scores.hidden_bounds(price)
    for rows, stored in scores.stored_blocks():
        full = dense[rows] - price
        row = np.repeat(np.arange(stored.shape[0]), np.diff(stored.indptr))
        full[row, stored.indices] = -np.inf
        assert (full.max(axis=1) <= hidden[rows] + 1e-12).all()
    i, j = np.array([3, 20, 7]), np.array([16, 0])
    selected = scores.select(i, j)
    assert selected.shape == (3, 2)
    np.testing.assert_allclose(selected.rows(0, 3), dense[np.ix_(i, j)], atol=1e-15)
    np.testing.assert_allclose(_dense(scores.T), dense.T, atol=1e-15)


def test_cosines_of_directions():
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((5, 3)), rng.standard_normal((4, 3))
    x[2] = 0
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
    expected = np.divide(x @ y.T, norms, out=np.zeros((5, 4)), where=norms > 0)
    scores = direction_affinity(x, y)
    assert isinstance(scores, DirectionAffinity)
    np.testing.assert_allclose(_dense(scores), expected, atol=1e-15)


finite = st.floats(-5, 5)


@settings(deadline=None)
@example([(0.0, 0.0), (5e-324, 1.0)], [-1.0, 1.0])
@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30), st.lists(finite))
def test_upper_envelope_is_the_largest_line(lines, at):
    slopes, intercepts = np.array(lines).T
    at = np.array(at, dtype=float)
    expected = (slopes[:, None] * at + intercepts[:, None]).max(axis=0)
    found = upper_envelope(slopes, intercepts, at)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("value", [0.1, 1.0, 1e-8, 1e8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_latent_that_does_not_vary_has_no_correlation(value, dtype):
    z = np.full((3000, 2), value, dtype=dtype)
    z[::2, 1] *= 1.001
    codes = as_codes(z)
    assert Marginals.from_codes(codes).spread()[0] == 0
    assert _scores(z, z)[0].tolist() == [0, 0]
    assert is_alive(Marginals.from_codes(codes), "correlation", 10).tolist() == [
        False,
        True,
    ]
    assert is_alive(Marginals.from_codes(codes), "cosine", 10).tolist() == [True, True]


def test_alive_latents_fire_often_enough():
    z = np.tri(20, 5, -15)  # 0 .. 4 firings
    z[:, 0] = 0
    fires = (z > 0).sum(axis=0)
    for min_fires in (1, 2, 5):
        alive = is_alive(Marginals.from_codes(as_codes(z)), "cosine", min_fires)
        np.testing.assert_array_equal(alive, fires >= min_fires)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csr_matrix, np.asarray])
def test_any_container_gives_the_same_codes(container):
    z = _codes(np.random.default_rng(2), 30, 6, 0.3, np.float32)
    codes = as_codes(container(z))
    assert isinstance(codes, sparse.csr_array)
    assert codes.indices.dtype == codes.indptr.dtype == np.int32
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(codes.toarray(), z)


def test_stored_zeros_and_duplicates_do_not_count_as_firings():
    data, indices = np.array([1.0, 2.0, 0.0, 4.0]), np.array([2, 2, 0, 1])
    messy = sparse.csr_array((data, indices, np.array([0, 3, 4])), shape=(2, 3))
    marginals = Marginals.from_codes(as_codes(messy))
    assert marginals.fires.tolist() == [0, 1, 1]
    assert marginals.square.tolist() == [0, 16, 9]
    assert messy.data.tolist() == [1, 2, 0, 4]


def test_codes_are_never_made_dense():
    rng = np.random.default_rng(3)
    indices = rng.integers(20_000, size=(20_000, 4)).ravel()
    indptr = np.arange(0, 80_001, 4)
    z = as_codes(
        sparse.csr_array((np.ones(80_000), indices, indptr), shape=(20_000, 20_000))
    )
    tracemalloc.start()
    statistics = Coactivation.from_codes(z, z)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 320,000 products at most, of 12 bytes, where a dense array would take 3.2 GB
    assert statistics.cross.nnz <= 320_000
    assert peak < 20e6
