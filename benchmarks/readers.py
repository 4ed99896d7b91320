"""One reading task per upstream format: from the file as upstream packs it to Arrow batches of documents.

mC4, CC-100 and the Wikipedia dump are the real files of the data folder. Every other format is written here, from the
same Japanese texts, as upstream lays it out; reading it must give every document back.
"""

from __future__ import annotations

import csv
import gzip
import html
import json
import re
import zipfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from corpuskit.config import load_upstream
from corpuskit.engine.plan import Shard
from corpuskit.sources.fields import from_config
from corpuskit.sources.read import Quarantine, read_documents
from corpuskit.sources.streams import as_input, read_chunks

MOST_BYTES = 20_000_000  # of text in a file that is written here
MC4 = "huggingface.co/datasets/allenai/c4/resolve/*/multilingual/c4-ja.tfrecord-*.json.gz"
C4 = "huggingface.co/datasets/allenai/c4/resolve/*/en/c4-train.*.json.gz"
CC100 = "data.statmt.org/cc-100/ja.txt.xz"
WIKIPEDIA = "dumps.wikimedia.org/*wiki/*/*wiki-*-pages-articles-multistream.xml.bz2"
DATE = "2026-11-01T00:00:00Z"
OTHERS = 19  # English pages to a Japanese one, in the archive as crawled: 5% of Common Crawl is Japanese


class Reading(NamedTuple):
    """One file, or files of one kind, to be read from beginning to end."""

    data: str
    megabytes: float
    target: float | None  # MB/s
    run: Callable[[], object]


def readings(texts: list[str], data: Path | None, work: Path) -> Iterator[Reading]:
    """A reading for every format.

    Args:
        texts: Japanese documents that the written files hold.
        data: folder with real files as upstream serves them; None leaves them out.
        work: folder the other files are written to.
    """
    texts = _cut([t for t in texts if t.strip()], MOST_BYTES)
    size = _megabytes(texts)
    if data is not None:
        yield from _real(data)
    for name, reader, write in (
        ("OSCAR, jsonl.zst", "jsonl", _oscar),
        ("Parquet, zstd", "parquet", _parquet),
        ("CSV", "csv", _csv),
        ("CirrusSearch, json.gz", "cirrus", _cirrus),
        ("WET, gz", "wet", _wet),
        ("Aozora, zip of Shift_JIS", "aozora", _aozora),
    ):
        path = write(texts, work)
        labels = from_config(load_upstream("oscar_2301").fields).labels() if name.startswith("OSCAR") else {}
        yield Reading(name, size, None, _task([path], reader, labels, len(texts)))
    lines = [line for text in texts for line in text.split("\n") if line.strip()]
    path = work / "lines.txt"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8", newline="")
    yield Reading("text, a document a line", _megabytes(lines), None, _task([path], "lines", {}, len(lines)))
    pages = [_page(n, text) for n, text in enumerate(texts[: len(texts) // 4 + 1])]
    path = _warc(pages, work / "pages.warc.gz")
    yield Reading("WARC, HTML in", _megabytes(pages), None, _task([path], "warc", {}, len(pages)))
    if data is not None and (english := _texts(sorted(data.glob(C4)))):
        crawled = [page for n, page in enumerate(pages) for page in (page, *_others(english, n))][: len(pages)]
        path = _warc(crawled, work / "crawled.warc.gz")
        japanese = len(range(0, len(crawled), OTHERS + 1))
        yield Reading("WARC, 5% ja, HTML in", _megabytes(crawled), None, _task([path], "warc", {}, japanese))


def _real(data: Path) -> Iterator[Reading]:
    """The files that upstream made. The dumps count in bytes of wikitext, the others in bytes of text."""
    if paths := sorted(data.glob(MC4)):
        texts = _texts(paths)
        yield Reading("mC4, json.gz", _megabytes(texts), 300, _task(paths, "jsonl", {}, len(texts)))
    if (path := data / CC100).is_file():
        documents = [d for d in b"".join(read_chunks(str(path))).decode().split("\n\n") if d.strip()]
        yield Reading("CC-100, txt.xz", _megabytes(documents), None, _task([path], "cc100", {}, len(documents)))
    for wiki, path, size in dumps(data):
        yield Reading(f"{wiki}, xml.bz2, wikitext in", size, 15, _task([path], "wikipedia", {}, None))
        yield Reading(f"{wiki}, xml.bz2, only unpacked", size, None, lambda path=path: deque(read_chunks(str(path)), 0))


def dumps(data: Path) -> Iterator[tuple[str, Path, float]]:
    """The Wikipedia dumps of a data folder: the wiki's name, the file, and the MB of wikitext in it."""
    for path in sorted(data.glob(WIKIPEDIA), reverse=True):
        yield path.parent.parent.name, path, _megabytes(wikitexts(path))


def wikitexts(path: Path) -> list[str]:
    """The wikitext of all pages of a dump."""
    dump = b"".join(read_chunks(str(path))).decode()
    return [html.unescape(t) for t in re.findall(r"<text[^>]*>(.*?)</text>", dump, re.DOTALL)]


def _task(paths: list[Path], reader: str, more: dict[str, str], expected: int | None) -> Callable[[], None]:
    """Read the files; anything else than the expected number of documents, or a quarantined record, is an error."""
    labels = {"source": "benchmark", "lang": "ja", "reader": reader, **more}
    shards = [Shard(path.name, (as_input(str(path)),), labels) for path in paths]

    def run() -> None:
        found = bad = 0
        for shard in shards:
            quarantine = Quarantine(paths[0].parent)
            found += sum(batch.num_rows for batch in read_documents(shard, quarantine))
            bad += quarantine.count
        if bad or found == 0 or (expected is not None and found != expected):
            raise RuntimeError(f"{paths[0].name}: {found} documents of {expected}, {bad} quarantined")

    return run


def _cut(texts: list[str], most: int) -> list[str]:
    """The first texts, up to so many bytes."""
    kept, size = [], 0
    for text in texts:
        kept.append(text)
        size += len(text.encode())
        if size >= most:
            break
    return kept


def _megabytes(texts: Iterable[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def _texts(paths: list[Path]) -> list[str]:
    """The texts of JSON-lines files."""
    return [json.loads(line)["text"] for path in paths for line in gzip.decompress(path.read_bytes()).splitlines()]


def _url(n: int) -> str:
    return f"https://example.jp/{n // 100:04d}/{n:06d}.html"


def _oscar(texts: list[str], work: Path) -> Path:
    """OSCAR 23.01's records, with a label for every line."""
    path = work / "oscar.jsonl.zst"
    label = {"label": "ja", "prob": 0.99}
    with open(path, "wb") as file, zstandard.ZstdCompressor().stream_writer(file) as out:
        for n, text in enumerate(texts):
            headers = {"warc-target-uri": _url(n), "warc-date": DATE, "warc-record-id": f"<urn:uuid:{n:032x}>"}
            headers |= {"warc-type": "conversion", "content-length": str(len(text)), "content-type": "text/plain"}
            metadata = {"identification": label, "harmful_pp": 800.5, "tlsh": "tlsh:" + 70 * "A", "categories": None}
            metadata |= {"quality_warnings": ["header"], "sentence_identifications": [label] * (text.count("\n") + 1)}
            record = {"content": text, "warc_headers": headers, "metadata": metadata}
            out.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
    return path


def _parquet(texts: list[str], work: Path) -> Path:
    """FineWeb's columns, in row groups of 1,000."""
    rows = range(len(texts))
    table = pa.table(
        {
            "text": texts,
            "id": [f"<urn:uuid:{n:032x}>" for n in rows],
            "dump": ["CC-MAIN-2026-01"] * len(texts),
            "url": [_url(n) for n in rows],
            "date": [DATE] * len(texts),
            "language_score": [0.99] * len(texts),
        }
    )
    pq.write_table(table, work / "fineweb.parquet", compression="zstd", row_group_size=1000)
    return work / "fineweb.parquet"


def _csv(texts: list[str], work: Path) -> Path:
    path = work / "texts.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "url", "text"])
        rows.writerows([n, _url(n), text.replace("\r", "")] for n, text in enumerate(texts))
    return path


def _cirrus(texts: list[str], work: Path) -> Path:
    """Pairs of lines, the page with its wikitext and its rendering in one line."""
    path = work / "jawiki-20261101-cirrussearch-content.json.gz"
    with gzip.open(path, "wb", compresslevel=6) as out:
        for n, text in enumerate(texts):
            page = {"title": f"題名{n}", "text": text.replace("\n", " "), "opening_text": text[:200], "namespace": 0}
            page |= {"wiki": "jawiki", "timestamp": DATE, "category": ["記事"] * 5, "source_text": text}
            for value in ({"index": {"_type": "_doc", "_id": str(n)}}, page):
                out.write(json.dumps(value).encode() + b"\n")
    return path


def _record(kind: str, n: int, content_type: str, block: bytes) -> bytes:
    """A WARC record, a gzip member of its own."""
    head = (
        f"WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {_url(n)}\r\nWARC-Date: {DATE}\r\n"
        f"WARC-Record-ID: <urn:uuid:{n:032x}>\r\nContent-Type: {content_type}\r\nContent-Length: {len(block)}\r\n\r\n"
    )
    return gzip.compress(head.encode() + block + b"\r\n\r\n", compresslevel=6, mtime=0)


def _wet(texts: list[str], work: Path) -> Path:
    path = work / "texts.warc.wet.gz"
    records = (_record("conversion", n, "text/plain", text.encode()) for n, text in enumerate(texts))
    path.write_bytes(b"".join(records))
    return path


def _warc(pages: list[str], path: Path) -> Path:
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nServer: nginx\r\n\r\n"
    records = (
        _record("response", n, "application/http; msgtype=response", http + p.encode()) for n, p in enumerate(pages)
    )
    path.write_bytes(b"".join(records))
    return path


def _page(n: int, text: str, lang: str = "ja") -> str:
    """A text as a web page, with head, navigation, side column and footer around it."""
    links = "".join(f'<li class="item"><a href="/category/{i}/">記事の一覧 {i}</a></li>\n' for i in range(40))
    if lang != "ja":
        links = links.replace("記事の一覧", "List of articles")
    style = "".join(f".c{i} {{ margin: {i}px; color: #{i:06x}; }}\n" for i in range(100))
    paragraphs = "".join(f"<p>{html.escape(line)}</p>\n" for line in text.split("\n") if line.strip())
    return (
        f'<!DOCTYPE html>\n<html lang="{lang}"><head><meta charset="utf-8"><title>{n}</title><style>{style}</style>'
        f"<script>var page = {n};</script></head>\n<body><header><nav><ul>{links}</ul></nav></header>\n<main><article>"
        f"<h1>{html.escape(text[:20])}</h1>\n{paragraphs}</article></main>\n<aside><ul>{links}</ul></aside>"
        f"<footer><small>&copy; 2026</small></footer></body></html>\n"
    )


def _others(english: list[str], n: int) -> Iterator[str]:
    for i in range(n * OTHERS, (n + 1) * OTHERS):
        yield _page(i, english[i % len(english)], "en")


def _aozora(texts: list[str], work: Path) -> Path:
    """A zip of works with header, signs, readings and colophon; what Shift_JIS lacks is a question mark."""
    path = work / "aozora.zip"
    rule = "-" * 55
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for n, text in enumerate(texts):
            work_text = re.sub(r"([一-龠]{2})(?=[ぁ-ん])", r"\1《よみ》", text.replace("《", "〈").replace("》", "〉"))
            legend = f"{rule}\n【テキスト中に現れる記号について】\n\n《》：ルビ\n{rule}\n\n"
            whole = f"題名{n}\n作者\n\n{legend}{work_text}\n\n底本：「全集」出版社\n2026年1月1日公開\n"
            out.writestr(f"{n}.txt", whole.encode("cp932", "replace"))
    return path
