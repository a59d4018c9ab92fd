import pickle
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skxsae.metrics import QueryRanks, RetrievalRanks, retrieval_ranks
from skxsae.metrics._recall import check_depths

counts = st.integers(0, 3)


def one_query(above, tied_wrong, tied_true):
    n_gallery = above + tied_wrong + tied_true
    values = [0, above, tied_wrong, tied_true, n_gallery]
    return QueryRanks(*(np.array([value]) for value in values))


@settings(deadline=None, max_examples=60)
@given(above=counts, tied_wrong=counts, tied_true=st.integers(1, 3), data=st.data())
def test_ties_are_the_worst_the_best_and_the_mean_of_all_orders(
    above, tied_wrong, tied_true, data
):
    ranks = one_query(above, tied_wrong, tied_true)
    k = data.draw(st.integers(1, int(ranks.n_gallery[0])))
    orders = set(permutations([True] * tied_true + [False] * tied_wrong))
    found = [any(order[: max(k - above, 0)]) for order in orders]
    assert ranks.hits(k, ties="expected") == pytest.approx(np.mean(found))
    assert ranks.hits(k, ties="optimistic") == max(found)
    pessimistic = ranks.hits(k, count_true_ties=False)
    assert pessimistic == min(found)
    # as released: rank = #{score >= best true score} - 1
    assert ranks.hits(k) == (above + tied_wrong + tied_true - 1 < k)


def test_expectation_of_large_ties():
    ranks = one_query(0, 9_999, 1)
    assert ranks.hits(10, ties="expected") == pytest.approx(0.001, rel=1e-6)


@pytest.fixture
def ranks():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    return retrieval_ranks(X, X + rng.standard_normal((60, 6)))


def test_recall_is_the_mean_of_the_hits(ranks):
    assert ranks.recall(5, direction="x_to_y") == ranks.x_to_y.hits(5).mean()
    assert ranks.recall(5, direction="y_to_x") == ranks.y_to_x.hits(5).mean()
    both = ranks.x_to_y.hits(5).mean() + ranks.y_to_x.hits(5).mean()
    assert ranks.recall(5) == pytest.approx(both / 2)
    assert set(ranks.x_to_y.hits(5)) == {0.0, 1.0}


def test_frame_has_one_row_per_direction(ranks):
    frame = ranks.to_frame(k=(1, 7), ties="optimistic")
    assert list(frame.columns) == ["recall@1", "recall@7"]
    assert list(frame.index) == ["x_to_y", "y_to_x", "mean"]
    assert frame.loc["mean", "recall@7"] == ranks.recall(7, ties="optimistic")


def test_repr_shows_sizes_and_pickles(ranks):
    side = "QueryRanks(n_queries=60)"
    assert repr(ranks) == f"RetrievalRanks(x_to_y={side}, y_to_x={side})"
    copy = pickle.loads(pickle.dumps(ranks))
    assert isinstance(copy, RetrievalRanks)
    assert_array_equal(copy.x_to_y.above, ranks.x_to_y.above)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "k must be an int of at least 1, got 0"),
        ({"k": 2.0}, "k must be an int of at least 1, got 2.0"),
        ({"k": 61}, "k=61 is larger than the gallery of 60"),
        ({"direction": "up"}, "direction must be one of .* got 'up'"),
        ({"ties": "random"}, "ties must be one of .* got 'random'"),
    ],
)
def test_bad_options_are_named(ranks, options, message):
    with pytest.raises(ValueError, match=message):
        ranks.recall(**{"k": 1} | options)


def test_depths_are_a_tuple_and_no_more_than_there_are():
    assert check_depths(3, 5, "k", "items") == (3,)
    assert check_depths([1, 5], 5, "k", "items") == (1, 5)
    for depths in ([], [[1]], [1.5], "a"):
        with pytest.raises(ValueError, match=r"k=.* must be an int, or a list"):
            check_depths(depths, 5, "k", "items")
    for depth in (0, 6):
        with pytest.raises(
            ValueError, match=f"k={depth} must be from 1 to 5, the number of items"
        ):
            check_depths(depth, 5, "k", "items")
