"""benchmarks/neuron_split.py on tiny arrays, judged by direct computation."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

# what the matcher says of models this small
pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")


@pytest.fixture
def neuron_split(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("neuron_split")


@pytest.fixture
def options(tmp_path):
    """60 pairs of width 6, 20 of them held out."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 6))
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", X + rng.standard_normal((60, 6)) + 1)
    np.save(tmp_path / "test.npy", np.arange(60) >= 40)
    options = ["--train", f"{tmp_path}/x.npy", f"{tmp_path}/y.npy", "--seeds", "0", "1"]
    options += ["--test", f"{tmp_path}/test.npy", "--out", f"{tmp_path}/out"]
    return [*options, "--n-latents", "40", "-k", "3", "--epochs", "2"]


def read_rows(tmp_path):
    rows = json.loads((tmp_path / "out/neuron_split.json").read_text())["measurements"]
    return {(row["method"], row["column"]): row for row in rows}


@pytest.mark.parametrize("min_fires", [1, 3])
def test_counts_by_hand(neuron_split, options, tmp_path, monkeypatch, min_fires):
    fitted = {}
    count = neuron_split.count

    def remember(sae, counted, key):
        fitted[key["method"], key["seed"]] = sae
        return count(sae, counted, key)

    monkeypatch.setattr(neuron_split, "count", remember)
    neuron_split.main([*options, "--min-fires", str(min_fires)])
    rows = read_rows(tmp_path)
    views = [np.load(tmp_path / name)[40:] for name in ("x.npy", "y.npy")]
    views = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in views]
    for method in neuron_split.METHODS:
        for seed in (0, 1):
            sae = fitted[method, seed]
            codes = [Z.toarray() for Z in sae.transform(*views)]
            in_x, in_y = ((Z != 0).sum(axis=0) >= min_fires for Z in codes)
            expected = {"x_only": in_x & ~in_y, "y_only": in_y & ~in_x}
            expected = {k: int(v.sum()) for k, v in expected.items()}
            expected["both"] = int((in_x & in_y).sum())
            expected["dead"] = int((~in_x & ~in_y).sum())
            n_columns = codes[0].shape[1]  # of matched latents, two make a column
            assert 20 <= n_columns < 40 if method == "post_hoc" else n_columns == 40
            assert sum(expected.values()) == n_columns
            for column, value in expected.items():
                assert rows[method, column]["of_seeds"][seed] == value
            for name, rows_of, Z, view in zip(
                "xy", views, codes, (sae.x_sae_, sae.y_sae_), strict=True
            ):
                error = np.square(rows_of - view.inverse_transform(Z)).sum()
                total = np.square(rows_of - rows_of.mean(axis=0)).sum()
                got = rows[method, f"explained_variance_{name}"]["of_seeds"][seed]
                assert got == pytest.approx(1 - error / total, rel=1e-5)
        kinds = [rows[method, kind] for kind in ("dead", "x_only", "y_only", "both")]
        counts = np.array([row["of_seeds"] for row in kinds])
        shares = counts.sum(axis=1) / counts.sum()
        np.testing.assert_allclose([row["share"] for row in kinds], shares)


def test_published_shares_stand_beside_ours(neuron_split, options, tmp_path, capsys):
    neuron_split.main([*options, "--methods", "group_sparse", "post_hoc"])
    rows = read_rows(tmp_path)
    assert rows["group_sparse", "both"]["published"] == 5823
    assert rows["group_sparse", "dead"]["published_share"] == pytest.approx(188 / 8192)
    assert "published" not in rows["post_hoc", "both"]
    assert "published" not in rows["group_sparse", "x_only"]
    assert f"{5823 / 8192:.3f}" in capsys.readouterr().out


def test_a_run_goes_on_where_it_stopped(neuron_split, options, tmp_path, monkeypatch):
    neuron_split.main([*options, "--methods", "shared"])
    first = read_rows(tmp_path)

    def run_nothing(key, train, counted):
        raise AssertionError(key)

    monkeypatch.setattr(neuron_split, "run", run_nothing)
    neuron_split.main([*options, "--methods", "shared"])
    assert read_rows(tmp_path) == first
    with pytest.raises(AssertionError, match="min_fires"):
        neuron_split.main([*options, "--methods", "shared", "--min-fires", "2"])


def test_pairs_to_count_on(neuron_split, options, tmp_path, capsys):
    specs = [f"{tmp_path}/x.npy", f"{tmp_path}/y.npy"]
    with pytest.raises(SystemExit):
        neuron_split.main([*options, "--pairs", *specs])
    assert "give one of them" in capsys.readouterr().err
    start = options.index("--test")
    options = options[:start] + options[start + 2 :] + ["--methods", "shared"]
    neuron_split.main([*options, "--pairs", *specs])
    lines = (tmp_path / "out/neuron_split.jsonl").read_text().splitlines()
    assert {json.loads(line)["key"]["n_counted"] for line in lines} == {60}
