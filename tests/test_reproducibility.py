"""The same seed gives the same bits: twice, in two processes, after pickling."""

import functools
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from fitted_estimators import FITTED, assert_same
from reproducible_fits import FITS, GROUPS, SIZES, X, Y, digest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.metrics import make_recall_scorer

pytestmark = [
    pytest.mark.filterwarnings("ignore:Only:UserWarning"),
    pytest.mark.filterwarnings("ignore:FastICA did not converge"),
]

digest_of = functools.cache(lambda name: digest(FITS[name]()))


@pytest.mark.parametrize("name", FITTED)
def test_twice_in_one_process(name):
    assert_same(FITTED[name](), FITTED[name]())


@pytest.mark.parametrize("name", FITS)
def test_twice_where_threads_take_part(name):
    assert digest(FITS[name]()) == digest_of(name)


def run_elsewhere(n_threads, hash_seed):
    """Digests of the fits of another process."""
    program = Path(__file__).parent / "reproducible_fits.py"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(n_threads),
        "OMP_WAIT_POLICY": "PASSIVE",  # other tests run meanwhile
        "PYTHONHASHSEED": str(hash_seed),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(program), str(n_threads)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("n_threads", [1, 2])
def test_in_two_processes(n_threads):
    first, second = (run_elsewhere(n_threads, hash_seed) for hash_seed in (1, 2))
    assert first == second
    if n_threads == torch.get_num_threads():
        with threadpool_limits(n_threads):  # NumPy's, too
            assert first == {name: digest(fit()) for name, fit in FITS.items()}


def test_a_digest_tells_models_apart():
    assert digest_of("TopKSAE topk") != digest_of("TopKSAE batch_topk")
    other = TopKSAE(**{**SIZES, "random_state": 1}).fit(X)
    assert digest(other) != digest_of("TopKSAE topk")


ESTIMATORS = [
    TopKSAE(**SIZES),
    PairedSAE(mask_rate=0.1, **SIZES),
    PostHocAlignedSAE(**SIZES),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_after_pickling(estimator):
    expected = clone(estimator).fit(X, Y)
    again = pickle.loads(pickle.dumps(clone(estimator))).fit(X, Y)
    assert_same(expected, again)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_a_generator_is_pickled_where_it_is(estimator):
    def unfitted():
        random_state = np.random.RandomState(3)
        random_state.uniform(size=7)
        return clone(estimator).set_params(random_state=random_state)

    expected = unfitted().fit(X, Y)
    again = pickle.loads(pickle.dumps(unfitted())).fit(X, Y)
    np.testing.assert_array_equal(_directions(expected), _directions(again))


def _directions(estimator):
    """Directions of the first view."""
    return getattr(estimator, "x_sae_", estimator).components_


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
def test_of_a_fitted_model_that_was_pickled(estimator):
    fitted = clone(estimator).fit(X, Y)
    loaded = pickle.loads(pickle.dumps(fitted))
    assert_same(fitted, loaded)
    views = (X,) if isinstance(estimator, TopKSAE) else (X, Y)
    assert_same(fitted.transform(*views), loaded.transform(*views))
    assert_same(clone(loaded).fit(X, Y), clone(fitted).fit(X, Y))


@pytest.mark.slow
def test_in_a_grid_search_of_two_processes():
    search = GridSearchCV(
        PostHocAlignedSAE(**SIZES, matcher=CoactivationMatcher(n_null=1)),
        {"k": [4, 8]},
        cv=2,
        scoring=make_recall_scorer(k=5),
    )
    searches = []
    for n_jobs in (1, 2):
        # as many threads as here, which a process of its own need not have
        with joblib.parallel_config(
            "loky", inner_max_num_threads=torch.get_num_threads()
        ):
            found = clone(search).set_params(n_jobs=n_jobs).fit(X, Y)
        searches.append(found)
    alone, shared = searches
    for name in ("mean_test_score", "split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(alone.cv_results_[name], shared.cv_results_[name])
    assert_same(alone.best_estimator_, shared.best_estimator_)


def test_groups_are_the_same_by_any_name():
    names = np.array([f"picture {group}" for group in GROUPS])
    fits = [
        PostHocAlignedSAE(**SIZES).fit(X, Y, groups=groups)
        for groups in (GROUPS, names)
    ]
    assert_same(*fits)


# as docs/guide/trust.rst says
GPU_TOLERANCE = 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("algorithm", ["encoder", "mp", "omp"])
def test_codes_on_a_gpu_are_those_of_the_cpu(algorithm):
    sae = TopKSAE(**SIZES, device="cpu", transform_algorithm=algorithm).fit(X)
    on_cpu = sae.transform(X)
    on_gpu = sae.set_params(device="cuda").transform(X)
    scale = abs(on_cpu).max()
    differs = abs(on_cpu - on_gpu).max(axis=1).toarray().ravel() > GPU_TOLERANCE * scale
    # two latents that are as good as each other may change places
    assert differs.mean() < 0.005


@pytest.mark.gpu
def test_a_fit_on_a_gpu_is_as_good_as_one_on_the_cpu():
    errors = [
        TopKSAE(**{**SIZES, "max_iter": 30}, device=device).fit(X).reconstruction_err_
        for device in ("cpu", "cuda")
    ]
    assert abs(errors[0] - errors[1]) < 0.01 * errors[0]
