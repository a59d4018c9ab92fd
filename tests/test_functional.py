"""The sparse building blocks against their dense definitions in float64."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skxsae._functional import (
    encode_selected,
    group_by_latent,
    residual,
    selected_dots,
    sum_by_latent,
    to_dense,
    total_by_latent,
    unit_rows,
    values_at,
    weighted_sum,
)

shapes = st.tuples(
    st.integers(1, 9), st.integers(1, 7), st.integers(1, 20), st.integers(1, 6)
)


def make_codes(shape, seed=0):
    """Rows, directions, values and distinct indices, in float64."""
    n_rows, n_features, n_latents, k = shape
    k = min(k, n_latents)
    rng = np.random.default_rng(seed)
    indices = np.array([rng.permutation(n_latents)[:k] for _ in range(n_rows)])
    return (
        torch.from_numpy(rng.normal(size=(n_rows, n_features))),
        torch.from_numpy(rng.normal(size=(n_latents, n_features))),
        torch.from_numpy(rng.normal(size=(n_rows, k))),
        torch.from_numpy(indices),
    )


@settings(deadline=None)
@given(shapes)
def test_products_equal_their_dense_form(shape):
    rows, directions, values, indices = make_codes(shape)
    dense = to_dense(values, indices, len(directions))
    grouping = group_by_latent(indices, len(directions))
    torch.testing.assert_close(
        selected_dots(rows, directions, indices),
        (rows @ directions.T).gather(1, indices),
    )
    torch.testing.assert_close(
        weighted_sum(values, indices, directions), dense @ directions
    )
    torch.testing.assert_close(sum_by_latent(values, rows, grouping), dense.T @ rows)
    torch.testing.assert_close(total_by_latent(values, grouping), dense.sum(0))


@settings(deadline=None)
@given(shapes)
def test_gradients_equal_those_of_dense_autograd(shape):
    rows, encoder, _, indices = make_codes(shape)
    decoder = unit_rows(torch.randn(encoder.shape, dtype=torch.float64))
    bias = torch.randn(len(encoder), dtype=torch.float64)
    target = torch.randn(rows.shape, dtype=torch.float64)
    leaves = [rows, encoder, bias, decoder]

    def dense_loss(rows, encoder, bias, decoder):
        pre = rows @ encoder.T + bias
        codes = torch.zeros_like(pre).scatter(1, indices, pre.gather(1, indices))
        return ((codes @ decoder - target) ** 2).sum()

    def sparse_loss(rows, encoder, bias, decoder):
        grouping = group_by_latent(indices, len(encoder))
        values = (rows @ encoder.T + bias).gather(1, indices).detach()
        values = encode_selected(rows, encoder, bias, values, indices, grouping)
        return (residual(target, values, indices, decoder, grouping) ** 2).sum()

    expected, actual = (
        torch.autograd.grad(f(*inputs), inputs)
        for f in (dense_loss, sparse_loss)
        for inputs in [[leaf.detach().clone().requires_grad_() for leaf in leaves]]
    )
    for wanted, got in zip(expected[:3], actual[:3], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-9)
    tangent = expected[3] - (expected[3] * decoder).sum(1, keepdim=True) * decoder
    torch.testing.assert_close(actual[3], tangent, rtol=1e-6, atol=1e-9)


@settings(deadline=None)
@given(shapes)
def test_values_at_looks_up_the_other_code(shape):
    _, directions, values, indices = make_codes(shape)
    _, _, _, wanted = make_codes(shape, seed=1)
    dense = to_dense(values, indices, len(directions))
    torch.testing.assert_close(
        values_at(values, indices, wanted), dense.gather(1, wanted)
    )


def test_values_at_does_not_take_an_unused_slot_for_the_latent_it_names():
    values = torch.tensor([[0.0, 2.0, 0.0]], requires_grad=True)
    indices = torch.tensor([[5, 5, 7]])
    found = values_at(values, indices, torch.tensor([[5, 7, 1]]))
    assert found.tolist() == [[2.0, 0.0, 0.0]]
    found.sum().backward()
    assert values.grad.tolist() == [[0.0, 1.0, 0.0]]


def test_unit_rows_leave_a_zero_row_alone():
    rows = unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    torch.testing.assert_close(rows, torch.tensor([[0.6, 0.8], [0.0, 0.0]]))
