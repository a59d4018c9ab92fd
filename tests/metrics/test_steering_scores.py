import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.metrics import average_precision_score, ndcg_score

from skxsae.metrics import sample_steering_sources, steering_scores

MEASURES = ("average_precision", "reciprocal_rank", "ndcg", "precision", "recall")


def cosine(a, b):
    norm = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / norm if norm > 0 else 0.0


def reference_query(steered, gallery, relevant, excluded, k, ties):
    """All measures of one ranking, place by place."""
    items = [i for i in range(len(gallery)) if i != excluded]
    scores = {i: round(cosine(steered, gallery[i]), 9) for i in items}
    behind = 1 if ties == "pessimistic" else -1
    items.sort(key=lambda i: (-scores[i], behind * relevant[i]))
    n_relevant = sum(relevant[i] for i in items)
    precisions, first, gain, found = [], None, 0.0, 0
    for place, item in enumerate(items, start=1):
        if not relevant[item]:
            continue
        first = first or place
        precisions.append((len(precisions) + 1) / place)
        if place <= k:
            gain += 1 / np.log2(place + 1)
            found += 1
    best = sum(1 / np.log2(i + 2) for i in range(min(k, n_relevant)))
    return (
        np.mean(precisions),
        1 / first,
        gain / best,
        found / min(k, len(items)),
        found / n_relevant,
    )


def make_case(seed, n_gallery=15, n_concepts=3, integers=False):
    rng = np.random.default_rng(seed)

    def draw(shape):
        return rng.integers(-1, 2, shape) * 1.0 if integers else rng.normal(size=shape)

    gallery, directions = draw((n_gallery, 4)), draw((n_concepts, 4))
    relevance = rng.random((n_gallery, n_concepts)) < 0.4
    relevance[:2] = True  # two: one is left where the other is the source
    return gallery, directions, relevance


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**31),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["pessimistic", "optimistic"]),
    st.sampled_from([1, 3, 10, 14]),
)
def test_measures_are_those_of_a_plain_loop(seed, integers, exclude, ties, k):
    gallery, directions, relevance = make_case(seed, integers=integers)
    sources, strengths = np.array([0, 3, 14]), [0.0, 0.5, -1.0, 2.0]
    result = steering_scores(
        sources,
        gallery,
        directions,
        relevance,
        strengths=strengths,
        exclude_source=exclude,
        ties=ties,
        k=k,
    )
    assert_array_equal(result.concepts, np.tile([0, 1, 2], 3))
    for query in range(9):
        source, concept = sources[query // 3], query % 3
        for s, strength in enumerate(strengths):
            expected = reference_query(
                gallery[source] + strength * directions[concept],
                gallery,
                relevance[:, concept],
                source if exclude else None,
                k,
                ties,
            )
            actual = [getattr(result, m)[query, s] for m in MEASURES]
            assert_allclose(actual, expected, rtol=1e-9)


def test_measures_are_those_of_scikit_learn():
    gallery, directions, relevance = make_case(0, n_gallery=200)
    sources, concepts = sample_steering_sources(relevance, n_sources=5, random_state=0)
    result = steering_scores(
        sources, gallery, directions, relevance, concepts=concepts, k=10
    )
    for query, (source, concept) in enumerate(zip(sources, concepts, strict=True)):
        others = np.delete(np.arange(200), source)
        truth = relevance[others, concept]
        for s, strength in enumerate(result.strengths):
            steered = gallery[source] + strength * directions[concept]
            scores = np.array([cosine(steered, gallery[i]) for i in others])
            assert_allclose(
                result.average_precision[query, s],
                average_precision_score(truth, scores),
                rtol=1e-9,
            )
            assert_allclose(
                result.ndcg[query, s], ndcg_score([truth], [scores], k=10), rtol=1e-9
            )


def test_scale_of_the_gallery_and_order_do_not_matter():
    gallery, directions, relevance = make_case(1, n_gallery=60)
    rng = np.random.default_rng(0)
    sources = rng.normal(size=(4, 4))
    options = {"exclude_source": False}
    result = steering_scores(sources, gallery, directions, relevance, **options)
    order, scales = rng.permutation(60), rng.uniform(0.5, 2, (60, 1))
    same = steering_scores(
        sources.astype(np.float32),
        (scales * gallery)[order],
        directions,
        sparse.csr_array(relevance[order]),
        **options,
    )
    for measure in MEASURES:
        assert_allclose(getattr(same, measure), getattr(result, measure), rtol=1e-6)
    assert len(np.unique(result.average_precision)) > 10


def test_reconstructions_take_the_place_of_the_embeddings():
    gallery, directions, relevance = make_case(2, n_gallery=40)
    sources = np.array([5, 6, 7])
    rebuilt = np.random.default_rng(0).normal(size=(3, 4))
    arguments = gallery, directions, relevance
    on_code = steering_scores(sources, *arguments, reconstructions=rebuilt)
    assert on_code.protocol["direction added to"] == "code"
    by_hand = steering_scores(rebuilt, *arguments, exclude_source=False)
    included = steering_scores(
        sources, *arguments, reconstructions=rebuilt, exclude_source=False
    )
    assert_array_equal(included.average_precision, by_hand.average_precision)
    assert (on_code.average_precision != included.average_precision).any()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        steering_scores(sources, *arguments, reconstructions=rebuilt[1:])


def test_the_result_says_which_protocol_it_is():
    gallery, directions, relevance = make_case(3)
    result = steering_scores(
        [0, 1], gallery, directions, relevance, strengths=[0, 1], k=2
    )
    assert result.protocol == {
        "direction added to": "embedding",
        "source": "left out of the gallery",
        "similarity": "cosine",
        "ties": "pessimistic",
        "strengths": [0.0, 1.0],
        "k": 2,
        "n_concepts": 3,
        "n_queries": 6,
        "n_gallery": 14,
    }
    assert "left out of the gallery" in repr(result)
    frame = result.to_frame()
    assert list(frame.columns) == ["mAP", "MRR", "NDCG@2", "P@2", "R@2"]
    assert frame.index.tolist() == [0.0, 1.0]
    assert_allclose(frame["P@2"], result.precision.mean(axis=0))
    for sources, place in (([0], "ranked with"), (gallery[:1], "not known")):
        result = steering_scores(
            sources, gallery, directions, relevance, exclude_source=False
        )
        assert result.protocol["source"].startswith(place)
        assert result.protocol["n_gallery"] == 15


def test_the_published_size_takes_seconds():
    rng = np.random.default_rng(0)
    gallery = rng.normal(size=(5000, 64))
    relevance = rng.random((5000, 8)) < 0.03
    sources, concepts = sample_steering_sources(relevance, random_state=0)
    start = time.process_time()
    steering_scores(
        sources, gallery, rng.normal(size=(8, 64)), relevance, concepts=concepts
    )
    assert time.process_time() - start < 6  # a tenth of 80 concepts


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"k": 15},
            "k=15 is larger than the gallery of, without the source",
        ),
        ({"k": 16, "exclude_source": False}, "k=16 is larger than the gallery of 15"),
        ({"sources": []}, "sources is empty"),
        ({"sources": [0.0]}, "sources must be ints, .* got float64"),
        ({"sources": [True] + [False] * 14}, r"got bool. Use np.flatnonzero\(mask\)"),
        ({"relevance": np.full((15, 3), 0.5)}, "relevance must be bool, or 0 and 1"),
        ({"sources": [15]}, "rows of the gallery, from 0 to 14, got 15 to 15"),
        ({"sources": [[1.0, 0, 0, 0]]}, "needs the rows of the sources"),
        ({"sources": [[1.0]], "exclude_source": False}, "sources has 1 columns"),
        ({"concepts": [3]}, "rows of directions, from 0 to 2, got 3 to 3"),
        ({"concepts": [0, 0]}, "concepts must be 1 ints"),
        ({"relevance": np.ones((15, 2))}, "relevance has shape"),
        ({"relevance": np.eye(15, 3)}, "concept 0 nowhere but in a source"),
        ({"relevance": np.zeros((15, 3))}, "concept 0 nowhere"),
    ],
)
def test_what_does_not_fit_is_refused(changed, message):
    gallery, directions, relevance = make_case(0)
    arguments = {
        "sources": [0],
        "gallery": gallery,
        "directions": directions,
        "relevance": relevance,
    }
    with pytest.raises(ValueError, match=message):
        steering_scores(**arguments | changed)


def test_one_strength_may_be_a_number():
    gallery, directions, relevance = make_case(0)
    one, several = (
        steering_scores([0], gallery, directions, relevance, strengths=strengths)
        for strengths in (2, [2.0])
    )
    assert one.to_frame().equals(several.to_frame())


def test_the_unit_of_the_embeddings_does_not_matter_even_for_ties():
    gallery, directions, relevance = make_case(4, n_gallery=40)
    result, tiny = (
        steering_scores(np.arange(5), unit * gallery, unit * directions, relevance)
        for unit in (1.0, 1e-9)
    )
    for measure in MEASURES:
        assert_allclose(getattr(tiny, measure), getattr(result, measure), rtol=1e-9)
