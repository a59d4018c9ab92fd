"""Fitted estimators of all classes and options, and whether two are the same."""

import warnings

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from skxsae import (
    Coactivation,
    CoactivationMatcher,
    PairedSAE,
    PostHocAlignedSAE,
    TopKSAE,
)
from skxsae._from_arrays import topk_sae_from_arrays
from skxsae.baselines import SparseBaseline
from skxsae.interventions import ModalityFilter, ModalityGapRemover
from skxsae.search import ConceptIndex

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
Y = X @ RNG.normal(size=(6, 6)) + 0.1 * RNG.normal(size=(60, 6))
NAMES = [f"feature {i}" for i in range(6)]
FAST = {"max_iter": 2, "batch_size": 16, "random_state": 0}


def assert_same(a, b, where=""):
    """Bit for bit the same, all the way down, but for callbacks and kinds of NaN."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert a.flags.c_contiguous == b.flags.c_contiguous, where
        assert b.flags.writeable, where
        if a.dtype == object:
            assert a.tolist() == b.tolist(), where
        else:
            assert a.tobytes() == b.tobytes(), where
    elif type(a) is float and np.isnan(a):
        assert np.isnan(b), where
    elif isinstance(a, (float, np.floating)):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for name in a:
            assert_same(a[name], b[name], f"{where}[{name!r}]")
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, obj=where)
    elif isinstance(a, np.random.RandomState):
        assert_same(a.get_state(), b.get_state(), where)
    elif isinstance(a, sparse.csr_array):
        assert a.shape == b.shape, where
        for name in ("data", "indices", "indptr"):
            assert_same(getattr(a, name), getattr(b, name), f"{where}.{name}")
    elif hasattr(a, "__dict__"):
        names = {name for name in vars(a) if "callback" not in name}
        assert names == set(vars(b)), where
        for name in names:
            assert_same(vars(a)[name], vars(b)[name], f"{where}.{name}")
    else:
        assert a == b, where


def long_indices():
    """Sums whose indices are of a larger type than SciPy would take."""
    sums = Coactivation.from_codes(codes(), codes(7))
    for name in ("indices", "indptr"):
        setattr(sums.cross, name, getattr(sums.cross, name).astype(np.int64))
    return sums


def named(array):
    return pd.DataFrame(array, columns=NAMES)


def quiet(function, *args, **kwargs):
    """A fit on so little that scikit-learn and the matcher have something to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def codes(width=5, n_samples=60, seed=1):
    return sparse.random_array((n_samples, width), density=0.4, format="csr", rng=seed)


def post_hoc(**options):
    sae = TopKSAE(8, 2, **FAST)
    sae = PostHocAlignedSAE(x_sae=sae, y_sae=sae, random_state=0, **options)
    return quiet(sae.fit, X.astype(np.float32), Y.astype(np.float32))


def matcher(**options):
    matcher = CoactivationMatcher(min_fires=1, random_state=0, **options)
    return quiet(matcher.fit, codes(seed=1), codes(7, seed=2))


def frozen():
    saes = [TopKSAE(m, 2, **FAST).fit(view) for m, view in ((8, X), (12, Y))]
    sae = PostHocAlignedSAE(
        x_sae=FrozenEstimator(saes[0]), y_sae=FrozenEstimator(saes[1]), random_state=0
    )
    return quiet(sae.fit, X, Y)


def streamed(estimator, *views):
    return estimator.set_params(max_iter="auto").partial_fit(*views)


IN_A_STREAM = {
    "TopKSAE in a stream": lambda: streamed(TopKSAE(8, 2, **FAST), X),
    "TopKSAE before a batch": lambda: streamed(TopKSAE(8, 2, **FAST), named(X[:5])),
    "PairedSAE in a stream": lambda: streamed(PairedSAE(8, 2, **FAST), X, Y),
    "PairedSAE before a batch": lambda: streamed(PairedSAE(8, 2, **FAST), X[:5], Y[:5]),
}
FITTED = {
    **IN_A_STREAM,
    **{
        f"TopKSAE {activation}": lambda activation=activation: TopKSAE(
            8, 2, activation=activation, **FAST
        ).fit(X)
        for activation in ("topk", "batch_topk", "relu", "jumprelu", "matching_pursuit")
    },
    "TopKSAE of a table": lambda: TopKSAE(8, 2, normalize="standard", **FAST).fit(
        named(X)
    ),
    "TopKSAE unfitted": lambda: TopKSAE(k=np.int64(3), schedule=np.str_("constant")),
    "TopKSAE of arrays": lambda: topk_sae_from_arrays(
        components=np.eye(3, 4),
        encoder=np.eye(3, 4),
        encoder_bias=np.zeros(3),
        mean=np.ones(4),
        k=2,
    ),
    "TopKSAE, frozen": lambda: FrozenEstimator(TopKSAE(8, 2, **FAST).fit(X)),
    **{
        f"SparseBaseline {method}": lambda method=method: quiet(
            SparseBaseline(method, 8, 2, random_state=0).fit, X
        )
        for method in ("pca", "ica", "nmf", "kmeans", "dictionary")
    },
    **{
        f"PairedSAE {coupling}": lambda coupling=coupling: PairedSAE(
            8, 2, coupling=coupling, **FAST
        ).fit(X, Y)
        for coupling in ("shared", "cross_reconstruction", "global_topk", "crosscoder")
    },
    "PairedSAE of tables": lambda: PairedSAE(8, 2, **FAST).fit(named(X), named(Y)),
    "PostHocAlignedSAE": post_hoc,
    "PostHocAlignedSAE soft": lambda: post_hoc(
        matcher=CoactivationMatcher(assignment="soft", min_fires=1)
    ),
    "PostHocAlignedSAE unmatched": lambda: post_hoc(
        matcher=CoactivationMatcher(min_fires=100)
    ),
    "PostHocAlignedSAE of frozen": frozen,
    "PostHocAlignedSAE unfitted": lambda: PostHocAlignedSAE(
        x_sae=TopKSAE(8), matcher=CoactivationMatcher(min_score=0.25)
    ),
    "CoactivationMatcher": matcher,
    "CoactivationMatcher soft": lambda: matcher(assignment="soft"),
    "CoactivationMatcher bootstrapped": lambda: matcher(
        n_bootstrap=3, min_score="noise_floor"
    ),
    "ModalityFilter": lambda: ModalityFilter().fit(codes(), codes(seed=2)),
    "ModalityGapRemover": lambda: ModalityGapRemover().fit(named(X), named(Y)),
    "ModalityGapRemover, a random shift": lambda: ModalityGapRemover(
        method="random_shift", random_state=np.random.RandomState(3)
    ).fit(X, Y),
    "ConceptIndex": lambda: ConceptIndex().fit(codes()),
    "Coactivation of long indices": long_indices,
    "Coactivation": lambda: Coactivation.from_codes(codes(), codes(7)),
}


def outputs(estimator):
    """What an estimator makes of new samples."""
    if isinstance(estimator, (Coactivation, ConceptIndex)):
        return []
    new = np.random.default_rng(7).normal(size=(9, 6)).astype(np.float32)
    if isinstance(estimator, (CoactivationMatcher, ModalityFilter)):
        return [estimator.transform(codes(n_samples=9, seed=3))]
    if isinstance(estimator, PairedSAE | PostHocAlignedSAE | ModalityGapRemover):
        return list(estimator.transform(new, new[::-1]))
    if estimator.n_features_in_ == 4:
        new = new[:, :4]
    return [estimator.transform(new)]


def is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True
