"""benchmarks/fuzz.py: a short run of each loader, and what it notices."""

import importlib
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LOADERS = [
    "DiskArray",
    "DiskArray, Parquet",
    "npy",
    "npz",
    "shards",
    "paired arrays",
    "codes, JSON lines",
    "codes, Parquet",
    "cache of embeddings",
    "pictures",
    "sounds",
    "saved models",
    "published weights",
    "states of fits",
    "edited states of fits",
]


@pytest.fixture
def fuzz(monkeypatch):
    """The program as its own directory sees it."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("fuzz")


def test_every_loader_is_run_here(fuzz):
    assert set(LOADERS) == set(fuzz.LOADERS)


@pytest.mark.parametrize("name", LOADERS)
def test_damaged_files_are_loaded_or_refused(fuzz, tmp_path, name):
    outcomes = [fuzz.run_case(name, 7, case, tmp_path / "case") for case in range(25)]
    wrong = [each for each in outcomes if each[0] not in ("loaded", "refused")]
    assert not wrong
    assert any(outcome == "refused" for outcome, _ in outcomes)


@pytest.mark.parametrize("name", LOADERS)
def test_files_as_they_should_be_are_loaded(fuzz, tmp_path, name):
    loader = fuzz.LOADERS[name]
    if name == "edited states of fits":
        loader = fuzz.LOADERS["states of fits"]
    for seed in range(3):
        rng = np.random.default_rng(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        loader.write(folder, rng)
        try:
            result = loader.load(folder, rng)
        except ValueError:
            # not all that is drawn can be loaded: names that are not there, no groups
            assert name in ("npz", "paired arrays")
            continue
        loader.check(result)


def crash(folder, rng):
    os.kill(os.getpid(), signal.SIGSEGV)


def sleep(folder, rng):
    time.sleep(60)


def fill_memory(folder, rng):
    np.ones(2**28)


def spend_time(folder, rng):
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass


def unpickle(folder, rng):
    pickle.loads(pickle.dumps(np.array([Path()], dtype=object)))


def write_beside(folder, rng):
    # not by Python, so that no hook hears of it
    with closing(sqlite3.connect(folder.parent / "escaped")) as connection:
        connection.execute("CREATE TABLE a (b)")
    return np.zeros(3)


def write_elsewhere(folder, rng):
    (folder.parents[3] / "escaped").write_text("here")


def warn(folder, rng):
    warnings.warn("of no use", UserWarning, stacklevel=1)
    return np.zeros(3)


def raise_another(folder, rng):
    {}["a"]


def raise_a_subclass(folder, rng):
    b"\xff".decode()


def raise_without_the_name(folder, rng):
    raise ValueError("no")


def load_nonsense(folder, rng):
    return np.array([None])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize(
    ("load", "outcome"),
    [
        (crash, "crash"),
        (sleep, "hang"),
        (fill_memory, "raised"),
        (spend_time, "slow"),
        (unpickle, "executed"),
        (write_beside, "escaped"),
        (write_elsewhere, "executed"),
        (warn, "warned"),
        (raise_another, "raised"),
        (raise_a_subclass, "unclear"),
        (raise_without_the_name, "unclear"),
        (load_nonsense, "wrong"),
    ],
)
def test_a_defect_is_noticed(fuzz, monkeypatch, tmp_path, load, outcome):
    loader = replace(fuzz.LOADERS["npy"], load=load)
    monkeypatch.setitem(fuzz.LOADERS, "npy", loader)
    monkeypatch.setattr(fuzz, "_load_valid", lambda name, folder: None)
    monkeypatch.setattr(fuzz, "_WALL_SECONDS", 3)
    monkeypatch.setattr(fuzz, "_CPU_SECONDS", 0.3)
    (tmp_path / "out").mkdir()
    cases = fuzz._cases("npy", 0, 0, 5.0, tmp_path / "out")
    case, found, text = next(cases)
    cases.close()
    assert (case, found) == (0, outcome), text


@pytest.mark.slow
def test_the_program_runs(tmp_path):
    command = [sys.executable, str(BENCHMARKS / "fuzz.py"), "--minutes", "0.05"]
    command += ["--loaders", "npy", "sounds", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "hostile files" in done.stdout
    assert ", 0 failures" in done.stdout
    assert (tmp_path / "fuzz.json").exists()
