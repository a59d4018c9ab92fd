"""What every benchmark does: say where it ran, keep its fits, write its tables."""

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import time
from pathlib import Path

import numpy as np
import scipy
import sklearn
import torch

import skxsae

_N_RESAMPLES = 2000


def make_parser(doc, **defaults):
    """A parser with the arguments that all benchmarks have."""
    parser = argparse.ArgumentParser(
        description=doc.splitlines()[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the JSON files"
    )
    parser.add_argument(
        "--results",
        type=Path,
        help="file that the line of this run is appended to, such as RESULTS.md; "
        "without it, the line is printed only",
    )
    parser.set_defaults(**defaults)
    return parser


def describe_machine():
    """Processor, threads and versions, whatever makes seconds comparable."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
        "skxsae": skxsae.__version__,
    }


def _processor():
    """Model of the processor as the system names it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def current_commit():
    """Commit of the package, marked where tracked files differ from it."""
    folder = Path(skxsae.__file__).parent
    options = {"cwd": folder, "capture_output": True, "text": True}
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], check=True, **options
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "."],
            check=True,
            **options,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


def stamp():
    """Date, commit and machine of a run."""
    now = datetime.datetime.now(datetime.UTC)
    return {
        "date": now.strftime("%Y-%m-%d %H:%M"),
        "commit": current_commit(),
        "machine": describe_machine(),
    }


class FitLog:
    """One JSON line for each finished fit, so that a stopped run can be resumed.

    A fit is known by its key, a dict of all that it depends on.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.stamp = stamp()  # before the fits: the code that was loaded
        self.fits = {}
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                self._remember(json.loads(line))

    def _remember(self, fit):
        """Keep a fit under its key."""
        self.fits[_as_text(fit["key"])] = fit

    def get_or_run(self, key, run):
        """The logged fit of `key`, or the one that ``run()`` returns a dict of."""
        if _as_text(key) not in self.fits:
            fit = {"key": key, **self.stamp, **run()}
            with self.path.open("a") as file:
                file.write(json.dumps(fit) + "\n")
            self._remember(fit)
        return self.fits[_as_text(key)]


def _as_text(key):
    """A dict as one string, whatever the order of its entries."""
    return json.dumps(key, sort_keys=True)


def write_json(path, content):
    """Write a JSON file as a whole or not at all."""
    path = Path(path)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(content, indent=1) + "\n")
    unfinished.replace(path)


def report(args, name, title, figures, tables, measurements, fits):
    """Print the tables of a run, write its JSON, and record its line.

    `figures` says in a few words what was found, `tables` are DataFrames to print,
    `measurements` are the numbers behind them, a list of dicts, and `fits` the logged
    fits that the run rests on.
    """
    for heading, table in tables.items():
        print(f"\n{heading}\n{table.to_string(float_format='{:.3f}'.format)}")
    where = stamp()
    settings = {key: str(value) for key, value in sorted(vars(args).items())}
    content = {
        **where,
        "settings": settings,
        "commits_of_fits": sorted({fit["commit"] for fit in fits}),
        "measurements": measurements,
    }
    write_json(args.out / f"{name}.json", content)
    line = results_line(where, content["commits_of_fits"], title, figures)
    print(f"\n{line}")
    if args.results is not None:
        with args.results.open("a") as file:
            file.write(line + "\n")


def results_line(where, commits, title, figures):
    """Row of the table in RESULTS.md: date, commits, machine, run, figures."""
    machine = where["machine"]
    hardware = f"{machine['processor']}, {machine['threads']} thread(s)"
    if machine["device"] != "cpu":
        hardware += f", {machine['device']}"
    cells = [where["date"], ", ".join(commits), hardware, title, figures]
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


@contextlib.contextmanager
def stopwatch():
    """A dict that holds wall and processor seconds once the block is done.

    On a machine that is shared, only the processor's are comparable.
    """
    seconds, wall, cpu = {}, time.perf_counter(), time.process_time()
    yield seconds
    seconds["seconds"] = time.perf_counter() - wall
    seconds["cpu_seconds"] = time.process_time() - cpu


def status_mib(field):
    """A field of the status of this process, NaN where the system keeps none."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith(field)]
    return int(found[0]) / 1024 if found else float("nan")


def mean_and_error(values):
    """Mean over seeds and its standard error, NaN for one seed."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def with_error(values, digits=3):
    """``mean ± standard error`` in words."""
    mean, error = mean_and_error(values)
    text = f"{mean:.{digits}f}"
    return text if np.isnan(error) else f"{text} ± {error:.{digits}f}"


def resampled_weights(n_groups, random_state=0, n_resamples=_N_RESAMPLES):
    """How often each group is drawn in each bootstrap resample of the groups.

    The same weights for two methods give the bootstrap of their difference.
    """
    rng = np.random.default_rng(random_state)
    return rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), n_resamples)


def resampled_means(hits, n_queries, weights):
    """Mean hit of a query in each resample, from the sums of each group."""
    return (weights @ hits) / (weights @ n_queries)


def interval(samples, level=0.95):
    """Percentile interval of bootstrap samples."""
    tail = 50 * (1 - level)
    low, high = np.percentile(samples, [tail, 100 - tail])
    return float(low), float(high)


def own_order(sae, codes_x, codes_y):
    """Codes of a post-hoc aligned pair with the latents as each view was trained."""
    order = np.append(sae.matcher_.matching_, sae.matcher_.unmatched_)
    columns = np.flatnonzero(order >= 0)
    columns = columns[np.argsort(order[columns])]
    return codes_x[:, : len(sae.matcher_.matching_)], codes_y[:, columns]
