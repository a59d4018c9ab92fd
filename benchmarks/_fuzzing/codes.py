"""Files of sparse codes, valid and hostile."""

import numpy as np
from scipy import sparse

from _fuzzing.loader import Loader
from skxsae.search import read_codes, write_codes


def _draw_codes(rng):
    shape = (int(rng.integers(1, 9)), int(rng.integers(1, 30)))
    return sparse.random_array(shape, density=0.3, format="csr", rng=rng)


def _write_lines(folder, rng):
    write_codes(folder / "input.jsonl", _draw_codes(rng))


_JSON = [
    '{"index":{"_id":7}}', '{"index":{"_id":null}}', '{"index":["_id"]}',
    '{"index":{}}',
    '{"index":{"_id":"7"}}', '{"concepts":{"1":0.5,"1":0.25}}', "[1, 2]", "7",
    "null", "",
    '{"concepts":{"1":0.5,"01":0.25, " 1 ": 3, "1_0": 2}}', '{"concepts":{"-0":1}}',
    '{"concepts":{"٣":1}}', '{"concepts":{"9223372036854775807":1}}', '"concepts"',
    '{"concepts":{"9223372036854775806":1}}', '{"concepts":{"99999999999999999999":1}}',
    '{"concepts":{"1":NaN}}', '{"concepts":{"1":Infinity}}', '{"concepts":{"1":1e999}}',
    '{"concepts":{"1":-1}}', '{"concepts":{"1":"0.5"}}', '{"concepts":{"1":true}}',
    '{"concepts":{"1":null}}', '{"concepts":{"1":[1]}}', '{"concepts":{"a":1}}',
    '{"concepts":{"1.0":1}}', '{"concepts":[1]}', '{"concepts":null}',
    '{"concepts":{}}',
    '{"concepts":{"1":' + "9" * 5000 + "}}", '{"concepts":{"' + "9" * 5000 + '":1}}',
    "[" * 100_000, '{"index":' * 100_000, '{"concepts":{"1":0}}',
    '{"index":{"_id":"\\ud800"}}',
]  # fmt: skip


def _write_hostile_lines(folder, rng, canary):
    lines = "\n".join(rng.choice(_JSON, rng.integers(1, 7)).tolist())
    (folder / "input.jsonl").write_text(lines + "\n", encoding="utf-8")


def _read_lines(folder, rng):
    n_concepts = None if rng.random() < 0.7 else int(rng.integers(40))
    return read_codes(folder / "input.jsonl", n_concepts=n_concepts)


def check_codes(data):
    """A canonical CSR array of finite numbers, and a string for each row."""
    codes = data.codes
    assert len(data.ids) == codes.shape[0]
    assert all(type(name) is str for name in data.ids)
    assert np.isfinite(codes.data).all()
    codes.check_format(full_check=True)
    assert sparse.csr_array(codes, copy=True).has_canonical_format
    assert (
        codes @ np.ones((codes.shape[1], 1)) if codes.shape[1] < 10**6 else True
    ) is not None


def _write_parquet_codes(folder, rng):
    write_codes(folder / "input.parquet", _draw_codes(rng))


def _write_hostile_parquet_codes(folder, rng, canary):
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = int(rng.integers(0, 5))
    number = rng.choice([0, 1, 1, 2**31, 2**32 - 1])

    def lists(value, kind):
        lengths = rng.choice([0, 1, 3]) if rng.random() < 0.6 else None
        rows = [
            [
                None if rng.random() < 0.05 else value
                for _ in range(rng.integers(4) if lengths is None else lengths)
            ]
            for _ in range(n)
        ]
        rows = [None if rng.random() < 0.05 else row for row in rows]
        return pa.array(rows, pa.list_(kind))

    kinds = [pa.uint32(), pa.int64(), pa.uint64(), pa.string(), pa.float64()]
    kind = kinds[rng.integers(len(kinds))]
    indices = lists(str(number) if kind == pa.string() else int(number), kind)
    values = lists(float(rng.choice([0.5, np.nan, np.inf, 1e300, 0])), pa.float64())
    vectors = pa.StructArray.from_arrays([indices, values], names=["indices", "values"])
    columns = {"id": pa.array([str(i) for i in range(n)], pa.string())}
    if rng.random() < 0.3:
        columns["id"] = (
            pa.array(range(n), pa.int64()) if rng.random() < 0.5 else vectors
        )
    columns["sparse_values"] = vectors if rng.random() < 0.8 else indices
    if rng.random() < 0.2:
        columns.pop(str(rng.choice(["id", "sparse_values"])))
    width = ["30", "-1", "0", "abc", "9" * 30, "é", "9" * 5000, "1e3"][rng.integers(8)]
    table = pa.table(columns).replace_schema_metadata({"n_concepts": width})
    pq.write_table(table, folder / "input.parquet")


def _read_parquet_codes(folder, rng):
    n_concepts = None if rng.random() < 0.7 else int(rng.integers(40))
    return read_codes(folder / "input.parquet", n_concepts=n_concepts)


LOADERS = {
    "codes, JSON lines": Loader(
        _write_lines,
        _read_lines,
        check_codes,
        _write_hostile_lines,
        (ValueError, OSError),
        "input",
    ),
    "codes, Parquet": Loader(
        _write_parquet_codes,
        _read_parquet_codes,
        check_codes,
        _write_hostile_parquet_codes,
        (ValueError, OSError),
        "input",
    ),
}
