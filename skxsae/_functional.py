"""The sparse half of an autoencoder: only the latents that are active are touched.

A batch of codes is a pair ``(values, indices)`` of shape (batch, k): the values of the
selected latents and their numbers, distinct within a row. A value of 0 marks a slot
that is not used. The encoder product is the only dense one; everything behind it costs
O(batch k d) in place of O(batch m d).
"""

import warnings
from types import ModuleType
from typing import NamedTuple

import torch
from torch.nn.functional import embedding_bag

with warnings.catch_warnings():
    # torch says once per process that its CSR layout is in beta: the one operation
    # used on it, `sampled_addmm`, is judged by a dense reference in the tests
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
    torch.sparse_csr_tensor(
        torch.tensor([0, 0]),
        torch.zeros(0, dtype=torch.long),
        torch.zeros(0),
        (1, 1),
        check_invariants=False,
    )


class Grouping(NamedTuple):
    """Where each latent is used in a batch: the transpose of `indices`."""

    latents: torch.Tensor  # (batch * k,) latent of each entry, sorted
    entries: torch.Tensor  # (batch * k,) flat entries, sorted by latent
    rows: torch.Tensor  # (batch * k,) row of each of them
    offsets: torch.Tensor  # (m,) first entry of each latent


def kernels_for(tensor: torch.Tensor) -> ModuleType | None:
    """The Triton kernels that stand in for torch's operations on a GPU."""
    if not tensor.is_cuda:
        return None
    from skxsae import _kernels

    return _kernels if _kernels.available(tensor) else None


def group_by_latent(indices: torch.Tensor, n_latents: int) -> Grouping:
    """Group the entries of a batch of codes by latent."""
    latents, entries = torch.sort(indices.flatten().int(), stable=True)
    numbers = torch.arange(n_latents, dtype=torch.int32, device=indices.device)
    offsets = torch.searchsorted(latents, numbers)
    return Grouping(latents, entries, entries // indices.shape[1], offsets)


def selected_dots(
    rows: torch.Tensor, directions: torch.Tensor, indices: torch.Tensor
) -> torch.Tensor:
    """Dot products of each row with its selected directions: (batch, k)."""
    if kernels := kernels_for(rows):
        return kernels.selected_dots(rows, directions, indices)
    n_rows, k = indices.shape
    pattern = torch.sparse_csr_tensor(
        torch.arange(0, n_rows * k + 1, k, device=rows.device),
        indices.flatten(),
        torch.zeros(n_rows * k, dtype=rows.dtype, device=rows.device),
        (n_rows, len(directions)),
        check_invariants=False,
    )
    dots = torch.sparse.sampled_addmm(pattern, rows, directions.T, beta=0.0)
    return dots.values().view(n_rows, k)


def weighted_sum(
    values: torch.Tensor, indices: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Sum of the selected directions, weighted by the values: (batch, d)."""
    if kernels := kernels_for(directions):
        return kernels.weighted_sum(values, indices, directions)
    return embedding_bag(
        indices, directions.detach(), per_sample_weights=values.detach(), mode="sum"
    )


def sum_by_latent(
    values: torch.Tensor, rows: torch.Tensor, grouping: Grouping
) -> torch.Tensor:
    """Sum over the batch of value times row, for each latent: (m, d)."""
    if kernels := kernels_for(rows):
        return kernels.sum_by_latent(values, rows, grouping)
    return embedding_bag(
        grouping.rows,
        rows.detach(),
        grouping.offsets,
        per_sample_weights=values.detach().flatten()[grouping.entries],
        mode="sum",
    )


def total_by_latent(values: torch.Tensor, grouping: Grouping) -> torch.Tensor:
    """Sum of the values of each latent, in a fixed order on any device: (m,)."""
    if kernels := kernels_for(values):
        return kernels.total_by_latent(values, grouping)
    totals = values.new_zeros(len(grouping.offsets))
    in_order = values.detach().flatten()[grouping.entries]
    return totals.index_add_(0, grouping.latents, in_order)


def unit_rows(directions: torch.Tensor) -> torch.Tensor:
    """Rows scaled to unit norm; a zero row stays zero."""
    tiny = torch.finfo(directions.dtype).tiny
    return directions / directions.norm(dim=1, keepdim=True).clamp_min(tiny)


class _Encode(torch.autograd.Function):
    """Makes values that were selected without a gradient differentiable."""

    @staticmethod
    def forward(ctx, rows, encoder, bias, values, indices, grouping):
        ctx.save_for_backward(rows, encoder, indices)
        ctx.grouping = grouping
        if values is None:
            return selected_dots(rows, encoder, indices) + bias[indices]
        return values.clone()

    @staticmethod
    def backward(ctx, grad):
        rows, encoder, indices = ctx.saved_tensors
        grad_bias = total_by_latent(grad, ctx.grouping)
        grad_rows = None
        if ctx.needs_input_grad[0]:
            grad_rows = weighted_sum(grad, indices, encoder)
        grad_encoder = sum_by_latent(grad, rows, ctx.grouping)
        return grad_rows, grad_encoder, grad_bias, None, None, None


class _Residual(torch.autograd.Function):
    """Rows minus a weighted sum of unit directions, which move on the unit sphere."""

    @staticmethod
    def forward(ctx, rows, values, indices, decoder, grouping):
        ctx.save_for_backward(values, indices, decoder)
        ctx.grouping = grouping
        return rows - weighted_sum(values, indices, decoder)

    @staticmethod
    def backward(ctx, grad):
        values, indices, decoder = ctx.saved_tensors
        grad_values = -selected_dots(grad, decoder, indices)
        grad_decoder = sum_by_latent(-values, grad, ctx.grouping)
        # the part of a row's gradient along the row is sum_b value * grad_value
        along = total_by_latent(values * grad_values, ctx.grouping)
        grad_decoder.addcmul_(decoder, along[:, None], value=-1.0)
        return grad, grad_values, None, grad_decoder, None


def encode_selected(
    rows: torch.Tensor,
    encoder: torch.Tensor,
    bias: torch.Tensor,
    values: torch.Tensor | None,
    indices: torch.Tensor,
    grouping: Grouping,
) -> torch.Tensor:
    """Values of the selected latents, with a gradient for rows, encoder and bias.

    They are computed if `values` is None.
    """
    return _Encode.apply(rows, encoder, bias, values, indices, grouping)


def residual(
    rows: torch.Tensor,
    values: torch.Tensor,
    indices: torch.Tensor,
    decoder: torch.Tensor,
    grouping: Grouping,
) -> torch.Tensor:
    """What a code leaves of its rows; the decoder's gradient is tangent."""
    return _Residual.apply(rows, values, indices, decoder, grouping)


def values_at(
    values: torch.Tensor, indices: torch.Tensor, wanted: torch.Tensor
) -> torch.Tensor:
    """Value, in each row's code, of the latents `wanted` in that row: (batch, k')."""
    # an unused slot may hold any latent, also one that another slot uses
    none = torch.iinfo(indices.dtype).max
    latents, order = indices.masked_fill(values == 0, none).sort(1)
    position = torch.searchsorted(latents, wanted.contiguous())
    position = position.clamp_max(indices.shape[1] - 1)
    found = latents.gather(1, position) == wanted
    return values.gather(1, order.gather(1, position)).where(found, 0.0)


def to_dense(
    values: torch.Tensor, indices: torch.Tensor, n_latents: int
) -> torch.Tensor:
    """Codes as a dense (batch, m) tensor, differentiable in the values."""
    dense = torch.zeros(
        len(values), n_latents, dtype=values.dtype, device=values.device
    )
    return dense.scatter_add(1, indices, values)
