"""The Triton kernels against plain float64 NumPy.

Triton decides at its import whether it compiles or interprets, and torch's optimisers
import it too. So the interpreter gets a process of its own, which runs this file on CPU
tensors; the process of the test session compiles, and runs it where there is a GPU.
"""

import importlib.util
import os
import subprocess
import sys
from importlib.metadata import version
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

import skxsae

IMPORTS_TRITON = "triton" in sys.modules

from skxsae import _kernels  # noqa: E402
from skxsae._functional import group_by_latent, unit_rows  # noqa: E402

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

HAS_TRITON = importlib.util.find_spec("triton") is not None
TRITON = version("triton").split(".") if HAS_TRITON else []

needs_triton = pytest.mark.skipif(not HAS_TRITON, reason="triton is not installed")
not_interpreted = pytest.mark.skipif(INTERPRETED, reason="this is the interpreter")
# for the tests that run the kernels
kernels = [needs_triton] if INTERPRETED else [needs_triton, pytest.mark.gpu]

TOLERANCE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: {"rtol": 1e-5, "atol": 1e-5},
}
SHAPES = [  # batch, d, m, k
    (1, 1, 1, 1),
    (1, 3, 5, 5),
    (7, 1, 5, 1),
    (4, 33, 12, 12),
    (9, 8, 24, 2),
    (3, 600, 20, 9),
    (2, 2, 70, 70),
]
small_shapes = st.tuples(
    st.integers(1, 9), st.integers(1, 5), st.integers(1, 20), st.integers(1, 6)
)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def make_codes(shape, dtype=torch.float64, seed=0):
    """Rows, directions, values (a third of them 0) and distinct indices."""
    n_rows, n_features, n_latents, k = shape
    k = min(k, n_latents)
    rng = np.random.default_rng(seed)
    indices = np.array([rng.permutation(n_latents)[:k] for _ in range(n_rows)])
    values = rng.normal(size=(n_rows, k)) * (rng.random((n_rows, k)) > 1 / 3)
    rows = rng.normal(size=(n_rows, n_features))
    directions = rng.normal(size=(n_latents, n_features))
    floats = (torch.tensor(x, dtype=dtype) for x in (rows, directions, values))
    return *(x.to(DEVICE) for x in floats), torch.tensor(indices, device=DEVICE)


def as_numpy(tensor):
    return tensor.detach().cpu().double().numpy()


def as_dense(values, indices, n_latents):
    dense = np.zeros((len(values), n_latents))
    np.put_along_axis(dense, indices.cpu().numpy(), as_numpy(values), axis=1)
    return dense


def check(actual, expected, dtype):
    assert actual.dtype == dtype
    np.testing.assert_allclose(as_numpy(actual), expected, **TOLERANCE[dtype])


def check_products(shape, dtype):
    rows, directions, values, indices = make_codes(shape, dtype)
    dense = as_dense(values, indices, len(directions))
    check(
        _kernels.weighted_sum(values, indices, directions),
        dense @ as_numpy(directions),
        dtype,
    )
    dots = as_numpy(rows) @ as_numpy(directions).T
    check(
        _kernels.selected_dots(rows, directions, indices),
        np.take_along_axis(dots, indices.cpu().numpy(), axis=1),
        dtype,
    )


def check_sums(rows, values, indices, n_latents, dtype):
    grouping = group_by_latent(indices, n_latents)
    dense = as_dense(values, indices, n_latents)
    sums = dense.T @ as_numpy(rows)
    check(_kernels.sum_by_latent(values, rows, grouping), sums, dtype)
    check(_kernels.total_by_latent(values, grouping), dense.sum(0), dtype)
    other = values.square() + 1  # not 0 where the value is
    both = _kernels.sum_and_total_by_latent(values, rows, other, grouping)
    check(both[0], sums, dtype)
    check(both[1], as_dense(other, indices, n_latents).sum(0), dtype)


class TestProducts:
    pytestmark = kernels

    @dtypes
    @pytest.mark.parametrize("shape", SHAPES)
    def test_shapes(self, shape, dtype):
        check_products(shape, dtype)

    @settings(deadline=None, max_examples=25)
    @given(small_shapes)
    def test_any_shape(self, shape):
        check_products(shape, torch.float64)

    def test_an_empty_slot_reads_no_direction(self):
        _, directions, values, indices = make_codes((6, 4, 9, 3))
        values[:, 1] = 0
        masked = values.clone(), indices.clone(), directions.clone()
        masked[1][:, 1] = 8
        masked[2][8] = torch.nan
        masked[0][masked[1] == 8] = 0
        values[indices == 8] = 0
        expected = _kernels.weighted_sum(values, indices, directions)
        assert torch.equal(_kernels.weighted_sum(*masked), expected)

    def test_inputs_that_are_not_contiguous(self):
        rows, directions, values, indices = make_codes((6, 4, 9, 3))
        dots = _kernels.selected_dots(rows, directions, indices)
        wide = (x.repeat_interleave(2, 1)[:, ::2] for x in (rows, directions, indices))
        assert torch.equal(_kernels.selected_dots(*wide), dots)
        ones = torch.ones((), dtype=values.dtype, device=DEVICE).expand_as(values)
        expected = _kernels.weighted_sum(ones.clone(), indices, directions)
        assert torch.equal(_kernels.weighted_sum(ones, indices, directions), expected)


class TestSums:
    pytestmark = kernels

    @dtypes
    @pytest.mark.parametrize("shape", SHAPES[:-1])
    def test_shapes(self, shape, dtype):
        rows, directions, values, indices = make_codes(shape, dtype)
        check_sums(rows, values, indices, len(directions), dtype)

    @settings(deadline=None, max_examples=12)
    @given(small_shapes, st.integers(1, 6))
    def test_any_window(self, shape, window):
        rows, directions, values, indices = make_codes(shape)
        with patch.object(_kernels, "_WINDOW", window):
            check_sums(rows, values, indices, len(directions), torch.float64)

    @dtypes
    @pytest.mark.parametrize("everywhere", [0, 3, 6])
    def test_a_latent_in_every_row(self, dtype, everywhere):
        """It spans many windows; of the others, two never fire."""
        rows, _, values, indices = make_codes((300, 3, 4, 2), dtype)
        indices = torch.tensor([1, 2, 4, 5], device=DEVICE)[indices]
        indices[:, 0] = everywhere
        check_sums(rows, values, indices, 7, dtype)

    def test_the_order_is_fixed(self):
        rows, directions, values, indices = make_codes((300, 5, 4, 2), torch.float32)
        grouping = group_by_latent(indices, len(directions))
        first, second = (
            _kernels.sum_and_total_by_latent(values, rows, values, grouping)
            for _ in range(2)
        )
        assert all(map(torch.equal, first, second))


def adamw_reference(p, g, m, v, step, rate, weight_decay):
    m = 0.9 * m + 0.1 * g
    v = 0.999 * v + 0.001 * g**2
    m_hat, v_hat = (x / -np.expm1(step * np.log(b)) for x, b in ((m, 0.9), (v, 0.999)))
    p = p - rate * (weight_decay * p + m_hat / (np.sqrt(v_hat) + 1e-8))
    return p, m, v


class TestAdamW:
    pytestmark = kernels
    tolerance = {
        torch.float64: {"rtol": 1e-12, "atol": 1e-12},
        torch.float32: {"rtol": 1e-6, "atol": 1e-6},
    }

    @dtypes
    @pytest.mark.parametrize(
        ("shape", "renormalise"),
        [
            ((5, 3), False),
            ((5, 3), True),
            ((1, 1), True),
            ((3, 700), False),
            ((3, 700), True),
            ((11,), False),
        ],
    )
    def test_six_steps_of_torch(self, shape, renormalise, dtype):
        """Clipped, with weight decay; the judge works in float64 throughout."""
        rng = np.random.default_rng(0)
        start = torch.tensor(rng.normal(size=shape))
        start[0] = 0
        judge = start.clone().requires_grad_()
        optimizer = torch.optim.AdamW([judge], lr=0.02, weight_decay=0.3, foreach=False)
        parameter = start.to(DEVICE, dtype)
        mean, square = torch.zeros_like(parameter), torch.zeros_like(parameter)
        for step in range(1, 7):
            gradient = torch.tensor(rng.normal(size=shape))
            gradient[0] = 0
            judge.grad = gradient.clone()
            norm = torch.nn.utils.clip_grad_norm_([judge], 0.5)
            optimizer.step()
            if renormalise:
                judge.data.copy_(unit_rows(judge.data))
            step, rate, scale = (
                torch.tensor(x, dtype=dtype, device=DEVICE)
                for x in (step, 0.02, min(1.0, 0.5 / (float(norm) + 1e-6)))
            )
            _kernels.adamw_rows(
                parameter,
                gradient.to(DEVICE, dtype),
                mean,
                square,
                step=step,
                rate=rate,
                scale=scale,
                weight_decay=0.3,
                unit_rows=renormalise,
            )
        state = optimizer.state[judge]
        for actual, expected in (
            (parameter, judge),
            (mean, state["exp_avg"]),
            (square, state["exp_avg_sq"]),
        ):
            np.testing.assert_allclose(
                as_numpy(actual), as_numpy(expected), **self.tolerance[dtype]
            )

    @dtypes
    @pytest.mark.parametrize("step", [1, 2, 4, 5, 499, 500, 501, 7000, 10**6])
    def test_bias_correction_at_any_step(self, step, dtype):
        rng = np.random.default_rng(step)
        arrays = [*rng.normal(size=(3, 4, 6)), rng.random((4, 6))]
        p, g, m, v = (torch.tensor(x, dtype=dtype, device=DEVICE) for x in arrays)
        expected = adamw_reference(*map(as_numpy, (p, g, m, v)), step, 0.25, 0.01)
        one = torch.ones((), dtype=dtype, device=DEVICE)
        count = torch.tensor(step, device=DEVICE)
        _kernels.adamw_rows(p, g, m, v, step=count, rate=0.25 * one, scale=one)
        for actual, wanted in zip((p, m, v), expected, strict=True):
            np.testing.assert_allclose(
                as_numpy(actual), wanted, **self.tolerance[dtype]
            )

    def test_a_view_that_is_not_contiguous(self):
        p = torch.zeros((3, 4), device=DEVICE).T
        one = torch.ones((), device=DEVICE)
        with pytest.raises(ValueError, match="contiguous"):
            _kernels.adamw_rows(p, p, p, p, step=one, rate=one, scale=one)


def check_largest(pre, k):
    """Exactly k distinct columns that hold the k largest values."""
    before = pre.clone()
    values, indices = _kernels.largest(pre, k)
    assert torch.equal(pre, before)
    assert values.dtype == pre.dtype
    assert indices.dtype == torch.long
    assert values.shape == indices.shape == (len(pre), k)
    assert torch.equal(values, pre.gather(1, indices))
    for row, chosen in zip(as_numpy(pre), indices.tolist(), strict=True):
        assert len(set(chosen)) == k
        np.testing.assert_array_equal(np.sort(row[chosen]), np.sort(row)[-k:])


class TestLargest:
    pytestmark = kernels
    numbers = st.one_of(
        st.sampled_from([-np.inf, -2.5, -1.0, -0.0, 0.0, 1.0, 1.5]),
        st.floats(width=16, allow_nan=False),
    )

    @pytest.mark.parametrize(
        "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16]
    )
    @pytest.mark.parametrize(
        ("shape", "k"),
        [((1, 1), 1), ((3, 5), 2), ((2, 100), 100), ((4, 129), 7), ((1, 1000), 1)],
    )
    def test_shapes(self, shape, k, dtype):
        rng = np.random.default_rng(0)
        pre = torch.tensor(rng.normal(size=shape), device=DEVICE).to(dtype)
        check_largest(pre, k)
        check_largest(-pre.abs(), k)

    @settings(deadline=None, max_examples=60)
    @given(
        st.lists(numbers, min_size=1, max_size=40),
        st.integers(1, 40),
        st.sampled_from([4, 8, 16, 64]),
        st.sampled_from([torch.float32, torch.float64, torch.float16]),
    )
    @example([-1.0] * 17, 2, 4, torch.float32)  # the last part is too short
    def test_any_row(self, row, k, block, dtype):
        """Ties, zeros of either sign, infinities; rows in one part or in several."""
        pre = torch.tensor([row, row[::-1]], dtype=dtype, device=DEVICE)
        with patch.object(_kernels, "_ROW_BLOCK", block):
            check_largest(pre, min(k, len(row)))

    def test_a_row_that_is_all_masked(self):
        pre = torch.full((2, 37), -torch.inf, device=DEVICE)
        pre[1, [3, 30]] = torch.tensor([-1.0, 2.0], device=DEVICE)
        check_largest(pre, 5)

    @pytest.mark.parametrize("bits", [0x7FC00000, -0x400000, -1])
    def test_nan_ends_and_stays_in_bounds(self, bits):
        nan = torch.tensor([bits], dtype=torch.int32, device=DEVICE)
        pre = nan.view(torch.float32).expand(2, 21).clone()
        pre[1, ::2] = 1.0
        with patch.object(_kernels, "_ROW_BLOCK", 8):
            _, indices = _kernels.largest(pre, 3)
        assert all(len(set(row)) == 3 for row in indices.tolist())
        assert 0 <= int(indices.min()) <= int(indices.max()) < 21

    def test_wide_rows(self):
        rng = np.random.default_rng(0)
        pre = torch.tensor(
            rng.normal(size=(1, 65_536)), dtype=torch.float32, device=DEVICE
        )
        check_largest(pre, 32)


@needs_triton
@pytest.mark.gpu
@not_interpreted
def test_a_graph_captures_the_kernels():
    """Recorded on one batch, replayed on another."""

    def run(rows, directions, values, grouping, indices, moments, numbers):
        parameter, mean, square = moments
        step, rate, scale = numbers
        selected = _kernels.largest(rows @ directions.T, 3)
        out = _kernels.weighted_sum(*selected, directions)
        dots = _kernels.selected_dots(rows, directions, indices)
        sums = _kernels.sum_and_total_by_latent(values, rows, values, grouping)
        _kernels.adamw_rows(
            parameter,
            sums[0],
            mean,
            square,
            step=step,
            rate=rate,
            scale=scale,
            unit_rows=True,
        )
        return *selected, out, dots, *sums

    def make_inputs(seed):
        rows, directions, values, indices = make_codes((300, 40, 50, 4), seed=seed)
        grouping = group_by_latent(indices, len(directions))
        moments = [directions.clone(), *torch.zeros((2, 50, 40)).to(directions)]
        numbers = [torch.tensor(x).to(directions) for x in (seed + 1, 0.1, 0.5)]
        return rows, directions, values, grouping, indices, moments, numbers

    def flatten(inputs):
        for item in inputs:
            yield from [item] if isinstance(item, torch.Tensor) else item

    fixed, other = make_inputs(0), make_inputs(1)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run(*fixed)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        recorded = run(*fixed)
    for target, source in zip(flatten(fixed), flatten(other), strict=True):
        target.copy_(source)
    graph.replay()
    expected = run(*other)
    assert all(map(torch.equal, recorded, expected))
    assert all(map(torch.equal, fixed[5], other[5]))


@needs_triton
@not_interpreted
def test_kernels_compile_without_a_gpu(monkeypatch, tmp_path):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    target = GPUTarget("cuda", 80, 32)
    types = {
        torch.float32: "*fp32",
        torch.float64: "*fp64",
        torch.bfloat16: "*bf16",
        torch.long: "*i64",
    }
    compiled = set()

    def compile_only(kernel, grid, *args, num_warps=4, **constants):
        named = dict(zip(kernel.arg_names, args, strict=False))
        # as at a launch, a number 1 is a constant
        constants |= {
            name: 1 for name, arg in named.items() if type(arg) is int and arg == 1
        }
        signature = {
            name: types[arg.dtype] if isinstance(arg, torch.Tensor) else "i32"
            for name, arg in named.items()
        } | dict.fromkeys(constants, "constexpr")
        source = ASTSource(kernel, signature, constants)
        options = {"num_warps": num_warps, "enable_fp_fusion": True}
        assert triton.compile(source, target=target, options=options).asm["cubin"]
        compiled.add(kernel.fn.__name__)

    monkeypatch.setattr(_kernels, "_launch", compile_only)
    monkeypatch.setattr(sys.modules[__name__], "DEVICE", "cpu")
    for dtype, shape in (
        (torch.float32, (4, 96, 80, 6)),
        (torch.float64, (4, 20, 80, 6)),
        (torch.float32, (1, 1, 1, 1)),
        (torch.bfloat16, (4, 96, 80, 6)),
    ):
        rows, directions, values, indices = make_codes(shape, dtype)
        grouping = group_by_latent(indices, len(directions))
        number = torch.ones((), dtype=torch.float32)
        _kernels.weighted_sum(values, indices, directions)
        _kernels.selected_dots(rows, directions, indices)
        _kernels.sum_and_total_by_latent(values, rows, values, grouping)
        for unit in (False, True):
            _kernels.adamw_rows(
                *(directions.clone() for _ in range(4)),
                step=number,
                rate=number,
                scale=number,
                unit_rows=unit,
            )
        _kernels.largest(rows @ directions.T, indices.shape[1])
    assert len(compiled) == 6


@needs_triton
@not_interpreted
@pytest.mark.skipif(
    [*map(int, TRITON[:2])] < [3, 9], reason="older interpreters fail with NumPy 2.4"
)
def test_the_interpreter_agrees():
    """This file once more, in a process where Triton interprets."""
    environment = {
        name: value for name, value in os.environ.items() if name[:7] != "PYTEST_"
    }
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        env=environment | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.skipif(not INTERPRETED, reason="needs a fresh process")
def test_import_leaves_triton_alone():
    assert skxsae.__version__
    assert not IMPORTS_TRITON


def test_available(monkeypatch):
    assert _kernels.available(torch.zeros(1)) == INTERPRETED
    monkeypatch.setitem(sys.modules, "triton", None)
    spec = importlib.util.spec_from_file_location("_without", _kernels.__file__)
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    assert not without.available(torch.zeros(1))
