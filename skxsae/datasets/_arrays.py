"""Single arrays on disk, mapped into memory rather than read."""

import os
import zipfile
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae._disk_array import DiskArray, check_same_rows
from skxsae._files import (
    LocalFile,
    call_given,
    find_shards,
    is_url,
    split_member,
)
from skxsae._npy import (
    HEAD_BYTES,
    NpyRows,
    find_member,
    read_header,
    reading_archive,
    stored_at,
)
from skxsae._parquet import find_parquet, is_parquet

_FORMS = (
    "'file.npy', 'file.npz:name', 'file.npz' if it holds a single array, a folder of "
    "numbered .npy files, Parquet with a column of lists ('file.parquet:name' if there "
    "are several), or a URL of one of these"
)
_DEFLATED_RATIO = 1032  # the largest there is
MMAP_MODES = [StrOptions({"r", "c"}), None]


@validate_params(
    {"spec": [str, os.PathLike], "mmap_mode": MMAP_MODES},
    prefer_skip_nested_validation=True,
)
def load_array(spec, mmap_mode="r"):
    """Load one array from a file, from a folder of files or from a URL.

    By default a .npy file is mapped into memory, and what lies in several files, in
    Parquet or behind a URL becomes a :class:`DiskArray`: opening it costs nothing, and
    only the rows that are used are read. Every estimator takes both.

    Parameters
    ----------
    spec : str or path-like
        One of these:

        - ``'file.npy'``;
        - ``'file.npz:name'`` for an array inside an archive, or ``'file.npz'`` where
          the archive holds a single array;
        - a folder of numbered .npy files such as the ``img_emb`` of clip-retrieval,
          with ``img_emb_0.npy``, ``img_emb_1.npy``: their rows follow one another in
          the order of the numbers;
        - a Parquet file with a column of lists of numbers, or ``'file.parquet:name'``
          where there are several such columns, or a folder of Parquet files;
        - a URL of any of these that fsspec reads, such as ``'s3://bucket/img_emb'``.

    mmap_mode : {'r', 'c'} or None, default='r'
        How to map a single .npy file into memory: 'r' read-only, 'c' copy-on-write
        (changes are never written back). With None every array is read into memory,
        as it always is if it is empty, in a compressed archive
        (:func:`numpy.savez_compressed`), or in several .npy files without being a 2-D
        array of numbers.

    Returns
    -------
    ndarray, memmap or DiskArray
        The array as stored. Pickled objects are never loaded.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    ValueError
        If the file is of another format, truncated or damaged, if the archive has no
        such array, if the array holds Python objects, or if the files of a folder are
        of different arrays or one of them is missing.

    ImportError
        If pyarrow, which Parquet needs, is not installed.

    See Also
    --------
    DiskArray : The same with its options, such as the size of its buffer.
    load_paired_arrays : Load two views, their pairing and a train/test split.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from skxsae.datasets import load_array
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "views.npz")
    >>> np.savez(path, image=np.zeros((4, 3)), text=np.ones((4, 2)))
    >>> array = load_array(f"{path}:text")
    >>> array.shape
    (4, 2)
    >>> del array
    >>> folder.cleanup()
    """
    return load_given("spec", spec, mmap_mode)


def load_given(name, spec, mmap_mode):
    """Array that parameter `name` asks for; a given array is returned as it is."""
    if not isinstance(spec, (str, os.PathLike)):
        is_array = isinstance(spec, (np.ndarray, DiskArray))
        return spec if is_array else np.asarray(spec)
    given = call_given(name, spec)
    path, member = split_member(os.fspath(spec))
    if is_url(spec) or is_parquet(LocalFile(path)):
        return _read_lazily(name, spec, mmap_mode)
    if member is None and os.path.isdir(path):
        return _read_folder(name, spec, mmap_mode)
    return _read_file(given, _check_path(given, path), member, mmap_mode)


def _read_folder(name, spec, mmap_mode):
    """Array of a folder, mapped if it is a single file and read by rows otherwise."""
    given = call_given(name, spec)
    folder = LocalFile(os.fspath(spec))
    files = find_shards(given, folder, _FORMS, find_parquet(folder))
    if is_parquet(files[0]):
        return _read_lazily(name, spec, mmap_mode)
    if len(files) == 1:
        return _read_file(given, Path(files[0].path), None, mmap_mode)
    calls = [f"{given}: {file.name!r}" for file in files]
    shards = [NpyRows(call, file) for call, file in zip(calls, files, strict=True)]
    check_same_rows(given, [repr(file.name) for file in files], shards)
    if len(shards[0].shape) == 2 and shards[0].dtype.kind in "fiub":
        return _read_lazily(name, spec, mmap_mode)
    return np.concatenate(
        [
            _read_file(call, Path(file.path), None, None)
            for call, file in zip(calls, files, strict=True)
        ]
    )


def _read_lazily(name, spec, mmap_mode):
    """Array that is read by rows, or at once if no file is to be mapped."""
    array = DiskArray._named(name, spec)
    return np.asarray(array) if mmap_mode is None else array


def _read_file(given, path, member, mmap_mode):
    """Array of a .npy file, or of one of the names in an archive."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            size = path.stat().st_size
            return _read_npy(given, file, size, path, 0, mmap_mode)
    with reading_archive(given), zipfile.ZipFile(path) as archive:
        info = find_member(given, archive, member)
        start = stored_at(LocalFile(path), info)
        with archive.open(info) as file:
            # an archive says itself how much there is in it
            size = min(info.file_size, _DEFLATED_RATIO * path.stat().st_size)
            return _read_npy(given, file, size, path, start, mmap_mode)


def _check_path(given, path):
    """Path of a .npy or .npz file that exists."""
    path = Path(path)
    if path.suffix.lower() not in (".npy", ".npz"):
        raise ValueError(
            f"{given} is no .npy, .npz or .parquet file. Give {_FORMS}; numpy.save "
            "writes an array to such a file."
        )
    if path.is_dir():
        raise ValueError(f"{given} is a directory, no archive. Give {_FORMS}.")
    if not path.is_file():
        raise FileNotFoundError(
            f"{given}: there is no file {str(path)!r}. Give the path of a file, as a "
            f"whole or relative to the working directory {os.getcwd()!r}."
        )
    return path


def _read_npy(given, file, size, path, start, mmap_mode):
    """Array of a .npy stream of `size` bytes, mapped where `path` has it at `start`."""
    header = read_header(given, file.read(HEAD_BYTES), size)
    if mmap_mode is None or start is None or header.n_bytes == 0:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    return np.memmap(
        path,
        dtype=header.dtype,
        mode=mmap_mode,
        offset=start + header.start,
        shape=header.shape,
        order="F" if header.is_fortran else "C",
    )
