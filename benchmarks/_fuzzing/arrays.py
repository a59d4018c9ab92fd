"""Files of arrays, valid and hostile."""

import io
import struct
import warnings
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _fuzzing.loader import Canary, Loader
from skxsae.datasets import DiskArray, load_array, load_paired_arrays


def _draw_array(rng, n_rows=None):
    """A small array of any plain type."""
    shape = (n_rows or rng.integers(1, 20), rng.integers(1, 9))
    dtype = rng.choice(["<f2", "<f4", ">f8", "<i8", "u1", "?", "<U3", "<c8"])
    array = (10 * rng.standard_normal(shape)).astype("f4").astype(dtype)
    return np.asarray(array, order=rng.choice(["C", "F"]))


def npy_of(descr, shape, body, *, order="False", version=(1, 0), length=None):
    """A .npy file whose header says what it is told to say."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"
    header = header.encode()
    size = len(header) if length is None else length
    kind = "<H" if version[0] == 1 else "<I"
    size = struct.pack(kind, size % 256 ** struct.calcsize(kind))
    return b"\x93NUMPY" + bytes(version) + size + header + body


_DESCRIPTIONS = [
    "'<f4'", "'<f8'", "'|O'", "'O'", "object", "'<U1'", "'<U500000000'",
    "'|V2147483647'",
    "'|V0'", "'<M8[ns]'", "'<M8'", "'|S0'", "''", "'f'", "None", "7", "'<f4,<f4'",
    "[('a', '<f4'), ('b', '|O')]", "[('a', '<f4'), ('a', '<f4')]", "[]", "()",
    "('<f4', (1000000, 1000000))", "('<f4', (0,))", "[('a', '<f4', (100000, 100000))]",
    "{'names': ['a'], 'formats': ['<f4'], 'offsets': [2147483600]}", "['<f4']",
    "[('a', [('b', [('c', '|O')])])]", "'<f16'", "'>g'", "'<e'", "'|b1'", "'<i9'",
    "'\\x00'", "1e400", "'<f4' * 3", "__import__('os')", "'<T'", "'|T16'",
]  # fmt: skip
_SHAPES = [
    "(3, 4)", "(12,)", "()", "(0, 4)", "(3, -4)", "(-1,)", "(-3, -4)",
    "(4611686018427387904, 4)",
    "(9223372036854775807, 9223372036854775807)", "(9223372036854775808,)", "(3.0, 4)",
    "(True, 12)", "'12'", "None", "[3, 4]", "(3, (4,))", "(1,) * 3",
    "(1, 1, 1, 1, 1, 1)",
    "(1000000000000000000000000000000, 0)", "(0, 1000000000000000000000000000000)",
    "(65536, 65536, 65536, 65536)", "(4294967296, 4294967296)", "(12, 0x10)",
    "(nan, 4)",
    "(" + "1, " * 65 + ")", "(" + "1, " * 3000 + ")", "(2147483648, 2)", "(1j,)",
]  # fmt: skip


def _hostile_npy(rng, canary):
    """Contents of a .npy file that nothing but a program would write."""
    body = rng.bytes(int(rng.choice([0, 47, 48, 96, 4096])))
    description, shape = rng.choice(_DESCRIPTIONS), rng.choice(_SHAPES)
    if rng.random() < 0.3:
        description = "'<f4'"
    elif rng.random() < 0.3:
        shape = "(3, 4)"
    if rng.random() < 0.1:
        file = io.BytesIO()
        np.save(file, np.array([Canary(canary)] * 3), allow_pickle=True)
        return file.getvalue()
    if rng.random() < 0.1:
        description = "[" * int(rng.choice([50, 3000])) + "'<f4'"
    return npy_of(
        description,
        shape,
        body,
        order=rng.choice(["False", "True", "1", "'C'", "None", "[[]]"]),
        version=[(1, 0), (1, 0), (2, 0), (3, 0), (9, 9)][rng.integers(5)],
        length=[None, None, None, 0, 10, 60000, 2**31 - 1][rng.integers(7)],
    )


def _write_npy(folder, rng):
    np.save(folder / "input.npy", _draw_array(rng))


def _write_hostile_npy(folder, rng, canary):
    (folder / "input.npy").write_bytes(_hostile_npy(rng, canary))


def _read_npy(folder, rng):
    mode = [None, "r", "c"][rng.integers(3)]
    return _touched(load_array(folder / "input.npy", mmap_mode=mode))


def _touched(array):
    """An array of which some rows were read."""
    shape = array.shape
    if len(shape) > 0 and shape[0] > 0:
        np.array(array[:3]), np.array(array[-1:]), array[:: max(1, shape[0] // 3)]
    return array


def check_array(array):
    """No objects and a shape that is one."""
    assert not np.dtype(array.dtype).hasobject
    assert all(isinstance(length, int) and length >= 0 for length in array.shape)


def _write_npz(folder, rng):
    save = np.savez if rng.random() < 0.5 else np.savez_compressed
    save(folder / "input.npz", a=_draw_array(rng), b=_draw_array(rng))


def _write_hostile_npz(folder, rng, canary):
    names = [
        "a",
        "a.npy",
        "../../escaped.npy",
        "/escaped",
        "b",
        "a/",
        "\\",
        "é",
        ".",
    ]
    with (
        zipfile.ZipFile(folder / "input.npz", "w") as archive,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # the same name twice
        for _ in range(rng.integers(1, 4)):
            kind = int(rng.choice([0, 8, 8, 12, 14]))
            content = _hostile_npy(rng, canary)
            if rng.random() < 0.2:  # a bomb
                content = npy_of("'<f4'", "(3000000000,)", bytes(2**22))
            archive.writestr(str(rng.choice(names)), content, compress_type=kind)
    if rng.random() < 0.7:
        _change_zip(folder / "input.npz", rng)


def _change_zip(path, rng):
    """Let the fields of an entry, local or central, say something else."""
    content = bytearray(path.read_bytes())
    signature = [b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"][rng.integers(3)]
    place = content.find(signature)
    offset, size = [
        (6, 2),
        (8, 2),
        (10, 2),
        (14, 4),
        (18, 4),
        (22, 4),
        (26, 2),
        (28, 2),
    ][rng.integers(8)]
    number = [0, 1, 8, 9, 99, 2**16 - 1, 2**31 - 1, 2**32 - 1][rng.integers(8)]
    place += offset
    content[place : place + size] = (number % 256**size).to_bytes(size, "little")
    path.write_bytes(content)


def _read_npz(folder, rng):
    spec = str(folder / "input.npz")
    spec += ["", ":a", ":b", ":../../escaped"][rng.integers(4)]
    return _touched(load_array(spec, mmap_mode=[None, "r", "c"][rng.integers(3)]))


def _write_shards(folder, rng):
    width, dtype = int(rng.integers(1, 6)), rng.choice(["<f2", "<f4", ">f8", "<i4"])
    (folder / "input").mkdir()
    for number in range(rng.integers(1, 5)):
        rows = rng.standard_normal((rng.integers(1, 6), width)).astype(dtype)
        np.save(folder / "input" / f"img_emb_{number}.npy", rows)


def _write_hostile_shards(folder, rng, canary):
    _write_shards(folder, rng)
    name = ["img_emb_0.npy", "img_emb_01.npy", "img_emb_99999999999999999999.npy"]
    name += ["img_emb_" + "9" * 230 + ".npy", "img_emb_٣.npy", "img_emb_1.npy.part"]
    path = folder / "input" / str(rng.choice(name))
    path.write_bytes(_hostile_npy(rng, canary))


def _read_shards(folder, rng):
    return _touched(load_array(folder / "input"))


def _write_pair(folder, rng):
    n = int(rng.integers(2, 12))
    np.save(folder / "input_x.npy", rng.standard_normal((n, 3)).astype("f4"))
    np.savez(
        folder / "input.npz",
        y=rng.standard_normal((2 * n, 2)).astype("f4"),
        groups=np.repeat(np.arange(n), 2),
        test=np.arange(2 * n) < 2,
    )


def _write_hostile_pair(folder, rng, canary):
    _write_pair(folder, rng)
    n = len(np.load(folder / "input_x.npy"))
    strange = [np.nan, np.inf, -1, 2**31, 2**62, n, n - 1, 0.5, 1e300]
    with np.errstate(invalid="ignore", over="ignore"):
        groups = rng.choice(strange, 2 * n).astype(
            rng.choice(["f8", "i8", "u8", "i1", "U2"])
        )
        test = rng.choice([0, 1, 2, -1], 2 * n).astype(
            rng.choice(["?", "i1", "u8", "f4"])
        )
        y = np.full((2 * n, 2), rng.choice(strange)).astype(
            rng.choice(["f2", "f4", "c8"])
        )
    np.savez(folder / "input.npz", y=y, groups=groups, test=test)


def _read_pair(folder, rng):
    options = {name: f"{folder}/input.npz:{name}" for name in ("groups", "test")}
    options = {name: spec for name, spec in options.items() if rng.random() < 0.7}
    x, y = folder / "input_x.npy", f"{folder}/input.npz:y"
    return load_paired_arrays(x, y, **options)


def check_pair(data):
    """Rows that there are, and no pair on both sides."""
    n_pairs = len(data.y)
    assert len(data.x_rows) == len(data.groups) == n_pairs
    assert data.x_rows.min() >= 0
    assert data.x_rows.max() < len(data.X)
    rows = np.sort(np.concatenate([data.train, data.test]))
    np.testing.assert_array_equal(rows, np.arange(n_pairs))
    assert not np.isin(data.groups[data.train], data.groups[data.test]).any()
    assert np.array(data.X[data.x_rows[:2]]).ndim == 2


# arrays that are read by rows


def _write_disk_array(folder, rng):
    array = rng.standard_normal((int(rng.integers(1, 30)), int(rng.integers(1, 6))))
    array = np.asarray(array.astype(rng.choice(["<f2", ">f4", "<f8", "<i4"])))
    kind = rng.integers(3)
    if kind == 0:
        np.save(folder / "input.npy", np.asarray(array, order=rng.choice(["C", "F"])))
    elif kind == 1:
        np.savez(folder / "input.npz", a=array)
    else:
        _write_shards(folder, rng)


def _write_hostile_disk_array(folder, rng, canary):
    if rng.random() < 0.5:
        _write_hostile_npy(folder, rng, canary)
    else:
        _write_hostile_shards(folder, rng, canary)


def _write_parquet(folder, rng):
    n_rows, width = int(rng.integers(1, 30)), int(rng.integers(1, 6))
    rows = rng.standard_normal((n_rows, width))
    kind = (
        pa.list_(pa.float32(), width) if rng.random() < 0.5 else pa.list_(pa.float32())
    )
    column = pa.array(list(rows), kind)
    size = int(rng.integers(1, 12))
    pq.write_table(
        pa.table({"a": column}), folder / "input.parquet", row_group_size=size
    )


def _write_hostile_parquet(folder, rng, canary):
    kinds = [pa.list_(pa.float32()), pa.list_(pa.float64(), 2), pa.list_(pa.string())]
    kinds += [pa.list_(pa.list_(pa.float32())), pa.float32(), pa.list_(pa.bool_())]
    column = _draw_lists(rng, kinds[rng.integers(len(kinds))])
    columns = {"a": column}
    if rng.random() < 0.2:
        columns[str(rng.choice(["b", "", "a.b", "list"]))] = column
    pq.write_table(pa.table(columns), folder / "input.parquet", row_group_size=3)


def _draw_lists(rng, kind):
    """A column with missing rows, missing numbers, or rows of several lengths."""
    if not pa.types.is_nested(kind):
        return pa.array([1.0, None, 3.0], kind)
    values = [1.0, np.nan, np.inf, None if rng.random() < 0.3 else 0.5]
    if pa.types.is_string(kind.value_type):
        values = ["a", "1", None, ""]
    elif pa.types.is_boolean(kind.value_type):
        values = [True, False, None, True]
    elif pa.types.is_list(kind.value_type):
        values = [[1.0], [], None, [2.0]]
    is_fixed = pa.types.is_fixed_size_list(kind)
    lengths = [2] if is_fixed or rng.random() < 0.5 else [0, 1, 2, 3]
    rows = [
        [values[rng.integers(4)] for _ in range(rng.choice(lengths))] for _ in range(7)
    ]
    return pa.array([None if rng.random() < 0.1 else row for row in rows], kind)


def _read_disk_array(folder, rng):
    found = sorted(folder.glob("input*"), key=lambda path: path.suffix)
    source = found[-1] if found else folder / "input.npy"
    source = f"{source}:a" if source.suffix == ".npz" else source
    array = DiskArray(source, buffer_bytes=2**20)
    n_rows = len(array)
    array[: min(n_rows, 5)], array[-3:], array[:: max(n_rows // 3, 1)]
    if n_rows:
        array[rng.integers(n_rows, size=5)], array.select([0])[:]
    if array.size < 10**5:
        np.asarray(array), sum(1 for _ in array)
    return array


def check_disk_array(array):
    """Rows of real numbers."""
    assert array.dtype.kind in "fiub"
    assert array.ndim == 2
    assert array[:2].shape[1:] == array.shape[1:]


LOADERS = {
    "DiskArray": Loader(
        _write_disk_array,
        _read_disk_array,
        check_disk_array,
        _write_hostile_disk_array,
        (ValueError, OSError),
        "input",
    ),
    "DiskArray, Parquet": Loader(
        _write_parquet,
        _read_disk_array,
        check_disk_array,
        _write_hostile_parquet,
        (ValueError, OSError),
        "input",
    ),
    "npy": Loader(
        _write_npy,
        _read_npy,
        check_array,
        _write_hostile_npy,
        (ValueError, OSError),
        "input",
    ),
    "npz": Loader(
        _write_npz,
        _read_npz,
        check_array,
        _write_hostile_npz,
        (ValueError, OSError),
        "input",
    ),
    "shards": Loader(
        _write_shards,
        _read_shards,
        check_array,
        _write_hostile_shards,
        (ValueError, OSError),
        "input",
    ),
    "paired arrays": Loader(
        _write_pair,
        _read_pair,
        check_pair,
        _write_hostile_pair,
        (ValueError, OSError),
    ),
}
