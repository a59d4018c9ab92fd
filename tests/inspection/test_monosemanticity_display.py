"""Curves of monosemanticity: sorted scores, and whose they are."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from skxsae.inspection import MonosemanticityDisplay
from skxsae.metrics import monosemanticity_score, multimodal_monosemanticity_score


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@settings(max_examples=20, deadline=None)
@given(
    arrays(np.float64, st.integers(0, 9), elements=st.floats(-1, 1) | st.just(np.nan))
)
def test_curves_are_sorted_scores(scores):
    assume(not np.isnan(scores).all())
    dropped, zero = (
        MonosemanticityDisplay(scores).plot(missing=missing).lines_[0].get_ydata()
        for missing in ("drop", "zero")
    )
    known = [score for score in scores if not np.isnan(score)]
    assert dropped.tolist() == sorted(known, reverse=True)
    filled = known + [0.0] * (len(scores) - len(known))
    assert zero.tolist() == sorted(filled, reverse=True)
    plt.close("all")


def test_names_numbers_and_means_are_in_the_legend():
    display = MonosemanticityDisplay(
        {"image": [0.5, np.nan, 0.7], "text": [np.nan]}
    ).plot()
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["image (2 of 3 latents, mean 0.60)", "text (0 of 1 latents)"]
    assert display.ax_.get_xlim() == (1, 2)
    image, text = display.lines_
    assert image.get_xdata().tolist() == [1, 2]
    assert image.get_color() != text.get_color()
    assert image.get_linestyle() != text.get_linestyle()


def test_from_estimator_scores_each_view_and_both(planted):
    rng = np.random.default_rng(0)
    x_embeddings, y_embeddings = rng.normal(size=(2, 500, 4))
    X, y = planted.X[:500], planted.y[:500]
    codes = planted.model.transform(X, y)
    display = MonosemanticityDisplay.from_estimator(
        planted.model, X, y, x_embeddings, y_embeddings=y_embeddings
    )
    expected = {
        "x": monosemanticity_score(codes[0], x_embeddings),
        "y": monosemanticity_score(codes[1], y_embeddings),
        "x with y": multimodal_monosemanticity_score(
            *codes, x_embeddings, y_embeddings
        ),
    }
    assert list(display.scores) == list(expected)
    for name, scores in expected.items():
        np.testing.assert_allclose(display.scores[name], scores, rtol=1e-5)


def test_one_set_of_embeddings_serves_both_views_of_a_pair(planted):
    X, y = planted.X[:300], planted.y[:300]
    _, ax = plt.subplots()
    options = {"across": False, "view_names": ("image", "text"), "ax": ax}
    display = MonosemanticityDisplay.from_estimator(
        planted.model, X, y, X, line_kw={"linewidth": 7}, **options
    )
    assert list(display.scores) == ["image", "text"]
    of_y = monosemanticity_score(planted.model.transform(X, y)[1], X)
    np.testing.assert_allclose(display.scores["text"], of_y, rtol=1e-5)
    assert display.ax_ is ax
    assert display.lines_[0].get_linewidth() == 7


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="missing='mean' must be 'drop' or 'zero'"):
        MonosemanticityDisplay([0.5]).plot(missing="mean")
    for scores in ([], [np.nan], {"x": [np.nan], "y": []}):
        with pytest.raises(ValueError, match="No latent has a score"):
            MonosemanticityDisplay(scores).plot()
    with pytest.raises(ValueError, match=r"1-dimensional.*got 2"):
        MonosemanticityDisplay({"x": [[0.5]]}).plot()
    with pytest.raises(ValueError, match="scores is empty"):
        MonosemanticityDisplay({}).plot()
