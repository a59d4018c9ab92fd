"""Where the weights of autoencoders start."""

import numpy as np
import torch

from skxsae._activations import Weights, level_of, threshold_of
from skxsae._functional import unit_rows, weighted_sum
from skxsae._picking import Picker
from skxsae._trainer import Settings

_FIRST_SCALE = 0.9
_MOST_ACTIVE = 8  # times k, on one row


def initial_weights(
    n_latents: int,
    batch: list[torch.Tensor],
    pre_biases: list[torch.Tensor],
    settings: Settings,
    rng: np.random.RandomState,
) -> list[Weights]:
    """Random unit directions, and as encoders their copies times one number.

    With unit rows the sum of k overlapping directions overshoots. The number is a share
    of what makes the first reconstruction of `batch`, some rows of each view, the best:
    the steps of Adam are of one size, so that a smaller encoder turns faster, but far
    below the best scale some latents die.
    """
    centred = [rows - bias for rows, bias in zip(batch, pre_biases, strict=True)]
    if settings.coupling == "shared":
        one = _initial(n_latents, torch.cat(centred), settings, rng)
        return [one._replace(pre_bias=bias) for bias in pre_biases]
    if settings.coupling == "crosscoder":
        together = torch.cat(centred, dim=1)
        one = _initial(n_latents, together, settings, rng)
        widths = [rows.shape[1] for rows in centred]
        encoders, decoders = (
            [part.contiguous() for part in rows.split(widths, dim=1)]
            for rows in (one.encoder, one.decoder)
        )
        return [
            one._replace(encoder=encoder, decoder=decoder, pre_bias=bias)
            for encoder, decoder, bias in zip(
                encoders, decoders, pre_biases, strict=True
            )
        ]
    return [
        _initial(n_latents, rows, settings, rng)._replace(pre_bias=bias)
        for rows, bias in zip(centred, pre_biases, strict=True)
    ]


def _initial(n_latents: int, centred: torch.Tensor, settings: Settings, rng) -> Weights:
    """An autoencoder of `centred` rows, without a pre-bias."""
    k = settings.k
    shape = (n_latents, centred.shape[1])
    decoder = unit_rows(torch.as_tensor(rng.standard_normal(shape)).to(centred))
    bias = centred.new_zeros(n_latents)
    values, indices = Picker(decoder, bias).largest(centred, min(k, n_latents))
    values = values.relu()
    rebuilt = weighted_sum(values, indices, decoder)
    power = rebuilt.square().sum()
    best = (centred * rebuilt).sum() / power if power > 0 else 1.0
    weights = Weights(_FIRST_SCALE * best * decoder, bias, decoder, bias.new_empty(0))
    if settings.activation == "jumprelu":
        weights = weights._replace(level=torch.zeros_like(bias))
    steer_to_k(centred, weights, settings)
    return weights


@torch.no_grad()
def steer_to_k(centred: torch.Tensor, weights: Weights, settings: Settings) -> None:
    """Move biases, or thresholds, so that `k` latents are active on average."""
    if settings.activation == "relu":
        picker = Picker(weights.encoder, weights.encoder_bias)
        weights.encoder_bias.sub_(_exceeded_by_k(centred, picker, settings.k))
    elif settings.activation == "jumprelu":
        threshold = threshold_of(weights.level)
        picker = Picker(
            weights.encoder / threshold[:, None], weights.encoder_bias / threshold
        )
        factor = _exceeded_by_k(centred, picker, settings.k)
        factor.clamp_min_(torch.finfo(factor.dtype).eps)
        weights.level.add_(level_of(factor))


def _exceeded_by_k(centred: torch.Tensor, picker: Picker, k: int) -> torch.Tensor:
    """Number that `k` pre-activations of a row exceed on average.

    It is halfway to the next one, lest rounding decides what exceeds it.
    """
    values, _ = picker.largest(centred, min(_MOST_ACTIVE * k, picker.n_latents))
    n_below = max(values.numel() - k * len(centred), 1)
    below, above = (
        values.flatten().kthvalue(min(n, values.numel())).values
        for n in (n_below, n_below + 1)
    )
    return (below + above) / 2
