"""Readers: every record of an input is a document or stands in quarantine, whatever is broken."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import before_damage

from corpuskit.config import UserError
from corpuskit.engine.plan import Shard
from corpuskit.engine.tables import BATCH_ROWS
from corpuskit.schema import DOCUMENT, QUARANTINED, document_id
from corpuskit.sources import cc100, streams, text
from corpuskit.sources import read as read_module
from corpuskit.sources.read import COLUMN_READERS, READERS, Quarantine, local_reader, read, read_documents
from corpuskit.sources.streams import as_input

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}

Rows = list[dict[str, Any]]


def read_file(path: Path, reader: str, **labels: str) -> tuple[Rows, Rows]:
    """The documents and the quarantine of one file."""
    shard = Shard("s", (as_input(str(path)),), {"reader": reader, "source": "web", "lang": "ja", **labels})
    folder = path.parent / f"quarantine-{path.name}"
    folder.mkdir(exist_ok=True)
    quarantine = Quarantine(folder)
    documents = [row for batch in read_documents(shard, quarantine) for row in batch.to_pylist()]
    quarantine.close()
    written = folder / "quarantined.parquet"
    rows = pq.read_table(written, schema=QUARANTINED).to_pylist() if written.exists() else []
    assert len(rows) == quarantine.count
    written.unlink(missing_ok=True)
    return documents, rows


def read_bytes(tmp_path: Path, name: str, data: bytes, reader: str, **labels: str) -> tuple[Rows, Rows]:
    (tmp_path / name).write_bytes(data)
    return read_file(tmp_path / name, reader, **labels)


def records(rows: Rows) -> list[int]:
    return [json.loads(row["meta"])["record"] for row in rows]


# --- JSON lines ---------------------------------------------------------------------------------------------------


def test_a_json_line_becomes_a_document(tmp_path: Path) -> None:
    line = {
        "text": "本文\n二行目",
        "timestamp": "2019-08-21T00:00:00Z",
        "url": "https://a.example/",
        "score": 0.5,
        "tags": ["x"],
    }
    [document], quarantined = read_bytes(tmp_path, "a.jsonl", json.dumps(line).encode(), "jsonl")
    assert json.loads(document.pop("meta")) == {"file": "a.jsonl", "record": 0, "fields": {"score": 0.5, "tags": ["x"]}}
    assert document == {
        "id": document_id("web", "a.jsonl", 0),
        "text": "本文\n二行目",
        "url": "https://a.example/",
        "source": "web",
        "lang": "ja",
        "timestamp": "2019-08-21T00:00:00Z",
    }
    assert quarantined == []


@pytest.mark.parametrize("more", [{}, {"url": "u"}, {"url": "u", "timestamp": "t"}])
def test_whatever_else_a_record_has_is_kept_however_few_fields_it_has(tmp_path: Path, more: dict[str, str]) -> None:
    line = json.dumps({"text": "本文", "license": "CC0", **more}).encode()
    [document], _ = read_bytes(tmp_path, "a.jsonl", line, "jsonl")
    assert json.loads(document["meta"])["fields"] == {"license": "CC0"}


def test_fields_may_have_other_names(tmp_path: Path) -> None:
    line = json.dumps({"content": "本文", "text": "要約", "link": "u"}).encode()
    [document], _ = read_bytes(tmp_path, "a.jsonl", line, "jsonl", text_field="content", url_field="link")
    assert (document["text"], document["url"]) == ("本文", "u")
    assert json.loads(document["meta"])["fields"] == {"text": "要約"}


def test_an_id_depends_on_where_the_record_stands_alone(tmp_path: Path) -> None:
    first, _ = read_bytes(tmp_path, "a.jsonl", b'{"text": "x"}\n{"text": "y"}\n', "jsonl")
    second, _ = read_bytes(tmp_path, "a.jsonl", b'{bad}\n{"text": "another text", "n": 1}\n', "jsonl")
    assert second[0]["id"] == first[1]["id"] != first[0]["id"]
    assert read_bytes(tmp_path, "a.jsonl", b'{"text": "x"}', "jsonl", file="https://h/a")[0][0]["id"] == document_id(
        "web", "https://h/a", 0
    )


BAD_LINES = {
    b"{": "not JSON",
    b"plain words": "not JSON",
    b'{"text": "cut': "not JSON",
    b'{"text": "\xff\xfe"}': "not JSON",
    b'{"text": "\xe3\x81"}': "not JSON",
    b'{"text": "\\ud800"}': "not JSON",  # half a surrogate pair is no character
    b'\x00{"text": "x"}': "not JSON",
    b'\xef\xbb\xbf{"text": "x"}': "not JSON",
    b'{"text": NaN}': "not JSON",
    b'{"text": null}': "no text in the field 'text'",
    b'{"text": 5}': "no text in the field 'text'",
    b'{"body": "x"}': "no text in the field 'text'",
    b'["text"]': "no text in the field 'text'",
    b'"text"': "no text in the field 'text'",
    b"null": "no text in the field 'text'",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_goes_to_quarantine_with_its_place_and_the_rest_goes_on(tmp_path: Path, line: bytes) -> None:
    data = b'{"text": "one"}\n' + line + b'\n{"text": "three"}\n'
    documents, [bad] = read_bytes(tmp_path, "a.jsonl", data, "jsonl")
    assert [d["text"] for d in documents] == ["one", "three"] and records(documents) == [0, 2]
    assert (bad["file"], bad["record"]) == ("a.jsonl", 1)
    assert bad["error"].startswith(BAD_LINES[line])
    assert bad["excerpt"] == line.decode("utf-8", "replace")


def test_an_excerpt_has_at_most_200_characters(tmp_path: Path) -> None:
    _, [bad] = read_bytes(tmp_path, "a.jsonl", ("壊" * 5000).encode(), "jsonl")
    assert bad["excerpt"] == "壊" * 200


def test_empty_lines_are_no_records_but_count_as_positions(tmp_path: Path) -> None:
    documents, quarantined = read_bytes(tmp_path, "a.jsonl", b'\n \r\n{"text": "x"}\r\n\n', "jsonl")
    assert (records(documents), quarantined) == ([2], [])


def test_nul_and_line_separators_in_a_text_are_text(tmp_path: Path) -> None:
    text = "a\0b\u2028c\x85d\r\n"
    documents, _ = read_bytes(tmp_path, "a.jsonl", json.dumps({"text": text}, ensure_ascii=False).encode(), "jsonl")
    assert [d["text"] for d in documents] == [text]


LINE = b'{"text": "%s"}'


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("over", [0, 1, 100])
def test_a_line_just_over_the_limit_is_quarantined_and_one_at_the_limit_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, over: int
) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 1000)
    lines = [LINE % b"before", LINE % (b"x" * (1000 - len(LINE % b"") + over)), LINE % b"after"]
    assert len(lines[1]) == 1000 + over
    data = b"\n".join(lines) + b"\n"
    documents, quarantined = read_bytes(tmp_path, f"a.jsonl{suffix}", COMPRESS["gz"](data) if suffix else data, "jsonl")
    assert records(documents) == ([0, 2] if over else [0, 1, 2])
    assert [(q["record"], q["error"]) for q in quarantined] == ([(1, "the line is longer than 64 MiB")] if over else [])


@given(
    st.lists(
        st.one_of(st.sampled_from([*BAD_LINES, b'{"text": "good"}', b'{"text": ""}']), st.binary(max_size=12)),
        max_size=12,
    )
)
@settings(max_examples=150, deadline=None)
def test_every_line_is_a_document_or_in_quarantine(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    data = b"\n".join(lines)
    documents, quarantined = read_bytes(tmp_path_factory.mktemp("lines"), "a.jsonl", data, "jsonl")
    expected = [number for number, line in enumerate(data.split(b"\n")) if line.strip()]
    assert sorted(records(documents) + [q["record"] for q in quarantined]) == expected


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_file_cut_anywhere_gives_the_lines_before_and_one_quarantined(tmp_path: Path, suffix: str) -> None:
    lines = [json.dumps({"text": f"{n}番目の{n * 7919 % 997}"}).encode() + b"\n" for n in range(30)]
    whole = COMPRESS[suffix](b"".join(lines))
    for size in range(1, len(whole), 3):
        documents, quarantined = read_bytes(tmp_path, f"a.jsonl.{suffix}", whole[:size], "jsonl")
        assert records(documents) == list(range(len(documents)))
        assert [q["record"] for q in quarantined] == [len(documents)]
        assert "ends early" in quarantined[0]["error"]


def damaged(suffix: str, place: str) -> tuple[list[bytes], bytes]:
    """JSON lines, and a file of four streams of them, damaged at the beginning or in the middle of the last one."""
    chance = random.Random(11)
    lines = [json.dumps({"text": f"{n} {chance.randbytes(30).hex()}"}).encode() + b"\n" for n in range(8_000)]
    parts = [COMPRESS[suffix](b"".join(lines[at : at + 2000])) for at in range(0, len(lines), 2000)]
    packed = bytearray(b"".join(parts))
    at = len(packed) - len(parts[-1]) // (1 if place == "begin" else 2)
    packed[at : at + 50] = b"\xff" * 50
    return lines, bytes(packed)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_damaged_stream_gives_all_documents_before_it_and_one_entry_of_where_it_is(
    tmp_path: Path, suffix: str
) -> None:
    lines, packed = damaged(suffix, "begin")
    documents, [entry] = read_bytes(tmp_path, f"a.jsonl.{suffix}", packed, "jsonl")
    assert [d["text"] for d in documents] == [json.loads(line)["text"] for line in lines[:6000]]
    assert records(documents) == list(range(6000))
    assert (entry["file"], entry["record"]) == (f"a.jsonl.{suffix}", 6000)
    assert entry["error"].startswith("damaged stream: ")


@pytest.mark.parametrize("suffix", COMPRESS)
def test_damage_inside_a_stream_costs_no_line_before_it(tmp_path: Path, suffix: str) -> None:
    lines, packed = damaged(suffix, "middle")
    plain = before_damage(packed, suffix)
    whole = plain.splitlines(True)
    first = next((n for n, (was, now) in enumerate(zip(lines, whole, strict=False)) if was != now), len(whole))
    documents, quarantined = read_bytes(tmp_path, f"a.jsonl.{suffix}", packed, "jsonl")
    assert [d["text"] for d in documents[:first]] == [json.loads(line)["text"] for line in lines[:first]]
    assert (first == 6000) == (suffix in ("bz2", "zst"))  # of a damaged block they give nothing, the others all to it
    *garbled, entry = quarantined  # what deflate and LZMA make of damaged bytes is lines like others until they notice
    assert (entry["record"], entry["error"][:16]) == (plain.count(b"\n"), "damaged stream: ")
    assert len(documents) + len(garbled) == plain.count(b"\n")
    assert all(first <= q["record"] < entry["record"] for q in garbled)


# --- CC-100 -------------------------------------------------------------------------------------------------------


def test_paragraphs_are_lines_and_documents_are_parted_by_empty_ones(tmp_path: Path) -> None:
    data = "\n\n一の一\n一の二\n\n \n\n二の一\r\n\r\n三".encode()
    documents, quarantined = read_bytes(tmp_path, "ja.txt", data, "cc100")
    assert [d["text"] for d in documents] == ["一の一\n一の二", "二の一\r", "三"]
    assert (records(documents), quarantined) == ([0, 1, 2], [])
    assert {d["url"] for d in documents} == {None}


def test_a_document_that_is_not_utf8_is_quarantined_alone(tmp_path: Path) -> None:
    data = "一\n\n".encode() + "二".encode()[:2] + "\n二\n\n三\n\n".encode()
    documents, [bad] = read_bytes(tmp_path, "ja.txt", data, "cc100")
    assert ([d["text"] for d in documents], records(documents)) == (["一", "三"], [0, 2])
    assert (bad["record"], bad["error"]) == (1, "not UTF-8: invalid continuation byte at byte 0")


def test_a_huge_paragraph_is_quarantined_and_a_huge_document_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 100)
    monkeypatch.setattr(cc100, "MAX_TEXT", 250)
    paragraph = b"x" * 100
    good, long_paragraph = b"\n".join([paragraph] * 2) + b"\n\n", paragraph + b"y\n\n"
    long_document = b"\n".join([paragraph] * 3) + b"\n\n"
    documents, quarantined = read_bytes(tmp_path, "ja.txt", good + long_paragraph + long_document + b"end", "cc100")
    assert [len(d["text"]) for d in documents] == [201, 3]
    assert [(q["record"], q["error"]) for q in quarantined] == [
        (1, "a paragraph is longer than 64 MiB"),
        (2, "a document is longer than 64 MiB"),
    ]


@given(st.lists(st.sampled_from([b"a", "あ".encode(), b"\n", b"\n\n", b"\xff", b"\0", b" ", b"\r"]), max_size=25))
@settings(max_examples=200, deadline=None)
def test_every_block_of_lines_is_a_document_or_in_quarantine(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    data = b"".join(pieces)
    blocks: list[list[bytes]] = [[]]
    for line in data.split(b"\n"):
        if line.strip():
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    expected = [b"\n".join(block) for block in blocks if block]
    documents, quarantined = read_bytes(tmp_path_factory.mktemp("cc100"), "ja.txt", data, "cc100")
    got = dict(zip(records(documents), (d["text"].encode() for d in documents), strict=True))
    got.update({q["record"]: expected[q["record"]] for q in quarantined})
    assert [got[n] for n in range(len(got))] == expected
    assert all(b"\xff" in expected[q["record"]] for q in quarantined)


@pytest.mark.parametrize("suffix", COMPRESS)
def test_a_cc100_stream_cut_anywhere_gives_a_beginning_and_one_quarantined(tmp_path: Path, suffix: str) -> None:
    texts = [f"{n}番目の文書\n{n * 7919 % 997}" for n in range(30)]
    whole = COMPRESS[suffix]("\n\n".join(texts).encode() + b"\n")
    for size in range(1, len(whole), 3):
        documents, quarantined = read_bytes(tmp_path, f"ja.txt.{suffix}", whole[:size], "cc100")
        got = [d["text"] for d in documents]
        # the document at the cut may have lost paragraphs, and nothing else
        assert got[:-1] == texts[: len(got)][:-1]
        assert not got or texts[len(got) - 1].startswith(got[-1])
        assert [q["record"] for q in quarantined] == [len(got)]
        assert "ends early" in quarantined[0]["error"]


# --- Parquet and text ---------------------------------------------------------------------------------------------


def test_a_parquet_row_becomes_a_document(tmp_path: Path) -> None:
    table = pa.table({"body": ["一", None, "三"], "url": ["u", "v", None], "timestamp": [1, 2, 3], "n": [7, 8, 9]})
    pq.write_table(table, tmp_path / "a.parquet")
    documents, [bad] = read_file(tmp_path / "a.parquet", "parquet", text_field="body")
    assert [(d["text"], d["url"], d["timestamp"]) for d in documents] == [("一", "u", "1"), ("三", None, "3")]
    assert [json.loads(d["meta"])["fields"] for d in documents] == [{"n": 7}, {"n": 9}]
    assert (bad["record"], bad["error"]) == (1, "no text in the column 'body'")


def test_a_documents_file_passes_unchanged(tmp_path: Path) -> None:
    rows = [{name: f"{name}{n}" for name in DOCUMENT.names} for n in range(3)]
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT), tmp_path / "a.parquet")
    assert read_file(tmp_path / "a.parquet", "documents") == (rows, [])


def test_a_text_file_is_one_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents, _ = read_bytes(tmp_path, "a.txt.gz", gzip.compress("一\n\n二".encode()), "text")
    assert [d["text"] for d in documents] == ["一\n\n二"]
    assert read_bytes(tmp_path, "b.txt", b"\xff", "text")[1][0]["error"].startswith("not UTF-8")
    assert "ends early" in read_bytes(tmp_path, "c.txt.gz", gzip.compress(b"text")[:-4], "text")[1][0]["error"]
    monkeypatch.setattr(text, "MAX_TEXT", 10)
    assert len(read_bytes(tmp_path, "d.txt", b"x" * 10, "text")[0]) == 1
    documents, [bad] = read_bytes(tmp_path, "e.txt", b"x" * 11, "text")
    assert (documents, bad["record"]) == ([], 0) and "longer than 64 MiB" in bad["error"]


# --- batches, quarantine, stage -----------------------------------------------------------------------------------


def test_batches_are_bounded_in_rows_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "xxxxxxxxxx"}\n' * (BATCH_ROWS + 1))
    shard = Shard("s", (as_input(str(tmp_path / "a.jsonl")),), {"reader": "jsonl", "source": "web", "lang": "ja"})
    assert [b.num_rows for b in read_documents(shard, Quarantine(tmp_path))] == [BATCH_ROWS, 1]
    monkeypatch.setattr(read_module, "READ_BYTES", 300)
    (tmp_path / "a.txt").write_bytes(b"xxxxxxxxxx\n" * (BATCH_ROWS + 1))
    shard = Shard("s", (as_input(str(tmp_path / "a.txt")),), {"reader": "lines", "source": "web", "lang": "ja"})
    assert {b.num_rows for b in read_documents(shard, Quarantine(tmp_path))} == {10, (BATCH_ROWS + 1) % 10}


def test_more_bad_records_than_a_batch_holds_are_all_written(tmp_path: Path) -> None:
    _, quarantined = read_bytes(tmp_path, "a.jsonl", b"bad\n" * (BATCH_ROWS * 2 + 5), "jsonl")
    assert [q["record"] for q in quarantined] == list(range(BATCH_ROWS * 2 + 5))


def test_the_read_stage_counts_every_record(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "x"}\nbad\n{"text": "y"}\n')
    labels = {"reader": "jsonl", "source": "mine", "lang": "ja"}
    counts = read(Shard("s", (as_input(str(tmp_path / "a.jsonl")),), labels), tmp_path, {})
    assert {k: counts[k] for k in ("source", "in", "kept", "quarantined")} == {
        "source": "mine",
        "in": 3,
        "kept": 2,
        "quarantined": 1,
    }
    assert pq.read_table(tmp_path / "kept.parquet").column("text").to_pylist() == ["x", "y"]


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.jsonl", "jsonl"),
        ("a.json.gz", "jsonl"),
        ("a.b.JSONL.ZST", "jsonl"),
        ("a.txt", "text"),
        ("a.txt.xz", "text"),
        ("a.text.bz2", "text"),
    ],
)
def test_the_reader_of_a_foreign_file_follows_from_its_name(tmp_path: Path, name: str, reader: str) -> None:
    data = b'{"text": "x"}\n'
    suffix = name.rsplit(".", 1)[-1].lower()
    (tmp_path / name).write_bytes(COMPRESS[suffix](data) if suffix in COMPRESS else data)
    assert local_reader(str(tmp_path / name), "text") == reader


def test_a_reader_can_be_named(tmp_path: Path) -> None:
    for file in ("a.zip", "ja.txt.xz"):
        (tmp_path / file).write_bytes(b"of the format that the reader is for")
    name = str(tmp_path / "a.zip")
    assert local_reader(name, "text", reader="aozora") == "aozora"
    assert local_reader(str(tmp_path / "ja.txt.xz"), "text", reader="cc100") == "cc100"
    assert local_reader(str(tmp_path / "jawiki-20261101-cirrussearch-content.json.gz"), "text") == "cirrus"
    with pytest.raises(UserError, match=r"a\.zip: unknown kind of file .*; name it with --reader"):
        local_reader(name, "text")
    for wrong in ("parts", "documents"):  # of corpuskit's own files
        with pytest.raises(
            UserError, match=rf"--reader {wrong}: there is no such reader.*\(known: aozora, cc100, cirrus"
        ):
            local_reader(name, "text", reader=wrong)
    (tmp_path / "a.data").write_bytes(b'{"text": "x"}\n')
    assert local_reader(str(tmp_path / "a.data"), "text", reader="jsonl") == "jsonl"
    with pytest.raises(UserError, match="no field 'body'; it has text"):
        local_reader(str(tmp_path / "a.data"), "body", reader="jsonl")


def test_a_parquet_file_is_read_by_no_other_reader(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x"]}), tmp_path / "a.bin")
    for reader in sorted({*READERS, *COLUMN_READERS} - {"parts", "parquet"}):
        with pytest.raises(UserError, match=rf"a\.bin: is a Parquet file, which --reader {reader} cannot read"):
            local_reader(str(tmp_path / "a.bin"), "text", reader=reader)
    assert local_reader(str(tmp_path / "a.bin"), "text", reader="parquet") == "parquet"
    for content in (b"", b"PAR", b"PAR1 and so on", b"not PAR1"):
        (tmp_path / "a.txt").write_bytes(content)
        assert local_reader(str(tmp_path / "a.txt"), "text", reader="text") == "text"


def test_a_parquet_file_is_documents_or_foreign(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([], DOCUMENT), tmp_path / "ours.parquet")
    pq.write_table(pa.table({"body": ["x"]}), tmp_path / "theirs.parquet")
    assert local_reader(str(tmp_path / "ours.parquet"), "text") == "documents"
    assert local_reader(str(tmp_path / "theirs.parquet"), "body") == "parquet"
    with pytest.raises(UserError, match=r"no field 'text'; it has body; name the text with --text-field"):
        local_reader(str(tmp_path / "theirs.parquet"), "text")


def test_a_file_that_cannot_be_read_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.doc").write_bytes(b"a,b")
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "a.parquet").write_bytes(b"PAR0 not parquet")
    (tmp_path / "a.jsonl").write_bytes(b'broken\n{"content": "x", "n": 1}\n')
    for name, message in (
        ("a.doc", r"unknown kind of file \(known: \.jsonl"),
        ("a.csv", "no field 'text'; it has a, b; name the text with --text-field"),
        ("a.parquet", "not a Parquet file"),
        ("a.jsonl", "no field 'text'; it has content, n; name the text with --text-field"),
    ):
        with pytest.raises(UserError, match=message):
            local_reader(str(tmp_path / name), "text")
    assert local_reader(str(tmp_path / "a.jsonl"), "content") == "jsonl"
