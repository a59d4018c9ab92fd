"""The judge is the estimator: its `transform` and its `inverse_transform`."""

import ast
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from exported_models import (
    ACTIVATIONS,
    MODELS,
    NORMALIZE,
    X,
    aligned,
    assert_equal,
    degenerate,
    fitted,
    model,
    random_model,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from skxsae import TopKSAE
from skxsae.interop import TorchSAE, _torch_sae, to_torch


def both(sae, module, X):
    """Codes and reconstructions of the estimator and of the module."""
    codes = sae.transform(X)
    codes = codes if isinstance(codes, np.ndarray) else codes.toarray()
    with torch.no_grad():
        found = module(torch.from_numpy(X))
    return codes, sae.inverse_transform(codes), *(part.numpy() for part in found)


def assert_same(sae, module, X):
    codes, rebuilt, found_codes, found_rebuilt = both(sae, module, X)
    assert_equal(found_codes, codes)
    assert_equal(found_rebuilt, rebuilt)


@pytest.mark.parametrize("name", MODELS)
def test_every_model(name):
    sae, X = model(name)
    assert sae.transform(X).nnz
    assert_same(sae, to_torch(sae), X)


@pytest.mark.parametrize("name", MODELS)
def test_degenerate_rows(name):
    sae, X = model(name)
    module = to_torch(sae)
    for rows in degenerate(sae, X).values():
        assert_same(sae, module, rows)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**20),
    activation=st.sampled_from(ACTIVATIONS),
    dtype=st.sampled_from([np.float32, np.float64]),
    n_features=st.integers(1, 12),
    n_latents=st.integers(1, 20),
    n_rows=st.integers(1, 9),
    unit_length=st.booleans(),
    positive_code=st.booleans(),
    data=st.data(),
)
def test_any_weights(
    seed, activation, dtype, n_features, n_latents, n_rows, unit_length, positive_code,
    data,
):  # fmt: skip
    algorithms = ["auto", "encoder", "mp"]
    sae = random_model(
        seed,
        activation,
        dtype,
        n_features=n_features,
        n_latents=n_latents,
        k=data.draw(st.integers(1, n_latents)),
        unit_length=unit_length,
    ).set_params(
        positive_code=positive_code,
        transform_algorithm=data.draw(st.sampled_from(algorithms)),
    )
    X = np.random.default_rng(seed).normal(size=(n_rows, n_features)).astype(dtype)
    assert_same(sae, to_torch(sae), X)


@pytest.mark.parametrize("normalize", NORMALIZE)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float64_is_kept(activation, normalize):
    sae = fitted(X.astype(np.float64), activation=activation, normalize=normalize)
    module = to_torch(sae)
    assert module.encoder.dtype == torch.float64
    codes, rebuilt, found_codes, found_rebuilt = both(sae, module, X.astype(np.float64))
    assert_equal(found_codes, codes, tol=1e-12)
    assert_equal(found_rebuilt, rebuilt, tol=1e-12)
    assert_same(sae, module.float(), X)


def test_of_latents_that_tie_any_may_be_picked():
    sae = random_model(0, "topk", np.float32, n_latents=12, k=3)
    for name in ("encoder_", "components_"):
        getattr(sae, name)[6:] = getattr(sae, name)[:6]
    sae.encoder_bias_[6:] = sae.encoder_bias_[:6]
    X = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    codes, rebuilt, found_codes, found_rebuilt = both(sae, to_torch(sae), X)
    assert_equal(np.sort(found_codes), np.sort(codes))
    assert_equal(found_rebuilt, rebuilt)


def test_encode_and_decode_are_the_halves():
    sae, X = model("soft x")
    module, rows = to_torch(sae), torch.from_numpy(X)
    codes, rebuilt = module(rows)
    torch.testing.assert_close(module.encode(rows), codes)
    torch.testing.assert_close(module.decode(codes), rebuilt)


def test_the_module_is_a_copy():
    sae = fitted()
    module = to_torch(sae)
    before = module.encoder.clone()
    sae.encoder_ *= 2
    sae.components_[:] = 0
    sae.mean_ += 1
    torch.testing.assert_close(module.encoder, before)
    assert module.decoder.any()
    module.mean += 100
    assert sae.mean_.max() < 50
    assert not module.training
    assert not any(tensor.requires_grad for tensor in module.buffers())


def test_weights_that_are_mapped_from_a_file(tmp_path):
    sae, X = model("soft x")
    joblib.dump(sae, tmp_path / "sae.joblib")
    mapped = joblib.load(tmp_path / "sae.joblib", mmap_mode="r")
    assert not mapped.translation_.target.flags.writeable
    assert_same(sae, to_torch(mapped), X)


def test_gradients_reach_the_samples():
    rows = torch.from_numpy(X[:5]).requires_grad_()
    codes, rebuilt = to_torch(fitted())(rows)
    (codes.sum() + rebuilt.square().sum()).backward()
    assert rows.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["batch_topk", "matching_pursuit", "soft x"])
def test_exported_program(tmp_path, name):
    sae, X = model(name)
    module = to_torch(sae)
    batch = torch.export.Dim("batch")
    program = torch.export.export(
        module, (torch.from_numpy(X[:2]),), dynamic_shapes={"x": {0: batch}}
    )
    torch.export.save(program, tmp_path / "sae.pt2")
    loaded = torch.export.load(tmp_path / "sae.pt2").module()
    for rows in (X[:3], X):
        assert_same(sae, loaded, rows)


SERVE = """
import importlib.util, sys
import torch

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("skxsae", "sklearn", "numpy", "scipy", "pandas"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hide())
spec = importlib.util.spec_from_file_location("serving", sys.argv[1])
serving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(serving)
results = []
for saved in torch.load(sys.argv[2], weights_only=True):
    module = serving.TorchSAE(**saved["config"])
    module.load_state_dict(saved["state_dict"])
    results.append(module(saved["x"]))
torch.save(results, sys.argv[3])
"""


def test_it_serves_where_there_is_no_skxsae(tmp_path):
    saved, wanted = [], []
    for name in ("jumprelu", "soft y", "matching_pursuit"):
        sae, X = model(name)
        module, x = to_torch(sae), torch.from_numpy(X)
        state = {"config": module.config, "state_dict": module.state_dict()}
        saved.append(state | {"x": x})
        wanted.append(module(x))
    path, result = tmp_path / "saes.pt", tmp_path / "result.pt"
    torch.save(saved, path)
    copy = tmp_path / "serving.py"
    copy.write_text(Path(_torch_sae.__file__).read_text())
    command = [sys.executable, "-c", SERVE, copy, path, result]
    subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    torch.testing.assert_close(torch.load(result), wanted)


def test_the_file_of_the_module_imports_torch_alone():
    tree = ast.parse(Path(_torch_sae.__file__).read_text())
    imported = {
        alias.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {"torch"}


def test_config_rebuilds_a_module_of_any_kind():
    for name in MODELS:
        sae, X = model(name)
        module = to_torch(sae)
        copy = TorchSAE(**module.config).to(module.encoder.dtype)
        copy.load_state_dict(module.state_dict())
        torch.testing.assert_close(
            copy(torch.from_numpy(X)), module(torch.from_numpy(X))
        )


def test_no_more_latents_are_kept_than_there_are():
    module = TorchSAE(3, 4, "topk", k=9, rank=2, n_translated=9)
    module.scale.fill_(1)
    module.encoder.normal_()
    x = torch.ones(2, 3)
    pre = x @ module.encoder.T
    torch.testing.assert_close(module.encode(x), pre.relu())
    assert module.config["k"] == 9


def test_what_cannot_be_exported():
    with pytest.raises(ValueError, match="transform_algorithm='omp'"):
        to_torch(fitted(transform_algorithm="omp"))
    with pytest.raises(TypeError, match="Export its x_sae_ and its y_sae_"):
        to_torch(aligned("hungarian"))
    with pytest.raises(TypeError, match="FrozenEstimator, but must be"):
        to_torch(FrozenEstimator(fitted()))
    with pytest.raises(NotFittedError):
        to_torch(TopKSAE())
    with pytest.raises(ValueError, match="activation='relu' must be"):
        TorchSAE(3, 4, "relu")


def test_parameters_that_were_set_since_the_fit_count():
    sae = fitted(activation="matching_pursuit", positive_code=False)
    sae.set_params(positive_code=True)
    assert_same(sae, to_torch(sae), X)
    sae.set_params(transform_algorithm="encoder")
    assert_same(sae, to_torch(sae), X)
    sae.set_params(transform_algorithm="none")
    with pytest.raises(ValueError, match="transform_algorithm"):
        to_torch(sae)


def test_columns_that_are_absent_stay_empty():
    sae, X = model("aligned y")
    absent = ~sae.components_.any(axis=1)
    assert absent.any()
    assert not to_torch(sae).encode(torch.from_numpy(X))[:, absent].any()
