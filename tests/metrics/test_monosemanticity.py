import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skxsae.metrics import (
    monosemanticity_score,
    multimodal_monosemanticity_score,
)
from skxsae.metrics._monosemanticity import _ROWS_PER_BATCH

VALUES = st.sampled_from([0.0, 0.0, 0.0, -1.5, 0.25, 2.0])
POSITIVE = st.sampled_from([0.5, 0.25, 2.0])  # latents that are always on
CODES = st.integers(1, 7).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.float64, (n, 3), elements=VALUES),
        hnp.arrays(np.float64, (n, 1), elements=POSITIVE),
    ).map(np.hstack)
)


def embed(seed, n, n_features=3):
    return np.random.default_rng(seed).standard_normal((n, n_features))


def plain_scaled(column):
    """Activations scaled to [0, 1]; all 0 where they do not differ."""
    spread = column.max() - column.min()
    return (column - column.min()) / spread if spread else np.zeros(len(column))


def plain_score(column, embeddings):
    """Weighted mean cosine of all pairs of different samples."""
    if np.count_nonzero(column) < 2:
        return np.nan
    a = plain_scaled(column)
    unit = embeddings / np.linalg.norm(embeddings, axis=1)[:, None]
    weighted = total = 0.0
    for i in range(len(a)):
        for j in range(len(a)):
            if i != j:
                weighted += a[i] * a[j] * (unit[i] @ unit[j])
                total += a[i] * a[j]
    return weighted / total if total > 0 else np.nan


def plain_multimodal_score(x_column, y_column, e, f):
    """Weighted mean cosine of all pairs of samples of two views."""
    if min(np.count_nonzero(x_column), np.count_nonzero(y_column)) < 2:
        return np.nan
    a, b = plain_scaled(x_column), plain_scaled(y_column)
    e, f = (rows / np.linalg.norm(rows, axis=1)[:, None] for rows in (e, f))
    weights = np.outer(a, b)
    return np.sum(weights * (e @ f.T)) / weights.sum() if weights.any() else np.nan


@given(codes=CODES, seed=st.integers(0, 1000))
def test_score_is_the_mean_cosine_of_pairs(codes, seed):
    embeddings = embed(seed, len(codes))
    expected = [plain_score(column, embeddings) for column in codes.T]
    for given_codes in (codes, sparse.csr_array(codes), codes.astype(np.float32)):
        scores = monosemanticity_score(given_codes, embeddings)
        assert_allclose(scores, expected, rtol=1e-6, atol=1e-12)
    scaled = monosemanticity_score(3 * codes, 2 * embeddings)
    assert_allclose(scaled, expected, rtol=1e-6, atol=1e-12)
    filled = monosemanticity_score(codes, embeddings, fill_value=0)
    assert_allclose(filled, np.nan_to_num(expected), rtol=1e-6, atol=1e-12)
    order = [2, 0, 3, 1]
    permuted = monosemanticity_score(codes[:, order], embeddings)
    assert_array_equal(permuted, monosemanticity_score(codes, embeddings)[order])


@given(X=CODES, y=CODES, seed=st.integers(0, 1000))
def test_multimodal_score_is_the_mean_cosine_across_views(X, y, seed):
    e, f = embed(seed, len(X)), embed(seed + 1, len(y))
    expected = [
        plain_multimodal_score(X[:, j], y[:, j], e, f) for j in range(X.shape[1])
    ]
    scores = multimodal_monosemanticity_score(sparse.csr_array(X), y, e, f)
    assert_allclose(scores, expected, rtol=1e-6, atol=1e-12)
    swapped = multimodal_monosemanticity_score(y, X, f, e)
    assert_allclose(swapped, expected, rtol=1e-6, atol=1e-12)


def test_many_rows_in_float32():
    n = _ROWS_PER_BATCH + 40
    codes = sparse.random_array(
        (n, 5), density=0.02, rng=0, dtype=np.float32, format="csr"
    )
    codes.data -= 0.1  # some are negative
    embeddings = embed(0, n).astype(np.float32)
    scores = monosemanticity_score(codes, embeddings)
    unit = embeddings / np.linalg.norm(embeddings.astype(float), axis=1)[:, None]
    for j, column in enumerate(codes.toarray().astype(float).T):
        a = plain_scaled(column)
        pairs = np.outer(a, a)
        np.fill_diagonal(pairs, 0)
        assert_allclose(
            scores[j], np.sum(pairs * (unit @ unit.T)) / pairs.sum(), rtol=1e-6
        )
    assert scores.dtype == np.float64


def test_samples_of_one_direction_score_1():
    codes = np.array([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    same = np.outer([1.0, 2.0, 3.0], [0.6, 0.8])
    assert_allclose(monosemanticity_score(codes, same), 1)
    assert_allclose(multimodal_monosemanticity_score(codes, codes, same, -same), -1)


def test_an_always_on_latent_with_a_small_spread_is_accurate():
    codes = 1e6 + np.array([[0.0], [1.0], [2.0], [4.0]])
    embeddings = embed(1, 4)
    expected = plain_score(codes[:, 0], embeddings)
    assert_allclose(monosemanticity_score(codes, embeddings), [expected], rtol=1e-6)


def test_number_of_fires_that_a_score_needs():
    codes = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    scores = monosemanticity_score(codes, embed(2, 4), min_fires=3)
    assert np.isnan(scores).tolist() == [True, False]
    once = np.array([[1.0], [0.0]])
    e = embed(3, 2)
    options = {"min_fires": 1, "fill_value": 0.0}
    score = multimodal_monosemanticity_score(once, once, e, e, **options)
    assert_allclose(score, 1)
    assert multimodal_monosemanticity_score(once, once, e, e, fill_value=-1) == -1


def test_one_sample_of_each_item_counts():
    rng = np.random.default_rng(0)
    codes, y_codes = rng.exponential(size=(2, 10, 3))
    e, f = embed(5, 10), embed(6, 10)
    groups = rng.permutation(np.repeat(np.arange(10), 3))
    first = np.array([np.flatnonzero(groups == g)[0] for g in range(10)])
    X, images = codes[groups], e[groups]
    with pytest.warns(UserWarning, match="10 of the 30 rows of embeddings.*groups"):
        repeated = monosemanticity_score(X, images)
    plain = monosemanticity_score(codes, e)
    assert (repeated > plain + 0.05).all()
    found = monosemanticity_score(sparse.csr_array(X), images, groups=groups)
    assert_allclose(found, plain)
    # the first sample of an item, where its samples differ
    captions = rng.standard_normal((30, 3))
    found = monosemanticity_score(X, captions, groups=groups)
    assert_allclose(found, monosemanticity_score(codes, captions[first]))

    of_both = multimodal_monosemanticity_score(codes, y_codes, e, f)
    with pytest.warns(UserWarning, match="10 of the 30 rows of y_emb.*y_groups"):
        multimodal_monosemanticity_score(codes, y_codes[groups], e, f[groups])
    with pytest.warns(UserWarning, match="10 of the 30 rows of x_emb.*x_groups"):
        multimodal_monosemanticity_score(X, y_codes, images, f)
    found = multimodal_monosemanticity_score(
        X, y_codes[groups], images, f[groups], x_groups=groups, y_groups=groups
    )
    assert_allclose(found, of_both)
    with pytest.raises(ValueError, match="groups has 3 entries for 30 rows"):
        monosemanticity_score(X, images, groups=[0, 1, 2])


def test_a_zero_that_is_stored_is_no_activation():
    codes = sparse.csr_array(np.array([[1.0, 2.0], [-1.0, 3.0], [5.0, 1.0]]))
    codes.data[4] = 0.0
    before = codes.copy()
    embeddings = embed(4, 3)
    assert_array_equal(
        monosemanticity_score(codes, embeddings),
        monosemanticity_score(codes.toarray(), embeddings),
    )
    assert_array_equal(codes.data, before.data)
    assert_array_equal(codes.indices, before.indices)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: monosemanticity_score(np.eye(2), np.eye(3)), "inconsistent numbers"),
        (
            lambda: monosemanticity_score(np.eye(2), np.diag([1.0, 0.0])),
            "embeddings has a row of zeros, row 1",
        ),
        (
            lambda: multimodal_monosemanticity_score(
                np.eye(2), np.ones((2, 3)), np.eye(2), np.eye(2)
            ),
            "X has 2 columns and y has 3",
        ),
        (
            lambda: multimodal_monosemanticity_score(
                np.eye(2), np.eye(2), np.eye(2), np.eye(2, 3)
            ),
            "x_embeddings has 2 columns and y_embeddings has 3",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
