"""What the displays share: axes, colours, and the error without matplotlib."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skxsae.inspection._plotting import (
    BOTH_COLOR,
    COLORS,
    X_COLOR,
    Y_COLOR,
    by_name,
    check_view_names,
    modality_colormap,
    one_axes,
    panel_axes,
    style_of,
)


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_new_axes_are_of_a_new_figure_and_given_ones_are_used():
    first, second = one_axes("f", None), one_axes("f", None)
    assert first.figure is not second.figure
    assert one_axes("f", first) is first
    assert len(plt.get_fignums()) == 2


@pytest.mark.parametrize(
    ("n_panels", "rows", "columns"),
    [(1, 1, 1), (3, 1, 3), (4, 2, 2), (5, 2, 3), (6, 2, 3), (7, 3, 3)],
)
def test_panels_are_rows_of_one_figure(n_panels, rows, columns):
    axes = panel_axes("f", None, n_panels, sharex=True)
    grid = axes[0].get_gridspec()
    assert (grid.nrows, grid.ncols) == (rows, columns)
    assert len(axes[0].figure.axes) == n_panels
    assert axes[0].figure.get_figwidth() < 12
    axes[0].figure.canvas.draw()
    for ax in axes:  # all have numbers below
        assert ax.get_xticklabels()[0].get_visible()
    assert axes.shape == (n_panels,)
    assert len({ax.figure for ax in axes}) == 1
    assert panel_axes("f", axes[0], 1)[0] is axes[0]
    assert list(panel_axes("f", list(axes), n_panels)) == list(axes)


def test_a_wrong_number_of_axes_is_refused():
    _, axes = plt.subplots(1, 2)
    with pytest.raises(ValueError, match=r"ax has 2 axes, but there are 3 panels"):
        panel_axes("f", axes, 3)


def test_without_matplotlib_the_error_names_caller_and_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for make in (lambda: one_axes("A.plot", None), lambda: panel_axes("A.plot", 0, 1)):
        with pytest.raises(ImportError, match=r"A.plot requires.*'skxsae\[plot\]'"):
            make()


def test_colors_of_kinds_are_the_ends_and_the_middle_of_the_map():
    from matplotlib.colors import to_rgb

    cmap = modality_colormap()
    for score, color in ((0.0, Y_COLOR), (0.5, BOTH_COLOR), (1.0, X_COLOR)):
        np.testing.assert_allclose(cmap(score)[:3], to_rgb(color), atol=0.01)


def test_styles_differ_though_colours_come_again():
    styles = [style_of(i) for i in range(4 * len(COLORS))]
    assert len({tuple(style.values()) for style in styles}) == len(styles)
    again = styles[len(COLORS)]
    assert again["color"] == styles[0]["color"]
    assert again["marker"] != styles[0]["marker"]
    assert again["linestyle"] != styles[0]["linestyle"]


@pytest.mark.parametrize("names", ["xy", ("x",), ("x", "y", "z")])
def test_view_names_must_be_two(names):
    with pytest.raises(ValueError, match="must be two names"):
        check_view_names(names)


def test_things_by_name():
    assert by_name(3, what="scores") == {"": 3}
    assert by_name({"a": 3}, what="scores") == {"a": 3}
    with pytest.raises(ValueError, match="scores is empty"):
        by_name({}, what="scores")
