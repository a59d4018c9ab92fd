"""The files of a saved model: safetensors whose metadata are the JSON of the model.

The metadata have one entry, "skxsae", a JSON document that begins with the SHA-256 of
the rest of it and of all arrays. A folder has a readable copy of it beside.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from skxsae._replacing import check_folder_of, replacing
from skxsae._saving._checks import told
from skxsae._version import __version__

SUFFIX = ".safetensors"
ARRAYS, DOCUMENT = f"model{SUFFIX}", "model.json"
FORMAT = 1
_TYPES = {"BOOL", *(f"{kind}{bits}" for kind in "IU" for bits in (8, 16, 32, 64))}
_TYPES |= {"F16", "F32", "F64"}
_SIGNED_FROM = len('{"checksum": "", ') + 64
_AGAIN = "Take another copy, or save the estimator again"


def write_model(path, document, arrays):
    """Write a file, if the path ends in ".safetensors", or the files of a folder."""
    path = Path(path)
    in_one_file = path.suffix == SUFFIX
    check_folder_of(path)
    if not in_one_file and os.path.lexists(path) and not path.is_dir():
        raise FileExistsError(
            f"{path} is there, and is no folder: give a path that ends in "
            f"{SUFFIX!r}, or that of a folder."
        )
    document = {"format": FORMAT, "skxsae": __version__, **document}
    text = signed(json.dumps(document, allow_nan=False), arrays)
    if in_one_file:
        _write_file(path, text, arrays)
        return
    is_new = not path.exists()
    path.mkdir(exist_ok=True)
    try:
        _write_file(path / ARRAYS, text, arrays)
        with replacing(path / DOCUMENT) as unfinished:
            readable = json.dumps(json.loads(text), indent=1)
            unfinished.write_text(f"{readable}\n", encoding="utf-8")
    except BaseException:
        if is_new:
            shutil.rmtree(path)
        raise


def _write_file(path, text, arrays):
    """Write all of a model to one file."""
    with replacing(path) as unfinished:
        mode = unfinished.stat().st_mode
        try:
            save_file(arrays, unfinished, metadata={"skxsae": text})
        except SafetensorError as error:  # of a full disk, for one
            raise OSError(f"{path} cannot be written: {error}") from error
        unfinished.chmod(mode)  # safetensors makes another file in its place


def signed(text, arrays):
    """JSON of a document that begins with the checksum of the rest and of arrays."""
    return f'{{"checksum": "{_checksum(text, arrays)}", {text[1:]}'


def _checksum(text, arrays):
    """SHA-256 of a document, and of names, types, shapes and bytes of arrays."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        head = json.dumps([name, array.dtype.name, array.shape])
        digest.update(head.encode())
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(little.reshape(-1).view(np.uint8))
    return digest.hexdigest()


def read_model(path):
    """Document and arrays of a file."""
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("skxsae", "")
            document = _document(text, path)
            arrays = {name: _array(file, name, path) for name in sorted(file.keys())}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a safetensors file, or not all of one: {error}. {_AGAIN}."
        ) from error
    # what stands behind the checksum
    if signed("{" + text[_SIGNED_FROM:], arrays) != text:
        raise ValueError(
            f"{path} has another checksum than its content: it is damaged, or was "
            f"edited. {_AGAIN}."
        )
    return document, arrays


def model_file(path):
    """The one file that a model is read from."""
    path = Path(path)
    if path.is_dir():
        path = path / ARRAYS
        if not path.is_file():
            raise FileNotFoundError(
                f"The folder {path.parent} has no {ARRAYS}: it is not one that "
                "skxsae.save wrote."
            )
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}.")
    return path


def _document(text, path):
    """The JSON document of a file, of a format that this version reads."""
    if not text:
        raise ValueError(
            f"{path} is a safetensors file, but not one that skxsae.save wrote. "
            "skxsae.interop reads weights in the formats of others."
        )
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} has no JSON document that can be read: {error}. {_AGAIN}."
        ) from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} has a document that is {told(document)}. {_AGAIN}.")
    version = document.get("format")
    if type(version) is not int or version < 1:
        raise ValueError(f"{path} has the format {told(version)}. {_AGAIN}.")
    if version > FORMAT:
        raise ValueError(
            f"{path} was written by skxsae {told(document.get('skxsae'))} in format "
            f"{version}. This is skxsae {__version__}, which reads formats up to "
            f"{FORMAT}: upgrade skxsae."
        )
    return document


def _no_constant(name):
    """Refuse what JSON does not have."""
    raise ValueError(f"{name} is not JSON")


def _array(file, name, path):
    """One array, of a type that NumPy has."""
    kind = file.get_slice(name).get_dtype()
    if kind not in _TYPES:
        raise ValueError(f"{path} has an array of {kind}, {told(name)}. {_AGAIN}.")
    try:
        array = file.get_tensor(name)
    except ValueError as error:  # a shape that NumPy cannot have
        raise ValueError(f"{path} has no array {told(name)}: {error}. {_AGAIN}.") from (
            error
        )
    if array.dtype == bool and (array.view(np.uint8) > 1).any():
        raise ValueError(f"{path} has other bools than 0 and 1 in {told(name)}.")
    return array
