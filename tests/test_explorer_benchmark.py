"""benchmarks/explorer.py at a tiny size, judged by the page it wrote."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plotly")


@pytest.fixture
def explorer(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("explorer")


def test_parts_of_a_page_are_its_bytes(explorer, tmp_path):
    options = ["--samples", "60", "--concepts", "20", "--features", "8", "-k", "4"]
    explorer.main([*options, "--pictures", "--layout", "pca", "--out", str(tmp_path)])
    (row,) = json.loads((tmp_path / "explorer.json").read_text())["measurements"]
    page = (tmp_path / "concepts.html").read_bytes()
    assert row["mb"] == len(page) / 1e6
    parts = ("programs", "pictures", "texts", "queries", "concepts")
    assert sum(row[f"mb_of_{part}"] for part in parts) == pytest.approx(
        row["mb"], rel=1e-3
    )
    assert page.count(b"data:image/webp;base64,") == row["n_pictures"] > 0
    assert 0 < row["n_concepts"] <= 20
    assert row["n_pictures"] <= row["n_texts"] <= 60
    assert row["seconds"] > 0


def test_texts_name_what_a_sample_is_made_of(explorer):
    key = {"seed": 0, "samples": 5, "concepts": 7, "features": 3, "k": 4}
    X, y, texts = explorer.make_pairs(key)
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((7, 3), dtype=np.float32)
    active = rng.integers(7, size=(5, 2))
    values = rng.exponential(size=(5, 2))
    np.testing.assert_allclose(
        X, np.einsum("nk,nkd->nd", values, directions[active]), rtol=1e-5, atol=1e-5
    )
    assert texts[0] == f"word{active[0, 0]} word{active[0, 1]}"
    assert X.shape == y.shape
