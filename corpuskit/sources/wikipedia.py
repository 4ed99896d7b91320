"""Dumps of Wikipedia, Wikibooks, Wikinews and their sisters: pages out of the XML, wikitext to clean text.

A multistream dump is a sequence of bzip2 streams of 100 pages each; its index names where they start, so that ranges
of streams decode side by side. A dump without an index (pages-articles.xml.bz2, or plain .xml) is read in one go.
Articles (namespace 0) are kept; redirects and disambiguation pages are no documents. A record's number is the page id.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from corpuskit.config import UserError
from corpuskit.engine.plan import Input
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, read_chunks, split_lines
from corpuskit.sources.wikitext import is_disambiguation, is_redirect, wikitext_to_text
from corpuskit.text.kernel import kernel

RANGE_BYTES = 8 << 20  # compressed bytes a shard aims at
MAX_PAGE = 64 << 20
_LT, _GT, _AMP, _QUOT = (int.from_bytes(name, "big") for name in (b"&lt;", b"&gt;", b"&amp;", b"&quot;"))

_TITLE = re.compile(rb"<title>(.*?)</title>", re.DOTALL)
_NAMESPACE = re.compile(rb"<ns>(-?\d+)</ns>")
_ID = re.compile(rb"<id>(\d{1,18})</id>")
_TIMESTAMP = re.compile(rb"<timestamp>([^<]{1,40})</timestamp>")
_TEXT_BEGIN = re.compile(rb"<text[^>]*>")
_PROJECTS = "wikibooks|wikinews|wikiquote|wikisource|wikiversity|wikivoyage|wiktionary|wiki"
_SITE = re.compile(rf"(?:\A|/)([a-z_]+?)({_PROJECTS})-")  # jawiki-20261101-pages-articles..., at the end of a URL
_OWN_HOST = {"commons", "incubator", "meta", "species"}  # <name>wiki is <name>.wikimedia.org


class Page(NamedTuple):
    """One article."""

    id: int
    title: str
    url: str | None
    timestamp: str | None
    text: str


def plan_ranges(dump: Input, index_path: str) -> list[Input]:
    """The dump cut into byte ranges of whole streams, from its index (`offset:page id:title` a line).

    Raises:
        UserError: the index is damaged or does not belong to the dump.
    """
    offsets = set()
    try:
        for line in split_lines(read_chunks(index_path)):
            if line:
                offsets.add(int(line.split(b":", 1)[0]))
    except (CutStream, ValueError) as error:
        raise UserError(f"{index_path}: not a multistream index ({error}); fetch it again") from error
    if not offsets or max(offsets) >= dump.size:
        raise UserError(f"{index_path}: does not belong to {dump.name} (offsets beyond its {dump.size} bytes)")
    cuts = [0]
    for offset in sorted(offsets):
        if offset - cuts[-1] >= RANGE_BYTES:
            cuts.append(offset)
    cuts.append(dump.size)
    return [
        Input(dump.path, dump.name, dump.sha256, dump.size, start, stop) for start, stop in itertools.pairwise(cuts)
    ]


def page_url(file: str, title: str) -> str | None:
    """The address of a page, by the name of its dump: jawikibooks-20261101-... is ja.wikibooks.org.

    None where the name does not begin with that of a wiki.
    """
    found = _SITE.findall(file)
    if not found:
        return None
    language, project = found[-1]  # the last one: folders may be called like a wiki
    language = language.replace("_", "-")
    if project == "wiki":
        project = "wikimedia" if language in _OWN_HOST else "wikipedia"
    return f"https://{language}.{project}.org/wiki/{quote(title.replace(' ', '_'), safe='/:()')}"


def read_wikipedia(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """The articles of a dump or of a byte range of it."""

    def skip(page: int, error: str, excerpt: bytes) -> None:
        quarantine.add(source.name, page, error, excerpt)

    for page in read_pages(source.path, source.start, source.stop, site=labels.get("file", source.name), skip=skip):
        yield Record(page.id, page.text, page.url, page.timestamp, {"title": page.title})


def read_pages(
    path: str, start: int | None, stop: int | None, *, site: str, skip: Callable[[int, str, bytes], None]
) -> Iterator[Page]:
    """The articles in a byte range of a dump (None, None: all of it).

    Pages are cut out of the XML one by one, so a broken page costs that page alone. `site` is the dump's file name,
    from which the articles' URLs are made; `skip(page id, error, excerpt)` is told about pages that are no use.
    """
    for raw in _page_blocks(path, start, stop, skip):
        page_id = _ID.search(raw)
        number = int(page_id[1]) if page_id else -1
        title, begin = _TITLE.search(raw), _TEXT_BEGIN.search(raw)
        end = raw.find(b"</text>", begin.end()) if begin else -1  # much faster than a pattern around the whole text
        namespace = _NAMESPACE.search(raw)
        if (namespace and namespace[1] != b"0") or b"<redirect " in raw[:2000]:
            continue
        if not (page_id and title):
            skip(number, "a page without id or title", raw)
            continue
        if not begin or end < 0:
            if not (begin and begin[0].endswith(b"/>")):
                skip(number, "a page without text", raw)
            continue  # <text ... /> is an empty or deleted page
        try:
            name = _unescape(title[1])
            source = _unescape(raw[begin.end() : end])
        except UnicodeDecodeError as error:
            skip(number, f"not UTF-8: {error.reason}", raw)
            continue
        if is_redirect(source) or is_disambiguation(source):
            continue
        timestamp = _TIMESTAMP.search(raw)
        written = timestamp[1].decode("ascii", "replace") if timestamp else None
        yield Page(number, name, page_url(site, name), written, wikitext_to_text(source))


def _unescape(text: bytes) -> str:
    """What XML text stands for. MediaWiki writes four entities; text with any other one is left to html.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
    """
    out = np.empty(len(text), np.uint8)
    size = _unescape_four(np.frombuffer(text, np.uint8), out)
    return html.unescape(text.decode("utf-8")) if size < 0 else out[:size].tobytes().decode("utf-8")


@kernel
def _unescape_four(data: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> int:
    """Write `data` to `out` with &lt; &gt; &amp; &quot; resolved; gives the length, or -1 where any other & stands."""
    end = data.size
    at = size = 0
    while at < end:
        byte = data[at]
        at += 1
        if byte == ord("&"):
            entity = np.uint64(byte)  # up to its semicolon, a byte after the other; the longest is &quot;
            length = 0
            while length < 5 and at + length < end:
                entity = entity << np.uint64(8) | np.uint64(data[at + length])
                length += 1
                if data[at + length - 1] == ord(";"):
                    break
            if entity == _LT:
                byte = ord("<")
            elif entity == _GT:
                byte = ord(">")
            elif entity == _QUOT:
                byte = ord('"')
            elif entity != _AMP:
                return -1
            at += length
        out[size] = byte
        size += 1
    return size


def _page_blocks(
    path: str, start: int | None, stop: int | None, skip: Callable[[int, str, bytes], None]
) -> Iterator[bytes]:
    """The bytes between <page> and </page>, page by page."""
    pending = bytearray()
    searched = 0  # no </page> ends before this
    overlong = False  # the page at hand was given up
    try:
        for chunk in read_chunks(path, start, stop):
            pending += chunk
            while (end := pending.find(b"</page>", searched)) >= 0:
                begin = pending.rfind(b"<page>", 0, end)
                if begin < 0 and not overlong:
                    skip(-1, "a page without a beginning", bytes(pending[:800]))
                if begin > 0 and (lost := pending.find(b"<page>", 0, begin)) >= 0:
                    skip(-1, "a page without an end", bytes(pending[lost : lost + 800]))
                overlong = False
                if begin >= 0:
                    yield bytes(pending[begin + 6 : end])
                del pending[: end + 7]
                searched = 0
            searched = max(0, len(pending) - 6)
            if len(pending) > MAX_PAGE:
                if not overlong:
                    skip(-1, "a page is longer than 64 MiB", bytes(pending[:800]))
                overlong = True
                pending.clear()
                searched = 0
    except CutStream as error:
        skip(-1, str(error), bytes(pending[:800]))
        return
    if b"<page>" in pending:
        skip(-1, "the dump ends inside a page", bytes(pending[:800]))
