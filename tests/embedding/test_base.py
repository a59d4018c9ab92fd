"""The behaviour of every encoder, with modules that need no package."""

import pickle
import re
import sqlite3
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import SkipTestWarning
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils._param_validation import InvalidParameterError
from toy_encoders import ToyModel, preprocess, tokenizer

from skxsae import TopKSAE
from skxsae.embedding import (
    CLAPAudioEncoder,
    CLAPTextEncoder,
    OpenCLIPImageEncoder,
    OpenCLIPTextEncoder,
)
from skxsae.embedding._cache import FILE_NAME
from skxsae.embedding._texts import PROBE_TEXTS

TEXTS = ["a", "abba", "", "plum", "b"]
ROWS = [[1, 1, 0], [4, 2, 2], [0, 0, 0], [4, 0, 0], [1, 0, 1]]
WITH_CACHE = 1 + len(PROBE_TEXTS)  # texts that tell the width and the model
ENCODERS = [
    OpenCLIPImageEncoder,
    OpenCLIPTextEncoder,
    CLAPAudioEncoder,
    CLAPTextEncoder,
]


def texts_encoder(model=None, **options):
    options = {"tokenizer": tokenizer, "device": "cpu", **options}
    return OpenCLIPTextEncoder(model or ToyModel(), **options)


def image_encoder(model=None, **options):
    options = {"preprocess": preprocess, "device": "cpu", **options}
    return OpenCLIPImageEncoder(model or ToyModel(), **options)


def encoded_after_probe(model, n_probes=1):
    """Sizes of the batches, but for the entries that tell what model it is."""
    assert model.batches[:n_probes] == [1] * n_probes
    return model.batches[n_probes:]


def colours(n):
    """Arrays of one colour each, and their embeddings."""
    values = np.linspace(0, 255, 3 * n).astype(np.uint8).reshape(n, 1, 1, 3)
    return list(values + np.zeros((6, 8, 1), np.uint8)), values.reshape(n, 3) / 255


def test_each_entry_is_embedded():
    X = texts_encoder().transform(TEXTS)
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, ROWS)
    arrays, expected = colours(5)
    for given in (arrays, np.stack(arrays)):
        np.testing.assert_allclose(
            image_encoder().transform(given), expected, atol=1e-6
        )


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches(batch_size):
    model = ToyModel()
    X = texts_encoder(model, batch_size=batch_size).transform(TEXTS)
    np.testing.assert_array_equal(X, ROWS)
    sizes = encoded_after_probe(model)
    assert sum(sizes) == 5
    assert max(sizes) == min(batch_size, 5)


def test_equal_entries_are_encoded_once(tmp_path):
    model = ToyModel()
    X = texts_encoder(model, batch_size=2).transform(["a", "b", "a", "a", "b"])
    assert encoded_after_probe(model) == [2]
    np.testing.assert_array_equal(X, np.array(ROWS)[[0, 4, 0, 0, 4]])


def test_equal_pictures_are_encoded_once(tmp_path):
    arrays, _ = colours(2)
    paths = [tmp_path / name for name in ("a.png", "copy.png", "b.png")]
    for path, i in zip(paths, (0, 0, 1), strict=True):
        Image.fromarray(arrays[i]).save(path)
    entries = [paths[0], paths[1], paths[2], str(paths[0]), arrays[0], arrays[0] / 255]
    model = ToyModel()
    X = image_encoder(model, batch_size=2).transform(entries)
    # the files of one picture are one, and so are the arrays
    assert sum(encoded_after_probe(model)) == 3
    for row in (1, 3, 4, 5):
        np.testing.assert_array_equal(X[row], X[0])
    assert (X[2] != X[0]).any()


def test_only_one_batch_is_decoded_at_a_time():
    alive = []

    class Counting(ToyModel):
        def encode_image(self, pixels):
            alive.append(n_decoded[0] - sum(self.batches))
            return super().encode_image(pixels)

    n_decoded = [0]

    def counting(picture):
        n_decoded[0] += 1
        return preprocess(picture)

    arrays, _ = colours(7)
    model = Counting()
    encoder = image_encoder(model, preprocess=counting, batch_size=3)
    encoder.get_feature_names_out()
    n_decoded[0] = sum(model.batches)
    alive.clear()
    encoder.transform(arrays)
    assert alive == [3, 3, 1]


@pytest.mark.parametrize("n_jobs", [2, -1])
def test_threads_change_nothing(n_jobs):
    arrays, expected = colours(10)
    X = image_encoder(n_jobs=n_jobs, batch_size=4).transform(arrays)
    np.testing.assert_allclose(X, expected, atol=1e-6)


def test_unreadable_entries_are_named():
    with pytest.raises(ValueError, match="2 entries of X cannot be read: row 1") as e:
        texts_encoder().transform(["a", None, "b", np.nan])
    assert "row 1, None (NoneType instead of str, as pandas" in str(e.value)
    assert "row 3, a float (float instead of str, as pandas" in str(e.value)
    assert "on_error='skip'" in str(e.value)


def test_a_batch_is_read_to_its_end_before_it_is_refused():
    model = ToyModel()
    encoder = texts_encoder(model, batch_size=4)
    with pytest.raises(ValueError, match="2 entries of X") as e:
        encoder.transform(["a", "b", "aa", "bb", "c", 1, "d", 2, "e", 3])
    assert "row 5" in str(e.value)
    assert "row 7" in str(e.value)
    assert encoded_after_probe(model) == [4]


def test_unreadable_entries_are_skipped_with_one_warning(tmp_path):
    arrays, expected = colours(4)
    (tmp_path / "bad.png").write_bytes(b"\x89PNG")
    entries = [arrays[0], tmp_path / "gone.png", arrays[1], tmp_path / "bad.png", None]
    encoder = image_encoder(on_error="skip", batch_size=2, n_jobs=2)
    with pytest.warns(UserWarning, match="3 entries of X cannot be read") as record:
        X = encoder.transform(entries + arrays[2:])
    assert len(record) == 1
    assert "gone.png' (No such file or directory)" in str(record[0].message)
    assert record[0].filename == __file__
    np.testing.assert_allclose(X[[0, 2, 5, 6]], expected, atol=1e-6)
    assert np.isnan(X[[1, 3, 4]]).all()


def test_missing_files_are_named_before_anything_is_encoded(tmp_path):
    arrays, _ = colours(6)
    model = ToyModel()
    gone = [tmp_path / f"{name}.png" for name in "abc"]
    entries = [*arrays[:2], gone[0], *arrays[2:], gone[1], gone[2], gone[0]]
    with pytest.raises(ValueError, match="4 entries of X cannot be read") as e:
        image_encoder(model, batch_size=1, cache_dir=tmp_path).transform(entries)
    assert model.batches == []
    for row in ("rows 2 and 9, .*a.png", "row 7, .*b.png", "row 8, .*c.png"):
        assert re.search(f"{row}' .No such file", str(e.value))


def test_texts_are_no_files():
    assert len(texts_encoder().transform(["gone.png"])) == 1


def test_all_may_be_unreadable():
    encoder = texts_encoder(on_error="skip")
    with pytest.warns(UserWarning, match="2 entries"):
        X = encoder.transform([None, 3])
    assert X.shape == (2, 3)
    assert np.isnan(X).all()


def test_errors_of_the_model_are_no_unreadable_entries():
    class Broken(ToyModel):
        def encode_text(self, tokens):
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        texts_encoder(Broken(), on_error="skip").transform(["a"])


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda tokens: tokens.float().mean(dim=1), r"shape \(1,\) for 1 entries"),
        (lambda tokens: tokens.float()[:0], r"shape \(0, 3\) for 1 entries"),
        (lambda tokens: tokens / 0, "NaN or infinity.*precision='float32'"),
    ],
)
def test_nonsense_of_the_model_is_refused(result, message):
    model = ToyModel()
    model.encode_text = result
    with pytest.raises(ValueError, match=message):
        texts_encoder(model).transform(["b"])


class OutOfMemory(ToyModel):
    """A model that has memory for two entries."""

    def encode_text(self, tokens):
        if len(tokens) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().encode_text(tokens)


def test_batches_that_do_not_fit_are_halved():
    model = OutOfMemory()
    with pytest.warns(UserWarning, match="batch_size=2 is faster"):
        X = texts_encoder(model, batch_size=4).transform(TEXTS)
    np.testing.assert_array_equal(X, ROWS)
    assert encoded_after_probe(model) == [2, 2, 1]


def test_one_entry_that_does_not_fit_is_an_error():
    class Tiny(ToyModel):
        def encode_text(self, tokens):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        texts_encoder(Tiny()).transform(["a"])


class MatrixProduct(torch.nn.Module):
    """A model in which a precision shows."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.project = torch.nn.Linear(3, 4)

    def encode_image(self, pixels):
        vectors = self.project(pixels.mean(dim=(2, 3)))
        self.dtype = vectors.dtype
        return vectors


@pytest.mark.parametrize(
    ("precision", "tolerance"), [("float16", 1e-3), ("bfloat16", 1e-2)]
)
def test_precision(precision, tolerance):
    arrays, _ = colours(5)
    model = MatrixProduct()
    exact = image_encoder(model).transform(arrays)
    assert model.dtype == torch.float32
    X = image_encoder(model, precision=precision).transform(arrays)
    assert model.dtype == getattr(torch, precision)
    assert X.dtype == np.float32
    assert model.project.weight.dtype == torch.float32
    np.testing.assert_allclose(X, exact, atol=tolerance)
    assert (exact != X).any()


def test_a_model_in_half_precision_can_be_given():
    arrays, _ = colours(5)
    exact = image_encoder(MatrixProduct()).transform(arrays)
    X = image_encoder(MatrixProduct().half(), precision="float16").transform(arrays)
    np.testing.assert_allclose(X, exact, atol=1e-2)


def test_float32_is_kept_inside_autocast():
    arrays, _ = colours(5)
    encoder = image_encoder(MatrixProduct())
    exact = encoder.transform(arrays)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(encoder.transform(arrays), exact)


def test_a_given_model_is_left_as_it_was():
    model = ToyModel().train()
    model.drop.eval()
    model.scale.requires_grad_(True)
    seen = []
    model.register_buffer("seen", torch.zeros(1))

    def encode_text(tokens):
        seen.append((model.training, torch.is_grad_enabled()))
        return tokens.float()

    model.encode_text = encode_text
    texts_encoder(model).transform(TEXTS)
    assert set(seen) == {(False, False)}
    assert model.training
    assert not model.drop.training
    assert model.scale.requires_grad
    assert model.scale.device.type == "cpu"


def test_a_given_model_is_left_as_it_was_after_an_error():
    model = ToyModel().train()
    with pytest.raises(ValueError, match="cannot be read"):
        texts_encoder(model).transform([None])
    assert model.training
    assert model.drop.training


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_gpu_gives_the_same(precision):
    arrays, _ = colours(5)
    model = MatrixProduct()
    exact = image_encoder(model).transform(arrays)
    X = image_encoder(model, device="auto", precision=precision).transform(arrays)
    np.testing.assert_allclose(X, exact, atol=2e-2)
    assert model.project.weight.device.type == "cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16"])
def test_a_gpu_finds_what_a_cpu_has_encoded(tmp_path, precision):
    arrays, _ = colours(5)
    options = {"cache_dir": tmp_path, "precision": precision}
    model = MatrixProduct()
    X = image_encoder(model, **options).transform(arrays)
    again = image_encoder(model, device="cuda", **options).transform(arrays)
    np.testing.assert_array_equal(again, X)
    assert n_cached(tmp_path) == 5


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_an_unknown_device_is_refused(method):
    encoder = OpenCLIPTextEncoder("nothing", "nothing", device="tpu9")
    with pytest.raises(ValueError, match="device='tpu9' is not a torch device"):
        getattr(encoder, method)(TEXTS)


@pytest.mark.parametrize("method", ["fit", "transform"])
def test_no_threads_at_all_are_refused(method):
    arrays, _ = colours(1)
    with pytest.raises(InvalidParameterError, match=r"n_jobs.* Got 0 instead"):
        getattr(image_encoder(n_jobs=0), method)(arrays)


class Held(ToyModel):
    """A model that is held up in the middle, once for each of the first texts."""

    def __init__(self, holds):
        super().__init__()
        self.holds = holds
        self.is_held = [threading.Event() for _ in holds]

    def encode_text(self, tokens):
        number = int(tokens[0, 0]) - 10_000
        if 0 <= number < len(self.holds):
            self.is_held[number].set()
            assert self.holds[number].wait(20)
        return super().encode_text(tokens)


def test_a_shared_model_stays_in_its_mode_until_the_last_is_done(tmp_path):
    holds = [threading.Event(), threading.Event()]
    model = Held(holds).train()
    encoders = [texts_encoder(model, cache_dir=tmp_path) for _ in holds]
    encoders[1] = clone(encoders[1])
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(encoder.transform, ["b" * (10_000 + number)])
            for number, encoder in enumerate(encoders)
        ]
        for event in model.is_held:
            assert event.wait(20)
        holds[0].set()
        assert runs[0].result(20).tolist() == [[10_000, 0, 10_000]]
        assert not model.training
        assert not model.drop.training
        holds[1].set()
        # dropout would change nine values of ten
        assert runs[1].result(20).tolist() == [[10_001, 0, 10_001]]
    assert model.training
    assert model.drop.training
    X = texts_encoder(ToyModel(), cache_dir=tmp_path).transform(["b" * 10_001])
    assert X.tolist() == [[10_001, 0, 10_001]]


def test_threads_that_share_a_model_keep_it_right(tmp_path):
    model = ToyModel().train()
    texts = ["a" * n for n in range(60)]

    def run(start):
        encoder = texts_encoder(model, cache_dir=tmp_path, batch_size=1)
        return encoder.transform(texts[start::2])

    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(run, (0, 1)))
    for half, start in zip(halves, (0, 1), strict=True):
        np.testing.assert_array_equal(half[:, 0], np.arange(60)[start::2])
    assert model.training


def test_the_cache_is_used_between_calls(tmp_path):
    first, second = ToyModel(), ToyModel()
    X = texts_encoder(first, cache_dir=tmp_path).transform(TEXTS)
    again = texts_encoder(second, cache_dir=tmp_path).transform([*TEXTS, "new"])
    np.testing.assert_array_equal(again[:5], X)
    assert encoded_after_probe(second, WITH_CACHE) == [1]


def test_a_run_that_was_interrupted_goes_on(tmp_path):
    class Interrupted(ToyModel):
        def encode_text(self, tokens):
            if len(self.batches) == WITH_CACHE + 2:
                raise KeyboardInterrupt
            return super().encode_text(tokens)

    options = {"cache_dir": tmp_path, "batch_size": 2}
    texts = ["a" * n for n in range(10)]
    with pytest.raises(KeyboardInterrupt):
        texts_encoder(Interrupted(), **options).transform(texts)
    model = Interrupted()
    model.batches = [1] * 10  # is not interrupted again
    X = texts_encoder(model, **options).transform(texts)
    assert model.batches[10 + WITH_CACHE :] == [2, 2, 2]
    np.testing.assert_array_equal(X[:, 0], range(10))


def n_cached(folder):
    connection = sqlite3.connect(folder / FILE_NAME)
    (n,) = connection.execute("SELECT count(*) FROM embeddings").fetchone()
    connection.close()
    return n


def test_unreadable_entries_are_not_cached(tmp_path):
    encoder = texts_encoder(cache_dir=tmp_path, on_error="skip")
    with pytest.warns(UserWarning, match="1 entry"):
        encoder.transform(["a", None])
    assert n_cached(tmp_path) == 1


def other_tokenizer(texts):
    return tokenizer([text[:20] for text in texts])


@pytest.mark.parametrize(
    "change",
    [
        {"model": ToyModel(scale=2.0)},
        {"precision": "bfloat16"},
        {"tokenizer": other_tokenizer},
    ],
    ids=["model", "precision", "tokenizer"],
)
def test_another_configuration_is_encoded_anew(tmp_path, change):
    texts_encoder(cache_dir=tmp_path).transform(TEXTS)
    model = ToyModel()
    encoder = texts_encoder(model, cache_dir=tmp_path).set_params(**change)
    encoder.transform(TEXTS)
    assert n_cached(tmp_path) == 10


def test_weights_that_are_trained_between_calls_are_noticed(tmp_path):
    model = ToyModel()
    encoder = texts_encoder(model, cache_dir=tmp_path)
    X = encoder.transform(TEXTS)
    with torch.no_grad():
        model.scale.fill_(3)
    np.testing.assert_array_equal(encoder.transform(TEXTS), 3 * X)


def edited(encode_text, **attributes):
    """A model of a class that has the name of any other such."""
    kind = type("M", (torch.nn.Module,), {"encode_text": encode_text})
    model = kind()
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


def first_letter(tokens):
    return tokens[:, 1:2].float()


def second_letter(tokens):
    return tokens[:, 2:3].float()


helper = first_letter  # of a model, as in another cell of a notebook

EDITS = {
    "code": (
        edited(lambda self, tokens: tokens.float()),
        edited(lambda self, tokens: tokens.float().flip(1)),
    ),
    "function": tuple(
        edited(lambda self, tokens: self.activation(tokens / 1000), activation=function)
        for function in (torch.relu, torch.exp)
    ),
    "tensor": tuple(
        edited(lambda self, tokens: tokens + self.shift, shift=shift)
        for shift in (torch.zeros(3), torch.ones(3))
    ),
    "width": (edited(lambda self, tokens: tokens), edited(lambda self, t: t[:, :2])),
}


@pytest.mark.parametrize("models", EDITS.values(), ids=EDITS)
def test_a_model_that_was_edited_is_another(tmp_path, models):
    first, second = (texts_encoder(model).transform(TEXTS) for model in models)
    assert first.shape != second.shape or (first != second).any()
    for _ in range(2):
        for model, expected in zip(models, (first, second), strict=True):
            X = texts_encoder(model, cache_dir=tmp_path).transform(TEXTS)
            np.testing.assert_array_equal(X, expected)
    assert n_cached(tmp_path) == 10  # so that the second time nothing was encoded


def test_a_function_that_was_edited_makes_another_model(tmp_path, monkeypatch):
    model = edited(lambda self, tokens: helper(tokens))
    encoder = texts_encoder(model, cache_dir=tmp_path)
    assert encoder.transform(TEXTS).ravel().tolist() == [row[1] for row in ROWS]
    monkeypatch.setitem(globals(), "helper", second_letter)
    assert encoder.transform(TEXTS).ravel().tolist() == [row[2] for row in ROWS]


@pytest.mark.parametrize(
    ("precision", "rounding", "edit"),
    [("float32", 1e-3, 1e-2), ("float16", 2e-3, 2e-2), ("bfloat16", 1e-2, 1e-1)],
)
def test_rounding_of_another_device_makes_no_other_model(
    tmp_path, precision, rounding, edit
):
    for change, n_encoded in ((0, 5), (rounding, 0), (-rounding, 0), (edit, 5)):
        model = ToyModel()
        model.change = lambda change=change: change
        model.encode_text = lambda tokens, model=model: (
            ToyModel.encode_text(model, tokens) * (1 + model.change())
        )
        options = {"cache_dir": tmp_path, "precision": precision}
        texts_encoder(model, **options).transform(TEXTS)
        assert sum(encoded_after_probe(model, WITH_CACHE)) == n_encoded


def test_a_model_need_not_take_every_fixed_text(tmp_path):
    class Particular(ToyModel):
        def encode_text(self, tokens):
            if (tokens[:, 0] == 0).any():
                raise ValueError("no empty text, please")
            vectors = super().encode_text(tokens)
            return torch.where(tokens[:, :1] > 1000, torch.nan, vectors)

    for n_encoded in (2, 0):
        model = Particular()
        X = texts_encoder(model, cache_dir=tmp_path).transform(["a", "b"])
        np.testing.assert_array_equal(X, [ROWS[0], ROWS[4]])
        assert sum(model.batches) == len(PROBE_TEXTS) + n_encoded
    with pytest.raises(ValueError, match="no empty text"):
        texts_encoder(Particular(), cache_dir=tmp_path).transform(["a", ""])


def test_another_preprocessing_is_encoded_anew(tmp_path):
    arrays, expected = colours(3)
    image_encoder(cache_dir=tmp_path).transform(arrays)

    def darker(picture):
        return preprocess(picture) / 2

    encoder = image_encoder(cache_dir=tmp_path, preprocess=darker)
    np.testing.assert_allclose(encoder.transform(arrays), expected / 2, atol=1e-6)


def test_pictures_and_texts_may_share_a_cache(tmp_path):
    arrays, expected = colours(3)
    model = ToyModel()
    for _ in range(2):
        X = image_encoder(model, cache_dir=tmp_path).transform(arrays)
        np.testing.assert_allclose(X, expected, atol=1e-6)
        y = texts_encoder(model, cache_dir=tmp_path).transform(TEXTS)
        np.testing.assert_array_equal(y, ROWS)
    assert n_cached(tmp_path) == 8


def test_files_are_known_by_their_content(tmp_path):
    arrays, expected = colours(2)
    Image.fromarray(arrays[0]).save(tmp_path / "a.png")
    encoder = image_encoder(cache_dir=tmp_path / "cache")
    encoder.transform([tmp_path / "a.png"])
    Image.fromarray(arrays[1]).save(tmp_path / "a.png")
    X = encoder.transform([tmp_path / "a.png"])
    np.testing.assert_allclose(X, expected[1:], atol=1e-6)


def test_a_damaged_cache_is_named(tmp_path):
    (tmp_path / FILE_NAME).write_text("not a database, but long enough to look at")
    with pytest.raises(ValueError, match="no cache of embeddings"):
        texts_encoder(cache_dir=tmp_path).transform(TEXTS)


def test_it_need_not_be_fitted():
    encoder = texts_encoder()
    assert not get_tags(encoder).requires_fit
    assert encoder.fit(TEXTS) is encoder
    np.testing.assert_array_equal(encoder.fit_transform(TEXTS), ROWS)
    with pytest.raises(ValueError, match="single str"):
        encoder.fit("a text")
    with pytest.raises(InvalidParameterError, match="batch_size"):
        texts_encoder(batch_size=0).fit(TEXTS)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"precision": "int8"},
        {"on_error": "ignore"},
        {"cache_dir": 3},
        {"device": 0},
        {"verbose": "yes"},
        {"model": 3},
    ],
)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_parameters_are_checked_before_anything_is_loaded(encoder, options):
    with pytest.raises(InvalidParameterError, match=next(iter(options))):
        encoder(**options).transform(["a"])


@pytest.mark.parametrize(
    ("encoder", "method"),
    [(OpenCLIPImageEncoder, "encode_image"), (OpenCLIPTextEncoder, "encode_text")],
)
def test_a_module_must_have_the_method(encoder, method):
    with pytest.raises(ValueError, match=f"Linear without a method {method}"):
        encoder(torch.nn.Linear(1, 1)).transform(["a"])


def test_a_module_takes_no_pretrained_weights():
    with pytest.raises(ValueError, match="pretrained='openai' goes with the name"):
        texts_encoder(pretrained="openai").transform(["a"])


def test_a_module_needs_what_makes_its_input():
    with pytest.raises(ValueError, match="set preprocess"):
        OpenCLIPImageEncoder(ToyModel()).transform(["a"])
    with pytest.raises(ValueError, match="set tokenizer"):
        OpenCLIPTextEncoder(ToyModel()).transform(["a"])


def test_clones_share_the_module_that_was_given():
    encoder = texts_encoder().set_output(transform="pandas")
    twin = clone(encoder)
    assert twin is not encoder
    assert twin.model is encoder.model
    assert isinstance(twin.transform(TEXTS), pd.DataFrame)
    twin.set_output(transform="default")
    assert isinstance(encoder.transform(TEXTS), pd.DataFrame)
    assert clone(make_pipeline(encoder))[0].model is encoder.model


def test_a_network_is_shown_by_its_name():
    network = ToyModel()
    network.layers = torch.nn.Sequential(*[torch.nn.Linear(2, 2) for _ in range(50)])
    encoder = texts_encoder(network, tokenizer=None, batch_size=3)
    shown = "OpenCLIPTextEncoder(batch_size=3, device='cpu', model=ToyModel(...))"
    assert repr(encoder) == shown
    assert "model=ToyModel(...))" in repr(make_pipeline(encoder, TopKSAE(3)))
    assert "Linear" not in encoder._repr_html_()
    assert encoder.get_params()["model"] is network


def test_long_representations_are_broken_as_in_scikit_learn():
    options = {"cache_dir": "folder", "on_error": "skip", "verbose": True}
    encoder = OpenCLIPTextEncoder("ViT-B-32", "openai", **options)
    expected = [
        "OpenCLIPTextEncoder(cache_dir='folder', model='ViT-B-32', on_error='skip',",
        "pretrained='openai', verbose=True)",
    ]
    assert [line.strip() for line in repr(encoder).split("\n")] == expected
    assert max(map(len, repr(make_pipeline(encoder, TopKSAE(3))).split("\n"))) < 80


def test_an_encoder_of_ones_own_is_printed():
    class Mine(OpenCLIPTextEncoder):
        def __init__(self, model="mine", extra=1):
            super().__init__(model)
            self.extra = extra

    assert repr(Mine(extra=2)) == "Mine(extra=2)"


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.__name__)
def test_nothing_is_loaded_to_display_it(encoder, monkeypatch):
    loads = []
    monkeypatch.setattr(encoder, "_load", loads.append)
    assert encoder.__name__ in encoder()._repr_html_()
    assert "get_feature_names_out" in dir(encoder())
    assert loads == []


def test_names_of_features_are_displayed_once_it_is_loaded():
    encoder = texts_encoder()
    assert "opencliptextencoder2" not in encoder._repr_html_()
    encoder.transform(TEXTS)
    assert "opencliptextencoder2" in encoder._repr_html_()


def test_names_of_features():
    names = texts_encoder().get_feature_names_out()
    assert names.tolist() == [f"opencliptextencoder{i}" for i in range(3)]


def test_set_output_keeps_the_index():
    series = pd.Series(TEXTS, index=list("vwxyz"))
    encoder = texts_encoder().set_output(transform="pandas")
    for X in (series, series.to_frame()):
        frame = encoder.transform(X)
        assert frame.index.tolist() == list("vwxyz")
        assert frame.columns.tolist() == encoder.get_feature_names_out().tolist()
        np.testing.assert_array_equal(frame, ROWS)


@pytest.mark.parametrize("columns", ["caption", ["caption"]])
def test_column_transformer(columns):
    arrays, expected = colours(5)
    pictures = pd.Series(list(arrays), dtype=object)
    table = pd.DataFrame({"caption": TEXTS, "picture": pictures})
    both = ColumnTransformer(
        [("y", texts_encoder(), columns), ("x", image_encoder(), "picture")]
    )
    Z = both.fit(table).transform(table)
    np.testing.assert_allclose(Z, np.hstack([ROWS, expected]), atol=1e-6)
    assert both.get_feature_names_out()[0] == "y__opencliptextencoder0"


def test_feature_union_and_pipeline():
    union = FeatureUnion([("a", texts_encoder()), ("b", texts_encoder())])
    np.testing.assert_array_equal(union.fit_transform(TEXTS), np.hstack([ROWS, ROWS]))
    texts = ["ab" * i + "b" * j for i in range(8) for j in range(8)]
    sae = TopKSAE(n_latents=4, k=2, max_iter=2, batch_size=32, random_state=0)
    pipeline = make_pipeline(texts_encoder(), sae).fit(texts)
    assert pipeline.transform(texts).shape == (64, 4)
    assert pipeline[0].transform(texts).shape == (64, 3)


def test_a_progress_bar_is_shown(capsys):
    pytest.importorskip("tqdm")
    texts_encoder(verbose=True, batch_size=2).transform(TEXTS)
    assert "5/5" in capsys.readouterr().err
    texts_encoder().transform(TEXTS)
    assert capsys.readouterr() == ("", "")


def test_without_tqdm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    with pytest.raises(ImportError, match=r"skxsae\[clip\]"):
        texts_encoder(verbose=True).transform(TEXTS)


def test_pickles_with_a_module_hold_it():
    encoder = texts_encoder()
    expected = encoder.transform(TEXTS)
    twin = pickle.loads(pickle.dumps(encoder))
    assert hasattr(encoder, "_loaded")
    assert not hasattr(twin, "_loaded")
    np.testing.assert_array_equal(twin.transform(TEXTS), expected)


CHECKS = [
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_mixin_order,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_set_params,
    estimator_checks.check_valid_tag_types,
]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.__name__)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_estimator_check(encoder, check):
    check(encoder.__name__, encoder())


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.__name__)
def test_scikit_learn_has_no_more_checks_for_entries_like_these(encoder):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        generated = estimator_checks.estimator_checks_generator(encoder())
        names = [check.func.__name__ for _, check in generated]
    assert names == ["check_estimator_cloneable"]
