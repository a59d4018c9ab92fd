import hashlib
import multiprocessing
import sqlite3
import threading
import time

import numpy as np
import pytest

from skxsae.embedding import _cache
from skxsae.embedding._cache import FILE_NAME, open_cache


def digests(n):
    return [hashlib.sha256(b"%d" % i).digest() for i in range(n)]


def vectors(n, n_features=3):
    return np.random.default_rng(0).standard_normal((n, n_features), dtype=np.float32)


def cache_of(folder, model=b"model", n_features=3, scale=1.0):
    """Cache of a model by its fingerprint and the scale of its outputs."""

    def identify():
        return model, scale * np.ones((2, n_features), dtype=np.float32)

    return open_cache(folder, identify, n_features, tolerance=1e-2)


def test_what_was_put_is_found_again(tmp_path):
    with cache_of(tmp_path / "new" / "folder") as cache:
        assert cache.get(digests(3)) == {}
        cache.put(digests(2), vectors(2))
    with cache_of(tmp_path / "new" / "folder") as cache:
        found = cache.get(digests(3))
    assert set(found) == set(digests(2))
    rows = [found[digest] for digest in digests(2)]
    np.testing.assert_array_equal(np.stack(rows), vectors(2))


def test_another_model_finds_nothing(tmp_path):
    with cache_of(tmp_path) as cache:
        cache.put(digests(2), vectors(2))
    with cache_of(tmp_path, b"other") as cache:
        assert cache.get(digests(2)) == {}


def test_other_outputs_are_of_another_model(tmp_path):
    for scale, n_known in ((1, 0), (1.02, 0), (1.001, 1), (1.0199, 1), (0.98, 0)):
        with cache_of(tmp_path, scale=scale) as cache:
            known = cache.get(digests(1))
            assert len(known) == n_known
            cache.put(digests(1), np.full((1, 3), scale, dtype=np.float32))
    # of two that are near enough, the nearer
    for scale, expected in ((1.009, 1), (1.012, 1.02)):
        with cache_of(tmp_path, scale=scale) as cache:
            (vector,) = cache.get(digests(1)).values()
        np.testing.assert_allclose(vector, expected, rtol=1e-6)


def test_rounding_does_not_add_up(tmp_path):
    names = set()
    for scale in (1, 1.008, 1.016, 1.024):
        with cache_of(tmp_path, scale=scale) as cache:
            names.add(cache.model)
    assert len(names) == 2


def test_outputs_of_another_width_are_of_another_model(tmp_path):
    for n_features in (3, 5, 3):
        with cache_of(tmp_path, n_features=n_features) as cache:
            cache.put(digests(1), vectors(1, n_features))
            assert cache.get(digests(1))[digests(1)[0]].shape == (n_features,)


def test_a_file_of_before_gets_what_it_lacks(tmp_path):
    with cache_of(tmp_path) as cache:
        cache.connection.execute("DROP TABLE models")
    with cache_of(tmp_path) as cache:
        cache.put(digests(1), vectors(1))
        assert len(cache.get(digests(1))) == 1


def test_there_is_one_file(tmp_path):
    with cache_of(tmp_path) as cache:
        cache.put(digests(2), vectors(2))
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_more_digests_than_a_statement_takes(tmp_path):
    n = 70_000
    with cache_of(tmp_path, n_features=1) as cache:
        # the limit of old builds of SQLite
        cache.connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 999)
        cache.put(digests(n), np.arange(n, dtype=np.float32)[:, None])
        found = cache.get(digests(n + 1))
    assert [found[digest][0] for digest in digests(n)] == list(range(n))


def test_first_of_equal_digests_stays(tmp_path):
    with cache_of(tmp_path) as cache:
        cache.put(digests(1), np.ones((1, 3), dtype=np.float32))
        cache.put(digests(1), np.zeros((1, 3), dtype=np.float32))
        assert cache.get(digests(1))[digests(1)[0]].tolist() == [1, 1, 1]


def test_a_batch_is_put_whole_or_not_at_all(tmp_path):
    def broken():
        yield vectors(1)[0]
        raise RuntimeError("stop")

    with cache_of(tmp_path) as cache, pytest.raises(RuntimeError, match="stop"):
        cache.put(digests(2), broken())
    with cache_of(tmp_path) as cache:
        assert cache.get(digests(2)) == {}


def test_an_error_while_writing_leaves_nothing_behind(tmp_path):
    with cache_of(tmp_path) as cache:
        cache.connection.execute(
            "CREATE TRIGGER stop BEFORE INSERT ON embeddings "
            "WHEN (SELECT count(*) FROM embeddings) = 1 "
            "BEGIN SELECT RAISE(ABORT, 'full'); END"
        )
        with pytest.raises(ValueError, match="full"):
            cache.put(digests(3), vectors(3))
        assert cache.get(digests(3)) == {}
        cache.connection.execute("DROP TRIGGER stop")
        cache.put(digests(3), vectors(3))
        assert len(cache.get(digests(3))) == 3


def test_without_a_folder_nothing_is_kept_nor_hashed():
    with open_cache(None, None, 3, 0.1) as cache:
        cache.put(digests(2), vectors(2))
        assert cache.get(digests(2)) == {}


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / FILE_NAME).write_text("something else " * 100)
    message = f"{FILE_NAME} is no cache .*delete it, or choose another cache_dir"
    with pytest.raises(ValueError, match=message), cache_of(tmp_path):
        pass
    assert (tmp_path / FILE_NAME).read_text() == "something else " * 100


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / FILE_NAME)
    connection.execute("CREATE TABLE notes (text)")
    connection.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    with pytest.raises(ValueError, match="another program"), cache_of(tmp_path):
        pass
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_damaged_file_is_refused(tmp_path):
    with cache_of(tmp_path) as cache:
        cache.put(digests(1000), vectors(1000))
    content = bytearray((tmp_path / FILE_NAME).read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (tmp_path / FILE_NAME).write_bytes(content)
    with (
        pytest.raises(ValueError, match="damaged one"),
        cache_of(tmp_path) as cache,
    ):
        cache.get(digests(1000))


def test_a_row_of_another_length_is_refused(tmp_path):
    with cache_of(tmp_path, n_features=3) as cache:
        cache.put(digests(1), vectors(1))
    with cache_of(tmp_path, n_features=3) as cache:
        cache.connection.execute("UPDATE embeddings SET vector = x'00000000'")
        with pytest.raises(ValueError, match="does not hold an embedding"):
            cache.get(digests(1))


def test_a_file_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(OSError, match="cannot be used: unable to open"):  # noqa: SIM117
        with cache_of(tmp_path):
            pass


def test_a_lock_that_is_never_released_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(_cache, "_TIMEOUT", 0.1)
    with cache_of(tmp_path) as cache:
        other = sqlite3.connect(tmp_path / FILE_NAME)
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OSError, match="database is locked"):
            cache.put(digests(1), vectors(1))
        other.rollback()
        other.close()
        cache.put(digests(1), vectors(1))
        assert len(cache.get(digests(1))) == 1


def test_a_lock_of_a_moment_is_waited_for(tmp_path):
    with cache_of(tmp_path) as cache:
        other = sqlite3.connect(tmp_path / FILE_NAME, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(0.3, other.rollback)
        timer.start()
        cache.put(digests(1), vectors(1))
        timer.join()
        other.close()
        assert len(cache.get(digests(1))) == 1


def test_who_reads_before_writing_has_the_file_alone(tmp_path):
    with cache_of(tmp_path) as cache:
        other = sqlite3.connect(tmp_path / FILE_NAME, timeout=0)
        with _cache._transaction(cache.connection):
            # else both would read, and one of them could not write any more
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            assert other.execute("SELECT count(*) FROM embeddings").fetchone() == (0,)
        other.execute("BEGIN IMMEDIATE")
        other.close()


def put_many(folder, start):
    """Put 20 batches, some of which the other processes put too."""
    n = 400
    for first in range(0, n, 20):
        with cache_of(folder) as cache:
            rows = slice((first + start) % n, (first + start) % n + 20)
            cache.put(digests(n + 20)[rows], vectors(n + 20)[rows])
            time.sleep(0.001)


def test_several_processes_share_a_file(tmp_path):
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=put_many, args=(tmp_path, start)) for start in (0, 50)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    with cache_of(tmp_path) as cache:
        found = cache.get(digests(400))
    assert len(found) == 400
    for digest, vector in zip(digests(400), vectors(420), strict=False):
        np.testing.assert_array_equal(found[digest], vector)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text("a")
    with pytest.raises(ValueError, match=r"cache_dir='.*captions.csv' is a file"):  # noqa: SIM117
        with cache_of(path):
            pass
