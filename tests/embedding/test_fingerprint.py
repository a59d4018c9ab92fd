import copy

import numpy as np
import pytest
import torch

from skxsae.embedding._fingerprint import model_fingerprint, output_distance

BATCH = torch.arange(6.0).reshape(2, 3)


def attention(n_heads=2):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.MultiheadAttention(4, n_heads), torch.nn.GELU())


def test_it_is_that_of_an_equal_model():
    first = model_fingerprint(attention(), BATCH, "float32")
    assert first == model_fingerprint(attention(), BATCH.clone(), "float32")
    assert len(first) == 32


def test_mode_and_dropped_gradients_do_not_matter():
    module = attention().eval().requires_grad_(False)
    assert model_fingerprint(module, BATCH) == model_fingerprint(attention(), BATCH)


def changed_weight():
    module = attention()
    with torch.no_grad():
        module[0].out_proj.bias[1] = 1e-30
    return module


def changed_activation():
    module = attention()
    module[1] = torch.nn.SiLU()
    return module


def changed_option():
    module = attention()
    module[1] = torch.nn.GELU(approximate="tanh")
    return module


def added_buffer():
    module = attention()
    module.register_buffer("mask", torch.zeros(2), persistent=False)
    return module


@pytest.mark.parametrize(
    "module",
    [
        changed_weight(),
        changed_activation(),
        changed_option(),
        added_buffer(),
        attention(n_heads=1),
        attention().bfloat16(),
    ],
    ids=["weight", "activation", "option", "buffer", "heads", "type"],
)
def test_whatever_changes_the_result_changes_it(module):
    assert model_fingerprint(module, BATCH) != model_fingerprint(attention(), BATCH)


def test_inputs_and_settings_change_it():
    mapping = {"ids": BATCH, "mask": BATCH > 0}
    other_mapping = copy.deepcopy(mapping)
    other_mapping["mask"][0, 0] = True
    fingerprints = [
        model_fingerprint(attention(), batch, *settings)
        for batch, *settings in (
            (BATCH,),
            (BATCH, "float16"),
            (BATCH + 1,),
            (BATCH.T,),
            (BATCH.double(),),
            (mapping,),
            (other_mapping,),
        )
    ]
    assert len(set(fingerprints)) == len(fingerprints)


def outputs(seed=0):
    return np.random.default_rng(seed).standard_normal((4, 5), dtype=np.float32)


def test_distance_is_that_of_the_worst_row():
    first, second = outputs(), outputs()
    assert output_distance(first, second) == 0
    second[2] *= 1.25
    lengths = np.linalg.norm(second.astype(np.float64), axis=1)
    expected = 0.2 * lengths[2] / (lengths[2] + 1e-3 * lengths.max())
    assert output_distance(first, second) == pytest.approx(expected, rel=1e-5)
    assert output_distance(second, first) == pytest.approx(expected, rel=1e-5)
    assert output_distance(1e30 * first, 1e30 * second) == pytest.approx(expected)


def test_rounding_of_a_row_that_cancels_out_is_small():
    first, second = outputs(), outputs()
    first[1], second[1] = 1e-7, -1e-7
    assert output_distance(first, second) < 1e-3
    first[1], second[1] = 0, 0
    assert output_distance(first, second) == 0
    assert output_distance(0 * first, 0 * second) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_the_model_refuses_is_only_like_itself(value):
    first, second = outputs(), outputs()
    first[1] = value
    assert output_distance(first, second) == np.inf
    assert output_distance(second, first) == np.inf
    second[1] = np.nan
    assert output_distance(first, second) == 0
    first[:] = second[:] = np.nan
    assert output_distance(first, second) == np.inf
