import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from skxsae.metrics import _structure as module
from skxsae.metrics import coherence, dictionary_report, effective_rank, stable_rank


def reference_ranks(matrix):
    values = np.linalg.svd(np.asarray(matrix, dtype=np.float64), compute_uv=False)
    stable = np.linalg.norm(matrix, "fro") ** 2 / np.linalg.norm(matrix, 2) ** 2
    shares = [v / values.sum() for v in values if v > 0]
    return stable, np.exp(-sum(p * np.log(p) for p in shares))


def reference_coherence(components, absolute=False):
    cosines = [
        a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
        for i, a in enumerate(components)
        for j, b in enumerate(components)
        if i != j
    ]
    return max(map(abs, cosines) if absolute else cosines)


@st.composite
def dictionaries(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    shape = draw(st.integers(2, 9)), draw(st.integers(1, 5))
    return rng.standard_normal(shape), rng.exponential(size=shape[0])


@settings(deadline=None, max_examples=40)
@given(pair=dictionaries(), batch=st.integers(1, 4))
def test_measures_match_their_definitions(pair, batch):
    components, energies = pair
    stable, effective = reference_ranks(components)
    weighted = reference_ranks(components * energies[:, None])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROWS_PER_BATCH", batch)
        report = dictionary_report(components, energies)
        largest = reference_coherence(components)
        assert_allclose(coherence(components), largest, rtol=1e-9, atol=1e-12)
        absolute = reference_coherence(components, absolute=True)
        assert_allclose(coherence(components, absolute=True), absolute)
    assert_allclose(stable_rank(components), stable)
    assert_allclose(effective_rank(components), effective)
    assert_allclose(stable_rank(components, energies=energies), weighted[0])
    assert_allclose(effective_rank(components, energies=energies), weighted[1])
    assert_allclose(
        report.to_frame()["value"],
        [len(components), stable, effective, *weighted, largest],
        atol=1e-12,
    )


@settings(deadline=None, max_examples=20)
@given(pair=dictionaries(), seed=st.integers(0, 100))
def test_order_rotation_and_units_do_not_matter(pair, seed):
    components, energies = pair
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(components))
    rotation = np.linalg.qr(rng.standard_normal((components.shape[1],) * 2))[0]
    moved = dictionary_report(7e-3 * components[order] @ rotation, 4 * energies[order])
    before = dictionary_report(components, energies).to_frame()
    assert_allclose(moved.to_frame(), before, atol=1e-12)


@pytest.mark.parametrize("filler", [0.0, np.nan])
def test_absent_latents_do_not_count(filler):
    rng = np.random.default_rng(0)
    components, energies = rng.standard_normal((6, 4)), rng.exponential(size=6)
    padded = np.vstack([components[:2], np.full((3, 4), filler), components[2:]])
    energies_padded = np.concatenate([energies[:2], [5.0, 0, 1], energies[2:]])
    assert_allclose(
        dictionary_report(padded, energies_padded).to_frame(),
        dictionary_report(components, energies).to_frame(),
    )


def test_known_dictionaries():
    report = dictionary_report(np.eye(5), [1.0, 0, 0, 0, 0])
    assert report.to_frame()["value"].tolist() == [5, 5, pytest.approx(5), 1, 1, 0]
    assert np.isnan(dictionary_report(np.eye(2)).weighted_stable_rank)
    line = np.outer([1.0, -2.0, 3.0], [0.6, 0.8])
    assert_allclose([stable_rank(line), effective_rank(line)], 1.0)
    assert_allclose(coherence(line), 1.0)
    assert np.isnan(coherence([[1.0, 2.0]]))
    assert np.isnan(coherence([[1.0, 2.0], [0.0, 0.0]]))


def test_a_rank_deficient_dictionary_has_no_noise_in_its_rank():
    rng = np.random.default_rng(0)
    low = rng.standard_normal((200, 3))
    wide = low @ np.linalg.qr(rng.standard_normal((100, 3)))[0].T
    assert_allclose(effective_rank(wide), effective_rank(low), rtol=1e-10)


def test_float32_is_computed_in_float64():
    components = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    same = dictionary_report(components.astype(np.float64), np.ones(50))
    assert_allclose(
        dictionary_report(components, np.ones(50)).to_frame(), same.to_frame()
    )
    assert np.isfinite(stable_rank(1e30 * components))


@pytest.mark.parametrize(
    ("energies", "message"),
    [
        ([1.0, 2.0, 3.0], "energies has 3 entries, but there are 2 latents"),
        ([1.0, -2.0], "energies must be >= 0, got -2.0 for latent 1"),
        ([1.0, np.nan], "energies contains NaN"),
        ([0.0, 0.0], "energies are 0 for every latent"),
    ],
)
@pytest.mark.parametrize("score", [stable_rank, effective_rank, dictionary_report])
def test_bad_energies_are_named(score, energies, message):
    with pytest.raises(ValueError, match=message):
        score(np.eye(2), energies=energies)


@pytest.mark.parametrize(
    "score", [stable_rank, effective_rank, coherence, dictionary_report]
)
def test_bad_directions_are_named(score):
    with pytest.raises(ValueError, match="components has no latent: all 2 rows"):
        score(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="components must be 2-dimensional"):
        score(np.ones(3))
