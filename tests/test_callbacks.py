"""Interrupts, early stopping and scikit-learn's own callbacks."""

import io
import os
import signal
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar, ScoringMonitor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils.validation import check_is_fitted

from skxsae import (
    CoactivationMatcher,
    PairedSAE,
    PostHocAlignedSAE,
    StopOnInterrupt,
    TopKSAE,
)
from skxsae.metrics import make_recall_scorer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(80, 6)).astype(np.float32)
Y = (X @ RNG.normal(size=(6, 6))).astype(np.float32)

OPTIONS = {"n_latents": 8, "k": 2, "max_iter": 4, "random_state": 0}
FITS = {
    "TopKSAE": (TopKSAE(**OPTIONS), (X,)),
    "PairedSAE": (PairedSAE(**OPTIONS), (X, Y)),
    "PostHocAlignedSAE": (
        PostHocAlignedSAE(
            matcher=CoactivationMatcher(min_fires=1, n_null=0), **OPTIONS
        ),
        (X, Y),
    ),
}


@pytest.fixture(params=FITS)
def fit(request):
    """A fresh estimator and the arrays to fit it on."""
    estimator, arrays = FITS[request.param]
    return clone(estimator), arrays


class InPass:
    """Callback that does something in the given pass, and counts the passes."""

    max_propagation_depth = None

    def __init__(self, number, action):
        self.number, self.action, self.n_passes = number, action, 0

    def setup(self, estimator, context):
        self.n_passes = 0

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        if context.task_name == "pass":
            self.n_passes += 1
            if self.n_passes == self.number:
                self.action()

    def on_fit_task_end(self, estimator, context):
        pass


class StopAfter(InPass):
    """Callback that ends a fit after the given pass."""

    def __init__(self, number):
        super().__init__(number, lambda: None)

    def on_fit_task_end(self, estimator, context):
        return self.n_passes == self.number


class Keep:
    """Callback that keeps the estimators that it is handed."""

    def __init__(self):
        self.estimators = []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        if fitted_estimator is not None:
            self.estimators.append((fitted_estimator, X, y))


@pytest.fixture(autouse=True)
def _ctrl_c_interrupts():
    """A process that a shell put in the background was told to ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c():
    os.kill(os.getpid(), signal.SIGINT)


def explained(estimator, X, y):
    """A score for ScoringMonitor."""
    return {"explained": estimator.score(X, y)}


def fitted_attributes(estimator):
    """What the estimator remembers, by the identity of each object."""
    return {name: id(value) for name, value in vars(estimator).items()}


def dictionaries(estimator):
    """Every autoencoder of a fitted estimator."""
    if isinstance(estimator, TopKSAE):
        return [estimator]
    return [estimator.x_sae_, estimator.y_sae_]


def test_ctrl_c_leaves_an_unfitted_estimator_unfitted(fit):
    estimator, arrays = fit
    before = fitted_attributes(estimator)
    estimator.set_callbacks(InPass(2, press_ctrl_c))
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*arrays)
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)
    estimator.set_callbacks()
    assert fitted_attributes(estimator) == before


def test_ctrl_c_leaves_a_fitted_estimator_as_it_was(fit):
    estimator, arrays = fit
    names = [f"pixel{i}" for i in range(X.shape[1])]
    estimator.fit(pd.DataFrame(X, columns=names), *arrays[1:])
    before = fitted_attributes(estimator)
    codes = estimator.transform(pd.DataFrame(X, columns=names)).toarray()

    estimator.set_callbacks(InPass(2, press_ctrl_c)).set_params(n_latents=4, k=1)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*(array[:, :3] for array in arrays))

    estimator.set_callbacks().set_params(n_latents=8, k=2)
    after = fitted_attributes(estimator)
    parameters = estimator.get_params(deep=False)
    assert {k: v for k, v in after.items() if k not in parameters} == {
        k: v for k, v in before.items() if k not in parameters
    }
    assert estimator.n_features_in_ == 6
    assert list(estimator.feature_names_in_) == names
    frame = pd.DataFrame(X, columns=names)
    np.testing.assert_array_equal(estimator.transform(frame).toarray(), codes)


def test_ctrl_c_during_the_matching_discards_the_fit(monkeypatch):
    estimator = clone(FITS["PostHocAlignedSAE"][0])

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(CoactivationMatcher, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, Y)
    assert not [name for name in vars(estimator) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        estimator.transform(X)


def test_an_interrupted_realign_leaves_the_matching(monkeypatch):
    estimator = clone(FITS["PostHocAlignedSAE"][0]).fit(X, Y)
    before = fitted_attributes(estimator)

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(CoactivationMatcher, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        estimator.realign(X[:50], Y[:50])
    assert fitted_attributes(estimator) == before


def test_stop_on_interrupt_keeps_the_last_finished_pass(fit):
    estimator, arrays = fit
    estimator.set_callbacks(StopOnInterrupt(), InPass(3, press_ctrl_c)).fit(*arrays)
    codes = estimator.transform(X)
    assert np.isfinite(codes.data).all()
    first, *others = dictionaries(estimator)
    assert first.n_iter_ == 3
    assert len(first.loss_curve_) == 3
    if isinstance(estimator, PostHocAlignedSAE):
        # the second view, which comes later, goes on as usual
        assert [sae.n_iter_ for sae in others] == [4]
        assert estimator.n_iter_ == 4
        assert len(estimator.matches_) > 0


@pytest.mark.parametrize("name", ["TopKSAE", "PairedSAE"])
def test_stop_on_interrupt_equals_a_stop_after_the_same_pass(name):
    estimator, arrays = FITS[name]
    interrupted = clone(estimator).set_callbacks(
        StopOnInterrupt(), InPass(2, press_ctrl_c)
    )
    stopped = clone(estimator).set_callbacks(StopAfter(2))
    for sae, other in zip(
        dictionaries(interrupted.fit(*arrays)),
        dictionaries(stopped.fit(*arrays)),
        strict=True,
    ):
        np.testing.assert_array_equal(sae.components_, other.components_)
        np.testing.assert_array_equal(sae.encoder_, other.encoder_)


def test_stop_on_interrupt_gives_the_handler_back(fit):
    estimator, arrays = fit
    before = signal.getsignal(signal.SIGINT)
    inside = []
    look = InPass(1, lambda: inside.append(signal.getsignal(signal.SIGINT)))
    estimator.set_callbacks(StopOnInterrupt(), look).fit(*arrays)
    assert signal.getsignal(signal.SIGINT) is before
    assert inside
    assert inside[0] is not before


def test_a_failing_fit_gives_the_handler_back(fit):
    estimator, arrays = fit
    before = signal.getsignal(signal.SIGINT)

    def fail():
        raise RuntimeError("disk full")

    estimator.set_callbacks(StopOnInterrupt(), InPass(1, fail))
    with pytest.raises(RuntimeError, match="disk full"):
        estimator.fit(*arrays)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_ctrl_c_interrupts_at_once(fit):
    estimator, arrays = fit

    def press_twice():
        press_ctrl_c()
        press_ctrl_c()

    passes = InPass(1, press_twice)
    before = signal.getsignal(signal.SIGINT)
    estimator.set_callbacks(StopOnInterrupt(), passes)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(*arrays)
    assert passes.n_passes == 1
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


def test_stop_on_interrupt_can_be_used_again(fit):
    estimator, arrays = fit
    stop = StopOnInterrupt()
    estimator.set_callbacks(stop, InPass(1, press_ctrl_c)).fit(*arrays)
    assert dictionaries(estimator)[0].n_iter_ == 1
    estimator.set_callbacks(stop).fit(*arrays)
    assert [sae.n_iter_ for sae in dictionaries(estimator)] == [4] * len(
        dictionaries(estimator)
    )


def test_a_callback_that_returns_true_stops_the_fit(fit):
    estimator, arrays = fit
    estimator.set_callbacks(StopAfter(2)).fit(*arrays)
    sae = dictionaries(estimator)[0]
    assert sae.n_iter_ == len(sae.loss_curve_) == 2


def test_a_stopped_fit_is_the_beginning_of_a_longer_one(fit):
    estimator, arrays = fit
    whole = clone(estimator).fit(*arrays)
    estimator.set_callbacks(StopAfter(2)).fit(*arrays)
    sae, other = dictionaries(estimator)[0], dictionaries(whole)[0]
    assert sae.loss_curve_ == other.loss_curve_[:2]


def test_callbacks_get_usable_estimators(fit):
    estimator, arrays = fit
    keep = Keep()
    estimator.set_callbacks(keep).fit(*arrays)
    # one for each pass and one for the fit; the alignment comes only with the latter
    assert len(keep.estimators) == (1 if "matcher" in estimator.get_params() else 5)
    scores = [copy.score(X, y) for copy, X, y in keep.estimators]
    assert len(set(scores)) >= len(keep.estimators) - 1
    assert scores[-1] == estimator.score(*arrays)
    last, *_ = keep.estimators[-1]
    np.testing.assert_array_equal(
        last.transform(X).toarray(), estimator.transform(X).toarray()
    )


@pytest.mark.parametrize("container", [np.asarray, "frame"])
def test_scoring_monitor(fit, container):
    estimator, arrays = fit
    if container == "frame":
        arrays = [pd.DataFrame(array, columns=list("abcdef")) for array in arrays]
    monitor = ScoringMonitor(scoring=explained)
    estimator.set_callbacks(monitor).fit(*arrays)
    log = monitor.get_logs().data_as_pandas
    assert log["explained"].iloc[0] == estimator.score(*arrays)
    assert np.isfinite(log["explained"]).all()
    if not isinstance(estimator, PostHocAlignedSAE):
        assert len(log) == 1 + OPTIONS["max_iter"]


def test_scoring_monitor_with_the_recall_scorer():
    monitor = ScoringMonitor(scoring=make_recall_scorer(k=10))
    estimator = clone(FITS["PairedSAE"][0]).set_callbacks(monitor).fit(X, Y)
    log = monitor.get_logs().data_as_pandas
    assert log["score"].iloc[0] == make_recall_scorer(k=10)(estimator, X, Y)
    assert len(log) == 5


def test_scoring_monitor_inside_a_grid_search(fit):
    estimator, arrays = fit
    monitor = ScoringMonitor(scoring=explained)
    search = GridSearchCV(
        estimator.set_callbacks(monitor), {"k": [1, 2]}, cv=2, error_score="raise"
    )
    search.fit(*arrays)
    log = monitor.get_logs().data_as_pandas
    fits = log[log["task_name"] != "pass"].groupby("task_id_path")["explained"]
    # two folds for each of two values, and the refit
    assert fits.ngroups == 5
    assert log["explained"].notna().all()


def test_progress_bar(fit):
    estimator, arrays = fit
    with redirect_stdout(io.StringIO()) as shown:
        estimator.set_callbacks(ProgressBar()).fit(*arrays)
    lines = [line for line in shown.getvalue().splitlines() if line.strip()]
    assert f"{type(estimator).__name__} - fit" in lines[0]
    # a bar of its own for each view
    assert len(lines) == (3 if isinstance(estimator, PostHocAlignedSAE) else 1)
    assert all("100%" in line for line in lines)


def test_progress_bar_and_interrupt_around_a_grid_search(fit):
    estimator, arrays = fit
    search = GridSearchCV(estimator, {"k": [1, 2]}, cv=2, error_score="raise")
    search.set_callbacks(
        ProgressBar(max_propagation_depth=None),
        StopOnInterrupt(),
        InPass(2, press_ctrl_c),
    )
    before = signal.getsignal(signal.SIGINT)
    with redirect_stdout(io.StringIO()) as shown:
        search.fit(*arrays)
    assert "GridSearchCV - fit" in shown.getvalue()
    assert signal.getsignal(signal.SIGINT) is before
    # the fit that was running ended, those after it went on
    assert dictionaries(search.best_estimator_)[0].n_iter_ == 4
