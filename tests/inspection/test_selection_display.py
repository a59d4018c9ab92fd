"""Scores over a grid of settings, and their picture."""

import sys
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skxsae import PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_paired_features
from skxsae.inspection import SelectionDisplay
from skxsae.metrics import (
    explained_variance_ratio,
    recall_at_k_score,
    stability_chance,
)
from skxsae.model_selection._split import split_pairs

DATA = make_paired_features(
    400,
    n_features=16,
    n_shared=12,
    n_x_only=2,
    n_y_only=2,
    sparsity=0.85,
    max_interference=0.8,
    random_state=0,
)
GROUPS = np.arange(400) // 2
SCORES = ["explained_variance", "matches_above_noise", "stability", "recall"]
VIEW = TopKSAE(max_iter=4)


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def make_results(n_latents=(16, 32), k=(1, 2, 4)):
    settings = [{"k": a, "n_latents": m} for m in n_latents for a in k]
    values = np.random.default_rng(0).random((len(settings), 4))
    return pd.concat(
        [pd.DataFrame(settings), pd.DataFrame(values, columns=SCORES)], axis=1
    )


def mean_cosine(first, second):
    unit = [
        part / np.linalg.norm(part, axis=1, keepdims=True) for part in (first, second)
    ]
    cosines = unit[0] @ unit[1].T
    return cosines[linear_sum_assignment(cosines, maximize=True)].mean()


def present(components):
    return components[components.any(axis=1)]


@pytest.mark.filterwarnings("ignore:Only .* matches score above")
@pytest.mark.parametrize("n_seeds", [1, 2, 3])
def test_scores_are_those_of_fits_by_hand(n_seeds):
    estimator = PostHocAlignedSAE(x_sae=VIEW, y_sae=VIEW)
    display = SelectionDisplay.from_estimator(
        estimator,
        DATA.X,
        DATA.y,
        k=[2],
        n_latents=[24],
        groups=GROUPS,
        n_seeds=n_seeds,
        recall_k=3,
        random_state=0,
    )
    (row,) = display.to_frame().to_dict("records")
    random_state = np.random.RandomState(0)
    (X, y, groups), (X_test, y_test, groups_test) = split_pairs(
        DATA.X, DATA.y, GROUPS, 0.25, random_state
    )
    explained, recall, above, fits = [], [], [], []
    all_seeds = random_state.randint(2**31 - 1, size=n_seeds)
    for seed in all_seeds:
        stream = np.random.RandomState(seed)
        view = TopKSAE(24, 2, max_iter=4)
        sae = PostHocAlignedSAE(x_sae=view, y_sae=view)
        names = sorted(n for n in sae.get_params() if n.endswith("random_state"))
        seeds = {n: stream.randint(np.iinfo(np.int32).max) for n in names}
        sae.set_params(y_sae=TopKSAE(24, 2, max_iter=4)).set_params(**seeds)
        sae.fit(X, y, groups=groups)
        codes = sae.transform(X_test, y_test)
        rebuilt = sae.inverse_transform(*codes)
        explained += [
            explained_variance_ratio(*views)
            for views in zip((X_test, y_test), rebuilt, strict=True)
        ]
        recall.append(recall_at_k_score(*codes, k=3, groups=groups_test))
        above.append(sae.matches_["above_noise"].mean())
        fits.append([present(s.components_) for s in (sae.x_sae_, sae.y_sae_)])
    fits_table = display.fits
    assert_allclose(fits_table["recall"], recall)
    assert_allclose(fits_table["matches_above_noise"], above)
    assert_allclose(row["explained_variance"], np.mean(explained), rtol=1e-6)
    assert_allclose(row["recall"], np.mean(recall))
    assert_allclose(row["matches_above_noise"], np.mean(above))
    stability = [
        mean_cosine(*views)
        for pair in combinations(fits, 2)
        for views in zip(*pair, strict=True)
    ]
    expected = np.mean(stability) if stability else np.nan
    assert_allclose(row["stability"], expected, rtol=1e-5)
    chance = [
        stability_chance(*views, random_state=all_seeds[0])
        for pair in combinations(fits, 2)
        for views in zip(*pair, strict=True)
    ]
    expected_chance = np.mean(chance) if chance else np.nan
    assert_allclose(row["stability_chance"], expected_chance, rtol=1e-5)
    assert n_seeds == 1 or 0 < expected < 0.999  # two seeds are two dictionaries


ESTIMATORS = {
    "aligned": PostHocAlignedSAE(max_iter=2, random_state=0),
    "frozen seeds": PostHocAlignedSAE(
        x_sae=TopKSAE(max_iter=2, random_state=0), y_sae=TopKSAE(max_iter=2)
    ),
    "shared": PairedSAE(max_iter=2),
    "one": TopKSAE(max_iter=2),
    "pipeline": make_pipeline(StandardScaler(), PairedSAE(max_iter=2)),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_kind_of_estimator_over_a_grid(name):
    display = SelectionDisplay.from_estimator(
        ESTIMATORS[name],
        DATA.X,
        DATA.y,
        k=[1, 4],
        n_latents=[24, 16],
        random_state=0,
        kind="heatmap",
    )
    table = display.results
    assert table[["n_latents", "k"]].to_numpy().tolist() == [
        [16, 1],
        [16, 4],
        [24, 1],
        [24, 4],
    ]
    assert (table["stability"] < 0.999).all()
    # after two passes, directions are hardly better than random ones
    assert_allclose(table["stability_chance"], table["stability"], atol=0.2)
    means = table.groupby("k")["explained_variance"].mean()
    assert means[1] < means[4]
    assert len(display.images_) == 4
    assert not hasattr(ESTIMATORS[name], "n_features_in_")


def test_lines_show_the_results():
    results = make_results()
    display = SelectionDisplay(results, recall_k=3).plot(line_kw={"linewidth": 5})
    for ax, lines, score in zip(display.axes_, display.lines_, SCORES, strict=True):
        assert len(lines) == 2
        for line, size in zip(lines, (16, 32), strict=True):
            rows = results[results["n_latents"] == size]
            assert_allclose(line.get_xydata(), rows[["k", score]])
            assert line.get_linewidth() == 5
        assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "4"]
    labels = [text.get_text() for text in display.axes_[0].get_legend().get_texts()]
    assert labels == ["16", "32"]
    assert display.axes_[3].get_title() == "Recall@3"
    assert display.figure_ is display.axes_[0].figure


def test_lines_have_a_dot_for_each_fit_and_the_level_of_chance():
    results = make_results().assign(stability_chance=0.25)
    fits = pd.concat([make_results(), make_results()]).drop(columns="stability")
    display = SelectionDisplay(results, fits=fits).plot()
    for ax, score in zip(display.axes_, SCORES, strict=True):
        dots = [points.get_offsets() for points in ax.collections]
        dotted = [line for line in ax.get_lines() if line.get_linestyle() == ":"]
        if score == "stability":
            assert not dots
            assert [set(line.get_ydata()) for line in dotted] == [{0.25}, {0.25}]
            assert "dotted" in ax.get_title()
            continue
        assert not dotted
        for points, size in zip(dots, (16, 32), strict=True):
            rows = fits[fits["n_latents"] == size]
            assert_allclose(points, rows[["k", score]])


def test_one_fit_has_no_stability():
    results = make_results().assign(stability=np.nan)
    display = SelectionDisplay(results).plot()
    texts = [[text.get_text() for text in ax.texts] for ax in display.axes_]
    assert texts == [[], [], ["not measured"], []]
    SelectionDisplay(results).plot(kind="heatmap").figure_.canvas.draw()


def test_numbers_alone_need_no_list():
    options = {"n_seeds": 1, "random_state": 0}
    one, many = (
        SelectionDisplay.from_estimator(
            PairedSAE(max_iter=1), DATA.X, DATA.y, k=k, n_latents=m, **options
        )
        for k, m in ((2, 16), ([2], [16]))
    )
    assert one.results.equals(many.results)


def test_repeats_without_groups_warn_where_the_caller_is():
    X, y = DATA.X[GROUPS], DATA.y
    with pytest.warns(UserWarning, match="rows of X are distinct") as record:
        SelectionDisplay.from_estimator(
            PairedSAE(max_iter=1), X, y, k=2, n_latents=16, n_seeds=1
        )
    assert [warning.filename for warning in record] == [__file__]


def test_maps_show_the_results_with_their_numbers():
    results = make_results().sample(frac=1, random_state=0)
    results.loc[0, "recall"] = np.nan
    _, axes = plt.subplots(2, 2)
    display = SelectionDisplay(results).plot(axes, kind="heatmap", cmap="gray")
    assert display.figure_ is axes[0, 0].figure
    assert len(display.figure_.axes) == 8  # each with a colour bar
    for ax, image, score in zip(display.axes_, display.images_, SCORES, strict=True):
        grid = results.pivot(index="n_latents", columns="k", values=score).to_numpy()
        assert_allclose(np.ma.filled(image.get_array(), np.nan), grid)
        texts = [text.get_text() for text in ax.texts]
        assert texts == [f"{value:.2f}" for value in grid.ravel()]
        # white on dark and black on light
        values = grid.ravel()
        assert ax.texts[int(np.nanargmin(values))].get_color() == "white"
        assert ax.texts[int(np.nanargmax(values))].get_color() == "black"


def test_the_table_is_a_copy():
    display = SelectionDisplay(make_results())
    table = display.to_frame()
    table["recall"] = 0
    assert (display.results["recall"] > 0).all()


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"k": [32]}, ValueError, "no k that is larger"),
        ({"k": []}, ValueError, "must hold a number each"),
        ({"recall_k": 101}, ValueError, "recall_k=101 must be from 1 to 100"),
        ({"groups": GROUPS[1:]}, ValueError, "inconsistent numbers of samples"),
        ({"y": DATA.y[:, :5]}, ValueError, "TopKSAE encodes one row at a time"),
        ({"n_seeds": 0}, ValueError, "n_seeds=0 must be"),
        ({"kind": "pie"}, ValueError, "kind='pie' must be one of"),
        ({"estimator": PostHocAlignedSAE(x_sae=VIEW)}, ValueError, "both be given"),
        ({"estimator": StandardScaler()}, TypeError, "StandardScaler has no n_latents"),
        ({"estimator": FrozenEstimator(TopKSAE())}, TypeError, "not frozen"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changed, error, message, monkeypatch):
    options = {"estimator": TopKSAE(max_iter=1), "k": [1], "n_latents": [16], **changed}
    # before anything is fitted
    monkeypatch.setattr(TopKSAE, "fit", lambda *args: pytest.fail("fitted"))
    with pytest.raises(error, match=message):
        SelectionDisplay.from_estimator(**{"X": DATA.X, "y": DATA.y} | options)


def test_four_axes_are_needed():
    with pytest.raises(ValueError, match="ax has 1 axes, but there are 4"):
        SelectionDisplay(make_results()).plot(plt.figure().subplots())


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"from_estimator requires.*'skxsae\[plot\]'"):
        SelectionDisplay.from_estimator(VIEW, DATA.X, DATA.y, k=[1], n_latents=[16])
    with pytest.raises(ImportError, match=r"Display.plot requires"):
        SelectionDisplay(make_results()).plot()
