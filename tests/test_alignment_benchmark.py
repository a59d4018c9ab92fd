"""benchmarks/alignment.py at a tiny size, judged by direct computation."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import cosine_similarity

from skxsae import CoactivationMatcher
from skxsae.metrics import retrieval_ranks

pytestmark = pytest.mark.filterwarnings("ignore:Only:UserWarning")


@pytest.fixture
def alignment(monkeypatch):
    """The benchmark as its own directory sees it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return importlib.import_module("alignment")


@pytest.fixture
def options(tmp_path):
    """Arguments for 120 images of width 6 with two captions each, 40 held out."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((120, 6)).astype(np.float32)
    groups = np.repeat(np.arange(120), 2)
    texts = images[groups] + rng.standard_normal((240, 6)).astype(np.float32)
    np.savez(tmp_path / "views.npz", image=images, text=texts, narrow=texts[:, :4])
    np.save(tmp_path / "groups.npy", groups)
    np.save(tmp_path / "test.npy", np.arange(120) >= 80)
    arguments = ["--x", f"{tmp_path}/views.npz:image"]
    arguments += ["--y", f"{tmp_path}/views.npz:text", "--n-latents", "10", "-k", "2"]
    arguments += [
        "--groups",
        f"{tmp_path}/groups.npy",
        "--test",
        f"{tmp_path}/test.npy",
    ]
    return [*arguments, "--epochs", "3", "--out", str(tmp_path / "out")]


@pytest.fixture
def fitted(alignment, options):
    """Key, data and two fitted dictionaries with their codes."""
    args = alignment._parse(options)
    data = alignment._load(args)
    key = alignment._key(args, data, args.methods, 2, 0)
    sae = alignment.make_post_hoc(key).set_params(matcher=CoactivationMatcher(n_null=0))
    train = data.X[data.x_rows[data.train]], data.y[data.train]
    sae.fit(*train, groups=data.groups[data.train])
    pair = alignment.Pair(sae, data, key)
    test = data.X[data.x_rows[data.test]], data.y[data.test]
    return SimpleNamespace(data=data, sae=sae, pair=pair, train=train, test=test)


def read_fits(folder):
    lines = (folder / "alignment.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def dense_views(fitted, min_fires=10):
    """Codes over their standard deviation, in training and held out."""
    views = []
    for codes in fitted.pair.codes:
        codes = codes.toarray().astype(float)
        train = codes[fitted.data.train]
        alive = (train != 0).sum(axis=0) >= min_fires
        scaled = codes[:, alive] / train[:, alive].std(axis=0)
        views.append((scaled[fitted.data.train], scaled[fitted.data.test]))
    return views


def assert_ranks_like(found, scores, groups):
    """The features rank held-out pairs like these scores."""
    ranks = retrieval_ranks(found.X, found.y, groups=groups)
    same = groups[:, None] == groups
    best = np.where(same, scores, -np.inf).max(axis=1)
    first = np.unique(groups, return_index=True)[1]  # one query for each image
    n_wrong = np.sum((scores > best[:, None]) & ~same, axis=1)
    np.testing.assert_array_equal(ranks.x_to_y.queries, first)
    np.testing.assert_array_equal(ranks.x_to_y.above, n_wrong[first])
    best = scores[np.searchsorted(groups, groups), np.arange(len(groups))]
    n_wrong = np.sum(scores[first] > best, axis=0)
    np.testing.assert_array_equal(ranks.y_to_x.above, n_wrong)


def test_inner_products_become_cosines(alignment):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 5)), rng.standard_normal((40, 5))
    X[3] = 0
    cosines = cosine_similarity(*alignment.as_cosine(X, y))
    factor = np.linalg.norm(X, axis=1).max() * np.linalg.norm(y, axis=1).max()
    np.testing.assert_allclose(cosines * factor, X @ y.T, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("hungarian", {}),
        ("greedy", {"assignment": "greedy"}),
        ("mutual_nearest", {"assignment": "mutual_nearest"}),
        ("decoder_cosine", {"metric": "decoder_cosine"}),
        ("soft_4k", {"assignment": "soft", "n_translated": 6}),
        ("soft", {"assignment": "soft", "n_translated": 10}),
        ("soft_plain", {"assignment": "soft", "n_translated": 10, "shrinkage": 1.0}),
    ],
)
def test_matchers_as_in_the_estimator(alignment, fitted, name, params):
    found = alignment.features(name, fitted.pair)
    matcher = CoactivationMatcher(n_null=0, random_state=0, **params)
    sae = fitted.sae.set_params(matcher=matcher)
    sae.realign(*fitted.train, groups=fitted.data.groups[fitted.data.train])
    codes = sae.transform(*fitted.test)
    np.testing.assert_allclose(
        cosine_similarity(found.X, found.y), cosine_similarity(*codes), atol=1e-5
    )
    n_active = [np.count_nonzero(part.toarray(), axis=1).mean() for part in codes]
    assert found.active == pytest.approx(n_active)


def test_more_active_latents_for_one_to_one(alignment, fitted):
    found = alignment.features("one_to_one_6k", fitted.pair)
    assert all(2 < active <= 10 for active in found.active)
    for codes, few in zip(fitted.pair.encode(12), fitted.pair.codes, strict=True):
        kept = np.sort(codes.toarray(), axis=1)[:, -2:]
        np.testing.assert_allclose(kept, np.sort(few.toarray(), axis=1)[:, -2:])


def test_through_correlations_and_decoders_by_hand(alignment, fitted):
    (train_x, u), (train_y, v) = dense_views(fitted)
    groups = fitted.pair.groups
    correlation = np.corrcoef(train_x.T, train_y.T)[: u.shape[1], u.shape[1] :]
    x_rows, y_rows = fitted.pair.directions()
    alive = [
        view.alive
        for view in alignment.standardised(
            fitted.pair, fitted.data.train, fitted.data.test
        )
    ]
    gram = x_rows[alive[0]] @ y_rows[alive[1]].T
    for name, matrix in {"through_C": correlation, "decoder_gram": gram}.items():
        found = alignment.features(name, fitted.pair)
        lengths = np.outer(
            np.linalg.norm(u @ matrix, axis=1), np.linalg.norm(v @ matrix.T, axis=1)
        )
        assert_ranks_like(found, u @ matrix @ v.T / lengths, groups)
    rows = fitted.sae.x_sae_.components_ * fitted.sae.x_sae_.scale_
    np.testing.assert_allclose(np.sort(x_rows, axis=0), np.sort(rows, axis=0)[-10:])


def test_through_translations_by_hand(alignment, fitted):
    z_x, z_y = (
        codes.toarray().astype(float)[fitted.data.test] for codes in fitted.pair.codes
    )
    soft = {"assignment": "soft", "n_translated": 10}
    matcher = fitted.pair.matched(fitted.pair.codes, **soft)[2]
    to_x, to_y = matcher.translation_, matcher.reference_translation_
    t_y = to_x.weight * z_y @ to_x.source @ to_x.target.T
    t_x = to_y.weight * z_x @ to_y.source @ to_y.target.T
    scores = (t_x @ z_y.T + z_x @ t_y.T) / np.outer(
        np.linalg.norm(t_x, axis=1), np.linalg.norm(t_y, axis=1)
    )
    found = alignment.features("through_W", fitted.pair)
    assert_ranks_like(found, scores, fitted.pair.groups)


def test_ridge_and_cca_by_hand(alignment, fitted):
    data = fitted.data
    views = alignment.standardised(fitted.pair, data.train, data.test)
    (train_x, u), (train_y, v) = dense_views(fitted)
    n = len(train_x)
    # (1 - s) R + s is R + s / (1 - s), but for a factor that no cosine sees
    models = [Ridge(alpha=n * 0.3 / 0.7) for _ in "xy"]
    to_y, to_x = models[0].fit(train_x, train_y), models[1].fit(train_y, train_x)
    u0, v0 = u - train_x.mean(axis=0), v - train_y.mean(axis=0)
    p, q = (
        to_y.predict(u) - train_y.mean(axis=0),
        to_x.predict(v) - train_x.mean(axis=0),
    )
    expected = (cosine_similarity(p, v0) + cosine_similarity(u0, q)) / 2
    found = alignment.ridge(*views, 0.3)
    np.testing.assert_allclose(cosine_similarity(found.X, found.y), expected, atol=1e-8)

    def inverse(Z):
        return np.linalg.inv(0.7 * np.corrcoef(Z.T) + 0.3 * np.eye(Z.shape[1]))

    C = alignment.correlations(*views)
    found = alignment.cca(*views, 0.3)
    expected = u0 @ inverse(train_x) @ C @ inverse(train_y) @ v0.T
    np.testing.assert_allclose(found.X @ found.y.T, expected, atol=1e-8)


def test_optimal_transport_by_hand(alignment, fitted):
    pytest.importorskip("ot")
    data = fitted.data
    x, y = alignment.standardised(fitted.pair, data.train, data.test)
    found = alignment.optimal_transport(x, y, 1.0)
    kernel = np.exp(alignment.correlations(x, y))
    by_row, by_column = np.ones(kernel.shape[0]), np.ones(kernel.shape[1])
    for _ in range(500):
        by_row = x.rate / x.rate.sum() / (kernel @ by_column)
        by_column = y.rate / y.rate.sum() / (kernel.T @ by_row)
    expected = alignment.through(by_row[:, None] * kernel * by_column, x, y)
    np.testing.assert_allclose(
        found.X @ found.y.T, expected.X @ expected.y.T, atol=1e-4
    )


def test_procrustes_by_hand(alignment, fitted):
    found = alignment.features("procrustes", fitted.pair)
    means = [part.mean(axis=0) for part in fitted.train]
    x, y = (part - mean for part, mean in zip(fitted.train, means, strict=True))
    rotation = orthogonal_procrustes(y, x)[0]
    np.testing.assert_allclose(found.X, fitted.test[0] - means[0], atol=1e-5)
    expected = (fitted.test[1] - means[1]) @ rotation
    np.testing.assert_allclose(found.y, expected, atol=1e-4)


def test_procrustes_pads_the_narrower_view(alignment, fitted):
    data = fitted.data
    narrow = SimpleNamespace(**{**data, "X": data.X[:, :4]})
    fitted.pair.data = narrow
    found = alignment.features("procrustes", fitted.pair)
    assert found.X.shape == found.y.shape
    x = narrow.X[data.x_rows]
    centred = x[data.test] - x[data.train].mean(axis=0)
    np.testing.assert_allclose(found.X @ found.X.T, centred @ centred.T, atol=1e-4)


def test_values_are_chosen_on_training_groups(alignment, fitted, monkeypatch):
    seen = []
    standardised = alignment.standardised

    def recording(pair, train, test):
        seen.append((train, test))
        return standardised(pair, train, test)

    monkeypatch.setattr(alignment, "standardised", recording)
    found = alignment.features("ridge", fitted.pair)
    assert found.chosen in alignment.GRIDS["ridge"]
    (train, test), (part, judged) = seen
    np.testing.assert_array_equal(test, fitted.data.test)
    assert set(part) | set(judged) == set(train)
    groups = fitted.data.groups
    assert not set(groups[part]) & set(groups[judged])
    assert len(set(groups[judged])) == 80 // 5


def test_every_method_is_measured_once(alignment, options, tmp_path, monkeypatch):
    ran = []
    run = alignment.run
    monkeypatch.setattr(
        alignment, "run", lambda key, data: ran.append(key) or run(key, data)
    )
    alignment.main([*options, "--seeds", "0"])
    results = tmp_path / "RESULTS.md"
    alignment.main([*options, "--seeds", "0", "1", "--results", str(results)])
    assert [(key["k"], key["seed"]) for key in ran] == [(2, 0), (2, 1)]
    fits = read_fits(tmp_path / "out")
    absent = set() if alignment.ot else {"optimal_transport"}
    assert all(set(fit["rows"]) == set(alignment.METHODS) - absent for fit in fits)
    assert results.read_text().count("|") == 6

    table = alignment.ratios(fits)
    recalls = {
        name: np.mean([fit["rows"][name]["hits"]["y_to_x"]["10"] for fit in fits])
        for name in ("soft", "hungarian")
    }
    (row,) = [row for row in table if row["method"] == "soft"]
    ratio = recalls["soft"] / recalls["hungarian"]
    assert float(row["y_to_x @10"].split()[0]) == pytest.approx(ratio, abs=0.006)


def test_widths_that_differ_leave_no_joint_methods(
    alignment, options, tmp_path, capsys
):
    options[3] = f"{tmp_path}/views.npz:narrow"
    methods = ["dense", "decoder_cosine", "hungarian", "procrustes"]
    alignment.main([*options, "--seeds", "0", "--methods", *methods])
    assert "dense, decoder_cosine" in capsys.readouterr().out
    (fit,) = read_fits(tmp_path / "out")
    assert list(fit["rows"]) == ["hungarian", "procrustes"]


def test_emoji_have_sizes_of_their_own(alignment, capsys):
    args = alignment._parse(["--emoji", "--out", "unused"])
    assert (args.n_latents, args.k, args.epochs, args.batch_size) == (256, [8], 50, 256)
    with pytest.raises(SystemExit):
        alignment._parse(["--out", "unused"])
    assert "--emoji" in capsys.readouterr().err
