"""Gradient steps on the autoencoders of any number of views."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from skxsae._activations import ACTIVATIONS, STEERED, Encoding, Weights
from skxsae._activity import Activity
from skxsae._couplings import COUPLINGS, Forward
from skxsae._distributed import ALONE, Peers
from skxsae._functional import encode_selected, group_by_latent, residual
from skxsae._losses import LOSSES, Batch
from skxsae._optimizer import AdamW
from skxsae._picking import Codes, Picker

_SILENCE_LOOKUP = 32  # steps between looks at a GPU

State = tuple[dict, dict[str, np.ndarray]]  # numbers, and arrays


@dataclass
class Settings:
    """What a fit does, all values resolved."""

    k: int
    activation: str
    loss: str
    batch_size: int
    learning_rate: float
    schedule: str
    aux_k: int
    aux_weight: float
    dead_after: int  # rows
    precision: str = "float32"
    positive_code: bool = True
    fit_intercept: bool = True
    coupling: str = "shared"
    alignment: Callable[[Codes, Codes], torch.Tensor] | None = None
    alignment_weight: float = 0.0
    mask_rate: float = 0.0


class Trainer:
    """Takes gradient steps on the autoencoders of one or more views.

    Parameters
    ----------
    weights : list of Weights
        The autoencoder of each view, trained in place. Views may share tensors.

    settings : Settings
        What to do.

    seed : int
        Seed of the masks.

    peers : Peers
        Who takes the same steps on other rows.
    """

    def __init__(
        self,
        weights: list[Weights],
        settings: Settings,
        seed: int = 0,
        peers: Peers = ALONE,
    ):
        self.weights, self.settings, self.peers = weights, settings, peers
        self.parameters = _trained(weights, settings)
        decoders = _distinct([of_view.decoder for of_view in weights])
        side_by_side = settings.coupling == "crosscoder"
        groups = [decoders] if side_by_side else [[rows] for rows in decoders]
        self.optimizer = AdamW(self.parameters, groups)
        device = decoders[0].device
        self.activity = Activity.start(len(weights), len(decoders[0]), device)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.totals = torch.zeros(2, dtype=torch.float64, device=device)
        self.n_steps = 0
        self.some_are_dead = False
        peers.copy_first(self.tensors())

    @property
    def n_latents(self) -> int:
        """Size of the dictionary."""
        return len(self.activity.silent)

    def look(self) -> None:
        """Notice whether latents are dead: all that a step asks of the device."""
        if self.settings.aux_weight and self.n_steps % _looks_at(self.totals) == 0:
            longest = int(self.activity.silent.max())
            self.some_are_dead = longest > self.settings.dead_after
        self.n_steps += 1

    def step(
        self,
        batch: list[torch.Tensor],
        rate: float | torch.Tensor,
        lengths: list[int] | None = None,
    ) -> None:
        """One step on rows of each view; adds loss and squared error to `totals`.

        Of other processes, `lengths` says how many rows each has.
        """
        for tensor in self.parameters:
            tensor.requires_grad_()
        objective, error = self.objective(batch, lengths)
        gradients = torch.autograd.grad(objective, self.parameters, allow_unused=True)
        for tensor in self.parameters:
            tensor.requires_grad_(False)
        self.optimizer.step(self._summed(gradients), rate)
        own = torch.stack([objective.detach(), error])
        self.totals += self.peers.total(own).double()

    def _summed(
        self, gradients: tuple[torch.Tensor | None, ...]
    ) -> list[torch.Tensor | None]:
        """Gradients of all processes in sum."""
        present = [gradient for gradient in gradients if gradient is not None]
        sums = iter(self.peers.totals(present))
        return [None if gradient is None else next(sums) for gradient in gradients]

    def objective(
        self, rows: list[torch.Tensor], lengths: list[int] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of rows of each view (batch, d), and their squared error.

        Where there are several processes, the part that the own rows have in each.
        """
        settings, activity, peers = self.settings, self.activity, self.peers
        batch = Batch(rows, peers, lengths)
        forward = COUPLINGS[settings.coupling](
            self.centred(rows),
            self.weights,
            ACTIVATIONS[settings.activation],
            self._encoding(batch),
            self.generator,
        )
        parts = [
            LOSSES[settings.loss](left, batch, view) for view, left in forward.residuals
        ]
        objective = torch.stack(parts).sum()
        if settings.alignment is not None and settings.alignment_weight:
            x, y = forward.codes
            # a coupling that takes a term encodes both
            assert x is not None
            assert y is not None
            term = batch.share * settings.alignment(x, y)
            objective = objective + settings.alignment_weight * term
        if forward.penalty is not None:
            weight = batch.share * activity.penalty_weight().to(objective)
            objective = objective + weight * forward.penalty / settings.k
        if self.some_are_dead:
            objective = objective + self._auxiliary_loss(batch, forward)
        with torch.no_grad():
            activity.update(forward.codes, batch.n_rows, peers)
            if settings.activation == "batch_topk":
                activity.average_threshold(forward.codes, peers)
            if settings.activation in STEERED:
                activity.steer(forward.codes, settings.k, peers)
            # of each view from its own code; one that did not encode is left out
            errors = [own.residual.square().sum() for own in forward.rebuilt]
            n_encoded = sum(code is not None for code in forward.codes)
            error = torch.stack(errors).sum() * (len(rows) / n_encoded)
        return objective, error

    def tensors(self) -> list[torch.Tensor]:
        """All that a step changes."""
        own = self.optimizer
        moments = [*own.means, *own.squares, *own.steps]
        return [*self.parameters, *moments, *vars(self.activity).values(), self.totals]

    def sum_of_weights(self) -> float:
        """A number that is finite if all weights are."""
        sums = [each.detach().sum(dtype=torch.float64) for each in self.parameters]
        return float(torch.stack(sums).sum())

    def state(self) -> State:
        """All that a continued fit needs, on the host: numbers, and arrays."""
        numbers = {
            "device": self.generator.device.type,
            "n_steps": self.n_steps,
            "some_are_dead": self.some_are_dead,
        }
        arrays = {
            f"trainer.{i}": tensor.cpu().numpy().copy()
            for i, tensor in enumerate(self.tensors())
        }
        arrays["trainer.generator"] = self.generator.get_state().numpy()
        return numbers, arrays

    def load(self, state: State) -> None:
        """Go on from a state; another kind of device draws other masks."""
        numbers, arrays = state
        for i, tensor in enumerate(self.tensors()):
            tensor.copy_(torch.from_numpy(arrays[f"trainer.{i}"]))
        if numbers["device"] == self.generator.device.type:
            self.generator.set_state(torch.from_numpy(arrays["trainer.generator"]))
        self.n_steps = int(numbers["n_steps"])
        self.some_are_dead = bool(numbers["some_are_dead"])

    def centred(self, batch: list[torch.Tensor]) -> list[torch.Tensor]:
        """Rows of each view minus its pre-bias."""
        return [
            rows - of_view.pre_bias
            for rows, of_view in zip(batch, self.weights, strict=True)
        ]

    def _encoding(self, batch: Batch) -> Encoding:
        """How this batch is encoded; one mask serves all members of a pair."""
        settings, hidden = self.settings, None
        if settings.mask_rate:
            shape = batch.n_rows, self.n_latents
            device = self.activity.silent.device
            noise = torch.rand(shape, generator=self.generator, device=device)
            hidden = noise[batch.own] < settings.mask_rate
        return Encoding(
            settings.k,
            settings.precision,
            settings.positive_code,
            hidden,
            self.peers,
            batch.n_rows,
        )

    def _auxiliary_loss(self, batch: Batch, forward: Forward) -> torch.Tensor:
        """What the dead latents leave of the residuals, over the variance."""
        settings = self.settings
        dead = (self.activity.silent > settings.dead_after).nonzero().squeeze(1)
        if not len(dead):
            return batch.rows[0].new_zeros(())
        errors = [
            auxiliary_error(
                own.rows,
                own.residual.detach(),
                dead,
                tied(own.weights, settings.activation),
                settings.aux_k,
            )
            for own in forward.rebuilt
        ]
        encoded = [
            variance
            for variance, code in zip(batch.variances, forward.codes, strict=True)
            if code is not None
        ]
        share = min(1.0, len(dead) / settings.aux_k)
        error, variance = torch.stack(errors).sum(), torch.stack(encoded).sum()
        return settings.aux_weight * share * error / variance


def _looks_at(tensor: torch.Tensor) -> int:
    """Steps between two looks at a device: one at a GPU waits for it."""
    return _SILENCE_LOOKUP if tensor.is_cuda else 1


def tied(weights: Weights, activation: str) -> Weights:
    """Weights that pre-activations come from: pursuit encodes by its dictionary."""
    if activation != "matching_pursuit":
        return weights
    no_bias = torch.zeros_like(weights.encoder_bias)
    return weights._replace(encoder=weights.decoder, encoder_bias=no_bias)


def auxiliary_error(
    centred: torch.Tensor,
    left: torch.Tensor,
    dead: torch.Tensor,
    weights: Weights,
    aux_k: int,
) -> torch.Tensor:
    """Squared error of `left`, rebuilt from the largest dead pre-activations.

    They enter before the ReLU, so that negative ones get a gradient too (Gao et al.).
    """
    picker = Picker(weights.encoder[dead], weights.encoder_bias[dead])
    values, position = picker.largest(centred.detach(), min(aux_k, len(dead)))
    indices = dead[position]
    grouping = group_by_latent(indices, len(weights.decoder))
    values = encode_selected(
        centred, weights.encoder, weights.encoder_bias, values, indices, grouping
    )
    rest = residual(left, values, indices, weights.decoder, grouping)
    return rest.square().sum()


def _distinct(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors in their order, each once."""
    return list({id(tensor): tensor for tensor in tensors}.values())


def _trained(weights: list[Weights], settings: Settings) -> list[torch.Tensor]:
    """The tensors that are trained, each once."""
    names = ["decoder"]
    if settings.activation != "matching_pursuit":
        names += ["encoder", "encoder_bias"]
    if settings.activation == "jumprelu":
        names.append("level")
    if settings.fit_intercept:
        names.append("pre_bias")
    return _distinct([getattr(of_view, name) for name in names for of_view in weights])
