import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import sparse

from skxsae._coactivation import ROWS_OF_PRODUCT
from skxsae.metrics import (
    bimodal_latents,
    bridge_mass,
    bridge_matrix,
    functional_alignment_ratio,
    functional_distributional_agreement,
    transport_plan,
)

N_LATENTS = 4
BRIDGES = hnp.arrays(
    np.float64,
    (N_LATENTS, N_LATENTS),
    elements=st.sampled_from([0.0, 0.0, -1.5, 0.25, 2.0]),
)
SCORES = hnp.arrays(
    np.float64,
    N_LATENTS,
    elements=st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.95, 1.0, np.nan]),
)
MASKS = hnp.arrays(bool, N_LATENTS)


def kind_of(score, tau):
    """Kind of a latent by the definitions, None for one that is never active."""
    if np.isnan(score):
        return None
    if score > 1 - tau:
        return "x_only"
    return "y_only" if score < tau else "bimodal"


def plain_mass(bridge, scores, tau, absolute):
    """Sum of the entries between the kinds at one threshold."""
    masses = {}
    for i in range(len(bridge)):
        for j in range(len(bridge)):
            kinds = kind_of(scores[i], tau), kind_of(scores[j], tau)
            if None not in kinds:
                value = abs(bridge[i, j]) if absolute else bridge[i, j]
                masses[kinds] = masses.get(kinds, 0.0) + value
    return masses


@given(bridge=BRIDGES, scores=SCORES, absolute=st.booleans())
def test_masses_are_sums_between_kinds(bridge, scores, absolute):
    taus = [0.0, 0.05, 0.3, 0.5]
    frame = bridge_mass(sparse.csr_array(bridge), scores, tau=taus, absolute=absolute)
    assert len(frame) == 9 * len(taus)
    for tau, rows in frame.groupby("tau"):
        expected = plain_mass(bridge, scores, tau, absolute)
        total = sum(expected.values())
        for row in rows.itertuples():
            mass = expected.get((row.x_kind, row.y_kind), 0.0)
            assert_allclose(row.mass, mass, atol=1e-12)
            if total > 0:
                assert_allclose(row.share, mass / total, atol=1e-12)
            else:
                assert np.isnan(row.share)


def test_masses_of_many_latents():
    rng = np.random.default_rng(0)
    n_latents = 2 * ROWS_OF_PRODUCT + 5
    bridge = rng.standard_normal((n_latents, n_latents))
    scores = rng.random(n_latents)
    frame = bridge_mass(bridge, scores)
    assert frame["tau"].unique().tolist() == [round(0.05 * i, 2) for i in range(11)]
    for tau, rows in frame.groupby("tau"):
        bimodal = bimodal_latents(scores, tau=tau)
        rows = rows.set_index(["x_kind", "y_kind"])["mass"]
        assert_allclose(rows["bimodal", "bimodal"], bridge[bimodal][:, bimodal].sum())
        assert_allclose(rows.sum(), bridge.sum())


def plain_touching(bridge, bimodal, absolute):
    """Mass of the pairs that touch a bimodal latent, and of the rest."""
    touching = rest = 0.0
    for i in range(len(bridge)):
        for j in range(len(bridge)):
            value = abs(bridge[i, j]) if absolute else bridge[i, j]
            if bimodal[i] or bimodal[j]:
                touching += value
            else:
                rest += value
    return touching, rest


@pytest.mark.filterwarnings("ignore:functional.* is NaN:UserWarning")
@given(bridge=BRIDGES, bimodal=MASKS, absolute=st.booleans(), seed=st.integers(0, 99))
def test_ratio_is_touching_over_rest(bridge, bimodal, absolute, seed):
    touching, rest = plain_touching(bridge, bimodal, absolute)
    rho = functional_alignment_ratio(bridge, bimodal, absolute=absolute)
    if min(touching, rest) < 0:
        assert np.isnan(rho)
    elif rest != 0:
        assert_allclose(rho, touching / rest, rtol=1e-12)
    elif touching != 0:
        assert rho == np.inf
    else:
        assert np.isnan(rho)
    order = np.random.default_rng(seed).permutation(N_LATENTS)
    for same in (
        functional_alignment_ratio(
            sparse.csr_array(4 * bridge), bimodal, absolute=absolute
        ),
        functional_alignment_ratio(bridge.T, bimodal, absolute=absolute),
        functional_alignment_ratio(
            bridge[np.ix_(order, order)], bimodal[order], absolute=absolute
        ),
    ):
        assert_allclose(same, rho, rtol=1e-12)


def plain_agreement(plan, D, bimodal, energies):
    """FDA as equation 9 of the iso-energy paper has it."""
    unit = D / np.linalg.norm(D, axis=1)[:, None]
    cosines = unit @ unit.T
    c = np.sum(plan * (1 - cosines))
    alpha = sum(
        plan[i, j] * cosines[i, j]
        for i in range(len(D))
        for j in range(len(D))
        if bimodal[i] or bimodal[j]
    )
    eps = sum(energies[bimodal]) / sum(energies)
    return alpha / eps * (1 - eps) / ((1 - c) - alpha)


@pytest.mark.filterwarnings("ignore:functional.* is NaN:UserWarning")
@given(seed=st.integers(0, 1000), n_bimodal=st.integers(1, 4))
def test_agreement_is_equation_9(seed, n_bimodal):
    rng = np.random.default_rng(seed)
    plan = rng.dirichlet(np.ones(25)).reshape(5, 5)
    D, energies = rng.standard_normal((5, 3)), rng.exponential(size=5)
    bimodal = rng.permutation(5) < n_bimodal
    found = functional_distributional_agreement(
        bridge_matrix(plan, D), bimodal, energies
    )
    bridge = bridge_matrix(plan, D).toarray()
    if min(plain_touching(bridge, bimodal, absolute=False)) < 0:
        expected = np.nan
    else:
        expected = plain_agreement(plan, D, bimodal, energies)
    assert_allclose(found, expected, rtol=1e-6)
    scaled = functional_distributional_agreement(
        bridge_matrix(plan, 2 * D), bimodal, 9 * energies
    )
    assert_allclose(scaled, found)


def test_agreement_without_rest():
    agreement = functional_distributional_agreement
    assert agreement(np.diag([1.0, 0.0]), np.array([True, False]), [1.0, 1.0]) == np.inf
    halves = np.eye(2) / 2
    assert np.isnan(agreement(halves, np.array([True, True]), [1.0, 1.0]))
    assert agreement(halves, np.array([True, False]), [3.0, 1.0]) == 1 / 3


@pytest.mark.parametrize(
    ("bridge", "bimodal"),
    [
        ([[-0.4, 0.0], [0.0, -0.1]], [True, False]),  # would be 4
        ([[0.4, 0.0], [0.0, -0.1]], [True, False]),
        ([[-0.4, 0.0], [0.0, 0.1]], [True, False]),
        ([[-0.4, 0.0], [0.0, -0.1]], [True, True]),  # would be infinite
        ([[-0.4, 0.0], [0.0, -0.1]], [False, False]),
    ],
)
def test_there_is_no_ratio_of_negative_masses(bridge, bimodal):
    with pytest.warns(UserWarning, match=r"alignment_ratio is NaN: .* -0\.\d"):
        assert np.isnan(functional_alignment_ratio(bridge, bimodal))
    with pytest.warns(UserWarning, match="distributional_agreement is NaN"):
        assert np.isnan(functional_distributional_agreement(bridge, bimodal, [1, 2]))
    rho = functional_alignment_ratio(bridge, bimodal, absolute=True)
    assert rho == pytest.approx({1: 4.0, 2: np.inf, 0: 0.0}[sum(bimodal)])


def test_shares_of_a_negative_total_are_not_given():
    frame = bridge_mass([[3.0, 0.0], [0.0, -5.0]], [0.5, 0.9], tau=0.2)
    assert frame["mass"].tolist() == [3.0, 0, 0, 0, -5.0, 0, 0, 0, 0]
    assert frame["share"].isna().all()
    assert (frame["tau"] == 0.2).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bridge_mass(np.ones((2, 3)), [0.5, 0.5]), "bridge has shape.* square"),
        (lambda: bridge_mass(np.eye(2), [0.5]), "scores has 1 entries, but bridge has"),
        (lambda: bridge_mass(np.eye(1), [0.5], tau=[0.6]), r"tau must be .*\[0.6\]"),
        (lambda: bridge_mass(np.eye(1), [0.5], tau=[]), r"tau must be .* got \[\]"),
        (
            lambda: functional_alignment_ratio(np.eye(2), [True]),
            "bimodal has 1 entries, but there are 2 latents",
        ),
        (
            lambda: functional_distributional_agreement(
                np.eye(2), [True, False], [1.0, 1.0]
            ),
            "bridge has a mass of 2, .*B_Gamma",
        ),
        (
            lambda: functional_alignment_ratio(np.eye(2), [0.5, 1.0]),
            "give what bimodal_latents",
        ),
        (lambda: bridge_mass(np.eye(2), [True, False]), "scores is a mask of bool"),
        (
            lambda: functional_distributional_agreement(
                np.eye(2), [True, False], [1.0]
            ),
            "energies has 1 entries, but there are 2 latents",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("seed", range(8))
def test_a_mass_of_nothing_but_rounding_is_zero(seed):
    rng = np.random.default_rng(seed)
    rows = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    A, B = rows[:8], np.vstack([rows[:4], rows[8:12]])  # the others are orthogonal
    plan = transport_plan(A, B, np.ones(8), np.ones(8)).plan
    bridge, bimodal = bridge_matrix(plan, A, B), np.arange(8) < 4
    agreement = functional_distributional_agreement(bridge, bimodal, np.ones(8))
    assert agreement == functional_alignment_ratio(bridge, bimodal) == np.inf


@pytest.mark.parametrize("rounding", [-1e-18, 1e-18])
def test_rounding_has_no_sign(rounding):
    bridge = [[0.5, 0.0], [0.0, rounding]]
    assert functional_alignment_ratio(bridge, [True, False]) == np.inf
    assert functional_alignment_ratio(bridge, [False, True]) == 0.0
    small = [[0.5, 0.0], [0.0, 1e-12]]  # not rounding
    assert_allclose(functional_alignment_ratio(small, [True, False]), 5e11)
