"""benchmarks/processes.py at a tiny size."""

import importlib
import json
from pathlib import Path

import pytest
from distributed_processes import needs_gloo


@pytest.fixture
def processes(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("processes")


@needs_gloo
@pytest.mark.slow
def test_messages_are_those_that_a_step_needs(processes, tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    d, m, k, batch = 8, 32, 3, 20
    processes.main(
        ["--shapes", f"{d}x{m}x{k}x{batch}", "--steps", "2", "--rounds", "1"]
        + ["--out", str(tmp_path)]
    )
    content = json.loads((tmp_path / "processes.json").read_text())
    topk, batch_topk = content["measurements"]
    n_parameters = 2 * m * d + m + d
    assert topk["gradient_megabytes"] == pytest.approx(4 * n_parameters / 1e6)
    # beside the gradients: sums and squares of the rows, firings, loss and error
    n_bytes = 4 * n_parameters + 4 * d + 4 * 2 + 8 * m + 4 * 2
    assert topk["messages"] == 5
    assert topk["megabytes"] == pytest.approx(n_bytes / 1e6)
    assert batch_topk["megabytes"] > topk["megabytes"]
    for row in (topk, batch_topk):
        assert row["speed_up"] == pytest.approx(2 * row["efficiency"])
        assert 0 < row["waiting"] < 1
        assert row["cpu_ratio"] > 0
