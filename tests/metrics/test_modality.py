import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae.metrics import energy, modality_score

CODES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.just(4)),
    elements=st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0]),
)


@given(codes=CODES, p=st.sampled_from([0.5, 1, 2, 3]))
def test_energy_is_the_mean_power(codes, p):
    expected = np.mean(np.abs(codes) ** p, axis=0)
    assert_allclose(energy(codes, p=p), expected, rtol=1e-12)
    assert_allclose(energy(sparse.csr_array(codes), p=p), expected, rtol=1e-12)


@given(X=CODES, y=CODES, p=st.sampled_from([1, 2]))
def test_modality_score_is_the_share_of_x(X, y, p):
    scores = modality_score(sparse.csr_array(X), y, p=p)
    for j, score in enumerate(scores):
        of_x, of_y = (np.mean(np.abs(codes[:, j]) ** p) for codes in (X, y))
        if of_x + of_y == 0:
            assert np.isnan(score)
        else:
            assert_allclose(score, of_x / (of_x + of_y), rtol=1e-12)
    assert_allclose(modality_score(y, X, p=p), 1 - scores, rtol=1e-12)


def test_float32_codes_are_summed_in_float64():
    codes = sparse.csr_array(np.full((3, 1), 1e25, dtype=np.float32))
    assert np.isfinite(energy(codes)).all()
    assert energy(codes).dtype == np.float64


def test_bad_input():
    with pytest.raises(ValueError, match="X has 2 columns and y has 3"):
        modality_score(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(ValueError, match="'p' parameter of energy"):
        energy(np.ones((2, 2)), p=0)
