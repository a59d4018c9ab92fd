"""The judge is the forward pass of each original, in NumPy and in its own words."""

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from skxsae import PostHocAlignedSAE, TopKSAE, load, save
from skxsae.interop import load_sae

D, M, K = 12, 40, 5
X = np.random.default_rng(99).normal(size=(60, D)) + 0.3


def relu(values):
    return np.maximum(values, 0.0)


def top_k(values, k):
    """The k largest of each row, 0 elsewhere."""
    kth = np.sort(values, axis=1)[:, -k, None]
    return np.where(values >= kth, values, 0.0)


def matrices(seed=0, unit=False):
    """W_enc, b_enc, W_dec, b_dec, with samples as rows."""
    rng = np.random.default_rng(seed)
    decoder = rng.normal(size=(M, D)) * rng.uniform(0.2, 3.0, size=(M, 1))
    if unit:
        decoder /= np.linalg.norm(decoder, axis=1, keepdims=True)
    return {
        "W_enc": rng.normal(size=(D, M)) * 0.4,
        "b_enc": rng.normal(size=M) * 0.3,
        "W_dec": decoder,
        "b_dec": rng.normal(size=D) * 0.5,
    }


def as_layers(weights):
    """The same weights as those of two linear layers."""
    return {
        "encoder.weight": weights["W_enc"].T,
        "encoder.bias": weights["b_enc"],
        "decoder.weight": weights["W_dec"].T,
    }


def tensors(weights, dtype=torch.float32):
    return {
        name: torch.tensor(np.array(value)).to(dtype).contiguous()
        for name, value in weights.items()
    }


def pre_activations(w, x, centred=True):
    return (x - w["b_dec"] * centred) @ w["W_enc"] + w["b_enc"]


def assert_same(sae, codes, rebuilt, norms, X=X, atol=1e-5):
    """Codes up to the documented scale, and reconstructions."""
    ours = sae.transform(X).toarray()
    assert (ours > 0).any()
    np.testing.assert_allclose(ours, codes * norms, rtol=1e-5, atol=atol)
    np.testing.assert_allclose(
        sae.inverse_transform(ours), rebuilt, rtol=1e-5, atol=atol
    )
    lengths = np.linalg.norm(sae.components_, axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], 1, rtol=1e-3)


# SAELens


def saelens_folder(path, weights, dtype=torch.float32, **config):
    save_file(tensors(weights, dtype), path / "sae_weights.safetensors")
    config = {"d_in": D, "d_sae": M, "hook_name": "blocks.8.hook_resid_pre"} | config
    (path / "cfg.json").write_text(json.dumps(config))
    return path


def saelens_forward(w, x, config):
    pre = pre_activations(w, x, config.get("apply_b_dec_to_input", True))
    norms = np.linalg.norm(w["W_dec"], axis=1)
    if config["architecture"] == "jumprelu":
        codes = relu(pre) * (pre > relu(w["threshold"]))
    elif config["architecture"] == "topk":
        rescale = config.get("rescale_acts_by_decoder_norm", False)
        codes = relu(top_k(pre * norms if rescale else pre, config["k"]))
        if rescale:
            return codes, (codes / norms) @ w["W_dec"] + w["b_dec"]
    else:
        codes = relu(pre)
    return codes, codes @ w["W_dec"] + w["b_dec"]


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"architecture": "standard"},
        {"architecture": "jumprelu"},
        {"architecture": "topk", "k": K},
        {"architecture": "topk", "k": K, "rescale_acts_by_decoder_norm": True},
    ],
    ids=["standard", "jumprelu", "topk", "topk_rescaled"],
)
def test_saelens(tmp_path, options, centred):
    config = options | {"apply_b_dec_to_input": centred}
    rescaled = options.get("rescale_acts_by_decoder_norm", False)
    w = matrices(unit=config["architecture"] == "topk" and not rescaled)
    if config["architecture"] == "jumprelu":
        w["threshold"] = np.random.default_rng(1).uniform(-0.3, 1.0, size=M)
    codes, rebuilt = saelens_forward(w, X, config)
    sae = load_sae(saelens_folder(tmp_path, w, **config), "saelens")
    norms = 1 if rescaled else np.linalg.norm(w["W_dec"], axis=1)
    assert_same(sae, codes, rebuilt, norms)
    assert sae.components_.dtype == np.float32
    if config["architecture"] == "topk":
        assert sae.k_ == K
        assert sae.activation_ == "topk"


def test_saelens_before_version_6(tmp_path):
    w = matrices(unit=True)
    config = {
        "architecture": "standard",
        "activation_fn_str": "topk",
        "activation_fn_kwargs": {"k": K},
        "hook_point": "blocks.8.hook_resid_pre",
        "normalize_activations": False,
        "finetuning_scaling_factor": False,
    }
    codes, rebuilt = saelens_forward(w, X, {"architecture": "topk", "k": K})
    w["scaling_factor"] = np.ones(M)
    del config["hook_point"]
    assert_same(load_sae(saelens_folder(tmp_path, w, **config), "saelens"), codes,
                rebuilt, 1)  # fmt: skip


def test_saelens_with_a_factor_of_finetuning():
    w = matrices()
    factor = np.random.default_rng(2).uniform(0.5, 2, size=M)
    codes = relu(pre_activations(w, X))
    rebuilt = (codes * factor) @ w["W_dec"] + w["b_dec"]
    weights = w | {"finetuning_scaling_factor": factor}
    config = {"architecture": "standard", "finetuning_scaling_factor": True}
    sae = load_sae(weights, "saelens", config=config)
    assert_same(sae, codes, rebuilt, factor * np.linalg.norm(w["W_dec"], axis=1))
    with pytest.raises(ValueError, match="finetuning_scaling_factor is off"):
        load_sae(weights, "saelens", config={"architecture": "standard"})


def test_latents_whose_decoder_is_zero():
    w = matrices()
    w["W_dec"][[3, 17]] = 0
    codes = relu(pre_activations(w, X))
    sae = load_sae(w, "saelens", config={"architecture": "standard"})
    assert_same(
        sae, codes, codes @ w["W_dec"] + w["b_dec"], np.linalg.norm(w["W_dec"], axis=1)
    )
    # among the k largest they take a place, as they did
    w = matrices(unit=True)
    w["W_dec"][[3, 17]] = 0
    codes, rebuilt = saelens_forward(w, X, {"architecture": "topk", "k": K})
    sae = load_sae(w, "saelens", config={"architecture": "topk", "k": K})
    assert_same(sae, codes, rebuilt, 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_of_weights(tmp_path, dtype):
    w = {n: t.double().numpy() for n, t in tensors(matrices(), dtype).items()}
    config = {"architecture": "standard"}
    codes, rebuilt = saelens_forward(w, X, config)
    sae = load_sae(saelens_folder(tmp_path, w, dtype, **config), "saelens")
    assert sae.components_.dtype == (
        np.float64 if dtype == torch.float64 else np.float32
    )
    atol = 1e-12 if dtype == torch.float64 else 1e-5
    assert_same(sae, codes, rebuilt, np.linalg.norm(w["W_dec"], axis=1), atol=atol)


def test_picks_of_rounded_unit_norms_are_those_of_the_original():
    # one scale for all: a norm that rounding made larger moves no latent ahead
    rng = np.random.default_rng(3)
    w = matrices(unit=True)
    w["W_dec"] *= rng.uniform(1 - 4e-4, 1 + 4e-4, size=(M, 1))
    w["W_enc"][:, 1::2] = w["W_enc"][:, ::2] * (1 + 1e-5)  # near ties
    w["b_enc"][1::2] = w["b_enc"][::2] * (1 + 1e-5)
    codes, rebuilt = saelens_forward(w, X, {"architecture": "topk", "k": K})
    sae = load_sae(w, "saelens", config={"architecture": "topk", "k": K})
    common = np.linalg.norm(w["W_dec"], axis=1).mean()
    assert_same(sae, codes, rebuilt, common)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "gated"}, "architecture 'gated' cannot be loaded"),
        ({"architecture": "transcoder"}, "cannot be loaded"),
        ({"architecture": "temporal"}, "cannot be loaded"),
        ({"architecture": ["standard"]}, "cannot be loaded"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations"),
        ({"normalize_activations": True}, "normalize_activations"),
        ({"normalize_activations": "expected_average_only_in"}, "folded"),
        ({"reshape_activations": "hook_z"}, "heads in one row"),
        ({"hook_name": "blocks.0.attn.hook_z"}, "heads in one row"),
        ({"activation_fn": "tanh-relu"}, "activation_fn='tanh-relu'"),
        ({"architecture": "topk"}, "Neither weights nor options say k"),
        ({"architecture": "topk", "k": M + 1}, "must be an integer from 1 to"),
        ({"architecture": "topk", "k": "many"}, "must be an integer"),
        ({"architecture": "topk", "k": float("nan")}, "must be an integer"),
        ({"architecture": "topk", "k": True}, "must be an integer"),
        ({"architecture": "jumprelu", "activation_fn": "topk", "k": 3},
         "activation_fn='topk' cannot be loaded"),
        ({"k": 3}, "k=3 in the config goes with the architecture 'topk'"),
        ({"rescale_acts_by_decoder_norm": True}, "not of 'standard'"),
        ({"architecture": "jumprelu", "rescale_acts_by_decoder_norm": True},
         "not of 'jumprelu'"),
        ({"aply_b_dec_to_input": False}, "'aply_b_dec_to_input' is no option"),
        ({"apply_b_dec_to_input": "False"}, "must be True or False"),
        ({"is_transcoder": True}, "'is_transcoder' is no option"),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"postact_fn": "gelu"}},
         "'postact_fn' is no option that is known of activation_fn_kwargs"),
        ({"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}, "k": 4},
         "k in the config is 4, but in activation_fn_kwargs it is 3"),
        ({"activation_fn": "relu", "activation_fn_str": "topk"},
         "as activation_fn_str"),
        ({"finetuning_scaling_factor": True}, "the weights hold none"),
    ],
)  # fmt: skip
def test_what_saelens_does_and_a_topk_sae_cannot(config, message):
    w = matrices(unit=True)
    with pytest.raises(ValueError, match=message):
        load_sae(w, "saelens", config={"architecture": "standard"} | config)


@pytest.mark.parametrize("architecture", ["topk", "standard"])
def test_saelens_with_k_among_the_arguments_of_the_activation(architecture):
    w = matrices(unit=True)
    codes, rebuilt = saelens_forward(w, X, {"architecture": "topk", "k": K})
    config = {"architecture": architecture, "activation_fn_kwargs": {"k": K}}
    sae = load_sae(w, "saelens", config=config | {"activation_fn_str": "topk"})
    assert_same(sae, codes, rebuilt, 1)


def test_options_of_training_are_read_over():
    """Those that SAELens writes beside the ones that say what is done to samples."""
    config = {
        "architecture": "jumprelu", "d_in": D, "d_sae": M, "dtype": "float32",
        "device": "cpu", "apply_b_dec_to_input": False, "k": None,
        "normalize_activations": "none", "reshape_activations": "none",
        "metadata": {"sae_lens_version": "6.20.0", "hook_name": "blocks.8.mlp.hook_in"},
        "model_name": "gpt2", "hook_layer": 8, "prepend_bos": True, "lr": 1e-4,
        "l1_coefficient": 5, "noise_scale": 0.0, "jumprelu_bandwidth": 0.05,
        "seqpos_slice": [None], "finetuning_scaling_factor": False,
        "activation_fn_kwargs": {},
    }  # fmt: skip
    w = matrices() | {"threshold": np.full(M, 0.3)}
    codes, rebuilt = saelens_forward(w, X, config)
    sae = load_sae(w, "saelens", config=config)
    assert_same(sae, codes, rebuilt, np.linalg.norm(w["W_dec"], axis=1))


def test_the_largest_among_rows_of_unequal_norm_are_refused():
    with pytest.raises(ValueError, match="norms from"):
        load_sae(matrices(), "saelens", config={"architecture": "topk", "k": K})


# dictionary_learning


def dictionary_folder(path, weights, **trainer):
    torch.save(tensors(weights), path / "ae.pt")
    config = {"trainer": trainer, "buffer": {"ctx_len": 128}}
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_auto_encoder(tmp_path):
    w = matrices()
    codes = relu(pre_activations(w, X))
    weights = as_layers(w) | {"bias": w["b_dec"]}
    folder = dictionary_folder(tmp_path, weights, dict_class="AutoEncoder")
    sae = load_sae(folder, "dictionary_learning", k=7)
    rebuilt = codes @ w["W_dec"] + w["b_dec"]
    assert_same(sae, codes, rebuilt, np.linalg.norm(w["W_dec"], axis=1))
    assert sae.k_ == 7


def test_auto_encoder_new(tmp_path):
    w = matrices()
    codes = relu(pre_activations(w, X, centred=False))
    weights = as_layers(w) | {"decoder.bias": w["b_dec"]}
    folder = dictionary_folder(
        tmp_path, weights, dict_class="AutoEncoderNew", lr=1e-4, norm_factor=2.0
    )
    sae = load_sae(folder, "dictionary_learning")
    rebuilt = codes @ w["W_dec"] + w["b_dec"]
    assert_same(sae, codes, rebuilt, np.linalg.norm(w["W_dec"], axis=1))


@pytest.mark.parametrize("in_weights", [True, False])
def test_auto_encoder_top_k(tmp_path, in_weights):
    w = matrices(unit=True)
    codes = top_k(relu(pre_activations(w, X)), K)
    weights = as_layers(w) | {"b_dec": w["b_dec"]}
    if in_weights:
        weights |= {"k": np.int64(K), "threshold": np.float64(-1)}
    folder = dictionary_folder(tmp_path, weights, dict_class="AutoEncoderTopK", k=K)
    sae = load_sae(folder, "dictionary_learning")
    assert_same(sae, codes, codes @ w["W_dec"] + w["b_dec"], 1)
    assert sae.k_ == K
    with pytest.raises(ValueError, match=f"k=3 was given, but .* k={K}"):
        load_sae(folder, "dictionary_learning", k=3)
    config = {"dict_class": "AutoEncoderTopK", "k": 3}
    if in_weights:
        with pytest.raises(ValueError, match=f"in the weights is {K}, but .* is 3"):
            load_sae(weights, "dictionary_learning", config=config)
    else:
        assert load_sae(weights, "dictionary_learning", config=config).k_ == 3


@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.7])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("kind", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_batch_top_k(tmp_path, kind, unit, threshold):
    w = matrices(unit=unit)
    post = relu(pre_activations(w, X))
    codes = post * (post > threshold)
    if kind == "BatchTopKSAE":
        weights = as_layers(w) | {"b_dec": w["b_dec"]}
    else:
        weights = w | {"group_sizes": np.array([10, 30])}
    weights |= {"k": np.int64(K), "threshold": np.float64(threshold)}
    folder = dictionary_folder(tmp_path, weights, dict_class=kind, k=K)
    sae = load_sae(folder, "dictionary_learning")
    rebuilt = codes @ w["W_dec"] + w["b_dec"]
    assert_same(sae, codes, rebuilt, np.linalg.norm(w["W_dec"], axis=1))
    assert sae.k_ == K
    one_threshold = unit or threshold <= 0
    assert sae.activation_ == ("batch_topk" if one_threshold else "jumprelu")


@pytest.mark.parametrize("option", [{}, {"apply_b_dec_to_input": True}])
@pytest.mark.parametrize("before_0_1", [True, False])
def test_jump_relu_auto_encoder(tmp_path, before_0_1, option):
    w = matrices()
    w["threshold"] = np.random.default_rng(1).uniform(0, 1, size=M)
    pre = pre_activations(w, X, centred=bool(option))
    norms = np.linalg.norm(w["W_dec"], axis=1)
    scale = norms if before_0_1 else 1  # of codes, which is undone to decode them
    codes = relu(pre * (pre > w["threshold"])) * scale
    rebuilt = (codes / scale) @ w["W_dec"] + w["b_dec"]
    folder = dictionary_folder(tmp_path, w, dict_class="JumpReluAutoEncoder", **option)
    sae = load_sae(folder, "dictionary_learning")
    assert_same(sae, codes, rebuilt, 1 if before_0_1 else norms)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "says no dict_class"),
        ({"dict_class": "GatedAutoEncoder"}, "'GatedAutoEncoder' cannot be loaded"),
        ({"dict_class": "CrossCoder"}, "cannot be loaded"),
        ({"trainer": "GatedSAETrainer"}, "must hold options"),
        ({"dict_class": "AutoEncoder", "k": 3}, "'k' is no option .* 'AutoEncoder'"),
        ({"dict_class": "AutoEncoder", "apply_b_dec_to_input": False}, "no option"),
        ({"trainer": {"dict_class": "AutoEncoder", "normalise": True}}, "'normalise'"),
        ({"trainer": {"dict_class": "AutoEncoder"}, "dict_clas": ""}, "'dict_clas'"),
        ({"trainer": {"dict_class": "AutoEncoder"}, "k": 3}, "'k' is no option"),
    ],
)
def test_what_dictionary_learning_does_and_a_topk_sae_cannot(config, message):
    weights = as_layers(matrices()) | {"bias": np.zeros(D)}
    with pytest.raises(ValueError, match=message):
        load_sae(weights, "dictionary_learning", config=config)


# Overcomplete


def overcomplete_weights(w, seed=0, batch_norm=False, **more):
    rng = np.random.default_rng(seed)
    weights = {
        "encoder.final_block.0.weight": w["W_enc"].T,
        "encoder.final_block.0.bias": w["b_enc"],
        "dictionary._weights": w["W_dec"],
        "dictionary.multiplier": np.float64(0.2),
    }
    if batch_norm:
        weights |= {
            "encoder.final_block.1.weight": rng.uniform(0.5, 2, size=M),
            "encoder.final_block.1.bias": rng.normal(size=M),
            "encoder.final_block.1.running_mean": rng.normal(size=M),
            "encoder.final_block.1.running_var": rng.uniform(0.5, 2, size=M),
            "encoder.final_block.1.num_batches_tracked": np.int64(100),
        }
    return weights | more


def overcomplete_forward(weights, x, normalization="l2"):
    """Activations of the encoder and rows of the dictionary."""
    pre = x @ weights["encoder.final_block.0.weight"].T
    pre = pre + weights["encoder.final_block.0.bias"]
    norm = {n.rpartition(".")[2]: v for n, v in weights.items() if "block.1." in n}
    if norm:
        pre = (pre - norm["running_mean"]) / np.sqrt(norm["running_var"] + 1e-5)
        pre = pre * norm["weight"] + norm["bias"]
    rows = weights["dictionary._weights"]
    rows = {
        "l2": lambda r: r / (np.linalg.norm(r, axis=1, keepdims=True) + 1e-8),
        "l1": lambda r: r / (np.abs(r).sum(1, keepdims=True) + 1e-8),
        "max_l2": lambda r: r / np.linalg.norm(r, axis=1).max(),
        "max_l1": lambda r: r / np.abs(r).sum(1).max(),
        "identity": lambda r: r,
    }[normalization](rows)
    return pre, rows * np.exp(weights["dictionary.multiplier"])


@pytest.mark.parametrize("normalization", ["l2", "l1", "max_l2", "max_l1", "identity"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_overcomplete_sae(batch_norm, normalization):
    weights = overcomplete_weights(matrices(), batch_norm=batch_norm)
    pre, rows = overcomplete_forward(weights, X, normalization)
    codes = relu(pre)
    for option in (
        {"dictionary_params": {"normalization": normalization}},
        {"dictionary_normalization": normalization},  # before version 0.2
        {
            "dictionary_params": {"normalization": normalization},
            "dictionary_normalization": normalization,
            "encoder_module": "mlp_bn_1" if batch_norm else "linear",
            "input_shape": D,
            "nb_concepts": M,
            "device": "cuda",
        },
    ):
        sae = load_sae(weights, "overcomplete", config={"class": "SAE"} | option)
        assert_same(sae, codes, codes @ rows, np.linalg.norm(rows, axis=1))


@pytest.mark.parametrize("top_k_given", [True, False])
def test_overcomplete_top_k_sae(tmp_path, top_k_given):
    weights = overcomplete_weights(matrices(), batch_norm=True)
    pre, rows = overcomplete_forward(weights, X)
    k = 6 if top_k_given else M // 10
    path = tmp_path / "sae.pt"
    torch.save(tensors(weights), path)
    config = {"class": "TopKSAE"} | ({"top_k": 6} if top_k_given else {})
    sae = load_sae(path, "overcomplete", config=config)
    codes = top_k(relu(pre), k)
    assert_same(sae, codes, codes @ rows, np.exp(0.2))
    assert sae.k_ == k
    if top_k_given:
        with pytest.raises(ValueError, match=r"k=7 was given, but .* k=6"):
            load_sae(path, "overcomplete", config=config, k=7)
    else:
        assert load_sae(path, "overcomplete", config=config, k=7).k_ == 7


def test_overcomplete_batch_top_k_sae():
    weights = overcomplete_weights(matrices())
    pre, rows = overcomplete_forward(weights, X)
    codes = relu(pre)
    codes = codes * (codes >= 0.4)
    config = {"class": "BatchTopKSAE", "running_threshold": 0.4, "top_k": 500}
    sae = load_sae(weights, "overcomplete", config=config)
    assert_same(sae, codes, codes @ rows, np.exp(0.2))
    with pytest.raises(ValueError, match="running_threshold"):
        load_sae(weights, "overcomplete", config={"class": "BatchTopKSAE"})


def test_overcomplete_jump_sae():
    thresholds = np.random.default_rng(5).normal(size=M) - 1
    weights = overcomplete_weights(matrices(), thresholds=thresholds)
    pre, rows = overcomplete_forward(weights, X)
    codes = relu(pre)
    codes[codes < np.exp(thresholds)] = 0
    config = {"class": "JumpSAE", "kernel": "silverman", "bandwidth": 1e-3}
    sae = load_sae(weights, "overcomplete", config=config)
    assert_same(sae, codes, codes @ rows, np.exp(0.2))


def test_a_threshold_that_is_reached_counts_where_it_did():
    """One latent on one axis, whose activation is exactly its threshold."""
    weights = {
        "encoder.final_block.0.weight": np.eye(2, dtype=np.float32),
        "encoder.final_block.0.bias": np.zeros(2, dtype=np.float32),
        "dictionary._weights": np.eye(2, dtype=np.float32),
    }
    config = {"class": "BatchTopKSAE", "running_threshold": 0.5}
    X = np.array([[0.5, 0.499]], dtype=np.float32)
    codes = load_sae(weights, "overcomplete", config=config).transform(X).toarray()
    np.testing.assert_array_equal(codes, [[0.5, 0]])
    config = {"dict_class": "JumpReluAutoEncoder"}
    matrices = {
        "W_enc": np.eye(2), "b_enc": np.zeros(2), "W_dec": np.eye(2),
        "b_dec": np.zeros(2), "threshold": np.full(2, 0.5),
    }  # fmt: skip
    codes = load_sae(matrices, "dictionary_learning", config=config).transform(X)
    assert codes.nnz == 0


def test_overcomplete_mp_sae():
    weights = overcomplete_weights(
        matrices(), **{"dictionary.multiplier": np.zeros(())}
    )
    _, rows = overcomplete_forward(weights, X)
    codes, left = np.zeros((len(X), M)), X.copy()
    for _ in range(K):
        products = left @ rows.T
        pick = products.argmax(1)
        step = products[np.arange(len(X)), pick]
        assert (step > 0).all()  # where both do the same
        codes[np.arange(len(X)), pick] += step
        left = left - step[:, None] * rows[pick]
    sae = load_sae(weights, "overcomplete", config={"class": "MpSAE", "k": K})
    assert_same(sae, codes, codes @ rows, 1)
    config = {"class": "MpSAE", "encoder_module": "identity"}
    assert load_sae(weights, "overcomplete", config=config).k_ == 1
    assert load_sae(weights, "overcomplete", config=config, k=K).k_ == K
    weights["dictionary.multiplier"] = np.float64(0.1)
    with pytest.raises(ValueError, match="unit norm"):
        load_sae(weights, "overcomplete", config={"class": "MpSAE", "k": K})


@pytest.mark.parametrize(
    ("config", "more", "message"),
    [
        ({}, {}, "does not say of which class"),
        ({"class": "QSAE"}, {}, "'QSAE' cannot be loaded"),
        ({"class": "SAE"}, {"dictionary.Relax": np.zeros((M, D))}, "data points"),
        ({"class": "SAE"}, {"encoder.mlp_blocks.0.0.bias": np.zeros(D)}, "no place"),
        ({"class": "SAE"}, {"encoder.final_block.1.weight": np.ones(M)}, "no place"),
        ({"class": "SAE", "dictionary_params": {"normalization": "l3"}}, {}, "l3"),
        ({"class": "TopKSAE", "dictionary_params": {"normalization": "identity"}}, {},
         "norms from"),
        ({"class": "TopKSAE", "topk": 7}, {}, "'topk' is no option .* 'TopKSAE'"),
        ({"class": "TopKSAE", "k": 7}, {}, "'k' is no option .* 'TopKSAE'"),
        ({"class": "SAE", "top_k": 7}, {}, "'top_k' is no option .* 'SAE'"),
        ({"class": "SAE", 1: 7}, {}, "1 is no option"),
        ({"class": "SAE", "encoder_module": "mlp_bn_3"}, {}, "only a linear encoder"),
        ({"class": "SAE", "encoder_module": "mlp_bn_1"}, {}, "no batch normalisation"),
        ({"class": "SAE", "dictionary_params": {"norm": "l1"}}, {}, "'norm' is no"),
        ({"class": "SAE", "dictionary_params": ["l1"]}, {}, "must hold options"),
        ({"class": "SAE", "dictionary_normalization": "l1",
          "dictionary_params": {"normalization": "l2"}}, {}, "'l1', but .* 'l2'"),
        ({"class": "MpSAE", "dropout": 0.1}, {"dictionary.multiplier": np.zeros(())},
         "drops latents at random"),
    ],
)  # fmt: skip
def test_what_overcomplete_does_and_a_topk_sae_cannot(config, more, message):
    weights = overcomplete_weights(matrices(), **more)
    with pytest.raises(ValueError, match=message):
        load_sae(weights, "overcomplete", config=config)


# files and arrays


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 2**20),
    spread=st.floats(0, 3),
    offset=st.floats(0, 5),
    centred=st.booleans(),
    kind=st.sampled_from(["standard", "jumprelu"]),
)
def test_any_scale_of_a_latent_is_undone(seed, spread, offset, centred, kind):
    rng = np.random.default_rng(seed)
    w = matrices(seed)
    w["W_dec"] *= np.exp(spread * rng.normal(size=(M, 1)))
    w["b_dec"] *= offset
    config = {"architecture": kind, "apply_b_dec_to_input": centred}
    if kind == "jumprelu":
        w["threshold"] = rng.uniform(0, 1, size=M)
    codes, rebuilt = saelens_forward(w, X, config)
    sae = load_sae(w, "saelens", config=config)
    assert_same(sae, codes, rebuilt, np.linalg.norm(w["W_dec"], axis=1), atol=1e-9)


def standard(**more):
    return matrices() | more


def test_the_result_is_an_ordinary_estimator(tmp_path):
    sae = load_sae(standard(), "saelens", config={"architecture": "standard"})
    assert isinstance(sae, TopKSAE)
    assert sae.n_latents == sae.n_latents_ == M
    assert sae.n_features_in_ == D
    assert sae.activation == "relu"
    assert np.isnan(sae.firing_rate_).all()
    assert sae.score(X) < 1
    sae.set_params(transform_algorithm="omp", k=3)
    assert sae.transform(X).shape == (60, M)
    save(sae, tmp_path / "sae")
    assert (load(tmp_path / "sae").transform(X) != sae.transform(X)).nnz == 0
    clone(sae).set_params(max_iter=1).fit(X)
    assert sae.set_params(batch_size=20).partial_fit(X).n_iter_ == 3
    with pytest.raises(ValueError, match="12 features"):
        sae.transform(X[:, 1:])


def test_two_that_were_loaded_can_be_aligned():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, D))
    config = {"architecture": "topk", "k": K}
    saes = [
        FrozenEstimator(load_sae(matrices(seed, unit=True), "saelens", config=config))
        for seed in (0, 0)
    ]
    aligned = PostHocAlignedSAE(x_sae=saes[0], y_sae=saes[1], random_state=0)
    aligned.fit(X, X)
    zx, zy = aligned.transform(X, X)
    matched = aligned.matches_["x_latent"].to_numpy()
    assert len(matched) > M // 2
    np.testing.assert_allclose(zx.toarray()[:, matched], zy.toarray()[:, matched])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W_enc": np.zeros((D, M + 1))}, "encoder has shape"),
        ({"W_enc": np.zeros((M, D))}, "encoder has shape"),
        ({"b_enc": np.zeros(M - 1)}, "encoder bias has shape"),
        ({"b_enc": np.zeros((1, M))}, "b_enc has shape"),
        ({"b_dec": np.zeros(D + 1)}, "decoder bias has shape"),
        ({"W_dec": np.zeros(D)}, "W_dec has shape"),
        ({"W_dec": np.zeros((0, D))}, "decoder has shape"),
        ({"W_dec": np.full((M, D), np.nan)}, "W_dec has entries that are NaN"),
        ({"b_dec": np.full(D, np.inf)}, "b_dec has entries"),
        ({"W_enc": None}, "lack W_enc"),
        ({"W_gate": np.zeros((D, M))}, "no place for: W_gate"),
        ({"b_enc": np.array(["a"] * M)}, "no array of numbers"),
        ({"b_enc": np.full(M, 1j)}, "no array of numbers"),
        ({"b_enc": torch.full((M,), 1j)}, "no array of numbers, but torch.complex64"),
        ({"b_enc": torch.full((M,), 1j).conj()}, "no array of numbers"),
        ({"W_enc": torch.zeros(D, M).to_sparse()}, "no dense tensor"),
        ({"threshold": np.zeros(M)}, "no place for: threshold"),
    ],
)
def test_weights_that_do_not_fit(change, message):
    weights = {n: v for n, v in standard(**change).items() if v is not None}
    with pytest.raises(ValueError, match=message):
        load_sae(weights, "saelens", config={"architecture": "standard"})


def test_a_threshold_of_another_length():
    weights = standard(threshold=np.zeros(M + 1))
    with pytest.raises(ValueError, match="threshold has shape"):
        load_sae(weights, "saelens", config={"architecture": "jumprelu"})


def test_weights_alone_do_not_say_what_is_done_with_them(tmp_path):
    for layout in ("saelens", "dictionary_learning", "overcomplete"):
        with pytest.raises(ValueError, match="pass"):
            load_sae(standard(), layout)
    folder = saelens_folder(tmp_path, standard())
    (folder / "cfg.json").unlink()
    with pytest.raises(ValueError, match=r"no cfg\.json"):
        load_sae(folder, "saelens")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"layout": "sparsify"}, "'layout' parameter of load_sae must be a str among"),
        ({"layout": ["saelens"]}, "'layout' parameter"),
        ({"source": 3}, "'source' parameter"),
        ({"config": "topk"}, "'config' parameter"),
        ({"k": 0}, "'k' parameter"),
        ({"k": 2.0}, "'k' parameter"),
        ({"k": True}, "k=True must be an integer"),
    ],
    ids=str,
)
def test_arguments_of_another_kind(argument, message):
    arguments = {
        "source": standard(),
        "layout": "saelens",
        "config": {"architecture": "standard"},
    }
    with pytest.raises(ValueError, match=message):
        load_sae(**arguments | argument)


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="none of"):
        load_sae(tmp_path, "saelens")
    with pytest.raises(FileNotFoundError, match="no file"):
        load_sae(tmp_path / "weights.safetensors", "saelens")


class Opens:
    """What runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "how", [torch.save, lambda x, p: p.write_bytes(pickle.dumps(x, 2))]
)
def test_nothing_is_run_that_a_file_holds(tmp_path, how):
    path, written = tmp_path / "ae.pt", tmp_path / "written"
    how({"bias": Opens(written)}, path)
    with pytest.raises(ValueError, match=r"cannot be read as tensors alone"):
        load_sae(path, "dictionary_learning", config={"dict_class": "AutoEncoder"})
    assert not written.exists()


@pytest.mark.parametrize("value", [torch.zeros(()).expand(2**40, 2**20),
                                   torch.zeros(M, D, device="meta")])  # fmt: skip
def test_tensors_that_are_not_stored(tmp_path, value):
    torch.save(tensors(matrices()) | {"W_dec": value}, tmp_path / "ae.pt")
    with pytest.raises(ValueError, match=r"W_dec .*(less is stored|no dense tensor)"):
        load_sae(tmp_path, "saelens", config={"architecture": "standard"})


def test_a_whole_model_is_refused(tmp_path):
    path = tmp_path / "sae.pt"
    torch.save(torch.nn.Linear(2, 3), path)
    with pytest.raises(ValueError, match=r"Save a state_dict\(\)"):
        load_sae(path, "overcomplete", config={"class": "SAE"})
    torch.save([torch.zeros(3)], path)
    with pytest.raises(ValueError, match="holds a list"):
        load_sae(path, "overcomplete", config={"class": "SAE"})


@pytest.mark.parametrize("name", ["sae_weights.safetensors", "ae.pt"])
@pytest.mark.parametrize("length", [0, 1, 7, 100, 2000])
def test_truncated_files(tmp_path, name, length):
    path = tmp_path / name
    if name.endswith(".pt"):
        torch.save(tensors(standard()), path)
    else:
        save_file(tensors(standard()), path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=name):
        load_sae(tmp_path, "saelens", config={"architecture": "standard"})


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00", "[" * 100_000, '"a"'])
def test_broken_options(tmp_path, text):
    folder = saelens_folder(tmp_path, standard())
    (folder / "cfg.json").write_text(text)
    with pytest.raises(ValueError, match=r"cfg\.json"):
        load_sae(folder, "saelens")


def test_options_that_are_given_come_first(tmp_path):
    folder = saelens_folder(tmp_path, standard(), architecture="gated")
    with pytest.raises(ValueError, match="gated"):
        load_sae(folder / "sae_weights.safetensors", "saelens")
    load_sae(folder, "saelens", config={"architecture": "standard"})
