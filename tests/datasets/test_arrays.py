"""Arrays on disk: mapped rather than read, and one clear error for each bad file."""

import os
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.testing import assert_array_equal

from skxsae.datasets import load_array


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    array=arrays(
        st.sampled_from(["f2", "f4", ">f8", "i1", "u8", "?", "U3", "c8"]),
        array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    fortran=st.booleans(),
    mmap_mode=st.sampled_from(["r", "c", None]),
    save=st.sampled_from([np.savez, np.savez_compressed]),
)
def test_round_trip(folder, array, fortran, mmap_mode, save):
    array = np.asfortranarray(array) if fortran and array.ndim else array
    np.save("a.npy", array)
    save("a.npz", first=np.zeros(5), array=array)
    save("one.npz", array)
    for spec in ("a.npy", "a.npz:array", "one.npz", "one.npz:arr_0"):
        loaded = load_array(spec, mmap_mode=mmap_mode)
        assert loaded.dtype == array.dtype
        assert loaded.shape == array.shape
        assert_array_equal(loaded, array)


@pytest.mark.parametrize("spec", ["a.npy", "a.npz:second"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_default_is_a_read_only_map(folder, spec, order):
    array = np.arange(12, dtype=np.float16).reshape((4, 3), order=order)
    np.save("a.npy", array)
    np.savez("a.npz", first=np.ones(7), second=array)
    loaded = load_array(spec)
    assert isinstance(loaded, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        loaded[0, 0] = 1
    assert_array_equal(loaded[[3, 1]], array[[3, 1]])


def test_copy_on_write_leaves_the_file_alone(folder):
    np.save("a.npy", np.zeros((2, 2)))
    loaded = load_array("a.npy", mmap_mode="c")
    loaded[0, 0] = 1
    assert_array_equal(load_array("a.npy"), 0)


@pytest.mark.parametrize("spec", ["big.npy", "big.npz"])
def test_opening_a_large_file_takes_no_memory(folder, spec):
    shape = (25_000, 512)  # 24 MiB
    np.lib.format.open_memmap("big.npy", mode="w+", dtype="f2", shape=shape).flush()
    with zipfile.ZipFile("big.npz", "w") as archive:
        archive.write("big.npy")
    tracemalloc.start()
    loaded = load_array(spec)
    rows = loaded[::5000]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.shape == (5, 512)
    assert peak < 2**20


def test_compressed_and_none_are_read_into_memory(folder):
    np.savez_compressed("a.npz", a=np.ones((3, 2)))
    np.save("a.npy", np.ones((3, 2)))
    for loaded in (load_array("a.npz"), load_array("a.npy", mmap_mode=None)):
        assert not isinstance(loaded, np.memmap)
        assert loaded.flags.writeable


def test_paths_and_odd_names(folder):
    (folder / "a:b.npz.d").mkdir()
    path = folder / "a:b.npz.d" / "c d.npy"
    np.save(path, np.ones(3))
    assert_array_equal(load_array(path), 1)
    np.savez(folder / "upper.npz", **{"a/b": np.ones(2), "x:y": np.zeros(2)})
    assert_array_equal(load_array("upper.npz:a/b"), 1)
    assert_array_equal(load_array("upper.npz:x:y"), 0)


def expect(error, spec, *parts):
    """Loading fails with an error that holds all `parts`, on one line."""
    with pytest.raises(error) as caught:
        load_array(spec)
    message = str(caught.value)
    assert message.startswith(f"spec={os.fspath(spec)!r}")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_missing_file(folder):
    expect(FileNotFoundError, "no.npy", "no file 'no.npy'", str(folder), "Give")
    expect(FileNotFoundError, "no.npz:a", "no file 'no.npz'", "Give")


@pytest.mark.parametrize("spec", ["a.pt", "a", "a.npy.gz", "a.npy:b"])
def test_other_formats(folder, spec):
    (folder / spec).write_bytes(b"something")
    expect(
        ValueError, spec, "no .npy, .npz or .parquet file", "'file.npz:name'", "save"
    )


def test_directory(folder):
    (folder / "a.npy").mkdir()
    expect(ValueError, "a.npy", "is a directory", "'file.npy'")


@pytest.mark.parametrize("keep", [0, 4, 50, 127, 128, 200])
def test_truncated_npy(folder, keep):
    np.save("a.npy", np.ones((4, 5)))
    content = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(content[:keep])
    expect(ValueError, "a.npy", "cannot be read", "truncated", "numpy.save")


def test_truncated_npy_tells_how_much_is_there(folder):
    np.save("a.npy", np.ones((4, 5)))
    content = (folder / "a.npy").read_bytes()
    (folder / "a.npy").write_bytes(content[:-8])
    expect(ValueError, "a.npy", "160 bytes", "(4, 5)", "float64", "152 follow")


@pytest.mark.parametrize("keep", [0, 10, 300])
def test_truncated_npz(folder, keep):
    np.savez("a.npz", a=np.ones((40, 5)))
    content = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(content[:keep])
    expect(ValueError, "a.npz:a", "cannot be read", "truncated", "numpy.savez")


def test_damaged_compressed_member(folder):
    np.savez_compressed("a.npz", a=np.arange(5000))
    content = bytearray((folder / "a.npz").read_bytes())
    content[200:1200] = bytes(1000)
    (folder / "a.npz").write_bytes(content)
    expect(ValueError, "a.npz", "cannot be read", "damaged")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_member_damaged_behind_its_first_rows(folder, save):
    save("a.npz", a=np.random.default_rng(0).normal(size=50_000))
    content = bytearray((folder / "a.npz").read_bytes())
    content[300_000:300_100] = bytes(100)
    (folder / "a.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz.* cannot be read"):
        load_array("a.npz", mmap_mode=None)


@pytest.mark.parametrize("mmap_mode", ["r", None])
def test_an_archive_that_promises_more_than_there_is(folder, mmap_mode):
    np.save("a.npy", np.ones((10_000, 3)))
    content = (folder / "a.npy").read_bytes()
    with zipfile.ZipFile("a.npz", "w") as archive:
        archive.writestr("a.npy", content[:-2000])
    sizes = [np.uint32(len(content) - less).tobytes() for less in (2000, 0)]
    archive = (folder / "a.npz").read_bytes()
    assert archive.count(sizes[0]) == 4  # packed and not, at both of their places
    (folder / "a.npz").write_bytes(archive.replace(*sizes))
    with pytest.raises(ValueError, match=r"a\.npz.* promises 240000 bytes"):
        load_array("a.npz", mmap_mode=mmap_mode)


def test_not_what_the_suffix_says(folder):
    (folder / "a.npy").write_bytes(b"PK\x03\x04 and then something else")
    expect(ValueError, "a.npy", "no valid .npy header")
    (folder / "a.npz").write_bytes(b"nothing of a zip file")
    expect(ValueError, "a.npz", "not a zip file")
    with zipfile.ZipFile("b.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    expect(ValueError, "b.npz", "no valid .npy header")


@pytest.mark.parametrize("spec", ["a.npy", "a.npz:a"])
@pytest.mark.parametrize("dtype", [object, [("a", "O"), ("b", "f4")]])
def test_object_arrays_are_never_unpickled(folder, spec, dtype):
    array = np.zeros(2, dtype=dtype)
    np.save("a.npy", array, allow_pickle=True)
    np.savez("a.npz", a=array)
    expect(ValueError, spec, "Python objects", "never unpickled", "astype")


def test_names_inside_an_archive(folder):
    np.savez("two.npz", image=np.ones(2), text=np.ones(3))
    np.savez("none.npz")
    expect(ValueError, "two.npz:picture", "'picture'", "'image', 'text'")
    expect(ValueError, "two.npz:", "''", "'image', 'text'")
    expect(ValueError, "two.npz", "2 arrays", "file.npz:name", "'image', 'text'")
    expect(ValueError, "none.npz", "0 arrays", "none")


@pytest.mark.parametrize("kwargs", [{"spec": 3}, {"spec": "a.npy", "mmap_mode": "w+"}])
def test_parameter_types(folder, kwargs):
    np.save("a.npy", np.ones(2))
    with pytest.raises(ValueError, match=next(reversed(kwargs))):
        load_array(**kwargs)
