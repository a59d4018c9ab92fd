"""Checks of input arrays that neither copy nor load an array on disk."""

import warnings
import zlib
from contextlib import contextmanager
from numbers import Integral

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from skxsae._disk_array import DiskArray
from skxsae._distributed import ALONE, own_gpu, peers
from skxsae._views import is_streamed, row_blocks

FLOATS = [np.float32, np.float64]
_LAZY_DTYPES = [np.float16, np.float32, np.float64]
_ROWS_OF_CHECKSUM = 64


def check_view(estimator, X, *, reset, min_samples=1, peers=ALONE):
    """Validate the first view: a float array is returned as it is, uncopied.

    Processes that fit together look at a share of the rows each.
    """
    X = _lazy_floats(without_torch(X))
    if _is_lazy(X, min_samples):
        validate_data(estimator, X, skip_check_array=True, reset=reset)
    else:
        X = validate_data(
            estimator,
            X,
            dtype=FLOATS,
            ensure_all_finite=False,
            ensure_min_samples=min_samples,
            reset=reset,
        )
    check_finite(X, "X", peers)
    return X


def check_second_view(estimator, y, *, n_features=None, min_samples=1, peers=ALONE):
    """Validate the second view, whose width must be `n_features` if that is given."""
    name = type(estimator).__name__
    if y is None:
        raise ValueError(
            f"{name} requires y to be passed, but the target y is None: y is the "
            "second view, an array of shape (n_samples, n_features_y)."
        )
    y = _lazy_floats(without_torch(y))
    if not _is_lazy(y, min_samples):
        with _hint_at_encoders():
            y = check_array(
                y,
                dtype=FLOATS,
                ensure_all_finite=False,
                ensure_2d=False,
                ensure_min_samples=min_samples,
                input_name="y",
                estimator=estimator,
            )
    if y.ndim == 1:
        warnings.warn(
            "A column-vector y was passed when a 2d array was expected: y is taken as "
            f"a second view with one feature. To put a classifier behind {name}, fit "
            "it on both views first and wrap it in FrozenEstimator.",
            DataConversionWarning,
            stacklevel=3,
        )
        y = y.reshape(-1, 1)
    check_finite(y, "y", peers)
    if n_features is not None and y.shape[1] != n_features:
        raise ValueError(
            f"y has {y.shape[1]} features, but {name} is expecting {n_features} "
            "features in the second view."
        )
    return y


@contextmanager
def _hint_at_encoders():
    """Say what to do with texts where numbers are expected."""
    try:
        yield
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(
            f"y must be numbers, the embeddings of the second view: {error}. Texts are "
            "embedded first, such as by skxsae.embedding.OpenCLIPTextEncoder."
        ) from error


def without_torch(X):
    """A NumPy array in place of a tensor on any device or of bytes in another order."""
    if isinstance(X, np.ndarray) and not X.dtype.isnative:
        # else scikit-learn would make float32 of a float64 that it does not know
        return X.astype(X.dtype.newbyteorder("="))
    if not isinstance(X, torch.Tensor):
        return X
    X = X.detach().cpu()
    return (X.float() if X.dtype == torch.bfloat16 else X).numpy()


def _lazy_floats(X):
    """A DiskArray of other numbers is converted as an array is, but when it is read."""
    if not isinstance(X, DiskArray) or X.dtype in _LAZY_DTYPES:
        return X
    native = X.dtype.newbyteorder("=")
    return X.astype(native if native in _LAZY_DTYPES else FLOATS[0])


def _is_lazy(X, min_samples):
    """Whether X is a float array that can be read batch by batch as it stands."""
    return (
        isinstance(X, (np.ndarray, DiskArray))
        and not isinstance(X, np.matrix)
        and X.dtype in _LAZY_DTYPES
        and X.ndim == 2
        and X.shape[0] >= min_samples
        and X.shape[1] > 0
    )


def check_finite(X, name, peers=ALONE):
    """Raise a ValueError that names the first row with a NaN or an infinity."""
    for rows in row_blocks(X, peers=peers):
        block = np.asarray(X[rows])
        with np.errstate(over="ignore", invalid="ignore"):
            total = block.sum(dtype=np.float64)
        if np.isfinite(total):
            continue
        finite = np.isfinite(block)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            kind = "NaN" if np.isnan(block[row, column]) else "infinity"
            raise ValueError(
                f"Input {name} contains {kind} in row {rows.start + row}, column "
                f"{column}. Drop or impute such rows, in both views."
            )


def check_same_fit(estimator, arrays, peers, groups=None):
    """Refuse processes that would not fit the same thing together."""
    if peers.size == 1:
        return
    with peers.agreeing():
        what = description(estimator.get_params(), estimator, arrays)
        for view, X in zip("Xy", arrays, strict=False):
            # they decide which process reads which rows
            blocks = [X.buffer_bytes, X.block_rows] if is_streamed(X) else None
            what[f"buffer_bytes and block_rows of {view}"] = blocks
        what["checksum of groups"] = None if groups is None else zlib.crc32(groups)
    peers.check_same(what)


# what has no part in training; seeds are compared where they come from
_OF_NO_FIT = ("random_state", "device", "sparse_output", "transform_algorithm")


def description(params, estimator, arrays):
    """What makes a fit the same one: names, and numbers or strings."""
    views = zip("Xy", arrays, strict=False)
    return {
        "estimator": type(estimator).__name__,
        **{
            name: in_a_word(value)
            for name, value in params.items()
            if not name.endswith(_OF_NO_FIT)
        },
        **{
            f"{what} of {view}": value
            for view, X in views
            for what, value in (
                ("shape", list(X.shape)),
                ("type", str(X.dtype)),
                ("checksum", _checksum_of_rows(X)),
            )
        },
    }


def in_a_word(value):
    """A number or a string as it is, the name of a function, of all else its kind."""
    if isinstance(value, Integral):
        return int(value)
    if value is None or isinstance(value, (float, str)):
        return value
    return getattr(value, "__qualname__", type(value).__name__)


def _checksum_of_rows(X):
    """CRC-32 of some rows from all over an array."""
    rows = np.unique(np.linspace(0, X.shape[0] - 1, _ROWS_OF_CHECKSUM).astype(int))
    return zlib.crc32(np.ascontiguousarray(X[rows]).tobytes())


def check_same_length(X, y, groups=None):
    """Number of the group of each pair, or None; views of other lengths are refused."""
    if X.shape[0] != y.shape[0]:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: X has "
            f"{X.shape[0]} rows and y has {y.shape[0]}. Row i of both must be a pair; "
            "repeat a row that has several partners and pass groups."
        )
    return None if groups is None else check_groups(groups, X.shape[0])


def check_groups(groups, n_samples):
    """Number of the group of each of `n_samples` pairs."""
    if np.ndim(groups) != 1:
        raise ValueError(
            f"groups has {np.ndim(groups)} dimensions, but 1 is required: an entry for "
            "each pair, such as the image of each caption."
        )
    if len(groups) != n_samples:
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: groups has "
            f"{len(groups)} entries for {n_samples} rows: give one group per row."
        )
    codes = pd.factorize(np.asarray(groups))[0]
    if (codes < 0).any():
        row = int(np.flatnonzero(codes < 0)[0])
        raise ValueError(f"groups is missing at row {row}: every row needs a group.")
    return codes


def resolve_device(device):
    """Name of a torch device that is there."""
    if device == "auto":
        if not torch.cuda.is_available():
            return "cpu"
        return "cuda" if peers().size == 1 else str(own_gpu())
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ValueError(
            f"device={device!r} is not a torch device; use 'auto', 'cpu' or 'cuda'."
        ) from error
    n_devices = _n_devices(wanted.type)
    if (wanted.index or 0) >= n_devices:
        raise ValueError(
            f"device={device!r} was asked for, but torch sees {n_devices or 'no'} "
            f"{wanted.type.upper()} device{'s' * (n_devices > 1)}; use device='auto' "
            "or 'cpu'."
        )
    return device


def _n_devices(kind):
    """Number of devices of a kind; any number of names mean the one CPU."""
    if kind == "cpu":
        return np.inf
    there = torch.accelerator.current_accelerator(check_available=True)
    if there is None or there.type != kind:
        return 0
    return torch.accelerator.device_count()


@contextmanager
def unchanged_on_error(estimator):
    """Leave the fitted attributes as they were if a fit does not come through."""
    before = _fitted_attributes(estimator)
    try:
        yield
    except BaseException:
        for name in _fitted_attributes(estimator):
            delattr(estimator, name)
        vars(estimator).update(before)
        raise


def _fitted_attributes(estimator):
    """Attributes that end in an underscore, by scikit-learn's convention."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name.endswith("_") and not name.startswith("_")
    }


def distinct_rows(X, groups, peers=ALONE):
    """First of the equal rows in each group, and where each row finds its own.

    Rows of a group are equal if their 64-bit fingerprints are. Processes that fit
    together read a share of the rows each.
    """
    group, prints = pd.factorize(np.asarray(groups))[0], _fingerprints(X, peers)
    order = np.lexsort((prints, group))
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = np.diff(group[order]) != 0
    is_new[1:] |= np.diff(prints[order]) != 0
    # a stable sort: the first of each run is the first of all
    first = order[is_new]
    inverse = np.empty(len(order), dtype=np.intp)
    inverse[order] = np.argsort(np.argsort(first))[np.cumsum(is_new) - 1]
    return np.sort(first), inverse


def _fingerprints(X, peers):
    """64 bits of each row, all alike in rows that differ by a chance of 2**-64.

    They are the upper halves of two random linear forms of its 32-bit words.
    """
    own = peers.share(X.shape[0])
    prints = np.empty(own.stop - own.start, dtype=np.uint64)
    rng = np.random.default_rng(0)
    half = np.uint64(32)
    forms = None
    with peers.agreeing():
        for rows in row_blocks(X, 4 * X.shape[1], peers):  # words take more than rows
            block = np.ascontiguousarray(X[rows])
            words = block.view(f"u{min(block.itemsize, 4)}").astype(np.uint64)
            if forms is None:
                forms = rng.integers(2**64, size=(2, words.shape[1]), dtype=np.uint64)
            upper, lower = (words @ form >> half for form in forms)
            own_prints = slice(rows.start - own.start, rows.stop - own.start)
            prints[own_prints] = upper << half | lower
    return peers.concatenated(torch.from_numpy(prints.view(np.int64))).numpy()
