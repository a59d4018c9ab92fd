"""Histograms of distances to neighbours, judged by sorting all distances."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skxsae.inspection import NeighborDistanceDisplay
from skxsae.metrics import ood_score

RNG = np.random.default_rng(0)
NATIVE, OTHERS = RNG.normal(size=(40, 3)), RNG.normal(size=(25, 3)) + 2


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def kth_distances(queries, targets, k, own=False):
    def unit(rows):
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    distances = 1 - unit(queries) @ unit(targets).T
    if own:
        np.fill_diagonal(distances, np.inf)
    return np.sort(distances, axis=1)[:, k - 1]


def test_distances_and_scores_are_those_of_each_panel():
    display = NeighborDistanceDisplay.from_arrays(
        {"before": (NATIVE, OTHERS), "after": (NATIVE, NATIVE[:9])}, k=3
    )
    native, others = display.distances["before"]
    np.testing.assert_allclose(native, kth_distances(NATIVE, NATIVE, 3, own=True))
    np.testing.assert_allclose(others, kth_distances(OTHERS, NATIVE, 3))
    expected = ood_score(OTHERS, NATIVE, k=3)
    assert display.scores_["before"] == pytest.approx(expected)
    assert display.axes_[0].get_title() == f"before\nOOD score {expected:.2f}"
    assert display.axes_[1].get_xlabel() == (
        "Cosine distance to\nthe 3rd neighbour in x"
    )
    (legend,) = display.figure_.legends  # one for all panels
    assert [text.get_text() for text in legend.get_texts()] == ["x", "y"]


@pytest.mark.parametrize("sharex", [True, False])
def test_histograms_have_area_1_and_one_set_of_bins_if_shared(sharex):
    distances = {"near": (RNG.random(50), RNG.random(20)), "far": ([2.0], [1.5, 1.7])}
    display = NeighborDistanceDisplay(distances).plot(n_bins=8, sharex=sharex)
    edges = []
    for (native, others), stairs in zip(
        distances.values(), display.stairs_, strict=True
    ):
        for values, patch in zip((native, others), stairs, strict=True):
            data = patch.get_data()
            expected = np.histogram(values, data.edges, density=True)[0]
            np.testing.assert_allclose(data.values, expected)
            assert data.values @ np.diff(data.edges) == pytest.approx(1)
            edges.append(data.edges)
    assert len(edges[0]) == 9
    np.testing.assert_array_equal(edges[0], edges[1])
    assert np.array_equal(edges[1], edges[2]) is sharex


def test_names_axes_and_keywords_are_used():
    _, ax = plt.subplots()
    display = NeighborDistanceDisplay({"": ([1.0, 0.5], [2.0])}, view_names=("i", "t"))
    display.plot(ax, stairs_kw={"alpha": 0.2})
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["i", "t"]
    assert display.axes_.tolist() == [ax]
    assert {patch.get_alpha() for patch in display.stairs_[0]} == {0.2}


def test_equal_distances_tell_nothing():
    display = NeighborDistanceDisplay({"a": ([1.0, 1.0], [1.0])}).plot()
    assert display.scores_["a"] == 0.5


@pytest.mark.parametrize(
    ("k", "words"), [(1, "1st"), (2, "2nd"), (10, "10th"), (11, "11th"), (112, "112th")]
)
def test_neighbours_are_counted_in_words(k, words):
    display = NeighborDistanceDisplay({"a": ([1.0], [1.0])}, k=k).plot()
    assert f"the {words} neighbour" in display.axes_[0].get_xlabel()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="distances is empty"):
        NeighborDistanceDisplay({}).plot()
    with pytest.raises(ValueError, match="n_bins=0 must be"):
        NeighborDistanceDisplay({"a": ([1.0], [1.0])}).plot(n_bins=0)
    for wrong in (NATIVE, (NATIVE,), NATIVE[:2], (NATIVE, [1.0, 2.0])):
        with pytest.raises(ValueError, match=r"arrays\['a'\] must be two arrays"):
            NeighborDistanceDisplay.from_arrays({"a": wrong})
    for two in (([1.0], []), ([1.0], [np.nan]), ([1.0],)):
        with pytest.raises(ValueError, match=r"distances\['a'\] must be two lists"):
            NeighborDistanceDisplay({"a": two}).plot()
