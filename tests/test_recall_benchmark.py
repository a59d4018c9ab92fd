"""benchmarks/recall.py at a tiny size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal


@pytest.fixture
def recall(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("recall")


def test_captions_share_half_of_the_latents_of_their_image(recall):
    images, captions, image = recall.draw_pairs(40, 3, 5000, 8, seed=0)
    assert images.shape == (40, 5000)
    assert captions.shape == (120, 5000)
    assert_array_equal(image, np.repeat(np.arange(40), 3))
    together = (images[image] > 0).multiply(captions > 0).sum(axis=1)
    assert together.min() >= 2
    assert 4 <= together.mean() < 5


def test_all_methods_find_the_same(recall):
    data = recall.draw_pairs(60, 2, 300, 6, seed=1)
    expected = recall.recall_dense(*data)
    assert 0.1 < expected[0] < expected[2] < 1
    # float32 may order what is equal in float64 another way
    assert_allclose(recall.recall_sparse(*data), expected, atol=0.01)


def test_a_process_of_its_own_finds_the_same(recall):
    drawing = {"n_images": 60, "n_captions": 2, "n_latents": 300, "k": 6, "seed": 1}
    fit = recall.run_alone({"method": "skxsae", "threads": 1, **drawing})
    here = recall.recall_sparse(*recall.draw_pairs(**drawing))
    assert fit["x_to_y@10"] == here[2]
    assert fit["y_to_x@1"] == here[3]
    assert fit["seconds"] > 0
    assert fit["peak_mib"] >= 0 or np.isnan(fit["peak_mib"])


def test_a_run_is_reported_and_not_repeated(recall, tmp_path, monkeypatch):
    ran = []

    def run_here(key):
        ran.append(key)
        return {"seconds": 1.0, "cpu_seconds": 1.0, "peak_mib": 2.0} | {
            "x_to_y@10": 0.5,
            "y_to_x@10": 0.25,
        }

    monkeypatch.setattr(recall, "run_alone", run_here)
    options = ["--out", str(tmp_path), "--seeds", "0", "--methods", "skxsae", "torch"]
    for _ in range(2):
        recall.main(options)
    assert len(ran) == 2
    rows = json.loads((tmp_path / "recall.json").read_text())["measurements"]
    assert [(row["method"], row["y_to_x@10"]) for row in rows] == [
        ("skxsae", 0.25),
        ("torch", 0.25),
    ]
