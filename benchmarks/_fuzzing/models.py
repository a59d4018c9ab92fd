"""Files of models and of fits, valid and hostile."""

import copy
import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

import skxsae
from _fuzzing.loader import Canary, Loader
from skxsae import (
    Checkpoint,
    CoactivationMatcher,
    PairedSAE,
    PostHocAlignedSAE,
    TopKSAE,
)
from skxsae._checkpoint import _SUFFIX, _checksum
from skxsae._saving._files import ARRAYS, read_model, signed
from skxsae._training import DivergedError
from skxsae.baselines import SparseBaseline
from skxsae.interop import load_sae
from skxsae.interventions import ModalityGapRemover
from skxsae.search import ConceptIndex

_RNG = np.random.default_rng(0)
_X = _RNG.standard_normal((60, 6)).astype(np.float32)
_Y = _X[:, ::-1] + np.float32(0.1)
_SIZES = {"n_latents": 8, "k": 2, "max_iter": 2, "random_state": 0, "device": "cpu"}


@functools.cache
def _models():
    """What is on the disk of each kind of model."""
    matchers = [
        CoactivationMatcher(min_fires=1, n_null=1, assignment=assignment)
        for assignment in ("hungarian", "soft")
    ]
    models = [
        *(
            TopKSAE(activation=activation, **_SIZES).fit(_X)
            for activation in ("topk", "batch_topk", "jumprelu", "matching_pursuit")
        ),
        *(
            PairedSAE(coupling=coupling, **_SIZES).fit(_X, _Y)
            for coupling in ("shared", "crosscoder")
        ),
        *(PostHocAlignedSAE(matcher=each, **_SIZES).fit(_X, _Y) for each in matchers),
        matchers[0].fit(abs(_X), abs(_Y)),
        SparseBaseline(n_latents=4, k=2).fit(_X),
        ModalityGapRemover("shift").fit(_X, _Y),
        ConceptIndex().fit(abs(_X)),
        TopKSAE(n_latents=8, k=2),
    ]
    return [_saved(model) for model in models]


def _saved(model):
    """What a model is on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        skxsae.save(model, f"{folder}/model.safetensors")
        return Path(folder, "model.safetensors").read_bytes()


def _write_model(folder, rng):
    models = _models()
    (folder / "input").mkdir()
    (folder / "input" / ARRAYS).write_bytes(models[rng.integers(len(models))])


def _write_hostile_model(folder, rng, canary):
    """A file with a right checksum whose content is not what `save` writes."""
    _write_model(folder, rng)
    path = folder / "input" / ARRAYS
    document, arrays = read_model(path)
    document.pop("checksum")
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.5 or not arrays:
            _change_json(document, rng)
        else:
            _change_array(arrays, rng)
    text = signed(json.dumps(document), arrays)
    if rng.random() < 0.05:
        text = text[:-1] + ', "a": ' + "[" * 100_000
    save_file(arrays, path, {"skxsae": text})


_VALUES = [
    None, True, False, -1, 0, 1, 2, 2**31, 2**63, 10**400, 0.5, -1e308, "", "cuda",
    "mp",
    "topk", "auto", "nan", "../../escaped", "\x00", "\ud800", [], [[]], {}, {"type": 7},
    {"type": "float", "value": "nan"}, {"type": "float", "value": "inf"},
    {"type": "TopKSAE", "params": {}, "fitted": {}}, {"type": "os.system"},
    {"type": "array", "name": "nothing"}, {"type": "tuple", "items": []},
    {"type": "strings", "values": ["a"]}, [1, "a", None],
    {"type": "numpy string"},
]  # fmt: skip


def _change_json(document, rng):
    """One node is another value, another node, or gone."""
    places = list(_places(document))
    parent, key = places[rng.integers(len(places))]
    kind = rng.integers(4)
    if kind == 0:
        other, other_key = places[rng.integers(len(places))]
        parent[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 1 and isinstance(parent, dict):
        value = parent.pop(key)
        if rng.random() < 0.5:
            parent[str(rng.choice(["a", "__class__", "fit", "components_"]))] = value
    else:
        parent[key] = _draw_value(rng)


def _draw_value(rng):
    """A value that a document may hold in the wrong place."""
    return copy.deepcopy(_VALUES[rng.integers(len(_VALUES))])


def _places(node):
    """Containers and keys of all values of a document."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], dict | list):
            yield from _places(node[key])


def _change_array(arrays, rng):
    """One array has another value, shape, type or name."""
    names = sorted(arrays)
    name = names[rng.integers(len(names))]
    array = np.array(arrays[name])
    kind = rng.integers(7)
    if kind == 0 and array.size:
        value = rng.choice([np.nan, np.inf, -1, 0, 1, 1e38, 1e5, 2**31 - 1])
        with np.errstate(all="ignore"):
            array.reshape(-1)[rng.integers(array.size)] = np.float64(value).astype(
                array.dtype
            )
    elif kind == 1:
        array = array.reshape(-1)
    elif kind == 2 and array.ndim:
        array = array[: rng.integers(len(array) + 1)]
    elif kind == 3:
        array = array.T
    elif kind == 4:
        with np.errstate(all="ignore"):
            array = array.astype(rng.choice(["f2", "f4", "f8", "i4", "i8", "u1", "?"]))
    elif kind == 5:
        arrays[str(rng.choice(["a", "../../escaped", ""]))] = array
        return
    else:
        other = arrays[names[rng.integers(len(names))]]
        arrays[name], array = other, np.array(other)
    arrays[name] = np.ascontiguousarray(array)


def _read_model(folder, rng):
    return skxsae.load(folder / "input", device="cpu")


def check_model(model):
    """A model that either works or says why it does not."""
    assert isinstance(model, (*_CLASSES, skxsae._coactivation.Coactivation))
    if not hasattr(model, "transform") or not hasattr(model, "n_features_in_"):
        return
    X = np.ones((2, model.n_features_in_), dtype=np.float32)
    views = [X]
    if getattr(model, "coupling_", None) == "crosscoder":
        views.append(np.ones((2, model.y_sae_.n_features_in_), dtype=np.float32))
    codes = model.transform(*views)
    for each in codes if isinstance(codes, tuple) else [codes]:
        values = each.toarray() if hasattr(each, "toarray") else np.asarray(each)
        assert np.isfinite(values).all()
    if hasattr(model, "components_"):
        assert np.isfinite(model.inverse_transform(codes)).all()


_CLASSES = (
    TopKSAE,
    PairedSAE,
    PostHocAlignedSAE,
    CoactivationMatcher,
    ModalityGapRemover,
    ConceptIndex,
)


# weights of other libraries


def _draw_published(rng):
    """Names, arrays and options of one of the layouts."""
    m, d = int(rng.integers(2, 9)), int(rng.integers(2, 6))
    encoder, decoder = rng.standard_normal((2, m, d)).astype(np.float32)
    bias, mean = np.zeros(m, np.float32), np.zeros(d, np.float32)
    kind = rng.integers(3)
    if kind == 0:
        names = {"W_enc": encoder.T, "b_enc": bias, "W_dec": decoder, "b_dec": mean}
        architecture = str(rng.choice(["standard", "jumprelu"]))
        if architecture == "jumprelu":
            names["threshold"] = bias + np.float32(0.1)
        return "saelens", names, {"architecture": architecture}
    if kind == 1:
        names = {"encoder.weight": encoder, "encoder.bias": bias}
        names |= {"decoder.weight": decoder.T, "bias": mean}
        return "dictionary_learning", names, {"dict_class": "AutoEncoder"}
    names = {
        "encoder.final_block.0.weight": encoder,
        "encoder.final_block.0.bias": bias,
        "dictionary._weights": decoder,
    }
    return "overcomplete", names, {"class": "TopKSAE", "top_k": 1}


def _write_published(folder, rng):
    layout, arrays, config = _draw_published(rng)
    _write_weights(folder, layout, arrays, config, rng.random() < 0.5)


def _write_weights(folder, layout, arrays, config, as_torch):
    folder = folder / "input"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "layout.txt").write_text(layout)
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    if as_torch:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save(tensors, folder / "ae.pt")
    else:
        save_file(arrays, folder / "ae.safetensors")


def _write_hostile_published(folder, rng, canary):
    layout, arrays, config = _draw_published(rng)
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.5:
            _change_array(arrays, rng)
        else:
            name = rng.choice(["k", "top_k", "architecture", "dict_class", "trainer"])
            config[str(name)] = _draw_value(rng)
    as_torch = rng.random() < 0.5
    _write_weights(folder, layout, arrays, config, as_torch)
    if as_torch and rng.random() < 0.5:
        hostile = [
            Canary(canary),
            {"a": Canary(canary)},
            [1],
            "text",
            torch.nn.Linear(1, 1),
        ]
        chosen = hostile[rng.integers(len(hostile))]
        zipped = rng.random() < 0.7
        torch.save(
            chosen, folder / "input" / "ae.pt", _use_new_zipfile_serialization=zipped
        )


def _read_published(folder, rng):
    layout = folder / "input" / "layout.txt"
    names = ("saelens", "dictionary_learning", "overcomplete")
    layout = layout.read_bytes().decode(errors="replace") if layout.is_file() else ""
    return load_sae(folder / "input", layout if layout in names else names[0])


# states of fits


class _Kept(Checkpoint):
    """A checkpoint that leaves its files when the fit is done."""

    def on_fit_task_end(self, estimator, context):
        pass


@functools.cache
def _states():
    """Names and bytes of the files of a fit, and its directions."""
    with tempfile.TemporaryDirectory() as folder:
        sae = _fit_with(_Kept(folder, interval=0))
        paths = sorted(Path(folder).iterdir())
        return {path.name: path.read_bytes() for path in paths}, sae.components_


def _fit_with(checkpoint):
    sae = TopKSAE(batch_size=20, **{**_SIZES, "max_iter": 4})
    return sae.set_callbacks(checkpoint).fit(_X)


def _write_states(folder, rng):
    (folder / "input").mkdir()
    for name, content in _states()[0].items():
        (folder / "input" / name).write_bytes(content)


def _write_edited_states(folder, rng):
    _write_states(folder, rng)
    paths = sorted((folder / "input").glob(f"*{_SUFFIX}"))
    path = paths[rng.integers(len(paths))]
    arrays = load_file(path)
    header = json.loads(_metadata(path)["skxsae"])
    for _ in range(rng.integers(1, 3)):
        if rng.random() < 0.5:
            _change_array(arrays, rng)
        else:
            _change_json(header, rng)
    if rng.random() < 0.9:
        header.pop("checksum", None)
        header["checksum"] = _checksum(header, arrays)
    save_file(arrays, path, {"skxsae": json.dumps(header)})


def _metadata(path):
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        return file.metadata()


def _read_states(folder, rng):
    return _fit_with(Checkpoint(folder / "input"))


def check_same_fit(sae):
    """The model that a fit without a break ends with."""
    np.testing.assert_array_equal(sae.components_, _states()[1])


_STATE_WARNINGS = (
    "The newest state of a fit",
    "could not be written",
    "could not be removed",
)
LOADERS = {
    "saved models": Loader(
        _write_model,
        _read_model,
        check_model,
        _write_hostile_model,
        (ValueError, OSError),
        "input",
    ),
    "published weights": Loader(
        _write_published,
        _read_published,
        check_model,
        _write_hostile_published,
        (ValueError, OSError),
    ),
    "states of fits": Loader(
        _write_states,
        _read_states,
        check_same_fit,
        allowed=(ValueError, OSError),
        says="input",
        warns=_STATE_WARNINGS,
    ),
    "edited states of fits": Loader(
        _write_edited_states,
        _read_states,
        allowed=(ValueError, OSError, DivergedError),
        warns=_STATE_WARNINGS,
    ),
}
