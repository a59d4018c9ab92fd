"""partial_fit: one model for a stream of samples, whatever way it is cut."""

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from skxsae import PairedSAE, TopKSAE

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4)) @ RNG.normal(size=(4, 10))
Y = X @ RNG.normal(size=(10, 10)) + 0.1


def sae(**params):
    defaults = {"n_latents": 24, "k": 3, "batch_size": 50, "random_state": 0}
    return TopKSAE(**{**defaults, **params})


def assert_same(one, other):
    for name, value in vars(one).items():
        if name.endswith("_") and not name.startswith("_"):
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)


def fed(estimator, cuts, *arrays):
    for start, stop in zip([0, *cuts], [*cuts, len(arrays[0])], strict=True):
        estimator.partial_fit(*(array[start:stop] for array in arrays))
    return estimator


@pytest.mark.parametrize(
    "activation", ["topk", "batch_topk", "relu", "jumprelu", "matching_pursuit"]
)
@settings(deadline=None, max_examples=3)
@given(st.lists(st.integers(1, 299), max_size=6, unique=True).map(sorted))
def test_the_cuts_do_not_matter(activation, cuts):
    whole = fed(sae(activation=activation), [], X)
    assert_same(fed(sae(activation=activation), cuts, X), whole)


def test_the_cuts_do_not_matter_for_pairs():
    params = {"n_latents": 24, "k": 3, "batch_size": 50, "random_state": 0}
    whole, cut = (
        fed(PairedSAE(mask_rate=0.2, **params), cuts, X, Y)
        for cuts in ([], [7, 60, 61, 290])
    )
    assert_same(cut.x_sae_, whole.x_sae_)
    assert_same(cut.y_sae_, whole.y_sae_)


def test_a_stream_learns_and_says_what_it_has_seen():
    estimator = sae(learning_rate=1e-2)
    first = estimator.partial_fit(X[:50]).score(X)
    for _ in range(20):
        estimator.partial_fit(X)
    assert estimator.score(X) > max(0.8, first)
    assert estimator.n_iter_ == len(estimator.loss_curve_) == 121
    assert estimator.reconstruction_err_ == pytest.approx(
        np.mean(estimator.loss_curve_[-100:]), rel=0.2
    )
    assert estimator.firing_rate_.sum() == pytest.approx(3, rel=0.1)


def test_rows_that_are_left_over_wait():
    estimator = sae()
    estimator.partial_fit(X[:49])
    with pytest.raises(NotFittedError):
        estimator.transform(X)
    with pytest.raises(ValueError, match="10 features"):
        estimator.partial_fit(X[:, :9])
    assert estimator.partial_fit(X[49:99]).n_iter_ == 1
    assert_same(estimator.partial_fit(X[99:100]), fed(sae(), [], X[:100]))


def test_a_stream_survives_pickling():
    estimator = sae(aux_weight=1.0).partial_fit(X[:130])
    copy = pickle.loads(pickle.dumps(estimator))
    assert_same(copy.partial_fit(X[130:]), estimator.partial_fit(X[130:]))


def test_a_stream_goes_on_where_fit_ended():
    fitted = sae(max_iter=100, learning_rate=1e-2).fit(X)
    before, score = fitted.components_.copy(), fitted.score(X)
    fitted.set_params(learning_rate=1e-9).partial_fit(X[:50])
    np.testing.assert_allclose(fitted.components_, before, atol=1e-5)
    assert fitted.score(X) == pytest.approx(score, abs=1e-3)
    assert fitted.n_iter_ == 1


def test_fit_forgets_the_stream():
    estimator = sae(max_iter=3).partial_fit(X)
    assert_same(estimator.fit(X), sae(max_iter=3).fit(X))
    assert not hasattr(estimator, "_stream")


def test_a_stream_that_fails_changes_nothing():
    estimator, other = sae().partial_fit(X[:120]), sae().partial_fit(X[:120])
    with pytest.raises(ValueError, match="NaN"):
        estimator.partial_fit(np.full((60, 10), np.nan))
    with pytest.raises(ValueError, match="diverged"):
        estimator.set_params(learning_rate=1e30).partial_fit(X)
    estimator.set_params(learning_rate=5e-4)
    assert_same(estimator.partial_fit(X[120:]), other.partial_fit(X[120:]))


def test_auto_sizes_do_not_depend_on_the_first_piece():
    estimator = sae(n_latents="auto", k=32).partial_fit(X[:60])
    assert (estimator.n_latents_, estimator.k_) == (64, 4)  # 8 x 10 features


@pytest.mark.parametrize(
    "changed", [{"k": 2}, {"activation": "relu"}, {"normalize": None}]
)
def test_a_stream_keeps_its_model(changed):
    estimator = sae().partial_fit(X)
    with pytest.raises(ValueError, match=f"{next(iter(changed))} was .* Call fit"):
        estimator.set_params(**changed).partial_fit(X)


def test_a_fit_is_continued_with_its_own_activation():
    estimator = sae(activation="batch_topk", max_iter=2).fit(X)
    with pytest.raises(ValueError, match="activation was 'batch_topk'"):
        estimator.set_params(activation="jumprelu").partial_fit(X)


def test_all_pieces_are_computed_in_the_type_of_the_first():
    first, rest = X[:100].astype(np.float16), X[100:].astype(np.float32)
    mixed = sae().partial_fit(first).partial_fit(rest)
    plain = sae().partial_fit(first.astype(np.float32)).partial_fit(rest)
    assert mixed.components_.dtype == np.float32
    assert_same(mixed, plain)


def test_renamed_features_of_the_second_view_are_noticed():
    x, y = (pd.DataFrame(view).add_prefix("f") for view in (X, Y))
    params = {"n_latents": 24, "k": 3, "batch_size": 50, "random_state": 0}
    paired = PairedSAE(**params).partial_fit(x, y)
    with pytest.raises(ValueError, match="feature names"):
        paired.partial_fit(x, y.add_prefix("other_"))


def test_without_memory_a_stream_names_batch_size(monkeypatch):
    def full(self, batch, rate):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr("skxsae._trainer.Trainer.step", full)
    with pytest.raises(MemoryError, match="batch_size=50"):
        sae().partial_fit(X)


def test_a_bad_option_in_the_middle_of_a_stream_is_refused():
    estimator = sae().partial_fit(X).set_params(learning_rate=-1.0)
    with pytest.raises(InvalidParameterError, match="learning_rate"):
        estimator.partial_fit(X)
