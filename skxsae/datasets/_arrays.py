"""Single arrays on disk, mapped into memory rather than read."""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae._disk_array import DiskArray, check_same_rows
from skxsae._files import LocalFile, call_given, damaged, find_shards, is_url
from skxsae._npy import HEAD_BYTES, find_member, read_header, stored_at

_FORMS = (
    "'file.npy', 'file.npz:name', 'file.npz' if it holds a single array, or a folder "
    "of numbered .npy files"
)
MMAP_MODES = [StrOptions({"r", "c"}), None]


@validate_params(
    {"spec": [str, os.PathLike], "mmap_mode": MMAP_MODES},
    prefer_skip_nested_validation=True,
)
def load_array(spec, mmap_mode="r"):
    """Load one array from a .npy or .npz file, or from a folder of numbered files.

    By default a file is mapped into memory: opening it costs nothing, and only the
    rows that are used are read.

    Parameters
    ----------
    spec : str or path-like
        ``'file.npy'``, ``'file.npz:name'`` for an array inside an archive, or
        ``'file.npz'`` where the archive holds a single array, or a folder of numbered
        .npy files such as the ``img_emb`` of clip-retrieval, with ``img_emb_0.npy``,
        ``img_emb_1.npy``: their rows follow one another in the order of the numbers.

    mmap_mode : {'r', 'c'} or None, default='r'
        How to map the file into memory: 'r' read-only, 'c' copy-on-write (changes
        are never written back). With None the array is read into memory, as it always
        is if it is empty, in a compressed archive (:func:`numpy.savez_compressed`), or
        in several files, which are read one after another in the type that they have.

    Returns
    -------
    ndarray or memmap
        The array as stored. Pickled objects are never loaded.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    ValueError
        If the file is of another format, truncated or damaged, if the archive has no
        such array, if the array holds Python objects, or if the files of a folder are
        of different arrays or one of them is missing.

    See Also
    --------
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
    if is_url(spec):
        return _read_lazily(name, spec, mmap_mode)
    path, member = _parse_spec(given, os.fspath(spec))
    if not path.is_dir():
        return _read_file(given, path, member, mmap_mode)
    paths = [Path(file.path) for file in find_shards(given, LocalFile(path), _FORMS)]
    if len(paths) == 1:
        return _read_file(given, paths[0], None, mmap_mode)
    names = [repr(path.name) for path in paths]
    shards = [
        _read_file(f"{given}: {name}", path, None, "r")
        for name, path in zip(names, paths, strict=True)
    ]
    check_same_rows(given, names, shards)
    if shards[0].ndim == 2:
        return _read_lazily(name, spec, mmap_mode)
    return np.concatenate(shards)


def _read_lazily(name, spec, mmap_mode):
    """Array that is read by rows, or at once if no file is to be mapped."""
    array = DiskArray._named(name, spec)
    return np.asarray(array) if mmap_mode is None else array


def _read_file(given, path, member, mmap_mode):
    """Array of a .npy file, or of one of the names in an archive."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                size = path.stat().st_size
                return _read_npy(given, file, size, path, 0, mmap_mode)
        with zipfile.ZipFile(path) as archive:
            info = find_member(given, archive, member)
            start = stored_at(LocalFile(path), info)
            with archive.open(info) as file:
                return _read_npy(given, file, info.file_size, path, start, mmap_mode)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise damaged(given, error) from error


def _parse_spec(given, spec):
    """Path of an existing file, and the name inside it or None."""
    path, member = spec, None
    if ".npz:" in spec:
        stem, member = spec.rsplit(".npz:", 1)
        path = f"{stem}.npz"
    path = Path(path)
    if member is None and path.is_dir():
        return path, None
    if path.suffix.lower() not in (".npy", ".npz"):
        raise ValueError(
            f"{given} is neither a .npy nor a .npz file. Give {_FORMS}; "
            "numpy.save writes an array to such a file."
        )
    if path.is_dir():
        raise ValueError(f"{given} is a directory, no archive. Give {_FORMS}.")
    if not path.exists():
        raise FileNotFoundError(
            f"{given}: there is no file {str(path)!r}. Give the path of a .npy or .npz "
            f"file, absolute or relative to the working directory {os.getcwd()!r}."
        )
    return path, member


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
