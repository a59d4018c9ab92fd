"""How the views of a batch share latents, by name.

Each function takes the centred rows of every view and their weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch

from skxsae._activations import Code, Encoding, Weights
from skxsae._functional import encode_selected, group_by_latent, residual
from skxsae._picking import Codes, Picker

Rows = list[torch.Tensor]
Encode = Callable[[torch.Tensor, Weights, Encoding], Code]


class Rebuilt(NamedTuple):
    """What an autoencoder was given, and what its reconstruction leaves."""

    rows: torch.Tensor
    residual: torch.Tensor
    weights: Weights


class Forward(NamedTuple):
    """What a step has computed before the loss."""

    codes: list[Codes | None]  # of each view, None if it did not encode
    residuals: list[tuple[int, torch.Tensor]]  # which view, and what enters the loss
    rebuilt: list[Rebuilt]  # from its own code; dead latents may improve it
    penalty: torch.Tensor | None = None


def _residual(rows: torch.Tensor, code: Code, weights: Weights) -> torch.Tensor:
    return residual(rows, code.values, code.indices, weights.decoder, code.grouping)


def shared(
    rows: Rows,
    weights: list[Weights],
    encode: Encode,
    how: Encoding,
    generator: torch.Generator,
) -> Forward:
    """One encoder and one decoder serve all views; alone, a view is an autoencoder."""
    if how.hidden is not None:
        how = how._replace(hidden=how.hidden.repeat(len(rows), 1))
    how = how._replace(n_rows=how.n_rows * len(rows))
    [(together, one)] = autoencoders("shared", rows, weights)
    code = encode(together, one, how)
    left = _residual(together, code, one)
    values, indices = code.values.chunk(len(rows)), code.indices.chunk(len(rows))
    return Forward(
        list(zip(values, indices, strict=True)),
        list(enumerate(left.chunk(len(rows)))),
        [Rebuilt(together, left, one)],
        code.penalty,
    )


def cross_reconstruction(
    rows: Rows,
    weights: list[Weights],
    encode: Encode,
    how: Encoding,
    generator: torch.Generator,
) -> Forward:
    """One view, drawn at random, encodes; the decoder of every view rebuilds its rows.

    The universal autoencoder of Thasarathan et al.
    """
    device = generator.device
    source = int(torch.randint(len(rows), (), generator=generator, device=device))
    code = encode(rows[source], weights[source], how)
    codes: list[Codes | None] = [None] * len(rows)
    codes[source] = code.values, code.indices
    residuals = [
        (view, _residual(rows[view], code, of_view))
        for view, of_view in enumerate(weights)
    ]
    own = Rebuilt(rows[source], residuals[source][1], weights[source])
    return Forward(codes, residuals, [own], code.penalty)


def global_topk(
    rows: Rows,
    weights: list[Weights],
    encode: Encode,
    how: Encoding,
    generator: torch.Generator,
) -> Forward:
    """The sums of the pre-activations of all views choose the same latents for each.

    Each code rebuilds every view, with weight 1 (SPARC).
    """
    picker = Picker(
        torch.cat([of_view.encoder for of_view in weights], dim=1),
        torch.stack([of_view.encoder_bias for of_view in weights]).sum(0),
        how.precision,
    )
    _, indices = picker.largest(
        torch.cat(rows, dim=1), min(how.k, picker.n_latents), how.hidden
    )
    grouping = group_by_latent(indices, picker.n_latents)
    codes: list[Codes | None] = []
    residuals, rebuilt = [], []
    for source, (own, of_own) in enumerate(zip(rows, weights, strict=True)):
        bias = of_own.encoder_bias
        values = encode_selected(own, of_own.encoder, bias, None, indices, grouping)
        code = Code(values.relu(), indices, grouping)
        codes.append((code.values, indices))
        for view, of_view in enumerate(weights):
            left = _residual(rows[view], code, of_view)
            residuals.append((view, left))
            if view == source:
                rebuilt.append(Rebuilt(own, left, of_own))
    return Forward(codes, residuals, rebuilt)


def crosscoder(
    rows: Rows,
    weights: list[Weights],
    encode: Encode,
    how: Encoding,
    generator: torch.Generator,
) -> Forward:
    """One code from the sum of all encoders rebuilds every view (Lindsey et al.).

    It is the code of an autoencoder of the concatenated views. The rows of all
    decoders together have unit norm: activations are weighted by the root of the
    summed squares of the norms, where Lindsey et al. take the sum of the norms.
    """
    [(together, joint)] = autoencoders("crosscoder", rows, weights)
    code = encode(together, joint, how)
    left = _residual(together, code, joint)
    widths = [own.shape[1] for own in rows]
    return Forward(
        [(code.values, code.indices)] * len(rows),
        list(enumerate(left.split(widths, dim=1))),
        [Rebuilt(together, left, joint)],
        code.penalty,
    )


def autoencoders(
    coupling: str, rows: Rows, weights: list[Weights]
) -> list[tuple[torch.Tensor, Weights]]:
    """Which rows are encoded by which weights."""
    if coupling == "shared":
        return [(rows[0] if len(rows) == 1 else torch.cat(rows), weights[0])]
    if coupling == "crosscoder":
        joint = weights[0]._replace(
            encoder=torch.cat([of_view.encoder for of_view in weights], dim=1),
            decoder=torch.cat([of_view.decoder for of_view in weights], dim=1),
            pre_bias=torch.cat([of_view.pre_bias for of_view in weights]),
        )
        return [(torch.cat(rows, dim=1), joint)]
    return list(zip(rows, weights, strict=True))


COUPLINGS: dict[str, Callable[..., Forward]] = {
    "shared": shared,
    "cross_reconstruction": cross_reconstruction,
    "global_topk": global_topk,
    "crosscoder": crosscoder,
}
