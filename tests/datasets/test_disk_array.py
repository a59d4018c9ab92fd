"""Rows on disk, judged by the array that was written there."""

import copy
import io
import os
import pickle
import re
import subprocess
import sys
import textwrap
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline

from skxsae import PairedSAE, PostHocAlignedSAE, TopKSAE
from skxsae.baselines import SparseBaseline
from skxsae.datasets import DiskArray, load_array, load_paired_arrays
from skxsae.interventions import ModalityGapRemover
from skxsae.metrics import (
    explained_variance_ratio,
    mean_difference_gap,
    relative_modality_gap,
    retrieval_ranks,
)

RNG = np.random.default_rng(0)
MEMORY = fsspec.filesystem("memory")
EXAMPLES = settings(
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
linux_only = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits memory as Linux does"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory, and nothing in fsspec's memory."""
    monkeypatch.chdir(tmp_path)
    MEMORY.store.clear()
    return tmp_path


class OnlySlices:
    """Rows that can only be sliced, as those of h5py and zarr can."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, rows):
        assert isinstance(rows, slice)
        return self._array[rows].tolist()


def parts_of(array, cuts):
    return np.split(array, sorted(cut % (len(array) + 1) for cut in cuts))


def write_npy(folder, array, cuts):
    np.save(folder / "a.npy", array)
    return "a.npy"


def write_fortran(folder, array, cuts):
    np.save(folder / "f.npy", np.asfortranarray(array))
    return folder / "f.npy"


def write_archive(folder, array, cuts):
    np.savez(folder / "a.npz", other=np.ones(3), array=array)
    return "a.npz:array"


def write_shards(folder, array, cuts):
    (folder / "shards").mkdir(exist_ok=True)
    for old in (folder / "shards").iterdir():
        old.unlink()
    for number, part in enumerate(parts_of(array, cuts), start=8):
        order = "CF"[number % 2]
        np.save(folder / f"shards/img_emb_{number}.npy", np.array(part, order=order))
    return "shards"


def write_memory(folder, array, cuts):
    MEMORY.store.clear()
    for number, part in enumerate(parts_of(array, cuts)):
        stream = io.BytesIO()
        np.save(stream, part)
        MEMORY.pipe(f"/emb/{number}.npy", stream.getvalue())
    return "memory://emb"


def write_mixture(folder, array, cuts):
    first, second = array[: len(array) // 2], array[len(array) // 2 :]
    np.save(folder / "m.npy", second)
    return [DiskArray(first), "m.npy"]


def arrow_table(array, kind="list"):
    pa = pytest.importorskip("pyarrow")
    array = array.astype(array.dtype.newbyteorder("="))
    values = pa.array(np.ascontiguousarray(array).ravel())
    if kind == "fixed":
        lists = pa.FixedSizeListArray.from_arrays(values, array.shape[1])
    else:
        starts = np.arange(len(array) + 1) * array.shape[1]
        make = pa.LargeListArray if kind == "large" else pa.ListArray
        lists = make.from_arrays(
            starts.astype("i8" if kind == "large" else "i4"), values
        )
    return pa.table({"id": np.arange(len(array)), "emb": lists})


def write_parquet(path, array, kind="list", rows=4, **kwargs):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(arrow_table(array, kind), path, row_group_size=rows, **kwargs)


def write_one_parquet(folder, array, cuts):
    write_parquet("a.parquet", array, kind=["list", "fixed", "large"][len(cuts) % 3])
    return "a.parquet"


def write_parquet_folder(folder, array, cuts):
    (folder / "table").mkdir(exist_ok=True)
    for old in (folder / "table").iterdir():
        old.unlink()
    (folder / "table/_metadata.parquet").write_bytes(b"of another program")
    for number, part in enumerate(parts_of(array, cuts), start=8):
        # the width of no lists at all is known by a fixed size only
        write_parquet(f"table/part-{number}.parquet", part, kind="fixed")
    return "table"


def write_parquet_to_memory(folder, array, cuts):
    write_parquet("a.parquet", array)
    MEMORY.pipe("/a.parquet", (folder / "a.parquet").read_bytes())
    return "memory://a.parquet:emb"


WRITERS = {
    "array": lambda folder, array, cuts: array,
    "slices": lambda folder, array, cuts: OnlySlices(array),
    "local url": lambda *args: f"file://{args[0] / write_npy(*args)}",
    **{
        write.__name__.removeprefix("write_"): write
        for write in (
            write_npy,
            write_fortran,
            write_archive,
            write_shards,
            write_memory,
            write_mixture,
            write_one_parquet,
            write_parquet_folder,
            write_parquet_to_memory,
        )
    },
}
INDICES = st.one_of(
    st.slices(30),
    st.integers(-30, 29),
    st.lists(st.integers(-30, 29), max_size=40),
    st.lists(st.integers(0, 29), max_size=40).map(sorted),
    st.permutations(range(30)),
    st.lists(st.booleans(), min_size=30, max_size=30),
)


def rows_of(dtype, width, seed):
    values = np.random.default_rng(seed).integers(0, 99, (30, width))
    return (values % 2 if dtype == "?" else values).astype(dtype)


ARRAYS = st.builds(
    rows_of,
    st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "u8", "?"]),
    st.integers(1, 5),
    st.integers(0, 999),
)


def index(array, rows):
    """What NumPy has at these rows, where [] is a list of rows."""
    return array[np.array(rows, dtype=int)] if rows == [] else array[rows]


@pytest.mark.parametrize("source", WRITERS)
@EXAMPLES
@given(
    array=ARRAYS,
    cuts=st.lists(st.integers(0, 30), max_size=4),
    rows=INDICES,
    others=INDICES,
    buffer_bytes=st.sampled_from([1, 50, 300, 2**28]),
)
def test_rows_are_those_of_the_array(
    folder, source, array, cuts, rows, others, buffer_bytes
):
    place = WRITERS[source](folder, array, cuts)
    if "parquet" in source:  # whose row groups must fit
        buffer_bytes = max(buffer_bytes, 2 * 4 * array[0].nbytes)
        array = array.astype(array.dtype.newbyteorder("="))
    X = DiskArray(place, buffer_bytes=buffer_bytes)
    assert (X.shape, X.dtype, X.ndim) == (array.shape, array.dtype, 2)
    assert (len(X), X.size, X.nbytes) == (len(array), array.size, array.nbytes)
    for chosen in (X[rows], X[rows, ...], X[rows, :]):
        expected = index(array, rows)
        assert type(chosen) is np.ndarray
        assert (chosen.shape, chosen.dtype) == (expected.shape, array.dtype)
        assert_array_equal(chosen, expected)
    assert_array_equal(np.asarray(X), array)
    assert_array_equal(np.array(list(X)), array)
    converted = X.astype("f4")
    assert converted[rows].dtype == np.float32
    assert_array_equal(converted[rows], index(array.astype("f4"), rows))
    if not isinstance(rows, int):
        some = X.select(rows)
        few = index(array, rows)
        assert some.shape == few.shape
        assert_array_equal(some, few)
        assert_array_equal(some[::-1], few[::-1])
        again = X.select(others if isinstance(others, (list, slice)) else [others])
        twice = again.select(np.arange(len(again))[::2])
        expected = index(array, others if not isinstance(others, int) else [others])
        assert_array_equal(twice, expected[::2])


def test_what_is_read_can_be_written_to():
    array = np.zeros((4, 2))
    X = DiskArray(array)
    X[:][0, 0] = X[[1, 2]][0, 0] = X[3][0] = 1
    assert_array_equal(array, 0)


@pytest.mark.parametrize("source", ["npy", "one_parquet", "array", "memory"])
def test_copies_and_pickles_read_the_same(folder, source):
    array = RNG.normal(size=(30, 3))
    X = DiskArray(WRITERS[source](folder, array, [7]), block_rows=5)
    X[:3]  # whatever this keeps
    X = X.select(np.arange(20)[::-1]).astype("f4")
    pickled = pickle.dumps(X)
    assert source == "array" or len(pickled) < 20 * 3 * 8 + 3000
    for other in (copy.copy(X), copy.deepcopy(X), pickle.loads(pickled)):
        assert other.block_rows == 5
        assert_array_equal(other, X)
        assert repr(other) == repr(X)


def test_a_pickle_takes_no_rows_along(folder):
    write_parquet("a.parquet", np.ones((1000, 10)), rows=1000)
    np.save("a.npy", np.ones((1000, 10)))
    for path in ("a.npy", "a.parquet"):
        X = DiskArray(path)
        assert_array_equal(X[3], 1)
        assert len(pickle.dumps(X)) < 10_000


def test_the_smallest_integers_hold_selected_rows():
    X = DiskArray(np.zeros((300, 1)))
    n_bytes = len(pickle.dumps(X.select(np.zeros(100_000, dtype=int))))
    assert 200_000 < n_bytes < 210_000


def test_repr_says_what_it_is(folder):
    np.save("a.npy", np.ones((3, 2), dtype="f2"))
    X = DiskArray("a.npy")
    assert repr(X) == "DiskArray(shape=(3, 2), dtype=float16, source='a.npy')"
    assert "source=ndarray" in repr(DiskArray(np.ones((3, 2))))
    assert "source=[2 parts]" in repr(DiskArray([np.ones((3, 2))] * 2))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (30, "row 30 is out of bounds: there are 30 rows"),
        (-31, "row -31 is out of bounds"),
        ([0, 99], "row 99 is out of bounds"),
        (np.array([2**63], dtype=np.uint64), "out of bounds"),
        ([[0, 1]], "one dimension, but 2 were given"),
        ([True], "a mask of 1 entries for 30 rows"),
        ([0.5], "by integers or booleans, not float64"),
        (["a"], "by integers or booleans"),
        (True, "one dimension"),
        (None, "one dimension"),
        ((..., 0), "only rows"),
        ((0, 1), "only rows"),
        ((slice(None), [0, 1]), "only rows"),
        ((), "only rows"),
    ],
)
def test_other_indices_are_refused(rows, words):
    with pytest.raises(IndexError, match=words):
        DiskArray(np.ones((30, 3)))[rows]


def test_an_array_without_a_copy_is_refused():
    with pytest.raises(ValueError, match="without a copy"):
        np.array(DiskArray(np.ones((3, 3))), copy=False)
    assert np.asarray(DiskArray(np.ones((3, 3))), dtype="f2").dtype == np.float16


def test_threads_read_the_same_rows(folder):
    array = RNG.normal(size=(400, 6))
    write_parquet("a.parquet", array, rows=30)
    np.save("a.npy", array)
    for path in ("a.npy", "a.parquet"):
        X = DiskArray(path)
        start = threading.Barrier(8)

        def read(seed, X=X, start=start):
            start.wait()
            rows = np.random.default_rng(seed).integers(0, 400, (50, 20))
            return [np.array_equal(X[batch], array[batch]) for batch in rows]

        with ThreadPoolExecutor(8) as pool:
            assert np.all(list(pool.map(read, range(8))))


# what is read


class OtherMemory(MemoryFileSystem):
    """fsspec's memory by another name."""

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix(f"{cls.protocol}://"))


class Counted(OtherMemory):
    """A file system that notes the ranges it is asked for."""

    protocol = "counted"
    asked = []

    def cat_ranges(self, paths, starts, ends, **kwargs):
        self.asked.extend(zip(starts, ends, strict=True))
        return super().cat_ranges(paths, starts, ends, **kwargs)


def test_near_rows_are_one_request_and_far_ones_are_not(folder):
    fsspec.register_implementation("counted", Counted, clobber=True)
    array = np.zeros((3_000, 512))  # 4 KiB a row
    array[:, 0] = np.arange(3_000)
    stream = io.BytesIO()
    np.save(stream, array)
    MEMORY.pipe("/a.npy", stream.getvalue())
    X = DiskArray("counted://a.npy")
    Counted.asked.clear()
    assert_array_equal(X[[2_900, 5, 7, 6, 2_950, 5]][:, 0], [2_900, 5, 7, 6, 2_950, 5])
    row = 512 * 8
    expected = [(5, 8), (2_900, 2_951)]
    assert Counted.asked == [(128 + a * row, 128 + b * row) for a, b in expected]
    Counted.asked.clear()
    assert_array_equal(X[100:2_700], array[100:2_700])  # more than one request holds
    assert Counted.asked[0][0] == 128 + 100 * row
    assert Counted.asked[-1][1] == 128 + 2_700 * row
    ends = [end for _, end in Counted.asked[:-1]]
    assert ends == [start for start, _ in Counted.asked[1:]]


def test_a_row_group_is_read_once_for_slices_that_follow(folder, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    array = RNG.normal(size=(100, 3))
    write_parquet("a.parquet", array, rows=40)
    X = DiskArray("a.parquet")
    assert X.block_rows == 40
    assert DiskArray("a.parquet", block_rows=7).block_rows == 7
    read = []
    iter_batches = pq.ParquetFile.iter_batches

    def noted(self, *args, row_groups, **kwargs):
        read.extend(row_groups)
        return iter_batches(self, *args, row_groups=row_groups, **kwargs)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    for start in range(0, 100, 7):
        assert_array_equal(X[start : start + 7], array[start : start + 7])
    assert read == [0, 1, 2]
    read.clear()
    rows = RNG.permutation(100)
    assert_array_equal(X[rows], array[rows])
    assert sorted(read) in ([0, 1], [0, 1, 2])  # the last one may still be at hand


# memory

BOUNDED = """
import resource, sys
import numpy as np
from skxsae.datasets import DiskArray

def held():
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmData"))
    return 1024 * int(line.split()[1])

path, buffer_bytes, step = sys.argv[1], *map(int, sys.argv[2:])
X = DiskArray(path, buffer_bytes=buffer_bytes)
assert X.nbytes == 2**31
n_rows = len(X) // 128  # in 16 MiB
rows = np.random.default_rng(0).permutation(n_rows).astype("i4")
some = X.select(100 * rows[:4096]).astype("f2")
X[:10], X[[5, 1]]
# what is asked for, its numbers and their order, and the buffer
limit = held() + 2**24 + 4 * 8 * n_rows + buffer_bytes + 2**21
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
for start in range(0, len(X), step * n_rows):
    X[start : start + n_rows]
X[rows]
X[rows * 0]
some[:]
some[::-1]
try:
    np.asarray(X)
except MemoryError:
    print("bounded")
"""


def run(program, *args):
    """What a program prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        # memory that is freed is given back at once
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@linux_only
@pytest.mark.slow
@pytest.mark.parametrize(("order", "width", "step"), [("C", 512, 1), ("F", 32, 9)])
def test_two_gigabytes_are_read_in_a_few_megabytes(folder, order, width, step):
    shape = 2**29 // width, width
    header = {"descr": "<f4", "fortran_order": order == "F", "shape": shape}
    with open("big.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + 2**31)
    assert run(BOUNDED, "big.npy", 2**22, step) == "bounded"


PARQUET = """
import sys, tracemalloc
import numpy as np
import pyarrow as pa
from skxsae.datasets import DiskArray

X = DiskArray(sys.argv[1], buffer_bytes=2**22)
rows = np.random.default_rng(0).permutation(len(X))[:64]
X[:1]
tracemalloc.start()
for start in range(0, len(X), 64):
    X[start : start + 64]
X[rows]
peak = tracemalloc.get_traced_memory()[1]
print(X.nbytes, peak, pa.default_memory_pool().max_memory())
"""


def test_parquet_is_read_within_the_buffer(folder):
    write_parquet("a.parquet", RNG.normal(size=(16_000, 128)), rows=2_000)
    size, numpy_peak, arrow_peak = map(int, run(PARQUET, "a.parquet").split())
    assert size == 16_000 * 128 * 8
    # a row group of 2 MB, and what is asked for
    assert numpy_peak < 2**21 + 2 * 64 * 128 * 8 + 2**20
    # pages, and a batch of them as numbers
    assert arrow_peak < 2**23


# files that are not what they should be


def expect(error, source, *parts, **kwargs):
    """Opening fails with an error on one line that holds all `parts`."""
    with pytest.raises(error) as caught:
        DiskArray(source, **kwargs)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


@pytest.mark.parametrize("url", [False, True])
@pytest.mark.parametrize("keep", [0, 4, 50, 127, 128, 200])
def test_truncated_npy(folder, keep, url):
    np.save("a.npy", np.ones((4, 5)))
    content = (folder / "a.npy").read_bytes()[:keep]
    (folder / "a.npy").write_bytes(content)
    MEMORY.pipe("/a.npy", content)
    source = "memory://a.npy" if url else "a.npy"
    message = expect(ValueError, source, "cannot be read", "truncated")
    assert message.startswith(f"source={source!r}")


@pytest.mark.parametrize("source", ["a.npy", "memory://a.npy", "f.npy", "a.npz:a"])
def test_a_file_truncated_after_opening(folder, source):
    array = np.arange(400.0).reshape(100, 4)
    np.save("a.npy", array)
    np.save("f.npy", np.asfortranarray(array))
    np.savez("a.npz", a=array)
    MEMORY.pipe("/a.npy", (folder / "a.npy").read_bytes())
    X = DiskArray(source)
    path = folder / source.removeprefix("memory://").removesuffix(":a")
    content = path.read_bytes()[:1500]
    path.write_bytes(content)
    MEMORY.pipe("/a.npy", content)
    if source != "f.npy":  # whose rows are all over the file
        assert_array_equal(X[:30], array[:30])
    for rows in (slice(None), [99, 3], 99):
        with pytest.raises(ValueError, match="ends before rows that it had"):
            X[rows]


@pytest.mark.parametrize("keep", [0, 3, 500, 3000, -1, -9])
def test_truncated_parquet(folder, keep):
    write_parquet("a.parquet", RNG.normal(size=(100, 5)), rows=30)
    content = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(content[:keep])
    expect(ValueError, "a.parquet", "cannot be read", "damaged", "pyarrow")


def test_a_parquet_file_damaged_after_opening(folder):
    write_parquet("a.parquet", RNG.normal(size=(100, 5)), rows=30)
    X = DiskArray("a.parquet")
    content = (folder / "a.parquet").read_bytes()
    (folder / "a.parquet").write_bytes(content[:1000])
    with pytest.raises(ValueError, match=r"'a\.parquet' cannot be read"):
        X[:]
    (folder / "a.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="parquet"):
        X[:]


def lists(rows):
    pa = pytest.importorskip("pyarrow")
    return pa.table({"emb": pa.array(rows, pa.list_(pa.float32()))})


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[1, 2]] * 5 + [[3]] + [[1, 2]] * 4, "row 5 of column 'emb' holds 1 numbers"),
        ([[1, 2]] * 6 + [[1, 2, 3], [1]], "row 6 of column 'emb' holds 3 numbers"),
        ([[1, 2]] * 7 + [None], "row 7 of column 'emb' is missing"),
        ([[1, 2]] * 3 + [[1, None]], "row 3 of column 'emb' holds a missing number"),
        ([[1, 2]] * 3 + [[]], "row 3 of column 'emb' holds 0 numbers"),
        ([[1, 2], [1]], "row 1 of column 'emb' holds 1 numbers where others hold 2"),
    ],
)
def test_rows_of_other_lengths_are_named(folder, rows, words):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(lists(rows), "a.parquet", row_group_size=4)
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        DiskArray("a.parquet")[:]
    assert "'a.parquet'" in str(caught.value)


def test_row_groups_larger_than_the_buffer(folder):
    write_parquet("a.parquet", np.ones((100, 4)), rows=50)
    with pytest.raises(ValueError, match="row group of 50 rows") as caught:
        DiskArray("a.parquet", buffer_bytes=3000)
    assert "row_group_size=46" in str(caught.value)
    assert "buffer_bytes=3200" in str(caught.value)
    write_parquet("b.parquet", np.ones((100, 4)), rows=46)
    assert DiskArray("b.parquet", buffer_bytes=3000).shape == (100, 4)
    assert DiskArray("a.parquet", buffer_bytes=3200).shape == (100, 4)


def test_columns_of_parquet(folder):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    columns = {"x": [[1.0, 2], [3, 4]], "y": [[1], [2]], "words": [["a"], ["b"]]}
    pq.write_table(pa.table(columns), "a.parquet")
    expect(ValueError, "a.parquet", "2 columns", "'x', 'y'")
    expect(ValueError, "a.parquet", "'words'", "'x', 'y'", column="words")
    assert DiskArray("a.parquet", column="y").shape == (2, 1)
    assert DiskArray("a.parquet:x").shape == load_array("a.parquet:x").shape == (2, 2)
    pq.write_table(pa.table({"id": [1, 2]}), "b.parquet")
    expect(ValueError, "b.parquet", "0 columns", "none")
    np.save("a.npy", np.ones((2, 2)))
    expect(ValueError, "a.npy", "column='x' is a column of Parquet", column="x")


def column_before(pa, kind):
    """Values of a column that takes one or several columns of Parquet."""
    structs = pa.array([{"c": 1, "d": 2}] * 4)
    opaque = pa.opaque(structs.type, "name", "vendor")
    return {
        "a name with a dot": ("emb.v2", pa.array([[1.0, 2, 3]] * 4)),
        "struct": ("s", pa.array([{"emb": [1, 2, 3], "b": {"c": 1, "d": 2}}] * 4)),
        "map": ("m", pa.array([[("a", 1)]] * 4, pa.map_(pa.string(), pa.int8()))),
        "nested": ("n", pa.array([[[1, 2, 3], [4]]] * 4)),
        "dictionary": ("d", pa.array(["a"] * 4).dictionary_encode()),
        "extension": ("e", pa.ExtensionArray.from_storage(opaque, structs)),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["a name with a dot", "struct", "map", "nested", "dictionary", "extension"]
)
@pytest.mark.parametrize("is_first", [True, False])
def test_columns_beside_the_one_that_is_meant(folder, kind, is_first):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    array = np.arange(20.0).reshape(4, 5)
    columns = [column_before(pa, kind), ("emb", pa.array(list(array)))]
    pq.write_table(pa.table(dict(columns if is_first else columns[::-1])), "a.parquet")
    assert_array_equal(DiskArray("a.parquet", column="emb"), array)
    if kind == "a name with a dot":
        assert_array_equal(DiskArray("a.parquet:emb.v2"), [[1, 2, 3]] * 4)


@pytest.mark.parametrize("empty", [[], None])
def test_parquet_without_any_number_is_refused(folder, empty):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(lists([empty] * 3), "a.parquet")
    expect(ValueError, "a.parquet", "row 0 of column 'emb' holds no numbers")
    pq.write_table(lists([[7], [8], [9]]), "b.parquet")
    assert_array_equal(DiskArray("b.parquet"), [[7], [8], [9]])


def test_a_folder_of_parquet_with_its_column(folder):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    os.mkdir("a.parquet")  # as Spark calls them
    for number in range(2):
        columns = {"x": [[1.0, 2]], "y": [[float(number)]]}
        pq.write_table(pa.table(columns), f"a.parquet/{number}.parquet")
    assert_array_equal(DiskArray("a.parquet:y"), [[0], [1]])
    assert_array_equal(load_array("a.parquet:y"), [[0], [1]])


def test_npy_files_of_a_folder_come_before_its_tables(folder):
    os.mkdir("emb")
    np.save("emb/emb_0.npy", np.zeros((3, 2)))
    write_parquet("emb/metadata_0.parquet", np.ones((3, 4)))
    assert DiskArray("emb").shape == load_array("emb").shape == (3, 2)
    assert DiskArray("emb", column="emb").shape == (3, 4)


def test_files_of_a_parquet_folder_follow_their_numbers(folder):
    os.mkdir("emb")
    for number in (10, 9, 8):
        write_parquet(f"emb/p{number}.parquet", np.full((2, 1), number))
    assert_array_equal(load_array("emb")[:].ravel(), [8, 8, 9, 9, 10, 10])


def test_missing_pyarrow_is_named(folder, monkeypatch):
    (folder / "a.parquet").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    expect(ImportError, "a.parquet", "skxsae[parquet]")


def test_what_is_no_array(folder):
    np.save("flat.npy", np.ones(3))
    np.save("words.npy", np.array([["a"]]))
    np.save("objects.npy", np.array([[None]]), allow_pickle=True)
    np.savez_compressed("a.npz", a=np.ones((3, 2)))
    with zipfile.ZipFile("b.npz", "w") as archive:
        archive.writestr("a.npy", b"nothing")
    (folder / "a.txt").write_text("1 2 3")
    (folder / "b.npy").write_bytes(b"PK and then something else")
    os.mkdir("empty")
    expect(ValueError, "flat.npy", "shape (3,)", "2-D")
    expect(ValueError, "words.npy", "<U1", "real numbers")
    expect(ValueError, "objects.npy", "Python objects", "never unpickled")
    for archive in ("a.npz", "a.npz:a", [np.ones((1, 2)), "a.npz"]):
        expect(ValueError, archive, "compressed", "numpy.savez")
    np.savez("two.npz", a=np.ones(2), b=np.ones(2))
    expect(ValueError, "two.npz", "2 arrays", "'a', 'b'")
    expect(ValueError, "a.npz:b", "no array named 'b'", "'a'")
    expect(ValueError, "b.npz:a", "no valid .npy header")
    expect(ValueError, "a.txt", "no .npy, .npz or .parquet", "a folder of numbered")
    expect(ValueError, "b.npy", "no valid .npy header")
    expect(ValueError, "empty", "without numbered files")
    expect(ValueError, [], "empty list")
    expect(ValueError, 3, "type int")
    expect(ValueError, np.ones((3, 2), dtype=complex), "complex128")
    expect(ValueError, [np.ones((3, 2)), np.ones((3, 3))], "(3,)", "(2,)")
    expect(FileNotFoundError, "no.npy", "no file 'no.npy'")
    expect(FileNotFoundError, "no.npz:a", "no file 'no.npz'")
    expect(FileNotFoundError, "no.parquet", "no file 'no.parquet'")
    expect(FileNotFoundError, "memory://no.npy", "no file 'memory://no.npy'")
    expect(ValueError, np.ones((3, 2)), "buffer_bytes", buffer_bytes=0)
    expect(ValueError, np.ones((3, 2)), "block_rows", block_rows=0)
    expect(ValueError, "nowhere://a.npy", "nowhere")
    with pytest.raises(ValueError, match="complex64"):
        DiskArray(np.ones((3, 2))).astype(np.complex64)


@pytest.mark.parametrize("load", [DiskArray, load_array])
@pytest.mark.parametrize(
    "place", ["no/img_emb", "img_emb", "img_emb.pt", "memory://no"]
)
def test_what_is_missing_is_told_before_its_format_is_judged(folder, place, load):
    with pytest.raises(FileNotFoundError, match=f"there is no file '{place}'"):
        load(place)


@pytest.mark.parametrize(
    "source",
    [
        sparse.csr_array(np.eye(3)),
        sparse.coo_matrix(np.eye(3)),
        np.ma.masked_array(np.eye(3), mask=np.eye(3)),
        np.ma.masked_array(np.eye(3)),
    ],
)
def test_sparse_and_masked_arrays_are_refused(source):
    for whole in (source, [np.eye(3), source]):
        expect(ValueError, whole, type(source).__name__, "not a dense array")


class Sliced:
    """Rows whose slices are what a function makes of them."""

    shape, dtype = (10, 3), np.dtype("f8")

    def __init__(self, change):
        self.change = change

    def __getitem__(self, rows):
        return self.change(np.ones(self.shape)[rows])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rows: rows[:1], r"slice \[2:6\] has shape \(1, 3\) instead of \(4, 3"),
        (lambda rows: rows[0], r"shape \(3,\)"),
        (lambda rows: rows[:, :1], r"shape \(4, 1\)"),
        (lambda rows: 1.0, r"shape \(\)"),
        (sparse.csr_array, r"shape \(\)"),
        (lambda rows: np.ma.masked_array(rows, mask=rows > 0), "masked numbers"),
    ],
)
def test_slices_that_are_not_the_rows_are_refused(change, words):
    X = DiskArray(Sliced(change))
    with pytest.raises(ValueError, match=f"^source: .*{words}"):
        X[2:6]


def test_masked_slices_without_a_masked_number_are_read():
    X = DiskArray(Sliced(np.ma.masked_array))
    assert type(X[2:6]) is np.ndarray
    assert_array_equal(X[2:6], np.ones((4, 3)))


def header(shape, descr="<f8"):
    stream = io.BytesIO()
    fields = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, fields)
    return stream.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        header((-1, -1)) + bytes(8),
        header((2**62, 2**62)),
        header((2**40, 1)),
        header((2, 2), "|O") + bytes(32),
        np.lib.format.MAGIC_PREFIX + b"\x01\x00\xff\xff",
        np.lib.format.MAGIC_PREFIX + b"\x02\x00\xff\xff\xff\xff" + bytes(100),
        np.lib.format.MAGIC_PREFIX + b"\x03\x00\x10\x00" + bytes(100),
        np.lib.format.MAGIC_PREFIX + b"\x01\x00\x03\x00{[]:1}",
        np.lib.format.MAGIC_PREFIX + b"\x01\x00\x05\x00" + b"(((((" + bytes(99),
        np.lib.format.MAGIC_PREFIX + b"\x01\x00\x88\x13" + b"-" * 5000,
    ],
)
@pytest.mark.parametrize("load", [DiskArray, load_array])
def test_hostile_headers(folder, content, load):
    (folder / "a.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read|never unpickled"):
        load("a.npy")


@linux_only
def test_pipes_are_not_waited_for(folder):
    os.mkdir("emb")
    np.save("emb/0.npy", np.ones((3, 2)))
    os.mkfifo("emb/1.npy")
    pipe = os.open("emb/1.npy", os.O_RDWR)  # without it a defect would wait for ever
    with pytest.raises(FileNotFoundError, match=r"no file 'emb/1\.npy'"):
        DiskArray("emb")
    for load in (DiskArray, load_array):
        with pytest.raises(FileNotFoundError, match=r"no file 'emb/1\.npy'"):
            load("emb/1.npy")
    os.close(pipe)


def test_links_are_followed(folder):
    os.mkdir("emb")
    np.save("elsewhere.npy", np.ones((3, 2)))
    for number in range(2):
        os.symlink(folder / "elsewhere.npy", f"emb/{number}.npy")
    assert DiskArray("emb").shape == (6, 2)
    os.symlink(folder / "nowhere.npy", "emb/2.npy")
    expect(FileNotFoundError, "emb", "emb/2.npy")


class Elsewhere(OtherMemory):
    """A file system whose listing leads out of the folder."""

    protocol = "elsewhere"

    def ls(self, path, detail=True, **kwargs):
        return [f"{path}/../../secret/0.npy", "/secret/1.npy"]


def test_a_listing_does_not_lead_out_of_its_folder(folder):
    fsspec.register_implementation("elsewhere", Elsewhere, clobber=True)
    for place, value in (("emb", 1), ("secret", 2)):
        for number in range(2):
            stream = io.BytesIO()
            np.save(stream, np.full((2, 2), value))
            MEMORY.pipe(f"/{place}/{number}.npy", stream.getvalue())
    assert_array_equal(DiskArray("elsewhere://emb"), 1)


# what takes it


VIEWS = (
    RNG.normal(size=(60, 8)).astype("f4"),
    RNG.normal(size=(60, 8)).astype("f4"),
)
ESTIMATORS = [
    TopKSAE(16, 3, max_iter=3, random_state=0),
    TopKSAE(16, 3, max_iter=3, activation="batch_topk", random_state=0),
    PairedSAE(16, 3, max_iter=3, random_state=0),
    PostHocAlignedSAE(16, 3, max_iter=3, random_state=0),
]


def fitted(estimator):
    """Every fitted array, by its name."""
    found = {}
    for name, value in vars(estimator).items():
        if isinstance(value, np.ndarray):
            found[name] = value
        elif name.endswith("sae_"):
            found.update({f"{name}.{key}": v for key, v in fitted(value).items()})
    return found


def bits(a, b):
    """Whether two results are the same to the last bit."""
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else [(a, b)]
    dense = [
        [z.toarray() if sparse.issparse(z) else np.asarray(z) for z in pair]
        for pair in pairs
    ]
    return all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in dense)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i4"])
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=str)
def test_estimators_do_the_same_with_it(monkeypatch, estimator, dtype):
    def refuse(array, *args, **kwargs):
        raise AssertionError(f"{array} is loaded at once")

    monkeypatch.setattr(DiskArray, "__array__", refuse)
    X, y = ((10 * view).astype(dtype) for view in VIEWS)
    disk = DiskArray([X[:20], X[20:]]), DiskArray(y)
    pair = (X, y), disk
    one = (X,), disk[:1]
    first, second = (copy.deepcopy(estimator) for _ in range(2))
    arguments = one if isinstance(estimator, TopKSAE) else pair
    first.fit(*arguments[0])
    second.fit(*arguments[1])
    assert fitted(first).keys() == fitted(second).keys()
    for name, value in fitted(first).items():
        assert_array_equal(fitted(second)[name], value, err_msg=name)
    for method in ("transform", "score"):
        results = [getattr(first, method)(*views) for views in arguments]
        assert bits(*results)


@pytest.mark.parametrize("method", ["nmf", "dictionary", "pca", "kmeans", "ica"])
def test_baselines_do_the_same_with_it(method):
    baseline = SparseBaseline(method, n_latents=4, k=2, random_state=0)
    X = VIEWS[0]
    results = [baseline.fit(rows).transform(rows) for rows in (X, DiskArray(X))]
    assert bits(*results)


def test_the_gap_remover_does_the_same_with_it():
    X, y = VIEWS
    results = [
        ModalityGapRemover().fit(*views).transform(*views)
        for views in (VIEWS, (DiskArray(X), DiskArray(y)))
    ]
    assert bits(*results)


@pytest.mark.parametrize(
    "score",
    [
        explained_variance_ratio,
        mean_difference_gap,
        relative_modality_gap,
        lambda X, y: retrieval_ranks(X, y).to_frame().to_numpy().tolist(),
    ],
)
def test_scores_do_the_same_with_it(score):
    results = [score(*views) for views in (VIEWS, tuple(map(DiskArray, VIEWS)))]
    assert results[0] == results[1]


def test_partial_fit_does_the_same_with_it():
    X, _ = VIEWS
    results = [
        TopKSAE(16, 3, batch_size=20, random_state=0).partial_fit(rows).transform(rows)
        for rows in (X, DiskArray(X))
    ]
    assert bits(*results)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_the_first_bad_row_is_named(bad):
    X = VIEWS[0].copy()
    X[41, 5] = bad
    with pytest.raises(ValueError, match="in row 41, column 5"):
        TopKSAE(16, 3).fit(DiskArray([X[:20], X[20:]]))


@pytest.mark.parametrize("shape", [(0, 3), (1, 3), (3, 0)])
def test_too_little_is_refused_as_of_an_array(shape):
    messages = []
    for X in (np.ones(shape, "f4"), DiskArray(np.ones(shape, "f4"))):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            TopKSAE().fit(X)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


@pytest.mark.filterwarnings("ignore::UserWarning")  # few matches among so few rows
def test_scikit_learn_splits_it():
    X, y = VIEWS
    labels = (X[:, 0] > 0).astype(int)
    disk = DiskArray(X), DiskArray(y)
    expected = train_test_split(X, labels, random_state=0)
    for part, other in zip(
        train_test_split(disk[0], labels, random_state=0), expected, strict=True
    ):
        assert_array_equal(part, other)
    pipeline = make_pipeline(
        TopKSAE(16, 3, max_iter=3, random_state=0), LogisticRegression()
    )
    scores = [cross_val_score(pipeline, rows, labels, cv=3) for rows in (X, disk[0])]
    assert_array_equal(*scores)
    sae = PostHocAlignedSAE(16, max_iter=3, random_state=0)
    searches = [GridSearchCV(sae, {"k": [2, 3]}, cv=2) for _ in range(2)]
    for search, views in zip(searches, (VIEWS, disk), strict=True):
        search.fit(*views)
    results = [search.cv_results_["mean_test_score"] for search in searches]
    assert_array_equal(*results)


def test_paired_arrays_stay_on_disk(folder):
    X, y = VIEWS
    for name, view in (("img_emb", X), ("text_emb", y)):
        os.mkdir(name)
        for number, part in enumerate(np.split(view, 3)):
            np.save(f"{name}/{name}_{number}.npy", part)
    data = load_paired_arrays("img_emb", "text_emb")
    expected = load_paired_arrays(X, y)
    assert isinstance(data.X, DiskArray)
    assert isinstance(data.y, DiskArray)
    for name in ("x_rows", "groups", "train", "test"):
        assert_array_equal(data[name], expected[name])
    given = load_paired_arrays(DiskArray(X), DiskArray(y))
    assert_array_equal(given.train, expected.train)
    sae = PairedSAE(16, 3, max_iter=2, random_state=0)
    codes = [
        sae.fit(*rows).transform(X)
        for rows in (
            (data.X.select(data.train), data.y.select(data.train)),
            (X[data.train], y[data.train]),
        )
    ]
    assert bits(*codes)


def test_a_hole_in_a_folder_of_parquet_files_is_noticed(tmp_path):
    pa, parquet = (pytest.importorskip(f"pyarrow{part}") for part in ("", ".parquet"))
    for number in (0, 1, 3):
        table = pa.table({"x": list(np.ones((4, 2), np.float32))})
        parquet.write_table(table, tmp_path / f"part_{number}.parquet")
    with pytest.raises(ValueError, match="lacks the file of number 2"):
        DiskArray(tmp_path)
    # names with more to them than a number say nothing of what is missing
    (tmp_path / "part_3.parquet").rename(tmp_path / "part_3_b.parquet")
    assert DiskArray(tmp_path).shape == (12, 2)
