import sys
from itertools import permutations

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse
from scipy.optimize import linprog

from skxsae.metrics import dictionary_distance, mean_matching_accuracy


def cosine(a, b):
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / norms if norms > 0 else 0.0


def reference_transport(cost):
    """The linear programme of transport between uniform masses, as it is defined."""
    n, m = cost.shape
    of_row = np.kron(np.eye(n), np.ones(m))
    of_column = np.kron(np.ones(n), np.eye(m))
    masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    return linprog(cost.ravel(), A_eq=np.vstack([of_row, of_column]), b_eq=masses).fun


@st.composite
def dictionaries(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    sizes = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return tuple(rng.standard_normal((n, 3)) for n in sizes)


@settings(deadline=None, max_examples=40)
@given(pair=dictionaries())
def test_distance_is_that_of_optimal_transport(pair):
    components, features = pair
    if len(components) != len(features):
        pytest.importorskip("ot")
    cost = np.array([[1 - cosine(a, b) for b in features] for a in components])
    expected = reference_transport(cost)
    distance = dictionary_distance(components, features)
    assert_allclose(distance, expected, rtol=1e-6, atol=1e-9)
    assert_allclose(dictionary_distance(features, components), distance, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(pair=dictionaries(), seed=st.integers(0, 100))
def test_order_length_and_absent_rows_do_not_matter(pair, seed):
    components, features = pair
    if len(components) != len(features):
        pytest.importorskip("ot")
    rng = np.random.default_rng(seed)
    moved = rng.permutation(components * rng.uniform(0.1, 9.0, (len(components), 1)))
    moved = np.vstack([moved, np.full((2, 3), np.nan), np.zeros((1, 3))])
    distance = dictionary_distance(moved, np.vstack([np.zeros((1, 3)), features]))
    assert_allclose(distance, dictionary_distance(components, features), atol=1e-9)


def test_a_direction_that_is_left_out_by_a_matching_costs_in_transport():
    pytest.importorskip("ot")
    truth = np.eye(2)
    # half of the mass of the only direction has to go to the other
    assert_allclose(dictionary_distance([[1.0, 0.0]], truth), 0.5)
    assert_allclose(dictionary_distance(np.vstack([truth, truth]), truth), 0.0)
    assert_allclose(dictionary_distance(truth, -truth), 1.0)


def test_a_transport_without_end_has_its_own_way_out(monkeypatch):
    ot = pytest.importorskip("ot")
    log = {"warning": "numItermax reached", "result_code": 3}
    monkeypatch.setattr(ot, "emd", lambda *args, **options: (None, log))
    with pytest.raises(RuntimeError, match=r"dictionary_distance.*fewer directions"):
        dictionary_distance(np.eye(2), np.ones((1, 2)))


def test_without_pot_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    assert_allclose(dictionary_distance(np.eye(2), np.eye(2)), 0.0)
    with pytest.raises(ImportError, match=r"requires POT: pip install 'skxsae\[ot\]'"):
        dictionary_distance(np.eye(2), np.ones((1, 2)))


CODES = hnp.arrays(
    np.float64,
    st.tuples(st.just(6), st.integers(1, 5)),
    elements=st.sampled_from([0.0, 0.0, 0.0, -1.5, 0.25, 2.0]),
)


def reference_accuracy(codes, truth):
    table = np.array([[cosine(a, b) for b in truth.T] for a in codes.T])
    if table.shape[0] > table.shape[1]:
        table = table.T
    choices = permutations(range(table.shape[1]), table.shape[0])
    best = max(sum(table[i, j] for i, j in enumerate(choice)) for choice in choices)
    return best / len(table)


@settings(deadline=None, max_examples=80)
@given(codes=CODES, truth=CODES, seed=st.integers(0, 100))
def test_accuracy_matches_its_definition(codes, truth, seed):
    expected = reference_accuracy(codes, truth)
    views = (codes, sparse.csr_array(codes)), (truth, sparse.csr_matrix(truth))
    for Z, C in zip(*views, strict=True):
        assert_allclose(mean_matching_accuracy(Z, C), expected, atol=1e-9)
    assert_allclose(mean_matching_accuracy(truth, codes), expected, atol=1e-9)
    rng = np.random.default_rng(seed)
    factors = rng.uniform(0.1, 9.0, codes.shape[1])
    moved = (codes * factors)[:, rng.permutation(codes.shape[1])]
    assert_allclose(mean_matching_accuracy(moved, truth), expected, atol=1e-9)


def test_true_codes_are_accurate_and_half_of_them_half_so():
    truth = sparse.random_array((400, 30), density=0.1, format="csr", rng=0)
    permuted = truth[:, np.random.default_rng(0).permutation(30)].astype(np.float32)
    assert_allclose(mean_matching_accuracy(permuted, truth), 1.0)
    dead = sparse.hstack([truth[:, :15], sparse.csr_array((400, 15))], format="csr")
    assert_allclose(mean_matching_accuracy(dead, truth), 0.5)
    assert_allclose(mean_matching_accuracy(truth[:, :15], truth), 1.0)


def test_codes_of_other_samples_are_refused():
    with pytest.raises(ValueError, match="codes has 3 rows and true_codes has 4"):
        mean_matching_accuracy(np.eye(3), np.eye(4))
