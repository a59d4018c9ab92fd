"""The benchmark programs at tiny sizes, judged by direct computation."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import sparse

from skxsae import PostHocAlignedSAE, TopKSAE

# what the matcher says of models this small
pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark_module(monkeypatch):
    """Import a benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module


def read_fits(folder, name):
    lines = (folder / f"{name}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def cosine_similarities(X, y):
    X, y = (np.asarray(Z, dtype=np.float64) for Z in (X, y))
    X = X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-300)
    y = y / np.maximum(np.linalg.norm(y, axis=1, keepdims=True), 1e-300)
    return X @ y.T


@pytest.fixture
def captions(tmp_path):
    """Arrays on disk: 60 images of width 6, two captions each, 20 images held out."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((60, 6)).astype(np.float32)
    image_of_caption = np.repeat(np.arange(60), 2)
    texts = images[image_of_caption] + rng.standard_normal((120, 6)).astype(np.float32)
    np.savez(tmp_path / "views.npz", image=images, text=texts)
    np.save(tmp_path / "groups.npy", image_of_caption)
    np.save(tmp_path / "test.npy", np.arange(60) >= 40)
    options = [
        "--x",
        f"{tmp_path}/views.npz:image",
        "--y",
        f"{tmp_path}/views.npz:text",
    ]
    options += ["--groups", f"{tmp_path}/groups.npy", "--test", f"{tmp_path}/test.npy"]
    options += ["--n-latents", "8", "-k", "3", "--epochs", "3", "--batch-size", "32"]
    options += ["--out", str(tmp_path / "out")]
    return images, texts, image_of_caption, options


def test_retrieval_of_dense_embeddings_by_hand(benchmark_module, captions, tmp_path):
    images, texts, groups, options = captions
    retrieval = benchmark_module("retrieval")
    retrieval.main([*options, "--methods", "dense", "--seeds", "0", "1"])

    (fit,) = read_fits(tmp_path / "out", "retrieval")  # the same for every seed
    hits = fit["rows"]["dense"]["hits"]
    similarities = cosine_similarities(images[40:], texts[80:])
    own = groups[80:] - 40
    for depth in (1, 5, 10):
        best_true = [row[own == i].max() for i, row in enumerate(similarities)]
        rank = (similarities >= np.array(best_true)[:, None]).sum(axis=1)
        assert hits["x_to_y"][str(depth)] == [float(r <= depth) for r in rank]
        of_caption = [
            (similarities[:, j] >= similarities[own[j], j]).sum() <= depth
            for j in range(40)
        ]
        assert hits["y_to_x"][str(depth)] == np.bincount(own, of_caption).tolist()
    assert hits["x_to_y"]["queries"] == [1] * 20
    assert hits["y_to_x"]["queries"] == [2] * 20


@pytest.mark.parametrize("program", ["retrieval", "alignment"])
@pytest.mark.parametrize("name", ["groups", "x-rows", "test"])
def test_a_fit_is_known_by_its_data(benchmark_module, tmp_path, program, name):
    module = benchmark_module(program)
    options = ["--x", "x.npy", "--y", "y.npy", "--out", str(tmp_path)]
    data = SimpleNamespace(train=[0, 1], test=[2], x_rows=np.arange(3))
    methods = ["dense", "post_hoc"] if program == "retrieval" else [["hungarian"]]
    more = (0,) if program == "retrieval" else (16, 0)
    for method in methods:
        keys = [
            module._key(module._parse(given), data, method, *more)
            for given in (options, [*options, f"--{name}", "other.npy"])
        ]
        assert keys[0] != keys[1]


def test_retrieval_intervals_by_hand(benchmark_module, captions, tmp_path):
    *_, options = captions
    retrieval = benchmark_module("retrieval")
    retrieval.main([*options, "--methods", "dense", "post_hoc", "--seeds", "0", "1"])
    fits = read_fits(tmp_path / "out", "retrieval")
    report = json.loads((tmp_path / "out" / "retrieval.json").read_text())
    cells = {
        (row["method"], row["direction"], row["depth"]): row
        for row in report["measurements"]
    }

    def hits(method):
        rows = [fit["rows"][method] for fit in fits if method in fit["rows"]]
        return np.mean([row["hits"]["y_to_x"]["5"] for row in rows], axis=0)

    # groups of equal size: the recall of a resample is the mean over its groups
    draws = np.random.default_rng(1).integers(20, size=(20_000, 20))
    for method in ("dense", "post_hoc", "separate", "reconstruction"):
        cell = cells[method, "y_to_x", 5]
        samples = 50 * hits(method)[draws].mean(axis=1)
        assert cell["recall"] == pytest.approx(50 * hits(method).mean())
        low, high = np.percentile(samples, [2.5, 97.5])
        assert (cell["low"], cell["high"]) == pytest.approx((low, high), abs=2.6)
    difference = 50 * (hits("post_hoc") - hits("dense"))[draws].mean(axis=1)
    cell = cells["dense", "y_to_x", 5]
    limits = cell["post_hoc_better_low"], cell["post_hoc_better_high"]
    assert limits == pytest.approx(np.percentile(difference, [2.5, 97.5]), abs=2.6)


def test_retrieval_runs_every_method_with_equal_parameters(
    benchmark_module, captions, tmp_path
):
    images, texts, _, options = captions
    retrieval = benchmark_module("retrieval")
    retrieval.main([*options, "--seeds", "0"])
    rows = {}
    for fit in read_fits(tmp_path / "out", "retrieval"):
        rows |= fit["rows"]
        if fit["key"]["method"] not in ("dense", "post_hoc"):
            sae = retrieval.make_paired(fit["key"])
            encoders = 1 if sae.coupling == "shared" else 2
            assert encoders * sae.n_latents == 2 * 8
    assert set(rows) == {
        *("dense", "shared", "iso_energy", "iso_energy_masked", "group_sparse"),
        *("group_sparse_mask", "post_hoc", "separate", "reconstruction"),
        *("cross_reconstruction", "global_topk", "crosscoder"),
    }
    for name, view in {"x": images[40:], "y": texts[80:]}.items():
        variance = np.square(view - view.mean(axis=0)).sum(axis=1).mean()
        row = rows["post_hoc"]  # "scale" keeps ratios, so both are one figure
        assert row[f"explained_variance_{name}"] == pytest.approx(
            1 - row[f"mse_{name}"] / variance, abs=1e-4
        )


def test_views_of_different_widths_leave_out_what_has_one_decoder(
    benchmark_module, captions, tmp_path, capsys
):
    _, texts, _, options = captions
    np.save(tmp_path / "narrow.npy", texts[:, :4])
    options[3] = f"{tmp_path}/narrow.npy"
    benchmark_module("retrieval").main([*options, "--seeds", "0"])
    assert "dense, shared" in capsys.readouterr().out
    rows = {}
    for fit in read_fits(tmp_path / "out", "retrieval"):
        rows |= fit["rows"]
    couplings = {"cross_reconstruction", "global_topk", "crosscoder"}
    assert set(rows) == {"post_hoc", "separate", *couplings}


def test_own_order_undoes_the_alignment(benchmark_module):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 5)).astype(np.float32)
    settings = {"k": 2, "max_iter": 5, "batch_size": 50, "random_state": 3}
    x_sae, y_sae = TopKSAE(7, **settings), TopKSAE(9, **settings)
    aligned = PostHocAlignedSAE(x_sae=x_sae, y_sae=y_sae).fit(X, -X)
    codes_x, codes_y = benchmark_module("_common").own_order(
        aligned, *aligned.transform(X, -X)
    )
    # a product of reordered weights rounds in another order on some processors
    expected = x_sae.fit(X).transform(X), y_sae.fit(-X).transform(-X)
    for ours, theirs in zip((codes_x, codes_y), expected, strict=True):
        np.testing.assert_allclose(ours.toarray(), theirs.toarray(), rtol=2e-6)


@pytest.fixture
def tiny_preset(benchmark_module, monkeypatch):
    """`synthetic` with a preset of 16 concepts."""
    synthetic = benchmark_module("synthetic")
    concepts = {"n_features": 16, "n_shared": 8, "n_x_only": 4, "n_y_only": 4}
    concepts |= {"sparsity": 0.8, "max_interference": 0.8}
    tiny = {**synthetic.PRESETS["small"], "n_train": 300, "n_test": 50, "k": 3}
    tiny |= {"n_latents": 16, "concepts": concepts, "max_iter": 4}
    monkeypatch.setitem(synthetic.PRESETS, "small", tiny)
    return synthetic


def test_synthetic_errors_by_hand(tiny_preset):
    key = {"preset": "small", "method": "post_hoc", "multiplier": 1.0, "seed": 0}
    data = tiny_preset.make_data("small", 0.5, 0)
    sae = tiny_preset.make_estimator(key).fit(data.X[:300], data.y[:300])
    rows = tiny_preset.run(key, lambda: data)["rows"]
    phi, psi = data.x_features[:8], data.y_features[:8]

    def strongest(Z):
        Z = Z.toarray()
        return np.where(Z.max(axis=1, keepdims=True) == Z, Z, 0)

    codes = [Z.toarray() for Z in sae.transform(data.X[300:], data.y[300:])]
    features = [Z.toarray() for Z in sae.transform(phi, psi)]
    top = [strongest(Z) for Z in sae.transform(phi, psi)]
    phi_hat = top[0] @ sae.x_sae_.components_ + sae.x_sae_.mean_
    psi_hat = top[1] @ sae.y_sae_.components_ + sae.y_sae_.mean_
    left = np.stack([phi - phi_hat, psi - psi_hat])
    row = rows["post_hoc"]
    assert row["feature_recovery_k1"] == pytest.approx(
        (left**2).sum(axis=-1).mean(), rel=1e-4
    )
    assert row["latent_alignment"] == pytest.approx(
        1 - np.diag(cosine_similarities(*codes)).mean(), abs=1e-5
    )
    assert row["feature_alignment"] == pytest.approx(
        1 - np.diag(cosine_similarities(*features)).mean(), abs=1e-5
    )
    views = (data.X[300:], sae.x_sae_), (data.y[300:], sae.y_sae_)
    unexplained = [
        np.sum((view - model.inverse_transform(model.transform(view))) ** 2)
        / np.sum((view - view.mean(axis=0)) ** 2)
        for view, model in views
    ]
    assert row["fvu"] == pytest.approx(np.mean(unexplained), rel=1e-4)


def test_synthetic_pursuit_is_another_encoder_of_the_same_dictionary(tiny_preset):
    key = {"preset": "small", "method": "post_hoc", "multiplier": 1.0, "seed": 0}
    data = tiny_preset.make_data("small", 0.5, 0)
    rows = tiny_preset.run(key, lambda: data)["rows"]
    estimator = tiny_preset.make_estimator(key)
    x_sae = estimator.x_sae.fit(data.X[:300]).set_params(transform_algorithm="omp")
    y_sae = estimator.y_sae.fit(data.y[:300]).set_params(transform_algorithm="omp")
    views = (data.X[300:], x_sae), (data.y[300:], y_sae)
    unexplained = np.mean([1 - model.score(view) for view, model in views])
    assert rows["omp"]["fvu"] == pytest.approx(unexplained, rel=1e-4)
    assert rows["omp"]["fvu"] < rows["mp"]["fvu"] < rows["post_hoc"]["fvu"]
    assert rows["omp"]["feature_collapse"] == rows["post_hoc"]["feature_collapse"]


def test_synthetic_bridges_of_split_concepts_by_hand(tiny_preset):
    key = {"preset": "small", "method": "shared", "multiplier": 1.0, "seed": 0}
    data = tiny_preset.make_data("small", 0.5, 0)
    row = tiny_preset.run(key, lambda: data)["rows"]["shared"]
    sae = tiny_preset.make_estimator(key).fit(data.X[:300], data.y[:300])
    D = sae.x_sae_.components_
    weights, codes = (
        cosine_similarities(D, D),
        sae.transform(data.X[300:], data.y[300:]),
    )
    bridge = (codes[0].T @ codes[1]).toarray() * weights
    found = []
    for phi, psi in zip(data.x_features[:8], data.y_features[:8], strict=True):
        near = [cosine_similarities(rows[None], D)[0] for rows in (phi, psi)]
        of_x, of_y = (cosines.argmax() for cosines in near)
        if of_x != of_y:
            found.append(bridge[of_x].argmax() == of_y)
    assert len(found) > 0
    assert row["bridged"] == pytest.approx(np.mean(found))

    # two latents of one concept, which fire together
    split, merged = np.eye(4)[:, :3], np.ones((4, 3))
    pairs = SimpleNamespace(
        X=split,
        y=split,
        x_features=np.eye(3)[:1],
        y_features=np.eye(3)[1:2],
        shared=[0],
    )
    codes = sparse.csr_array([[1.0, 0, 0]]), sparse.csr_array([[0, 1.0, 0]])
    for directions, expected in (
        (np.eye(3) + 0.1, 1.0),
        (np.array([[1, 0, 0], [-1, 2.0, 0], [0, 0, 1]]), 0.0),  # at an obtuse angle
        (merged[:3], np.nan),
    ):
        fake = SimpleNamespace(
            x_sae_=SimpleNamespace(components_=directions),
            transform=lambda *_, codes=codes: codes,
        )
        found = tiny_preset.split_concepts(fake, pairs, 0)["bridged"]
        np.testing.assert_equal(found, expected)


def test_synthetic_separate_is_the_same_fit_in_its_own_order(tiny_preset):
    key = {"preset": "small", "method": "post_hoc", "multiplier": 1.0, "seed": 0}
    data = tiny_preset.make_data("small", 0.5, 0)
    rows = tiny_preset.run(key, lambda: data)["rows"]
    estimator = tiny_preset.make_estimator(key)
    x_sae = estimator.x_sae.fit(data.X[:300])
    y_sae = estimator.y_sae.fit(data.y[:300])
    features = [
        sae.transform(directions[:8]).toarray()
        for sae, directions in ((x_sae, data.x_features), (y_sae, data.y_features))
    ]
    nearest = [
        cosine_similarities(directions[:8], sae.components_).argmax(axis=1)
        for sae, directions in ((x_sae, data.x_features), (y_sae, data.y_features))
    ]
    row = rows["separate"]
    assert row["feature_alignment"] == pytest.approx(
        1 - np.diag(cosine_similarities(*features)).mean(), abs=1e-5
    )
    assert row["feature_collapse"] == np.mean(nearest[0] == nearest[1])
    assert rows["post_hoc"]["feature_collapse"] == row["feature_collapse"]
    assert rows["post_hoc"]["fvu"] == row["fvu"]


def test_synthetic_resumes_and_sweeps(tiny_preset, tmp_path, monkeypatch):
    options = ["--preset", "small", "--out", str(tmp_path), "--methods", "group_sparse"]
    options += ["--results", str(tmp_path / "RESULTS.md")]
    tiny_preset.main([*options, "--seeds", "0", "1", "--multipliers", "1", "64"])
    fits = read_fits(tmp_path, "synthetic")
    assert [fit["key"]["multiplier"] for fit in fits] == [1.0, 64.0, 1.0, 64.0]
    assert len({json.dumps(fit["rows"]) for fit in fits}) == 4

    fitted = []
    run = tiny_preset.run
    monkeypatch.setattr(
        tiny_preset, "run", lambda key, make: fitted.append(key) or run(key, make)
    )
    tiny_preset.main([*options, "--seeds", "0", "1", "2"])
    assert [key["seed"] for key in fitted] == [2]
    report = json.loads((tmp_path / "synthetic.json").read_text())
    (row,) = [row for row in report["measurements"] if row["metric"] == "fvu"]
    of_seeds = [
        fit["rows"]["group_sparse"]["fvu"]
        for fit in read_fits(tmp_path, "synthetic")
        if fit["key"]["multiplier"] == 1
    ]
    assert row["mean"] == pytest.approx(np.mean(of_seeds))
    assert row["standard_error"] == pytest.approx(np.std(of_seeds, ddof=1) / 3**0.5)
    lines = (tmp_path / "RESULTS.md").read_text().splitlines()
    assert len(lines) == 2
    assert all(line.count("|") == 6 for line in lines)


def test_synthetic_pictures_of_what_was_swept(tiny_preset, tmp_path, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    plt.switch_backend("agg")
    drawn, save = [], tiny_preset._save
    monkeypatch.setattr(
        tiny_preset, "_save", lambda *of: drawn.append(of[0]) or save(*of)
    )
    options = ["--preset", "small", "--out", str(tmp_path), "--seeds", "0"]
    options += ["--methods", "iso_energy", "post_hoc", "--picture"]
    tiny_preset.main([*options, "--alphas", "0", "1", "--multipliers", "1", "4"])
    pictures = sorted(path.name for path in tmp_path.glob("*.png"))
    assert pictures == [
        "synthetic_alpha.png",
        *(
            f"synthetic_weight_{kind}_alpha_{alpha}.png"
            for kind in ("panels", "plane")
            for alpha in (0, 1)
        ),
    ]
    measured = {
        (row["method"], row["alpha"]): row["mean"]
        for row in json.loads((tmp_path / "synthetic.json").read_text())["measurements"]
        if (row["metric"], row["multiplier"]) == ("feature_recovery", 1.0)
    }
    ((_, _, recovery),) = [display.lines_ for display in drawn[:1]]
    labels = [line.get_label() for line in recovery]
    assert labels == ["iso-energy loss", "separate dictionaries", "post-hoc alignment"]
    for method, line in zip(("iso_energy", "separate"), recovery, strict=False):
        # the directions farthest apart come last
        expected = [measured[method, 1.0], measured[method, 0.0]]
        assert line.lines[0].get_ydata().tolist() == pytest.approx(expected)
    plt.close("all")
    tiny_preset.main([*options, "--out", str(tmp_path / "one")])
    assert list((tmp_path / "one").glob("*.png")) == []


def test_synthetic_weights_and_figures(tiny_preset):
    key = {"preset": "released", "method": "iso_energy", "multiplier": 4.0, "seed": 0}
    sae = tiny_preset.make_estimator(key)
    assert (sae.n_latents, sae.k, sae.alignment_weight) == (8192, 16, 0.12)
    args = tiny_preset._parse(["--out", "unused", "--figure", "6"])
    settings = [(k["method"], k["multiplier"]) for k in tiny_preset.keys(args, 0.5, 0)]
    sweep = [1 / 64, 1 / 4, 1.0, 4.0, 64.0]
    assert settings == [
        ("shared", 1.0),
        *(("iso_energy", multiplier) for multiplier in sweep),
        *(("group_sparse", multiplier) for multiplier in sweep),
        ("post_hoc", 1.0),
    ]
    assert tiny_preset._parse(["--out", "unused", "--figure", "5"]).alphas[0] == 0


@pytest.mark.parametrize(("mean", "verdict"), [(0.18, True), (0.202, False)])
def test_synthetic_comparison_with_the_reference(benchmark_module, mean, verdict):
    synthetic = benchmark_module("synthetic")
    row = {"method": "shared", "alpha": 0.5, "multiplier": 1.0, "metric": "fvu"}
    other = {**row, "multiplier": 4.0, "mean": 1.0, "standard_error": 0.0}
    row |= {"mean": mean, "standard_error": 0.01}
    (compared,) = synthetic.compare([row, other])
    assert compared["within_two_errors"] is verdict
    assert compared["worse_by"] == pytest.approx(mean - 0.18)


def test_images_beside_direct_computation(benchmark_module, tmp_path):
    images = benchmark_module("images")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 12)) @ rng.standard_normal((12, 12)) + 5
    folder = tmp_path / "sets"
    folder.mkdir()
    X = X.astype(np.float16)
    np.savez(folder / "a.npz", test_f=X[:200], test_l=np.zeros(200))
    np.savez(folder / "b.npz", val_f=X[200:])
    options = [str(folder), "--out", str(tmp_path), "--seeds", "0", "-k", "3"]
    options += ["--n-latents", "24", "--epochs", "20", "--atoms", "20"]
    images.main(options)
    rows = {}
    for fit in read_fits(tmp_path, "images"):
        rows |= fit["rows"]

    X = X.astype(np.float64)
    held_out = np.random.RandomState(0).permutation(300)[:60]
    test, train = X[held_out], np.delete(X, held_out, axis=0)
    mean = train.mean(axis=0)
    axes = np.linalg.svd(train - mean, full_matrices=False)[2]
    scores = (test - mean) @ axes.T
    variance = np.sum((test - test.mean(axis=0)) ** 2)
    left = np.sum(scores[:, 3:] ** 2)
    assert rows["pca"]["explained_variance"] == pytest.approx(1 - left / variance, 1e-4)
    left = np.sum(np.sort(scores**2, axis=1)[:, :-3])
    assert rows["pca_largest"]["explained_variance"] == pytest.approx(
        1 - left / variance, 1e-4
    )
    assert rows["pca"]["l0"] == rows["pca_largest"]["l0"] == 3
    assert rows["dictionary"]["l0"] <= 3
    assert rows["sae"]["l0"] <= 3
    sae = TopKSAE(24, 3, max_iter=20, random_state=0).fit(train.astype(np.float32))
    assert rows["sae"]["explained_variance"] == pytest.approx(sae.score(test), abs=1e-4)
    # pursuit solves for its coefficients, of either sign
    assert rows["sae_pursuit"]["l0"] <= 3
    assert rows["sae_pursuit"]["explained_variance"] > sae.score(test)
    assert rows["pca"]["explained_variance"] < rows["pca_largest"]["explained_variance"]
    assert 0 < rows["sae"]["explained_variance"] < 1


def test_a_folder_without_arrays_is_named(benchmark_module, tmp_path):
    with pytest.raises(SystemExit, match="holds no"):
        benchmark_module("images").main([str(tmp_path), "--out", str(tmp_path)])
