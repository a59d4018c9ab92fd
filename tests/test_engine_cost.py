"""What a training step computes and keeps: counts, not seconds."""

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from skxsae import _activations, _couplings, _picking
from skxsae._functional import to_dense, unit_rows
from skxsae._initial_weights import initial_weights
from skxsae._trainer import Settings, Trainer

# sizes at which nothing else of a step is as large as a quarter of a block of scores
BATCH, N_FEATURES, N_LATENTS, K, BLOCK = 192, 8, 1024, 4, 48
DENSE_FLOPS = 2 * BATCH * N_FEATURES * N_LATENTS
SPARSE_FLOPS = 2 * BATCH * N_FEATURES * K


class WideTensors(TorchDispatchMode):
    """Memory of the wide tensors that a step makes, in float32 rows of n_latents.

    Of each in the backward pass, and the most that is alive at once in either pass.
    """

    def __init__(self, monkeypatch):
        super().__init__()
        self.in_backward, self.peak = [], 0
        self.is_backward, self.alive = False, {}
        gradient = torch.autograd.grad

        def backward(*args, **kwargs):
            self.is_backward = True
            try:
                return gradient(*args, **kwargs)
            finally:
                self.is_backward = False

        monkeypatch.setattr(torch.autograd, "grad", backward)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided:
                self.note(tensor)
        self.alive = {
            key: (reference, rows)
            for key, (reference, rows) in self.alive.items()
            if not reference.expired()
        }
        alive = sum(rows for _, rows in self.alive.values())
        self.peak = max(self.peak, alive)
        return result

    def note(self, tensor):
        """Remember a tensor's memory if it could hold scores of a group of rows."""
        storage = tensor.untyped_storage()
        rows = storage.nbytes() / 4 / N_LATENTS
        if rows < BLOCK / 4:
            return
        if self.is_backward:
            self.in_backward.append(rows)
        self.alive[storage.data_ptr()] = StorageWeakRef(storage), rows


def make_trainer(monkeypatch, **changes):
    monkeypatch.setattr(_picking, "_BLOCK_ENTRIES", BLOCK * N_LATENTS)
    params = {
        "k": K,
        "activation": "topk",
        "loss": "fvu",
        "batch_size": BATCH,
        "learning_rate": 1e-3,
        "schedule": "constant",
        "aux_k": 6,
        "aux_weight": 0.0,
        "dead_after": 10**9,
    }
    settings = Settings(**{**params, **changes})
    rows = torch.from_numpy(np.random.RandomState(0).randn(BATCH, N_FEATURES)).float()
    rows = unit_rows(rows)  # else batch_topk tries again with wider codes
    mean = rows.mean(0)
    rng = np.random.RandomState(0)
    weights = initial_weights(N_LATENTS, [rows], [mean], settings, rng)
    trainer = Trainer(weights, settings)
    trainer.look()
    trainer.step([rows], 1e-3)  # what is made once is not of interest
    return trainer, rows


def count_flops(trainer, rows):
    with FlopCounterMode(display=False) as counter:
        trainer.step([rows], 1e-3)
    return counter.get_total_flops()


def watch(trainer, rows, monkeypatch):
    with WideTensors(monkeypatch) as tensors:
        trainer.step([rows], 1e-3)
    return tensors


@pytest.mark.parametrize("precision", ["float32", "bf16", "screen"])
def test_the_encoder_product_is_the_only_dense_one(monkeypatch, precision):
    trainer, rows = make_trainer(monkeypatch, precision=precision)
    recomputed = DENSE_FLOPS if precision == "screen" else 0  # rows not certified
    flops = count_flops(trainer, rows)
    assert DENSE_FLOPS <= flops <= DENSE_FLOPS + 8 * SPARSE_FLOPS + recomputed


def test_the_auxiliary_loss_multiplies_by_dead_latents_only(monkeypatch):
    n_dead = 64
    trainer, rows = make_trainer(monkeypatch, aux_weight=1.0, dead_after=1000)
    trainer.activity.silent[:n_dead] = 2000
    trainer.look()
    assert trainer.some_are_dead
    share = (N_LATENTS + n_dead) / N_LATENTS
    flops = count_flops(trainer, rows)
    assert share * DENSE_FLOPS <= flops <= share * DENSE_FLOPS + 16 * SPARSE_FLOPS


@pytest.mark.parametrize("precision", ["float32", "bf16", "screen", "int8"])
@pytest.mark.parametrize("activation", ["topk", "batch_topk"])
def test_scores_live_for_a_block_of_rows_and_have_no_gradient(
    monkeypatch, precision, activation
):
    trainer, rows = make_trainer(
        monkeypatch, precision=precision, activation=activation
    )
    tensors = watch(trainer, rows, monkeypatch)
    assert not tensors.in_backward
    assert BLOCK / 2 <= tensors.peak <= 2.1 * BLOCK < BATCH


def decode_densely(rows, values, indices, decoder, grouping):
    return rows - to_dense(values, indices, len(decoder)) @ decoder


def encode_densely(rows, encoder, bias, values, indices, grouping):
    return (rows @ encoder.T + bias).gather(1, indices)


@pytest.mark.parametrize(
    ("module", "name", "function"),
    [
        (_couplings, "residual", decode_densely),
        (_activations, "encode_selected", encode_densely),
    ],
)
def test_a_dense_gradient_is_noticed(monkeypatch, module, name, function):
    trainer, rows = make_trainer(monkeypatch)
    monkeypatch.setattr(module, name, function)
    assert count_flops(trainer, rows) >= 3 * DENSE_FLOPS
    tensors = watch(trainer, rows, monkeypatch)
    assert max(tensors.in_backward) >= BATCH
    assert tensors.peak >= BATCH
