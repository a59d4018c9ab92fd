"""Search over sparse codes, with the concepts that make two of them similar."""

from itertools import pairwise
from numbers import Integral

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_is_fitted, validate_data

from skxsae._concepts import names_by_concept
from skxsae.metrics._codes import (
    FLOATS,
    check_codes,
    refuse_pair,
    row_of_entries,
    unit_rows,
)

_BLOCK_ENTRIES = 2**23


class ConceptIndex(BaseEstimator):
    """Search over sparse codes by cosine, with the concepts that explain each hit.

    Queries and items are codes with the same columns: texts find pictures once their
    latents are aligned. The items are held by concept, as in the inverted index of a
    search engine, and a query reads the lists of its own concepts only.

    Parameters
    ----------
    n_results : int, default=10
        Number of items to find for each query.

    n_reasons : int, default=3
        Number of concepts that are told for each hit.

    Attributes
    ----------
    n_items_ : int
        Number of items.

    names_ : ndarray of shape (n_features_in_,) of str
        Name of each concept, with its number behind it where others have the same
        name; its number alone where it has none.

    n_features_in_ : int
        Number of concepts seen during `fit`.

    See Also
    --------
    skxsae.inspection.name_latents : Names for the concepts.
    write_codes : The same codes for a search engine.
    PostHocAlignedSAE.explain_pair : Why a sample of x and one of y are similar, with
        the latents of both.

    Examples
    --------
    Words look for pictures of emoji:

    >>> from skxsae import CoactivationMatcher, PostHocAlignedSAE
    >>> from skxsae.datasets import load_emoji
    >>> from skxsae.search import ConceptIndex
    >>> data = load_emoji(subset="train")
    >>> sae = PostHocAlignedSAE(n_latents=128, k=8, max_iter=20, random_state=0,
    ...     matcher=CoactivationMatcher(n_null=0))
    >>> sae = sae.fit(data.X, data.y, groups=data.groups)
    >>> pictures = data.X[data.texts == data.names]
    >>> index = ConceptIndex().fit(sae.transform(pictures))
    >>> query = sae.y_sae_.transform(data.y[data.texts == "flag: Japan"])
    >>> hits = index.search(query)
    >>> hits.columns.tolist()
    ['query', 'rank', 'item', 'similarity', 'because']
    >>> categories = data.categories[data.texts == data.names]
    >>> categories[hits["item"]].tolist().count("Flags") >= 8
    True
    """

    _parameter_constraints: dict = {
        "n_results": [Interval(Integral, 1, None, closed="left")],
        "n_reasons": [Interval(Integral, 0, None, closed="left")],
    }

    def __init__(self, n_results=10, *, n_reasons=3):
        self.n_results = n_results
        self.n_reasons = n_reasons

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, names=None):
        """Index the codes of the items.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_items, n_concepts)
            Codes of the items.

        y : Ignored
            Not used, present for API consistency by convention.

        names : Series, DataFrame or array-like of shape (n_concepts,), default=None
            Names of the concepts: what :func:`skxsae.inspection.name_latents` returned,
            a Series by number of concept, or a name for each column.

        Returns
        -------
        self : object
            The fitted index.
        """
        codes = self._check_codes(X, reset=True)
        self.n_items_ = codes.shape[0]
        self.names_ = _labels(names, codes.shape[1])
        self._items = codes
        self._items_by_concept = sparse.csr_array(codes.T)
        return self

    def search(self, X, *, n_results=None):
        """Find the items whose codes are most similar to those of each query.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_queries, n_concepts)
            Codes of the queries. A row with a few ones asks for these concepts.

        n_results : int, default=None
            Number of items to find for each query; None means that of the index.

        Returns
        -------
        hits : DataFrame with a row for each hit
            "query", the row of `X`; "rank" from 0, ties by the number of the item;
            "item", the row that was indexed; "similarity", the cosine of the two codes;
            "because", the concepts with the largest parts of it. An item that shares
            no concept with the query is no hit.
        """
        check_is_fitted(self)
        self._validate_params()
        queries = self._check_codes(X, reset=False)
        n_results = self.n_results if n_results is None else n_results
        if not isinstance(n_results, (int, np.integer)) or n_results < 1:
            raise ValueError(f"n_results={n_results!r} must be an int of at least 1.")
        parts = [self._best(queries, rows, n_results) for rows in self._blocks(queries)]
        query, rank, item, similarity = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        return pd.DataFrame(
            {
                "query": query,
                "rank": rank,
                "item": item,
                "similarity": similarity,
                "because": self._reasons(queries, query, item),
            }
        )

    def explain(self, X, item):
        """Tell which concepts make a query similar to an item.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (1, n_concepts)
            Codes of one query.

        item : int
            Row of an item, as it was indexed.

        Returns
        -------
        explanation : DataFrame
            A row for each concept of both, the largest part first: "concept", "name",
            and "contribution". The contributions sum to the similarity.
        """
        check_is_fitted(self)
        query = self._check_codes(X, reset=False)
        if query.shape[0] != 1:
            raise ValueError(f"X must hold one query, got {query.shape[0]} rows.")
        if not isinstance(item, (int, np.integer)) or not 0 <= item < self.n_items_:
            raise ValueError(
                f"item={item!r} must be an int from 0 to {self.n_items_ - 1}."
            )
        parts = sparse.csr_array(query.multiply(self._items[[item]]))
        order = np.lexsort((parts.indices, -parts.data))
        return pd.DataFrame(
            {
                "concept": parts.indices[order],
                "name": self.names_[parts.indices[order]],
                "contribution": parts.data[order],
            }
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _check_codes(self, X, *, reset):
        """Unit rows of codes, as a CSR array of floats."""
        refuse_pair(X, "X")
        codes = validate_data(
            self, X, accept_sparse="csr", dtype=FLOATS, reset=reset, copy=False
        )
        return unit_rows(check_codes(sparse.csr_array(codes), "X"))

    def _blocks(self, queries):
        """Slices of queries that together meet a bounded number of items."""
        per_concept = np.diff(self._items_by_concept.indptr)
        active = sparse.csr_array(
            (np.ones(queries.nnz), queries.indices, queries.indptr), queries.shape
        )
        meets = np.cumsum(np.minimum(active @ per_concept, self.n_items_))
        starts, n_queries = [0], queries.shape[0]
        while starts[-1] < n_queries:
            before = meets[starts[-1] - 1] if starts[-1] else 0
            end = np.searchsorted(meets, before + _BLOCK_ENTRIES, side="right")
            starts.append(min(max(int(end), starts[-1] + 1), n_queries))
        return [slice(*ends) for ends in pairwise(starts)]

    def _best(self, queries, rows, n_results):
        """Queries, ranks, items and similarities of the best hits of some queries."""
        scores = sparse.csr_array(queries[rows] @ self._items_by_concept)
        found = []
        for row, (start, stop) in enumerate(
            zip(scores.indptr, scores.indptr[1:], strict=False)
        ):
            items, values = scores.indices[start:stop], scores.data[start:stop]
            kept = np.arange(len(values))
            if len(values) > n_results:
                least = np.partition(values, -n_results)[-n_results]
                kept = np.flatnonzero(values >= least)
            best = kept[np.lexsort((items[kept], -values[kept]))][:n_results]
            query = np.full(len(best), rows.start + row)
            found.append((query, np.arange(len(best)), items[best], values[best]))
        return tuple(np.concatenate(part) for part in zip(*found, strict=True))

    def _reasons(self, queries, query, item):
        """Names and parts of the concepts that contribute most to each hit."""
        parts = sparse.csr_array(queries[query].multiply(self._items[item]))
        order = np.lexsort((parts.indices, -parts.data, row_of_entries(parts)))
        concepts, values = parts.indices[order], parts.data[order]
        return [
            ", ".join(
                f"{self.names_[concept]} {value:.2f}"
                for concept, value in zip(
                    concepts[start:stop][: self.n_reasons],
                    values[start:stop],
                    strict=False,
                )
            )
            for start, stop in zip(parts.indptr, parts.indptr[1:], strict=False)
        ]


def _labels(names, n_concepts):
    """A string for each concept: its name, with its number where others have it too."""
    numbers = pd.Series(np.arange(n_concepts).astype(str), dtype=object)
    names = names_by_concept(names, n_concepts)["name"].dropna().astype(str)
    names = names[names.index.isin(numbers.index)]
    shared = names.duplicated(keep=False) | names.str.fullmatch(r"(.* #)?\d+")
    names[shared] += " #" + numbers[names.index[shared]]
    numbers.update(names)
    return numbers.to_numpy(copy=True)
