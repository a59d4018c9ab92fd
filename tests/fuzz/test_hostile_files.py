"""Files that once got through, or to an error that said nothing."""

import io
import json
import sqlite3
import struct
import subprocess
import tracemalloc
import zipfile
from contextlib import closing

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.io import wavfile

from skxsae import Checkpoint, TopKSAE
from skxsae._checkpoint import _checksum
from skxsae._replacing import replacing
from skxsae.datasets import load_array
from skxsae.embedding._audio import decode_audio, read_audio
from skxsae.embedding._cache import FILE_NAME, open_cache
from skxsae.embedding._entries import Unreadable
from skxsae.embedding._images import decode_image, read_image
from skxsae.search import read_codes, write_codes

# .npy and .npz


def npy_bytes(header, body=bytes(48), version=(1, 0)):
    """A .npy file with a header of one's own."""
    size = struct.pack("<H" if version == (1, 0) else "<I", len(header))
    return b"\x93NUMPY" + bytes(version) + size + header + body


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)",
        b"{'descr': (), 'fortran_order': False, 'shape': (3, 4)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, -4)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 12)}",
        b"{'descr': ('<f4', (0,)), 'fortran_order': False, 'shape': (3, 4)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (0, %d)}" % 10**30,
        b"{'descr': '|V0', 'fortran_order': False, 'shape': (%d, 4)}" % 2**62,
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (%s)}" % (b"1, " * 65),
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d)}" % (2**40, 2**40),
    ],
)
def test_headers(tmp_path, header):
    path = tmp_path / "bad.npy"
    path.write_bytes(npy_bytes(header))
    with pytest.raises(ValueError, match=r"bad\.npy.* header"):
        load_array(path)


def test_a_header_of_gigabytes(tmp_path):
    path = tmp_path / "bad.npy"
    path.write_bytes(b"\x93NUMPY" + bytes((2, 0)) + struct.pack("<I", 2**31) + b"{")
    with pytest.raises(ValueError, match=r"bad\.npy.* header"):
        load_array(path)


def change_zip(path, signature, offset, value):
    """Let a field of the first entry of an archive say something else."""
    content = bytearray(path.read_bytes())
    place = content.find(signature) + offset
    content[place : place + len(value)] = value
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("signature", "offset", "value"),
    [
        (b"PK\x01\x02", 8, b"\x01\x00"),  # encrypted
        (b"PK\x01\x02", 6, b"\x63\x00"),  # needs version 9.9
        (b"PK\x01\x02", 42, b"\xff\xff\xff\x7f"),  # begins behind its end
        (b"PK\x01\x02", 10, b"\x63\x00"),  # of an unknown method
        (b"PK\x05\x06", 16, b"\xff\xff\xff\x7f"),  # has its directory behind its end
    ],
)
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives(tmp_path, save, signature, offset, value):
    path = tmp_path / "bad.npz"
    save(path, a=np.zeros((100, 4)))
    change_zip(path, signature, offset, value)
    with pytest.raises(ValueError, match=r"bad\.npz.* cannot be read"):
        load_array(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_of_another_compression_is_damaged(tmp_path, method):
    stream = io.BytesIO()
    np.save(stream, np.random.default_rng(0).standard_normal(2000))
    path = tmp_path / "bad.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.npy", stream.getvalue())
    content = bytearray(path.read_bytes())
    content[5000:6000] = bytes(1000)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz.* cannot be read"):
        load_array(path)


def test_an_archive_that_promises_more_than_it_can_hold_takes_no_memory(tmp_path):
    path = tmp_path / "bomb.npz"
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (%d,)}" % 2**28
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy_bytes(header.ljust(110) + b"\n"))
    size = struct.pack("<I", 2**32 - 1)
    change_zip(path, b"PK\x01\x02", 24, size)
    change_zip(path, b"PK\x03\x04", 22, size)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb\.npz.* promises"):
        load_array(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


# codes


def read_lines(tmp_path, *lines):
    """Codes of some lines of JSON."""
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b"\n".join(line.encode("latin-1") for line in lines))
    return read_codes(path)


@pytest.mark.parametrize(
    "vector",
    [
        '{"1": 0.5, "01": 0.25}',
        '{"1": NaN}',
        '{"1": -Infinity}',
        '{"1": 1e999}',
        '{"4294967296": 1}',
        '{"9223372036854775807": 1}',
        '{"99999999999999999999": 1}',
        '{"-1": 1}',
        '{"1": null}',
        '{"\xff": 1}',
        "[" * 100_000,
    ],
)
def test_vectors(tmp_path, vector):
    action, document = '{"index": {"_id": "a"}}', f'{{"concepts": {vector}}}'
    with pytest.raises(ValueError, match=r"bad\.jsonl"):
        read_lines(tmp_path, action, document)


@pytest.mark.parametrize("action", ['{"index": {"_id": 7}}', "\xfe", "[" * 100_000])
def test_actions(tmp_path, action):
    with pytest.raises(ValueError, match=r"bad\.jsonl"):
        read_lines(tmp_path, action, '{"concepts": {}}')


def write_table(tmp_path, indices, values, width=b"9", ids=None):
    """A Parquet file in the layout of codes."""
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    vectors = pa.StructArray.from_arrays([indices, values], names=["indices", "values"])
    ids = pa.array([str(i) for i in range(len(vectors))]) if ids is None else ids
    table = pa.table({"id": ids, "sparse_values": vectors})
    path = tmp_path / "bad.parquet"
    parquet.write_table(table.replace_schema_metadata({"n_concepts": width}), path)
    return path


def lists(rows, kind="uint32"):
    """A column of lists."""
    pa = pytest.importorskip("pyarrow")
    return pa.array(rows, pa.list_(getattr(pa, kind)()))


@pytest.mark.parametrize(
    "changes",
    [
        {"width": b"abc"},
        {"width": b"-1"},
        {"width": b"\xff\xfe"},
        {"width": b"9" * 5000},
        {"values": [[0.5], [1.0]]},
        {"values": [[0.5, None], [1.0]]},
        {"values": [None, [1.0]]},
        {"values": [[0.5, np.nan], [1.0]]},
        {"values": [[0.5, 1e300], [1.0]], "kind": "float64"},
        {"indices": [[1, 1], [3]]},
        {"indices": [[1, None], [3]]},
        {"indices": [None, [3]]},
        {"indices": [["1", "2"], ["3"]], "index_kind": "string"},
        {"indices": [[1.5, 2], [3]], "index_kind": "float32"},
        {"indices": [[-1, 2], [3]], "index_kind": "int64"},
        {"indices": [[2**63, 2], [3]], "index_kind": "uint64"},
    ],
)
def test_tables(tmp_path, changes):
    indices = lists(
        changes.get("indices", [[1, 2], [3]]), changes.get("index_kind", "uint32")
    )
    values = lists(
        changes.get("values", [[0.5, 1.0], [2.0]]), changes.get("kind", "float32")
    )
    path = write_table(tmp_path, indices, values, changes.get("width", b"9"))
    with pytest.raises(ValueError, match=r"bad\.parquet"):
        read_codes(path)


def test_a_table_as_it_should_be(tmp_path):
    path = write_table(tmp_path, lists([[1, 2], [3]]), lists([[1, 2], [3]], "float64"))
    np.testing.assert_array_equal(
        read_codes(path).codes.toarray()[:, 1:4], [[1, 2, 0], [0, 0, 3]]
    )


@pytest.mark.parametrize("place", [200, 600, -300])
def test_damaged_parquet(tmp_path, place):
    pytest.importorskip("pyarrow")
    path = write_codes(tmp_path / "bad.parquet", np.eye(50))
    content = bytearray(path.read_bytes())
    content[place : place + 100] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.parquet"):
        read_codes(path)


# the cache of embeddings


def cache_of(folder):
    """A cache of some model."""
    outputs = np.ones((2, 3), dtype=np.float32)
    return open_cache(folder, lambda: (b"model", outputs), 3, tolerance=1e-2)


def execute(folder, *statements):
    """Change the file of a cache."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


ENDLESS = (
    "CREATE VIEW embeddings AS WITH RECURSIVE c(key, vector) AS "
    "(SELECT x'00', x'00' UNION ALL SELECT key, vector FROM c) SELECT * FROM c"
)
TRIGGER = "CREATE TRIGGER t AFTER INSERT ON models BEGIN DELETE FROM embeddings; END"


@pytest.mark.parametrize(
    "statements",
    [
        ("DROP TABLE embeddings", ENDLESS),
        (TRIGGER,),
        ("DROP TABLE models", "CREATE TABLE models (fingerprint, outputs)"),
        ("CREATE TABLE other (a)",),
    ],
)
def test_a_cache_with_a_schema_of_its_own(tmp_path, statements):
    with cache_of(tmp_path):
        pass
    execute(tmp_path, *statements)
    with pytest.raises(ValueError, match=FILE_NAME), cache_of(tmp_path):
        pass


def test_outputs_that_are_text_are_of_no_model(tmp_path):
    with cache_of(tmp_path):
        pass
    execute(
        tmp_path, "DELETE FROM models", f"INSERT INTO models VALUES (x'{b'model'.hex()}"
        "', 'twenty-four characters !')",
    )  # fmt: skip
    with cache_of(tmp_path) as cache:
        assert cache.get([b"a"]) == {}


def test_an_embedding_with_nan(tmp_path):
    with cache_of(tmp_path) as cache:
        cache.put([b"a"], np.ones((1, 3), dtype=np.float32))
    nan = np.full(3, np.nan, dtype="<f4").tobytes().hex()
    execute(tmp_path, f"UPDATE embeddings SET vector = x'{nan}'")
    with cache_of(tmp_path) as cache, pytest.raises(ValueError, match="NaN"):
        cache.get([b"a"])


# pictures and sounds


def test_postscript_is_not_run(tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    path = tmp_path / "picture.jpg"
    path.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    )

    def run(*args, **kwargs):
        raise AssertionError("a program was started")

    for name in ("Popen", "run", "check_call", "check_output"):
        monkeypatch.setattr(subprocess, name, run)
    _, content = read_image(path)
    with pytest.raises(Unreadable, match="PostScript"):
        decode_image(content)


def test_a_signalling_nan_in_a_picture(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.full((4, 4), 0x7F800001, dtype=np.uint32).view(np.float32)
    path = tmp_path / "picture.tiff"
    image.fromarray(pixels).save(path)
    _, content = read_image(path)
    with pytest.raises(Unreadable, match="not between 0 and 1"):
        decode_image(content)


@pytest.mark.parametrize("rate", [999_983, 19_999_999, 2**31 - 1])
def test_a_sampling_rate_whose_filter_fills_the_memory(tmp_path, rate):
    path = tmp_path / "sound.wav"
    wavfile.write(path, rate, np.zeros(100, dtype=np.int16))
    _, content = read_audio(path)
    with pytest.raises(Unreadable, match=f"rate of {rate}"):
        decode_audio(content, 48_000, 480_000)


@pytest.mark.parametrize(
    "rate", [8000, 11_025, 44_100, 96_000, 192_000, 384_000, 44_101]
)
def test_rates_of_real_sounds(tmp_path, rate):
    path = tmp_path / "sound.wav"
    wavfile.write(path, rate, np.zeros(rate // 10, dtype=np.int16))
    _, content = read_audio(path)
    assert abs(len(decode_audio(content, 48_000, 480_000)) - 4800) < 10


def test_a_signalling_nan(tmp_path):
    samples = np.full(100, 0x7F800001, dtype=np.uint32).view(np.float32)
    path = tmp_path / "sound.wav"
    wavfile.write(path, 48_000, samples)
    _, content = read_audio(path)
    with pytest.raises(Unreadable, match="NaN"):
        decode_audio(content, 48_000, 480_000)


# states of fits


class Kept(Checkpoint):
    """A checkpoint that leaves its files when the fit is done."""

    def on_fit_task_end(self, estimator, context):
        pass


def fit(checkpoint):
    """A fit of a few steps."""
    X = np.random.default_rng(0).standard_normal((60, 6))
    sae = TopKSAE(8, 2, batch_size=20, max_iter=3, random_state=0)
    return sae.set_callbacks(checkpoint).fit(X)


def edited(path, change, sign=False):
    """Write a state again whose JSON was changed, with the checksum that it had or not.

    With `sign` it gets the one that it should have.
    """
    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["skxsae"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header)
    if sign:
        del header["checksum"]
        header["checksum"] = _checksum(header, arrays)
    save_file(arrays, path, {"skxsae": json.dumps(header)})


@pytest.mark.parametrize("name", ["n_iter", "n_batches", "fvu"])
def test_a_number_of_a_state_is_under_its_checksum(tmp_path, name):
    expected = fit(Kept(tmp_path, interval=0))
    newest = tmp_path / "fit.skxsae-fit"
    edited(newest, lambda header: header["state"].update({name: 1}))
    with pytest.warns(UserWarning, match="checksum"):
        sae = fit(Checkpoint(tmp_path))
    np.testing.assert_array_equal(sae.components_, expected.components_)


@pytest.mark.parametrize(
    "numbers",
    [
        {"loss_curve": 3},
        {"n_batches": {}},
        {"trainer": 7},
        {"random_state": ["MT19937", 2**30, 0, 0.0]},  # beyond its words
        {"random_state": ["MT19937", -1, 0, 0.0]},
    ],
)
def test_a_state_with_other_numbers(tmp_path, numbers):
    fit(Kept(tmp_path, interval=0))
    for path in tmp_path.iterdir():
        edited(path, lambda header: header["state"].update(numbers), sign=True)
    with pytest.raises(ValueError, match="does not hold a state of this fit"):
        fit(Checkpoint(tmp_path))


def test_a_link_to_itself_is_replaced(tmp_path):
    path = tmp_path / "loop"
    path.symlink_to("loop")
    with replacing(path) as unfinished:
        unfinished.write_text("here")
    assert path.read_text() == "here"
