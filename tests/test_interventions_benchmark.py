"""The benchmark of interventions at a tiny size, judged by direct computation."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
ROWS = {
    *("embeddings", "unchanged", "center", "project_means", "project_difference"),
    *("project_coordinates", "shift", "random_shift"),
    *(
        f"{kind}, tau {tau}"
        for kind in ("ours", "random latents")
        for tau in (0.2, 0.4)
    ),
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two runs on 60 images of width 6, two captions each, 20 images held out."""
    folder = tmp_path_factory.mktemp("interventions")
    rng = np.random.default_rng(0)
    images = rng.standard_normal((60, 6)).astype(np.float32) + 1
    image_of_caption = np.repeat(np.arange(60), 2)
    texts = images[image_of_caption] + rng.standard_normal((120, 6)).astype(np.float32)
    texts[:, 0] -= 3
    np.savez(folder / "views.npz", image=images, text=texts)
    np.save(folder / "groups.npy", image_of_caption)
    np.save(folder / "test.npy", np.arange(60) >= 40)
    options = ["--x", f"{folder}/views.npz:image", "--y", f"{folder}/views.npz:text"]
    options += ["--groups", f"{folder}/groups.npy", "--test", f"{folder}/test.npy"]
    options += ["--n-latents", "12", "-k", "3", "--epochs", "3", "--batch-size", "32"]
    options += [
        "--neighbor",
        "3",
        "--tau",
        "0.2",
        "0.4",
        "--seeds",
        "0",
        "1",
        "--out",
        str(folder / "out"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        module = importlib.import_module("interventions")
        module.main(options)
        module.main(options)  # goes on where it was: nothing is left to do
    lines = (folder / "out" / "interventions.jsonl").read_text().splitlines()
    fits = [json.loads(line) for line in lines]
    content = json.loads((folder / "out" / "interventions.json").read_text())
    return images, texts, fits, content["measurements"]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("name", ["groups", "test", "x_rows", "tau", "native"])
def test_a_fit_is_known_by_all_of_its_arguments(report, name, monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("interventions")
    options = ["--x", "x.npy", "--y", "y.npy", "--out", str(tmp_path)]
    data = SimpleNamespace(train=[0, 1], test=[2])
    given = {"tau": ["0.3"], "native": ["y"]}.get(name, ["other.npy"])
    changed = module._parse([*options, f"--{name.replace('_', '-')}", *given])
    keys = [
        module._key(args, data, "none", 0) for args in (module._parse(options), changed)
    ]
    assert keys[0] != keys[1]


def test_every_intervention_of_every_fit(report):
    _, _, fits, _ = report
    assert len(fits) == 4
    for fit in fits:
        assert set(fit["rows"]) == ROWS
        quality = fit["quality"]
        unimodal = quality["x_only"] + quality["y_only"]
        assert quality["bimodal, tau 0.2"] + unimodal + quality["dead"] == 12
        assert quality["bimodal, tau 0.4"] <= quality["bimodal, tau 0.2"]
    plain = [fit for fit in fits if fit["key"]["alignment"] == "none"]
    assert all(fit["key"]["alignment_weight"] is None for fit in plain)


def test_embeddings_by_hand(report):
    images, texts, fits, _ = report
    # one caption of each held-out image
    X, y = unit(images[40:].astype(float)), unit(texts[80::2].astype(float))
    for fit in fits:
        row = fit["rows"]["embeddings"]
        gap = np.linalg.norm(X.mean(axis=0) - y.mean(axis=0))
        assert row["mean_difference"] == pytest.approx(gap, rel=1e-5)
        cosines = unit(X) @ unit(y).T
        matched = 1 - np.diag(cosines).mean()
        off = ~np.eye(20, dtype=bool)
        inside = [1 - (unit(v) @ unit(v).T)[off].mean() for v in (X, y)]
        expected = matched / (matched + np.mean(inside))
        assert row["relative_gap"] == pytest.approx(expected, rel=1e-5)
        own = np.diag(cosines)
        recall = [(own >= table.max(axis=1)).mean() for table in (cosines, cosines.T)]
        assert row["recall@1"] == pytest.approx(np.mean(recall))
        assert row["recall@1 of all"] == pytest.approx(np.mean(recall))


def test_interventions_do_what_they_say(report):
    _, _, fits, _ = report
    for fit in fits:
        rows = fit["rows"]
        unchanged = rows["unchanged"]
        for name in ("center", "shift", "random_shift", "project_difference"):
            assert rows[name]["mean_difference"] < 0.7 * unchanged["mean_difference"]
        # both move by a constant each
        difference = rows["center"]["mean_difference"]
        assert rows["shift"]["mean_difference"] == pytest.approx(difference, rel=1e-4)
        # what is said of two samples of one view is not said of two views
        assert fit["floor"]["mean_difference"] < unchanged["mean_difference"]


def test_the_floor_is_of_two_halves_of_the_held_out_rows(report, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("interventions")
    rows = np.random.default_rng(1).standard_normal((21, 6))
    first, second = module._halves(rows, {"seed": 0})
    assert len(first) == len(second) == 10
    drawn = {tuple(row) for row in np.vstack([first, second])}
    assert len(drawn) == 20
    assert drawn < {tuple(row) for row in rows}
    other, _ = module._halves(rows, {"seed": 1})
    assert {tuple(row) for row in other} != {tuple(row) for row in first}

    images, texts, fits, _ = report
    data = module.load_paired_arrays(
        images, texts, groups=np.repeat(np.arange(60), 2), test=np.arange(60) >= 40
    )
    key = fits[0]["key"]
    sae = module._paired(key).fit(*module._pairs(data, data.train))
    rebuilt = sae.x_sae_.inverse_transform(sae.x_sae_.transform(unit(images[40:])))
    rebuilt = rebuilt[np.random.default_rng(key["seed"]).permutation(20)]
    halves = rebuilt[:10].astype(float), rebuilt[10:].astype(float)
    gap = np.linalg.norm(halves[0].mean(axis=0) - halves[1].mean(axis=0))
    assert fits[0]["floor"]["mean_difference"] == pytest.approx(gap, rel=1e-4)


def test_measurements_are_means_of_seeds(report):
    _, _, fits, measurements = report
    found = {
        (row["part"], row["alignment"], row["row"], row["measure"]): row["mean"]
        for row in measurements
    }
    values = [
        fit["rows"]["ours, tau 0.4"]["ood"]
        for fit in fits
        if fit["key"]["alignment"] == "none"
    ]
    assert found["rows", "none", "ours, tau 0.4", "ood"] == pytest.approx(
        np.mean(values)
    )
    assert len(found) == 2 * (len(ROWS) * 7 + 5 * 2)


def test_arithmetic_looks_for_the_nearest_image(report):
    images, _, fits, _ = report
    test = unit(images[40:].astype(float))
    cosines = test @ test.T - 2 * np.eye(20)
    n_targets = len(np.unique(cosines.argmax(axis=1)))
    for fit in fits:
        rows = fit["arithmetic"]
        assert set(rows) == {"source", "edit", "plain", "bimodal_edit", "bimodal"}
        for row in rows.values():
            # the depths: 10, and 50 cut down to all targets, where all are hits
            at_ten = 2 * row["recall"] - 1
            assert 10 / n_targets - 0.35 < at_ten <= 1
            assert 0.5 <= row["ood"] <= 1
        assert rows["source"]["recall"] > 0.9  # the nearest image is near
