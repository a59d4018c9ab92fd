"""Training from disk: memory as rows grow, and the pace beside training in memory."""

import functools
import multiprocessing
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from _common import FitLog, make_parser, report, status_mib, stopwatch

from skxsae import PostHocAlignedSAE, TopKSAE
from skxsae.datasets import DiskArray

_ROWS_OF_SHARD = 100_000
_N_CONCEPTS = 256


def main(argv=None):
    """Fit from disk and from memory, each in a process of its own."""
    args = _parse(argv)
    log = FitLog(args.out / "disk.jsonl")
    fits = []
    for seed in args.seeds:
        for n_rows in sorted(args.n_rows):
            shape = {"n_rows": n_rows, "n_features": args.n_features}
            fitted = {"estimator": args.estimator, "n_latents": args.n_latents}
            fitted |= {"k": args.k, "passes": args.passes, "threads": args.threads}
            for source in args.sources:
                key = {"source": source, "dtype": args.dtype, "seed": seed}
                key |= {"buffer_mib": args.buffer_mib, **shape, **fitted}
                run = functools.partial(run_alone, key, args.scratch)
                fits.append(log.get_or_run(key, run))
                print(source, n_rows, _in_words(fits[-1]), flush=True)
    measurements = [fit["key"] | _figures_of(fit) for fit in fits]
    tables = {"one run each": pd.DataFrame(measurements)}
    words = "; ".join(
        f"{row['source']}, {row['n_rows']} rows: {_in_words(row)}"
        for row in measurements
    )
    title = f"disk: {args.estimator}, {args.n_features} features"
    report(args, "disk", title, words, tables, measurements, fits)


def _parse(argv):
    """Arguments of the command line."""
    parser = make_parser(__doc__, seeds=[0])
    add = parser.add_argument
    add("--n-rows", type=int, nargs="+", default=[100_000, 1_000_000, 5_000_000])
    add("--n-features", type=int, default=512)
    add("--dtype", choices=["float16", "float32"], default="float16")
    add("--estimator", choices=["TopKSAE", "PostHocAlignedSAE"], default="TopKSAE")
    add("--n-latents", type=int, default=1024)
    add("-k", type=int, default=32)
    add("--passes", type=int, default=1)
    add("--threads", type=int, default=1)
    add("--buffer-mib", type=int, default=64)
    add("--sources", nargs="+", choices=list(SOURCES), default=["shards"])
    add("--scratch", type=Path, help="where the shards are written for the run")
    return parser.parse_args(argv)


def write_shards(folder, n_rows, n_features, dtype, seed):
    """Folders of numbered files of two views that share concepts."""
    rng = np.random.default_rng(seed)
    folders = [Path(folder, view) for view in ("img_emb", "text_emb")]
    directions = rng.standard_normal((2, _N_CONCEPTS, n_features), dtype=np.float32)
    for number, start in enumerate(range(0, n_rows, _ROWS_OF_SHARD)):
        shape = (min(_ROWS_OF_SHARD, n_rows - start), _N_CONCEPTS)
        strength = rng.random(shape, dtype=np.float32)
        strength *= rng.random(shape, dtype=np.float32) < 0.05
        for view, own in zip(folders, directions, strict=True):
            view.mkdir(exist_ok=True)
            rows = (strength @ own).astype(dtype)
            np.save(view / f"{view.name}_{number}.npy", rows)
    return folders


def run_alone(key, scratch=None):
    """Run one fit in a process of its own, so that its peak of memory is its own."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        shape = {name: key[name] for name in ("n_rows", "n_features", "dtype", "seed")}
        folders = write_shards(folder, **shape)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(run_on_files, (key, folders))


def run_on_files(key, folders):
    """Seconds, peak of memory above the data, and how well it is explained."""
    torch.set_num_threads(key["threads"])
    views = [SOURCES[key["source"]](folder, key["buffer_mib"]) for folder in folders]
    clock, size = Clock(), {"n_latents": key["n_latents"], "k": key["k"]}
    if key["estimator"] == "TopKSAE":
        views = views[:1]
        sae = TopKSAE(**size, max_iter=key["passes"], random_state=0, device="cpu")
    else:
        sae = PostHocAlignedSAE(
            **size, max_iter=key["passes"], random_state=0, device="cpu"
        )
    sae.set_callbacks(clock)
    before = status_mib("VmRSS")
    with stopwatch() as seconds:
        sae.fit(*views)
    of_pass = np.diff(clock.ends[: key["passes"]])
    view = sae if len(views) == 1 else sae.x_sae_
    return {
        **seconds,
        "peak_mib": status_mib("VmHWM") - before,
        "seconds_of_pass": float(np.median(of_pass)) if len(of_pass) else float("nan"),
        "explained": 1 - view.reconstruction_err_,
    }


class Clock:
    """Callback that notes when each pass ends."""

    max_propagation_depth = None

    def __init__(self):
        self.ends = []

    def setup(self, estimator, context):
        """Do nothing."""

    def teardown(self, estimator, context):
        """Do nothing."""

    def on_fit_task_begin(self, estimator, context):
        """Do nothing."""

    def on_fit_task_end(self, estimator, context):
        """Note the time."""
        if context.task_name == "pass":
            self.ends.append(time.perf_counter())


def in_memory(folder, buffer_mib):
    """All rows as one array."""
    return DiskArray(folder)[:]


def uncached(folder, buffer_mib):
    """A reader of shards that the system no longer has in memory."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return shards(folder, buffer_mib)


def shards(folder, buffer_mib):
    """A reader of the shards."""
    return DiskArray(folder, buffer_bytes=buffer_mib * 2**20)


SOURCES = {"memory": in_memory, "shards": shards, "uncached": uncached}


def _figures_of(fit):
    """What was measured, without where and when."""
    names = ("seconds", "cpu_seconds", "peak_mib", "seconds_of_pass", "explained")
    return {name: fit[name] for name in names}


def _in_words(row):
    """Seconds and memory of a run, in a few words."""
    return (
        f"{row['seconds']:.1f} s, {row['seconds_of_pass']:.1f} s a pass, "
        f"{row['peak_mib']:.0f} MiB"
    )


if __name__ == "__main__":
    main()
