import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse
from sklearn import config_context

from skxsae.datasets import make_iso_energy_pairs

SMALL = {"n_features": 48, "n_unimodal": 4, "n_active": 5, "dtype": np.float64}


def generate(n_samples=60, **options):
    return make_iso_energy_pairs(n_samples, **{**SMALL, "random_state": 0, **options})


@settings(deadline=None, max_examples=20)
@given(
    tau_1=st.floats(0.6, 1.0),
    tau_2=st.floats(0.05, 0.4),
    mix=st.sampled_from(["linear", "sqrt"]),
    seed=st.integers(0, 1000),
)
def test_both_dictionaries_are_a_truth(tau_1, tau_2, mix, seed):
    data = generate(tau_1=tau_1, tau_2=tau_2, mix=mix, random_state=seed)
    for view, name in ((data.X, "x"), (data.y, "y")):
        for i in "12":
            codes = data[f"{name}_codes_{i}"].toarray()
            assert_allclose(codes @ data[f"features_{i}"], view, atol=1e-12)
            assert codes.min() >= 0
        assert_allclose(np.linalg.norm(view, axis=1), 1.0)
    for i in "12":
        assert_allclose(np.linalg.norm(data[f"features_{i}"], axis=1), 1.0)
    cosines = [x @ y for x, y in zip(data.X, data.y, strict=True)]
    assert_allclose(cosines, tau_2)
    assert_allclose(data.pair_cosines, cosines)


def test_sets_of_atoms_are_orthogonal_as_the_process_says():
    data = generate(tau_1=0.7)
    of = {kind: data.features_1[data.kinds_1 == kind] for kind in set(data.kinds_1)}
    assert {kind: len(atoms) for kind, atoms in of.items()} == {
        "x_only": 4,
        "y_only": 4,
        "bimodal": 16,
        "x_term": 16,
        "y_term": 16,
    }
    orthogonal = [
        ("x_only", "y_only"),
        ("x_only", "bimodal"),
        ("x_only", "y_term"),
        ("y_only", "bimodal"),
        ("y_only", "x_term"),
        ("x_term", "bimodal"),
        ("x_term", "y_term"),
        ("y_term", "bimodal"),
    ]
    for one, other in orthogonal:
        assert_allclose(of[one] @ of[other].T, 0.0, atol=1e-12)
    for one, other in (("x_only", "x_term"), ("y_only", "y_term")):
        assert np.abs(of[one] @ of[other].T).max() > 0.1


@pytest.mark.parametrize("mix", ["linear", "sqrt"])
def test_mixed_atoms_are_what_the_process_says(mix):
    tau = 0.7
    data = generate(tau_1=tau, mix=mix)
    b, s = (tau, 1 - tau) if mix == "linear" else (tau**0.5, (1 - tau) ** 0.5)
    of_1 = {kind: data.features_1[data.kinds_1 == kind] for kind in set(data.kinds_1)}
    of_2 = {kind: data.features_2[data.kinds_2 == kind] for kind in set(data.kinds_2)}
    for view in ("x", "y"):
        mixed = b * of_1["bimodal"] + s * of_1[f"{view}_term"]
        assert_allclose(of_2[f"{view}_mixed"], mixed / np.linalg.norm(mixed[0]))
        assert_array_equal(of_2[f"{view}_only"], of_1[f"{view}_only"])
    cosine = tau**2 / (tau**2 + (1 - tau) ** 2) if mix == "linear" else tau
    of_pairs = np.sum(of_2["x_mixed"] * of_2["y_mixed"], axis=1)
    assert_allclose(of_pairs, cosine)
    assert_allclose(data.mixed_cosine, cosine)


def test_codes_follow_the_process():
    data = generate(tau_1=0.8, n_active=6)
    b, s = 0.8, 0.2
    blocks_1 = {kind: data.kinds_1 == kind for kind in set(data.kinds_1)}
    blocks_2 = {kind: data.kinds_2 == kind for kind in set(data.kinds_2)}
    x_1, y_1 = data.x_codes_1.toarray(), data.y_codes_1.toarray()
    x_2, y_2 = data.x_codes_2.toarray(), data.y_codes_2.toarray()
    for codes, own, other in ((x_1, "x", "y"), (y_1, "y", "x")):
        assert_array_equal((codes != 0).sum(axis=1), 11)
        assert_array_equal((codes[:, blocks_1[f"{own}_only"]] != 0).sum(axis=1), 1)
        assert not codes[:, blocks_1[f"{other}_only"] | blocks_1[f"{other}_term"]].any()
        bimodal, terms = (
            codes[:, blocks_1["bimodal"]],
            codes[:, blocks_1[f"{own}_term"]],
        )
        # constant inside a row, in the ratio of the weights
        assert_allclose(terms, bimodal * s / b)
        alone = codes[:, blocks_1[f"{own}_only"]].max(axis=1)
        assert_allclose(bimodal.max(axis=1) / alone, b * data.beta)
        assert_allclose(bimodal.sum(axis=1), 5 * bimodal.max(axis=1))
    # both members of a pair share their bimodal atoms
    bimodal = blocks_1["bimodal"]
    assert_array_equal(x_1[:, bimodal] != 0, y_1[:, bimodal] != 0)
    for codes, own, other in ((x_2, "x", "y"), (y_2, "y", "x")):
        assert_array_equal((codes != 0).sum(axis=1), 6)
        assert not codes[
            :, blocks_2[f"{other}_only"] | blocks_2[f"{other}_mixed"]
        ].any()
        alone = codes[:, blocks_2[f"{own}_only"]].max(axis=1)
        mixed = codes[:, blocks_2[f"{own}_mixed"]].max(axis=1)
        assert_allclose(mixed / alone, data.beta * np.hypot(b, s))
    assert_array_equal(x_1[:, bimodal] != 0, x_2[:, blocks_2["x_mixed"]] != 0)


def test_the_weight_is_a_root_of_the_polynomial():
    data = generate(n_samples=20, tau_1=0.6, tau_2=0.35)
    b, s = 0.6, 0.4
    of = {kind: data.features_1[data.kinds_1 == kind] for kind in set(data.kinds_1)}
    for i in range(20):
        active = data.x_codes_1.toarray()[i][data.kinds_1 == "bimodal"] != 0
        sides = []
        for view in "xy":
            codes = data[f"{view}_codes_1"].toarray()[i]
            own = of[f"{view}_only"][
                np.flatnonzero(codes[data.kinds_1 == f"{view}_only"])
            ]
            moving = (b * of["bimodal"] + s * of[f"{view}_term"])[active].sum(axis=0)
            sides.append((own[0], moving))
        (u, v), (t, w) = sides
        # <x, y>^2 - tau^2 |x|^2 |y|^2, for x = u + beta v and y = t + beta w
        inner = np.polynomial.Polynomial([u @ t, u @ w + v @ t, v @ w])
        lengths = [np.polynomial.Polynomial([1, 2 * o @ m, m @ m]) for o, m in sides]
        roots = (inner**2 - 0.35**2 * lengths[0] * lengths[1]).roots()
        positive = roots[(abs(roots.imag) < 1e-9) & (roots.real > 0)].real
        assert_allclose(positive, data.beta[i])  # the only one


def test_atoms_do_not_depend_on_the_taus_nor_on_the_samples():
    one = generate(tau_1=0.6, tau_2=0.2)
    other = generate(n_samples=7, tau_1=0.9, tau_2=0.3, mix="sqrt")
    assert_array_equal(one.features_1, other.features_1)
    assert_array_equal(generate().X, generate().X)
    assert not np.array_equal(generate().X, generate(random_state=1).X)


def test_without_terms_the_bimodal_codes_are_as_sparse():
    data = generate(tau_1=1.0)
    assert_array_equal(np.diff(sparse.csr_array(data.x_codes_1).indptr), 5)
    assert data.mixed_cosine == pytest.approx(1.0)


def test_draws_that_reach_no_cosine_are_made_again():
    # the cosine of the mixed atoms is 0.308
    data = generate(n_samples=300, tau_1=0.4, tau_2=0.3)
    assert data.n_redrawn > 30
    assert_allclose(data.pair_cosines, 0.3)
    assert generate(tau_1=0.999, tau_2=0.3).n_redrawn == 0
    with pytest.raises(ValueError, match=r"tau_2=0.9 was not reached by .* mix='sqrt'"):
        generate(tau_1=0.4, tau_2=0.9)


def test_types_and_containers():
    data = generate(dtype="float32")
    X, y = generate(dtype=np.float32, return_X_y=True)
    assert_array_equal(data.X, X)
    assert_array_equal(data.y, y)
    names = ["X", "y", "features_1", "features_2", "x_codes_1", "y_codes_2"]
    assert {data[name].dtype for name in names} == {np.dtype(np.float32)}
    wide = generate()
    assert_allclose(data.X, wide.X, atol=1e-6)
    for interface, kind in (("sparray", "csr_array"), ("spmatrix", "csr_matrix")):
        with config_context(sparse_interface=interface):
            assert type(generate().x_codes_2).__name__ == kind
    assert "60 pairs of width 48" in data.DESCR


def test_subspaces_of_a_width_that_three_does_not_divide():
    data = generate(n_features=50, n_unimodal=5, tau_1=0.7)
    assert np.linalg.matrix_rank(data.features_1[data.kinds_1 == "bimodal"]) == 18
    assert np.linalg.matrix_rank(data.features_1) == 50


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_active": 18}, "takes 17 bimodal atoms, but there are 4"),
        ({"tau_1": 0.0}, "'tau_1' parameter"),
        ({"tau_2": 1.0}, "'tau_2' parameter"),
        ({"n_features": 2}, "'n_features' parameter"),
        ({"mix": "square"}, "'mix' parameter"),
        ({"dtype": np.float16}, "use float32 or float64"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        generate(**changed)
