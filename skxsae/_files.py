"""Where the bytes of arrays are: on a local disk, or wherever fsspec reads."""

import os
import re
import stat
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

_NUMBERED = re.compile(r"(.*?)(\d+)\.npy", re.IGNORECASE)
_NUMBER_AT_THE_END = re.compile(r"(.*?)(\d+)\.\w+")
# of one request, of which fsspec makes several at once where it can
_REQUEST_BYTES = 2**23
# of fsspec, which have the path of what follows them in a chained URL
_CACHES = ("blockcache", "filecache", "simplecache")


def call_given(name, spec):
    """How messages call an argument: by its name and, if it has one, its path."""
    is_path = isinstance(spec, (str, os.PathLike))
    return f"{name}={os.fspath(spec)!r}" if is_path else name


def damaged(given, reason, way="with numpy.save or numpy.savez"):
    """Error for a file whose content is not what its suffix promises."""
    return ValueError(
        f"{given} cannot be read: {reason}. The file is truncated, damaged or of "
        f"another format; write it again {way}."
    )


def is_url(spec):
    """Whether fsspec is asked for, such as by 's3://bucket/img_emb'."""
    return isinstance(spec, str) and "://" in spec


def split_member(spec):
    """Path of a file, and the array or column in it that is named, or None."""
    before, link, after = _own_link(spec)
    for suffix in (".npz", ".parquet", ".pq"):
        path, colon, member = link.rpartition(f"{suffix}:")
        if colon:
            return f"{before}{path}{suffix}{after}", member
    return spec, None


def _own_link(spec):
    """What stands before, in and after the link of a chained URL that has the path.

    It is ``zip://folder`` of ``zip://folder::s3://bucket/a.zip``, where the others say
    what it is in, and ``s3://bucket/a.npy`` of ``simplecache::s3://bucket/a.npy``.
    """
    if not is_url(spec):
        return "", spec, ""
    links = spec.split("::")
    number = 0
    while number < len(links) - 1 and links[number].removesuffix("://") in _CACHES:
        number += 1
    before = "".join(f"{link}::" for link in links[:number])
    after = "".join(f"::{link}" for link in links[number + 1 :])
    return before, links[number], after


def open_place(spec, storage_options=None):
    """The file or folder that a path or a URL names."""
    if is_url(spec):
        return RemoteFile(spec, storage_options or {})
    return LocalFile(os.fspath(spec))


class LocalFile:
    """A path of the local disk, read without a buffer or a map."""

    gap_bytes = 2**14  # which take less time to read than to seek over

    def __init__(self, path):
        self.path = path

    @property
    def name(self):
        """Name without its folder."""
        return os.path.basename(os.path.normpath(self.path))

    def is_folder(self):
        """Whether it can be listed."""
        return os.path.isdir(self.path)

    def is_file(self):
        """Whether it can be read: a pipe or a device cannot."""
        try:
            return stat.S_ISREG(os.stat(self.path).st_mode)
        except (OSError, ValueError):
            return False

    def children(self):
        """Everything in a folder."""
        return [LocalFile(os.fspath(path)) for path in Path(self.path).iterdir()]

    def size(self):
        """Number of bytes."""
        return os.stat(self.path).st_size

    def open(self):
        """A binary file object."""
        return open(self.path, "rb")

    @contextmanager
    def opened(self):
        """A function that fills an array with the bytes from `start` on."""
        with open(self.path, "rb", buffering=0) as file:

            def read(start, out):
                file.seek(start)
                _fill(file, out, self.path)

            yield read


class RemoteFile:
    """A URL that fsspec reads; opened anew by every process."""

    gap_bytes = 2**20

    def __init__(self, url, storage_options):
        self.path = url
        self.storage_options = storage_options

    def _place(self):
        """File system, which fsspec keeps unless it is an archive, and path in it."""
        import fsspec

        return fsspec.core.url_to_fs(self.path, **self.storage_options)

    @property
    def name(self):
        """Name without its folder."""
        return _own_link(self.path)[1].rstrip("/").rpartition("/")[2]

    def is_folder(self):
        """Whether it can be listed."""
        fs, path = self._place()
        return fs.isdir(path)

    def is_file(self):
        """Whether it can be read."""
        fs, path = self._place()
        return fs.isfile(path)

    def children(self):
        """Everything in a folder."""
        fs, path = self._place()
        names = {found.rstrip("/").rpartition("/")[2] for found in fs.ls(path, False)}
        before, folder, after = _own_link(self.path)
        folder = folder if folder.endswith("/") else f"{folder}/"
        paths = [f"{before}{folder}{name}{after}" for name in names]
        return [RemoteFile(path, self.storage_options) for path in paths]

    def size(self):
        """Number of bytes."""
        fs, path = self._place()
        size = fs.size(path)
        if size is None:
            raise ValueError(f"{self.path!r} does not tell its length: copy it first.")
        return size

    @contextmanager
    def open(self):
        """A binary file object."""
        fs, path = self._place()  # an archive is closed with its file system
        with fs.open(path, "rb") as stream:
            yield stream

    @contextmanager
    def opened(self):
        """A function that fills an array with the bytes from `start` on."""
        fs, path = self._place()

        def read(start, out):
            out = out.reshape(-1).view(np.uint8)
            parts = range(0, len(out), _REQUEST_BYTES)
            stops = [min(part + _REQUEST_BYTES, len(out)) for part in parts]
            answers = fs.cat_ranges(
                [path] * len(parts),
                [start + part for part in parts],
                [start + stop for stop in stops],
                on_error="raise",
            )
            for part, stop, answer in zip(parts, stops, answers, strict=True):
                if len(answer) != stop - part:
                    raise _too_short(self.path)
                out[part:stop] = np.frombuffer(answer, dtype=np.uint8)

        yield read


def _fill(file, out, path):
    """Fill a contiguous array with the next bytes of an unbuffered file."""
    rest = memoryview(out.reshape(-1).view(np.uint8))
    while len(rest):
        n_read = file.readinto(rest)
        if not n_read:
            raise _too_short(path)
        rest = rest[n_read:]


def _too_short(path):
    """Error for a file that has lost bytes since it was opened."""
    return ValueError(
        f"{os.fspath(path)!r} ends before rows that it had when it was opened: it was "
        "truncated or replaced since. Open it again."
    )


def find_shards(given, folder, forms, others=()):
    """The numbered .npy files of a folder, in the order of their numbers, or others."""
    found = [(_NUMBERED.fullmatch(file.name), file) for file in folder.children()]
    parts = [(*match.groups(), file) for match, file in found if match]
    if not parts and others:
        _check_numbered(given, [file.name for file in others])
        return others
    if not parts:
        raise ValueError(
            f"{given} is a directory without numbered files such as 'img_emb_0.npy'. "
            f"Give {forms}."
        )
    prefixes = sorted({prefix for prefix, _, _ in parts})
    if len(prefixes) > 1:
        raise ValueError(
            f"{given} holds files of {len(prefixes)} arrays, which start with "
            f"{', '.join(map(repr, prefixes))}. Keep one array in a directory."
        )
    _check_numbers(given, sorted(int(number) for _, number, _ in parts))
    return [file for _, _, file in sorted(parts, key=lambda part: int(part[1]))]


def _check_numbered(given, names):
    """Raise if files that are known by a number alone are not all there."""
    found = [match for name in names if (match := _NUMBER_AT_THE_END.fullmatch(name))]
    if len(found) == len(names) and len({match[1] for match in found}) == 1:
        _check_numbers(given, sorted(int(match[2]) for match in found))


def _check_numbers(given, numbers):
    """Raise unless the sorted numbers follow one another."""
    for number, following in pairwise(numbers):
        if following == number:
            raise ValueError(
                f"{given} has two files of number {number}, so that the order of its "
                "rows is not known. Keep one of them."
            )
        if following > number + 1:
            raise ValueError(
                f"{given} lacks the file of number {number + 1}: its numbers run from "
                f"{numbers[0]} to {numbers[-1]}. Add the file or, if the other view "
                "lacks it too, renumber the files of both."
            )
