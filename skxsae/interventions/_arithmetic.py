"""Semantic arithmetic: queries that are a sample plus a change of it."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from skxsae._validation import check_groups
from skxsae.metrics import ood_score, retrieval_ranks
from skxsae.metrics._codes import check_width
from skxsae.metrics._recall import check_depths
from skxsae.metrics._repeats import first_of_groups

# sum of two of: source, bimodal part of it, edit, bimodal part of it
_QUERIES = {
    "source": ("source",),
    "edit": ("edit",),
    "plain": ("source", "edit"),
    "bimodal_edit": ("source", "bimodal_edit"),
    "bimodal": ("bimodal_source", "bimodal_edit"),
}
_ROWS = {
    "source": ["array-like"],
    "edit": ["array-like"],
    "bimodal_source": ["array-like", None],
    "bimodal_edit": ["array-like", None],
}


@dataclass(frozen=True)
class SemanticArithmetic:
    """Recall and out-of-distribution score of each kind of query.

    Parameters
    ----------
    queries : tuple of str
        Kinds of queries.

    depths : tuple of int
        Numbers of answers that were looked at.

    recalls : ndarray of shape (n_queries, n_depths)
        Recall of each kind of query at each depth.

    ood : ndarray of shape (n_queries,)
        Score at telling the queries from the targets, see
        :func:`skxsae.metrics.ood_score`.

    See Also
    --------
    evaluate_arithmetic : Measures them.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.interventions import evaluate_arithmetic
    >>> source, edit = np.eye(6)[:5], np.eye(6)[1:]
    >>> result = evaluate_arithmetic(
    ...     source, edit, source + edit, queries=["source", "plain"], depths=(1,),
    ...     n_neighbors=1
    ... )
    >>> result.to_frame()[["recall@1", "recall"]]
            recall@1  recall
    query
    source       0.2     0.2
    plain        1.0     1.0
    """

    queries: tuple
    depths: tuple
    recalls: np.ndarray
    ood: np.ndarray

    def to_frame(self):
        """One row for each kind of query.

        Returns
        -------
        DataFrame of shape (n_queries, n_depths + 2)
            Recall at each depth, "recall" (their mean) and "ood".
        """
        columns = [f"recall@{depth}" for depth in self.depths]
        index = pd.Index(self.queries, name="query")
        frame = pd.DataFrame(self.recalls, index=index, columns=columns)
        return frame.assign(recall=self.recalls.mean(axis=1), ood=self.ood)


@validate_params(
    {"X": ["array-like"], "groups": ["array-like"]}, prefer_skip_nested_validation=True
)
def group_means(X, groups):
    """Mean row of each group, such as the captions of one edit.

    Average embeddings before they are encoded: an encoder is not linear.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Embeddings.

    groups : array-like of shape (n_samples,)
        Group of each row.

    Returns
    -------
    means : ndarray of shape (n_groups, n_features)
        Means in float64, in the order in which the groups appear.

    See Also
    --------
    compose_queries : Adds edits to their sources.

    Examples
    --------
    >>> from skxsae.interventions import group_means
    >>> group_means([[1.0, 0.0], [0.0, 4.0], [3.0, 0.0]], ["b", "a", "b"])
    array([[2., 0.],
           [0., 4.]])
    """
    X = check_array(X, dtype=np.float64, input_name="X")
    numbers = check_groups(groups, len(X))  # in the order of appearance
    sums = np.zeros((numbers.max() + 1, X.shape[1]))
    np.add.at(sums, numbers, X)
    return sums / np.bincount(numbers)[:, None]


@validate_params(
    {**_ROWS, "query": [StrOptions(set(_QUERIES))]},
    prefer_skip_nested_validation=True,
)
def compose_queries(
    source, edit, *, bimodal_source=None, bimodal_edit=None, query="bimodal_edit"
):
    """Add up queries for samples that are to be changed as a text says.

    Parameters
    ----------
    source : array-like of shape (n_queries, n_features)
        Samples to change, or their reconstructions.

    edit : array-like of shape (n_queries, n_features)
        Texts that say the change, or their reconstructions.

    bimodal_source : array-like of shape (n_queries, n_features), default=None
        Reconstructions of the samples from bimodal latents only. Needed by "bimodal".

    bimodal_edit : array-like of shape (n_queries, n_features), default=None
        Those of the texts. Needed by "bimodal" and "bimodal_edit".

    query : {"bimodal_edit", "bimodal", "plain", "source", "edit"}, \
            default="bimodal_edit"
        What is added: the whole source and the bimodal part of the edit, as in the text
        of the paper; the bimodal parts of both, as in its appendix H [1]_; all of
        both; or only one of them, as a control.

    Returns
    -------
    queries : ndarray of shape (n_queries, n_features)
        Sums, of any length.

    Raises
    ------
    ValueError
        If a part that is needed is missing, or shapes differ.

    See Also
    --------
    bimodal_reconstruction : The bimodal parts.
    evaluate_arithmetic : Recall of all kinds of queries.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, section 5 and appendix H.

    Examples
    --------
    >>> from skxsae.interventions import compose_queries
    >>> compose_queries([[1.0, 0.0]], [[0.0, 2.0]], bimodal_edit=[[0.0, 1.5]])
    array([[1. , 1.5]])
    """
    given = _check_parts(source, edit, bimodal_source, bimodal_edit)
    return _compose(given, query)


@validate_params(
    {
        **_ROWS,
        "targets": ["array-like"],
        "target_groups": ["array-like", None],
        "queries": ["array-like", None],
        "depths": [Integral, "array-like"],
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "candidates": [Interval(Integral, 1, None, closed="left"), None],
    },
    prefer_skip_nested_validation=True,
)
def evaluate_arithmetic(
    source,
    edit,
    targets,
    *,
    bimodal_source=None,
    bimodal_edit=None,
    target_groups=None,
    queries=None,
    depths=(10, 50),
    n_neighbors=10,
    candidates=None,
):
    """How well semantic arithmetic finds its targets, and whether it looks like them.

    Parameters
    ----------
    source : array-like of shape (n_queries, n_features)
        Samples to change, or their reconstructions.

    edit : array-like of shape (n_queries, n_features)
        Texts that say the change; see :func:`group_means` for several of one pair.

    targets : array-like of shape (n_queries, n_features)
        Changed samples, or their reconstructions: row i is the answer to query i.

    bimodal_source : array-like of shape (n_queries, n_features), default=None
        Reconstructions of the samples from bimodal latents only.

    bimodal_edit : array-like of shape (n_queries, n_features), default=None
        Those of the texts.

    target_groups : array-like of shape (n_queries,), default=None
        Item that each target is, where a target answers several queries. Such targets
        are one answer, and one native row of the out-of-distribution score.

    queries : array-like of str, default=None
        Kinds of queries, see :func:`compose_queries`. If None, all that the given parts
        allow.

    depths : int or array-like of int, default=(10, 50)
        Numbers of answers that are looked at.

    n_neighbors : int, default=10
        Which neighbour the out-of-distribution score is about.

    candidates : int, default=None
        If given, retrieve inside batches of this many queries, see
        :func:`skxsae.metrics.recall_at_k_score`.

    Returns
    -------
    result : SemanticArithmetic
        Recall and out-of-distribution score of each kind of query, with `to_frame`.

    Raises
    ------
    ValueError
        If shapes differ, a part is missing, or there are too few targets.

    See Also
    --------
    compose_queries : The queries.
    skxsae.metrics.ood_score : The score.

    References
    ----------
    .. [1] G. Dhimoïla, T. Fel, V. Boutin and A. Picard, "Cross-modal redundancy and the
       geometry of vision-language embeddings", ICLR 2026, appendix H.

    Examples
    --------
    >>> import numpy as np
    >>> from skxsae.interventions import evaluate_arithmetic
    >>> rng = np.random.default_rng(0)
    >>> source, edit = rng.standard_normal((2, 100, 16))
    >>> text = edit + 2  # what all texts add beside their meaning
    >>> result = evaluate_arithmetic(source, text, source + edit, bimodal_edit=edit)
    >>> result.to_frame().round(2)[["recall", "ood"]]
                  recall   ood
    query
    source          0.98  0.50
    edit            0.68  0.59
    plain           0.94  0.53
    bimodal_edit    1.00  0.50
    """
    given = _check_parts(source, edit, bimodal_source, bimodal_edit)
    targets = _check_rows(targets, "targets", given)
    kinds = _check_queries(queries, given)
    items = np.arange(len(targets))
    if target_groups is not None:
        items = check_groups(target_groups, len(targets))
    n_targets = min(items.max() + 1, candidates or np.inf)
    advice = "targets to find. Use smaller depths, or more targets"
    depths = check_depths(depths, n_targets, "depths", advice)
    native = targets[first_of_groups(items)]
    if n_neighbors >= len(native):
        raise ValueError(
            f"n_neighbors={n_neighbors} must be < {len(native)}, the number of "
            "targets: a target is not its own neighbour. Use a smaller one."
        )
    recalls, scores = [], []
    for kind in kinds:
        rows = _compose(given, kind)
        ranks = retrieval_ranks(rows, targets, groups=items, candidates=candidates)
        recalls.append([ranks.recall(k, direction="x_to_y") for k in depths])
        scores.append(ood_score(rows, native, k=n_neighbors))
    return SemanticArithmetic(tuple(kinds), depths, np.array(recalls), np.array(scores))


def _check_parts(source, edit, bimodal_source, bimodal_edit):
    """Parts that were given, by name, all of one shape."""
    given: dict[str, np.ndarray] = {}
    given["source"] = _check_rows(source, "source", given)
    given["edit"] = _check_rows(edit, "edit", given)
    parts = {"bimodal_source": bimodal_source, "bimodal_edit": bimodal_edit}
    for name, rows in parts.items():
        if rows is not None:
            given[name] = _check_rows(rows, name, given)
    return given


def _check_rows(rows, name, given):
    """Rows in float64 of the shape of the source."""
    rows = check_array(rows, dtype=np.float64, input_name=name)
    source = given.get("source", rows)
    check_consistent_length(source, rows)
    check_width(rows, source, name, "source")
    return rows


def _check_queries(queries, given):
    """Kinds of queries, by default all whose parts were given."""
    if queries is None:
        return [kind for kind, parts in _QUERIES.items() if given.keys() >= set(parts)]
    unknown = [kind for kind in queries if kind not in _QUERIES]
    if unknown or not len(queries):
        raise ValueError(f"queries={queries!r} must be some of {list(_QUERIES)}.")
    return list(queries)


def _compose(given, kind):
    """Sum of the parts of one kind of query."""
    for part in _QUERIES[kind]:
        if part not in given:
            raise ValueError(f"query={kind!r} needs {part}, which is None: pass it.")
    return sum(given[part] for part in _QUERIES[kind])
