"""Arrays behind URLs, plain and chained, judged by the arrays that were written."""

import zipfile

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from skxsae.datasets import DiskArray, load_array, load_paired_arrays

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(12, 3))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_parquet(path, array, column="emb"):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"id": range(len(array)), column: list(array)}), path)


def write_zip(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.write(name)


ARRAYS = {
    "rows": ROWS,
    "fortran": np.asfortranarray(ROWS),
    "flat": np.arange(5),
    "number": np.float32(3),
    "words": np.array([["a", "bc"]]),
    "complex": ROWS * 1j,
    "cube": RNG.normal(size=(2, 3, 4)),
    "empty": np.ones((0, 3)),
    "no_columns": np.ones((3, 0)),
    "other_order": ROWS.astype(">f4"),
}


@pytest.mark.parametrize("mmap_mode", ["r", "c", None])
@pytest.mark.parametrize("chain", ["", "simplecache::"])
@pytest.mark.parametrize("name", ARRAYS)
def test_any_array_by_its_url(folder, name, chain, mmap_mode):
    array = ARRAYS[name]
    np.save("a.npy", array)
    np.savez("one.npz", array)
    np.savez("two.npz", other=np.ones(7), a=array)
    np.savez_compressed("c.npz", other=np.ones(7), a=array)
    for file in ("a.npy", "one.npz", "two.npz:a", "c.npz:a"):
        loaded = load_array(f"{chain}file://{folder}/{file}", mmap_mode=mmap_mode)
        assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
        assert_array_equal(np.asarray(loaded), array)
        by_rows = name in ("rows", "fortran", "other_order") and file != "c.npz:a"
        assert isinstance(loaded, DiskArray) == bool(by_rows and mmap_mode)


def test_files_of_a_folder_that_are_no_rows_by_its_url(folder):
    for number in range(3):
        np.save(f"ids_{number}.npy", np.arange(3) + 3 * number)
    assert_array_equal(load_array(f"file://{folder}"), np.arange(9))


def test_pairing_by_url(folder):
    captions, rows = RNG.normal(size=(24, 2)), np.repeat(np.arange(12), 2)
    held_out = rows % 4 == 0
    arrays = {"x": ROWS, "y": captions, "groups": rows, "test": held_out}
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    np.savez_compressed("c.npz", **arrays)
    expected = load_paired_arrays(**arrays)
    for ending in ("{}.npy", "c.npz:{}"):
        specs = {name: f"file://{folder}/{ending.format(name)}" for name in arrays}
        specs["x_rows"] = specs["groups"]
        data = load_paired_arrays(**specs)
        for name, value in expected.items():
            assert_array_equal(np.asarray(data[name]), value)


@pytest.mark.parametrize("content", [b"nothing", None])
def test_damaged_files_by_url(folder, content):
    np.savez_compressed("c.npz", a=np.arange(5000))
    whole = (folder / "c.npz").read_bytes()
    damaged = whole[:200] + bytes(1000) + whole[1200:]
    (folder / "c.npz").write_bytes(content or damaged)
    np.save("a.npy", np.arange(50))
    (folder / "a.npy").write_bytes(content or (folder / "a.npy").read_bytes()[:-8])
    for name in ("c.npz", "a.npy"):
        with pytest.raises(ValueError, match=r"^spec='file:.*cannot be read: "):
            load_array(f"file://{folder}/{name}")


def test_objects_behind_a_url_are_never_unpickled(folder):
    objects = np.array([None])
    np.save("a.npy", objects)
    np.savez_compressed("c.npz", a=objects)
    for name in ("a.npy", "c.npz", "c.npz:a"):
        with pytest.raises(ValueError, match="never unpickled"):
            load_array(f"file://{folder}/{name}")


def test_inside_an_archive(folder):
    (folder / "emb").mkdir()
    for number, part in enumerate(np.split(ROWS, 3), start=9):
        np.save(f"emb/{number}.npy", part)
    np.save("a.npy", ROWS)
    np.savez("x.npz", other=np.ones(2), a=ROWS)
    write_zip("z.zip", "a.npy", "x.npz", "emb/9.npy", "emb/10.npy", "emb/11.npy")
    (folder / "a.npy").rename("0.npy")
    write_zip("root.zip", "0.npy")
    for url in (
        "zip://a.npy::file://{}/z.zip",
        "zip://x.npz:a::file://{}/z.zip",
        "zip://emb::file://{}/z.zip",
        "zip://emb/::file://{}/z.zip",
        "zip://emb::simplecache::file://{}/z.zip",
        "simplecache::zip://a.npy::file://{}/z.zip",
        "zip://::file://{}/root.zip",
    ):
        for load in (DiskArray, load_array):
            loaded = load(url.format(folder))
            assert isinstance(loaded, DiskArray)
            assert_array_equal(loaded[:], ROWS)
            assert_array_equal(loaded[[11, 0, 5]], ROWS[[11, 0, 5]])


def test_through_a_cache(folder):
    (folder / "emb").mkdir()
    for number, part in enumerate(np.split(ROWS, 3), start=9):
        np.save(f"emb/{number}.npy", part)
    np.save("a.npy", ROWS)
    np.savez("x.npz", other=np.ones(2), a=ROWS)
    for cache in ("simplecache", "filecache", "simplecache://"):
        for place in ("a.npy", "x.npz:a", "emb", "emb/"):
            assert_array_equal(
                load_array(f"{cache}::file://{folder}/{place}")[:], ROWS, err_msg=place
            )


def test_parquet_by_chained_urls(folder):
    write_parquet("b.parquet", ROWS, column="b:b")
    write_zip("z.zip", "b.parquet")
    (folder / "table.parquet").mkdir()
    for number, part in enumerate(np.split(ROWS, 2)):
        write_parquet(f"table.parquet/{number}.parquet", part)
    for url in (
        "zip://b.parquet::file://{}/z.zip",
        "zip://b.parquet:b:b::file://{}/z.zip",
        "simplecache::file://{}/b.parquet",
        "simplecache::file://{}/b.parquet:b:b",
        "simplecache::file://{}/table.parquet",
        "file://{}/table.parquet:emb",
    ):
        assert_array_equal(DiskArray(url.format(folder))[:], ROWS, err_msg=url)


def test_what_is_not_there(folder):
    write_zip("z.zip")
    for url in ("file://{}/no", "file://{}/no.npz:a", "zip://a.npy::file://{}/z.zip"):
        for load in (DiskArray, load_array):
            with pytest.raises(FileNotFoundError, match="there is no file"):
                load(url.format(folder))


def test_options_are_handed_on(folder):
    np.save("flat.npy", np.arange(4))
    np.save("rows.npy", ROWS)
    (folder / "kept").mkdir()
    for name in ("flat", "rows"):
        load_array(
            f"simplecache::file://{folder}/{name}.npy",
            storage_options={"simplecache": {"cache_storage": str(folder / "kept")}},
        )
    assert len(list((folder / "kept").iterdir())) == 2
    with pytest.raises(ValueError, match="storage_options"):
        load_array("rows.npy", storage_options=3)
