"""Recall from the ranks of the true answers, with a rule for ties."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import pandas as pd
from scipy.special import gammaln

DIRECTIONS = ("x_to_y", "y_to_x", "mean")


def _pessimistic(k, ranks, count_true_ties):
    """1 where fewer than k items reach the best true score."""
    tied_true = ranks.tied_true - 1 if count_true_ties else 0
    return (ranks.above + ranks.tied_wrong + tied_true < k).astype(np.float64)


def _optimistic(k, ranks, count_true_ties):
    """1 where fewer than k items exceed the best true score."""
    return (ranks.above < k).astype(np.float64)


def _expected(k, ranks, count_true_ties):
    """Probability that a true item is drawn into the places left for the ties."""
    n_tied = ranks.tied_wrong + ranks.tied_true
    n_places = np.clip(k - ranks.above, 0, n_tied)
    n_wrong_left = ranks.tied_wrong - n_places
    # hypergeometric: choose(tied_wrong, n_places) / choose(n_tied, n_places)
    log_miss = (
        gammaln(ranks.tied_wrong + 1.0)
        - gammaln(np.maximum(n_wrong_left, 0) + 1.0)
        - gammaln(n_tied + 1.0)
        + gammaln(n_tied - n_places + 1.0)
    )
    return np.where(n_wrong_left < 0, 1.0, 1.0 - np.exp(log_miss))


TIES = {"pessimistic": _pessimistic, "optimistic": _optimistic, "expected": _expected}


@dataclass(frozen=True)
class QueryRanks:
    """Where the best true answer of each query of one direction stands.

    Parameters
    ----------
    queries : ndarray of shape (n_queries,)
        Row of each query in the arrays that were ranked.

    above : ndarray of shape (n_queries,)
        Number of wrong answers with a higher score than the best true answer.

    tied_wrong : ndarray of shape (n_queries,)
        Number of wrong answers that tie with it.

    tied_true : ndarray of shape (n_queries,)
        Number of true answers that tie with it, itself included.

    n_gallery : ndarray of shape (n_queries,)
        Number of answers that were ranked.

    See Also
    --------
    retrieval_ranks : Ranks two views of codes.

    Notes
    -----
    A query without a score, as its code or those of all its true answers are zero, has
    every wrong answer above and ties with all its true ones.

    Examples
    --------
    The second item has its true answer in second place.

    >>> from skxsae.metrics import retrieval_ranks
    >>> ranks = retrieval_ranks([[1.0, 0.0], [1.0, 0.5]], [[1.0, 0.1], [0.2, 1.0]])
    >>> ranks.x_to_y.above
    array([0, 1])
    >>> ranks.x_to_y.hits(k=1)
    array([1., 0.])
    """

    queries: np.ndarray
    above: np.ndarray
    tied_wrong: np.ndarray
    tied_true: np.ndarray
    n_gallery: np.ndarray

    def __repr__(self):
        """Sizes, not arrays."""
        return f"QueryRanks(n_queries={len(self.queries)})"

    def hits(self, k, *, ties="pessimistic", count_true_ties=True):
        """Whether each query finds a true answer among its k best.

        Parameters
        ----------
        k : int
            Number of answers that are looked at.

        ties : {"pessimistic", "optimistic", "expected"}, default="pessimistic"
            How ties are ranked, as in `recall_at_k_score`.

        count_true_ties : bool, default=True
            Whether further true answers that tie with the best one push it down, as in
            `recall_at_k_score`.

        Returns
        -------
        ndarray of shape (n_queries,)
            1.0 for a hit and 0.0 for a miss; a probability with ``ties="expected"``.
        """
        if not isinstance(k, Integral) or k < 1:
            raise ValueError(f"k must be an int of at least 1, got {k!r}.")
        if ties not in TIES:
            raise ValueError(f"ties must be one of {sorted(TIES)}, got {ties!r}.")
        smallest = self.n_gallery.min()
        if k > smallest:
            raise ValueError(
                f"k={k} is larger than the gallery of {smallest} distinct items: every "
                "query would be a hit. Use a smaller k, or more data."
            )
        return TIES[ties](k, self, count_true_ties)


@dataclass(frozen=True)
class RetrievalRanks:
    """Ranks of the true answers in both directions of retrieval.

    Parameters
    ----------
    x_to_y : QueryRanks
        Items of the first view as queries, items of the second as answers.

    y_to_x : QueryRanks
        Items of the second view as queries, items of the first as answers.

    See Also
    --------
    retrieval_ranks : Ranks two views of codes.

    Examples
    --------
    >>> from skxsae.metrics import retrieval_ranks
    >>> ranks = retrieval_ranks([[1.0, 0.0], [1.0, 0.5]], [[1.0, 0.1], [0.2, 1.0]])
    >>> ranks
    RetrievalRanks(x_to_y=QueryRanks(n_queries=2), y_to_x=QueryRanks(n_queries=2))
    >>> ranks.recall(k=1, direction="x_to_y")
    0.5
    """

    x_to_y: QueryRanks
    y_to_x: QueryRanks

    def recall(
        self, k=10, *, direction="mean", ties="pessimistic", count_true_ties=True
    ):
        """Share of the queries that find a true answer among their k best.

        Parameters
        ----------
        k : int, default=10
            Number of answers that are looked at.

        direction : {"x_to_y", "y_to_x", "mean"}, default="mean"
            View of the queries and view of the answers; "mean" averages the two.

        ties : {"pessimistic", "optimistic", "expected"}, default="pessimistic"
            How ties are ranked, as in `recall_at_k_score`.

        count_true_ties : bool, default=True
            Whether further true answers that tie with the best one push it down, as in
            `recall_at_k_score`.

        Returns
        -------
        float
            Recall at k, between 0 and 1.
        """
        if direction not in DIRECTIONS:
            raise ValueError(
                f"direction must be one of {list(DIRECTIONS)}, got {direction!r}."
            )
        sides = ("x_to_y", "y_to_x") if direction == "mean" else (direction,)
        options = {"ties": ties, "count_true_ties": count_true_ties}
        return float(
            np.mean([getattr(self, s).hits(k, **options).mean() for s in sides])
        )

    def to_frame(self, k=(1, 5, 10), *, ties="pessimistic", count_true_ties=True):
        """Recall at several k in both directions, as a table.

        Parameters
        ----------
        k : sequence of int, default=(1, 5, 10)
            Numbers of answers that are looked at.

        ties : {"pessimistic", "optimistic", "expected"}, default="pessimistic"
            How ties are ranked, as in `recall_at_k_score`.

        count_true_ties : bool, default=True
            Whether further true answers that tie with the best one push it down, as in
            `recall_at_k_score`.

        Returns
        -------
        pandas.DataFrame
            One row per direction, one column per k.
        """
        options = {"ties": ties, "count_true_ties": count_true_ties}
        table = {
            f"recall@{n}": [self.recall(n, direction=d, **options) for d in DIRECTIONS]
            for n in k
        }
        return pd.DataFrame(table, index=pd.Index(DIRECTIONS, name="direction"))


def check_depths(depths, n_items, name, items):
    """Numbers of answers that recall can look at, as a tuple; one alone may be given.

    `items` says what there are `n_items` of, and what to do for more of them.
    """
    checked = np.atleast_1d(np.asarray(depths))
    if checked.ndim != 1 or checked.dtype.kind not in "iu" or not len(checked):
        raise ValueError(f"{name}={depths!r} must be an int, or a list of ints.")
    for depth in checked.tolist():
        if not 1 <= depth <= n_items:
            raise ValueError(
                f"{name}={depth} must be from 1 to {n_items}, the number of {items}."
            )
    return tuple(checked.tolist())
