"""A 2-D array that stays on disk and is read by rows."""

import copy
import os
from itertools import pairwise
from numbers import Integral

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._sources import BUFFER_BYTES, Opening, check_kind, check_rows

_SHARE_IN_HAND = 8  # of the buffer; row groups of Parquet may take half of it
_ITERATED_ENTRIES = 2**22


class DiskArray:
    """2-D array of numbers that stays where it is and is read by rows.

    Every estimator takes it as `X` and `y`: rows are read when they are needed, by
    plain reads rather than through a memory map, so that what is held in memory does
    not grow with the number of rows. ``X[rows]`` is an array of those rows.

    Parameters
    ----------
    source : str, path-like, array of shape (n_rows, n_columns) or list of these
        Where the rows are:

        - a .npy file, or ``'file.npz:name'`` for an array that is stored without
          compression inside an archive, or ``'file.npz'`` if it is the only one;
        - a folder of numbered .npy files, such as the ``img_emb`` of clip-retrieval
          with ``img_emb_0.npy``, ``img_emb_1.npy``;
        - a Parquet file with a column of lists of numbers that are equally long, or a
          folder of such files, whose rows follow in the order of their names, 10
          after 9; other columns are never read;
        - a URL of any of these, such as ``'s3://bucket/img_emb'``, if fsspec has
          what reads it, or a chain of URLs, such as
          ``'zip://img_emb::s3://bucket/all.zip'``;
        - a dense array, or anything with a `shape`, a `dtype` and slices of rows, such
          as a data set of h5py or zarr.

        The rows of the parts of a list, and of the files of a folder, follow one
        another. They must be of one width and type.

    column : str, default=None
        Column of the Parquet files that holds the rows. None if there is exactly one
        column of lists of numbers; ``'file.parquet:name'`` names it too.

    buffer_bytes : int, default=268435456
        How much memory reading may take besides the rows that are asked for. Training
        shuffles the rows of an array in full if it is no larger than this, and by
        blocks if it is.

    block_rows : int, default=None
        How many consecutive rows training reads at once where it shuffles by blocks.
        None leaves it to training, or is the size of the largest row group of Parquet
        files, which can only be read as a whole.

    storage_options : dict, default=None
        What fsspec is to know, such as credentials, for sources that are URLs.

    Attributes
    ----------
    shape : tuple of int
        Number of rows and of columns.

    dtype : :class:`numpy.dtype`
        Type of the numbers.

    ndim : int
        Always 2.

    size : int
        Number of entries.

    nbytes : int
        Bytes of all entries.

    buffer_bytes : int
        As given.

    block_rows : int or None
        As given, or the rows of the largest row group.

    Raises
    ------
    FileNotFoundError
        If there is no such file or folder.

    ValueError
        If a file is of another format, truncated or damaged, if it does not hold a 2-D
        array of real numbers, if an array is sparse or masked, if the parts do not
        fit together, or if a row group of a Parquet file does not fit in half of
        `buffer_bytes`.

    ImportError
        If pyarrow, which Parquet needs, is not installed.

    See Also
    --------
    load_array : Map a file into memory, or open a DiskArray.

    Notes
    -----
    Headers are checked once, at opening. A file must not change as long as it is
    read; one that lost rows is told of when they are asked for.

    It can be pickled, which takes no rows along unless arrays were given, and read by
    several threads at once. Slices and arrays of rows are read in the order of the
    file, each run of consecutive rows at once. Columns are never read alone. A file in
    Fortran order is read column by column, which is slow for few rows; write it again
    in C order if it is read often.

    Functions that split data, such as
    :func:`~sklearn.model_selection.train_test_split`, ask for ``X[rows]`` and so load
    their parts into memory; :meth:`select` does not.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skxsae.datasets import DiskArray
    >>> folder = tempfile.TemporaryDirectory()
    >>> for number in range(3):
    ...     rows = np.full((4, 2), number, dtype=np.float32)
    ...     np.save(Path(folder.name, f"img_emb_{number}.npy"), rows)
    >>> X = DiskArray(folder.name)
    >>> X.shape
    (12, 2)
    >>> X[[0, 5, -1]]
    array([[0., 0.],
           [1., 1.],
           [2., 2.]], dtype=float32)
    >>> X.select(np.arange(0, 12, 2)).shape
    (6, 2)
    >>> folder.cleanup()
    """

    ndim = 2

    @validate_params(
        {
            "column": [str, None],
            "buffer_bytes": [Interval(Integral, 1, None, closed="left")],
            "block_rows": [Interval(Integral, 1, None, closed="left"), None],
            "storage_options": [dict, None],
        },
        prefer_skip_nested_validation=True,
    )
    def __init__(
        self,
        source,
        *,
        column=None,
        buffer_bytes=BUFFER_BYTES,
        block_rows=None,
        storage_options=None,
    ):
        opening = Opening(column, buffer_bytes, storage_options)
        parts = opening.parts("source", source)
        check_rows("source", source, parts)
        self._hold(parts, source, buffer_bytes, block_rows)

    @classmethod
    def _of(cls, parts, source):
        """A DiskArray of parts that are open."""
        array = cls.__new__(cls)
        array._hold(parts, source)
        return array

    def _hold(self, parts, source, buffer_bytes=BUFFER_BYTES, block_rows=None):
        """Take over the parts of a source."""
        self._source = _in_words(source)
        self._parts = parts
        self.buffer_bytes = buffer_bytes
        self.block_rows = block_rows or max(
            (part.block_rows for part in parts if part.block_rows), default=None
        )
        first = parts[0]
        self._stored_dtype = self.dtype = first.dtype
        self._bounds = np.cumsum([0, *(part.shape[0] for part in self._parts)])
        self._rows = range(int(self._bounds[-1]))
        self._n_columns = int(first.shape[1])

    @property
    def shape(self):
        """Number of rows and of columns."""
        return len(self._rows), self._n_columns

    @property
    def size(self):
        """Number of entries."""
        return len(self._rows) * self._n_columns

    @property
    def nbytes(self):
        """Bytes of all entries."""
        return self.size * self.dtype.itemsize

    def __len__(self):
        return len(self._rows)

    def __repr__(self):
        return (
            f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype}, "
            f"source={self._source})"
        )

    def __getitem__(self, key):
        key = _rows_of(key)
        if isinstance(key, slice):
            return self._read(self._rows[key])
        key = np.asarray(key)
        if key.ndim == 0 and key.dtype.kind in "iu":
            return self._read(self._numbers(key[None]))[0]
        return self._read(self._numbers(key))

    def __array__(self, dtype=None, copy=None):
        if copy is False:
            raise ValueError(f"{self!r} cannot become an array without a copy.")
        return np.asarray(self[:], dtype=dtype)

    def __iter__(self):
        size = min(_ITERATED_ENTRIES // max(self._n_columns, 1), self._rows_in_hand)
        for start in range(0, len(self), max(size, 1)):
            yield from self[start : start + max(size, 1)]

    def select(self, rows):
        """Take some of the rows without reading them.

        Parameters
        ----------
        rows : slice or array-like of shape (n_selected,) or (n_rows,)
            Numbers of the rows, in the order wanted, or a mask.

        Returns
        -------
        DiskArray
            The rows, still on disk. It holds their numbers in the smallest type of
            integers, so up to 4 bytes for each row of an array of 4 billion; those of
            a slice cost nothing.
        """
        selected = copy.copy(self)
        if isinstance(rows, slice):
            selected._rows = self._rows[rows]
        else:
            numbers = self._numbers(np.asarray(rows))
            selected._rows = numbers.astype(np.min_scalar_type(int(self._bounds[-1])))
        return selected

    def astype(self, dtype):
        """Convert the rows to another type, each when it is read.

        Parameters
        ----------
        dtype : str or dtype
            Type of the numbers that are returned.

        Returns
        -------
        DiskArray
            The same rows in the other type, still on disk.
        """
        converted = copy.copy(self)
        converted.dtype = np.dtype(dtype)
        check_kind("dtype", converted)
        return converted

    def _numbers(self, key):
        """Numbers in the files of rows that are chosen by integers or by a mask."""
        if key.ndim != 1:
            raise IndexError(
                f"rows are chosen by one dimension, but {key.ndim} were given"
            )
        n_rows = len(self)
        if key.dtype == bool:
            if len(key) != n_rows:
                raise IndexError(f"a mask of {len(key)} entries for {n_rows} rows")
            key = np.flatnonzero(key)
        elif not len(key):
            key = key.astype(np.intp)  # [] is of a floating type
        if key.dtype.kind not in "iu":
            raise IndexError(
                f"rows are chosen by integers or booleans, not {key.dtype}"
            )
        outside = (key >= n_rows) | (key < -n_rows)
        if outside.any():
            raise IndexError(
                f"row {key[outside][0]} is out of bounds: there are {n_rows} rows"
            )
        key = key.astype(np.intp)
        key[key < 0] += n_rows
        if isinstance(self._rows, range):
            return self._rows.start + self._rows.step * key
        return self._rows[key].astype(np.intp)

    @property
    def _rows_in_hand(self):
        """Rows that are read or converted at once, of which there may be two copies."""
        itemsize = max(self._stored_dtype.itemsize, self.dtype.itemsize)
        row_bytes = max(itemsize * self._n_columns, 1)
        return max(self.buffer_bytes // (_SHARE_IN_HAND * row_bytes), 1)

    def _read(self, rows):
        """Rows of these numbers in the files, as a new array."""
        out = np.empty((len(rows), self._n_columns), dtype=self.dtype)
        if not out.size:
            return out
        if isinstance(rows, range) and rows.step == 1:
            self._read_range(rows.start, out)
        else:
            self._read_scattered(np.asarray(rows, dtype=np.intp), out)
        return out

    def _read_range(self, first, out):
        """Fill `out` with consecutive rows."""
        last = first + len(out)
        for part, start, stop in self._parts_of(first, last):
            if start == stop:
                continue
            with part.opened() as read:
                rows = slice(max(start - first, 0), min(stop, last) - first)
                self._read_block(read, max(first - start, 0), out[rows])

    def _parts_of(self, first, last):
        """Parts from that of row `first` to that of the row before `last`."""
        number = int(np.searchsorted(self._bounds, first, side="right")) - 1
        while number < len(self._parts) and self._bounds[number] < last:
            yield self._parts[number], *self._bounds[number : number + 2].tolist()
            number += 1

    def _read_block(self, read, start, out):
        """Fill `out` with consecutive rows of a part, as much in hand as allowed."""
        size = self._rows_in_hand
        for begin in range(0, len(out), size):
            part = out[begin : begin + size]
            if part.dtype == self._stored_dtype:
                read(start + begin, part)
            else:
                block = np.empty(part.shape, dtype=self._stored_dtype)
                read(start + begin, block)
                part[:] = block

    def _read_scattered(self, rows, out):
        """Fill `out` with rows in any order, reading in the order of the files."""
        order = np.argsort(rows, kind="stable")
        rows = rows[order]
        for part, start, stop in self._parts_of(rows[0], rows[-1] + 1):
            of_part = slice(*np.searchsorted(rows, [start, stop]))
            numbers, places = rows[of_part] - start, order[of_part]
            if not len(numbers):
                continue
            with part.opened() as read:
                for near in _runs(numbers, part.gap_rows, self._rows_in_hand):
                    self._read_near(read, numbers[near], places[near], out)

    def _read_near(self, read, rows, places, out):
        """Read sorted rows of a part that are near to each other to their places."""
        if _follow(rows) and _follow(places):
            self._read_block(read, int(rows[0]), out[places[0] : places[-1] + 1])
            return
        n_rows = int(rows[-1] - rows[0]) + 1
        block = np.empty((n_rows, self._n_columns), dtype=self._stored_dtype)
        read(int(rows[0]), block)
        out[places] = block[rows - rows[0]]


def _follow(numbers):
    """Whether integers rise by one; a single one does."""
    if numbers[-1] - numbers[0] != len(numbers) - 1:
        return False
    return len(numbers) <= 2 or bool((np.diff(numbers) == 1).all())


def _runs(rows, gap, longest):
    """Slices of sorted rows, each of rows that are at most `gap` rows apart."""
    breaks = np.flatnonzero(np.diff(rows) > 1 + gap) + 1
    for start, stop in pairwise([0, *breaks.tolist(), len(rows)]):
        while start < stop:
            if max(rows[stop - 1] - rows[start] + 1, stop - start) <= longest:
                yield slice(start, stop)
                break
            # as far as one block reaches, and no more if rows repeat
            reach = int(np.searchsorted(rows[start:stop], rows[start] + longest))
            end = start + min(reach, longest)
            yield slice(start, end)
            start = end


def _rows_of(key):
    """The part of an index that chooses rows; columns are all or refused."""
    if not isinstance(key, tuple):
        return slice(None) if key is Ellipsis else key
    everything = [
        part is Ellipsis or (isinstance(part, slice) and part == slice(None))
        for part in key[1:]
    ]
    if not key or key[0] is Ellipsis or not all(everything):
        raise IndexError("only rows can be chosen, such as X[rows]")
    return key[0]


def _in_words(source):
    """Short description of a source."""
    if isinstance(source, (str, os.PathLike)):
        return repr(os.fspath(source))
    if isinstance(source, (list, tuple)):
        return f"[{len(source)} parts]"
    return type(source).__name__
