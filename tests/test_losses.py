"""Losses and alignment terms against dense float64 formulas, and their gradients."""

import numpy as np
import pytest
import torch

from skxsae._functional import to_dense
from skxsae._losses import (
    ALIGNMENTS,
    LOSSES,
    PUBLISHED_WEIGHTS,
    Batch,
    dense_alignment,
    total_variance,
)
from skxsae._picking import largest


def cosine(a, b):
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return a @ b / norms if norms else 0.0


def iso_energy(zx, zy):
    return -np.mean([cosine(a, b) for a, b in zip(zx, zy, strict=True)])


def iso_energy_masked(zx, zy):
    zx, zy = zx.copy(), zy.copy()
    for row in range(len(zx)):
        tops = [np.abs(zx[row]).argmax(), np.abs(zy[row]).argmax()]
        zx[row, tops] = zy[row, tops] = 0
    return iso_energy(zx, zy)


def inner_product(zx, zy):
    return -np.mean([a @ b for a, b in zip(zx, zy, strict=True)])


def group_sparse(zx, zy):
    return np.sqrt(zx**2 + zy**2).sum() / len(zx)


REFERENCE = {
    f.__name__: f for f in (iso_energy, iso_energy_masked, inner_product, group_sparse)
}


def make_pair(n_rows=12, n_latents=10, k=4, seed=0, signed=False):
    rng = np.random.default_rng(seed)
    codes = []
    for _ in range(2):
        pre = torch.from_numpy(rng.normal(size=(n_rows, n_latents)) - 0.3)
        values, indices = largest(pre, k)
        codes.append((values if signed else values.relu(), indices))
    return codes


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", ALIGNMENTS)
def test_alignment_equals_its_dense_form(name, signed):
    x, y = make_pair(k=7 if signed else 4, signed=signed)
    if signed:
        assert (x[0] < 0).any()
    x[0][3] = 0  # a row without any active latent
    zx, zy = (to_dense(*codes, 10).numpy() for codes in (x, y))
    assert (zx == 0).sum() > zx.size / 4
    np.testing.assert_allclose(ALIGNMENTS[name](x, y), REFERENCE[name](zx, zy))


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_alignment_gradient_on_active_latents(name):
    x, y = make_pair()
    values = [codes[0].clone().requires_grad_() for codes in (x, y)]
    ALIGNMENTS[name]((values[0], x[1]), (values[1], y[1])).backward()
    for view, (active, indices) in enumerate((x, y)):
        for row, slot in np.argwhere(active.numpy() > 0)[::3]:
            shifted = []
            for step in (1e-6, -1e-6):
                codes = [to_dense(*c, 10).numpy() for c in (x, y)]
                codes[view][row, indices[row, slot]] += step
                shifted.append(REFERENCE[name](*codes))
            expected = (shifted[0] - shifted[1]) / 2e-6
            assert values[view].grad[row, slot] == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_alignment_of_empty_codes_has_a_zero_gradient(name):
    indices = torch.arange(3).repeat(4, 1)
    values = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    ALIGNMENTS[name]((values, indices), (values, indices)).backward()
    assert not values.grad.any()


def test_dense_alignment_passes_dense_codes():
    x, y = make_pair()
    term = dense_alignment(lambda zx, zy: (zx * zy).sum(), 10)
    zx, zy = (to_dense(*codes, 10) for codes in (x, y))
    torch.testing.assert_close(term(x, y), (zx * zy).sum())


def test_an_alignment_that_is_no_number_is_refused():
    x, y = make_pair()
    term = dense_alignment(lambda zx, zy: zx * zy, 10)
    with pytest.raises(ValueError, match=r"tensor of shape \(12, 10\)"):
        term(x, y)


def test_all_alignments_but_the_theoretical_one_have_a_published_weight():
    assert set(ALIGNMENTS) - set(PUBLISHED_WEIGHTS) == {"inner_product"}


def test_losses():
    rows = torch.randn(7, 5, dtype=torch.float64)
    residual = torch.randn(7, 5, dtype=torch.float64)
    x, r = rows.numpy(), residual.numpy()
    expected = {
        "fvu": (r**2).sum() / ((x - x.mean(0)) ** 2).sum(),
        "mse_sum": (r**2).sum(1).mean(),
        "mse_mean": (r**2).mean(),
    }
    batch = Batch([rows + 1, rows])
    actual = {name: float(loss(residual, batch, 1)) for name, loss in LOSSES.items()}
    assert actual == pytest.approx(expected)


def test_constant_rows_have_a_finite_loss():
    rows = torch.full((4, 3), 0.1)
    assert total_variance(rows) > 0
    assert torch.isfinite(LOSSES["fvu"](rows, Batch([rows]), 0))
    assert torch.isfinite(LOSSES["fvu"](0 * rows, Batch([0 * rows]), 0))
