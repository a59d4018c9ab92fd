"""Whether the samples that a latent is active on are alike, by another encoder."""

from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
from scipy import sparse
from sklearn.utils import check_consistent_length
from sklearn.utils._param_validation import Interval, validate_params

from skxsae._validation import check_groups
from skxsae.metrics._codes import (
    SAME_LATENTS,
    check_codes,
    check_width,
    row_batches,
    row_norms,
)
from skxsae.metrics._probing import check_embeddings
from skxsae.metrics._repeats import first_of_groups, warn_of_repeats
from skxsae.metrics._support import count_fires

_ROWS_PER_BATCH = 4096
_OPTIONS = {
    "min_fires": [Interval(Integral, 1, None, closed="left")],
    "fill_value": [Real],
}


@validate_params(
    {
        "codes": ["array-like", "sparse matrix"],
        "embeddings": ["array-like"],
        "groups": ["array-like", None],
        **_OPTIONS,
    },
    prefer_skip_nested_validation=True,
)
def monosemanticity_score(
    codes, embeddings, *, groups=None, min_fires=2, fill_value=np.nan
):
    """Mean cosine of the samples that a latent is active on, for each latent.

    Pairs of different samples are weighted by the product of their activations [1]_,
    which are scaled to ``[0, 1]`` by the smallest and the largest of each latent.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of one view.

    embeddings : array-like of shape (n_samples, n_features)
        Embeddings of the same samples by an encoder other than the one that the codes
        rest on. Their length does not matter.

    groups : array-like of shape (n_samples,), default=None
        Item that each sample belongs to, such as the image of a caption. The first
        sample of each item is taken: an item that is there several times would be like
        itself. If None, every sample is an item of its own.

    min_fires : int, default=2
        Number of samples that a latent must be active in to have a score.

    fill_value : float, default=nan
        Score of the latents that have none: those that are active too rarely, or have
        a scaled activation above 0 for fewer than two samples. Published curves count
        them as 0.

    Returns
    -------
    scores : ndarray of shape (n_latents,)
        In float64, between -1 and 1: 1 if all samples that a latent is active on have
        one direction.

    Raises
    ------
    ValueError
        If the numbers of rows differ, or if an embedding is zero.

    Warns
    -----
    UserWarning
        If a tenth of the embeddings or more are repeats and no groups are given.

    See Also
    --------
    multimodal_monosemanticity_score : The same across views.

    Notes
    -----
    With the scaled activations ``a`` and unit rows ``e``, the score is ``(||sum a_i
    e_i||^2 - sum a_i^2) / ((sum a_i)^2 - sum a_i^2)``: no pair of samples is looked at.

    References
    ----------
    .. [1] Pach et al., sparse autoencoders learn monosemantic features in
       vision-language models, 2025.

    Examples
    --------
    >>> from skxsae.metrics import monosemanticity_score
    >>> codes = [[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]
    >>> monosemanticity_score(codes, [[1.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
    array([ 1.,  0., nan])
    """
    codes = check_codes(codes, "codes")
    codes, embeddings = _items(codes, embeddings, groups, "embeddings", "groups")
    sums = _activation_sums(codes, embeddings, "embeddings")
    pairs = sums.total**2 - sums.square
    likeness = np.einsum("ij,ij->i", sums.embedding, sums.embedding) - sums.square
    defined = (sums.fires >= min_fires) & (pairs > 0)
    return _ratio(likeness, pairs, defined, fill_value)


@validate_params(
    {
        "X": ["array-like", "sparse matrix"],
        "y": ["array-like", "sparse matrix"],
        "x_embeddings": ["array-like"],
        "y_embeddings": ["array-like"],
        "x_groups": ["array-like", None],
        "y_groups": ["array-like", None],
        **_OPTIONS,
    },
    prefer_skip_nested_validation=True,
)
def multimodal_monosemanticity_score(
    X,
    y,
    x_embeddings,
    y_embeddings,
    *,
    x_groups=None,
    y_groups=None,
    min_fires=2,
    fill_value=np.nan,
):
    """Mean cosine of samples of two views that a latent is active on, for each latent.

    Pairs of a sample of the first view and one of the second are weighted by the
    product of their activations, which are scaled to ``[0, 1]`` by the smallest and the
    largest of each latent in each view.

    Parameters
    ----------
    X : {array-like, sparse matrix} of shape (n_samples, n_latents)
        Codes of the first view.

    y : {array-like, sparse matrix} of shape (n_samples_y, n_latents)
        Codes of the second view, with the same columns. Rows need not be paired.

    x_embeddings : array-like of shape (n_samples, n_features)
        Embeddings of the samples of the first view by an encoder other than the one
        that the codes rest on. Their length does not matter.

    y_embeddings : array-like of shape (n_samples_y, n_features)
        Embeddings of the samples of the second view, in the same space.

    x_groups : array-like of shape (n_samples,), default=None
        Item that each sample of the first view belongs to. The first sample of each
        item is taken, as one that is there several times counts several times as a
        fire. If None, every sample is an item of its own.

    y_groups : array-like of shape (n_samples_y,), default=None
        The same for the second view.

    min_fires : int, default=2
        Number of samples of each view that a latent must be active in to have a score.

    fill_value : float, default=nan
        Score of the latents that have none: those that are active too rarely, or always
        equally active, in a view.

    Returns
    -------
    scores : ndarray of shape (n_latents,)
        In float64, between -1 and 1.

    Raises
    ------
    ValueError
        If the shapes do not fit, or if an embedding is zero.

    Warns
    -----
    UserWarning
        If a tenth of the embeddings of a view or more are repeats and no groups of it
        are given.

    See Also
    --------
    monosemanticity_score : The same inside one view.

    Notes
    -----
    With the scaled activations ``a`` and ``b`` and unit rows ``e`` and ``f``, the score
    is ``<sum a_i e_i, sum b_j f_j> / (sum a_i * sum b_j)``.

    Examples
    --------
    >>> from skxsae.metrics import multimodal_monosemanticity_score
    >>> X, y = [[1, 1], [1, 1], [0, 0]], [[2, 0], [2, 1], [0, 1]]
    >>> x_embeddings = [[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]]
    >>> y_embeddings = [[1.0, 0.0], [4.0, 0.0], [0.0, 1.0]]
    >>> multimodal_monosemanticity_score(X, y, x_embeddings, y_embeddings)
    array([1. , 0.5])
    """
    X, y = check_codes(X, "X"), check_codes(y, "y")
    check_width(X, y, "X", "y", SAME_LATENTS)
    X, x_embeddings = _items(X, x_embeddings, x_groups, "x_embeddings", "x_groups")
    y, y_embeddings = _items(y, y_embeddings, y_groups, "y_embeddings", "y_groups")
    of_x = _activation_sums(X, x_embeddings, "x_embeddings")
    of_y = _activation_sums(y, y_embeddings, "y_embeddings")
    check_width(of_x.embedding, of_y.embedding, "x_embeddings", "y_embeddings")
    pairs = of_x.total * of_y.total
    likeness = np.einsum("ij,ij->i", of_x.embedding, of_y.embedding)
    fires = np.minimum(of_x.fires, of_y.fires)
    return _ratio(likeness, pairs, (fires >= min_fires) & (pairs > 0), fill_value)


class _ActivationSums(NamedTuple):
    """Float64 sums over the scaled activations of each latent."""

    fires: np.ndarray  # samples with an activation that is not zero
    total: np.ndarray
    square: np.ndarray
    embedding: np.ndarray  # (n_latents, n_features), of unit rows


def _items(codes, embeddings, groups, name, groups_name):
    """Codes and checked embeddings of the first sample of each item."""
    embeddings = check_embeddings(embeddings, name)
    check_consistent_length(codes, embeddings)
    if groups is None:
        consequence = (
            "a sample that is there several times is like itself. Pass "
            f"{groups_name}, the item of each sample."
        )
        warn_of_repeats({name: embeddings}, consequence, stacklevel=5)
        return codes, embeddings
    groups = check_groups(groups, codes.shape[0])
    first = first_of_groups(groups)
    return codes[first], embeddings[first]


def _activation_sums(codes, embeddings, name):
    """Sums over the rows of codes and of embeddings, in blocks of rows."""
    n_samples, n_latents = codes.shape
    fires = count_fires(codes)
    n_absent = n_samples - fires
    low, high = _extremes(codes)
    span = np.where(high > low, high - low, 1.0)
    # what an entry of zero becomes; the others are taken relative to it, so that sums
    # over all samples follow from sums over the active ones
    base = np.where(n_absent > 0, -low / span, 0.0)
    origin = np.where(n_absent > 0, 0.0, low)
    total, square = np.zeros(n_latents), np.zeros(n_latents)
    of_active, of_all = np.zeros((n_latents, embeddings.shape[1])), 0.0
    for rows in row_batches(n_samples, _ROWS_PER_BATCH):
        block = sparse.csr_array(codes[rows])
        if not block.data.all():
            block = block.copy()
            block.eliminate_zeros()
        latents = block.indices
        shifted = (block.data.astype(np.float64) - origin[latents]) / span[latents]
        scaled = shifted + base[latents]
        total += np.bincount(latents, scaled, n_latents)
        square += np.bincount(latents, scaled**2, n_latents)
        shifted = sparse.csr_array((shifted, latents, block.indptr), shape=block.shape)
        units = _unit_rows(embeddings[rows], rows.start, name)
        of_active += shifted.T @ units
        of_all += units.sum(axis=0)
    return _ActivationSums(
        fires,
        total + n_absent * base,
        square + n_absent * base**2,
        of_active + base[:, None] * of_all,
    )


def _extremes(codes):
    """Smallest and largest activation of each latent, in float64."""
    extremes = [codes.min(axis=0), codes.max(axis=0)]
    if sparse.issparse(codes):
        extremes = [extreme.toarray().ravel() for extreme in extremes]
    return [extreme.astype(np.float64) for extreme in extremes]


def _unit_rows(block, start, name):
    """Some rows of embeddings, scaled to unit length in float64."""
    norms = row_norms(block)
    if not norms.all():
        raise ValueError(
            f"{name} has a row of zeros, row {start + int(norms.argmin())}: it has no "
            "cosine with others. Leave that sample out, and out of the codes."
        )
    return block / norms[:, None]


def _ratio(likeness, pairs, defined, fill_value):
    """Likeness of a pair on average, `fill_value` where there are no pairs."""
    scores = np.full(len(pairs), float(fill_value))
    np.divide(likeness, pairs, out=scores, where=defined)
    return scores
