"""One view of the data: any row-sliceable array, cast and normalised batch by batch."""

from collections.abc import Iterator
from dataclasses import dataclass

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
    """Statistics of the pooled rows of `arrays`, in float64 over blocks of rows."""
    n_features = arrays[0].shape[1]
    offset, scale = np.zeros(n_features), np.ones(())
    if name in ("scale", "center", "center_l2", "standard"):
        n_rows = sum(len(X) for X in arrays)
        offset = sum(block.sum(axis=0) for block in _float64_blocks(arrays)) / n_rows
        squares = sum(
            np.square(block - offset).sum(axis=0) for block in _float64_blocks(arrays)
        )
        if name == "standard":
            scale = _safe_scale(np.sqrt(squares / n_rows), np.abs(offset))
        elif name == "scale":
            scale = _safe_scale(np.sqrt(squares.sum() / n_rows), np.linalg.norm(offset))
    return Normalization(offset, scale, unit_length=name in ("l2", "center_l2"))


def _safe_scale(scale: np.ndarray, magnitude: np.ndarray | np.floating) -> np.ndarray:
    """1 in place of a deviation that is only rounding of constant values."""
    return np.where(scale <= 10 * np.finfo(np.float32).eps * magnitude, 1.0, scale)


def _float64_blocks(arrays: list) -> Iterator[np.ndarray]:
    """All rows in float64, block by block."""
    for X in arrays:
        for rows in row_blocks(X):
            yield np.asarray(X[rows], dtype=np.float64)


class View:
    """Normalised rows of one view, as tensors on a device."""

    def __init__(self, X, normalization: Normalization, device: str):
        self.X = X
        self.normalization = normalization
        self.device = device
        self.dtype = compute_dtype(X)
        self.offset = self.beside(as_tensor(normalization.offset))
        self.scale = self.beside(as_tensor(normalization.scale))

    def beside(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor on the device and of the floating type of the rows."""
        return tensor.to(self.device, getattr(torch, self.dtype.name))

    def __len__(self) -> int:
        return self.X.shape[0]

    def __getitem__(self, rows) -> torch.Tensor:
        # a copy: the rows may come from a read-only memmap
        block = torch.from_numpy(np.array(self.X[rows], dtype=self.dtype, order="C"))
        block = (block.to(self.device) - self.offset) / self.scale
        if self.normalization.unit_length:
            norms = block.norm(dim=1, keepdim=True)
            # nothing but rounding is left of a row that equals the offset
            rounding = 10 * torch.finfo(block.dtype).eps * self.offset.norm()
            block = block / norms.masked_fill(norms <= rounding, 1.0)
        return block

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


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor of an array, copied if it is read-only as in a memory-mapped model."""
    return torch.from_numpy(array if array.flags.writeable else np.array(array))


def compute_dtype(X) -> np.dtype:
    """float64 for float64 input, else float32."""
    return np.dtype(np.float64 if X.dtype == np.float64 else np.float32)
