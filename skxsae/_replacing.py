"""Files that are written as a whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path):
    """A new file to write in place of a path, which keeps what it has if that fails.

    What is in place is on the disk, too: a loss of power does not lose it.
    """
    given = path
    path = Path(os.path.realpath(path))  # what a link leads to
    if path.is_dir():
        raise IsADirectoryError(f"{given} is a folder, and no file can replace it.")
    check_folder_of(given)
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.part")
    try:
        unfinished.touch(exist_ok=False)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(given)) from error
    try:
        if path.exists():
            unfinished.chmod(path.stat().st_mode)
        yield unfinished
        _flush(unfinished)
        unfinished.replace(path)
        if os.name != "nt":  # which opens no directories
            _flush(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def check_folder_of(path):
    """Refuse a path in a folder that is not there."""
    folder = Path(os.path.realpath(path)).parent
    if not folder.exists():
        raise FileNotFoundError(
            f"{path} cannot be written: there is no folder {folder}."
        )
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {folder} is a file.")


def _flush(path):
    """Wait until a file, or the names in a directory, are on the disk."""
    # Windows flushes only what may be written
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
