"""Files that are written as a whole or not at all."""

from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path):
    """A new file to write in place of a path, which keeps what it has if that fails."""
    path = Path(path).resolve()  # what a link leads to
    unfinished = path.with_name(f".{path.name}.{uuid4().hex}.part")
    unfinished.touch(exist_ok=False)
    try:
        if path.exists():
            unfinished.chmod(path.stat().st_mode)
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
