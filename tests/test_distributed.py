"""Fits that several processes share, judged by fits of one process."""

import random
import shutil
import subprocess
import sys
import uuid
from contextlib import contextmanager

import distributed_fits
import numpy as np
import pytest
import torch
import torch.distributed as dist
from distributed_processes import (
    ENVIRONMENT,
    HERE,
    in_processes,
    needs_gloo,
    run_together,
)
from numpy.testing import assert_allclose, assert_array_equal

import skxsae._distributed
import skxsae._training
import skxsae._validation
from skxsae._distributed import Peers, own_gpu, peers
from skxsae._fitting import make_views
from skxsae._order import Blocks, ShuffledByBlocks
from skxsae._validation import check_finite, resolve_device
from skxsae._views import batches, shuffled
from skxsae.datasets import DiskArray

# a sum in another order, after some steps that Adam makes of one size
ROUNDING = {"float64": 1e-9, "float32": 1e-5}


def assert_same_bits(one, other):
    """Every array of two fits is the same."""
    assert one.keys() == other.keys()
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), name


def assert_close(many, one, dtype="float64"):
    """Fitted arrays that differ by rounding; what is counted does not differ at all."""
    assert many.keys() == one.keys()
    for name, array in one.items():
        if array.dtype.kind != "f" or name.startswith("firing_rate_"):
            assert_array_equal(many[name], array, name)
        else:
            rounding = ROUNDING[dtype]
            assert_allclose(many[name], array, rounding, rounding, err_msg=name)


def assert_all_fit(fitted, expected, dtype="float64"):
    """All processes have what one process alone has, by the names of scenarios."""
    some_died = False
    for name, one in expected.items():
        for other in fitted[1:]:
            assert_same_bits(fitted[0][name], other[name])
        assert_close(fitted[0][name], one, dtype)
        some_died |= bool(one["dead_latents_0"].any())
    assert some_died  # so that there was an auxiliary loss


def program(*lines):
    """A command that runs lines of Python."""
    return [sys.executable, "-c", "\n".join(lines)]


def test_programs_that_say_much_run_together(tmp_path):
    # the second waits for the first, whose words fill a pipe
    said = tmp_path / "said"
    first = program("print('x' * 2**20, flush=True)", f"open({str(said)!r}, 'w')")
    second = program(
        "import os, time", f"while not os.path.exists({str(said)!r}): time.sleep(0.01)"
    )
    run_together([second, first], 60)
    with pytest.raises(RuntimeError, match=r"\[0, 3\]:\nx{99}"):
        run_together([first, [*second[:-1], f"{second[-1]}\nraise SystemExit(3)"]], 60)


def test_a_program_that_fails_ends_the_others():
    waiting, failing = program("import time", "time.sleep(300)"), program("1 / 0")
    with pytest.raises(RuntimeError, match=r"\[None, 1\](.|\n)*ZeroDivisionError"):
        run_together([waiting, failing], 200)
    with pytest.raises(RuntimeError, match=r"exit codes \[None\]"):
        run_together([waiting], 0.1)


@needs_gloo
@pytest.mark.slow
def test_four_processes():
    met = in_processes("distributed_fits", "four", 4)
    assert_all_fit([result["fits"] for result in met], distributed_fits.some_fits())
    for result in met:
        assert result["too few rows"] == (
            "ValueError: 3 rows are too few for 4 processes: each needs one."
        )


@pytest.fixture(scope="module")
def met():
    """What each of two processes has seen of all that `meeting` tries."""
    return in_processes("distributed_fits", "meeting", 2)


@needs_gloo
@pytest.mark.slow
class TestMeeting:
    """Everything that needs one group only."""

    @pytest.mark.parametrize(
        ("function", "dtype"), [("fits", "float64"), ("fits_in_float32", "float32")]
    )
    def test_two_processes_fit_what_one_fits(self, met, function, dtype):
        expected = getattr(distributed_fits, function)()
        assert_all_fit([result[function] for result in met], expected, dtype)

    def test_refusals_are_the_same_in_all(self, met):
        one, other = (dict(result["refusals"]) for result in met)
        X, _ = distributed_fits.paired_rows()
        afterwards = distributed_fits.parts_of(
            distributed_fits.small(random_state=0).fit(X)
        )
        for said in (one, other):
            assert_close(said.pop("afterwards"), afterwards)
            # others cannot know more of it
            said["no folder"] = said["no folder"].replace("NotADirectory", "OS")
        assert one == other
        expected = {
            "a NaN": "NaN in row 70, column 3",
            "a NaN in one process": "NaN in row 70, column 3",
            "a NaN in the second view": "Input y contains NaN in row 70, column 3",
            "a NaN in a view to align": "Input y contains NaN in row 70, column 3",
            "fewer rows in one process": "[87, 8] in the first and [86, 8]",
            "wider in one process": "differ in shape of y",
            "other numbers": "differ in checksum of X",
            "another type": "differ in type of X",
            "other parameters": "differ in k: it is 2 in the first and 3 in number 1",
            "another matcher": "differ in matcher__min_fires",
            "other groups": "differ in checksum of groups",
            "one group": "groups has a single value",
            "other blocks": "differ in buffer_bytes and block_rows of X",
            "a frozen view of one process": "but the frozen x_sae is expecting 16",
            "a given view of one process": "has no effect on x_sae",
            "no such device": "device='cuda:99' was asked for",
            "a NaN to realign": "Input y contains NaN in row 70, column 3",
            "other groups to realign": "groups has a single value",
            "other numbers to realign": "differ in checksum of X",
            "one group to realign": "groups has a single value",
            "rows of groups": "the disk is broken",
            "no data": "Expected 2D array",
            "no loss": "Training diverged",
            "no folder": "needs a folder",
            "a callback that fails": "a callback has failed",
            **{
                f"{model.__name__}: {hook} {number}": f"failed in {hook} {number}"
                for model, hooks in distributed_fits.HOOKS.items()
                for hook, number in hooks
            },
        }
        assert one.keys() == expected.keys()
        for name, words in expected.items():
            assert words in one[name], one[name]

    def test_random_states(self, met):
        (unseeded, seeded, own, after), (others, *rest, other_after) = (
            result["seeds"] for result in met
        )
        assert_array_equal(unseeded, others)
        assert not np.array_equal(*unseeded)
        assert after != other_after
        assert_array_equal(seeded, rest[0])
        assert_array_equal(own, rest[1])
        X, _ = distributed_fits.paired_rows()
        given = np.random.RandomState(0)
        for components in seeded:
            sae = distributed_fits.small(random_state=given).fit(X)
            assert_allclose(components, sae.components_, atol=1e-9)
        sae = distributed_fits.small(random_state=0).fit(X)
        assert_allclose(own, sae.components_, atol=1e-9)

    def test_callbacks_of_one_process_or_of_both(self, met):
        (counts, files), (other_counts, other_files) = (
            result["callbacks"] for result in met
        )
        assert counts == other_counts
        assert counts == {
            "stop in the first": 2,
            "stop in the second": 3,
            "interrupt in the second": 3,
            "monitor in the first": 5,
            "monitor in both": 5,
            "states in the first": 5,
            "states in the second": 5,
            "states in both": 5,
        }
        assert files == other_files == []

    def test_the_first_knows_how_far_a_fit_has_come(self, met):
        (said, n_states, one), (other_said, no_states, other) = (
            result["resumed"] for result in met
        )
        assert said == other_said == "ValueError: a callback has failed"
        assert (n_states, no_states) == (2, 0)
        assert_same_bits(one, other)
        X, _ = distributed_fits.paired_rows()
        sae = distributed_fits.small(max_iter=5, random_state=0).fit(X)
        assert_close(one, distributed_fits.parts_of(sae))

    def test_only_fit_is_collective(self, met):
        assert 0 < met[0]["alone"] < 1

    def test_grid_search(self, met):
        expected = distributed_fits.searched()
        for result in met:
            assert_allclose(result["searched"], expected, atol=1e-9)

    def test_aligned_views(self, met):
        one, other = (result["aligned"] for result in met)
        assert_same_bits(one, other)
        alone = distributed_fits.aligned()
        assert_array_equal(one["matching"], alone["matching"])
        assert_close(one, alone)

    def test_as_many_rows_as_processes(self, met):
        assert_close(met[0]["two_rows"], distributed_fits.two_rows())

    def test_streamed_batches_are_those_of_both(self, met, monkeypatch):
        monkeypatch.setattr(skxsae._training, "shuffled", in_turn)
        for result in met:
            assert_close(result["streamed"], distributed_fits.streamed())


def in_turn(views, n_batches, rng):
    """An order of one process, whose batches are those of two processes together."""
    state = rng.get_state()
    own = views[0].peers
    orders = []
    for rank in range(2):
        rng.set_state(state)
        for view in views:
            view.peers = Peers(rank, 2)
        orders.append(shuffled(views, n_batches, rng))
    for view in views:
        view.peers = own
    return Together(orders)


class Together:
    """Batches of several orders beside each other."""

    def __init__(self, orders):
        self.orders = orders

    def chunks(self, first=0):
        parts = [
            [rows[part] for rows, places in order.chunks(first) for part in places]
            for order in self.orders
        ]
        for together in zip(*parts, strict=True):
            yield torch.cat(together), [slice(None)]

    def lengths(self, batch):
        return [sum(self.orders[0].lengths(batch))]


@pytest.fixture(scope="module")
def undisturbed(met):
    """Fitted arrays of two processes that nothing happens to."""
    one, other = (result["forty_steps"] for result in met)
    assert_same_bits(one, other)
    return one


@needs_gloo
@pytest.mark.slow
def test_a_killed_process_is_started_again_and_the_fit_goes_on(tmp_path, undisturbed):
    place = random.randrange(2), random.randint(2, 38)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
    command += ["--max-restarts", "3", str(HERE / "restarted_fit.py"), str(tmp_path)]
    run = subprocess.run(
        [*command, *map(str, place)],
        # else processes that start again may find the addresses of those before them
        # in the store of torchrun: pytorch issue 135712
        env={**ENVIRONMENT, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        timeout=150,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, f"{place}\n{run.stderr}"
    fitted = dict(np.load(tmp_path / "fit.npz"))
    assert fitted.pop("attempt") == 1, place
    assert fitted.pop("n_states") > 0, place
    assert not list((tmp_path / "states").iterdir()), place
    assert_same_bits(fitted, undisturbed)


@contextmanager
def two_hosts():
    """Network namespaces with a cable between them, and the address of the first."""
    names = [f"skxsae-{uuid.uuid4().hex[:8]}" for _ in range(2)]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, timeout=10, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        peer = ["peer", "name", "cable", "netns", names[1]]
        ip("-n", names[0], "link", "add", "cable", "type", "veth", *peer)
        for i, name in enumerate(names):
            ip("-n", name, "address", "add", f"10.77.0.{i + 1}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names, "tcp://10.77.0.1:29500"
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], timeout=10, check=False)


def can_have_hosts():
    """Whether network namespaces may be made here."""
    if shutil.which("ip") is None:
        return False
    try:
        with two_hosts():
            return True
    except subprocess.SubprocessError:
        return False


@needs_gloo
@pytest.mark.slow
def test_two_hosts(monkeypatch, undisturbed):
    if not can_have_hosts():
        pytest.skip("network namespaces need root and the program ip")
    monkeypatch.setitem(ENVIRONMENT, "GLOO_SOCKET_IFNAME", "cable")
    with two_hosts() as (names, address):
        hosts = [["ip", "netns", "exec", name] for name in names]
        apart = in_processes(
            "distributed_fits", "forty_steps", 2, address=address, hosts=hosts
        )
    for fitted in apart:
        assert_same_bits(fitted, undisturbed)


class Rows:
    """An array that counts how often each of its rows is read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.ndim = 2
        self.counts = np.zeros(len(array), dtype=int)

    def __getitem__(self, rows):
        self.counts[rows] += 1
        return self.array[rows]


@pytest.mark.parametrize("size", [1, 3, 4])
def test_each_process_reads_its_own_rows(size):
    array = distributed_fits.paired_rows(1000)[0]
    n_reads = np.zeros(len(array), dtype=int)
    for rank in range(size):
        rows = Rows(array)
        X = DiskArray(rows, buffer_bytes=array.nbytes // 5, block_rows=16)
        views = make_views({"normalize": None}, [X], "cpu", Peers(rank, size))
        order = shuffled(views, 20, np.random.RandomState(0))
        assert isinstance(order, ShuffledByBlocks)
        assert len(list(batches(views, order))) == 20
        # what lies between the rows of a block may be read with them
        assert rows.counts.sum() <= len(array) / size + 4 * 16
        n_reads += rows.counts
    assert n_reads.min() >= 1
    assert n_reads.sum() <= len(array) + 8 * 16 * size


def test_each_process_checks_its_own_rows():
    array = np.zeros((10, 3))
    array[7, 1] = np.inf
    rows = Rows(array)
    check_finite(rows, "X", Peers(0, 2))
    assert_array_equal(rows.counts, [1] * 5 + [0] * 5)
    with pytest.raises(ValueError, match="infinity in row 7, column 1"):
        check_finite(rows, "X", Peers(1, 2))


@pytest.mark.parametrize("n", [0, 1, 3, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_shares_are_a_partition(n, size):
    shares = [Peers(rank, size).share(n) for rank in range(size)]
    things = [np.arange(n)[share] for share in shares]
    assert_array_equal(np.concatenate(things), np.arange(n))
    assert Peers(0, size).shares(n) == [share.stop - share.start for share in shares]


@pytest.mark.parametrize("n_batches", [1, 7, 13])
def test_orders_know_how_many_rows_the_others_have(n_batches):
    rng = np.random.RandomState
    for rank in range(3):
        group = Peers(rank, 3)
        X = np.zeros((101, 2))
        views = make_views({"normalize": None}, [X], "cpu", group)
        by_blocks = ShuffledByBlocks(101, n_batches, rng(0), group, Blocks(4, 30))
        for order in (shuffled(views, n_batches, rng(0)), by_blocks):
            for i, [rows] in enumerate(batches(views, order)):
                assert order.lengths(i)[rank] == len(rows)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("k", [1, 2, 7, 30, 60, 99])
def test_largest(dtype, k):
    generator = torch.Generator().manual_seed(k)
    values = torch.randn(60, dtype=dtype, generator=generator).relu()
    values[:20] = values[20:40]  # ties
    values[-1] = torch.finfo(dtype).tiny / 8
    expected = values.sort(descending=True).values[min(k, 60) - 1]
    assert Peers().largest(values, k) == expected


def test_alone_nothing_is_asked():
    alone = peers()
    tensor = torch.arange(3)
    assert (alone.rank, alone.size) == (0, 1)
    assert alone.total(tensor) is tensor
    assert alone.least(tensor) is tensor
    assert alone.concatenated(tensor) is tensor
    assert alone.gathered("x") == ["x"]
    assert alone.agreed("x") == alone.of_first(lambda: "x") == "x"
    given = np.random.RandomState(0)
    assert alone.random_state(given) is given
    with pytest.raises(KeyError), alone.agreeing():
        raise KeyError("as it is")


def test_a_seed_is_drawn_where_others_draw_too():
    np.random.seed(7)  # noqa: NPY002
    one = peers().random_state(None).random()
    assert peers().random_state(None).random() != one
    np.random.seed(7)  # noqa: NPY002
    assert peers().random_state(None).random() == one


def test_the_gpu_of_a_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert own_gpu() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_gpu() == torch.device("cuda", 3)
    # where each process is shown one GPU
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    assert own_gpu() == torch.device("cuda", 0)


def test_auto_takes_the_gpu_of_the_process(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == "cuda"
    monkeypatch.setattr(skxsae._validation, "peers", lambda: Peers(1, 2))
    assert resolve_device("auto") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == "cpu"


@pytest.mark.parametrize(
    ("backends", "from_cpu", "from_cuda"),
    [
        ("cpu:gloo,cuda:gloo", "cpu", "cuda:0"),
        ("cuda:nccl", "cuda:2", "cuda:0"),
        ("cpu:gloo,cuda:nccl", "cpu", "cuda:0"),
        ("cpu:gloo", "cpu", "cpu"),
    ],
)
def test_what_is_sent_lies_where_the_backend_takes_it(
    monkeypatch, backends, from_cpu, from_cuda
):
    gpu = torch.device("cuda:2")
    monkeypatch.setattr(dist, "get_backend_config", lambda: backends)
    monkeypatch.setattr(skxsae._distributed, "own_gpu", lambda: gpu)
    assert skxsae._distributed._wire(torch.device("cpu")) == torch.device(from_cpu)
    assert skxsae._distributed._wire(torch.device("cuda:0")) == torch.device(from_cuda)


@pytest.mark.gpu
def test_nccl():
    if torch.cuda.device_count() < 2:
        pytest.skip("NCCL needs a GPU for each of two processes")
    expected = distributed_fits.some_fits()
    fitted = in_processes("distributed_fits", "some_fits_on_gpus", 2, backend="nccl")
    for name, one in expected.items():
        assert_same_bits(fitted[0][name], fitted[1][name])
        assert_close(fitted[0][name], one, "float32")
