"""Which latents fire together: sparsity, connectivity and ranks of codes.

The product of codes with themselves is made in blocks of latents, so that no matrix of
all pairs is dense but the one whose spectrum the effective rank needs.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.linalg import eigvalsh
from scipy.sparse.linalg import LinearOperator, eigsh
from sklearn.utils import gen_batches
from sklearn.utils._param_validation import validate_params

from skxsae.metrics._codes import check_codes, unit_rows
from skxsae.metrics._dictionary import check_dictionary
from skxsae.metrics._structure import as_frame, entropy_rank

# latents of a block of the product
_LATENTS_PER_BATCH = 512
# up to this size a matrix is diagonalised, beyond it Lanczos finds its largest value
_DENSE_SIZE = 256

_CODES = {"codes": ["array-like", "sparse matrix"]}
_CODES_AND_DICTIONARY = _CODES | {"components": ["array-like"]}


@validate_params(_CODES, prefer_skip_nested_validation=True)
def mean_l0(codes):
    """Mean number of active latents of a sample.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes.

    Returns
    -------
    float
        Mean number of non-zero entries of a row.

    Examples
    --------
    >>> from skxsae.metrics import mean_l0
    >>> mean_l0([[1.0, 0.0, -2.0], [0.0, 0.0, 3.0]])
    1.5
    """
    codes = _check(codes)
    return codes.nnz / codes.shape[0]


@validate_params(_CODES, prefer_skip_nested_validation=True)
def mean_l1(codes):
    """Mean sum of the absolute activations of a sample.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes.

    Returns
    -------
    float
        Mean L1 norm of a row, in units of the codes.

    Examples
    --------
    >>> from skxsae.metrics import mean_l1
    >>> mean_l1([[1.0, 0.0, -2.0], [0.0, 0.0, 3.0]])
    3.0
    """
    codes = _check(codes)
    return float(np.abs(codes.data).sum() / codes.shape[0])


@validate_params(_CODES, prefer_skip_nested_validation=True)
def connectivity(codes):
    """Share of the pairs of latents that never fire together.

    It is ``1 - ||Z.T @ Z||_0 / n_latents ** 2`` as in [1]_, with both orders of a pair
    and each latent with itself counted. Despite its name it is 1 where no latent fires
    and 0 where every latent fires with every other.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes.

    Returns
    -------
    float
        Between 0 and 1. Two latents that are active on one sample fire together, also
        where products of either sign cancel over the samples.

    See Also
    --------
    code_report : All measures of codes at once.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix E.2.

    Examples
    --------
    >>> from skxsae.metrics import connectivity
    >>> connectivity([[1.0, 0.0], [0.0, 2.0]])
    0.5
    >>> connectivity([[1.0, 3.0], [0.0, 2.0]])
    0.0
    """
    return _connectivity(_check(codes))


@validate_params(_CODES, prefer_skip_nested_validation=True)
def code_stable_rank(codes):
    """Stable rank of the co-activations of latents.

    That of ``Z.T @ Z``, whose columns ``Z`` are scaled to unit length: its squared
    Frobenius norm over its squared spectral norm. Low where groups of latents fire
    together.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes. Latents that never fire have no part in it.

    Returns
    -------
    float
        Between 1 and the number of latents that fire; NaN if none does.

    See Also
    --------
    code_effective_rank : The same from the entropy of the spectrum.

    Examples
    --------
    >>> from skxsae.metrics import code_stable_rank
    >>> code_stable_rank([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    2.0
    """
    codes = _unit_columns(_check(codes))
    squares = sum(np.sum(block.data**2) for _, block in _gram_blocks(codes))
    return _over_largest(squares, codes)


@validate_params(_CODES, prefer_skip_nested_validation=True)
def code_effective_rank(codes):
    """Effective rank of the co-activations of latents.

    That of ``Z.T @ Z``, whose columns ``Z`` are scaled to unit length: the exponential
    of the entropy of its singular values, divided by their sum.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes. Latents that never fire have no part in it.

    Returns
    -------
    float
        Between 1 and the number of latents that fire; NaN if none does.

    Notes
    -----
    The whole spectrum is needed. A dense float64 matrix is made of the latents that
    fire, or of the samples if these are fewer: 512 MiB for 8,192, and a time that grows
    with the cube of their number, about two minutes of processor time for 8,192.

    Examples
    --------
    >>> from skxsae.metrics import code_effective_rank
    >>> round(code_effective_rank([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), 6)
    2.0
    """
    return _effective_rank_of_gram(_unit_columns(_check(codes)))


@validate_params(_CODES_AND_DICTIONARY, prefer_skip_nested_validation=True)
def negative_interference(codes, components):
    """How much latents that fire together cancel each other.

    The spectral norm of ``max(0, -(Z.T @ Z) * (D @ D.T))``, taken elementwise, for
    codes ``Z`` with columns of unit length and directions ``D`` of unit length.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes.

    components : array-like of shape (n_latents, n_features_in)
        Direction of each latent, of any length. Rows of zeros or NaN are absent.

    Returns
    -------
    float
        0 where no two latents that fire together point away from each other.

    Raises
    ------
    ValueError
        If `codes` and `components` differ in their number of latents.

    Notes
    -----
    Entries that are not 0 are stored, half of them as the matrix is symmetric: at most
    12 bytes for a quarter of all pairs where half of the cosines are negative.

    Examples
    --------
    >>> from skxsae.metrics import negative_interference
    >>> round(negative_interference([[1.0, 1.0]], [[1.0, 0.0], [-3.0, 4.0]]), 6)
    0.6
    """
    codes = _check(codes)
    unit = _check_components(components, codes)
    codes = _unit_columns(codes)
    parts = [(rows, _upper(rows, b, unit)) for rows, b in _gram_blocks(codes)]
    return _norm_of_upper(parts, codes.shape[1])


@dataclass(frozen=True)
class CodeReport:
    """Measures of codes, as :func:`code_report` returns them.

    Parameters
    ----------
    mean_l0 : float
        Mean number of active latents of a sample.

    mean_l1 : float
        Mean sum of the absolute activations of a sample.

    dead_share : float
        Share of the latents that never fire.

    connectivity : float
        See :func:`skxsae.metrics.connectivity`.

    stable_rank : float
        See :func:`skxsae.metrics.code_stable_rank`.

    effective_rank : float
        See :func:`skxsae.metrics.code_effective_rank`; NaN if it was not asked for.

    negative_interference : float
        See :func:`skxsae.metrics.negative_interference`; NaN without directions.

    Examples
    --------
    >>> from skxsae.metrics import CodeReport
    >>> report = CodeReport(1.5, 3.0, 0.0, 0.5, 1.9, 1.95, 0.1)
    >>> report.mean_l0
    1.5
    """

    mean_l0: float
    mean_l1: float
    dead_share: float
    connectivity: float
    stable_rank: float
    effective_rank: float
    negative_interference: float

    def to_frame(self):
        """One row per measure.

        Returns
        -------
        pandas.DataFrame
            Column "value", indexed by "measure".
        """
        return as_frame(self)


@validate_params(
    _CODES | {"components": ["array-like", None], "effective_rank": ["boolean"]},
    prefer_skip_nested_validation=True,
)
def code_report(codes, components=None, *, effective_rank=True):
    """Summarise the sparsity and structure of codes, from one pass over co-firings.

    These are the rows "Structure in Z" of Tables 3 and 4 of [1]_, with the sparsity.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes.

    components : array-like of shape (n_latents, n_features_in), default=None
        Direction of each latent, for the negative interference.

    effective_rank : bool, default=True
        Whether to compute the effective rank, whose time grows with the cube of the
        number of latents, see :func:`code_effective_rank`.

    Returns
    -------
    CodeReport
        The measures, with the method `to_frame`.

    Raises
    ------
    ValueError
        If `codes` and `components` differ in their number of latents.

    See Also
    --------
    dictionary_report : The same for the directions.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix E.2.

    Examples
    --------
    >>> from skxsae.metrics import code_report
    >>> code_report([[1.0, 0.0], [0.0, 2.0]]).to_frame().round(2)
                           value
    measure
    mean_l0                  1.0
    mean_l1                  1.5
    dead_share               0.0
    connectivity             0.5
    stable_rank              2.0
    effective_rank           2.0
    negative_interference    NaN
    """
    codes = _check(codes)
    directions = None if components is None else _check_components(components, codes)
    n_samples, n_latents = codes.shape
    fires = np.bincount(codes.indices, minlength=n_latents)
    unit = _unit_columns(codes)
    squares, n_connected, parts = 0.0, 0, []
    for rows, block in _gram_blocks(unit):
        squares += np.sum(block.data**2)
        n_connected += int(np.count_nonzero(block.data))
        if directions is not None:
            parts.append((rows, _upper(rows, block, directions)))
    # products of either sign may cancel, and count all the same
    signed = codes.nnz > 0 and codes.data.min() < 0
    shares = 1 - n_connected / n_latents**2
    return CodeReport(
        codes.nnz / n_samples,
        float(np.abs(codes.data).sum() / n_samples),
        float(np.mean(fires == 0)),
        _connectivity(codes) if signed else shares,
        _over_largest(squares, unit),
        _effective_rank_of_gram(unit) if effective_rank else np.nan,
        np.nan if directions is None else _norm_of_upper(parts, n_latents),
    )


def _check(codes):
    """Codes as a csr_array of float64 without zeros that are stored."""
    codes = sparse.csr_array(check_codes(codes, "codes")).astype(np.float64)
    codes.eliminate_zeros()
    return codes


def _check_components(components, codes):
    """Unit directions, one for each column of codes."""
    components = check_dictionary(components, "components")
    if len(components) != codes.shape[1]:
        raise ValueError(
            f"components has {len(components)} rows and codes has {codes.shape[1]} "
            "columns: give one direction for each latent."
        )
    return unit_rows(components)


def _unit_columns(codes):
    """Columns scaled to unit length, all-zero columns left as they are."""
    return sparse.csr_array(unit_rows(sparse.csr_array(codes.T)).T)


def _gram_blocks(codes):
    """Yield (latents, CSR rows of ``codes.T @ codes``) over blocks of latents."""
    by_latent = sparse.csr_array(codes.T)
    for rows in gen_batches(by_latent.shape[0], _LATENTS_PER_BATCH):
        yield rows, by_latent[rows] @ codes


def _connectivity(codes):
    """`connectivity` of checked codes."""
    parts = np.ones(codes.nnz), codes.indices, codes.indptr
    fires = sparse.csr_array(parts, codes.shape)
    n_connected = sum(block.nnz for _, block in _gram_blocks(fires))
    return 1 - n_connected / codes.shape[1] ** 2


def _over_largest(squares, codes):
    """Sum of squared entries of the product over its squared largest eigenvalue."""
    if codes.nnz == 0:
        return np.nan
    by_latent = sparse.csr_array(codes.T)
    largest = _largest_eigenvalue(
        lambda vector: by_latent @ (codes @ vector), codes.shape[1]
    )
    return float(squares / largest**2)


def _effective_rank_of_gram(codes):
    """Effective rank of the product of codes with unit columns."""
    if codes.nnz == 0:
        return np.nan
    codes = codes[:, np.bincount(codes.indices, minlength=codes.shape[1]) > 0]
    if codes.shape[0] < codes.shape[1]:  # the same spectrum but for zeros
        codes = sparse.csr_array(codes.T)
    # by columns, or the solver would make a copy
    gram = np.empty((codes.shape[1], codes.shape[1]), order="F")
    for rows, block in _gram_blocks(codes):
        gram[:, rows] = block.toarray().T
    values = eigvalsh(gram, overwrite_a=True, check_finite=False)
    return entropy_rank(np.maximum(values, 0.0))


def _upper(rows, block, unit):
    """What cancels among a block of latents and those after each of them, as CSR."""
    start = rows.start
    cosines = unit[rows] @ unit[start:].T  # (n_rows, n_latents - start)
    row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
    later = block.indices > row + start
    row, column, data = row[later], block.indices[later], block.data[later]
    data = -data * cosines[row, column - start]
    cancels = data > 0
    counts = np.bincount(row[cancels], minlength=block.shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    parts = data[cancels], column[cancels].astype(np.int32), indptr.astype(np.int32)
    return sparse.csr_array(parts, block.shape)


def _norm_of_upper(parts, size):
    """Spectral norm of a symmetric non-negative matrix from its upper triangle."""

    def product(vector):
        vector = np.ravel(vector)
        total = np.zeros(size)
        for rows, upper in parts:
            total[rows] += upper @ vector
            total += upper.T @ vector[rows]
        return total

    if sum(upper.nnz for _, upper in parts) == 0:
        return 0.0
    return _largest_eigenvalue(product, size)


def _largest_eigenvalue(product, size):
    """Largest eigenvalue of a symmetric matrix, given by its product with a vector."""
    if size <= _DENSE_SIZE:
        matrix = np.column_stack([product(column) for column in np.eye(size)])
        return float(eigvalsh(matrix)[-1])
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    # a start that is orthogonal to no vector of a non-negative matrix
    start = np.linspace(1, 2, size)
    values = eigsh(operator, 1, which="LA", v0=start, return_eigenvectors=False)
    return float(values[0])
