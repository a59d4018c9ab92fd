import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae.metrics import bimodal_latents, energy, energy_shares, modality_score

CODES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.just(4)),
    elements=st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0]),
)


@given(codes=CODES, p=st.sampled_from([0.5, 1, 2, 3]))
def test_energy_is_the_mean_power(codes, p):
    expected = np.mean(np.abs(codes) ** p, axis=0)
    assert_allclose(energy(codes, p=p), expected, rtol=1e-12)
    assert_allclose(energy(sparse.csr_array(codes), p=p), expected, rtol=1e-12)


@given(X=CODES, y=CODES, p=st.sampled_from([1, 2]))
def test_modality_score_is_the_share_of_x(X, y, p):
    scores = modality_score(sparse.csr_array(X), y, p=p)
    for j, score in enumerate(scores):
        of_x, of_y = (np.mean(np.abs(codes[:, j]) ** p) for codes in (X, y))
        if of_x + of_y == 0:
            assert np.isnan(score)
        else:
            assert_allclose(score, of_x / (of_x + of_y), rtol=1e-12)
    assert_allclose(modality_score(y, X, p=p), 1 - scores, rtol=1e-12)


@pytest.mark.parametrize("n_latents", [1, 7])
@pytest.mark.parametrize("p", [0.5, 1, 2, 3, 2.7])
def test_sparse_and_dense_codes_have_equal_energies(p, n_latents):
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(10_007, n_latents))
    codes *= rng.random(codes.shape) < 0.3
    of_sparse = energy(sparse.csr_array(codes), p=p)
    for dense in (codes, np.asfortranarray(codes)):
        assert energy(dense, p=p).tolist() == of_sparse.tolist()
        # equal views are balanced without an error of the last digit
        scores = modality_score(dense, sparse.csr_array(codes), p=p)
        assert scores.tolist() == [0.5] * n_latents
        assert bimodal_latents(scores, tau=0.5).all()


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e30, 1e200, 4e307])
def test_scores_of_activations_of_any_size(size):
    X, y = np.array([[3.0, 0.0], [1.0, 2.0]]), np.array([[1.0, 0.0], [2.0, 0.0]])
    scores = modality_score(size * X, sparse.csr_array(size * y))
    assert_allclose(scores, [2 / 3, 1.0])
    assert_allclose(modality_score(size * X, y), [float(size > 1), 1.0], atol=1e-20)


@pytest.mark.parametrize("p", [1, 2])
def test_scores_of_sums_without_rounding_have_none(p):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 100, size=(3000, 50)).astype(float)
    scores = modality_score(codes, rng.permutation(codes), p=p)
    assert scores.tolist() == [0.5] * 50
    other = codes * rng.integers(0, 3, size=50)
    of_x, of_y = energy(codes, p=p), energy(other, p=p)
    assert modality_score(codes, other, p=p).tolist() == (of_x / (of_x + of_y)).tolist()
    shares = energy_shares(of_x, of_y, tau=0.5)
    scores = modality_score(codes, other, p=p)
    assert shares.n_latents["bimodal"] == bimodal_latents(scores, tau=0.5).sum() > 0


def test_dense_codes_do_not_become_sparse(monkeypatch):
    monkeypatch.setattr(sparse, "csr_array", None)
    assert energy(np.ones((3, 2))).tolist() == [1.0, 1.0]
    assert modality_score(np.ones((3, 2)), np.ones((3, 2))).tolist() == [0.5, 0.5]


def test_float32_codes_are_summed_in_float64():
    codes = sparse.csr_array(np.full((3, 1), 1e25, dtype=np.float32))
    assert np.isfinite(energy(codes)).all()
    assert energy(codes).dtype == np.float64


def test_bad_input():
    with pytest.raises(ValueError, match="X has 2 columns and y has 3"):
        modality_score(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="'p' parameter of energy"):
        energy(np.ones((2, 2)), p=0)


SCORES = st.lists(
    st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.7, 0.95, 1.0, np.nan]), min_size=1
)
TAUS = st.sampled_from([0.0, 0.05, 0.3, 0.5])


@given(scores=SCORES, tau=TAUS)
def test_bimodal_is_between_both_thresholds(scores, tau):
    expected = [bool(tau <= score <= 1 - tau) for score in scores]
    assert bimodal_latents(scores, tau=tau).tolist() == expected


def plain_shares(of_x, of_y, tau, always_on):
    """Shares of the energy, from the definitions."""
    shares = dict.fromkeys(("bimodal", "x_only", "y_only", "always_on"), 0.0)
    total = sum((a + b) / 2 for a, b in zip(of_x, of_y, strict=True))
    for a, b, on in zip(of_x, of_y, always_on, strict=True):
        if a + b == 0:
            continue
        score = a / (a + b)
        if score > 1 - tau:
            kind = "x_only"
        elif score < tau:
            kind = "y_only"
        else:
            kind = "bimodal"
        shares[kind] += (a + b) / 2 / total
        if on:
            shares["always_on"] += (a + b) / 2 / total
    return shares


@settings(deadline=None)
@given(
    energies=hnp.arrays(
        np.float64,
        st.tuples(st.just(2), st.integers(1, 6)),
        elements=st.sampled_from([0.0, 0.01, 1.0, 3.0]),
    ),
    tau=TAUS,
    data=st.data(),
)
def test_energy_shares_are_those_of_the_kinds(energies, tau, data):
    of_x, of_y = energies
    always_on = data.draw(hnp.arrays(bool, len(of_x)))
    shares = energy_shares(of_x, of_y, tau=tau, always_on=always_on)
    found = shares.to_frame()["energy_share"]
    if not energies.any():
        assert found.isna().all()
        return
    expected = plain_shares(of_x, of_y, tau, always_on)
    for kind, share in expected.items():
        assert_allclose(getattr(shares, kind), share, rtol=1e-12, atol=1e-15)
        assert_allclose(found[kind], share, rtol=1e-12, atol=1e-15)
    assert_allclose(shares.bimodal + shares.x_only + shares.y_only, 1)
    swapped = energy_shares(of_y, of_x, tau=tau, always_on=always_on)
    assert_allclose(swapped.x_only, shares.y_only, atol=1e-15)
    assert_allclose(swapped.bimodal, shares.bimodal, atol=1e-15)
    scaled = energy_shares(7 * of_x, 7 * of_y, tau=tau)
    assert_allclose(scaled.bimodal, shares.bimodal, atol=1e-15)


def test_share_of_latents_that_are_always_on_is_unknown_without_their_mask():
    frame = energy_shares([1.0, 2.0], [1.0, 0.0]).to_frame()
    assert np.isnan(frame.loc["always_on", "energy_share"])
    assert frame["n_latents"].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, -1.0], [0.0, 0.0]), "x_energy must be >= 0, got -1.0 for latent 1"),
        (([1.0, 1.0], [0.0]), "y_energy has 1 entries, but there are 2 latents"),
        (([[1.0]], [0.0]), "x_energy must be 1-dimensional.*got 2 dimensions"),
        (([np.nan], [0.0]), "x_energy contains NaN"),
    ],
)
def test_bad_energies_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        energy_shares(*arguments)


def test_bad_scores_and_masks_are_named():
    with pytest.raises(
        ValueError, match=r"scores must be in \[0, 1\].*1.5 for latent 1"
    ):
        bimodal_latents([0.5, 1.5])
    with pytest.raises(
        ValueError, match="always_on must be a 1-dimensional mask of bo"
    ):
        energy_shares([1.0], [1.0], always_on=[1])
    with pytest.raises(ValueError, match="always_on has 2 entries, but there are 1"):
        energy_shares([1.0], [1.0], always_on=[True, False])
    with pytest.raises(ValueError, match="'tau' parameter of bimodal_latents"):
        bimodal_latents([0.5], tau=0.6)
