import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skxsae.metrics import bias_latents, energy, energy_spectrum, firing_rate


def make_views(seed, n_latents=6):
    """Codes of two views and directions, with latents of one view and of both."""
    rng = np.random.default_rng(seed)
    size = rng.choice([0.0, 0.1, 1.0, 3.0], (2, 1, n_latents))
    X, y = rng.exponential(size=(2, 9, n_latents)) * size
    X[rng.random(X.shape) < 0.5] = 0
    y[rng.random(y.shape) < 0.5] = 0
    return X, y[:7], rng.standard_normal((n_latents, 4))


def plain_bias_latents(X, y, D, view, min_share, tau):
    """The strong latents of a view and what is said of them, by loops."""
    of_x, of_y = (X**2).mean(axis=0), (y**2).mean(axis=0)
    own, other = (of_x, of_y) if view == "x" else (of_y, of_x)
    found = [
        j
        for j in range(len(D))
        if own[j] > 0
        and other[j] / (own[j] + other[j]) < tau
        and own[j] / own.sum() >= min_share
    ]
    found.sort(key=lambda j: -own[j])
    rates = [((X[:, j] != 0).mean() + (y[:, j] != 0).mean()) / 2 for j in found]
    cosines, together = [], 0
    for i in found:
        for j in found:
            if i != j:
                norms = np.linalg.norm(D[i]) * np.linalg.norm(D[j])
                cosines.append(D[i] @ D[j] / norms)
            if i < j:
                for codes in (X, y):
                    together += ((codes[:, i] != 0) & (codes[:, j] != 0)).sum()
    return found, rates, cosines, together


@given(
    seed=st.integers(0, 1000),
    view=st.sampled_from("xy"),
    min_share=st.sampled_from([0.0, 0.1, 0.4]),
    tau=st.sampled_from([0.05, 0.3]),
)
def test_figures_are_those_of_loops(seed, view, min_share, tau):
    X, y, D = make_views(seed)
    options = {"view": view, "min_share": min_share, "tau": tau}
    expected = plain_bias_latents(X, y, D, **options)
    found = bias_latents(
        sparse.csr_array(X), sparse.csr_array(y), D, energy(X), energy(y), **options
    )
    assert found.latents.tolist() == expected[0]
    assert_allclose(found.firing_rates, expected[1])
    assert_allclose(found.total_frequency, sum(expected[1]), atol=1e-12)
    assert found.n_coactivations == expected[3]
    if expected[2]:
        assert_allclose(found.mean_cosine, np.mean(expected[2]))
    else:
        assert np.isnan(found.mean_cosine)
    frame = found.to_frame()
    assert frame.index.tolist() == expected[0]
    assert frame["n_coactivations"].sum() == 2 * expected[3]
    own = energy(X if view == "x" else y)
    assert_allclose(frame["energy"], own[expected[0]])
    if len(found.latents) > 1:
        assert_allclose(frame["mean_cosine"].mean(), found.mean_cosine)
    dense = bias_latents(X, y, 3 * D, energy(X), energy(y), **options)
    assert_array_equal(dense.coactivations, found.coactivations)
    assert_allclose(dense.cosines, found.cosines)


def test_a_bias_in_parts_is_recognised():
    rng = np.random.default_rng(0)
    direction, n = rng.standard_normal(32), 600
    D = np.vstack([direction + 0.1 * rng.standard_normal((3, 32)), np.eye(32)[:5]])
    X, y = (sparse.random_array((n, 8), density=0.3, rng=rng).toarray() for _ in "xy")
    X[:, :3] = y[:, :3] = 0
    X[np.arange(n), rng.integers(3, size=n)] = 8.0
    found = bias_latents(X, y, D, energy(X), energy(y))
    assert sorted(found.latents) == [0, 1, 2]
    assert found.mean_cosine > 0.9
    assert found.n_coactivations == 0
    assert found.total_frequency == pytest.approx(0.5)


def test_a_share_that_is_just_reached_is_strong():
    X, y = np.array([[1.0, np.sqrt(3.0)]]), np.zeros((1, 2))
    found = bias_latents(X, y, np.eye(2), [1.0, 3.0], [0.0, 0.0], min_share=0.25)
    assert found.latents.tolist() == [1, 0]


def test_spectrum_falls_and_tells_the_power_of_an_active_latent():
    X, _, _ = make_views(3)
    X[:, 2] = 0
    spectrum = energy_spectrum(energy(X), firing_rate(X))
    assert (np.diff(spectrum["energy"]) <= 0).all()
    assert sorted(spectrum["latent"]) == list(range(6))
    for row in spectrum.itertuples():
        active = X[X[:, row.latent] != 0, row.latent]
        if len(active):
            assert_allclose(row.energy_per_activation, np.mean(active**2))
        else:
            assert np.isnan(row.energy_per_activation)


def test_bad_input():
    X = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"components has 2 rows .* 3 columns"):
        bias_latents(X, X, np.eye(2), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match=r"y_energy has 2 entries.* 3 latents"):
        bias_latents(X, X, np.eye(3), np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="X has 3 columns and y has 2"):
        bias_latents(X, np.ones((2, 2)), np.eye(3), np.ones(3), np.ones(3))
    with pytest.raises(ValueError, match="firing_rates has 1 entries"):
        energy_spectrum([1.0, 2.0], [0.5])
