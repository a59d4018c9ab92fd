"""What is known of a loader that is fuzzed."""

import os
from dataclasses import dataclass


@dataclass
class Loader:
    """How to write files, to load them, and what is expected of the result.

    `write` gets an empty folder and a generator, `hostile` likewise with the path that
    appears if a pickle is executed. `load` gets the folder, and returns or raises what
    `check` accepts or `allowed` has. The message of an error has `says` in it.
    """

    write: object
    load: object
    check: object = lambda result: None
    hostile: object = None
    allowed: tuple = (ValueError,)
    says: str = ""
    warns: tuple = ()  # parts of warnings, or of their files, that may come through


class Canary:
    """An object whose pickle makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)
