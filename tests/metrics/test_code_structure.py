import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae.metrics import _code_structure as module
from skxsae.metrics import (
    code_effective_rank,
    code_report,
    code_stable_rank,
    connectivity,
    mean_l0,
    mean_l1,
    negative_interference,
)

CODES = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 8), st.integers(1, 6)),
    elements=st.sampled_from([0.0, 0.0, 0.0, -1.5, 0.25, 2.0, 3.0]),
)


def unit_columns(codes):
    norms = np.linalg.norm(codes, axis=0)
    return codes / np.where(norms > 0, norms, 1.0)


def reference(codes, components):
    n_samples, n_latents = codes.shape
    fires = (codes != 0).astype(int)
    gram = unit_columns(codes).T @ unit_columns(codes)
    values = np.linalg.svd(gram, compute_uv=False)
    stable = effective = np.nan
    if codes.any():
        stable = np.sum(gram**2) / np.linalg.norm(gram, 2) ** 2
        shares = values[values > 1e-12] / values.sum()
        effective = np.exp(-np.sum(shares * np.log(shares)))
    lengths = np.linalg.norm(components, axis=1)
    unit = components / lengths[:, None]
    cancels = np.maximum(-gram * (unit @ unit.T), 0.0)
    return [
        sum(np.count_nonzero(row) for row in codes) / n_samples,
        sum(np.sum(np.abs(row)) for row in codes) / n_samples,
        sum(not column.any() for column in codes.T) / n_latents,
        1 - np.count_nonzero(fires.T @ fires) / n_latents**2,
        stable,
        effective,
        np.linalg.norm(cancels, 2),
    ]


def directions(n_latents, seed=0):
    return np.random.default_rng(seed).standard_normal((n_latents, 3))


@settings(deadline=None, max_examples=60)
@given(codes=CODES, batch=st.integers(1, 4), is_small=st.booleans())
def test_measures_match_their_definitions(codes, batch, is_small):
    components = directions(codes.shape[1])
    expected = reference(codes, components)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_LATENTS_PER_BATCH", batch)
        # Lanczos needs three dimensions
        patch.setattr(module, "_DENSE_SIZE", 100 if is_small else 2)
        for view in (codes, sparse.csr_array(codes), sparse.csc_matrix(codes)):
            report = code_report(view, components)
            assert_allclose(report.to_frame()["value"], expected, rtol=1e-7, atol=1e-9)
        single = [
            mean_l0(codes),
            mean_l1(codes),
            report.dead_share,
            connectivity(codes),
            code_stable_rank(codes),
            code_effective_rank(codes),
            negative_interference(codes, components),
        ]
    assert_allclose(single, expected, rtol=1e-7, atol=1e-9)


def random_codes(n_samples, n_latents, k, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    columns = np.stack([rng.permutation(n_latents)[:k] for _ in range(n_samples)])
    indptr = np.arange(n_samples + 1) * k
    values = rng.exponential(size=n_samples * k).astype(dtype)
    shape = n_samples, n_latents
    return sparse.csr_array((values, columns.ravel(), indptr), shape=shape)


@pytest.mark.parametrize(("n_samples", "n_latents"), [(700, 400), (200, 600)])
def test_sizes_that_take_lanczos_and_several_blocks(n_samples, n_latents):
    codes = random_codes(n_samples, n_latents, 5)
    components = directions(n_latents)
    report = code_report(codes, components)
    expected = reference(codes.toarray(), components)
    assert_allclose(report.to_frame()["value"], expected, rtol=1e-7)


@settings(deadline=None, max_examples=20)
@given(codes=CODES, seed=st.integers(0, 100))
def test_order_and_scale_of_latents_do_not_matter(codes, seed):
    rng = np.random.default_rng(seed)
    components = directions(codes.shape[1])
    before = code_report(codes, components)
    order = rng.permutation(codes.shape[1])
    factors = rng.uniform(0.1, 9.0, codes.shape[1])
    lengths = rng.uniform(0.1, 9.0, (codes.shape[1], 1))
    moved = code_report((codes * factors)[:, order], (components * lengths)[order])
    names = ["mean_l0", "dead_share", "connectivity", "stable_rank", "effective_rank"]
    names.append("negative_interference")
    for name in names:
        same = getattr(before, name)
        assert_allclose(getattr(moved, name), same, rtol=1e-7, atol=1e-9)


def test_products_that_cancel_are_firings_all_the_same():
    codes = np.array([[1.0, 1.0], [1.0, -1.0]])
    assert connectivity(codes) == 0.0
    assert code_report(codes).connectivity == 0.0


def test_float32_codes_are_summed_in_float64():
    codes = random_codes(300, 40, 4, dtype=np.float32)
    wide = codes.astype(np.float64)
    components = directions(40)
    assert_allclose(
        code_report(codes, components.astype(np.float32)).to_frame(),
        code_report(wide, components.astype(np.float32)).to_frame(),
        rtol=1e-12,
    )
    huge = sparse.csr_array(np.full((3, 2), 1e25, dtype=np.float32))
    assert_allclose(code_stable_rank(huge), 1.0)
    assert_allclose(mean_l1(huge), 2e25)


def test_stored_zeros_and_absent_directions_do_not_count():
    codes = sparse.csr_array(np.array([[1.0, 2.0, 3.0], [0.0, 1.0, 1.0]]))
    codes.data[1] = 0.0
    assert mean_l0(codes) == 2.0
    assert connectivity(codes) == connectivity(codes.toarray())
    components = np.array([[1.0, 0.0], [np.nan, np.nan], [-1.0, 0.0]])
    # of the three pairs only the first and the last have two directions
    unit = unit_columns(codes.toarray())
    expected = unit[:, 0] @ unit[:, 2]
    assert_allclose(negative_interference(codes, components), expected)


def test_codes_that_are_never_active():
    report = code_report(np.zeros((3, 4)), directions(4))
    expected = [0, 0, 1, 1, np.nan, np.nan, 0]
    assert_allclose(report.to_frame()["value"], expected)
    assert np.isnan(code_stable_rank(np.zeros((3, 4))))
    assert np.isnan(code_effective_rank(np.zeros((3, 4))))


def test_what_was_not_asked_for_is_nan():
    report = code_report(np.eye(3), effective_rank=False)
    assert np.isnan([report.effective_rank, report.negative_interference]).all()
    assert report.stable_rank == 3.0


@pytest.mark.parametrize("score", [negative_interference, code_report])
def test_directions_of_other_latents_are_refused(score):
    with pytest.raises(ValueError, match="components has 3 rows and codes has 2"):
        score(np.eye(2), np.eye(3))


def test_codes_are_not_changed():
    codes = random_codes(50, 20, 3)
    codes.data[::2] = 0.0
    data = codes.data.copy()
    code_report(codes, directions(20))
    np.testing.assert_array_equal(codes.data, data)
    assert codes.nnz == len(data)
