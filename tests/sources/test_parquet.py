"""Parquet: text of every type, documents that keep their ids, what is damaged, and memory bounded by what rows hold."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import read_file, read_input

from corpuskit.engine.plan import Input
from corpuskit.schema import DOCUMENT
from corpuskit.sources import partition as partition_module
from corpuskit.sources.parquet import read_own, read_parquet
from corpuskit.sources.partition import partition
from corpuskit.sources.read import local_reader
from corpuskit.sources.record import Quarantine


def test_parquet_columns_of_every_kind_go_to_meta(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["a", None, "c"], pa.large_string()),
            "tags": [["x", "y"], [], None],
            "info": [{"n": 1, "deep": {"t": "z"}}, None, None],
            "when": pa.array([1, 2, 3], pa.timestamp("ns")),
            "raw": [b"\xffb", b"", None],
            "huge": pa.array([2**63, 0, None], pa.uint64()),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    documents, bad = read_file(tmp_path / "a.parquet", "parquet")
    assert [d["meta"]["record"] for d in documents] == [0, 2] and [b["record"] for b in bad] == [1]
    fields = documents[0]["meta"]["fields"]
    assert fields.pop("when").startswith("1970-01-01T00:00:00")
    assert fields == {"tags": ["x", "y"], "info": {"n": 1, "deep": {"t": "z"}}, "raw": "\ufffdb", "huge": 2**63}
    nested, _ = read_file(tmp_path / "a.parquet", "parquet", text_field="info.deep.t")
    assert [(d["text"], d["meta"]["record"]) for d in nested] == [("z", 0)]


def test_parquet_with_broken_utf8_costs_the_row(tmp_path: Path) -> None:
    broken = pa.array([b"\xe3\x81\x82", b"\xff", b"c"]).view(pa.string())
    pq.write_table(pa.table({"text": broken, "n": [1, 2, 3]}), tmp_path / "a.parquet")
    documents, bad = read_file(tmp_path / "a.parquet", "parquet")
    assert [d["text"] for d in documents] == ["あ", "c"] and [b["record"] for b in bad] == [1]
    pq.write_table(pa.table({"text": ["a", "b", "c"], "other": broken}), tmp_path / "b.parquet")
    documents, bad = read_file(tmp_path / "b.parquet", "parquet")
    assert [d["text"] for d in documents] == ["a", "c"] and [b["record"] for b in bad] == [1]


STRINGS = {
    "string": pa.string(),
    "large_string": pa.large_string(),
    "string_view": pa.string_view(),
    "dictionary": pa.dictionary(pa.int8(), pa.string()),
    "dictionary of large_string": pa.dictionary(pa.int32(), pa.large_string()),
    "binary": pa.binary(),
    "binary_view": pa.binary_view(),
}


@pytest.mark.parametrize("kind", STRINGS)
@pytest.mark.parametrize("arrow_schema", [True, False])  # whether the file says which Arrow type a column had
def test_parquet_text_of_every_string_type_is_read(tmp_path: Path, kind: str, arrow_schema: bool) -> None:
    values = pa.array(["茶", None, "水", "茶"])
    texts = values.dictionary_encode().cast(STRINGS[kind]) if "dict" in kind else values.cast(STRINGS[kind])
    urls = pa.array(["u0", None, None, "u3"])
    pq.write_table(pa.table({"text": texts, "url": urls}), tmp_path / "a.parquet", store_schema=arrow_schema)
    documents, [bad] = read_file(tmp_path / "a.parquet", "parquet")
    assert [(d["text"], d["url"], d["meta"]["record"]) for d in documents] == [
        ("茶", "u0", 0),
        ("水", None, 2),
        ("茶", "u3", 3),
    ]
    assert (bad["record"], bad["error"]) == (1, "no text in the column 'text'")


def test_parquet_text_that_is_null_throughout_is_quarantined_row_by_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": pa.nulls(2), "n": [1, 2]}), tmp_path / "a.parquet")
    documents, bad = read_file(tmp_path / "a.parquet", "parquet")
    assert documents == [] and [b["record"] for b in bad] == [0, 1]


def test_a_dictionary_is_decoded_a_few_rows_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long, longer = "茶" * 30_000, "水" * 100_000  # 90,000 and 300,000 bytes
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * 999 + [1, 0], pa.int32()), pa.array([long, longer]))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": texts, "url": texts}), path, compression="zstd")
    assert path.stat().st_size < 10_000  # 180 MB when decoded
    monkeypatch.setattr("corpuskit.sources.parquet.STEP_BYTES", 1_000_000)
    monkeypatch.setattr("corpuskit.sources.parquet.MAX_ROW", 500_000)
    quarantine = Quarantine(tmp_path)
    held, rows = pa.total_allocated_bytes(), 0
    for batch in read_parquet(Input(str(path), path.name, "0" * 64, 0), {}, quarantine):
        assert batch.nbytes < 1_100_000 and pa.total_allocated_bytes() - held < 10_000_000
        rows += batch.num_rows
    assert (rows, quarantine.count) == (1000, 1)
    quarantine.close()
    [bad] = pq.read_table(tmp_path / "quarantined.parquet").to_pylist()
    assert (bad["record"], bad["error"]) == (999, "a row of 600,000 bytes is longer than 500,000")


def documents_table(text: pa.DataType | None = None) -> pa.Table:
    rows = [{name: f"{name}-{n}" for name in DOCUMENT.names} for n in range(2)]
    texts = pa.array(["茶", "水"])
    texts = (
        texts.dictionary_encode().cast(text)
        if text and pa.types.is_dictionary(text)
        else texts.cast(text or pa.string())
    )
    return pa.Table.from_pylist(rows, DOCUMENT).set_column(1, "text", texts)


def test_a_file_of_documents_keeps_their_ids(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(documents_table().append_column("rule", [["x", "y"]]), path)
    assert local_reader(str(path), "text") == "documents"
    batches = read_own(Input(str(path), "a", "0" * 64, 0), {}, Quarantine(tmp_path))
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [(r["id"], r["text"], r["meta"]) for r in rows] == [("id-0", "茶", "meta-0"), ("id-1", "水", "meta-1")]


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
def test_columns_of_a_documents_names_and_other_types_are_any_parquet(tmp_path: Path, kind: pa.DataType) -> None:
    pq.write_table(documents_table(text=kind), tmp_path / "a.parquet")
    assert local_reader(str(tmp_path / "a.parquet"), "text") == "parquet"
    documents, bad = read_file(tmp_path / "a.parquet", "parquet")
    assert [d["text"] for d in documents] == ["茶", "水"] and not bad
    assert documents[1]["meta"]["fields"]["id"] == "id-1"


def test_a_documents_row_without_id_or_text_is_quarantined(tmp_path: Path) -> None:
    table = documents_table()
    broken = pa.array([b"\xff", b"ok"]).view(pa.string())
    for column, values in (("id", pa.array([None, "b"])), ("text", pa.array([None, "b"])), ("url", broken)):
        path = tmp_path / f"{column}.parquet"
        pq.write_table(table.set_column(DOCUMENT.get_field_index(column), column, values), path)
        quarantine = Quarantine(tmp_path)
        batches = list(read_own(Input(str(path), path.name, "0" * 64, 0), {}, quarantine))
        assert (sum(b.num_rows for b in batches), quarantine.count) == (1, 1), column


def test_row_groups_are_shards_of_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"document {n}" * 50 for n in range(2500)]}), path, row_group_size=300)
    whole, _ = read_file(path, "parquet")
    file = Input(str(path), path.name, "0" * 64, path.stat().st_size)
    assert partition("parquet", file) == [file]
    monkeypatch.setattr(partition_module, "SPLIT_BYTES", 1)
    monkeypatch.setattr("corpuskit.sources.parquet.RANGE_BYTES", 5000)
    parts = partition("parquet", file)
    assert len(parts) > 2 and parts[0].start == 0 and parts[-1].stop == 9
    assert [d for part in parts for d in read_input(part, "parquet")[0]] == whole and len(whole) == 2500
