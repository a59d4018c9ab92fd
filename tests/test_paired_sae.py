"""PairedSAE: one dictionary, two views."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skxsae import PairedSAE, TopKSAE
from skxsae.datasets import make_paired_features


def make_pairs(n_rows=1000, alignment=0.5, seed=0):
    return make_paired_features(
        n_rows,
        n_features=16,
        n_shared=24,
        n_x_only=0,
        n_y_only=0,
        alignment=alignment,
        max_interference=0.75,
        sparsity=0.93,
        random_state=seed,
    )


def fit_small(data, **params):
    defaults = {"n_latents": 48, "k": 3, "max_iter": 10, "random_state": 0}
    return PairedSAE(**{**defaults, "batch_size": 128, **params}).fit(data.X, data.y)


def mean_cosine(codes_x, codes_y):
    x, y = codes_x.toarray(), codes_y.toarray()
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return np.mean((x * y).sum(1) / np.where(norms, norms, 1))


def test_both_views_share_the_dictionary():
    sae = fit_small(make_pairs())
    for name in ("components_", "encoder_", "encoder_bias_"):
        assert_array_equal(getattr(sae.x_sae_, name), getattr(sae.y_sae_, name))
    assert isinstance(sae.x_sae_, TopKSAE)
    assert not np.array_equal(sae.x_sae_.mean_, sae.y_sae_.mean_)


def test_pooled_statistics_are_shared():
    sae = fit_small(make_pairs(), statistics="pooled")
    for name in ("mean_", "offset_", "scale_"):
        assert_array_equal(getattr(sae.x_sae_, name), getattr(sae.y_sae_, name))


def test_transform_of_one_view_and_of_both():
    data = make_pairs()
    sae = fit_small(data)
    codes_x, codes_y = sae.transform(data.X, data.y)
    assert_array_equal(sae.transform(data.X).toarray(), codes_x.toarray())
    assert_array_equal(sae.y_sae_.transform(data.y).toarray(), codes_y.toarray())
    rebuilt_x, rebuilt_y = sae.inverse_transform(codes_x, codes_y)
    assert_array_equal(sae.inverse_transform(codes_x), rebuilt_x)
    assert_array_equal(sae.y_sae_.inverse_transform(codes_y), rebuilt_y)
    expected = (sae.x_sae_.score(data.X) + sae.y_sae_.score(data.y)) / 2
    assert sae.score(data.X, data.y) == pytest.approx(expected)


@pytest.mark.parametrize("alignment", ["iso_energy", "iso_energy_masked"])
def test_a_strong_iso_energy_term_draws_codes_together(alignment):
    data, cosines = make_pairs(), {}
    for weight in (0.0, 3.0):
        sae = fit_small(data, alignment=alignment, alignment_weight=weight, max_iter=40)
        cosines[weight] = mean_cosine(*sae.transform(data.X, data.y))
    assert cosines[3.0] > cosines[0.0] + 0.05


def test_a_strong_group_sparse_term_lowers_the_norm_of_pairs():
    data, norms = make_pairs(), {}
    for weight in (0.0, 1.0):
        sae = fit_small(data, alignment_weight=weight, max_iter=40)
        x, y = (Z.toarray() for Z in sae.transform(data.X, data.y))
        norms[weight] = np.sqrt(x**2 + y**2).sum(axis=1).mean()
    assert norms[1.0] < 0.9 * norms[0.0]


def test_no_alignment_equals_a_weight_of_zero():
    data = make_pairs()
    none = fit_small(data, alignment="none")
    zero = fit_small(data, alignment="group_sparse", alignment_weight=0.0)
    assert_array_equal(none.x_sae_.components_, zero.x_sae_.components_)


def test_a_callable_alignment_equals_the_built_in_term():
    def group_sparse(zx, zy):
        both = zx**2 + zy**2
        return (both.where(both > 0, 1).sqrt() * (both > 0)).sum() / len(zx)

    data = make_pairs()
    data.X, data.y = data.X.astype(np.float64), data.y.astype(np.float64)
    built_in = fit_small(data, alignment_weight=0.2, max_iter=2)
    given = fit_small(data, alignment=group_sparse, alignment_weight=0.2, max_iter=2)
    assert_allclose(given.x_sae_.components_, built_in.x_sae_.components_, atol=1e-6)


def test_masking_changes_training_only():
    data = make_pairs()
    plain, masked = fit_small(data), fit_small(data, mask_rate=0.5)
    assert not np.array_equal(plain.x_sae_.components_, masked.x_sae_.components_)
    first, second = (masked.transform(data.X).toarray() for _ in range(2))
    assert_array_equal(first, second)


def test_batch_topk_lets_the_views_share_a_budget():
    data = make_pairs()
    sae = fit_small(data, activation="batch_topk", max_iter=40)
    codes_x, codes_y = sae.transform(data.X, data.y)
    assert sae.x_sae_.threshold_ == sae.y_sae_.threshold_ > 0
    active = (codes_x.nnz + codes_y.nnz) / (2 * len(data.X))
    assert active == pytest.approx(3, rel=0.15)


COUPLINGS = ["cross_reconstruction", "global_topk", "crosscoder"]


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_couplings_take_views_of_any_width(coupling):
    data = make_pairs()
    y = np.hstack([data.y, data.y[:, :5]])
    params = {"coupling": coupling, "k": 3, "max_iter": 30, "batch_size": 128}
    sae = PairedSAE(48, learning_rate=5e-3, random_state=0, **params).fit(data.X, y)
    assert sae.x_sae_.components_.shape == (48, 16)
    assert sae.y_sae_.components_.shape == (48, 21)
    codes_x, codes_y = sae.transform(data.X, y)
    assert codes_x.shape == codes_y.shape == (1000, 48)
    assert np.diff(codes_x.indptr).max() <= 3
    assert sae.score(data.X, y) > 0.2
    rebuilt_x, rebuilt_y = sae.inverse_transform(codes_x, codes_y)
    assert (rebuilt_x.shape, rebuilt_y.shape) == (data.X.shape, y.shape)
    # what is shared are the latents: the code of x rebuilds y better than its mean
    crossed = sae.y_sae_.inverse_transform(codes_x)
    assert ((crossed - y) ** 2).sum() < ((y - y.mean(0)) ** 2).sum()


def test_a_crosscoder_has_one_code():
    data = make_pairs()
    sae = fit_small(data, coupling="crosscoder")
    codes_x, codes_y = sae.transform(data.X, data.y)
    assert_array_equal(codes_x.toarray(), codes_y.toarray())
    halves = [sae.x_sae_, sae.y_sae_]
    rows = [
        (view - half.offset_) / half.scale_ - half.mean_
        for view, half in zip((data.X, data.y), halves, strict=True)
    ]
    pre = halves[0].encoder_bias_ + sum(
        part @ half.encoder_.T for part, half in zip(rows, halves, strict=True)
    )
    kth = np.sort(pre)[:, -3:-2]
    expected = np.where((pre >= kth) & (pre > 0), pre, 0)
    assert_allclose(codes_x.toarray(), expected, atol=1e-5)
    norms = sum(np.square(half.components_).sum(1) for half in halves)
    assert_allclose(norms, 1, rtol=1e-5)
    errors = [
        1 - ((part - codes_x @ half.components_) ** 2).sum() / _variance(part)
        for part, half in zip(rows, halves, strict=True)
    ]
    assert sae.score(data.X, data.y) == pytest.approx(np.mean(errors), abs=1e-5)
    with pytest.raises(ValueError, match="pass y too"):
        sae.transform(data.X)
    assert sae.x_sae_.transform(data.X).shape == (1000, 48)


def test_a_crosscoder_keeps_scikit_learns_habits():
    data = make_pairs()
    sae = fit_small(data, coupling="crosscoder", sparse_output=False)
    joint = sae.transform(data.X, data.y)[0]
    assert_array_equal(
        fit_small(data, coupling="crosscoder", sparse_output=False).fit_transform(
            data.X, data.y
        ),
        joint,
    )
    frames = sae.set_output(transform="pandas").transform(data.X, data.y)
    for frame in frames:
        assert list(frame.columns) == list(sae.get_feature_names_out())
        assert_array_equal(frame, joint)
    # what was fitted counts, not what is set afterwards
    sae.set_params(coupling="shared", transform_algorithm="omp")
    assert sae.score(data.X, data.y) > 0
    shared = fit_small(data).set_params(coupling="crosscoder")
    assert shared.transform(data.X).shape == (1000, 48)


def test_batch_topk_has_a_threshold_for_each_encoder():
    data = make_pairs()
    sae = fit_small(
        data,
        coupling="cross_reconstruction",
        activation="batch_topk",
        max_iter=60,
    )
    assert sae.x_sae_.threshold_ != sae.y_sae_.threshold_
    for codes in sae.transform(data.X, data.y):
        assert codes.nnz / 1000 == pytest.approx(3, rel=0.15)


def test_masking_reaches_matching_pursuit():
    data = make_pairs(n_rows=300)
    params = {"activation": "matching_pursuit", "max_iter": 2}
    plain, masked = (fit_small(data, mask_rate=r, **params) for r in (0.0, 0.5))
    assert not np.allclose(plain.x_sae_.components_, masked.x_sae_.components_)


def _variance(rows):
    return ((rows - rows.mean(0)) ** 2).sum()


def test_a_view_alone_is_encoded_alone_under_global_topk():
    data = make_pairs()
    sae = fit_small(data, coupling="global_topk")
    shuffled = data.y[::-1]
    assert_array_equal(
        sae.transform(data.X, data.y)[0].toarray(),
        sae.transform(data.X, shuffled)[0].toarray(),
    )


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"coupling": "global_topk", "activation": "relu"}, "activation='topk'"),
        ({"coupling": "crosscoder", "alignment": "iso_energy"}, "alignment="),
        ({"coupling": "cross_reconstruction", "mask_rate": 0.1}, "mask_rate="),
        ({"alignment": "inner_product"}, "give a number"),
    ],
)
def test_what_does_not_go_together_is_refused(params, message):
    with pytest.raises(ValueError, match=message):
        fit_small(make_pairs(), **params)


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_pooled_statistics_need_equal_widths(coupling):
    data = make_pairs(n_rows=100)
    sae = PairedSAE(48, 3, coupling=coupling, statistics="pooled")
    with pytest.raises(ValueError, match="statistics='pooled' needs"):
        sae.fit(data.X, data.y[:, :5])


def test_auto_alignment_is_that_of_the_coupling():
    data = make_pairs()
    for coupling, name in [("shared", "group_sparse"), ("global_topk", "none")]:
        auto, named = (
            fit_small(data, coupling=coupling, alignment=a) for a in ("auto", name)
        )
        assert_array_equal(auto.x_sae_.components_, named.x_sae_.components_)


def test_views_of_different_widths_are_refused():
    data = make_pairs()
    with pytest.raises(ValueError, match=r"X has 16 features and y has 9.*PostHoc"):
        PairedSAE().fit(data.X, data.y[:, :9])
