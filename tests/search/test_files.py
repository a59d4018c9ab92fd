import json
import sys

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy import sparse

from skxsae.search import _files, read_codes, write_codes

ENDINGS = [".jsonl", ".ndjson", ".parquet"]
VALUES = st.floats(0, 2**100, width=32)


@pytest.fixture(params=ENDINGS)
def path(request, tmp_path):
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    return tmp_path / f"codes{request.param}"


@settings(deadline=None, max_examples=40)
@given(
    codes=hnp.arrays(
        np.float32, st.tuples(st.integers(0, 6), st.integers(1, 5)), elements=VALUES
    ),
    ending=st.sampled_from(ENDINGS),
)
def test_round_trip_to_the_last_bit(tmp_path_factory, codes, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path_factory.mktemp("codes") / f"codes{ending}"
    if len(codes) == 0:
        codes = np.zeros((1, codes.shape[1]), np.float32)
    write_codes(path, sparse.csr_array(codes))
    data = read_codes(path, n_concepts=codes.shape[1])
    assert_array_equal(data.codes.toarray().astype(np.float32), codes)
    assert data.ids.tolist() == [str(i) for i in range(len(codes))]


def test_float64_keeps_its_digits_in_json_lines(tmp_path):
    codes = np.random.default_rng(0).random((5, 3))
    data = read_codes(write_codes(tmp_path / "codes.jsonl", codes))
    assert_array_equal(data.codes.toarray(), codes)


def test_ids_of_any_script_and_quotes(path):
    ids = ["猫", 'a "b" \\ c', "<b>", "line\nbreak"]
    assert read_codes(write_codes(path, np.eye(4), ids=ids)).ids.tolist() == ids


def test_many_rows(path, planted):
    codes = planted.model.transform(np.tile(planted.X, (4, 1)))
    data = read_codes(write_codes(path, codes), n_concepts=codes.shape[1])
    assert_array_equal(data.codes.toarray().astype(np.float32), codes.toarray())


def test_json_lines_are_the_bulk_format(tmp_path):
    codes = sparse.csr_array(np.array([[0, 0.5, 0], [0, 0, 0]], dtype=np.float32))
    path = write_codes(tmp_path / "codes.jsonl", codes, ids=["a", "b"])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [
        {"index": {"_id": "a"}},
        {"concepts": {"1": 0.5}},
        {"index": {"_id": "b"}},
        {"concepts": {}},
    ]
    assert path.read_bytes().endswith(b"\n")  # which the bulk API requires


def test_parquet_has_the_types_of_sparse_values(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = write_codes(tmp_path / "codes.parquet", np.eye(3, 7))
    table = pq.read_table(path)
    assert table.schema.field("id").type == pa.string()
    vector = table.schema.field("sparse_values").type
    assert vector.field("indices").type == pa.list_(pa.uint32())
    assert vector.field("values").type == pa.list_(pa.float32())
    assert table["sparse_values"].to_pylist()[1] == {"indices": [1], "values": [1.0]}
    assert read_codes(path).codes.shape == (3, 7)


def test_bad_input(tmp_path):
    path = tmp_path / "codes.jsonl"
    with pytest.raises(ValueError, match="negative"):
        write_codes(path, [[-1.0]])
    with pytest.raises(ValueError, match="NaN"):
        write_codes(path, [[np.nan]])
    with pytest.raises(ValueError, match="must be unique"):
        write_codes(path, np.eye(2), ids=["a", "a"])
    with pytest.raises(ValueError, match=r"ids has shape \(1,\) for 2 codes"):
        write_codes(path, np.eye(2), ids=["a"])
    for function in (read_codes, lambda p: write_codes(p, np.eye(2))):
        with pytest.raises(ValueError, match="must end in one of"):
            function(tmp_path / "codes.csv")
    assert not path.exists()


@pytest.mark.parametrize(
    "text",
    [
        "nonsense\n{}\n",
        '{"index":{"_id":"a"}}\n{"other":{}}\n',
        '{"index":{"_id":"a"}}\n{"concepts":{"one":1}}\n',
        '{"index":{"_id":"a"}}\n{"concepts":{"1":"x"}}\n',
        '{"index":{"_id":"a"}}\n{"concepts":[1]}\n',
        '{"index":{"_id":"a"}}\n',
    ],
)
def test_broken_lines_are_named(tmp_path, text):
    path = tmp_path / "codes.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"codes\.jsonl is not in the layout .* line"):
        read_codes(path)


def test_broken_parquet_is_named(tmp_path):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "codes.parquet"
    path.write_bytes(b"PAR1 nonsense")
    with pytest.raises(ValueError, match="holds no codes"):
        read_codes(path)
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(ValueError, match="holds no codes"):
        read_codes(path)


def test_too_few_concepts_are_refused(tmp_path):
    path = write_codes(tmp_path / "codes.jsonl", np.eye(3))
    with pytest.raises(ValueError, match="has concept 2, but n_concepts=2"):
        read_codes(path, n_concepts=2)


def test_missing_pyarrow_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"skxsae\[parquet\]"):
        write_codes(tmp_path / "codes.parquet", np.eye(2))


def test_paths_may_be_strings(path):
    assert write_codes(str(path), np.eye(3)) == path
    assert_array_equal(read_codes(str(path)).codes.toarray(), np.eye(3))


def test_codes_of_both_views_are_refused(planted):
    codes = planted.model.transform(planted.X[:2], planted.y[:2])
    with pytest.raises(ValueError, match="codes is a tuple of 2, as transform"):
        write_codes("codes.jsonl", codes)


def test_zeros_that_are_stored_are_not_written(tmp_path):
    codes = sparse.csr_array(([0.0, 1.0], [0, 1], [0, 2]), shape=(1, 2))
    text = write_codes(tmp_path / "codes.jsonl", codes).read_text()
    assert text.endswith('{"concepts":{"1":1.0}}\n')
    assert codes.nnz == 2


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    write_codes(path, np.eye(2))
    before = path.read_bytes()

    def write_half(path, codes, ids):
        path.write_bytes(before[:20])
        raise OSError("no space left")

    monkeypatch.setitem(_files._LAYOUTS, path.suffix, (write_half, None))
    with pytest.raises(OSError, match="no space left"):
        write_codes(path, np.eye(2))
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_negative_width_is_refused(path):
    with pytest.raises(ValueError, match="'n_concepts' parameter of read_codes"):
        read_codes(write_codes(path, np.eye(2)), n_concepts=-1)
