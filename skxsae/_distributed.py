"""What the processes of a torch.distributed group tell each other; one alone, nothing.

Any launcher will do: the group is the default one, if it is initialised.
"""

from typing import Any

import numpy as np
import torch
import torch.distributed as dist


class Peers:
    """The processes that fit one model together, each on its own share of the rows.

    Every process must make the same calls in the same order.
    """

    def __init__(self, rank: int = 0, size: int = 1):
        self.rank, self.size = rank, size

    def share(self, n: int) -> slice:
        """The part of `n` consecutive things that is this process' own."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def total(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over all processes."""
        return self._reduced(tensor, dist.ReduceOp.SUM)

    def least(self, tensor: torch.Tensor) -> torch.Tensor:
        """Minimum over all processes."""
        return self._reduced(tensor, dist.ReduceOp.MIN)

    def any(self, flag: bool) -> bool:
        """Whether it is true in any process."""
        return bool(self.total(torch.tensor(int(flag)))) if self.size > 1 else flag

    def _reduced(self, tensor: torch.Tensor, operation) -> torch.Tensor:
        if self.size == 1:
            return tensor
        sent = tensor.detach().to(_wire(tensor.device), copy=True).contiguous()
        dist.all_reduce(sent, operation)
        return sent.to(tensor.device)

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
        dist.broadcast_object_list(things, src=0)
        return things[0]

    def gathered(self, thing: Any) -> list:
        """What every process has, in the order of the ranks."""
        if self.size == 1:
            return [thing]
        things: list = [None] * self.size
        dist.all_gather_object(things, thing)
        return things

    def copy_first(self, tensors: list[torch.Tensor]) -> None:
        """Overwrite tensors by those of the first process."""
        if self.size == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().to(_wire(tensor.device), copy=True).contiguous()
            dist.broadcast(sent, src=0)
            tensor.copy_(sent)

    def random_state(self, rng: np.random.RandomState) -> np.random.RandomState:
        """A generator that draws the same in every process."""
        if self.size == 1:
            return rng
        same = np.random.RandomState()
        same.set_state(self.agreed(rng.get_state()))
        return same


def _wire(device: torch.device) -> torch.device:
    """Where a tensor must be to be sent: NCCL alone sends nothing from the host."""
    if device.type == "cpu" and dist.get_backend() == dist.Backend.NCCL:
        return torch.device("cuda", torch.cuda.current_device())
    return device


ALONE = Peers()


def peers() -> Peers:
    """The group of this process."""
    if not (dist.is_available() and dist.is_initialized()):
        return ALONE
    return Peers(dist.get_rank(), dist.get_world_size())
