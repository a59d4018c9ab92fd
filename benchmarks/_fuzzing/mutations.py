"""Ways to damage a file, by chance and by what hostile files are known to hold."""

import os
import re
from pathlib import Path

import numpy as np

_NUMBERS = [
    0, 1, 2, 3, 7, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31,
    2**32 - 1, 2**32, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, -1, -2,
    -128, -(2**31), -(2**63),
]  # fmt: skip
_WORDS = [
    b"../../escaped", b"/escaped", b"..\\..\\escaped", b"\x00", b"NaN", b"Infinity",
    b"-Infinity", b"1e999", b"null", b"true", b"{}", b"[]", b'""', b"'|O'", b"'<f8'",
    b"'<U99999999'", b"'|V2147483647'", b"O", b"\xff\xfe", b"\xc5\xbf", b"1" * 5000,
]  # fmt: skip
_LARGEST_HOLE = 2**23


def damaged(content, rng, others):
    """Bytes after one to three kinds of damage; `others` are files to take from."""
    for _ in range(rng.integers(1, 4)):
        kind = _KINDS[rng.integers(len(_KINDS))]
        content = kind(content, rng, others)
    return content


def _cut(content, rng, others):
    """What was written before the disk was full."""
    return content[: rng.integers(len(content) + 1)]


def _flip(content, rng, others):
    """A few bits are wrong."""
    if not content:
        return content
    changed = bytearray(content)
    for place in _places(content, rng, rng.choice([1, 2, 8, 64])):
        changed[place] ^= 1 << rng.integers(8)
    return bytes(changed)


def _places(content, rng, n_places):
    """Positions of bytes, half of them among the first, where headers are."""
    ends = np.where(rng.random(n_places) < 0.5, min(len(content), 256), len(content))
    return rng.integers(ends)


def _overwrite(content, rng, others):
    """A run of bytes is replaced by as many others."""
    start, stop = np.sort(_places(content + b" ", rng, 2))
    stop = min(stop, start + 2 ** rng.integers(12))
    fill = [bytes(1), b"\xff", b"(", b"9", rng.bytes(1)][rng.integers(5)]
    return content[:start] + fill * (stop - start) + content[stop:]


def _insert(content, rng, others):
    """Bytes are put in between, random or those of another file."""
    place = _places(content + b" ", rng, 1)[0]
    inserted = rng.bytes(rng.integers(1, 64))
    if others and rng.random() < 0.5:
        inserted = _piece(others[rng.integers(len(others))], rng)
    return content[:place] + inserted + content[place:]


def _delete(content, rng, others):
    """A run of bytes is lost."""
    start, stop = np.sort(_places(content + b" ", rng, 2))
    return content[:start] + content[stop:]


def _repeat(content, rng, others):
    """A run of bytes comes twice or often."""
    piece = _piece(content, rng)[:4096]
    place = _places(content + b" ", rng, 1)[0]
    return content[:place] + piece * rng.choice([1, 2, 50]) + content[place:]


def _piece(content, rng):
    """A run of bytes of a file."""
    start, stop = np.sort(rng.integers(len(content) + 1, size=2))
    return content[start:stop]


def _integer(content, rng, others):
    """An integer in binary is replaced by a remarkable one."""
    size = int(rng.choice([1, 2, 4, 8]))
    if len(content) < size:
        return content
    place = min(_places(content, rng, 1)[0], len(content) - size)
    number = _NUMBERS[rng.integers(len(_NUMBERS))] % 256**size
    order = "little" if rng.random() < 0.7 else "big"
    return content[:place] + number.to_bytes(size, order) + content[place + size :]


def _digits(content, rng, others):
    """A number in text, such as a length in a header, becomes a remarkable one."""
    found = list(re.finditer(rb"-?\d+", content[:65536]))
    if not found:
        return content
    match = found[rng.integers(len(found))]
    number = str(_NUMBERS[rng.integers(len(_NUMBERS))]).encode()
    if rng.random() < 0.5:  # of the same length, so that all else stays in its place
        number = number[-len(match[0]) :].rjust(len(match[0]), b"9")
    return content[: match.start()] + number + content[match.end() :]


def _word(content, rng, others):
    """A word in text, such as a name or a type, becomes a remarkable one."""
    found = list(re.finditer(rb"[\"']?[\w<>|.]+[\"']?", content[:65536]))
    if not found:
        return content
    match = found[rng.integers(len(found))]
    word = _WORDS[rng.integers(len(_WORDS))]
    return content[: match.start()] + word + content[match.end() :]


def _nest(content, rng, others):
    """Brackets are nested deeper than a parser by recursion can follow."""
    place = _places(content + b" ", rng, 1)[0]
    depth = int(rng.choice([100, 5000, 200_000]))
    opening, closing = [(b"[", b"]"), (b"(", b")"), (b'{"a":', b"}")][rng.integers(3)]
    nested = opening * depth + (b"1" + closing * depth if rng.random() < 0.5 else b"")
    return content[:place] + nested + content[place:]


def _grow(content, rng, others):
    """Zeros or spaces follow."""
    fill = [bytes(1), b" ", b"\n"][rng.integers(3)]
    return content + fill * int(rng.choice([1, 7, 4096, _LARGEST_HOLE]))


def _other(content, rng, others):
    """Another file in its place."""
    return others[rng.integers(len(others))] if others else b""


_KINDS = [
    _cut, _flip, _flip, _flip, _overwrite, _insert, _delete, _repeat, _integer,
    _integer,
    _integer, _digits, _digits, _word, _word, _nest, _grow, _other,
]  # fmt: skip


def damage_files(folder, rng, others):
    """Damage one or two of the files under a folder, or their names."""
    paths = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    for _ in range(rng.choice([1, 1, 2])):
        path = paths[rng.integers(len(paths))]
        if rng.random() < 0.93:
            content = path.read_bytes() if path.is_file() else b""
            if path.is_file():
                path.write_bytes(damaged(content, rng, others))
        else:
            _FILE_KINDS[rng.integers(len(_FILE_KINDS))](path, paths, rng)


def _remove(path, paths, rng):
    """The file is gone."""
    if not path.is_dir():
        path.unlink(missing_ok=True)


def _swap(path, paths, rng):
    """Two files have each other's names."""
    other = paths[rng.integers(len(paths))]
    if path.is_file() and other.is_file():
        contents = path.read_bytes(), other.read_bytes()
        path.write_bytes(contents[1])
        other.write_bytes(contents[0])


def _into_folder(path, paths, rng):
    """A folder has the name of the file."""
    if path.is_file():
        path.unlink()
        path.mkdir()


def _into_link(path, paths, rng):
    """A link to nothing or to itself has the name of the file."""
    if path.is_file():
        path.unlink()
        os.symlink(path.name if rng.random() < 0.5 else "nothing", path)


def _add_file(path, paths, rng):
    """A file of a similar name is beside it."""
    name = re.sub(r"\d+", lambda match: match[0] + "7", path.name)
    if path.is_file():
        (path.parent / f"{rng.choice(['0', 'a', ''])}{name}").write_bytes(
            path.read_bytes()
        )


_FILE_KINDS = [_remove, _swap, _into_folder, _into_link, _add_file]
