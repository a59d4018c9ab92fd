"""One view of the data: any row-sliceable array, cast and normalised batch by batch."""

import functools
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from sklearn.utils import gen_batches
from sklearn.utils.random import sample_without_replacement

from skxsae._disk_array import DiskArray
from skxsae._distributed import ALONE, Peers
from skxsae._order import Blocks, Order, Shuffled, ShuffledByBlocks

_BLOCK_ENTRIES = 2**22

NORMALIZATIONS = {"scale", "center", "center_l2", "l2", "standard"}


@dataclass
class Normalization:
    """``(x - offset) / scale``, then unit length if asked for."""

    offset: np.ndarray  # (d,)
    scale: np.ndarray  # () or (d,)
    unit_length: bool

    def invert(self, rows: np.ndarray) -> np.ndarray:
        """Rows in the units of the input; a lost length comes back as 1."""
        return rows * self.scale.astype(rows.dtype) + self.offset.astype(rows.dtype)


def row_blocks(X, width: int | None = None, peers: Peers = ALONE) -> Iterator[slice]:
    """Consecutive slices of rows whose blocks of `width` columns fit the cache.

    Of the share of this process, if there are several.
    """
    n_rows, n_features = X.shape
    own = peers.share(n_rows)
    size = max(1, _BLOCK_ENTRIES // max(width or n_features, 1))
    for rows in gen_batches(own.stop - own.start, size):
        yield slice(own.start + rows.start, own.start + rows.stop)


def fit_normalization(
    name: str | None, arrays: list, peers: Peers = ALONE
) -> Normalization:
    """Statistics of the pooled rows of `arrays`, in float64 over blocks of rows.

    What is held on a device is summed there.
    """
    n_features = arrays[0].shape[1]
    offset, scale = np.zeros(n_features), np.ones(())
    if name in ("scale", "center", "center_l2", "standard"):
        n_rows = sum(len(X) for X in arrays)

        def total(parts: Iterator[torch.Tensor]) -> torch.Tensor:
            return peers.total(functools.reduce(torch.add, parts).cpu())

        mean = total(block.sum(0) for block in _float64_blocks(arrays, peers)) / n_rows
        squares = total(
            (block - mean.to(block.device)).square_().sum(0)
            for block in _float64_blocks(arrays, peers)
        ).numpy()
        offset = mean.numpy()
        if name == "standard":
            scale = _safe_scale(np.sqrt(squares / n_rows), np.abs(offset))
        elif name == "scale":
            scale = _safe_scale(np.sqrt(squares.sum() / n_rows), np.linalg.norm(offset))
    return Normalization(offset, scale, unit_length=name in ("l2", "center_l2"))


def _safe_scale(scale: np.ndarray, magnitude: np.ndarray | np.floating) -> np.ndarray:
    """1 in place of a deviation that is only rounding of constant values."""
    return np.where(scale <= 10 * np.finfo(np.float32).eps * magnitude, 1.0, scale)


def _float64_blocks(arrays: list, peers: Peers) -> Iterator[torch.Tensor]:
    """Rows in float64, block by block, each where it is."""
    for X in arrays:
        for rows in row_blocks(X, peers=peers):
            block = X[rows]
            if isinstance(block, torch.Tensor):
                yield block.double()
            else:
                yield as_tensor(np.ascontiguousarray(block, np.float64))


class View:
    """Normalised rows of one view, as tensors on a device."""

    def __init__(
        self,
        X,
        normalization: Normalization,
        device: str,
        dtype=None,
        peers: Peers = ALONE,
    ):
        self.X = X
        self.peers = peers
        self.resident: torch.Tensor | None = None  # all rows as they come
        self.normalization = normalization
        self.device = device
        self.dtype = compute_dtype(X) if dtype is None else dtype
        self.offset = self.beside(as_tensor(normalization.offset))
        self.scale = self.beside(as_tensor(normalization.scale))

    def beside(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the device and of the floating type of the rows."""
        return tensor.to(self.device, getattr(torch, self.dtype.name))

    def __len__(self) -> int:
        return self.X.shape[0]

    def read(self, rows) -> torch.Tensor:
        """Rows as they come, on the host, or on the device that holds all of them."""
        if self.resident is not None:
            return self.resident[rows]
        rows = rows.numpy() if isinstance(rows, torch.Tensor) else rows
        return as_tensor(np.ascontiguousarray(self.X[rows], dtype=self.dtype))

    def __getitem__(self, rows) -> torch.Tensor:
        return self.normalise(self.read(rows))

    def normalise(self, block: torch.Tensor) -> torch.Tensor:
        """Rows as they come, normalised on the device."""
        block = (self.beside(block) - self.offset) / self.scale
        if self.normalization.unit_length:
            # in float64, lest the squares are too small or too large for float32
            norms = block.double().norm(dim=1, keepdim=True)
            # nothing but rounding is left of a row that equals the offset
            rounding = 10 * torch.finfo(block.dtype).eps * self.offset.double().norm()
            norms = norms.masked_fill(norms <= rounding, 1.0)
            block = (block / norms).to(block.dtype)
        return block

    @functools.cached_property
    def moments(self) -> tuple[torch.Tensor, float]:
        """Mean of the normalised rows, and their squared distances to it in sum.

        The sum is 0 where nothing but the rounding of equal rows is left.
        """

        def blocks() -> Iterator[torch.Tensor]:
            for rows in row_blocks(self.X, peers=self.peers):
                yield self[rows].double()

        own = functools.reduce(torch.add, (block.sum(0) for block in blocks()))
        mean = self.peers.total(own) / len(self)
        # added up at once: many small tensors that stay between large ones that go
        # would leave holes in the memory, which then grows with the rows
        own = functools.reduce(
            torch.add, ((block - mean).square().sum() for block in blocks())
        )
        variance = float(self.peers.total(own))
        if variance <= self.rounding(mean):
            variance = 0.0
        return self.beside(mean), variance

    def rounding(self, mean: torch.Tensor) -> float:
        """Squared distances in sum that mere rounding gives to equal rows."""
        # of Python's floats, for float32 could not hold the square
        eps = float(np.finfo(self.dtype).eps)
        return len(self) * (10 * eps * float(mean.norm())) ** 2


_SHARE_OF_FREE_MEMORY = 0.5
_READ_AHEAD = 2
# one that is used, one that is read, and one that is cast
_CHUNKS_IN_BUFFER = 3
_FEW_BLOCKS = 16


def is_streamed(X) -> bool:
    """Whether X is read from disk again and again, as its buffer cannot hold it."""
    return isinstance(X, DiskArray) and X.nbytes > X.buffer_bytes


def loaded(X):
    """X, read into memory if it is a reader whose buffer can hold it."""
    return X[:] if isinstance(X, DiskArray) and not is_streamed(X) else X


def held_on_device(arrays: list, device: str) -> list:
    """The arrays, as tensors on a GPU if they take at most half of its free memory."""
    if torch.device(device).type != "cuda":
        return arrays
    free, _ = torch.cuda.mem_get_info(device)
    if sum(X.nbytes for X in arrays) > _SHARE_OF_FREE_MEMORY * free:
        return arrays
    return [on_device(X, device) for X in arrays]


def on_device(X, device: str) -> torch.Tensor:
    """All rows as they come on a device, copied block by block."""
    dtype = torch.from_numpy(np.empty(0, X.dtype)).dtype
    held = torch.empty(X.shape, dtype=dtype, device=device)
    for rows in row_blocks(X):
        held[rows] = as_tensor(np.ascontiguousarray(X[rows])).to(device)
    return held


def some_rows(view: View, n: int, rng: np.random.RandomState) -> np.ndarray:
    """At most `n` rows at random; of what is streamed, without a list of all."""
    if is_streamed(view.X):
        n_rows = len(view)
        return sample_without_replacement(n_rows, min(n, n_rows), random_state=rng)
    return rng.permutation(len(view))[:n]


def shuffled(views: list[View], n_batches: int, rng: np.random.RandomState) -> Order:
    """The order of a pass over all rows, in `n_batches` of nearly one size."""
    n_rows, peers, resident = len(views[0]), views[0].peers, views[0].resident
    if blocks := blocks_of(views):
        return ShuffledByBlocks(n_rows, n_batches, rng, peers, blocks)
    order = Shuffled(n_rows, n_batches, rng, peers)
    if resident is not None:
        order.rows = order.rows.to(resident.device)
    return order


def blocks_of(views: list[View]) -> Blocks | None:
    """What is read of streamed views at a time, None where all is in memory."""
    streamed = [view for view in views if is_streamed(view.X)]
    if not streamed:
        return None
    chunk_rows = min(_chunk_rows(view) for view in streamed)
    given = [view.X.block_rows for view in streamed if view.X.block_rows]
    return Blocks.of(max(given, default=None), chunk_rows)


def warn_of_few_blocks(views: list[View]) -> None:
    """Say so if rows that lie next to each other stay together."""
    blocks = blocks_of(views)
    if blocks and blocks.chunk_rows < _FEW_BLOCKS * blocks.block_rows:
        warnings.warn(
            f"Rows are read in blocks of {blocks.block_rows}, and only "
            f"{blocks.chunk_rows} are shuffled among each other at a time: what lies "
            "together on disk stays together. Raise buffer_bytes, or lower block_rows; "
            "of Parquet, write smaller row groups.",
            UserWarning,
            stacklevel=2,
        )


def _chunk_rows(view: View) -> int:
    """Number of rows of which the buffer of a reader holds a few times as many."""
    row_bytes = view.X.shape[1] * max(view.dtype.itemsize, view.X.dtype.itemsize)
    return view.X.buffer_bytes // (_CHUNKS_IN_BUFFER * row_bytes)


def batches(
    views: list[View], order: Order, first: int = 0
) -> Iterator[list[torch.Tensor]]:
    """Rows of every view in the given order, batch by batch from the `first` on.

    What comes next from disk, or into pinned memory for a GPU that does not hold the
    rows, is read during the computation.
    """
    for blocks, parts in _read(views, order.chunks(first)):
        for part in parts:
            yield [
                view.normalise(block[part].to(view.device, non_blocking=True))
                for view, block in zip(views, blocks, strict=True)
            ]


def _read(views: list[View], chunks: Iterator) -> Iterator:
    """What to read, replaced by what was read."""
    to_gpu = _goes_to_gpu(views[0])

    def read(chunk):
        rows, parts = chunk
        blocks = [view.read(rows) for view in views]
        return [block.pin_memory() for block in blocks] if to_gpu else blocks, parts

    n_ahead = _n_ahead(views)
    if not n_ahead:
        yield from map(read, chunks)
        return
    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, chunk) for chunk in islice(chunks, n_ahead)]
        while ahead:
            blocks = ahead.pop(0).result()
            ahead += [reader.submit(read, chunk) for chunk in islice(chunks, 1)]
            yield blocks


def _goes_to_gpu(view: View) -> bool:
    """Whether rows go from the host to a device."""
    return view.resident is None and torch.device(view.device).type != "cpu"


def _n_ahead(views: list[View]) -> int:
    """How many chunks are read before they are used."""
    if views[0].resident is None and any(is_streamed(view.X) for view in views):
        return 1
    return _READ_AHEAD if _goes_to_gpu(views[0]) else 0


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor of an array, copied if torch cannot share its memory.

    It takes neither what is read-only, as in a memory-mapped model, nor what runs
    backwards.
    """
    shared = array.flags.writeable and min(array.strides, default=0) >= 0
    return torch.from_numpy(array if shared else np.array(array))


def compute_dtype(*arrays) -> np.dtype:
    """float64 if any input is float64, else float32."""
    double = any(X.dtype == np.float64 for X in arrays)
    return np.dtype(np.float64 if double else np.float32)
