"""Processes of a torch.distributed group on this machine, for tests.

``python distributed_processes.py MODULE FUNCTION FOLDER ADDRESS BACKEND RANK SIZE``
is one.
"""

import contextlib
import datetime
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
HERE = Path(__file__).parent

needs_gloo = pytest.mark.skipif(
    not (sys.platform == "linux" and dist.is_available() and dist.is_gloo_available()),
    reason="needs torch.distributed with gloo on Linux",
)


def in_processes(
    module, function, size, *, timeout=120, address=None, hosts=None, backend="gloo"
):
    """What a function returns in each of `size` processes that share a group.

    It is found by its name in a module of this folder and gets nothing. They meet at an
    address, or else in a file; ``hosts`` are what the command of each begins with.
    """
    with tempfile.TemporaryDirectory() as folder:
        address = address or f"file://{folder}/rendezvous"
        hosts = hosts or [[]] * size
        program = [sys.executable, __file__, module, function, folder, address, backend]
        commands = [
            [*host, *program, str(rank), str(size)] for rank, host in enumerate(hosts)
        ]
        run_together(commands, timeout)
        return [
            pickle.loads(Path(folder, f"{rank}.pickle").read_bytes())
            for rank in range(size)
        ]


def run_together(commands, timeout):
    """Run programs at the same time; what they said is raised if one fails or hangs.

    The others are ended as soon as one fails.
    """
    with contextlib.ExitStack() as stack:
        running, files = [], []
        for command in commands:
            file = stack.enter_context(tempfile.TemporaryFile("w+"))
            program = subprocess.Popen(
                command, env=ENVIRONMENT, stdout=file, stderr=subprocess.STDOUT
            )
            stack.callback(_end, program)
            files.append(file)
            running.append(program)
        _wait(running, timeout)
        codes = [program.poll() for program in running]
        if any(code != 0 for code in codes):
            for file in files:
                file.seek(0)
            said = "\n".join(file.read() for file in files)
            raise RuntimeError(f"exit codes {codes}:\n{said}")


def _wait(running, timeout):
    """Wait until programs have ended, or one has failed, or the time is over."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        codes = [program.poll() for program in running]
        if None not in codes or any(codes):
            return
        time.sleep(0.05)


def _end(program):
    """Kill a program if it still runs."""
    program.kill()
    program.wait()


def _join(module, function, folder, address, backend, rank, size):
    """Be one of the processes."""
    torch.set_num_threads(1)
    dist.init_process_group(
        backend,
        init_method=address,
        rank=int(rank),
        world_size=int(size),
        timeout=datetime.timedelta(seconds=30),
    )
    result = getattr(importlib.import_module(module), function)()
    Path(folder, f"{rank}.pickle").write_bytes(pickle.dumps(result))
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    _join(*sys.argv[1:])
