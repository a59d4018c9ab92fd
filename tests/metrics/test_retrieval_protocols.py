import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from retrieval_reference import reference_recall
from scipy import sparse

from skxsae.metrics import recall_at_k_score, recall_by_protocol

RNG = np.random.default_rng(0)
GROUPS = np.repeat(np.arange(30), 3)
X = np.repeat(RNG.normal(size=(30, 5)), 3, axis=0)
Y = X + RNG.normal(size=X.shape)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_all_captions_is_recall_with_groups(kind):
    result = recall_by_protocol(kind(X), Y, groups=GROUPS, k=[1, 3])
    table = result.to_frame().loc["all_captions"]
    for k in (1, 3):
        for direction in ("x_to_y", "y_to_x", "mean"):
            expected = reference_recall(X, Y, k, direction, GROUPS)
            assert_allclose(table.loc[direction, f"recall@{k}"], expected)
    assert result.n_pairs == 90
    assert result.choices["candidates"] is None


def test_batches_take_one_pair_of_each_group_and_leave_the_rest_out():
    rng = np.random.default_rng(1)
    first = rng.normal(size=(600, 6))
    second = first + rng.normal(size=first.shape)
    # a second caption far away, before or after the first of another group
    captions = np.vstack([second, rng.normal(size=(600, 6))])
    groups = np.tile(np.arange(600), 2)
    result = recall_by_protocol(
        np.vstack([first, first]), captions, protocol="batches_of_256", groups=groups
    )
    hits = [
        reference_recall(first[rows], second[rows], 5, direction)
        for direction in ("x_to_y", "y_to_x")
        for rows in (slice(256), slice(256, 512))
    ]
    table = result.to_frame().loc["batches_of_256"]
    assert_allclose(table.loc["mean", "recall@5"], np.mean(hits))
    assert_allclose(table.loc["x_to_y", "recall@5"], np.mean(hits[:2]))
    assert result.n_pairs == 512
    assert result.protocol == "batches_of_256"
    assert list(table.columns) == ["recall@1", "recall@5", "recall@10"]
    assert_allclose(
        table.loc["mean", "recall@1"],
        recall_at_k_score(first, second, k=1, candidates=256),
    )


def test_repeated_rows_without_groups_warn():
    with pytest.warns(UserWarning, match="rows of X are distinct"):
        recall_by_protocol(X, Y)


def test_too_few_pairs_for_a_batch():
    with pytest.raises(ValueError, match=r"batches_of_256. needs 256 .*got 30"):
        recall_by_protocol(X, Y, groups=GROUPS, protocol="batches_of_256")


def test_k_is_checked_at_once_and_may_be_a_number():
    with pytest.raises(ValueError, match="k=300 is larger than the gallery"):
        recall_by_protocol(X, Y, groups=GROUPS, k=[1, 300])
    with pytest.raises(ValueError, match="k must be an int of at least 1"):
        recall_by_protocol(X, Y, groups=GROUPS, k=[1.5])
    with pytest.raises(ValueError, match="k is empty"):
        recall_by_protocol(X, Y, groups=GROUPS, k=[])
    one = recall_by_protocol(X, Y, groups=GROUPS, k=5)
    assert one.k == (5,)
    several = recall_by_protocol(X, Y, groups=GROUPS, k=(5,))
    assert one.to_frame().equals(several.to_frame())


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), n=st.integers(2, 12), n_groups=st.integers(2, 5))
def test_all_captions_of_any_codes(seed, n, n_groups):
    rng = np.random.default_rng(seed)
    codes = [rng.integers(-1, 2, (n, 3)) * 1.0 for _ in range(2)]
    groups = rng.integers(0, n_groups, n)
    groups[:2] = [0, 1]
    table = recall_by_protocol(*codes, groups=groups, k=1).to_frame()
    for direction in ("x_to_y", "y_to_x"):
        expected = reference_recall(*codes, 1, direction, groups)
        found = table.loc[("all_captions", direction), "recall@1"]
        assert_allclose(found, expected, atol=1e-12)


def test_the_choices_of_a_result_are_its_own():
    result = recall_by_protocol(X, Y, groups=GROUPS)
    result.choices["ties"] = "optimistic"
    assert recall_by_protocol(X, Y, groups=GROUPS).choices["ties"] == "pessimistic"
