"""benchmarks/naming.py on tiny arrays, judged by direct computation."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.utils import Bunch

# what the matcher says of models this small
pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")


@pytest.fixture
def naming(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("naming")


def test_a_name_is_right_if_its_label_is_the_most_active(naming):
    activations = np.zeros((6, 4))
    labels = np.array([0, 0, 1, 1, 2, 2])
    activations[[0, 1], 0] = 1  # on label 0 alone
    activations[:, 1] = [1, 1, 3, 3, 2, 2]  # most on label 1, then on 2
    activations[[4, 5], 2] = 1  # on label 2, not on what its name says
    names = pd.DataFrame(
        {"name": ["a", "c", "a", "b"], "confidence": [0.9, 0.5, 0.4, 0.1]}
    )
    data = Bunch(labels=labels, label_of={"a": 0, "b": 1, "c": 2})
    judged = naming.judge(names, sparse.csr_array(activations), data, None)
    assert judged["n"] == 3  # the last latent is silent
    assert judged["right"] == pytest.approx(100 / 3)
    assert judged["among_5"] == pytest.approx(200 / 3)
    assert judged["right_of_surest_quarter"] == 100
    judged = naming.judge(names, sparse.csr_array(activations), data, [1])
    assert (judged["n"], judged["right"]) == (1, 0)


def test_names_of_classes_that_are_far_apart_are_right(naming, tmp_path):
    rng = np.random.default_rng(0)
    centers = np.linalg.qr(rng.standard_normal((16, 16)))[0][:12]
    arrays = {
        name: np.repeat(centers, shots, axis=0) + rng.normal(0, 0.02, (12 * shots, 16))
        for name, shots in {"train": 20, "test": 10, "texts": 1, "words": 1}.items()
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    options = ["--seeds", "0", "--n-latents", "12", "-k", "1", "--epochs", "300"]
    for option, name in (
        ("--train-images", "train"),
        ("--test-images", "test"),
        ("--texts", "texts"),
        ("--vocabulary", "words"),
    ):
        options += [option, f"{tmp_path}/arrays.npz:{name}"]
    naming.main([*options, "--out", str(tmp_path / "out")])
    rows = json.loads((tmp_path / "out/naming.json").read_text())["measurements"]
    right = {row["method"]: row["right"] for row in rows if row["concepts"] == "all"}
    assert right["terms, captions of images"] > 80
    assert right["direction of images"] > 80
    assert right["shuffled"] < 50


def test_a_term_of_emoji_stands_for_the_group_it_is_most_in(naming):
    data = naming.load_groups_of_emoji()
    assert len(data.test) == len(data.labels) == 300
    flag, octopus = data.label_of["flag"], data.label_of["octopus"]
    has_flag = np.array(["flag" in text.split(":")[0] for text in data.captions])
    assert has_flag.sum() > 200
    assert flag != octopus
    assert data.label_of["flag: Japan"] == flag
