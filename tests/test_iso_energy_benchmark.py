"""benchmarks/iso_energy.py on tiny arrays, judged by direct computation."""

import importlib
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from skxsae.metrics import attribution_curves

pytest.importorskip("ot")

# what the metrics say of models this small
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*is NaN. the mass of the pairs:UserWarning"),
    pytest.mark.filterwarnings("ignore:codes @ components:UserWarning"),
]

# tiny models reconstruct little, and some of their masses are negative
pytestmark = [
    pytest.mark.filterwarnings("ignore:codes @ components:UserWarning"),
    pytest.mark.filterwarnings("ignore:functional.* is NaN:UserWarning"),
]

TABLE = [
    *("mse", "r2", "l0", "l1", "insertion", "deletion", "stability"),
    *("stable_rank", "effective_rank", "weighted_stable_rank"),
    *("weighted_effective_rank", "coherence", "code_stable_rank"),
    *("code_effective_rank", "connectivity", "negative_interference"),
    *("rho", "delta_r@1", "fda", "p_acc"),
]


@pytest.fixture
def iso_energy(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("iso_energy")


@pytest.fixture
def options(tmp_path):
    """150 images and two captions each, 50 images held out."""
    rng = np.random.default_rng(0)
    images = np.abs(rng.standard_normal((150, 6))) + [2, 0, 0, 0, 0, 0]
    groups = np.repeat(np.arange(150), 2)
    captions = images[groups] + 0.3 * rng.standard_normal((300, 6))
    captions[:, 1] += 3
    np.savez(tmp_path / "views.npz", image=images, text=captions)
    np.save(tmp_path / "row.npy", groups)
    np.save(tmp_path / "test.npy", np.arange(150) >= 100)
    options = ["--train", f"{tmp_path}/views.npz:image", f"{tmp_path}/views.npz:text"]
    options += ["--train-groups", f"{tmp_path}/row.npy", "--out", f"{tmp_path}/out"]
    options += ["--test", f"{tmp_path}/test.npy", "--batch-size", "64"]
    return [*options, "--n-latents", "16", "-k", "3", "--epochs", "3"]


def read_rows(tmp_path):
    rows = json.loads((tmp_path / "out/iso_energy.json").read_text())["measurements"]
    return {(row["method"], row["metric"]): row for row in rows}


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("normalize", ["none", "scale"])
def test_measures_by_hand(iso_energy, options, tmp_path, monkeypatch, normalize):
    fitted = []
    evaluate = iso_energy.evaluate

    def remember(sae, *args, **kwargs):
        fitted.append(sae)
        return evaluate(sae, *args, **kwargs)

    monkeypatch.setattr(iso_energy, "evaluate", remember)
    iso_energy.main([*options, "--methods", "sae", "--normalize", normalize])
    rows = read_rows(tmp_path)
    assert len(fitted) == 2
    with np.load(tmp_path / "views.npz") as views:
        X = unit(views["image"])[np.repeat(np.arange(100, 150), 2)]
        y = unit(views["text"])[200:]
    for seed, sae in enumerate(fitted):
        Zx, Zy = (Z.toarray().astype(float) for Z in sae.transform(X, y))
        assert Zx.min() < 0  # the paper's pursuit is signed
        D = sae.x_sae_.components_ * sae.x_sae_.scale_
        empty = sae.x_sae_.inverse_transform(np.zeros((1, 16)))
        both, Z = np.vstack([X, y]), np.vstack([Zx, Zy])
        error = np.square(both - Z @ D - empty).sum(axis=1)
        spread = np.square(both - both.mean(axis=0)).sum(axis=1)
        expected = {"mse": error.mean(), "r2": np.mean(1 - error / spread)}
        curves = attribution_curves(both, Z, D, intercept=np.ravel(empty))
        expected["insertion"] = curves.insertion_score
        expected["deletion"] = curves.deletion_score
        expected["l0"] = (Z != 0).sum(axis=1).mean()
        ex, ey = (Zx**2).mean(axis=0), (Zy**2).mean(axis=0)
        with np.errstate(invalid="ignore"):
            mu = ex / (ex + ey)
        bimodal = (mu >= 0.05) & (mu <= 0.95)
        bridge = Zx.T @ Zy / 100 * (unit(D) @ unit(D).T)
        rest = bridge[np.ix_(~bimodal, ~bimodal)].sum()
        touching = bridge.sum() - rest
        with np.errstate(divide="ignore"):
            rho = np.divide(touching, rest)
        expected["rho"] = rho if min(touching, rest) >= 0 else np.nan
        expected["bimodal_latents"] = bimodal.sum()
        expected["bimodal_energy"] = (ex + ey)[bimodal].sum() / (ex + ey).sum()
        recalls = []
        for mask in (np.ones(16), bimodal):
            A, B = (unit(W[::2] * mask @ D + empty) for W in (Zx, Zy))
            scores = A @ B.T
            own = np.diag(scores)
            ranks = [(scores >= t - 1e-10).sum(axis=i) for i, t in
                     ((1, own[:, None]), (0, own))]  # fmt: skip
            recalls.append(np.mean(np.array(ranks) == 1))
        expected["delta_r@1"] = recalls[0] - recalls[1]
        for metric, value in expected.items():
            got = rows["sae", metric]["of_seeds"][seed]
            assert got == pytest.approx(value, rel=1e-4, abs=1e-6, nan_ok=True), metric
    cosines = unit(fitted[0].x_sae_.components_) @ unit(fitted[1].x_sae_.components_).T
    angles = np.arccos(np.clip(cosines, -1, 1))
    matched = linear_sum_assignment(angles)
    (got,) = rows["sae", "stability"]["of_seeds"]
    assert got == pytest.approx(angles[matched].mean(), rel=1e-4)


def test_every_row_of_the_paper_stands_beside_ours(
    iso_energy, options, tmp_path, capsys
):
    iso_energy.main([*options, "--seeds", "0", "1"])
    rows = read_rows(tmp_path)
    published = iso_energy.read_iso_tables("CLIP")
    assert set(published) == {(m, r) for m in iso_energy.ISO_METHODS for r in TABLE}
    for key, value in published.items():
        assert rows[key]["published"] == value
        difference = pytest.approx(rows[key]["mean"] - value, nan_ok=True)
        assert rows[key]["difference"] == difference
    assert rows["sae_a", "rho"]["published"] == 4.23
    assert "published" not in rows["sae", "bimodal_energy"]
    assert "4.23" in capsys.readouterr().out


def test_table_1_of_other_embeddings(iso_energy):
    figures = iso_energy.read_iso_tables("SigLIP2")
    assert figures["sae", "rho"] == 0.713
    assert figures["sae_a", "fda"] == 18.24
    assert len(figures) == 12
    assert iso_energy.read_iso_tables("arrays") == {}


def test_bridges_of_split_concepts_by_hand(iso_energy):
    rng = np.random.default_rng(0)
    n, m = 400, 6
    # latent 0 of x fires with latent 3 of y, and 1 with 4; both point nearly alike
    fires = rng.random((n, m)) < 0.3
    fires[:, 3:5] = fires[:, :2]
    X, y = fires * rng.random((n, m)), fires * rng.random((n, m))
    X[:, 3:], y[:, :3] = 0, 0
    D = np.eye(m) + np.eye(m, k=3) + np.eye(m, k=-3)
    codes = [importlib.import_module("scipy.sparse").csr_array(Z) for Z in (X, y)]
    found = iso_energy.split_concepts(codes, codes, D)
    pairs = [(i, j) for i in range(3) for j in range(3, 6) if D[i] @ D[j] > 0]
    correlations = [np.corrcoef(X[:, i], y[:, j])[0, 1] for i, j in pairs]
    assert found["bridged_correlation"] == pytest.approx(np.mean(correlations))
    assert found["chance_correlation"] < 0.3 < found["bridged_correlation"]
    chance = [
        np.corrcoef(X[:, i], y[:, j])[0, 1]
        for i, j in product(range(3), range(3, 6))
        if (i, j) not in pairs
    ]
    assert found["chance_correlation"] == pytest.approx(np.mean(chance))
    nothing = iso_energy.split_concepts([codes[0], codes[0]], codes, D)
    assert np.isnan(nothing["bridged_correlation"])


def test_chance_has_no_bridged_pair_however_often_its_latents_recur(iso_energy):
    rng = np.random.default_rng(0)
    X, y = np.zeros((2, 50, 4))
    X[:, :2], y[:, 2:] = rng.random((2, 50, 2)) + 1
    y[:, 2] = X[:, 0]
    # three bridges, two of them of latent 0 of x
    D = np.array([[1, 0, 0.2], [0, 1, 0], [1, 0, 0], [0.1, 0.1, 1]])
    codes = [importlib.import_module("scipy.sparse").csr_array(Z) for Z in (X, y)]
    found = iso_energy.split_concepts(codes, codes, D)
    r = np.corrcoef(X[:, :2].T, y[:, 2:].T)[:2, 2:]
    bridged = r[0, 0], r[0, 1], r[1, 1]
    assert found["bridged_correlation"] == pytest.approx(np.mean(bridged))
    assert found["chance_correlation"] == pytest.approx(r[1, 0])


def test_latents_that_are_always_on_are_no_selective_concepts(iso_energy):
    rng = np.random.default_rng(0)
    n, m = 400, 6
    fires = rng.random((n, m)) < 0.3
    fires[:, 3:5] = fires[:, :2]
    X, y = fires * rng.random((n, m)), fires * rng.random((n, m))
    X[:, 2] = y[:, 5] = 50 + rng.random(n)  # the mean of each view
    X[:, 3:], y[:, :3] = 0, 0
    D = np.eye(m) + np.eye(m, k=3) + np.eye(m, k=-3) + 0.1
    codes = [importlib.import_module("scipy.sparse").csr_array(Z) for Z in (X, y)]
    found = iso_energy.split_concepts(codes, codes, D, max_rate=0.5)
    r = np.corrcoef(X[:, :2].T, y[:, 3:5].T)[:2, 2:]
    assert found["bridged_correlation"] == pytest.approx(r.mean())  # all of them
    assert np.isnan(found["chance_correlation"])
    of_all = iso_energy.split_concepts(codes, codes, D)
    assert of_all["bridged_correlation"] < found["bridged_correlation"]


def test_the_weight_is_that_of_the_paper(iso_energy):
    """Both losses differ by a factor: that of the mean squared error of an entry."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((2, 500, 4))
    train = iso_energy.load_pairs.__globals__["Pairs"](X, y, np.arange(500))
    weight = iso_energy.as_fvu_weight(1e-4, train)
    errors = 0.3 * X, 0.2 * y
    fvu = sum(np.square(e).sum() for e in errors)
    fvu /= np.mean([500 * rows.var(axis=0).sum() for rows in (X, y)])
    entries = np.square(np.vstack(errors)).mean()
    assert weight / fvu == pytest.approx(1e-4 / entries)


def test_a_run_goes_on_where_it_stopped(iso_energy, options, tmp_path, monkeypatch):
    iso_energy.main([*options, "--methods", "topk"])
    first = read_rows(tmp_path)
    monkeypatch.setattr(iso_energy, "evaluate", None)  # no fit is measured again
    iso_energy.main([*options, "--methods", "topk"])
    assert read_rows(tmp_path) == first


def test_arguments_that_do_not_fit(iso_energy, options, capsys):
    with pytest.raises(SystemExit):
        iso_energy.main([*options, "--pairs", "a.npy", "b.npy"])
    assert "--test or --pairs" in capsys.readouterr().err


def test_cosines_of_common_and_of_rare_latents_by_hand(iso_energy):
    cosines = np.array([0.9, 0.8, 0.1, 0.2, 0.3, 0.4, 0.5, 0.1, 0.1, 0.0, 0.3])
    curve = iso_energy.pd.DataFrame(
        {"mean": np.cumsum(cosines) / np.arange(1, 12), "chance": np.full(11, 0.2)},
        index=np.arange(1, 12),
    )
    found = iso_energy._of_ranks(curve)
    assert found["cosine_common"] == pytest.approx(0.9)
    assert found["cosine_rare"] == pytest.approx(cosines[-6:].mean())
    assert found["cosine_common_chance"] == pytest.approx(0.2)
    assert found["cosine_rare_chance"] == pytest.approx(0.2)
    one = iso_energy._of_ranks(curve.iloc[:1])
    assert one["cosine_common"] == one["cosine_rare"] == pytest.approx(0.9)


def test_diets_share_no_group(iso_energy, options, tmp_path, monkeypatch):
    trained = []
    evaluate = iso_energy.make

    def remember(key, train):
        trained.append(train)
        return evaluate(key, train)

    monkeypatch.setattr(iso_energy, "make", remember)
    options = [*options, "--methods", "topk", "--diets", "--seeds", "3", "5"]
    iso_energy.main(options)
    first, second = trained
    groups = [set(part.groups.tolist()) for part in (first, second)]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == set(range(100))
    for part in trained:
        assert len(part.X) == len(part.y) == len(part.groups) == 100
    with np.load(tmp_path / "views.npz") as views:
        images = unit(views["image"])
    np.testing.assert_allclose(first.X, images[first.groups], rtol=1e-5)
    rows = read_rows(tmp_path)
    assert len(rows["topk", "cosine_common"]["of_seeds"]) == 1
    assert rows["topk", "stability_chance"]["mean"] > 0
    whole = ["--methods", "topk", "--seeds", "3", "5"]
    iso_energy.main([*options[: options.index("--diets")], *whole])
    assert len(trained) == 4  # fits of all pairs are others
