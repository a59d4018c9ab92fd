"""The training loop: gradients of the whole objective, schedule, dead latents."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from skxsae import _functional, _picking
from skxsae._activations import ACTIVATIONS, Weights, threshold_of
from skxsae._activity import Activity
from skxsae._capture import is_static
from skxsae._couplings import COUPLINGS
from skxsae._functional import unit_rows
from skxsae._initial_weights import _FIRST_SCALE, initial_weights
from skxsae._losses import ALIGNMENTS, Batch
from skxsae._picking import PRECISIONS
from skxsae._trainer import Settings, Trainer, auxiliary_error
from skxsae._training import _learning_rate, train
from skxsae._views import View, fit_normalization

NO_LEVEL = torch.empty(0)


def make_settings(**changes):
    defaults = {
        "k": 3,
        "activation": "topk",
        "loss": "fvu",
        "batch_size": 16,
        "learning_rate": 1e-2,
        "schedule": "cosine",
        "aux_k": 4,
        "aux_weight": 0.0,
        "dead_after": 100,
    }
    return Settings(**{**defaults, **changes})


def normal(*shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def make_weights(n_latents=20, n_features=6, seed=0, level=NO_LEVEL):
    return Weights(
        normal(n_latents, n_features, seed=seed),
        0.1 * normal(n_latents, seed=seed + 1),
        unit_rows(normal(n_latents, n_features, seed=seed + 2)),
        0.1 * normal(n_features, seed=seed + 3),
        level,
    )


def make_view_weights(coupling, n_views=2, level=NO_LEVEL):
    """Weights of each view, which share what the coupling shares."""
    first = make_weights(level=level)
    if coupling == "shared":
        biases = [0.1 * normal(6, seed=50 + view) for view in range(n_views)]
        return [first._replace(pre_bias=bias) for bias in biases]
    second = make_weights(n_features=4, seed=10, level=level)
    if coupling == "crosscoder":
        joint = unit_rows(torch.cat([first.decoder, second.decoder], dim=1))
        first = first._replace(decoder=joint[:, :6].clone())
        second = second._replace(
            decoder=joint[:, 6:].clone(), encoder_bias=first.encoder_bias
        )
    elif len(level):
        second = second._replace(level=level.clone())
    return [first, second]


class DenseJump(torch.autograd.Function):
    """JumpReLU and its count with the pseudo-gradients, dense, from the paper."""

    @staticmethod
    def forward(ctx, pre, threshold):
        ctx.save_for_backward(pre, threshold)
        active = (pre > threshold).double()
        return pre * active, active.sum() / len(pre)

    @staticmethod
    def backward(ctx, grad_code, grad_count):
        pre, threshold = ctx.saved_tensors
        bandwidth = 0.2 * threshold
        kernel = (((pre - threshold) / bandwidth).abs() < 0.5).double()
        slope = -kernel / bandwidth
        grad = slope * (threshold * grad_code + grad_count / len(pre))
        return (pre > threshold) * grad_code, grad.sum(0)


def dense_code(pre, settings, weights, chosen=None):
    """Code of dense pre-activations, and the penalty that steers its L0."""
    if settings.activation == "jumprelu":
        return DenseJump.apply(pre, threshold_of(weights.level))
    if settings.activation == "relu":
        code = pre.relu()
        unit = code.detach().sum() / (code > 0).sum()
        return code, code.sum() / len(code) / unit
    scores = pre if chosen is None else chosen
    if settings.activation == "batch_topk":
        limit = scores.flatten().sort(descending=True).values[settings.k * len(pre) - 1]
    else:
        limit = scores.topk(settings.k, dim=1).values[:, -1:]
    return torch.where(scores >= limit, pre, 0).relu(), 0.0


def dense_objective(batch, weights, settings, source=None):
    """The objective in plain dense torch, straight from the definitions."""
    centred = [x - w.pre_bias for x, w in zip(batch, weights, strict=True)]
    pres = [
        c @ w.encoder.T + w.encoder_bias for c, w in zip(centred, weights, strict=True)
    ]
    total = 0.0

    def fvu(view, code):
        residual = centred[view] - code @ weights[view].decoder
        x = batch[view]
        return (residual**2).sum() / ((x - x.mean(0)) ** 2).sum()

    if settings.coupling == "shared":
        both, penalty = dense_code(torch.cat(pres), settings, weights[0])
        codes = both.chunk(len(batch))
        total += sum(fvu(view, code) for view, code in enumerate(codes))
    elif settings.coupling == "cross_reconstruction":
        code, penalty = dense_code(pres[source], settings, weights[source])
        total += fvu(0, code) + fvu(1, code)
    elif settings.coupling == "global_topk":
        chosen, penalty = pres[0] + pres[1], 0.0
        codes = [dense_code(pre, settings, None, chosen)[0] for pre in pres]
        total += sum(fvu(view, code) for view in range(2) for code in codes)
    else:
        summed = sum(pres) - weights[0].encoder_bias  # one bias, not one a view
        code, penalty = dense_code(summed, settings, weights[0])
        total += fvu(0, code) + fvu(1, code)
    if settings.alignment_weight:
        x, y = codes
        both = x**2 + y**2
        norms = torch.where(both > 0, both, 1).sqrt() * (both > 0)
        total += settings.alignment_weight * norms.sum() / len(x)
    return total + 0.1 * penalty / settings.k


def leaves_of(weights):
    """Every tensor of the weights once, by the names of the fields that hold it."""
    leaves = {}
    for view, of_view in enumerate(weights):
        for name, tensor in of_view._asdict().items():
            if len(tensor):
                leaves.setdefault(id(tensor), ((view, name), tensor))
    return dict(leaves.values())


def tangent(gradients, weights, coupling):
    """Gradients without what would change the norm of the rows of the decoders."""
    groups = [[key for key in gradients if key[1] == "decoder"]]
    if coupling != "crosscoder":
        groups = [[key] for key in groups[0]]
    for keys in groups:
        decoders = [weights[view].decoder for view, _ in keys]
        along = sum(
            (gradients[key] * decoder).sum(1, keepdim=True)
            for key, decoder in zip(keys, decoders, strict=True)
        )
        for key, decoder in zip(keys, decoders, strict=True):
            gradients[key] = gradients[key] - along * decoder
    return gradients


CASES = [
    ("shared", activation, None)
    for activation in ("topk", "batch_topk", "relu", "jumprelu")
] + [
    ("shared", "topk", "group_sparse"),
    ("shared", "jumprelu", "group_sparse"),
    ("global_topk", "topk", None),
    ("global_topk", "topk", "group_sparse"),
    ("cross_reconstruction", "topk", None),
    ("cross_reconstruction", "jumprelu", None),
    ("crosscoder", "topk", None),
    ("crosscoder", "batch_topk", None),
    ("crosscoder", "jumprelu", None),
]


@pytest.mark.parametrize(("coupling", "activation", "alignment"), CASES)
def test_gradients_of_the_objective(coupling, activation, alignment):
    settings = make_settings(
        coupling=coupling,
        activation=activation,
        alignment=ALIGNMENTS.get(alignment),
        alignment_weight=0.5 if alignment else 0.0,
    )
    level = NO_LEVEL
    if activation == "jumprelu":
        level = -0.02 + 0.01 * normal(20, seed=99)
    weights = make_view_weights(coupling, level=level)
    batch = [normal(16, len(w.pre_bias), seed=70 + i) for i, w in enumerate(weights)]
    source = int(torch.randint(2, (), generator=torch.Generator().manual_seed(5)))

    trainer = Trainer(weights, settings, seed=5)
    leaves = leaves_of(weights)
    for tensor in leaves.values():
        tensor.requires_grad_()
    objective, _ = trainer.objective(batch)
    expected = dense_objective(batch, weights, settings, source)
    assert objective.item() == pytest.approx(expected.item(), rel=1e-12)
    got, want = (
        dict(
            zip(
                leaves,
                torch.autograd.grad(
                    f, list(leaves.values()), allow_unused=True, materialize_grads=True
                ),
                strict=True,
            )
        )
        for f in (objective, expected)
    )
    want = tangent(want, weights, coupling)
    for key in leaves:
        torch.testing.assert_close(got[key], want[key], rtol=1e-6, atol=1e-10)
    moved = {name for (_, name), gradient in got.items() if gradient.any()}
    assert moved >= {"encoder", "encoder_bias", "decoder", "pre_bias"}
    assert ("level" in moved) == (activation == "jumprelu")


def test_every_coupling_and_activation_is_judged():
    assert {case[0] for case in CASES} == set(COUPLINGS)
    # the gradient of pursuit is judged in test_pursuit.py
    assert {case[1] for case in CASES} == set(ACTIVATIONS) - {"matching_pursuit"}


@pytest.mark.parametrize("activation", ["topk", "matching_pursuit"])
def test_the_auxiliary_loss_is_part_of_the_objective(activation):
    weights = [make_weights()]
    batch = [normal(16, 6, seed=3)]
    plain, revived = (
        Trainer(weights, make_settings(aux_weight=w, activation=activation))
        for w in (0.0, 0.25)
    )
    dead = torch.tensor([1, 4, 7])
    for trainer in (plain, revived):
        trainer.activity.silent[dead] = 1000
        trainer.look()
    x, w = batch[0], weights[0]
    centred = x - w.pre_bias
    encoder, bias = w.encoder, w.encoder_bias
    if activation == "matching_pursuit":
        encoder, bias = w.decoder, torch.zeros_like(bias)
    without, squared_error = plain.objective(batch)
    # as aux_k >= 3, all three dead latents rebuild the residual
    forward = COUPLINGS["shared"](
        [centred], weights, ACTIVATIONS[activation], plain._encoding(Batch(batch)), None
    )
    residual = forward.residuals[0][1]
    assert squared_error.item() == pytest.approx(residual.square().sum().item())
    rebuilt = (centred @ encoder[dead].T + bias[dead]) @ w.decoder[dead]
    error = (residual - rebuilt).square().sum() / (x - x.mean(0)).square().sum()
    with_loss, _ = revived.objective(batch)
    assert (with_loss - without).item() == pytest.approx(
        0.25 * 3 / 4 * error.item(), rel=1e-9
    )


def test_auxiliary_loss_pulls_a_dead_latent_towards_the_residual():
    # all latents but the last are silent for data along e_0; the residual lies on e_1
    rows = torch.tensor([[0.0, 1.0], [0.0, 2.0]], dtype=torch.float64)
    weights = make_weights(n_latents=2, n_features=2)
    direction = torch.tensor([0.8, 0.6], dtype=torch.float64)
    weights.decoder[1] = weights.encoder[1] = direction
    weights.encoder_bias[1] = -0.1
    for tensor in weights[:3]:
        tensor.requires_grad_()
    error = auxiliary_error(rows, rows, torch.tensor([1]), weights, aux_k=4)
    values = (rows @ weights.encoder.T + weights.encoder_bias)[:, 1:]
    expected = ((rows - values * weights.decoder[1]) ** 2).sum()
    assert error.item() == pytest.approx(expected.item())
    error.backward()
    step = -weights.decoder.grad[1]
    assert step @ torch.tensor([0.0, 1.0], dtype=torch.float64) > 0
    assert abs((step @ weights.decoder[1]).item()) < 1e-12
    assert weights.encoder_bias.grad[1] < 0  # a larger bias rebuilds more
    assert not weights.decoder.grad[0].any()


def test_negative_dead_pre_activations_get_a_gradient():
    weights = make_weights(n_latents=2, n_features=2)
    rows = -weights.encoder[1:].detach()
    assert (rows @ weights.encoder.T + weights.encoder_bias)[0, 1] < 0
    weights.encoder.requires_grad_()
    error = auxiliary_error(rows, rows, torch.tensor([1]), weights, aux_k=1)
    error.backward()
    assert weights.encoder.grad[1].any()


def make_views(n_rows=100, n_features=6, n_views=1, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=(n_rows, n_features)) for _ in range(n_views)]
    normalization = fit_normalization(None, arrays)
    return [View(X, normalization, "cpu") for X in arrays]


def make_trainer(views, settings, n_latents=20, rng=None):
    rng = np.random.RandomState(0) if rng is None else rng
    batch = [view[slice(None)] for view in views]
    biases = [view.moments[0] for view in views]
    return Trainer(initial_weights(n_latents, batch, biases, settings, rng), settings)


def test_the_encoder_starts_near_the_scale_of_the_best_reconstruction():
    views, errors = make_views(), {}
    weights = make_trainer(views, make_settings()).weights[0]
    best = weights.encoder / _FIRST_SCALE
    for factor in (0.95, 1.0, 1.05):
        scaled = weights._replace(encoder=best * factor)
        _, error = Trainer([scaled], make_settings()).objective([views[0][:]])
        errors[factor] = error.item()
    assert errors[1.0] == min(errors.values())
    cosines = (unit_rows(weights.encoder) * weights.decoder).sum(1)
    torch.testing.assert_close(cosines, torch.ones_like(cosines))


def fit(views, settings, max_iter=2, stop=lambda record: False, change=None):
    rng = np.random.RandomState(0)
    trainer = make_trainer(views, settings, rng=rng)
    if change is not None:
        change(trainer.weights[0])
    return trainer.weights[0], train(views, trainer, max_iter, rng, stop)


def test_every_row_is_seen_once_in_each_pass():
    seen = []

    class Recorder(View):
        def read(self, rows):
            if isinstance(rows, torch.Tensor):
                seen.append(rows.numpy())
            return super().read(rows)

    view = make_views(n_rows=65)[0]
    fit([Recorder(view.X, view.normalization, "cpu")], make_settings())
    assert sorted(np.concatenate(seen[:5])) == list(range(65))
    assert [len(rows) for rows in seen] == [13] * 10  # 65 rows in batches of at most 16
    assert (np.concatenate(seen[:5]) != np.concatenate(seen[5:])).any()


def test_training_lowers_the_loss_and_keeps_unit_rows():
    weights, record = fit(make_views(), make_settings(), max_iter=40)
    assert record.loss_curve[-1] < 0.6 * record.loss_curve[0]
    torch.testing.assert_close(
        weights.decoder.norm(dim=1), torch.ones(20, dtype=torch.float64)
    )
    assert record.fvu == pytest.approx(record.loss_curve[-1], rel=0.2)
    assert not any(tensor.requires_grad for tensor in weights[:4])


def test_stopping_early():
    _, record = fit(
        make_views(),
        make_settings(),
        max_iter=40,
        stop=lambda record: record.n_iter == 3,
    )
    assert record.n_iter == len(record.loss_curve) == 3


def test_auxiliary_loss_revives_dead_latents():
    views = make_views(n_rows=200)
    dead = {}
    for weight in (0.0, 1 / 32):
        rng = np.random.RandomState(0)
        settings = make_settings(aux_weight=weight, aux_k=3, dead_after=200, k=2)
        trainer = make_trainer(views, settings, n_latents=40, rng=rng)
        trainer.weights[0].encoder_bias[:20] = -3.0
        record = train(views, trainer, 150, rng, lambda record: False)
        dead[weight] = int((record.firing_rate[0] == 0).sum())
    assert dead[0.0] >= 15
    assert dead[1 / 32] <= dead[0.0] / 2


def test_cosine_schedule_warms_up_and_decays_to_zero():
    settings = make_settings(learning_rate=1.0)
    rates = [_learning_rate(settings, step, 200) for step in range(200)]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    assert rates[105] == pytest.approx(0.5, abs=1e-9)
    assert rates[-1] < 1e-3
    assert max(rates) == 1.0


def test_constant_schedule():
    settings = make_settings(learning_rate=0.5, schedule="constant")
    assert [_learning_rate(settings, step, 7) for step in range(7)] == [0.5] * 7


def test_mask_hides_the_same_latents_from_both_members_of_a_pair():
    batch = [normal(400, 6, seed=0)] * 2
    first = make_weights()
    counts = {}
    for rate in (0.0, 0.5):
        trainer = Trainer([first, first], make_settings(mask_rate=rate, k=20))
        trainer.objective(batch)
        counts[rate] = trainer.activity.counts
    assert torch.equal(counts[0.5][0], counts[0.5][1])
    share = counts[0.5].sum() / counts[0.0].sum()
    assert float(share) == pytest.approx(0.5, abs=0.03)


def test_threshold_is_the_moving_average_of_the_smallest_kept_values():
    activity, smallest = Activity.start(2, 20, "cpu"), [0.5, 0.2, 0.9]
    for value in smallest:
        values = torch.tensor([[0.0, value, value + 1]])
        activity.average_threshold([(values, None), None])
    activity.average_threshold([(torch.zeros(1, 3), None), None])  # nothing kept
    weights = 0.99 ** np.arange(3)[::-1]
    assert activity.threshold[0].item() == pytest.approx(
        np.average(smallest, weights=weights)
    )
    assert activity.threshold[1] == 0  # this view was not encoded


def test_activity_counts_firings_and_silence():
    activity = Activity.start(2, 4, "cpu")
    x = torch.tensor([[1.0, 0.0], [2.0, -3.0]]), torch.tensor([[0, 1], [0, 2]])
    activity.update([x, None], 2)
    assert activity.counts.tolist() == [[2, 0, 1, 0], [0, 0, 0, 0]]
    assert activity.silent.tolist() == [0, 2, 0, 2]
    y = torch.tensor([[1.0], [1.0]]), torch.tensor([[3], [3]])
    activity.update([None, y], 2)
    assert activity.silent.tolist() == [2, 4, 2, 0]
    np.testing.assert_allclose(activity.firing_rate(), [[1, 0, 0.5, 0], [0, 0, 0, 1]])


def test_threshold_keeps_k_latents_on_average():
    views = make_views(n_rows=400)
    settings = make_settings(activation="batch_topk", batch_size=50)
    weights, record = fit(views, settings, max_iter=40)
    rows = views[0][np.arange(400)]
    pre = (rows - weights.pre_bias) @ weights.encoder.T + weights.encoder_bias
    assert float((pre >= record.threshold).sum(1).double().mean()) == pytest.approx(
        3, rel=0.1
    )
    assert not math.isnan(record.fvu)


@pytest.mark.parametrize("activation", ["relu", "jumprelu"])
def test_a_penalty_steers_the_number_of_active_latents(activation):
    settings = make_settings(activation=activation, batch_size=50)
    trainer = make_trainer(make_views(n_rows=400), settings)
    counts = []
    batch = [make_views(n_rows=50, seed=1)[0][:]]
    for _ in range(1500):
        trainer.step(batch, 1e-3)
        counts.append(float(trainer.activity.log_excess.exp()) * settings.k)
    assert np.mean(counts[-100:]) == pytest.approx(settings.k, rel=0.05)


@pytest.mark.parametrize("activation", ["relu", "jumprelu"])
def test_k_latents_are_active_on_average_at_the_start_and_at_the_end(activation):
    views = make_views(n_rows=400)
    settings = make_settings(activation=activation, batch_size=50)
    for max_iter in (1, 10):
        weights, _ = fit(views, settings, max_iter=max_iter)
        pre = (views[0][:] - weights.pre_bias) @ weights.encoder.T
        level = 0 if activation == "relu" else threshold_of(weights.level)
        active = pre + weights.encoder_bias > level
        assert float(active.sum()) / 400 == pytest.approx(3, abs=1 / 400 + 1e-9)


def test_a_step_needs_no_look_at_the_device(monkeypatch):
    """What a CUDA graph asks for: no shape and no branch depends on a number."""

    def dots(rows, directions, indices):  # a Triton kernel on a GPU
        return (rows @ directions.T).gather(1, indices)

    for module in (_functional, _picking):
        monkeypatch.setattr(module, "selected_dots", dots)
    options = itertools.product(
        COUPLINGS, PRECISIONS, [None, *ALIGNMENTS.values()], [0.0, 0.1]
    )
    n_static = 0
    with FakeTensorMode(allow_non_fake_inputs=True):
        for coupling, precision, alignment, mask_rate in options:
            settings = make_settings(
                coupling=coupling,
                precision=precision,
                alignment=alignment,
                alignment_weight=0.5,
                mask_rate=mask_rate,
            )
            if not is_static(settings) or precision == "int8":  # not on a GPU
                continue
            n_static += 1
            weights = make_view_weights(coupling)
            batch = [torch.randn(16, len(w.pre_bias)).double() for w in weights]
            Trainer(weights, settings).step(batch, torch.tensor(1e-3))
        assert n_static == 3 * 3 * 5 * 2
        weights = [make_weights(n_latents=64)]
        batch = [torch.randn(16, 6).double()]
        settings = make_settings(activation="relu")
        assert not is_static(settings)
        with pytest.raises(DynamicOutputShapeException):
            Trainer(weights, settings).step(batch, torch.tensor(1e-3))


def test_a_state_carries_on_as_if_nothing_had_happened(monkeypatch):
    settings = make_settings(mask_rate=0.2, aux_weight=1 / 32, dead_after=20)
    # as on a GPU: between the looks it has to be remembered what was seen
    monkeypatch.setattr("skxsae._trainer._looks_at", lambda totals: 4)
    batches = [[normal(16, 6, seed=i)] for i in range(12)]
    straight, stopped, resumed = (
        Trainer([make_weights()], settings, seed=1) for _ in range(3)
    )
    for trainer in (straight, stopped):
        trainer.weights[0].encoder_bias[:5] = -50.0  # never to fire
    for i, batch in enumerate(batches):
        straight.look()
        straight.step(batch, 1e-2)
        current = stopped if i < 6 else resumed
        current.look()
        current.step(batch, 1e-2)
        if i == 5:
            resumed.load(stopped.state())
    for one, other in zip(straight.tensors(), resumed.tensors(), strict=True):
        assert torch.equal(one, other)
    assert straight.some_are_dead


@pytest.mark.parametrize("activation", ["relu", "jumprelu"])
def test_steering_that_cannot_succeed_does_not_end_in_infinity(activation):
    # rows that are three times as long as those that the first biases were made for
    settings = make_settings(activation=activation)
    trainer = make_trainer(make_views(), settings)
    batch = [3 * make_views(n_rows=16)[0][:]]
    for _ in range(3000):
        trainer.step(batch, 1e-6)
    assert torch.isfinite(trainer.totals).all()


@pytest.mark.parametrize("coupling", COUPLINGS)
def test_error_is_that_of_each_view_rebuilt_from_its_own_code(coupling):
    weights = make_view_weights(coupling)
    batch = [normal(16, len(w.pre_bias), seed=70 + i) for i, w in enumerate(weights)]
    trainer = Trainer(weights, make_settings(coupling=coupling), seed=5)
    _, error = trainer.objective(batch)
    centred = trainer.centred(batch)
    own = []
    chosen = sum(
        c @ w.encoder.T + w.encoder_bias for c, w in zip(centred, weights, strict=True)
    )
    if coupling == "crosscoder":
        chosen = chosen - weights[0].encoder_bias
    for rows, w in zip(centred, weights, strict=True):
        pre = rows @ w.encoder.T + w.encoder_bias
        scores = pre if coupling in ("shared", "cross_reconstruction") else chosen
        values = chosen if coupling == "crosscoder" else pre
        kth = scores.topk(3, dim=1).values[:, -1:]
        code = torch.where(scores >= kth, values, 0).relu()
        own.append((rows - code @ w.decoder).square().sum().item())
    if coupling == "cross_reconstruction":
        assert error.item() == pytest.approx(
            2 * own[trainer.activity.n_encoded.argmax()]
        )
    else:
        assert error.item() == pytest.approx(sum(own))


def test_a_view_that_was_not_drawn_keeps_its_firing_rates():
    views = make_views(n_views=2)
    settings = make_settings(coupling="cross_reconstruction", batch_size=200)
    rng = np.random.RandomState(0)
    trainer = make_trainer(views, settings, rng=rng)
    record = train(views, trainer, 12, rng, lambda record: False)  # one batch a pass
    torch.testing.assert_close(
        record.firing_rate.sum(1), torch.full((2,), 3.0), rtol=0.1, atol=0
    )
