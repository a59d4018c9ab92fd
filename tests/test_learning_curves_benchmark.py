"""benchmarks/learning_curves.py on tiny arrays, judged by direct computation."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from skxsae import PostHocAlignedSAE

# what the matcher says of models this small
pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")


@pytest.fixture
def learning_curves(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("learning_curves")


@pytest.fixture
def options(tmp_path):
    """80 images and two captions each, 20 images held out."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((80, 6)).astype(np.float32)
    groups = np.repeat(np.arange(80), 2)
    texts = images[groups] + 0.3 * rng.standard_normal((160, 6)).astype(np.float32)
    np.savez(tmp_path / "views.npz", image=images, text=texts)
    np.save(tmp_path / "row.npy", groups)
    np.save(tmp_path / "test.npy", np.arange(80) >= 60)
    options = [
        "--x",
        f"{tmp_path}/views.npz:image",
        "--y",
        f"{tmp_path}/views.npz:text",
    ]
    options += ["--groups", f"{tmp_path}/row.npy", "--test", f"{tmp_path}/test.npy"]
    options += ["--n-latents", "8", "-k", "3", "--max-iter", "3", "--seeds", "0", "1"]
    return [*options, "--out", f"{tmp_path}/out"]


def read_fits(tmp_path):
    lines = (tmp_path / "out/learning_curves.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def recall_by_hand(queries, gallery, of_query, of_gallery):
    """Share of the queries that have an item of theirs among the best ten."""
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    scores = queries @ gallery.T / np.where(lengths > 0, lengths, 1)
    true = of_query[:, None] == of_gallery
    best = np.where(true, scores, -np.inf).max(axis=1, keepdims=True)
    ahead = (~true & (scores >= best - 1e-9)).sum(axis=1)
    return np.mean(ahead < 10)


def test_recall_of_each_size_by_hand(learning_curves, options, tmp_path):
    learning_curves.main([*options, "--sizes", "30", "all"])
    fits = read_fits(tmp_path)
    assert [fit["key"]["n_groups"] for fit in fits] == [30, 30, "all", "all"]
    assert [fit["n_pairs"] for fit in fits] == [60, 60, 120, 120]
    with np.load(tmp_path / "views.npz") as views:
        images, texts = views["image"], views["text"]
    groups = np.repeat(np.arange(80), 2)
    for fit in fits[2:]:
        sae = PostHocAlignedSAE(8, 3, max_iter=3, random_state=fit["key"]["seed"])
        sae.fit(images[groups[:120]], texts[:120], groups=groups[:120])
        pairs = images[groups[120:]], texts[120:]
        Zx, Zy = (Z.toarray() for Z in sae.transform(*pairs))
        Zx = Zx[::2]  # one row of each image
        own = np.arange(60, 80)
        to_y = recall_by_hand(Zx, Zy, own, groups[120:])
        to_x = recall_by_hand(Zy, Zx, groups[120:], own)
        assert fit["recall_x_to_y"] == pytest.approx(to_y)
        assert fit["recall_y_to_x"] == pytest.approx(to_x)
    rows = json.loads((tmp_path / "out/learning_curves.json").read_text())
    of_all = [row for row in rows["measurements"] if row["n_groups"] == "all"]
    mean = np.mean([fit["recall_x_to_y"] for fit in fits[2:]])
    assert [row["recall_x_to_y"] for row in of_all] == [pytest.approx(mean)]


def test_a_run_goes_on_where_it_stopped_and_knows_its_data(
    learning_curves, options, tmp_path, monkeypatch
):
    options += ["--sizes", "30"]
    learning_curves.main(options)
    first = read_fits(tmp_path)

    def run_nothing(key, data):
        raise AssertionError(key)

    monkeypatch.setattr(learning_curves, "run", run_nothing)
    learning_curves.main(options)
    assert read_fits(tmp_path) == first
    np.save(tmp_path / "other.npy", np.arange(80) < 20)
    options[options.index("--test") + 1] = f"{tmp_path}/other.npy"
    with pytest.raises(AssertionError, match="other"):
        learning_curves.main(options)
