"""benchmarks/zero_shot.py on tiny arrays, judged by direct computation."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse, stats


@pytest.fixture
def zero_shot(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("zero_shot")


@pytest.fixture
def arrays(tmp_path):
    """30 classes of width 6: 1 and 3 images of each, and two templates."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((30, 6))
    arrays = {
        name: 2 * np.repeat(means, shots, axis=0) + rng.normal(size=(30 * shots, 6))
        for name, shots in {"one": 1, "three": 3, "text_a": 1, "text_b": 1}.items()
    }
    np.savez(tmp_path / "arrays.npz", **arrays)
    return arrays


@pytest.fixture
def options(arrays, tmp_path):
    """Command line that takes a second or two."""
    specs = {name: f"{tmp_path}/arrays.npz:{name}" for name in arrays}
    options = ["--images", specs["one"], specs["three"]]
    options += ["--texts", specs["text_a"], specs["text_b"], "--train-classes", "20"]
    options += ["--n-latents", "8", "-k", "3", "--epochs", "2", "--batch-size", "32"]
    return [*options, "--splits", "2", "--out", str(tmp_path / "out")]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def read_measurements(tmp_path):
    rows = json.loads((tmp_path / "out/zero_shot.json").read_text())["measurements"]
    return {row["method"]: row for row in rows}


def test_a_split_is_by_class_and_pairs_are_of_one_class(zero_shot, arrays, options):
    data = zero_shot.load(options[1:3], options[4:6])
    assert data.images.shape == (120, 6)
    train, test = zero_shot.split(data, 0, 20)
    assert len(train) == 20
    assert sorted([*train, *test]) == list(range(30))
    assert not np.array_equal(train, zero_shot.split(data, 1, 20)[0])
    images, texts, groups = zero_shot.training_pairs(data, train)
    made = {(*x, *y) for x, y in zip(images, texts, strict=True)}
    one, three, *templates = (unit(np.float32(rows)) for rows in arrays.values())
    wanted = {
        (*image, *template[c])
        for c in train
        for image in [one[c], *three[3 * c : 3 * c + 3]]
        for template in templates
    }
    assert made == wanted
    assert len(images) == len(wanted) == 160
    assert set(groups) == set(train)
    images, texts, labels = zero_shot.test_set(data, test)
    assert len(texts) == 10
    np.testing.assert_array_equal(test[labels], [*test, *np.repeat(test, 3)])
    np.testing.assert_allclose(
        images, np.vstack([one[test], three.reshape(30, 3, 6)[test].reshape(-1, 6)]),
        rtol=1e-6,
    )  # fmt: skip


def test_accuracy_of_dense_embeddings_by_hand(zero_shot, arrays, options, tmp_path):
    zero_shot.main([*options, "--methods", "dense"])
    of_splits = []
    for number in range(2):
        order = np.random.default_rng(number).permutation(30)
        texts = unit(arrays["text_a"]) + unit(arrays["text_b"])
        hits = [
            max(order[20:], key=lambda c: unit(image) @ unit(texts[c])) == j // shots
            for name, shots in {"one": 1, "three": 3}.items()
            for j, image in enumerate(arrays[name])
            if j // shots in order[20:]
        ]
        of_splits.append(100 * np.mean(hits))
    row = read_measurements(tmp_path)["dense"]
    assert row["of_splits"] == pytest.approx(of_splits)
    low, high = stats.t.interval(
        0.95, 1, loc=np.mean(of_splits), scale=stats.sem(of_splits)
    )
    assert row["accuracy"] == pytest.approx([np.mean(of_splits), low, high])


def test_codes_of_zeros_are_misses(zero_shot):
    texts = np.array([[0, 0, 0], [1, 0, 0], [0, 5, 1]])
    images = np.array([[1, 0, 0], [0, 0, 0], [2, 1, 0], [0, 1, 0], [3, 2, 2]])
    labels = [0, 1, 1, 2, 2]
    for container in (np.array, sparse.csr_array):
        codes = container(images), container(texts)
        assert zero_shot.accuracy(*codes, labels) == pytest.approx(40)


def test_a_run_is_reported_and_not_repeated(
    zero_shot, options, tmp_path, capsys, monkeypatch
):
    zero_shot.main([*options, "--methods", "soft", "dense", "shared", "group_sparse"])
    first = read_measurements(tmp_path)
    assert list(first) == ["soft", "dense", "shared", "group_sparse"]
    assert "post_hoc" not in capsys.readouterr().out.partition("per cent")[2]
    log = tmp_path / "out/zero_shot.jsonl"
    assert len(log.read_text().splitlines()) == 8
    run = zero_shot.run

    def run_what_is_new(key, data):
        assert key["method"] in ("group_sparse_mask", "iso_energy_masked")
        return run(key, data)

    monkeypatch.setattr(zero_shot, "run", run_what_is_new)
    zero_shot.main(options)
    again = read_measurements(tmp_path)
    assert list(again) == zero_shot.METHODS
    assert {name: again[name] for name in first} == first
    gain = np.subtract(again["soft"]["of_splits"], again["post_hoc"]["of_splits"])
    assert again["post_hoc"]["soft_better"][0] == pytest.approx(gain.mean())
    assert "soft_better" not in again["soft"]


def test_soft_and_post_hoc_are_read_from_one_fit(zero_shot, options, monkeypatch):
    fitted = []
    fit = zero_shot.PostHocAlignedSAE.fit

    def remember(sae, *args, **kwargs):
        fitted.append(fit(sae, *args, **kwargs))
        return fitted[-1]

    monkeypatch.setattr(zero_shot.PostHocAlignedSAE, "fit", remember)
    args = zero_shot._parse([*options, "--splits", "1"])
    data = zero_shot.load(args.images, args.texts)
    rows = zero_shot.run(zero_shot._key(args, data, "post_hoc", 0, 0), data)["rows"]
    assert list(rows) == ["post_hoc", "reconstruction", "soft"]
    (sae,) = fitted
    assert (sae.x_sae.batch_size, sae.y_sae.batch_size) == (32, 16)
    assert (sae.x_sae.max_iter, sae.y_sae.max_iter) == (2, 6)
    images, texts, labels = zero_shot.test_set(data, zero_shot.split(data, 0, 20)[1])
    texts = texts[labels]  # transform takes pairs
    x, y = (codes.toarray() for codes in sae.transform(images, texts))
    classes = np.array([y[labels == label][0] for label in range(10)])
    lengths = np.linalg.norm(classes, axis=1)
    hits = 0
    for code, label in zip(x, labels, strict=True):
        cosines = [
            code @ classes[c] / lengths[c] if lengths[c] else -np.inf for c in range(10)
        ]
        hits += code.any() and bool(lengths[label]) and np.argmax(cosines) == label
    assert rows["soft"]["accuracy"] == pytest.approx(100 * hits / len(labels))


def test_what_does_not_fit_is_refused(zero_shot, options, arrays, tmp_path):
    with pytest.raises(ValueError, match="--train-classes 30 must be in 1"):
        zero_shot.main([*options, "--train-classes", "30"])
    np.save(tmp_path / "odd.npy", arrays["three"][:-1])
    with pytest.raises(ValueError, match="89 rows, but 30 classes"):
        zero_shot.load([tmp_path / "odd.npy"], options[4:6])
