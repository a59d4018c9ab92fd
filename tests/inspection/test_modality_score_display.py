"""Histograms of modality scores, judged by counting."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae.inspection import ModalityScoreDisplay


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def shares(stairs):
    return np.asarray(stairs.get_data().values)


@settings(max_examples=20, deadline=None)
@given(
    arrays(np.float64, 9, elements=st.floats(0, 1) | st.just(np.nan)),
    arrays(np.float64, 9, elements=st.floats(0, 100)),
    st.integers(1, 8),
)
def test_histograms_by_counting(scores, energies, n_bins):
    assume(not np.isnan(scores).all())
    display = ModalityScoreDisplay(scores, energies).plot(n_bins=n_bins)
    edges = np.linspace(0, 1, n_bins + 1)
    plain, weighted = np.zeros(n_bins), np.zeros(n_bins)
    for score, energy in zip(scores, energies, strict=True):
        for b in range(n_bins):
            last = b == n_bins - 1
            if edges[b] <= score and (score < edges[b + 1] or (last and score == 1)):
                plain[b] += 1
                weighted[b] += energy
    for stairs, counts in zip(display.stairs_, (plain, weighted), strict=True):
        assert_allclose(shares(stairs), counts / (counts.sum() or 1), atol=1e-9)
    plt.close("all")


def test_without_energies_there_is_one_histogram():
    display = ModalityScoreDisplay([0.2, np.nan, 0.7]).plot()
    (stairs,) = display.stairs_
    assert stairs.get_label() == "concepts (2; 1 never active)"
    (stairs,) = ModalityScoreDisplay([0.2, 0.7]).plot().stairs_
    assert stairs.get_label() == "concepts (2)"
    assert shares(stairs).sum() == pytest.approx(1)


def test_ends_are_named_by_the_views_and_bounds_are_marked():
    display = ModalityScoreDisplay([0.2], tau=0.1, view_names=("image", "text")).plot()
    ticks = [text.get_text() for text in display.ax_.get_xticklabels()]
    assert (ticks[0], ticks[-1]) == ("0\ntext only", "1\nimage only")
    marks = [line.get_xdata()[0] for line in display.ax_.get_lines()]
    assert_allclose(marks, [0.1, 0.9])


def test_from_codes_is_the_display_of_scores_and_mean_energies():
    rng = np.random.default_rng(0)
    X, y = rng.exponential(size=(6, 5)), rng.exponential(size=(4, 5))
    X[:, 0] = y[:, 0] = 0
    display = ModalityScoreDisplay.from_codes(sparse.csr_array(X), y, p=1, n_bins=4)
    of_x, of_y = X.mean(0), y.mean(0)
    assert np.isnan(display.scores[0])
    assert_allclose(display.scores[1:], (of_x / (of_x + of_y + (of_x == 0)))[1:])
    assert_allclose(display.energies, (of_x + of_y) / 2)
    assert len(shares(display.stairs_[0])) == 4


def test_swapping_views_mirrors_the_histograms():
    rng = np.random.default_rng(1)
    X, y = rng.exponential(size=(2, 30, 40))
    one = ModalityScoreDisplay.from_codes(X, y).stairs_
    other = ModalityScoreDisplay.from_codes(y, X).stairs_
    for stairs, mirrored in zip(one, other, strict=True):
        assert_allclose(shares(stairs), shares(mirrored)[::-1])


def test_from_estimator_shows_the_codes_of_transform(planted):
    _, ax = plt.subplots()
    display = ModalityScoreDisplay.from_estimator(
        planted.model, planted.X, planted.y, ax=ax, stairs_kw={"linewidth": 5}
    )
    expected = ModalityScoreDisplay.from_codes(
        *planted.model.transform(planted.X, planted.y)
    )
    assert_allclose(display.scores, expected.scores)
    assert display.ax_ is ax
    assert {stairs.get_linewidth() for stairs in display.stairs_} == {5}


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"scores must be in \[0, 1\] or NaN, got 2"):
        ModalityScoreDisplay([2.0]).plot()
    with pytest.raises(ValueError, match="n_bins=0 must be an int of at least 1"):
        ModalityScoreDisplay([0.5]).plot(n_bins=0)
    with pytest.raises(ValueError, match="scores are all NaN"):
        ModalityScoreDisplay([np.nan]).plot()
    with pytest.raises(ValueError, match="energies has 2 entries"):
        ModalityScoreDisplay([0.5], [1.0, 1.0]).plot()
    with pytest.raises(ValueError, match="has 3 entries"):
        ModalityScoreDisplay.from_codes(np.ones((2, 2)), np.ones((2, 3)))
