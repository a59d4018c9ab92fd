"""What the explorer shows, judged by dense float64 NumPy."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from skxsae._concepts import concept_views, strongest_rows
from skxsae.inspection import _concept_table
from skxsae.inspection._concept_table import (
    Codes,
    bridge_partners,
    concept_numbers,
    direction_features,
    nearest_concepts,
    place_concepts,
)

ACTIVATIONS = st.sampled_from([0.0, 0.0, 0.0, 0.5, 1.0, 2.0])


def codes_of(x, y, x_directions, y_directions):
    return Codes(
        {"x": sparse.csr_array(x), "y": sparse.csr_array(y)},
        {"x": x_directions, "y": y_directions},
    )


def unit(rows):
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)


@pytest.fixture
def small():
    rng = np.random.default_rng(0)
    x, y = (rng.random((60, 7)) * (rng.random((60, 7)) < 0.3) for _ in "xy")
    y[:, :3] = x[:, :3]
    x[:, 5], y[:, 6] = 0, 0
    directions = [rng.standard_normal((7, 4)) for _ in "xy"]
    directions[0][5], directions[1][6] = 0, 0
    return x, y, *directions


def test_numbers_are_those_of_dense_codes(small):
    x, y, x_rows, y_rows = small
    table = concept_numbers(codes_of(*small))
    assert_array_equal(table["n_x"], (x != 0).sum(axis=0))
    assert_array_equal(table["n_y"], (y != 0).sum(axis=0))
    of_x, of_y = (np.mean(codes**2, axis=0) for codes in (x, y))
    assert_allclose(table["energy"], (of_x + of_y) / 2)
    assert_allclose(table["modality"], of_x / (of_x + of_y))
    assert table["kind"].tolist()[5:] == ["y", "x"]
    assert set(table["kind"][:3]) == {"shared"}
    alive = [0, 1, 2, 3, 4]
    expected = [np.corrcoef(x[:, j], y[:, j])[0, 1] for j in alive]
    assert_allclose(table["correlation"][alive], expected)
    assert table["correlation"][5:].isna().all()
    cosines = (unit(x_rows) * unit(y_rows)).sum(axis=1)
    assert_allclose(table["distance"][alive], 1 - cosines[alive])
    assert table["distance"][5:].isna().all()


@pytest.mark.parametrize("same_width", [True, False])
def test_bridge_partners_are_the_largest_of_the_bridge_matrix(
    small, same_width, monkeypatch
):
    monkeypatch.setattr(_concept_table, "_BLOCK_CELLS", 14)  # two concepts at a time
    x, y, x_rows, y_rows = small
    weights = x.T @ y / len(x)
    if same_width:
        weights = weights * (unit(x_rows) @ unit(y_rows).T)
    else:
        y_rows = np.hstack([y_rows, y_rows])
    np.fill_diagonal(weights, 0)
    found = bridge_partners(codes_of(x, y, x_rows, y_rows), 3)
    for concept, pairs in enumerate(found):
        expected = [(w, j, True) for j, w in enumerate(weights[concept]) if w > 0]
        expected += [(w, j, False) for j, w in enumerate(weights[:, concept]) if w > 0]
        expected = sorted(expected, reverse=True)[:3]
        assert [pair[1:] for pair in pairs] == [pair[1:] for pair in expected]
        assert_allclose([pair[0] for pair in pairs], [pair[0] for pair in expected])


@settings(deadline=None)
@given(
    codes=hnp.arrays(np.float64, (8, 3), elements=ACTIVATIONS),
    owners=hnp.arrays(np.int64, 8, elements=st.integers(0, 3)),
    n=st.integers(1, 5),
)
def test_strongest_rows_are_of_different_owners(codes, owners, n):
    found = strongest_rows(sparse.csc_array(codes), owners, n)
    for column, (rows, values) in zip(codes.T, found, strict=True):
        expected, seen = [], set()
        for row in np.argsort(-column, kind="stable"):
            if column[row] > 0 and owners[row] not in seen:
                seen.add(owners[row])
                expected.append(row)
        assert rows.tolist() == expected[:n]
        assert_array_equal(values, column[rows])


def test_nearest_concepts_have_the_largest_cosines(monkeypatch):
    monkeypatch.setattr(_concept_table, "_BLOCK_CELLS", 25)
    features = unit(np.random.default_rng(0).standard_normal((11, 4)))
    cosines = features @ features.T
    np.fill_diagonal(cosines, -np.inf)
    expected = np.argsort(-cosines, axis=1)[:, :3]
    assert_array_equal(nearest_concepts(features, 3), expected)
    assert nearest_concepts(features[:1], 3) == [[]]
    assert nearest_concepts(features[:2], 3) == [[1], [0]]


@pytest.mark.parametrize("layout", ["tsne", "pca"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 30])
def test_any_number_of_concepts_has_places(layout, n):
    features = unit(np.random.default_rng(0).standard_normal((n, 5)))
    places = place_concepts(features, layout, 0)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()
    assert_array_equal(places, place_concepts(features, layout, 0))


def test_concepts_with_similar_directions_are_near_each_other():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 15)
    features = unit(np.eye(4, 20)[groups] + 0.05 * rng.standard_normal((60, 20)))
    places = place_concepts(features, "tsne", 0)
    distances = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = groups[distances.argmin(axis=1)]
    assert np.mean(nearest == groups) == 1


def test_codes_of_a_model_are_those_of_its_transform(planted):
    views = concept_views(planted.model)
    codes = Codes.of(views, {"x": planted.X, "y": planted.y}, None)
    expected = planted.model.transform(planted.X, planted.y)
    for name, of_model in zip("xy", expected, strict=True):
        assert_array_equal(codes.codes[name].toarray(), of_model.toarray())
    features = direction_features(codes)
    lengths = np.linalg.norm(features, axis=1)
    assert_allclose(lengths[lengths > 0], 1)
    some = codes.of_concepts(np.array([3, 1]))
    assert_array_equal(some.codes["x"].toarray(), expected[0].toarray()[:, [3, 1]])
