"""Picking the most active latents, under every precision, against float64 NumPy."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skxsae._picking import PRECISIONS, Picker, largest, strided_argmax


def make(n_rows=64, n_features=32, n_latents=512, seed=0, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n_rows, n_features))
    encoder = rng.normal(size=(n_latents, n_features)) / np.sqrt(n_features)
    bias = 0.1 * rng.normal(size=n_latents)
    return [torch.from_numpy(array).to(dtype) for array in (rows, encoder, bias)]


def reference(rows, encoder, bias):
    return rows.double().numpy() @ encoder.double().numpy().T + bias.double().numpy()


def assert_is_the_largest(codes, pre, k, slack=1e-5):
    """Each row holds k distinct latents, their values, and no larger one is missed."""
    values, indices = (part.numpy() for part in codes)
    assert values.shape == indices.shape == (len(pre), k)
    assert all(len(set(row)) == k for row in indices)
    np.testing.assert_allclose(values, np.take_along_axis(pre, indices, 1), atol=slack)
    kth = np.sort(pre)[:, -k]
    assert (values.min(1) >= kth - slack).all()


@pytest.mark.parametrize("k", [1, 3, 32])
def test_largest_finds_neighbours_that_share_a_group(k):
    pre = torch.full((2, 1024), -1.0)
    # columns 0, 64, 128, ... are members of one strided group at every level
    hot = (torch.arange(k) * 64) % 1024 + torch.arange(k) // 16
    pre[:, hot] = torch.arange(1.0, k + 1)
    values, indices = largest(pre, k)
    assert set(indices[0].tolist()) == set(hot.tolist())
    assert sorted(values[1].tolist()) == list(range(1, k + 1))


@settings(deadline=None)
@given(
    st.integers(1, 5),
    st.sampled_from([1, 4, 6, 16, 64, 67, 96, 1024, 1031]),
    st.integers(1, 70),
    st.booleans(),
    st.integers(0, 9),
)
def test_largest_equals_a_sort(n_rows, n_latents, k, ties, seed):
    k = min(k, n_latents)
    rng = np.random.default_rng(seed)
    pre = rng.normal(size=(n_rows, n_latents))
    pre = np.round(pre) if ties else pre
    values, indices = largest(torch.from_numpy(pre), k)
    np.testing.assert_array_equal(np.sort(values), np.sort(pre)[:, -k:])
    np.testing.assert_array_equal(values, np.take_along_axis(pre, indices.numpy(), 1))
    assert all(len(set(row.tolist())) == k for row in indices)
    best = strided_argmax(torch.from_numpy(pre)).numpy()
    np.testing.assert_array_equal(pre[np.arange(n_rows), best], pre.max(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_values_are_exact_under_every_precision(precision, dtype):
    rows, encoder, bias = make(dtype=dtype)
    values, indices = Picker(encoder, bias, precision).largest(rows, 8)
    assert values.dtype == dtype
    pre = reference(rows, encoder, bias)
    atol = 1e-5 if dtype == torch.float32 else 1e-12
    np.testing.assert_allclose(
        values, np.take_along_axis(pre, indices.numpy(), 1), atol=atol
    )
    # a latent may be missed without a proof, but on easy rows none is
    assert_is_the_largest((values, indices), pre, 8)


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 40),
    st.sampled_from([1, 7, 32]),
    st.sampled_from([64, 200, 512]),
    st.integers(1, 12),
    st.sampled_from([0.0, 1.0, 30.0]),
    st.sampled_from([1e-3, 0.05, 1.0]),
    st.integers(0, 99),
)
def test_screening_never_misses_a_latent(n_rows, d, m, k, shift, spread, seed):
    # crowded rows: many pre-activations within the rounding of bfloat16, or a large
    # common part that eats its digits
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.normal(size=(n_rows, d)) + shift).float()
    encoder = torch.from_numpy(1 + spread * rng.normal(size=(m, d))).float()
    bias = torch.from_numpy(spread * rng.normal(size=m)).float()
    exact = Picker(encoder, bias).largest(rows, k)
    screened = Picker(encoder, bias, "screen").largest(rows, k)
    wanted, got = (np.sort(codes[0].relu().numpy()) for codes in (exact, screened))
    scale = 1e-6 * (1 + shift) * d * (1 + spread * 4)
    np.testing.assert_allclose(got, wanted, atol=scale, rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e12])
@pytest.mark.parametrize("n_features", [1, 200])
def test_the_bound_is_a_bound(n_features, scale, dtype):
    """No pre-activation exceeds what its bfloat16 score allows, in float64."""
    for seed, shift in [(0, 0.0), (1, 3.0), (2, -50.0)]:
        rows, encoder, bias = make(
            n_rows=32, n_features=n_features, seed=seed, dtype=dtype
        )
        rows = (rows + shift) * scale
        picker = Picker(encoder, bias, "screen")
        scores = picker.scores(rows).float()
        pre = reference(rows, encoder, bias)
        bounds = [picker._bound(rows, column) for column in scores.T]
        assert (pre <= torch.stack(bounds, dim=1).double().numpy()).all()


@pytest.mark.parametrize("scale", [1e-30, 1e39])
def test_what_bfloat16_cannot_hold_is_done_in_full(scale):
    rows, encoder, bias = make(dtype=torch.float64)
    exact, screened = (
        Picker(encoder, bias, precision).largest(rows * scale, 8)
        for precision in ("float32", "screen")
    )
    torch.testing.assert_close(screened[0].sort(1)[0], exact[0].sort(1)[0])


def test_int8_codes_do_not_depend_on_the_rows_beside_them():
    rows, encoder, bias = make()
    alone = Picker(encoder, bias, "int8").largest(rows, 8)
    crowd = torch.cat([rows, 1e4 * rows[:1], 0 * rows[:1]])
    together = Picker(encoder, bias, "int8").largest(crowd, 8)
    torch.testing.assert_close(together[0][:64], alone[0])
    # a row of zeros has the largest biases
    expected = bias.topk(8).values
    torch.testing.assert_close(together[0][-1].sort(descending=True)[0], expected)


def test_the_bound_is_tight_enough_to_certify_ordinary_rows():
    rows, encoder, bias = make(n_rows=256, n_features=128, n_latents=1024)
    _, uncertain = Picker(encoder, bias, "screen")._screened(rows, 16, None)
    assert uncertain.float().mean() < 0.02


def test_rows_that_cannot_be_certified_are_done_in_full():
    # all latents equal but one that bfloat16 cannot tell from them
    encoder = torch.ones(512, 4)
    encoder[77] += 1e-4
    rows, bias = torch.ones(3, 4), torch.zeros(512)
    picker = Picker(encoder, bias, "screen")
    assert picker._screened(rows, 1, None)[1].all()
    values, indices = picker.largest(rows, 1)
    assert (indices == 77).all()
    torch.testing.assert_close(values, torch.full((3, 1), 4.0004))
    _, missed = Picker(encoder, bias, "bf16").largest(rows, 1)
    assert (missed != 77).all()  # what the proof is for


@pytest.mark.parametrize("precision", PRECISIONS)
def test_hidden_latents_are_not_picked(precision):
    rows, encoder, bias = make()
    pre = reference(rows, encoder, bias)
    hidden = torch.rand(pre.shape, generator=torch.Generator().manual_seed(0)) < 0.5
    codes = Picker(encoder, bias, precision).largest(rows, 8, hidden)
    assert_is_the_largest(codes, np.where(hidden, -9.0, pre), 8)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_when_nearly_all_latents_are_hidden(precision):
    rows, encoder, bias = make()
    hidden = torch.ones(len(rows), len(encoder), dtype=torch.bool)
    hidden[:, :3] = False
    values, indices = Picker(encoder, bias, precision).largest(rows, 8, hidden)
    picked = values.relu() > 0
    assert (indices[picked] < 3).all()
    expected = (reference(rows, encoder, bias)[:, :3] > 0).sum()
    assert picked.sum() == expected


@pytest.mark.parametrize("precision", ["float32", "screen"])
def test_blocks_of_rows_do_not_matter(precision, monkeypatch):
    rows, encoder, bias = make()
    whole = Picker(encoder, bias, precision).largest(rows, 8)
    monkeypatch.setattr("skxsae._picking._BLOCK_ENTRIES", 5 * 512)
    blocks = Picker(encoder, bias, precision).largest(rows, 8)
    np.testing.assert_allclose(
        np.sort(whole[0].numpy()), np.sort(blocks[0].numpy()), atol=1e-6
    )


def test_above_finds_all_and_pads_with_zeros():
    rows, encoder, bias = make(dtype=torch.float64)
    threshold = torch.linspace(0.5, 2.5, 512, dtype=torch.float64)
    values, indices = Picker(encoder, bias).above(rows, threshold)
    pre = reference(rows, encoder, bias)
    dense = np.zeros_like(pre)
    for row in range(len(rows)):
        active = values[row] != 0
        dense[row, indices[row][active]] = values[row][active]
    np.testing.assert_allclose(dense, np.where(pre > threshold.numpy(), pre, 0))
    assert values.shape[1] == (pre > threshold.numpy()).sum(1).max()


def test_above_of_nothing():
    rows, encoder, bias = make()
    values, _ = Picker(encoder, bias).above(rows, torch.full((512,), 1e9))
    assert values.shape == (64, 1)
    assert not values.any()
