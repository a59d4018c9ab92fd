"""One view of the data: any row-sliceable array, cast and normalised batch by batch."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from sklearn.utils import gen_batches

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


def row_blocks(X, width: int | None = None) -> Iterator[slice]:
    """Consecutive slices of rows whose blocks of `width` columns fit the cache."""
    n_rows, n_features = X.shape
    return gen_batches(n_rows, max(1, _BLOCK_ENTRIES // max(width or n_features, 1)))


def fit_normalization(name: str | None, arrays: list) -> Normalization:
    """Statistics of the pooled rows of `arrays`, in float64 over blocks of rows.

    What is held on a device is summed there.
    """
    n_features = arrays[0].shape[1]
    offset, scale = np.zeros(n_features), np.ones(())
    if name in ("scale", "center", "center_l2", "standard"):
        n_rows = sum(len(X) for X in arrays)
        mean = _total(block.sum(0) for block in _float64_blocks(arrays)) / n_rows
        squares = _total(
            (block - mean.to(block.device)).square_().sum(0)
            for block in _float64_blocks(arrays)
        ).numpy()
        offset = mean.numpy()
        if name == "standard":
            scale = _safe_scale(np.sqrt(squares / n_rows), np.abs(offset))
        elif name == "scale":
            scale = _safe_scale(np.sqrt(squares.sum() / n_rows), np.linalg.norm(offset))
    return Normalization(offset, scale, unit_length=name in ("l2", "center_l2"))


def _total(parts: Iterator[torch.Tensor]) -> torch.Tensor:
    """Sum of tensors, on the host."""
    return functools.reduce(torch.add, parts).cpu()


def _safe_scale(scale: np.ndarray, magnitude: np.ndarray | np.floating) -> np.ndarray:
    """1 in place of a deviation that is only rounding of constant values."""
    return np.where(scale <= 10 * np.finfo(np.float32).eps * magnitude, 1.0, scale)


def _float64_blocks(arrays: list) -> Iterator[torch.Tensor]:
    """All rows in float64, block by block, each where it is."""
    for X in arrays:
        for rows in row_blocks(X):
            block = X[rows]
            if isinstance(block, torch.Tensor):
                yield block.double()
            else:
                yield as_tensor(np.asarray(block, dtype=np.float64))


class View:
    """Normalised rows of one view, as tensors on a device."""

    def __init__(self, X, normalization: Normalization, device: str, dtype=None):
        self.X = X
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
            norms = block.norm(dim=1, keepdim=True)
            # nothing but rounding is left of a row that equals the offset
            rounding = 10 * torch.finfo(block.dtype).eps * self.offset.norm()
            block = block / norms.masked_fill(norms <= rounding, 1.0)
        return block

    @functools.cached_property
    def moments(self) -> tuple[torch.Tensor, float]:
        """Mean of the normalised rows, and their squared distances to it in sum.

        The sum is 0 where nothing but the rounding of equal rows is left.
        """
        total = sum(self[rows].double().sum(0) for rows in row_blocks(self.X))
        mean = torch.as_tensor(total / len(self))
        squares = (
            (self[rows].double() - mean).square().sum() for rows in row_blocks(self.X)
        )
        variance = float(torch.stack(list(squares)).sum())
        if variance <= self.rounding(mean):
            variance = 0.0
        return self.beside(mean), variance

    def rounding(self, mean: torch.Tensor) -> float:
        """Squared distances in sum that mere rounding gives to equal rows."""
        return len(self) * (10 * np.finfo(self.dtype).eps * float(mean.norm())) ** 2


_SHARE_OF_FREE_MEMORY = 0.5
_READ_AHEAD = 2


def held_on_device(arrays: list, device: str) -> list:
    """The arrays, as tensors on a GPU if they take at most half of its free memory."""
    if torch.device(device).type != "cuda":
        return arrays
    free, _ = torch.cuda.mem_get_info(device)
    needed = sum(X.size * X.dtype.itemsize for X in arrays)
    if needed > _SHARE_OF_FREE_MEMORY * free:
        return arrays
    return [as_tensor(np.ascontiguousarray(X)).to(device) for X in arrays]


def _reads_ahead(view: View) -> bool:
    """Whether rows go from the host to a device."""
    return view.resident is None and torch.device(view.device).type != "cpu"


def batches(
    views: list[View], order: np.ndarray, n_batches: int
) -> Iterator[list[torch.Tensor]]:
    """All rows of every view in the given order, in batches of nearly one size.

    For a GPU that does not hold the rows, the next batches are read into pinned memory
    while it computes.
    """
    rows = torch.from_numpy(order)
    resident = views[0].resident
    if resident is not None:
        rows = rows.to(resident.device)
    parts = rows.tensor_split(n_batches)
    if not _reads_ahead(views[0]):
        for part in parts:
            yield [view[part] for view in views]
        return

    def read(rows: torch.Tensor) -> list[torch.Tensor]:
        return [view.read(rows).pin_memory() for view in views]

    rest = iter(parts)
    with ThreadPoolExecutor(1) as reader:
        ahead = [reader.submit(read, rows) for rows in islice(rest, _READ_AHEAD)]
        while ahead:
            blocks = ahead.pop(0).result()
            ahead += [reader.submit(read, rows) for rows in islice(rest, 1)]
            yield [
                view.normalise(block.to(view.device, non_blocking=True))
                for view, block in zip(views, blocks, strict=True)
            ]


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor of an array, copied if it is read-only as in a memory-mapped model."""
    return torch.from_numpy(array if array.flags.writeable else np.array(array))


def compute_dtype(*arrays) -> np.dtype:
    """float64 if any input is float64, else float32."""
    double = any(X.dtype == np.float64 for X in arrays)
    return np.dtype(np.float64 if double else np.float32)
