import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae.metrics import _attribution as module
from skxsae.metrics import (
    attribution_curves,
    deletion_score,
    insertion_score,
    mean_sample_r2_score,
)


def r2(x, z, components, intercept, mean):
    return 1 - np.sum((x - intercept - z @ components) ** 2) / np.sum((x - mean) ** 2)


def integrated_gradients(x, z, components, intercept, mean, n_steps=10):
    """Trapezoidal rule of the paper's steps, gradients by central differences."""
    steps = np.linspace(0, 1, n_steps)
    weights = np.full(n_steps, 1.0)
    weights[[0, -1]] = 0.5
    total, h = np.zeros(len(z)), 1e-3
    for step, weight in zip(steps, weights / weights.sum(), strict=True):
        for j in np.flatnonzero(z):
            moved = np.zeros(len(z))
            moved[j] = h
            up, down = (
                r2(x, step * z + sign * moved, components, intercept, mean)
                for sign in (1, -1)
            )
            total[j] += weight * (up - down) / (2 * h) * z[j]
    return total


def reference_curves(X, codes, components, intercept, mean, k):
    curves = np.zeros((len(X), 2, k + 1))
    for i, (x, z) in enumerate(zip(X, codes, strict=True)):
        importance = integrated_gradients(x, z, components, intercept, mean)
        active = np.flatnonzero(z)
        ranked = active[np.argsort(-importance[active], kind="stable")]
        for r in range(k + 1):
            kept = np.zeros(len(z))
            kept[ranked[:r]] = z[ranked[:r]]
            curves[i, 0, r] = r2(x, kept, components, intercept, mean)
            curves[i, 1, r] = r2(x, z - kept, components, intercept, mean)
    return curves.mean(axis=0)


def make(seed, n_samples=6, n_latents=7, n_features=4, n_active=4):
    rng = np.random.default_rng(seed)
    codes = rng.exponential(size=(n_samples, n_latents))
    codes *= rng.random(codes.shape) < n_active / n_latents
    codes *= rng.choice([-1, 1, 1, 1], size=codes.shape)
    codes[0, 0] = 1.0
    components = rng.standard_normal((n_latents, n_features))
    X = codes @ components + rng.standard_normal((n_samples, n_features))
    return X, codes, components, *rng.standard_normal((2, n_features))


@pytest.mark.filterwarnings("ignore:codes @ components:UserWarning")
@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), cells=st.sampled_from([1, 12, 2**18]))
def test_curves_match_their_definition(seed, cells):
    X, codes, components, intercept, mean = make(seed)
    k = int((codes != 0).sum(axis=1).max())
    expected = reference_curves(X, codes, components, intercept, mean, k)
    options = {"intercept": intercept, "mean": mean}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CELLS_PER_BATCH", cells)
        curves = attribution_curves(X, codes, components, **options)
    assert_allclose(curves.insertion, expected[0], rtol=1e-6, atol=1e-9)
    assert_allclose(curves.deletion, expected[1], rtol=1e-6, atol=1e-9)
    assert_allclose(curves.insertion_score, expected[0, :-1].mean(), rtol=1e-6)
    assert_allclose(curves.deletion_score, expected[1, :-1].mean(), rtol=1e-6)
    frame = curves.to_frame()
    assert_allclose(frame["insertion"].loc[k], expected[0, k], rtol=1e-6)
    score = insertion_score(X, sparse.csr_array(codes), components, **options)
    assert_allclose(score, curves.insertion_score)
    score = deletion_score(X, sparse.csr_array(codes), components, **options)
    assert_allclose(score, curves.deletion_score)


def test_default_mean_and_ends_of_the_curves():
    X, codes, components, intercept, _ = make(0, n_samples=30)
    curves = attribution_curves(X, codes, components, intercept=intercept)
    whole = mean_sample_r2_score(X, codes @ components + intercept)
    nothing = mean_sample_r2_score(X, np.tile(intercept, (30, 1)))
    assert_allclose([curves.insertion[-1], curves.deletion[0]], whole)
    assert_allclose([curves.deletion[-1], curves.insertion[0]], nothing)
    without = attribution_curves(X, codes, components)
    zeros = attribution_curves(X, codes, components, intercept=np.zeros(4))
    assert_allclose(without.insertion, zeros.insertion)


def test_shorter_and_longer_curves():
    X, codes, components, _, mean = make(3)
    width = int((codes != 0).sum(axis=1).max())
    full = attribution_curves(X, codes, components, mean=mean)
    short = attribution_curves(X, codes, components, mean=mean, k=2)
    assert_allclose(short.insertion, full.insertion[:3])
    assert_allclose(short.deletion_score, full.deletion[:2].mean())
    longer = attribution_curves(X, codes, components, mean=mean, k=width + 3)
    assert_allclose(longer.insertion[width:], full.insertion[-1])
    assert_allclose(longer.deletion[:width], full.deletion[:-1])


@pytest.mark.filterwarnings("ignore:codes @ components:UserWarning")
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000))
def test_order_of_latents_and_units_do_not_matter(seed):
    X, codes, components, intercept, mean = make(seed)
    order = np.random.default_rng(seed).permutation(codes.shape[1])
    before = attribution_curves(X, codes, components, intercept=intercept, mean=mean)
    moved = attribution_curves(
        2 * X,
        4 * codes[:, order],
        components[order] / 2,
        intercept=2 * intercept,
        mean=2 * mean,
    )
    assert_allclose(moved.to_frame(), before.to_frame(), rtol=1e-9, atol=1e-12)


def test_float32_and_rows_without_a_code():
    X, codes, components, _, _ = make(5, n_samples=10)
    codes[3] = 0.0
    X32, codes32 = X.astype(np.float32), sparse.csr_array(codes.astype(np.float32))
    curves = attribution_curves(X32, codes32, components)
    wide = attribution_curves(
        X32.astype(np.float64), codes32.astype(np.float64), components
    )
    assert_allclose(curves.to_frame(), wide.to_frame(), rtol=1e-12)


def test_rows_that_equal_the_mean_count_as_in_r2():
    X, codes, components, _, mean = make(1)
    rounded = np.nextafter(mean, np.inf)
    X = np.vstack([mean, rounded, X])
    codes = np.vstack([codes[:2], codes])
    curves = attribution_curves(X, codes, components, mean=mean)
    whole = mean_sample_r2_score(X, codes @ components, mean=mean)
    nothing = mean_sample_r2_score(X, np.zeros_like(X), mean=mean)
    assert_allclose([curves.insertion[-1], curves.deletion[0]], whole)
    assert_allclose([curves.deletion[-1], curves.insertion[0]], nothing)
    # what an empty code gives is exact for the first two
    curves = attribution_curves(X, codes, components, mean=mean, intercept=mean)
    first = attribution_curves(X[2:], codes[2:], components, mean=mean, intercept=mean)
    assert_allclose(curves.insertion[0], (2 + 6 * first.insertion[0]) / 8)
    constant = np.full((3, 4), 0.1)
    with pytest.raises(ValueError, match="X equals mean in every row"):
        attribution_curves(constant, codes[:3], components)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"codes": np.zeros((3, 3))}, "codes has no active latent"),
        ({"codes": np.eye(4)[:, :3]}, "inconsistent numbers of samples"),
        ({"components": np.eye(4)[:, :3]}, "components has 4 rows and codes has 3"),
        ({"components": np.eye(4)[:3]}, "components has 4 columns and X has 3"),
        ({"intercept": np.zeros(2)}, r"intercept has shape \(2,\)"),
        ({"mean": np.zeros(2)}, r"mean has shape \(2,\)"),
        ({"k": 0}, "'k' parameter"),
    ],
)
@pytest.mark.parametrize("score", [attribution_curves, insertion_score, deletion_score])
def test_bad_arguments_are_named(score, changed, message):
    arguments = {"X": np.eye(3), "codes": np.eye(3), "components": np.eye(3)}
    with pytest.raises(ValueError, match=message):
        score(**arguments | changed)


@pytest.mark.parametrize("score", [attribution_curves, insertion_score, deletion_score])
def test_parts_that_do_not_belong_together_are_told_of(score):
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(50, 6)) * (rng.random((50, 6)) < 0.5)
    components, intercept = rng.standard_normal((6, 4)), np.full(4, 3.0)
    X = codes @ components + intercept
    score(X, codes, components, intercept=intercept)
    with pytest.warns(UserWarning, match="explains -.* of the variance") as caught:
        score(X, codes, components)
    assert "intercept" in str(caught[0].message)
    assert "scale_" in str(caught[0].message)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="explains -"):
        score(X, codes, 5 * components, intercept=intercept)
