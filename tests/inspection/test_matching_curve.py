"""The matching curve, judged by fits on the same rows and plain NumPy."""

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from pandas.testing import assert_frame_equal
from scipy import sparse
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skxsae import CoactivationMatcher, TopKSAE
from skxsae.inspection import matching_curve

FITS = []


class Recorder(CoactivationMatcher):
    """A matcher that keeps what it was fitted on, and itself."""

    def fit(self, X, y=None, *, groups=None):
        """Fit and remember."""
        FITS.append((self, X, groups))
        return super().fit(X, y, groups=groups)


@pytest.fixture(autouse=True)
def _forget_fits():
    FITS.clear()


def views(seed, n_samples=600, n_x=12, n_y=14, noise=0.7):
    """Codes of latents that partly follow each other, with the row in column 0 of X."""
    rng = np.random.default_rng(seed)
    X = (rng.random((n_samples, n_x)) < 0.2) * rng.exponential(size=(n_samples, n_x))
    y = (rng.random((n_samples, n_y)) < 0.2) * rng.exponential(size=(n_samples, n_y))
    y[:, :8] = (1 - noise) * X[:, 2:10] + noise * y[:, :8]
    X[:, 0] = np.arange(n_samples)
    return X, y


def rows_of_fits():
    return [X[:, 0].astype(int) for _, X, _ in FITS]


@pytest.mark.parametrize("seed", [0, 1])
def test_each_row_is_a_fit_on_its_share(seed):
    X, y = views(seed)
    matcher = Recorder(min_fires=2, n_null=3, random_state=0)
    curve = matching_curve(matcher, X, y, fractions=(0.1, 0.4, 0.8), random_state=seed)
    assert len(FITS) == 3
    expected = []
    for rows in rows_of_fits():
        with warnings.catch_warnings(action="ignore"):
            fit = CoactivationMatcher(min_fires=2, n_null=3, random_state=0)
            expected.append(fit.fit(X[rows], y[rows]))
    full = expected[-1].matching_
    for (_, row), rows, fit in zip(
        curve.iterrows(), rows_of_fits(), expected, strict=True
    ):
        pairs = [j for j in range(14) if fit.matching_[j] >= 0]
        assert row["n_samples"] == row["n_groups"] == len(rows)
        assert row["n_matched"] == len(pairs) > 0
        assert row["noise_floor"] == fit.noise_floor_
        above = [fit.scores_[j] > fit.noise_floor_ for j in pairs]
        assert_allclose(row["above_noise"], np.mean(above))
        assert_allclose(row["median_score"], np.nanmedian(fit.scores_))
        assert_allclose(row["mutual"], np.mean([fit.mutual_[j] for j in pairs]))
        found = [fit.matching_[j] == full[j] for j in range(14) if full[j] >= 0]
        assert_allclose(row["agreement"], np.mean(found))
    assert curve["fraction"].tolist() == [0.1, 0.4, 0.8]
    assert curve["n_samples"].tolist() == [60, 240, 480]
    assert curve["agreement"].iloc[0] < curve["agreement"].iloc[-1] == 1


def test_the_subsets_are_nested_random_and_in_order():
    X, y = views(0)
    matching_curve(Recorder(n_null=0), X, y, random_state=0)
    subsets = rows_of_fits()
    assert [len(rows) for rows in subsets] == [60, 120, 240, 420, 600]
    for smaller, larger in pairwise(subsets):
        assert set(smaller) < set(larger)
        assert (np.diff(larger) > 0).all()
    assert 200 < subsets[0].mean() < 400
    matching_curve(Recorder(n_null=0), X, y, fractions=[0.1], random_state=1)
    assert set(rows_of_fits()[-1]) != set(subsets[0])


def test_whole_groups_are_drawn():
    X, y = views(0)
    groups = np.random.default_rng(0).choice(["a", "b", "c", "d", "e"], 600)
    curve = matching_curve(
        Recorder(n_null=0),
        X,
        y,
        groups=list(groups),
        fractions=(0.4, 1),
        random_state=0,
    )
    assert curve["n_groups"].tolist() == [2, 5]
    _, _, drawn = FITS[0]
    assert len(set(drawn)) == 2
    assert_array_equal(rows_of_fits()[0], np.flatnonzero(np.isin(groups, drawn)))
    assert_array_equal(drawn, groups[rows_of_fits()[0]])
    assert curve["n_samples"].tolist() == [len(drawn), 600]


def test_a_planted_order_is_found_at_every_fraction():
    rng = np.random.default_rng(0)
    codes = (rng.random((800, 20)) < 0.2) * rng.exponential(size=(800, 20))
    curve = matching_curve(
        CoactivationMatcher(min_fires=1), codes, codes[:, ::-1], random_state=0
    )
    assert (curve["n_matched"] == 20).all()
    for name in ("agreement", "median_score", "mutual", "above_noise"):
        assert_allclose(curve[name], 1)
    assert curve["noise_floor"].iloc[0] > curve["noise_floor"].iloc[-1]


def test_sparse_dense_and_named_codes_give_the_same():
    X, y = views(0)
    matcher = CoactivationMatcher(random_state=0)
    dense = matching_curve(matcher, X, y, random_state=0)
    for container in (sparse.csr_array, sparse.csr_matrix, sparse.coo_array):
        curve = matching_curve(matcher, container(X), container(y), random_state=0)
        assert_frame_equal(curve, dense)
    names = [f"latent{j}" for j in range(12)]
    frames = pd.DataFrame(X, columns=names), pd.DataFrame(y)
    assert_frame_equal(matching_curve(matcher, *frames, random_state=0), dense)
    assert_frame_equal(
        matching_curve(matcher, X.tolist(), y.tolist(), random_state=0), dense
    )


def test_the_fractions_may_come_in_any_order():
    X, y = views(0)
    matcher = CoactivationMatcher(random_state=0)
    down = matching_curve(matcher, X, y, fractions=(1, 0.3, 0.3), random_state=0)
    up = matching_curve(matcher, X, y, fractions=(0.3, 1), random_state=0)
    assert_frame_equal(down.iloc[[1, 0]].reset_index(drop=True), up)
    assert_frame_equal(down.iloc[[1]], down.iloc[[2]].set_axis([1]))
    assert down["agreement"].iloc[0] == 1


def test_one_seed_gives_one_curve_and_leaves_the_matcher_alone():
    X, y = views(0)
    matcher = CoactivationMatcher()
    first = matching_curve(matcher, X, y, random_state=3)
    assert_frame_equal(matching_curve(matcher, X, y, random_state=3), first)
    assert not matching_curve(matcher, X, y, random_state=4).equals(first)
    assert matcher.random_state is None
    with pytest.raises(NotFittedError):
        check_is_fitted(matcher)
    matching_curve(Recorder(random_state=7), X, y, random_state=3)
    assert {fit.random_state for fit, _, _ in FITS} == {7}


def test_only_the_largest_fraction_warns_of_noise():
    rng = np.random.default_rng(0)
    X, y = rng.exponential(size=(2, 200, 30)) * (rng.random((2, 200, 30)) < 0.3)
    matcher = CoactivationMatcher(min_fires=1, random_state=0)
    with pytest.warns(UserWarning, match="above the noise floor") as caught:
        curve = matching_curve(matcher, X, y, fractions=(0.2, 0.5, 1), random_state=0)
    assert len(caught) == 1
    assert (curve["above_noise"] < 0.25).all()


def test_a_share_without_matches_is_silent_and_undefined():
    X, y = views(0)
    matcher = CoactivationMatcher(min_fires=80, random_state=0)
    first = matching_curve(matcher, X, y, fractions=(0.1, 1), random_state=0).iloc[0]
    assert first["n_matched"] == first["agreement"] == 0
    assert first[["above_noise", "noise_floor", "median_score", "mutual"]].isna().all()
    with pytest.warns(UserWarning, match="Nothing is matched"):
        curve = matching_curve(matcher, X, y, fractions=(0.1,), random_state=0)
    assert curve["agreement"].isna().all()


def test_without_a_noise_floor_nothing_is_said_of_noise():
    curve = matching_curve(CoactivationMatcher(n_null=0), *views(0), random_state=0)
    assert curve[["above_noise", "noise_floor"]].isna().all(axis=None)
    assert curve.drop(columns=["above_noise", "noise_floor"]).notna().all(axis=None)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"fractions": (0, 1)}, r"fractions=\(0, 1\) must be.*in \(0, 1\]"),
        ({"fractions": (0.5, 1.5)}, r"fractions=\(0.5, 1.5\) must be"),
        ({"fractions": [[0.5]]}, "must be a list of shares"),
        ({"fractions": ()}, "0 sample"),
        ({"fractions": (0.002, 1)}, "0.002 of 600 groups is 1, but.*at least 0.0033"),
        ({"groups": np.arange(600) % 3}, "The fraction 0.1 of 3 groups is 0"),
        ({"groups": np.arange(599)}, "inconsistent numbers of samples"),
        ({"groups": np.ones((600, 2))}, "groups has 2 dimensions"),
        ({"groups": [None] * 600}, "groups is missing at row 0"),
        ({"y": np.ones((599, 2))}, "inconsistent numbers of samples"),
        ({"y": None}, "'y' parameter of matching_curve"),
        ({"matcher": TopKSAE()}, "'matcher' parameter of matching_curve"),
        ({"random_state": "a"}, "'random_state' parameter of matching_curve"),
    ],
)
def test_bad_input_is_named_with_a_way_out(changed, message):
    X, y = views(0)
    arguments = {"matcher": CoactivationMatcher(n_null=0), "X": X, "y": y}
    with pytest.raises(ValueError, match=message):
        matching_curve(**arguments | changed)
