"""Checks of measurements, and lines of several methods."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skxsae.inspection._sweep import (
    add_legend,
    check_measurements,
    check_names,
    draw_sweep,
)

FRAME = pd.DataFrame(
    {
        "method": ["a", "a", "b"],
        "alpha": [1.0, 0.0, 0.0],
        "metric": "error",
        "mean": [1.0, 2.0, 3.0],
        "standard_error": [0.1, np.nan, 0.3],
    }
)


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_unknown_errors_are_none():
    assert check_measurements(FRAME, "alpha")["standard_error"].tolist() == [
        0.1,
        0,
        0.3,
    ]
    without = check_measurements(FRAME.drop(columns="standard_error"), "alpha")
    assert without["standard_error"].tolist() == [0, 0, 0]
    assert "standard_error" in FRAME


def test_frames_that_do_not_fit_are_refused():
    with pytest.raises(TypeError, match="must be a DataFrame, got list"):
        check_measurements([1], "alpha")
    with pytest.raises(ValueError, match="no column 'multiplier'"):
        check_measurements(FRAME, "multiplier")
    twice = pd.concat([FRAME, FRAME.iloc[:1]])
    with pytest.raises(ValueError, match="more than one row for 'error' of 'a' at alp"):
        check_measurements(twice, "alpha")


def test_names_are_those_of_the_column_in_the_given_order():
    assert check_names(None, FRAME["method"], "methods") == ["a", "b"]
    assert check_names(["b", "a"], FRAME["method"], "methods") == ["b", "a"]
    assert check_names("b", FRAME["method"], "methods") == ["b"]
    for names in (["c"], []):
        with pytest.raises(ValueError, match=r"methods=.* must be among.*'a', 'b'"):
            check_names(names, FRAME["method"], "methods")


def test_lines_are_sorted_and_have_error_bars():
    _, ax = plt.subplots()
    table = check_measurements(FRAME, "alpha")
    a, b = draw_sweep(ax, table, "alpha", ["a", "b"])
    assert a.lines[0].get_xdata().tolist() == [0, 1]
    assert a.lines[0].get_ydata().tolist() == [2, 1]
    (bars,) = b.lines[2]
    np.testing.assert_allclose(bars.get_segments()[0], [[0, 2.7], [0, 3.3]])
    assert a.lines[0].get_color() != b.lines[0].get_color()
    assert draw_sweep(ax, table, "alpha", ["nobody"]) == []


@pytest.mark.parametrize("own_figure", [True, False])
def test_one_legend_for_all_panels(own_figure):
    figure, axes = plt.subplots(1, 2, layout="constrained")
    for ax in axes:
        draw_sweep(ax, check_measurements(FRAME, "alpha"), "alpha", ["a", "b"])
    add_legend(axes, own_figure, ["b", "a", "nobody"])
    legends = [*figure.legends, *(ax.get_legend() for ax in axes if ax.get_legend())]
    (legend,) = legends
    assert [text.get_text() for text in legend.get_texts()] == ["b", "a"]
    assert bool(figure.legends) is own_figure
