"""benchmarks/tables.py on tiny arrays, judged by direct computation."""

import importlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skxsae import PairedSAE

# what the matcher says of models this small
pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")

METRICS = ["mse", "image_to_text@1", "image_to_text@5", "image_to_text@10"]
METRICS += ["text_to_image@1", "text_to_image@5", "text_to_image@10"]
METRICS += ["class_mse", "zero_shot"]


@pytest.fixture
def benchmark_module(monkeypatch):
    """Import a benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module


@pytest.fixture
def tables(benchmark_module):
    return benchmark_module("tables")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def folder(tmp_path):
    """A clip-retrieval folder of 90 pairs of width 6 in three shards, and test sets."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((90, 6))
    texts = images + 0.5 * rng.standard_normal((90, 6))
    for view, rows in {"img_emb": images, "text_emb": texts}.items():
        (tmp_path / "laion" / view).mkdir(parents=True)
        for number, part in enumerate(np.split(unit(rows).astype(np.float16), 3)):
            np.save(tmp_path / f"laion/{view}/{view}_{number}.npy", part)
    coco = rng.standard_normal((15, 6))
    captions = np.repeat(coco, 2, axis=0) + 0.5 * rng.standard_normal((30, 6))
    means = rng.standard_normal((7, 6))
    arrays = {
        "coco": coco,
        "captions": captions,
        "row": np.repeat(np.arange(15), 2),
        "pictures": np.repeat(means, 3, axis=0) + rng.normal(size=(21, 6)),
        "labels": np.repeat(np.arange(7), 3),
        "template_a": 9 * means,
        "template_b": means + 0.3 * rng.normal(size=(7, 6)),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path, arrays


@pytest.fixture
def options(folder):
    """Command line that takes a second or two."""
    path = folder[0]
    options = ["--train", f"{path}/laion", "--out", f"{path}/out", "--seeds", "0"]
    options += ["--retrieval", f"{path}/coco.npy", f"{path}/captions.npy"]
    options += ["--retrieval-groups", f"{path}/row.npy"]
    options += ["--class-images", f"{path}/pictures.npy"]
    options += ["--class-texts", f"{path}/template_a.npy", f"{path}/template_b.npy"]
    return [*options, "--n-latents", "24", "--epochs", "3", "--batch-size", "32"]


def read_rows(path, name="tables"):
    rows = json.loads((path / f"out/{name}.json").read_text())["measurements"]
    return {(row["k"], row["method"], row["metric"]): row for row in rows}


def cosines(X, y):
    X, y = (Z.toarray().astype(np.float64) for Z in (X, y))
    X, y = (Z / np.maximum(np.linalg.norm(Z, axis=1)[:, None], 1e-300) for Z in (X, y))
    return X @ y.T


def test_every_column_by_hand(tables, folder, options):
    path, arrays = folder
    tables.main([*options, "-k", "3", "--methods", "shared"])
    rows = read_rows(path)
    assert [metric for *_, metric in rows] == METRICS
    shards = {
        view: [np.load(path / f"laion/{view}/{view}_{n}.npy") for n in range(3)]
        for view in ("img_emb", "text_emb")
    }
    sae = PairedSAE(
        24, k=3, alignment="none", statistics="pooled", max_iter=3, batch_size=32,
        random_state=0,
    ).fit(*map(np.vstack, shards.values()))  # fmt: skip
    images, captions, own = (
        unit(arrays["coco"]),
        unit(arrays["captions"]),
        arrays["row"],
    )
    Zx, Zy = sae.x_sae_.transform(images), sae.y_sae_.transform(captions)
    errors = [
        np.square(X - view.inverse_transform(Z)).sum(axis=1).mean()
        for X, Z, view in ((images, Zx, sae.x_sae_), (captions, Zy, sae.y_sae_))
    ]
    assert rows[3, "shared", "mse"]["mean"] == pytest.approx(np.mean(errors), rel=1e-5)
    scores = cosines(Zx, Zy)
    fires = [np.asarray(Z.sum(axis=1)).ravel() > 0 for Z in (Zx, Zy)]
    for depth in (1, 5, 10):
        best = np.array([scores[i, own == i].max() for i in range(15)])
        ahead = (scores >= best[:, None] - 1e-10).sum(axis=1)
        share = 100 * np.mean((ahead <= depth) & fires[0])
        assert rows[3, "shared", f"image_to_text@{depth}"]["mean"] == pytest.approx(
            share
        )
        true = scores[own, np.arange(30)]
        ahead = (scores >= true - 1e-10).sum(axis=0)
        share = 100 * np.mean((ahead <= depth) & fires[1])
        assert rows[3, "shared", f"text_to_image@{depth}"]["mean"] == pytest.approx(
            share
        )
    pictures = unit(arrays["pictures"])
    prototypes = unit(unit(arrays["template_a"]) + unit(arrays["template_b"]))
    Zx = sae.x_sae_.transform(pictures.astype(np.float32))
    Zy = sae.y_sae_.transform(prototypes.astype(np.float32))
    error = np.square(pictures - sae.x_sae_.inverse_transform(Zx)).sum(axis=1).mean()
    assert rows[3, "shared", "class_mse"]["mean"] == pytest.approx(error, rel=1e-5)
    hits = cosines(Zx, Zy).argmax(axis=1) == arrays["labels"]
    accuracy = rows[3, "shared", "zero_shot"]["mean"]
    assert accuracy == pytest.approx(100 * hits.mean())


def test_published_figures_stand_beside_ours(tables, folder, options, capsys):
    path, _ = folder
    larger = ["--n-latents", "200", "--batch-size", "90"]
    tables.main([*options, *larger, "--name", "CLIP ViT-B/32", "--table", "2"])
    rows = read_rows(path)
    assert {k for k, *_ in rows} == {16, 64}
    assert {method for _, method, _ in rows} == set(tables.METHODS)
    row = rows[64, "group_sparse", "zero_shot"]
    assert (row["published"], row["published_spread"]) == (33.0, 0.4)
    assert row["difference"] == pytest.approx(row["mean"] - 33)
    assert "published" not in rows[64, "soft", "zero_shot"]
    printed = capsys.readouterr().out
    assert "34.9" in printed
    assert f"{row['difference']:+.1f}" in printed


def test_published_tables_are_whole(benchmark_module):
    published = benchmark_module("_published")
    rows = published.read_tables()
    assert len(rows) == 35
    assert list(rows["CLIP ViT-B/32", "topk", 32, "post_hoc"].values()) == [
        (0.089, None), (16.0, 0.5), (34.1, 1.4), (44.5, 1.6), (11.4, 0.4), (27.2, 1.2),
        (37.0, 1.3), (0.116, None), (25.1, 0.3),
    ]  # fmt: skip
    assert rows["CLIP ViT-B/32", "batch_topk", 32, "shared"]["zero_shot"] == (16.4, 3.1)
    assert rows["OpenCLIP ViT-L/14", "topk", 32, "group_sparse"]["mse"] == (0.162, None)


def test_settings_of_the_tables_can_be_overridden(tables, options):
    settings = {1: ([32], "topk"), 2: ([16, 64], "topk"), 3: ([32], "topk")}
    settings[4] = ([32], "batch_topk")
    for table, (k, activation) in settings.items():
        args = tables._parse([*options, "--table", str(table)])
        assert (args.k, args.activation) == (k, activation)
        args = tables._parse([*options, "--table", str(table), "-k", "5", "7"])
        assert args.k == [5, 7]
    args = tables._parse([*options[:-6], "--table", "4"])
    data = tables.load(args)
    key = tables._key(args, data, "shared", 32, 0)
    assert (key["n_latents"], key["activation"], key["epochs"]) == (
        48,
        "batch_topk",
        30,
    )
    assert (key["n_train"], key["n_x"]) == (90, 90)


def test_a_run_goes_on_where_it_stopped(tables, folder, options, monkeypatch):
    path, _ = folder
    tables.main([*options, "-k", "3", "--methods", "post_hoc", "shared"])
    first = read_rows(path)
    assert {method for _, method, _ in first} == {"post_hoc", "shared"}
    run = tables.run

    def run_what_is_new(key, data):
        assert key["method"] == "group_sparse"
        return run(key, data)

    monkeypatch.setattr(tables, "run", run_what_is_new)
    methods = ["shared", "group_sparse", "separate", "post_hoc", "soft"]
    tables.main([*options, "-k", "3", "--methods", *methods])
    again = read_rows(path)
    assert {key: again[key] for key in first} == first
    separate, post_hoc = again[3, "separate", "mse"], again[3, "post_hoc", "mse"]
    assert separate["mean"] == pytest.approx(post_hoc["mean"])


def test_separate_has_the_latents_in_the_order_of_training(
    tables, folder, options, monkeypatch
):
    fitted = []
    evaluate = tables.evaluate

    def remember(sae, data, *order):
        fitted.append((sae, data))
        return evaluate(sae, data, *order)

    monkeypatch.setattr(tables, "evaluate", remember)
    tables.main([*options, "-k", "4", "--methods", "separate", "post_hoc", "soft"])
    rows = read_rows(folder[0])
    sae, data = fitted[0]
    sae.set_params(matcher=None).realign(*data.train[:2])
    Zx = sae.x_sae_.transform(data.retrieval.X)
    Zy = sae.y_sae_.transform(data.retrieval.y)
    order = np.append(sae.matcher_.matching_, sae.matcher_.unmatched_)
    as_trained = np.empty((30, 12))
    for column, latent in enumerate(order):
        if latent >= 0:
            as_trained[:, latent] = Zy.toarray()[:, column]
    for method, codes in (("separate", as_trained), ("post_hoc", Zy.toarray())):
        scores = cosines(Zx[:, :12], type(Zx)(codes[:, :12]))
        true = scores[np.arange(30), np.arange(30)]
        ahead = (scores[::2] >= true - 1e-10).sum(axis=0)  # an image has two rows
        fires = codes.any(axis=1)
        for depth in (1, 5, 10):
            share = 100 * np.mean((ahead <= depth) & fires)
            row = rows[4, method, f"text_to_image@{depth}"]
            assert row["mean"] == pytest.approx(share)


def test_held_out_pairs_of_the_training_arrays(tables, folder):
    path, arrays = folder
    held_out = np.isin(arrays["row"], [2, 3, 11])
    np.save(path / "test.npy", held_out)
    args = tables._parse(
        ["--train", f"{path}/coco.npy", f"{path}/captions.npy", "--out", f"{path}/out"]
        + ["--train-groups", f"{path}/row.npy", "--test", f"{path}/test.npy"]
    )
    data = tables.load(args)
    np.testing.assert_array_equal(data.retrieval.groups, [2, 2, 3, 3, 11, 11])
    np.testing.assert_allclose(data.retrieval.y, unit(arrays["captions"][held_out]))
    np.testing.assert_allclose(
        data.train.X, unit(arrays["coco"])[arrays["row"]][~held_out]
    )
    assert data.classes is None
    assert tables._key(args, data, "shared", 32, 0)["n_x"] == 12


def test_columns_of_the_metadata_are_groups(benchmark_module, folder):
    pytest.importorskip("pyarrow")
    pairs = benchmark_module("_pairs")
    path, _ = folder
    (path / "laion/metadata").mkdir()
    ids = np.random.default_rng(0).permutation(np.arange(90) // 2)
    names = [f"image{i}" for i in ids]
    for number, start in {10: 60, 2: 0, 9: 30}.items():
        part = pd.DataFrame({"image_path": names[start : start + 30]})
        part.to_parquet(path / f"laion/metadata/metadata_{number}.parquet")
    loaded, nothing = pairs.load_pairs([f"{path}/laion"], "image_path")
    np.testing.assert_array_equal(loaded.groups, pd.factorize(ids)[0])
    assert nothing is None
    with pytest.raises(ValueError, match=r"no \.parquet file"):
        pairs.read_column(path, "image_path")


def test_unit_rows_stay_where_they_are(benchmark_module, monkeypatch):
    pairs = benchmark_module("_pairs")
    monkeypatch.setattr(pairs, "_ROWS_PER_BLOCK", 4)
    rows = np.random.default_rng(0).standard_normal((11, 6))
    half = unit(rows).astype(np.float16)
    assert pairs.unit_rows(half) is half
    rows[10] = 0
    scaled = pairs.unit_rows(rows)
    np.testing.assert_allclose(np.linalg.norm(scaled[:10], axis=1), 1, rtol=1e-6)
    assert not scaled[10].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to measure"),
        (["--class-images", "a.npy"], "go together"),
        (["--retrieval", "a.npy", "--test", "b.npy"], "give one of them"),
    ],
)
def test_arguments_that_do_not_fit(tables, capsys, arguments, message):
    with pytest.raises(SystemExit):
        tables._parse(["--train", "x.npy", "y.npy", "--out", "out", *arguments])
    assert message in capsys.readouterr().err


def test_labels_of_classes(benchmark_module, folder):
    zero_shot = benchmark_module("zero_shot")
    path, arrays = folder
    order = np.random.default_rng(1).permutation(21)
    np.save(path / "mixed.npy", arrays["pictures"][order])
    np.save(path / "of_mixed.npy", arrays["labels"][order])
    specs = [f"{path}/mixed.npy"], [f"{path}/template_a.npy"]
    data = zero_shot.load(*specs, f"{path}/of_mixed.npy")
    np.testing.assert_array_equal(data.classes, arrays["labels"][order])
    with pytest.raises(ValueError, match="a class below 7 for each image"):
        zero_shot.load(*specs, f"{path}/row.npy")
