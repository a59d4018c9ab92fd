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
    path = Path(os.path.realpath(path))  # what a link leads to
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.part")
    unfinished.touch(exist_ok=False)
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


def _flush(path):
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
