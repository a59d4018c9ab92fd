"""The map of a dictionary: who is on it, where, how large and in which colour."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skxsae import TopKSAE
from skxsae.inspection import DictionaryMapDisplay

RNG = np.random.default_rng(0)
COMPONENTS = RNG.normal(size=(12, 5))
SCORES = np.array([0.0, 1.0, 0.5, np.nan, *RNG.random(8)])
ENERGIES = np.where(np.isnan(SCORES), 0, RNG.exponential(size=12))


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_points_are_the_living_by_falling_energy():
    places = RNG.normal(size=(12, 2))
    points = DictionaryMapDisplay(places, SCORES, ENERGIES).plot().points_
    order = [i for i in np.argsort(-ENERGIES) if not np.isnan(SCORES[i])]
    assert_allclose(points.get_offsets(), places[order])
    assert_allclose(points.get_array(), SCORES[order])
    areas = points.get_sizes()
    assert_allclose(areas, 6 + 144 * np.sqrt(ENERGIES[order] / ENERGIES.max()))
    assert areas[0] == pytest.approx(150)


def test_the_legend_tells_the_energy_of_three_areas():
    display = DictionaryMapDisplay(np.zeros((12, 2)), SCORES, ENERGIES).plot()
    texts = [text.get_text() for text in display.legend_.get_texts()]
    expected = [f"{share * ENERGIES.max():.2g}" for share in (0.01, 0.1, 1)]
    assert texts == ["Energy:", *expected]
    areas = [handle.get_sizes()[0] for handle in display.legend_.legend_handles]
    assert_allclose(areas, [0, *(6 + 144 * np.sqrt([0.01, 0.1, 1]))])
    given = DictionaryMapDisplay(np.zeros((12, 2)), SCORES, ENERGIES)
    assert given.plot(scatter_kw={"s": 4}).legend_ is None


def test_without_energies_points_are_equal():
    points = DictionaryMapDisplay(np.zeros((12, 2)), SCORES).plot().points_
    assert len(np.unique(points.get_sizes())) == 1
    assert len(points.get_offsets()) == 11


def test_colours_run_from_0_to_1_whatever_the_scores():
    display = DictionaryMapDisplay(
        np.zeros((2, 2)), [0.4, 0.6], view_names=("image", "text")
    ).plot(cmap="viridis")
    assert display.points_.get_clim() == (0, 1)
    assert display.points_.get_cmap().name == "viridis"
    labels = [text.get_text() for text in display.colorbar_.ax.get_yticklabels()]
    assert labels == ["text only", "both", "image only"]


def test_places_are_principal_components_of_the_unit_directions():
    components = COMPONENTS * RNG.uniform(0.1, 9, size=(12, 1))
    components[5] = np.nan
    display = DictionaryMapDisplay.from_components(components, SCORES, ENERGIES)
    shown = ~np.isnan(SCORES)
    shown[5] = False
    unit = components[shown] / np.linalg.norm(components[shown], axis=1, keepdims=True)
    centred = unit - unit.mean(axis=0)
    U, S, _ = np.linalg.svd(centred)
    expected = U[:, :2] * S[:2]
    assert_allclose(np.abs(display.places[shown]), np.abs(expected), atol=1e-5)
    assert np.isnan(display.places[~shown]).all()
    shares = 100 * S**2 / np.sum(S**2)
    labels = display.ax_.get_xlabel(), display.ax_.get_ylabel()
    assert labels == (
        "First principal component of the\n"
        f"directions ({shares[0]:.0f} % of the variance)",
        f"Second principal component ({shares[1]:.0f} % of the variance)",
    )


def test_permuting_latents_permutes_places():
    order = RNG.permutation(12)
    one = DictionaryMapDisplay.from_components(COMPONENTS, SCORES, ENERGIES)
    other = DictionaryMapDisplay.from_components(
        COMPONENTS[order], SCORES[order], ENERGIES[order]
    )
    assert_allclose(np.abs(other.places), np.abs(one.places[order]), atol=1e-5)


def test_tsne_is_another_layout_with_a_seed():
    maps = [
        DictionaryMapDisplay.from_components(
            COMPONENTS, SCORES, layout="tsne", random_state=seed
        )
        for seed in (0, 0)
    ]
    assert_array_equal(maps[0].places, maps[1].places)
    pca = DictionaryMapDisplay.from_components(COMPONENTS, SCORES)
    assert not np.allclose(maps[0].places, pca.places, equal_nan=True)
    assert "t-SNE" in maps[0].ax_.get_xlabel()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_dictionaries(n):
    for layout in ("pca", "tsne"):
        display = DictionaryMapDisplay.from_components(
            COMPONENTS[:n], np.full(n, 0.5), layout=layout
        )
        assert np.isfinite(display.places).all()


def test_from_estimator_places_concepts_by_both_directions(planted):
    _, ax = plt.subplots()
    display = DictionaryMapDisplay.from_estimator(
        planted.model, planted.X, planted.y, ax=ax, scatter_kw={"s": 3}
    )
    of_x, of_y = (
        (Z.toarray().astype(float) ** 2).mean(0)
        for Z in planted.model.transform(planted.X, planted.y)
    )
    alive = of_x + of_y > 0
    scores = of_x[alive] / (of_x + of_y)[alive]
    assert_allclose(display.scores[alive], scores, rtol=1e-5)
    assert_allclose(display.energies, (of_x + of_y) / 2, rtol=1e-5)
    assert np.isfinite(display.places[alive]).all()
    assert display.ax_ is ax
    assert display.points_.get_sizes().tolist() == [3]
    assert "of the\ndirections in both views, side by side" in ax.get_xlabel()


def test_one_dictionary_has_one_direction_for_a_concept(planted):
    sae = TopKSAE(16, 4, max_iter=1, random_state=0).fit(planted.X)
    display = DictionaryMapDisplay.from_estimator(sae, planted.X, planted.y)
    assert "of the\ndirections (" in display.ax_.get_xlabel()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"places has shape \(3, 2\).*2 scores"):
        DictionaryMapDisplay(np.zeros((3, 2)), [0.5, 0.5]).plot()
    with pytest.raises(ValueError, match="layout='umap' must be 'pca' or 'tsne'"):
        DictionaryMapDisplay.from_components(COMPONENTS, SCORES, layout="umap")
    with pytest.raises(ValueError, match="scores has 2 entries and components 12"):
        DictionaryMapDisplay.from_components(COMPONENTS, [0.5, 0.5])
    with pytest.raises(ValueError, match="No concept with a direction is active"):
        DictionaryMapDisplay.from_components(COMPONENTS, np.full(12, np.nan))
