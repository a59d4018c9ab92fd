import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from skxsae import TopKSAE
from skxsae.metrics import _reconstruction as module
from skxsae.metrics import (
    explained_variance_ratio,
    fraction_of_variance_unexplained,
    mean_sample_r2_score,
    mean_squared_reconstruction_error,
    scalar_mean_r2_score,
)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 4)) + 3.0
    return X, X + 0.3 * rng.standard_normal(X.shape)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("rows_per_batch", [1, 7, 4096])
def test_one_ratio_over_the_whole_set(pair, rows_per_batch, dtype, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_PER_BATCH", rows_per_batch)
    X, X_hat = (array.astype(dtype) for array in pair)
    wide, wide_hat = X.astype(np.float64), X_hat.astype(np.float64)
    error = ((wide - wide_hat) ** 2).sum()
    fvu = error / ((wide - wide.mean(axis=0)) ** 2).sum()
    assert_allclose(fraction_of_variance_unexplained(X, X_hat), fvu)
    assert_allclose(explained_variance_ratio(X, X_hat), 1 - fvu)
    assert_allclose(mean_squared_reconstruction_error(X, X_hat), error / 50)
    mean_error = mean_squared_reconstruction_error(X, X_hat, reduction="mean")
    assert_allclose(mean_error, error / 200)


def test_variance_about_a_given_mean(pair):
    X, X_hat = pair
    mean = np.arange(4.0)
    expected = ((X - X_hat) ** 2).sum() / ((X - mean) ** 2).sum()
    assert_allclose(fraction_of_variance_unexplained(X, X_hat, mean=mean), expected)
    ratio = explained_variance_ratio(X, X_hat, mean=list(mean))
    assert_allclose(ratio, 1 - expected)


def test_the_mean_itself_explains_nothing(pair):
    X = pair[0]
    constant = np.tile(X.mean(axis=0), (50, 1))
    assert_allclose(explained_variance_ratio(X, constant), 0.0, atol=1e-12)
    assert explained_variance_ratio(X, X) == 1.0


def test_the_word_means_what_it_means_in_pca(pair):
    X = pair[0]
    pca = PCA(n_components=2).fit(X)
    X_hat = pca.inverse_transform(pca.transform(X))
    assert_allclose(
        explained_variance_ratio(X, X_hat), pca.explained_variance_ratio_.sum()
    )


@settings(deadline=None, max_examples=25)
@given(scale=st.floats(0.01, 100.0), shift=st.floats(-10.0, 10.0))
def test_explained_variance_has_no_units(scale, shift):
    rng = np.random.default_rng(0)
    X, noise = rng.standard_normal((2, 20, 3))
    X_hat = X + noise
    assert_allclose(
        explained_variance_ratio(scale * X + shift, scale * X_hat + shift),
        explained_variance_ratio(X, X_hat),
        rtol=1e-6,
    )


@pytest.mark.parametrize("X", [np.ones((3, 2)), np.ones((1, 2))])
def test_inputs_without_variance_score_as_in_r2(X):
    assert fraction_of_variance_unexplained(X, X) == 0.0
    assert fraction_of_variance_unexplained(X, X + 1) == 1.0
    assert explained_variance_ratio(X, X + 1) == 0.0


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("value", [0.1, -1e-3, 123.4])
@pytest.mark.parametrize("n_rows", [7, 5000])
def test_variance_that_is_only_rounding_is_none(dtype, value, n_rows):
    X = np.full((n_rows, 2), value, dtype=dtype)
    assert fraction_of_variance_unexplained(X, X) == 0.0
    off = X.astype(np.float64) * 1.01
    assert fraction_of_variance_unexplained(X, off) == 1.0
    assert explained_variance_ratio(X, off) == 0.0
    X = X.astype(np.float64)
    almost = np.nextafter(X, np.inf)
    assert fraction_of_variance_unexplained(X, almost) == 0.0


def test_small_variance_about_a_large_mean_counts():
    step = 2.0**-40
    X = 1.0 + np.array([[step], [-step], [0.0]])
    assert fraction_of_variance_unexplained(X, np.ones((3, 1))) == 1.0
    assert fraction_of_variance_unexplained(X, (X + 1) / 2) == 0.25
    # one column of large mean does not hide another that varies
    X = np.array([[100.0, -0.01], [100.0, 0.01]], dtype=np.float16)
    X_hat = X * np.array([1, 0], dtype=np.float16)
    assert fraction_of_variance_unexplained(X, X_hat) == 1.0
    assert fraction_of_variance_unexplained(X, X / np.float16([1, 2])) == 0.25


@pytest.mark.parametrize(
    ("normalize", "is_equal"),
    [("scale", True), ("center", True), (None, True), ("l2", False)],
)
def test_score_of_an_estimator_is_this_in_normalised_space(pair, normalize, is_equal):
    X = pair[0].astype(np.float32)
    sae = TopKSAE(8, 2, max_iter=3, normalize=normalize, random_state=0).fit(X)
    ratio = explained_variance_ratio(X, sae.inverse_transform(sae.transform(X)))
    assert (abs(ratio - sae.score(X)) < 1e-5) == is_equal


class RecordingMemmap(np.memmap):
    """A memmap that notes how many rows each read takes."""

    def __getitem__(self, rows):
        self.reads = [*getattr(self, "reads", []), rows.stop - (rows.start or 0)]
        return np.asarray(super().__getitem__(rows))


def test_arrays_on_disk_are_read_in_batches(pair, tmp_path, monkeypatch):
    X, X_hat = pair
    on_disk = RecordingMemmap(tmp_path / "x.bin", np.float16, "w+", shape=X.shape)
    on_disk[0:50] = X
    on_disk.reads = []
    monkeypatch.setattr(module, "_ROWS_PER_BATCH", 20)
    fvu = fraction_of_variance_unexplained(on_disk, X_hat)
    assert on_disk.reads == [1, *3 * [20, 20, 10]]
    assert_allclose(fvu, fraction_of_variance_unexplained(X, X_hat), rtol=1e-2)


@pytest.mark.parametrize("kind", [list, pd.DataFrame, np.asfortranarray])
def test_every_usual_input_is_taken(kind):
    X = kind([[1.0, 2.0], [3.0, 4.0]])
    assert mean_squared_reconstruction_error(X, np.zeros((2, 2), dtype=int)) == 15.0


@pytest.mark.parametrize(
    "score",
    [
        mean_squared_reconstruction_error,
        fraction_of_variance_unexplained,
        explained_variance_ratio,
    ],
)
@pytest.mark.parametrize(
    ("X", "X_hat", "message"),
    [
        (np.ones(3), np.ones(3), "X must be 2-dimensional.*got 1 dimensions"),
        (np.ones((3, 2)), np.ones(3), "X_hat must be 2-dimensional"),
        (np.ones((3, 2)), np.ones((2, 2)), "inconsistent numbers of samples"),
        (np.ones((3, 2)), np.ones((3, 4)), "X_hat has 4 features and X has 2"),
        (np.array([[1.0], [np.nan]]), np.ones((2, 1)), "X contains NaN.*row 1"),
        (np.ones((2, 1)), np.array([[np.inf], [0.0]]), "X_hat contains NaN.*row 0"),
        (np.ones((0, 2)), np.ones((0, 2)), "0 sample"),
    ],
)
def test_bad_arrays_are_named(score, X, X_hat, message):
    with pytest.raises(ValueError, match=message):
        score(X, X_hat)


def test_options_are_checked():
    with pytest.raises(ValueError, match="'reduction' parameter"):
        mean_squared_reconstruction_error([[1.0]], [[1.0]], reduction="median")
    with pytest.raises(ValueError, match=r"mean has shape \(3,\).*2 features"):
        fraction_of_variance_unexplained(np.eye(2), np.eye(2), mean=np.ones(3))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("rows_per_batch", [1, 7, 4096])
def test_r2_of_each_sample(pair, rows_per_batch, dtype, monkeypatch):
    monkeypatch.setattr(module, "_ROWS_PER_BATCH", rows_per_batch)
    X, X_hat = (array.astype(dtype) for array in pair)
    wide, wide_hat = X.astype(np.float64), X_hat.astype(np.float64)
    for mean in (None, np.arange(4.0)):
        about = wide.mean(axis=0) if mean is None else mean
        of_rows = [
            1 - np.sum((x - x_hat) ** 2) / np.sum((x - about) ** 2)
            for x, x_hat in zip(wide, wide_hat, strict=True)
        ]
        score = mean_sample_r2_score(X, X_hat, mean=mean)
        assert_allclose(score, np.mean(of_rows), rtol=1e-10)
    scalar = 1 - np.sum((wide - wide_hat) ** 2) / np.sum((wide - wide.mean()) ** 2)
    assert_allclose(scalar_mean_r2_score(X, X_hat), scalar, rtol=1e-10)


def test_r2_of_rows_that_equal_the_mean():
    X = np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]])
    X_hat = np.array([[1.0, 1.0], [0.0, 0.0], [2.0, 2.0]])
    assert mean_sample_r2_score(X, X_hat) == 1.0
    X_hat[0] = 5.0
    assert_allclose(mean_sample_r2_score(X, X_hat), 2 / 3)
    constant = np.full((7, 3), 0.1)
    assert mean_sample_r2_score(constant, constant) == 1.0
    assert mean_sample_r2_score(constant, constant + 1e-3) == 0.0
    assert scalar_mean_r2_score(constant, constant + 1e-3) == 0.0


def test_scalar_mean_r2_of_unit_rows_is_one_minus_the_error():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((2000, 64))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    X_hat = X + 0.03 * rng.standard_normal(X.shape)
    error = mean_squared_reconstruction_error(X, X_hat)
    assert_allclose(scalar_mean_r2_score(X, X_hat), 1 - error, atol=1e-4)
    # a set that hardly varies seems explained by its mean, and is not
    X = X[:1] + 0.01 * rng.standard_normal(X.shape)
    constant = np.tile(X.mean(axis=0), (len(X), 1))
    assert scalar_mean_r2_score(X, constant) > 0.9
    assert abs(mean_sample_r2_score(X, constant)) < 1e-9
