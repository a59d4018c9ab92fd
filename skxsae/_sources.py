"""What a source of rows is: a file, a folder, a URL, an array, or a list of these."""

import operator
import os
from contextlib import contextmanager

import numpy as np
from scipy.sparse import issparse

from skxsae._files import (
    LocalFile,
    call_given,
    find_shards,
    open_place,
    split_member,
)
from skxsae._npy import MemberRows, NpyRows
from skxsae._parquet import LastGroup, ParquetRows, find_parquet, is_parquet

FORMS = (
    "'file.npy', 'file.npz:name', 'file.npz' if it holds a single array, a folder of "
    "numbered .npy files, Parquet with a column of lists ('file.parquet:name' if there "
    "are several), or a URL of one of these"
)
BUFFER_BYTES = 2**28


class Opening:
    """How the parts of a source are opened."""

    def __init__(self, column=None, buffer_bytes=BUFFER_BYTES, storage_options=None):
        self.column = column
        self.group_bytes = buffer_bytes // 2
        self.storage_options = storage_options
        self.last_group = LastGroup()

    def parts(self, name, source):
        """Parts with rows of one shape and type, at least one."""
        sources = source if isinstance(source, (list, tuple)) else [source]
        if not sources:
            raise ValueError(
                f"{name} is an empty list; give a list of arrays, or {FORMS}."
            )
        parts, names = [], []
        for one in sources:
            for part_name, part in self._parts_of(call_given(name, one), one):
                parts.append(part)
                names.append(part_name)
        _check_same_rows(call_given(name, source), names, parts)
        self._check_column(parts)
        return parts

    def _check_column(self, parts):
        """Raise if a column is named where there is none."""
        if self.column and not any(isinstance(part, ParquetRows) for part in parts):
            raise ValueError(
                f"column={self.column!r} is a column of Parquet files, but the source "
                "has none. Leave it out."
            )

    def _parts_of(self, given, source):
        """Name and part of each file of a source, or of the array that it is."""
        if not isinstance(source, (str, os.PathLike)):
            return [(given, ArrayRows(given, source))]
        path, member = split_member(os.fspath(source))
        place = open_place(path, self.storage_options)
        # asked for first, as HTTP answers what a folder holds with the whole file
        is_file = _is_known(place) and place.is_file()
        if is_file or not place.is_folder():
            return [(given, self._part(given, place, member))]
        if _suffix(place) == ".npz" and member is not None:
            raise ValueError(f"{given} is a directory, no archive. Give {FORMS}.")
        return [
            (repr(file.name), self._part(f"{given}: {file.name!r}", file, member))
            for file in self._files_of(given, place, member)
        ]

    def _files_of(self, given, folder, column):
        """Files of a folder whose rows follow one another."""
        files = find_parquet(folder)
        if files and (column or self.column):
            return files
        # a folder of embeddings may hold Parquet files with something else
        return find_shards(given, folder, FORMS, files)

    def _part(self, given, file, member):
        """Rows of a single file, or of a named part of it."""
        if not file.is_file():
            raise FileNotFoundError(_no_file(given, file))
        if not _is_known(file):
            raise ValueError(
                f"{given} is no .npy, .npz or .parquet file. Give {FORMS}; numpy.save "
                "writes an array to such a file."
            )
        if _suffix(file) == ".npy":
            return NpyRows(given, file)
        if _suffix(file) == ".npz":
            return MemberRows(given, file, member)
        column = member or self.column
        return ParquetRows(given, file, column, self.group_bytes, self.last_group)


def _suffix(file):
    """End of the name of a file, in small letters."""
    return os.path.splitext(file.name)[1].lower()


def _is_known(file):
    """Whether a file is of a format that is read, by its name."""
    return _suffix(file) in (".npy", ".npz") or is_parquet(file)


def _no_file(given, file):
    """Message for a place where there is nothing to read."""
    message = f"{given}: there is no file {file.path!r}."
    if not isinstance(file, LocalFile):
        return message
    return (
        f"{message} Give the path of a file or a folder, as a whole or relative to the "
        f"working directory {os.getcwd()!r}."
    )


def holds_rows(part):
    """Whether a part is a 2-D array of real numbers that is read by rows."""
    return len(part.shape) == 2 and part.dtype.kind in "fiub" and not part.is_packed


def check_rows(name, source, parts):
    """Raise unless the parts of a source are 2-D arrays that are read by rows."""
    check_kind(call_given(name, source), parts[0])
    for part in parts:
        if part.is_packed:
            raise ValueError(
                f"{part.given} is compressed, so that its rows cannot be read one by "
                "one. Write it with numpy.savez or numpy.save."
            )


def check_kind(given, part):
    """Raise unless a part is a 2-D array of real numbers."""
    if part.dtype.kind not in "fiub":
        raise ValueError(
            f"{given} holds values of dtype {part.dtype}; it must hold real numbers."
        )
    if len(part.shape) != 2:
        raise ValueError(
            f"{given} has shape {part.shape}; it must be 2-D, with one row for each "
            "embedding."
        )


def _check_same_rows(given, names, parts):
    """Raise unless parts, if there are several, have rows of one shape and type."""
    first = parts[0]
    for name, part in zip(names[1:], parts[1:], strict=True):
        of_one_kind = (part.dtype, part.shape[1:]) == (first.dtype, first.shape[1:])
        if not (first.shape and part.shape and of_one_kind):
            raise ValueError(
                f"{given}: {name} holds {_rows_in_words(part)}, but {names[0]} "
                f"{_rows_in_words(first)}. All parts must have rows of one shape and "
                "type."
            )


def _rows_in_words(part):
    """Shape and type of the rows of a part."""
    if not part.shape:
        return "a single number"
    return f"rows of shape {part.shape[1:]} and dtype {part.dtype}"


class ArrayRows:
    """Rows of an array, or of anything else that is sliced by rows."""

    gap_rows = 0
    block_rows = None
    is_packed = False

    def __init__(self, given, array):
        if issparse(array) or np.ma.isMaskedArray(array):
            raise ValueError(
                f"{given} is of type {type(array).__name__}, not a dense array whose "
                "numbers are all there. Give array.toarray() of a sparse one; drop the "
                "rows that a mask hides, in both views."
            )
        try:
            self.shape = tuple(operator.index(length) for length in array.shape)
            self.dtype = np.dtype(array.dtype)
        except (AttributeError, TypeError) as error:
            raise ValueError(
                f"{given} is of type {type(array).__name__}, without a shape and a "
                f"NumPy dtype. Give a 2-D array, a list of such parts, or {FORMS}."
            ) from error
        self._given, self._array = given, array

    @contextmanager
    def opened(self):
        """A function that reads consecutive rows from `start` on into an array."""
        yield self._read

    def _read(self, start, out):
        stop = start + len(out)
        rows = self._array[start:stop]
        if np.ma.is_masked(rows):
            raise ValueError(
                f"{self._given}: there are masked numbers in rows {start} to {stop}. "
                "Drop the rows that a mask hides, in both views."
            )
        rows = np.asarray(rows)
        if rows.shape != out.shape:
            raise ValueError(
                f"{self._given}: its slice [{start}:{stop}] has shape {rows.shape} "
                f"instead of {out.shape}."
            )
        out[:] = rows
