from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import brentq, minimize

from skxsae._losses import ALIGNMENTS as TERMS
from skxsae._losses import LOSSES, Batch
from skxsae.theory import (
    expected_inner_product,
    group_sparse_thresholds,
    inner_product_threshold,
    iso_energy_threshold,
    merged_error,
    optimal_concept,
    optimal_dictionary,
)

# values and probabilities of z; three Gauss-Laguerre nodes are exact up to z^5
LAWS = {
    "constant": (np.array([1.7]), np.array([1.0])),
    "exponential": np.polynomial.laguerre.laggauss(3),
    "two_point": (np.array([0.5, 3.0]), np.array([0.7, 0.3])),
}
ALIGNMENTS = ("inner_product", "iso_energy", "group_sparse")
COSINES = [0.1, 0.5, 0.9]
cosines = st.floats(0.01, 0.99)
moments = st.floats(0.1, 10)


def moments_of(law):
    values, probabilities = LAWS[law]
    return {"mean": probabilities @ values, "mean_square": probabilities @ values**2}


def thresholds(alignment, cosine, mean, mean_square, tied=True):
    if alignment == "inner_product":
        return [inner_product_threshold(cosine, tied=tied)]
    if alignment == "iso_energy":
        return [iso_energy_threshold(cosine, mean_square)]
    return [*group_sparse_thresholds(cosine, mean, mean_square, tied=tied)]


def top_1(pre_activations):
    """ReLU, then zero everything but the largest entry of the last axis."""
    largest = pre_activations.argmax(axis=-1)[..., None]
    kept = np.maximum(np.take_along_axis(pre_activations, largest, axis=-1), 0)
    codes = np.zeros_like(pre_activations)
    np.put_along_axis(codes, largest, kept, axis=-1)
    return codes


def errors(codes, decoders, rows):
    return ((rows - codes @ decoders) ** 2).sum(axis=-1)


def alignment_term(alignment, x_codes, y_codes):
    if alignment == "group_sparse":
        return np.sqrt(x_codes**2 + y_codes**2).sum(axis=-1)
    dots = (x_codes * y_codes).sum(axis=-1)
    if alignment == "inner_product":
        return -dots
    norms = np.linalg.norm(x_codes, axis=-1) * np.linalg.norm(y_codes, axis=-1)
    return -np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)


def population(encoders, decoders, phi, psi, law, alignment):
    """Reconstruction loss, alignment term and codes (..., values, m) of both views."""
    values, probabilities = LAWS[law]
    x, y = np.outer(values, phi), np.outer(values, psi)
    x_codes = top_1(x @ np.swapaxes(encoders, -1, -2))
    y_codes = top_1(y @ np.swapaxes(encoders, -1, -2))
    error = errors(x_codes, decoders, x) + errors(y_codes, decoders, y)
    term = alignment_term(alignment, x_codes, y_codes)
    return error @ probabilities, term @ probabilities, x_codes, y_codes


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def directions_at(cosine, n_features=2):
    phi, psi = np.zeros((2, n_features))
    phi[0] = 1.0
    psi[:2] = cosine, np.sqrt(1 - cosine**2)
    return phi, psi


def grid_of_columns(cosine, n_angles):
    """Every pair of unit columns on a grid that holds phi, psi and the middle."""
    angle = np.arccos(cosine)
    angles = np.concatenate(
        [np.linspace(0, 2 * np.pi, n_angles), [angle, angle / 2, angle / 2 + np.pi]]
    )
    columns = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    i, j = np.triu_indices(len(angles))
    return np.stack([columns[i], columns[j]], axis=1)


def regimes_of(x_codes, y_codes):
    """0 where the views use different columns, 1 the same one, 2 none."""
    x_codes, y_codes = x_codes.sum(axis=-2), y_codes.sum(axis=-2)
    some = (x_codes > 1e-9).any(axis=-1) | (y_codes > 1e-9).any(axis=-1)
    same = ((x_codes > 1e-9) & (y_codes > 1e-9)).any(axis=-1)
    return np.where(some, np.where(same, 1, 0), 2)


@pytest.fixture(scope="module")
def grids():
    """Reconstruction loss, term and regime of all pairs of columns."""
    found = {}
    for cosine, law, alignment in product(COSINES, LAWS, ALIGNMENTS):
        columns = grid_of_columns(cosine, 121)
        error, term, x_codes, y_codes = population(
            columns, columns, *directions_at(cosine), law, alignment
        )
        regime = regimes_of(x_codes, y_codes)
        found[cosine, law, alignment] = columns, error, term, regime
    return found


def refine(columns, phi, psi, law, alignment, weight):
    """Local minimum of the tied loss around given columns, of unit length."""
    shape = columns.shape

    def loss(parameters):
        w = unit(parameters.reshape(shape))
        error, term, *_ = population(w, w, phi, psi, law, alignment)
        return error + weight * term

    return minimize(loss, columns.ravel(), method="L-BFGS-B").fun


@pytest.mark.parametrize("cosine", COSINES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_no_dictionary_is_better_than_the_optimum(grids, alignment, law, cosine):
    columns, error, term, regime = grids[cosine, law, alignment]
    phi, psi = directions_at(cosine)
    ends = thresholds(alignment, cosine, **moments_of(law))
    weights = [0.0, *(end * side for end in ends for side in (0.97, 1.03))]
    seen = []
    for weight in weights:
        optimum = optimal_concept(phi, psi, alignment, weight, **moments_of(law))
        losses = error + weight * term
        best = losses.argmin()
        assert_allclose(losses[best], optimum.loss, rtol=1e-12, atol=1e-12)
        refined = refine(columns[best], phi, psi, law, alignment, weight)
        assert refined >= optimum.loss - 1e-9
        found = ["split", "merged", "inactive"][regime[best]]
        assert optimum.regime == found
        seen.append(found)
        # the columns that are returned have the loss and the error that are returned
        at_error, at_term, x_codes, _ = population(
            optimum.components, optimum.components, phi, psi, law, alignment
        )
        assert_allclose(at_error + weight * at_term, optimum.loss, atol=1e-12)
        assert_allclose(at_error, 2 * optimum.error, atol=1e-12)
        assert_allclose(x_codes.max(axis=1), optimum.gain * LAWS[law][0])
    expected = ["split", "split", "merged", "merged", "inactive"]
    assert seen == expected[: len(weights)]


@pytest.mark.parametrize("cosine", COSINES)
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_thresholds_are_where_losses_cross(grids, alignment, law, cosine):
    _, error, term, regime = grids[cosine, law, alignment]

    def advantage(weight, one, other):
        losses = error + weight * term
        return losses[regime == one].min() - losses[regime == other].min()

    for i, end in enumerate(thresholds(alignment, cosine, **moments_of(law))):
        crossing = brentq(advantage, 0.8 * end, 1.05 * end, args=(i, i + 1))
        assert_allclose(end, crossing, rtol=1e-9)


@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("side", [0.9, 1.1])
def test_no_dictionary_in_three_dimensions_is_better(alignment, side):
    cosine, law = 0.4, "two_point"
    phi, psi = directions_at(cosine, 3)
    weight = side * thresholds(alignment, cosine, **moments_of(law))[0]
    optimum = optimal_concept(phi, psi, alignment, weight, **moments_of(law))
    rng = np.random.default_rng(0)
    starts = unit(rng.standard_normal((15, 3, 3)))
    found = [refine(start, phi, psi, law, alignment, weight) for start in starts]
    assert_allclose(min(found), optimum.loss, atol=1e-7)


@pytest.mark.parametrize("cosine", [0.3, 0.8])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_an_encoder_of_its_own_has_the_stated_optima(alignment, cosine):
    phi, psi = directions_at(cosine)
    law = "two_point"
    moments = moments_of(law)
    rng = np.random.default_rng(0)
    ends = thresholds(alignment, cosine, **moments, tied=False)
    for weight in [0.0, *(end * side for end in ends for side in (0.9, 1.1))]:
        optimum = optimal_concept(phi, psi, alignment, weight, **moments, tied=False)

        def loss(parameters, weight=weight):
            encoder, decoder = parameters.reshape(2, 2, 2)
            error, term, *_ = population(
                encoder, unit(decoder), phi, psi, law, alignment
            )
            return error + weight * term

        # starts in which each view activates one column, the other, or none
        starts = []
        patterns = [(0, 0), (0, 1), (0, None), (None, None)]
        for (x_column, y_column), size in product(patterns, [0.1, 1]):
            pre = -size * rng.uniform(0.1, 1, (2, 2))
            for row, column in enumerate((x_column, y_column)):
                if column is not None:
                    pre[row, column] *= -1
            encoder = (np.linalg.pinv(np.array([phi, psi])) @ pre).T
            decoders = np.array([phi, psi]) + 0.3 * rng.standard_normal((2, 2, 2))
            starts += [np.array([encoder, decoder]) for decoder in decoders]
        found = [
            minimize(loss, start.ravel(), method="L-BFGS-B").fun for start in starts
        ]
        assert_allclose(min(found), optimum.loss, atol=1e-5)
        if optimum.regime == "inactive":
            continue
        # an encoder with exactly the stated codes
        codes = np.eye(2) if optimum.regime == "split" else np.eye(2)[[0, 0]]
        encoder = (np.linalg.pinv(np.array([phi, psi])) @ codes * optimum.gain).T
        error, term, *_ = population(
            encoder, optimum.components, phi, psi, law, alignment
        )
        assert_allclose(error + weight * term, optimum.loss, atol=1e-12)
        assert_allclose(error, 2 * optimum.error, atol=1e-12)


@pytest.mark.parametrize("weight", [0.1, 1.0, 9.0])
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_losses_are_those_of_training(alignment, weight):
    phi, psi = directions_at(0.5)
    z = np.array([0.3, 1.2, 2.0])
    optimum = optimal_concept(
        phi, psi, alignment, weight, mean=z.mean(), mean_square=np.mean(z**2)
    )
    views = []
    for direction in (phi, psi):
        rows = np.outer(z, direction)
        codes = top_1(rows @ optimum.components.T)
        views.append([torch.from_numpy(a) for a in (rows, codes)])
    decoder = torch.from_numpy(optimum.components)
    batch = Batch([rows for rows, _ in views])
    loss = sum(
        LOSSES["mse_sum"](rows - c @ decoder, batch, view)
        for view, (rows, c) in enumerate(views)
    )
    term = TERMS[alignment](*(codes.topk(1) for _, codes in views))
    assert_allclose(float(loss + weight * term), optimum.loss, atol=1e-12)


def test_columns_of_free_length_merge_at_a_smaller_weight():
    # what the notes say of the propositions: they need columns of unit length
    phi, psi = directions_at(0.5)
    weight = 0.97 * inner_product_threshold(0.5)

    def loss(length):
        w = length * unit(phi + psi)[None]
        error, term, *_ = population(w, w, phi, psi, "constant", "inner_product")
        return error + weight * term

    assert loss(1.0) > 0 > loss(1.08)


@given(cosine=cosines, ratio=moments, tied=st.booleans())
def test_thresholds_are_ordered(cosine, ratio, tied):
    merged, inactive = group_sparse_thresholds(cosine, 1.0, 1 + ratio, tied=tied)
    assert 0 < merged < inactive
    assert inner_product_threshold(cosine, tied=False) < inner_product_threshold(cosine)
    assert merged < group_sparse_thresholds(cosine, 1.0, 1 + ratio, tied=False)[1]


@given(cosine=cosines, scale=moments)
def test_thresholds_have_the_unit_of_their_term(cosine, scale):
    merged, inactive = group_sparse_thresholds(cosine, 1.0, 2.0)
    # mean and mean square of scale * z, and of a z that is rarely active
    assert_allclose(
        group_sparse_thresholds(cosine, 0.1 * scale, 0.2 * scale**2),
        (merged * scale, inactive * scale),
    )
    assert_allclose(
        iso_energy_threshold(cosine, scale**2),
        iso_energy_threshold(cosine, 1.0) * scale**2,
    )
    assert_allclose(
        2 * merged_error(cosine, scale), iso_energy_threshold(cosine, scale)
    )


def test_arrays_broadcast_and_numbers_give_numbers():
    cosine = np.array([[0.2], [0.6]])
    square = np.array([1.0, 2.0, 3.0])
    assert inner_product_threshold(cosine).shape == (2, 1)
    assert merged_error(cosine, square).shape == (2, 3)
    assert_allclose(
        iso_energy_threshold(cosine, square)[1, 2], iso_energy_threshold(0.6, 3.0)
    )
    merged, inactive = group_sparse_thresholds(cosine, 1, square)
    assert merged.shape == inactive.shape == (2, 3)
    assert_allclose(
        [merged[1, 2], inactive[1, 2]], group_sparse_thresholds(0.6, 1.0, 3)
    )
    for value in (inner_product_threshold(0.5), *group_sparse_thresholds(0.5, 1, 1)):
        assert type(value) is float


# ------ several concepts and few latents


def leading_loss(columns, directions, weights):
    """Sum over directions of the error of a tied top-1 code of unit activation."""
    codes = top_1(directions @ columns.T)
    return weights @ errors(codes, columns, directions)


def exact_loss(columns, x_features, y_features, sparsity, values, probabilities):
    """Loss over the whole distribution of independent activations."""
    support = np.concatenate([[0.0], values])
    chances = np.concatenate([[sparsity], (1 - sparsity) * probabilities])
    n = len(x_features)
    z = np.array(list(product(support, repeat=n)))
    chance = np.array([np.prod(c) for c in product(chances, repeat=n)])
    total = 0.0
    for features in (x_features, y_features):
        rows = z @ features
        total += chance @ errors(top_1(rows @ columns.T), columns, rows)
    return total


def best_by_assignment(directions, weights, n_latents):
    """Smallest loss in two dimensions, over assignments and a grid of angles."""
    angles = np.linspace(0, 2 * np.pi, 3601)
    columns = np.stack([np.cos(angles), np.sin(angles)])
    kept = weights[:, None] * np.maximum(directions @ columns, 0) ** 2
    energy = {}
    best = 0.0
    for labels in product(range(n_latents), repeat=len(directions)):
        groups = {tuple(np.flatnonzero(np.equal(labels, j))) for j in set(labels)}
        for group in groups - set(energy):
            energy[group] = kept[list(group)].sum(axis=0).max()
        best = max(best, sum(energy[group] for group in groups))
    return weights.sum() - best


def partitions(items):
    """All set partitions of a list."""
    if not items:
        yield []
        return
    first, *rest = items
    for partition in partitions(rest):
        yield [[first], *partition]
        for i, group in enumerate(partition):
            yield [*partition[:i], [first, *group], *partition[i + 1 :]]


def theorem_1(directions, weights, n_latents):
    """Coefficient of the loss in the words of the paper."""
    largest = max(
        sum(
            np.linalg.eigvalsh((directions[g].T * weights[g]) @ directions[g])[-1]
            for g in groups
        )
        for groups in partitions(list(range(len(directions))))
        if len(groups) <= n_latents
    )
    return weights.sum() - largest


def random_concepts(seed, n_concepts, n_features, positive=False):
    rng = np.random.default_rng(seed)
    x, y = unit(rng.standard_normal((2, n_concepts, n_features)))
    if positive:
        x, y = np.abs(x), np.abs(y)
    return x, y, rng.uniform(0.5, 3, n_concepts)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("n_concepts", "n_latents"),
    [(1, 1), (2, 1), (2, 2), (2, 3), (2, 4), (3, 2), (3, 3)],
)
def test_optimum_is_the_best_of_all_assignments(n_concepts, n_latents, seed):
    x, y, squares = random_concepts(seed, n_concepts, 2)
    optimum = optimal_dictionary(x, y, n_latents, mean_square=squares)
    directions, weights = np.vstack([x, y]), np.tile(squares, 2)
    expected = best_by_assignment(directions, weights, n_latents)
    # the grid of angles keeps at most 4e-7 of the energy less than the best angle
    assert optimum.coefficient <= expected + 1e-12
    assert_allclose(optimum.coefficient, expected, atol=1e-5)
    assert_allclose(
        leading_loss(optimum.components, directions, weights),
        optimum.coefficient,
        atol=1e-9,
    )


@pytest.mark.parametrize("n_latents", [1, 2, 3, 4, 5])
def test_no_direct_optimisation_beats_the_optimum(n_latents):
    x, y, squares = random_concepts(7, 3, 3)
    directions, weights = np.vstack([x, y]), np.tile(squares, 2)
    optimum = optimal_dictionary(x, y, n_latents, mean_square=squares)
    rng = np.random.default_rng(0)

    def loss(parameters):
        return leading_loss(unit(parameters.reshape(-1, 3)), directions, weights)

    found = []
    for _ in range(20):
        start = directions[rng.permutation(6)[:n_latents]]
        start = start + 0.2 * rng.standard_normal(start.shape)
        found.append(minimize(loss, start.ravel(), method="L-BFGS-B").fun)
    assert min(found) >= optimum.coefficient - 1e-9
    assert_allclose(min(found), optimum.coefficient, atol=1e-6)


@pytest.mark.parametrize("n_latents", range(1, 7))
def test_theorem_1_holds_as_stated_where_no_inner_product_is_negative(n_latents):
    x, y, squares = random_concepts(n_latents, 3, 4, positive=True)
    optimum = optimal_dictionary(x, y, n_latents, mean_square=squares)
    expected = theorem_1(np.vstack([x, y]), np.tile(squares, 2), n_latents)
    assert_allclose(optimum.coefficient, expected, atol=1e-10)


def test_theorem_1_promises_too_much_for_obtuse_directions():
    x, y = np.array([[1.0, 0.0]]), np.array([[-0.5, np.sqrt(0.75)]])
    directions, weights = np.vstack([x, y]), np.ones(2)
    angles = np.linspace(0, 2 * np.pi, 3601)
    columns = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    losses = [leading_loss(w[None], directions, weights) for w in columns]
    assert_allclose(theorem_1(directions, weights, 1), 0.5)
    assert_allclose(min(losses), 1.0, atol=1e-5)
    optimum = optimal_dictionary(x, y, 1)
    assert_allclose(optimum.coefficient, 1.0)
    assert sorted([*optimum.x_labels, *optimum.y_labels]) == [-1, 0]
    assert not optimum.is_collapsed.any()


@pytest.mark.parametrize(("n_concepts", "n_latents"), [(2, 1), (2, 2), (2, 3), (3, 4)])
def test_minimum_of_the_exact_loss_tends_to_the_leading_order(n_concepts, n_latents):
    x, y, _ = random_concepts(11, n_concepts, 3)
    values, chances = np.array([0.5, 2.0]), np.array([0.4, 0.6])
    optimum = optimal_dictionary(x, y, n_latents, mean_square=chances @ values**2)
    rng = np.random.default_rng(0)
    relative = []
    for sparsity in (0.9, 0.99, 0.999):

        def loss(parameters, sparsity=sparsity):
            columns = unit(parameters.reshape(n_latents, 3))
            return exact_loss(columns, x, y, sparsity, values, chances)

        starts = [optimum.components, *rng.standard_normal((4, n_latents, 3))]
        found = [minimize(loss, s.ravel(), method="L-BFGS-B").fun for s in starts]
        relative.append(min(found) / optimum.loss(sparsity) - 1)
    assert abs(relative[2]) < 0.02
    # what is left is of the order of (1 - sparsity)
    assert abs(relative[2]) < 0.2 * abs(relative[1]) < 0.1 * abs(relative[0])


@pytest.mark.parametrize("n_latents", [6, 8])
def test_enough_latents_split_every_concept(n_latents):
    x, y, squares = random_concepts(3, 3, 2)
    optimum = optimal_dictionary(x, y, n_latents, mean_square=squares)
    assert_allclose(optimum.components[:6], np.vstack([x, y]))
    assert not optimum.components[6:].any()
    assert optimum.coefficient == 0
    assert not optimum.is_collapsed.any()
    assert sorted([*optimum.x_labels, *optimum.y_labels]) == list(range(6))
    # o(1 - s): ten times rarer concepts, a hundred times less loss
    values, chances = np.array([1.0]), np.array([1.0])
    small, smaller = (
        exact_loss(optimum.components, x, y, s, values, chances) for s in (0.99, 0.999)
    )
    assert 0 < smaller < 0.02 * small


def test_many_concepts_can_be_split_but_not_searched():
    x, y, _ = random_concepts(0, 7, 5)
    assert optimal_dictionary(x, y, 14).coefficient == 0
    with pytest.raises(
        ValueError, match="at most 6 concepts, or n_latents of at least"
    ):
        optimal_dictionary(x, y, 13)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), n_concepts=st.integers(1, 3))
def test_more_latents_never_lose_more(seed, n_concepts):
    x, y, squares = random_concepts(seed, n_concepts, 3)
    lost = [
        optimal_dictionary(x, y, m, mean_square=squares).coefficient
        for m in range(1, 2 * n_concepts + 1)
    ]
    assert np.all(np.diff(lost) <= 1e-12)
    assert lost[-1] == 0
    assert all(loss > 0 for loss in lost[:-1])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), n_latents=st.integers(1, 4))
def test_optimum_turns_with_the_space_and_follows_the_concepts(seed, n_latents):
    x, y, squares = random_concepts(seed, 2, 3)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))[0]
    plain = optimal_dictionary(x, y, n_latents, mean_square=squares)
    turned = optimal_dictionary(
        5 * y[::-1] @ rotation, x[::-1] @ rotation, n_latents, mean_square=squares[::-1]
    )
    assert_allclose(turned.coefficient, plain.coefficient, atol=1e-12)
    assert_allclose(turned.is_collapsed[::-1], plain.is_collapsed)


def test_repeated_directions_share_a_latent_for_nothing():
    x = np.eye(3)[:2]
    optimum = optimal_dictionary(x, x, 2)
    assert optimum.coefficient == 0
    assert optimum.is_collapsed.all()
    assert optimal_dictionary(x, x, 1).coefficient == 2


def test_one_concept_and_one_latent_have_the_merged_error():
    phi, psi = directions_at(0.3)
    optimum = optimal_dictionary(phi[None], psi[None], 1, mean_square=2.5)
    assert_allclose(optimum.coefficient, 2 * merged_error(0.3, 2.5))
    merged = optimal_concept(phi, psi, "inner_product", 1.9)
    assert_allclose(optimum.components[0], merged.components[0])


@pytest.mark.parametrize("n_concepts", [1, 2, 3])
def test_expected_inner_product_is_the_leading_order(n_concepts):
    x, y, squares = random_concepts(5, n_concepts, 4)
    rest = []
    for sparsity in (0.9, 0.99, 0.999):
        # z_i is 0.5 or 1.5 times the root of its mean square, over sqrt(1.25)
        sizes = np.sqrt(squares / 1.25)
        z = np.array(list(product([0.0, 0.5, 1.5], repeat=n_concepts))) * sizes
        chances = [sparsity, (1 - sparsity) / 2, (1 - sparsity) / 2]
        chance = np.array([np.prod(c) for c in product(chances, repeat=n_concepts)])
        exact = chance @ ((z @ x) * (z @ y)).sum(axis=1)
        leading = expected_inner_product(x, y, sparsity, mean_square=squares)
        rest.append(abs(exact - leading) / (1 - sparsity))
    if n_concepts == 1:
        assert_allclose(rest, 0, atol=1e-12)
    else:
        assert rest[2] < 0.2 * rest[1] < 0.1 * rest[0]


# ------ what is refused


@pytest.mark.parametrize("cosine", [0, 1, -0.5, 1.5, [0.5, 1.0]])
def test_cosines_must_be_between_0_and_1(cosine):
    calls = [
        lambda: inner_product_threshold(cosine),
        lambda: iso_energy_threshold(cosine, 1.0),
        lambda: group_sparse_thresholds(cosine, 1.0, 1.0),
        lambda: merged_error(cosine, 1.0),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="cosine must be greater than 0 and less"):
            call()


@pytest.mark.parametrize("cosine", ["0.5", None, [0.5, np.nan], np.inf])
def test_cosines_must_be_finite_numbers(cosine):
    with pytest.raises(ValueError, match=r"cosine|NaN|infinity"):
        inner_product_threshold(cosine)


def test_moments_must_be_possible():
    with pytest.raises(ValueError, match="mean_square must be greater than 0, got 0"):
        iso_energy_threshold(0.5, 0.0)
    with pytest.raises(ValueError, match="mean must be greater than 0, got -1"):
        group_sparse_thresholds(0.5, -1.0, 1.0)
    with pytest.raises(ValueError, match="and not the variance of z"):
        group_sparse_thresholds(0.5, 1.0, 0.9)
    with pytest.raises(ValueError, match="and not the variance of z"):
        optimal_concept([1, 0], [1, 1], "group_sparse", 0.1, mean=2.0)


def test_concepts_must_have_two_directions():
    with pytest.raises(ValueError, match="phi has a row of zeros"):
        optimal_concept([0, 0], [1, 1], "iso_energy", 0.1)
    with pytest.raises(ValueError, match="1-dimensional and of one shape"):
        optimal_concept([1, 0, 0], [1, 1], "iso_energy", 0.1)
    with pytest.raises(ValueError, match="cosine must be greater than 0 and less"):
        optimal_concept([1, 0], [0, 1], "iso_energy", 0.1)
    with pytest.raises(ValueError, match="'alignment' parameter"):
        optimal_concept([1, 0], [1, 1], "none", 0.1)
    with pytest.raises(ValueError, match="'weight' parameter"):
        optimal_concept([1, 0], [1, 1], "iso_energy", -0.1)


def test_a_loss_without_a_minimum_is_refused():
    phi, psi = directions_at(0.5)
    assert optimal_concept(phi, psi, "inner_product", 2.0).regime == "merged"
    with pytest.raises(ValueError, match="weight must be less than 2 with tied=False"):
        optimal_concept(phi, psi, "inner_product", 2.0, tied=False)


@pytest.mark.parametrize("function", [optimal_dictionary, expected_inner_product])
def test_features_and_moments_must_fit(function):
    x, last = np.eye(3), 1 if function is optimal_dictionary else 0.9
    with pytest.raises(ValueError, match="2-dimensional and of one shape"):
        function(x, x[:2], last)
    with pytest.raises(ValueError, match="2-dimensional and of one shape"):
        function(x[0], x[0], last)
    with pytest.raises(ValueError, match="y_features has a row of zeros"):
        function(x, 0 * x, last)
    with pytest.raises(ValueError, match="one for each of 3 concepts"):
        function(x, x, last, mean_square=[1.0, 2.0])
    with pytest.raises(ValueError, match="mean_square must be greater than 0"):
        function(x, x, last, mean_square=[1.0, 2.0, 0.0])


@pytest.mark.parametrize("sparsity", [0.0, 1.0, 2.0])
def test_sparsity_must_be_a_probability(sparsity):
    optimum = optimal_dictionary([[1, 0]], [[1, 1]], 1)
    with pytest.raises(ValueError, match="'sparsity' parameter"):
        optimum.loss(sparsity)
    with pytest.raises(ValueError, match="'sparsity' parameter"):
        expected_inner_product([[1, 0]], [[1, 1]], sparsity)
