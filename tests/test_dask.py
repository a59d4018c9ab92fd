"""A grid search on a cluster: Dask's, of two worker processes on this machine."""

import os

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate

from skxsae import PostHocAlignedSAE
from skxsae.datasets import make_paired_features
from skxsae.metrics import make_recall_scorer

distributed = pytest.importorskip("distributed", reason="needs distributed, of Dask")

DATA = make_paired_features(
    600,
    n_features=16,
    n_shared=16,
    n_x_only=4,
    n_y_only=4,
    sparsity=0.9,
    max_interference=0.8,
    random_state=0,
)


def process_id(estimator, X, y):
    """Number of the process that scores, in the place of a score."""
    return os.getpid()


MODEL = PostHocAlignedSAE(n_latents=24, k=4, max_iter=10, random_state=0)
SCORING = {"recall": make_recall_scorer(k=10), "process": process_id}


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def on_the_cluster():
    return joblib.parallel_config(backend="dask")


def fitted_search():
    grid = {"k": [2, 4]}
    search = GridSearchCV(MODEL, grid, scoring=SCORING, refit="recall", cv=2)
    return search.fit(DATA.X, DATA.y)


def columns(search, score):
    """Scores by split and candidate."""
    return np.array([search.cv_results_[f"split{i}_test_{score}"] for i in range(2)])


def test_a_search_on_a_cluster_scores_as_one_without(client):
    here = fitted_search()
    with on_the_cluster():
        there = fitted_search()
    assert set(columns(here, "process").ravel()) == {os.getpid()}
    assert set(columns(there, "process").ravel()) <= set(client.run(os.getpid).values())
    np.testing.assert_array_equal(columns(there, "recall"), columns(here, "recall"))
    assert there.best_params_ == here.best_params_
    assert there.best_estimator_.matches_.equals(here.best_estimator_.matches_)


def test_models_that_a_cluster_fitted_are_those_of_this_process(client):
    def fitted():
        result = cross_validate(MODEL, DATA.X, DATA.y, cv=2, return_estimator=True)
        return result["estimator"]

    here = fitted()
    with on_the_cluster():
        there = fitted()
    for model, expected in zip(there, here, strict=True):
        assert model.matches_.equals(expected.matches_)
        pairs = zip(
            model.transform(DATA.X, DATA.y),
            expected.transform(DATA.X, DATA.y),
            strict=True,
        )
        for codes, expected_codes in pairs:
            assert codes.nnz > 0
            np.testing.assert_array_equal(codes.toarray(), expected_codes.toarray())


def test_an_error_of_a_worker_is_raised_here(client):
    model = clone(MODEL).set_params(k=99)
    with on_the_cluster(), pytest.raises(ValueError, match="k=99"):
        cross_val_score(model, DATA.X, DATA.y, cv=2, error_score="raise")
