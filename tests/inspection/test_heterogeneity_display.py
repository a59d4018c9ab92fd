"""The picture of a heterogeneity report, and which numbers of an estimator it shows."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.datasets import make_paired_features
from skxsae.inspection import (
    HeterogeneityDisplay,
    HeterogeneityReport,
    heterogeneity_report,
)

DATA = make_paired_features(
    600,
    n_features=24,
    n_shared=16,
    n_x_only=4,
    n_y_only=4,
    sparsity=0.85,
    max_interference=0.8,
    random_state=0,
)
# features of y in units of their own
X, Y = DATA.X, DATA.y * np.linspace(0.2, 5, 24, dtype=np.float32)


@pytest.fixture(autouse=True)
def _no_windows():
    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture(scope="module", params=["hungarian", "soft", "paired"])
def estimator(request):
    options = {"normalize": "standard", "max_iter": 5, "random_state": 0}
    if request.param == "paired":
        return PairedSAE(40, 4, **options).fit(X, Y)
    x_sae, y_sae = TopKSAE(40, 4, **options), TopKSAE(30, 4, **options)
    matcher = CoactivationMatcher(assignment=request.param)
    sae = PostHocAlignedSAE(x_sae=x_sae, y_sae=y_sae, matcher=matcher, random_state=0)
    return sae.fit(X, Y)


def make_report(*distances, n_bins=100):
    """Report of bands of equal width with the given distances."""
    edges = np.linspace(0, 2, n_bins + 1)
    values = [np.asarray(of_band, dtype=float) for of_band in distances]
    return HeterogeneityReport(
        bands=np.linspace(0, 1, len(values) + 1),
        bin_edges=edges,
        counts=np.array([np.histogram(v, edges)[0] for v in values]),
        mean=np.array([v.mean() if len(v) else np.nan for v in values]),
        std=np.array([v.std() if len(v) else np.nan for v in values]),
        n_alive_x=10,
        n_alive_y=10,
        n_negative=3,
    )


def normal(mean, n, std=0.1):
    return np.random.default_rng(n).normal(mean, std, size=n)


def test_the_report_is_that_of_own_codes_and_of_directions_in_input_units(estimator):
    display = HeterogeneityDisplay.from_estimator(estimator, X, Y, n_bins=30)
    saes = estimator.x_sae_, estimator.y_sae_
    codes = [sae.transform(view) for sae, view in zip(saes, (X, Y), strict=True)]
    present = [sae.components_.any(axis=1) for sae in saes]
    # what a latent adds to the reconstruction, in the units of the input
    directions = [
        sae.inverse_transform(np.eye(sae.n_latents_))
        - sae.inverse_transform(np.zeros((1, sae.n_latents_)))
        for sae in saes
    ]
    expected = heterogeneity_report(
        *[z[:, np.flatnonzero(p)] for z, p in zip(codes, present, strict=True)],
        *[d[p] for d, p in zip(directions, present, strict=True)],
        n_bins=30,
    )
    assert expected.counts.sum() > 0
    assert_array_equal(display.report.counts, expected.counts)
    assert_allclose(display.report.mean, expected.mean, rtol=1e-5)
    assert display.report.n_negative == expected.n_negative


def test_columns_that_a_view_lacks_take_no_part(estimator, monkeypatch):
    expected = HeterogeneityDisplay.from_estimator(estimator, X, Y).report
    sae = estimator.y_sae_
    absent = ~sae.components_.any(axis=1)
    if isinstance(estimator, PostHocAlignedSAE):
        assert absent.any()
    noise = np.random.default_rng(0).exponential(size=Y.shape[:1] + absent.shape)
    codes = sparse.csr_array(sae.transform(Y).toarray() + noise * absent)
    monkeypatch.setattr(sae, "transform", lambda y: codes)
    report = HeterogeneityDisplay.from_estimator(estimator, X, Y).report
    assert_array_equal(report.counts, expected.counts)
    assert report.n_alive_y == expected.n_alive_y


def test_options_reach_the_report(estimator):
    options = {"bands": (0, 0.5, 1), "n_bins": 7, "min_fires": 60}
    few = HeterogeneityDisplay.from_estimator(estimator, X, Y, **options).report
    most = HeterogeneityDisplay.from_estimator(estimator, X, Y).report
    assert few.counts.shape == (2, 7)
    assert 0 < few.n_alive_x < most.n_alive_x


def test_a_line_for_each_band_that_has_pairs():
    report = make_report(normal(1, 2500), [], [0.7, 0.8], [0.5])
    display = HeterogeneityDisplay.from_report(report)
    labels = [line.get_label() for line in display.lines_]
    assert labels == [
        "0 to 0.25 (2,500 pairs)",
        "0.5 to 0.75 (2 pairs)",
        "0.75 to 1 (1 pair)",
    ]
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == labels
    assert display.ax_.get_xlabel().startswith("Decoder cosine distance")
    assert display.figure_ is display.ax_.figure
    assert display.report is report


def test_a_curve_of_a_few_pairs_is_thin_and_dotted():
    report = make_report(normal(1, 2500), [], normal(1, 29), normal(1, 30))
    many, few, enough = HeterogeneityDisplay(report).plot().lines_
    assert (many.get_linestyle(), few.get_linestyle()) == ("-", ":")
    assert enough.get_linewidth() == many.get_linewidth() > few.get_linewidth()


def test_colors_belong_to_the_bands_and_differ():
    full = make_report(normal(1, 9), normal(1, 9), normal(1, 9))
    gap = make_report(normal(1, 9), [], normal(1, 9))
    colors = [
        [line.get_color() for line in HeterogeneityDisplay(report).plot().lines_]
        for report in (full, gap)
    ]
    assert_array_equal(colors[1], np.array(colors[0])[[0, 2]])
    assert len(np.unique(colors[0], axis=0)) == 3


@pytest.mark.parametrize("n_bins", [10, 100])
@pytest.mark.parametrize(
    "distances",
    [
        (normal(1, 10_000), normal(0.6, 30)),
        (normal(1, 500), [0.0]),
        (np.zeros(50), [2.0]),
        (np.full(50, 0.7),),
    ],
    ids=["inside", "at 0", "nothing varies", "one value"],
)
def test_densities_have_area_1_and_the_right_place(distances, n_bins):
    report = make_report(*distances, n_bins=n_bins)
    display = HeterogeneityDisplay.from_report(report)
    for line, values in zip(display.lines_, distances, strict=True):
        x, density = line.get_data()
        assert (density >= 0).all()
        assert_allclose(np.trapezoid(density, x), 1, rtol=1e-3)
        middle = np.interp(0.5, np.cumsum(density) / density.sum(), x)
        assert abs(middle - np.median(values)) < 0.1 + 2 / n_bins


def test_a_density_of_many_pairs_shows_what_is_there():
    values = np.concatenate([normal(0.6, 20_000), normal(1.2, 20_001)])
    (line,) = HeterogeneityDisplay.from_report(make_report(values)).lines_
    x, density = line.get_data()
    histogram = np.histogram(values, 40, (0, 2), density=True)[0]
    assert_allclose(
        np.interp(np.arange(40) / 20 + 0.025, x, density), histogram, atol=0.2
    )


def test_no_pairs_leave_empty_axes():
    display = HeterogeneityDisplay.from_report(make_report([], []))
    assert display.lines_ == []
    assert display.ax_.get_legend() is None


def test_what_is_given_to_draw_with_is_used():
    _, ax = plt.subplots()
    display = HeterogeneityDisplay.from_report(
        make_report(normal(1, 9)), ax=ax, cmap="gray", line_kw={"linewidth": 5}
    )
    assert display.ax_ is ax
    (line,) = ax.get_lines()
    assert line.get_linewidth() == 5
    assert len(set(line.get_color()[:3])) == 1
    assert len(plt.get_fignums()) == 1


def test_estimators_that_do_not_fit_are_refused(estimator):
    with pytest.raises(NotFittedError):
        HeterogeneityDisplay.from_estimator(PairedSAE(), X, Y)
    scaler = StandardScaler().fit(X)
    with pytest.raises(TypeError, match="PostHocAlignedSAE or PairedSAE, got Standard"):
        HeterogeneityDisplay.from_estimator(scaler, X, Y)
    with pytest.raises(ValueError, match=r"numbers of samples: \[600, 599\]"):
        HeterogeneityDisplay.from_estimator(estimator, X, Y[1:])


def test_views_of_different_widths_are_refused():
    one = TopKSAE(16, 2, max_iter=1, random_state=0)
    sae = PostHocAlignedSAE(x_sae=one, y_sae=one, random_state=0).fit(X, Y[:, :5])
    with pytest.raises(ValueError, match=r"24 columns and y_directions has 5.*one sp"):
        HeterogeneityDisplay.from_estimator(sae, X, Y[:, :5])


def test_without_matplotlib_the_error_names_the_extra(estimator, monkeypatch):
    report = make_report(normal(1, 9))
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"Display.plot requires.*'skxsae\[plot\]'"):
        HeterogeneityDisplay.from_report(report)
    with pytest.raises(ImportError, match=r"from_estimator requires.*'skxsae\[plot\]'"):
        HeterogeneityDisplay.from_estimator(estimator, X, Y)
