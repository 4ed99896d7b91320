"""Common Crawl and other web archives: pages of WARC and ARC files (reader warc), texts of WET files (reader wet).

A page is a response (or a wget resource) fetched by HTTP with a status of 2xx whose content is HTML or plain text. Its
charset is found out (charset.py), its language guessed before it is parsed, its main content taken (webpage.py). Fields
kept beside the text: `title`; `charset` as decoded; `replaced_char_share` where bytes could not be decoded (U+FFFD);
`truncated`, the crawler's WARC-Truncated; `bad_digest` where the block is not what its digest says (kept, since many
writers hash something else); `incomplete` where the record's length was wrong. WET has
`identified_languages`, of WARC-Identified-Content-Language (`jpn,eng`).

Everything else is no document and counted in `skipped` by reason: other record kinds, other content types, robots.txt,
pages of another language, pages without text. Unusable records go to the quarantine, one entry each.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from corpuskit.engine.plan import Input
from corpuskit.sources.archive import ArchiveRecord, limits, read_archive
from corpuskit.sources.charset import decode
from corpuskit.sources.http_message import decoded_body, parse_http
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.webpage import Unusable, extract, may_be, need_web_extra

_HTML_TYPES = ("text/html", "application/xhtml+xml", "application/vnd.wap.xhtml+xml")
_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_LOOKS_HTML = re.compile(
    rb"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL
)


def read_warc(
    source: Input, labels: dict[str, str], quarantine: Quarantine, skipped: Counter[str] | None = None
) -> Iterator[Record]:
    """The pages of a WARC or ARC file. `labels['lang']` decides which pages are parsed, see rules/web.yaml.

    Raises:
        UserError: the extra `web` is not installed.
    """
    need_web_extra(source.name)
    skipped = Counter() if skipped is None else skipped

    def bad(number: int, error: str, excerpt: bytes) -> None:
        quarantine.add(source.name, number, error, excerpt)

    for record in read_archive(source.path, source.start, source.stop, bad):
        if record.kind not in ("response", "resource"):
            skipped[record.kind or "unknown"] += 1
            continue
        try:
            page = _page(record, labels["lang"])
        except (Unusable, ValueError) as error:
            bad(record.number, str(error), record.block)
            continue
        if isinstance(page, str):
            skipped[page] += 1
        else:
            yield page


def _page(record: ArchiveRecord, lang: str) -> Record | str:
    """The document of a record, or why it has none.

    Raises:
        Unusable, ValueError: the record is damaged or too large to be read.
    """
    headers = record.headers
    url = headers.get("warc-target-uri", "").strip("<> ")  # wget 1.19 writes <URL>
    if not url.lower().startswith(("http://", "https://")):
        return "not fetched by HTTP"
    if url.lower().endswith("/robots.txt"):
        return "robots.txt"
    body, content_type = record.block, headers.get("content-type", "")
    if "application/http" in content_type.lower() or record.kind == "response":
        message = parse_http(record.block)
        if message is None:
            raise ValueError("not an HTTP response")
        if not 200 <= message.status < 300:
            return "status"
        content_type = message.headers.get("content-type", "")
        kind = _kind(content_type, message.body)
        if kind is None:
            return "content type"
        body = decoded_body(message, limits()["max_record"])
    else:
        kind = _kind(content_type, body)
        if kind is None:
            return "content type"
    label = _CHARSET.search(content_type)
    text, charset, replaced = decode(body, label[1] if label else None)
    if not may_be(text, charset, lang):
        return "language"
    title = None
    if kind == "html" or _LOOKS_HTML.match(body):
        title, text = extract(text)
    text = text.strip()
    if not text:
        return "no text"
    fields: dict[str, Any] = {"title": title} if title else {}
    fields["charset"] = charset
    if replaced:
        fields["replaced_char_share"] = round(replaced, 6)
    if truncated := headers.get("warc-truncated"):
        fields["truncated"] = truncated
    if record.incomplete:
        fields["incomplete"] = True
    elif not _digest_holds(headers.get("warc-block-digest", ""), record.block):
        fields["bad_digest"] = True
    return Record(record.number, text, url, headers.get("warc-date"), fields)


def _kind(content_type: str, body: bytes) -> str | None:
    """'html' or 'text' by the Content-Type header, by the look of the body where there is none; None for the rest."""
    mime = content_type.split(";", 1)[0].strip().lower()
    if mime in _HTML_TYPES:
        return "html"
    if mime == "text/plain":
        return "text"
    return "html" if mime in ("", "application/octet-stream", "unknown/unknown") and _LOOKS_HTML.match(body) else None


def _digest_holds(digest: str, block: bytes) -> bool:
    """Whether a block has its `algorithm:value` digest, in base 32 or hex; True where that cannot be told."""
    name, _, value = digest.partition(":")
    if name.lower() not in ("sha1", "sha256", "md5") or not value:
        return True
    found = hashlib.new(name.lower(), block, usedforsecurity=False).digest()
    return value.rstrip("=").upper() in (base64.b32encode(found).decode().rstrip("="), found.hex().upper())


def read_wet(
    source: Input, labels: dict[str, str], quarantine: Quarantine, skipped: Counter[str] | None = None
) -> Iterator[Record]:
    """The texts of a WET file: conversion records, plain UTF-8, every line of the page."""
    skipped = Counter() if skipped is None else skipped

    def bad(number: int, error: str, excerpt: bytes) -> None:
        quarantine.add(source.name, number, error, excerpt)

    for record in read_archive(source.path, source.start, source.stop, bad):
        headers = record.headers
        if record.kind != "conversion":
            skipped[record.kind or "unknown"] += 1
            continue
        text = record.block.decode("utf-8", "replace").removeprefix("\ufeff").strip()
        if not text:
            skipped["no text"] += 1
            continue
        fields: dict[str, Any] = {}
        if languages := headers.get("warc-identified-content-language"):
            fields["identified_languages"] = languages
        if replaced := text.count("\ufffd"):
            fields["replaced_char_share"] = round(replaced / len(text), 6)
        url = headers.get("warc-target-uri", "").strip("<> ")
        yield Record(record.number, text, url or None, headers.get("warc-date"), fields or None)
