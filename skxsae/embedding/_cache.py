"""A cache of embeddings on disk, in one SQLite file that processes may share."""

import hashlib
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from skxsae.embedding._fingerprint import output_distance

FILE_NAME = "embeddings.sqlite3"
_APPLICATION_ID = 0x736B7873  # "skxs", in the header of the file
_TABLES = (
    "embeddings (key BLOB PRIMARY KEY, vector BLOB NOT NULL)",
    "models (fingerprint BLOB NOT NULL, outputs BLOB NOT NULL)",
)
_MAX_VARIABLES = 500  # of one SQL statement; old builds of SQLite stop at 999
_TIMEOUT = 60  # seconds to wait while another process writes


@contextmanager
def open_cache(folder, identify, n_features, tolerance):
    """Cache of one model in a folder, or one that holds nothing if there is none.

    `identify` gives the fingerprint of the model and its outputs for a few fixed
    entries, of shape (n_entries, n_features). A model of the same fingerprint is the
    same if these differ by no more than the tolerance. It is a function, so that
    weights are not hashed in vain.
    """
    if folder is None:
        yield _NoCache()
        return
    path = Path(folder) / FILE_NAME
    if path.parent.exists() and not path.parent.is_dir():
        raise ValueError(f"cache_dir={str(folder)!r} is a file, but must be a folder.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named_errors(path):
        connection = sqlite3.connect(path, timeout=_TIMEOUT, isolation_level=None)
    with closing(connection):
        with _named_errors(path):
            _prepare(connection, path)
        fingerprint, outputs = identify()
        with _named_errors(path):
            name = _name_of_model(connection, fingerprint, outputs, tolerance)
        yield _Cache(connection, path, name, n_features)


class _NoCache:
    """What stands in for a cache where none was asked for."""

    def get(self, digests):
        return {}

    def put(self, digests, vectors):
        pass


class _Cache:
    """Vectors of one model by the digest of the content they were made from."""

    def __init__(self, connection, path, model, n_features):
        self.connection, self.path = connection, path
        self.model, self.n_features = model, n_features

    def get(self, digests):
        """Vectors by digest, of those that are there."""
        digest_of = {self._key(digest): digest for digest in digests}
        keys = list(digest_of)
        found: dict[bytes, np.ndarray] = {}
        with _named_errors(self.path):
            for start in range(0, len(keys), _MAX_VARIABLES):
                some = keys[start : start + _MAX_VARIABLES]
                marks = ", ".join("?" * len(some))
                rows = self.connection.execute(
                    f"SELECT key, vector FROM embeddings WHERE key IN ({marks})", some
                )
                for key, blob in rows:
                    if key not in digest_of:
                        raise sqlite3.DatabaseError("its index finds other rows")
                    found[digest_of[key]] = self._read(blob)
        return found

    def put(self, digests, vectors):
        """Add vectors, all of them or none."""
        rows = [
            (self._key(digest), vector.astype("<f4").tobytes())
            for digest, vector in zip(digests, vectors, strict=True)
        ]
        with _named_errors(self.path), _transaction(self.connection):
            self.connection.executemany(
                "INSERT OR IGNORE INTO embeddings VALUES (?, ?)", rows
            )

    def _key(self, digest):
        """One digest of the model and the content: a short key in a short index."""
        return hashlib.sha256(self.model + digest).digest()

    def _read(self, blob):
        """Vector of a row, whose length tells whether it is whole."""
        if not isinstance(blob, bytes) or len(blob) != 4 * self.n_features:
            raise sqlite3.DatabaseError("a row does not hold an embedding")
        vector = np.frombuffer(blob, dtype="<f4")
        if not np.isfinite(vector).all():
            raise sqlite3.DatabaseError("an embedding has NaN or infinity")
        return vector


def _prepare(connection, path):
    """Make the tables in a new file; refuse a database of something else."""
    with _transaction(connection):
        (found,) = connection.execute("PRAGMA application_id").fetchone()
        is_used = connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        if found == _APPLICATION_ID:
            _check_schema(connection)
        if found != _APPLICATION_ID and is_used:
            raise ValueError(
                f"{path} is a database of another program, not a cache of embeddings: "
                "choose another cache_dir."
            )
        for table in _TABLES:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {table}")
        if found != _APPLICATION_ID:
            connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")


def _check_schema(connection):
    """Refuse anything but our tables: views and triggers are programs."""
    schema = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
    )
    if not {sql for (sql,) in schema} <= {f"CREATE TABLE {table}" for table in _TABLES}:
        raise sqlite3.DatabaseError("it has other tables, or views or triggers")


def _name_of_model(connection, fingerprint, outputs, tolerance):
    """Digest of a fingerprint and of the outputs by which the model was first known.

    Of the known outputs that are within the tolerance, the nearest count.
    """
    blob = outputs.astype("<f4").tobytes()
    with _transaction(connection):
        known = [
            each
            for (each,) in connection.execute(
                "SELECT outputs FROM models "
                "WHERE fingerprint = ? AND length(outputs) = ? "
                "AND typeof(outputs) = 'blob'",
                (fingerprint, len(blob)),
            )
        ]
        distances = [
            output_distance(np.frombuffer(each, "<f4").reshape(outputs.shape), outputs)
            for each in known
        ]
        if distances and min(distances) <= tolerance:
            blob = known[np.argmin(distances)]
        else:
            row = (fingerprint, blob)
            connection.execute("INSERT INTO models VALUES (?, ?)", row)
    return hashlib.sha256(fingerprint + blob).digest()


@contextmanager
def _transaction(connection):
    """Write all or nothing, one process at a time."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        connection.rollback()
        raise


@contextmanager
def _named_errors(path):
    """Name the file in the errors of SQLite, and say what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(f"The cache {path} cannot be used: {error}.") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is no cache of embeddings, or a damaged one ({error}): delete it, "
            "or choose another cache_dir."
        ) from error
