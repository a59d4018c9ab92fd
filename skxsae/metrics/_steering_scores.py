"""Does adding the direction of a concept bring what shows the concept to the top?"""

from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae.metrics._codes import check_width, row_batches, unit_rows
from skxsae.metrics._concept_latents import as_indicator
from skxsae.metrics._dictionary import check_directions
from skxsae.metrics._ranking import TIE_TOLERANCE

STRENGTHS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0)

_SCORES_PER_BLOCK = 2**20
_MEASURES = ("average_precision", "reciprocal_rank", "ndcg", "precision", "recall")


@dataclass(frozen=True)
class SteeringResult:
    """How well the gallery is ranked after steering, for each query and strength.

    Parameters
    ----------
    strengths : ndarray of shape (n_strengths,)
        What the directions were multiplied by.

    concepts : ndarray of shape (n_queries,)
        Concept of each query.

    average_precision : ndarray of shape (n_queries, n_strengths)
        Mean over the relevant items of the precision at the place of each.

    reciprocal_rank : ndarray of shape (n_queries, n_strengths)
        One over the place of the first relevant item.

    ndcg : ndarray of shape (n_queries, n_strengths)
        Discounted gain of the first `k` places over that of the best ranking.

    precision : ndarray of shape (n_queries, n_strengths)
        Share of relevant items in the first `k` places.

    recall : ndarray of shape (n_queries, n_strengths)
        Share of the relevant items that are in the first `k` places.

    k : int
        Number of places that the last three look at.

    protocol : dict
        The choices that the figures depend on, in words.

    See Also
    --------
    steering_scores : Makes one.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import steering_scores
    >>> result = steering_scores([0], np.eye(3), np.eye(3)[2:],
    ...     [[False], [False], [True]], strengths=[0, 2], k=1)
    >>> result.protocol["source"], result.average_precision.tolist()
    ('left out of the gallery', [[0.5, 1.0]])
    """

    strengths: np.ndarray
    concepts: np.ndarray
    average_precision: np.ndarray
    reciprocal_rank: np.ndarray
    ndcg: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    k: int
    protocol: dict

    def __repr__(self):
        """Sizes and protocol, not arrays."""
        sizes = f"n_queries={len(self.concepts)}, n_strengths={len(self.strengths)}"
        return f"SteeringResult({sizes}, protocol={self.protocol})"

    def to_frame(self):
        """Return the means over all queries as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each strength, with the columns "mAP", "MRR", "NDCG@k", "P@k" and
            "R@k".
        """
        names = ("mAP", "MRR", *(f"{name}@{self.k}" for name in ("NDCG", "P", "R")))
        means = [getattr(self, measure).mean(axis=0) for measure in _MEASURES]
        index = pd.Index(self.strengths, name="strength")
        return pd.DataFrame(dict(zip(names, means, strict=True)), index=index)


@validate_params(
    {
        "sources": ["array-like"],
        "gallery": ["array-like"],
        "directions": ["array-like"],
        "relevance": ["array-like", "sparse matrix"],
        "concepts": ["array-like", None],
        "reconstructions": ["array-like", None],
        "strengths": ["array-like", Real],
        "exclude_source": ["boolean"],
        "ties": [StrOptions({"pessimistic", "optimistic"})],
        "k": [Interval(Integral, 1, None, closed="left")],
    },
    prefer_skip_nested_validation=True,
)
def steering_scores(
    sources,
    gallery,
    directions,
    relevance,
    *,
    concepts=None,
    reconstructions=None,
    strengths=STRENGTHS,
    exclude_source=True,
    ties="pessimistic",
    k=10,
):
    """Rank a gallery by embeddings that are steered towards concepts.

    Each source is moved by ``strength * directions[concept]``, the gallery is ranked by
    its cosine to the result, and items that show the concept should come first [1]_.

    Parameters
    ----------
    sources : array-like of shape (n_queries,) of int or (n_queries, n_features)
        Rows of the gallery that are steered, or embeddings from elsewhere, which need
        ``exclude_source=False``.

    gallery : array-like of shape (n_gallery, n_features)
        Embeddings that are ranked.

    directions : array-like of shape (n_concepts, n_features)
        Direction of each concept in the units of the embeddings, such as
        ``x_sae_.components_[latents] * x_sae_.scale_`` with :func:`concept_latents`.

    relevance : {array-like, sparse matrix} of shape (n_gallery, n_concepts)
        Whether each item shows each concept.

    concepts : array-like of shape (n_queries,), default=None
        Concept that each source is steered towards, see
        :func:`sample_steering_sources`. If None, every source is steered towards every
        concept.

    reconstructions : array-like of shape (n_sources, n_features), default=None
        What the codes of the sources decode to. If given, the direction is added to
        them in place of the embeddings, which is the same as to add the strength to the
        code before it is decoded.

    strengths : float or array-like of shape (n_strengths,), \
            default=(0, 0.1, 0.25, 0.5, 1, 2)
        Multiples of the directions. 0 shows what the sources do alone.

    exclude_source : bool, default=True
        Whether the gallery of a query is without its own source, which otherwise is the
        nearest item until the strength is large. Published figures include it.

    ties : {"pessimistic", "optimistic"}, default="pessimistic"
        Whether items of equal score, within 1e-10 of a cosine, stand before the
        relevant one or behind.

    k : int, default=10
        Number of places that precision, recall and NDCG look at.

    Returns
    -------
    SteeringResult
        The scores of each query, with the protocol in words.

    Raises
    ------
    ValueError
        If shapes do not fit, a concept or source is not there, there is no source, the
        gallery has fewer items than `k`, the gallery of a query has no relevant item,
        or sources that are no rows are to be excluded.

    See Also
    --------
    concept_latents : Finds the latent of a concept.
    skxsae.interventions.steer : Moves embeddings of a fitted estimator.

    Notes
    -----
    The score of an item is linear in the strength, so that gallery and directions are
    multiplied once. Time is that of sorting the gallery once for each query and
    strength.

    References
    ----------
    .. [1] "Cross-modal feature heterogeneity", section 7.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.metrics import sample_steering_sources, steering_scores
    >>> rng = np.random.default_rng(0)
    >>> relevance = rng.random((200, 4)) < 0.2
    >>> gallery = rng.normal(size=(200, 16)) + 3 * relevance @ np.eye(4, 16)
    >>> sources, concepts = sample_steering_sources(
    ...     relevance, n_sources=20, random_state=0)
    >>> result = steering_scores(
    ...     sources, gallery, np.eye(4, 16), relevance, concepts=concepts,
    ...     strengths=[0, 2, 8])
    >>> result.to_frame()["mAP"].round(1).tolist()
    [0.2, 0.4, 0.8]
    >>> result.protocol["direction added to"]
    'embedding'
    """
    gallery = check_directions(gallery, "gallery")
    directions = check_directions(directions, "directions")
    check_width(directions, gallery, "directions", "gallery")
    relevant = as_indicator(relevance, "relevance").toarray().astype(bool)
    if relevant.shape != (len(gallery), len(directions)):
        raise ValueError(
            f"relevance has shape {relevant.shape}, but there are {len(gallery)} items "
            f"in the gallery and {len(directions)} directions: give an array of shape "
            f"({len(gallery)}, {len(directions)})."
        )
    strengths = check_array(
        np.atleast_1d(strengths),
        ensure_2d=False,
        dtype=np.float64,
        input_name="strengths",
    ).reshape(-1)
    _check_k(k, len(gallery) - bool(exclude_source), exclude_source)
    rows, base = _check_sources(sources, gallery, exclude_source)
    if reconstructions is not None:
        reconstructions = check_directions(reconstructions, "reconstructions")
        check_width(reconstructions, gallery, "reconstructions", "gallery")
        check_consistent_length(base, reconstructions)
        base = reconstructions
    queries, concepts = _check_concepts(concepts, len(base), len(directions))
    protocol = {
        "direction added to": "embedding" if reconstructions is None else "code",
        "source": _place_of_source(rows, exclude_source),
        "similarity": "cosine",
        "ties": ties,
        "strengths": strengths.tolist(),
        "k": int(k),
        "n_concepts": len(np.unique(concepts)),
        "n_queries": len(queries),
        "n_gallery": len(gallery) - bool(exclude_source),
    }
    excluded = rows[queries] if exclude_source else np.full(len(queries), -1)
    tolerance = TIE_TOLERANCE if ties == "pessimistic" else -TIE_TOLERANCE
    measures = np.empty((len(_MEASURES), len(queries), len(strengths)))
    gallery = unit_rows(gallery)
    for concept in np.unique(concepts):
        own = np.flatnonzero(concepts == concept)
        measures[:, own] = _scores_of_concept(
            base[queries[own]],
            excluded[own],
            gallery,
            directions[concept],
            relevant[:, concept],
            strengths,
            tolerance,
            k,
            concept,
        )
    scores = dict(zip(_MEASURES, measures, strict=True))
    return SteeringResult(strengths, concepts, **scores, k=int(k), protocol=protocol)


def _check_k(k, n_ranked, exclude_source):
    """No more places than a ranking has."""
    if k > n_ranked:
        without = ", without the source," if exclude_source else ""
        raise ValueError(
            f"k={k} is larger than the gallery of{without} {n_ranked} items: every "
            "item would be found. Use a smaller k."
        )


def _check_sources(sources, gallery, exclude_source):
    """Rows of the sources in the gallery, None if they have none, and embeddings."""
    sources = np.asarray(sources)
    if not len(sources):
        raise ValueError("sources is empty: give at least one to steer.")
    if sources.ndim == 1:
        if not np.issubdtype(sources.dtype, np.integer):
            raise ValueError(
                f"sources must be ints, the rows of the gallery that are steered, got "
                f"{sources.dtype}. Use np.flatnonzero(mask) for a mask, or "
                "sources.astype(int) for whole numbers; embeddings must be "
                "2-dimensional."
            )
        if sources.min() < 0 or sources.max() >= len(gallery):
            raise ValueError(
                f"sources must be rows of the gallery, from 0 to {len(gallery) - 1}, "
                f"got {sources.min()} to {sources.max()}."
            )
        return sources, gallery[sources]
    sources = check_directions(sources, "sources")
    check_width(sources, gallery, "sources", "gallery")
    if exclude_source:
        raise ValueError(
            "exclude_source=True needs the rows of the sources in the gallery, got "
            "embeddings: pass the rows, or exclude_source=False."
        )
    return None, sources


def _check_concepts(concepts, n_sources, n_concepts):
    """Source and concept of each query."""
    if concepts is None:
        every = np.arange(n_concepts)
        return np.repeat(np.arange(n_sources), n_concepts), np.tile(every, n_sources)
    concepts = np.asarray(concepts)
    if concepts.shape != (n_sources,) or not np.issubdtype(concepts.dtype, np.integer):
        raise ValueError(
            f"concepts must be {n_sources} ints, one for each source, got shape "
            f"{concepts.shape} and dtype {concepts.dtype}."
        )
    if len(concepts) and not 0 <= concepts.min() <= concepts.max() < n_concepts:
        raise ValueError(
            f"concepts must be rows of directions, from 0 to {n_concepts - 1}, got "
            f"{concepts.min()} to {concepts.max()}."
        )
    return np.arange(n_sources), concepts


def _place_of_source(rows, exclude_source):
    """What becomes of the item that is steered, in words."""
    if rows is None:
        return "not known to be in the gallery"
    return "left out of the gallery" if exclude_source else "ranked with the gallery"


def _scores_of_concept(
    base, excluded, gallery, direction, relevant, strengths, tolerance, k, concept
):
    """Measures of the queries of one concept: (n_measures, n_queries, n_strengths)."""
    hits, others = np.flatnonzero(relevant), np.flatnonzero(~relevant)
    rank_of_hit = np.cumsum(relevant) - 1
    rank_of_other = np.cumsum(~relevant) - 1
    pull = gallery @ direction
    measures = np.empty((len(_MEASURES), len(base), len(strengths)))
    for block in row_batches(len(base), max(1, _SCORES_PER_BLOCK // len(gallery))):
        scores = base[block] @ gallery.T
        for query, own in enumerate(scores, start=block.start):
            steered = base[query] + strengths[:, None] * direction
            length = np.linalg.norm(steered, axis=1)
            length[length == 0] = 1.0
            moved = (own + strengths[:, None] * pull) / length[:, None]
            of_hits, of_others = moved[:, hits], moved[:, others]
            source = excluded[query]
            if source >= 0 and relevant[source]:
                of_hits = np.delete(of_hits, rank_of_hit[source], axis=1)
            elif source >= 0:
                of_others = np.delete(of_others, rank_of_other[source], axis=1)
            if not of_hits.shape[1]:
                raise ValueError(
                    f"The gallery shows concept {concept} nowhere but in a source of "
                    "it: there is nothing to find. Leave the concept or source out."
                )
            ahead = _others_ahead(of_hits, of_others, tolerance)
            measures[:, query] = _measures(ahead, k, of_others.shape[1])
    return measures


def _others_ahead(of_hits, of_others, tolerance):
    """Number of other items before each relevant one, best first: (n_strengths, n)."""
    of_hits = -np.sort(-of_hits, axis=1)
    of_others = np.sort(of_others, axis=1)
    places = [
        np.searchsorted(others, hits - tolerance)
        for others, hits in zip(of_others, of_hits, strict=True)
    ]
    return of_others.shape[1] - np.array(places)


def _measures(ahead, k, n_others):
    """Average precision, reciprocal rank, NDCG, precision and recall."""
    n_hits = ahead.shape[1]
    found = np.arange(1, n_hits + 1)
    place = found + ahead
    in_sight = place <= k
    gain = np.where(in_sight, 1 / np.log2(place + 1.0), 0.0).sum(axis=1)
    best = (1 / np.log2(found[:k] + 1.0)).sum()
    n_found = in_sight.sum(axis=1)
    return np.array(
        [
            (found / place).mean(axis=1),
            1 / place[:, 0],
            gain / best,
            n_found / min(k, n_hits + n_others),
            n_found / n_hits,
        ]
    )
