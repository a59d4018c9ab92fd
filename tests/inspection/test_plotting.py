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


@pytest.mark.parametrize("n_panels", [1, 3])
def test_panels_are_in_one_figure(n_panels):
    axes = panel_axes("f", None, n_panels)
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


def test_styles_differ_and_come_again():
    styles = [tuple(style_of(i).values()) for i in range(len(COLORS))]
    assert len(set(styles)) == len(COLORS)
    assert style_of(len(COLORS)) == style_of(0)


@pytest.mark.parametrize("names", ["xy", ("x",), ("x", "y", "z")])
def test_view_names_must_be_two(names):
    with pytest.raises(ValueError, match="must be two names"):
        check_view_names(names)


def test_things_by_name():
    assert by_name(3, what="scores") == {"": 3}
    assert by_name({"a": 3}, what="scores") == {"a": 3}
    with pytest.raises(ValueError, match="scores is empty"):
        by_name({}, what="scores")
