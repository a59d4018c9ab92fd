"""Codes as the sparse vectors of search engines, on disk."""

import json
from itertools import zip_longest
from numbers import Integral
from pathlib import Path

import numpy as np
from scipy import sparse
from sklearn.utils import Bunch, gen_batches
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._replacing import replacing
from skxsae.metrics._codes import check_codes

_ROWS = 8192
_FIELD = "concepts"
_WIDTH = b"n_concepts"
# what parsing a file of another content raises
_BAD_CONTENT = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_MOST_CONCEPTS = 2**32  # what uint32 can number, as in Parquet


def write_codes(path, codes, *, ids=None):
    """Write codes as sparse vectors that search engines read.

    The ending of the path says which layout:

    - ``.jsonl`` or ``.ndjson``: the bulk format of Elasticsearch and OpenSearch [1]_,
      two lines for each row, ``{"index": {"_id": "7"}}`` and ``{"concepts": {"12":
      0.5}}``. Map the field "concepts" as ``sparse_vector`` (or ``rank_features``) and
      send the file to ``/<index>/_bulk``.
    - ``.parquet``: columns "id", a string, and "sparse_values", a struct of the lists
      "indices" (uint32) and "values" (float32), as Pinecone imports them [2]_ and as
      the sparse vectors of Qdrant and Milvus are built.

    Concepts are written by their numbers, which are unique, unlike their names.

    Parameters
    ----------
    path : str or Path
        File to write; one that exists is replaced.

    codes : {array-like, sparse matrix} of shape (n_samples, n_concepts)
        Codes without negative entries.

    ids : array-like of shape (n_samples,), default=None
        Identifier of each row, written as a string. None means the number of the row.

    Returns
    -------
    path : Path
        The file.

    Raises
    ------
    ValueError
        If a code is negative, two identifiers are equal, or the ending is another.

    ImportError
        If pyarrow, which Parquet needs, is not installed.

    See Also
    --------
    read_codes : Read them again.
    ConceptIndex : Search without an engine.

    References
    ----------
    .. [1] Elasticsearch reference, "Bulk API" and "Sparse vector field type".
    .. [2] Pinecone documentation, "Import vectors".

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from skxsae.search import read_codes, write_codes
    >>> codes = csr_array([[0, 0.5, 0.25], [1.0, 0, 0]])
    >>> folder = getfixture("tmp_path")
    >>> path = write_codes(folder / "codes.jsonl", codes, ids=["cat", "dog"])
    >>> print(path.read_text())
    {"index":{"_id":"cat"}}
    {"concepts":{"1":0.5,"2":0.25}}
    {"index":{"_id":"dog"}}
    {"concepts":{"0":1.0}}
    <BLANKLINE>
    >>> read_codes(path).ids
    array(['cat', 'dog'], dtype=object)
    """
    path = Path(path)
    write = _layout(path)[0]
    codes = sparse.csr_array(check_codes(codes, "codes"), copy=True)
    codes.eliminate_zeros()
    if codes.nnz and codes.data.min() < 0:
        raise ValueError(
            "codes has negative entries, which search engines refuse: they come from "
            "positive_code=False."
        )
    ids = np.arange(codes.shape[0]) if ids is None else np.asarray(ids, dtype=object)
    if ids.shape != codes.shape[:1]:
        raise ValueError(f"ids has shape {ids.shape} for {codes.shape[0]} codes.")
    ids = [str(name) for name in ids]
    if len(set(ids)) < len(ids):
        raise ValueError("ids must be unique: a later row would replace an earlier.")
    with replacing(path) as unfinished:
        write(unfinished, codes, ids)
    return path


@validate_params(
    {
        "path": [str, Path],
        "n_concepts": [Interval(Integral, 0, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def read_codes(path, *, n_concepts=None):
    """Read codes that `write_codes` wrote.

    Parameters
    ----------
    path : str or Path
        File to read.

    n_concepts : int, default=None
        Number of columns. None means what the file says, which JSON lines do not:
        there, all up to the last concept that is active somewhere.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Dictionary-like object, with the attributes:

        codes : csr_array of shape (n_samples, n_concepts)
            Codes: float64 from JSON lines, float32 from Parquet.
        ids : ndarray of shape (n_samples,) of str
            Identifiers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.

    ValueError
        If the file is not in the layout of its ending, is damaged, has more columns, or
        has a code that is not finite.

    ImportError
        If pyarrow, which Parquet needs, is not installed.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from skxsae.search import read_codes, write_codes
    >>> path = write_codes(getfixture("tmp_path") / "codes.ndjson", csr_array([[0.5]]))
    >>> read_codes(path, n_concepts=4).codes.toarray()
    array([[0.5, 0. , 0. , 0. ]])
    """
    path = Path(path)
    ids, counts, indices, values, width = _layout(path)[1](path)
    _check_entries(path, indices, values)
    needed = int(indices.max(initial=-1)) + 1
    width = (needed if width is None else width) if n_concepts is None else n_concepts
    if needed > width:
        raise ValueError(f"{path} has concept {needed - 1}, but n_concepts={width}.")
    indptr = np.concatenate([[0], np.cumsum(counts)])
    codes = sparse.csr_array((values, indices, indptr), shape=(len(ids), width))
    codes.sort_indices()
    if not codes.has_canonical_format:
        raise ValueError(f"{path} has a concept twice in one row.")
    return Bunch(codes=codes, ids=np.asarray(ids, dtype=object))


def _check_entries(path, indices, values):
    """Raise unless the concepts have numbers and the codes are finite."""
    if len(indices) and not 0 <= indices.min() <= indices.max() < _MOST_CONCEPTS:
        raise ValueError(
            f"{path} has a concept of number {indices.min()} or {indices.max()}, which "
            f"is not from 0 to {_MOST_CONCEPTS - 1}."
        )
    if not np.isfinite(values).all():
        raise ValueError(f"{path} has a code that is NaN or infinite.")


def _layout(path):
    """The functions that write and read files of this ending."""
    if path.suffix not in _LAYOUTS:
        raise ValueError(
            f"{path} must end in one of {', '.join(_LAYOUTS)}: the ending says which "
            "layout is meant."
        )
    return _LAYOUTS[path.suffix]


def _write_lines(path, codes, ids):
    """Bulk format of Elasticsearch, with as many digits as a value has."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, name in enumerate(ids):
            entries = slice(*codes.indptr[row : row + 2])
            pairs = zip(
                codes.indices[entries], codes.data[entries].astype(str), strict=True
            )
            vector = ",".join(f'"{concept}":{value}' for concept, value in pairs)
            file.write(f'{{"index":{{"_id":{json.dumps(name)}}}}}\n')
            file.write(f'{{"{_FIELD}":{{{vector}}}}}\n')


def _read_lines(path):
    """Identifiers, active latents per row, their numbers and their values."""
    ids, counts, indices, values = [], [], [], []
    with path.open("rb") as file:
        for number, (action, document) in enumerate(zip_longest(file, file)):
            try:
                ids.append(_identifier(json.loads(action.decode())["index"]["_id"]))
                vector = json.loads(document.decode())[_FIELD]
                part = np.array([int(concept) for concept in vector], dtype=np.int64)
                values += [float(value) for value in vector.values()]
            except _BAD_CONTENT as error:
                raise ValueError(
                    f"{path} is not in the layout of write_codes at lines "
                    f"{2 * number + 1} and {2 * number + 2}: {error!r}"
                ) from error
            counts.append(len(part))
            indices.append(part)
    numbers = np.concatenate([np.empty(0, dtype=np.int64), *indices])
    return ids, counts, numbers, np.array(values), None


def _identifier(name):
    """Identifier of a row, which is a string."""
    if not isinstance(name, str):
        raise TypeError(f"the identifier {name!r} is not a string")
    return name


def _write_parquet(path, codes, ids):
    """One row group for each block of rows."""
    pa, pq = _pyarrow("write_codes")
    vector = pa.struct(
        [("indices", pa.list_(pa.uint32())), ("values", pa.list_(pa.float32()))]
    )
    schema = pa.schema(
        [("id", pa.string()), ("sparse_values", vector)],
        metadata={_WIDTH: str(codes.shape[1])},
    )
    with pq.ParquetWriter(path, schema) as writer:
        for rows in gen_batches(len(ids), _ROWS):
            block = codes[rows]
            lists = [
                pa.ListArray.from_arrays(
                    pa.array(block.indptr, pa.int32()), pa.array(part, kind)
                )
                for part, kind in (
                    (block.indices.astype(np.uint32), pa.uint32()),
                    (block.data.astype(np.float32), pa.float32()),
                )
            ]
            vectors = pa.StructArray.from_arrays(lists, fields=list(vector))
            columns = [pa.array(ids[rows], pa.string()), vectors]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def _read_parquet(path):
    """Identifiers, active latents per row, their numbers and their values."""
    pa, pq = _pyarrow("read_codes")
    try:
        table = pq.read_table(path, columns=["id", "sparse_values"])
        ids = [_identifier(name) for name in table["id"].to_pylist()]
        counts, indices, values = _entries(pa, table["sparse_values"].combine_chunks())
        width = (table.schema.metadata or {}).get(_WIDTH)
        return ids, counts, indices, values, None if width is None else _width(width)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, *_BAD_CONTENT) as error:
        raise ValueError(f"{path} holds no codes: {error}") from error


def _entries(pa, vectors):
    """Active latents per row, their numbers and their values."""
    indices, values = vectors.field("indices"), vectors.field("values")
    counts = indices.value_lengths()
    if vectors.null_count or counts.null_count or counts != values.value_lengths():
        raise ValueError(
            "a row lacks its concepts, or their number is not that of its values"
        )
    if not pa.types.is_integer(indices.type.value_type):
        raise TypeError(f"concepts are of type {indices.type.value_type}")
    numbers = indices.flatten().to_numpy()
    if len(numbers) and numbers.max() >= _MOST_CONCEPTS:
        raise OverflowError(f"a concept has the number {numbers.max()}")
    with np.errstate(over="ignore"):  # infinity is refused with the rest
        codes = values.flatten().to_numpy().astype(np.float32)
    return counts.to_numpy(), numbers.astype(np.int64), codes


def _width(text):
    """Number of columns that the file names."""
    width = int(text[:20])
    if not 0 <= width <= _MOST_CONCEPTS:
        raise ValueError(f"{width} concepts")
    return width


def _pyarrow(caller):
    """pyarrow and its Parquet module, or an error that names the extra to install."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError(
            f"{caller} requires pyarrow for Parquet: pip install 'skxsae[parquet]'."
        ) from error
    return pyarrow, pyarrow.parquet


_LAYOUTS = {
    ".jsonl": (_write_lines, _read_lines),
    ".ndjson": (_write_lines, _read_lines),
    ".parquet": (_write_parquet, _read_parquet),
}
