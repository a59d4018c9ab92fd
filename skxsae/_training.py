"""The one training loop."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from skxsae._activations import STEERED
from skxsae._capture import captured
from skxsae._checkpoint import StateFile
from skxsae._couplings import autoencoders
from skxsae._distributed import Peers
from skxsae._initial_weights import steer_to_k
from skxsae._trainer import Settings, State, Trainer
from skxsae._views import View, batches, shuffled, some_rows

_WARM_UP_SHARE = 0.05
_STEERING_ROWS = 2**14
_WORDS = 624  # of a RandomState


@dataclass
class Record:
    """What a fit leaves beside the weights."""

    firing_rate: torch.Tensor  # (n_views, m), share of the rows of the last pass
    threshold: torch.Tensor  # (n_views,)
    n_iter: int = 0
    fvu: float = 0.0
    loss_curve: list[float] = field(default_factory=list)


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
        name, position, *rest = numbers["random_state"]
        if not 0 <= position <= _WORDS:  # NumPy would read beyond its words
            raise ValueError(f"a random state has the position {position}")
        rng.set_state((name, arrays["random_state"], position, *rest))
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
