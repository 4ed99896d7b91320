"""Web archives made in memory, and readers run on bytes: shared by the tests of the WARC, WET and Aozora readers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from corpuskit.engine.plan import Input
from corpuskit.sources.aozora import read_aozora
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.warc import read_warc, read_wet


class Listed(Quarantine):
    """A quarantine that keeps its entries in memory."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.entries: list[tuple[int, str]] = []

    def add(self, file: str, record: int, error: str, excerpt: bytes | str = b"") -> None:
        self.entries.append((record, error))


def run(
    reader: str, path: Path, lang: str, start: int | None = None, stop: int | None = None
) -> tuple[list[Record], list[tuple[int, str]], Counter[str]]:
    """The records, quarantine entries and skip counts of a reader on a file."""
    quarantine, skipped = Listed(), Counter[str]()
    source, labels = Input(str(path), path.name, "", 0, start, stop), {"lang": lang}
    if reader == "aozora":
        records = list(read_aozora(source, labels, quarantine))
    else:
        records = list((read_warc if reader == "warc" else read_wet)(source, labels, quarantine, skipped))
    return records, quarantine.entries, skipped


def response(url: str, body: bytes, headers: str = "Content-Type: text/html", status: str = "200 OK") -> bytes:
    """A WARC response record; `headers` are those of HTTP."""
    block = f"HTTP/1.1 {status}\r\n{headers}\r\n\r\n".encode("latin-1") + body
    return record("response", url, block, "Content-Type: application/http; msgtype=response")


def record(
    kind: str, url: str, block: bytes, more: str = "Content-Type: text/plain", length: int | None = None
) -> bytes:
    """A WARC record of any kind."""
    head = (
        f"WARC/1.1\r\nWARC-Type: {kind}\r\nWARC-Target-URI: {url}\r\nWARC-Date: 2026-01-02T03:04:05Z\r\n{more}\r\n"
        f"Content-Length: {len(block) if length is None else length}\r\n\r\n"
    )
    return head.encode() + block + b"\r\n\r\n"


SENTENCE = "これは記事の本文です。漢字とかなが混ざった、ある程度の長さを持つ文章がここに続きます。"


def page(lang: str = "", meta: str = "", sentence: str = SENTENCE) -> str:
    """A page with navigation, an article and a footer."""
    return (
        f"<!DOCTYPE html><html{lang}><head>{meta}<title>題名 &amp;\n 副題</title><script>var x = 1;</script></head>"
        "<body>"
        "<nav><ul><li><a href='/'>ホーム</a></li><li><a href='/a'>一覧</a></li></ul></nav>"
        f"<article><h1>見出し</h1><p>{sentence}</p><p>次の段落は<ruby>獰悪<rp>(</rp><rt>どうあく</rt><rp>)</rp></ruby>"
        f"な種族の話です。{sentence}</p></article>"
        "<footer>Copyright 2026 プライバシーポリシー</footer></body></html>"
    )


PAGE_TEXT = f"見出し\n\n{SENTENCE}\n\n次の段落は獰悪な種族の話です。{SENTENCE}"
