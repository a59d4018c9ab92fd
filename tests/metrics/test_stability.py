from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import linear_sum_assignment

from skxsae.metrics import stability_chance, stability_curve, stability_score


def cosine_table(components, other):
    return np.array(
        [
            [a @ b / (np.linalg.norm(a) * np.linalg.norm(b)) for b in other]
            for a in components
        ]
    )


def reference_score(components, other, form):
    table = cosine_table(components, other)
    if form == "angle":
        table = -np.arccos(np.clip(table, -1, 1))
    if table.shape[0] > table.shape[1]:
        table = table.T
    choices = permutations(range(table.shape[1]), table.shape[0])
    best = max(sum(table[i, j] for i, j in enumerate(choice)) for choice in choices)
    return abs(best / len(table)) if form == "angle" else best / len(table)


@st.composite
def pairs(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    sizes = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    return tuple(rng.standard_normal((n, 3)) for n in sizes)


@pytest.mark.parametrize("form", ["cosine", "angle"])
@settings(deadline=None, max_examples=40)
@given(pair=pairs())
def test_score_matches_its_definition(form, pair):
    expected = reference_score(*pair, form)
    assert_allclose(stability_score(*pair, form=form), expected, rtol=1e-7, atol=1e-12)
    assert_allclose(
        stability_score(*pair[::-1], form=form), expected, rtol=1e-7, atol=1e-12
    )


@pytest.mark.parametrize("form", ["cosine", "angle"])
def test_larger_dictionaries_against_the_dense_solver(form):
    rng = np.random.default_rng(0)
    first = rng.standard_normal((150, 12))
    second = (first + 0.7 * rng.standard_normal(first.shape))[rng.permutation(150)]
    table = cosine_table(first, second)
    if form == "angle":
        table = np.arccos(table)
    best = linear_sum_assignment(table, maximize=form == "cosine")
    score = stability_score(first, second, form=form)
    assert_allclose(score, table[best].mean(), rtol=1e-10)


def test_the_forms_differ_in_what_they_match():
    # the same pairs of directions are not best for both
    first, second = np.random.default_rng(47).standard_normal((2, 2, 3))
    cosines = cosine_table(first, second)
    by_cosine = max(cosines[0, 0] + cosines[1, 1], cosines[0, 1] + cosines[1, 0]) / 2
    angles = np.arccos(cosines)
    by_angle = min(angles[0, 0] + angles[1, 1], angles[0, 1] + angles[1, 0]) / 2
    assert_allclose(stability_score(first, second), by_cosine)
    assert_allclose(stability_score(first, second, form="angle"), by_angle)
    of_each = [
        (table[0, 1] + table[1, 0]) - (table[0, 0] + table[1, 1])
        for table in (cosines, -angles)
    ]
    assert of_each[0] * of_each[1] < 0


@settings(deadline=None, max_examples=20)
@given(pair=pairs(), seed=st.integers(0, 100))
def test_order_and_length_do_not_matter_but_sign_does(pair, seed):
    rng = np.random.default_rng(seed)
    first, second = pair
    moved = first * rng.uniform(0.1, 9.0, (len(first), 1))
    score = stability_score(rng.permutation(moved), second.astype(np.float32))
    assert_allclose(score, stability_score(first, second), rtol=1e-5, atol=1e-6)
    assert_allclose(
        stability_score(first, -first[::-1]), stability_score(-first, first)
    )


def test_equal_and_opposite_dictionaries():
    truth = np.random.default_rng(0).standard_normal((6, 8))
    assert_allclose(stability_score(truth[::-1], 3 * truth), 1.0)
    angle = stability_score(truth[::-1], 3 * truth, form="angle")
    assert 0 <= angle < 1e-7
    assert stability_score([[1.0, 2.0]], [[-1.0, -2.0]]) == pytest.approx(-1.0)
    assert stability_score([[1.0]], [[-2.0]], form="angle") == np.pi


@pytest.mark.parametrize("form", ["cosine", "angle"])
@pytest.mark.parametrize("filler", [0.0, np.nan])
def test_curve_matches_everything_first(form, filler):
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((7, 4)), rng.standard_normal((6, 4))
    first[2] = filler
    second[0] = filler
    energies, other_energies = rng.exponential(size=7), rng.exponential(size=6)
    curve = stability_curve(first, second, energies, form=form)
    present = np.array([0, 1, 3, 4, 5, 6])
    table = cosine_table(first[present], second[1:])
    if form == "angle":
        table = -np.arccos(table)
    i, j = linear_sum_assignment(table, maximize=True)
    order = np.argsort(-energies[present[i]])
    latents, other_latents = present[i][order], 1 + j[order]
    scores = np.abs(table[i, j][order]) if form == "angle" else table[i, j][order]
    assert curve["latent"].tolist() == latents.tolist()
    assert curve["other_latent"].tolist() == other_latents.tolist()
    assert_allclose(curve["energy"], energies[latents])
    assert_allclose(curve[form], scores)
    for rank in range(1, 6):
        assert_allclose(curve["mean"].loc[rank], scores[:rank].mean())
    assert_allclose(curve["mean"].iloc[-1], stability_score(first, second, form=form))

    both = stability_curve(
        first, second, energies, other_energies=other_energies, form=form
    )
    mean = (energies[both["latent"]] + other_energies[both["other_latent"]]) / 2
    assert_allclose(both["energy"], mean)
    assert (np.diff(both["energy"]) <= 0).all()
    assert set(zip(both["latent"], both["other_latent"], strict=True)) == set(
        zip(latents, other_latents, strict=True)
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"other": np.eye(4)}, "components has 3 columns and other has 4"),
        ({"components": np.zeros((2, 3))}, "components has no latent"),
        ({"other": np.full((2, 3), np.nan)}, "other has no latent"),
        ({"energies": [1.0]}, "energies has 1 entries, but there are 3 latents"),
        (
            {"other_energies": -np.ones(3)},
            "other_energies must be >= 0, got -1.0",
        ),
        ({"form": "sine"}, "'form' parameter"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    arguments = {"components": np.eye(3), "other": np.eye(3), "energies": np.ones(3)}
    with pytest.raises(ValueError, match=message):
        stability_curve(**arguments | changed)


def reference_chance(components, other, form, null, seed):
    unit = other / np.linalg.norm(other, axis=1)[:, None]
    own_seed = np.random.RandomState(seed).randint(2**31 - 1)
    drawn = np.random.default_rng(own_seed).standard_normal(other.shape)
    if null == "moments":
        mean, covariance = unit.mean(axis=0), np.cov(unit.T, bias=True)
        values, axes = np.linalg.eigh(covariance)
        values = np.clip(values, 0, None)
        root = axes @ np.diag(np.sqrt(values)) @ axes.T
        drawn = np.array([mean + root @ row for row in drawn])
    return drawn, reference_score(components, drawn, form)


@pytest.mark.parametrize("form", ["cosine", "angle"])
@pytest.mark.parametrize("null", ["moments", "uniform"])
def test_chance_is_the_score_of_random_directions(form, null):
    rng = np.random.default_rng(3)
    first = rng.standard_normal((4, 3))
    second = rng.uniform(0.5, 3, (6, 1)) * (rng.standard_normal((6, 3)) + [3, 0, 0])
    drawn, expected = reference_chance(first, second, form, null, 7)
    options = {"form": form, "null": null, "random_state": 7}
    score = stability_chance(first, second, **options)
    assert_allclose(score, expected, rtol=1e-10)
    # absent latents of the other are not drawn
    padded = np.insert(second, 2, 0.0, axis=0)
    assert_allclose(stability_chance(first, padded, **options), expected, rtol=1e-10)

    energies, other_energies = rng.exponential(size=4), rng.exponential(size=6)
    plain = stability_curve(
        first, second, energies, other_energies=other_energies, form=form
    )
    curve = stability_curve(
        first, second, energies, other_energies=other_energies, **options
    )
    of_drawn = stability_curve(
        first, drawn, energies, other_energies=other_energies, form=form
    )
    assert "chance" not in plain
    assert curve.drop(columns="chance").equals(plain)
    assert_allclose(curve["chance"], of_drawn["mean"], rtol=1e-10)


def test_a_shared_cone_is_chance_but_not_uniform_chance():
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 200, 16)) + 2 * np.eye(16)[0]
    score = stability_score(first, second)
    chance = stability_chance(first, second, random_state=0)
    uniform = stability_chance(first, second, null="uniform", random_state=0)
    assert abs(score - chance) < 0.03
    assert uniform < chance - 0.1
    # directions that are found again are far above both
    assert stability_score(first, first + 0.3 * second) > chance + 0.2
    with pytest.raises(ValueError, match="'null' parameter"):
        stability_chance(first, second, null=None)


@pytest.mark.parametrize("null", ["moments", "uniform"])
def test_chance_does_not_know_the_start_of_a_dictionary_of_its_seed(null):
    start = np.random.RandomState(0).standard_normal((64, 32))
    chances = [
        stability_chance(start, start, null=null, random_state=seed) for seed in (0, 1)
    ]
    assert abs(chances[0] - chances[1]) < 0.05
