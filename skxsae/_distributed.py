"""What the processes of a torch.distributed group tell each other; one alone, nothing.

Any launcher will do: the group is the default one, if it is initialised.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from sklearn.utils import check_random_state

_SEEDS = 2**31 - 1
_BITS_AT_ONCE = 11
_INTEGERS = {torch.float32: (torch.int32, 32), torch.float64: (torch.int64, 64)}


class Peers:
    """The processes that fit one model together, each on its own share of the rows.

    Every process must make the same calls in the same order.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    def share(self, n: int) -> slice:
        """The part of `n` consecutive things that is this process' own."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def shares(self, n: int) -> list[int]:
        """How many of `n` consecutive things each process has."""
        edges = [n * rank // self.size for rank in range(self.size + 1)]
        return np.diff(edges).tolist()

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes."""
        return self.totals([tensor])[0]

    def totals(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Sum of each of several tensors of one type, sent as one message."""
        if self.size == 1:
            return tensors
        flat = torch.cat([tensor.detach().flatten() for tensor in tensors])
        sums = _reduced(flat, dist.ReduceOp.SUM).split(
            [part.numel() for part in tensors]
        )
        return [part.view_as(old) for part, old in zip(sums, tensors, strict=True)]

    def least(self, tensor: torch.Tensor) -> torch.Tensor:
        """Minimum over all processes."""
        if self.size == 1:
            return tensor
        return _reduced(tensor.detach().clone(), dist.ReduceOp.MIN)

    def largest(self, values: torch.Tensor, k: int) -> torch.Tensor:
        """The `k`-th largest of the 1-D tensors of all processes; none is negative.

        It is the smallest of all if there are less. Its bits are found some at a time,
        by a count of the values that begin with each: few are sent, however many
        values there are.
        """
        integer, n_bits = _INTEGERS[values.dtype]
        # of numbers that are not negative, the bits are in the order of the numbers
        bits, found = values.view(integer), torch.zeros((), dtype=integer)
        for shift in reversed(range(0, n_bits, _BITS_AT_ONCE)):
            next_bits = (bits >> shift) - (found.to(bits.device) << _BITS_AT_ONCE)
            alike = (next_bits >= 0) & (next_bits < 2**_BITS_AT_ONCE)
            counts = next_bits[alike].bincount(minlength=2**_BITS_AT_ONCE)
            at_least = self.total(counts).cpu().flip(0).cumsum(0).flip(0).tolist()
            k = min(k, at_least[0])
            digit = sum(count >= k for count in at_least) - 1
            k -= (*at_least, 0)[digit + 1]
            found = (found << _BITS_AT_ONCE) + digit
        return found.view(values.dtype).to(values.device)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        return bool(self.total(torch.tensor(int(flag)))) if self.size > 1 else flag

    def concatenated(self, tensor: torch.Tensor) -> torch.Tensor:
        """1-D tensors of all processes, of any lengths, in the order of the ranks."""
        if self.size == 1:
            return tensor
        lengths = self.lengths(len(tensor))
        sent = tensor.new_zeros(max(lengths), device=_wire(tensor.device))
        sent[: len(tensor)] = tensor.detach()
        parts = [torch.empty_like(sent) for _ in range(self.size)]
        dist.all_gather(parts, sent)
        together = [part[:n] for part, n in zip(parts, lengths, strict=True)]
        return torch.cat(together).to(tensor.device)

    def lengths(self, own: int) -> list[int]:
        """The number that each process has."""
        if self.size == 1:
            return [own]
        lengths = torch.zeros(self.size, dtype=torch.long)
        lengths[self.rank] = own
        return self.total(lengths).tolist()

    def agreed(self, thing: Any) -> Any:
        """What the first process has, in every process."""
        if self.size == 1:
            return thing
        things = [thing if self.rank == 0 else None]
        dist.broadcast_object_list(things, src=0, device=_wire(torch.device("cpu")))
        return things[0]

    def gathered(self, thing: Any) -> list:
        """What every process has, in the order of the ranks."""
        if self.size == 1:
            return [thing]
        things: list = [None] * self.size
        wire = _wire(torch.device("cpu"))
        with torch.cuda.device(wire) if wire.type == "cuda" else nullcontext():
            dist.all_gather_object(things, thing)
        return things

    def copy_first(self, tensors: list[torch.Tensor]) -> None:
        """Overwrite tensors by those of the first process, a message for each type."""
        if self.size == 1:
            return
        for dtype in {tensor.dtype: None for tensor in tensors}:
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().flatten() for tensor in alike])
            flat = flat.to(_wire(flat.device))
            dist.broadcast(flat, src=0)
            parts = flat.split([tensor.numel() for tensor in alike])
            for tensor, part in zip(alike, parts, strict=True):
                tensor.copy_(part.view_as(tensor))

    def random_state(self, random_state) -> np.random.RandomState:
        """A generator that draws the same in every process, from a seed or another."""
        rng = check_random_state(random_state)
        kind = type(rng._bit_generator).__name__
        if rng is check_random_state(None) or kind != "MT19937":
            # NumPy's own is for all to use, and the state of others is no list
            rng = np.random.RandomState(rng.randint(_SEEDS))
        if self.size > 1:
            rng.set_state(self.agreed(rng.get_state()))
        return rng

    @contextmanager
    def agreeing(self) -> Iterator[None]:
        """Raise an error that any process meets in all of them.

        Within the block, no process may wait for another.
        """
        if self.size == 1:
            yield
            return
        own: Exception | None = None
        try:
            yield
        except Exception as error:
            own = error
        for rank, told in enumerate(self.gathered(_told(own))):
            if told is not None:
                if rank == self.rank and own is not None:
                    raise own
                kind, message = told
                raise kind(message)

    def of_first(self, function: Callable[[], Any]) -> Any:
        """What a function returns in the first process, where alone it is called."""
        thing = None
        with self.agreeing():
            thing = function() if self.rank == 0 else None
        return self.agreed(thing)

    def check_same(self, what: dict[str, Any]) -> None:
        """Refuse things by name that are not the same in all processes."""
        for rank, other in enumerate(everywhere := self.gathered(what)):
            for name, value in everywhere[0].items():
                if other.get(name) != value:
                    raise ValueError(
                        f"The processes that fit together differ in {name}: it is "
                        f"{value!r} in the first and {other.get(name)!r} in number "
                        f"{rank}. Give all the same data, not a part for each, and the "
                        "same parameters."
                    )


def _told(error: Exception | None) -> tuple[type[Exception], str] | None:
    """What can be said of an error in another process."""
    if error is None:
        return None
    kinds = (TypeError, ValueError, OSError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
    return kind, str(error)


def _reduced(tensor: torch.Tensor, operation) -> torch.Tensor:
    """A tensor of one's own, replaced by what all processes have together."""
    sent = tensor.to(_wire(tensor.device))
    dist.all_reduce(sent, operation)
    return sent.to(tensor.device)


def _wire(device: torch.device) -> torch.device:
    """Where a tensor must be to be sent: NCCL sends nothing from the host."""
    backends = dist.get_backend_config()
    if f"{device.type}:" in backends:
        return device
    return torch.device("cpu") if "cpu:" in backends else own_gpu()


def own_gpu() -> torch.device:
    """The GPU of this process: that which the launcher numbers so, if it does."""
    own = int(os.environ.get("LOCAL_RANK", torch.cuda.device_count()))
    if own >= torch.cuda.device_count():  # launchers may show each process its own GPU
        own = torch.cuda.current_device()
    return torch.device("cuda", own)


ALONE = Peers()


def peers() -> Peers:
    """The group of this process."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Peers(dist.get_rank(), dist.get_world_size())
