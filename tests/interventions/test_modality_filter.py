from unittest import SkipTest

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from skxsae import PairedSAE, TopKSAE
from skxsae.interventions import ModalityFilter, bimodal_reconstruction
from skxsae.metrics import mean_difference_gap

KINDS = ("bimodal", "x_only", "y_only", "unimodal")
CODES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.just(5)),
    elements=st.sampled_from([0.0, 0.0, 0.0, 0.25, 2.0]),
)


def reference_support(X, y, keep, tau, p):
    support = []
    for j in range(X.shape[1]):
        of_x, of_y = np.mean(np.abs(X[:, j]) ** p), np.mean(np.abs(y[:, j]) ** p)
        if of_x + of_y == 0:
            support.append(False)
            continue
        score = of_x / (of_x + of_y)
        kind = "x_only" if score > 1 - tau else "y_only" if score < tau else "bimodal"
        support.append(keep == kind or (keep == "unimodal" and kind != "bimodal"))
    return np.array(support)


@settings(deadline=None)
@given(
    X=CODES,
    y=CODES,
    keep=st.sampled_from(KINDS),
    tau=st.sampled_from([0.0, 0.05, 0.3, 0.5]),
    p=st.sampled_from([1, 2]),
)
def test_other_latents_become_zero(X, y, keep, tau, p):
    kept = ModalityFilter(keep=keep, tau=tau, p=p).fit(sparse.csr_array(X), y)
    expected = reference_support(X, y, keep, tau, p)
    assert_array_equal(kept.support_, expected)
    assert_array_equal(kept.transform(X), X * expected)
    filtered = kept.transform(sparse.csr_array(X))
    assert sparse.issparse(filtered)
    assert_array_equal(filtered.toarray(), X * expected)
    assert filtered.nnz == np.count_nonzero(X * expected)
    # the views change places: so do the kinds
    other = {"x_only": "y_only", "y_only": "x_only"}.get(keep, keep)
    swapped = ModalityFilter(keep=other, tau=tau, p=p).fit(y, X)
    assert_array_equal(swapped.support_, expected)
    order = np.array([3, 0, 4, 1, 2])
    permuted = ModalityFilter(keep=keep, tau=tau, p=p).fit(X[:, order], y[:, order])
    assert_array_equal(permuted.support_, expected[order])


def test_latents_of_either_kind_are_all_that_are_alive(planted):
    model = planted.model
    codes = model.transform(planted.X, planted.y)
    supports = {
        keep: ModalityFilter(keep=keep, tau=0.2).fit(*codes).support_ for keep in KINDS
    }
    scores = ModalityFilter(tau=0.2).fit(*codes).modality_scores_
    total = sum(supports[keep].astype(int) for keep in KINDS[:3])
    assert_array_equal(total, ~np.isnan(scores))
    assert_array_equal(supports["unimodal"], supports["x_only"] | supports["y_only"])
    assert supports["bimodal"].sum() > 10
    assert supports["unimodal"].sum() > 5


def test_two_views_give_a_pair():
    rng = np.random.default_rng(0)
    X, y = rng.random((2, 6, 3)) * [[[1, 0, 1]], [[0, 1, 1]]]
    kept = ModalityFilter().fit(X, y)
    of_x, of_y = kept.transform(X, sparse.csr_array(y))
    assert_array_equal(of_x, X * [0, 0, 1])
    assert_array_equal(of_y.toarray(), y * [0, 0, 1])
    assert_array_equal(kept.fit_transform(X, y), of_x)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_float32_and_index_types_are_kept(dtype):
    codes = sparse.csr_array(np.eye(4, dtype=np.float32))
    codes.indices, codes.indptr = (
        codes.indices.astype(dtype),
        codes.indptr.astype(dtype),
    )
    kept = ModalityFilter().fit(codes, codes * np.float32(2)).transform(codes)
    assert kept.dtype == np.float32
    assert kept.indices.dtype == kept.indptr.dtype == dtype


def test_names_of_latents_go_through():
    X = pd.DataFrame(np.eye(3), columns=["a", "b", "c"])
    kept = ModalityFilter().set_output(transform="pandas").fit(X, X)
    of_x, of_y = kept.transform(X, X)
    for frame in (of_x, of_y):
        assert frame.columns.tolist() == ["a", "b", "c"]
    assert kept.get_feature_names_out().tolist() == ["a", "b", "c"]


def test_filtered_codes_go_through_pipelines(planted):
    model = planted.model
    codes = model.transform(planted.X, planted.y)
    kept = ModalityFilter().fit(*codes)
    labels = planted.y_codes[:, [0]].toarray().ravel() > 0
    pipeline = make_pipeline(
        FrozenEstimator(model.y_sae_), FrozenEstimator(kept), LogisticRegression()
    )
    pipeline.fit(planted.y, labels)
    direct = LogisticRegression().fit(kept.transform(codes[1]), labels)
    assert_allclose(pipeline.predict_proba(planted.y)[:, 1].mean(), labels.mean(), 0.01)
    assert_allclose(pipeline[-1].coef_, direct.coef_, rtol=1e-3, atol=1e-5)
    assert clone(kept).get_params() == kept.get_params()


def test_a_pipeline_that_would_fit_on_y_itself_says_what_to_do(planted):
    pipeline = make_pipeline(FrozenEstimator(planted.model), ModalityFilter())
    with pytest.raises(ValueError, match=r"y has 32 columns .* FrozenEstimator"):
        pipeline.fit(planted.X, planted.y)


def test_a_pipeline_that_fits_on_embeddings_of_the_width_of_the_codes_warns(planted):
    sae = TopKSAE(32, 4, max_iter=1, random_state=0).fit(planted.X)
    pipeline = make_pipeline(FrozenEstimator(sae), ModalityFilter())
    with pytest.warns(UserWarning, match="y must be the codes of the second view"):
        pipeline.fit(planted.X, planted.y)
    codes = sae.transform(planted.X), sae.transform(planted.y)
    for sign in (1, -1):  # of pursuit without positive_code, too
        ModalityFilter().fit(sign * codes[0], sign * codes[1])
    ModalityFilter().fit(-1 * codes[0], codes[1])


def test_views_of_unequal_length_are_filtered_together():
    X, y = np.ones((4, 3)), np.ones((2, 3))
    of_x, of_y = ModalityFilter().fit(X, y).transform(X, y)
    assert (of_x.shape, of_y.shape) == (X.shape, y.shape)


def test_latents_of_both_views_have_the_same_names():
    X = pd.DataFrame(np.ones((4, 3)), columns=list("abc"))
    kept = ModalityFilter().fit(X, X[:2])
    kept.fit(X, np.ones((2, 3)))  # what has no names is taken as it is
    with pytest.raises(ValueError, match="those of X: column 0 is 'c', not 'a'"):
        ModalityFilter().fit(X, X[list("cba")])
    with pytest.raises(ValueError, match="those of fit: column 1 is 'c', not 'b'"):
        kept.transform(X, X[list("acb")])


def test_the_codes_of_both_views_are_not_those_of_one(planted):
    codes = planted.model.transform(planted.X, planted.y)
    with pytest.raises(ValueError, match=r"X is a tuple .* fit\(\*sae.transform"):
        ModalityFilter().fit(codes)
    with pytest.raises(ValueError, match="y is a tuple of two arrays"):
        ModalityFilter().fit(codes[0], codes)


class WideningModalityFilter(ModalityFilter):
    """ModalityFilter for a y of one column, repeated to the width of X."""

    def fit(self, X, y=None):
        shape = () if y is None else (X if sparse.issparse(X) else np.asarray(X)).shape
        if len(shape) == 2 and np.asarray(y).size == len(np.asarray(y)):
            y = np.repeat(np.asarray(y).reshape(-1, 1), shape[1], axis=1)
        return super().fit(X, y)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(estimator, check, id=f"{keep}-{check.func.__name__}")
        for keep in KINDS
        for estimator, check in estimator_checks_generator(
            WideningModalityFilter(keep=keep)
        )
    ],
)
def test_estimator_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


@pytest.fixture(scope="module", params=["per_view", "pooled"])
def shared(request, planted):
    X, y = planted.X.astype(np.float64), planted.y + np.r_[2.0, np.zeros(31)]
    sae = PairedSAE(
        48,
        4,
        max_iter=5,
        statistics=request.param,
        normalize="standard",
        batch_size=256,
        random_state=0,
    ).fit(X, y)
    return sae, X, y


@pytest.mark.parametrize("offset", ["zero", "common", "own"])
def test_reconstruction_is_codes_times_dictionary(shared, offset):
    sae, X, y = shared
    codes = sae.transform(X, y)
    support = ModalityFilter(tau=0.2).fit(*codes).support_
    rebuilt = bimodal_reconstruction(sae, *codes, support, offset=offset)
    saes = sae.x_sae_, sae.y_sae_
    own = [s.mean_ * s.scale_ + s.offset_ for s in saes]
    added = {"zero": [0, 0], "common": [sum(own) / 2] * 2, "own": own}[offset]
    for view, s, Z, constant in zip(rebuilt, saes, codes, added, strict=True):
        decoded = (Z.toarray() * support) @ s.components_ * s.scale_
        assert_allclose(view, decoded + constant, rtol=1e-5, atol=1e-5)
        assert view.dtype == Z.dtype
    if offset == "own":
        kept = ModalityFilter(tau=0.2).fit(*codes).transform(*codes)
        for view, expected in zip(rebuilt, sae.inverse_transform(*kept), strict=True):
            assert_allclose(view, expected, rtol=1e-5, atol=1e-5)


def test_own_constants_are_a_gap_of_their_own(shared):
    sae, X, y = shared
    codes = sae.transform(X, y)
    support = np.ones(48, dtype=bool)
    gaps = {
        offset: mean_difference_gap(
            *bimodal_reconstruction(sae, *codes, support, offset=offset)
        )
        for offset in ("zero", "common", "own")
    }
    assert gaps["zero"] == pytest.approx(gaps["common"], rel=1e-4)
    if sae.statistics == "per_view":
        assert gaps["own"] == pytest.approx(mean_difference_gap(X, y), rel=0.3)
        assert gaps["zero"] < 0.2 * gaps["own"]
    else:
        assert gaps["own"] == pytest.approx(gaps["zero"], rel=1e-4)


def test_bad_input(planted):
    model = planted.model
    sae = TopKSAE(16, 4, max_iter=1, random_state=0).fit(planted.X)
    mask = np.ones(16, dtype=bool)
    with pytest.raises(TypeError, match="PostHocAlignedSAE or PairedSAE, got TopKSAE"):
        bimodal_reconstruction(sae, sae.transform(planted.X), planted.y, mask)
    with pytest.raises(NotFittedError):
        bimodal_reconstruction(PairedSAE(16, 4), planted.X, planted.y, mask)
    codes = model.transform(planted.X, planted.y)
    support = np.ones(model.n_aligned_, dtype=bool)
    with pytest.raises(ValueError, match="support has type int64"):
        bimodal_reconstruction(model, *codes, support.astype(int))
    with pytest.raises(ValueError, match=r"Zy has 32 columns, but the estimator has"):
        bimodal_reconstruction(model, codes[0], planted.y, support)
    with pytest.raises(ValueError, match="must be a mask"):
        bimodal_reconstruction(model, *codes, support[:-1])
    with pytest.raises(ValueError, match="y is the codes of the second view"):
        ModalityFilter().fit(codes[0])
    with pytest.raises(ValueError, match="'tau' parameter of ModalityFilter"):
        ModalityFilter(tau=0.6).fit(*codes)
    with pytest.raises(ValueError, match="contains NaN"):
        ModalityFilter().fit(np.eye(2), [[np.nan, 1], [1, 1]])
