"""Checks of single values of a saved model.

A check takes a value and a dict of the sizes that are known so far, to which it adds:
arrays that share the name of an axis must agree in its length. What is wrong is raised
as a ValueError that goes on where the name of the value ends.
"""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import sparse


def array(kinds, *axes, finite=True):
    """An array of some kinds of type, with a name or a length for each axis."""

    def check(value, sizes):
        if not isinstance(value, np.ndarray):
            raise ValueError(f"is {told(value)}, not an array")
        if value.dtype.kind not in kinds or value.dtype == np.float16:
            raise ValueError(f"has the type {value.dtype}, which it cannot have")
        expected = _expected_shape(axes, value.shape, sizes)
        if value.shape != expected:
            raise ValueError(f"has the shape {value.shape}, not {expected}")
        if finite and not np.isfinite(value).all():
            raise ValueError("has a NaN or an infinity")

    return check


def _expected_shape(axes, shape, sizes):
    """Lengths that are known of the axes, the rest as in `shape`."""
    if len(axes) != len(shape):
        return tuple(sizes.get(axis, axis) for axis in axes)
    return tuple(
        axis if isinstance(axis, int) else sizes.setdefault(axis, length)
        for axis, length in zip(axes, shape, strict=True)
    )


def strings(axis):
    """An array of strings."""

    def check(value, sizes):
        if not isinstance(value, np.ndarray) or value.ndim != 1:
            raise ValueError(f"is {told(value)}, not an array of strings")
        if not all(isinstance(text, str) for text in value):
            raise ValueError("has an entry that is no string")
        if len(value) != sizes.setdefault(axis, len(value)):
            raise ValueError(f"has {len(value)} entries, not {sizes[axis]}")

    return check


def csr(*axes):
    """A finite CSR array."""

    def check(value, sizes):
        if not isinstance(value, sparse.csr_array):
            raise ValueError(f"is {told(value)}, not a CSR array")
        expected = _expected_shape(axes, value.shape, sizes)
        if value.shape != expected:
            raise ValueError(f"has the shape {value.shape}, not {expected}")
        if not np.isfinite(value.data).all():
            raise ValueError("has a NaN or an infinity")

    return check


def table(value, sizes):
    """A DataFrame."""
    if not isinstance(value, pd.DataFrame):
        raise ValueError(f"is {told(value)}, not a table")


def none(value, sizes):
    """None."""
    if value is not None:
        raise ValueError(f"is {told(value)}, not None")


def size(axis, low=1):
    """An int that is the length of an axis."""

    def check(value, sizes):
        integer(low)(value, sizes)
        if value != sizes.setdefault(axis, int(value)):
            raise ValueError(f"is {value}, but arrays have {sizes[axis]}")

    return check


def integer(low):
    """An int of at least `low`."""

    def check(value, sizes):
        is_int = isinstance(value, Integral) and not isinstance(value, bool)
        if not is_int or value < low:
            raise ValueError(f"is {told(value)}, not an int of at least {low}")

    return check


def real(value, sizes):
    """A number, which may be NaN or an infinity."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise ValueError(f"is {told(value)}, not a number")


def finite(value, sizes):
    """A number that is neither NaN nor an infinity."""
    real(value, sizes)
    if not np.isfinite(value):
        raise ValueError(f"is {value}, not a finite number")


def flag(value, sizes):
    """A bool."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"is {told(value)}, not a bool")


def reals(value, sizes):
    """A list of floats."""
    if not isinstance(value, list) or not all(isinstance(x, float) for x in value):
        raise ValueError(f"is {told(value)}, not a list of floats")


def one_of(values):
    """One of some strings."""

    def check(value, sizes):
        if not isinstance(value, str) or value not in values:
            raise ValueError(f"is {told(value)}, not one of {', '.join(values)}")

    return check


def instance(*kinds):
    """Something of one of some types, which was checked on its own."""

    def check(value, sizes):
        if not isinstance(value, kinds):
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ValueError(f"is {told(value)}, not a {names}")

    return check


def either(*checks):
    """What passes one of several checks."""

    def check(value, sizes):
        problems = []
        for one in checks:
            found = dict(sizes)
            try:
                one(value, found)
            except ValueError as error:
                problems.append(str(error))
            else:
                sizes.update(found)
                return
        raise ValueError(" and ".join(dict.fromkeys(problems)))

    return check


def told(value):
    """A value as it is told in a message: short."""
    text = repr(value)
    return text if len(text) <= 40 else f"a {type(value).__name__}"
