"""Processes of a torch.distributed group on this machine, for tests.

``python distributed_processes.py MODULE FUNCTION FOLDER ADDRESS BACKEND RANK SIZE``
is one.
"""

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
    """Run programs at the same time; what they said is raised if one fails or hangs."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    running = [
        subprocess.Popen(command, env=ENVIRONMENT, **options) for command in commands
    ]
    end = time.monotonic() + timeout
    try:
        said = [
            one.communicate(timeout=max(0.1, end - time.monotonic()))[0]
            for one in running
        ]
    finally:
        for one in running:
            one.kill()
            one.wait()
            one.stdout.close()
    codes = [one.returncode for one in running]
    if any(codes):
        raise RuntimeError(f"exit codes {codes}:\n" + "\n".join(said))


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
