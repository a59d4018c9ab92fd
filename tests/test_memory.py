"""Memory beyond the data is what docs/guide/trust.rst says, under a limit on it."""

import subprocess
import sys

import pytest

pytest.importorskip("resource")
pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="the limit is one of Linux"
)

# arrays are on disk and mapped, so that they are no private memory of the process
PROGRAM = """
import resource, sys
from pathlib import Path

import numpy as np
import torch

from skxsae import TopKSAE
from skxsae._from_arrays import topk_sae_from_arrays

torch.set_num_threads(1)
task, path, n, d, m, k, mib = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
rng = np.random.default_rng(0)
directions = rng.standard_normal((m, d)).astype(np.float32)
directions /= np.linalg.norm(directions, axis=1, keepdims=True)
sae = topk_sae_from_arrays(
    components=directions,
    encoder=directions,
    encoder_bias=np.zeros(m),
    mean=np.zeros(d),
    k=k,
).set_params(device="cpu")
unfitted = TopKSAE(m, k, max_iter=1, batch_size=4096, device="cpu", random_state=0)
few = rng.standard_normal((64, d)).astype(np.float32)
sae.transform(few), sae.score(few), TopKSAE(m, k, max_iter=1, device="cpu").fit(few)

X = np.load(path, mmap_mode="r")
status = Path("/proc/self/status").read_text().split("VmData:")[1]
limit = 1024 * int(status.split()[0]) + 2**20 * mib
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
try:
    if task == "transform":
        assert sae.transform(X).nnz > n
    elif task == "transform to a dense array":
        sae.set_params(sparse_output=False).transform(X)
    elif task == "score":
        sae.score(X)
    elif task == "fit":
        unfitted.fit(X)
    else:
        unfitted.fit(np.array(X))
except (MemoryError, RuntimeError) as error:
    sys.exit(f"no memory: {error}")
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """A function that gives the path of an array of n rows and d columns."""
    import numpy as np

    folder = tmp_path_factory.mktemp("rows")

    def path_of(n, d):
        path = folder / f"{n}-{d}.npy"
        if not path.exists():
            block = np.random.default_rng(0).standard_normal((1000, d))
            array = np.lib.format.open_memmap(path, "w+", np.float32, (n, d))
            for start in range(0, n, 1000):
                array[start : start + 1000] = block
            array.flush()
        return path

    return path_of


def has_room(task, path, n, d, m, k, mib):
    """Whether a task comes through with so much memory."""
    arguments = [task, str(path), *map(str, (n, d, m, k, round(mib)))]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        env={"OMP_NUM_THREADS": "1", "PATH": ""},
    )
    is_full = "no memory" in done.stderr
    assert done.returncode == (1 if is_full else 0), done.stderr
    return not is_full


def bound_of_transform(n, d, m, k):
    """MiB, as in the guide."""
    return (32 * n * k + 16 * m * d) / 2**20 + 128


def bound_of_fit(n, d, m, batch_size):
    """MiB, as in the guide."""
    return (16 * n + 64 * m * d + 64 * batch_size * d) / 2**20 + 352


@pytest.mark.slow
def test_transform(rows):
    n, d, m, k = 400_000, 16, 512, 32
    bound = bound_of_transform(n, d, m, k)
    assert has_room("transform", rows(n, d), n, d, m, k, bound)
    # the bound says something
    assert not has_room("transform", rows(n, d), n, d, m, k, bound / 2)
    assert not has_room("transform to a dense array", rows(n, d), n, d, m, k, bound)


@pytest.mark.slow
def test_score_does_not_grow_with_the_samples(rows):
    d, m, k = 16, 512, 32
    for n in (100_000, 400_000):
        assert has_room("score", rows(n, d), n, d, m, k, 192)


@pytest.mark.slow
def test_fit(rows):
    n, d, m, k = 1_000_000, 64, 64, 4
    bound = bound_of_fit(n, d, m, 4096)
    assert has_room("fit", rows(n, d), n, d, m, k, bound)
    assert not has_room("fit", rows(n, d), n, d, m, k, bound / 2)
    assert not has_room("fit of a copy", rows(n, d), n, d, m, k, bound)
