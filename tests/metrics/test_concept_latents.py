import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from skxsae.metrics import concept_latents, sample_steering_sources

RNG = np.random.default_rng(0)
CODES = RNG.exponential(size=(60, 9)) * (RNG.random((60, 9)) < 0.5)
MENTIONS = RNG.random((60, 4)) < [0.1, 0.3, 0.5, 0.8]


def reference_latents(codes, mentions, allowed=None):
    latents = []
    for mentioned in mentions.T:
        difference = codes[mentioned].mean(axis=0) - codes[~mentioned].mean(axis=0)
        if allowed is not None:
            difference = np.where(allowed, difference, -np.inf)
        latents.append(int(np.argmax(difference)))
    return latents


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([np.asarray, sparse.csr_array]))
def test_latents_are_those_of_a_plain_loop(seed, kind):
    rng = np.random.default_rng(seed)
    codes = rng.exponential(size=(30, 7)) * (rng.random((30, 7)) < 0.5)
    mentions = rng.random((30, 5)) < 0.4
    mentions[0], mentions[1] = True, False
    try:
        actual = concept_latents(kind(codes), kind(mentions))
    except ValueError:
        means = [codes[m].mean(0) - codes[~m].mean(0) for m in mentions.T]
        assert np.min(np.max(means, axis=1)) <= 1e-12
        return
    assert_array_equal(actual, reference_latents(codes, mentions))


def test_permuted_and_scaled_codes_give_the_permuted_latents():
    latents = concept_latents(CODES, MENTIONS)
    order = RNG.permutation(9)
    assert_array_equal(order[concept_latents(CODES[:, order], MENTIONS)], latents)
    assert_array_equal(concept_latents(7 * CODES, MENTIONS), latents)
    assert_array_equal(concept_latents(CODES.astype(np.float32), MENTIONS), latents)


def test_only_allowed_latents_are_chosen():
    allowed = np.ones(9, dtype=bool)
    allowed[concept_latents(CODES, MENTIONS)] = False
    actual = concept_latents(CODES, MENTIONS, allowed=allowed)
    assert_array_equal(actual, reference_latents(CODES, MENTIONS, allowed))


@pytest.mark.parametrize("n_negatives", ["equal", 3, 10**6])
def test_negatives_are_drawn_without_replacement_and_without_the_concept(n_negatives):
    # latent 0: the concept; latent i: caption i alone, weaker where it has the concept
    mentions = np.array([True] * 4 + [False] * 8)
    codes = np.hstack([mentions[:, None] * 1.0, np.eye(12)])
    assert concept_latents(
        codes, mentions[:, None], n_negatives=n_negatives, random_state=0
    ).tolist() == [0]


def test_the_number_of_negatives_changes_what_is_found():
    # latent 1 fires on every second caption with the concept, latent 0 on all captions
    # with it and on 9 in 10 without
    rng = np.random.default_rng(0)
    mentions = np.arange(400) < 4
    codes = np.stack([mentions | (rng.random(400) < 0.55), mentions * 0.5], axis=1)
    chosen = [
        concept_latents(codes * 1.0, mentions[:, None], n_negatives=n, random_state=s)[
            0
        ]
        for n in ("equal", "all")
        for s in range(20)
    ]
    assert set(chosen[:20]) == {0, 1}  # four negatives say little
    assert len(set(chosen[20:])) == 1


@pytest.mark.parametrize("column", [np.zeros(60, bool), np.ones(60, bool)])
def test_a_concept_without_captions_on_both_sides_is_refused(column):
    mentions = np.column_stack([MENTIONS[:, 0], column])
    with pytest.raises(ValueError, match=r"mentions\[:, 1\] is true of (0|60) of 60"):
        concept_latents(CODES, mentions)


def test_a_concept_that_no_latent_tells_is_refused():
    codes = np.array([[0.0, 0.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match=r"No latent is more active .* concept 0"):
        concept_latents(codes, [[True], [False]])


@pytest.mark.parametrize("allowed", [[True] * 8, [1] * 9, [False] * 9])
def test_bad_masks(allowed):
    with pytest.raises(ValueError, match="allowed must be a mask of 9"):
        concept_latents(CODES, MENTIONS, allowed=allowed)


def test_rows_must_match():
    with pytest.raises(ValueError, match="59 rows and codes have 60"):
        concept_latents(CODES, MENTIONS[1:])


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_sources_lack_the_concept(kind):
    sources, concepts = sample_steering_sources(
        kind(MENTIONS), n_sources=20, random_state=0
    )
    n_without = (~MENTIONS).sum(axis=0)
    assert n_without.min() < 20 < n_without.max()
    assert_array_equal(np.bincount(concepts), np.minimum(n_without, 20))
    assert not MENTIONS[sources, concepts].any()
    assert len(set(zip(sources, concepts, strict=True))) == len(sources)
    again = sample_steering_sources(kind(MENTIONS), n_sources=20, random_state=1)
    assert not np.array_equal(sources, again[0])


def test_equal_draws_as_many_as_mention_the_concept():
    mentions = MENTIONS[:, 1:2]
    drawn = {
        n: [
            int(concept_latents(CODES, mentions, n_negatives=n, random_state=seed)[0])
            for seed in range(30)
        ]
        for n in ("equal", mentions.sum(), 4 * mentions.sum())
    }
    assert drawn["equal"] == drawn[mentions.sum()] != drawn[4 * mentions.sum()]


def test_a_concept_without_sources_is_refused():
    with pytest.raises(ValueError, match=r"relevance\[:, 1\] is true of all items"):
        sample_steering_sources([[True, True], [False, True]])


def test_counts_are_no_indicator():
    with pytest.raises(ValueError, match=r"mentions must be bool.* from 0 to 2.*!= 0"):
        concept_latents(np.eye(2), [[2, 0], [0, 1]])
    with pytest.raises(ValueError, match="relevance must be bool"):
        sample_steering_sources(sparse.csr_array([[-1.0, 0], [0, 1]]))
