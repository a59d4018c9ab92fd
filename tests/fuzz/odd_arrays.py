"""Arrays of every size, type and layout, whose values are ordinary or degenerate."""

import tempfile

import numpy as np
import pandas as pd
import torch
from hypothesis import strategies as st
from scipy import sparse


def _normal(rng, n, d):
    return rng.standard_normal((n, d))


def _constant_columns(rng, n, d):
    X = rng.standard_normal((n, d))
    X[:, rng.random(d) < 0.5] = 3.0
    return X


def _one_row(rng, n, d):
    return np.repeat(rng.standard_normal((1, d)), n, axis=0)


def _few_rows(rng, n, d):
    return rng.standard_normal((2, d))[rng.integers(2, size=n)]


def _one_differs(rng, n, d):
    X = np.repeat(rng.standard_normal((1, d)), n, axis=0)
    X[rng.integers(n)] += 1.0
    return X


def _with_outlier(rng, n, d):
    X = rng.standard_normal((n, d))
    X[rng.integers(n)] *= 1e6
    return X


def _scales(rng, n, d):
    return rng.standard_normal((n, d)) * 10.0 ** rng.integers(-20, 20, d)


def _integers(rng, n, d):
    return rng.integers(-3, 4, (n, d)).astype(float)


def _one_hot(rng, n, d):
    return np.eye(d)[rng.integers(d, size=n)]


def _far_away(rng, n, d):
    return 1e4 + rng.standard_normal((n, d))


VALUES = {
    "normal": _normal,
    "zeros": lambda rng, n, d: np.zeros((n, d)),
    "constant columns": _constant_columns,
    "one row": _one_row,
    "few rows": _few_rows,
    "one differs": _one_differs,
    "outlier": _with_outlier,
    "scales": _scales,
    "integers": _integers,
    "one-hot": _one_hot,
    "far away": _far_away,
    "huge": lambda rng, n, d: 1e30 * rng.standard_normal((n, d)),
    "tiny": lambda rng, n, d: 1e-30 * rng.standard_normal((n, d)),
    "denormal": lambda rng, n, d: 1e-42 * rng.standard_normal((n, d)),
    "small": lambda rng, n, d: 1e-12 * rng.standard_normal((n, d)),
}
DTYPES = ["f2", "f4", "f8", ">f4", ">f8", "i1", "i4", "i8", "u1", "?"]


def _every_other(X):
    wide = np.zeros((2 * X.shape[0], 2 * X.shape[1]), dtype=X.dtype)
    wide[::2, ::2] = X
    return wide[::2, ::2]


def _backwards(X):
    return np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1]


def _read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def _mapped(X):
    with tempfile.NamedTemporaryFile() as file:
        X.tofile(file)
        file.flush()
        return np.memmap(file.name, dtype=X.dtype, mode="r", shape=X.shape)


def _in_frame(X):
    index = pd.Index(np.arange(len(X))[::-1] * 7, name="odd")
    return pd.DataFrame(X, index=index, columns=[f"f{i}" for i in range(X.shape[1])])


def _as_tensor(X):
    return torch.from_numpy(np.array(X, dtype=X.dtype.newbyteorder("=")))


LAYOUTS = {
    "plain": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "transposed": lambda X: np.ascontiguousarray(X.T).T,
    "every other": _every_other,
    "backwards": _backwards,
    "read-only": _read_only,
    "mapped": _mapped,
    "list": lambda X: X.tolist(),
    "frame": _in_frame,
    "tensor": _as_tensor,
}


def cast(X, dtype):
    """X as another type, without a warning for what does not fit."""
    X, kind = X.astype(float), np.dtype(dtype)
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        X = np.clip(np.rint(X), max(limits.min, -(2**31)), min(limits.max, 2**31))
    elif kind.kind == "f":
        limits = np.finfo(kind)
        X = np.clip(X, float(limits.min), float(limits.max))
    return X.astype(dtype)


@st.composite
def view(draw, n_rows=None, n_features=None, values=None):
    """An array and a plain one of the same numbers."""
    n = draw(st.integers(2, 40)) if n_rows is None else n_rows
    d = draw(st.integers(1, 12)) if n_features is None else n_features
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    name = draw(st.sampled_from(values or sorted(VALUES)))
    plain = cast(VALUES[name](rng, n, d), draw(st.sampled_from(DTYPES)))
    if draw(st.integers(0, 15)) == 0:
        odd = np.broadcast_to(plain[:1], plain.shape)  # steps of 0 bytes
        return odd, np.array(odd)
    return LAYOUTS[draw(st.sampled_from(sorted(LAYOUTS)))](plain), plain


def _unsorted(codes):
    codes = sparse.csr_array(codes)
    for start, stop in zip(codes.indptr[:-1], codes.indptr[1:], strict=True):
        codes.indices[start:stop] = codes.indices[start:stop][::-1]
        codes.data[start:stop] = codes.data[start:stop][::-1]
    codes.has_sorted_indices = False
    return codes


def _with_zeros(codes):
    codes = sparse.csr_array(codes)
    codes.data[::3] = 0
    return codes


def _repeated(codes):
    codes = sparse.coo_array(codes)
    twice = [np.concatenate([part, part]) for part in (codes.row, codes.col)]
    halves = np.concatenate([codes.data, codes.data]) / 2
    return sparse.coo_array((halves, twice), shape=codes.shape)


def _long_indices(codes):
    codes = sparse.csr_array(codes)
    codes.indices = codes.indices.astype(np.int64)
    codes.indptr = codes.indptr.astype(np.int64)
    return codes


CODE_LAYOUTS = {
    "csr": sparse.csr_array,
    "csr matrix": sparse.csr_matrix,
    "csc": sparse.csc_array,
    "coo": sparse.coo_array,
    "dense": np.asarray,
    "Fortran": np.asfortranarray,
    "unsorted": _unsorted,
    "zeros": _with_zeros,
    "repeated": _repeated,
    "long": _long_indices,
}


@st.composite
def codes(draw, n_rows=None, n_latents=None, negative=False):
    """Sparse codes of some layout, and the same as an ndarray."""
    n = draw(st.integers(2, 60)) if n_rows is None else n_rows
    m = draw(st.integers(1, 15)) if n_latents is None else n_latents
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    active = rng.random((n, m)) < draw(st.sampled_from([0.0, 0.05, 0.3, 1.0]))
    scale = draw(st.sampled_from([1.0, 1e-30, 1e30, 1e-3]))
    kind = draw(st.sampled_from(["normal", "one", "few"]))
    values = {
        "normal": abs(rng.standard_normal((n, m))),
        "one": np.ones((n, m)),
        "few": rng.integers(1, 3, (n, m)),
    }[kind]
    if negative:
        values = values * rng.choice([-1, 1], (n, m))
    dtype = draw(st.sampled_from(["f4", "f8"]))
    dense = (active * values * scale).astype(dtype)
    odd = CODE_LAYOUTS[draw(st.sampled_from(sorted(CODE_LAYOUTS)))](dense)
    return odd, odd.toarray() if sparse.issparse(odd) else np.array(odd)


def snapshot(X):
    """What X holds, to tell whether it was changed."""
    if sparse.issparse(X):
        parts = [getattr(X, name, None) for name in ("data", "indices", "indptr")]
        if X.format == "coo":
            parts = [X.data, X.row, X.col]
        return [np.array(part) for part in parts]
    return [X.numpy().copy() if isinstance(X, torch.Tensor) else np.array(X)]
