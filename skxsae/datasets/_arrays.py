"""Single arrays on disk, mapped into memory rather than read."""

import os

import numpy as np
from sklearn.utils._param_validation import StrOptions, validate_params

from skxsae._disk_array import DiskArray
from skxsae._npy import NpyRows
from skxsae._sources import Opening, holds_rows

MMAP_MODES = [StrOptions({"r", "c"}), None]


@validate_params(
    {
        "spec": [str, os.PathLike],
        "mmap_mode": MMAP_MODES,
        "storage_options": [dict, None],
    },
    prefer_skip_nested_validation=True,
)
def load_array(spec, mmap_mode="r", *, storage_options=None):
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
        - a URL of any of these that fsspec reads, such as ``'s3://bucket/img_emb'``,
          or a chain of URLs, such as ``'zip://img_emb::s3://bucket/all.zip'``.

    mmap_mode : {'r', 'c'} or None, default='r'
        How to map a single .npy file into memory: 'r' read-only, 'c' copy-on-write
        (changes are never written back). With None every array is read into memory,
        as it always is if it is empty, in a compressed archive
        (:func:`numpy.savez_compressed`), or in several .npy files or behind a URL
        without being a 2-D array of numbers.

    storage_options : dict, default=None
        What fsspec is to know, such as credentials, if `spec` is a URL.

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
    return load_given("spec", spec, mmap_mode, storage_options)


def load_given(name, spec, mmap_mode, storage_options=None):
    """Array that parameter `name` asks for; a given array is returned as it is."""
    if not isinstance(spec, (str, os.PathLike)):
        is_array = isinstance(spec, (np.ndarray, DiskArray))
        return spec if is_array else np.asarray(spec)
    parts = Opening(storage_options=storage_options).parts(name, spec)
    if len(parts) == 1 and isinstance(parts[0], NpyRows):
        return _load_single(spec, parts[0], mmap_mode)
    if not holds_rows(parts[0]):
        return np.concatenate([part.loaded() for part in parts])
    array = DiskArray._of(parts, spec)
    return np.asarray(array) if mmap_mode is None else array


def _load_single(spec, part, mmap_mode):
    """Array of a single .npy file: mapped, read by rows, or read."""
    if mmap_mode is not None and part.can_be_mapped:
        return part.mapped(mmap_mode)
    if mmap_mode is None or 0 in part.shape or not holds_rows(part):
        return part.loaded()
    return DiskArray._of([part], spec)
