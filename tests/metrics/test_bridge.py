import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skxsae._coactivation import ROWS_OF_PRODUCT
from skxsae.metrics import bridge_edges, bridge_matrix, coactivation_matrix

VALUES = st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0])
SEEDS = st.integers(0, 1000)


def matrices(n_rows, n_columns):
    return hnp.arrays(np.float64, (n_rows, n_columns), elements=VALUES)


def plain_coactivation(X, y):
    """Mean over the pairs of the outer product of the codes."""
    weights = np.zeros((X.shape[1], y.shape[1]))
    for x_code, y_code in zip(X, y, strict=True):
        weights += np.outer(x_code, y_code) / len(X)
    return weights


def plain_bridge(weights, D_x, D_y):
    """Weights times cosines, entry by entry; absent latents have none."""
    bridge = np.zeros(weights.shape)
    for i, v in enumerate(D_x):
        for j, w in enumerate(D_y):
            norms = np.linalg.norm(v) * np.linalg.norm(w)
            if norms > 0:
                bridge[i, j] = weights[i, j] * (v @ w) / norms
    return bridge


def directions(seed, n_latents, n_features=3):
    """Directions, of which one is absent at times."""
    rng = np.random.default_rng(seed)
    components = rng.standard_normal((n_latents, n_features))
    if seed % 2 and n_latents > 1:
        components[rng.integers(n_latents)] = 0
    return components


@given(pairs=st.integers(1, 6).flatmap(lambda n: matrices(2 * n, 4)))
def test_weights_are_the_mean_outer_product(pairs):
    X, y = pairs[::2], pairs[1::2]
    expected = plain_coactivation(X, y)
    for kind in (np.asarray, sparse.csr_array):
        weights = coactivation_matrix(kind(X), kind(y))
        assert_allclose(weights.toarray(), expected, rtol=1e-12, atol=1e-15)
        assert weights.has_canonical_format
    assert_allclose(coactivation_matrix(y, X).toarray(), expected.T, atol=1e-15)
    order = [2, 0, 3, 1]
    permuted = coactivation_matrix(X[:, order], y[:, order]).toarray()
    assert_allclose(permuted, expected[np.ix_(order, order)], atol=1e-15)


@pytest.mark.parametrize("density", [0.002, 0.2])
def test_weights_of_many_latents(density):
    n_latents = 2 * ROWS_OF_PRODUCT + 3
    codes = sparse.random_array(
        (80, n_latents), density=density, rng=0, dtype=np.float32, format="csr"
    )
    X, y = codes[:40], codes[40:]
    weights = coactivation_matrix(X, y)
    expected = plain_coactivation(*(c.toarray().astype(float) for c in (X, y)))
    assert weights.dtype == np.float64
    assert_allclose(weights.toarray(), expected, rtol=1e-12)
    assert weights.nnz == np.count_nonzero(expected)


@given(weights=matrices(4, 5), seed=SEEDS)
def test_bridge_is_weight_times_cosine(weights, seed):
    D_x, D_y = directions(seed, 4), directions(seed + 1, 5)
    expected = plain_bridge(weights, D_x, D_y)
    for given_weights in (weights, sparse.csr_array(weights)):
        bridge = bridge_matrix(given_weights, D_x, D_y)
        assert_allclose(bridge.toarray(), expected, rtol=1e-6, atol=1e-12)
    swapped = bridge_matrix(weights.T, 3 * D_y, 0.1 * D_x)
    assert_allclose(swapped.toarray(), expected.T, atol=1e-12)
    square = bridge_matrix(weights[:, :4], D_x)
    expected = plain_bridge(weights[:, :4], D_x, D_x)
    assert_allclose(square.toarray(), expected, atol=1e-12)


def test_mass_of_the_bridge_is_the_mean_inner_product_of_reconstructions():
    rng = np.random.default_rng(0)
    X, y = rng.exponential(size=(2, 50, 4)) * (rng.random((2, 50, 4)) < 0.5)
    D_x, D_y = (
        D / np.linalg.norm(D, axis=1)[:, None] for D in rng.normal(size=(2, 4, 3))
    )
    bridge = bridge_matrix(coactivation_matrix(X, y), D_x, D_y)
    inner = np.mean([(a @ D_x) @ (b @ D_y) for a, b in zip(X, y, strict=True)])
    assert_allclose(bridge.sum(), inner)


def test_bridge_of_many_latents_and_float32():
    n_latents = ROWS_OF_PRODUCT + 9
    weights = sparse.random_array((n_latents, n_latents), density=0.02, rng=1)
    D = directions(4, n_latents).astype(np.float32)
    expected = plain_bridge(weights.toarray(), D.astype(float), D.astype(float))
    assert_allclose(bridge_matrix(weights, D).toarray(), expected, atol=1e-12)


def test_rows_of_nan_are_absent_and_the_weights_stay_as_they_are():
    weights = sparse.csr_array(np.ones((2, 2)))
    bridge = bridge_matrix(weights, [[1.0, 0.0], [np.nan, np.nan]])
    assert_array_equal(bridge.toarray(), [[1.0, 0.0], [0.0, 0.0]])
    assert bridge.nnz == 1
    assert_array_equal(weights.toarray(), np.ones((2, 2)))


def test_percentile_leaves_out_weak_weights():
    weights = np.array([[1.0, 0.0], [3.0, 2.0]])
    same = np.ones((2, 1))
    bridge = bridge_matrix(weights, same, percentile=50)
    assert_array_equal(bridge.toarray(), [[0.0, 0.0], [3.0, 2.0]])
    assert_array_equal(bridge_matrix(weights, same, percentile=0).toarray(), weights)
    assert bridge_matrix(np.zeros((2, 2)), same, percentile=50).nnz == 0


def plain_edges(bridge, n_edges, include_self):
    """Pairs by falling bridge, then by latents."""
    pairs = [
        (-bridge[i, j], i, j)
        for i, j in zip(*np.nonzero(bridge), strict=True)
        if include_self or i != j
    ]
    return [(i, j) for _, i, j in sorted(pairs)[:n_edges]]


@given(
    bridge=matrices(4, 4),
    n_edges=st.integers(1, 20),
    include_self=st.booleans(),
    seed=SEEDS,
)
def test_edges_are_the_largest_entries(bridge, n_edges, include_self, seed):
    weights = np.random.default_rng(seed).exponential(size=bridge.shape)
    options = {"weights": weights, "include_self": include_self}
    edges = bridge_edges(sparse.csr_array(bridge), n_edges, **options)
    expected = plain_edges(bridge, n_edges, include_self)
    assert list(zip(edges["x_latent"], edges["y_latent"], strict=True)) == expected
    for row in edges.itertuples():
        pair = row.x_latent, row.y_latent
        assert row.bridge == bridge[pair]
        assert row.weight == weights[pair]
        assert_allclose(row.cosine, bridge[pair] / weights[pair])
        if bridge.sum() != 0:
            assert_allclose(row.share, bridge[pair] / bridge.sum())
        else:
            assert np.isnan(row.share)


def test_edges_of_many_latents_come_from_every_block():
    rng = np.random.default_rng(2)
    n_latents = 3 * ROWS_OF_PRODUCT
    bridge = rng.integers(1, 50, (n_latents, n_latents)).astype(float)
    bridge[:, 5:] = 0  # many ties
    edges = bridge_edges(bridge, 40)
    expected = plain_edges(bridge, 40, True)
    assert list(zip(edges["x_latent"], edges["y_latent"], strict=True)) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: coactivation_matrix(np.ones((2, 2)), np.ones((3, 2))), "inconsistent"),
        (
            lambda: bridge_matrix(np.ones((2, 3)), np.eye(2)),
            r"shape \(2, 3\).* 2 direc",
        ),
        (
            lambda: bridge_matrix(np.ones((2, 2)), np.eye(2), np.ones((2, 3))),
            "x_components has 2 columns and y_components has 3",
        ),
        (lambda: bridge_matrix([[np.nan]], [[1.0]]), "weights contains NaN"),
        (lambda: bridge_edges(np.eye(2), weights=np.eye(3)), r"weights has shape \(3,"),
        (lambda: bridge_edges(np.eye(2), 0), "'n_edges' parameter of bridge_edges"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
