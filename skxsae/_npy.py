"""The .npy format: headers that are checked, and rows that are read where they lie."""

import io
import lzma
import math
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from skxsae._files import LocalFile, damaged

HEAD_BYTES = 2**16  # NumPy refuses headers of more than 10,000 characters
_MOST_AXES = 64  # of an array of NumPy
_DEFLATED_RATIO = 1032  # the largest there is
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_BAD_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    UnicodeDecodeError,
)


class Header(NamedTuple):
    """What a .npy file says about its array."""

    shape: tuple
    is_fortran: bool
    dtype: np.dtype
    start: int  # byte at which the numbers begin

    @property
    def n_bytes(self):
        """Bytes of all numbers."""
        return self.dtype.itemsize * int(np.prod(self.shape, dtype=object))


def read_header(given, head, size):
    """Header of a .npy file of `size` bytes, of which `head` are the first."""
    stream = io.BytesIO(head)
    try:
        read = _HEADER_READERS[np.lib.format.read_magic(stream)]
        header = Header(*read(stream), stream.tell())
    except Exception as error:  # whatever NumPy raises on a damaged header
        raise damaged(given, f"no valid .npy header ({error})") from error
    if header.dtype.hasobject:
        raise ValueError(
            f"{given} holds Python objects (dtype {header.dtype}), which are never "
            "unpickled. Convert it to numbers, such as "
            "numpy.stack(array).astype('float32'), and save it again."
        )
    if not _is_possible(header):
        raise damaged(
            given,
            f"no valid .npy header (shape {header.shape}, dtype {header.dtype})",
        )
    if header.start + header.n_bytes > size:
        raise damaged(
            given,
            f"its header promises {header.n_bytes} bytes for shape {header.shape} and "
            f"dtype {header.dtype}, {size - header.start} follow",
        )
    return header


def _is_possible(header):
    """Whether NumPy can have an array of this shape, also one without numbers."""
    whole = all(type(length) is int for length in header.shape)
    if not whole or header.dtype.subdtype is not None:
        return False
    lengths = [length or 1 for length in header.shape]
    n_bytes = math.prod(lengths) * (header.dtype.itemsize or 1)
    is_small = n_bytes <= np.iinfo(np.intp).max and len(lengths) <= _MOST_AXES
    return is_small and min(lengths, default=1) > 0


class NpyRows:
    """Rows of a .npy file."""

    block_rows = None
    is_packed = False

    def __init__(self, given, file):
        self.given, self.file = given, file
        size = file.size()
        head = np.empty(min(size, HEAD_BYTES), dtype=np.uint8)
        with file.opened() as read:
            read(0, head)
        self._hold(read_header(given, head.tobytes(), size), 0)

    def _hold(self, header, begin):
        """Keep what a header says, of an array whose file begins at a byte of it."""
        self.shape, self.dtype = header.shape, header.dtype
        self._is_fortran = header.is_fortran
        self._start = begin + header.start
        self._n_bytes = header.n_bytes

    @property
    def can_be_mapped(self):
        """Whether its numbers lie on the local disk as they are."""
        is_local = isinstance(self.file, LocalFile)
        return is_local and not self.is_packed and self._n_bytes > 0

    def mapped(self, mode):
        """The array as a map into memory."""
        return np.memmap(
            self.file.path,
            dtype=self.dtype,
            mode=mode,
            offset=self._start,
            shape=self.shape,
            order="F" if self._is_fortran else "C",
        )

    def loaded(self):
        """The array in memory, of whatever shape and type."""
        with self._stream() as stream:
            return np.lib.format.read_array(stream, allow_pickle=False)

    def _stream(self):
        """A binary file object with the .npy file."""
        return self.file.open()

    @property
    def gap_rows(self):
        """Rows that are rather read than skipped."""
        return self.file.gap_bytes // max(self.dtype.itemsize * self.shape[1], 1)

    @contextmanager
    def opened(self):
        """A function that reads consecutive rows from `start` on into an array."""
        with self.file.opened() as read_bytes:

            def read(start, out):
                row_bytes = self.shape[1] * self.dtype.itemsize
                if self._is_fortran:
                    self._read_columns(read_bytes, start, out)
                else:
                    read_bytes(self._start + start * row_bytes, out)

            yield read

    def _read_columns(self, read_bytes, start, out):
        """Rows of a file in Fortran order, whose columns are what is consecutive."""
        n_rows, n_columns = self.shape
        column = np.empty(len(out), dtype=self.dtype)
        for number in range(n_columns):
            offset = (number * n_rows + start) * self.dtype.itemsize
            read_bytes(self._start + offset, column)
            out[:, number] = column


class MemberRows(NpyRows):
    """Rows of a .npy file in an archive, which may be compressed."""

    def __init__(self, given, file, member):
        self.given, self.file = given, file
        with reading_archive(given):
            with self._archive() as archive:
                info = find_member(given, archive, member)
            self._entry = info.filename
            begin = stored_at(file, info)
            self.is_packed = begin is None
            # an archive says itself how much there is in it
            n_bytes = file.size()
            most = n_bytes * _DEFLATED_RATIO if self.is_packed else n_bytes - begin
            size = min(info.file_size, most)
            with self._stream() as stream:
                header = read_header(given, stream.read(HEAD_BYTES), size)
        self._hold(header, begin or 0)

    @contextmanager
    def _archive(self):
        """The open archive."""
        with self.file.open() as stream, zipfile.ZipFile(stream) as archive:
            yield archive

    @contextmanager
    def _stream(self):
        """A binary file object with the .npy file."""
        with self._archive() as archive, archive.open(self._entry) as stream:
            yield stream

    def loaded(self):
        """The array in memory, of whatever shape and type."""
        with reading_archive(self.given):
            return super().loaded()


@contextmanager
def reading_archive(given):
    """Turn whatever a damaged or encrypted archive raises into one kind of error."""
    try:
        yield
    except _BAD_ARCHIVE as error:
        raise damaged(given, error) from error
    except OSError as error:
        if error.filename is not None:  # a file that cannot be opened
            raise
        raise damaged(given, error) from error


def find_member(given, archive, member):
    """Entry of an archive by the name of its array."""
    infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    names = ", ".join(map(repr, infos)) or "none"
    if member is None and len(infos) != 1:
        raise ValueError(
            f"{given} holds {len(infos)} arrays. Name one of them as 'file.npz:name'; "
            f"the names are: {names}."
        )
    if member is not None and member not in infos:
        raise ValueError(
            f"{given}: the archive holds no array named {member!r}. The names are: "
            f"{names}."
        )
    return next(iter(infos.values())) if member is None else infos[member]


def stored_at(file, info):
    """Byte of an archive at which an uncompressed entry starts, else None."""
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    header = np.empty(30, dtype=np.uint8)
    if info.header_offset + len(header) > file.size():
        raise zipfile.BadZipFile("an entry begins behind the end of the file")
    with file.opened() as read:
        read(info.header_offset, header)
    # the local header ends with the lengths of the name and of the extra field
    n_name, n_extra = header[26:30].view("<u2").tolist()
    return info.header_offset + len(header) + n_name + n_extra
