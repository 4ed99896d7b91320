"""CirrusSearch dumps of Wikipedia and its sisters: JSON lines in pairs, {"index": {"_id": "5"}} and then the page.

The text is MediaWiki's own rendering, better than any wikitext parser's, but a page is one line: paragraphs are lost.
Articles (namespace 0) are kept; redirects and disambiguation pages are no documents. A record's number is the page id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from corpuskit.engine.plan import Input
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, read_chunks, split_lines
from corpuskit.sources.wikipedia import page_url
from corpuskit.sources.wikitext import is_disambiguation, is_redirect


def read_cirrus(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """The articles of a dump. What is quarantined without a page id has the number -1 and names its line."""
    page: int | None = None
    number = -1
    try:
        for number, line in enumerate(split_lines(read_chunks(source.path))):
            if line is None:
                quarantine.add(source.name, -1, f"line {number} is longer than 64 MiB")
                page = None
                continue
            if not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                quarantine.add(source.name, -1 if page is None else page, f"line {number} is not JSON: {error}", line)
                page = None
                continue
            found = _page_id(value)
            if found is not None:
                if page is not None:
                    quarantine.add(source.name, page, f"line {number}: an index line in place of the page", line)
                page = found
                continue
            if page is None or not isinstance(value, dict):
                quarantine.add(source.name, -1, f"line {number}: a page without an index line", line)
                continue
            number_of_page, page = page, None
            text = value.get("text")
            if not isinstance(text, str):
                quarantine.add(source.name, number_of_page, f"line {number}: a page without text", line)
            elif _is_article(value):
                yield _record(number_of_page, value, text, labels.get("file", source.name))
    except CutStream as error:
        quarantine.add(source.name, -1, f"line {number + 1}: {error}")
        return
    if page is not None:
        quarantine.add(source.name, page, "the file ends between an index line and its page")


def _page_id(value: Any) -> int | None:
    """The page id of an index line."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(value.get("index"), dict):
        text = str(value["index"].get("_id", ""))
        if text.isascii() and text.isdigit() and len(text) < 19:
            return int(text)
    return None


def _is_article(page: dict[str, Any]) -> bool:
    source = page.get("source_text")
    if page.get("namespace", 0) != 0 or not page["text"].strip():
        return False
    return not (isinstance(source, str) and (is_redirect(source) or is_disambiguation(source)))


def _record(number: int, page: dict[str, Any], text: str, file: str) -> Record:
    title = page.get("title")
    title = title if isinstance(title, str) else None
    wiki = page.get("wiki")
    url = page_url(f"{wiki}-latest" if isinstance(wiki, str) else file, title) if title else None
    time = page.get("timestamp")
    return Record(number, text, url, time if isinstance(time, str) else None, {"title": title} if title else None)
