"""Fits that were stopped, in any way and at any step, end as if they never were."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from killed_fits import paired_rows
from numpy.testing import assert_array_equal
from safetensors.numpy import load_file
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from skxsae import Checkpoint, PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae._checkpoint import StateFile, state_file
from skxsae._distributed import ALONE
from skxsae._trainer import Trainer
from skxsae.datasets import DiskArray

PROGRAM = Path(__file__).with_name("killed_fits.py")


class Stopped(Exception):
    """A fit that ends in the middle of a pass."""


@pytest.fixture
def stop_after(monkeypatch):
    """A function that lets every further fit end after some steps."""
    step = Trainer.step

    def stop_after(n_steps):
        left = [n_steps]

        def limited(*args):
            if left[0] == 0:
                raise Stopped
            left[0] -= 1
            step(*args)

        monkeypatch.setattr(Trainer, "step", step if n_steps is None else limited)

    return stop_after


def make_sae(**params):
    params = {"max_iter": 4, "batch_size": 100, "random_state": 0, **params}
    return TopKSAE(40, 3, **params)


def fitted_arrays(sae):
    views = [sae] if isinstance(sae, TopKSAE) else [sae.x_sae_, sae.y_sae_]
    return [
        np.asarray(value)
        for view in views
        for name, value in sorted(vars(view).items())
        if name.endswith("_")
    ]


def assert_same_model(one, other):
    arrays = fitted_arrays(one), fitted_arrays(other)
    assert len(arrays[0]) == len(arrays[1]) > 10
    for a, b in zip(*arrays, strict=True):
        assert_array_equal(a, b)


def stopped_fit(sae, folder, stop_after, n_steps, *data):
    """Let a fit end after some steps, whose states are all saved."""
    stop_after(n_steps)
    with pytest.raises(Stopped):
        sae.set_callbacks(Checkpoint(folder, interval=0)).fit(*data)
    stop_after(None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "n_kills"), [("post_hoc", 50), ("paired", 25), ("streamed", 25)]
)
def test_killed_at_random_moments(tmp_path, name, n_kills):
    done = subprocess.run(
        [sys.executable, PROGRAM, name, tmp_path, str(n_kills)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    killed, completed, different, n_steps, n_alone = map(int, done.stdout.split())
    assert killed >= n_kills
    assert completed >= 1
    assert different == 0
    # what is done is not done again, but for the last step before a kill
    assert completed * n_alone <= n_steps <= completed * n_alone + 2 * killed
    assert not list((tmp_path / "state").iterdir())


X, Y = paired_rows(650)
ESTIMATORS = {
    "topk": make_sae(),
    "batch_topk": make_sae(activation="batch_topk"),
    "relu": make_sae(activation="relu"),
    "jumprelu": make_sae(activation="jumprelu", normalize="standard"),
    "matching_pursuit": make_sae(activation="matching_pursuit"),
    "constant": make_sae(schedule="constant", fit_intercept=False),
    "float64": make_sae(loss="mse_sum"),
    "streamed": make_sae(),
    "shared": PairedSAE(40, 3, mask_rate=0.2, max_iter=4, batch_size=100),
    "cross_reconstruction": PairedSAE(
        40, 3, coupling="cross_reconstruction", max_iter=4, batch_size=100
    ),
    "global_topk": PairedSAE(
        40, 3, coupling="global_topk", mask_rate=0.2, max_iter=4, batch_size=100
    ),
    "crosscoder": PairedSAE(40, 3, coupling="crosscoder", max_iter=4, batch_size=100),
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_going_on_from_any_step(tmp_path, stop_after, name):
    sae = ESTIMATORS[name].set_params(random_state=0)
    data = (X, Y) if isinstance(sae, PairedSAE) else (X,)
    if name == "streamed":
        data = (DiskArray(X, buffer_bytes=X.nbytes // 4),)
    elif name == "float64":
        data = (X.astype(np.float64),)
    expected = sae.set_callbacks().fit(*data)
    expected = fitted_arrays(expected)
    for n_steps in (1, 6, 7, 8, 27):  # 7 steps make a pass, 28 the fit
        stopped_fit(sae, tmp_path, stop_after, n_steps, *data)
        resumed = fitted_arrays(sae.fit(*data))
        for one, other in zip(resumed, expected, strict=True):
            assert_array_equal(one, other)
        assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:Only .* matches score above the noise floor")
@pytest.mark.parametrize("n_steps", [3, 20, 28, 29, 50])  # 28 for each view
def test_going_on_in_either_view(tmp_path, stop_after, n_steps):
    sae = PostHocAlignedSAE(
        x_sae=make_sae(), y_sae=make_sae().set_params(k=2), random_state=0
    )
    expected = fitted_arrays(clone(sae).fit(X, Y))
    stopped_fit(sae, tmp_path, stop_after, n_steps, X, Y)
    stop_after(2 * 28 - n_steps)  # no more than what is missing
    for one, other in zip(fitted_arrays(sae.fit(X, Y)), expected, strict=True):
        assert_array_equal(one, other)


def test_it_goes_on_and_does_not_begin_anew(tmp_path, stop_after, monkeypatch):
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    step, n_steps = Trainer.step, []

    def counted(*args):
        n_steps.append(1)
        step(*args)

    monkeypatch.setattr(Trainer, "step", counted)
    sae.fit(X)
    assert len(n_steps) == 8


def test_a_second_fit_begins_anew(tmp_path):
    sae = make_sae().set_callbacks(Checkpoint(tmp_path, interval=0)).fit(X)
    assert not list(tmp_path.iterdir())
    assert sae.set_params(k=2).fit(X).k_ == 2


def test_nothing_is_saved_before_the_interval_is_over(tmp_path, stop_after):
    stop_after(20)
    with pytest.raises(Stopped):
        make_sae().set_callbacks(Checkpoint(tmp_path, interval=3600)).fit(X)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_state_is_replaced_by_the_one_before(tmp_path, stop_after, share):
    expected = make_sae().fit(X)
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    newest = tmp_path / "fit.skxsae-fit"
    content = newest.read_bytes()
    newest.write_bytes(content[: int(share * len(content))])
    with pytest.warns(UserWarning, match=r"damaged .* the one before"):
        sae.fit(X)
    assert_same_model(sae, expected)


def test_a_changed_byte_is_noticed(tmp_path, stop_after):
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    newest = tmp_path / "fit.skxsae-fit"
    content = bytearray(newest.read_bytes())
    content[-100] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match="checksum"):
        assert_same_model(sae.fit(X), make_sae().fit(X))


def test_the_next_state_does_not_replace_a_good_one_by_a_damaged(tmp_path, stop_after):
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 10, X)
    newest = tmp_path / "fit.skxsae-fit"
    newest.write_bytes(newest.read_bytes()[:1000])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stopped_fit(sae, tmp_path, stop_after, 1, X)
    for path in tmp_path.iterdir():
        load_file(path)


def test_nothing_readable_is_an_error(tmp_path, stop_after):
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    for path in tmp_path.iterdir():
        path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"All states .* damaged .* Delete them"):
        sae.fit(X)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 2}, "k was 3 and is 2"),
        ({"learning_rate": 0.1}, "learning_rate was"),
        ({"max_iter": 5}, "max_iter was 4"),
        ({"random_state": 1}, "random_state was 0"),
        ({"random_state": None}, "random_state was 0 and is None"),
        ({"activation": "batch_topk"}, "activation was 'topk'"),
    ],
)
def test_the_state_of_another_fit_is_refused(tmp_path, stop_after, change, message):
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    with pytest.raises(ValueError, match=message):
        sae.set_params(**change).fit(X)


OTHERS = {
    "n_latents": 41,
    "k": 2,
    "activation": "relu",
    "loss": "mse_sum",
    "max_iter": 5,
    "batch_size": 99,
    "learning_rate": 1e-3,
    "schedule": "constant",
    "aux_k": 3,
    "aux_weight": 0.0,
    "normalize": "standard",
    "fit_intercept": False,
    "positive_code": False,
    "precision": "screen",
    "random_state": 3,
    "coupling": "crosscoder",
    "alignment": "iso_energy",
    "alignment_weight": 3.0,
    "mask_rate": 0.5,
    "statistics": "pooled",
}
OF_NO_MATTER = {"transform_algorithm": "mp", "sparse_output": False, "device": "cpu"}


def test_every_parameter_is_compared_or_of_no_matter():
    names = {*make_sae().get_params(), *PairedSAE().get_params()}
    assert names == {*OTHERS, *OF_NO_MATTER}


@pytest.mark.parametrize("name", [*OTHERS, *OF_NO_MATTER])
def test_a_state_under_another_parameter(tmp_path, stop_after, name):
    sae = PairedSAE(40, 3, alignment="none", max_iter=2, batch_size=100)
    stopped_fit(sae.set_params(random_state=0), tmp_path, stop_after, 3, X, Y)
    if name in OTHERS:
        with pytest.raises(ValueError, match=f"{name} was .* and is"):
            sae.set_params(**{name: OTHERS[name]}).fit(X, Y)
    else:
        sae.set_params(**{name: OF_NO_MATTER[name]}).fit(X, Y)


@pytest.mark.parametrize("data", [X[:640], X[::-1], X.astype(np.float64), 2 * X])
def test_other_data_is_refused(tmp_path, stop_after, data):
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    with pytest.raises(ValueError, match="state of another fit"):
        sae.fit(data)


def test_the_state_of_another_format_is_refused(tmp_path, stop_after, monkeypatch):
    sae = make_sae()
    monkeypatch.setattr("skxsae._checkpoint._FORMAT", 2)
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="another format"):
        sae.fit(X)


def test_without_a_seed_what_was_drawn_is_kept(tmp_path, stop_after):
    sae = make_sae(random_state=None)
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    before = load_file(tmp_path / "fit.skxsae-fit")
    assert sae.fit(X).n_iter_ == 4
    # eight more steps do not turn a dictionary into another one
    cosines = np.abs(sae.components_ @ before["trainer.0"].T).max(axis=1)
    assert np.median(cosines) > 0.99


def test_each_fit_of_a_search_has_its_own_state(tmp_path, stop_after):
    def make_search():
        sae = PostHocAlignedSAE(16, max_iter=2, random_state=0)
        return GridSearchCV(sae, {"k": [2, 3]}, cv=2)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = make_search().fit(X, Y)
        search = make_search().set_callbacks(Checkpoint(tmp_path, interval=0))
        # two steps for each view of each fit
        stop_after(7)
        with pytest.raises(Stopped):
            search.fit(X, Y)
        assert {path.name for path in tmp_path.iterdir()} == {
            f"search-0.candidate-split-evaluation-{part}.skxsae-fit"
            for part in (
                *("0.x-0", "0.x-0.before", "0.y-1", "0.y-1.before"),
                *("1.x-0", "1.x-0.before", "1.y-1"),
            )
        }
        # of four fits and that with the best parameters
        stop_after(5 * 4 - 7)
        search.fit(X, Y)
    assert_array_equal(
        search.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
    )
    assert not list(tmp_path.iterdir())


def test_other_files_in_the_folder_are_left_alone(tmp_path):
    other = tmp_path / "model.safetensors"
    other.write_bytes(b"mine")
    make_sae().set_callbacks(Checkpoint(tmp_path, interval=0)).fit(X)
    assert other.read_bytes() == b"mine"


def test_what_a_killed_write_leaves_is_removed(tmp_path, stop_after):
    left, written = (tmp_path / f".fit.skxsae-fit.{i}.part" for i in (0, 1))
    for path in (left, written):
        path.touch()
    os.utime(left, (0, 0))
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 3, X)
    assert not left.exists()
    assert written.exists()  # another may be at it
    sae.fit(X)
    assert not list(tmp_path.iterdir())


def test_states_that_cannot_be_removed_do_not_lose_the_fit(tmp_path, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError("read-only")

    sae = make_sae().set_callbacks(Checkpoint(tmp_path, interval=0))
    with monkeypatch.context() as patched:
        unlink = Path.unlink
        patched.setattr(
            Path,
            "unlink",
            lambda path, **options: (
                refuse(path) if path.name.startswith("fit") else unlink(path, **options)
            ),
        )
        with pytest.warns(UserWarning, match="could not be removed .*read-only"):
            sae.fit(X)
    assert_same_model(sae, make_sae().fit(X))


@pytest.mark.parametrize(
    "arguments", [{"folder": None}, {"interval": -1}, {"interval": "1h"}]
)
def test_arguments_are_checked(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Checkpoint(**{"folder": "state", **arguments})


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "state").touch()
    with pytest.raises(NotADirectoryError, match="needs a folder"):
        make_sae().set_callbacks(Checkpoint(tmp_path / "state")).fit(X)


def test_repr():
    assert repr(Checkpoint(Path("a"))) == "Checkpoint('a', interval=600.0)"


def test_names_of_tasks_do_not_lead_out_of_the_folder(tmp_path):
    pipe = Pipeline([("../a/b", make_sae())]).set_callbacks(Checkpoint(tmp_path))
    context = pipe._init_callback_context(max_subtasks=1)
    context.task_name = "../a/b"
    child = context.subcontext("../x")
    checkpoint = Checkpoint(tmp_path)
    checkpoint.setup(pipe, context)
    path = state_file(checkpoint, child, {}).path
    assert path.parent == tmp_path
    assert "x" in path.name


def test_other_generators_than_the_usual_one(tmp_path, stop_after):
    def make():
        rng = np.random.RandomState(np.random.PCG64(3))
        return make_sae(random_state=rng)

    expected = make().fit(X)
    sae = make()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    assert_same_model(sae.set_params(random_state=make().random_state).fit(X), expected)


def test_numpy_s_own_generator_is_not_set(tmp_path, stop_after):
    sae = make_sae(random_state=None)
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.RandomState(3)
    expected.randint(2**31 - 1)  # what a fit draws
    sae.fit(X)
    assert np.random.rand() == expected.rand()  # noqa: NPY002


FULL_DISK = """
import resource, sys, warnings
import numpy as np
from killed_fits import paired_rows
from skxsae import Checkpoint, TopKSAE
X, _ = paired_rows(650)
sae = TopKSAE(40, 3, max_iter=4, batch_size=100, random_state=0)
expected = sae.fit(X).components_
LIMIT
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    sae.set_callbacks(Checkpoint(sys.argv[1], interval=0)).fit(X)
assert np.array_equal(sae.components_, expected)
print(len([one for one in caught if "could not be written" in str(one.message)]))
"""


def run_without_room(folder, limit=""):
    """Number of states that could not be written by a fit of 28 steps."""
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK.replace("LIMIT", limit), folder],
        cwd=PROGRAM.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_state_that_cannot_be_written_keeps_the_one_before(tmp_path, stop_after):
    sae = make_sae()
    stopped_fit(sae, tmp_path, stop_after, 20, X)
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))"
    assert run_without_room(tmp_path, limit) == 28 - 20


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_does_not_stop_a_fit(tmp_path):
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        assert run_without_room(tmp_path) > 20
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_other_errors_of_a_write_are_not_hidden(tmp_path):
    file = StateFile(tmp_path / "fit.skxsae-fit", 0.0, {}, ALONE)
    with pytest.raises(TypeError):
        file.save(({"not": object()}, {}))
