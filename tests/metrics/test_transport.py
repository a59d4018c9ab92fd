import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import linprog

from skxsae.metrics import bridge_matrix, transport_plan

pytest.importorskip("ot")


def plain_cost(D_x, D_y, of_x, of_y):
    """Cost of the cheapest plan, by SciPy's solver of linear programmes."""
    unit_x, unit_y = (D / np.linalg.norm(D, axis=1)[:, None] for D in (D_x, D_y))
    cost = 1 - unit_x @ unit_y.T
    n_x, n_y = cost.shape
    moved_from = np.kron(np.eye(n_x), np.ones(n_y))
    moved_to = np.kron(np.ones(n_x), np.eye(n_y))
    result = linprog(
        cost.ravel(),
        A_eq=np.vstack([moved_from, moved_to]),
        b_eq=np.concatenate([of_x / of_x.sum(), of_y / of_y.sum()]),
    )
    return result.fun


def make_dictionaries(seed, n_x, n_y, dead=True):
    """Directions of two views and energies, some of which are 0."""
    rng = np.random.default_rng(seed)
    D_x, D_y = (rng.standard_normal((n, 3)) for n in (n_x, n_y))
    of_x, of_y = (rng.exponential(size=n) for n in (n_x, n_y))
    if dead:
        of_x[1:][rng.random(n_x - 1) < 0.3] = 0
        of_y[1:][rng.random(n_y - 1) < 0.3] = 0
    return D_x, D_y, of_x, of_y


@settings(deadline=None)
@given(seed=st.integers(0, 1000), n_x=st.integers(1, 7), n_y=st.integers(1, 7))
def test_plan_is_the_cheapest_with_these_margins(seed, n_x, n_y):
    D_x, D_y, of_x, of_y = make_dictionaries(seed, n_x, n_y)
    found = transport_plan(D_x, D_y, of_x, of_y)
    plan = found.plan.toarray()
    assert (plan >= 0).all()
    assert_allclose(plan.sum(axis=1), of_x / of_x.sum(), atol=1e-12)
    assert_allclose(plan.sum(axis=0), of_y / of_y.sum(), atol=1e-12)
    assert_allclose(found.cost, plain_cost(D_x, D_y, of_x, of_y), rtol=1e-6, atol=1e-9)
    assert found.plan.nnz <= n_x + n_y - 1
    assert found.cost_bound == 0
    assert_allclose(bridge_matrix(found.plan, D_x, D_y).sum(), 1 - found.cost)
    swapped = transport_plan(5 * D_y, D_x, of_y, 2 * of_x)
    assert_allclose(swapped.cost, found.cost, atol=1e-12)


def test_energy_stays_where_both_views_have_it():
    D, energies = np.eye(4), np.array([1.0, 2.0, 0.0, 3.0])
    found = transport_plan(D, None, energies, 2 * energies)
    assert_allclose(found.plan.toarray(), np.diag(energies / 6))
    assert found.cost == 0


@settings(deadline=None)
@given(seed=st.integers(0, 1000), n_strongest=st.integers(1, 6))
def test_the_strongest_latents_bound_the_cost(seed, n_strongest):
    D_x, D_y, of_x, of_y = make_dictionaries(seed, 6, 5)
    found = transport_plan(D_x, D_y, of_x, of_y, n_strongest=n_strongest)
    chosen = [np.sort(np.argsort(-of)[:n_strongest]) for of in (of_x, of_y)]
    left_out = [
        1 - of[c].sum() / of.sum() for of, c in zip((of_x, of_y), chosen, strict=True)
    ]
    assert_allclose(found.left_out_x, left_out[0], atol=1e-12)
    assert_allclose(found.left_out_y, left_out[1], atol=1e-12)
    bound = min(2 * sum(left_out), max(found.cost, 2 - found.cost))
    assert_allclose(found.cost_bound, bound, atol=1e-12)
    few = [part[c] for part, c in zip((D_x, D_y, of_x, of_y), chosen * 2, strict=True)]
    assert_allclose(found.cost, plain_cost(*few), rtol=1e-6, atol=1e-9)
    of_all = plain_cost(D_x, D_y, of_x, of_y)
    assert abs(found.cost - of_all) <= found.cost_bound + 1e-9
    assert found.plan.shape == (6, 5)


def test_no_bound_is_more_than_costs_can_differ():
    D, energies = np.eye(10), np.ones(10)
    found = transport_plan(D, None, energies, energies, n_strongest=1)
    assert 2 * (found.left_out_x + found.left_out_y) > 3
    assert (found.cost, found.cost_bound) == (0.0, 2.0)
    opposite = transport_plan(D, -D, energies, energies, n_strongest=1)
    assert (opposite.cost, opposite.cost_bound) == (2.0, 2.0)


def test_too_many_latents_are_told_of_the_way_out():
    D, energies = np.eye(5), np.ones(5)
    with pytest.raises(
        ValueError, match=r"5 latents of x .*max_latents=4.*n_strongest=4"
    ):
        transport_plan(D, None, energies, energies, max_latents=4)
    energies[4] = 0  # those without energy do not count
    assert transport_plan(D, None, energies, energies, max_latents=4).cost == 0
    few = transport_plan(D, None, np.ones(5), np.ones(5), max_latents=4, n_strongest=4)
    assert few.plan.nnz == 4


def test_a_plan_that_is_not_finished_is_told_of():
    D_x, D_y, of_x, of_y = make_dictionaries(0, 30, 30, dead=False)
    with pytest.raises(RuntimeError, match=r"after 1 steps.*Increase max_iter\."):
        transport_plan(D_x, D_y, of_x, of_y, max_iter=1)


def test_no_plan_at_all_is_told_from_too_few_steps(monkeypatch):
    ot = pytest.importorskip("ot")
    log = {"warning": "Problem infeasible.", "result_code": 0}
    monkeypatch.setattr(ot, "emd", lambda *args, **options: (None, log))
    with pytest.raises(RuntimeError, match=r"transport_plan.*infeasible") as caught:
        transport_plan(np.eye(2), None, np.ones(2), np.ones(2))
    assert "max_iter" not in str(caught.value)


def test_pot_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(ImportError, match=r"requires POT: pip install 'skxsae\[ot\]'"):
        transport_plan(np.eye(2), None, [1.0, 1.0], [1.0, 1.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(2), None, [0.0, 0.0], [1.0, 1.0]), "x_energy has no energy"),
        ((np.eye(2), None, [1.0, 1.0], [1.0]), "y_energy has 1 entries.* 2 latents"),
        ((np.eye(2), [[1.0]], [1.0, 1.0], [1.0]), "x_components has 2 columns and y_c"),
        (
            (np.diag([1.0, 0.0]), None, [1.0, 1.0], [1.0, 0.0]),
            "x_energy is not 0 for latent 1",
        ),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        transport_plan(*arguments)
