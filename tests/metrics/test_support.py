import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from skxsae.metrics import (
    always_on_latents,
    dead_latents,
    firing_rate,
    support_split,
)

CODES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.just(4)),
    elements=st.sampled_from([0.0, 0.0, -1.5, 2.0]),
)


def plain_fires(codes):
    return [sum(value != 0 for value in column) for column in codes.T]


@given(codes=CODES, min_fires=st.integers(1, 3), min_rate=st.sampled_from([0.5, 1.0]))
def test_counts_are_those_of_a_loop(codes, min_fires, min_rate):
    fires = plain_fires(codes)
    for given_codes in (codes, sparse.csr_array(codes), codes.astype(np.float32)):
        assert_array_equal(firing_rate(given_codes), [n / len(codes) for n in fires])
        dead = dead_latents(given_codes, min_fires=min_fires)
        assert_array_equal(dead, [n < min_fires for n in fires])
        always = always_on_latents(given_codes, min_rate=min_rate)
        assert_array_equal(always, [n / len(codes) >= min_rate for n in fires])


@given(X=CODES, y=CODES, min_fires=st.integers(1, 2))
def test_every_latent_is_in_one_mask(X, y, min_fires):
    split = support_split(sparse.csr_array(X), y, min_fires=min_fires)
    in_x, in_y = ([n >= min_fires for n in plain_fires(codes)] for codes in (X, y))
    expected = {
        (True, False): split.x_only,
        (False, True): split.y_only,
        (True, True): split.both,
        (False, False): split.neither,
    }
    for where, mask in expected.items():
        pairs = zip(in_x, in_y, strict=True)
        assert_array_equal(mask, [pair == where for pair in pairs])
    swapped = support_split(y, X, min_fires=min_fires)
    assert_array_equal(swapped.x_only, split.y_only)
    frame = split.to_frame()
    assert frame["n_latents"].sum() == 4
    assert frame["share"].sum() == 1
    assert frame.loc["both", "n_latents"] == split.both.sum()


def test_a_sample_less_than_the_rate_is_not_always_on():
    codes = np.ones((20_000, 3))
    codes[0, 1] = 0.0
    codes[: 20_000 // 2 + 1, 2] = 0.0
    assert always_on_latents(codes).tolist() == [True, False, False]
    assert always_on_latents(codes, min_rate=0.5).tolist() == [True, True, False]


def test_a_zero_that_is_stored_is_no_activation():
    codes = sparse.csr_array((np.array([0.0, 1.0]), ([0, 0], [0, 1])), shape=(1, 2))
    assert codes.nnz == 2
    assert_array_equal(dead_latents(codes), [True, False])


def test_a_rate_that_is_just_reached_counts():
    codes = np.zeros((100, 1))
    codes[:7] = 1.0
    assert 0.07 * 100 > 7  # by rounding
    assert always_on_latents(codes, min_rate=0.07).all()


def test_bad_input():
    with pytest.raises(ValueError, match="X has 2 columns and y has 3"):
        support_split(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="'min_fires' parameter of dead_latents"):
        dead_latents(np.ones((2, 2)), min_fires=0)
    with pytest.raises(ValueError, match="'min_rate' parameter of always_on_latents"):
        always_on_latents(np.ones((2, 2)), min_rate=0.0)
