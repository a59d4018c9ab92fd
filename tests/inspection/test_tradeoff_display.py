"""Figure 6: alignment against reconstruction, and both over the weight."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from skxsae.inspection import TradeoffDisplay

VALUES = {
    ("iso", "recovery"): {4.0: 0.4, 0.25: 0.1, 1.0: 0.2},
    ("iso", "latent"): {4.0: 0.1, 0.25: 0.9, 1.0: 0.5},
    ("iso", "feature"): {4.0: 0.2, 0.25: 0.8, 1.0: 0.6},
    ("post hoc", "recovery"): {1.0: 0.15},
    ("post hoc", "latent"): {1.0: 0.3},
    ("post hoc", "feature"): {1.0: 0.35},
}
FRAME = pd.DataFrame(
    [
        {"method": method, "metric": metric, "multiplier": m, "mean": mean}
        for (method, metric), means in VALUES.items()
        for m, mean in means.items()
    ]
)
METRICS = {"reconstruction": "recovery", "alignment": ["latent", "feature"]}


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_the_plane_goes_along_the_weights():
    display = TradeoffDisplay(FRAME, **METRICS).plot()
    assert len(display.axes_) == 2
    iso, post_hoc = display.lines_[0]
    np.testing.assert_allclose(iso.lines[0].get_xdata(), [0.1, 0.2, 0.4])
    np.testing.assert_allclose(iso.lines[0].get_ydata(), [0.9, 0.5, 0.1])
    np.testing.assert_allclose(post_hoc.lines[0].get_xydata(), [[0.15, 0.3]])
    ax = display.axes_[1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("recovery", "feature")
    assert [text.get_text() for text in ax.texts] == ["1/4", "1", "4"]
    assert [text.xy for text in ax.texts] == [(0.1, 0.8), (0.2, 0.6), (0.4, 0.2)]


def test_errors_are_those_of_their_own_measure():
    errors = np.arange(1, len(FRAME) + 1) / 100
    display = TradeoffDisplay(
        FRAME.assign(standard_error=errors),
        reconstruction="recovery",
        alignment="latent",
        methods=["post hoc"],
    ).plot()
    ((line,),) = display.lines_
    across, along = (bars.get_segments()[0] for bars in line.lines[2])
    of = FRAME.assign(e=errors).set_index(["method", "metric"])["e"]
    half_x = of["post hoc", "recovery"].item()
    half_y = of["post hoc", "latent"].item()
    np.testing.assert_allclose(across[:, 0], [0.15 - half_x, 0.15 + half_x])
    np.testing.assert_allclose(along[:, 1], [0.3 - half_y, 0.3 + half_y])


def test_panels_have_the_weight_below_and_dashed_lines_for_none():
    display = TradeoffDisplay(FRAME, **METRICS).plot(kind="panels")
    titles = [ax.get_title() for ax in display.axes_]
    assert titles == ["recovery", "latent", "feature"]
    iso, post_hoc = display.lines_[1]
    np.testing.assert_allclose(iso.lines[0].get_xdata(), [0.25, 1, 4])
    np.testing.assert_allclose(iso.lines[0].get_ydata(), [0.9, 0.5, 0.1])
    assert set(post_hoc.get_ydata()) == {0.3}
    assert post_hoc.get_linestyle() == "--"
    ticks = [text.get_text() for text in display.axes_[0].get_xticklabels()]
    assert ticks == ["1/4", "1", "4"]


def test_labels_say_which_way_is_better():
    options = {**METRICS, "lower_is_better": ["latent", "recovery"]}
    plane = TradeoffDisplay(FRAME, **options).plot().axes_
    assert plane[0].get_xlabel() == "recovery\n(lower is better)"
    labels = [ax.get_ylabel() for ax in plane]
    assert labels == ["latent\n(lower is better)", "feature\n(higher is better)"]
    panels = TradeoffDisplay(FRAME, **options).plot(kind="panels").axes_
    labels = [ax.get_ylabel() for ax in panels]
    assert labels == ["Lower is better", "Lower is better", "Higher is better"]
    with pytest.raises(ValueError, match=r"lower_is_better=.*must be among"):
        TradeoffDisplay(FRAME, **METRICS, lower_is_better=["mse"]).plot()


@pytest.mark.parametrize("kind", ["plane", "panels"])
def test_colors_and_names_belong_to_the_methods(kind):
    display = TradeoffDisplay(FRAME, **METRICS).plot(kind=kind)
    (legend,) = display.figure_.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["iso", "post hoc"]


def test_weights_that_would_overlap_are_written_once():
    frame = pd.concat([FRAME, FRAME.replace({"method": {"iso": "twin"}})[:9]])
    display = TradeoffDisplay(frame, **METRICS).plot()
    assert [text.get_text() for text in display.axes_[0].texts] == ["1/4", "1", "4"]
    assert len(display.lines_[0]) == 3


def test_a_method_without_one_of_the_measures_is_left_out():
    frame = FRAME[~((FRAME["method"] == "post hoc") & (FRAME["metric"] == "latent"))]
    for kind in ("plane", "panels"):
        display = TradeoffDisplay(frame, **METRICS).plot(kind=kind)
        of_latent = display.lines_[display.axes_.tolist().index(display.axes_[-2])]
        assert [line.get_label() for line in of_latent] == ["iso"]


@pytest.mark.parametrize(
    ("multiplier", "text"), [(1 / 64, "1/64"), (64.0, "64"), (1.5, "1.5"), (0.3, "0.3")]
)
def test_weights_in_words(multiplier, text):
    frame = FRAME.replace({"multiplier": {4.0: multiplier}})
    frame = frame[frame["multiplier"] != 0.25]
    display = TradeoffDisplay(frame, **METRICS).plot()
    assert text in [label.get_text() for label in display.axes_[0].texts]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="kind='line' must be 'plane' or 'panels'"):
        TradeoffDisplay(FRAME, **METRICS).plot(kind="line")
    with pytest.raises(ValueError, match=r"reconstruction=.*must be among"):
        TradeoffDisplay(FRAME, reconstruction="mse", alignment="latent").plot()
    with pytest.raises(ValueError, match=r"alignment=.*must be among"):
        TradeoffDisplay(FRAME, reconstruction="recovery", alignment="mse").plot()
