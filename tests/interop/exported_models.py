"""Models to export, and samples of all sorts to encode."""

from functools import cache

import numpy as np

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae._from_arrays import topk_sae_from_arrays
from skxsae.baselines import SparseBaseline
from skxsae.datasets import make_paired_features

D, M, K = 16, 32, 4
DATA = make_paired_features(
    600, D, n_shared=16, n_x_only=0, n_y_only=0, max_interference=0.7, random_state=0
)
X, Y = DATA.X.astype(np.float32) + 0.5, DATA.y.astype(np.float32) - 0.5
ACTIVATIONS = ["topk", "batch_topk", "relu", "jumprelu", "matching_pursuit"]
NORMALIZE = ["scale", "center", "center_l2", "l2", "standard", None]
OPTIONS = {"max_iter": 5, "batch_size": 128, "random_state": 0}


def fitted(X=X, **options):
    return TopKSAE(M, K, **OPTIONS | options).fit(X)


def aligned(assignment):
    matcher = CoactivationMatcher(assignment=assignment)
    sae = TopKSAE(M, K, **OPTIONS)
    # sizes that differ, so that some columns are absent from a view
    smaller = TopKSAE(M - 8, K, **OPTIONS, normalize="l2")
    model = PostHocAlignedSAE(x_sae=sae, y_sae=smaller, matcher=matcher, random_state=0)
    return model.fit(X, Y)


def paired(coupling):
    return PairedSAE(M, K, coupling=coupling, **OPTIONS).fit(X, Y)


MODELS = {
    **{name: lambda name=name: (fitted(activation=name), X) for name in ACTIVATIONS},
    **{f"normalize {name}": lambda name=name: (fitted(normalize=name), X)
       for name in NORMALIZE},
    "signed pursuit": lambda: (
        fitted(activation="matching_pursuit", positive_code=False), X),
    "pursuit with an encoder": lambda: (fitted(transform_algorithm="mp"), X),
    "encoder of pursuit": lambda: (
        fitted(activation="matching_pursuit", transform_algorithm="encoder"), X),
    "int8": lambda: (fitted(precision="screen"), X),
    "no intercept": lambda: (fitted(fit_intercept=False, normalize="l2"), X),
    "all latents": lambda: (
        TopKSAE(M, M, normalize="center_l2", **OPTIONS).fit(X), X),
    "aligned x": lambda: (aligned("hungarian").x_sae_, X),
    "aligned y": lambda: (aligned("hungarian").y_sae_, Y),
    "soft x": lambda: (aligned("soft").x_sae_, X),
    "soft y": lambda: (aligned("soft").y_sae_, Y),
    "shared y": lambda: (paired("shared").y_sae_, Y),
    "crosscoder x": lambda: (paired("crosscoder").x_sae_, X),
    "baseline": lambda: (
        SparseBaseline("pca", M, K, transform_algorithm="encoder").fit(X), X),
    "baseline by pursuit": lambda: (
        SparseBaseline("kmeans", M, K, transform_algorithm="mp").fit(X), X),
}  # fmt: skip


@cache
def model(name):
    """A fitted estimator and the samples that it was fitted to."""
    return MODELS[name]()


def random_model(
    seed, activation, dtype, *, n_features=7, n_latents=12, k=3, unit_length=False
):
    """An estimator of random weights, which was not fitted."""
    rng = np.random.default_rng(seed)
    components = rng.normal(size=(n_latents, n_features))
    components /= np.linalg.norm(components, axis=1, keepdims=True)
    threshold = None
    if activation == "batch_topk":
        threshold = float(rng.uniform(0, 1))
    elif activation == "jumprelu":
        threshold = rng.uniform(0, 1, size=n_latents)
    sae = topk_sae_from_arrays(
        components=components.astype(dtype),
        encoder=rng.normal(size=(n_latents, n_features)),
        encoder_bias=0.3 * rng.normal(size=n_latents),
        mean=rng.normal(size=n_features),
        k=k,
        activation=activation,
        threshold=threshold,
    )
    sae.offset_ = rng.normal(size=n_features).astype(dtype)
    sae.scale_ = rng.uniform(0.5, 2, size=n_features).astype(dtype)
    sae.unit_length_ = unit_length
    return sae


def degenerate(sae, X):
    """Rows that are unlike any sample."""
    X = X[:8]
    return {
        "zeros": np.zeros_like(X),
        "offset": np.broadcast_to(sae.offset_, X.shape).astype(X.dtype),
        "ones": np.ones_like(X),
        "huge": 1e12 * X,
        "tiny": 1e-30 * X,
        "negative": -X,
        "equal": np.repeat(X[:1], 5, axis=0),
        "one": X[:1],
    }


def assert_equal(found, wanted, tol=1e-5):
    """Equal to `tol` of the largest entry of each row, or of 1."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    largest = np.abs(wanted).max(axis=1, keepdims=True, initial=1.0)
    np.testing.assert_array_less(np.abs(found - wanted) / largest, tol)
