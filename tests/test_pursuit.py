"""Pursuit against plain float64 NumPy, one row and one step at a time."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from skxsae import _pursuit
from skxsae._functional import to_dense, unit_rows
from skxsae._pursuit import gram, matching_pursuit, orthogonal_matching_pursuit, pursue

# (batch, d, m, k): wide and narrow, m < k, d = 1
shapes = st.tuples(
    st.integers(1, 6), st.integers(1, 12), st.integers(1, 40), st.integers(1, 14)
)
seeds = st.integers(0, 2**16)
DEGENERATE = ["zero_rows", "zero_atoms", "duplicates", "opposites", "near_duplicates"]


def make_rows(shape, seed=0, dtype=torch.float64, mean=0.0):
    """Unit rows and atoms; those of a large mean are all close to each other."""
    n_rows, n_features, n_latents, _ = shape
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.normal(mean, size=(n_rows, n_features)))
    dictionary = torch.from_numpy(rng.normal(mean, size=(n_latents, n_features)))
    return unit_rows(rows).to(dtype), unit_rows(dictionary).to(dtype)


def make_degenerate(kind, dtype):
    """32 rows, 60 atoms of 16 features, and a k of 12, with one thing wrong."""
    rows, dictionary = make_rows((32, 16, 60, 12), dtype=dtype)
    if kind == "zero_rows":
        rows[::3] = 0
    elif kind == "zero_atoms":
        dictionary[::3] = 0
    elif kind == "duplicates":
        dictionary[30:] = dictionary[:30]
    elif kind == "opposites":
        dictionary[30:] = -dictionary[:30]
    else:
        noise = torch.randn(30, 16, generator=torch.manual_seed(0), dtype=dtype)
        dictionary[30:] = unit_rows(dictionary[:30] + 1e-4 * noise)
    return rows, dictionary


def plain_matching_pursuit(row, dictionary, k, non_negative):
    """Dense code, and the picks, of the definition of matching pursuit."""
    code, residual, picks = np.zeros(len(dictionary)), row.copy(), []
    for _ in range(k):
        correlations = dictionary @ residual
        pick = np.argmax(correlations if non_negative else np.abs(correlations))
        if non_negative and correlations[pick] <= 0:
            break
        code[pick] += correlations[pick]
        residual = residual - correlations[pick] * dictionary[pick]
        picks.append(pick)
    return code, picks


def plain_orthogonal(row, dictionary, k):
    """Dense code of the definition, by SciPy's solver, and how many atoms left."""
    code, n_left = np.zeros(len(dictionary)), 0
    for _ in range(4 * k):
        correlations = dictionary @ (row - code @ dictionary)
        correlations[code > 0] = 0
        if (code > 0).sum() == k or correlations.max() <= 1e-12:
            break
        support = np.append(np.flatnonzero(code), np.argmax(correlations))
        code[:] = 0
        code[support] = nnls(dictionary[support].T, row)[0]
        n_left += (code[support] == 0).sum()
    return code, n_left


def dense_in_float64(codes, n_latents):
    values, indices = codes
    return to_dense(values.double(), indices, n_latents).numpy()


def check_form(codes, n_rows, n_latents, k):
    """Whatever the input: the shape, and distinct latents in every row."""
    values, indices = codes
    assert values.shape == indices.shape == (n_rows, min(k, n_latents))
    assert values.isfinite().all()
    assert ((indices >= 0) & (indices < n_latents)).all()
    assert all(len(set(row)) == len(row) for row in indices.tolist())


def check_optimal(rows, dictionary, codes, k, tolerance):
    """KKT of each support, and `k` active unless nothing correlated is left."""
    code, rows, atoms = (
        dense_in_float64(codes, len(dictionary)),
        rows.double().numpy(),
        dictionary.double().numpy(),
    )
    correlations = (rows - code @ atoms) @ atoms.T
    assert (code >= 0).all()
    assert np.abs(correlations[code > 0]).max(initial=0) <= tolerance
    short = (code > 0).sum(1) < min(k, len(atoms))
    assert correlations[short].max(initial=0) <= tolerance


@settings(deadline=None)
@given(shapes, seeds, st.booleans())
def test_matching_pursuit_equals_its_definition(shape, seed, non_negative):
    n_rows, _, n_latents, k = shape
    rows, dictionary = make_rows(shape, seed)
    codes = matching_pursuit(rows, dictionary, gram(dictionary), k, non_negative)
    check_form(codes, n_rows, n_latents, k)
    expected = [
        plain_matching_pursuit(row, dictionary.numpy(), k, non_negative)
        for row in rows.numpy()
    ]
    if rows.shape[1] == 1 or n_latents == 1:
        # all atoms are the same up to sign: any of them may be picked
        same = [code @ dictionary.numpy() for code, _ in expected]
        actual = dense_in_float64(codes, n_latents) @ dictionary.numpy()
    else:
        same = [code for code, _ in expected]
        actual = dense_in_float64(codes, n_latents)
    np.testing.assert_allclose(actual, same, atol=1e-12)


@pytest.mark.parametrize("non_negative", [False, True])
def test_matching_pursuit_of_float32(non_negative):
    """Blocks of rows, strided groups and repeated picks, at a usual coherence."""
    shape = 600, 64, 2048, 20
    rows, dictionary = make_rows(shape, dtype=torch.float32)
    codes = matching_pursuit(rows, dictionary, gram(dictionary), 20, non_negative)
    assert codes[0].dtype == torch.float32
    atoms = dictionary.double().numpy()
    plain = [
        plain_matching_pursuit(row, atoms, 20, non_negative)
        for row in rows.double().numpy()
    ]
    assert any(len(set(picks)) < len(picks) for _, picks in plain)
    difference = dense_in_float64(codes, 2048) - [code for code, _ in plain]
    wrong = np.abs(difference).max(1) > 1e-6
    # two correlations within rounding of each other may be picked in either order
    assert wrong.sum() <= 1


def test_non_negative_pursuit_stops_where_nothing_correlates():
    dictionary = torch.eye(8, dtype=torch.float64)[:4]
    rows = torch.tensor([[3.0, -1, 2, 0, 5, 0, 0, 0], [-1.0, 0, 0, 0, 0, 0, 0, 0]])
    for method in (matching_pursuit, orthogonal_matching_pursuit):
        arguments = (True,) if method is matching_pursuit else ()
        rows = rows.double()
        codes = method(rows, dictionary, gram(dictionary), 4, *arguments)
        check_form(codes, 2, 4, 4)
        expected = [[3.0, 0, 2, 0], [0.0, 0, 0, 0]]
        np.testing.assert_allclose(dense_in_float64(codes, 4), expected)


def decided_rows(rows, dictionary, k, non_negative):
    """Rows of which no pick is a matter of rounding, where the gradient would jump."""
    residual, length = rows.clone(), rows.norm(dim=1)
    decided = torch.ones(len(rows), dtype=torch.bool)
    for _ in range(k):
        correlations = residual @ dictionary.T
        strength = correlations if non_negative else correlations.abs()
        best, pick = strength.max(1)
        second = strength.scatter(1, pick[:, None], -torch.inf).max(1).values
        error = 1e-12 * length
        sure = (best > error) & (best - second > error)
        decided &= sure | (best <= 1e-14 * length)
        picked = correlations.gather(1, pick[:, None]) * sure[:, None]
        residual = residual - picked * dictionary[pick]
    return decided


@settings(deadline=None, max_examples=30)
@example((3, 2, 11, 12), 11, False)  # the second row is down to rounding at step 10
@given(shapes, seeds, st.booleans())
def test_gradient_is_that_of_the_unrolled_steps(shape, seed, non_negative):
    n_rows, _, n_latents, k = shape
    rows, dictionary = make_rows(shape, seed)
    # not quite unit: the gradient holds for any dictionary
    dictionary = dictionary * 1.01
    decided = decided_rows(rows, dictionary, k, non_negative)
    leaves = [x.requires_grad_() for x in (rows, dictionary)]
    values, indices = pursue(rows, dictionary, gram(dictionary), k, non_negative)
    check_form((values.detach(), indices), n_rows, n_latents, k)
    code = to_dense(values, indices, n_latents)
    weights = torch.linspace(-1, 1, code.numel(), dtype=code.dtype).view_as(code)
    weights = weights * decided[:, None]
    actual = torch.autograd.grad((weights * code.square()).sum(), leaves)

    code = torch.zeros_like(code)
    residual = rows
    rounding = 1e-14 * rows.detach().norm(dim=1)
    for _ in range(k):
        correlations = residual @ dictionary.T
        strength = correlations if non_negative else correlations.abs()
        best, pick = strength.detach().max(1)
        pick = pick[:, None]
        picked = correlations.gather(1, pick) * (best > rounding)[:, None]
        code = code.scatter_add(1, pick, picked)
        residual = residual - picked * dictionary[pick.squeeze(1)]
    if rows.shape[1] > 1:
        torch.testing.assert_close(to_dense(values, indices, n_latents), code)
        expected = torch.autograd.grad((weights * code.square()).sum(), leaves)
        for one, other in zip(actual, expected, strict=True):
            assert (one - other).norm() <= 1e-6 * other.norm().clamp_min(1e-6)


@pytest.mark.parametrize("non_negative", [False, True])
def test_gradient_equals_finite_differences(non_negative):
    # 9 steps on 7 atoms: some are picked again
    rows, dictionary = make_rows((4, 5, 7, 9))

    def values_of(rows, dictionary):
        products = gram(dictionary.detach())
        return pursue(rows, dictionary, products, 9, non_negative)[0]

    values = values_of(rows, dictionary)
    assert (values == 0).any()
    leaves = [x.requires_grad_() for x in (rows, dictionary)]
    torch.autograd.gradcheck(values_of, leaves)


@pytest.mark.parametrize("features_per_atom", [0, 8])
def test_nothing_depends_on_blocks_and_panels(monkeypatch, features_per_atom):
    rows, dictionary = make_rows((50, 8, 32, 6), mean=0.5)
    products = gram(dictionary)
    leaves = [x.clone().requires_grad_() for x in (rows, dictionary)]
    found = []
    for small in (False, True):
        if small:
            monkeypatch.setattr(_pursuit, "_BLOCK_ENTRIES", 7 * 32)
            monkeypatch.setattr(_pursuit, "_BLOCK_ENTRIES_OF_OMP", 9 * 32)
            monkeypatch.setattr(_pursuit, "_ROWS_WORTH_PANELS", 1)
            monkeypatch.setattr(_pursuit, "_FEATURES_PER_ATOM", features_per_atom)
        values, _ = pursue(*leaves, products, 6)
        grads = torch.autograd.grad(values.square().sum(), leaves)
        codes = orthogonal_matching_pursuit(rows, dictionary, products, 6)
        found.append([values, *grads, to_dense(*codes, 32)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_float32_gradient_is_accurate():
    rows, dictionary = make_rows((64, 32, 256, 16))
    grads = []
    for dtype in (torch.float64, torch.float32):
        leaves = [x.to(dtype).requires_grad_() for x in (rows, dictionary)]
        values, _ = pursue(*leaves, gram(leaves[1].detach()), 16)
        grads.append(torch.autograd.grad(values.square().sum(), leaves))
    for one, other in zip(*grads, strict=True):
        assert (one - other).norm() <= 1e-5 * one.norm()


@settings(deadline=None)
@given(shapes, seeds, st.sampled_from([0.0, 1.0]))
def test_orthogonal_pursuit_equals_its_definition(shape, seed, mean):
    n_rows, n_features, n_latents, k = shape
    rows, dictionary = make_rows(shape, seed, mean=mean)
    codes = orthogonal_matching_pursuit(rows, dictionary, gram(dictionary), k)
    check_form(codes, n_rows, n_latents, k)
    check_optimal(rows, dictionary, codes, k, 1e-10)
    # with as many atoms as features the last picks are made on a residual of rounding
    if n_features > k:
        atoms = dictionary.numpy()
        expected = [plain_orthogonal(row, atoms, k)[0] for row in rows.numpy()]
        actual = dense_in_float64(codes, n_latents)
        np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_atoms_leave_the_support_in_float32():
    """Blocks of rows and close atoms, many of which leave again."""
    rows, dictionary = make_rows((300, 32, 1024, 16), dtype=torch.float32, mean=1.0)
    codes = orthogonal_matching_pursuit(rows, dictionary, gram(dictionary), 16)
    assert codes[0].dtype == torch.float32
    check_form(codes, 300, 1024, 16)
    check_optimal(rows, dictionary, codes, 16, 1e-5)
    atoms = dictionary.double().numpy()
    plain, left = zip(
        *(plain_orthogonal(r, atoms, 16) for r in rows.double().numpy()), strict=True
    )
    assert sum(left) > 100
    wrong = np.abs(dense_in_float64(codes, 1024) - plain).max(1) > 1e-4
    # two correlations within rounding of each other may be picked in either order
    assert wrong.sum() <= 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", DEGENERATE)
def test_degenerate_input(kind, dtype):
    rows, dictionary = make_degenerate(kind, dtype)
    products, atoms = gram(dictionary), dictionary.double().numpy()
    tolerance = 1e-5 if dtype == torch.float32 else 1e-9
    codes = orthogonal_matching_pursuit(rows, dictionary, products, 12)
    check_form(codes, 32, 60, 12)
    check_optimal(rows, dictionary, codes, 12, tolerance)
    for non_negative in (False, True):
        code = matching_pursuit(rows, dictionary, products, 12, non_negative)
        check_form(code, 32, 60, 12)
        # equal atoms are picked in any order: the errors that are left are the same
        error, expected = (
            np.linalg.norm(
                rows.double().numpy() - Z @ dictionary.double().numpy(), axis=1
            )
            for Z in (
                dense_in_float64(code, 60),
                [
                    plain_matching_pursuit(row, atoms, 12, non_negative)[0]
                    for row in rows.double().numpy()
                ],
            )
        )
        np.testing.assert_allclose(error, expected, atol=1e-4)
    if kind == "zero_atoms":
        assert not dense_in_float64(codes, 60)[:, ::3].any()
