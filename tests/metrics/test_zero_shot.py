import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae.metrics import class_prototypes, zero_shot_accuracy


def small_codes(n_rows, n_latents):
    """Codes of small ints: many zeros, many ties."""
    rows = st.lists(st.integers(0, 2), min_size=n_latents, max_size=n_latents)
    return st.lists(rows, min_size=n_rows, max_size=n_rows).map(
        lambda rows: np.array(rows, dtype=float)
    )


def reference_accuracy(codes, class_codes, labels, k, ties, max_fire_rate=None):
    if max_fire_rate is not None:
        kept = (codes != 0).mean(axis=0) <= max_fire_rate
        codes, class_codes = codes[:, kept], class_codes[:, kept]
    hits = []
    for code, label in zip(codes, labels, strict=True):
        scores = np.full(len(class_codes), -np.inf)
        for j, class_code in enumerate(class_codes):
            norm = np.linalg.norm(code) * np.linalg.norm(class_code)
            if norm > 0:
                scores[j] = code @ class_code / norm
        others = np.delete(scores, label)
        if scores[label] == -np.inf:
            hits.append(float(len(others) < k))
            continue
        above = np.sum(others > scores[label] + 1e-9)
        tied = np.sum(np.abs(others - scores[label]) <= 1e-9)
        hits.append(
            {
                "optimistic": float(above < k),
                "pessimistic": float(above + tied < k),
                "expected": np.clip((k - above) / (tied + 1), 0, 1),
            }[ties]
        )
    return np.mean(hits)


@settings(max_examples=60, deadline=None)
@given(
    small_codes(7, 4),
    small_codes(3, 4),
    st.lists(st.integers(0, 2), min_size=7, max_size=7),
    st.integers(1, 3),
    st.sampled_from(["pessimistic", "optimistic", "expected"]),
    st.sampled_from([None, 0.0, 0.4, 0.5, 1.0]),
    st.sampled_from([np.asarray, sparse.csr_array]),
)
def test_accuracy_is_that_of_a_plain_loop(
    codes, class_codes, labels, k, ties, rate, kind
):
    if rate is not None and not codes[:, (codes != 0).mean(axis=0) <= rate].any():
        with pytest.raises(ValueError, match=f"max_fire_rate={rate} leaves no latent"):
            zero_shot_accuracy(kind(codes), class_codes, labels, max_fire_rate=rate)
        return
    expected = reference_accuracy(codes, class_codes, labels, k, ties, rate)
    actual = zero_shot_accuracy(
        kind(codes), class_codes, labels, k=k, ties=ties, max_fire_rate=rate
    )
    assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_order_scale_nor_blocks_matter(dtype):
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(300, 20)) * (rng.random((300, 20)) < 0.3)
    class_codes, labels = rng.exponential(size=(9, 20)), rng.integers(0, 9, 300)
    codes, class_codes = codes.astype(dtype), class_codes.astype(dtype)
    accuracy = zero_shot_accuracy(codes, class_codes, labels)
    assert 0.05 < accuracy < 0.95
    order, rows = rng.permutation(20), rng.permutation(300)
    scales = rng.uniform(0.5, 2, size=(300, 1)).astype(dtype)
    assert accuracy == zero_shot_accuracy(
        (codes * scales)[:, order], class_codes[:, order], labels, block_size=7
    )
    assert accuracy == zero_shot_accuracy(codes[rows], class_codes, labels[rows])
    names = np.array(list("ihgfedcba"))
    assert accuracy == zero_shot_accuracy(
        sparse.csr_array(codes), class_codes, names[labels], classes=names
    )


def test_a_latent_that_fires_on_more_than_the_rate_is_left_out():
    codes = np.array([[9.0, 1, 0], [9, 0, 1], [0, 1, 0], [9, 0, 0]])
    class_codes = np.array([[1.0, 1, 0], [1, 0, 2]])
    assert zero_shot_accuracy(codes, class_codes, [0, 1, 0, 0]) == 0.75
    accuracy = zero_shot_accuracy(codes, class_codes, [0, 1, 0, 0], max_fire_rate=0.5)
    assert accuracy == 0.75  # the second is right now, the last has no latent left
    assert (
        zero_shot_accuracy(codes, class_codes, [0, 1, 0, 0], max_fire_rate=0.75) == 0.75
    )
    assert zero_shot_accuracy(codes[:2], class_codes, [0, 1]) == 0.5


def test_a_rate_that_is_reached_is_no_more_than_it():
    codes = np.zeros((100, 2))
    codes[:29, 0] = 1.0  # 29 / 100 <= 0.29, but 29 > 0.29 * 100
    codes[29:, 1] = 1.0
    labels = np.arange(100) >= 29
    accuracy = zero_shot_accuracy(codes, np.eye(2), labels * 1, max_fire_rate=0.29)
    assert accuracy == 0.29


def test_large_sparse_codes_stay_sparse():
    rng = np.random.default_rng(0)
    codes = sparse.random_array((20_000, 8192), density=0.002, rng=rng, format="csr")
    class_codes = sparse.random_array((50, 8192), density=0.01, rng=rng, format="csr")
    import tracemalloc

    tracemalloc.start()
    zero_shot_accuracy(codes, class_codes, rng.integers(0, 50, 20_000), k=5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6  # 1.3 GB dense


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 0]], [[1.0]], [0]), "2 columns and class_codes has 1"),
        (([[1.0]], [[1.0]], [1]), r"labels\[0\] is .*1.* none of the 1 classes"),
        (([[1.0]], [[1.0]], [[1, 0]]), r"labels must be 1-d.*labels.argmax\(axis=1\)"),
        (([[1.0]], [[1.0]], 0), "labels"),
        (([[1.0]], [[1.0]], [0, 0]), "inconsistent numbers of samples"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        zero_shot_accuracy(*arguments)


def test_classes_and_k_are_checked():
    with pytest.raises(ValueError, match="k=2 is larger than the number of classes, 1"):
        zero_shot_accuracy([[1.0]], [[1.0]], [0], k=2)
    with pytest.raises(ValueError, match=r"2 different labels.*1 different of 2"):
        zero_shot_accuracy([[1.0]], [[1.0], [2.0]], [0], classes=[0, 0])


def reference_prototypes(embeddings, labels):
    prototypes = []
    for label in sorted(set(labels)):
        rows = [row for row, of in zip(embeddings, labels, strict=True) if of == label]
        mean = np.mean([row / (np.linalg.norm(row) or 1) for row in rows], axis=0)
        prototypes.append(mean / (np.linalg.norm(mean) or 1))
    return np.array(prototypes)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prototypes_are_those_of_a_plain_loop(dtype):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(30, 6)).astype(dtype) * rng.uniform(1, 9, (30, 1))
    rows = rows.astype(dtype)
    rows[4] = 0
    labels = rng.permutation(np.repeat(["a", "b", "c"], [5, 10, 15]))
    expected = reference_prototypes(rows.astype(float), labels)
    assert_allclose(class_prototypes(rows, labels), expected, rtol=1e-9)
    # templates of one class beside each other
    cube = class_prototypes(rows.reshape(3, 10, 6))
    expected = reference_prototypes(rows.astype(float), np.repeat([0, 1, 2], 10))
    assert_allclose(cube, expected, rtol=1e-9)


def test_templates_that_cancel_out_leave_zeros():
    assert class_prototypes([[[1.0, 0.0], [-3.0, 0.0]]]).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize(
    ("shape", "labels"), [((4, 2), None), ((2, 2, 2), [0, 1]), ((4,), None)]
)
def test_labels_go_with_rows_only(shape, labels):
    with pytest.raises(ValueError, match="pass an array of shape"):
        class_prototypes(np.ones(shape), labels)


def test_a_class_without_templates_is_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 0, 3\): each class needs a temp"):
        class_prototypes(np.zeros((2, 0, 3)))


@pytest.mark.parametrize("ties", ["pessimistic", "expected"])
def test_the_result_has_hits_in_the_order_of_the_samples(ties):
    rng = np.random.default_rng(0)
    codes, class_codes = rng.integers(0, 2, (30, 3)) * 1.0, np.eye(3)
    labels = rng.integers(0, 3, 30)
    options = {"ties": ties, "k": 1}
    result = zero_shot_accuracy(
        codes, class_codes, labels, max_fire_rate=0.9, return_result=True, **options
    )
    for hit, code, label in zip(result.hits, codes, labels, strict=True):
        one = reference_accuracy(code[None], class_codes, [label], 1, ties)
        assert hit == pytest.approx(one)
    assert 0 < result.accuracy < 1
    assert result.accuracy == zero_shot_accuracy(codes, class_codes, labels, **options)
    assert result.protocol == {
        "task": "zero-shot classification",
        "similarity": "cosine",
        "k": 1,
        "ties": ties,
        "max_fire_rate": 0.9,
        "n_samples": 30,
        "n_classes": 3,
        "n_latents": 3,
    }
