"""Files that are written as a whole or not at all."""

import os
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp

# what is taken from the mode of new files; it can only be read by setting it
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def replacing(path):
    """A new file to write in place of a path, which keeps what it has if that fails."""
    path = Path(path).resolve()  # what a link leads to
    mode = path.stat().st_mode if path.exists() else 0o666 & ~_UMASK
    handle, name = mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    unfinished = Path(name)
    try:
        yield unfinished
        unfinished.chmod(mode)  # a temporary file is its owner's alone
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
