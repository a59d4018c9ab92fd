import contextlib
import copy
import json
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import saved_estimators
import sklearn
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

import skxsae
from skxsae import (
    Coactivation,
    CoactivationMatcher,
    PairedSAE,
    PostHocAlignedSAE,
    StopOnInterrupt,
    TopKSAE,
)
from skxsae._from_arrays import topk_sae_from_arrays
from skxsae._saving._files import FORMAT, signed
from skxsae._saving._values import DTYPES, decode, encode
from skxsae.baselines import SparseBaseline
from skxsae.interventions import ModalityFilter, ModalityGapRemover
from skxsae.search import ConceptIndex

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 6))
Y = X @ RNG.normal(size=(6, 6)) + 0.1 * RNG.normal(size=(60, 6))
NAMES = [f"feature {i}" for i in range(6)]
FAST = {"max_iter": 2, "batch_size": 16, "random_state": 0}


def assert_same(a, b, where=""):
    """Bit for bit the same, all the way down, but for callbacks."""
    assert type(a) is type(b), where
    if isinstance(a, np.ndarray):
        assert (a.dtype, a.shape) == (b.dtype, b.shape), where
        assert a.flags.c_contiguous == b.flags.c_contiguous, where
        assert b.flags.writeable, where
        if a.dtype == object:
            assert a.tolist() == b.tolist(), where
        else:
            assert a.tobytes() == b.tobytes(), where
    elif isinstance(a, (float, np.floating)):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), where
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), where
        for i, (one, other) in enumerate(zip(a, b, strict=True)):
            assert_same(one, other, f"{where}[{i}]")
    elif isinstance(a, dict):
        assert list(a) == list(b), where
        for name in a:
            assert_same(a[name], b[name], f"{where}[{name!r}]")
    elif isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True, obj=where)
    elif isinstance(a, np.random.RandomState):
        assert_same(a.get_state(), b.get_state(), where)
    elif isinstance(a, sparse.csr_array):
        assert a.shape == b.shape, where
        for name in ("data", "indices", "indptr"):
            assert_same(getattr(a, name), getattr(b, name), f"{where}.{name}")
    elif hasattr(a, "__dict__"):
        names = {name for name in vars(a) if "callback" not in name}
        assert names == set(vars(b)), where
        for name in names:
            assert_same(vars(a)[name], vars(b)[name], f"{where}.{name}")
    else:
        assert a == b, where


def named(array):
    return pd.DataFrame(array, columns=NAMES)


def quiet(function, *args, **kwargs):
    """A fit on so little that scikit-learn and the matcher have something to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*args, **kwargs)


def codes(width=5, n_samples=60, seed=1):
    return sparse.random_array((n_samples, width), density=0.4, format="csr", rng=seed)


def post_hoc(**options):
    sae = TopKSAE(8, 2, **FAST)
    sae = PostHocAlignedSAE(x_sae=sae, y_sae=sae, random_state=0, **options)
    return quiet(sae.fit, X.astype(np.float32), Y.astype(np.float32))


def matcher(**options):
    matcher = CoactivationMatcher(min_fires=1, random_state=0, **options)
    return quiet(matcher.fit, codes(seed=1), codes(7, seed=2))


def frozen():
    saes = [TopKSAE(m, 2, **FAST).fit(view) for m, view in ((8, X), (12, Y))]
    sae = PostHocAlignedSAE(
        x_sae=FrozenEstimator(saes[0]), y_sae=FrozenEstimator(saes[1]), random_state=0
    )
    return quiet(sae.fit, X, Y)


def streamed(estimator, *views):
    return estimator.set_params(max_iter="auto").partial_fit(*views)


FITTED = {
    **{
        f"TopKSAE {activation}": lambda activation=activation: TopKSAE(
            8, 2, activation=activation, **FAST
        ).fit(X)
        for activation in ("topk", "batch_topk", "relu", "jumprelu", "matching_pursuit")
    },
    "TopKSAE of a table": lambda: TopKSAE(8, 2, normalize="standard", **FAST).fit(
        named(X)
    ),
    "TopKSAE in a stream": lambda: streamed(TopKSAE(8, 2, **FAST), X),
    "TopKSAE before a batch": lambda: streamed(TopKSAE(8, 2, **FAST), X[:5]),
    "TopKSAE unfitted": lambda: TopKSAE(k=np.int64(3), schedule=np.str_("constant")),
    "TopKSAE of arrays": lambda: topk_sae_from_arrays(
        components=np.eye(3, 4),
        encoder=np.eye(3, 4),
        encoder_bias=np.zeros(3),
        mean=np.ones(4),
        k=2,
    ),
    "TopKSAE, frozen": lambda: FrozenEstimator(TopKSAE(8, 2, **FAST).fit(X)),
    **{
        f"SparseBaseline {method}": lambda method=method: quiet(
            SparseBaseline(method, 8, 2, random_state=0).fit, X
        )
        for method in ("pca", "ica", "nmf", "kmeans", "dictionary")
    },
    **{
        f"PairedSAE {coupling}": lambda coupling=coupling: PairedSAE(
            8, 2, coupling=coupling, **FAST
        ).fit(X, Y)
        for coupling in ("shared", "cross_reconstruction", "global_topk", "crosscoder")
    },
    "PairedSAE of tables": lambda: PairedSAE(8, 2, **FAST).fit(named(X), named(Y)),
    "PairedSAE in a stream": lambda: streamed(PairedSAE(8, 2, **FAST), X, Y),
    "PairedSAE before a batch": lambda: streamed(PairedSAE(8, 2, **FAST), X[:5], Y[:5]),
    "PostHocAlignedSAE": post_hoc,
    "PostHocAlignedSAE soft": lambda: post_hoc(
        matcher=CoactivationMatcher(assignment="soft", min_fires=1)
    ),
    "PostHocAlignedSAE unmatched": lambda: post_hoc(
        matcher=CoactivationMatcher(min_fires=100)
    ),
    "PostHocAlignedSAE of frozen": frozen,
    "PostHocAlignedSAE unfitted": lambda: PostHocAlignedSAE(
        x_sae=TopKSAE(8), matcher=CoactivationMatcher(min_score=0.25)
    ),
    "CoactivationMatcher": matcher,
    "CoactivationMatcher soft": lambda: matcher(assignment="soft"),
    "CoactivationMatcher bootstrapped": lambda: matcher(
        n_bootstrap=3, min_score="noise_floor"
    ),
    "ModalityFilter": lambda: ModalityFilter().fit(codes(), codes(seed=2)),
    "ModalityGapRemover": lambda: ModalityGapRemover().fit(named(X), named(Y)),
    "ModalityGapRemover, a random shift": lambda: ModalityGapRemover(
        method="random_shift", random_state=np.random.RandomState(3)
    ).fit(X, Y),
    "ConceptIndex": lambda: ConceptIndex().fit(codes()),
    "Coactivation": lambda: Coactivation.from_codes(codes(), codes(7)),
}


@pytest.fixture(scope="module", params=FITTED)
def fitted(request):
    return FITTED[request.param]()


def outputs(estimator):
    """What an estimator makes of new samples."""
    if isinstance(estimator, (Coactivation, ConceptIndex)):
        return []
    new = np.random.default_rng(7).normal(size=(9, 6)).astype(np.float32)
    if isinstance(estimator, (CoactivationMatcher, ModalityFilter)):
        return [estimator.transform(codes(n_samples=9, seed=3))]
    if isinstance(estimator, PairedSAE | PostHocAlignedSAE | ModalityGapRemover):
        return list(estimator.transform(new, new[::-1]))
    if estimator.n_features_in_ == 4:
        new = new[:, :4]
    return [estimator.transform(new)]


def is_fitted(estimator):
    try:
        check_is_fitted(estimator)
    except (NotFittedError, TypeError):
        return False
    return True


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.parametrize("name", ["model.safetensors", "folder"])
def test_what_is_loaded_is_the_same_bit_for_bit(fitted, name, tmp_path):
    before = copy.deepcopy(fitted)
    skxsae.save(fitted, tmp_path / name)
    loaded = skxsae.load(tmp_path / name)
    assert_same(fitted, before)
    assert_same(fitted, loaded)
    if is_fitted(fitted):
        for one, other in zip(outputs(fitted), outputs(loaded), strict=True):
            one, other = (
                part if isinstance(part, np.ndarray) else sparse.csr_array(part)
                for part in (one, other)
            )
            assert_same(one, other)


@settings(max_examples=40, deadline=None)
@given(
    activation=st.sampled_from(["topk", "batch_topk", "relu", "jumprelu"]),
    normalize=st.sampled_from(["scale", "center", "center_l2", "l2", "standard", None]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    fit_intercept=st.booleans(),
    sparse_output=st.booleans(),
    precision=st.sampled_from(["float32", "screen"]),
    transform_algorithm=st.sampled_from(["auto", "encoder", "mp", "omp"]),
    n_latents=st.integers(2, 12),
    with_names=st.booleans(),
    seed=st.sampled_from([0, np.int32(1), np.random.RandomState(2)]),
)
def test_any_options_come_back(
    tmp_path_factory, dtype, n_latents, with_names, seed, **options
):
    view = X[:20].astype(dtype)
    sae = TopKSAE(n_latents, 2, max_iter=1, random_state=copy.deepcopy(seed), **options)
    sae.fit(named(view) if with_names else view)
    path = tmp_path_factory.mktemp("any") / "sae.safetensors"
    skxsae.save(sae, path)
    loaded = skxsae.load(path)
    assert_same(sae, loaded)
    new = named(view) if with_names else view
    with np.errstate(over="ignore"):
        one, other = sae.transform(new), loaded.transform(new)
    assert type(one) is type(other)
    assert abs(one - other).max() == 0


PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.floats(width=32).map(np.float32),
    st.integers(0, 255).map(np.uint8),
    st.booleans().map(np.bool_),
    st.text(st.characters(exclude_characters="\0"), max_size=5).map(np.str_),
    drawn_arrays(
        st.sampled_from(sorted(DTYPES, key=str)),
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
    ),
    drawn_arrays(np.float64, st.just((3, 2))).map(np.asfortranarray),
    st.lists(st.text(), max_size=3).map(lambda texts: np.array(texts, dtype=object)),
    st.integers(0, 2**32 - 1).map(np.random.RandomState),
)
VALUES = st.recursive(
    PLAIN,
    lambda parts: st.one_of(
        st.lists(parts, max_size=3),
        st.lists(parts, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3), parts, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(value=VALUES)
def test_any_value_comes_back(value):
    arrays = {}
    text = json.dumps(encode(value, "value", arrays), allow_nan=False)
    assert text.isascii()
    again = decode(json.loads(text), dict(arrays))
    if not (isinstance(value, np.ndarray) and value.dtype == object):
        assert_same(value, again)
    else:
        assert value.tolist() == again.tolist()


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("n_first", [5, 16, 37])
def test_a_stream_goes_on_where_it_was(paired, n_first, tmp_path):
    options = {"batch_size": 16, "random_state": 0}
    if paired:
        options |= {"alignment": "group_sparse", "mask_rate": 0.3}
    sae = (PairedSAE if paired else TopKSAE)(8, 2, **options)
    views = [X, Y] if paired else [X]
    sae.partial_fit(*(view[:n_first] for view in views))
    skxsae.save(sae, tmp_path / "stream.safetensors")
    loaded = skxsae.load(tmp_path / "stream.safetensors")
    for part in (sae, loaded):
        part.partial_fit(*(view[n_first:] for view in views))
    assert_same(sae, loaded)


def test_a_generator_goes_on_where_it_was(tmp_path):
    random_state = np.random.RandomState(0)
    random_state.standard_normal(3)
    sae = TopKSAE(random_state=random_state)
    skxsae.save(sae, tmp_path / "sae")
    loaded = skxsae.load(tmp_path / "sae").random_state
    draws = [part.standard_normal(700) for part in (random_state, loaded)]
    np.testing.assert_array_equal(*draws)


def test_the_same_model_makes_the_same_file(tmp_path):
    sae = post_hoc()
    for name in "ab":
        skxsae.save(sae, tmp_path / name)
    for name in ("model.safetensors", "model.json"):
        one, other = ((tmp_path / folder / name).read_bytes() for folder in "ab")
        assert one == other


def test_the_json_of_a_folder_is_that_of_its_file(tmp_path):
    skxsae.save(post_hoc(), tmp_path)
    document = json.loads((tmp_path / "model.json").read_text())
    assert document["skxsae"] == skxsae.__version__
    with safe_open(tmp_path / "model.safetensors", "numpy") as file:
        assert document == json.loads(file.metadata()["skxsae"])
    # what others need to read the weights is where they would look for it
    arrays = load_file(tmp_path / "model.safetensors")
    assert arrays["x_sae_.components_"].shape[1] == 6


def test_what_scikit_learn_keeps_in_an_estimator_comes_back(tmp_path):
    sae = TopKSAE(8, 2, **FAST).set_output(transform="pandas").fit(named(X))
    sae.set_params(sparse_output=False)
    skxsae.save(sae, tmp_path / "sae")
    columns = skxsae.load(tmp_path / "sae").transform(named(X)).columns
    assert columns.tolist() == sae.transform(named(X)).columns.tolist()
    with sklearn.config_context(enable_metadata_routing=True):
        sae = PostHocAlignedSAE().set_fit_request(groups="image")
        skxsae.save(sae, tmp_path / "requests")
        loaded = skxsae.load(tmp_path / "requests")
        requests = [part.get_metadata_routing() for part in (sae, loaded)]
    assert requests[1].fit.requests == {"groups": "image"}
    assert str(requests[0]) == str(requests[1])


def test_callbacks_are_not_saved(tmp_path):
    sae = TopKSAE(8, 2, **FAST).set_callbacks(StopOnInterrupt()).fit(X)
    skxsae.save(sae, tmp_path / "sae")
    loaded = skxsae.load(tmp_path / "sae")
    assert not hasattr(loaded, "_skl_callbacks")
    assert_same(sae, loaded)


def test_a_loaded_model_can_be_fitted_and_cloned(tmp_path):
    sae = TopKSAE(8, 2, **FAST).fit(X)
    skxsae.save(sae, tmp_path / "sae")
    loaded = skxsae.load(tmp_path / "sae")
    assert_same(clone(loaded), clone(sae))
    assert_same(loaded.fit(X), sae)


class OwnSAE(TopKSAE):
    pass


@pytest.mark.parametrize("thing", [OwnSAE(), BaseEstimator(), None, {"a": 1}])
def test_other_classes_are_refused(thing, tmp_path):
    with pytest.raises(TypeError, match="joblib"):
        skxsae.save(thing, tmp_path / "thing")
    assert not (tmp_path / "thing").exists()


def with_attribute(**attributes):
    sae = TopKSAE(8, 2, **FAST).fit(X)
    sae.__dict__.update(attributes)
    return sae


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (PairedSAE(alignment=lambda x, y: 0), "alignment is .*code is not saved"),
        (with_attribute(note_="mine"), "has the attribute note_"),
        (with_attribute(components_=np.zeros((3, 6))), "components_ has the shape"),
        (with_attribute(mean_=np.full(6, np.nan)), "mean_ has a NaN"),
        (TopKSAE(k=-1), "'k' parameter"),
        (TopKSAE(device=b"cpu"), "'device' parameter"),
        (TopKSAE(random_state=np.random.RandomState(np.random.PCG64(0))), "PCG64"),
    ],
    ids=str,
)
def test_what_has_no_place_is_refused(estimator, message, tmp_path):
    for name in ("sae", "sae.safetensors"):
        with pytest.raises(ValueError, match=message):
            skxsae.save(estimator, tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_table_in_another_order_is_refused(tmp_path):
    sae = post_hoc()
    sae.matches_ = sae.matches_.sort_values("correlation")
    with pytest.raises(ValueError, match="matches_"):
        skxsae.save(sae, tmp_path / "sae")


def test_what_fails_leaves_the_old_model(tmp_path, monkeypatch):
    old, new = TopKSAE(8, 2, **FAST).fit(X), TopKSAE(8, 3, **FAST).fit(X)
    for name in ("sae.safetensors", "sae"):
        skxsae.save(old, tmp_path / name)
    files = sorted(tmp_path.rglob("*"))

    def full(*args, **kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr("skxsae._saving._files.save_file", full)
    for name in ("sae.safetensors", "sae", "other", "other.safetensors"):
        with pytest.raises(OSError, match="No space"):
            skxsae.save(new, tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == files
    for name in ("sae.safetensors", "sae"):
        assert_same(skxsae.load(tmp_path / name), old)


def test_a_folder_is_whole_after_its_first_file(tmp_path, monkeypatch):
    old, new = TopKSAE(8, 2, **FAST).fit(X), TopKSAE(8, 3, **FAST).fit(X)
    skxsae.save(old, tmp_path)
    monkeypatch.setattr("pathlib.Path.write_text", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        skxsae.save(new, tmp_path)
    assert_same(skxsae.load(tmp_path), new)


def test_other_files_of_a_folder_stay(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    skxsae.save(TopKSAE(), tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["model.json", "model.safetensors", "notes.txt"]


def test_the_mode_of_the_files_is_that_of_a_new_one(tmp_path):
    (tmp_path / "plain").touch()
    skxsae.save(TopKSAE(), tmp_path / "sae")
    modes = {path.stat().st_mode for path in (tmp_path / "sae").iterdir()}
    assert modes == {(tmp_path / "plain").stat().st_mode}


def test_a_model_of_a_gpu_is_loaded_without_one(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.accelerator.current_accelerator", lambda **_: None)
    sae = post_hoc()
    codes = sae.transform(X)
    for part in (sae, sae.x_sae_, sae.y_sae_, sae.x_sae):
        part.set_params(device="cuda")
    skxsae.save(sae, tmp_path / "sae")
    loaded = skxsae.load(tmp_path / "sae")
    assert loaded.device == loaded.x_sae_.device == "cuda"
    with pytest.raises(ValueError, match="use device='auto' or 'cpu'"):
        loaded.transform(X)
    loaded = skxsae.load(tmp_path / "sae", device="cpu")
    assert (loaded.transform(X) != codes).nnz == 0
    assert (loaded.x_sae_.transform(X) != codes).nnz == 0
    assert loaded.x_sae.device == loaded.y_sae_.device == "cpu"


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
        "TopKSAE in a stream",
        "PairedSAE shared",
        "PairedSAE in a stream",
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


def with_a_stream_of_nothing(document, arrays):
    stream = {"pending": None, "normalizations": None, "sizes": None, "params": None}
    stream |= {"trainer_state": None, "losses": [], "errors": []}
    fitted_of(document)["_stream"] = {"type": "Stream", **stream}


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
        (with_a_stream_of_nothing, "_stream without rows"),
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


@pytest.mark.parametrize("name", ["TopKSAE in a stream", "PairedSAE in a stream"])
def test_a_stream_of_another_model_is_refused(saved, name, tmp_path):
    prefix = "_stream.trainer_state."
    names = [key for key in parts_of(saved[name])[1] if key.startswith(prefix)]
    assert len(names) > 20
    for broken in names:

        def change(node, arrays, broken=broken):
            arrays[broken] = np.zeros((2, 3), arrays[broken].dtype)

        with pytest.raises(ValueError, match="_stream"):
            changed(saved, name, change, tmp_path)


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


@pytest.mark.parametrize(
    "path",
    sorted(saved_estimators.FOLDER.glob("format_*/*.safetensors")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_files_of_all_formats_are_read(path):
    loaded = skxsae.load(path)
    if path.stem == "stream":
        n_iter = loaded.n_iter_
        loaded.partial_fit(saved_estimators.numbers(8, saved_estimators.N_FEATURES))
        assert loaded.n_iter_ == n_iter + 1
    else:
        assert_same(saved_estimators.estimators()[path.stem], loaded)


def test_there_are_files_of_the_current_format():
    folder = saved_estimators.FOLDER / f"format_{FORMAT}"
    names = {path.stem for path in folder.glob("*.safetensors")}
    assert names == {*saved_estimators.estimators(), "stream"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 50_000


def test_a_parameter_that_is_newer_than_a_file_has_its_default(saved, tmp_path):
    def change(node, arrays):
        del node["params"]["precision"]

    loaded = changed(saved, "TopKSAE batch_topk", change, tmp_path)
    assert loaded.precision == TopKSAE().precision


def test_many_threads_load_and_save_the_same_model(tmp_path):
    saes = [TopKSAE(8, k, **FAST).fit(X) for k in (2, 3)]
    skxsae.save(saes[0], tmp_path / "sae")

    def go(number):
        skxsae.save(saes[number % 2], tmp_path / "sae")
        return skxsae.load(tmp_path / "sae")

    with ThreadPoolExecutor(4) as pool:
        for loaded in pool.map(go, range(40)):
            assert_same(loaded, saes[loaded.k - 2])
    assert len(list((tmp_path / "sae").iterdir())) == 2
