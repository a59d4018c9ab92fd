"""Dictionaries of classical methods behind the codes of an autoencoder."""

from unittest import SkipTest

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA, FastICA
from sklearn.utils.estimator_checks import estimator_checks_generator

from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae.baselines import SparseBaseline
from skxsae.datasets import make_paired_features
from skxsae.metrics import explained_variance_ratio

METHODS = ("pca", "ica", "nmf", "kmeans", "dictionary")
DATA = make_paired_features(
    600,
    n_features=12,
    n_shared=10,
    n_x_only=2,
    n_y_only=2,
    sparsity=0.8,
    max_interference=0.9,
    random_state=0,
)
X = DATA.X

pytestmark = pytest.mark.filterwarnings(
    "ignore:FastICA did not converge", "ignore:Maximum number of iterations"
)


@pytest.fixture(scope="module", params=METHODS)
def baseline(request):
    options = {"max_iter": 50, "random_state": 0}
    return SparseBaseline(request.param, n_latents=24, k=3, **options).fit(X)


CHECKS = [
    pytest.param(estimator, check, id=f"{method}-{check.func.__name__}")
    for method in METHODS
    for estimator, check in estimator_checks_generator(
        SparseBaseline(method, max_iter=5)
    )
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("estimator", "check"), CHECKS)
def test_estimator_check(estimator, check):
    try:
        check(estimator)
    except SkipTest as reason:
        pytest.fail(f"skipped: {reason}")


def test_codes_are_sparse_and_non_negative(baseline):
    codes = baseline.transform(X)
    assert codes.shape == (600, 24)
    assert codes.count_nonzero(axis=1).max() == 3
    assert codes.data.min() > 0
    assert codes.dtype == X.dtype == baseline.components_.dtype
    lengths = np.linalg.norm(baseline.components_, axis=1)
    assert_allclose(lengths[lengths > 0], 1, rtol=1e-5)
    assert_array_equal(baseline.dead_latents_, baseline.firing_rate_ == 0)
    assert_allclose(baseline.firing_rate_, (codes.toarray() != 0).mean(axis=0))
    assert_allclose(baseline.mean_, 0, atol=1e-6)


def test_score_is_the_explained_variance_of_the_reconstruction(baseline):
    rebuilt = baseline.inverse_transform(baseline.transform(X))
    assert_allclose(baseline.score(X), explained_variance_ratio(X, rebuilt), rtol=1e-4)
    assert_allclose(baseline.score(X), 1 - baseline.reconstruction_err_, rtol=1e-5)
    assert baseline.score(X) > 0.3


def test_codes_are_least_squares_on_their_support(baseline):
    rows = (X[:50] - baseline.offset_) / baseline.scale_
    for row, code in zip(rows, baseline.transform(X[:50]).toarray(), strict=True):
        active = code > 0
        residual = row - baseline.mean_ - code @ baseline.components_
        assert_allclose(baseline.components_[active] @ residual, 0, atol=1e-4)


def test_pca_keeps_the_largest_projections():
    baseline = SparseBaseline("pca", n_latents=24, k=3, random_state=0).fit(X)
    scaled = (X - X.mean(axis=0)) / np.sqrt(((X - X.mean(axis=0)) ** 2).sum(1).mean())
    axes = PCA().fit(scaled).components_
    projections = scaled @ axes.T
    smallest = np.sort(np.abs(projections), axis=1)[:, -3]
    projections[np.abs(projections) < smallest[:, None]] = 0
    expected = projections @ axes
    codes = baseline.transform(X)
    rebuilt = (baseline.inverse_transform(codes) - baseline.offset_) / baseline.scale_
    assert_allclose(rebuilt, expected, atol=1e-4)
    # either sign is a latent
    assert_array_equal(baseline.components_[::2], -baseline.components_[1::2])
    assert not codes[:, ::2].multiply(codes[:, 1::2]).count_nonzero()


def test_directions_are_those_of_the_method():
    scaled = (X - X.mean(axis=0)) / np.sqrt(((X - X.mean(axis=0)) ** 2).sum(1).mean())
    seed = np.random.RandomState(0).randint(2**31 - 1)
    kmeans = SparseBaseline("kmeans", n_latents=9, k=2, random_state=0).fit(X)
    model = MiniBatchKMeans(9, max_iter=200, batch_size=1024, n_init=1)
    centers = model.set_params(random_state=seed).fit(scaled).cluster_centers_
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    assert_allclose(kmeans.components_, centers, atol=1e-4)
    ica = SparseBaseline("ica", n_latents=24, k=2, random_state=0).fit(X)
    model = FastICA(12, whiten="unit-variance", max_iter=200, random_state=seed)
    mixing = model.fit(scaled).mixing_.T
    mixing /= np.linalg.norm(mixing, axis=1, keepdims=True)
    assert_allclose(ica.components_[::2], mixing, atol=1e-3)
    # the encoder undoes the mixing
    assert_allclose(ica.encoder_[::2] @ ica.components_[::2].T, np.eye(12), atol=1e-4)


def test_nmf_and_dictionary_learning_recover_what_they_were_made_for():
    """Non-negative codes on few directions, of which three quarters are off."""
    rng = np.random.default_rng(0)
    atoms = rng.normal(size=(6, 20))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    codes = rng.exponential(size=(1500, 6)) * (rng.random((1500, 6)) < 0.25)
    for method in ("dictionary", "nmf"):
        options = {"normalize": None, "random_state": 0}
        baseline = SparseBaseline(method, n_latents=12, k=6, **options).fit(
            codes @ atoms
        )
        best = (baseline.components_ @ atoms.T).max(axis=0)
        assert best.mean() > 0.8, method
        assert baseline.score(codes @ atoms) > 0.8


@pytest.mark.parametrize("algorithm", ["omp", "mp", "encoder"])
def test_algorithms_agree_for_orthogonal_directions(algorithm):
    baseline = SparseBaseline("pca", n_latents=24, k=3).fit(X.astype(np.float64))
    expected = baseline.transform(X.astype(np.float64)).toarray()
    baseline.set_params(transform_algorithm=algorithm)
    actual = baseline.transform(X.astype(np.float64)).toarray()
    assert_allclose(actual, expected, atol=1e-10)


@pytest.mark.parametrize("normalize", ["l2", "center_l2", "standard", "center", None])
def test_every_normalisation(normalize):
    shifted = X + 3
    baseline = SparseBaseline("kmeans", 24, 3, normalize=normalize, random_state=0)
    baseline.fit(shifted)
    reference = TopKSAE(24, 3, normalize=normalize, max_iter=1).fit(shifted)
    for name in ("offset_", "scale_", "unit_length_"):
        assert_allclose(getattr(baseline, name), getattr(reference, name), rtol=1e-6)
    assert 0.5 < baseline.score(shifted) < 1
    rows = (shifted - baseline.offset_) / baseline.scale_
    if baseline.unit_length_:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert_allclose(baseline.mean_, rows.mean(axis=0), atol=1e-5)


def test_odd_numbers_of_latents_drop_a_sign():
    assert SparseBaseline("pca", 5, 2).fit(X).components_.shape == (5, 12)


@pytest.mark.parametrize("method", METHODS)
def test_sizes_by_themselves(method):
    baseline = SparseBaseline(method, max_iter=2, random_state=0).fit(X)
    sae = TopKSAE(max_iter=1).fit(X)
    most = 24 if method in ("pca", "ica") else sae.n_latents_
    assert baseline.n_latents_ == min(sae.n_latents_, most) == len(baseline.components_)
    assert baseline.k_ == sae.k_


def test_too_many_latents_and_too_few():
    with pytest.raises(ValueError, match=r"n_latents=25 must be <= 24 with.*'pca'"):
        SparseBaseline("pca", n_latents=25, k=2).fit(X)
    with pytest.raises(ValueError, match="n_latents=11 must be <= n_samples=10"):
        SparseBaseline("kmeans", n_latents=11, k=2).fit(X[:10])
    with pytest.raises(ValueError, match="k=9 must be <= n_latents=8"):
        SparseBaseline("kmeans", n_latents=8, k=9).fit(X)


def test_there_is_no_partial_fit():
    assert not hasattr(SparseBaseline(), "partial_fit")


def test_two_views_are_aligned_like_those_of_autoencoders():
    view = SparseBaseline("kmeans", n_latents=16, k=2)
    sae = PostHocAlignedSAE(x_sae=view, y_sae=clone(view), random_state=0)
    sae.fit(DATA.X, DATA.y)
    codes_x, codes_y = sae.transform(DATA.X, DATA.y)
    assert codes_x.shape == codes_y.shape == (600, sae.n_aligned_)
    assert isinstance(sae.x_sae_, SparseBaseline)
    assert sae.score(DATA.X, DATA.y) > 0.5


@given(
    method=st.sampled_from(["pca", "kmeans", "nmf"]),
    rows=hnp.arrays(
        np.float64,
        st.tuples(st.integers(8, 14), st.integers(2, 5)),
        elements=st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0]),
    ),
    k=st.integers(1, 4),
)
@settings(max_examples=30, deadline=None)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_any_samples_have_sparse_codes_that_do_no_harm(method, rows, k):
    baseline = SparseBaseline(method, 4, k, max_iter=5, random_state=0).fit(rows)
    codes = baseline.transform(rows)
    assert codes.count_nonzero(axis=1).max(initial=0) <= k
    assert codes.data.min(initial=0) >= 0
    lengths = np.linalg.norm(baseline.components_, axis=1)
    assert np.all((np.abs(lengths - 1) < 1e-6) | (lengths == 0))
    rebuilt = baseline.inverse_transform(codes)
    before = np.sum((rows - rows.mean(axis=0)) ** 2, axis=1)
    error = np.sum((rows - rebuilt) ** 2, axis=1)
    assert np.all(error <= before + 1e-8)  # pursuit only takes what helps


def test_constant_samples_have_no_directions():
    baseline = SparseBaseline("pca", n_latents=4, k=2).fit(np.ones((20, 5)))
    assert baseline.transform(np.ones((3, 5))).nnz == 0
    assert_allclose(baseline.inverse_transform(np.zeros((1, 4))), 1)
