"""PostHocAlignedSAE: columns of the aligned codes, matches, realign, describe."""

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils._param_validation import InvalidParameterError

from skxsae import CoactivationMatcher, PostHocAlignedSAE, TopKSAE, _pair_sums
from skxsae._noise_floor import repaired_rows
from skxsae.datasets import DiskArray, make_paired_features

N_FEATURES = 16


def make_pairs(n_rows=1500, seed=0):
    return make_paired_features(
        n_rows,
        n_features=N_FEATURES,
        n_shared=24,
        n_x_only=0,
        n_y_only=0,
        alignment=0.5,
        max_interference=0.75,
        sparsity=0.93,
        random_state=seed,
    )


def small_sae(n_latents=48, **params):
    return TopKSAE(
        n_latents, 3, **{"max_iter": 30, "batch_size": 128, "random_state": 0, **params}
    )


def fit_small(data, m_x=48, m_y=48, **params):
    sae = PostHocAlignedSAE(
        x_sae=small_sae(m_x), y_sae=small_sae(m_y, random_state=1), random_state=0
    )
    return sae.set_params(**params).fit(data.X, data.y)


def planted_saes(order, n_x=12):
    """A fitted SAE and one whose latents are those of the first, reordered."""
    x_sae = small_sae(n_x).fit(make_pairs().X)
    y_sae = clone(x_sae).fit(make_pairs().X)
    for name in ("components_", "encoder_", "encoder_bias_", "firing_rate_"):
        setattr(y_sae, name, getattr(x_sae, name)[order])
    y_sae.n_latents_ = len(order)
    return FrozenEstimator(x_sae), FrozenEstimator(y_sae)


def test_a_planted_permutation_is_undone():
    order = np.random.default_rng(0).permutation(12)
    x_sae, y_sae = planted_saes(order)
    X = make_pairs().X
    sae = PostHocAlignedSAE(x_sae=x_sae, y_sae=y_sae).fit(X, X)
    alive = sae.x_sae_.transform(X).count_nonzero(axis=0) >= 10
    assert alive.sum() >= 10
    matches = sae.matches_.set_index("x_latent")["y_latent"]
    assert_array_equal(order[matches[np.flatnonzero(alive)]], np.flatnonzero(alive))
    codes_x, codes_y = sae.transform(X, X)
    assert_allclose(codes_x[:, alive].toarray(), codes_y[:, alive].toarray(), atol=1e-5)
    assert_allclose(sae.matches_["correlation"], 1, atol=1e-6)
    assert_allclose(sae.matches_["decoder_cosine"], 1, atol=1e-5)


@pytest.mark.parametrize(("m_x", "m_y"), [(48, 32), (32, 48), (40, 40)])
def test_columns_of_the_aligned_codes(m_x, m_y):
    data = make_pairs()
    sae = fit_small(data, m_x, m_y)
    x_sae = small_sae(m_x).fit(data.X)
    y_sae = small_sae(m_y, random_state=1).fit(data.y)
    codes_x, codes_y = (Z.toarray() for Z in sae.transform(data.X, data.y))
    n_matched = len(sae.matches_)
    assert n_matched > 10
    assert codes_x.shape[1] == codes_y.shape[1] == sae.n_aligned_
    assert sae.n_aligned_ == m_x + m_y - n_matched

    # x in its own order, then nothing
    assert_array_equal(codes_x[:, :m_x], x_sae.transform(data.X).toarray())
    assert not codes_x[:, m_x:].any()
    # every latent of y once: matched ones at their partner, the others behind in order
    own = y_sae.transform(data.y).toarray()
    x_latents, y_latents = sae.matches_[["x_latent", "y_latent"]].to_numpy().T
    assert_array_equal(codes_y[:, x_latents], own[:, y_latents])
    left = np.setdiff1d(np.arange(m_y), y_latents)
    assert_array_equal(codes_y[:, m_x:], own[:, left])
    absent = np.setdiff1d(np.arange(m_x), x_latents)
    assert not codes_y[:, absent].any()
    for name in ("components_", "encoder_", "encoder_bias_"):
        assert not getattr(sae.y_sae_, name)[absent].any()
        assert not getattr(sae.x_sae_, name)[m_x:].any()


def test_alignment_changes_no_reconstruction():
    data = make_pairs()
    sae = fit_small(data, 48, 32)
    x_sae = small_sae(48).fit(data.X)
    y_sae = small_sae(32, random_state=1).fit(data.y)
    rebuilt_x, rebuilt_y = sae.inverse_transform(*sae.transform(data.X, data.y))
    assert_allclose(
        rebuilt_x, x_sae.inverse_transform(x_sae.transform(data.X)), atol=1e-5
    )
    assert_allclose(
        rebuilt_y, y_sae.inverse_transform(y_sae.transform(data.y)), atol=1e-5
    )
    expected = (x_sae.score(data.X) + y_sae.score(data.y)) / 2
    assert sae.score(data.X, data.y) == pytest.approx(expected)


def test_no_match_at_all_gives_every_latent_its_own_column():
    data = make_pairs()
    matcher = CoactivationMatcher(min_fires=10**6)
    with pytest.warns(UserWarning, match="Nothing is matched"):
        sae = fit_small(data, 12, 20, matcher=matcher)
    assert sae.n_aligned_ == 32
    assert len(sae.matches_) == 0
    codes_x, codes_y = (Z.toarray() for Z in sae.transform(data.X, data.y))
    assert not codes_x[:, 12:].any()
    assert not codes_y[:, :12].any()
    assert codes_y[:, 12:].any()


def test_correlations_are_those_of_the_training_codes():
    data = make_pairs()
    sae = fit_small(data)
    codes_x, codes_y = (Z.toarray() for Z in sae.transform(data.X, data.y))
    for match in sae.matches_.head(10).itertuples():
        column = match.x_latent
        expected = np.corrcoef(codes_x[:, column], codes_y[:, column])[0, 1]
        assert match.correlation == pytest.approx(expected, abs=1e-6)
        cosine = sae.x_sae_.components_[column] @ sae.y_sae_.components_[column]
        assert match.decoder_cosine == pytest.approx(cosine, abs=1e-5)


def test_views_of_different_widths_have_no_decoder_cosine():
    data = make_pairs()
    sae = PostHocAlignedSAE(24, 3, max_iter=5, random_state=0)
    sae.fit(data.X, data.y[:, :9])
    assert sae.matches_["decoder_cosine"].isna().all()
    assert sae.transform(data.X, data.y[:, :9])[1].shape[1] == sae.n_aligned_


def test_shared_concepts_are_matched():
    data = make_pairs(n_rows=4000)
    part = small_sae(max_iter=40, learning_rate=3e-3)
    sae = fit_small(data, x_sae=part, y_sae=part)
    good = sae.matches_[sae.matches_["correlation"] > 0.75]["x_latent"].to_numpy()
    assert len(good) >= 8
    # the concept nearest to each matched latent is the same in both views
    concepts = [
        np.argmax(features @ fitted.components_[good].T, axis=0)
        for features, fitted in (
            (data.x_features, sae.x_sae_),
            (data.y_features, sae.y_sae_),
        )
    ]
    assert np.mean(concepts[0] == concepts[1]) > 0.9


def test_realign_on_the_training_pairs_changes_nothing():
    data = make_pairs()
    sae = fit_small(data, 48, 32)
    matches, codes = sae.matches_, sae.transform(data.X, data.y)[1].toarray()
    sae.realign(data.X, data.y)
    pd.testing.assert_frame_equal(sae.matches_, matches)
    assert_array_equal(sae.transform(data.X, data.y)[1].toarray(), codes)


def test_realign_equals_a_fit_with_frozen_saes_on_the_new_pairs():
    data, other = make_pairs(), make_pairs(seed=0)
    shuffled = np.random.default_rng(0).permutation(len(other.X))
    sae = fit_small(data, 32, 48)
    frozen = PostHocAlignedSAE(
        x_sae=FrozenEstimator(small_sae(32).fit(data.X)),
        y_sae=FrozenEstimator(small_sae(48, random_state=1).fit(data.y)),
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # broken pairs are matched badly
        frozen.fit(other.X, other.y[shuffled])
        sae.realign(other.X, other.y[shuffled])
    expected = frozen.transform(data.X, data.y)[1].toarray()
    assert_array_equal(sae.transform(data.X, data.y)[1].toarray(), expected)


def test_frozen_saes_are_not_fitted_again():
    data = make_pairs()
    x_sae = small_sae().fit(data.X)
    before = x_sae.components_.copy()
    sae = PostHocAlignedSAE(
        x_sae=FrozenEstimator(x_sae), y_sae=small_sae(random_state=3)
    ).fit(data.X, data.y)
    assert_array_equal(x_sae.components_, before)
    assert_array_equal(sae.x_sae_.components_[:48], before)


def test_repeated_rows_of_a_group_are_seen_once_per_pass(monkeypatch):
    seen = {}
    fit = TopKSAE.fit
    monkeypatch.setattr(
        TopKSAE,
        "fit",
        lambda self, X, y=None: seen.update({X.shape[1]: len(X)}) or fit(self, X),
    )
    data = make_pairs(n_rows=300)
    groups = np.repeat(np.arange(60), 5)
    sae = PostHocAlignedSAE(16, 2, max_iter=2, matcher=CoactivationMatcher(n_null=0))
    sae.fit(data.X[groups * 5], data.y[:, :9], groups=groups)
    assert seen == {N_FEATURES: 60, 9: 300}


def test_groups_reach_the_matcher():
    data = make_pairs(n_rows=300)
    with pytest.raises(ValueError, match="groups has a single value"):
        PostHocAlignedSAE(16, 2, max_iter=2).fit(data.X, data.y, groups=np.zeros(300))


def test_describe_explains_the_reconstruction():
    data = make_pairs()
    sae = fit_small(data, 48, 32)
    table = sae.describe(data.X[:4])
    assert_allclose(table.groupby("sample")["share"].sum(), 1)
    codes = sae.transform(data.X[:4]).toarray()
    for row in table.itertuples():
        assert codes[row.sample, row.latent] == pytest.approx(row.activation)
    assert len(table) == (codes > 0).sum()
    quality = sae.matches_.set_index("x_latent")
    matched = table[table["latent"].isin(quality.index)]
    assert_allclose(
        matched["correlation"], quality.loc[matched["latent"], "correlation"]
    )
    unmatched = table[~table["latent"].isin(quality.index)]
    assert unmatched["correlation"].isna().all()
    assert not unmatched["above_noise"].any()
    of_y = sae.describe(data.y[:2], view="y")
    assert set(of_y["sample"]) == {0, 1}
    with pytest.raises(ValueError, match="view='z' must be 'x' or 'y'"):
        sae.describe(data.X[:1], view="z")


@pytest.mark.parametrize("name", ["n_latents", "k", "max_iter"])
def test_a_shorthand_beside_an_explicit_sae_is_refused(name):
    data = make_pairs(n_rows=100)
    sae = PostHocAlignedSAE(x_sae=small_sae()).set_params(**{name: 7})
    with pytest.raises(ValueError, match=f"{name}=7 has no effect on x_sae"):
        sae.fit(data.X, data.y)


def test_the_pair_says_on_which_device_to_encode():
    data = make_pairs(n_rows=300)
    sae = PostHocAlignedSAE(16, 2, max_iter=2, matcher=CoactivationMatcher(n_null=0))
    sae.fit(data.X, data.y)
    for view in (sae.x_sae_, sae.y_sae_):
        view.device = "cuda:99"  # as if fitted on another machine
    assert sae.transform(data.X, data.y)[1].shape == (300, sae.n_aligned_)
    assert sae.score(data.X, data.y) > 0
    assert len(sae.describe(data.X[:2])) > 0
    assert sae.realign(data.X, data.y).n_aligned_ >= 16


def test_groups_that_cannot_be_re_paired_are_refused_before_training(monkeypatch):
    def fail(*args):
        raise AssertionError("trained")

    monkeypatch.setattr(TopKSAE, "fit", fail)
    data = make_pairs(n_rows=100)
    with pytest.raises(ValueError, match="groups has a single value"):
        PostHocAlignedSAE().fit(data.X, data.y, groups=np.zeros(100))
    with pytest.raises(ValueError, match="groups is missing at row 3"):
        PostHocAlignedSAE().fit(data.X, data.y, groups=[1, 2, 1, None] + [5] * 96)


def test_a_frozen_part_goes_with_a_device():
    data = make_pairs(n_rows=300)
    frozen = FrozenEstimator(small_sae(16, max_iter=2).fit(data.X))
    matcher = CoactivationMatcher(n_null=0)
    sae = PostHocAlignedSAE(x_sae=frozen, y_sae=frozen, matcher=matcher, device="cpu")
    assert sae.fit(data.X, data.X).matches_["correlation"].min() > 0.99


def test_same_seed_same_model():
    data = make_pairs(n_rows=400)
    sae = PostHocAlignedSAE(16, 2, max_iter=3, random_state=0)
    first, second = (clone(sae).fit(data.X, data.y) for _ in range(2))
    assert_array_equal(first.y_sae_.components_, second.y_sae_.components_)
    pd.testing.assert_frame_equal(first.matches_, second.matches_)


SOFT = CoactivationMatcher(assignment="soft", n_translated=7)


@pytest.mark.parametrize(("m_x", "m_y"), [(48, 32), (32, 48)])
def test_soft_codes_hold_both_views_side_by_side(m_x, m_y):
    data = make_pairs()
    sae = fit_small(data, m_x, m_y, matcher=SOFT)
    codes_x, codes_y = (Z.toarray() for Z in sae.transform(data.X, data.y))
    assert codes_x.shape[1] == codes_y.shape[1] == sae.n_aligned_ == m_x + m_y
    own_x = small_sae(m_x).fit(data.X).transform(data.X).toarray()
    own_y = small_sae(m_y, random_state=1).fit(data.y).transform(data.y).toarray()
    assert_array_equal(codes_x[:, :m_x], own_x)
    assert_array_equal(codes_y[:, m_x:], own_y)
    for translated in (codes_x[:, m_x:], codes_y[:, :m_x]):
        assert 1 <= np.count_nonzero(translated, axis=1).max() <= 7
        assert (translated >= 0).all()
    matcher = clone(sae.matcher_).fit(own_y, own_x)
    assert_allclose(codes_y, matcher.transform(own_y), atol=1e-5)
    assert_allclose(codes_x, matcher.transform_reference(own_x), atol=1e-5)
    assert_array_equal(sae.x_sae_.transform(data.X).toarray(), codes_x)


def test_soft_alignment_reconstructs_like_one_to_one():
    data = make_pairs()
    soft, hard = fit_small(data, matcher=SOFT), fit_small(data)
    for ours, theirs in zip(
        soft.inverse_transform(*soft.transform(data.X, data.y)),
        hard.inverse_transform(*hard.transform(data.X, data.y)),
        strict=True,
    ):
        assert_allclose(ours, theirs, atol=1e-5)
    assert soft.score(data.X, data.y) == pytest.approx(hard.score(data.X, data.y))
    assert_array_equal(soft.matches_["y_latent"], hard.matches_["y_latent"])


def test_a_soft_alignment_is_realigned_and_undone():
    data, fresh = make_pairs(), make_pairs(seed=1)
    sae = fit_small(data, matcher=SOFT)
    first = sae.transform(data.X, data.y)
    again = sae.realign(fresh.X, fresh.y).realign(data.X, data.y)
    for ours, theirs in zip(again.transform(data.X, data.y), first, strict=True):
        assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-5)
    hard = again.set_params(matcher=None).realign(data.X, data.y)
    assert hard.n_aligned_ == 96 - len(hard.matches_)
    expected = fit_small(data).transform(data.X, data.y)
    for ours, theirs in zip(hard.transform(data.X, data.y), expected, strict=True):
        assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-5)


@pytest.mark.parametrize("matcher", [None, SOFT])
def test_explained_contributions_sum_to_the_cosine(matcher):
    data = make_pairs()
    sae = fit_small(data, matcher=matcher)
    cosines = []
    for x, y in zip(data.X[:30], data.y[:30], strict=True):
        table = sae.explain_pair(x, y)
        u, v = (Z.toarray().ravel() for Z in sae.transform(x[None], y[None]))
        cosines.append(u @ v / max(np.linalg.norm(u) * np.linalg.norm(v), 1e-30))
        assert table["contribution"].sum() == pytest.approx(cosines[-1], abs=1e-6)
        assert table["contribution"].is_monotonic_decreasing
        # latents are numbered as in matches_, and are active in these samples
        assert_allclose(u[table["x_latent"]], table["x_activation"], rtol=1e-6)
        own_y = v[sae._columns_of_y()]
        assert_allclose(own_y[table["y_latent"]], table["y_activation"], rtol=1e-6)
    assert max(cosines) > 0.3
    if matcher is None:
        pairs = set(sae.matches_[["x_latent", "y_latent"]].itertuples(index=False))
        assert set(table[["x_latent", "y_latent"]].itertuples(index=False)) <= pairs


def test_frozen_views_of_a_soft_alignment_are_matched_by_their_own_latents():
    data = make_pairs()
    soft = fit_small(data, matcher=SOFT)
    x_sae, y_sae = FrozenEstimator(soft.x_sae_), FrozenEstimator(soft.y_sae_)
    again = PostHocAlignedSAE(x_sae=x_sae, y_sae=y_sae, random_state=0)
    again.fit(data.X, data.y)
    assert len(again.matches_) == len(soft.matches_)
    assert (again.matches_["x_latent"] < 48).all()
    assert_allclose(again.matches_["correlation"], soft.matches_["correlation"])


def test_one_pair_is_explained_at_a_time():
    data = make_pairs()
    sae = fit_small(data)
    with pytest.raises(ValueError, match=r"x must be one sample, got shape \(2, 16\)"):
        sae.explain_pair(data.X[:2], data.y[:2])
    table = sae.explain_pair(data.X[:1], data.y[0].tolist())
    pd.testing.assert_frame_equal(table, sae.explain_pair(data.X[0], data.y[0]))


@pytest.mark.parametrize("matcher", [None, SOFT])
def test_descriptions_show_own_latents_and_their_match(matcher):
    data = make_pairs()
    sae = fit_small(data, matcher=matcher)
    for view, samples in (("x", data.X[:5]), ("y", data.y[:5])):
        table = sae.describe(samples, view=view)
        assert table.groupby("sample").size().max() <= 3
        assert_allclose(table.groupby("sample")["share"].sum(), 1, atol=1e-6)
        columns = sae._matched_columns(view)
        expected = sae.matches_.set_index(columns)["correlation"]
        expected = expected.reindex(table["latent"]).to_numpy()
        assert_allclose(table["correlation"], expected)
        assert table["correlation"].notna().any()


def test_intervals_and_false_match_shares_are_in_the_table():
    data = make_pairs()
    sae = fit_small(data, matcher=CoactivationMatcher(n_bootstrap=50))
    table = sae.matches_
    assert (
        (table["low"] <= table["correlation"]) & (table["correlation"] <= table["high"])
    ).all()
    best = table.sort_values("correlation", ascending=False)
    assert best["false_match_share"].iloc[0] == 0
    assert best["false_match_share"].is_monotonic_increasing


def test_matching_by_decoder_directions():
    data = make_pairs()
    sae = fit_small(data, matcher=CoactivationMatcher(metric="decoder_cosine"))
    columns = sae.matches_["x_latent"]
    x, y = sae.x_sae_.components_[columns], sae.y_sae_.components_[columns]
    assert_allclose(sae.matches_["decoder_cosine"], (x * y).sum(axis=1), atol=1e-5)
    total = sae.matches_["decoder_cosine"].sum()
    assert total > fit_small(data).matches_["decoder_cosine"].sum()


@pytest.mark.parametrize(
    "parameters", [{"assignment": "hungarain"}, {"metric": "corr"}, {"min_fires": -1}]
)
def test_a_wrong_matcher_is_refused_before_anything_is_trained(parameters):
    matcher = CoactivationMatcher(**parameters)
    X = np.random.default_rng(0).normal(size=(30, 4))
    sae = PostHocAlignedSAE(8, 2, max_iter=1, matcher=matcher)
    with pytest.raises(InvalidParameterError, match="of CoactivationMatcher must"):
        sae.fit(X, X)
    assert not hasattr(sae, "x_sae_")


# views that are larger than the buffer


def on_disk(X):
    """A reader that is larger than its buffer.

    In float64, codes hardly depend on how the rows are cut into blocks.
    """
    return DiskArray(np.asarray(X, dtype=float), buffer_bytes=X.size)


def frozen_pair(data):
    """An alignment of fitted autoencoders, of which only the matching is left."""
    x_sae = FrozenEstimator(small_sae(32).fit(data.X.astype(float)))
    y_sae = FrozenEstimator(small_sae(40, random_state=1).fit(data.y.astype(float)))
    matcher = CoactivationMatcher(n_null=1, noise_quantile=0.5)
    return PostHocAlignedSAE(
        x_sae=x_sae, y_sae=y_sae, matcher=matcher, random_state=0, device="cpu"
    )


def assert_aligned_alike(first, second, data):
    exact = ["x_latent", "y_latent", "mutual"]
    assert_array_equal(first.matches_[exact], second.matches_[exact])
    inexact = ["correlation", "margin", "decoder_cosine"]
    assert_allclose(first.matches_[inexact], second.matches_[inexact], atol=1e-12)
    rows = data.X[:50].astype(float), data.y[:50].astype(float)
    for ours, theirs in zip(
        first.transform(*rows), second.transform(*rows), strict=True
    ):
        assert_allclose(ours.toarray(), theirs.toarray(), atol=1e-12)


@pytest.mark.parametrize("with_groups", [False, True])
def test_what_is_streamed_is_matched_like_what_is_in_memory(with_groups, monkeypatch):
    monkeypatch.setattr(_pair_sums, "PAIRS_IN_HAND", 300)
    monkeypatch.setattr(_pair_sums, "PAIRS_OF_BLOCK", 16)
    data = make_pairs()
    groups = None
    if with_groups:  # rows that repeat within groups, whose pairs are all over
        groups = np.random.default_rng(0).integers(300, size=1500)
        data.X = data.X[groups * 5]
        data.y = data.y[groups * 5 + (np.arange(1500) % 3 == 0)]
    X, y = data.X.astype(float), data.y.astype(float)
    sae = frozen_pair(data)
    expected = clone(sae).fit(X, y, groups=groups)
    streamed = clone(sae).fit(on_disk(X), on_disk(y), groups=groups)
    assert_aligned_alike(streamed, expected, data)
    half = groups[:750] if with_groups else None
    expected.realign(X[:750], y[:750], half)
    streamed.realign(on_disk(X[:750]), y[:750], half)
    assert_aligned_alike(streamed, expected, data)


def test_groups_reach_the_null_of_what_is_streamed(monkeypatch):
    broken = []

    def remember(groups, rng):
        broken.append(groups)
        return repaired_rows(groups, rng)

    monkeypatch.setattr(_pair_sums, "repaired_rows", remember)
    monkeypatch.setattr(_pair_sums, "PAIRS_IN_HAND", 300)
    monkeypatch.setattr(_pair_sums, "PAIRS_OF_BLOCK", 15)
    data = make_pairs()
    groups = np.arange(1500) // 3
    frozen_pair(data).fit(on_disk(data.X), on_disk(data.y), groups=groups)
    assert [len(own) for own in broken] == [300] * 5
    assert_array_equal(np.sort(np.concatenate(broken)), groups)


def test_a_repeated_row_is_encoded_once_in_a_part(monkeypatch):
    data = make_pairs()
    sae = frozen_pair(data)
    groups = np.arange(1500) // 5
    X = on_disk(data.X[groups * 5])
    encoded, own_codes = [], TopKSAE._own_codes

    def remember(self, X, device):
        encoded.append((type(X), len(X)))
        return own_codes(self, X, device)

    monkeypatch.setattr(TopKSAE, "_own_codes", remember)
    sae.fit(X, on_disk(data.y), groups=groups)
    assert encoded == [(DiskArray, 1500), (DiskArray, 300)]


@pytest.mark.filterwarnings("ignore:Rows are read in blocks of 1")
def test_a_row_of_what_is_streamed_is_seen_once_per_pass(monkeypatch):
    seen = []
    monkeypatch.setattr(
        TopKSAE,
        "fit",
        lambda self, X, y=None, fit=TopKSAE.fit: (
            seen.append((type(X), len(X))) or fit(self, X)
        ),
    )
    data = make_pairs(n_rows=300)
    groups = np.arange(300) // 5
    sae = PostHocAlignedSAE(16, 2, max_iter=2, matcher=CoactivationMatcher(n_null=0))
    sae.fit(on_disk(data.X[groups * 5]), on_disk(data.y), groups=groups)
    assert seen == [(DiskArray, 60), (DiskArray, 300)]


def test_intervals_of_what_is_streamed_are_refused_before_training(monkeypatch):
    def fail(*args):
        raise AssertionError("trained")

    data = make_pairs(n_rows=300)
    matcher = CoactivationMatcher(n_bootstrap=20, n_null=0)
    sae = PostHocAlignedSAE(16, 2, max_iter=2, matcher=matcher)
    sae.fit(data.X, data.y)
    with pytest.raises(ValueError, match="n_bootstrap=20 needs the codes of all"):
        sae.realign(data.X, on_disk(data.y))
    monkeypatch.setattr(TopKSAE, "fit", fail)
    with pytest.raises(ValueError, match="n_bootstrap=20 needs the codes of all"):
        sae.fit(data.X, on_disk(data.y))
    small = DiskArray(data.X)  # its buffer holds it
    with pytest.raises(AssertionError, match="trained"):
        sae.fit(small, data.y)
