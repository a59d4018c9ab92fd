"""Figure 5: what is drawn of a table of measurements."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skxsae.inspection import AlphaSweepDisplay

FRAME = pd.DataFrame(
    [
        {"method": m, "alpha": a, "metric": q, "mean": mean, "standard_error": 0.1}
        for m, q, means in [
            ("shared", "collapse", [0.0, 1.0, 0.5]),
            ("shared", "recovery", [0.1, 0.2, 0.3]),
            ("separate", "collapse", [0.0, 0.0, 0.0]),
            ("separate", "recovery", [0.4, 0.5, 0.6]),
        ]
        for a, mean in zip([0.0, 1.0, 0.5], means, strict=True)
    ]
)


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_a_panel_for_each_metric_over_the_distance():
    display = AlphaSweepDisplay(FRAME).plot()
    assert [ax.get_title() for ax in display.axes_] == ["collapse", "recovery"]
    line = display.lines_[0][0].lines[0]
    np.testing.assert_allclose(line.get_xdata(), [0, 0.5, 1])
    np.testing.assert_allclose(line.get_ydata(), [1, 0.5, 0])
    assert [line.get_label() for line in display.lines_[1]] == ["shared", "separate"]
    assert display.figure_ is display.axes_[1].figure
    assert display.axes_[0].get_ylim()[0] <= 0


def test_rows_in_any_order_give_the_same_lines():
    one = AlphaSweepDisplay(FRAME).plot()
    other = AlphaSweepDisplay(
        FRAME.sample(frac=1, random_state=0),
        metrics=["collapse", "recovery"],
        methods=["shared", "separate"],
    ).plot()
    for lines, same in zip(one.lines_, other.lines_, strict=True):
        for line, twin in zip(lines, same, strict=True):
            np.testing.assert_array_equal(
                line.lines[0].get_data(), twin.lines[0].get_data()
            )


def test_metrics_and_methods_choose_and_order():
    display = AlphaSweepDisplay(
        FRAME, metrics=["recovery"], methods=["separate", "shared"]
    ).plot(line_kw={"linewidth": 4})
    ((first, second),) = display.lines_
    assert (first.get_label(), second.get_label()) == ("separate", "shared")
    assert first.lines[0].get_linewidth() == 4


def test_labels_say_which_way_is_better():
    for lower, labels in (
        (None, ["", ""]),
        ([], ["Higher is better"] * 2),
        (["recovery"], ["Higher is better", "Lower is better"]),
    ):
        display = AlphaSweepDisplay(FRAME, lower_is_better=lower).plot()
        assert [ax.get_ylabel() for ax in display.axes_] == labels


def test_given_axes_are_used():
    _, axes = plt.subplots(1, 2)
    display = AlphaSweepDisplay(FRAME).plot(axes)
    assert list(display.axes_) == list(axes)
    assert axes[0].get_legend() is not None
    with pytest.raises(ValueError, match="1 axes, but there are 2 panels"):
        AlphaSweepDisplay(FRAME).plot(axes[0])


def test_several_experiments_at_once_are_refused():
    both = pd.concat([FRAME, FRAME])
    with pytest.raises(ValueError, match="more than one row"):
        AlphaSweepDisplay(both).plot()
    with pytest.raises(ValueError, match="metrics="):
        AlphaSweepDisplay(FRAME, metrics=["fvu"]).plot()
