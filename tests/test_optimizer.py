"""The optimiser against torch's, with clipping and unit rows as separate steps."""

import pytest
import torch

from skxsae._functional import unit_rows
from skxsae._optimizer import AdamW


def make_parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    return [unit_rows(normal(6, 5)), normal(6, 5), normal(6)]


@pytest.mark.parametrize("size", [1e-2, 10.0])  # below and above the norm that clips
def test_steps_equal_those_of_torch(size):
    ours, theirs = make_parameters(), make_parameters()
    optimizer = AdamW(ours, [[ours[0]]])
    for tensor in theirs:
        tensor.requires_grad_()
    reference = torch.optim.AdamW(theirs, weight_decay=1e-5)
    for step in range(6):
        gradients = [size * rows for rows in make_parameters(seed=step + 1)]
        rate = 1e-2 / (step + 1)
        optimizer.step([rows.clone() for rows in gradients], rate)
        for group in reference.param_groups:
            group["lr"] = rate
        for tensor, gradient in zip(theirs, gradients, strict=True):
            tensor.grad = gradient.clone()
        torch.nn.utils.clip_grad_norm_(theirs, 1.0)
        reference.step()
        with torch.no_grad():
            theirs[0].copy_(unit_rows(theirs[0]))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-6, atol=1e-9)


def test_gradients_that_are_not_contiguous():
    steps = []
    for layout in (lambda rows: rows, lambda rows: rows.T.contiguous().T):
        parameters = make_parameters()
        gradients = [layout(rows) if rows.ndim == 2 else rows for rows in parameters]
        optimizer = AdamW(parameters, [])
        optimizer.step(
            [
                rows.detach().clone(memory_format=torch.preserve_format)
                for rows in gradients
            ],
            0.1,
        )
        steps.append(parameters)
    for one, other in zip(*steps, strict=True):
        torch.testing.assert_close(one, other)


def test_a_parameter_without_a_gradient_stays_as_it_is():
    parameters = make_parameters()
    before = [rows.clone() for rows in parameters]
    optimizer = AdamW(parameters, [[parameters[0]]])
    optimizer.step([torch.ones(6, 5, dtype=torch.float64), None, None], 0.1)
    assert not torch.equal(parameters[0], before[0])
    assert torch.equal(parameters[1], before[1])
    assert optimizer.steps[1] == 0


def test_rows_that_have_unit_norm_together():
    parameters = make_parameters()[:2]
    optimizer = AdamW(parameters, [parameters])
    optimizer.step([torch.ones_like(rows) for rows in parameters], 0.1)
    norms = torch.cat(parameters, dim=1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))
