"""Which pairs of concepts carry the alignment of two views: bridge matrices."""

from numbers import Integral, Real

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.utils import check_array, gen_batches
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._coactivation import ROWS_OF_PRODUCT, Product, as_codes
from skxsae.metrics._codes import check_paired_codes, unit_rows
from skxsae.metrics._dictionary import check_dictionary

_BRIDGE = {"bridge": ["array-like", "sparse matrix"]}


@validate_params(
    {"X": ["array-like", "sparse matrix"], "y": ["array-like", "sparse matrix"]},
    prefer_skip_nested_validation=True,
)
def coactivation_matrix(X, y):
    """Mean product of the activations of each pair of latents, over paired samples.

    The uncentred cross-covariance ``X.T @ y / n_samples``, which weights the bridge
    matrix B_Sigma of the iso-energy paper.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view.

    y : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the second view, row i paired with row i of `X`.

    Returns
    -------
    weights : csr_array of shape (n_latents, n_latents)
        Row i is of latent i of the first view. Only pairs that are active together
        are stored, in float64: 12 bytes for each.

    Raises
    ------
    ValueError
        If the views differ in shape, or hold NaN or infinity.

    See Also
    --------
    bridge_matrix : Weights times cosines of directions.

    Examples
    --------
    >>> from skxsae.metrics import coactivation_matrix
    >>> X, y = [[2.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 3.0]]
    >>> coactivation_matrix(X, y).toarray()
    array([[1. , 1.5],
           [0. , 0. ]])
    """
    X, y = (as_codes(codes) for codes in check_paired_codes(X, y))
    weights = _stored(Product(X, y), _most_entries(X, y))
    weights.data /= X.shape[0]
    return weights


@validate_params(
    {
        "weights": ["array-like", "sparse matrix"],
        "x_components": ["array-like"],
        "y_components": ["array-like", None],
        "percentile": [Interval(Real, 0, 100, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def bridge_matrix(weights, x_components, y_components=None, *, percentile=None):
    """Multiply weights of pairs of latents by the cosines of their directions.

    An entry is how much a pair of latents adds to the alignment of the views [1]_. With
    the weights of :func:`coactivation_matrix` it is the bridge matrix B_Sigma: its sum
    is the mean inner product of the paired reconstructions, without their intercepts
    and for directions of unit length. With the plan of :func:`transport_plan` it is
    B_Gamma.

    Parameters
    ----------
    weights : {array-like, sparse matrix} of shape (n_latents_x, n_latents_y)
        Weight of each pair.

    x_components : array-like of shape (n_latents_x, n_features)
        Directions of the latents of the first view; their length does not matter. A
        row of zeros or NaN is an absent latent, whose bridges are zero.

    y_components : array-like of shape (n_latents_y, n_features), default=None
        Directions of the latents of the second view, in the same space. If None, those
        of the first: one dictionary for both views.

    percentile : float, default=None
        If given, pairs with a weight below this percentile of the non-zero weights are
        left out. None leaves out none.

    Returns
    -------
    bridge : csr_array of shape (n_latents_x, n_latents_y)
        Float64, with entries where weights and cosines are not zero. Cosines of other
        pairs are not kept.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    See Also
    --------
    bridge_edges : The strongest pairs.
    bridge_mass : Mass between kinds of concepts.
    functional_alignment_ratio : Whether bimodal concepts carry the mass.

    References
    ----------
    .. [1] Papadimitriou et al., linear structure of vision-language concepts, 2025.

    Examples
    --------
    >>> from skxsae.metrics import bridge_matrix
    >>> bridge_matrix([[1.0, 2.0], [0.0, 3.0]], [[2.0, 0.0], [3.0, 4.0]]).toarray()
    array([[1. , 1.2],
           [0. , 3. ]])
    """
    weights = check_pairs(weights, "weights")
    x_components = check_dictionary(x_components, "x_components")
    if y_components is None:
        y_components = x_components
    else:
        y_components = check_dictionary(y_components, "y_components")
    _check_directions(weights, x_components, y_components)
    v, w = unit_rows(x_components), unit_rows(y_components)
    bridge = weights.copy()
    bridge.eliminate_zeros()
    if percentile is not None and bridge.nnz:
        bridge.data[bridge.data < np.percentile(bridge.data, percentile)] = 0.0
    for rows, entries in row_blocks(bridge):
        cosines = v[rows] @ w.T
        bridge.data[entries] *= cosines[
            local_rows(bridge, rows), bridge.indices[entries]
        ]
    bridge.eliminate_zeros()
    return bridge


@validate_params(
    _BRIDGE
    | {
        "n_edges": [Interval(Integral, 1, None, closed="left")],
        "weights": ["array-like", "sparse matrix", None],
        "include_self": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def bridge_edges(bridge, n_edges=100, *, weights=None, include_self=True):
    """List the pairs of latents with the largest bridges.

    Parameters
    ----------
    bridge : {array-like, sparse matrix} of shape (n_latents_x, n_latents_y)
        Bridge matrix, see :func:`bridge_matrix`.

    n_edges : int, default=100
        Number of pairs. Fewer are returned if fewer are not zero.

    weights : {array-like, sparse matrix} of the shape of `bridge`, default=None
        Weights of the bridge matrix. If given, the table tells weight and cosine.

    include_self : bool, default=True
        Whether pairs of a latent with itself are listed. Without them, pairs tie
        together the parts of a concept that is split between latents.

    Returns
    -------
    pandas.DataFrame
        A row for each pair, from the largest bridge on: "x_latent", "y_latent",
        "bridge", its "share" of the whole mass, and "weight" and "cosine" if `weights`
        is given. Of equal bridges, the one with the lowest latents comes first.

    Raises
    ------
    ValueError
        If the shapes of `bridge` and `weights` differ.

    Examples
    --------
    >>> from skxsae.metrics import bridge_edges, bridge_matrix
    >>> weights = [[1.0, 2.0], [0.0, 3.0]]
    >>> bridge = bridge_matrix(weights, [[1.0, 0.0], [0.6, 0.8]])
    >>> bridge_edges(bridge, 2, weights=weights).round(2)
       x_latent  y_latent  bridge  share  weight  cosine
    0         1         1     3.0   0.58     3.0     1.0
    1         0         1     1.2   0.23     2.0     0.6
    """
    bridge = check_pairs(bridge, "bridge")
    x_latents, y_latents, values = _largest_pairs(bridge, n_edges, include_self)
    total = bridge.data.sum()
    columns = {
        "x_latent": x_latents,
        "y_latent": y_latents,
        "bridge": values,
        "share": values / total if total else np.full(len(values), np.nan),
    }
    if weights is not None:
        weights = check_pairs(weights, "weights")
        if weights.shape != bridge.shape:
            raise ValueError(
                f"weights has shape {weights.shape} and bridge has {bridge.shape}: "
                "give the weights that the bridge matrix was made from."
            )
        found = weights[x_latents, y_latents]
        # SciPy selects none as a sparse array, and some as a dense one
        columns["weight"] = found.toarray() if sparse.issparse(found) else found
        columns["cosine"] = np.full(len(values), np.nan)
        known = columns["weight"] != 0
        np.divide(values, columns["weight"], out=columns["cosine"], where=known)
    return pd.DataFrame(columns)


def _largest_pairs(bridge, n_edges, include_self):
    """Latents and values of the largest non-zero entries, block by block."""
    x, y, values = (np.empty(0, dtype) for dtype in (np.intp, np.intp, np.float64))
    for rows, entries in row_blocks(bridge):
        new = bridge.data[entries]
        wanted = new != 0
        if not include_self:
            of_x = rows.start + local_rows(bridge, rows)
            wanted &= of_x != bridge.indices[entries]
        if len(values) == n_edges:
            wanted &= new > values[-1]  # of equal ones the earlier rows stay
        kept = np.flatnonzero(wanted)
        if len(kept) > n_edges:
            least = np.partition(new[kept], -n_edges)[-n_edges]
            kept = kept[new[kept] >= least]
        of_x = rows.start + local_rows(bridge, rows)[kept]
        x, y = np.append(x, of_x), np.append(y, bridge.indices[entries][kept])
        values = np.append(values, new[kept])
        best = np.lexsort((y, x, -values))[:n_edges]
        x, y, values = x[best], y[best], values[best]
    return x, y, values


def _stored(product, capacity):
    """All of a product as a csr_array, without a second copy while it is put together.

    Of the arrays that are allocated, only what is written to takes memory.
    """
    n_x = product.shape[0]
    data, indices = np.empty(capacity), np.empty(capacity, dtype=np.int32)
    indptr = np.zeros(n_x + 1, dtype=np.int64)
    for rows in gen_batches(n_x, ROWS_OF_PRODUCT):
        block = product[rows]
        block.sort_indices()
        start = indptr[rows.start]
        indptr[rows.start + 1 : rows.stop + 1] = start + block.indptr[1:]
        data[start : start + block.nnz] = block.data
        indices[start : start + block.nnz] = block.indices
    if capacity <= np.iinfo(np.int32).max:
        indptr = indptr.astype(np.int32)
    nnz = indptr[-1]
    if nnz < capacity / 2:
        data, indices = data[:nnz].copy(), indices[:nnz].copy()
    return sparse.csr_array((data[:nnz], indices[:nnz], indptr), shape=product.shape)


def _most_entries(X, y):
    """Largest number of pairs of latents that can be active together."""
    n_products = int(np.diff(X.indptr).astype(np.int64) @ np.diff(y.indptr))
    return min(n_products, X.shape[1] * y.shape[1])


def row_blocks(matrix):
    """Slices of rows, and of the entries that a csr_array stores of them."""
    for rows in gen_batches(matrix.shape[0], ROWS_OF_PRODUCT):
        yield rows, slice(matrix.indptr[rows.start], matrix.indptr[rows.stop])


def local_rows(matrix, rows):
    """Row of each stored entry of some rows, counted from the first of them."""
    counts = np.diff(matrix.indptr[rows.start : rows.stop + 1])
    return np.repeat(np.arange(len(counts)), counts)


def check_pairs(matrix, name):
    """A finite csr_array in float64 without duplicates."""
    matrix = check_array(matrix, accept_sparse="csr", dtype=np.float64, input_name=name)
    matrix = sparse.csr_array(matrix)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _check_directions(weights, x_components, y_components):
    """Directions of one space, as many as there are latents."""
    shapes = (len(x_components), len(y_components))
    if weights.shape != shapes:
        raise ValueError(
            f"weights has shape {weights.shape}, but there are {shapes[0]} directions "
            f"of x and {shapes[1]} of y: give a row of components for each latent."
        )
    if x_components.shape[1] != y_components.shape[1]:
        raise ValueError(
            f"x_components has {x_components.shape[1]} columns and y_components has "
            f"{y_components.shape[1]}: cosines need directions of one space."
        )
