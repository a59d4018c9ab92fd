"""benchmarks/disk.py at a tiny size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skxsae.datasets import DiskArray


@pytest.fixture
def disk(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("disk")


KEY = {"n_rows": 900, "n_features": 16, "dtype": "float16", "seed": 0}
FIT = {"buffer_mib": 1, "n_latents": 32, "k": 4, "passes": 3, "threads": 1}


def test_shards_have_the_rows_of_both_views(disk, tmp_path, monkeypatch):
    monkeypatch.setattr(disk, "_ROWS_OF_SHARD", 400)
    folders = disk.write_shards(tmp_path, **KEY)
    assert [len(list(folder.iterdir())) for folder in folders] == [3, 3]
    views = [DiskArray(folder)[:].astype(np.float64) for folder in folders]
    assert [view.shape for view in views] == [(900, 16)] * 2
    # one view is a linear function of the concepts of the other, but for rounding
    centred = [view - view.mean(axis=0) for view in views]
    assert np.abs(centred[0].T @ centred[1]).max() > 100


@pytest.mark.filterwarnings("ignore:Only .* matches score above the noise floor")
@pytest.mark.parametrize("estimator", ["TopKSAE", "PostHocAlignedSAE"])
def test_all_sources_give_the_same_fit(disk, tmp_path, estimator):
    folders = disk.write_shards(tmp_path, **KEY)
    fits = {
        source: disk.run_on_files(
            {**KEY, **FIT, "source": source, "estimator": estimator}, folders
        )
        for source in disk.SOURCES
    }
    explained = {fit["explained"] for fit in fits.values()}
    assert len(explained) == 1  # what the buffer holds is shuffled in full
    assert 0.3 < explained.pop() < 1
    for fit in fits.values():
        assert 0 < fit["seconds_of_pass"] < fit["seconds"]
        assert fit["peak_mib"] >= 0


def test_the_sources_read_the_same_rows(disk, tmp_path):
    folder, _ = disk.write_shards(tmp_path, **KEY)
    arrays = [np.asarray(source(folder, 1)) for source in disk.SOURCES.values()]
    for array in arrays[1:]:
        assert_array_equal(array, arrays[0])


def test_a_run_is_reported_and_not_repeated(disk, tmp_path, monkeypatch):
    ran = []

    def run_here(key, scratch):
        ran.append(key["source"])
        figures = ("seconds", "cpu_seconds", "peak_mib", "seconds_of_pass")
        return dict.fromkeys(figures, 1.0) | {"explained": 0.5}

    monkeypatch.setattr(disk, "run_alone", run_here)
    options = ["--out", str(tmp_path), "--n-rows", "100", "--sources", "memory"]
    for _ in range(2):
        disk.main([*options, "shards"])
    assert ran == ["memory", "shards"]
    content = json.loads((tmp_path / "disk.json").read_text())
    assert [row["source"] for row in content["measurements"]] == ran
