"""Values as JSON with arrays beside it, of a fixed list of types and no others.

None, bools, ints, strings, finite floats and lists are what they are in JSON. All else
is an object whose "type" is a name in the tables of this file or of `_contents`:
nothing that a file says is ever imported or run.
"""

import math
from collections.abc import Callable
from inspect import signature
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils._metadata_requests import SIMPLE_METHODS

from skxsae._coactivation import Coactivation
from skxsae._saving._checks import array, integer, one_of, reals, strings, told
from skxsae._saving._contents import ESTIMATORS, RECORDS, check_contents, learnt_by

_INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
DTYPES = {
    np.dtype(name) for name in ("bool", *_INTEGERS, "float16", "float32", "float64")
}
_STATE_WORDS = 624
_OUTPUT, _REQUESTS = "_sklearn_output_config", "_metadata_request"
_SETTINGS = ("output", "requests")
# what `partial_fit` and the callbacks of scikit-learn keep in an estimator
_OF_A_RUN = (
    "_stream",
    "_skl_callbacks",
    "_skl_callbacks_to_teardown",
    "_callback_fit_ctx",
    "_parent_callback_ctx",
)
SAVED = (*ESTIMATORS, Coactivation)


class Kind(NamedTuple):
    """A type of value: what it is made of, and how it is made again."""

    cls: type
    parts: Callable
    build: Callable


def _from_text(value):
    """A float that JSON has no number for."""
    if value not in ("nan", "inf", "-inf"):
        raise ValueError(f"{told(value)} is not 'nan', 'inf' or '-inf'")
    return float(value)


def _from_floats(values):
    """A list of floats."""
    array("f", "items", finite=False)(values, {})
    return values.tolist()


def _as_tuple(items):
    """A tuple of a list."""
    if not isinstance(items, list):
        raise ValueError("a tuple has no list of items")
    return tuple(items)


def _as_strings(values):
    """An array of strings."""
    if not isinstance(values, list):
        raise ValueError("an array of strings has no list of values")
    texts = np.empty(len(values), dtype=object)
    texts[:] = values
    strings("items")(texts, {})
    return texts


def _as_scalar(value):
    """A scalar of NumPy."""
    if not isinstance(value, np.ndarray) or value.ndim:
        raise ValueError(f"{told(value)} is no scalar")
    return value[()]


def _as_text(value):
    """A string of NumPy."""
    if not isinstance(value, str):
        raise ValueError(f"{told(value)} is no string")
    return np.str_(value)


def _as_csr(data, indices, indptr, shape):
    """A CSR array whose indices are inside its shape."""
    sizes: dict = {}
    array("fi", "entries", finite=False)(data, sizes)
    array("i", "entries")(indices, sizes)
    array("i", "ends")(indptr, sizes)
    if not isinstance(shape, tuple) or len(shape) != 2:
        raise ValueError(f"a CSR array has the shape {told(shape)}")
    for length in shape:
        integer(0)(length, {})
        if length > np.iinfo(np.int64).max:
            raise ValueError(f"a CSR array has an axis of length {length}")
    codes = sparse.csr_array((data, indices, indptr), shape=shape)
    codes.check_format(full_check=True)
    return codes


def _columns(table):
    """Columns of a table by name."""
    plain = isinstance(table.index, pd.RangeIndex) and table.index.equals(
        pd.RangeIndex(len(table))
    )
    if not plain or not table.columns.is_unique:
        raise ValueError("a table is numbered otherwise than from 0: use reset_index")
    names = table.columns.tolist()
    return {"names": names, "columns": [table[name].to_numpy() for name in names]}


def _as_table(names, columns):
    """A table of columns of one length."""
    if not isinstance(columns, list):
        raise ValueError("a table has no list of columns")
    sizes: dict = {}
    for column in columns:
        array("fib", "rows", finite=False)(column, sizes)
    strings("names")(np.array(names, dtype=object), {"names": len(columns)})
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


def _random_state_parts(random_state):
    """What a generator of random numbers is made of."""
    state = random_state.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise ValueError(f"a RandomState has a {state['bit_generator']}: use an int")
    return {
        "keys": state["state"]["key"],
        "position": int(state["state"]["pos"]),
        "has_gauss": int(state["has_gauss"]),
        "gauss": float(state["gauss"]),
    }


def _as_random_state(keys, position, has_gauss, gauss):
    """A generator of random numbers."""
    array("u", _STATE_WORDS)(keys, {})
    for number, most in ((position, _STATE_WORDS), (has_gauss, 1)):
        integer(0)(number, {})
        if number > most:
            raise ValueError(f"a RandomState has {number} where {most} is the most")
    reals([gauss], {})
    random_state = np.random.RandomState()
    random_state.set_state(("MT19937", keys, position, has_gauss, gauss))
    return random_state


def _record(cls):
    """The kind of a class whose attributes are all that it is."""

    names = list(RECORDS[cls].fitted)

    def build(**parts):
        if set(parts) != set(names):
            raise ValueError(f"a {cls.__name__} has {sorted(parts)}, not {names}")
        record = object.__new__(cls)
        record.__dict__.update(parts)
        check_contents(record, parts)
        return record

    return Kind(cls, vars, build)


_FLOATS = "floats"
KINDS = {
    "float": Kind(float, lambda value: {"value": str(value)}, _from_text),
    _FLOATS: Kind(list, lambda value: {"values": np.array(value)}, _from_floats),
    "tuple": Kind(tuple, lambda value: {"items": list(value)}, _as_tuple),
    "scalar": Kind(np.generic, lambda value: {"value": np.asarray(value)}, _as_scalar),
    "numpy string": Kind(np.str_, lambda value: {"value": str(value)}, _as_text),
    "csr": Kind(
        sparse.csr_array,
        lambda codes: {
            "data": codes.data,
            "indices": codes.indices,
            "indptr": codes.indptr,
            "shape": codes.shape,
        },
        _as_csr,
    ),
    "table": Kind(pd.DataFrame, _columns, _as_table),
    "RandomState": Kind(np.random.RandomState, _random_state_parts, _as_random_state),
    **{cls.__name__: _record(cls) for cls in RECORDS},
}
_KIND_OF = {kind.cls: name for name, kind in KINDS.items()}
_ESTIMATOR_OF = {cls.__name__: cls for cls in ESTIMATORS}


def encode_estimator(estimator):
    """JSON and arrays of what can be saved."""
    if type(estimator) not in SAVED:
        names = ", ".join(cls.__name__ for cls in SAVED)
        raise TypeError(
            f"estimator is a {type(estimator).__name__}, but only these can be saved: "
            f"{names}. Of a pipeline or a search, pass the step or the "
            "best_estimator_; joblib saves all, in files to be trusted."
        )
    arrays: dict = {}
    return encode(estimator, "", arrays), arrays


def encode(value, path, arrays):
    """JSON of a value; its arrays are added to `arrays` under names like `path`."""
    cls = type(value)
    if value is None or cls in (bool, int, str):
        return value
    if cls is float and math.isfinite(value):
        return value
    if isinstance(value, np.ndarray):
        return _encode_array(value, path, arrays)
    if cls is list and not (value and all(type(item) is float for item in value)):
        return [
            encode(item, f"{path}.{number}", arrays)
            for number, item in enumerate(value)
        ]
    if cls in ESTIMATORS:
        return _encode_estimator(value, path, arrays)
    if cls not in _KIND_OF and isinstance(value, np.generic):
        cls = np.generic
    if cls not in _KIND_OF:
        raise ValueError(_no_place(value, path))
    if cls in RECORDS:
        check_contents(value, vars(value))
    name = _KIND_OF[cls]
    return {"type": name, **_encode_all(KINDS[name].parts(value), path, arrays)}


def _encode_all(values, path, arrays):
    """JSON of the values of a dict."""
    prefix = f"{path}." if path else ""
    return {
        name: encode(value, f"{prefix}{name}", arrays) for name, value in values.items()
    }


def _no_place(value, path):
    """Why a value cannot be saved, and what to do."""
    if callable(value):
        return (
            f"{path} is {told(value)}, and code is not saved: set it to something else "
            "first if transform does not need it, or use joblib."
        )
    return f"{path} is a {type(value).__name__}, which a saved model has no place for."


def _encode_array(value, path, arrays):
    """JSON of an array: its name among the arrays, or strings."""
    if value.dtype == object and value.ndim == 1:
        strings("items")(value, {})
        return {"type": "strings", "values": [str(text) for text in value]}
    if value.dtype.newbyteorder("=") not in DTYPES:
        raise ValueError(
            f"{path} is an array of {value.dtype}, which a saved model has no place "
            "for."
        )
    while path in arrays:
        path += "_"
    arrays[path] = np.asarray(value, value.dtype.newbyteorder("="), order="C")
    node = {"type": "array", "name": path}
    if value.flags.f_contiguous and not value.flags.c_contiguous:
        node["order"] = "F"
    return node


def _encode_estimator(estimator, path, arrays):
    """JSON of an estimator: its class, its parameters, and what it has learnt."""
    contents = ESTIMATORS[type(estimator)]
    learnt = learnt_by(estimator)
    check_contents(estimator, learnt)
    params = estimator.get_params(deep=False)
    known = {*params, *contents.fitted, *contents.others, *contents.derived}
    others = {
        name: value
        for name, value in vars(estimator).items()
        if name not in known and name not in _OF_A_RUN
    }
    node = {
        "type": type(estimator).__name__,
        "params": _encode_all(params, path, arrays),
        "fitted": _encode_all(learnt, path, arrays),
        **_encode_settings(others),
    }
    if others:
        raise ValueError(
            f"{type(estimator).__name__} has the attribute {min(others)}, which a "
            "saved model has no place for: delete it, or use joblib."
        )
    return node


def _encode_settings(others):
    """JSON of what scikit-learn keeps in an estimator, taken out of its attributes."""
    settings = {}
    if output := others.pop(_OUTPUT, None):
        settings["output"] = dict(output)
    if requests := others.pop(_REQUESTS, None):
        settings["requests"] = {
            method: dict(getattr(requests, method).requests)
            for method in SIMPLE_METHODS
            if getattr(requests, method).requests
        }
    return settings


def decode(node, arrays):
    """The value of some JSON; its arrays are taken out of `arrays`."""
    if isinstance(node, list):
        return [decode(item, arrays) for item in node]
    if not isinstance(node, dict):
        return node
    name = node.get("type")
    parts = {key: value for key, value in node.items() if key != "type"}
    if name == "array":
        return _decode_array(parts, arrays)
    if name == "strings":
        return _built("strings", _as_strings, parts)
    if isinstance(name, str) and name in _ESTIMATOR_OF:
        return _decode_estimator(_ESTIMATOR_OF[name], parts, arrays)
    if isinstance(name, str) and name in KINDS:
        decoded = {key: decode(value, arrays) for key, value in parts.items()}
        return _built(name, KINDS[name].build, decoded)
    raise ValueError(f"it holds a {told(name)}, which is not known here")


def _built(name, build, parts):
    """What a kind makes of its parts."""
    try:
        signature(build).bind(**parts)
    except TypeError as error:
        raise ValueError(
            f"a {name} has the entries {sorted(parts)}: {error}"
        ) from error
    return build(**parts)


def _decode_array(parts, arrays):
    """An array, which nothing else may hold."""
    name, order = parts.get("name"), parts.get("order", "C")
    if not isinstance(name, str) or name not in arrays:
        raise ValueError(f"the array {told(name)} is not there, or is needed twice")
    if order not in ("C", "F") or not set(parts) <= {"name", "order"}:
        raise ValueError(f"the array {name} has the entries {told(parts)}")
    return np.array(arrays.pop(name), order=order)


def _decode_estimator(cls, parts, arrays):
    """An estimator of a known class, checked."""
    if not {"params", "fitted"} <= set(parts) <= {*_SETTINGS, "params", "fitted"}:
        raise ValueError(f"a {cls.__name__} has the entries {sorted(parts)}")
    contents = ESTIMATORS[cls]
    attributes = {**contents.fitted, **contents.others}
    params, fitted = (
        _decode_entries(cls, parts[name], known, arrays)
        for name, known in (
            ("params", cls._get_param_names()),
            ("fitted", attributes),
        )
    )
    try:
        estimator = cls(**params)
    except TypeError as error:  # without one that it must have
        raise ValueError(str(error)) from error
    estimator.__dict__.update(fitted)
    _decode_settings(estimator, parts)
    check_contents(estimator, fitted)
    if fitted:
        for name, derive in contents.derived.items():
            setattr(estimator, name, derive(estimator))
    return estimator


def _decode_entries(cls, nodes, known, arrays):
    """Values by name, of names that a class has."""
    if not isinstance(nodes, dict):
        raise ValueError(f"a {cls.__name__} has {told(nodes)} where names are needed")
    for name in nodes:
        if name not in known:
            raise ValueError(f"{cls.__name__} has no {told(name)} here")
    return {name: decode(node, arrays) for name, node in nodes.items()}


def _decode_settings(estimator, parts):
    """Set what scikit-learn keeps in an estimator."""
    output, requests = (parts.get(name, {}) for name in _SETTINGS)
    if not isinstance(output, dict) or not isinstance(requests, dict):
        raise ValueError(f"output and requests are {told(output)} and {told(requests)}")
    if output:
        if set(output) != {"transform"} or not hasattr(estimator, "set_output"):
            raise ValueError(f"output is {told(output)}")
        one_of(("default", "pandas", "polars"))(output["transform"], {})
        estimator.set_output(**output)
    if requests:
        request = estimator._get_metadata_request()
        for method, aliases in requests.items():
            if method not in SIMPLE_METHODS or not isinstance(aliases, dict):
                raise ValueError(f"requests has {told(aliases)} for {told(method)}")
            for param, alias in aliases.items():
                if not isinstance(alias, (str, bool, type(None))):
                    raise ValueError(f"requests has {told(alias)} for {told(param)}")
                getattr(request, method).add_request(param=param, alias=alias)
        setattr(estimator, _REQUESTS, request)
