"""Models of open_clip, small and with random weights, against open_clip itself."""

import importlib.abc
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from toy_encoders import tokenizer_of_words

from skxsae.embedding import (
    OpenCLIPImageEncoder,
    OpenCLIPTextEncoder,
    _base,
    _loading,
)
from skxsae.embedding._fingerprint import model_fingerprint

open_clip = pytest.importorskip("open_clip")
factory = open_clip.factory

TEXTS = ["a cat", "", "Two DOGS!", "一只猫 кошка قطة 🐙", "x" * 10_000, "word " * 2000]
CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32,
        "layers": 2,
        "width": 32,
        "head_width": 16,
        "patch_size": 8,
    },
    "text_cfg": {
        "context_length": 24,
        "vocab_size": 49408,
        "width": 16,
        "heads": 2,
        "layers": 2,
    },
}
# as SigLIP: a tower of timm, no causal mask, other pooling, a bias, plain punctuation
SIGLIP = {
    **CONFIG,
    "init_logit_bias": -10,
    "custom_text": True,
    "vision_cfg": {
        "image_size": 160,
        "timm_model_name": "test_vit",
        "timm_model_pretrained": False,
        "timm_pool": "",
        "timm_proj": "linear",
    },
    "text_cfg": {
        **CONFIG["text_cfg"],
        "no_causal_mask": True,
        "proj_bias": True,
        "pool_type": "last",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    },
}
PREPROCESS = {
    "size": 32,
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
    "interpolation": "bilinear",
    "resize_mode": "squash",
}


@pytest.fixture(autouse=True)
def _registry(monkeypatch):
    """Forget the configurations that a test adds."""
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", [*factory._MODEL_CONFIG_PATHS])
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", {**factory._MODEL_CONFIGS})


@pytest.fixture
def checkpoint(tmp_path):
    """A function that adds a model to open_clip and gives the file of its weights."""

    def add(name, config=CONFIG, seed=0):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)
        torch.manual_seed(seed)
        weights = tmp_path / f"{name}-{seed}.pt"
        torch.save(open_clip.create_model(name).state_dict(), weights)
        return weights

    return add


@pytest.fixture
def folder(tmp_path):
    """Folder that open_clip loads as a whole."""
    path = tmp_path / "model"
    path.mkdir()
    torch.manual_seed(3)
    model_cfg = {**CONFIG, "quick_gelu": True}
    weights = open_clip.CLIP(**model_cfg).state_dict()
    torch.save(weights, path / "open_clip_pytorch_model.bin")
    config = {"model_cfg": model_cfg, "preprocess_cfg": PREPROCESS}
    (path / "open_clip_config.json").write_text(json.dumps(config))
    return f"local-dir:{path}"


@pytest.fixture
def files(tmp_path):
    """Ordinary RGB files of several sizes and formats."""
    rng = np.random.default_rng(0)
    sizes = {"a.png": (40, 60), "b.jpg": (80, 30), "c.webp": (32, 32), "d.bmp": (9, 7)}
    for name, size in sizes.items():
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    return [tmp_path / name for name in sizes]


@torch.no_grad()
def directly(name, pretrained, files):
    """Embeddings of pictures and texts by open_clip alone."""
    model, preprocess = open_clip.create_model_from_pretrained(name, pretrained)
    pixels = torch.stack([preprocess(Image.open(path)) for path in files])
    tokens = open_clip.get_tokenizer(name)(TEXTS)
    model.eval()
    return model.encode_image(pixels).numpy(), model.encode_text(tokens).numpy()


def encoded(name, pretrained, files, **options):
    """Embeddings of pictures and texts by the encoders."""
    options = {"device": "cpu", "batch_size": 3, **options}
    images = OpenCLIPImageEncoder(name, pretrained, **options).transform(files)
    return images, OpenCLIPTextEncoder(name, pretrained, **options).transform(TEXTS)


@pytest.mark.parametrize("config", [CONFIG, SIGLIP], ids=["clip", "siglip"])
def test_embeddings_are_those_of_open_clip(checkpoint, files, config):
    weights = checkpoint("small", config)
    expected = directly("small", str(weights), files)
    for given in (weights, str(weights)):
        for X, Y in zip(encoded("small", given, files), expected, strict=True):
            np.testing.assert_allclose(X, Y, atol=1e-5)
    # what is compared differs from row to row
    for Y in expected:
        assert np.linalg.norm(Y[:, None] - Y[None], axis=2)[0, 1:].min() > 1e-2


def test_a_folder_brings_its_preprocessing(folder, files):
    expected = directly(folder, None, files)
    for X, Y in zip(encoded(folder, None, files), expected, strict=True):
        np.testing.assert_allclose(X, Y, atol=1e-5)


def test_a_given_model_is_that_of_open_clip(folder, files):
    expected = directly(folder, None, files)
    model = open_clip.create_model(folder).train()
    tokenizer = open_clip.get_tokenizer(folder)
    X = OpenCLIPImageEncoder(model, device="cpu").transform(files)
    y = OpenCLIPTextEncoder(model, tokenizer=tokenizer, device="cpu").transform(TEXTS)
    np.testing.assert_allclose(X, expected[0], atol=1e-5)
    np.testing.assert_allclose(y, expected[1], atol=1e-5)
    assert model.training


def test_long_texts_are_cut_at_the_context(folder):
    long = ["word " * 2000, "word " * 22, "word " * 21]
    X = OpenCLIPTextEncoder(folder, device="cpu").transform(long)
    np.testing.assert_allclose(X[0], X[1], atol=1e-5)
    assert np.abs(X[1] - X[2]).max() > 1e-3


def test_a_tokenizer_of_transformers(folder, files):
    pytest.importorskip("transformers")
    path = factory.Path(folder.partition(":")[2])
    tokenizer_of_words().save_pretrained(path)
    config = json.loads((path / "open_clip_config.json").read_text())
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = "words"
    (path / "open_clip_config.json").write_text(json.dumps(config))
    (tokens,) = _loading.tokenizer_of(folder)(["a dog barks"])
    assert tokens[:6].tolist() == [0, 4, 5, 6, 2, 1]
    expected = directly(folder, None, files)
    for X, Y in zip(encoded(folder, None, files), expected, strict=True):
        np.testing.assert_allclose(X, Y, atol=1e-5)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_close(folder, files, precision):
    for X, Y in zip(
        encoded(folder, None, files, precision=precision),
        encoded(folder, None, files),
        strict=True,
    ):
        assert X.dtype == np.float32
        np.testing.assert_allclose(X, Y, atol=0.05 * np.abs(Y).max())
        assert (X != Y).any()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_gpu_gives_the_same(folder, files, precision):
    expected = encoded(folder, None, files)
    given = encoded(folder, None, files, precision=precision, device="cuda")
    for X, Y in zip(given, expected, strict=True):
        np.testing.assert_allclose(X, Y, atol=0.05 * np.abs(Y).max())


@pytest.mark.parametrize("encoder", [OpenCLIPImageEncoder, OpenCLIPTextEncoder])
class TestNames:
    """Which names of models are taken, whatever is encoded."""

    def test_random_weights_are_refused(self, encoder):
        message = r"pretrained=None gives no weights .* \['openai', .*'metaclip_400m'"
        for name in ("ViT-B-32", "ViT-B/32"):
            with pytest.raises(ValueError, match=message):
                encoder(name).transform(["a"])

    def test_an_unknown_tag_is_refused(self, encoder, tmp_path):
        for pretrained in ("open-ai", str(tmp_path), tmp_path / "gone.pt"):
            with pytest.raises(ValueError, match=r"one of \['webli'\], or the file"):
                encoder("ViT-B-16-SigLIP", pretrained).transform(["a"])

    def test_an_unknown_model_is_refused(self, encoder):
        with pytest.raises(ValueError, match=r"'ViT-B-33' is not among .*hf-hub:"):
            encoder("ViT-B-33", "openai").transform(["a"])

    def test_a_folder_takes_no_other_weights(self, encoder, folder):
        with pytest.raises(ValueError, match="pretrained='openai' cannot be chosen"):
            encoder(folder, "openai").transform(["a"])

    def test_a_folder_without_weights_is_refused(self, encoder, folder):
        for path in factory.Path(folder.partition(":")[2]).glob("*.bin"):
            path.unlink()
        with pytest.raises(RuntimeError, match="could not be loaded"):
            encoder(folder).transform(["a"])

    def test_the_default_is_loaded_from_the_hub(self, encoder, monkeypatch):
        asked = []

        def create_model(name, *args, **options):
            asked.append((name, options["require_pretrained"]))
            raise RuntimeError("no network")

        monkeypatch.setattr(open_clip, "create_model", create_model)
        with pytest.raises(RuntimeError, match="no network"):
            encoder().transform(["a"])
        assert asked == [("hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K", True)]

    def test_without_open_clip_the_extra_is_named(self, encoder, monkeypatch):
        monkeypatch.setitem(sys.modules, "open_clip", None)
        with pytest.raises(ImportError, match=r"pip install 'skxsae\[clip\]'"):
            encoder().transform(["a"])

    def test_torchvision_of_another_build_is_explained(self, encoder, monkeypatch):
        class Broken(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name == "open_clip":
                    raise RuntimeError("operator torchvision::nms does not exist")

        monkeypatch.delitem(sys.modules, "open_clip")
        monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
        with pytest.raises(ImportError, match=r"nms does not exist.*another build"):
            encoder().transform(["a"])


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("ViT-B-32", "openai", True),
        ("ViT-B/32", "openai", True),
        ("ViT-B-32", "laion2b_s34b_b79k", False),
        ("ViT-B-32-quickgelu", "openai", True),
    ],
)
def test_a_tag_brings_its_activation(monkeypatch, name, tag, expected):
    create_model = open_clip.create_model

    def without_weights(name, pretrained, *, require_pretrained, **options):
        assert (pretrained, require_pretrained) == (tag, True)
        return create_model(name, load_weights=False, **options)

    monkeypatch.setattr(open_clip, "create_model", without_weights)
    module = _loading.load_module(name, tag, "encode_image")
    kinds = {type(part).__name__ for part in module.modules()}
    assert ("QuickGELU" in kinds, "GELU" in kinds) == (expected, not expected)


def test_a_tokenizer_that_needs_a_package_names_it(monkeypatch):
    def get_tokenizer(name):
        raise ModuleNotFoundError("No module named 'nothing'", name="nothing")

    monkeypatch.setattr(open_clip, "get_tokenizer", get_tokenizer)
    with pytest.raises(ImportError, match="requires nothing: pip install nothing"):
        _loading.tokenizer_of("ViT-B-16-SigLIP")


def test_the_tokenizer_is_that_of_the_name():
    assert _loading.tokenizer_of("ViT-B/32").context_length == 77


def count_loads(monkeypatch):
    """List that grows with every model that open_clip creates."""
    loads, create_model = [], open_clip.create_model

    def counting(*args, **options):
        loads.append(args)
        return create_model(*args, **options)

    monkeypatch.setattr(open_clip, "create_model", counting)
    return loads


def test_a_model_is_loaded_once_and_again_when_it_changes(checkpoint, monkeypatch):
    first, second = (checkpoint("small", seed=seed) for seed in (0, 1))
    loads = count_loads(monkeypatch)
    encoder = OpenCLIPTextEncoder("small", first, device="cpu").fit(TEXTS)
    assert loads == []
    X = encoder.transform(TEXTS)
    encoder.get_feature_names_out()
    encoder.set_params(batch_size=2, on_error="skip").transform(TEXTS)
    clone(encoder).transform(TEXTS)
    assert len(loads) == 1
    other = encoder.set_params(pretrained=second).transform(TEXTS)
    assert len(loads) == 2
    assert np.abs(other - X).max() > 1e-3
    again = clone(encoder).set_params(pretrained=first).transform(TEXTS)
    np.testing.assert_allclose(again, X, atol=1e-5)


def test_weights_are_hashed_once(folder, monkeypatch, tmp_path):
    calls = []

    def counting(*args):
        calls.append(args[1:])
        return model_fingerprint(*args)

    monkeypatch.setattr(_base, "model_fingerprint", counting)
    encoder = OpenCLIPTextEncoder(folder, device="cpu")
    encoder.transform(TEXTS)
    assert calls == []
    encoder.set_params(cache_dir=tmp_path / "cache")
    X = encoder.transform(TEXTS)
    np.testing.assert_array_equal(encoder.transform(TEXTS), X)
    assert len(calls) == 1
    other = encoder.set_params(precision="bfloat16").transform(TEXTS)
    assert len(calls) == 2
    assert (other != X).any()


def test_a_pickle_leaves_the_weights_out(checkpoint):
    weights = checkpoint("small")
    encoder = OpenCLIPTextEncoder("small", weights, device="cpu")
    X = encoder.transform(TEXTS)
    content = pickle.dumps(encoder)
    assert len(content) < 2000 < weights.stat().st_size / 100
    np.testing.assert_array_equal(pickle.loads(content).transform(TEXTS), X)
    np.testing.assert_array_equal(encoder.transform(TEXTS), X)


def test_the_same_weights_with_another_activation_are_another_model(
    checkpoint, files, tmp_path
):
    weights = checkpoint("small")
    checkpoint("small-quickgelu", {**CONFIG, "quick_gelu": True})
    options = {"cache_dir": tmp_path / "cache"}
    first = encoded("small", weights, files, **options)
    second = encoded("small-quickgelu", weights, files, **options)
    for X, Y in zip(first, second, strict=True):
        assert np.abs(X - Y).max() > 1e-4
    for X, Y in zip(first, encoded("small", weights, files, **options), strict=True):
        np.testing.assert_array_equal(X, Y)
