"""Which latents of a sample are the most active, without keeping all the others."""

import contextlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from skxsae._functional import kernels_for, selected_dots

Codes = tuple[torch.Tensor, torch.Tensor]  # values and indices, (batch, width) each

_BLOCK_ENTRIES = 2**21
_GROUP_SIZE = 4
_GPU_BLOCK_ENTRIES = 2**27
_BFLOAT16_ROUNDING = 2.0**-8
_UNDERFLOW = 2.0**-60
_INT8_LARGEST = 127


class Precision(NamedTuple):
    """How scores are computed that only say which latents may be the most active."""

    scores: Callable | None = None  # None: the exact pre-activations
    low: Callable | None = None  # to a lower type, and the factor that went in
    extra: int = 0  # candidates beyond those that are wanted
    certified: bool = False  # whether missed latents are ruled out


def largest(pre: torch.Tensor, k: int) -> Codes:
    """Exactly the `k` largest entries of each row, in no particular order."""
    if kernels := kernels_for(pre):
        return kernels.largest(pre, k)
    n_latents = pre.shape[1]
    n_groups = n_latents // _GROUP_SIZE
    if pre.is_cuda or n_groups <= 2 * k:
        values, indices = pre.topk(k, dim=1, sorted=False)
        return values, indices
    # the k largest entries lie in the k groups with the largest maxima, or in no group
    grouped = _GROUP_SIZE * n_groups
    maxima = pre[:, :grouped].unflatten(1, (_GROUP_SIZE, n_groups)).amax(1)
    _, groups = largest(maxima, k)
    first = torch.arange(0, grouped, n_groups, device=pre.device)
    members = (groups[:, None, :] + first[:, None]).flatten(1)
    if grouped < n_latents:
        rest = torch.arange(grouped, n_latents, device=pre.device)
        members = torch.cat([members, rest.expand(len(pre), -1)], dim=1)
    values, position = pre.gather(1, members).topk(k, dim=1, sorted=False)
    return values, members.gather(1, position)


def strided_argmax(scores: torch.Tensor) -> torch.Tensor:
    """Number of the largest entry of each row, by way of strided groups: (batch,)."""
    n_latents, size = scores.shape[1], 4 * _GROUP_SIZE
    n_groups = n_latents // size
    if scores.is_cuda or n_groups < 2:
        return scores.argmax(1)
    grouped = size * n_groups
    groups = scores[:, :grouped].unflatten(1, (size, n_groups))
    value, group = groups.amax(1).max(1)
    members = groups.gather(2, group[:, None, None].expand(-1, size, 1))
    best = members.squeeze(2).argmax(1) * n_groups + group
    if grouped == n_latents:
        return best
    other, column = scores[:, grouped:].max(1)
    return torch.where(other > value, grouped + column, best)


class Picker:
    """Picks among the pre-activations ``encoder @ row + bias`` of all latents.

    The dense product is done in blocks of rows, and only what is picked is kept. Under
    any precision the values that come out are dot products in the type of the rows; a
    lower one only picks the candidates whose values are computed.
    """

    def __init__(
        self, encoder: torch.Tensor, bias: torch.Tensor, precision: str = "float32"
    ):
        self.encoder, self.bias = encoder.detach(), bias.detach()
        if precision == "int8" and encoder.is_cuda:
            raise ValueError("precision='int8' is for the CPU: use 'bf16' on a GPU.")
        if precision == "tf32" and not encoder.is_cuda:
            precision = "float32"
        self.precision = PRECISIONS[precision]
        self.n_latents = len(encoder)
        if self.precision.low is not None:
            self.low, self.scale = self.precision.low(self.encoder)
        if self.precision.certified:
            self.norm = _largest_norm(self.encoder)
            self.rounding = _largest_norm(self.encoder - self.low)
            self.largest_bias = self.bias.abs().max()

    @torch.no_grad()
    def largest(
        self, rows: torch.Tensor, k: int, hidden: torch.Tensor | None = None
    ) -> Codes:
        """The `k` largest pre-activations of each row: (batch, k).

        A latent that is `hidden` (batch, m) comes last, with a value below 0. Among
        values below 0, those that are returned are not certified to be the largest.
        """
        exact = self.precision.scores is None
        if exact or k + self.precision.extra >= self.n_latents:
            return self._exact(rows, k, hidden)
        codes, uncertain = self._screened(rows, k, hidden)
        if uncertain is not None:
            again = uncertain.nonzero().squeeze(1)
            if len(again):
                mask = None if hidden is None else hidden[again]
                values, indices = self._exact(rows[again], k, mask)
                codes[0][again], codes[1][again] = values, indices
        return codes

    def scores(self, rows: torch.Tensor) -> torch.Tensor:
        """What says which latents are candidates: (batch, m)."""
        assert self.precision.scores is not None
        return self.precision.scores(self, rows)

    @torch.no_grad()
    def above(
        self,
        rows: torch.Tensor,
        threshold: torch.Tensor,
        hidden: torch.Tensor | None = None,
    ) -> Codes:
        """All pre-activations above the threshold of their latent, padded with 0."""
        parts = []
        for block, pre in self._products(rows, hidden):
            row, latent = (pre > threshold).nonzero(as_tuple=True)
            parts.append((row + block.start, latent, pre[row, latent]))
        row, latent, value = map(torch.cat, zip(*parts, strict=True))
        return _padded(row, latent, value, len(rows), self.n_latents)

    def _exact(self, rows, k, hidden) -> Codes:
        parts = [largest(pre, k) for _, pre in self._products(rows, hidden)]
        values, indices = map(torch.cat, zip(*parts, strict=True))
        return values, indices

    def _products(self, rows, hidden) -> Iterator[tuple[slice, torch.Tensor]]:
        """Exact pre-activations of blocks of rows; each overwrites the one before."""
        blocks = _row_blocks(rows, self.n_latents)
        buffer = rows.new_empty(blocks[0].stop, self.n_latents)
        for block in blocks:
            pre = buffer[: block.stop - block.start]
            with _matmul(rows, "fp32_precision", "ieee"):
                torch.mm(rows[block], self.encoder.T, out=pre)
            pre.add_(self.bias)
            yield block, _hide(pre, hidden, block)

    def _screened(self, rows, k, hidden) -> tuple[Codes, torch.Tensor | None]:
        """The largest among the candidates, and the rows that may have missed one."""
        wanted = k + self.precision.extra
        parts = [
            largest(_hide(self.scores(rows[block]), hidden, block), wanted)
            for block in _row_blocks(rows, self.n_latents)
        ]
        scores, candidates = map(torch.cat, zip(*parts, strict=True))
        values = selected_dots(rows, self.encoder, candidates) + self.bias[candidates]
        values = values.masked_fill(scores == _lowest(scores), _lowest(values))
        values, position = values.topk(k, dim=1, sorted=False)
        uncertain = None
        if self.precision.certified:
            bound = self._bound(rows, scores.amin(1).to(rows))
            # not `bound > ...`: what has overflowed is not certain
            uncertain = ~(bound <= values.amin(1).clamp_min(0.0))
        return (values, candidates.gather(1, position)), uncertain

    def _bound(self, rows: torch.Tensor, score: torch.Tensor) -> torch.Tensor:
        """What no pre-activation exceeds whose bfloat16 score is at most `score`.

        Cauchy-Schwarz bounds what rounding `rows` and `encoder` changes in their
        product; the product and the sum with the bias are rounded once more each, and
        sums of d float32 products err by at most d units in the last place. The last
        term covers squares that are lost to underflow.
        """
        low = rows.bfloat16().to(rows)
        norms = low.norm(dim=1)
        of_inputs = (rows - low).norm(dim=1) * self.norm + norms * self.rounding
        of_sums = rows.shape[1] * 2.0**-22 * rows.norm(dim=1) * self.norm
        of_outputs = 2.1 * _BFLOAT16_ROUNDING * (score.abs() + self.largest_bias)
        of_underflow = _UNDERFLOW * rows.shape[1] * (1 + self.norm)
        return score + of_outputs + 1.01 * of_inputs + of_sums + of_underflow


def _largest_norm(rows: torch.Tensor) -> torch.Tensor:
    return rows.norm(dim=1).max()


def _row_blocks(rows: torch.Tensor, n_latents: int) -> list[slice]:
    """Slices of rows whose products stay in the cache, or in a part of a GPU."""
    n_rows = len(rows)
    entries = _GPU_BLOCK_ENTRIES if rows.is_cuda else _BLOCK_ENTRIES
    size = max(1, entries // n_latents)
    return [slice(start, min(start + size, n_rows)) for start in range(0, n_rows, size)]


def _lowest(scores: torch.Tensor) -> float:
    return torch.finfo(scores.dtype).min


def _hide(scores, hidden, block):
    """Scores with the lowest number where a latent cannot be picked."""
    if hidden is None:
        return scores
    return scores.masked_fill_(hidden[block], _lowest(scores))


def _padded(row, latent, value, n_rows: int, n_latents: int) -> Codes:
    """Entries in the order of their rows as (n_rows, width) values and indices."""
    counts = torch.bincount(row, minlength=n_rows)
    width = max(1, int(counts.max())) if n_rows else 1
    slot = torch.arange(len(row), device=row.device)
    slot -= (counts.cumsum(0) - counts)[row]
    values = value.new_zeros(n_rows, width)
    # unused slots are spread over the latents, for no latent has to sum them all
    indices = torch.arange(n_rows * width, device=row.device) % n_latents
    indices = indices.view(n_rows, width)
    values[row, slot], indices[row, slot] = value, latent
    return values, indices


@contextlib.contextmanager
def _matmul(tensor: torch.Tensor, option: str, value):
    """One of torch's options for products on a GPU, for a while."""
    options = torch.backends.cuda.matmul
    if not tensor.is_cuda:
        yield
        return
    before = getattr(options, option)
    setattr(options, option, value)
    try:
        yield
    finally:
        setattr(options, option, before)


def _to_bfloat16(rows: torch.Tensor) -> tuple[torch.Tensor, float]:
    return rows.bfloat16(), 1.0


def _to_int8(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as integers, and the one factor that all of them were multiplied by."""
    return _rounded(rows, rows.abs().max())


def _rounded(
    rows: torch.Tensor, most: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as integers of 8 bits, `most` becoming the largest, and the factor."""
    scale = torch.where(most > 0, _INT8_LARGEST / most, 1.0)
    return (rows * scale).round_().to(torch.int8), scale


def _tf32_scores(picker: Picker, rows: torch.Tensor) -> torch.Tensor:
    with _matmul(rows, "fp32_precision", "tf32"):
        return torch.addmm(picker.bias, rows, picker.encoder.T)


def _bfloat16_scores(picker: Picker, rows: torch.Tensor) -> torch.Tensor:
    # the bound counts on sums in float32
    with _matmul(rows, "allow_bf16_reduced_precision_reduction", False):
        scores = torch.mm(rows.bfloat16(), picker.low.T)
    return scores.add_(picker.bias.bfloat16())


def _int8_scores(picker: Picker, rows: torch.Tensor) -> torch.Tensor:
    # a factor for each row: its code does not depend on the rows beside it
    low, scale = _rounded(rows, rows.abs().amax(1, keepdim=True))
    # torch reads what is not there of a single row whose two strides are both 1
    encoder = picker.low.T if rows.shape[1] > 1 else picker.low.view(1, -1)
    scores = torch._int_mm(low, encoder).to(rows)
    return scores.div_(scale * picker.scale).add_(picker.bias)


PRECISIONS = {
    "float32": Precision(),
    "tf32": Precision(_tf32_scores, extra=8),
    "bf16": Precision(_bfloat16_scores, _to_bfloat16, extra=8),
    "int8": Precision(_int8_scores, _to_int8, extra=8),
    "screen": Precision(_bfloat16_scores, _to_bfloat16, extra=24, certified=True),
}
