"""Choosing the weight of an alignment term."""

import numpy as np
import pytest
from sklearn.utils._param_validation import InvalidParameterError

from skxsae import PairedSAE, TopKSAE
from skxsae._training import DivergedError
from skxsae.datasets import make_paired_features
from skxsae.model_selection import select_alignment_weight

DATA = make_paired_features(
    1500,
    n_features=32,
    n_shared=32,
    n_x_only=8,
    n_y_only=8,
    max_interference=0.8,
    alignment=0.4,
    random_state=0,
)


def make_sae(**params):
    defaults = {
        "n_latents": 96,
        "k": 4,
        "alignment": "iso_energy",
        "max_iter": 15,
        "batch_size": 100,
        "learning_rate": 1e-2,
        "random_state": 0,
    }
    return PairedSAE(**{**defaults, **params})


def test_the_largest_weight_that_costs_little_wins():
    weights = [1e-4, 10.0, 1e-2, 1.0]
    selection = select_alignment_weight(
        make_sae(), DATA.X, DATA.y, weights=weights, random_state=0
    )
    table = selection.to_frame()
    assert list(table["weight"]) == [0, 1e-4, 1e-2, 1.0, 10.0]
    allowed = table["explained_variance"] >= table["explained_variance"][0] - 0.05
    allowed &= ~table["always_on"]
    assert list(table["admissible"]) == list(allowed)
    assert table["admissible"].nunique() == 2  # some pass, some do not
    assert selection.best_weight == table["weight"][allowed].max()
    assert selection.best_estimator.alignment_weight == selection.best_weight
    assert selection.best_estimator.score(DATA.X, DATA.y) > 0


def test_a_latent_that_is_always_on_is_refused():
    X = np.random.default_rng(0).normal(size=(400, 6))
    sae = make_sae(n_latents=4, k=4, normalize=None, activation="relu", max_iter=1)
    # rows far from the origin and no pre-bias: some latent is active on all
    shifted = X + 50.0
    selection = select_alignment_weight(
        sae.set_params(fit_intercept=False), shifted, shifted, weights=[1e-6]
    )
    assert selection.always_on.all()
    assert selection.best_weight == 0


def test_the_estimator_is_left_alone():
    sae = make_sae(max_iter=1)
    select_alignment_weight(sae, DATA.X, DATA.y, weights=[1e-3], test_size=100)
    assert not hasattr(sae, "x_sae_")
    assert sae.alignment_weight == "auto"


def test_groups_are_held_out_as_a_whole(monkeypatch):
    seen = []
    monkeypatch.setattr(
        PairedSAE, "fit", lambda self, X, y: seen.append(X[:, 0].astype(int)) or self
    )
    monkeypatch.setattr(PairedSAE, "score", lambda self, X, y: 0.5)
    monkeypatch.setattr(PairedSAE, "transform", lambda self, X, y: [np.eye(3)] * 2)
    groups = np.arange(100) // 5
    X = np.column_stack([groups, np.ones(100)])
    select_alignment_weight(
        make_sae(), X, X, groups=groups, weights=[1.0], random_state=0
    )
    counts = np.bincount(seen[0], minlength=20)
    assert set(counts) == {0, 5}


def test_a_weight_that_diverges_is_not_admissible(monkeypatch):
    fit = PairedSAE.fit

    def fragile(self, X, y):
        if self.alignment_weight > 1:
            raise DivergedError("not finite")
        return fit(self, X, y)

    monkeypatch.setattr(PairedSAE, "fit", fragile)
    selection = select_alignment_weight(
        make_sae(max_iter=1), DATA.X, DATA.y, weights=[1e-4, 100.0]
    )
    assert selection.best_weight == 1e-4
    assert selection.to_frame()["admissible"].tolist() == [True, True, False]


@pytest.mark.parametrize("params", [{"estimator": TopKSAE()}, {"max_drop": -1}])
def test_bad_parameters(params):
    arguments = {"estimator": make_sae(), "X": DATA.X, "y": DATA.y}
    with pytest.raises(InvalidParameterError):
        select_alignment_weight(**arguments | params)


@pytest.mark.parametrize("weights", [[], [0.0], [-1.0, 1.0], [[1.0]]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="positive numbers"):
        select_alignment_weight(make_sae(), DATA.X, DATA.y, weights=weights)


@pytest.mark.parametrize(
    "params", [{"alignment": "none"}, {"alignment": "auto", "coupling": "crosscoder"}]
)
def test_an_estimator_without_a_term_is_refused(params):
    sae = make_sae().set_params(**params)
    with pytest.raises(ValueError, match="no alignment term"):
        select_alignment_weight(sae, DATA.X, DATA.y)
