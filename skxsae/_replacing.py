"""Files that are written as a whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


@contextmanager
def replacing(path):
    """A new file to write in place of a path, which keeps what it has if that fails."""
    path = Path(path)
    handle, name = mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(0o666 & ~_umask())  # a temporary file is its owner's alone
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _umask():
    """What the process takes from the mode of new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
