"""Activations against plain NumPy selections."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skxsae._activations import ACTIVATIONS, Encoding, Weights, level_of
from skxsae._functional import to_dense


def random_rows(n_rows, n_latents, seed):
    return torch.from_numpy(
        np.random.default_rng(seed).normal(size=(n_rows, n_latents))
    )


def encode(name, pre, k, hidden=None, threshold=0.5):
    """Dense code of rows whose pre-activations are `pre`."""
    n_latents = pre.shape[1]
    one = torch.eye(n_latents, dtype=pre.dtype)
    zero = torch.zeros(n_latents, dtype=pre.dtype)
    level = level_of(torch.full_like(zero, threshold))
    weights = Weights(one, zero, one, zero, level)
    code = ACTIVATIONS[name](pre, weights, Encoding(k, hidden=hidden))
    for row, values in zip(code.indices, code.values, strict=True):
        active = row[values != 0]
        assert len(active.unique()) == len(active)
    return to_dense(code.values, code.indices, n_latents).detach().numpy(), code


@settings(deadline=None)
@given(
    st.integers(1, 6),
    st.sampled_from([1, 5, 16, 32, 160, 512]),
    st.integers(1, 40),
    st.integers(0, 5),
)
def test_topk_keeps_the_k_largest_positive_entries(n_rows, n_latents, k, seed):
    pre = random_rows(n_rows, n_latents, seed)
    expected = np.zeros(pre.shape)
    for row, values in enumerate(pre.numpy()):
        best = np.argsort(-values)[:k]
        expected[row, best] = np.maximum(values[best], 0)
    np.testing.assert_array_equal(encode("topk", pre, k)[0], expected)


@settings(deadline=None)
@given(
    st.integers(1, 8),
    st.sampled_from([3, 16, 64, 300]),
    st.integers(1, 9),
    st.integers(0, 5),
)
def test_batch_topk_keeps_the_largest_of_all_rows(n_rows, n_latents, k, seed):
    k = min(k, n_latents)
    pre = random_rows(n_rows, n_latents, seed)
    pre *= torch.linspace(0.1, 5, n_rows)[:, None]  # rows differ in how much they keep
    flat = np.sort(pre.numpy().ravel())[::-1]
    threshold = flat[k * n_rows - 1]
    expected = np.where(pre.numpy() >= threshold, np.maximum(pre.numpy(), 0), 0)
    np.testing.assert_array_equal(encode("batch_topk", pre, k)[0], expected)


def test_batch_topk_gives_one_greedy_row_all_it_wants():
    pre = torch.cat([torch.ones(1, 640) * 5, torch.ones(9, 640)])
    codes, _ = encode("batch_topk", pre, 64)
    assert (codes[0] > 0).sum() == 640


def test_relu_keeps_what_is_positive_and_counts_its_length():
    pre = random_rows(6, 50, seed=0)
    dense, code = encode("relu", pre, 3)
    np.testing.assert_array_equal(dense, np.maximum(pre.numpy(), 0))
    # the L1 norm in units of the mean active value is the number of active latents
    assert code.penalty.item() == pytest.approx((dense > 0).sum() / 6)


def test_relu_of_rows_without_anything_positive():
    dense, code = encode("relu", -torch.ones(3, 4, dtype=torch.float64), 2)
    assert not dense.any()
    assert code.penalty.item() == 0


def test_jumprelu_keeps_what_is_above_the_threshold():
    pre = random_rows(6, 50, seed=0)
    dense, code = encode("jumprelu", pre, 3)
    np.testing.assert_array_equal(dense, np.where(pre > 0.5, pre, 0))
    assert code.penalty.item() == pytest.approx((pre > 0.5).sum().item() / 6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_hidden_latents_are_not_active(name):
    pre = random_rows(6, 50, seed=0).abs()
    hidden = torch.rand(6, 50, generator=torch.Generator().manual_seed(0)) < 0.5
    dense, _ = encode(name, pre, 30, hidden=hidden)
    assert dense.any()
    assert not dense[hidden.numpy()].any()
    shown, _ = encode(name, pre * ~hidden, 30)
    np.testing.assert_array_equal(dense, shown)


def test_matching_pursuit_on_an_orthonormal_dictionary_is_topk_by_magnitude():
    pre = random_rows(6, 50, seed=0)
    dense, _ = encode("matching_pursuit", pre, 4)
    kept = np.maximum(pre.numpy(), 0)
    kept[kept < np.sort(kept)[:, -4:-3]] = 0
    np.testing.assert_allclose(dense, kept)
