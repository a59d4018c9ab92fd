"""Curves of steering: which column of which method is drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skxsae.inspection import SteeringDisplay
from skxsae.metrics import steering_scores

STRENGTHS = [0.0, 0.1, 2.0]
TABLE = pd.DataFrame(
    {"mAP": [0.1, 0.2, 0.3], "MRR": [0.4, 0.5, 0.6], "P@10": [0.7, 0.8, 0.9]},
    index=pd.Index(STRENGTHS, name="strength"),
)


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_a_panel_for_each_measure_and_a_line_for_each_method():
    display = SteeringDisplay({"ours": TABLE, "theirs": TABLE / 2}).plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["mAP", "MRR"]
    ours, theirs = display.lines_[1]
    assert ours.get_xdata().tolist() == STRENGTHS
    assert ours.get_ydata().tolist() == [0.4, 0.5, 0.6]
    assert theirs.get_ydata().tolist() == [0.2, 0.25, 0.3]
    (legend,) = display.figure_.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ours", "theirs"]
    ticks = [text.get_text() for text in display.axes_[0].get_xticklabels()]
    assert ticks == ["0", "0.1", "2"]
    assert display.axes_[0].get_xscale() == "symlog"


def test_a_result_is_drawn_as_its_table():
    rng = np.random.default_rng(0)
    relevance = rng.random((30, 2)) < 0.3
    result = steering_scores(
        np.flatnonzero(~relevance.any(axis=1))[:4],
        rng.normal(size=(30, 5)),
        rng.normal(size=(2, 5)),
        relevance,
        strengths=[0, 1],
        k=3,
    )
    display = SteeringDisplay(result, measures=["R@3", "mAP"]).plot()
    table = result.to_frame()
    for (line,), measure in zip(display.lines_, ["R@3", "mAP"], strict=True):
        np.testing.assert_allclose(line.get_ydata(), table[measure])
    assert display.figure_.legends == []
    assert display.axes_[0].get_xscale() == "linear"


def test_given_axes_and_keywords_are_used():
    _, ax = plt.subplots()
    display = SteeringDisplay({"a": TABLE}, measures="P@10")
    ((line,),) = display.plot(ax, line_kw={"linewidth": 5}).lines_
    assert line.axes is ax
    assert line.get_linewidth() == 5
    assert line.get_ydata().tolist() == [0.7, 0.8, 0.9]


def test_lines_that_lie_on_each_other_can_be_told():
    display = SteeringDisplay({"ours": TABLE, "theirs": TABLE}).plot()
    ours, theirs = display.lines_[0]
    assert ours.get_linestyle() != theirs.get_linestyle()
    assert ours.get_marker() != theirs.get_marker()
    assert theirs.get_markerfacecolor() == "none"


def test_only_the_strength_0_can_be_drawn():
    display = SteeringDisplay(TABLE.iloc[:1]).plot()
    display.figure_.canvas.draw()
    assert display.lines_[0][0].get_ydata().tolist() == [0.1]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"measures=.*must be among.*'mAP'"):
        SteeringDisplay(TABLE, measures=["NDCG@10"]).plot()
    for scores, name in (([1, 2], "list"), ({"a": 3.0}, "float")):
        with pytest.raises(TypeError, match=f"steering_scores returned.*got {name}"):
            SteeringDisplay(scores).plot()
    with pytest.raises(ValueError, match="scores is empty"):
        SteeringDisplay({}).plot()
