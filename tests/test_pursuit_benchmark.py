"""benchmarks/pursuit.py at a tiny size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def pursuit(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("pursuit")


def test_every_algorithm_is_timed_against_the_encoder(pursuit, tmp_path):
    pursuit.main(
        ["--shape", "8", "32", "3", "--rows", "40", "--rounds", "2"]
        + ["--out", str(tmp_path)]
    )
    content = json.loads((tmp_path / "pursuit.json").read_text())
    ratios = {row["algorithm"]: row["ratio"] for row in content["measurements"]}
    assert set(ratios) >= {"encoder", "mp", "omp"}
    assert ratios["encoder"] == 1
    assert min(ratios.values()) > 0


def test_codes_of_the_same_dictionary(pursuit):
    X = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    saes = [pursuit.make_sae(X, 32, 3, name) for name in pursuit.ALGORITHMS]
    for sae in saes:
        np.testing.assert_allclose(sae.components_, saes[0].components_)
    errors = [1 - sae.score(X) for sae in saes]
    assert errors[2] < errors[1] < errors[0]
