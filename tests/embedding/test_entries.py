import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skxsae.embedding._entries import (
    Results,
    Unreadable,
    attempt,
    check_entries,
    check_files,
    describe_unreadable,
    digest,
    reading,
)


@pytest.mark.parametrize(
    "X",
    [
        ["a", "b"],
        ("a", "b"),
        np.array(["a", "b"]),
        np.array(["a", "b"], dtype=object),
        np.array([["a"], ["b"]], dtype=object),
        pd.Series(["a", "b"], index=[7, 3]),
        pd.Series(["a", "b"], dtype="category"),
        pd.DataFrame({"caption": ["a", "b"]}, index=[7, 3]),
    ],
)
def test_containers(X):
    assert check_entries(X, "texts") == ["a", "b"]


def test_four_dimensions_are_a_row_of_pictures():
    X = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
    for entry, picture in zip(check_entries(X, "pictures"), X, strict=True):
        np.testing.assert_array_equal(entry, picture)


@pytest.mark.parametrize("X", ["photos", b"photos", Path("photos")])
def test_a_single_path_is_refused_with_a_hint(X):
    with pytest.raises(ValueError, match=r"single .*\[X\] for one.*glob\('\*\.jpg'\)"):
        check_entries(X, "paths")


@pytest.mark.parametrize("X", [{"a": 1}, {"a", "b"}, (text for text in "ab"), 3, None])
def test_what_has_no_order_or_length_is_refused(X):
    with pytest.raises(TypeError, match=f"X is a {type(X).__name__}, but a list of"):
        check_entries(X, "texts")


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([], "X is empty"),
        (np.array([["a", "b"]]), "2 columns.*ColumnTransformer"),
        (pd.DataFrame({"a": ["x"], "b": ["y"]}), "2 columns.*ColumnTransformer"),
        (np.zeros((2, 3, 4)), "X has 3 dimensions"),
    ],
)
def test_wrong_shapes_are_refused(X, message):
    with pytest.raises(ValueError, match=message):
        check_entries(X, "texts")


def test_any_error_of_a_decoder_is_one_kind_of_error():
    with pytest.raises(Unreadable, match=r"^KeyError$"), reading():
        raise KeyError
    with pytest.raises(Unreadable, match=r"^No such file or directory$"), reading():
        Path("/nowhere/at/all").read_bytes()
    with pytest.raises(KeyboardInterrupt), reading():
        raise KeyboardInterrupt


def test_attempt_returns_the_error():
    def refuse(entry):
        raise Unreadable(f"not {entry}")

    assert str(attempt(refuse, 3)) == "not 3"
    assert attempt(abs, -3) == 3
    with pytest.raises(TypeError):
        attempt(abs, "a")


def test_digest_is_sha256_of_all_parts():
    assert digest(b"a", b"b").hex().startswith("fb8e20fc2e4c3f248c60c39bd652f3c1")
    assert digest(b"a", b"b") != digest(b"a", b"c")


def test_equal_paths_and_the_same_object_are_one_item():
    array = np.zeros(3)
    entries = ["a", array, "b", "a", array, np.zeros(3), Path("a")]
    results = Results(entries, 1)
    assert len(results.items) == 5
    results.vectors[:, 0] = [10, 20, 30, 40, 50]
    assert results.to_array().ravel().tolist() == [10, 20, 30, 10, 20, 40, 50]


def test_items_of_equal_content_share_a_row():
    results = Results(["a", "b", "c"], 1)
    assert results.is_new(0, b"x")
    assert results.is_new(1, b"y")
    assert not results.is_new(2, b"x")
    results.vectors[:2, 0] = [10, 20]
    assert results.to_array().ravel().tolist() == [10, 20, 10]


def test_unreadable_entries_are_named_by_row():
    results = Results(["a", "b", None, "a", "b"], 2)
    results.raise_errors()
    results.fail(1, Unreadable("gone"))
    results.fail(2, Unreadable("no text"))
    message = (
        r"3 entries of X cannot be read: rows 1 and 4, 'b' \(gone\); "
        r"row 2, None \(no text\)\. Mend each or drop"
    )
    with pytest.raises(ValueError, match=message):
        results.raise_errors()
    with pytest.warns(UserWarning, match="^3 entries of X.*Each has a row of NaN"):
        results.warn()
    assert np.isnan(results.to_array()).all()


def test_a_copy_of_what_is_unreadable_is_unreadable():
    results = Results(["a", "b"], 1)
    results.is_new(0, b"x")
    results.is_new(1, b"x")
    results.fail(0, Unreadable("cut off"))
    with pytest.raises(ValueError, match=r"2 entries .* row 0, 'a' .* row 1, 'b'"):
        results.raise_errors()


def test_ten_entries_are_named_and_the_others_counted():
    results = Results([f"{i}" for i in range(30)], 1)
    for item in range(5, 18):
        results.fail(item, Unreadable("gone"))
    with pytest.raises(ValueError, match=r"^13 entries") as info:
        results.raise_errors()
    assert str(info.value).count("(gone)") == 10
    assert "row 14, '14' (gone); and 3 more." in str(info.value)


def test_rows_of_one_entry_are_named_together():
    results = Results(["a", "b"] * 4 + ["a"], 1)
    for item in (0, 1):
        results.fail(item, Unreadable("gone"))
    message = (
        r"^9 entries of X cannot be read: rows 0, 2, 4, 6 and 8, 'a' \(gone\); "
        r"rows 1, 3, 5 and 7, 'b' \(gone\)\. Mend"
    )
    with pytest.raises(ValueError, match=message):
        results.raise_errors()


def test_of_many_rows_the_first_are_named():
    results = Results(["a"] * 100, 1)
    results.fail(0, Unreadable("gone"))
    with pytest.raises(
        ValueError, match=r"100 entries .* rows 0, 1, 2, 3, 4 and 95 more"
    ):
        results.raise_errors()


def test_equal_arrays_are_named_apart():
    entries = np.zeros((3, 2, 2, 3))
    message = describe_unreadable("X", entries, dict.fromkeys(range(3), "bad"))
    assert message.endswith(
        ": row 0, a ndarray (bad); row 1, a ndarray (bad); row 2, a ndarray (bad)"
    )


def test_files_that_are_missing_are_named(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    check_files([path, str(path), tmp_path, None, np.zeros(3)])
    message = (
        r"3 entries of X cannot be read: rows 1 and 3, '.*b.png' \(No such file or "
        r"directory\); row 4, 'a\\x00' \(.*null.*\)\. Mend each"
    )
    gone = str(tmp_path / "b.png")
    with pytest.raises(ValueError, match=message):
        check_files([path, gone, None, gone, "a\0"])


def test_a_path_that_comes_again_is_looked_at_once(monkeypatch):
    looks = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", looks.append)
        check_files(["a", "b", "a"])
    assert looks == ["a", "b"]


def test_long_names_are_cut():
    results = Results(["x" * 10_000], 1)
    results.fail(0, Unreadable("gone"))
    with pytest.raises(ValueError, match=r"^1 entry of X") as info:
        results.raise_errors()
    assert len(str(info.value)) < 400
