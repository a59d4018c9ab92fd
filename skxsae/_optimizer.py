"""AdamW on the parameters of autoencoders, whose decoders keep unit rows."""

import torch
from torch.optim.adamw import adamw

from skxsae._functional import kernels_for

_BETAS = 0.9, 0.999
_EPSILON = 1e-8
_WEIGHT_DECAY = 1e-5
_CLIP_NORM = 1.0


class AdamW:
    """Fused AdamW with clipping at norm 1: the kernel scales the gradients as it goes.

    `decoders` are groups of parameters: the rows of a group, side by side, have unit
    norm after each step.
    """

    def __init__(
        self, parameters: list[torch.Tensor], decoders: list[list[torch.Tensor]]
    ):
        self.parameters, self.decoders = parameters, decoders
        self.means = [torch.zeros_like(tensor) for tensor in parameters]
        self.squares = [torch.zeros_like(tensor) for tensor in parameters]
        device = parameters[0].device
        self.steps = [torch.zeros((), device=device) for _ in parameters]

    @torch.no_grad()
    def step(
        self, gradients: list[torch.Tensor | None], rate: float | torch.Tensor
    ) -> None:
        """One step; gradients are divided by their joint norm if that exceeds 1.

        A parameter without a gradient stays as it is.
        """
        used = [i for i, gradient in enumerate(gradients) if gradient is not None]
        # the fused kernel takes any gradient for a contiguous one
        present = [
            gradient.contiguous() for gradient in gradients if gradient is not None
        ]
        norms = torch.stack([gradient.norm() for gradient in present])
        divisor = (norms.norm() / _CLIP_NORM).clamp_min(1.0).float()
        tensors = (
            [self.parameters[i].detach() for i in used],
            present,
            [self.means[i] for i in used],
            [self.squares[i] for i in used],
            [self.steps[i] for i in used],
        )
        groups = self.decoders
        if kernels := kernels_for(divisor):
            alone = [group[0] for group in groups if len(group) == 1]
            for i, parameter, gradient, mean, square, step in zip(
                used, *tensors, strict=True
            ):
                step.add_(1)
                kernels.adamw_rows(
                    parameter,
                    gradient,
                    mean,
                    square,
                    step=step,
                    rate=rate,
                    scale=1 / divisor,
                    betas=_BETAS,
                    eps=_EPSILON,
                    weight_decay=_WEIGHT_DECAY,
                    unit_rows=any(self.parameters[i] is rows for rows in alone),
                )
            groups = [group for group in groups if len(group) > 1]
        else:
            _update(*tensors, rate, divisor)
        for group in groups:
            normalise_rows(group)


def _update(parameters, gradients, means, squares, steps, rate, divisor) -> None:
    """Update all parameters by torch's fused kernel, which divides the gradients."""
    adamw(
        parameters,
        gradients,
        means,
        squares,
        [],
        steps,
        fused=True,
        grad_scale=divisor,
        found_inf=None,
        amsgrad=False,
        beta1=_BETAS[0],
        beta2=_BETAS[1],
        lr=rate,
        weight_decay=_WEIGHT_DECAY,
        eps=_EPSILON,
        maximize=False,
    )


def normalise_rows(group: list[torch.Tensor]) -> None:
    """Scale the rows of tensors, side by side, to unit norm; a zero row stays zero."""
    tiny = torch.finfo(group[0].dtype).tiny
    norms = [torch.linalg.vector_norm(rows, dim=1) for rows in group]
    norm = norms[0] if len(norms) == 1 else torch.stack(norms).norm(dim=0)
    for rows in group:
        rows.div_(norm.clamp_min(tiny)[:, None])
