"""The soft assignment, judged by dense float64 linear algebra from the formula."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone

from skxsae import Coactivation, CoactivationMatcher, _translation
from skxsae._translation import (
    Statistics,
    Translation,
    correlations,
    fit_translations,
)


def _codes(rng, n_samples, n_latents, density=0.2):
    fires = rng.random((n_samples, n_latents)) < density
    return sparse.csr_array(fires * rng.exponential(size=fires.shape))


def _split_views(seed, n_samples=1500, n_concepts=25):
    """Views in which each concept of x is two latents of y, at random."""
    rng = np.random.default_rng(seed)
    x = _codes(rng, n_samples, n_concepts, 0.1).toarray()
    in_first = rng.random(x.shape) < 0.5
    y = np.hstack([x * in_first, x * ~in_first])
    y = y[:, rng.permutation(2 * n_concepts)]
    noise = [rng.uniform(0.7, 1.3, size=z.shape) for z in (x, y)]
    return sparse.csr_array(x * noise[0]), sparse.csr_array(y * noise[1])


def _reference_map(x, y, shrinkage, rank):
    """Latents of x to latents of y, from the definition."""
    x, y = x.toarray(), y.toarray()
    n_x = x.shape[1]
    R = np.corrcoef(x.T, y.T)
    R_x, R_y = R[:n_x, :n_x], R[n_x:, n_x:]

    def inverse_root(R):
        values, vectors = np.linalg.eigh(R)
        # directions behind the `rank` largest count as equally strong
        values[: max(len(R) - rank, 0)] = values[: max(len(R) - rank, 0)].mean()
        values = (1 - shrinkage) * values + shrinkage
        return vectors / np.sqrt(values) @ vectors.T

    left, strength, right = np.linalg.svd(
        inverse_root(R_x) @ R[:n_x, n_x:] @ inverse_root(R_y), full_matrices=False
    )
    W = left[:, :rank] * strength[:rank] @ right[:rank]
    return W / np.sqrt(x.std(axis=0))[:, None], W.T / np.sqrt(y.std(axis=0))[:, None]


OPTIONS = {"min_fires": 1, "shrinkage": 0.5, "rank": 256, "n_active": 6}


def _fit(x, y, seed=0, **options):
    rng = np.random.RandomState(seed)
    options = {**OPTIONS, **options}
    return fit_translations(Statistics.from_codes(x, y), random_state=rng, **options)


@pytest.mark.filterwarnings("ignore:Mean of empty slice", "ignore:invalid value")
@pytest.mark.parametrize(
    ("shrinkage", "rank", "dense_ratio"),
    [(0.5, 256, 4), (0.2, 6, 4), (1.0, 12, 4), (0.2, 6, 0), (0.5, 20, 0)],
)
def test_maps_are_those_of_the_formula(shrinkage, rank, dense_ratio, monkeypatch):
    monkeypatch.setattr(_translation, "DENSE_RATIO", dense_ratio)
    x, y = _split_views(0)
    maps = _fit(x, y, shrinkage=shrinkage, rank=rank)
    expected = _reference_map(x, y, shrinkage, rank)
    for ours, theirs in zip(maps, expected, strict=True):
        np.testing.assert_allclose(ours.source @ ours.target.T, theirs, atol=1e-8)


def test_correlations_are_numpys():
    rng = np.random.default_rng(1)
    x, y = _codes(rng, 200, 8), _codes(rng, 200, 11)
    statistics = Statistics.from_codes(x, y)
    views = [
        _translation._Standardised(sums, min_fires=1)
        for sums in (statistics.x, statistics.y)
    ]
    expected = np.corrcoef(x.toarray().T, y.toarray().T)[:8, 8:]
    operator = correlations(*views, statistics.between)
    np.testing.assert_allclose(operator @ np.eye(11), expected, atol=1e-13)
    np.testing.assert_allclose(operator.T @ np.eye(8), expected.T, atol=1e-13)
    np.testing.assert_allclose(operator @ np.eye(11)[3], expected[:, 3], atol=1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_sample_keeps_its_largest_positive_entries(dtype):
    rng = np.random.default_rng(2)
    source, target = rng.standard_normal((9, 4)), rng.standard_normal((30, 4))
    codes = _codes(rng, 50, 9).astype(dtype)
    found = Translation(source, target, n_active=5, weight=2.0)(codes)
    assert found.has_canonical_format
    assert found.dtype == dtype
    dense = 2.0 * codes.toarray() @ source @ target.T
    bound = np.sort(dense, axis=1)[:, [-5]]
    expected = np.where((dense >= bound) & (dense > 0), dense, 0)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-5)


def test_the_translated_part_is_four_times_as_long():
    x, y = _split_views(3)
    for codes, translate in zip((x, y), _fit(x, y), strict=True):
        lengths = [np.square(z.data).sum() for z in (translate(codes), codes)]
        np.testing.assert_allclose(lengths[0] / lengths[1], 16, rtol=0.05)


def test_rare_latents_are_neither_source_nor_target():
    x, y = _split_views(4)
    x = x.tolil()
    x[:, 3] = 0
    x[:5, 3] = 1
    to_y, to_x = _fit(sparse.csr_array(x), y, min_fires=6)
    assert (to_y.source[3] == 0).all()
    np.testing.assert_allclose(to_x.source @ to_x.target[3], 0, atol=1e-12)
    assert (to_y.source[4] != 0).any()


@pytest.mark.parametrize("container", [np.asarray, sparse.csr_array, sparse.csr_matrix])
def test_matcher_puts_both_views_side_by_side(container):
    x, y = _split_views(5)
    x, y = (container(z.toarray()) for z in (x, y))
    matcher = CoactivationMatcher(assignment="soft", random_state=0, n_null=1)
    codes = matcher.fit(x, y).transform(x)
    reference = matcher.transform_reference(y)
    assert codes.shape == reference.shape == (1500, 75)
    assert sparse.issparse(codes) == sparse.issparse(x) == sparse.issparse(reference)
    codes, reference, x, y = (
        z.toarray() if sparse.issparse(z) else z for z in (codes, reference, x, y)
    )
    np.testing.assert_array_equal(codes[:, 50:], x)
    np.testing.assert_array_equal(reference[:, :50], y)
    assert ((codes[:, :50] > 0).sum(axis=1) <= matcher.translation_.n_active).all()
    assert len(matcher.get_feature_names_out()) == 75
    hungarian = clone(matcher).set_params(assignment="hungarian").fit(x, y)
    np.testing.assert_array_equal(matcher.matching_, hungarian.matching_)
    np.testing.assert_array_equal(hungarian.transform_reference(y), y)


def test_soft_finds_what_one_to_one_cannot():
    x, y = _split_views(6)
    cosines = {}
    for assignment in ("hungarian", "soft"):
        matcher = CoactivationMatcher(assignment=assignment, random_state=0)
        matcher.fit(x[:1000], y[:1000])
        views = matcher.transform(x[1000:]), matcher.transform_reference(y[1000:])
        views = [z.toarray() for z in views]
        views = [
            z / np.maximum(np.linalg.norm(z, axis=1), 1e-9)[:, None] for z in views
        ]
        ranks = (views[0] @ views[1].T).argmax(axis=1)
        cosines[assignment] = np.mean(ranks == np.arange(500))
    assert cosines["soft"] > 1.5 * cosines["hungarian"] > 0


def test_a_refit_forgets_the_translation():
    x, y = _split_views(9)
    matcher = CoactivationMatcher(assignment="soft", n_null=0).fit(x, y)
    matcher.set_params(assignment="greedy").fit(x, y)
    assert matcher.transform(x).shape == (1500, 50)
    assert len(matcher.get_feature_names_out()) == 50
    sums = Coactivation.from_codes(x, y)
    matcher.set_params(assignment="soft").fit(x, y)
    matcher.set_params(assignment="greedy").fit_coactivation(sums)
    assert matcher.transform(x).shape == (1500, 50)


def test_the_reference_must_have_its_latents():
    x, y = _split_views(7)
    matcher = CoactivationMatcher(n_null=0).fit(x, y)
    with pytest.raises(ValueError, match=r"y has 49 columns, but .* of 50 latents"):
        matcher.transform_reference(y[:, 1:])


def test_seed_and_dead_views():
    x, y = _split_views(8)
    first, second = (_fit(x, y, seed=3)[0] for _ in range(2))
    np.testing.assert_array_equal(first.source, second.source)
    for rank in (256, 2):  # the dense and the iterative way
        assert _fit(0 * x, y, rank=rank)[0](x).nnz == 0
    to_y, to_x = _fit(0 * x, y)
    assert to_y.weight == to_x.weight == 0
    assert to_y(x).nnz == to_x(y).nnz == 0
