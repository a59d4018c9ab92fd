"""The one training loop: any number of views, one set of latents."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from skxsae._activations import (
    ACTIVATIONS,
    STEERED,
    Encoding,
    Weights,
    level_of,
    threshold_of,
)
from skxsae._capture import captured
from skxsae._checkpoint import StateFile
from skxsae._couplings import COUPLINGS, Forward, autoencoders
from skxsae._distributed import ALONE, Peers
from skxsae._functional import (
    encode_selected,
    group_by_latent,
    residual,
    unit_rows,
    weighted_sum,
)
from skxsae._losses import LOSSES, Batch
from skxsae._optimizer import AdamW
from skxsae._picking import Codes, Picker
from skxsae._views import View, batches, shuffled, some_rows

_WARM_UP_SHARE = 0.05
_THRESHOLD_DECAY = 0.99
_FIRST_SCALE = 0.9
_FIRST_PENALTY = 0.1
_PROPORTIONAL_GAIN = 3.0
_INTEGRAL_GAIN = 0.05
_LARGEST_LOG_PENALTY = 20.0
_MOST_ACTIVE = 8  # times k, on one row
_STEERING_ROWS = 2**14
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


@dataclass
class Record:
    """What a fit leaves beside the weights."""

    firing_rate: torch.Tensor  # (n_views, m), share of the rows of the last pass
    threshold: torch.Tensor  # (n_views,)
    n_iter: int = 0
    fvu: float = 0.0
    loss_curve: list[float] = field(default_factory=list)


@dataclass
class Activity:
    """Which latents fired, and since when they are silent, without a look at them."""

    counts: torch.Tensor  # (n_views, m) firings since `forget`
    n_encoded: torch.Tensor  # (n_views,) rows since `forget`
    silent: torch.Tensor  # (m,) rows since the last firing in any view
    threshold: torch.Tensor  # (n_views,) moving average of the smallest kept values
    threshold_weight: torch.Tensor
    log_penalty: torch.Tensor  # integral part of the weight that steers the L0
    log_excess: torch.Tensor  # log of the last L0 over k

    @classmethod
    def start(cls, n_views: int, n_latents: int, device: torch.device | str):
        """Nothing has fired yet."""

        def zeros(*shape, dtype=torch.float64):
            return torch.zeros(shape, dtype=dtype, device=device)

        return cls(
            zeros(n_views, n_latents, dtype=torch.long),
            zeros(n_views, dtype=torch.long),
            zeros(n_latents, dtype=torch.long),
            zeros(n_views),
            zeros(n_views),
            zeros() + math.log(_FIRST_PENALTY),
            zeros(),
        )

    def forget(self) -> None:
        """Start to count anew."""
        self.counts.zero_()
        self.n_encoded.zero_()

    def firing_rate(self) -> torch.Tensor:
        """Share of the rows on which each latent fired: (n_views, m)."""
        return self.counts / self.n_encoded.clamp_min(1)[:, None]

    def update(
        self, codes: list[Codes | None], n_rows: int, peers: Peers = ALONE
    ) -> None:
        """Count the firings of a batch of `n_rows` rows of each view."""
        fired = torch.zeros_like(self.counts)
        for view, code in enumerate(codes):
            if code is not None:
                values, indices = code
                active = (values != 0).long().flatten()
                fired[view].scatter_add_(0, indices.flatten(), active)
                self.n_encoded[view] += n_rows
        fired = peers.total(fired)
        self.counts += fired
        self.silent += n_rows
        self.silent.masked_fill_(fired.sum(0) > 0, 0)

    def average_threshold(
        self, codes: list[Codes | None], peers: Peers = ALONE
    ) -> None:
        """Bias-corrected moving average of the smallest kept value of each batch.

        Views that are encoded together share it.
        """
        encoded = [code is not None for code in codes]
        values = torch.cat([code[0].flatten() for code in codes if code is not None])
        smallest = peers.least(values.where(values > 0, torch.inf).min()).double()
        some = torch.tensor(encoded, device=values.device) & smallest.isfinite()
        weight = _THRESHOLD_DECAY * self.threshold_weight + 1
        moved = self.threshold + (smallest - self.threshold) / weight
        self.threshold.copy_(torch.where(some, moved, self.threshold))
        self.threshold_weight.copy_(torch.where(some, weight, self.threshold_weight))

    def steer(self, codes: list[Codes | None], k: int, peers: Peers = ALONE) -> None:
        """Note by how much more than `k` latents are active on average."""
        counts = [(code[0] != 0).sum(1) for code in codes if code is not None]
        n_active = torch.cat(counts).sum()
        sums = torch.stack([n_active, n_active.new_tensor(sum(map(len, counts)))])
        total, n_rows = peers.total(sums).double()
        mean = total / n_rows
        self.log_excess.copy_(torch.log(mean.clamp_min(0.1) / k).clamp(-2.0, 2.0))
        self.log_penalty += _INTEGRAL_GAIN * self.log_excess
        self.log_penalty.clamp_(-_LARGEST_LOG_PENALTY, _LARGEST_LOG_PENALTY)

    def penalty_weight(self) -> torch.Tensor:
        """Weight of the penalty, by proportional and integral control."""
        return (self.log_penalty + _PROPORTIONAL_GAIN * self.log_excess).exp()


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
        self.n_steps = numbers["n_steps"]
        self.some_are_dead = numbers["some_are_dead"]

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


@dataclass
class Position:
    """How far a fit has come."""

    record: Record
    n_batches: int = 0  # of this pass
    is_over: bool = False  # but for what follows the last pass

    def state(self, trainer: Trainer, drawn: Any) -> State:
        """All that a fit needs to go on, where `drawn` is what orders this pass."""
        numbers, arrays = trainer.state()
        record = self.record
        name, keys, *rest = drawn
        numbers = {
            "trainer": numbers,
            "random_state": [name, *rest],
            "n_iter": record.n_iter,
            "fvu": record.fvu,
            "loss_curve": record.loss_curve,
            "n_batches": self.n_batches,
            "is_over": self.is_over,
        }
        for field_name in ("firing_rate", "threshold"):
            arrays[field_name] = getattr(record, field_name).cpu().numpy()
        return numbers, {**arrays, "random_state": keys}

    def load(self, state: State, trainer: Trainer, rng: np.random.RandomState) -> None:
        """Go on from a state."""
        numbers, arrays = state
        record = self.record
        trainer.load((numbers["trainer"], arrays))
        name, *rest = numbers["random_state"]
        rng.set_state((name, arrays["random_state"], *rest))
        record.n_iter, record.fvu = int(numbers["n_iter"]), float(numbers["fvu"])
        record.loss_curve = [float(loss) for loss in numbers["loss_curve"]]
        for field_name in ("firing_rate", "threshold"):
            getattr(record, field_name).copy_(torch.from_numpy(arrays[field_name]))
        self.n_batches = int(numbers["n_batches"])
        self.is_over = bool(numbers["is_over"])


def train(
    views: list[View],
    trainer: Trainer,
    max_iter: int,
    rng: np.random.RandomState,
    end_of_pass: Callable[[Record], bool],
    saved: StateFile | None = None,
) -> Record:
    """Pass over all rows until the last pass or until `end_of_pass` says stop.

    The state of an earlier fit in `saved` is gone on from.
    """
    settings, activity, peers = trainer.settings, trainer.activity, trainer.peers
    n_rows = len(views[0])
    n_batches = _n_batches(n_rows, settings.batch_size, peers)
    variance = sum(view.moments[1] for view in views)
    record = Record(activity.firing_rate(), activity.threshold.clone())
    position = Position(record)
    state = peers.of_first(lambda: saved.load() if saved else None)
    if state is not None:
        # it comes from the first process: others may not know of a file
        with saved.restoring() if saved else contextlib.nullcontext():
            position.load(state, trainer, rng)
    step = captured(trainer)
    while not position.is_over:
        drawn = rng.get_state(legacy=True)
        if position.n_batches == 0:
            activity.forget()
            trainer.totals.zero_()
        order = shuffled(views, n_batches, rng)
        for batch in batches(views, order, position.n_batches):
            i_step = record.n_iter * n_batches + position.n_batches
            rate = _learning_rate(settings, i_step, n_batches * max_iter)
            with memory_error_names_batch_size(settings.batch_size):
                step(batch, rate, order.lengths(position.n_batches))
            position.n_batches += 1
            if saved:
                saved.offer(functools.partial(position.state, trainer, drawn))
        position.n_batches = 0
        record.n_iter += 1
        # a view that was not encoded in this pass keeps what is known of it
        encoded = (activity.n_encoded > 0)[:, None]
        rate_of_firing = activity.firing_rate()
        record.firing_rate = torch.where(encoded, rate_of_firing, record.firing_rate)
        record.threshold = activity.threshold.clone()
        loss, error = trainer.totals.tolist()
        check_converging(
            loss + error + trainer.sum_of_weights(), f"pass {record.n_iter}"
        )
        record.loss_curve.append(loss / n_batches)
        if variance:
            record.fvu = error / variance
        peers.copy_first(trainer.tensors())
        with peers.agreeing():
            stop = end_of_pass(record)
        stop = peers.any(stop)
        position.is_over = stop or record.n_iter >= max_iter
    if saved:
        saved.finish(position.state(trainer, rng.get_state(legacy=True)))
    if settings.activation in STEERED:
        sample = some_rows(views[0], _STEERING_ROWS, rng)
        batch = [view[sample] for view in views]
        pairs = autoencoders(settings.coupling, trainer.centred(batch), trainer.weights)
        for rows, weights in pairs:
            steer_to_k(rows, weights, settings)
        peers.copy_first(trainer.parameters)
    return record


def _n_batches(n_rows: int, batch_size: int, peers: Peers) -> int:
    """Number of batches of a pass.

    There are two rows in each at least, for one has no variance, and one for each
    process.
    """
    return min(math.ceil(n_rows / batch_size), n_rows // max(2, peers.size))


class DivergedError(ValueError):
    """The loss of a fit is not finite."""


def check_converging(loss: float, when: str) -> None:
    """Refuse to go on with a loss, or weights, that are not finite."""
    if not math.isfinite(loss):
        raise DivergedError(
            f"Training diverged in {when}: the loss or a weight is not finite. Lower "
            "learning_rate or alignment_weight, or scale the data "
            "(normalize='scale')."
        )


@contextlib.contextmanager
def memory_error_names_batch_size(batch_size: int) -> Iterator[None]:
    """Say what to do where a device has no room for a step."""
    try:
        yield
    except torch.OutOfMemoryError as full:
        raise MemoryError(
            f"The device has no room for a step: lower batch_size={batch_size}."
        ) from full


def _learning_rate(settings: Settings, step: int, n_steps: int) -> float:
    """Learning rate of a step."""
    if settings.schedule == "constant":
        return settings.learning_rate
    warm_up = max(1, round(_WARM_UP_SHARE * n_steps))
    decay = max(0.0, step - warm_up) / max(1, n_steps - warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * decay))
    return settings.learning_rate * min(1.0, (step + 1) / warm_up) * cosine
