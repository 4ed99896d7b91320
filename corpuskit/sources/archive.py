"""Records out of web archives: WARC 0.17 to 1.1 and ARC 1.0 to 2.0, a gzip member a record, gzip as a whole, or plain.

WARC: `WARC/1.0`, header lines, an empty line, Content-Length bytes, two line ends. ARC: a line `URL IP date type
[...] length`, that many bytes, a line end; its records are handed on with the header names of WARC.

Our own reader, because damage must cost the damaged record alone: fastwarc (2.0.1) ends at the first damaged record or
wrong length, takes a cut file for a whole one, and reads no ARC. After damage the next gzip member that begins with
a record, or in plain data the next record header, goes on. Memory is bounded by the longest record (rules/web.yaml).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import IO, Any, NamedTuple

from corpuskit.config import data_dir, load_yaml
from corpuskit.sources.http_message import parse_http
from corpuskit.sources.streams import CutStream, open_bytes, read_chunks

Bad = Callable[[int, str, bytes], None]  # told about each unusable record: number, error, excerpt

CHUNK = 1 << 16  # bytes read at once
MAX_HEADER = 1 << 18  # bytes; a WARC header with many long lines
_MEMBER = b"\x1f\x8b\x08"
_STEP = 1 << 17  # decompressed bytes a step; what is lost before damage in the middle of a long gzip member
_ARC = rb"[A-Za-z][A-Za-z0-9+.-]{1,15}:[^\n]{0,8000}? (?:\d{1,3}(?:\.\d{1,3}){3}|-) \d{8,20} \S+(?: [^\n]*)? -?\w+"
_ARC_LINE = re.compile(
    rb"(?P<url>[^\n]+?) (?:\d{1,3}(?:\.\d{1,3}){3}|-) (?P<date>\d{8,20}) (?P<type>\S+)(?: .*)? (?P<length>-?\w+)"
)
_START = re.compile(rb"^(?:WARC/\d\.\d+\r?\n|" + _ARC + rb"\r?\n)", re.MULTILINE)
_MARKER = re.compile(rb"\r\n\r\n(?=WARC/\d\.\d+\r\n)")


class ArchiveRecord(NamedTuple):
    """One record: `kind` is its WARC-Type, `headers` its WARC headers by lower-case name, `block` all after them."""

    number: int
    kind: str
    headers: dict[str, str]
    block: bytes
    incomplete: bool = False  # its length was wrong: the block goes up to the next record, or up to that length


@cache
def limits() -> dict[str, Any]:
    """The bounds of rules/web.yaml."""
    bounds: dict[str, Any] = load_yaml(data_dir("rules") / "web.yaml")
    return bounds


def read_archive(path: str, start: int | None, stop: int | None, bad: Bad) -> Iterator[ArchiveRecord]:
    """The records of an archive, or of a byte range of it that begins at a record (as the columnar index gives it).

    Records are numbered from 0, in a byte range from `start`: every record takes more than a byte, so the numbers of
    two ranges of a file differ.
    """
    with open_bytes(path) as file:
        magic = file.read(3)
        items = _gunzip(file, start or 0, stop) if magic == _MEMBER else _plain(path, start, stop)
        yield from _records(_Window(items), start or 0, bad)


def _plain(path: str, start: int | None, stop: int | None) -> Iterator[bytes | str]:
    try:
        yield from read_chunks(path, start, stop)
    except CutStream as error:
        yield str(error)


def _gunzip(file: IO[bytes], start: int, stop: int | None) -> Iterator[bytes | str]:
    """Decompressed bytes; a str stands for damage, after which the next usable member's bytes follow."""
    from isal import igzip_lib

    isal_error: type[Exception] = getattr(igzip_lib, "IsalError")  # noqa: B009 - its stub types it as an instance
    raw, end = b"", start  # `end` is the file offset behind `raw`
    searching, tries = False, 0
    file.seek(start)
    while True:
        raw = raw[max(raw.find(_MEMBER), 0) :] if searching else raw.lstrip(b"\0")  # members may be padded
        if not raw.startswith(_MEMBER) and (searching or len(raw) < 3):
            more = file.read(CHUNK if stop is None else max(0, min(CHUNK, stop - end)))
            end += len(more)
            if not more:
                if raw and not searching:
                    yield "the file ends inside a gzip header"
                return
            raw = (raw[-2:] if searching else raw) + more
            continue
        begin = end - len(raw)
        member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        taken = given = 0
        problem = None
        while problem is None:
            try:
                plain = member.decompress(raw, max_length=_STEP)
            except isal_error as error:
                problem = f"damaged gzip: {error}"
                break
            taken, given, raw = taken + len(raw), given + len(plain), b""
            if plain and searching:
                if not _START.match(plain):
                    problem = "no record"
                    break
                searching = False
            if plain:
                yield plain
            if member.eof:
                raw = member.unused_data
                break
            if given > max(limits()["max_record"], limits()["max_expansion"] * taken):
                problem = f"a gzip member expands to more than {limits()['max_expansion']} times its size"
            elif member.needs_input:
                raw = file.read(CHUNK if stop is None else max(0, min(CHUNK, stop - end)))
                end += len(raw)
                if not raw:
                    problem = "the gzip stream ends early"
        if problem:
            if not searching:
                yield problem
            tries = tries + 1 if searching else 0
            if tries > limits()["max_retries"]:
                return
            searching, raw, end = True, b"", begin + 1
            file.seek(end)


class _Window:
    """Decompressed bytes ahead of the reader, up to the end or the next damage."""

    def __init__(self, items: Iterator[bytes | str]) -> None:
        self.data = bytearray()
        self.damage: str | None = None
        self._items = items
        self._ended = False

    def fill(self, size: int) -> bool:
        """Read on until there are `size` bytes; False where the end or damage comes first."""
        while len(self.data) < size and self.damage is None and not self._ended:
            item = next(self._items, None)
            if item is None:
                self._ended = True
            elif isinstance(item, str):
                self.damage = item
            else:
                self.data += item
        return len(self.data) >= size

    def skip_line_ends(self) -> None:
        """Drop the line ends between records."""
        while self.fill(1) and self.data[0] in b"\r\n":
            del self.data[: max(1, len(self.data) - len(self.data.lstrip(b"\r\n")))]

    def seek_start(self) -> None:
        """Drop everything before the next record header."""
        while not (found := _START.search(self.data)):
            if len(self.data) > MAX_HEADER:
                del self.data[: len(self.data) - (MAX_HEADER >> 2)]  # a header may have begun in what is kept
            if not self.fill(len(self.data) + CHUNK):
                found = _START.search(self.data)
                break
        del self.data[: found.start() if found else len(self.data)]


def _records(window: _Window, first: int, bad: Bad) -> Iterator[ArchiveRecord]:
    number = first - 1
    lost = False  # inside something that was reported already
    while True:
        window.skip_line_ends()
        if not window.data:
            if window.damage is None:
                return
            if not lost:
                number += 1
                bad(number, window.damage, b"")
            window.damage, lost = None, False
            continue
        head = _header(window)
        if isinstance(head, str):
            if not lost:
                number += 1
                bad(number, window.damage or head, bytes(window.data[:800]))
            lost = True
            del window.data[:1]
            window.seek_start()
            continue
        headers, size = head
        number, lost = number + 1, False
        length = int(headers["content-length"]) if re.fullmatch(r"\d{1,15}", headers["content-length"]) else -1
        if length < 0 or length > limits()["max_record"]:
            wrong = f"longer than {limits()['max_record']} bytes" if length > 0 else "without a usable length"
            bad(number, f"a record {wrong}", bytes(window.data[: min(size, 800)]))
            del window.data[:size]
            lost = length < 0 or not _skip(window, length)
            if length < 0:
                window.seek_start()
            continue
        stop = size + length
        if window.fill(stop) and _follows(window, stop):
            with memoryview(window.data) as view:
                block = bytes(view[size:stop])
            del window.data[:stop]
            yield ArchiveRecord(number, headers["warc-type"], headers, block)
            continue
        yield from _repaired(window, ArchiveRecord(number, headers["warc-type"], headers, b""), size, stop, bad)
        lost = window.damage is None  # what follows up to the next record belongs to this one
        window.seek_start()


def _repaired(window: _Window, record: ArchiveRecord, size: int, stop: int, bad: Bad) -> Iterator[ArchiveRecord]:
    """A record that does not end where its length says, as far as it can be used; its bytes are dropped."""
    found = _START.search(window.data, size)
    end = min(stop, len(window.data), found.start() if found else stop)
    with memoryview(window.data) as view:
        block = bytes(view[size:end])
    del window.data[:end]
    whole = _whole_http(block)
    if whole is not None:
        yield record._replace(block=whole)
    elif found or end == stop:
        yield record._replace(block=block, incomplete=True)
    else:
        bad(record.number, window.damage or "the file ends inside a record", block[:800])
        window.damage = None  # said with this record


def _header(window: _Window) -> tuple[dict[str, str], int] | str:
    """The headers at the window's beginning and their bytes, or what is wrong with them."""
    window.fill(16)
    if not window.data.startswith(b"WARC/"):
        while (end := window.data.find(b"\n")) < 0 and len(window.data) < 16384 and window.fill(len(window.data) + 1):
            pass
        match = _ARC_LINE.fullmatch(bytes(window.data[: max(end, 0)]).rstrip(b"\r"))
        return (_arc_headers(match), end + 1) if match else "no record where one should begin"
    searched = 0
    while not (found := re.compile(rb"\r?\n\r?\n").search(window.data, searched)):
        searched = max(0, len(window.data) - 3)
        if len(window.data) > MAX_HEADER:
            return f"a record header is longer than {MAX_HEADER} bytes"
        if not window.fill(len(window.data) + 1):
            return "the file ends inside a record header"
    headers = {"content-length": "", "warc-type": ""}
    name = ""
    for line in bytes(window.data[: found.start()]).decode("utf-8", "replace").split("\n")[1:]:
        if line[:1] in (" ", "\t") and name:
            headers[name] += " " + line.strip()  # a folded line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            headers[name] = value.strip()
    return headers, found.end()


def _arc_headers(match: re.Match[bytes]) -> dict[str, str]:
    url, date, kind, length = (match[n].decode("utf-8", "replace") for n in ("url", "date", "type", "length"))
    parts = [date[a:b] for a, b in ((0, 4), (4, 6), (6, 8), (8, 10), (10, 12), (12, 14))]
    stamp = f"{parts[0]}-{parts[1]}-{parts[2]}T{parts[3]}:{parts[4]}:{parts[5]}Z" if len(date) >= 14 else date
    http = url.lower().startswith(("http:", "https:"))
    return {
        "warc-type": "response" if http else "warcinfo",
        "warc-target-uri": url,
        "warc-date": stamp,
        "content-type": "application/http" if http else kind,
        "content-length": length,
    }


def _follows(window: _Window, stop: int) -> bool:
    """Whether a record that ends at `stop` is closed as WARC does, or followed by another one, the end or damage."""
    window.fill(stop + 64)
    rest = bytes(window.data[stop : stop + 64])
    if rest.startswith(b"\r\n\r\n"):
        return True
    rest = rest.lstrip(b"\r\n")
    return not rest or b"WARC/".startswith(rest[:5]) or re.match(rb"[A-Za-z][A-Za-z0-9+.-]{1,15}:", rest) is not None


def _whole_http(block: bytes) -> bytes | None:
    """The HTTP response at the beginning of a block, where its own Content-Length says that it is all there."""
    message = parse_http(block)
    length = message.headers.get("content-length", "") if message else ""
    if not message or "transfer-encoding" in message.headers or not re.fullmatch(r"\d{1,9}", length):
        return None
    end = len(block) - len(message.body) + int(length)
    return block[:end] if end <= len(block) else None


def _skip(window: _Window, length: int) -> bool:
    """Drop the block of a record too long to hold, or what it has up to a record inside it (its length was wrong).

    False where the end or damage came first.
    """
    while length > 0:
        there = window.fill(min(length, CHUNK))
        found = _MARKER.search(window.data, 0, min(length, len(window.data)))
        if found:
            del window.data[: found.end()]
            return True
        # not the last bytes: the marker may stand across them
        step = len(window.data) if not there else min(length, len(window.data))
        step = step if step == length or not there else max(1, step - 32)
        del window.data[:step]
        length -= step
        if not there:
            return False
    return True
