"""Normalisation: statistics, application, inversion; lazy reading."""

import numpy as np
import pytest
import torch

from skxsae._views import (
    NORMALIZATIONS,
    View,
    batches,
    fit_normalization,
    held_on_device,
    row_blocks,
    shuffled,
)


def make_rows(n_rows=50, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n_rows, n_features)) * [1, 2, 3, 4] + [5, -5, 0, 1]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


REFERENCE = {
    None: lambda X: X,
    "center": lambda X: X - X.mean(0),
    "scale": lambda X: (X - X.mean(0)) / np.sqrt(((X - X.mean(0)) ** 2).sum(1).mean()),
    "standard": lambda X: (X - X.mean(0)) / X.std(0),
    "l2": unit,
    "center_l2": lambda X: unit(X - X.mean(0)),
}


@pytest.mark.parametrize("name", [*sorted(NORMALIZATIONS), None])
def test_normalised_rows(name):
    X = make_rows()
    view = View(X, fit_normalization(name, [X]), "cpu")
    np.testing.assert_allclose(view[slice(None)].numpy(), REFERENCE[name](X))
    np.testing.assert_allclose(
        view.moments[0].numpy(), REFERENCE[name](X).mean(0), atol=1e-12
    )


@pytest.mark.parametrize("name", ["center", "scale", "standard", None])
def test_exact_inverse(name):
    X = make_rows()
    normalization = fit_normalization(name, [X])
    rows = View(X, normalization, "cpu")[slice(None)].numpy()
    np.testing.assert_allclose(normalization.invert(rows), X)


def test_l2_inverts_to_unit_length():
    X = make_rows()
    normalization = fit_normalization("l2", [X])
    rows = View(X, normalization, "cpu")[slice(None)].numpy()
    np.testing.assert_allclose(normalization.invert(rows), unit(X))


@pytest.mark.parametrize("name", [*sorted(NORMALIZATIONS), None])
def test_constant_and_zero_rows_stay_finite(name):
    for X in (np.full((5, 3), 0.1, dtype=np.float32), np.zeros((5, 3))):
        rows = View(X, fit_normalization(name, [X]), "cpu")[slice(None)].numpy()
        assert np.isfinite(rows).all()


def test_pooled_statistics():
    X, y = make_rows(seed=0), make_rows(seed=1)[:30] + 10
    pooled, stacked = fit_normalization("standard", [X, y]), np.vstack([X, y])
    np.testing.assert_allclose(pooled.offset, stacked.mean(0))
    np.testing.assert_allclose(pooled.scale, stacked.std(0))


def test_statistics_of_many_blocks_equal_those_of_one(monkeypatch):
    X = make_rows(n_rows=1000).astype(np.float16)
    whole = fit_normalization("standard", [X])
    monkeypatch.setattr("skxsae._views._BLOCK_ENTRIES", 64)
    blocked = fit_normalization("standard", [X])
    assert len(list(row_blocks(X))) > 50
    np.testing.assert_allclose(blocked.offset, whole.offset)
    np.testing.assert_allclose(blocked.scale, whole.scale)


def test_blocks_cover_all_rows_in_order():
    X = np.empty((10_001, 3))
    rows = np.concatenate([np.arange(10_001)[b] for b in row_blocks(X, width=4096)])
    np.testing.assert_array_equal(rows, np.arange(10_001))


@pytest.mark.parametrize(
    ("dtype", "expected"), [("f2", "float32"), ("f4", "float32"), ("f8", "float64")]
)
def test_rows_are_cast_batch_by_batch(dtype, expected):
    X = make_rows().astype(dtype)
    assert str(View(X, fit_normalization(None, [X]), "cpu")[:2].dtype)[6:] == expected


@pytest.mark.parametrize("name", ["scale", "standard"])
def test_statistics_of_tensors_equal_those_of_arrays(name):
    X = make_rows().astype(np.float32)
    ours = fit_normalization(name, [torch.from_numpy(X)])
    expected = fit_normalization(name, [X])
    np.testing.assert_array_equal(ours.offset, expected.offset)
    np.testing.assert_array_equal(ours.scale, expected.scale)


def batches_of(view):
    """The seven batches of a pass over one view."""
    order = shuffled([view], 7, np.random.RandomState(0))
    return [batch[0] for batch in batches([view], order)]


def test_a_view_that_is_held_on_a_device_gives_the_same_batches():
    X = make_rows().astype(np.float16)
    normalization = fit_normalization("scale", [X])
    plain, held = (View(X, normalization, "cpu") for _ in range(2))
    held.resident = torch.from_numpy(X)
    for one, other in zip(batches_of(plain), batches_of(held), strict=True):
        assert torch.equal(one, other)


def test_reading_ahead_keeps_the_order(monkeypatch):
    # as on a GPU that has no room for all rows, but without one
    X = make_rows().astype(np.float32)
    view = View(X, fit_normalization("scale", [X]), "cpu")
    expected = batches_of(view)
    monkeypatch.setattr("skxsae._views._n_ahead", lambda views: 2)
    ahead = batches_of(view)
    assert len(ahead) == 7
    for one, other in zip(expected, ahead, strict=True):
        assert torch.equal(one, other)


@pytest.mark.gpu
@pytest.mark.parametrize("share", [0.5, 0.0])
def test_batches_on_a_gpu_equal_those_on_the_cpu(share, monkeypatch):
    monkeypatch.setattr("skxsae._views._SHARE_OF_FREE_MEMORY", share)
    X = make_rows().astype(np.float32)
    normalization = fit_normalization("scale", [X])
    plain, view = (View(X, normalization, device) for device in ("cpu", "cuda"))
    (held,) = held_on_device([X], "cuda")
    assert isinstance(held, torch.Tensor) == bool(share)
    view.resident = held if share else None
    for one, other in zip(batches_of(plain), batches_of(view), strict=True):
        torch.testing.assert_close(one, other.cpu())
