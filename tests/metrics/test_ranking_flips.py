import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skxsae.metrics import ranking_flips

VALUES = st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0, 0.7])


def rows(n_min, n_max, n_columns=3):
    shape = st.tuples(st.integers(n_min, n_max), st.just(n_columns))
    return hnp.arrays(np.float64, shape, elements=VALUES)


def unit(candidates):
    lengths = np.linalg.norm(candidates, axis=1, keepdims=True)
    return candidates / np.where(lengths == 0, 1, lengths)


def reference(content, modality, candidates):
    """Shares of flipped and of guaranteed pairs, and the spread, by two loops."""
    candidates = unit(candidates)
    flipped, guaranteed, spread = [], [], []
    for gamma, omega in zip(content, modality, strict=True):
        alpha = candidates @ omega
        epsilon = max(a - b for a in alpha for b in alpha)
        n_flipped, n_guaranteed, n_pairs = 0, 0, 0
        for i in range(len(candidates)):
            for j in range(i):
                content_margin = gamma @ (candidates[i] - candidates[j])
                margin = content_margin + omega @ (candidates[i] - candidates[j])
                # rounding is no margin
                is_tie = min(abs(content_margin), abs(margin)) < 1e-11
                n_flipped += bool(content_margin * margin < 0 and not is_tie)
                n_guaranteed += bool(abs(content_margin) > epsilon + 1e-11)
                n_pairs += 1
        flipped.append(n_flipped / n_pairs)
        guaranteed.append(n_guaranteed / n_pairs)
        spread.append(epsilon)
    return np.array(flipped), np.array(guaranteed), np.array(spread)


@settings(deadline=None)
@example(  # a margin that is the spread itself
    parts=np.array([[-1.5, -1.5, -1.5, -1.5, -1.5, 0.0], [-1.5] * 6]),
    candidates=np.array([[-1.5, 0.0, -1.5], [-1.5, 0.0, 0.0], [0.25, 0.0, 0.0]]),
)
@given(parts=rows(2, 6, 6), candidates=rows(2, 7))
def test_pairs_are_counted(parts, candidates):
    content, modality = parts[:, :3], parts[:, 3:]
    flips = ranking_flips(content, modality, candidates)
    flipped, guaranteed, spread = reference(content, modality, candidates)
    assert_allclose(flips.flipped, flipped, rtol=1e-12)
    assert_allclose(flips.guaranteed, guaranteed, rtol=1e-12)
    assert_allclose(flips.spread, spread, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("block_size", [None, 1, 3])
def test_more_candidates_than_one_block(block_size):
    rng = np.random.default_rng(0)
    content, modality = rng.standard_normal((2, 7, 5))
    candidates = rng.standard_normal((60, 5))
    flips = ranking_flips(content, 0.3 * modality, candidates, block_size=block_size)
    flipped, guaranteed, _ = reference(content, 0.3 * modality, candidates)
    assert_allclose(flips.flipped, flipped, rtol=1e-12)
    assert_allclose(flips.guaranteed, guaranteed, rtol=1e-12)
    assert 0 < flips.flipped_share < 0.5
    assert flips.flipped_share == pytest.approx(flipped.mean())
    assert flips.guaranteed_share == pytest.approx(guaranteed.mean())
    assert flips.n_pairs == 60 * 59 // 2


def test_a_flip_is_a_change_of_the_order_of_cosines():
    rng = np.random.default_rng(1)
    content, modality = rng.standard_normal((2, 1, 4))
    candidates = rng.standard_normal((30, 4))
    before = unit(candidates) @ (content + modality)[0]
    after = unit(candidates) @ content[0]
    first, second = np.triu_indices(30, 1)
    changed = (before[first] > before[second]) != (after[first] > after[second])
    flips = ranking_flips(content, modality, candidates)
    assert flips.flipped[0] == pytest.approx(changed.mean())


def test_constant_modality_flips_nothing():
    rng = np.random.default_rng(0)
    candidates = unit(rng.standard_normal((40, 4)))
    candidates = unit(np.hstack([candidates, np.ones((40, 1))]))
    content = np.hstack([rng.standard_normal((5, 4)), np.zeros((5, 1))])
    flips = ranking_flips(content, [[0, 0, 0, 0, 9.0]] * 5, candidates)
    assert_array_equal(flips.flipped, 0)
    assert_allclose(flips.spread, 0, atol=1e-12)
    assert_array_equal(flips.guaranteed, 1)


def test_candidates_may_come_in_any_order_and_length():
    rng = np.random.default_rng(0)
    content, modality = rng.standard_normal((2, 4, 5))
    candidates = rng.standard_normal((30, 5))
    flips = ranking_flips(content, modality, candidates)
    moved = rng.permutation(candidates) * rng.uniform(1, 5, (30, 1))
    other = ranking_flips(100 * content, 100 * modality, moved)
    assert_allclose(other.flipped, flips.flipped, rtol=1e-12)
    assert_allclose(other.guaranteed, flips.guaranteed, rtol=1e-12)
    assert_allclose(other.spread, 100 * flips.spread, rtol=1e-9)


def test_frame_has_a_row_for_each_query():
    flips = ranking_flips(np.eye(3), -np.eye(3), np.eye(3))
    frame = flips.to_frame()
    assert frame.columns.tolist() == ["flipped", "guaranteed", "spread"]
    assert frame.index.name == "query"
    assert_array_equal(frame["spread"], flips.spread)
    assert "n_pairs=3" in repr(flips)


def test_bad_input():
    eye = np.eye(3)
    with pytest.raises(ValueError, match="at least two"):
        ranking_flips(eye, eye, eye[:1])
    with pytest.raises(ValueError, match="modality has 2 columns and candidates has 3"):
        ranking_flips(eye, eye[:, :2], eye)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        ranking_flips(eye, eye[:2], eye)
