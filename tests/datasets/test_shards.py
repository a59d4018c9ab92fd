"""Folders of numbered .npy files: order, type, one map, and clear errors."""

import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skxsae.datasets import load_array, load_paired_arrays


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty directory "img_emb" in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "img_emb").mkdir()
    return tmp_path / "img_emb"


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=13),
    first=st.integers(0, 99),
    padded=st.booleans(),
    dtype=st.sampled_from(["f2", "f4", ">f8"]),
    mmap_mode=st.sampled_from(["r", "c", None]),
)
def test_rows_follow_the_numbers(folder, lengths, first, padded, dtype, mmap_mode):
    for path in folder.glob("*.npy"):
        path.unlink()
    rows = np.arange(3 * sum(lengths)).reshape(-1, 3).astype(dtype)
    parts = np.split(rows, np.cumsum(lengths)[:-1])
    for number, part in enumerate(parts, start=first):
        np.save(folder / f"img_emb_{number:0{4 * padded}d}.npy", part)
    loaded = load_array(folder, mmap_mode=mmap_mode)
    assert loaded.dtype == rows.dtype
    assert_array_equal(loaded, rows)


def test_ten_comes_after_nine(folder):
    for number in range(11):
        np.save(folder / f"{number}.npy", np.full((1, 2), number))
    assert_array_equal(np.asarray(load_array("img_emb"))[:, 0], np.arange(11))


def test_a_single_file_is_mapped(folder):
    np.save(folder / "img_emb_0.npy", np.ones((3, 2), dtype=np.float16))
    loaded = load_array("img_emb")
    assert isinstance(loaded, np.memmap)
    assert loaded.dtype == np.float16


def test_other_files_do_not_matter(folder):
    np.save(folder / "img_emb_0.npy", np.ones((3, 2)))
    np.save(folder / "mean.npy", np.ones(2))
    (folder / "metadata_1.parquet").write_bytes(b"")
    (folder / "img_emb_1.npy.part").write_bytes(b"")
    assert load_array("img_emb").shape == (3, 2)


def test_views_in_folders_pair_and_equal_images_are_a_group(folder, tmp_path):
    images = np.repeat(np.arange(6.0).reshape(3, 2), 2, axis=0)
    (tmp_path / "text_emb").mkdir()
    for number in range(2):
        rows = slice(3 * number, 3 * number + 3)
        np.save(folder / f"img_emb_{number}.npy", images[rows])
        np.save(tmp_path / f"text_emb/text_emb_{number}.npy", np.ones((3, 4)))
    data = load_paired_arrays("img_emb", "text_emb")
    assert_array_equal(data.groups, [0, 0, 2, 2, 4, 4])
    assert data.y.shape == (6, 4)


def expect(*parts, error=ValueError, spec="img_emb"):
    """Loading fails with an error that names the folder and holds all `parts`."""
    with pytest.raises(error) as caught:
        load_array(spec)
    message = str(caught.value)
    assert message.startswith(f"spec={os.fspath(spec)!r}")
    assert "\n" not in message
    for part in parts:
        assert part in message


def test_folder_without_numbered_files(folder):
    expect("is a directory", "img_emb_0.npy", "'file.npy'", "folder of numbered")
    np.save(folder / "array.npy", np.ones(2))
    expect("is a directory")


def test_files_of_two_arrays(folder):
    np.save(folder / "img_emb_0.npy", np.ones((3, 2)))
    np.save(folder / "text_emb_0.npy", np.ones((3, 2)))
    expect("2 arrays", "'img_emb_', 'text_emb_'", "Keep one")


def test_missing_and_repeated_numbers(folder):
    for number in (3, 4, 6):
        np.save(folder / f"img_emb_{number}.npy", np.ones((3, 2)))
    expect("lacks the file of number 5", "from 3 to 6", "renumber")
    np.save(folder / "img_emb_5.npy", np.ones((3, 2)))
    assert load_array("img_emb").shape == (12, 2)
    np.save(folder / "img_emb_05.npy", np.ones((3, 2)))
    expect("two files of number 5", "Keep one")


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (np.ones((3, 4)), "rows of shape (4,) and dtype float64"),
        (np.ones((3, 2), np.float32), "rows of shape (2,) and dtype float32"),
        (np.float64(1), "a single number"),
    ],
)
def test_files_that_do_not_fit(folder, other, words):
    np.save(folder / "img_emb_0.npy", np.ones((3, 2)))
    np.save(folder / "img_emb_1.npy", other)
    expect("'img_emb_1.npy' holds", words, "'img_emb_0.npy' rows of shape (2,)")


def test_damaged_file_is_named(folder):
    np.save(folder / "img_emb_0.npy", np.ones((3, 2)))
    (folder / "img_emb_1.npy").write_bytes(b"nothing")
    expect("'img_emb_1.npy' cannot be read", "damaged")


def test_a_folder_is_no_archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npz").mkdir()
    expect("is a directory, no archive", spec="a.npz:name")
