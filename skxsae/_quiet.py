"""Warnings that are left out for a while, in one thread at a time."""

import threading
import warnings
from contextlib import contextmanager

# filters belong to the process: two threads that changed them at the same time could
# leave each other's behind
_filtering = threading.RLock()


@contextmanager
def quiet(*messages, category=Warning):
    """Ignore the warnings of a category whose text begins as one of the messages."""
    with _filtering, warnings.catch_warnings():
        for message in messages or ("",):
            warnings.filterwarnings("ignore", message, category)
        yield
