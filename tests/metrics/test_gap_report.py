import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from skxsae.metrics import (
    ModalityGapReport,
    linear_separability,
    mean_difference_gap,
    modality_gap_report,
    ood_score,
    relative_modality_gap,
    wasserstein_gap,
)


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    return X, X + rng.standard_normal((60, 4)) + [1, 0, 0, 0]


def test_report_is_all_measures(pair):
    options = {"n_samples": 20, "random_state": 3}
    groups = np.arange(60) // 2
    report = modality_gap_report(*pair, groups=groups, k=4, cv=3, **options)
    assert report == ModalityGapReport(
        mean_difference_gap(*pair),
        wasserstein_gap(pair[0][::2], pair[1][::2], n_samples=20, random_state=3),
        linear_separability(*pair, groups=groups, cv=3, random_state=3),
        relative_modality_gap(*pair, groups=groups),
        ood_score(pair[1][::2], pair[0][::2], k=4),
    )
    frame = report.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.shape == (1, 5)
    assert frame.loc[0].tolist() == list(vars(report).values())


def test_items_that_repeat():
    rng = np.random.default_rng(1)
    items = rng.standard_normal((30, 4))
    groups = rng.permutation(np.repeat(np.arange(30), 2))
    X, y = items[groups], rng.standard_normal((60, 4))
    with pytest.warns(UserWarning, match="Only 30 of the 60 rows of X.*Pass groups"):
        modality_gap_report(X, y, k=1)
    first = [int(np.flatnonzero(groups == g)[0]) for g in range(30)]
    first = sorted(first)
    report = modality_gap_report(X, y, k=1, groups=groups)
    assert report.ood == ood_score(y[first], X[first], k=1)
    assert report.wasserstein == wasserstein_gap(X[first], y[first])
    plain = modality_gap_report(items, y[:30], k=1)
    assert plain == modality_gap_report(items, y[:30], k=1, groups=np.arange(30))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), n=st.integers(6, 12), scale=st.floats(0.1, 9.0))
def test_report_of_any_views(seed, n, scale):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((2, n, 3))
    report = modality_gap_report(X, y, k=2, cv=3)
    cosines = [[a @ b / np.sqrt(a @ a * (b @ b)) for b in y] for a in X]
    best = linear_sum_assignment(cosines, maximize=True)
    assert report.wasserstein == pytest.approx(1 - np.array(cosines)[best].mean())
    difference = np.sqrt(np.sum((X.mean(axis=0) - y.mean(axis=0)) ** 2))
    assert report.mean_difference == pytest.approx(difference)
    order = rng.permutation(n)
    moved = modality_gap_report(scale * X[order], scale * y[order], k=2, cv=None)
    assert moved.mean_difference == pytest.approx(scale * difference)
    assert moved.wasserstein == pytest.approx(report.wasserstein)
    assert moved.relative_gap == pytest.approx(report.relative_gap)
    assert moved.ood == pytest.approx(report.ood)


def test_native_view(pair):
    X, y = pair[0], 2 * pair[1] ** 3
    of_x = modality_gap_report(X, y, k=3).ood
    of_y = modality_gap_report(X, y, k=3, native="y").ood
    assert of_y == ood_score(X, y, k=3)
    assert of_x != of_y
    both = modality_gap_report(X, y, k=3, native="mean").ood
    assert both == pytest.approx((of_x + of_y) / 2)
    assert modality_gap_report(y, X, k=3).ood == of_y


def test_equal_means_do_not_close_the_gap():
    rng = np.random.default_rng(0)
    X = np.hstack([rng.standard_normal((200, 3)), np.zeros((200, 3))])
    y = np.hstack([np.zeros((200, 3)), rng.standard_normal((200, 3))])
    report = modality_gap_report(X - X.mean(0), y - y.mean(0))
    assert report.mean_difference < 1e-12
    assert report.separability < 0.6
    assert report.wasserstein > 0.8
    assert report.ood > 0.95


def test_bad_input(pair):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        modality_gap_report(pair[0], pair[1][:-1])
    with pytest.raises(ValueError, match="'native' parameter"):
        modality_gap_report(*pair, native="images")
    with pytest.raises(ValueError, match="y has 3: both must be rows of one space"):
        modality_gap_report(pair[0], pair[1][:, :3])
