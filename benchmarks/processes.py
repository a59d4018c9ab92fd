"""How much faster several processes of this machine train than one.

All take steps on the same global batch. Rounds of one process, while the others wait,
and of all are interleaved, and the messages of a step are counted as they are sent.
"""

import contextlib
import datetime
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
from _common import make_parser, report, stamp

from skxsae._distributed import ALONE, peers
from skxsae._initial_weights import initial_weights
from skxsae._losses import ALIGNMENTS
from skxsae._trainer import Settings, Trainer

RATE = 5e-4
NEVER = 2**40  # rows until a latent counts as dead
SHAPES = ("512x4096x32x1024", "512x4096x32x8192")
SENDERS = ("all_reduce", "all_gather", "broadcast")


def main(argv=None):
    """Time steps of one process and of all, and count what is sent."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--shapes", nargs="+", default=SHAPES, help="features x latents x k x batch"
    )
    parser.add_argument("--activations", nargs="+", default=["topk", "batch_topk"])
    parser.add_argument("--views", type=int, default=1, choices=[1, 2])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5, help="in a round")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    tasks = [(shape, name) for shape in args.shapes for name in args.activations]
    options = args.views, args.steps, args.rounds
    measurements = in_processes(args.processes, tasks, options)
    frame = pd.DataFrame(measurements)
    figures = "; ".join(
        f"{row.activation} {row.shape}: efficiency {row.efficiency:.2f}, "
        f"{row.waiting:.0%} of a step in messages"
        for row in frame.itertuples()
    )
    title = f"processes: {args.processes} of one thread each, {args.views} view(s)"
    tables = {"Against one process with the same global batch": frame}
    report(args, "processes", title, figures, tables, measurements, [stamp()])


def in_processes(size, tasks, options):
    """What the first of `size` processes has measured."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        queue = context.SimpleQueue()
        workers = [
            context.Process(
                target=work, args=(rank, size, folder, tasks, options, queue)
            )
            for rank in range(size)
        ]
        with one_thread_each():
            for worker in workers:
                worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError("A process has failed.")
        return queue.get()


@contextlib.contextmanager
def one_thread_each():
    """Processes that are started here compute in one thread."""
    with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):
        yield


def work(rank, size, folder, tasks, options, queue):
    """Be one of the processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=Path(folder, "rendezvous").as_uri(),
        rank=rank,
        world_size=size,
        timeout=datetime.timedelta(minutes=10),
    )
    measurements = [measure(*task, *options) for task in tasks]
    if rank == 0:
        queue.put(measurements)
    dist.barrier()
    dist.destroy_process_group()


def measure(shape, activation, n_views, n_steps, n_rounds):
    """Seconds and messages of a step, medians of rounds."""
    d, m, k, batch = map(int, shape.split("x"))
    group = peers()
    rng = np.random.default_rng(0)
    rows = [
        torch.from_numpy(rng.standard_normal((batch, d)).astype(np.float32))
        for _ in range(n_views)
    ]
    own = [of_view[group.share(batch)] for of_view in rows]
    programs = {"alone": (ALONE, rows), "together": (group, own)}
    trainers = {
        name: make_trainer(activation, m, k, rows, members)
        for name, (members, _) in programs.items()
    }
    seconds = {name: [] for name in programs}
    cpu_seconds = dict.fromkeys(programs, 0.0)
    sent = Sent()
    for i in range(1 + n_rounds):  # the first is warm-up
        for name, (members, batches) in programs.items():
            dist.barrier()
            start, cpu_start = time.perf_counter(), time.process_time()
            if members.size > 1:
                with sent.counting():
                    take_steps(trainers[name], batches, n_steps, group.shares(batch))
            elif group.rank == 0:
                take_steps(trainers[name], batches, n_steps, [batch])
            seconds[name].append(time.perf_counter() - start)
            cpu_seconds[name] += time.process_time() - cpu_start
        if i == 0:
            sent.__init__()
            cpu_seconds = dict.fromkeys(programs, 0.0)
    alone, together = (np.median(of_name[1:]) / n_steps for of_name in seconds.values())
    in_all = n_steps * n_rounds
    cpu_alone, cpu_together = group.total(torch.tensor([*cpu_seconds.values()]))
    return {
        "activation": activation,
        "shape": shape,
        "step_alone": float(alone),
        "step_together": float(together),
        "speed_up": float(alone / together),
        "efficiency": float(alone / together / group.size),
        "cpu_ratio": float(cpu_together / cpu_alone),
        "waiting": sent.seconds / sum(seconds["together"][1:]),
        "messages": sent.messages / in_all,
        "megabytes": sent.bytes / in_all / 1e6,
        "gradient_megabytes": 4
        * sum(tensor.numel() for tensor in trainers["alone"].parameters)
        / 1e6,
    }


class Sent:
    """Messages of a process, their bytes, and the seconds until they are answered."""

    def __init__(self):
        self.messages, self.bytes, self.seconds = 0, 0, 0.0

    @contextlib.contextmanager
    def counting(self):
        """Count what is sent within the block."""
        counted = {name: self._counted(getattr(dist, name)) for name in SENDERS}
        with mock.patch.multiple(dist, **counted):
            yield

    def _counted(self, send):
        def counted(*args, **options):
            # of a gathering, the own part comes last
            tensor = args[1] if isinstance(args[0], list) else args[0]
            self.messages += 1
            self.bytes += tensor.numel() * tensor.element_size()
            start = time.perf_counter()
            send(*args, **options)
            self.seconds += time.perf_counter() - start

        return counted


def make_trainer(activation, m, k, rows, members):
    """A trainer of one view, or of two that share latents."""
    settings = Settings(
        k=k,
        activation=activation,
        loss="fvu",
        batch_size=len(rows[0]),
        learning_rate=RATE,
        schedule="constant",
        aux_k=rows[0].shape[1] // 2,
        aux_weight=1 / 32,
        dead_after=NEVER,
        alignment=ALIGNMENTS["group_sparse"] if len(rows) == 2 else None,
        alignment_weight=0.1,
    )
    means = [of_view.mean(0) for of_view in rows]
    rng = np.random.RandomState(0)
    sample = [of_view[:1024] for of_view in rows]
    return Trainer(
        initial_weights(m, sample, means, settings, rng), settings, 0, members
    )


def take_steps(trainer, rows, n_steps, lengths):
    """Steps on the same rows."""
    for _ in range(n_steps):
        trainer.look()
        trainer.step(rows, RATE, lengths)


if __name__ == "__main__":
    main()
