import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skxsae.interventions import compose_queries, evaluate_arithmetic, group_means
from skxsae.metrics import ood_score

QUERIES = ("source", "edit", "plain", "bimodal_edit", "bimodal")


@pytest.fixture(scope="module")
def parts():
    rng = np.random.default_rng(0)
    source, edit = rng.standard_normal((2, 80, 6))
    return {
        "source": source,
        "edit": edit + 1.5,
        "bimodal_source": source * [1, 1, 1, 1, 1, 0],
        "bimodal_edit": edit,
        "targets": source + edit + 0.3 * rng.standard_normal((80, 6)),
    }


def reference_queries(parts, query):
    return {
        "source": parts["source"],
        "edit": parts["edit"],
        "plain": parts["source"] + parts["edit"],
        "bimodal_edit": parts["source"] + parts["bimodal_edit"],
        "bimodal": parts["bimodal_source"] + parts["bimodal_edit"],
    }[query]


def reference_recall(queries, targets, k):
    hits = []
    for i, query in enumerate(queries):
        scores = [
            np.dot(query, t) / np.linalg.norm(query) / np.linalg.norm(t)
            for t in targets
        ]
        hits.append(sum(score >= scores[i] for score in scores) <= k)
    return np.mean(hits)


@settings(deadline=None)
@given(
    X=hnp.arrays(np.float64, (7, 2), elements=st.floats(-9, 9)),
    groups=st.lists(st.sampled_from("abc"), min_size=7, max_size=7),
)
def test_group_means(X, groups):
    order = list(dict.fromkeys(groups))
    expected = [np.mean(X[np.array(groups) == g], axis=0) for g in order]
    assert_allclose(group_means(X, groups), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("query", QUERIES)
def test_queries_are_sums(parts, query):
    given = {name: rows for name, rows in parts.items() if name != "targets"}
    expected = reference_queries(parts, query)
    assert_array_equal(compose_queries(**given, query=query), expected)
    rows = {name: rows.astype(np.float32) for name, rows in given.items()}
    found = compose_queries(**rows, query=query)
    assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float64


def test_the_default_adds_the_bimodal_part_of_the_edit(parts):
    found = compose_queries(
        parts["source"], parts["edit"], bimodal_edit=parts["bimodal_edit"]
    )
    assert_array_equal(found, parts["source"] + parts["bimodal_edit"])


def test_recall_and_score_of_every_query(parts):
    result = evaluate_arithmetic(**parts, depths=(1, 5), n_neighbors=4)
    frame = result.to_frame()
    assert tuple(frame.index) == QUERIES
    for query in QUERIES:
        rows = reference_queries(parts, query)
        recalls = [reference_recall(rows, parts["targets"], k) for k in (1, 5)]
        assert_allclose(frame.loc[query, ["recall@1", "recall@5"]], recalls)
        assert frame.loc[query, "recall"] == pytest.approx(np.mean(recalls))
        expected = ood_score(rows, parts["targets"], k=4)
        assert frame.loc[query, "ood"] == pytest.approx(expected)
    assert frame["recall"].idxmax() == "bimodal_edit"
    assert frame.loc["edit", "ood"] > frame.loc["bimodal_edit", "ood"]


def test_the_published_depths_and_the_parts_that_are_given(parts):
    given = {name: parts[name] for name in ("source", "edit", "targets")}
    frame = evaluate_arithmetic(**given).to_frame()
    assert frame.index.tolist() == ["source", "edit", "plain"]
    assert frame.columns.tolist() == ["recall@10", "recall@50", "recall", "ood"]
    given["bimodal_edit"] = parts["bimodal_edit"]
    assert evaluate_arithmetic(**given).queries == QUERIES[:4]
    chosen = evaluate_arithmetic(**given, queries=["bimodal_edit", "source"])
    assert chosen.queries == ("bimodal_edit", "source")


def test_targets_that_answer_several_queries(parts):
    given = {name: parts[name] for name in ("source", "edit")}
    targets = np.repeat(parts["targets"][:40], 2, axis=0)
    items = np.repeat(np.arange(40), 2)
    options = {"depths": (3,), "n_neighbors": 2, "queries": ["plain"]}
    result = evaluate_arithmetic(
        **given, targets=targets, target_groups=items, **options
    )
    rows = given["source"] + given["edit"]
    distinct = parts["targets"][:40]
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (rows, distinct)]
    scores = unit[0] @ unit[1].T
    own = scores[np.arange(80), items]
    hits = (scores >= own[:, None] - 1e-12).sum(axis=1) <= 3
    assert result.recalls[0, 0] == pytest.approx(hits.mean())
    assert result.ood[0] == ood_score(rows, distinct, k=2)


def test_candidates(parts):
    options = {"depths": (2,), "queries": ["source"]}
    few = evaluate_arithmetic(**parts, candidates=16, **options)
    batches = [slice(i, i + 16) for i in range(0, 80, 16)]
    expected = [
        reference_recall(parts["source"][b], parts["targets"][b], 2) for b in batches
    ]
    assert few.recalls[0, 0] == pytest.approx(np.mean(expected))


def test_bad_input(parts):
    source, edit = parts["source"], parts["edit"]
    with pytest.raises(ValueError, match="query='bimodal_edit' needs bimodal_edit"):
        compose_queries(source, edit)
    with pytest.raises(ValueError, match="query='bimodal' needs bimodal_source"):
        compose_queries(source, edit, bimodal_edit=edit, query="bimodal")
    with pytest.raises(ValueError, match="edit has 5 columns and source has 6"):
        compose_queries(source, edit[:, :5], query="plain")
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        evaluate_arithmetic(source, edit, parts["targets"][:9])
    with pytest.raises(ValueError, match="queries="):
        evaluate_arithmetic(source, edit, source, queries=["sum"])
    for options, message in (
        ({"depths": (5, 81)}, "depths=81 must be from 1 to 80"),
        ({"depths": (17,), "candidates": 16}, "17 must be from 1 to 16"),
        ({"depths": 0}, "0 must be from 1 to 80"),
        ({"depths": [1.5]}, "must be an int, or a list"),
        ({"depths": 1, "n_neighbors": 80}, "n_neighbors=80 must be < 80"),
        ({"target_groups": np.arange(80) // 8}, "depths=50 must be from 1 to 10"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_arithmetic(source, edit, parts["targets"], **options)


def test_one_depth_needs_no_list(parts):
    one, many = (evaluate_arithmetic(**parts, depths=d).to_frame() for d in (3, [3]))
    assert one.equals(many)
