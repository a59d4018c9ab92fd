"""benchmarks/toy_process.py at a tiny size, judged by direct computation."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

pytest.importorskip("ot")

# what the matcher says of models this small
pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")

OPTIONS = ["--n-features", "24", "--n-unimodal", "2", "--n-active", "4"]
OPTIONS += ["--samples", "60", "--test-samples", "40", "--epochs", "3"]
OPTIONS += ["--batch-size", "32"]


@pytest.fixture
def toy_process(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("toy_process")


def read_fits(folder):
    lines = (folder / "toy_process.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def cosines(a, b):
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(b, axis=1)
    return a @ b.T / np.where(norms > 0, norms, 1)


def test_every_method_in_both_experiments(toy_process, tmp_path):
    seeds = ["--seeds", "0", "1", "--weights", "2e-4", "2e-3"]
    toy_process.main([*OPTIONS, *seeds, "--out", str(tmp_path)])
    fits = read_fits(tmp_path)
    assert len(fits) == 2 * 2 * 6
    assert {fit["n_latents"] for fit in fits} == {20, 28}
    for fit in fits:
        holds = fit["key"]["experiment"] == "holds"
        assert (fit["n_latents"], fit["active"]) == ((28, 7) if holds else (20, 4))
    content = json.loads((tmp_path / "toy_process.json").read_text())
    rows = content["measurements"]
    assert {row["method"] for row in rows} == {
        *("none", "iso_energy", "iso_energy_masked", "separate", "post_hoc")
    }
    (row,) = [
        row
        for row in rows
        if (row["experiment"], row["method"], row["weight"], row["metric"])
        == ("holds", "iso_energy", 2e-3, "distance")
    ]
    of_seeds = [
        fit["rows"]["iso_energy"]["distance"]
        for fit in fits
        if (fit["key"]["experiment"], fit["key"]["weight"]) == ("holds", 2e-3)
        and fit["key"]["method"] == "iso_energy"
    ]
    assert row["mean"] == pytest.approx(np.mean(of_seeds))
    assert len(of_seeds) == 2


def test_a_stopped_run_goes_on(toy_process, tmp_path, monkeypatch):
    options = [*OPTIONS, "--methods", "none", "--out", str(tmp_path), "--seeds"]
    toy_process.main([*options, "0"])
    fits = read_fits(tmp_path)
    toy_process.main([*options, "0", "1"])
    assert read_fits(tmp_path)[: len(fits)] == fits
    assert len(read_fits(tmp_path)) == 2 * len(fits)


@pytest.mark.parametrize("experiment", ["violated", "holds"])
def test_scores_by_hand(toy_process, tmp_path, experiment):
    args = toy_process._parse([*OPTIONS, "--methods", "none", "--out", str(tmp_path)])
    (key,) = toy_process.keys(args, experiment, 3)
    row = toy_process.run(key)["rows"]["none"]
    data, features, codes, kinds = toy_process.make_data(key)
    truth = 1 if experiment == "holds" else 2
    np.testing.assert_array_equal(features, data[f"features_{truth}"])
    expected = 0.999999 if experiment == "holds" else 0.4
    assert data.mixed_cosine == pytest.approx(expected, abs=1e-6)
    k = 7 if experiment == "holds" else 4
    sae = toy_process.make_estimator(key, len(features), k)
    sae.fit(data.X[:60], data.y[:60])
    learnt = [Z.toarray() for Z in sae.transform(data.X[60:], data.y[60:])]
    components = sae.x_sae_.components_.astype(np.float64)
    of_atoms = cosines(components, features.astype(np.float64))
    best = linear_sum_assignment(of_atoms, maximize=True)
    assert row["distance"] == pytest.approx(1 - of_atoms[best].mean(), abs=1e-6)
    strong = ~np.isin(kinds, ["x_term", "y_term"])
    assert strong.sum() == (12 if experiment == "holds" else 20)
    best = linear_sum_assignment(of_atoms[:, strong], maximize=True)
    cosine = of_atoms[:, strong][best].mean()
    assert row["cosine_strong"] == pytest.approx(cosine, abs=1e-6)
    used = np.vstack(learnt).astype(np.float64)
    meant = np.vstack([Z.toarray()[60:] for Z in codes]).astype(np.float64)
    of_columns = cosines(used.T, meant.T)
    best = linear_sum_assignment(of_columns, maximize=True)
    assert row["accuracy"] == pytest.approx(of_columns[best].mean(), abs=1e-6)
    best = linear_sum_assignment(of_columns[:, strong], maximize=True)
    accuracy = of_columns[:, strong][best].mean()
    assert row["accuracy_strong"] == pytest.approx(accuracy, abs=1e-6)
    views = np.vstack([data.X[60:], data.y[60:]]).astype(np.float64)
    errors = np.sum((views - used @ components) ** 2, axis=1)
    ratios = errors / np.sum((views - views.mean(axis=0)) ** 2, axis=1)
    assert row["r2"] == pytest.approx(1 - ratios.mean(), abs=1e-5)


def test_separate_dictionaries_share_no_atom_and_merged_ones_all(toy_process, tmp_path):
    args = toy_process._parse(
        [*OPTIONS, "--methods", "post_hoc", "--out", str(tmp_path)]
    )
    (key,) = toy_process.keys(args, "violated", 0)
    data, features, *_ = toy_process.make_data(key)
    sae = toy_process.make_estimator(key, len(features), 4)
    assert (sae.x_sae.n_latents, sae.y_sae.n_latents) == (10, 10)
    sae.fit(data.X[:60], data.y[:60])
    read = toy_process.read(sae, "post_hoc", data, slice(60, None))
    (x_codes, y_codes), components, _ = read["separate"]
    x_codes, y_codes = x_codes.tocsr(), y_codes.tocsr()
    n = x_codes.shape[1] // 2
    assert not x_codes.toarray()[:, n:].any()
    assert not y_codes.toarray()[:, :n].any()
    aligned, merged, _ = read["post_hoc"]
    for own, code in ((x_codes[:, :n], aligned[0]), (y_codes[:, n:], aligned[1])):
        np.testing.assert_array_equal(own.toarray(), code.toarray())
    np.testing.assert_allclose(merged, components[:n] + components[n:])
    assert toy_process._stacked(aligned, len(features)).shape == (80, len(features))
