import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae.metrics import nearest_neighbor_distances, ood_score

ROWS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(4, 9), st.just(3)),
    elements=st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0, 0.7]),
)


def cosine_distance(a, b):
    lengths = np.linalg.norm(a) * np.linalg.norm(b)
    return 1.0 if lengths == 0 else 1.0 - np.dot(a, b) / lengths


def reference_distances(queries, targets, k, exclude_self=False):
    kth = []
    for i, query in enumerate(queries):
        others = [
            cosine_distance(query, target)
            for j, target in enumerate(targets)
            if not (exclude_self and i == j)
        ]
        kth.append(sorted(others)[k - 1])
    return np.array(kth)


def reference_score(rows, native, k, side="farther"):
    inside = np.round(reference_distances(native, native, k, exclude_self=True), 12)
    outside = np.round(reference_distances(rows, native, k), 12)
    best = 0.5
    for threshold in [*inside, *outside]:
        accuracy = ((outside > threshold).mean() + (inside <= threshold).mean()) / 2
        best = max(best, accuracy, 1 - accuracy if side == "either" else 0)
    return best


@pytest.mark.filterwarnings("ignore:Only .* distinct:UserWarning")
@settings(deadline=None)
@given(queries=ROWS, targets=ROWS, k=st.integers(1, 3))
def test_distances_are_those_of_all_pairs(queries, targets, k):
    expected = reference_distances(queries, targets, k)
    assert_allclose(
        nearest_neighbor_distances(queries, targets, k=k), expected, atol=1e-12
    )
    found = nearest_neighbor_distances(sparse.csr_array(queries), targets, k=k)
    assert_allclose(found, expected, atol=1e-12)
    expected = reference_distances(queries, queries, k, exclude_self=True)
    assert_allclose(nearest_neighbor_distances(queries, k=k), expected, atol=1e-12)
    found = nearest_neighbor_distances(sparse.csr_array(queries), k=k)
    assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_blocks_do_not_matter(block_size):
    rows = np.random.default_rng(0).standard_normal((20, 4))
    expected = reference_distances(rows, rows, 2, exclude_self=True)
    found = nearest_neighbor_distances(rows, k=2, block_size=block_size)
    assert_allclose(found, expected, rtol=1e-9)


def test_lengths_do_not_matter():
    rng = np.random.default_rng(0)
    queries, targets = rng.standard_normal((2, 15, 4))
    scaled = queries * rng.uniform(1, 9, (15, 1)), targets * 1e-3
    expected = nearest_neighbor_distances(queries, targets, k=2)
    assert_allclose(nearest_neighbor_distances(*scaled, k=2), expected, rtol=1e-9)
    single = nearest_neighbor_distances(queries.astype(np.float32), targets, k=2)
    assert_allclose(single, expected, atol=1e-6)
    assert single.dtype == np.float64


@pytest.mark.filterwarnings("ignore:Only .* distinct:UserWarning")
@settings(deadline=None)
@given(rows=ROWS, native=ROWS, k=st.integers(1, 3))
def test_score_is_the_best_accuracy(rows, native, k):
    for side in ("farther", "either"):
        expected = reference_score(rows, native, k, side)
        assert_allclose(ood_score(rows, native, k=k, side=side), expected, atol=1e-12)


def test_score_is_the_plain_accuracy_of_equally_many_rows():
    rng = np.random.default_rng(0)
    native = rng.standard_normal((200, 6)) + [3, 0, 0, 0, 0, 0]
    moved = rng.standard_normal((200, 6)) + [2, 1, 0, 0, 0, 0]
    inside = reference_distances(native, native, 10, exclude_self=True)
    outside = reference_distances(moved, native, 10)
    distances, is_moved = np.append(inside, outside), np.arange(400) >= 200
    best = max(((distances > t) == is_moved).mean() for t in distances)
    assert 0.6 < best < 0.95
    assert ood_score(moved, native) == pytest.approx(best)


def test_score_of_what_is_native_and_of_what_is_not():
    rng = np.random.default_rng(0)
    native, same = rng.standard_normal((2, 1000, 8)) + 1
    assert 0.5 <= ood_score(same, native) < 0.55
    assert ood_score(-same, native) > 0.99
    # fewer rows weigh as much as many
    assert ood_score(-same[:7], native) == 1.0


def test_rows_that_crowd_are_recognised_by_a_smaller_distance():
    native = np.random.default_rng(0).standard_normal((100, 3))
    crowd = np.repeat(native.mean(axis=0, keepdims=True) + native[:1], 50, axis=0)
    farther = ood_score(crowd, native, k=5)
    either = ood_score(crowd, native, k=5, side="either")
    assert either >= farther
    assert either > 0.5


def test_repeated_rows_are_told_of():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((10, 3))
    repeated = np.repeat(rows, 2, axis=0)
    with pytest.warns(UserWarning, match="Only 10 of the 20 rows of native .* once"):
        ood_score(rows, repeated, k=2)
    with pytest.warns(UserWarning, match="Only 10 of the 20 rows of queries"):
        nearest_neighbor_distances(repeated, k=2)
    # queries of other targets may repeat
    ood_score(repeated, rows, k=2)
    nearest_neighbor_distances(repeated, repeated, k=2)


def test_distances_that_differ_by_rounding_tie():
    # with cosines that are equal but for the last digit nothing can be told
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    native = np.eye(8)[:6] @ rotation
    moved = np.eye(8)[6:] @ rotation
    distances = nearest_neighbor_distances(native, k=2)
    outside = nearest_neighbor_distances(moved, native, k=2)
    assert len(set(distances) | set(outside)) > 1
    assert_allclose(np.append(distances, outside), 1.0, rtol=1e-14)
    assert ood_score(moved, native, k=2, side="either") == 0.5


def test_bad_input():
    with pytest.raises(ValueError, match=r"k=4 is larger than .* 3"):
        nearest_neighbor_distances(np.eye(4), k=4)
    assert len(nearest_neighbor_distances(np.eye(4), np.eye(4), k=4)) == 4
    with pytest.raises(ValueError, match="queries has 2 columns and targets has 3"):
        nearest_neighbor_distances(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="rows has 2 columns and native has 3"):
        ood_score(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="'side' parameter of ood_score"):
        ood_score(np.eye(3), np.eye(3), k=1, side="nearer")
