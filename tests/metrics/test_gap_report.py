import numpy as np
import pandas as pd
import pytest

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
    options = {"n_samples": 40, "random_state": 3}
    groups = np.arange(60) // 2
    report = modality_gap_report(*pair, groups=groups, k=4, cv=3, **options)
    assert report == ModalityGapReport(
        mean_difference_gap(*pair),
        wasserstein_gap(*pair, **options),
        linear_separability(*pair, groups=groups, cv=3, random_state=3),
        relative_modality_gap(*pair, groups=groups),
        ood_score(pair[1], pair[0], k=4),
    )
    frame = report.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert frame.shape == (1, 5)
    assert frame.loc[0].tolist() == list(vars(report).values())


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
