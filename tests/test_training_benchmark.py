"""benchmarks/training.py at a tiny size, judged by direct computation."""

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
LIBRARIES = ["sparsify", "overcomplete", "sae_lens", "dictionary_learning"]


@pytest.fixture
def training(monkeypatch):
    """The benchmark as its own directory sees it, on the CPU."""
    monkeypatch.syspath_prepend(str(FOLDER))
    module = importlib.import_module("training")
    monkeypatch.setattr(module, "DEVICE", "cpu")
    return module


@pytest.fixture
def shape(training):
    return training.Shape(12, 64, 4, 50)


@pytest.fixture
def rows(training, shape):
    return training.load_rows(None, shape, 500)


def explained_variance(rows, reconstruction):
    rows, reconstruction = rows.double().numpy(), reconstruction.double().numpy()
    error = np.square(rows - reconstruction).sum()
    return 1 - error / np.square(rows - rows.mean(axis=0)).sum()


def test_rows_are_normalised_and_wide_ones_projected(training, tmp_path):
    raw = 3 + np.random.default_rng(0).normal(size=(400, 20)) * np.arange(1, 21)
    np.save(tmp_path / "rows.npy", raw.astype(np.float32))
    rows = training.load_rows(
        tmp_path / "rows.npy", training.Shape(5, 8, 2, 10), n_rows=400
    )
    assert rows.dtype == torch.float32
    rows = rows.numpy()
    np.testing.assert_allclose(rows.mean(axis=0), 0, atol=1e-6)
    assert np.square(rows).sum(axis=1).mean() == pytest.approx(1, rel=1e-5)
    singular = np.linalg.svd(raw - raw.mean(axis=0), compute_uv=False)[:5]
    expected = singular**2 / np.square(singular).sum() * 400
    np.testing.assert_allclose(np.square(rows).sum(axis=0), expected, rtol=1e-4)
    with pytest.raises(ValueError, match="20 columns, but d is 30"):
        training.load_rows(tmp_path / "rows.npy", training.Shape(30, 8, 2, 10), 400)


def test_batches_pass_over_training_rows_without_the_held_out(training, shape, rows):
    seen = torch.cat(list(training.batches(rows, shape, 16)))
    assert seen.shape == (800, 12)
    _, counts = torch.unique(seen, dim=0, return_counts=True)
    assert counts.tolist() == [2] * 400
    assert not (seen[:, None] == rows[None, 400:]).all(2).any()


def test_the_dense_step_and_ours_learn_the_same(training, shape, rows):
    """Both take the same gradients in other ways."""
    names = [training.OURS, training.DENSE, "ours_screen"]
    programs = training.build_all(names, shape, rows)
    for batch in training.batches(rows, shape, 30):
        for program in programs.values():
            program.step(batch)
    ours, *others = (program.read(rows) for program in programs.values())
    assert explained_variance(rows, ours[1]) > 0.3
    for codes, reconstruction in others:
        torch.testing.assert_close(codes, ours[0], rtol=0, atol=0.02)
        torch.testing.assert_close(reconstruction, ours[1], rtol=0, atol=0.01)


@pytest.mark.filterwarnings("ignore")  # of the libraries
@pytest.mark.parametrize("name", LIBRARIES)
def test_a_library_starts_where_we_do_and_learns(training, shape, rows, name):
    if why := training._why_missing(name):
        pytest.skip(why)
    programs = training.build_all([training.OURS, name], shape, rows)
    ours, theirs = (program.read(rows) for program in programs.values())
    torch.testing.assert_close(theirs[0], ours[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(theirs[1], ours[1], rtol=0, atol=1e-5)
    for batch in training.batches(rows, shape, 60):
        for program in programs.values():
            program.step(batch)
    ours, theirs = (
        explained_variance(rows, program.read(rows)[1]) for program in programs.values()
    )
    assert theirs == pytest.approx(ours, abs=0.03)


def test_what_was_learnt_is_read_from_held_out_rows(training, shape, rows):
    fit = training.learn(training.DENSE, rows, shape, n_steps=20, seed=0)
    program = training.build_all([training.DENSE], shape, rows)[training.DENSE]
    for batch in training.batches(rows, shape, 20):
        program.step(batch)
    codes, reconstruction = program.read(rows[400:])
    expected = explained_variance(rows[400:], reconstruction)
    assert fit["explained_variance"] == pytest.approx(expected, abs=1e-5)
    assert fit["l0"] == pytest.approx(np.count_nonzero(codes) / 100)
    assert fit["dead_share"] == pytest.approx(1 - (codes != 0).any(0).sum() / 64)


def test_each_round_times_every_program_on_one_batch(training, shape, rows):
    seen = {"a": [], "b": []}
    programs = {name: training.Program(seen[name].append) for name in seen}
    taken = training.time_steps(programs, shape, rows, rounds=7, warm_up=2)
    for of_clock in (taken["seconds"], taken["cpu_seconds"]):
        assert [len(of_program) for of_program in of_clock.values()] == [7, 7]
    for a, b in zip(*seen.values(), strict=True):
        assert a is b


def test_ratios_are_of_medians_and_lie_in_their_interval(training):
    rng = np.random.default_rng(0)
    ours = rng.uniform(1, 2, 41)
    seconds = {training.OURS: ours, "slow": 3 * rng.permutation(ours)}
    key = {"measure": "steps", "shape": "8x16x2x4"}
    fit = {"key": key, "seconds": {name: list(s) for name, s in seconds.items()}}
    fit["cpu_seconds"] = {training.OURS: [1.0, 4.0, 9.0], "slow": [8.0, 8.0, 1.0]}
    first, slow = training.tabulate([fit])["steps"].to_dict("records")
    assert first["ratio"] == first["low"] == first["high"] == 1
    assert slow["ratio"] == pytest.approx(3)
    assert slow["low"] < 3 < slow["high"]
    assert slow["cpu_ratio"] == pytest.approx(2)
    assert slow["ms"] == pytest.approx(3000 * np.median(ours))


def test_memory_is_that_of_one_program(training):
    shape = training.Shape(128, 8192, 4, 64)
    where = {"data": None, "threads": 1}
    fit = training.run_alone(training.OURS, shape, 2, 200, where)
    if np.isnan(fit["peak_mib"]):
        pytest.skip("the system does not tell the peak of memory")
    matrices = 2 * 8192 * 128
    assert fit["state_mib"] == pytest.approx(16 * matrices / 2**20, rel=0.01)
    # weights, gradients and two moments, a buffer of scores, and what torch keeps
    assert 0.9 * fit["state_mib"] < fit["peak_mib"] < fit["state_mib"] + 40
    assert len(fit["seconds"]) == 2


def test_shares_of_a_fit(training, shape, rows):
    fit = training.time_loop(rows, shape, max_iter=2)
    assert fit["n_steps"] == 2 * 500 / 50
    assert 0 < fit["loop_outside_steps"] < fit["fit_outside_steps"] < 1
    assert 0 < fit["step_outside_torch"] < 1


def test_the_floor_counts_the_product_and_what_memory_carries(training):
    shape = training.Shape(d=3, m=5, k=1, batch=7)
    flops, floats = 2 * 7 * 3 * 5, 7 * 3 + 2 * 7 * 5 + 8 * (2 * 15 + 5 + 3)
    seconds = training.floor_seconds(shape, 100.0, 10.0)
    assert seconds == pytest.approx(flops / 100 + 4 * floats / 10)


@pytest.mark.filterwarnings("ignore:Only:UserWarning")
def test_both_views_are_trained_and_matched(training, shape):
    fit = training.train_table_1(shape, "float32", n_rows=300, max_iter=2)
    assert fit["training_seconds"] > fit["floor_seconds"] > 0
    ratio = fit["training_seconds"] / fit["floor_seconds"]
    assert fit["ratio_to_floor"] == pytest.approx(ratio)
    assert fit["matching_seconds"] > 0


def test_table_1_needs_a_gpu(training, tmp_path, capsys):
    with pytest.raises(SystemExit):
        training.main(["--out", str(tmp_path), "--table1", "tf32"])
    assert "needs a CUDA device" in capsys.readouterr().err


def test_a_run_is_reported_drawn_and_not_repeated(
    training, tmp_path, capsys, monkeypatch
):
    monkeypatch.setitem(sys.modules, "overcomplete", None)
    monkeypatch.setattr(training, "LARGE", "12x128x4x50")
    alone = {"peak_mib": 2.0, "state_mib": 1.0, "seconds": [0.1]}
    monkeypatch.setattr(training, "run_alone", lambda *args: alone)
    options = ["--out", str(tmp_path), "--shapes", "12x64x4x50", "8x32x2x20"]
    options += ["--programs", training.OURS, "overcomplete", "dense", training.FLOOR]
    options += ["--threads", "1", "--rounds", "3", "--steps", "5", "--rows", "500"]
    options += ["--memory-steps", "2", "--large", "--seeds", "0", "1"]
    training.main(options)
    assert "overcomplete: left out, ModuleNotFoundError" in capsys.readouterr().out
    lines = (tmp_path / "training.jsonl").read_text()
    assert lines.count("\n") == 2 * (1 + 2 + 2 * 2 + 1) + 2
    training.main(options)
    assert (tmp_path / "training.jsonl").read_text() == lines
    assert "12x64x4x50: ours_float32 1.00, dense " in capsys.readouterr().out
    rows = json.loads((tmp_path / "training.json").read_text())["measurements"]
    steps = [row for row in rows if row["measure"] == "steps"]
    assert len(steps) == 6
    fits = [json.loads(line) for line in lines.splitlines()]
    timed = next(fit for fit in fits if fit["key"]["measure"] == "steps")["seconds"]
    assert steps[1]["ratio"] == pytest.approx(
        np.median(timed["dense"]) / np.median(timed[training.OURS])
    )
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "training.svg").read_text()


def test_libraries_are_pinned(training):
    text = (FOLDER / "training_requirements.txt").read_text()
    pins = set(re.findall(r"^(\S+)==\S+$", text, re.MULTILINE))
    assert set(training.LIBRARIES.values()) | {"torch"} <= pins
