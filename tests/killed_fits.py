"""Program of test_checkpoint: fits that are killed at random moments and go on.

``python killed_fits.py NAME FOLDER N_KILLS`` prints how often a fit was killed, how
many were completed, and how many of these ended with other bits than one that was left
alone.
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
from skxsae.datasets import DiskArray

_LONGEST_LIFE = 0.12  # seconds


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


def child(name, callbacks, result):
    """Number of a forked process that fits and writes what it has learnt."""
    number = os.fork()
    if number:
        return number
    try:
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
    _, status = os.waitpid(child(name, [], expected_at), 0)
    if status:
        return 1
    expected = np.load(expected_at)
    rng = random.Random(0)
    killed = completed = different = 0
    while True:
        result = folder / f"{completed}.npz"
        checkpoint = Checkpoint(folder / "state", interval=rng.choice([0, 0, 0.01]))
        process = child(name, [checkpoint], result)
        if killed < n_kills:
            time.sleep(rng.uniform(0, _LONGEST_LIFE))
            os.kill(process, signal.SIGKILL)
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
    print(killed, completed, different)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
