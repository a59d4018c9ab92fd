"""Rows that are lists of numbers in a column of a Parquet file."""

import re
from contextlib import closing, contextmanager, nullcontext

import numpy as np

from skxsae._files import LocalFile, damaged

_SUFFIXES = (".parquet", ".pq")
_STREAM_BYTES = 2**20
_BATCH_ENTRIES = 2**18
_NUMBER = re.compile("([0-9]+)")


def is_parquet(file):
    """Whether a file is Parquet by its name."""
    return file.name.lower().endswith(_SUFFIXES)


def find_parquet(folder):
    """The Parquet files of a folder in the order of their names, 10 after 9."""

    def key(file):
        return [
            (part.isdigit(), int(part) if part.isdigit() else 0, part)
            for part in _NUMBER.split(file.name)
        ]

    found = filter(is_parquet, folder.children())
    # what starts with these is of the program that wrote the folder, such as _metadata
    return sorted((file for file in found if file.name[0] not in "._"), key=key)


class LastGroup:
    """The row group that was read last, of all files of an array together.

    It saves slices of consecutive rows from reading their row group again and again.
    """

    def __init__(self):
        self._held = None

    def __getstate__(self):
        return {"_held": None}

    def rows(self, file, number, read):
        """Rows of a row group, from `read` unless they are at hand."""
        held = self._held
        if held is None or held[0] is not file or held[1] != number:
            self._held = held = None  # two are never held
            self._held = held = file, number, read(number)
        return held[2]


class ParquetRows:
    """Rows of a column of a Parquet file, read by row groups."""

    gap_rows = 0
    is_packed = False

    def __init__(self, given, file, column, group_bytes, last_group):
        self._given, self._file, self._last_group = given, file, last_group
        with self._opened() as parquet:
            self._metadata = parquet.metadata
            schema = parquet.schema_arrow
        field = _find_column(given, schema, column)
        self._column = field.name
        self._leaf = _first_leaf(schema, field.name)
        self.dtype = np.dtype(field.type.value_type.to_pandas_dtype())
        groups = [
            self._metadata.row_group(number)
            for number in range(self._metadata.num_row_groups)
        ]
        lengths = [group.num_rows for group in groups]
        if min(lengths, default=0) < 0:
            raise damaged(given, "a row group has a negative number of rows")
        self._bounds = np.cumsum([0, *lengths])
        self.shape = int(self._bounds[-1]), self._width(field.type, groups)
        self.block_rows = max([1, *lengths])
        self._check_size(group_bytes)

    @contextmanager
    def _opened(self):
        """The open file, whose errors are told in our words."""
        pa, pq = _pyarrow()
        is_local = isinstance(self._file, LocalFile)
        stream = nullcontext(self._file.path) if is_local else self._file.open()
        try:
            with stream as source:
                parquet = pq.ParquetFile(
                    source,
                    metadata=getattr(self, "_metadata", None),
                    buffer_size=_STREAM_BYTES,
                    pre_buffer=False,
                )
                with closing(parquet):
                    yield parquet
        except (FileNotFoundError, PermissionError):
            raise
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise damaged(self._given, reason, "with pyarrow") from error

    def _width(self, kind, groups):
        """Numbers in a row, by the type of the column or by its row groups."""
        if hasattr(kind, "list_size"):
            return kind.list_size
        for number, group in enumerate(groups):
            if not group.num_rows:
                continue
            n_values = group.column(self._leaf).num_values
            width = n_values // group.num_rows
            if width * group.num_rows != n_values:
                self.shape = int(self._bounds[-1]), self._first_length(number)
                self._read_group(number)  # names the row
            if width == 1:  # as which an empty list counts too
                self._check_first(number)
            return width
        return 0

    def _check_first(self, number):
        """Raise if the first row of a row group is an empty list or missing."""
        if not self._first_length(number):
            raise ValueError(
                f"{self._given}: row {self._bounds[number]} of column {self._column!r} "
                "holds no numbers. All rows must hold equally many; drop the others, "
                "in both views."
            )

    def _first_length(self, number):
        """Numbers in the first row of a row group."""
        with self._opened() as parquet:
            rows = parquet.iter_batches(
                1, row_groups=[number], columns=[self._column], use_threads=False
            )
            return len(next(rows).column(self._column).flatten())

    def _check_size(self, group_bytes):
        """Raise if a row group takes more memory than it may."""
        needed = self.block_rows * self.shape[1] * self.dtype.itemsize
        if needed > group_bytes:
            row_bytes = self.shape[1] * self.dtype.itemsize
            raise ValueError(
                f"{self._given} has a row group of {self.block_rows} rows, which take "
                f"{needed} bytes; half of buffer_bytes, {group_bytes}, is the most. "
                "Write it again with smaller ones, such as pyarrow.parquet.write_table("
                f"table, path, row_group_size={max(group_bytes // row_bytes, 1)}), or "
                f"give buffer_bytes={2 * needed}."
            )

    @contextmanager
    def opened(self):
        """A function that reads consecutive rows from `start` on into an array."""
        yield self._read

    def _read(self, start, out):
        stop = start + len(out)
        first = int(np.searchsorted(self._bounds, start, side="right")) - 1
        for number in range(first, len(self._bounds) - 1):
            begin, end = self._bounds[number : number + 2]
            if begin >= stop:
                return
            own = slice(max(start, begin), min(stop, end))
            group = self._last_group.rows(self, number, self._read_group)
            out[own.start - start : own.stop - start] = group[
                own.start - begin : own.stop - begin
            ]
            del group  # before the next one is read

    def _read_group(self, number):
        """All rows of a row group."""
        begin, end = self._bounds[number : number + 2].tolist()
        width = self.shape[1]
        rows = np.empty((end - begin, width), dtype=self.dtype)
        with self._opened() as parquet:
            start = 0
            for batch in parquet.iter_batches(
                max(_BATCH_ENTRIES // max(width, 1), 1),
                row_groups=[number],
                columns=[self._column],
                use_threads=False,
            ):
                values = self._values(batch.column(self._column), begin + start)
                rows[start : start + len(values)] = values
                start += len(values)
        return rows

    def _values(self, lists, first):
        """A 2-D array of lists of one length, of which `first` numbers the first."""
        width = self.shape[1]
        lengths = np.asarray(lists.value_lengths().fill_null(-1))
        values = lists.flatten()
        wrong = np.flatnonzero(lengths != width)
        if len(wrong):
            row = wrong[0]
            what = (
                f"holds {lengths[row]} numbers where others hold {width}"
                if lengths[row] >= 0
                else "is missing"
            )
        elif values.null_count:
            row = np.flatnonzero(values.is_null())[0] // width
            what = "holds a missing number"
        else:
            return values.to_numpy(zero_copy_only=False).reshape(len(lists), width)
        raise ValueError(
            f"{self._given}: row {first + row} of column {self._column!r} {what}. All "
            "rows must hold equally many numbers; drop the others, in both views."
        )


def _find_column(given, schema, column):
    """The column of lists of numbers that is meant."""
    usable = [field.name for field in schema if _holds_rows(field.type)]
    names = ", ".join(map(repr, usable)) or "none"
    if column is None and len(usable) != 1:
        raise ValueError(
            f"{given} has {len(usable)} columns with lists of numbers. Name one of "
            f"them as column; there are: {names}."
        )
    if column is not None and column not in usable:
        raise ValueError(
            f"{given} has no column {column!r} with lists of numbers. There are: "
            f"{names}."
        )
    return schema.field(column or usable[0])


def _first_leaf(schema, column):
    """Number of the first column of Parquet that belongs to a column of Arrow."""
    before = schema.names[: schema.names.index(column)]
    return sum(_n_leaves(schema.field(number).type) for number in range(len(before)))


def _n_leaves(kind):
    """How many columns of Parquet a type of Arrow takes: a struct has several."""
    kind = getattr(kind, "storage_type", kind)
    children = (kind.field(number).type for number in range(kind.num_fields))
    return sum(map(_n_leaves, children)) or 1


def _holds_rows(kind):
    """Whether a type of Arrow is that of lists of numbers."""
    types = _pyarrow()[0].types
    is_list = types.is_list(kind) or types.is_large_list(kind)
    if not is_list and not types.is_fixed_size_list(kind):
        return False
    value = kind.value_type
    return (
        types.is_integer(value) or types.is_floating(value) or types.is_boolean(value)
    )


def _pyarrow():
    """pyarrow and its Parquet module, or an error that names the extra to install."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            "Parquet files require pyarrow: pip install 'skxsae[parquet]'."
        ) from error
    return pyarrow, pyarrow.parquet
