import copy
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import saved_estimators
import sklearn
from fitted_estimators import (
    FAST,
    FITTED,
    IN_A_STREAM,
    X,
    Y,
    assert_same,
    is_fitted,
    named,
    outputs,
    post_hoc,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn_arrays
from safetensors import safe_open
from safetensors.numpy import load_file
from scipy import sparse
from sklearn.base import BaseEstimator, clone

import skxsae
from skxsae import PairedSAE, PostHocAlignedSAE, StopOnInterrupt, TopKSAE
from skxsae._from_arrays import topk_sae_from_arrays
from skxsae._saving._files import FORMAT
from skxsae._saving._values import DTYPES, decode, encode


@pytest.fixture(
    scope="module", params=[name for name in FITTED if name not in IN_A_STREAM]
)
def fitted(request):
    return FITTED[request.param]()


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
    st.floats(width=16).map(np.float16),
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
        st.lists(parts, max_size=3), st.lists(parts, max_size=3).map(tuple)
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


def without_stream(estimator):
    """A copy that is as if `fit` had learnt what a stream has."""
    estimator = copy.deepcopy(estimator)
    del estimator._stream
    return estimator


@pytest.mark.parametrize("paired", [False, True])
def test_a_stream_goes_on_as_after_a_fit(paired, tmp_path):
    sae = FITTED[f"{'PairedSAE' if paired else 'TopKSAE'} in a stream"]()
    skxsae.save(sae, tmp_path / "stream")
    loaded, expected = skxsae.load(tmp_path / "stream"), without_stream(sae)
    assert_same(expected, loaded)
    for part in (loaded, expected):
        part.partial_fit(*([X[:37], Y[:37]] if paired else [X[:37]]))
    assert_same(expected, loaded)
    assert len(loaded._stream.pending[0]) == 37 % 16


@pytest.mark.parametrize("name", IN_A_STREAM)
def test_no_row_of_a_stream_is_saved(name, tmp_path):
    sae = FITTED[name]()
    learnt = without_stream(sae) if is_fitted(sae) else clone(sae)
    for folder, part in (("stream", sae), ("learnt", learnt)):
        skxsae.save(part, tmp_path / folder)
    one, other = (
        (tmp_path / folder / "model.safetensors").read_bytes()
        for folder in ("stream", "learnt")
    )
    assert one == other
    assert hasattr(sae, "_stream")


@pytest.mark.parametrize("name", ["TopKSAE before a batch", "PairedSAE before a batch"])
def test_what_has_not_learnt_is_saved_as_unfitted(name, tmp_path):
    sae = FITTED[name]()
    skxsae.save(sae, tmp_path / "sae")
    loaded = skxsae.load(tmp_path / "sae")
    assert_same(clone(sae), loaded)
    # of another width, as what is unfitted takes
    loaded.partial_fit(*[X[:40, :4]] * (1 + name.startswith("Paired")))
    assert loaded.n_features_in_ == 4


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
    with pytest.raises(TypeError, match="joblib"):
        skxsae.model_card(thing)


def with_attribute(**attributes):
    sae = TopKSAE(8, 2, **FAST).fit(X)
    sae.__dict__.update(attributes)
    return sae


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (PairedSAE(alignment=lambda x, y: 0), "alignment is .*code is not saved"),
        (with_attribute(note_="mine"), "has the attribute note_"),
        (with_attribute(callback_note_=1), "has the attribute callback_note_"),
        (with_attribute(_my_callbacks=[1]), "has the attribute _my_callbacks"),
        (with_attribute(components_=np.zeros((3, 6))), "components_ has the shape"),
        (with_attribute(mean_=np.full(6, np.nan)), "mean_ has a NaN"),
        (TopKSAE(k=-1), "'k' parameter"),
        (TopKSAE(device=b"cpu"), "'device' parameter"),
        (TopKSAE(random_state=np.random.RandomState(np.random.PCG64(0))), "PCG64"),
    ],
)
def test_what_has_no_place_is_refused(estimator, message, tmp_path):
    for name in ("sae", "sae.safetensors"):
        with pytest.raises(ValueError, match=message):
            skxsae.save(estimator, tmp_path / name)
        assert not (tmp_path / name).exists()
    with pytest.raises(ValueError, match=message):
        skxsae.model_card(estimator)


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


def test_a_disk_that_is_full_is_told_with_the_path(tmp_path):
    resource = pytest.importorskip("resource", reason="limits are those of POSIX")
    sae = topk_sae_from_arrays(
        components=np.eye(99),
        encoder=np.eye(99),
        encoder_bias=np.zeros(99),
        mean=np.zeros(99),
        k=1,
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"sae\.safetensors cannot be written.*large"):
            skxsae.save(sae, tmp_path / "sae.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_whole_after_its_first_file(tmp_path, monkeypatch):
    old, new = TopKSAE(8, 2, **FAST).fit(X), TopKSAE(8, 3, **FAST).fit(X)
    skxsae.save(old, tmp_path)
    monkeypatch.setattr("pathlib.Path.write_text", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        skxsae.save(new, tmp_path)
    assert_same(skxsae.load(tmp_path), new)


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "lost").symlink_to("nowhere/at all")
    before = sorted(tmp_path.rglob("*"))
    for name, kind, message in [
        ("notes.txt", FileExistsError, "is no folder: give .* '.safetensors'"),
        ("lost", FileNotFoundError, "no folder .*nowhere"),
        ("folder.safetensors", IsADirectoryError, "is a folder"),
        ("none/sae.safetensors", FileNotFoundError, r"no folder \S*none\.$"),
        ("none/sae", FileNotFoundError, r"no folder \S*none\.$"),
        ("notes.txt/sae.safetensors", NotADirectoryError, r"notes\.txt is a file"),
        ("notes.txt/sae", NotADirectoryError, r"notes\.txt is a file"),
        (f"{'a' * 250}.safetensors", OSError, "too long"),
    ]:
        with pytest.raises(kind, match=message) as caught:
            skxsae.save(TopKSAE(), tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert ".part" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "notes.txt").read_text() == "mine"


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


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", "cuda:-1", 0, b"cpu", ["cpu"]])
def test_what_is_no_device_is_refused_at_once(device, tmp_path):
    skxsae.save(TopKSAE(), tmp_path / "sae")
    with pytest.raises(ValueError, match="is not a torch device"):
        skxsae.load(tmp_path / "sae", device=device)


@pytest.mark.parametrize("device", ["auto", "cpu", "cuda:7"])
def test_a_device_need_not_be_there(device, tmp_path):
    skxsae.save(TopKSAE(), tmp_path / "sae")
    assert skxsae.load(tmp_path / "sae", device=device).device == device


@pytest.mark.parametrize(
    "path",
    sorted(saved_estimators.FOLDER.glob("format_*/*.safetensors")),
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_files_of_all_formats_are_read(path):
    assert_same(saved_estimators.estimators()[path.stem], skxsae.load(path))


def test_there_are_files_of_the_current_format():
    folder = saved_estimators.FOLDER / f"format_{FORMAT}"
    names = {path.stem for path in folder.glob("*.safetensors")}
    assert names == set(saved_estimators.estimators())
    assert sum(path.stat().st_size for path in folder.iterdir()) < 50_000


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
