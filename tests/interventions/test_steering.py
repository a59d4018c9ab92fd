import copy

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skxsae import CoactivationMatcher, TopKSAE
from skxsae.interventions import steer
from skxsae.metrics import recall_at_k_score

NORMALIZATIONS = ["scale", "center", "center_l2", "l2", "standard", None]


@pytest.fixture(scope="module", params=NORMALIZATIONS)
def sae(request, planted):
    return TopKSAE(
        48, 4, max_iter=3, batch_size=256, normalize=request.param, random_state=0
    ).fit(planted.X + 1)


def normalized(sae, X):
    """Samples in the space that the dictionary is of, and their lengths there."""
    rows = (X - sae.offset_) / sae.scale_
    if not sae.unit_length_:
        return rows, np.ones((len(rows), 1))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / lengths, lengths


def test_an_embedding_moves_along_the_direction(sae, planted):
    X = planted.X[:20].astype(np.float64) + 1
    steered = steer(sae, X, 3, 0.5)
    rows, lengths = normalized(sae, X)
    expected = (rows + 0.5 * sae.components_[3]) * lengths * sae.scale_ + sae.offset_
    assert_allclose(steered, expected, rtol=1e-6)
    assert_array_equal(steer(sae, X, 3, 0.0), X)


def test_a_reconstruction_moves_as_an_activation_does(sae, planted):
    X = planted.X[:20] + 1
    codes = sae.transform(X).toarray()
    codes[:, 3] += 0.5
    steered = steer(sae, X, 3, 0.5, on="reconstruction")
    assert_allclose(steered, sae.inverse_transform(codes), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("on", ["embedding", "reconstruction"])
def test_concepts_and_strengths_add_up(planted, on):
    model, X = planted.model, planted.X[:5].astype(np.float64)
    both = steer(model, X, [2, 7], [0.5, -1.0], on=on)
    base = steer(model, X, 2, 0.0, on=on)
    parts = [steer(model, X, c, s, on=on) - base for c, s in ((2, 0.5), (7, -1.0))]
    assert_allclose(both, base + sum(parts), atol=1e-6)
    twice = steer(model, X, [2, 2], 0.5, on=on)
    assert_allclose(twice, steer(model, X, 2, 1.0, on=on), atol=1e-6)


def test_a_concept_is_the_same_in_both_views(planted):
    model = planted.model
    best = model.matches_.sort_values("correlation").iloc[-1]
    concept = int(best["x_latent"])
    X, y = (
        steer(model, view[:1], concept, 3.0, view=name) - view[:1]
        for name, view in (("x", planted.X), ("y", planted.y))
    )
    for moved, features in ((X, planted.x_features), (y, planted.y_features)):
        cosines = features @ moved[0] / np.linalg.norm(moved)
        assert cosines.max() > 0.95
    nearest = [
        (features @ moved[0]).argmax()
        for moved, features in ((X, planted.x_features), (y, planted.y_features))
    ]
    assert nearest[0] == nearest[1]


def test_steered_samples_find_those_that_have_the_concept(planted):
    """And not those that have another."""
    model = planted.model
    concept, other = model.matches_.sort_values("correlation")["x_latent"].iloc[-2:]
    true = (planted.x_features @ model.x_sae_.components_[concept]).argmax()
    has = planted.x_codes.toarray()[:, true] > 0
    unit = planted.X / np.linalg.norm(planted.X, axis=1, keepdims=True)
    source = planted.X[~has][:20]
    unmoved, moved, elsewhere = (
        np.mean(has[np.argsort(-steer(model, source, c, s) @ unit.T)[:, :10]])
        for c, s in ((concept, 0.0), (concept, 2.0), (other, 2.0))
    )
    assert moved > 0.9 > 0.3 > max(unmoved, elsewhere)


def test_a_soft_model_is_steered_by_the_same_numbers(planted):
    soft = copy.deepcopy(planted.model)
    soft.set_params(matcher=CoactivationMatcher(assignment="soft"))
    soft.realign(planted.X, planted.y)
    concept = int(soft.matches_["x_latent"].iloc[0])
    for view, X in (("x", planted.X[:3]), ("y", planted.y[:3])):
        expected = steer(planted.model, X, concept, view=view)
        assert_allclose(steer(soft, X, concept, view=view), expected, rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_dtype_is_kept_and_the_input_too(planted, dtype):
    X = planted.X[:5].astype(dtype)
    before = X.copy()
    assert steer(planted.model, X, 0).dtype == np.result_type(dtype, np.float32)
    assert_array_equal(X, before)


def test_bad_input(planted):
    model, X = planted.model, planted.X
    with pytest.raises(ValueError, match="no concept 1000: they are 0 to 57"):
        steer(model, X, 1000)
    with pytest.raises(ValueError, match="no concept -1"):
        steer(model, X, -1)
    soft = copy.deepcopy(model).set_params(
        matcher=CoactivationMatcher(assignment="soft")
    )
    soft.realign(X, planted.y)
    of_y = soft.n_aligned_ - 1  # a column that x has not
    with pytest.raises(ValueError, match=f"The view 'x' has no concept {of_y}: "):
        steer(soft, X, of_y)
    with pytest.raises(ValueError, match="must be a number, or a list of numbers"):
        steer(model, X, [0.5])
    for strength in (np.nan, [np.inf]):
        with pytest.raises(ValueError, match="must be finite"):
            steer(model, X, [1], strength)
    with pytest.raises(ValueError, match=r"strength has shape \(3,\) for 2 concepts"):
        steer(model, X, [1, 2], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="view='y' must be 'x'"):
        steer(model.x_sae_, X, 0, view="y")
    with pytest.raises(ValueError, match="'on' parameter of steer"):
        steer(model, X, 0, on="code")


def test_steering_helps_retrieval_by_the_concept_and_not_by_another(planted):
    """The codes of a steered sample have the concept, and all else stays."""
    model = planted.model
    matched = model.matches_.query("above_noise")["x_latent"].to_numpy()[:5]
    X = planted.X[:200]
    for concept in matched:
        codes = model.transform(steer(model, X, int(concept), 2.0))
        assert np.mean(codes[:, [concept]].toarray() > 0) > 0.95
    before, _ = model.transform(X, planted.y[:200])
    after = model.transform(steer(model, X, int(concept), 0.01))
    assert recall_at_k_score(before, after, k=1) > 0.95
