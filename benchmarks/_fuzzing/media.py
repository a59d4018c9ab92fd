"""Pictures, sounds and the cache of their embeddings, valid and hostile."""

import contextlib
import sqlite3
import struct
import zlib

import numpy as np
from scipy.io import wavfile

from _fuzzing.loader import Loader
from skxsae.embedding._audio import decode_audio, read_audio
from skxsae.embedding._cache import FILE_NAME, open_cache
from skxsae.embedding._entries import Unreadable
from skxsae.embedding._images import decode_image, read_image


def _open_cache(folder):
    outputs = np.ones((2, 3), dtype=np.float32)
    return open_cache(folder, lambda: (b"model", outputs), 3, tolerance=1e-2)


def _write_cache(folder, rng):
    with _open_cache(folder) as cache:
        digests = [bytes([i]) for i in range(rng.integers(1, 40))]
        cache.put(digests, rng.standard_normal((len(digests), 3)).astype("f4"))


def _write_hostile_cache(folder, rng, canary):
    connection = sqlite3.connect(folder / FILE_NAME)
    statements = [
        "CREATE TABLE embeddings (key, vector)",
        "CREATE TABLE models (fingerprint, outputs)",
        "CREATE TABLE models (fingerprint BLOB NOT NULL, outputs BLOB NOT NULL)",
        "CREATE TABLE embeddings (key BLOB PRIMARY KEY, vector BLOB NOT NULL)",
        "CREATE VIEW embeddings AS WITH RECURSIVE c(key, vector) AS (SELECT 1, 2 UNION "
        "ALL SELECT key + 1, 2 FROM c) SELECT * FROM c",
        "CREATE TABLE other (a)",
        "CREATE TRIGGER t AFTER INSERT ON models BEGIN DELETE FROM embeddings; END",
        "PRAGMA application_id = 1936423027",
        "INSERT INTO models VALUES (x'6D6F64656C', zeroblob(24))",
        "INSERT INTO models VALUES (x'6D6F64656C', 'twenty-four characters !')",
        "INSERT INTO models VALUES (x'6D6F64656C', x'0000C07F0000C07F0000C07F"
        "0000C07F0000C07F0000C07F')",
        "INSERT INTO models VALUES ('model', 7)",
        "PRAGMA user_version = 7",
        "PRAGMA journal_mode = WAL",
    ]
    if rng.random() < 0.7:
        connection.execute("PRAGMA application_id = 1936423027")
    for number in rng.integers(len(statements), size=rng.integers(1, 8)):
        with contextlib.suppress(sqlite3.Error):
            connection.execute(statements[number])
    connection.commit()
    connection.close()


def _read_cache(folder, rng):
    digests = [bytes([i]) for i in range(60)]
    with _open_cache(folder) as cache:
        found = cache.get(digests)
        cache.put(digests[:2], np.zeros((2, 3), dtype=np.float32))
        return found, cache.get(digests[:2])


def check_cache(result):
    """Vectors of the right width, none with NaN."""
    for found in result:
        for vector in found.values():
            assert vector.shape == (3,)
            assert np.isfinite(vector).all()


_FORMATS = [
    "PNG",
    "JPEG",
    "GIF",
    "BMP",
    "TIFF",
    "WEBP",
    "PPM",
    "TGA",
    "ICO",
    "PCX",
    "JPEG2000",
]
_POSTSCRIPT = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 10 10
%%EndComments
(escaped) (w) file closefile showpage
%%EOF
"""


def _write_picture(folder, rng):
    from PIL import Image

    size = int(rng.integers(1, 30)), int(rng.integers(1, 30))
    mode = str(rng.choice(["RGB", "L", "RGBA", "P", "1", "I;16", "F", "CMYK", "LA"]))
    picture = Image.frombytes("RGB", size, rng.bytes(3 * size[0] * size[1]))
    try:
        picture = picture.convert(mode) if ";" not in mode else picture
        picture.save(folder / "input.png", format=str(rng.choice(_FORMATS)))
    except (OSError, ValueError, KeyError):
        picture.convert("RGB").save(folder / "input.png", format="PNG")


def _write_hostile_picture(folder, rng, canary):
    kind = rng.integers(5)
    if kind == 0:  # a program
        content = _POSTSCRIPT
    elif kind == 1:  # a PNG that is huge in its header only
        size = rng.choice([10**4, 2**16, 2**31 - 1, 2**32 - 1], 2).tolist()
        header = struct.pack(
            ">IIBBBBB", *size, 8, int(rng.choice([0, 2, 3, 6])), 0, 0, 0
        )
        content = _png(header)
    elif kind == 2:
        width, height = rng.choice([1, 10**4, 10**5, 10**9], 2)
        content = b"P6\n%d %d\n%d\n" % (
            width,
            height,
            rng.choice([1, 255, 65535, 10**9]),
        )
        content += rng.bytes(100)
    elif kind == 3:
        content = b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    else:
        content = b"BM" + struct.pack("<IHHI", 100, 0, 0, 54)
        content += struct.pack("<Iii", 40, *_large(rng, 2))
        content += struct.pack("<HHII", 1, 24, 0, *_large(rng, 1))
        content += struct.pack("<iiII", 0, 0, *_large(rng, 2)) + rng.bytes(100)
    (folder / "input.png").write_bytes(content)


def _large(rng, n):
    return rng.choice([0, 1, 3, 10**4, 2**24, 2**31 - 1], n).tolist()


def _png(header):
    def chunk(name, data):
        check = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)

    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + data + chunk(b"IEND", b"")


def _read_picture(folder, rng):
    _, content = read_image(folder / "input.png")
    return decode_image(content)


def check_picture(picture):
    """A picture in RGB."""
    assert picture.mode == "RGB"
    picture.load()


def _write_sound(folder, rng):
    shape = [(100,), (100, 2), (3000,)][rng.integers(3)]
    kind = str(rng.choice(["u1", "<i2", "<i4", "<f4", "<f8"]))
    samples = rng.standard_normal(shape).clip(-1, 1)
    if kind[-2] != "f":
        samples = 100 + 100 * samples
    rate = int(rng.choice([8000, 16000, 44100, 48000]))
    wavfile.write(folder / "input.wav", rate, samples.astype(kind))


_RATES = [
    *(0, 1, 7, 8000, 44_101, 192_001, 999_983, 19_999_999),
    *(2**31 - 1, 2**32 - 1),
]


def _write_hostile_sound(folder, rng, canary):
    data = rng.bytes(int(rng.choice([0, 1, 100, 4000])))
    rate = int(rng.choice(_RATES))
    header = struct.pack("<HHIIHH", 1, 1, rate, 2 * rate % 2**32, 2, 16)
    if rng.random() < 0.4:  # of sizes that do not fit together
        sizes = rng.choice([0, 1, 2, 3, 8, 16, 24, 32, 64, 65535], 5).tolist()
        sizes[0] = int(rng.choice([1, 3, 65534, 7, 0]))
        header = struct.pack("<HHIIHH", *sizes[:2], rate, sizes[2], *sizes[3:])
    if rng.random() < 0.3:
        header += rng.bytes(24)
    size = int(rng.choice([len(data), 0, 2**31 - 1, 2**32 - 1]))
    chunks = b"fmt " + struct.pack("<I", len(header)) + header
    chunks += rng.choice([b"", b"LIST\x04\x00\x00\x00abcd", b"fact\xff\xff\xff\xff"])
    chunks += b"data" + struct.pack("<I", size) + data
    kind = [b"RIFF", b"RIFF", b"RIFX", b"RF64"][rng.integers(4)]
    content = kind + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks
    (folder / "input.wav").write_bytes(content)


def _read_sound(folder, rng):
    _, content = read_audio(folder / "input.wav")
    return decode_audio(content, 48_000, 480_000)


def check_sound(samples):
    """Not more samples than were asked for, all finite."""
    assert samples.dtype == np.float64
    assert samples.ndim == 1
    assert len(samples) <= 480_000
    assert np.isfinite(samples).all()


LOADERS = {
    "cache of embeddings": Loader(
        _write_cache,
        _read_cache,
        check_cache,
        _write_hostile_cache,
        (ValueError, OSError),
        "embeddings.sqlite3",
    ),
    "pictures": Loader(
        _write_picture,
        _read_picture,
        check_picture,
        _write_hostile_picture,
        (Unreadable,),
        warns=("/PIL/",),
    ),
    "sounds": Loader(
        _write_sound, _read_sound, check_sound, _write_hostile_sound, (Unreadable,)
    ),
}
