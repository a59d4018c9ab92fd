"""The hub is a folder here, or a server of this machine: nothing leaves it."""

import builtins
import http.server
import inspect
import os
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import yaml
from sklearn.frozen import FrozenEstimator

import skxsae
from skxsae import Coactivation, CoactivationMatcher, PairedSAE, TopKSAE
from skxsae._from_arrays import topk_sae_from_arrays
from skxsae.interventions import ModalityFilter

hub = pytest.importorskip("huggingface_hub")

X = np.random.default_rng(0).normal(size=(60, 6))
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def sae():
    return TopKSAE(8, 2, max_iter=2, batch_size=16, random_state=0).fit(X)


class FolderApi:
    """A folder with a folder for each revision, in place of the client."""

    def __init__(self, root):
        self.root = root

    def folder(self, repository, revision):
        return self.root / repository / (revision or "main").replace("/", "%")

    def create_repo(self, repository, *, exist_ok):
        assert exist_ok
        self.folder(repository, None).mkdir(parents=True, exist_ok=True)

    def create_branch(self, repository, *, branch, exist_ok):
        assert exist_ok
        self.folder(repository, branch).mkdir(exist_ok=True)

    def upload_folder(self, *, repo_id, folder_path, revision, commit_message):
        target = self.folder(repo_id, revision)
        assert target.exists()
        shutil.copytree(folder_path, target, dirs_exist_ok=True)

    def hf_hub_download(self, repository, name, *, revision):
        return str(self.folder(repository, revision) / name)


def with_signature_of(real, function):
    """A function that refuses what the real one would refuse."""

    def call(*args, **kwargs):
        inspect.signature(real).bind(None, *args, **kwargs)
        return function(*args, **kwargs)

    return call


@pytest.fixture
def store(tmp_path, monkeypatch):
    """The folder of all repositories."""
    api = FolderApi(tmp_path / "store")
    for name in ("create_repo", "create_branch", "upload_folder", "hf_hub_download"):
        checked = with_signature_of(getattr(hub.HfApi, name), getattr(api, name))
        setattr(api, name, checked)
    make = with_signature_of(hub.HfApi.__init__, lambda **kwargs: api)
    monkeypatch.setattr(hub, "HfApi", make)
    return api.root


def test_a_model_goes_to_the_hub_and_comes_back(sae, store):
    skxsae.save(sae, "hf://me/first-steps")
    folder = store / "me/first-steps/main"
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["README.md", "model.json", "model.safetensors"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "skxsae.load('hf://me/first-steps')" in card
    loaded = skxsae.load("hf://me/first-steps", device="cpu")
    np.testing.assert_array_equal(loaded.components_, sae.components_)


def test_a_revision_is_a_branch(sae, store):
    skxsae.save(sae, "hf://me/first-steps")
    skxsae.save(TopKSAE(k=3), "hf://me/first-steps@wide/v1.0")
    assert skxsae.load("hf://me/first-steps@wide/v1.0").k == 3
    assert skxsae.load("hf://me/first-steps").k == sae.k
    assert skxsae.load("hf://me/first-steps@main").k == sae.k


@pytest.mark.parametrize(
    "address",
    [
        "hf://",
        "hf://model",
        "hf://me/model/sub",
        "hf://me/model@",
        "hf://me/mo del",
        "hf://me/model\n",
        "hf://datasets/me/model",
        "hf:///me/model",
        "hf://../model",
        "hf://me/..",
        "hf://me/.",
        "hf://me/a..b",
        "hf://me/model@..",
        "hf://me/model@a/../b",
        "hf://me/model@a//b",
        "hf://me/model@/a",
        "hf://me/model@a/",
        "HF://me/model",
        "Hf://me/model",
    ],
)
def test_other_addresses_are_refused(address, sae, store):
    for go in (skxsae.load, lambda path: skxsae.save(sae, path)):
        with pytest.raises(ValueError, match="no address of a model"):
            go(address)
    assert not store.exists()


def test_what_cannot_be_saved_makes_no_repository(store):
    with pytest.raises(ValueError, match="'k' parameter"):
        skxsae.save(TopKSAE(k=0), "hf://me/first-steps")
    with pytest.raises(TypeError, match="joblib"):
        skxsae.save(3, "hf://me/first-steps")
    assert not store.exists()


def test_without_the_client_it_is_said_what_to_install(monkeypatch, sae):
    whole = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "huggingface_hub":
            raise ImportError
        return whole(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"skxsae\[hub\]"):
        skxsae.load("hf://me/first-steps")


class Repository(http.server.BaseHTTPRequestHandler):
    """What the client asks for when it downloads a file."""

    content = b""

    def do_HEAD(self):
        known = self.path == "/me/first-steps/resolve/v1/model.safetensors"
        self.send_response(200 if known else 404)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        self.wfile.write(self.content)

    def log_message(self, *args):
        pass


@pytest.mark.slow
def test_the_real_client_downloads(sae, tmp_path):
    skxsae.save(sae, tmp_path / "sae.safetensors")
    handler = type("Handler", (Repository,), {})
    handler.content = (tmp_path / "sae.safetensors").read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = (
        "import skxsae\n"
        "sae = skxsae.load('hf://me/first-steps@v1')\n"
        "print(float(sae.components_.sum()).hex())\n"
        "try:\n"
        "    skxsae.load('hf://me/first-steps@v2')\n"
        "except Exception as error:\n"
        "    print(type(error).__name__)\n"
    )
    environment = {
        **os.environ,
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_OFFLINE": "0",
        "NO_PROXY": "127.0.0.1",
    }
    try:
        run = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert run.returncode == 0, run.stderr
    total, error = run.stdout.split()
    assert float.fromhex(total) == float(sae.components_.sum())
    assert error.endswith("Error")


def parts_of(card):
    """Header of a card, its facts, and its code."""
    _, header, page = card.split("---\n", 2)
    facts = dict(re.findall(r"^\| (\w.*) \| (.*) \|$", page, re.MULTILINE))
    return (
        yaml.safe_load(header),
        facts,
        re.findall(r"```python\n(.*?)\n```", page, re.S),
    )


def test_the_card_says_what_was_fitted(sae):
    header, facts, code = parts_of(skxsae.model_card(sae))
    assert header["library_name"] == "skxsae"
    assert "sparse-autoencoder" in header["tags"]
    assert facts["features"] == "6"
    assert facts["latents"] == "8"
    assert facts["active latents per sample"] == "2"
    assert facts["dead latents"] == str(sae.dead_latents_.sum())
    page = skxsae.model_card(sae)
    assert f"\nWritten with skxsae {skxsae.__version__}, scikit-learn" in page
    assert page.count(skxsae.__version__) == 1
    explained = float(facts["explained variance in training"])
    assert explained == pytest.approx(1 - sae.reconstruction_err_, abs=1e-4)
    assert eval(code[1], {"TopKSAE": TopKSAE}).get_params() == sae.get_params()


def test_the_code_of_the_card_loads_the_model(sae, tmp_path):
    skxsae.save(sae, tmp_path / "sae")
    names = {}
    code = parts_of(skxsae.model_card(sae, tmp_path / "sae"))[2][0]
    exec(code, names)
    np.testing.assert_array_equal(names["estimator"].components_, sae.components_)


def test_the_card_tells_of_both_views(planted):
    _, facts, _ = parts_of(skxsae.model_card(planted.model))
    matcher = planted.model.matcher_
    assert facts["latents (x, y)"] == "48, 48"
    dead = [sae.dead_latents_ for sae in (planted.model.x_sae_, planted.model.y_sae_)]
    there = [
        sae.components_.any(axis=1)
        for sae in (planted.model.x_sae_, planted.model.y_sae_)
    ]
    counts = [int((d & t).sum()) for d, t in zip(dead, there, strict=True)]
    assert facts["dead latents (x, y)"] == "{}, {}".format(*counts)
    assert facts["matched latents"] == str(len(planted.model.matches_))
    assert facts["matches above the noise"] == str(
        planted.model.matches_["above_noise"].sum()
    )
    assert float(facts["noise floor"]) == pytest.approx(matcher.noise_floor_, abs=1e-4)


def test_a_card_says_nothing_that_it_does_not_know():
    eye = np.eye(3)
    made = topk_sae_from_arrays(
        components=eye, encoder=eye, encoder_bias=eye[0], mean=eye[0], k=1
    )
    assert set(parts_of(skxsae.model_card(made))[1]) == {
        "features",
        "latents",
        "active latents per sample",
        "activation",
    }
    codes = np.eye(4)
    for thing in (
        TopKSAE(),
        PairedSAE(),
        CoactivationMatcher(),
        FrozenEstimator(made),
        ModalityFilter().fit(codes, codes),
        Coactivation.from_codes(codes, codes),
    ):
        header, _, code = parts_of(skxsae.model_card(thing))
        assert header["library_name"] == "skxsae"
        assert len(code) == 2
