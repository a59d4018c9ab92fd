"""CoactivationMatcher, judged by dense float64 NumPy written from the definitions."""

import pickle
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import linear_sum_assignment
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skxsae._coactivation import Coactivation
from skxsae._coactivation_matcher import CoactivationMatcher
from skxsae._noise_floor import NullMatches, repaired_rows, share_without_partner

CONTAINERS = [np.asarray, sparse.csr_array, sparse.csr_matrix]


def _codes(rng, n_samples, n_latents, density=0.2):
    fires = rng.random((n_samples, n_latents)) < density
    return fires * rng.exponential(size=fires.shape)


def _views(seed, n_samples=300, n_x=12, n_y=15, shared=8, density=0.1):
    """Codes of which some latents are noisy copies, in a random order."""
    rng = np.random.default_rng(seed)
    common = _codes(rng, n_samples, shared, density)
    x, y = (
        np.hstack([common, _codes(rng, n_samples, n - shared, density)])
        * rng.uniform(0.5, 1.5, size=(n_samples, n))
        for n in (n_x, n_y)
    )
    return x[:, rng.permutation(n_x)], y[:, rng.permutation(n_y)]


def _fit(x, y, **options):
    """Fit without a null unless asked for, so that no warning is due."""
    groups = options.pop("groups", None)
    options = {"n_null": 0, "min_fires": 1, **options}
    return CoactivationMatcher(**options).fit(x, y, groups=groups)


def _reference(x, y, min_fires, metric="correlation"):
    """Living latents of both views and the scores of all their pairs."""
    x, y = x.astype(np.float64), y.astype(np.float64)
    varies = metric in ("cosine", "jaccard")
    x_alive = ((x != 0).sum(axis=0) >= min_fires) & (varies | (np.ptp(x, axis=0) > 0))
    y_alive = ((y != 0).sum(axis=0) >= min_fires) & (varies | (np.ptp(y, axis=0) > 0))
    x_alive, y_alive = np.flatnonzero(x_alive), np.flatnonzero(y_alive)
    u, v = x[:, x_alive], y[:, y_alive]
    if metric == "jaccard":
        u, v = (u != 0).astype(float), (v != 0).astype(float)
        both = u.T @ v
        return x_alive, y_alive, both / (u.sum(axis=0)[:, None] + v.sum(axis=0) - both)
    if metric != "cosine":
        u, v = u - u.mean(axis=0), v - v.mean(axis=0)
    scores = (u / np.linalg.norm(u, axis=0)).T @ (v / np.linalg.norm(v, axis=0))
    return x_alive, y_alive, np.abs(scores) if "absolute" in metric else scores


def _optimum(x, y, min_fires=1, metric="correlation"):
    scores = _reference(x, y, min_fires, metric)[2]
    rows, columns = linear_sum_assignment(-scores)
    return np.sort(scores[rows, columns])


def _assert_consistent(matcher, x, y, min_fires=1, metric="correlation"):
    """Check every fitted attribute against the matching it comes with."""
    x_alive, y_alive, scores = _reference(x, y, min_fires, metric)
    matched = np.flatnonzero(matcher.matching_ >= 0)
    latents = matcher.matching_[matched]
    assert len(set(latents)) == len(latents)
    assert set(latents) <= set(x_alive)
    assert set(matched) <= set(y_alive)
    rest = np.setdiff1d(np.arange(x.shape[1]), latents)
    np.testing.assert_array_equal(matcher.unmatched_, rest)
    rows, columns = np.searchsorted(x_alive, latents), np.searchsorted(y_alive, matched)
    np.testing.assert_allclose(
        matcher.scores_[matched], scores[rows, columns], atol=1e-10
    )
    for score, i, j, y_latent in zip(
        scores[rows, columns], rows, columns, matched, strict=True
    ):
        others = np.append(np.delete(scores[i], j), np.delete(scores[:, j], i))
        margin = matcher.margins_[y_latent]
        if len(others):
            np.testing.assert_allclose(margin, score - others.max(), atol=1e-10)
            assert matcher.mutual_[y_latent] == (margin >= 0)
        else:
            assert np.isnan(margin)
            assert matcher.mutual_[y_latent]
    unmatched = matcher.matching_ < 0
    assert np.isnan(matcher.scores_[unmatched]).all()
    assert np.isnan(matcher.margins_[unmatched]).all()
    assert not matcher.mutual_[unmatched].any()
    assert not matcher.above_noise_[unmatched].any()


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(12, 15), (15, 12), (13, 13), (8, 30), (30, 8)])
def test_matching_has_the_largest_sum_of_correlations(container, dtype, shape):
    for seed in range(3):
        x, y = (z.astype(dtype) for z in _views(seed, n_x=shape[0], n_y=shape[1]))
        matcher = _fit(container(x), container(y))
        _assert_consistent(matcher, x, y)
        found = np.sort(matcher.scores_[matcher.matching_ >= 0])
        assert len(found) == min(shape)
        np.testing.assert_allclose(found, _optimum(x, y), atol=1e-10)


@settings(deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(2, 40), st.integers(1, 12), st.integers(1, 12)),
    st.sampled_from([0.03, 0.2, 1.0]),
    st.integers(1, 4),
    st.booleans(),
)
def test_degenerate_latents_are_left_out_and_the_rest_is_optimal(
    seed, shape, density, min_fires, poor_core
):
    n_samples, n_x, n_y = shape
    rng = np.random.default_rng(seed)
    x, y = (_codes(rng, n_samples, n, density) for n in (n_x, n_y))
    x[:, rng.random(n_x) < 0.15] = 0.0
    y[:, rng.random(n_y) < 0.15] = 0.3  # always on, never varying
    x[:, -1] = x[:, 0]
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", UserWarning)
        if poor_core:
            patch.setattr("skxsae._assignment.N_PARTNERS", 2)
            patch.setattr("skxsae._assignment.MORE_CANDIDATES", 2)
            patch.setattr("skxsae._assignment.MAX_DENSE_CELLS", 0)
        matcher = _fit(sparse.csr_array(x), y, min_fires=min_fires)
    _assert_consistent(matcher, x, y, min_fires)
    found = matcher.scores_[matcher.matching_ >= 0].sum()
    np.testing.assert_allclose(found, _optimum(x, y, min_fires).sum(), atol=1e-8)


@pytest.mark.parametrize(
    "metric", ["correlation", "absolute_correlation", "cosine", "jaccard"]
)
@pytest.mark.parametrize("assignment", ["hungarian", "greedy", "mutual_nearest"])
def test_every_metric_with_every_assignment(metric, assignment):
    x, y = _views(3)
    x[:, ::2] *= -1
    matcher = _fit(x, y, metric=metric, assignment=assignment)
    _assert_consistent(matcher, x, y, metric=metric)
    found = matcher.scores_[matcher.matching_ >= 0]
    assert np.isnan(matcher.gap_) == (assignment != "hungarian")
    assert not abs(matcher.gap_) > 1e-10
    if assignment == "hungarian":
        np.testing.assert_allclose(np.sort(found), _optimum(x, y, 1, metric))
    elif assignment == "greedy":
        scores = _reference(x, y, 1, metric)[2]
        assert len(found) == 12
        np.testing.assert_allclose(found.max(), scores.max())
    else:
        assert 0 < len(found) < 12
        assert matcher.mutual_[matcher.matching_ >= 0].all()


def test_a_planted_permutation_is_recovered():
    rng = np.random.default_rng(4)
    codes = sparse.csr_array(_codes(rng, 2000, 100, 0.05))
    order = rng.permutation(100)
    matcher = CoactivationMatcher(random_state=0).fit(codes[:, order], codes)
    np.testing.assert_array_equal(order[matcher.matching_], np.arange(100))
    np.testing.assert_allclose(matcher.scores_, 1)
    assert matcher.above_noise_.all()
    assert matcher.mutual_.all()
    back = matcher.transform(codes[:, order])
    np.testing.assert_array_equal(back.toarray(), codes.toarray())


def test_rare_latents_are_left_out():
    x, y = _views(5, n_samples=400)
    x[:, 3], y[:, 7] = 0, 0
    x[:9, 3] = y[:9, 7] = 1
    assert _fit(x, y, min_fires=10).matching_[7] == -1
    assert _fit(x, y, min_fires=9).matching_[7] == 3
    assert CoactivationMatcher().min_fires == 10


@pytest.mark.parametrize(("dead", "named"), [("x", "X"), ("y", "y"), ("xy", "X .*y ")])
def test_no_living_latent_is_a_warning_and_no_match(dead, named):
    x, y = _views(6)
    x, y = (0 * x if "x" in dead else x), (0 * y if "y" in dead else y)
    matcher = CoactivationMatcher()
    with pytest.warns(UserWarning, match=f"Nothing is matched: no latent of {named}"):
        matcher.fit(sparse.csr_array(x), sparse.csr_array(y))
    assert (matcher.matching_ == -1).all()
    assert np.isnan(matcher.scores_).all()
    assert np.isnan(matcher.noise_floor_)
    assert not matcher.above_noise_.any()
    np.testing.assert_array_equal(matcher.unmatched_, np.arange(12))
    assert (matcher.transform(x + 1) == 0).all()


def test_a_lone_pair_has_no_margin():
    x, y = _views(7)
    x[:, 1:], y[:, :14] = 0, 0
    matcher = _fit(x, y)
    assert matcher.matching_.tolist() == [-1] * 14 + [0]
    assert np.isnan(matcher.margins_).all()
    assert matcher.mutual_.tolist() == [False] * 14 + [True]


def test_twins_have_no_margin_between_them():
    rng = np.random.default_rng(8)
    y = _codes(rng, 200, 3)
    matcher = _fit(y[:, [0, 0, 1, 2]], y)
    assert matcher.matching_[0] in (0, 1)
    assert matcher.margins_[0] == 0
    assert matcher.mutual_.all()
    assert len(matcher.unmatched_) == 1


def _null_scores(x, y, groups, rng, min_fires):
    rows = repaired_rows(groups, rng)
    return _optimum(x, y[rows], min_fires)


@pytest.mark.parametrize("n_groups", [None, 60])
@pytest.mark.parametrize("quantile", [0.5, 0.99])
def test_noise_floor_is_a_quantile_of_what_is_matched_by_chance(n_groups, quantile):
    x, y = _views(9)
    groups = None
    if n_groups:
        # numbered as they appear
        groups = pd.factorize(np.random.default_rng(0).integers(n_groups, size=300))[0]
    matcher = _fit(
        x, y, n_null=3, noise_quantile=quantile, random_state=5, groups=groups
    )
    rng = np.random.RandomState(5)
    groups = np.arange(300) if groups is None else groups
    null = np.concatenate([_null_scores(x, y, groups, rng, 1) for _ in range(3)])
    np.testing.assert_allclose(matcher.noise_floor_, np.quantile(null, quantile))
    np.testing.assert_array_equal(
        matcher.above_noise_, matcher.scores_ > np.quantile(null, quantile)
    )


def test_noise_floor_of_repeated_rows_needs_their_groups():
    # ten captions of each picture that fire alike look like ten independent pairs
    rng = np.random.default_rng(10)
    x, y = (np.repeat(_codes(rng, 60, 20, 0.1), 10, axis=0) for _ in range(2))
    groups = np.repeat(np.arange(60), 10)
    with pytest.warns(UserWarning, match="noise floor"):
        grouped = CoactivationMatcher(random_state=0).fit(x, y, groups=groups)
    alone = CoactivationMatcher(random_state=0).fit(x, y)
    assert alone.noise_floor_ < 0.5 * grouped.noise_floor_
    assert alone.above_noise_.mean() > 0.5


def test_auto_null_pools_about_a_thousand_scores(monkeypatch):
    calls = []

    def counted(groups, rng):
        calls.append(len(groups))
        return repaired_rows(groups, rng)

    monkeypatch.setattr("skxsae._coactivation_matcher.repaired_rows", counted)
    rng = np.random.default_rng(11)
    for n_latents, n_expected in ((3, 10), (300, 4), (1000, 1)):
        calls.clear()
        codes = sparse.csr_array(_codes(rng, 200, n_latents, 0.1))
        CoactivationMatcher(min_fires=1, random_state=0).fit(codes, codes)
        assert len(calls) == n_expected


def test_no_null_leaves_the_floor_undefined():
    x, y = _views(12)
    matcher = CoactivationMatcher(n_null=0).fit(x, y)
    assert np.isnan(matcher.noise_floor_)
    assert not matcher.above_noise_.any()


def test_unrelated_views_warn():
    rng = np.random.default_rng(13)
    x, y = (sparse.csr_array(_codes(rng, 300, 40)) for _ in range(2))
    with pytest.warns(UserWarning, match=r"Only \d+ of 40 matches .* noise floor"):
        CoactivationMatcher(random_state=0).fit(x, y)


@pytest.mark.parametrize(("n_shared", "warns"), [(6, True), (14, False)])
def test_a_quarter_of_the_matches_must_beat_the_floor(n_shared, warns):
    x, y = _views(13, n_samples=500, n_x=40, n_y=40, shared=n_shared)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        matcher = CoactivationMatcher(random_state=0).fit(x, y)
    n_above = matcher.above_noise_.sum()
    assert n_shared <= n_above < n_shared + 4
    assert [str(w.message)[: len(f"Only {n_above} of 40")] for w in caught] == (
        [f"Only {n_above} of 40"] if warns else []
    )


def test_seed_decides_the_floor():
    x, y = _views(14)
    floors = [_fit(x, y, n_null=1, random_state=s).noise_floor_ for s in (0, 0, 1)]
    assert floors[0] == floors[1] != floors[2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_gathers_columns(dtype):
    x, y = _views(15, n_x=20, n_y=15)
    x[:, 4] = 0
    matcher = _fit(x, y, min_fires=5, assignment="mutual_nearest")
    x = x.astype(dtype)
    dense = matcher.transform(x)
    assert isinstance(dense, np.ndarray)
    assert dense.dtype == dtype
    for j, latent in enumerate(matcher.matching_):
        expected = x[:, latent] if latent >= 0 else np.zeros(300)
        np.testing.assert_array_equal(dense[:, j], expected)
    unsorted = sparse.csr_array(x)[:, ::-1][:, ::-1]
    for codes in (sparse.csr_array(x), sparse.csr_matrix(x), unsorted):
        moved = matcher.transform(codes)
        assert moved.format == "csr"
        assert moved.dtype == dtype
        assert moved.has_canonical_format
        np.testing.assert_array_equal(moved.toarray(), dense)
    assert matcher.transform(sparse.csr_array(x[:1])).shape == (1, 15)


@pytest.mark.parametrize("interface", ["spmatrix", "sparray"])
def test_sparse_output_is_of_the_configured_class(interface):
    x, y = _views(16)
    matcher = _fit(x, y)
    with sklearn.config_context(sparse_interface=interface):
        codes = matcher.transform(sparse.csr_array(x))
    assert isinstance(codes, sparse.csr_matrix) == (interface == "spmatrix")


def test_tags():
    tags = CoactivationMatcher().__sklearn_tags__()
    assert tags.input_tags.sparse
    assert tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype == ["float32", "float64"]


def test_inputs_are_left_as_they_are():
    x, y = _views(17)
    codes = sparse.csr_array(x)
    for part in (codes.data, codes.indices, codes.indptr, x, y):
        part.flags.writeable = False
    matcher = _fit(codes, sparse.csr_array(y), n_null=1)
    dense = _fit(np.asfortranarray(x), y.tolist(), n_null=1)
    np.testing.assert_array_equal(matcher.matching_, dense.matching_)
    np.testing.assert_array_equal(codes.toarray(), x)


@pytest.mark.parametrize("dtype", [np.float16, np.int64, bool, object])
def test_other_numbers_are_cast(dtype):
    x, y = (np.ceil(2 * z).astype(dtype) for z in _views(18))
    matcher = _fit(x, y)
    _assert_consistent(matcher, x.astype(float), y.astype(float))
    assert matcher.transform(x).dtype == np.float32


def test_one_dimensional_y_is_one_latent():
    x, y = _views(19)
    matcher = _fit(x, y[:, 2])
    assert matcher.matching_.shape == (1,)
    assert matcher.matching_[0] == _fit(x, y[:, [2]]).matching_[0]
    assert matcher.transform(x).shape == (300, 1)


def test_missing_y_is_a_value_error():
    message = "requires y to be passed, but the target y is None"
    with pytest.raises(ValueError, match=message):
        CoactivationMatcher().fit(_views(20)[0], None)


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity")])
def test_the_row_of_a_bad_number_is_named(container, value, kind):
    x, y = _views(21)
    bad = x.copy()
    bad[17, 3] = value
    with pytest.raises(ValueError, match=f"Input X contains {kind} in row 17"):
        CoactivationMatcher().fit(container(bad), y)
    with pytest.raises(ValueError, match=f"Input y contains {kind} in row 17"):
        CoactivationMatcher().fit(y, container(bad))
    with pytest.raises(ValueError, match=f"Input X contains {kind} in row 17"):
        _fit(x, y).transform(container(bad))


def test_wrong_arguments_say_so():
    x, y = _views(22)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        CoactivationMatcher().fit(x, y[:-1])
    with pytest.raises(ValueError, match="groups has 10 entries for 300"):
        CoactivationMatcher().fit(x, y, groups=np.arange(10))
    with pytest.raises(ValueError, match=r"groups has a single value"):
        CoactivationMatcher().fit(x, y, groups=np.zeros(300))
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        CoactivationMatcher().fit(x[:1], y[:1])
    with pytest.raises(ValueError, match=r"X has 11 features, but .* expecting 12"):
        _fit(x, y).transform(x[:, 1:])
    with pytest.raises(NotFittedError):
        CoactivationMatcher().transform(x)
    for wrong in (
        {"metric": "euclidean"},
        {"assignment": "best"},
        {"min_fires": 0},
        {"noise_quantile": 1.5},
        {"n_null": -1},
        {"min_score": "high"},
        {"n_bootstrap": -1},
        {"n_translated": 0},
        {"shrinkage": 0},
        {"rank": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            CoactivationMatcher(**wrong).fit(x, y)


def test_an_interrupted_fit_leaves_the_matcher_as_it_was(monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    x, y = _views(23)
    fitted, unfitted = _fit(x, y, n_null=1), CoactivationMatcher()
    before = vars(fitted).copy()
    monkeypatch.setattr("skxsae._coactivation_matcher.repaired_rows", interrupt)
    for matcher in (fitted, unfitted):
        with pytest.raises(KeyboardInterrupt):
            matcher.fit(x[:, 1:], y)
    assert vars(fitted) == before
    assert not hasattr(unfitted, "n_features_in_")


def test_pandas_in_and_out():
    x, y = _views(24)
    x = pd.DataFrame(x, columns=[f"latent{i}" for i in range(12)])
    matcher = _fit(x, pd.DataFrame(y)).set_output(transform="pandas")
    codes = matcher.transform(x)
    assert codes.columns.tolist() == [f"coactivationmatcher{i}" for i in range(15)]
    assert matcher.feature_names_in_[1] == "latent1"
    np.testing.assert_array_equal(codes["coactivationmatcher0"], codes.to_numpy()[:, 0])
    with pytest.raises(ValueError, match="feature names"):
        matcher.transform(x.iloc[:, ::-1])


def test_clones_and_pickles():
    x, y = _views(25)
    matcher = _fit(x, y)
    again = pickle.loads(pickle.dumps(matcher))
    np.testing.assert_array_equal(again.transform(x), matcher.transform(x))
    assert clone(matcher).get_params() == matcher.get_params()


class _Encoder(TransformerMixin, BaseEstimator):
    """Codes that are the positive part of the samples, CSR."""

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return sparse.csr_array(np.maximum(X, 0))


def test_behind_a_frozen_encoder_in_a_pipeline():
    x, y = _views(26)
    encoder = FrozenEstimator(_Encoder().fit(x))
    pipeline = make_pipeline(encoder, CoactivationMatcher(min_fires=1, random_state=0))
    codes = pipeline.fit(x, sparse.csr_array(y)).transform(x)
    expected = CoactivationMatcher(min_fires=1, random_state=0).fit_transform(x, y)
    np.testing.assert_array_equal(codes.toarray(), expected)


def test_groups_are_routed_to_fit():
    x, y = _views(27)
    groups = np.arange(300) // 5
    direct = _fit(x, y, n_null=1, random_state=0, groups=groups)
    with sklearn.config_context(enable_metadata_routing=True):
        matcher = clone(direct).set_fit_request(groups=True)
        pipeline = make_pipeline(_Encoder(), matcher).fit(x, y, groups=groups)
    assert pipeline[-1].noise_floor_ == direct.noise_floor_
    assert _fit(x, y, n_null=1, random_state=0).noise_floor_ != direct.noise_floor_


def _directions(seed, n_x=12, n_y=15):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_x, 6)), rng.standard_normal((n_y, 6))


@pytest.mark.parametrize("assignment", ["hungarian", "greedy", "mutual_nearest"])
def test_matching_by_directions(assignment):
    x, y = _views(30)
    x[:, 4] = 0
    directions = _directions(30)
    matcher = CoactivationMatcher(metric="decoder_cosine", assignment=assignment)
    matcher.set_params(min_fires=1).fit(x, y, directions=directions)
    u, v = (d / np.linalg.norm(d, axis=1, keepdims=True) for d in directions)
    cosines = u @ v.T
    matched = np.flatnonzero(matcher.matching_ >= 0)
    latents = matcher.matching_[matched]
    assert 4 not in latents
    np.testing.assert_allclose(matcher.scores_[matched], cosines[latents, matched])
    if assignment == "hungarian":
        alive = np.delete(cosines, 4, axis=0)
        best = linear_sum_assignment(alive, maximize=True)
        np.testing.assert_allclose(matcher.scores_[matched].sum(), alive[best].sum())
        assert abs(matcher.gap_) < 1e-10
    assert np.isnan(matcher.noise_floor_)


def test_directions_must_be_there_and_fit():
    x, y = _views(31)
    matcher = CoactivationMatcher(metric="decoder_cosine")
    u, v = _directions(31)
    with pytest.raises(ValueError, match="requires directions: pass the decoder"):
        matcher.fit(x, y)
    with pytest.raises(ValueError, match="11 and 15 rows, but X has 12 latents"):
        matcher.fit(x, y, directions=(u[1:], v))
    with pytest.raises(ValueError, match="6 and 5 wide, but only those of one space"):
        matcher.fit(x, y, directions=(u, v[:, 1:]))
    with pytest.raises(ValueError, match="n_bootstrap must be 0"):
        matcher.set_params(n_bootstrap=3).fit(x, y, directions=(u, v))


@pytest.mark.parametrize("metric", ["correlation", "cosine"])
def test_sums_match_like_the_codes_they_are_of(metric):
    x, y = _views(32)
    direct = _fit(x, y, metric=metric)
    parts = [Coactivation.from_codes(x[rows], y[rows]) for rows in _thirds(300)]
    matcher = CoactivationMatcher(metric=metric, min_fires=1)
    matcher.fit_coactivation(parts[0] + parts[1] + parts[2])
    for name in ("matching_", "mutual_", "unmatched_"):
        np.testing.assert_array_equal(getattr(matcher, name), getattr(direct, name))
    for name in ("scores_", "margins_"):
        ours, theirs = getattr(matcher, name), getattr(direct, name)
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
    np.testing.assert_array_equal(matcher.transform(x), direct.transform(x))
    assert np.isnan(matcher.noise_floor_)


def _thirds(n):
    return [slice(i, i + n // 3) for i in range(0, n, n // 3)]


def test_sums_of_broken_pairs_give_the_noise_floor():
    x, y = _views(33)
    sums = Coactivation.from_codes(x, y)
    rng = np.random.RandomState(0)
    null = [Coactivation.from_codes(x, y[repaired_rows(np.arange(300), rng)])]
    matcher = CoactivationMatcher(min_fires=1, noise_quantile=0.5)
    matcher.fit_coactivation(sums, null)
    direct = CoactivationMatcher(
        min_fires=1, noise_quantile=0.5, n_null=1, random_state=0
    ).fit(x, y)
    np.testing.assert_allclose(matcher.noise_floor_, direct.noise_floor_, rtol=1e-12)
    np.testing.assert_array_equal(matcher.above_noise_, direct.above_noise_)


@pytest.mark.parametrize(
    "needs_codes",
    [{"assignment": "soft"}, {"metric": "decoder_cosine"}, {"n_bootstrap": 5}],
)
def test_sums_cannot_give_everything(needs_codes):
    sums = Coactivation.from_codes(*_views(34))
    matcher = CoactivationMatcher(**needs_codes)
    with pytest.raises(ValueError, match="cannot be had from sums alone"):
        matcher.fit_coactivation(sums)
    assert not hasattr(matcher, "matching_")


def test_sums_must_be_what_the_metric_needs():
    x, y = _views(37)
    sums = Coactivation.from_codes(x, y)
    with pytest.raises(ValueError, match="counts firings, but these are the sums of"):
        CoactivationMatcher(metric="jaccard").fit_coactivation(sums)
    binary = Coactivation.from_codes(*((z > 0).astype(float) for z in (x, y)))
    matcher = CoactivationMatcher(metric="jaccard", min_fires=1)
    found = matcher.fit_coactivation(binary).matching_
    np.testing.assert_array_equal(found, _fit(x, y, metric="jaccard").matching_)
    with pytest.raises(TypeError, match="must hold Coactivation, got ndarray"):
        CoactivationMatcher().fit_coactivation(x)
    other = Coactivation.from_codes(x, y[:, 1:])
    with pytest.raises(ValueError, match=r"null has .*\(12, 14\)"):
        CoactivationMatcher().fit_coactivation(sums, null=[other])


def test_a_noise_floor_that_is_not_there_cannot_be_asked_for():
    x, y = _views(38)
    matcher = CoactivationMatcher(min_score="noise_floor", min_fires=1)
    with pytest.raises(ValueError, match="min_score='noise_floor' needs a noise floor"):
        matcher.fit_coactivation(Coactivation.from_codes(x, y))
    with pytest.raises(ValueError, match="min_score='noise_floor' needs a noise floor"):
        matcher.set_params(n_null=0).fit(x, y)


def test_the_share_of_what_was_kept_is_known_from_its_lowest_score():
    x, y = _views(40, n_samples=500, n_x=30, n_y=30, shared=15)
    full = _fit(x, y, n_null=5, random_state=0)
    low = np.sort(full.scores_)[15]
    kept = _fit(x, y, n_null=5, random_state=0, min_score=low)
    assert kept.min_score_ == low
    assert kept.false_match_share(-1) == full.false_match_share(low)
    assert kept.false_match_share(0.9) == full.false_match_share(0.9)


def test_one_group_has_no_bootstrap():
    x, y = _views(41)
    with pytest.raises(ValueError, match="the bootstrap draws whole groups"):
        _fit(x, y, n_bootstrap=5, groups=np.zeros(300))


def test_sums_forget_the_names_of_other_latents():
    x, y = _views(42)
    matcher = _fit(pd.DataFrame(x).add_prefix("a"), y)
    assert hasattr(matcher, "feature_names_in_")
    matcher.fit_coactivation(Coactivation.from_codes(x[:, 1:], y))
    assert not hasattr(matcher, "feature_names_in_")
    assert matcher.n_features_in_ == 11


def test_a_share_is_a_number_from_0_to_1():
    matcher = _fit(*_views(39), n_null=1)
    assert matcher.score_at_share(np.float32(0.05)) <= np.inf
    for share in (5, -0.1, "5%"):
        with pytest.raises(ValueError, match="share must be a number from 0 to 1"):
            matcher.score_at_share(share)


@pytest.mark.parametrize("seed", range(200))
def test_matching_is_exact_whatever_is_left_out(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    monkeypatch.setattr("skxsae._affinity.MAX_STORED", 0)
    monkeypatch.setattr("skxsae._affinity.MIN_KEPT", int(rng.integers(1, 4)))
    monkeypatch.setattr("skxsae._affinity.STORED_CELLS", int(rng.integers(20, 200)))
    monkeypatch.setattr("skxsae._assignment.N_PARTNERS", 2)
    monkeypatch.setattr("skxsae._assignment.MORE_CANDIDATES", int(rng.integers(1, 4)))
    monkeypatch.setattr("skxsae._assignment.MAX_DENSE_CELLS", 0)
    n_x, n_y = rng.integers(2, 18, size=2)
    x, y = (_codes(rng, rng.integers(20, 60), n, 0.4) for n in (n_x, n_y))
    y = np.resize(y, (len(x), n_y))
    if seed % 2:
        x = x * rng.choice([-1, 1], size=n_x)
    metric = ["correlation", "absolute_correlation", "cosine", "jaccard"][seed % 4]
    matcher = _fit(sparse.csr_array(x), sparse.csr_array(y), metric=metric)
    _assert_consistent(matcher, x, y, metric=metric)
    found = np.nansum(matcher.scores_)
    np.testing.assert_allclose(found, _optimum(x, y, 1, metric).sum(), atol=1e-9)
    assert abs(matcher.gap_) < 1e-9


def test_matches_of_a_low_score_are_given_up():
    x, y = _views(35)
    full = _fit(x, y)
    bound = np.median(full.scores_[full.matching_ >= 0])
    matcher = _fit(x, y, min_score=bound)
    kept = full.scores_ >= bound
    np.testing.assert_array_equal(matcher.matching_, np.where(kept, full.matching_, -1))
    np.testing.assert_array_equal(
        matcher.unmatched_, np.setdiff1d(np.arange(12), full.matching_[kept])
    )
    assert (matcher.transform(x)[:, ~kept] == 0).all()
    floor = _fit(x, y, n_null=3, random_state=0)
    matcher = _fit(x, y, n_null=3, random_state=0, min_score="noise_floor")
    kept = floor.scores_ >= floor.noise_floor_
    assert 0 < kept.sum() < (floor.matching_ >= 0).sum()
    np.testing.assert_array_equal(matcher.matching_ >= 0, kept)


@pytest.mark.parametrize("metric", ["correlation", "cosine", "jaccard"])
def test_bootstrap_resamples_groups(metric):
    x, y = _views(36, n_samples=200)
    groups = np.arange(200) // 4
    matcher = _fit(x, y, metric=metric, n_bootstrap=300, groups=groups, random_state=0)
    matched = np.flatnonzero(matcher.matching_ >= 0)
    # the plain way: draw groups, stack their rows, score the matched columns
    rng = np.random.default_rng(1)
    samples = []
    for _ in range(300):
        drawn = rng.integers(50, size=50)
        rows = (4 * drawn[:, None] + np.arange(4)).ravel()
        u, v = x[rows][:, matcher.matching_[matched]], y[rows][:, matched]
        if metric == "correlation":
            u, v = u - u.mean(axis=0), v - v.mean(axis=0)
        if metric == "jaccard":
            u, v = (u != 0).astype(float), (v != 0).astype(float)
            samples.append((u * v).sum(axis=0) / np.maximum(u, v).sum(axis=0))
        else:
            norms = np.linalg.norm(u, axis=0) * np.linalg.norm(v, axis=0)
            samples.append((u * v).sum(axis=0) / norms)
    expected = np.percentile(samples, [2.5, 97.5], axis=0).T
    np.testing.assert_allclose(matcher.score_intervals_[matched], expected, atol=0.12)
    widths = np.diff(matcher.score_intervals_[matched]).ravel()
    np.testing.assert_allclose(widths, np.diff(expected).ravel(), rtol=0.5, atol=0.05)
    low, high = matcher.score_intervals_[matched].T
    assert (
        (low <= matcher.scores_[matched]) & (matcher.scores_[matched] <= high)
    ).all()
    assert np.isnan(_fit(x, y).score_intervals_).all()


def _planted(seed, n_samples=2000, n_shared=60, n_own=60):
    """Views of which half the latents have a true partner, some of them a weak one."""
    rng = np.random.default_rng(seed)
    together = rng.random((n_samples, n_shared)) < 0.03
    strength = rng.uniform(0.3, 0.95, size=n_shared)
    views, orders = [], []
    for _ in range(2):
        seen = together & (rng.random(together.shape) < strength)
        seen |= rng.random(together.shape) < 0.015
        codes = np.hstack([seen, rng.random((n_samples, n_own)) < 0.03])
        orders.append(rng.permutation(n_shared + n_own))
        views.append((codes * rng.exponential(size=codes.shape))[:, orders[-1]])
    place_in_x = np.argsort(orders[0])
    truth = np.where(orders[1] < n_shared, place_in_x[orders[1]], -1)
    return *map(sparse.csr_array, views), truth


@pytest.mark.filterwarnings("ignore:Only")
@pytest.mark.parametrize("share", [0.05, 0.2])
def test_the_share_of_false_matches_is_as_expected(share):
    realised, expected, inside = [], [], 0
    for seed in range(20):
        x, y, truth = _planted(seed)
        matcher = CoactivationMatcher(random_state=seed).fit(x, y)
        min_score = matcher.score_at_share(share)
        estimate = matcher.false_match_share(min_score)
        kept = matcher.scores_ >= min_score
        assert estimate.n_matches == kept.sum() > 0
        assert estimate.expected <= share
        realised.append(np.mean(matcher.matching_[kept] != truth[kept]))
        expected.append(estimate.expected)
        inside += estimate.low <= realised[-1] <= estimate.high
    assert inside >= 17  # 95 % intervals: 16 or less of 20 has a chance of 0.3 %
    n_kept = 20 * kept.sum()
    error = np.sqrt(share * (1 - share) / n_kept)
    assert abs(np.mean(realised) - np.mean(expected)) < 4 * error


def test_false_match_share_counts():
    scores = np.array([0.1, 0.2, 0.3, 0.9])
    null_scores = np.array([0.05, 0.15, 0.25, 0.25, 0.1, 0.22, 0.12, 0.11])
    # the null's median is 0.135: half of it lies below, and one match of four, which
    # is counted as two
    assert share_without_partner(scores, null_scores) == 1
    assert share_without_partner(scores + 1, null_scores) == 0.5
    chance = 0.5
    assert share_without_partner(scores - 1, null_scores) == 1
    null = NullMatches(scores, null_scores, 2, chance)
    share = null.share(0.2)
    assert share.n_matches == 3
    np.testing.assert_allclose(share.expected, 0.5 * (3 / 2) / 3)
    assert 0 <= share.low <= share.expected <= share.high <= 1
    np.testing.assert_allclose(
        null.lowest_share([0.1, 0.3, 0.9]), [0.5 * (7 / 2) / 4, 0, 0]
    )
    assert null.score_at(0.1) == 0.3
    assert null.score_at(0.3) == 0.2
    assert null.score_at(0.0) == 0.3
    assert np.isnan(null.share(1.0).expected)
    assert np.isnan(share_without_partner(scores, np.empty(0)))
    empty = NullMatches(np.array([0.5]), np.empty(0), 0, np.nan)
    assert np.isnan(empty.share(0.1).expected)
    assert np.isnan(empty.score_at(0.1))
    assert np.isnan(empty.lowest_share(np.array([0.5]))).all()


@pytest.mark.slow
def test_a_hundred_thousand_pairs_stay_under_a_gibibyte():
    # evenly firing latents are the worst case: four fifths of all pairs fire together
    rng = np.random.default_rng(28)
    indptr = np.arange(0, 3_200_001, 32)
    views = []
    for _ in range(2):
        indices = rng.integers(8192, size=3_200_000)
        data = rng.exponential(size=3_200_000).astype(np.float32)
        codes = sparse.csr_array((data, indices, indptr), shape=(100_000, 8192))
        codes.sum_duplicates()
        views.append(codes)
    matcher = CoactivationMatcher(random_state=0)
    tracemalloc.start()
    with pytest.warns(UserWarning, match="noise floor"):
        matcher.fit(*views)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**30
    assert (matcher.matching_ >= 0).all()
