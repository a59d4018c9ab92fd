"""On a GPU, a training step is recorded once and replayed."""

from collections.abc import Callable

import torch

from skxsae._losses import ALIGNMENTS

_WARM_UPS = 3

Step = Callable[..., None]


def captured(trainer) -> Step:
    """A function that takes one step of `trainer`, as fast as its device can.

    A step is replayed as a CUDA graph unless it asks for something on the way: while
    latents are dead, and under settings whose work depends on what the tensors hold.
    """
    graphs: dict[int, _Graph] = {}

    def step(
        batch: list[torch.Tensor], rate: float, lengths: list[int] | None = None
    ) -> None:
        trainer.look()
        if not batch[0].is_cuda:
            trainer.step(batch, rate, lengths)
            return
        alone = trainer.peers.size == 1
        if trainer.some_are_dead or not (alone and is_static(trainer.settings)):
            rate_there = torch.tensor(rate, device=batch[0].device)
            trainer.step(batch, rate_there, lengths)
            return
        size = len(batch[0])
        # streams and graphs are those of the current device
        with torch.cuda.device(batch[0].device):
            if size not in graphs:
                graphs[size] = _Graph(trainer, batch)
            graphs[size].replay(batch, rate)

    return step


def is_static(settings) -> bool:
    """Whether all steps launch the same kernels on tensors of the same shapes."""
    return (
        settings.activation == "topk"
        and settings.precision != "screen"
        and settings.coupling != "cross_reconstruction"
        and settings.alignment in (None, *ALIGNMENTS.values())
    )


class _Graph:
    """A step on batches of one size."""

    def __init__(self, trainer, batch: list[torch.Tensor]):
        self.batch = [torch.empty_like(rows).copy_(rows) for rows in batch]
        self.rate = torch.zeros((), device=batch[0].device)
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(trainer.generator)
        # the warm-up changes what it touches, the recording runs nothing
        kept = [tensor.clone() for tensor in trainer.tensors()]
        generator_state = trainer.generator.get_state()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                trainer.step(self.batch, self.rate)
        torch.cuda.current_stream().wait_stream(stream)
        trainer.generator.set_state(generator_state)
        with torch.cuda.graph(self.graph):
            trainer.step(self.batch, self.rate)
        for tensor, old in zip(trainer.tensors(), kept, strict=True):
            tensor.copy_(old)

    def replay(self, batch: list[torch.Tensor], rate: float) -> None:
        """Take the step."""
        for static, rows in zip(self.batch, batch, strict=True):
            static.copy_(rows)
        self.rate.fill_(rate)
        self.graph.replay()
