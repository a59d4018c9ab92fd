"""benchmarks/matching.py at a tiny size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def matching(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("matching")


def test_draws_have_the_given_size_and_something_in_common(matching):
    settings = {"n_pairs": 3000, "n_latents": 20, "k": 6, "spread": 0.5, "shared": 0.5}
    x, y = matching.draw_codes(**settings, seed=0)
    for codes in (x, y):
        assert codes.shape == (3000, 20)
        assert 1 <= codes.count_nonzero(axis=1).max() <= 6
    correlation = np.corrcoef(x.toarray().T, y.toarray().T)[:20, 20:]
    assert np.all(correlation.max(axis=1) > 0.1)
    x, y = matching.draw_codes(**{**settings, "shared": 0.0}, seed=0)
    correlation = np.corrcoef(x.toarray().T, y.toarray().T)[:20, 20:]
    assert np.all(np.abs(correlation) < 0.1)


def test_both_ways_match_the_same_sum(matching):
    codes = matching.draw_codes(500, 60, k=6, spread=1, shared=0.5, seed=0)
    ours, theirs = matching.match_sparse(*codes), matching.match_dense(*codes)
    assert ours["trace"] == pytest.approx(theirs["trace"], rel=1e-5)
    assert ours["matched"] == theirs["matched"]
    assert 0 < ours["above_noise"] <= ours["matched"]
    assert ours["relative_gap"] < 1e-12


def test_the_way_from_sums_matches_the_same(matching, monkeypatch):
    monkeypatch.setattr("skxsae._pair_sums.PAIRS_IN_HAND", 100)
    monkeypatch.setattr("skxsae._pair_sums.PAIRS_OF_BLOCK", 10)
    codes = matching.draw_codes(500, 60, k=6, spread=1, shared=0.5, seed=0)
    sums, whole = (matching.METHODS[name](*codes) for name in ("sums", "sparse"))
    assert sums["trace"] == pytest.approx(whole["trace"], rel=1e-12)
    assert sums["matched"] == whole["matched"]
    assert 0 < sums["above_noise"] <= sums["matched"]


def test_pairs_that_fire_together_are_counted(matching):
    x, y = matching.draw_codes(500, 60, k=6, spread=1, shared=0.5, seed=0)
    together = np.count_nonzero(x.toarray().T @ y.toarray())
    assert matching.count_firing_together(x, y, step=7) == {"nonzeros": together}


def test_firing_rates_may_come_from_a_file(matching, tmp_path):
    path = tmp_path / "rates.npy"
    np.save(path, [0.5, 0.001])
    x, _ = matching.draw_codes(2000, 40, k=4, spread=0, shared=0, seed=0, rates=path)
    counts = np.sort(x.count_nonzero(axis=0))
    assert counts[0] < 20 < 200 < counts[-1]


KEY = {"method": "dense", "n_pairs": 300, "n_latents": 40, "k": 5, "seed": 0}


def test_a_process_of_its_own_measures_the_same(matching):
    key = {**KEY, "spread": 1, "shared": 0.5}
    fit = matching.run_alone(key)
    here = matching.match_dense(*matching.draw_codes(300, 40, 5, 1, 0.5, 0))
    assert fit["trace"] == pytest.approx(here["trace"], rel=1e-5)
    assert fit["seconds"] > 0
    assert fit["peak_mib"] >= 0 or np.isnan(fit["peak_mib"])


def test_a_run_is_reported_and_not_repeated(matching, tmp_path, capsys, monkeypatch):
    ran = []

    def run_here(key):
        ran.append(key)
        drawing = {name: value for name, value in key.items() if name != "method"}
        codes = matching.draw_codes(**drawing)
        result = matching.METHODS[key["method"]](*codes)
        return {"seconds": 1.0, "cpu_seconds": 1.0, "peak_mib": 2.0, **result}

    monkeypatch.setattr(matching, "run_alone", run_here)
    options = ["--out", str(tmp_path), "--sizes", "300x40", "2000x1000", "-k", "5"]
    options += ["--methods", "sparse_no_null", "dense", "--dense-gib", "0.001"]
    for _ in range(2):
        matching.main(options)
        assert "dense at 2000x1000: left out" in capsys.readouterr().out
        assert len(ran) == 3
    rows = json.loads((tmp_path / "matching.json").read_text())["measurements"]
    assert [(row["method"], row["n_pairs"]) for row in rows] == [
        ("sparse_no_null", 300),
        ("dense", 300),
        ("sparse_no_null", 2000),
    ]
    assert rows[0]["trace"] == pytest.approx(rows[1]["trace"], rel=1e-5)
