"""Program of test_distributed: a fit under torchrun whose process is killed once.

``restarted_fit.py FOLDER RANK STEP`` kills the process RANK after STEP steps of the
first attempt, and the process 0 of the last one writes the fitted arrays to FOLDER.
"""

import datetime
import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from distributed_fits import forty_steps

from skxsae import Checkpoint
from skxsae._trainer import Trainer


def _dying(step, last):
    """A step that is the last one of this process if it is the one of that number."""
    n_steps = 0

    def dying_step(*args):
        nonlocal n_steps
        step(*args)
        n_steps += 1
        if n_steps == last:
            os.kill(os.getpid(), signal.SIGKILL)

    return dying_step


def main(folder, rank, last):
    """Be one of the processes of torchrun."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", timeout=datetime.timedelta(seconds=30))
    attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    if attempt == 0 and dist.get_rank() == int(rank):
        Trainer.step = _dying(Trainer.step, int(last))
    states = sorted(Path(folder, "states").glob("*"))
    arrays = forty_steps(Checkpoint(Path(folder, "states"), interval=0))
    if dist.get_rank() == 0:
        n_states = len(states)
        np.savez(Path(folder, "fit.npz"), attempt=attempt, n_states=n_states, **arrays)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
