"""A small CLAP model with random weights against transformers itself."""

import copy
import pickle
import sys

import numpy as np
import pytest
import torch
from scipy.io import wavfile
from toy_encoders import WORDS, tokenizer_of_words

from skxsae.embedding import CLAPAudioEncoder, CLAPTextEncoder
from skxsae.embedding._clap import _CLAPEncoder

transformers = pytest.importorskip("transformers")

RATE = 48_000
TEXTS = ["rain", "", "a dog", "a dog barks in the rain", "rain " * 5000]


@pytest.fixture(scope="module", params=["rand_trunc", "fusion"])
def small(request):
    """A model and its processor."""
    fuses = request.param == "fusion"
    torch.manual_seed(0)
    config = transformers.ClapConfig(
        projection_dim=16,
        text_config={
            "vocab_size": len(WORDS),
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "max_position_embeddings": 20,
            "pad_token_id": 1,
        },
        audio_config={
            "spec_size": 256,
            "num_mel_bins": 64,
            "patch_embeds_hidden_size": 16,
            "hidden_size": 32,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "enable_fusion": fuses,
            "aff_block_r": 2,
        },
    )
    extractor = transformers.ClapFeatureExtractor(truncation=request.param)
    processor = transformers.ClapProcessor(extractor, tokenizer_of_words())
    return transformers.ClapModel(config).eval(), processor


def tone(pitch, rate=RATE, seconds=1.0):
    return np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)


SOUNDS = [(tone(pitch, rate), rate) for pitch, rate in ((220, RATE), (5000, 44100))]


def encoder_of(kind, small, **options):
    model, processor = small
    options = {"processor": processor, "device": "cpu", "batch_size": 2, **options}
    return kind(model, **options)


@torch.no_grad()
def test_sounds_are_embedded_as_by_transformers(small, tmp_path):
    model, processor = small
    wavfile.write(tmp_path / "a.wav", RATE, tone(220).astype(np.float32))
    sounds = [tmp_path / "a.wav", (tone(5000), RATE), (tone(700, seconds=3), RATE)]
    X = encoder_of(CLAPAudioEncoder, small).transform(sounds)
    samples = [tone(220).astype(np.float32), tone(5000), tone(700, seconds=3)]
    batch = processor.feature_extractor(
        samples, sampling_rate=RATE, return_tensors="pt"
    )
    batch["is_longer"][:] = False
    expected = model.get_audio_features(**batch).pooler_output.numpy()
    np.testing.assert_allclose(X, expected, atol=1e-5)
    assert np.abs(X[0] - X[1]).max() > 1e-4


@torch.no_grad()
def test_texts_are_embedded_as_by_transformers(small):
    model, processor = small
    X = encoder_of(CLAPTextEncoder, small).transform(TEXTS)
    expected = [
        model.get_text_features(
            **processor.tokenizer([text], truncation=True, return_tensors="pt")
        ).pooler_output.numpy()[0]
        for text in TEXTS
    ]
    np.testing.assert_allclose(X, expected, atol=1e-5)
    assert len(np.unique(X.round(4), axis=0)) == len(TEXTS)


def test_nothing_about_long_sounds_is_random(small):
    long = [
        (tone(pitch, seconds=25) * np.linspace(0, 1, 25 * RATE), RATE)
        for pitch in (220, 5000)
    ]
    encoder = encoder_of(CLAPAudioEncoder, small)
    X = encoder.transform(long)
    np.testing.assert_allclose(encoder.transform(long[::-1]), X[::-1], atol=1e-6)
    cut = [(samples[: 10 * RATE], rate) for samples, rate in long]
    np.testing.assert_allclose(encoder.transform(cut), X, atol=1e-6)


def test_cache_and_unreadable_sounds(small, tmp_path, monkeypatch):
    options = {"cache_dir": tmp_path, "on_error": "skip"}
    encoder = encoder_of(CLAPAudioEncoder, small, **options)
    with pytest.warns(UserWarning, match=r"row 1, 'gone.wav' \(No such file"):
        X = encoder.transform([SOUNDS[0], "gone.wav", SOUNDS[1]])
    assert np.isnan(X[1]).all()

    def stop(*args):
        raise RuntimeError("not in the cache")

    monkeypatch.setattr(_CLAPEncoder, "_encode", stop)
    np.testing.assert_array_equal(encoder.transform(SOUNDS), X[[0, 2]])
    with pytest.raises(RuntimeError, match="not in the cache"):
        encoder.transform([(-SOUNDS[0][0], RATE)])


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_is_close(small, precision):
    for kind, entries in ((CLAPAudioEncoder, SOUNDS), (CLAPTextEncoder, TEXTS)):
        exact = encoder_of(kind, small).transform(entries)
        X = encoder_of(kind, small, precision=precision).transform(entries)
        np.testing.assert_allclose(X, exact, atol=0.05)
        assert (exact != X).any()


def test_a_folder_is_loaded(small, tmp_path):
    model, processor = small
    copy.deepcopy(model).half().save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    for kind, entries in ((CLAPAudioEncoder, SOUNDS), (CLAPTextEncoder, TEXTS)):
        expected = encoder_of(kind, small).transform(entries)
        for folder in (tmp_path, str(tmp_path)):
            encoder = kind(folder, device="cpu")
            X = encoder.transform(entries)
            np.testing.assert_allclose(X, expected, atol=1e-2)
            assert len(pickle.dumps(encoder)) < 2000


def test_a_folder_without_all_weights_is_refused(small, tmp_path):
    from safetensors.torch import load_file, save_file

    model, processor = small
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["audio_projection.linear1.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    encoder = CLAPTextEncoder(tmp_path, processor=processor)
    with pytest.raises(ValueError, match="lacks weights of a CLAP model"):
        encoder.transform(TEXTS)


@pytest.mark.parametrize("kind", [CLAPAudioEncoder, CLAPTextEncoder])
def test_errors_say_what_to_do(small, kind, monkeypatch):
    with pytest.raises(ValueError, match="needs its processor"):
        kind(small[0]).transform(["a"])
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'skxsae\[audio\]'"):
        kind().transform(["a"])
