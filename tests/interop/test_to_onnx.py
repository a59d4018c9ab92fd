"""The judge is the estimator: its `transform` and its `inverse_transform`."""

import builtins

import numpy as np
import pytest
from exported_models import X, assert_equal, degenerate, fitted, model, random_model

from skxsae.interop import _export, to_onnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
runtime = pytest.importorskip("onnxruntime")

# one of each graph, with and without unit length, translation, absent latents: a
# threshold for all and that of "relu" are entries of the one that "jumprelu" has
NAMES = [
    "jumprelu",
    "matching_pursuit",
    "signed pursuit",
    "soft x",
    "aligned y",
    "all latents",
]


def session_of(path):
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def assert_same(sae, session, X):
    codes = sae.transform(X).toarray()
    found_codes, found_rebuilt = session.run(["codes", "reconstruction"], {"x": X})
    assert_equal(found_codes, codes)
    assert_equal(found_rebuilt, sae.inverse_transform(codes))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_model(tmp_path, name):
    sae, X = model(name)
    path = tmp_path / "sae.onnx"
    to_onnx(sae, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    session = session_of(path)
    for rows in (X, X[:1], X[:7], np.concatenate([X] * 3)):
        assert_same(sae, session, rows)
    for rows in degenerate(sae, X).values():
        assert_same(sae, session, rows)
    nothing = session.run(None, {"x": X[:0]})
    assert [part.shape for part in nothing] == [(0, sae.n_latents_), (0, X.shape[1])]
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """A model whose latents tie in pairs, and a file with its codes alone."""
    sae = random_model(0, "topk", np.float32, n_latents=12, k=3)
    for name in ("encoder_", "components_", "encoder_bias_"):
        getattr(sae, name)[6:] = getattr(sae, name)[:6]
    path = tmp_path_factory.mktemp("tied") / "sae.onnx"
    to_onnx(sae, path, reconstruction=False)
    return sae, path


def test_names_and_shapes(tied):
    graph = onnx.load(tied[1]).graph
    (x,), (codes,) = graph.input, graph.output
    assert (x.name, codes.name) == ("x", "codes")
    dims = [part.type.tensor_type.shape.dim for part in (x, codes)]
    assert [d[0].dim_param for d in dims] == ["n_samples", "n_samples"]
    assert [d[1].dim_value for d in dims] == [7, 12]


def test_of_latents_that_tie_any_may_be_picked(tied):
    sae, path = tied
    X = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    (found,) = session_of(path).run(None, {"x": X})
    codes = sae.transform(X).toarray()
    assert_equal(np.sort(found), np.sort(codes))
    assert_equal(sae.inverse_transform(found), sae.inverse_transform(codes))


def test_large_weights_go_beside_the_file_in_float32(tmp_path, monkeypatch):
    monkeypatch.setattr(_export, "_LARGEST_FILE", 100)
    sae = fitted(X.astype(np.float64), normalize="standard")
    to_onnx(sae, tmp_path / "sae.onnx")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["sae.onnx", "sae.onnx.data"]
    assert_same(sae, session_of(tmp_path / "sae.onnx"), X)


class FullDisk:
    """A program that is saved in part."""

    def save(self, destination, **options):
        destination.write_bytes(b"the first part")
        raise OSError("No space left on device")


def test_a_file_is_replaced_as_a_whole(tmp_path, monkeypatch):
    path = tmp_path / "sae.onnx"
    path.write_bytes(b"as before")
    monkeypatch.setattr("torch.onnx.export", lambda *args, **options: FullDisk())
    with pytest.raises(OSError, match="No space"):
        to_onnx(fitted(), path)
    assert path.read_bytes() == b"as before"
    assert list(tmp_path.iterdir()) == [path]


def test_no_folder_to_write_into(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.onnx.export", None)  # it is told before the work
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "no" / "sae.onnx", "no/sae.onnx"):
        with pytest.raises(FileNotFoundError, match=r"no folder .*no to write"):
            to_onnx(fitted(), path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("argument", [{"path": 3}, {"reconstruction": "both"}], ids=str)
def test_arguments_of_another_kind(tmp_path, argument):
    with pytest.raises(ValueError, match=f"'{next(iter(argument))}' parameter"):
        to_onnx(fitted(), **{"path": tmp_path / "sae.onnx"} | argument)


def test_what_cannot_be_exported(tmp_path):
    with pytest.raises(ValueError, match="'omp' cannot be exported"):
        to_onnx(fitted(transform_algorithm="omp"), tmp_path / "sae.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["onnx", "onnxscript"])
def test_the_extra_to_install_is_named(tmp_path, monkeypatch, missing):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == missing:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'skxsae\[onnx\]'"):
        to_onnx(fitted(), tmp_path / "sae.onnx")
