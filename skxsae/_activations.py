"""Activations by name: which latents of a batch are active, and how active.

Each takes normalised rows minus the pre-bias and returns a `Code`, whose values have
gradients for the weights. Unused slots hold the value 0.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from skxsae._distributed import ALONE, Peers
from skxsae._functional import (
    Grouping,
    encode_selected,
    group_by_latent,
    total_by_latent,
)
from skxsae._picking import Codes, Picker
from skxsae._pursuit import gram, pursue

_TINY = torch.finfo(torch.float32).tiny
_WIDTH_OF_BATCH_TOPK = 4
_BANDWIDTH = 0.2  # of the kernel of a threshold, as a share of the threshold
_LEVEL_SPEED = 20.0


class Weights(NamedTuple):
    """Parameters of the autoencoder of one view; views may share tensors."""

    encoder: torch.Tensor  # (m, d)
    encoder_bias: torch.Tensor  # (m,)
    decoder: torch.Tensor  # (m, d), unit rows
    pre_bias: torch.Tensor  # (d,)
    level: torch.Tensor = torch.empty(0)  # (m,) of jumprelu, see `threshold_of`


def threshold_of(level: torch.Tensor) -> torch.Tensor:
    """Threshold of each latent: its logarithm moves faster than a weight does."""
    return (_LEVEL_SPEED * level).exp()


def level_of(threshold: torch.Tensor) -> torch.Tensor:
    """Inverse of `threshold_of`."""
    return threshold.log() / _LEVEL_SPEED


class Code(NamedTuple):
    """The active latents of a batch, and what their number costs."""

    values: torch.Tensor  # (batch, width)
    indices: torch.Tensor  # (batch, width), distinct in each row where active
    grouping: Grouping
    penalty: torch.Tensor | None = None  # mean over rows; its weight steers the L0


class Encoding(NamedTuple):
    """What an activation needs beside the rows and the weights."""

    k: int
    precision: str = "float32"
    positive: bool = True  # whether pursuit codes are
    hidden: torch.Tensor | None = None  # (batch, m), latents that may not be active
    peers: Peers = ALONE
    n_rows: int = 0  # of all processes, where there are several


def _encoded(rows: torch.Tensor, weights: Weights, picked: Codes) -> Code:
    """The positive ones of the picked pre-activations."""
    values, indices = picked
    grouping = group_by_latent(indices, len(weights.encoder))
    active = values > 0
    values = active * encode_selected(
        rows, weights.encoder, weights.encoder_bias, values, indices, grouping
    )
    return Code(values, indices, grouping)


def topk(rows: torch.Tensor, weights: Weights, how: Encoding) -> Code:
    """ReLU, then the `k` largest of each row."""
    picker = Picker(weights.encoder, weights.encoder_bias, how.precision)
    k = min(how.k, picker.n_latents)
    return _encoded(rows, weights, picker.largest(rows, k, how.hidden))


def batch_topk(rows: torch.Tensor, weights: Weights, how: Encoding) -> Code:
    """ReLU, then the ``k * n_rows`` largest of all rows together."""
    picker = Picker(weights.encoder, weights.encoder_bias, how.precision)
    width = min(_WIDTH_OF_BATCH_TOPK * how.k, picker.n_latents)
    values, indices = picker.largest(rows, width, how.hidden)
    smallest = _smallest_kept(values, how)
    wants_more = width < picker.n_latents and (values.amin(1) > smallest).any()
    if how.peers.any(bool(wants_more)):
        # some row may want more, and nothing below `smallest` is wanted, but for the
        # rounding of another way to the same number
        below = smallest * (1 - torch.finfo(smallest.dtype).eps ** 0.5)
        lowest = below.clamp_min(0.0).expand(picker.n_latents)
        values, indices = picker.above(rows, lowest, how.hidden)
        smallest = _smallest_kept(values, how)
    return _encoded(rows, weights, (values.where(values >= smallest, 0), indices))


def _smallest_kept(values: torch.Tensor, how: Encoding) -> torch.Tensor:
    """The ``k * n_rows``-th largest value, of the rows of all processes."""
    if how.peers.size > 1:
        # a negative value is not kept anyhow
        return how.peers.largest(values.flatten().relu(), how.k * how.n_rows)
    kept = min(how.k * len(values), values.numel())
    # kthvalue counts from the smallest
    return values.flatten().kthvalue(values.numel() - kept + 1).values


def relu(rows: torch.Tensor, weights: Weights, how: Encoding) -> Code:
    """ReLU; the penalty is the L1 norm, with the mean active value as its unit."""
    picker = Picker(weights.encoder, weights.encoder_bias, how.precision)
    zero = torch.zeros_like(weights.encoder_bias)
    code = _encoded(rows, weights, picker.above(rows, zero, how.hidden))
    own = code.values.detach()
    active, total = how.peers.total(torch.stack([(own > 0).sum(), own.sum()]))
    unit = total.clamp_min(_TINY) / active.clamp_min(1)
    return code._replace(penalty=code.values.sum() / (len(rows) * unit))


class _Jump(torch.autograd.Function):
    """Values above the threshold of their latent, and how many there are per row.

    The threshold gets the pseudo-gradients of Rajamanoharan et al., with a kernel
    that is constant where a value is within half a bandwidth of it.
    """

    @staticmethod
    def forward(ctx, values, level, indices, grouping):
        threshold = threshold_of(level)[indices]
        active = values > threshold
        near = (values - threshold).abs() < 0.5 * _BANDWIDTH * threshold
        ctx.save_for_backward(active, near, threshold)
        ctx.grouping = grouping
        return values * active, active.sum().to(values) / len(values)

    @staticmethod
    def backward(ctx, grad_values, grad_count):
        active, near, threshold = ctx.saved_tensors
        # kernel over width, 1 / (bandwidth * threshold), times d threshold / d level
        slope = near.to(grad_values) * (-_LEVEL_SPEED / _BANDWIDTH)
        by_entry = slope * (threshold * grad_values + grad_count / len(near))
        grad_level = total_by_latent(by_entry, ctx.grouping)
        return active * grad_values, grad_level, None, None


def jumprelu(rows: torch.Tensor, weights: Weights, how: Encoding) -> Code:
    """Pre-activations above a trained threshold; the penalty is the L0 norm."""
    picker = Picker(weights.encoder, weights.encoder_bias, how.precision)
    level = weights.level
    lowest = (1 - 0.5 * _BANDWIDTH) * threshold_of(level.detach())
    code = _encoded(rows, weights, picker.above(rows, lowest, how.hidden))
    values, count = _Jump.apply(code.values, level, code.indices, code.grouping)
    return code._replace(values=values, penalty=count)


def matching_pursuit(rows: torch.Tensor, weights: Weights, how: Encoding) -> Code:
    """`k` greedy steps on the dictionary, without an encoder."""
    products = gram(weights.decoder.detach())
    values, indices = pursue(
        rows, weights.decoder, products, how.k, how.positive, how.hidden
    )
    return Code(values, indices, group_by_latent(indices, len(weights.decoder)))


ACTIVATIONS: dict[str, Callable[[torch.Tensor, Weights, Encoding], Code]] = {
    "topk": topk,
    "batch_topk": batch_topk,
    "relu": relu,
    "jumprelu": jumprelu,
    "matching_pursuit": matching_pursuit,
}
STEERED = {"relu", "jumprelu"}  # what reaches k active latents through a penalty
