"""Search over codes, judged by dense cosines."""

import copy

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pandas.testing import assert_series_equal
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors

from skxsae import CoactivationMatcher
from skxsae.inspection import name_latents
from skxsae.search import ConceptIndex

CODES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 9), st.just(5)),
    elements=st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0]),
)


def cosines(queries, items):
    """All cosines, 0 for a row of zeros."""
    lengths = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, items)]
    rows = [
        np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
        for rows, length in zip((queries, items), lengths, strict=True)
    ]
    return rows[0] @ rows[1].T


@settings(deadline=None)
@given(queries=CODES, items=CODES, n_results=st.integers(1, 12))
def test_hits_are_those_of_all_cosines(queries, items, n_results):
    hits = ConceptIndex(n_results).fit(items).search(sparse.csr_array(queries))
    for query, scores in enumerate(cosines(queries, items)):
        found = hits[hits["query"] == query]
        # what has the very same cosine may be rounded apart
        expected = np.sort(scores[scores > 0])[::-1][:n_results]
        assert_allclose(found["similarity"], expected, rtol=1e-12)
        assert_allclose(scores[found["item"]], expected, rtol=1e-12)
        assert found["rank"].tolist() == list(range(len(expected)))
        assert not found["item"].duplicated().any()


def test_it_agrees_with_nearest_neighbours(planted):
    Z_x, Z_y = planted.model.transform(planted.X, planted.y)
    hits = ConceptIndex(5).fit(Z_x).search(Z_y[:50])
    neighbours = NearestNeighbors(n_neighbors=5, metric="cosine").fit(Z_x)
    distances, _ = neighbours.kneighbors(Z_y[:50])
    assert_allclose(hits["similarity"], 1 - distances.ravel(), atol=1e-6)


def test_reasons_sum_to_the_similarity(planted):
    Z_x, Z_y = planted.model.transform(planted.X, planted.y)
    names = name_latents(planted.model, planted.y, planted.texts)
    index = ConceptIndex(3, n_reasons=2).fit(Z_x, names=names)
    hit = index.search(Z_y[:20]).iloc[7]
    why = index.explain(Z_y[[hit["query"]]], hit["item"])
    assert why["contribution"].sum() == pytest.approx(hit["similarity"], rel=1e-6)
    assert why["contribution"].is_monotonic_decreasing
    told = [
        f"{row.name_} {row.contribution:.2f}"
        for row in why.rename(columns={"name": "name_"}).head(2).itertuples()
    ]
    assert hit["because"] == ", ".join(told)


def test_a_query_may_be_the_concepts_themselves(planted):
    Z = planted.model.transform(planted.X)
    concept = int(planted.model.matches_["x_latent"].iloc[3])
    query = np.zeros((1, Z.shape[1]))
    query[0, concept] = 1
    hits = ConceptIndex(20).fit(Z).search(query)
    assert (Z[hits["item"]][:, [concept]].toarray() > 0).all()


def test_ties_are_in_the_order_of_the_items():
    index = ConceptIndex(2).fit([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [3.0, 0.0]])
    assert index.search([[1.0, 0.0]])["item"].tolist() == [0, 2]
    assert index.search([[1.0, 0.0]], n_results=9)["item"].tolist() == [0, 2, 3]


def test_queries_and_items_without_concepts_have_no_hits():
    index = ConceptIndex().fit(sparse.csr_array((4, 3)))
    hits = index.search(np.ones((2, 3)))
    assert len(hits) == 0
    assert hits.columns.tolist() == ["query", "rank", "item", "similarity", "because"]
    hits = ConceptIndex().fit(np.eye(3)).search(sparse.csr_array((2, 3)))
    assert len(hits) == 0


@pytest.mark.parametrize(
    "names",
    [
        pd.DataFrame({"name": ["cat", None, "dog"]}),
        pd.Series({2: "dog", 0: "cat", 99: "unknown"}),
        ["cat", None, "dog"],
    ],
)
def test_names_by_number_or_in_order(names):
    index = ConceptIndex().fit(np.eye(3), names=names)
    assert index.names_.tolist() == ["cat", "1", "dog"]


def test_concepts_of_one_name_are_told_apart():
    names = pd.Series({0: "cat", 1: "dog", 3: "cat"})
    index = ConceptIndex().fit(np.eye(4), names=names)
    assert index.names_.tolist() == ["cat #0", "dog", "2", "cat #3"]


def test_it_is_an_estimator(planted):
    index = ConceptIndex(3, n_reasons=1)
    assert clone(index).get_params() == {"n_results": 3, "n_reasons": 1}
    with pytest.raises(NotFittedError):
        index.search(np.eye(3))
    frame = pd.DataFrame(np.eye(3), columns=["a", "b", "c"])
    assert index.fit(frame).feature_names_in_.tolist() == ["a", "b", "c"]
    assert index.search(frame.iloc[:1])["because"].tolist() == ["0 1.00"]


def test_bad_input():
    index = ConceptIndex().fit(np.eye(3))
    with pytest.raises(ValueError, match="expecting 3 features"):
        index.search(np.eye(4))
    with pytest.raises(ValueError, match="X must hold one query, got 3"):
        index.explain(np.eye(3), 0)
    with pytest.raises(ValueError, match="item=3 must be an int from 0 to 2"):
        index.explain(np.eye(3)[:1], 3)
    with pytest.raises(ValueError, match=r"item=1.0 must be an int"):
        index.explain(np.eye(3)[:1], 1.0)
    with pytest.raises(ValueError, match=r"n_results=2.5 must be an int"):
        index.search(np.eye(3), n_results=2.5)
    with pytest.raises(ValueError, match="'n_reasons' parameter of ConceptIndex"):
        ConceptIndex().fit(np.eye(3)).set_params(n_reasons=-1).search(np.eye(3))
    with pytest.raises(ValueError, match="the numbers of the concepts as its index"):
        ConceptIndex().fit(np.eye(3), names=pd.Series({"a": "cat"}))
    with pytest.raises(ValueError, match="names has 2 entries, but there are 3"):
        ConceptIndex().fit(np.eye(3), names=["a", "b"])
    with pytest.raises(ValueError, match="no column 'name'"):
        ConceptIndex().fit(np.eye(3), names=pd.DataFrame({"label": ["a"]}))
    with pytest.raises(ValueError, match="more than one row for concept 1"):
        ConceptIndex().fit(np.eye(3), names=pd.Series(["a", "b"], index=[1, 1]))
    with pytest.raises(ValueError, match="'n_results' parameter of ConceptIndex"):
        ConceptIndex(0).fit(np.eye(3))
    with pytest.raises(ValueError, match="n_results=0 must be an int of at least 1"):
        index.search(np.eye(3), n_results=0)


def test_codes_of_both_views_are_refused(planted):
    codes = planted.model.transform(planted.X[:2], planted.y[:2])
    with pytest.raises(ValueError, match="X is a tuple of 2, as transform"):
        ConceptIndex().fit(codes)


def test_a_soft_assignment_finds_names_in_both_columns(planted):
    soft = copy.deepcopy(planted.model)
    soft.set_params(matcher=CoactivationMatcher(assignment="soft"))
    soft.realign(planted.X, planted.y)
    names = name_latents(soft, planted.y, planted.texts)
    for x_column, y_column in zip(
        soft._matched_columns("x"), soft._matched_columns("y"), strict=True
    ):
        assert x_column != y_column
        assert_series_equal(names.loc[x_column], names.loc[y_column], check_names=False)
    index = ConceptIndex().fit(soft.transform(planted.X), names=names)
    hits = index.search(soft.y_sae_.transform(planted.y[:20]))
    parts = ", ".join(hits["because"]).split(", ")
    assert np.mean([part.startswith("word") for part in parts]) > 0.9


def test_duplicate_entries_are_summed_before_they_are_scaled():
    codes = sparse.csr_array(([1.0, 1.0], [0, 0], [0, 2]), shape=(1, 2))
    assert not codes.has_canonical_format
    hits = ConceptIndex().fit(codes).search([[1.0, 0.0]])
    assert hits["similarity"].tolist() == [1.0]
    assert codes.nnz == 2


def test_blocks_meet_a_bounded_number_of_items(monkeypatch):
    """Also where one concept is active on all items and the others on few."""
    monkeypatch.setattr("skxsae.search._concept_index._BLOCK_ENTRIES", 100)
    items = np.zeros((40, 50))
    items[:, 0] = 1
    items[np.arange(40), 1 + np.arange(40)] = 1
    queries = np.eye(50)[np.r_[0, 0, 1:31, 0]]
    index = ConceptIndex(2).fit(items)
    blocks = index._blocks(sparse.csr_array(queries))
    assert 1 < len(blocks) < 33
    assert all((queries[b] @ items.T > 0).sum() <= 100 for b in blocks)
    assert [b.start for b in blocks] == [0, *(b.stop for b in blocks[:-1])]
    assert blocks[-1].stop == 33
    whole = index.search(queries)
    monkeypatch.undo()
    assert whole.equals(index.search(queries))


@pytest.mark.parametrize(
    "names", [["cat #1", "cat", "cat"], ["1", None, "2"], ["2", None, None]]
)
def test_no_two_concepts_are_called_the_same(names):
    labels = ConceptIndex().fit(np.eye(3), names=names).names_
    assert len(set(labels)) == 3
