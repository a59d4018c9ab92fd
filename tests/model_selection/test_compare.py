"""Several estimators on the same held-out pairs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skxsae import CoactivationMatcher, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.baselines import SparseBaseline
from skxsae.datasets import make_paired_features
from skxsae.metrics import (
    bimodal_latents,
    energy,
    explained_variance_ratio,
    modality_score,
    recall_at_k_score,
    retrieval_ranks,
)
from skxsae.model_selection import compare
from skxsae.model_selection._measures import _dead_share, encode_pairs
from skxsae.model_selection._split import split_pairs

pytestmark = pytest.mark.filterwarnings("ignore:Only .* matches score above")

DATA = make_paired_features(
    600,
    n_features=16,
    n_shared=12,
    n_x_only=3,
    n_y_only=3,
    sparsity=0.85,
    max_interference=0.8,
    random_state=0,
)
# in no order, so that numbers of groups are no numbers of rows
GROUPS = np.random.default_rng(0).permutation(np.arange(600) % 300)
X = DATA.X[GROUPS]  # each of the first rows twice, as an image with two captions
Y = DATA.y[GROUPS] + 0.1 * DATA.y
OPTIONS = {"n_latents": 32, "k": 3, "max_iter": 5, "random_state": 0}
ESTIMATORS = {
    "aligned": PostHocAlignedSAE(**OPTIONS),
    "soft": PostHocAlignedSAE(
        matcher=CoactivationMatcher(assignment="soft"), **OPTIONS
    ),
    "shared": PairedSAE(**OPTIONS),
    "crosscoder": PairedSAE(coupling="crosscoder", **OPTIONS),
    "one": TopKSAE(**OPTIONS),
    "pca": SparseBaseline("pca", 32, 3, random_state=0),
    "pipeline": make_pipeline(StandardScaler(), PairedSAE(**OPTIONS)),
}


@pytest.fixture(scope="module")
def table():
    return compare(ESTIMATORS, X, Y, GROUPS, k=(1, 5), n_resamples=200, random_state=0)


def held_out():
    split = split_pairs(X, Y, GROUPS, 0.25, np.random.RandomState(0))
    (X_train, y_train, g_train), (X_test, y_test, g_test) = split
    assert not set(g_train) & set(g_test)
    return (X_train, y_train, g_train), (X_test, y_test, g_test)


def fit_by_hand(name):
    """Codes and reconstructions of the held-out pairs by the estimator itself."""
    (X_train, y_train, groups), (X_test, y_test, _) = held_out()
    model = clone(ESTIMATORS[name])
    if name in ("one", "pca"):
        model.fit(np.vstack([X_train, y_train]))
        codes = model.transform(X_test), model.transform(y_test)
        return codes, [model.inverse_transform(z) for z in codes]
    if name == "pipeline":
        scaler, sae = model.fit(X_train, y_train).named_steps.values()
        codes = sae.transform(scaler.transform(X_test), y_test)
        x_hat, y_hat = sae.inverse_transform(*codes)
        return codes, [scaler.inverse_transform(x_hat), y_hat]
    params = {"groups": groups} if name in ("aligned", "soft") else {}
    codes = model.fit(X_train, y_train, **params).transform(X_test, y_test)
    return codes, model.inverse_transform(*codes)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_values_are_those_of_the_public_functions(table, name):
    values = table["value"][name]
    _, (X_test, y_test, groups) = held_out()
    codes, rebuilt = fit_by_hand(name)
    for view, name_of_view, z, z_hat in zip(
        (X_test, y_test), "xy", codes, rebuilt, strict=True
    ):
        expected = explained_variance_ratio(view, z_hat)
        assert_allclose(
            values[f"explained_variance_{name_of_view}"], expected, rtol=1e-6
        )
        n_active = (z.toarray() != 0).sum(axis=1)
        assert_allclose(values[f"l0_{name_of_view}"], n_active.mean())
    for k in (1, 5):
        for direction in ("x_to_y", "y_to_x"):
            expected = recall_at_k_score(
                *codes, k=k, direction=direction, groups=groups
            )
            assert_allclose(values[f"recall@{k}_{direction}"], expected)
    scores = modality_score(*codes)
    total = energy(codes[0]) + energy(codes[1])
    expected = total[bimodal_latents(scores)].sum() / total.sum()
    assert_allclose(values["bimodal_energy"], expected)


def test_shares_of_latents_and_of_matches(table):
    (X_train, y_train, groups), (X_test, y_test, _) = held_out()
    sae = PostHocAlignedSAE(**OPTIONS).fit(X_train, y_train, groups=groups)
    values = table["value"]["aligned"]
    assert_allclose(values["matches_above_noise"], sae.matches_["above_noise"].mean())
    for name, view in (("x", X_test), ("y", y_test)):
        autoencoder = getattr(sae, f"{name}_sae_")
        fires = autoencoder.transform(view).toarray().any(axis=0)
        present = autoencoder.components_.any(axis=1)
        assert not present.all()
        assert_allclose(values[f"dead_{name}"], np.mean(~fires[present]))
    assert 0 < table["value"]["one"]["matches_above_noise"] <= 1
    fixed = ["dead_x", "dead_y", "matches_above_noise"]
    assert table.loc["aligned"].loc[fixed, ["low", "high"]].isna().all(axis=None)


def test_intervals_are_those_of_groups_drawn_row_by_row(table):
    random_state = np.random.RandomState(0)
    split = split_pairs(X, Y, GROUPS, 0.25, random_state)
    X_test, groups = split[1][0], split[1][2]
    codes, rebuilt = fit_by_hand("shared")
    names = list(dict.fromkeys(groups))  # in the order that they come in
    counts = random_state.multinomial(
        len(names), np.full(len(names), 1 / len(names)), 200
    )
    error = ((X_test - rebuilt[0]) ** 2).sum(axis=1)
    variance = ((X_test - X_test.mean(axis=0)) ** 2).sum(axis=1)
    # every row of y is a query, as those of a group differ
    one_way = retrieval_ranks(*codes, groups=groups).y_to_x
    hits, hit_groups = one_way.hits(5), groups[one_way.queries]
    explained, sizes, shares, recall = [], [], [], []
    for drawn in counts:
        rows = np.concatenate(
            [
                np.flatnonzero(groups == g)
                for g, n in zip(names, drawn, strict=True)
                for _ in range(n)
            ]
        )
        explained.append(1 - error[rows].sum() / variance[rows].sum())
        found = [hits[hit_groups == g] for g in np.repeat(names, drawn)]
        recall.append(np.concatenate(found).mean())
        z_x, z_y = (z.toarray()[rows] for z in codes)
        sizes.append((z_y != 0).sum() / len(rows))
        total = energy(z_x) + energy(z_y)
        shares.append(
            total[bimodal_latents(modality_score(z_x, z_y))].sum() / total.sum()
        )
    for score, drawn in (
        ("explained_variance_x", explained),
        ("l0_y", sizes),
        ("bimodal_energy", shares),
        ("recall@5_y_to_x", recall),
    ):
        actual = table.loc[("shared", score), ["low", "high"]]
        assert_allclose(actual, np.quantile(drawn, [0.025, 0.975]), rtol=1e-5)


def test_intervals_hold_the_value_and_narrow_with_the_level(table):
    # a draw leaves groups out, so that fewer latents seem to be bimodal
    known = table.dropna().drop("bimodal_energy", level="score")
    assert (known["low"] <= known["value"]).all()
    assert (known["value"] <= known["high"]).all()
    options = {"n_resamples": 200, "k": [1], "random_state": 0}
    wide, narrow = (
        compare({"a": ESTIMATORS["shared"]}, X, Y, GROUPS, level=level, **options)
        for level in (0.95, 0.5)
    )
    width = (narrow["high"] - narrow["low"]) / (wide["high"] - wide["low"])
    assert width["a"]["explained_variance_x"] < 0.6
    assert_array_equal(wide["value"], narrow["value"])


TEST = np.isin(GROUPS, np.arange(40))


@pytest.mark.parametrize("test", [TEST, np.flatnonzero(TEST)[::-1]])
def test_a_frozen_estimator_is_measured_as_it_is_on_pairs_that_are_given(test):
    fitted = PairedSAE(**OPTIONS).fit(X[~TEST], Y[~TEST])
    before = fitted.x_sae_.components_.copy()
    values = compare(
        {"frozen": FrozenEstimator(fitted)}, X, Y, GROUPS, test=test, k=1, n_resamples=0
    )["value"]["frozen"]
    assert_array_equal(fitted.x_sae_.components_, before)
    codes = fitted.transform(X[TEST], Y[TEST])
    expected = recall_at_k_score(*codes, k=1, direction="x_to_y", groups=GROUPS[TEST])
    assert_allclose(values["recall@1_x_to_y"], expected)
    rebuilt = fitted.inverse_transform(*codes)
    expected = explained_variance_ratio(Y[TEST], rebuilt[1])
    assert_allclose(values["explained_variance_y"], expected, rtol=1e-6)


def test_a_frozen_estimator_without_given_pairs_warns():
    fitted = PairedSAE(**OPTIONS).fit(X, Y)
    with pytest.warns(UserWarning, match="'a' is frozen.* Pass test") as record:
        compare({"a": FrozenEstimator(fitted)}, X, Y, GROUPS, n_resamples=0)
    assert [warning.filename for warning in record] == [__file__]


def test_others_learn_from_the_pairs_that_are_not_held_out():
    model = PairedSAE(**OPTIONS).fit(X[~TEST], Y[~TEST])
    options = {"test": TEST, "n_resamples": 0, "k": [1]}
    fitted, frozen = (
        compare({"a": estimator}, X, Y, GROUPS, **options)["value"].drop(
            "matches_above_noise", level="score"
        )
        for estimator in (PairedSAE(**OPTIONS), FrozenEstimator(model))
    )
    assert_allclose(fitted, frozen)


@given(
    groups=st.lists(st.integers(0, 4), min_size=12, max_size=12),
    names=st.permutations("abcde"),
    held_out=st.sets(st.integers(0, 4), min_size=2, max_size=3),
    k=st.integers(1, 2),
)
@settings(max_examples=15, deadline=None)
def test_any_groups_by_any_names_on_either_side(groups, names, held_out, k):
    groups = np.array([*groups, 0, 1, 2, 3, 4])
    test = np.isin(groups, list(held_out))
    X, Y = DATA.X[: len(groups)], DATA.y[: len(groups)]
    sae = SparseBaseline("kmeans", 6, 2, random_state=0).fit(np.vstack([X, Y]))
    codes = sae.transform(X[test]), sae.transform(Y[test])
    recall = recall_at_k_score(*codes, k=k, direction="y_to_x", groups=groups[test])
    explained = explained_variance_ratio(X[test], sae.inverse_transform(codes[0]))
    for labels in (groups, np.array(names)[groups]):
        table = compare(
            {"a": FrozenEstimator(sae)}, X, Y, labels, test=test, k=k, n_resamples=20
        )
        values = table["value"]["a"]
        assert_allclose(values[f"recall@{k}_y_to_x"], recall)
        assert_allclose(values["explained_variance_x"], explained, rtol=1e-5)
        known = table.dropna()
        assert (known["low"] <= known["high"]).all()


def test_the_null_has_a_seed_of_its_own(monkeypatch):
    seeds = []
    monkeypatch.setattr(
        "skxsae.model_selection._compare.share_above_noise",
        lambda *args: seeds.append(args[-1]) or 0.5,
    )
    for random_state in (0, 0, 1):
        compare(
            {"a": SparseBaseline("pca", 8, 2)},
            X,
            Y,
            GROUPS,
            n_resamples=0,
            random_state=random_state,
        )
    assert seeds[0] == seeds[1] != seeds[2]
    assert 0 not in seeds


def as_frames(prefixes):
    return [
        pd.DataFrame(view, columns=[f"{prefix}{i}" for i in range(16)])
        for prefix, view in zip(prefixes, (X, Y), strict=True)
    ]


@pytest.mark.parametrize("prefixes", ["aa", "ab"])
def test_tables_keep_their_names(prefixes):
    options = {"n_resamples": 0, "random_state": 0, "k": 1}
    estimators = {name: ESTIMATORS[name] for name in ("shared", "one", "pipeline")}
    expected = compare(estimators, X, Y, GROUPS, **options)
    table = compare(estimators, *as_frames(prefixes), GROUPS, **options)
    assert_allclose(table, expected)


def test_columns_can_be_chosen_by_name():
    frames = as_frames("aa")
    names = [f"a{i}" for i in range(8)]
    chosen = make_column_transformer(
        ("passthrough", names), verbose_feature_names_out=False
    )
    last = SparseBaseline("pca", 8, 2, random_state=0)
    model = make_pipeline(chosen, last).fit(pd.concat(frames))
    codes = encode_pairs(model, *frames)
    assert_array_equal(codes[0].toarray(), model.transform(frames[0]).toarray())


def test_constant_rows_are_explained_or_not_without_warnings():
    constant = np.full((60, 16), 0.1)
    values = compare(
        {"a": PairedSAE(**OPTIONS)}, constant, Y[:60], np.arange(60), n_resamples=5
    )
    assert values["value"]["a", "explained_variance_x"] in (0.0, 1.0)
    interval = values.loc[("a", "explained_variance_x"), ["low", "high"]]
    assert np.isfinite(interval).all()


def test_estimators_are_left_alone():
    sae = PairedSAE(**OPTIONS)
    compare({"a": sae}, DATA.X, DATA.y, n_resamples=0, test_size=100)
    assert not hasattr(sae, "x_sae_")


def test_repeated_rows_without_groups_warn():
    with pytest.warns(UserWarning, match="rows of X are distinct") as record:
        compare({"a": ESTIMATORS["shared"]}, X, Y, n_resamples=0, test_size=300)
    assert [warning.filename for warning in record] == [__file__]
    assert "scorer" not in str(record[0].message)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"estimators": {}}, ValueError, "estimators is empty"),
        ({"y": Y[:, :5]}, ValueError, "16 features and y has 5, but TopKSAE encodes"),
        ({"test_size": 1}, ValueError, "1 group is held out"),
        ({"estimators": {"a": LogisticRegression()}}, TypeError, "'a' is a LogisticR"),
        ({"k": [1, 76]}, ValueError, "k=76 must be from 1 to 75"),
        ({"k": 0}, ValueError, "k=0 must be from 1 to 75"),
        ({"k": [1.5]}, ValueError, r"k=\[1.5\] must be an int"),
        ({"k": []}, ValueError, r"k=\[\] must be an int"),
        ({"groups": [None, *GROUPS[1:]]}, ValueError, "groups is missing at row 0"),
        ({"groups": GROUPS[1:]}, ValueError, "inconsistent numbers of samples"),
        ({"test": GROUPS < 0}, ValueError, "test holds out 0 of 600 pairs"),
        ({"test": GROUPS >= 0}, ValueError, "test holds out 600 of 600 pairs"),
        ({"test": TEST[1:]}, ValueError, "test is a mask of 599 rows for 600"),
        ({"test": [600]}, ValueError, "test has the row 600"),
        ({"test": [0.5]}, ValueError, "test has type float64"),
        ({"test": [0, 1, 2]}, ValueError, "hold out whole groups"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_a_fit(options, error, message):
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TopKSAE, "fit", lambda *args: calls.append(args))
        with pytest.raises(error, match=message):
            compare(
                **{"estimators": {"a": TopKSAE(**OPTIONS)}, "X": X, "y": Y}
                | {"groups": GROUPS}
                | options
            )
    assert not calls


def test_the_share_of_no_latents_is_not_known():
    sae = PairedSAE(**OPTIONS).fit(X, Y)
    sae.x_sae_.components_[:] = 0
    assert np.isnan(_dead_share(sae, "x", np.zeros((3, 32))))


def test_matches_that_were_made_without_a_null_have_no_share():
    sae = PostHocAlignedSAE(matcher=CoactivationMatcher(n_null=0), **OPTIONS)
    table = compare({"sae": sae}, X, Y, GROUPS, n_resamples=0, random_state=0)
    assert np.isnan(table["value"]["sae", "matches_above_noise"])


@pytest.mark.parametrize(
    "hold",
    [
        lambda sae: make_pipeline(StandardScaler(), FrozenEstimator(sae)),
        lambda sae: PostHocAlignedSAE(x_sae=FrozenEstimator(sae), y_sae=TopKSAE(8, 2)),
    ],
    ids=["pipeline", "view"],
)
def test_what_is_frozen_inside_is_told_of(hold):
    sae = TopKSAE(8, 2, max_iter=1, random_state=0).fit(X)
    with pytest.warns(UserWarning, match="is frozen, and the pairs to hold out"):
        compare({"a": hold(sae)}, X, Y, GROUPS, n_resamples=0, random_state=0)


def test_a_frozen_scaler_is_no_matter():
    scaler = FrozenEstimator(StandardScaler().fit(X))
    model = make_pipeline(scaler, PairedSAE(8, 2, max_iter=1, random_state=0))
    compare({"a": model}, X, Y, GROUPS, n_resamples=0, random_state=0)


@pytest.mark.parametrize("seed", range(5))
def test_repeats_are_told_of_wherever_the_split_falls(seed):
    options = {"n_resamples": 0, "test_size": 0.05, "k": 1, "random_state": seed}
    with pytest.warns(UserWarning, match="rows of X are distinct"):
        compare({"a": PairedSAE(8, 2, max_iter=1)}, X, Y, **options)


def test_nothing_held_out_is_refused():
    with pytest.raises(ValueError, match="test is empty: no pair is held out"):
        compare({"a": PairedSAE(8, 2, max_iter=1)}, X, Y, GROUPS, test=[])
