"""Each reader on records as upstream lays them out: what becomes of every field, and of every bad record."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import read_file, read_input

from corpuskit import config
from corpuskit.engine.plan import Input
from corpuskit.schema import document_id
from corpuskit.sources import partition as partition_module
from corpuskit.sources.fields import from_config
from corpuskit.sources.json_kernel import string_columns
from corpuskit.sources.partition import partition
from corpuskit.sources.read import local_reader
from corpuskit.sources.wikipedia import page_url

PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": lambda b: zstandard.ZstdCompressor().compress(b),
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


def lines(*rows: Any) -> bytes:
    return "".join((r if isinstance(r, str) else json.dumps(r, ensure_ascii=False)) + "\n" for r in rows).encode()


def labels_of(upstream: str) -> dict[str, str]:
    return from_config(config.load_upstream(upstream).fields).labels()


def columns(document: dict[str, Any]) -> tuple[str, str | None, str | None, Any]:
    return document["text"], document["url"], document["timestamp"], document["meta"].get("fields")


# --- JSON lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", PACK)
def test_mc4(tmp_path: Path, suffix: str) -> None:
    row = {"text": "一行目。\n「二」行目\\t😀", "timestamp": "2019-02-17T04:16:42Z", "url": "http://a.example/?q=日本"}
    path = tmp_path / f"c4-ja.tfrecord-00000-of-01024.json{suffix}"
    path.write_bytes(PACK[suffix](lines(row, "", row, "{", {"url": "x"}, {"text": None}, "[1]", row)))
    documents, bad = read_file(path, "jsonl")
    assert [columns(d) for d in documents] == [(row["text"], row["url"], row["timestamp"], None)] * 3
    assert [d["meta"] for d in documents] == [{"file": path.name, "record": n} for n in (0, 2, 7)]
    assert [d["id"] for d in documents] == [document_id("web", path.name, n) for n in (0, 2, 7)]
    assert [(b["record"], b["error"].split(":")[0]) for b in bad] == [
        (3, "not JSON"),
        (4, "no text in the field 'text'"),
        (5, "no text in the field 'text'"),
        (6, "no text in the field 'text'"),
    ]


OSCAR = {
    "content": "猫は液体である。\n二行目",
    "warc_headers": {
        "warc-record-id": "<urn:uuid:1>",
        "warc-target-uri": "https://cat.example.jp/",
        "warc-date": "2022-11-26T11:45:15Z",
        "warc-identified-content-language": "jpn",
    },
    "metadata": {
        "identification": {"label": "ja", "prob": 0.98},
        "harmful_pp": 1324.6,
        "tlsh": None,
        "quality_warnings": ["short_sentences", "header"],
        "categories": None,
        "sentence_identifications": [{"label": "ja", "prob": 1.0}, None],
    },
}


def test_oscar_2301_keeps_its_warnings_as_numbers_and_words(tmp_path: Path) -> None:
    (tmp_path / "ja_meta_part_1.jsonl.zst").write_bytes(PACK[".zst"](lines(OSCAR)))
    [document], bad = read_file(tmp_path / "ja_meta_part_1.jsonl.zst", "jsonl", **labels_of("oscar_2301"))
    assert not bad
    assert columns(document) == (
        "猫は液体である。\n二行目",
        "https://cat.example.jp/",
        "2022-11-26T11:45:15Z",
        {
            "metadata.quality_warnings": ["short_sentences", "header"],
            "metadata.harmful_pp": 1324.6,
            "metadata.identification": {"label": "ja", "prob": 0.98},
            "warc_headers.warc-record-id": "<urn:uuid:1>",
        },
    )


@pytest.mark.parametrize(
    ("upstream", "row", "expected"),
    [
        (
            "slimpajama",
            {"text": "A text.", "meta": {"redpajama_set_name": "RedPajamaC4"}},
            ("A text.", None, None, {"meta.redpajama_set_name": "RedPajamaC4"}),
        ),
        (
            "redpajama_1t",
            {"text": "A.", "meta": {"url": "http://a.example", "timestamp": "2020-01-01T00:00:00Z", "source": "cc"}},
            ("A.", "http://a.example", "2020-01-01T00:00:00Z", {"meta": {"source": "cc"}}),
        ),
        (
            "dolma",
            {"id": "7", "text": "A.", "source": "cc", "added": "2023-05-01", "created": "2020-02-02", "metadata": {}},
            ("A.", None, "2020-02-02", {"id": "7", "source": "cc", "added": "2023-05-01", "metadata": {}}),
        ),
    ],
)
def test_json_lines_of_english_sets(
    tmp_path: Path, upstream: str, row: dict[str, Any], expected: tuple[str, str | None, str | None, Any]
) -> None:
    (tmp_path / "a.jsonl.zst").write_bytes(PACK[".zst"](lines(row)))
    [document], bad = read_file(tmp_path / "a.jsonl.zst", "jsonl", **labels_of(upstream))
    assert not bad and columns(document) == expected


def test_a_field_with_a_dot_in_its_name_is_found_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines({"a.b": "flat", "a": {"b": "nested"}}, {"a": {"b": "nested"}}, {"a": "x"}))
    documents, bad = read_file(tmp_path / "a.jsonl", "jsonl", text_field="a.b")
    assert [d["text"] for d in documents] == ["flat", "nested"] and len(bad) == 1


def test_json_nested_too_deep_is_quarantined(tmp_path: Path) -> None:
    rows = ['{"text": "a", "x": ' + "[" * depth + "]" * depth + "}" for depth in (100, 300, 5000, 200_000)]
    (tmp_path / "a.jsonl").write_bytes(lines(*rows, {"text": "b"}))
    documents, bad = read_file(tmp_path / "a.jsonl", "jsonl")
    assert [d["text"] for d in documents] == ["a", "b"]
    assert [b["record"] for b in bad] == [1, 2, 3]


JSON_TEXT = st.text(st.sampled_from('abあ漢😀é"\\/\n\t\r\b\f\0\x1f\x7f\u2028\uffff\ufeff '), max_size=40) | st.text(
    max_size=20
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(JSON_TEXT, st.none() | JSON_TEXT, st.none() | JSON_TEXT), min_size=1, max_size=6),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\n\n", " \n"]),
)
def test_the_kernel_reads_what_json_means(rows: list[tuple[str, Any, Any]], ascii_only: bool, end: str) -> None:
    records = [
        {k: v for k, v in zip(("url", "text", "timestamp"), (u, t, s), strict=True) if v is not None}
        for t, u, s in rows
    ]
    block = "".join(json.dumps(r, ensure_ascii=ascii_only) + end for r in records).encode()
    found = string_columns(block, ("text", "url", "timestamp"))
    assert found is not None
    numbers, (texts, urls, times) = found
    assert numbers.tolist() == [n * end.count("\n") for n in range(len(rows))]
    assert list(zip(texts.to_pylist(), urls.to_pylist(), times.to_pylist(), strict=True)) == rows


@settings(max_examples=600, deadline=None)
@given(
    st.lists(
        st.sampled_from([*'{}":,\\u0dD8cC09 nt\n\t\x01a', '{"text":"', '"}\n', '"url":', "null", "あ"]), max_size=30
    )
)
def test_what_the_kernel_takes_orjson_takes_as_well(pieces: list[str]) -> None:
    import orjson

    block = "".join(pieces).encode()
    found = string_columns(block, ("text", "url", "timestamp"))
    if found is not None:
        rows = [orjson.loads(line) for line in block.split(b"\n") if line.strip()]
        assert [r["text"] for r in rows] == found[1][0].to_pylist()


@pytest.mark.parametrize(
    "line", [b'{"text":"\xff"}', b'{"text":"\xe3\x81"}', b'{"text":"\xed\xa0\x80"}', b'{"text":"\\ud800"}']
)
def test_broken_utf8_is_quarantined_alone(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text":"a"}\n' + line + b'\n{"text":"b"}\n')
    documents, bad = read_file(tmp_path / "a.jsonl", "jsonl")
    assert [d["text"] for d in documents] == ["a", "b"] and [b["record"] for b in bad] == [1]


# --- Parquet --------------------------------------------------------------------------------------------------------


def test_fineweb(tmp_path: Path) -> None:
    row = {
        "text": "A page.",
        "id": "<urn:uuid:0d8a309d>",
        "dump": "CC-MAIN-2013-20",
        "url": "http://a.example/",
        "date": "2013-05-18T05:48:54Z",
        "file_path": "s3://commoncrawl/x.warc.gz",
        "language": "en",
        "language_score": 0.5,
        "token_count": 717,
    }
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "000_00000.parquet")
    [document], bad = read_file(tmp_path / "000_00000.parquet", "parquet", **labels_of("fineweb"))
    kept = {k: row[k] for k in ("id", "dump", "file_path", "language_score", "token_count")}
    assert not bad and columns(document) == ("A page.", "http://a.example/", "2013-05-18T05:48:54Z", kept)


def test_refinedweb_the_stack_and_wikipedia(tmp_path: Path) -> None:
    time = datetime(2023, 2, 1, 3, 4, 5, tzinfo=UTC)
    refined = {"content": "A.", "url": "u", "timestamp": time, "dump": "d", "segment": "s", "image_urls": [["i", "a"]]}
    pq.write_table(pa.Table.from_pylist([refined]), tmp_path / "r.parquet")
    [document], _ = read_file(tmp_path / "r.parquet", "parquet", **labels_of("refinedweb"))
    assert columns(document) == ("A.", "u", "2023-02-01T03:04:05+00:00", {"dump": "d", "segment": "s"})

    stack = {"content": "print()\n", "lang": "Python", "max_stars_repo_licenses": ["MIT", "Apache-2.0"], "avg": 1.5}
    pq.write_table(pa.Table.from_pylist([stack]), tmp_path / "s.parquet")
    [document], _ = read_file(tmp_path / "s.parquet", "parquet", **labels_of("the_stack"))
    assert columns(document)[3] == {"lang": "Python", "max_stars_repo_licenses": ["MIT", "Apache-2.0"]}

    wiki = {"id": "5", "url": "https://ja.wikipedia.org/wiki/%E8%8C%B6", "title": "茶", "text": "茶は旨い。"}
    pq.write_table(pa.Table.from_pylist([wiki]), tmp_path / "w.parquet")
    [document], _ = read_file(tmp_path / "w.parquet", "parquet", **labels_of("wikipedia_hf"))
    assert columns(document) == ("茶は旨い。", wiki["url"], None, {"id": "5", "title": "茶"})


# --- plain files in ranges ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("reader", "line"), [("jsonl", '{"text": "%s"}'), ("lines", "%s")])
@pytest.mark.parametrize("range_bytes", [1, 7, 64, 1000, 10**6])
def test_a_split_file_has_the_same_ids_whatever_the_ranges_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reader: str, line: str, range_bytes: int
) -> None:
    path = tmp_path / "a.x"
    texts = ["あ" * n for n in range(1, 40)]
    rows = [line % t for t in texts]
    path.write_text("\n".join([*rows[:5], "", "", *rows[5:]]), encoding="utf-8")
    file = Input(str(path), path.name, "0" * 64, path.stat().st_size)
    assert partition(reader, file) == [file]
    monkeypatch.setattr(partition_module, "SPLIT_BYTES", 1)
    monkeypatch.setattr(partition_module, "RANGE_BYTES", range_bytes)
    documents = [d for part in partition(reader, file) for d in read_input(part, reader)[0]]
    assert [d["text"] for d in documents] == texts
    content = path.read_bytes()
    assert [content[d["meta"]["record"] :].startswith((line % d["text"]).encode()) for d in documents] == [True] * 39
    assert len({d["meta"]["record"] for d in documents}) == 39


def test_packed_files_and_whole_texts_are_not_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partition_module, "SPLIT_BYTES", 1)
    for reader, name in (("jsonl", "a.jsonl.gz"), ("text", "a.txt"), ("csv", "a.csv")):
        file = Input(name, name, "0" * 64, 10**9)
        assert partition(reader, file) == [file]


# --- CSV, text ------------------------------------------------------------------------------------------------------


OPEN = {  # a quote that is never closed: the next quote, where there is one, breaks the grammar
    "to the end": '1,one\n2,"two\n3,three\n4,four\n',
    "to the next quote": '1,"one"\n2,"two\n3,"three"\n4,"four"\n',
    "in the last line": '1,one\n3,three\n4,four\n2,"two',
    "before a doubled quote": '1,one\n2,"two""\n3,three\n4,four\n',
}


@pytest.mark.parametrize("case", OPEN)
def test_csv_with_an_open_quote_costs_its_line_alone(tmp_path: Path, case: str) -> None:
    (tmp_path / "a.csv").write_text("id,text\n" + OPEN[case], encoding="utf-8")
    documents, [bad] = read_file(tmp_path / "a.csv", "csv")
    at = 3 if case == "in the last line" else 1
    assert [d["text"] for d in documents] == ["one", "three", "four"]
    assert [d["meta"]["record"] for d in documents] == [n for n in range(4) if n != at]
    assert (bad["record"], bad["excerpt"][:6]) == (at, '2,"two')
    assert bad["error"].startswith("not CSV: a quote is not closed (")


def test_csv_with_quotes_that_are_closed_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,a "b" c\n2,"d"e\n3,"f\n\ng"\n', encoding="utf-8")
    documents, bad = read_file(tmp_path / "a.csv", "csv")
    assert [d["text"] for d in documents] == ['a "b" c', "de", "f\n\ng"] and not bad


def test_csv_whose_every_record_goes_on_to_the_end_is_not_read_for_ever(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n" + 'a","\n' * 50_000, encoding="utf-8")
    documents, bad = read_file(tmp_path / "a.csv", "csv")
    assert documents == [] and len(bad) == 9  # read again eight times, then given up
    assert bad[-1]["error"].endswith("; the 49,991 lines after it are lost as well")


def test_csv_with_quoted_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    content = '\ufeffid,本文,url\r\n1,"一行目\n二行目, ""引用""",http://a.example\r\n\r\n2,短い\r\n3,三,\r\n'
    path.write_bytes(gzip.compress(content.encode()))
    documents, bad = read_file(path, "csv", text_field="本文")
    assert [columns(d) for d in documents] == [
        ('一行目\n二行目, "引用"', "http://a.example", None, {"id": "1"}),
        ("三", None, None, {"id": "3"}),
    ]
    assert [d["meta"]["record"] for d in documents] == [0, 2]
    assert [(b["record"], b["error"]) for b in bad] == [(1, "2 cells under 3 columns")]
    assert local_reader(str(path), "本文") == "csv"
    with pytest.raises(config.UserError, match="no field 'text'; it has id, 本文, url"):
        local_reader(str(path), "text")


def test_tsv_and_broken_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_bytes(b"text\tn\na, b\t1\n\xff\t2\n\x00\t3\nc\t4\n")
    documents, bad = read_file(tmp_path / "a.tsv", "csv")
    assert [d["text"] for d in documents] == ["a, b", "\0", "c"]
    assert [(b["record"], b["error"]) for b in bad] == [(1, "not UTF-8")]


def test_text_is_a_document_a_file_or_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    path.write_bytes(lzma.compress("\ufeff一行目\r\n\r\n三行目".encode()))
    assert (local_reader(str(path), "text"), local_reader(str(path), "text", "line")) == ("text", "lines")
    [document], _ = read_file(path, "text")
    assert document["text"] == "一行目\r\n\r\n三行目"
    documents, _ = read_file(path, "lines")
    assert [(d["text"], d["meta"]["record"]) for d in documents] == [("一行目", 0), ("三行目", 2)]


def test_cc100(tmp_path: Path) -> None:
    (tmp_path / "ja.txt.xz").write_bytes(lzma.compress("\n\n一の一\n一の二\n\n\n二\n \n三".encode()))
    documents, bad = read_file(tmp_path / "ja.txt.xz", "cc100")
    assert [d["text"] for d in documents] == ["一の一\n一の二", "二", "三"] and not bad


def test_unknown_kinds_of_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(config.UserError, match="unknown kind of file"):
        local_reader("a.docx", "text")
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(config.UserError, match="not a Parquet file"):
        local_reader(str(tmp_path / "a.parquet"), "text")
    pq.write_table(pa.table({"meta": [{"body": "a"}]}), tmp_path / "b.parquet")
    assert local_reader(str(tmp_path / "b.parquet"), "meta.body") == "parquet"


# --- Wikipedia and its sisters --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "title", "url"),
    [
        ("https://host.example/jawiki/2/jawiki-2-p.xml.bz2", "茶 道", "ja.wikipedia.org/wiki/%E8%8C%B6_%E9%81%93"),
        ("https://dumps.wikimedia.org/jawikibooks/2/jawikibooks-2-p.xml.bz2", "A/B", "ja.wikibooks.org/wiki/A/B"),
        ("jawikinews-latest-pages-articles.xml.bz2", "A", "ja.wikinews.org/wiki/A"),
        ("enwiktionary-2-p.xml", "A?", "en.wiktionary.org/wiki/A%3F"),
        ("zh_yuewiki-2-p.xml", "A", "zh-yue.wikipedia.org/wiki/A"),
        ("commonswiki-2-p.xml", "A", "commons.wikimedia.org/wiki/A"),
    ],
)
def test_the_address_of_a_page(file: str, title: str, url: str) -> None:
    assert page_url(file, title) == f"https://{url}"


def test_a_file_of_another_name_gives_no_address() -> None:
    assert page_url("pages.xml.bz2", "A") is None


PAGE = "<page><title>{0}</title><ns>{1}</ns><id>{2}</id><revision><timestamp>2026-01-01T00:00:00Z</timestamp><text>{3}</text></revision></page>"  # noqa: E501


@pytest.mark.parametrize("suffix", ["", ".bz2", ".gz"])
def test_a_dump_without_an_index(tmp_path: Path, suffix: str) -> None:
    pages = [
        ("茶", 0, 5, "'''茶'''は&lt;b&gt;旨い&lt;/b&gt;。"),
        ("Talk:茶", 1, 6, "会話"),
        ("チャ", 0, 7, "#REDIRECT [[茶]]"),
    ]
    path = tmp_path / f"jawikibooks-20261101-pages-articles.xml{suffix}"
    content = "<mediawiki>" + "".join(PAGE.format(*p) for p in pages) + "</mediawiki>"
    path.write_bytes(PACK[suffix](content.encode()))
    assert local_reader(str(path), "text") == "wikipedia"
    [document], bad = read_file(path, "wikipedia")
    url = "https://ja.wikibooks.org/wiki/%E8%8C%B6"
    assert not bad and columns(document) == ("茶は旨い。", url, "2026-01-01T00:00:00Z", {"title": "茶"})
    assert document["meta"]["record"] == 5


def test_cirrussearch(tmp_path: Path) -> None:
    def page(number: int, **fields: Any) -> tuple[Any, Any]:
        plain = {"title": "茶", "text": "茶は旨い。 緑茶。", "namespace": 0, "wiki": "jawiki"}
        plain["timestamp"] = "2026-01-01T00:00:00Z"
        return {"index": {"_type": "_doc", "_id": str(number)}}, {**plain, **fields}

    index, document = page(9)
    rows = [
        *page(5, source_text="'''茶'''は旨い。", redirect=[{"namespace": 0, "title": "チャ"}]),
        *page(6, namespace=4),
        *page(7, source_text="#転送 [[茶]]"),
        *page(8, source_text="{{曖昧さ回避}}"),
        document,
        index,
        "{broken",
        *page(10, text=None),
        index,
        *page(11, wiki="enwikinews", title="Tea"),
        index,
    ]
    path = tmp_path / "jawiki-20261101-cirrussearch-content.json.gz"
    path.write_bytes(gzip.compress(lines(*rows)))
    documents, bad = read_file(path, "cirrus")
    assert [(d["meta"]["record"], d["url"]) for d in documents] == [
        (5, "https://ja.wikipedia.org/wiki/%E8%8C%B6"),
        (11, "https://en.wikinews.org/wiki/Tea"),
    ]
    assert columns(documents[0])[0::2] == ("茶は旨い。 緑茶。", "2026-01-01T00:00:00Z")
    assert [(b["record"], b["error"].split(":")[0]) for b in bad] == [
        (-1, "line 8"),  # a page without an index line
        (9, "line 10 is not JSON"),
        (10, "line 12"),  # a page without text
        (9, "line 14"),  # an index line in place of the page
        (9, "the file ends between an index line and its page"),
    ]
