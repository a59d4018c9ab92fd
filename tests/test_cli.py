"""The command line: what it prints, what it writes, and what it refuses."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from skxsae import load
from skxsae._cli import _main, main
from skxsae._cli._concepts import display_width, shortened
from skxsae._cli._data import Pairs
from skxsae._cli._evaluate import chance_recalls
from skxsae._cli._figure import can_plot
from skxsae._cli._methods import METHODS
from skxsae._cli._output import new_folder
from skxsae.datasets import DiskArray, load_emoji, load_paired_arrays
from skxsae.metrics import recall_at_k_score

N_IMAGES, N_PAIRS, WIDTH = 120, 240, 12
SMALL = ["-k", "3", "--n-latents", "16", "--max-iter", "4"]


@pytest.fixture
def arrays(tmp_path, monkeypatch):
    """Two captions for each image, from the same sparse code, in the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    codes = rng.exponential(size=(N_IMAGES, 8)) * (rng.random((N_IMAGES, 8)) < 0.3)
    groups = rng.permutation(np.repeat(np.arange(N_IMAGES), 2))
    images = codes @ rng.normal(size=(8, WIDTH))
    captions = codes[groups] @ rng.normal(size=(8, WIDTH))
    captions += 0.1 * rng.normal(size=captions.shape)
    np.save("images.npy", images.astype(np.float32))
    np.savez("captions.npz", text=captions.astype(np.float32), other=captions)
    np.save("narrow.npy", captions[:, :5].astype(np.float32))
    np.save("groups.npy", groups)
    Path("texts.txt").write_text("".join(f"caption {i}\n" for i in range(N_PAIRS)))
    return tmp_path


OWN = ["--x", "images.npy", "--y", "captions.npz:text", "--groups", "groups.npy"]


def run(*argv):
    """Report of a run that must succeed."""
    assert main([*argv, "--out", "out"]) == 0
    return json.loads(Path("out/report.json").read_text(encoding="utf-8"))


def test_all_methods_on_own_arrays(arrays, capsys):
    report = run(*OWN, *SMALL)
    assert [row["method"] for row in report["table"]] == list(METHODS)
    text = capsys.readouterr().out
    for row in report["table"]:
        line = next(t for t in text.splitlines() if t.startswith(f"{row['method']} "))
        cells = line.split()[1:]
        recalls = [
            row[f"recall_{d}"][k]
            for d in ("x_to_y", "y_to_x")
            for k in ("1", "5", "10")
        ]
        assert cells[2:8] == [f"{100 * recall:.1f}" for recall in recalls]
        if row["seconds"] is not None:
            assert cells[0] == f"{row['explained_variance_x']:.3f}"
            assert cells[8] == str(row["n_dead"])
            assert row["n_latents"] == 32
    assert max(map(display_width, text.splitlines())) <= 100
    written = {path.name for path in Path("out").iterdir()}
    assert written == {"report.json", "figure.png", *report["models"]}
    assert [path.name for path in arrays.iterdir() if path.name.startswith(".")] == []


def test_folders_of_files_give_the_report_of_one_file(arrays, monkeypatch):
    methods = ["--methods", "post_hoc", "dense"]
    expected = run(*OWN, *SMALL, *methods)
    for name, rows in (
        ("img_emb", np.load("images.npy")),
        ("text_emb", np.load("captions.npz")["text"]),
    ):
        Path(name).mkdir()
        for number, part in enumerate(np.array_split(rows, 7)):
            np.save(f"{name}/{name}_{number}.npy", part)

    def refuse(array, *args, **kwargs):
        raise AssertionError(f"{array} is loaded at once")

    monkeypatch.setattr(DiskArray, "__array__", refuse)
    folders = ["--x", "img_emb", "--y", "text_emb", *OWN[4:]]
    report = run(*folders, *SMALL, "--methods", "post_hoc", "--overwrite")
    monkeypatch.undo()
    monkeypatch.chdir(arrays)
    assert report["concepts"] == expected["concepts"]
    report = run(*folders, *SMALL, *methods, "--overwrite")
    for row, other in zip(report["table"], expected["table"], strict=True):
        del row["seconds"], other["seconds"]
        assert row == other


def test_numbers_are_those_of_the_saved_model_on_held_out_groups(arrays):
    report = run(*OWN, *SMALL, "--methods", "post_hoc", "--seed", "3")
    (row,) = report["table"]
    groups = np.load("groups.npy")
    data = load_paired_arrays(*OWN[1:4:2], groups=OWN[5], random_state=3)
    assert not set(groups[data.train]) & set(groups[data.test])
    assert report["data"]["n_test_pairs"] == len(data.test)
    assert report["data"]["n_test_groups"] == len(set(groups[data.test]))
    sae = load("out/post_hoc.safetensors")
    images, captions = data.X[groups[data.test]], data.y[data.test]
    codes = sae.transform(images, captions)
    for direction in ("x_to_y", "y_to_x"):
        for k in (1, 5, 10):
            expected = recall_at_k_score(
                *codes, k=k, direction=direction, groups=groups[data.test]
            )
            assert row[f"recall_{direction}"][str(k)] == expected
    held_out = data.X[np.unique(groups[data.test])]
    assert row["explained_variance_x"] == pytest.approx(sae.x_sae_.score(held_out))
    assert row["explained_variance_y"] == pytest.approx(sae.y_sae_.score(captions))
    assert row["n_matched"] == len(sae.matches_)
    assert row["n_above_noise"] == sae.matches_["above_noise"].sum()


def test_separate_and_post_hoc_are_the_same_dictionaries(arrays):
    report = run(*OWN, *SMALL, "--methods", "separate", "post_hoc")
    separate, aligned = report["table"]
    for name in ("explained_variance_x", "explained_variance_y", "n_dead"):
        assert separate[name] == pytest.approx(aligned[name])
    assert separate["n_matched"] is None
    trained = load("out/separate_x.safetensors")
    sae = load("out/post_hoc.safetensors")
    np.testing.assert_array_equal(sae.x_sae_.components_[:16], trained.components_)


def test_report_tells_how_to_repeat_the_run(arrays):
    report = run(*OWN, *SMALL, "--methods", "shared", "--seed", "7", "--device", "cpu")
    parameters = report["parameters"]
    assert parameters["n_latents_per_view"] == 16
    assert (parameters["k"], parameters["seed"], parameters["max_iter"]) == (3, 7, 4)
    assert parameters["models"]["shared"]["n_latents"] == 32
    assert report["data"]["x_shape"] == [N_IMAGES, WIDTH]
    assert report["data"]["arguments"]["y"] == "captions.npz:text"
    assert {"skxsae", "torch", "numpy", "scikit-learn"} <= set(report["versions"])
    again = run(*OWN, *SMALL, "--methods", "shared", "--seed", "7", "--overwrite")
    for report_ in (report, again):
        report_["table"][0].pop("seconds")
    assert again["table"] == report["table"]


def test_concepts_are_the_best_matches_and_their_strongest_rows(arrays, capsys):
    report = run(
        *OWN,
        *SMALL[:4],
        "--max-iter",
        "60",
        "--methods",
        "post_hoc",
        "--texts",
        "texts.txt",
    )
    sae, groups = load("out/post_hoc.safetensors"), np.load("groups.npy")
    best = sae.matches_.query("above_noise").sort_values("correlation", ascending=False)
    assert len(best) >= 2
    assert [c["latent"] for c in report["concepts"]] == list(best["x_latent"][:10])
    data = load_paired_arrays(*OWN[1:4:2], groups=OWN[5], random_state=0)
    concept = report["concepts"][0]
    rows = np.unique(groups[data.train])
    activation = sae.x_sae_.transform(data.X[rows]).toarray()[:, concept["latent"]]
    assert concept["x"] == rows[np.argsort(-activation)[:5]].tolist()
    activation = sae.y_sae_.transform(data.y[data.train]).toarray()[
        :, concept["latent"]
    ]
    strongest = data.train[np.argsort(-activation)]
    _, first = np.unique(groups[strongest], return_index=True)
    assert concept["y"] == [f"caption {i}" for i in strongest[np.sort(first)][:5]]
    assert f"texts       {concept['y'][0]}" in capsys.readouterr().out


def test_image_repeated_for_its_captions_is_not_on_both_sides(arrays, capsys):
    images = np.random.default_rng(1).normal(size=(N_IMAGES, WIDTH))
    np.save("images.npy", images)
    once = run(*OWN, *SMALL, "--methods", "separate", "dense", "--overwrite")
    assert not any("repeat" in note for note in once["notes"])
    groups = np.load("groups.npy")
    np.save("repeated.npy", images[groups])
    argv = ["--x", "repeated.npy", "--y", "captions.npz:text", "--overwrite"]
    capsys.readouterr()
    report = run(*argv, *SMALL, "--methods", "separate", "dense")
    assert report["data"]["n_test_groups"] == N_IMAGES // 5
    assert report["data"]["n_test_pairs"] == 2 * N_IMAGES // 5
    # the gallery holds each picture once, as where --x does
    assert report["chance"] == once["chance"]
    note = "120 of the 240 rows of --x repeat an earlier one"
    assert note in report["notes"][0]
    assert f"Note: {note}" in capsys.readouterr().err
    test = load_paired_arrays("repeated.npy", "captions.npz:text").test
    train = np.setdiff1d(np.arange(N_PAIRS), test)
    assert not set(groups[train]) & set(groups[test])


def test_repeated_captions_on_both_sides_are_said(arrays):
    np.save("images.npy", np.random.default_rng(1).normal(size=(N_IMAGES, WIDTH)))
    captions = np.load("captions.npz")["text"][: N_IMAGES // 2]
    np.save("few.npy", np.repeat(captions, 2, axis=0))
    report = run("--x", "images.npy", "--y", "few.npy", *SMALL, "--methods", "dense")
    test = load_paired_arrays("images.npy", "few.npy").test
    n_shared = sum(row ^ 1 not in test for row in test)
    assert f"{n_shared} of the 24 held-out rows of --y" in report["notes"][0]


def test_views_of_different_widths(arrays, capsys):
    report = run("--x", "images.npy", "--y", "narrow.npy", *OWN[4:], *SMALL)
    methods = [row["method"] for row in report["table"]]
    assert methods == ["separate", "post_hoc", "soft"]
    line = "Left out, as the widths differ (12 and 5): "
    line += "shared, iso_energy, group_sparse, dense, reconstruction."
    assert report["left_out"] == line
    assert line in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("y", "n_latents"), [("other", 16), ("few", 4)])
def test_sizes_that_are_not_given_suit_the_smaller_view(arrays, y, n_latents):
    captions = np.load("captions.npz")["other"]
    # 96 training images and twice as many captions, or 32 different captions
    few = captions[:32][np.arange(N_PAIRS) % 32]
    np.savez("captions.npz", other=captions, few=few[:, :5])
    argv = ["--x", "images.npy", "--y", f"captions.npz:{y}", *OWN[4:]]
    report = run(*argv, "--max-iter", "2", "--methods", "separate", "post_hoc")
    assert report["parameters"]["n_latents_per_view"] == n_latents
    assert report["parameters"]["k"] == 1
    assert report["parameters"]["models"]["separate_y"]["n_latents"] == n_latents


def test_synthetic_adds_the_errors_against_the_truth(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    report = run("--synthetic", "--n-latents", "32", "--max-iter", "1")
    names = ["feature_recovery_error", "feature_alignment_error"]
    names += ["latent_alignment_error", "feature_collapse_rate"]
    for row in report["table"]:
        assert (row["method"] in ("dense", "reconstruction")) == (names[0] not in row)
    by_name = {row["method"]: row for row in report["table"]}
    separate, aligned = by_name["separate"], by_name["post_hoc"]
    for name in (names[0], names[3]):
        assert separate[name] == pytest.approx(aligned[name])
    assert aligned["latent_alignment_error"] < separate["latent_alignment_error"]
    text = capsys.readouterr().out
    assert f"{separate['feature_alignment_error']:.3f}" in text
    if report["concepts"]:
        assert f"in x        {report['concepts'][0]['x'][0]}" in text
    assert max(map(display_width, text.splitlines())) <= 100


def test_test_mask_of_images(arrays):
    mask = np.arange(N_IMAGES) < 30
    np.save("mask.npy", mask)
    report = run(*OWN, *SMALL, "--methods", "dense", "--test", "mask.npy")
    assert report["data"]["n_test_groups"] == 30
    assert report["data"]["n_test_pairs"] == 60


def test_constant_view_is_a_report_without_concepts(arrays, capsys):
    np.save("constant.npy", np.ones((N_IMAGES, WIDTH), dtype=np.float32))
    report = run("--x", "constant.npy", *OWN[2:], *SMALL)
    assert report["concepts"] == []
    assert any("Nothing is matched" in note for note in report["notes"])
    assert "no concept to show" in capsys.readouterr().out


def test_without_matplotlib_the_rest_is_written(arrays, monkeypatch, capsys):
    monkeypatch.setattr(_main, "can_plot", lambda: False)
    report = run(*OWN, *SMALL, "--methods", "dense")
    assert report["figure"] is None
    assert not Path("out/figure.png").exists()
    assert "skxsae[plot]" in capsys.readouterr().err


def test_figure_is_a_picture(arrays):
    assert can_plot()
    run(*OWN, *SMALL, "--methods", "separate,post_hoc")
    assert Path("out/figure.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_nothing_half_written_is_left(arrays, monkeypatch, error):
    def fail(*_):
        assert any(path.suffix == ".safetensors" for path in Path().rglob("*"))
        raise error

    before = sorted(Path().rglob("*"))
    monkeypatch.setattr(_main, "write_report", fail)
    argv = [*OWN, *SMALL, "--methods", "shared", "--out", "out"]
    if isinstance(error, KeyboardInterrupt):
        assert main(argv) == 130
    else:
        with pytest.raises(OSError, match="disk full"):
            main(argv)
    assert sorted(Path().rglob("*")) == before


def test_interrupted_fit_says_that_nothing_was_written(arrays, monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_main, "evaluate", interrupt)
    assert main([*OWN, *SMALL, "--methods", "shared"]) == 130
    assert "nothing was written to skxsae-out" in capsys.readouterr().err
    assert not Path("skxsae-out").exists()


def _write_half(out):
    """Fail while a folder is being written."""
    with new_folder(out) as folder:
        (folder / "report.json").write_text("later")
        raise ZeroDivisionError


def test_failed_overwrite_keeps_the_earlier_folder(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text("earlier")
    with pytest.raises(ZeroDivisionError):
        _write_half(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "report.json").read_text() == "earlier"
    with new_folder(out) as folder:
        (folder / "report.json").write_text("later")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "report.json").read_text() == "later"


def assert_refused(capsys, argv, *fragments):
    """The run ends with status 2 and one error line that holds the fragments."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    (message,) = [line for line in err.splitlines() if line.startswith("skxsae: error")]
    for fragment in fragments:
        assert fragment in message
    assert sorted(Path().rglob("*")) == before


@pytest.mark.parametrize(
    ("argv", "fragments"),
    [
        (["--x", "images.npy"], ["--x was given without --y"]),
        (["--y", "images.npy"], ["--y was given without --x", "--x FILE --y FILE"]),
        (["--groups", "groups.npy"], ["--groups describes your own arrays", "add --x"]),
        (["--test", "groups.npy"], ["--test describes"]),
        (["--texts", "texts.txt"], ["--texts describes"]),
        (["--synthetic", *OWN], ["--synthetic makes its own pairs", "--x"]),
        ([*OWN, "--methods", "shard"], ["'shard'", "post_hoc", "shared"]),
        ([*OWN, "-k", "0"], ["-k", "'0'", "at least 1"]),
        ([*OWN, "-k", "some"], ["'some'", "whole number"]),
        ([*OWN, "--n-latents", "2.5"], ["--n-latents", "'2.5'"]),
        ([*OWN, "--max-iter", "-1"], ["--max-iter", "'-1'"]),
        ([*OWN, "-k", "9", "--n-latents", "8"], ["-k 9", "--n-latents 8", "lower"]),
        ([*OWN, "-k", "900"], ["-k 900", "--n-latents"]),
        ([*OWN, "--seed", "-1"], ["--seed", "'-1'", "from 0"]),
        ([*OWN, "--device", "gpu9"], ["device='gpu9'", "'cpu'"]),
        ([*OWN, "--out", "groups.npy"], ["--out groups.npy is a file"]),
        ([*OWN, "--out", "."], ["--out . is the working directory"]),
        (["--x", "no.npy", *OWN[2:]], ["x='no.npy'", "there is no file"]),
        ([*OWN[:3], "captions.npz"], ["'text', 'other'", "file.npz:name"]),
        ([*OWN[:3], "captions.npz:txt"], ["no array named 'txt'", "'text'"]),
        (OWN[:4], ["x has 120 rows and y has 240", "groups"]),
        ([*OWN, "--texts", "no.txt"], ["--texts no.txt cannot be read"]),
        ([*OWN, "--texts", "short.txt"], ["has 1 lines", "240 rows"]),
        ([*OWN, "--x", "nan.npy"], ["--x", "NaN in row 7, column 2"]),
        ([*OWN, "--test", "few.npy"], ["5 groups", "at least 11"]),
        ([*OWN, "--test", "split.npy"], ["split", "one side"]),
        (
            ["--x", "images.npy", "--y", "narrow.npy", *OWN[4:], "--methods", "shared"],
            ["--x has 12 features and --y 5", "post_hoc"],
        ),
        ([*OWN, "--unknown"], ["--unknown"]),
    ],
)
def test_wrong_argument_is_one_clear_message(arrays, capsys, argv, fragments):
    images = np.load("images.npy")
    images[7, 2] = np.nan
    np.save("nan.npy", images)
    np.save("few.npy", np.arange(N_IMAGES) < 5)
    np.save("split.npy", np.arange(N_PAIRS) < 100)
    Path("short.txt").write_text("one line\n")
    assert_refused(capsys, argv, *fragments)


def test_folder_in_use_is_refused(arrays, capsys):
    Path("out").mkdir()
    Path("out/precious.txt").write_text("mine")
    assert_refused(
        capsys, [*OWN, "--out", "out"], "--out out", "not empty", "--overwrite"
    )
    assert_refused(
        capsys, [*OWN, "--out", "out", "--overwrite"], "holds no report.json", "another"
    )


OURS = {"versions": {"skxsae": "0.1.0"}, "figure": None, "models": ["a.safetensors"]}


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        "not JSON",
        "\xff",
        "[1]",
        "null",
        json.dumps({**OURS, "versions": {"numpy": "2.0"}}),
        json.dumps({**OURS, "models": [["a.safetensors"]]}),
        json.dumps({**OURS, "models": None}),
        json.dumps({key: value for key, value in OURS.items() if key != "figure"}),
    ],
)
def test_report_of_something_else_is_not_overwritten(arrays, capsys, text):
    Path("out").mkdir()
    Path("out/report.json").write_text(text, encoding="latin-1")
    Path("out/a.safetensors").write_text("mine")
    argv = [*OWN, "--out", "out", "--overwrite"]
    assert_refused(capsys, argv, "report.json that this command did not write")


@pytest.mark.parametrize("name", ["thesis.txt", "figure.png", ".hidden"])
def test_file_beside_an_earlier_run_is_not_deleted(arrays, capsys, monkeypatch, name):
    monkeypatch.setattr(_main, "can_plot", lambda: False)
    run(*OWN, *SMALL, "--methods", "separate")
    Path("out", name).write_text("mine")
    capsys.readouterr()
    argv = [*OWN, *SMALL, "--methods", "dense", "--out", "out", "--overwrite"]
    assert_refused(capsys, argv, f"holds {name!r}", "move it away")
    Path("out", name).unlink()
    assert main(argv) == 0
    assert [path.name for path in Path("out").iterdir()] == ["report.json"]


def test_folder_inside_an_earlier_run_is_not_deleted(arrays, capsys):
    Path("out/a.safetensors").mkdir(parents=True)
    Path("out/report.json").write_text(json.dumps(OURS))
    argv = [*OWN, "--out", "out", "--overwrite"]
    assert_refused(
        capsys, argv, "holds 'a.safetensors', which is not of the earlier run"
    )


def test_empty_folder_is_used(arrays):
    Path("out").mkdir()
    assert run(*OWN, *SMALL, "--methods", "dense")["figure"] == "figure.png"


def test_chance_is_that_of_a_random_order():
    # group i has i + 1 texts and one picture
    groups = np.repeat(np.arange(12), np.arange(1, 13))
    n_texts, n_pairs = np.arange(1, 13), len(groups)
    pairs = Pairs(
        "",
        np.eye(12),
        np.ones((n_pairs, 2)),
        groups,
        groups,
        groups[:0],
        np.arange(n_pairs),
    )
    chance = chance_recalls(pairs)
    for k in (1, 5, 10):
        miss = [math.comb(n_pairs - n, k) / math.comb(n_pairs, k) for n in n_texts]
        assert chance["recall_x_to_y"][str(k)] == pytest.approx(1 - np.mean(miss))
        assert chance["recall_y_to_x"][str(k)] == pytest.approx(k / 12)


def test_chance_is_certain_where_only_true_answers_are_left():
    groups = np.repeat([0, 1], [11, 1])
    everything = np.arange(12)
    pairs = Pairs(
        "",
        np.ones((12, 2)),
        np.ones((12, 2)),
        everything,
        groups,
        everything[:0],
        everything,
    )
    # a query of the large group cannot miss with k = 5, that of the small one can
    expected = (11 + 5 / 12) / 12
    assert chance_recalls(pairs)["recall_x_to_y"]["5"] == pytest.approx(expected)


def test_display_width_of_emoji():
    assert display_width("abc") == 3
    assert display_width("\U0001f436") == 2
    assert display_width("e\u0301\ufe0f") == 1
    assert shortened("a long caption", 8) == "a long…"
    assert shortened("\U0001f436" * 5, 8) == "\U0001f436" * 3 + "…"


def test_module_runs_as_a_program():
    result = subprocess.run(
        [sys.executable, "-m", "skxsae", "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0
    assert "--synthetic" in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(("n_read", "is_written"), [(0, False), (3, True)])
def test_closed_output_is_no_traceback(arrays, n_read, is_written):
    argv = [*OWN, *SMALL, "--methods", "separate", "--out", "out"]
    command = [sys.executable, "-m", "skxsae", *argv]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        for _ in range(n_read):
            process.stdout.readline()
        process.stdout.close()
        message = process.stderr.read()
    assert "Traceback" not in message
    assert "BrokenPipe" not in message
    assert process.returncode == 141
    assert Path("out/report.json").exists() == is_written
    assert [path.name for path in arrays.iterdir() if path.name.startswith(".")] == []


def test_no_arguments_means_the_emoji(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    n_threads = torch.get_num_threads()
    argv = ["--max-iter", "10", "--n-latents", "64", "--methods", "post_hoc", "dense"]
    assert main(argv) == 0
    assert torch.get_num_threads() == n_threads
    report = json.loads(Path("skxsae-out/report.json").read_text(encoding="utf-8"))
    data = load_emoji()
    assert report["data"]["x_shape"] == [1906, 256]
    assert report["data"]["n_test_pairs"] == np.count_nonzero(data.test)
    assert report["data"]["n_test_groups"] == 300
    concept = report["concepts"][0]
    assert set(concept["x"]) <= set(data.characters[~data.test])
    assert set(concept["y"]) <= set(data.texts[~data.test])
    aligned, dense = report["table"]
    assert aligned["recall_x_to_y"]["10"] > 2 * report["chance"]["recall_x_to_y"]["10"]
    # the two spaces have nothing in common
    assert dense["recall_x_to_y"]["10"] < 2 * report["chance"]["recall_x_to_y"]["10"]
    text = capsys.readouterr().out
    assert "never trained together" in " ".join(text.split())
    assert max(map(display_width, text.splitlines())) <= 100
