"""The heterogeneity report, judged by dense float64 NumPy over all pairs at once."""

import tracemalloc
from itertools import pairwise

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skxsae.inspection import heterogeneity_report

BANDS = (0, 0.2, 0.4, 0.6, 0.8, 1)
QUARTILES = {"lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75}


def _alive(codes, directions, min_fires):
    often = np.count_nonzero(codes, axis=0) >= min_fires
    return often & (np.ptp(codes, axis=0) > 0) & directions.any(axis=1)


def reference(x_codes, y_codes, x_directions, y_directions, min_fires=1):
    """Correlations and distances of all pairs of living latents."""
    x = _alive(x_codes, x_directions, min_fires)
    y = _alive(y_codes, y_directions, min_fires)
    if not x.any() or not y.any():
        return None
    together = np.corrcoef(x_codes[:, x], y_codes[:, y], rowvar=False)
    correlations = np.atleast_2d(together)[: x.sum(), x.sum() :]
    x_unit, y_unit = (
        d / np.linalg.norm(d, axis=1, keepdims=True)
        for d in (x_directions[x], y_directions[y])
    )
    # nine digits: what should be on an edge is
    return correlations.round(9), (1 - x_unit @ y_unit.T).round(9)


def check(report, correlations, distances, bands=BANDS, n_bins=100):
    """Compare a report with the pairs that it was made of."""
    assert report.counts.shape == (len(bands) - 1, n_bins)
    assert_allclose(report.bin_edges, np.arange(n_bins + 1) * 2 / n_bins)
    assert (report.n_alive_x, report.n_alive_y) == correlations.shape
    assert report.n_negative == np.count_nonzero(correlations < 0)
    frame = report.to_frame()
    for band, (low, high) in enumerate(pairwise(bands)):
        below = correlations <= high if high == bands[-1] else correlations < high
        values = distances[(correlations >= low) & below]
        row = frame.loc[band]
        assert (row["low"], row["high"], row["n_pairs"]) == (low, high, len(values))
        # a hair above the edges, which are not exact either
        nudged = np.minimum(values + 1e-9, 2)
        counts = np.histogram(nudged, bins=n_bins, range=(0, 2))[0]
        assert_array_equal(report.counts[band], counts)
        if len(values) == 0:
            assert row[["mean", "std", *QUARTILES]].isna().all()
            continue
        assert_allclose(row["mean"], values.mean(), atol=1e-8)
        assert_allclose(row["std"], values.std(), atol=1e-8)
        for name, q in QUARTILES.items():
            exact = np.quantile(values, q, method="inverted_cdf")
            assert abs(row[name] - exact) <= 2 / n_bins + 1e-8


def random_views(seed, n_samples=400, n_x=30, n_y=40, n_features=8, density=0.1):
    """Codes of which half follow a common cause, and directions."""
    rng = np.random.default_rng(seed)
    x, y = (
        (rng.random((n_samples, n)) < density) * rng.exponential(size=(n_samples, n))
        for n in (n_x, n_y)
    )
    n_common = min(n_x, n_y) // 2
    share = np.linspace(0, 1, n_common)
    y[:, :n_common] = share * x[:, :n_common] + (1 - share) * y[:, :n_common]
    directions = (rng.standard_normal((n, n_features)) for n in (n_x, n_y))
    return x, y, *directions


# small integers: dead and constant latents, zero directions, values on the edges
def _arrays(n_rows, n_columns, values):
    return hnp.arrays(np.float64, (n_rows, n_columns), elements=values)


small_views = st.tuples(*[st.integers(1, 5)] * 4).flatmap(
    lambda n: st.tuples(
        _arrays(n[0], n[1], st.integers(0, 2).map(float)),
        _arrays(n[0], n[2], st.integers(-1, 2).map(float)),
        _arrays(n[1], n[3], st.integers(-2, 2).map(float)),
        _arrays(n[2], n[3], st.integers(-2, 2).map(float)),
    )
)


@settings(deadline=None, max_examples=150)
@given(views=small_views, min_fires=st.integers(1, 2), n_bins=st.integers(1, 30))
def test_small_views_match_the_reference(views, min_fires, n_bins):
    expected = reference(*views, min_fires=min_fires)
    options = {"min_fires": min_fires, "n_bins": n_bins}
    if expected is None:
        with pytest.raises(ValueError, match=r"No latent of (x|y) takes part"):
            heterogeneity_report(*views, **options)
    else:
        check(heterogeneity_report(*views, **options), *expected, n_bins=n_bins)


@pytest.mark.parametrize("min_fires", [1, 40])
@pytest.mark.parametrize("bands", [BANDS, (0, 1), (0.3, 0.5, 0.9)])
def test_random_views_match_the_reference(bands, min_fires):
    views = random_views(0)
    report = heterogeneity_report(*views, bands=bands, min_fires=min_fires, n_bins=50)
    expected = reference(*views, min_fires=min_fires)
    check(report, *expected, bands=bands, n_bins=50)
    assert (report.counts.sum(axis=1) > 0).all()
    assert (report.n_alive_x < 30) == (min_fires == 40)


def test_many_blocks_match_the_reference():
    views = random_views(1, n_samples=200, n_x=700, n_y=900)
    check(heterogeneity_report(*views), *reference(*views))


def test_no_array_of_all_pairs_is_made():
    n = 3000
    codes = sparse.random_array((500, n), density=2e-3, format="csr", rng=0)
    directions = np.random.default_rng(0).standard_normal((n, 8))
    heterogeneity_report(codes[:, :9], codes, directions[:9], directions)
    tracemalloc.start()
    try:
        heterogeneity_report(codes, codes, directions, directions)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < n * n * 8 / 3


@pytest.mark.parametrize(
    "container",
    [
        sparse.csr_array,
        sparse.csr_matrix,
        sparse.csc_array,
        pd.DataFrame,
        np.ndarray.tolist,
    ],
)
def test_every_usual_container_gives_the_same(container):
    x, y, *directions = random_views(2)
    expected = heterogeneity_report(x, y, *directions)
    report = heterogeneity_report(container(x), container(y), *directions)
    assert_array_equal(report.counts, expected.counts)
    assert_allclose(report.mean, expected.mean)
    assert_allclose(report.std, expected.std)


def test_float32_is_computed_in_float64():
    views = [array.astype(np.float32) for array in random_views(3)]
    report = heterogeneity_report(*views)
    check(report, *reference(*[array.astype(np.float64) for array in views]))


def test_order_names_and_lengths_of_latents_do_not_matter():
    x, y, x_directions, y_directions = random_views(4)
    expected = heterogeneity_report(x, y, x_directions, y_directions)
    rng = np.random.default_rng(0)
    p, q = rng.permutation(x.shape[1]), rng.permutation(y.shape[1])
    x_length, y_length = rng.exponential(size=30), rng.exponential(size=40)
    longer = (x_length[:, None] * x_directions, y_length[:, None] * y_directions)
    for views in (
        (x[:, p], y[:, q], x_directions[p], y_directions[q]),
        (x, y, *longer),
        (x * x_length, y * y_length, x_directions, y_directions),
        (y, x, y_directions, x_directions),
    ):
        report = heterogeneity_report(*views)
        assert_array_equal(report.counts, expected.counts)
        assert report.n_negative == expected.n_negative
        assert_allclose(report.mean, expected.mean)
        assert_allclose(report.std, expected.std)
    assert (expected.counts.sum(axis=1) > 0).all()


def test_dead_constant_and_directionless_latents_take_no_part():
    x, y, x_directions, y_directions = random_views(5)
    expected = heterogeneity_report(x, y, x_directions, y_directions)
    wide = np.hstack([x, np.zeros((400, 1)), np.full((400, 1), 0.1), y[:, :1]])
    directions = np.vstack([x_directions, np.ones((2, 8)), np.zeros((1, 8))])
    report = heterogeneity_report(wide, y, directions, y_directions)
    assert report.n_alive_x == expected.n_alive_x == 30
    assert_array_equal(report.counts, expected.counts)
    assert report.n_negative == expected.n_negative


def test_explicit_zeros_are_no_firings():
    dense = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 3.0]])
    filled = sparse.csr_array((dense.ravel(), [0, 1] * 3, [0, 2, 4, 6]), shape=(3, 2))
    assert filled.nnz == 6
    report = heterogeneity_report(filled, filled, np.eye(2), np.eye(2), min_fires=2)
    expected = heterogeneity_report(dense, dense, np.eye(2), np.eye(2))
    assert_array_equal(report.counts, expected.counts)
    with pytest.raises(ValueError, match="No latent of x takes part"):
        heterogeneity_report(filled, filled, np.eye(2), np.eye(2), min_fires=3)


def test_one_latent_of_each_view():
    codes = np.array([[0.0], [1.0], [2.0]])
    report = heterogeneity_report(codes, 3 * codes, [[1.0, 0.0]], [[1.0, 1.0]])
    frame = report.to_frame()
    assert frame["n_pairs"].tolist() == [0, 0, 0, 0, 1]
    assert_allclose(frame["mean"].iloc[-1], 1 - np.sqrt(0.5))
    assert frame["std"].iloc[-1] == 0
    # the pair is spread over its bin, [0.28, 0.30)
    assert_allclose(frame.iloc[-1][list(QUARTILES)], [0.285, 0.29, 0.295])


def test_latents_that_exclude_each_other_are_in_no_band():
    codes = np.eye(3)
    report = heterogeneity_report(codes[:, :1], codes[:, 1:], [[1.0]], [[1.0], [-1.0]])
    assert report.n_negative == 2
    assert report.counts.sum() == 0
    assert report.to_frame()[["mean", "std", "median"]].isna().all(axis=None)


def test_opposite_and_equal_directions_are_in_the_outer_bins():
    codes = np.array([[0.1], [0.7], [0.3]])
    directions = np.random.default_rng(0).standard_normal((50, 1, 7))
    for direction in directions:
        same = heterogeneity_report(codes, codes, direction, direction)
        opposite = heterogeneity_report(codes, codes, direction, -direction)
        assert same.counts[-1, 0] == opposite.counts[-1, -1] == 1
        assert 0 <= same.mean[-1] < 1e-12
        assert 2 >= opposite.mean[-1] > 2 - 1e-12


@pytest.mark.parametrize(
    ("x", "y", "correlation"),
    [([1, 1, 0, 0], [1, 0, 1, 0], 0), ([1, 0, 0], [1, 0, 1], 0.5), ([0, 1], [0, 1], 1)],
)
def test_correlations_on_an_edge_are_in_the_band_above_despite_rounding(
    x, y, correlation
):
    scales = np.random.default_rng(0).exponential(size=60)
    x_codes, y_codes = np.outer(x, scales), np.outer(y, scales[::-1])
    x_codes, y_codes = np.tile(x_codes, (7, 1)), np.tile(y_codes, (7, 1))
    directions = np.ones((60, 1))
    report = heterogeneity_report(
        x_codes, y_codes, directions, directions, bands=(0, 0.5, 1)
    )
    assert report.n_negative == 0
    assert report.counts.sum(axis=1).tolist() == (
        [3600, 0] if correlation == 0 else [0, 3600]
    )


def test_the_deviation_of_equal_distances_is_nothing():
    rng = np.random.default_rng(0)
    cause = rng.exponential(size=(20, 1))
    codes, directions = cause * np.ones(300), np.tile([0.3, 0.7], (300, 1))
    report = heterogeneity_report(codes, codes, directions, directions[:, ::-1])
    assert report.counts[-1].sum() == 300**2
    assert_allclose(report.mean[-1], 1 - 0.42 / 0.58, rtol=1e-12)
    assert report.std[-1] < 1e-9


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x_codes": np.ones((4, 2))}, "x_codes has 4 rows and y_codes has 5.*a pair"),
        ({"x_codes": np.ones(5)}, "x_codes must be 2-dimensional"),
        ({"y_codes": np.full((5, 2), np.nan)}, "Input y_codes contains NaN"),
        ({"x_directions": np.eye(3)}, "x_directions has 3 rows, but x_codes has 2 col"),
        ({"y_directions": np.eye(2, 4)}, "y_directions has 4: the distance.*one space"),
        ({"y_directions": np.full((2, 3), np.inf)}, "y_directions contains infinity"),
        ({"y_directions": np.ones(2)}, "Expected 2D array, got 1D"),
        ({"y_directions": np.zeros((2, 3))}, "No latent of y takes part: none is act"),
        ({"y_codes": np.ones((5, 2))}, "No latent of y takes part"),
        ({"min_fires": 4}, "No latent of x.*min_fires=4 of the 5 samples.*Lower min_f"),
        ({"min_fires": 0}, "'min_fires' parameter of heterogeneity_report"),
        ({"n_bins": 0}, "'n_bins' parameter of heterogeneity_report"),
        ({"bands": (0, 0.5, 0.5)}, r"bands=\(0, 0.5, 0.5\) must be.*increasing"),
        ({"bands": (0.5, 0.2)}, r"bands=\(0.5, 0.2\) must be.*increasing"),
        ({"bands": (0.5,)}, "must be at least two edges"),
        ({"bands": [[0, 1], [0, 1]]}, "must be at least two edges"),
        ({"bands": (-0.2, 0.5)}, r"must lie in \[0, 1\].*n_negative"),
        ({"bands": (0, 2)}, r"must lie in \[0, 1\]"),
        ({"bands": (0, np.nan)}, "Input bands contains NaN"),
        ({"bands": 5}, "'bands' parameter of heterogeneity_report"),
    ],
)
def test_bad_input_is_named_with_a_way_out(changed, message):
    rng = np.random.default_rng(0)
    codes = np.array([[1, 0], [0, 2], [3, 1], [0, 0], [2, 1]], dtype=float)
    arguments = {
        "x_codes": codes,
        "y_codes": codes[::-1],
        "x_directions": rng.standard_normal((2, 3)),
        "y_directions": rng.standard_normal((2, 3)),
    }
    heterogeneity_report(**arguments)
    with pytest.raises(ValueError, match=message):
        heterogeneity_report(**arguments | changed)


def test_the_input_is_left_alone_and_the_report_is_frozen():
    views = random_views(6)
    copies = [view.copy() for view in views]
    report = heterogeneity_report(*views)
    for view, copy in zip(views, copies, strict=True):
        assert_array_equal(view, copy)
    with pytest.raises(AttributeError):
        report.n_negative = 0
    assert "n_alive_x=30, n_alive_y=40" in repr(report)
