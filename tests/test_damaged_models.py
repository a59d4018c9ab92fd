"""Files of models that were cut off, damaged, or edited and signed anew."""

import contextlib
import copy
import json
import struct

import numpy as np
import pytest
from fitted_estimators import FITTED, assert_same, outputs
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import skxsae
from skxsae import TopKSAE
from skxsae._saving._files import signed


def write_signed(path, document, arrays):
    """Write a model file whose checksum is right, whatever is in it."""
    text = document if isinstance(document, str) else json.dumps(document)
    save_file(arrays, path, metadata={"skxsae": signed(text, arrays)})


def parts_of(path):
    with safe_open(path, "numpy") as file:
        document = json.loads(file.metadata()["skxsae"])
    del document["checksum"]
    return document, load_file(path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of some models by name."""
    folder = tmp_path_factory.mktemp("saved")
    paths = {}
    for name in (
        "TopKSAE batch_topk",
        "TopKSAE of a table",
        "PairedSAE shared",
        "PostHocAlignedSAE soft",
        "PostHocAlignedSAE of frozen",
        "CoactivationMatcher",
        "ModalityFilter",
        "ModalityGapRemover, a random shift",
        "ConceptIndex",
        "Coactivation",
    ):
        paths[name] = folder / f"{name}.safetensors"
        skxsae.save(FITTED[name](), paths[name])
    return paths


def fitted_of(document):
    return document["estimator"]["fitted"]


def with_nan(document, arrays):
    arrays["encoder_"][0, 0] = np.nan


def with_infinite_scale(document, arrays):
    arrays["scale_"][...] = np.inf


def with_a_narrow_mean(document, arrays):
    arrays["mean_"] = arrays["mean_"][:-1].copy()


def with_other_types(document, arrays):
    arrays["components_"] = arrays["components_"].astype(np.int64)


def with_a_bool_of_two(document, arrays):
    arrays["dead_latents_"].view(np.uint8)[0] = 2


def with_more_active_latents_than_there_are(document, arrays):
    fitted_of(document)["k_"] = 9


def with_a_scale_of_nothing(document, arrays):
    arrays["scale_"][...] = 0


def without_an_array(document, arrays):
    del arrays["mean_"]


def with_one_array_more(document, arrays):
    arrays["../../etc/passwd"] = np.zeros(3)


def with_an_array_twice(document, arrays):
    fitted_of(document)["encoder_"] = fitted_of(document)["components_"]


def with_a_path_for_a_name(document, arrays):
    fitted_of(document)["mean_"]["name"] = "../../etc/passwd"


def with_an_unknown_attribute(document, arrays):
    fitted_of(document)["transform"] = 1


def with_an_unknown_parameter(document, arrays):
    document["estimator"]["params"]["colour"] = "red"


def with_a_wrong_parameter(document, arrays):
    document["estimator"]["params"]["precision"] = "float128"


def with_a_wrong_threshold(document, arrays):
    fitted_of(document)["threshold_"] = {"type": "float", "value": "nan"}


def without_a_threshold(document, arrays):
    del fitted_of(document)["threshold_"]


def with_an_unknown_class(document, arrays):
    document["estimator"]["type"] = "os.system"


def with_a_class_that_is_no_name(document, arrays):
    document["estimator"]["type"] = ["TopKSAE"]


def with_no_estimator(document, arrays):
    document["estimator"] = {"type": "tuple", "items": []}


def with_too_many_latents(document, arrays):
    fitted_of(document)["n_latents_"] = 10**15


def with_a_string_for_a_size(document, arrays):
    fitted_of(document)["k_"] = "2"


def with_too_many_names(document, arrays):
    fitted_of(document)["feature_names_in_"] = {"type": "strings", "values": ["a", "b"]}


def with_names_of_numbers(document, arrays):
    names = {"type": "strings", "values": [1, 2, 3, 4, 5, 6]}
    fitted_of(document)["feature_names_in_"] = names


def with_a_stream(document, arrays):
    arrays["_stream.pending.0"] = np.zeros((3, 6))
    pending = [{"type": "array", "name": "_stream.pending.0"}]
    fitted_of(document)["_stream"] = {"type": "Stream", "pending": pending}


def with_nothing_but_a_width(document, arrays):
    document["estimator"]["fitted"] = {"n_features_in_": 6}
    arrays.clear()


def without_a_width(document, arrays):
    del fitted_of(document)["n_features_in_"]


def with_a_future_format(document, arrays):
    document.update(format=2, skxsae="9.9.0", estimator={"type": "graph"})


def without_a_format(document, arrays):
    del document["format"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_nan, "encoder_ has a NaN"),
        (with_infinite_scale, "scale_ has a NaN or an infinity"),
        (with_a_narrow_mean, r"mean_ has the shape \(5,\), not \(6,\)"),
        (with_other_types, "components_ has the type int64"),
        (with_a_bool_of_two, "other bools than 0 and 1"),
        (with_more_active_latents_than_there_are, "k_=9 of 8 latents"),
        (with_a_scale_of_nothing, "scale_ that is not positive"),
        (without_an_array, "'mean_' is not there"),
        (with_one_array_more, "does not say what the array ../../etc/passwd is"),
        (with_an_array_twice, "'components_' is not there, or is needed twice"),
        (with_a_path_for_a_name, "'../../etc/passwd' is not there"),
        (with_an_unknown_attribute, "TopKSAE has no 'transform' here"),
        (with_an_unknown_parameter, "TopKSAE has no 'colour' here"),
        (with_a_wrong_parameter, "'precision' parameter"),
        (with_a_wrong_threshold, "threshold_ is nan"),
        (without_a_threshold, "lacks threshold_"),
        (with_an_unknown_class, "'os.system', which is not known"),
        (with_a_class_that_is_no_name, "'TopKSAE'], which is not known"),
        (with_no_estimator, "no estimator"),
        (with_too_many_latents, "is 8, but|has the shape"),
        (with_a_string_for_a_size, "k_ is '2', not an int"),
        (with_too_many_names, "feature_names_in_ has 2 entries, not 6"),
        (with_names_of_numbers, "no string"),
        (with_a_stream, "TopKSAE has no '_stream' here"),
        (with_nothing_but_a_width, "TopKSAE lacks"),
        (without_a_width, "TopKSAE lacks n_features_in_"),
        (with_a_future_format, "skxsae '9.9.0' in format 2.*upgrade"),
        (without_a_format, "has the format None"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_what_does_not_fit_is_refused(saved, change, message, tmp_path):
    document, arrays = parts_of(saved["TopKSAE batch_topk"])
    change(document, arrays)
    write_signed(tmp_path / "model.safetensors", document, arrays)
    with pytest.raises(ValueError, match=message) as caught:
        skxsae.load(tmp_path)
    assert str(tmp_path) in str(caught.value)


def changed(saved, name, change, tmp_path):
    """Try to load a model with a change to its JSON and its arrays."""
    document, arrays = parts_of(saved[name])
    change(document["estimator"], arrays)
    write_signed(tmp_path / "model.safetensors", document, arrays)
    return skxsae.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "value", "message"),
    [
        ("ConceptIndex", "_items.indices", 99, "ind"),
        ("ConceptIndex", "_items.indices", -1, "ind"),
        ("ConceptIndex", "_items.indptr", 10**6, "ind"),
        ("ConceptIndex", "_items.data", np.nan, "_items has a NaN"),
        ("Coactivation", "cross.indices", 99, "ind"),
        ("Coactivation", "x.total", np.inf, "total has a NaN"),
        ("CoactivationMatcher", "matching_", 99, "each of 5 latents once"),
        ("CoactivationMatcher", "matching_", -2, "each of 5 latents once"),
        ("PostHocAlignedSAE soft", "matches_.columns.0", 99, "another x_latent"),
        ("ModalityGapRemover, a random shift", "x_offset_", np.nan, "has a NaN"),
    ],
)
def test_numbers_that_lead_outside_are_refused(
    saved, name, array, value, message, tmp_path
):
    def change(node, arrays):
        arrays[array].flat[-1] = value

    with pytest.raises(ValueError, match=message):
        changed(saved, name, change, tmp_path)


@pytest.mark.parametrize(
    ("entry", "value"), [("position", 625), ("position", -1), ("has_gauss", 2)]
)
def test_a_generator_that_reads_outside_its_state_is_refused(
    saved, entry, value, tmp_path
):
    def change(node, arrays):
        node["params"]["random_state"][entry] = value

    with pytest.raises(ValueError, match=r"RandomState|not an int of at least"):
        changed(saved, "ModalityGapRemover, a random shift", change, tmp_path)


def test_views_of_different_models_are_refused(saved, tmp_path):
    def change(node, arrays):
        node["fitted"]["matcher_"]["params"]["assignment"] = "hungarian"

    with pytest.raises(ValueError, match="translations"):
        changed(saved, "PostHocAlignedSAE soft", change, tmp_path)

    def change_latents(node, arrays):
        sae = node["fitted"]["y_sae_"]["fitted"]
        sae["n_latents_"] = 5
        for key in (
            "components_",
            "encoder_",
            "encoder_bias_",
            "firing_rate_",
            "dead_latents_",
        ):
            arrays[f"y_sae_.{key}"] = arrays[f"y_sae_.{key}"][:5].copy()

    with pytest.raises(ValueError, match="8 and 5 latents"):
        changed(saved, "PairedSAE shared", change_latents, tmp_path)


def without_the_last_latent(node, arrays):
    for name in ("fires", "total", "square"):
        arrays[f"x.{name}"] = arrays[f"x.{name}"][:-1].copy()


def with_pairs_of_other_samples(node, arrays):
    node["x"]["n_samples"] = 59


def with_another_width_of_y(node, arrays):
    node["fitted"]["_n_features_of_y"] = 9


def with_an_item_more(node, arrays):
    node["fitted"]["n_items_"] = 61


def without_margins(node, arrays):
    names = node["fitted"]["matches_"]["names"]
    names[names.index("margin")] = "lead"


def without_a_translation(node, arrays):
    del node["fitted"]["x_sae_"]["fitted"]["translation_"]
    del arrays["x_sae_.translation_.source"], arrays["x_sae_.translation_.target"]


def with_another_number_of_columns(node, arrays):
    node["fitted"]["n_aligned_"] += 1


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("Coactivation", without_the_last_latent, "cross"),
        ("Coactivation", with_pairs_of_other_samples, "numbers of samples"),
        ("PairedSAE shared", with_another_width_of_y, "_n_features_of_y=9"),
        ("ConceptIndex", with_an_item_more, "n_items_=61"),
        ("PostHocAlignedSAE soft", without_margins, "lacks margin"),
        ("PostHocAlignedSAE soft", without_a_translation, "do not agree|agree with"),
        ("PostHocAlignedSAE soft", with_another_number_of_columns, "n_aligned_="),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_parts_that_do_not_agree_are_refused(saved, name, change, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        changed(saved, name, change, tmp_path)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("PairedSAE shared", "x_sae_"),
        ("PairedSAE shared", "y_sae_"),
        ("PostHocAlignedSAE soft", "x_sae_"),
        ("PostHocAlignedSAE soft", "y_sae_"),
        ("PostHocAlignedSAE soft", "matcher_"),
    ],
)
def test_a_part_that_is_not_fitted_is_refused(saved, name, part, tmp_path):
    def change(node, arrays):
        node["fitted"][part]["fitted"] = {}

    with pytest.raises(ValueError, match=f"{part} is not fitted"):
        changed(saved, name, change, tmp_path)


def test_nested_json_is_refused(saved, tmp_path):
    _, arrays = parts_of(saved["TopKSAE batch_topk"])
    deep = "[" * 100_000 + "]" * 100_000
    for estimator in (deep, "[" * 900 + "]" * 900, "[" * 10**5, "NaN", "1e999"):
        document = f'{{"format": 1, "estimator": {estimator}}}'
        write_signed(tmp_path / "model.safetensors", document, arrays)
        with pytest.raises(ValueError, match=r"model\.safetensors has|cannot be"):
            skxsae.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "1", '"text"', "{", "NaN", '{"format": true}'])
def test_a_document_of_another_kind_is_refused(text, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({}, path, metadata={"skxsae": text})
    with pytest.raises(ValueError, match=r"model\.safetensors has"):
        skxsae.load(tmp_path)


def crafted(header, data=b""):
    """A safetensors file with a header that no library would write."""
    header = json.dumps(header).encode() if isinstance(header, dict) else header
    return struct.pack("<Q", len(header)) + header + data


def tensor(dtype, shape, length):
    document = json.dumps({"format": 1, "estimator": None})
    return {
        "__metadata__": {"skxsae": document},
        "a": {"dtype": dtype, "shape": shape, "data_offsets": [0, length]},
    }


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no",
        b"\xff" * 100,
        b"\x80\x04\x95" + b"." * 50,
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", 10**6) + b"{}",
        crafted({}),
        crafted(b"{" * 10**5),
        crafted({"__metadata__": {"format": "pt"}}),
        crafted(tensor("F32", [2], 4), b"1234"),
        crafted(tensor("F32", [2**40], 2**42), b"1234"),
        crafted(tensor("F32", [0, 2**62], 0)),
        crafted(tensor("F32", [0] * 100, 0)),
        crafted(tensor("F32", [2**63, 4], 0)),
        crafted(tensor("BF16", [2], 4), b"1234"),
        crafted(tensor("F8_E4M3", [4], 4), b"1234"),
        crafted(tensor("C64", [1], 8), b"12345678"),
        crafted(tensor("BOOL", [4], 4), b"\x02\x01\x00\x01"),
        crafted(tensor("U8", [4], 4), b"1234"),
    ],
    ids=range(19),
)
def test_a_file_that_is_no_model_is_refused(content, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        skxsae.load(tmp_path)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_damaged_files_are_refused(saved, tmp_path_factory, data):
    path = saved[data.draw(st.sampled_from(sorted(saved)))]
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        bit = data.draw(st.integers(0, 8 * len(content) - 1))
        content[bit // 8] ^= 1 << bit % 8
    damaged = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        skxsae.load(damaged)


def nodes_of(node, path=()):
    """Paths of all that JSON holds."""
    yield path
    parts = {}
    if isinstance(node, dict):
        parts = node
    elif isinstance(node, list):
        parts = dict(enumerate(node))
    for key, part in parts.items():
        yield from nodes_of(part, (*path, key))


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 3, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308]),
    st.sampled_from(["", "topk", "soft", "TopKSAE", "__class__", "../x", "\0"]),
    st.sampled_from([[], {}, [[]], [1.5], {"type": "float", "value": "nan"}]),
    st.sampled_from([{"type": "tuple", "items": [1, 2]}, {"type": "array"}]),
)


def edit_node(document, data):
    """Replace something in some JSON, or take it out."""
    paths = [path for path in nodes_of(document["estimator"]) if path]
    *parents, key = data.draw(st.sampled_from(paths))
    owner = document["estimator"]
    for parent in parents:
        owner = owner[parent]
    if data.draw(st.booleans()):
        owner[key] = copy.deepcopy(data.draw(ODD))
    else:
        del owner[key]


ARRAY_EDITS = [
    lambda array: array[:-1] if array.ndim else array[None],
    lambda array: array[..., None],
    lambda array: array.ravel()[:0],
    lambda array: np.concatenate([array, array]) if array.ndim else array,
    lambda array: np.zeros(array.shape, np.float16),
    lambda array: array.astype(np.float64),
    lambda array: array.astype(np.float32),
    lambda array: array.astype(bool),
    lambda array: np.full_like(array, 99),
    lambda array: (-1 - array.astype(bool).astype(int)).astype(array.dtype),
    lambda array: np.full(array.shape, np.nan, np.float32),
    lambda array: np.full(array.shape, np.iinfo(np.int64).max),
    lambda array: np.full(array.shape, 1e300),
]


@settings(max_examples=200, deadline=None)
@given(data=st.data())
@pytest.mark.filterwarnings("ignore")
def test_an_edited_model_is_refused_or_is_one(saved, tmp_path_factory, data):
    document, arrays = parts_of(saved[data.draw(st.sampled_from(sorted(saved)))])
    for _ in range(data.draw(st.integers(1, 2))):
        if data.draw(st.booleans()):
            edit_node(document, data)
        else:
            name = data.draw(st.sampled_from(sorted(arrays)))
            edit = data.draw(st.sampled_from(ARRAY_EDITS))
            arrays[name] = np.ascontiguousarray(edit(arrays[name]))
    path = tmp_path_factory.mktemp("edited") / "model.safetensors"
    write_signed(path, document, arrays)
    try:
        estimator = skxsae.load(path)
    except ValueError:
        return
    # what passes is a model like others, and makes a file of its own
    skxsae.save(estimator, path)
    assert_same(skxsae.load(path), estimator)
    with contextlib.suppress(ValueError):
        outputs(estimator)


def test_a_path_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing"):
        skxsae.load(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors"):
        skxsae.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        skxsae.save(TopKSAE(), tmp_path / "nowhere" / "sae.safetensors")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        skxsae.save(TopKSAE(), tmp_path / "nowhere" / "sae")


def test_weights_of_others_are_told_apart(tmp_path):
    save_file({"W_enc": np.zeros((2, 2))}, tmp_path / "sae.safetensors")
    with pytest.raises(ValueError, match=r"not one that skxsae\.save wrote"):
        skxsae.load(tmp_path / "sae.safetensors")


def test_a_parameter_that_is_newer_than_a_file_has_its_default(saved, tmp_path):
    def change(node, arrays):
        del node["params"]["precision"]

    loaded = changed(saved, "TopKSAE batch_topk", change, tmp_path)
    assert loaded.precision == TopKSAE().precision
