"""Program of test_checkpoint: fits that are killed at random moments and go on.

``python killed_fits.py NAME FOLDER N_KILLS`` prints how often a fit was killed, how
many were completed, how many of these ended with other bits than one that was left
alone, and the numbers of steps of all of them and of that one.
"""

import os
import random
import signal
import sys
import time
import warnings
from pathlib import Path

import numpy as np

from skxsae import Checkpoint, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae._trainer import Trainer
from skxsae.datasets import DiskArray

_MOST_STEPS = 7  # before a fit is killed, at any moment of the next
_LONGEST_WAIT = 0.01  # seconds


def paired_rows(n_rows=1200, n_features=16):
    """Rows of two views that share concepts."""
    rng = np.random.default_rng(0)
    strength = rng.random((n_rows, 24)) * (rng.random((n_rows, 24)) < 0.2)
    return [
        (strength @ rng.standard_normal((24, n_features))).astype(np.float32)
        for _ in range(2)
    ]


def fit(name, callbacks):
    """Fitted arrays of the estimator of a scenario."""
    X, y = paired_rows()
    if name == "post_hoc":
        sae = PostHocAlignedSAE(64, 4, max_iter=20, random_state=0)
    elif name == "paired":
        sae = PairedSAE(
            96,
            4,
            activation="batch_topk",
            mask_rate=0.2,
            max_iter=5,
            batch_size=100,
            random_state=0,
        )
    else:
        X = DiskArray(X, buffer_bytes=X.nbytes // 4)
        sae = TopKSAE(
            96, 4, activation="jumprelu", max_iter=5, batch_size=64, random_state=0
        )
    sae.set_callbacks(*callbacks)
    sae.fit(X, None if name == "streamed" else y)
    views = [sae] if name == "streamed" else [sae.x_sae_, sae.y_sae_]
    arrays = {
        f"{i}{attribute}": np.asarray(value)
        for i, view in enumerate(views)
        for attribute, value in vars(view).items()
        if attribute.endswith("_") and not attribute.startswith("_")
    }
    if name == "post_hoc":
        arrays["null"] = sae.matcher_.null_scores_
    return arrays


def tell_of_steps(pipe):
    """Let a pipe know of each step."""
    step = Trainer.step

    def told_step(*args):
        os.write(pipe, b"s")
        step(*args)

    Trainer.step = told_step


def child(name, callbacks, result, pipe):
    """Number of a forked process that fits and writes what it has learnt."""
    number = os.fork()
    if number:
        os.close(pipe)
        return number
    try:
        tell_of_steps(pipe)
        warnings.simplefilter("ignore")
        arrays = fit(name, callbacks)
        unfinished = result.with_suffix(".part")
        with unfinished.open("wb") as file:
            np.savez(file, **arrays)
        unfinished.replace(result)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def main(name, folder, n_kills):
    """Kill fits until enough were killed and the last one is complete."""
    folder = Path(folder)
    expected_at = folder / "expected.npz"
    heard, pipe = os.pipe()
    process = child(name, [], expected_at, pipe)
    n_alone = 0
    while said := os.read(heard, 1000):
        n_alone += len(said)
    _, status = os.waitpid(process, 0)
    if status:
        return 1
    expected = np.load(expected_at)
    rng = random.Random(0)
    killed = completed = different = n_steps = 0
    while True:
        result = folder / f"{completed}.npz"
        heard, pipe = os.pipe()
        checkpoint = Checkpoint(folder / "state", interval=0)
        process = child(name, [checkpoint], result, pipe)
        left = rng.randint(2, _MOST_STEPS) if killed < n_kills else sys.maxsize
        while os.read(heard, 1):
            n_steps += 1
            left -= 1
            if left == 0:
                time.sleep(rng.uniform(0, _LONGEST_WAIT))
                os.kill(process, signal.SIGKILL)
        os.close(heard)
        _, status = os.waitpid(process, 0)
        if os.WIFSIGNALED(status):
            killed += 1
        elif os.WEXITSTATUS(status):
            return 1
        if not result.exists():
            continue
        completed += 1
        with np.load(result) as arrays:
            same = arrays.files == expected.files and all(
                arrays[key].tobytes() == expected[key].tobytes() for key in arrays
            )
        different += not same
        if killed >= n_kills:
            break
    print(killed, completed, different, n_steps, n_alone)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
