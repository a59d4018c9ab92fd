"""benchmarks/modality.py at a tiny size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from skxsae import metrics

SMALL = ["--samples", "60", "--latents", "20", "--features", "8", "-k", "4"]


@pytest.fixture
def modality(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("modality")


def small_key(**changes):
    sizes = {"samples": 60, "latents": 20, "features": 8, "k": 4}
    return {"seed": 0, "threads": 1, **sizes, **changes}


def test_metrics_are_measured_in_processes_of_their_own(modality, tmp_path):
    options = ["--metrics", "energy", "--transport-latents", "--threads", "1"]
    modality.main([*SMALL, *options, "--out", str(tmp_path)])
    (row,) = json.loads((tmp_path / "modality.json").read_text())["measurements"]
    assert row["metric"] == "energy"
    X, _ = modality.Data(small_key()).codes
    assert row["result"] == pytest.approx(metrics.energy(X).sum())
    assert row["seconds"] > 0
    assert row["peak_mib"] > 10 or np.isnan(row["peak_mib"])
    # done once and for all
    before = (tmp_path / "modality.jsonl").read_text()
    modality.main([*SMALL, *options, "--out", str(tmp_path)])
    assert (tmp_path / "modality.jsonl").read_text() == before


def test_every_metric_runs(modality):
    for name in modality.METRICS:
        cost = modality.measure(small_key(metric=name))
        assert np.isfinite(cost["result"]), name
        assert cost["cpu_seconds"] >= 0


def test_transport_is_measured(modality):
    pytest.importorskip("ot")
    key = {"metric": "transport_plan", "seed": 0, "latents": 9, "features": 8}
    cost = modality.measure(key)
    assert 0 < cost["result"] < 1


def test_codes_share_half_of_what_is_active(modality):
    X, y = modality.Data(small_key(samples=500, latents=5000, k=8)).codes
    assert X.shape == y.shape == (500, 5000)
    both = (X != 0).multiply(y != 0).sum()
    assert both / 500 == pytest.approx(4, abs=0.1)
    assert X.nnz / 500 == pytest.approx(8, abs=0.1)
    assert metrics.firing_rate(X).max() < 0.03
