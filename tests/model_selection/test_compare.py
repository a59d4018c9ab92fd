"""Several estimators on the same held-out pairs."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
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
GROUPS = np.arange(600) % 300
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
    one_way = retrieval_ranks(*codes, groups=groups).x_to_y
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
        ("recall@5_x_to_y", recall),
    ):
        actual = table.loc[("shared", score), ["low", "high"]]
        assert_allclose(actual, np.quantile(drawn, [0.025, 0.975]), rtol=1e-5)


def test_intervals_hold_the_value_and_narrow_with_the_level(table):
    known = table.dropna()
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


def test_a_frozen_estimator_is_measured_as_it_is():
    fitted = PairedSAE(**OPTIONS).fit(X, Y)
    before = fitted.x_sae_.components_.copy()
    values = compare(
        {"frozen": FrozenEstimator(fitted)},
        X,
        Y,
        GROUPS,
        k=[1],
        n_resamples=0,
        random_state=0,
    )["value"]["frozen"]
    assert_array_equal(fitted.x_sae_.components_, before)
    _, (X_test, y_test, groups) = held_out()
    expected = recall_at_k_score(
        *fitted.transform(X_test, y_test), k=1, direction="x_to_y", groups=groups
    )
    assert_allclose(values["recall@1_x_to_y"], expected)


def test_estimators_are_left_alone():
    sae = PairedSAE(**OPTIONS)
    compare({"a": sae}, DATA.X, DATA.y, n_resamples=0, test_size=100)
    assert not hasattr(sae, "x_sae_")


def test_repeated_rows_without_groups_warn():
    with pytest.warns(UserWarning, match="rows of X are distinct"):
        compare({"a": ESTIMATORS["shared"]}, X, Y, n_resamples=0, test_size=300)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="estimators is empty"):
        compare({}, X, Y)
    with pytest.raises(
        ValueError, match="16 features and y has 5, but TopKSAE encodes"
    ):
        compare({"a": TopKSAE(**OPTIONS)}, DATA.X, DATA.y[:, :5])
    with pytest.raises(ValueError, match="1 group is held out"):
        compare({"a": ESTIMATORS["shared"]}, X, Y, GROUPS, test_size=1)


def test_matches_that_were_made_without_a_null_have_no_share():
    sae = PostHocAlignedSAE(matcher=CoactivationMatcher(n_null=0), **OPTIONS)
    table = compare({"sae": sae}, X, Y, GROUPS, n_resamples=0, random_state=0)
    assert np.isnan(table["value"]["sae", "matches_above_noise"])
