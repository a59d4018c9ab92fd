"""The stability curve: dots, running means, and their names."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skxsae.inspection import StabilityDisplay
from skxsae.metrics import stability_curve, stability_score

RNG = np.random.default_rng(0)
FIRST = RNG.normal(size=(9, 4))
SECOND = FIRST[RNG.permutation(9)] + 0.3 * RNG.normal(size=(9, 4))
ENERGIES = RNG.exponential(size=9)
CURVE = stability_curve(FIRST, SECOND, ENERGIES)


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_dots_are_pairs_and_the_line_ends_at_the_score():
    display = StabilityDisplay(CURVE).plot()
    (points,), (line,) = display.points_, display.lines_
    expected = np.column_stack([CURVE.index, CURVE["cosine"]])
    np.testing.assert_allclose(points.get_offsets(), expected)
    assert line.get_ydata()[-1] == pytest.approx(stability_score(FIRST, SECOND))
    assert display.ax_.get_xscale() == "log"
    assert "Cosine" in display.ax_.get_ylabel()
    assert display.ax_.get_ylim()[0] <= 0
    assert display.ax_.get_ylim()[1] >= 1


def test_several_curves_have_names_scores_and_colours():
    display = StabilityDisplay({"seeds": CURVE, "data": CURVE.iloc[:2]}).plot()
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    means = CURVE["mean"].iloc[-1], CURVE["mean"].iloc[1]
    assert texts == [f"seeds: {means[0]:.2f}", f"data: {means[1]:.2f}"]
    first, second = display.lines_
    assert first.get_color() != second.get_color()
    assert len(second.get_xdata()) == 2


@pytest.mark.parametrize("form", ["cosine", "angle"])
def test_from_dictionaries_is_the_display_of_the_curve(form):
    _, ax = plt.subplots()
    of_other = RNG.exponential(size=9)
    display = StabilityDisplay.from_dictionaries(
        FIRST,
        SECOND,
        ENERGIES,
        other_energies=of_other,
        form=form,
        ax=ax,
        line_kw={"linewidth": 6},
        scatter_kw={"s": 4},
    )
    expected = stability_curve(
        FIRST,
        SECOND,
        ENERGIES,
        other_energies=of_other,
        form=form,
        null="moments",
        random_state=0,
    )
    assert display.curves.equals(expected)
    assert display.ax_ is ax
    assert display.lines_[0].get_linewidth() == 6
    assert display.points_[0].get_sizes().tolist() == [4]
    assert form in ax.get_ylabel().lower()


def test_random_directions_are_a_dotted_line():
    options = {"null": "uniform", "random_state": 3}
    display = StabilityDisplay.from_dictionaries(FIRST, SECOND, ENERGIES, **options)
    curve = stability_curve(FIRST, SECOND, ENERGIES, **options)
    (line,) = display.chance_lines_
    np.testing.assert_array_equal(line.get_ydata(), curve["chance"])
    assert line.get_linestyle() == ":"
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == ["mean up to the rank", "random directions"]
    named = StabilityDisplay({"a": curve, "b": CURVE}).plot()
    texts = [text.get_text() for text in named.ax_.get_legend().get_texts()]
    assert texts[0].endswith(f" (random {curve['chance'].iloc[-1]:.2f})")
    assert "random" not in texts[1]
    assert len(named.chance_lines_) == 1
    assert "dotted" in named.ax_.get_legend().get_title().get_text()
    without = StabilityDisplay.from_dictionaries(FIRST, SECOND, ENERGIES, null=None)
    assert without.chance_lines_ == []


def test_cosines_and_angles_do_not_mix():
    angles = stability_curve(FIRST, SECOND, ENERGIES, form="angle")
    for curves in (
        {"a": CURVE, "b": angles},
        CURVE.drop(columns="cosine"),
        CURVE.drop(columns="mean"),
    ):
        with pytest.raises(ValueError, match="curves must all have the columns"):
            StabilityDisplay(curves).plot()
