"""The picture of energies: which points it has, of which kind, and where."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_rgba
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skxsae.inspection import EnergyDisplay
from skxsae.inspection._plotting import BOTH_COLOR, X_COLOR, Y_COLOR

X_ENERGY = np.array([4.0, 1.0, 0.0, 0.0, 0.96, 0.05])
Y_ENERGY = np.array([0.0, 1.1, 2.0, 0.0, 0.04, 0.95])


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def offsets(points):
    return np.asarray(points.get_offsets()).tolist()


def test_points_by_kind_without_latents_that_are_dead():
    both, of_x, of_y = EnergyDisplay(X_ENERGY, Y_ENERGY).plot().points_
    assert offsets(both) == [[1.0, 1.1], [0.05, 0.95]]
    assert offsets(of_x) == [[4.0, 0.0], [0.96, 0.04]]
    assert offsets(of_y) == [[0.0, 2.0]]
    colors = [points.get_facecolor()[0, :3] for points in (both, of_x, of_y)]
    expected = [to_rgba(color)[:3] for color in (BOTH_COLOR, X_COLOR, Y_COLOR)]
    assert_allclose(colors, expected)


def test_the_legend_tells_numbers_and_shares_of_the_energy():
    display = EnergyDisplay(X_ENERGY, Y_ENERGY, view_names=("image", "text")).plot()
    texts = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert texts == [
        "both (2, 31 % of energy)",
        "image only (2, 50 % of energy)",
        "text only (1, 20 % of energy)",
    ]
    assert display.ax_.get_xlabel() == "Energy in image"
    assert display.ax_.get_ylabel() == "Energy in text"


def test_a_little_energy_is_not_none():
    points = EnergyDisplay([1.0, 1e-4], [1.0, 0.0]).plot().points_
    assert points[1].get_label() == "x only (1, < 1 % of energy)"


def test_lines_have_the_modality_scores_that_bound_the_kinds():
    display = EnergyDisplay(X_ENERGY, Y_ENERGY, tau=0.2).plot()
    scores = []
    for line in display.lines_:
        x, y = line.get_data()
        score = x / (x + y)
        assert_allclose(score, score[0])
        scores.append(score[0])
    assert_allclose(scores, [0.5, 0.2, 0.8])


@pytest.mark.parametrize(
    ("tau", "words"),
    [(0.0, "0.5"), (5e-324, "0.5"), (0.5, "0.5"), (0.1, "0.1, 0.5, 0.9")],
)
def test_lines_that_do_not_exist_are_not_drawn_nor_told(tau, words):
    display = EnergyDisplay(X_ENERGY, Y_ENERGY, tau=tau).plot()
    assert len(display.lines_) == words.count(".")
    title = display.ax_.get_legend().get_title().get_text()
    assert title.splitlines()[-1] == f"Lines: modality score {words}"


def test_concepts_that_are_left_out_are_counted():
    n_dead = np.sum(X_ENERGY + Y_ENERGY == 0)
    assert n_dead
    title = EnergyDisplay(X_ENERGY, Y_ENERGY).plot().ax_.get_legend().get_title()
    assert title.get_text().startswith(f"{n_dead} concepts are never active")
    title = EnergyDisplay([1.0], [0.0]).plot().ax_.get_legend().get_title()
    assert "never" not in title.get_text()


@settings(max_examples=20, deadline=None)
@given(
    arrays(np.float64, (2, 7), elements=st.floats(1e-9, 1e6) | st.just(0.0)),
    st.floats(0, 0.5),
)
def test_every_living_latent_is_drawn_once_inside_the_axes(energies, tau):
    plt.close("all")  # of an example before that failed
    assume(energies.any())
    display = EnergyDisplay(*energies, tau=tau).plot()
    drawn = [point for points in display.points_ for point in offsets(points)]
    alive = energies.T[energies.sum(axis=0) > 0]
    assert sorted(drawn) == sorted(alive.tolist())
    (left, right), (bottom, top) = display.ax_.get_xlim(), display.ax_.get_ylim()
    assert left == bottom == 0
    assert right == top
    assert energies.max() <= right
    plt.close("all")


@pytest.mark.parametrize("energies", [X_ENERGY, X_ENERGY * 1e-290, [1e300, 0, 1e-9]])
def test_energies_of_any_size_can_be_drawn(energies):
    display = EnergyDisplay(energies, energies[::-1]).plot()
    display.figure_.canvas.draw()
    assert len(display.lines_) == 3


def test_the_second_view_is_needed(planted):
    with pytest.raises(ValueError, match="y is None, but the picture compares two"):
        EnergyDisplay.from_estimator(planted.model, planted.X, None)


def test_from_codes_takes_the_power_and_unpaired_sparse_rows():
    rng = np.random.default_rng(0)
    X, y = rng.exponential(size=(6, 3)), rng.exponential(size=(4, 3))
    display = EnergyDisplay.from_codes(sparse.csr_array(X), y, p=1, tau=0)
    (points,) = display.points_
    assert_allclose(points.get_offsets(), np.column_stack([X.mean(0), y.mean(0)]))
    squared = EnergyDisplay.from_codes(X.astype(np.float32), y, tau=0)
    assert_allclose(squared.x_energy, (X**2).mean(0), rtol=1e-6)


def test_swapping_views_swaps_the_axes():
    one = EnergyDisplay(X_ENERGY, Y_ENERGY).plot()
    other = EnergyDisplay(Y_ENERGY, X_ENERGY).plot()
    swapped = [one.points_[i] for i in (0, 2, 1)]
    for points, mirrored in zip(other.points_, swapped, strict=True):
        assert offsets(points) == [point[::-1] for point in offsets(mirrored)]


def test_from_estimator_shows_the_codes_of_transform(planted):
    _, ax = plt.subplots()
    display = EnergyDisplay.from_estimator(
        planted.model, planted.X, planted.y, ax=ax, scatter_kw={"marker": "x"}
    )
    codes = planted.model.transform(planted.X, planted.y)
    for energies, Z in zip((display.x_energy, display.y_energy), codes, strict=True):
        assert_allclose(energies, (Z.toarray().astype(float) ** 2).mean(0), rtol=1e-6)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="x_energy must be >= 0, got -1"):
        EnergyDisplay([-1.0], [0.0]).plot()
    with pytest.raises(ValueError, match="x_energy and y_energy are all 0"):
        EnergyDisplay([0.0], [0.0]).plot()
    with pytest.raises(ValueError, match="y_energy has 2 entries"):
        EnergyDisplay([1.0], [0.0, 1.0]).plot()
    assert_array_equal(plt.get_fignums(), [])
