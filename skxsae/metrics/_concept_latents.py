"""Latents that stand for concepts which captions mention, and what to steer to them."""

from numbers import Integral

import numpy as np
from scipy import sparse
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._codes import check_codes


@validate_params(
    {
        "codes": ["array-like", "sparse matrix"],
        "mentions": ["array-like", "sparse matrix"],
        "n_negatives": [
            Interval(Integral, 1, None, closed="left"),
            StrOptions({"all", "equal"}),
        ],
        "allowed": ["array-like", None],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def concept_latents(
    codes, mentions, *, n_negatives="all", allowed=None, random_state=None
):
    """Latent that tells best which captions mention each concept.

    It is the one with the largest difference between its mean activation on captions
    that mention the concept and its mean activation on captions that do not [1]_.

    Parameters
    ----------
    codes : {array-like, sparse matrix} of shape (n_captions, n_latents)
        Codes of the captions.

    mentions : {array-like, sparse matrix} of shape (n_captions, n_concepts)
        Whether each caption mentions each concept.

    n_negatives : int or {"all", "equal"}, default="all"
        Number of captions without the concept that are drawn at random: all there are,
        as many as mention it, as in the released code, or a number. No more than there
        are.

    allowed : array-like of shape (n_latents,) of bool, default=None
        Latents to choose from, such as those with a partner in the other view. If None,
        all.

    random_state : int, RandomState instance or None, default=None
        Seed of the captions that are drawn. Not used with ``n_negatives="all"``.

    Returns
    -------
    latents : ndarray of shape (n_concepts,)
        Number of the latent of each concept; of equal ones the lowest.

    Raises
    ------
    ValueError
        If all captions mention a concept or none does, no latent is more active on
        those that do, or `mentions` has entries other than 0 and 1.

    See Also
    --------
    steering_scores : What the directions of these latents do.

    Notes
    -----
    Memory is that of ``n_concepts * n_latents`` numbers; codes stay sparse.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", section 7.

    Examples
    --------
    >>> from skxsae.metrics import concept_latents
    >>> codes = [[2.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 2.0, 0.5]]
    >>> concept_latents(codes, [[True, False], [True, False], [False, True]])
    array([0, 1])
    """
    codes = check_codes(codes, "codes").astype(np.float64)
    mentions = as_indicator(mentions, "mentions").T.tocsr()  # (n_concepts, n_captions)
    if mentions.shape[1] != codes.shape[0]:
        raise ValueError(
            f"mentions has {mentions.shape[1]} rows and codes have {codes.shape[0]}: "
            "give one row per caption in both."
        )
    n_captions = codes.shape[0]
    counts = np.diff(mentions.indptr)
    useless = np.flatnonzero((counts == 0) | (counts == n_captions))
    if len(useless):
        raise ValueError(
            f"mentions[:, {useless[0]}] is true of {counts[useless[0]]} of "
            f"{n_captions} captions: a concept needs captions with and without it. "
            "Leave the concept out."
        )
    with_it = _dense(mentions @ codes)
    if n_negatives == "all":
        total = np.asarray(codes.sum(axis=0)).ravel()
        n_without, without = n_captions - counts, total - with_it
    else:
        wanted = counts if n_negatives == "equal" else np.full(len(counts), n_negatives)
        n_without = np.minimum(wanted, n_captions - counts)
        drawn = _draw_outside(mentions, n_without, check_random_state(random_state))
        without = _dense(drawn @ codes)
    difference = with_it / counts[:, None] - without / n_without[:, None]
    difference[:, ~_allowed_mask(allowed, codes.shape[1])] = -np.inf
    silent = np.flatnonzero(difference.max(axis=1) <= 0)
    if len(silent):
        raise ValueError(
            f"No latent is more active on captions that mention concept {silent[0]} "
            "than on others. Leave the concept out."
        )
    return difference.argmax(axis=1)


@validate_params(
    {
        "relevance": ["array-like", "sparse matrix"],
        "n_sources": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    },
    prefer_skip_nested_validation=True,
)
def sample_steering_sources(relevance, *, n_sources=100, random_state=None):
    """Draw items without the concept, for each concept, to steer towards it.

    Parameters
    ----------
    relevance : {array-like, sparse matrix} of shape (n_gallery, n_concepts)
        Whether each item shows each concept.

    n_sources : int, default=100
        Number of items per concept, or all without it if there are fewer.

    random_state : int, RandomState instance or None, default=None
        Seed of the draw.

    Returns
    -------
    sources : ndarray of shape (n_queries,)
        Rows of the gallery.

    concepts : ndarray of shape (n_queries,)
        Concept that each is steered towards.

    Raises
    ------
    ValueError
        If all items show a concept, or `relevance` has entries other than 0 and 1.

    See Also
    --------
    steering_scores : Takes both.

    Examples
    --------
    >>> from skxsae.metrics import sample_steering_sources
    >>> relevance = [[True, False], [False, True], [False, True]]
    >>> sources, concepts = sample_steering_sources(
    ...     relevance, n_sources=1, random_state=0)
    >>> sources.tolist(), concepts.tolist()
    ([2, 0], [0, 1])
    """
    relevant = as_indicator(relevance, "relevance").T.tocsr()
    n_without = np.minimum(n_sources, relevant.shape[1] - np.diff(relevant.indptr))
    if not n_without.all():
        raise ValueError(
            f"relevance[:, {int(n_without.argmin())}] is true of all items: none is "
            "without the concept to be steered towards it. Leave the concept out."
        )
    drawn = _draw_outside(relevant, n_without, check_random_state(random_state))
    return drawn.indices.astype(np.intp), np.repeat(
        np.arange(len(n_without)), n_without
    )


def as_indicator(indicator, name):
    """A sparse matrix of zeros and ones."""
    indicator = check_codes(indicator, name)
    values = indicator.data if sparse.issparse(indicator) else indicator
    if not ((values == 0) | (values == 1)).all():
        raise ValueError(
            f"{name} must be bool, or 0 and 1, got values from {values.min():.4g} to "
            f"{values.max():.4g}. Use {name} != 0 if the others stand for true."
        )
    indicator = sparse.csr_array(indicator != 0, dtype=np.float64)
    indicator.eliminate_zeros()
    return indicator


def _dense(product):
    """A small product as an ndarray, whatever its factors."""
    return product.toarray() if sparse.issparse(product) else np.asarray(product)


def _allowed_mask(allowed, n_latents):
    """Mask of the latents to choose from."""
    if allowed is None:
        return np.ones(n_latents, dtype=bool)
    allowed = np.asarray(allowed)
    if allowed.shape != (n_latents,) or allowed.dtype != bool or not allowed.any():
        raise ValueError(
            f"allowed must be a mask of {n_latents} bools of which some are True, got "
            f"shape {allowed.shape} and dtype {allowed.dtype}."
        )
    return allowed


def _draw_outside(indicator, n_drawn, random_state):
    """For each row of a CSR matrix of ones, some columns that it has no one in."""
    drawn = []
    for row, n in enumerate(n_drawn):
        outside = np.ones(indicator.shape[1], dtype=bool)
        outside[
            indicator.indices[indicator.indptr[row] : indicator.indptr[row + 1]]
        ] = 0
        columns = random_state.choice(np.flatnonzero(outside), n, replace=False)
        drawn.append(np.sort(columns))
    indptr = np.concatenate([[0], np.cumsum(n_drawn)])
    indices = np.concatenate(drawn)
    return sparse.csr_array((np.ones(len(indices)), indices, indptr), indicator.shape)
