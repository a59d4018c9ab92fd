"""Paired embeddings and class sets from disk, in rows of unit length."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from skxsae.datasets import load_paired_arrays

_ROWS_PER_BLOCK = 65_536
# float16 rows of unit length are off by less
_UNIT_TOLERANCE = 1e-2


class Pairs(NamedTuple):
    """Paired rows, and the group of each pair."""

    X: np.ndarray
    y: np.ndarray
    groups: np.ndarray


def load_pairs(specs, groups=None, test=None):
    """Training pairs and held-out ones, which are None without a mask.

    `specs` are the two views or a folder as clip-retrieval writes it, with ``img_emb``
    and ``text_emb``. There `groups` may be a column of the tables in ``metadata``.
    """
    if len(specs) > 2:
        raise ValueError(f"{specs}: give two arrays, or one folder that holds both.")
    if len(specs) == 1:
        folder = Path(specs[0])
        specs = folder / "img_emb", folder / "text_emb"
        if groups is not None and not Path(groups).suffix:
            groups = read_column(folder / "metadata", groups)
    data = load_paired_arrays(*specs, groups=groups, test=test)
    if test is not None:
        return _take(data, data.train), _take(data, data.test)
    if len(data.X) == len(data.y):  # stays on disk, if that is where it is
        return Pairs(unit_rows(data.X), unit_rows(data.y), data.groups), None
    return _take(data, np.arange(len(data.y))), None


def _take(data, rows):
    """Some of the pairs."""
    X, y = data.X[data.x_rows[rows]], data.y[rows]
    return Pairs(unit_rows(X), unit_rows(y), data.groups[rows])


def read_column(folder, name):
    """Number of each different value in a column of numbered Parquet files."""
    paths = sorted(
        folder.glob("*.parquet"), key=lambda p: int(re.sub(r"\D", "", p.stem))
    )
    if not paths:
        raise ValueError(
            f"{folder} holds no .parquet file: groups={name!r} is unknown."
        )
    parts = [pd.read_parquet(path, columns=[name])[name] for path in paths]
    return pd.factorize(pd.concat(parts))[0]


def unit_rows(X):
    """Rows of unit length in the type of `X`: itself, if they have it already."""
    blocks = [
        slice(start, start + _ROWS_PER_BLOCK)
        for start in range(0, len(X), _ROWS_PER_BLOCK)
    ]
    lengths = np.concatenate([_lengths(X[rows]) for rows in blocks])
    if np.all(np.abs(lengths - 1) < _UNIT_TOLERANCE):
        return X
    scaled = np.empty(X.shape, dtype=X.dtype)
    for rows in blocks:
        lengths_of = np.maximum(lengths[rows, None], np.finfo(np.float32).tiny)
        scaled[rows] = _exact(X[rows]) / lengths_of
    return scaled


def _lengths(block):
    """Euclidean length of each row."""
    return np.linalg.norm(_exact(block), axis=1)


def _exact(block):
    """Rows in float32 at least."""
    return block.astype(np.result_type(block.dtype, np.float32), copy=False)
