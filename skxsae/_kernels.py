"""Triton kernels for the sparse half of an autoencoder on a GPU.

The launchers stand in for the functions of the same name in `_functional` and
`_picking`. Nothing in them waits for the device or depends on what the tensors
hold, so that a CUDA graph can capture them. Sums run in a fixed order, in float64 for
float64 input and in float32 for the rest. A slot with value 0 costs no row.

With TRITON_INTERPRET=1, set before anything imports Triton, they run on CPU tensors.
"""

import math
from typing import Any

import torch

from skxsae._functional import Grouping

try:
    import triton
    import triton.language as tl
    from triton import jit
    from triton.language import constexpr
except ImportError:
    # torch's wheels for the CPU bring no Triton: what is below can be imported all the
    # same, and `available` says no
    triton, constexpr = None, object

    def jit(function: Any) -> Any:
        """Leave the kernel as it is."""
        return function


_TILE = 4096  # elements of a gathered tile: 32 for each thread of four warps
_TILE_COLUMNS = 512
_WINDOW = 128  # entries of a latent beyond which its sum is split over programs
_FLAT_BLOCK = 1024
_ROW_BLOCK = 8192  # widest row that one program searches for its largest entries


def available(tensor: torch.Tensor) -> bool:
    """Whether the kernels run on this tensor."""
    if triton is None:
        return False
    return tensor.is_cuda or bool(triton.knobs.runtime.interpret)


def _launch(
    kernel: Any, grid: tuple[int, ...], *args: Any, num_warps: int = 4, **constants: Any
) -> None:
    """Run a kernel on the device of its first argument, current or not."""
    # Triton 3.9 warns where nothing is said about fused multiply-adds
    constants |= {"num_warps": num_warps, "enable_fp_fusion": True}
    with torch.cuda.device_of(args[0]):
        kernel[grid](*args, **constants)


def _accumulator(*tensors: torch.Tensor) -> Any:
    """Type to compute in."""
    is_double = any(tensor.dtype == torch.float64 for tensor in tensors)
    return tl.float64 if is_double else tl.float32


def _warps(block: int, per_thread: int) -> int:
    """Number of warps that leaves each thread so many elements of a block."""
    return min(max(block // (32 * per_thread), 1), 16)


def _tile(n: int, d: int) -> dict[str, int]:
    """Shape of a tile of gathered rows: at most (n, d), rounded to powers of two."""
    columns = min(triton.next_power_of_2(max(d, 1)), _TILE_COLUMNS)
    # narrow rows get more of them, but 64 indices at a time are enough
    count = min(triton.next_power_of_2(n), _TILE // columns, 64)
    return {"BLOCK_N": count, "BLOCK_D": columns}


@jit
def _weighted_sum_kernel(
    out, values, indices, directions, k, d,
    ACC: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = columns < d
    sums = tl.zeros((BLOCK_N, BLOCK_D), ACC)
    for first in range(0, k, BLOCK_N):
        slots = first + tl.arange(0, BLOCK_N)
        value = tl.load(values + row * k + slots, mask=slots < k, other=0.0)
        used = value != 0
        index = tl.load(indices + row * k + slots, mask=used, other=0)
        tile = tl.load(
            directions + index[:, None] * d + columns[None, :],
            mask=used[:, None] & inside[None, :],
            other=0.0,
        )
        sums += value.to(ACC)[:, None] * tile.to(ACC)
    tl.store(out + row * d + columns, tl.sum(sums, axis=0), mask=inside)


def weighted_sum(
    values: torch.Tensor, indices: torch.Tensor, directions: torch.Tensor
) -> torch.Tensor:
    """Sum of the selected directions, weighted by the values: (batch, d)."""
    (n_rows, k), d = values.shape, directions.shape[1]
    out = directions.new_empty((n_rows, d))
    tile = _tile(k, d)
    _launch(
        _weighted_sum_kernel,
        (n_rows, triton.cdiv(d, tile["BLOCK_D"])),
        out,
        values.contiguous(),
        indices.contiguous(),
        directions.contiguous(),
        k,
        d,
        ACC=_accumulator(values, directions),
        **tile,
    )
    return out


@jit
def _selected_dots_kernel(
    out, rows, directions, indices, k, d,
    ACC: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slots = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    used = slots < k
    index = tl.load(indices + row * k + slots, mask=used, other=0)
    products = tl.zeros((BLOCK_N, BLOCK_D), ACC)
    for first in range(0, d, BLOCK_D):
        columns = first + tl.arange(0, BLOCK_D)
        inside = columns < d
        part = tl.load(rows + row * d + columns, mask=inside, other=0.0)
        tile = tl.load(
            directions + index[:, None] * d + columns[None, :],
            mask=used[:, None] & inside[None, :],
            other=0.0,
        )
        products += part.to(ACC)[None, :] * tile.to(ACC)
    tl.store(out + row * k + slots, tl.sum(products, axis=1), mask=used)


def selected_dots(
    rows: torch.Tensor, directions: torch.Tensor, indices: torch.Tensor
) -> torch.Tensor:
    """Dot products of each row with its selected directions: (batch, k)."""
    (n_rows, k), d = indices.shape, rows.shape[1]
    out = rows.new_empty((n_rows, k))
    tile = _tile(k, d)
    _launch(
        _selected_dots_kernel,
        (n_rows, triton.cdiv(k, tile["BLOCK_N"])),
        out,
        rows.contiguous(),
        directions.contiguous(),
        indices.contiguous(),
        k,
        d,
        ACC=_accumulator(rows, directions),
        **tile,
    )
    return out


@jit
def _end_of(latent, offsets, n_latents, n_entries):
    """First entry behind those of a latent."""
    is_last = latent + 1 == n_latents
    return tl.load(offsets + latent + 1, mask=not is_last, other=n_entries)


@jit
def _sum_entries(
    start, stop, columns, values, totalled, rows, entries, entry_rows, d,
    ACC: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """Sums of value times row and of `totalled` over the entries start to stop."""
    inside = columns < d
    sums = tl.zeros((BLOCK_N, BLOCK_D), ACC)
    totals = tl.zeros((BLOCK_N,), ACC)
    for first in range(start, stop, BLOCK_N):
        position = first + tl.arange(0, BLOCK_N)
        listed = position < stop
        entry = tl.load(entries + position, mask=listed, other=0)
        row = tl.load(entry_rows + position, mask=listed, other=0).to(tl.int64)
        value = tl.load(values + entry, mask=listed, other=0.0)
        totals += tl.load(totalled + entry, mask=listed, other=0.0).to(ACC)
        tile = tl.load(
            rows + row[:, None] * d + columns[None, :],
            mask=(value != 0)[:, None] & inside[None, :],
            other=0.0,
        )
        sums += value.to(ACC)[:, None] * tile.to(ACC)
    return tl.sum(sums, axis=0), tl.sum(totals, axis=0)


@jit
def _window_kernel(
    window_sums, window_totals, offsets, n_latents, n_entries,
    values, totalled, rows, entries, entry_rows, d,
    ACC: constexpr, WINDOW: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """The part of a long latent that lies in a window of its entries."""
    window = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    # the latent of the window's first entry is the last that starts there or before
    latent = tl.zeros((), tl.int64)
    bound = latent + n_latents
    while bound - latent > 1:
        middle = (latent + bound) // 2
        is_behind = tl.load(offsets + middle) > window * WINDOW
        latent = tl.where(is_behind, latent, middle)
        bound = tl.where(is_behind, middle, bound)
    if window >= tl.load(offsets + latent) // WINDOW + 2:
        end = _end_of(latent, offsets, n_latents, n_entries)
        sums, total = _sum_entries(
            window * WINDOW, tl.minimum(end, (window + 1) * WINDOW), columns,
            values, totalled, rows, entries, entry_rows, d, ACC, BLOCK_N, BLOCK_D,
        )  # fmt: skip
        tl.store(window_sums + window * d + columns, sums, mask=columns < d)
        if tl.program_id(1) == 0:
            tl.store(window_totals + window, total)


@jit
def _latent_kernel(
    sums_out, totals_out, window_sums, window_totals, offsets, n_latents, n_entries,
    values, totalled, rows, entries, entry_rows, d,
    ACC: constexpr, WINDOW: constexpr, BLOCK_N: constexpr, BLOCK_D: constexpr,
):  # fmt: skip
    """The entries in the first two windows of a latent, and the sums of the others."""
    latent = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    inside = columns < d
    start = tl.load(offsets + latent)
    end = _end_of(latent, offsets, n_latents, n_entries)
    others = start // WINDOW + 2
    sums, total = _sum_entries(
        start, tl.minimum(end, others * WINDOW), columns,
        values, totalled, rows, entries, entry_rows, d, ACC, BLOCK_N, BLOCK_D,
    )  # fmt: skip
    for window in range(others, tl.cdiv(end, WINDOW)):
        sums += tl.load(window_sums + window * d + columns, mask=inside, other=0.0)
        total += tl.load(window_totals + window)
    tl.store(sums_out + latent * d + columns, sums, mask=inside)
    if tl.program_id(1) == 0:
        tl.store(totals_out + latent, total)


def sum_and_total_by_latent(
    values: torch.Tensor,
    rows: torch.Tensor,
    totalled: torch.Tensor,
    grouping: Grouping,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of value times row (m, d) and of `totalled` (m,), for each latent.

    One program for each latent, and one for each window of a latent that has more than
    two: a latent that is active in every row does not keep the others waiting.
    """
    n_entries, n_latents, d = values.numel(), len(grouping.offsets), rows.shape[1]
    n_windows = triton.cdiv(n_entries, _WINDOW)
    accumulator = _accumulator(values, rows)
    partial = torch.float64 if accumulator is tl.float64 else torch.float32
    window_sums = rows.new_empty((n_windows, d), dtype=partial)
    window_totals = rows.new_empty(n_windows, dtype=partial)
    sums = rows.new_empty((n_latents, d))
    totals = totalled.new_empty(n_latents)
    tile = _tile(n_entries, d)
    n_blocks = triton.cdiv(d, tile["BLOCK_D"])
    inputs = (
        grouping.offsets,
        n_latents,
        n_entries,
        values.contiguous(),
        totalled.contiguous(),
        rows.contiguous(),
        grouping.entries,
        grouping.rows,
        d,
    )
    constants = {"ACC": accumulator, "WINDOW": _WINDOW, **tile}
    partials = (window_sums, window_totals)
    _launch(_window_kernel, (n_windows, n_blocks), *partials, *inputs, **constants)
    _launch(
        _latent_kernel,
        (n_latents, n_blocks),
        sums,
        totals,
        *partials,
        *inputs,
        **constants,
    )
    return sums, totals


def sum_by_latent(
    values: torch.Tensor, rows: torch.Tensor, grouping: Grouping
) -> torch.Tensor:
    """Sum over the batch of value times row, for each latent: (m, d)."""
    return sum_and_total_by_latent(values, rows, values, grouping)[0]


def total_by_latent(values: torch.Tensor, grouping: Grouping) -> torch.Tensor:
    """Sum of the values of each latent: (m,)."""
    # the totals come beside a sum of rows: let the rows be as narrow as can be
    rows = values.new_zeros((len(values), 1))
    return sum_and_total_by_latent(values, rows, values, grouping)[1]


@jit
def _bias_correction(LOG_BETA: constexpr, step):
    """1 - beta ** step without the cancellation of the first steps."""
    x = step * LOG_BETA
    # expm1(x) / x as a series, good to float64 where |x| < 1/2
    near = tl.maximum(x, -0.5)
    series = 1.0 + near / 14
    for i in tl.static_range(12):
        series = 1.0 + near * series / (13 - i)
    return tl.where(x > -0.5, -near * series, 1.0 - tl.exp(x))


@jit
def _adamw_kernel(
    parameter, gradient, mean, square, step, rate, scale, n, width,
    BETA1: constexpr, BETA2: constexpr, LOG_BETA1: constexpr, LOG_BETA2: constexpr,
    EPS: constexpr, WEIGHT_DECAY: constexpr, TINY: constexpr, UNIT_ROWS: constexpr,
    ACC: constexpr, BLOCK: constexpr,
):  # fmt: skip
    columns = tl.arange(0, BLOCK)
    position = tl.program_id(0).to(tl.int64) * width + columns
    inside = (columns < width) & (position < n)
    lr = tl.load(rate).to(ACC)
    count = tl.load(step).to(ACC)
    p = tl.load(parameter + position, mask=inside, other=0.0).to(ACC)
    g = tl.load(gradient + position, mask=inside, other=0.0).to(ACC)
    m = tl.load(mean + position, mask=inside, other=0.0).to(ACC)
    v = tl.load(square + position, mask=inside, other=0.0).to(ACC)
    g *= tl.load(scale).to(ACC)
    m = BETA1 * m + (1.0 - BETA1) * g
    v = BETA2 * v + (1.0 - BETA2) * g * g
    tl.store(mean + position, m, mask=inside)
    tl.store(square + position, v, mask=inside)
    typical = tl.sqrt(v / _bias_correction(LOG_BETA2, count)) + EPS
    p *= 1.0 - lr * WEIGHT_DECAY
    p -= lr / _bias_correction(LOG_BETA1, count) * (m / typical)
    if UNIT_ROWS:
        p /= tl.maximum(tl.sqrt(tl.sum(p * p, axis=0)), TINY)
    tl.store(parameter + position, p, mask=inside)


def adamw_rows(
    parameter: torch.Tensor,
    gradient: torch.Tensor,
    mean: torch.Tensor,
    square: torch.Tensor,
    *,
    step: torch.Tensor,
    rate: torch.Tensor,
    scale: torch.Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 1e-2,
    unit_rows: bool = False,
) -> None:
    """AdamW step in place on a parameter and the moments of its gradient.

    `step` counts from 1; it, the learning rate and the number that the gradient is
    multiplied by (clipping) are tensors of one element, so that a graph can be replayed
    with others. With `unit_rows` the rows of the parameter (m, d) leave with unit norm.
    """
    if not all(t.is_contiguous() for t in (parameter, mean, square)):
        raise ValueError("adamw_rows updates in place and needs contiguous tensors")
    n = parameter.numel()
    width = parameter.shape[1] if unit_rows else _FLAT_BLOCK
    block = triton.next_power_of_2(width)
    _launch(
        _adamw_kernel,
        (triton.cdiv(n, width),),
        parameter,
        gradient.contiguous(),
        mean,
        square,
        step,
        rate,
        scale,
        n,
        width,
        BETA1=betas[0],
        BETA2=betas[1],
        LOG_BETA1=math.log(betas[0]),
        LOG_BETA2=math.log(betas[1]),
        EPS=eps,
        WEIGHT_DECAY=weight_decay,
        TINY=torch.finfo(parameter.dtype).tiny,
        UNIT_ROWS=unit_rows,
        ACC=_accumulator(parameter),
        BLOCK=block,
        num_warps=_warps(block, 8),
    )


@jit
def _largest_kernel(
    values, indices, pre, n_columns, width, k,
    KEY: constexpr, BITS: constexpr, BLOCK: constexpr,
):  # fmt: skip
    """The k largest of `width` columns, by the bits of the k-th largest key."""
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    pre += row * n_columns + part * width
    column = tl.arange(0, BLOCK)
    inside = column < tl.minimum(width, n_columns - part * width)
    # unsigned keys in the order of the numbers; 0 for what is outside
    bits = tl.load(pre + column, mask=inside, other=0.0).to(KEY, bitcast=True)
    one = tl.full((), 1, KEY)
    sign = one << (BITS - 1)
    key = tl.where((bits & sign) != 0, ~bits, bits | sign)
    key = tl.where(inside, key, 0)

    bar = one - one
    digit = sign
    n_passing = k + 1
    # done early when exactly k keys reach the bar
    while (digit != 0) & (n_passing != k):
        higher = bar | digit
        n_reaching = tl.sum((key >= higher).to(tl.int32), axis=0)
        bar = tl.where(n_reaching >= k, higher, bar)
        n_passing = tl.where(n_reaching >= k, n_reaching, n_passing)
        digit = digit >> 1

    # what is above the bar, then the first of those that are equal to it; with at least
    # k columns inside, the turn of those outside never comes
    equal = key == bar
    room = k - tl.sum((key > bar).to(tl.int32), axis=0)
    kept = (key > bar) | (equal & (tl.cumsum(equal.to(tl.int32), axis=0) <= room))
    slot = tl.cumsum(kept.to(tl.int32), axis=0) - 1
    first_slot = (row * tl.num_programs(1) + part) * k
    kept_values = tl.load(pre + column, mask=kept, other=0.0)
    tl.store(values + first_slot + slot, kept_values, mask=kept)
    tl.store(indices + first_slot + slot, part * width + column, mask=kept)


def largest(pre: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Exactly the `k` largest entries of each row, in no particular order.

    A row too wide for one program is cut into parts, and the largest entries of the
    parts compete again.
    """
    n_rows, n_columns = pre.shape
    n_parts = triton.cdiv(n_columns, _ROW_BLOCK)
    width = triton.cdiv(n_columns, n_parts)
    in_last_part = n_columns - (n_parts - 1) * width
    if n_parts > 1 and k > min(width // 2, in_last_part):
        # a second round would be hardly smaller than the first
        values, indices = pre.topk(k, dim=1, sorted=False)
        return values, indices
    block = triton.next_power_of_2(width)
    values = pre.new_empty((n_rows, n_parts, k))
    indices = pre.new_empty((n_rows, n_parts, k), dtype=torch.long)
    n_bits = 8 * pre.element_size()
    _launch(
        _largest_kernel,
        (n_rows, n_parts),
        values,
        indices,
        pre.contiguous(),
        n_columns,
        width,
        k,
        KEY={16: tl.uint16, 32: tl.uint32, 64: tl.uint64}[n_bits],
        BITS=n_bits,
        BLOCK=block,
        num_warps=_warps(block, 16),
    )
    if n_parts == 1:
        return values.squeeze(1), indices.squeeze(1)
    values, position = largest(values.flatten(1), k)
    return values, indices.flatten(1).gather(1, position)
