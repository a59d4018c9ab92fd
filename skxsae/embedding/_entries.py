"""Entries to encode: taken out of a container, told apart, and reported if bad."""

import hashlib
import os
import warnings
from contextlib import contextmanager

import numpy as np
from sklearn.utils import _safe_indexing

_N_NAMED = 10  # unreadable entries that a message names
_N_ROWS = 5  # of one entry that a message names
_N_CHARACTERS = 120  # of the name of an entry


class Unreadable(Exception):
    """An entry that cannot be encoded, and why."""


@contextmanager
def reading():
    """Turn whatever a decoder raises on a bad file into one kind of error."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Unreadable(reason or type(error).__name__) from error


def attempt(function, entry):
    """Result of a function, or the error that says the entry is unreadable."""
    try:
        return function(entry)
    except Unreadable as error:
        return error


def digest(*parts):
    """SHA-256 of some bytes, the first of which say what kind they are of."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.digest()


def check_entries(X, kind, name="X"):
    """List of the entries of a one-dimensional container, such as of "paths"."""
    if isinstance(X, str | bytes | os.PathLike):
        raise ValueError(
            f"{name} is a single {type(X).__name__}, but a list of {kind} is expected: "
            f"[{name}] for one. The files of a folder are "
            "sorted(pathlib.Path(folder).glob('*.jpg'))."
        )
    if not hasattr(X, "__len__") or isinstance(X, dict | set | frozenset):
        raise TypeError(
            f"{name} is a {type(X).__name__}, but a list of {kind} is expected, or an "
            "array, a Series or a DataFrame of one column."
        )
    n_dimensions = len(getattr(X, "shape", (len(X),)))
    if n_dimensions == 2:
        if X.shape[1] != 1:
            raise ValueError(
                f"{name} has {X.shape[1]} columns, but one is expected, of {kind}. "
                "ColumnTransformer gives each column its encoder."
            )
        X = _safe_indexing(X, 0, axis=1)
    elif n_dimensions not in (1, 4):
        raise ValueError(
            f"{name} has {n_dimensions} dimensions, but a list of {kind} is expected."
        )
    entries = list(X)
    if not entries:
        raise ValueError(
            f"{name} is empty, but a minimum of one is required, of {kind}."
        )
    return entries


def check_files(entries):
    """Raise a ValueError that names the paths at which there is nothing."""
    found, errors = {}, {}
    for row, entry in enumerate(entries):
        if isinstance(entry, str | os.PathLike):
            if entry not in found:
                found[entry] = attempt(_look_at, entry)
            if isinstance(found[entry], Unreadable):
                errors[row] = found[entry]
    _raise_errors(entries, errors)


def _look_at(path):
    """Raise an error if there is nothing at a path."""
    with reading():
        os.stat(path)


def _key(entry):
    """What an entry is known by at first sight, without reading it."""
    return entry if isinstance(entry, str | os.PathLike) else id(entry)


class Results:
    """Embeddings of some entries, of which equal ones are encoded once.

    `items` are the entries that differ at first sight: a path or a text that comes
    again is the same item. Items that turn out to have the same content share a row.
    """

    def __init__(self, entries, n_features):
        number: dict[object, int] = {}
        keys = [_key(entry) for entry in entries]
        for key in keys:
            number.setdefault(key, len(number))
        self._item_of_row = np.array([number[key] for key in keys])
        _, rows = np.unique(self._item_of_row, return_index=True)
        self.items = [entries[row] for row in rows]
        self._entries = entries
        self._errors: dict[int, Unreadable] = {}
        self._first: dict[bytes, int] = {}
        self._source = np.arange(len(self.items))
        self.vectors = np.full((len(self.items), n_features), np.nan, dtype=np.float32)

    def is_new(self, item, content):
        """Whether no item before had this content; else it is to have the same row."""
        self._source[item] = self._first.setdefault(content, item)
        return self._source[item] == item

    def fail(self, item, error):
        """Remember that an item is unreadable."""
        self._errors[item] = error

    def to_array(self):
        """Embedding of each entry, NaN where it is unreadable."""
        rows = self._source[self._item_of_row]
        is_identity = np.array_equal(rows, np.arange(len(self.vectors)))
        return self.vectors if is_identity else self.vectors[rows]

    def raise_errors(self):
        """Raise a ValueError if some entries are unreadable so far."""
        _raise_errors(self._entries, self._errors_by_row())

    def warn(self):
        """Warn if some entries are unreadable."""
        if errors := self._errors_by_row():
            described = describe_unreadable("X", self._entries, errors)
            warnings.warn(
                f"{described}. Each has a row of NaN: drop it, in both views.",
                UserWarning,
                stacklevel=4,  # that of the caller of transform
            )

    def _errors_by_row(self):
        """Errors of the entries that are unreadable so far."""
        if not self._errors:
            return {}
        source = self._source[self._item_of_row]
        rows = np.flatnonzero(np.isin(source, list(self._errors)))
        return {int(row): self._errors[source[row]] for row in rows}


def _raise_errors(entries, errors):
    """Raise a ValueError if there are errors, which are by row."""
    if errors:
        raise ValueError(
            f"{describe_unreadable('X', entries, errors)}. Mend each or drop its row, "
            "in both views; on_error='skip' gives it a row of NaN."
        )


def describe_unreadable(name, entries, errors):
    """Rows, names and reasons of unreadable entries, whose errors are by row."""
    alike: dict[object, tuple] = {}  # holds the entry, so that its id stays its own
    for row, error in errors.items():
        entry = entries[row]
        alike.setdefault(_key(entry), (entry, error, []))[2].append(row)
    shown = list(alike.values())[:_N_NAMED]
    named = [f"{_rows(rows)}, {_name(entry)} ({error})" for entry, error, rows in shown]
    n_more = len(errors) - sum(len(rows) for *_, rows in shown)
    if n_more:
        named.append(f"and {n_more} more")
    count = "1 entry" if len(errors) == 1 else f"{len(errors)} entries"
    return f"{count} of {name} cannot be read: {'; '.join(named)}"


def _rows(rows):
    """What to call the rows of one entry in a message."""
    if len(rows) == 1:
        return f"row {rows[0]}"
    some, last = rows[:-1], rows[-1]
    if len(rows) > _N_ROWS:
        some, last = rows[:_N_ROWS], f"{len(rows) - _N_ROWS} more"
    return f"rows {', '.join(map(str, some))} and {last}"


def _name(entry):
    """What to call an entry in a message."""
    if isinstance(entry, str | os.PathLike):
        name = repr(os.fspath(entry))
        return name if len(name) <= _N_CHARACTERS else f"{name[:_N_CHARACTERS]}..."
    return "None" if entry is None else f"a {type(entry).__name__}"
