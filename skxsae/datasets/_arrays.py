"""Single arrays on disk, mapped into memory rather than read."""

import os
import zipfile
import zlib
from pathlib import Path

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae.datasets._shards import find_shards, join_shards

_SPEC_FORMS = (
    "'file.npy', 'file.npz:name', 'file.npz' if it holds a single array, or a folder "
    "of numbered .npy files"
)
_HEADER_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
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
        return spec if isinstance(spec, np.ndarray) else np.asarray(spec)
    given = call_given(name, spec)
    path, member = _parse_spec(given, os.fspath(spec))
    if path.is_dir():
        return _read_folder(given, path, mmap_mode)
    return _read_file(given, path, member, mmap_mode)


def _read_folder(given, folder, mmap_mode):
    """Array of a folder of numbered files, mapped if it is a single one."""
    paths = find_shards(given, folder, _SPEC_FORMS)
    if len(paths) == 1:
        return _read_file(given, paths[0], None, mmap_mode)
    shards = [_read_file(f"{given}: {path.name!r}", path, None, "r") for path in paths]
    return join_shards(given, paths, shards)


def _read_file(given, path, member, mmap_mode):
    """Array of a .npy file, or of one of the names in an archive."""
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                size = path.stat().st_size
                return _read_npy(given, file, size, path, 0, mmap_mode)
        with zipfile.ZipFile(path) as archive:
            info = _find_member(given, archive, member)
            start = _stored_at(path, info)
            with archive.open(info) as file:
                return _read_npy(given, file, info.file_size, path, start, mmap_mode)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _damaged(given, error) from error


def call_given(name, spec):
    """How messages call an argument: by its name and, if it has one, its path."""
    is_path = isinstance(spec, (str, os.PathLike))
    return f"{name}={os.fspath(spec)!r}" if is_path else name


def _damaged(given, reason):
    """Error for a file whose content is not what its suffix promises."""
    return ValueError(
        f"{given} cannot be read: {reason}. The file is truncated, damaged or of "
        "another format; write it again with numpy.save or numpy.savez."
    )


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
            f"{given} is neither a .npy nor a .npz file. Give {_SPEC_FORMS}; "
            "numpy.save writes an array to such a file."
        )
    if path.is_dir():
        raise ValueError(f"{given} is a directory, no archive. Give {_SPEC_FORMS}.")
    if not path.exists():
        raise FileNotFoundError(
            f"{given}: there is no file {str(path)!r}. Give the path of a .npy or .npz "
            f"file, absolute or relative to the working directory {os.getcwd()!r}."
        )
    return path, member


def _find_member(given, archive, member):
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


def _stored_at(path, info):
    """Byte of `path` at which an uncompressed zip entry starts, else None."""
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with path.open("rb") as file:
        file.seek(info.header_offset)
        header = file.read(30)
    # the local header ends with the lengths of the name and of the extra field
    n_name, n_extra = np.frombuffer(header[26:30], dtype="<u2").tolist()
    return info.header_offset + len(header) + n_name + n_extra


def _read_npy(given, file, size, path, start, mmap_mode):
    """Array of a .npy stream of `size` bytes, mapped where `path` has it at `start`."""
    try:
        read_header = _HEADER_READERS[np.lib.format.read_magic(file)]
        shape, is_fortran, dtype = read_header(file)
    except (ValueError, KeyError) as error:
        raise _damaged(given, f"no valid .npy header ({error})") from error
    if dtype.hasobject:
        raise ValueError(
            f"{given} holds Python objects (dtype {dtype}), which are never unpickled. "
            "Convert it to numbers, such as numpy.stack(array).astype('float32'), and "
            "save it again."
        )
    n_bytes = dtype.itemsize * int(np.prod(shape, dtype=object))
    if file.tell() + n_bytes > size:
        reason = (
            f"its header promises {n_bytes} bytes for shape {shape} and dtype {dtype}, "
            f"{size - file.tell()} follow"
        )
        raise _damaged(given, reason)
    if mmap_mode is None or start is None or n_bytes == 0:
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    return np.memmap(
        path,
        dtype=dtype,
        mode=mmap_mode,
        offset=start + file.tell(),
        shape=shape,
        order="F" if is_fortran else "C",
    )
