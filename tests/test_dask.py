"""A grid search on a cluster: Dask's, of two worker processes on this machine."""

import os

import joblib
import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import GridSearchCV, cross_validate

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


@pytest.fixture
def client():
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # any free port
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def fitted_search():
    grid = {"k": [2, 4]}
    search = GridSearchCV(MODEL, grid, scoring=SCORING, refit="recall", cv=2)
    return search.fit(DATA.X, DATA.y)


def fitted_models():
    result = cross_validate(MODEL, DATA.X, DATA.y, cv=2, return_estimator=True)
    return result["estimator"]


def scores(search, name):
    """Scores by split and candidate."""
    return np.array([search.cv_results_[f"split{i}_test_{name}"] for i in range(2)])


@pytest.mark.slow
def test_a_cluster_gives_the_scores_and_models_of_one_process(client):
    search, models = fitted_search(), fitted_models()
    with joblib.parallel_config(backend="dask", scatter=[DATA.X, DATA.y]):
        search_there, models_there = fitted_search(), fitted_models()

    assert set(scores(search, "process").ravel()) == {os.getpid()}
    workers = set(client.run(os.getpid).values())
    assert set(scores(search_there, "process").ravel()) <= workers
    np.testing.assert_array_equal(
        scores(search_there, "recall"), scores(search, "recall")
    )
    assert search_there.best_params_ == search.best_params_

    for model, expected in zip(models_there, models, strict=True):
        assert model.matches_.equals(expected.matches_)
        codes = sparse.hstack(model.transform(DATA.X, DATA.y))
        expected_codes = sparse.hstack(expected.transform(DATA.X, DATA.y))
        assert codes.nnz > 0
        np.testing.assert_array_equal(codes.toarray(), expected_codes.toarray())
