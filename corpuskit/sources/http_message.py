"""HTTP responses as crawlers store them: status, headers and body, whose transfer and content encodings are undone.

Crawlers store bodies decoded under headers that say they are not, and the other way round. So an encoding that is not
there is ignored, a body whose encoding breaks off gives what came before, and what a body expands to is bounded.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

_STATUS = re.compile(rb"HTTP/\d(?:\.\d)?[ \t]+(\d{3})[^\n]*\n")
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]{0,200})?\r?\n")
_MAX_CHUNKS = 1_000_000
_STEP = 1 << 16


class HttpMessage(NamedTuple):
    """A response as it was stored; header names in lower case, the first of several values."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_http(block: bytes) -> HttpMessage | None:
    """The response in a block of bytes; None where there is none."""
    status = _STATUS.match(block)
    if not status:
        return None
    if block[status.end() : status.end() + 2] in (b"\r\n",) or block[status.end() : status.end() + 1] == b"\n":
        end = status.end() + (2 if block[status.end()] == 13 else 1)  # no headers at all
        return HttpMessage(int(status[1]), {}, block[end:])
    found = _HEAD_END.search(block, status.end() - 1)
    head = block[status.end() : found.start() if found else len(block)]
    headers: dict[str, str] = {}
    for line in head[: 1 << 18].decode("latin-1").split("\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name.strip().lower(), value.strip())
    return HttpMessage(int(status[1]), headers, block[found.end() :] if found else b"")


def decoded_body(message: HttpMessage, limit: int) -> bytes:
    """The body without transfer and content encodings.

    Raises:
        ValueError: nothing of it can be decoded, or it expands to more than `limit` bytes.
    """
    body = message.body
    if "chunked" in message.headers.get("transfer-encoding", "").lower():
        body = _dechunk(body)
    encodings = [e.strip().lower() for e in message.headers.get("content-encoding", "").split(",")]
    for encoding in reversed(encodings[:3]):
        body = _undo(encoding, body, limit)
    return body


def _dechunk(body: bytes) -> bytes:
    """The chunks joined; from where there is no chunk, the bytes as they are (a body that is not chunked at all)."""
    parts: list[bytes] = []
    at = 0
    while len(parts) < _MAX_CHUNKS and (size := _CHUNK_SIZE.match(body, at)):
        at = size.end()
        length = int(size[1], 16)
        if length == 0:
            return b"".join(parts)
        parts.append(body[at : at + length])
        at += length
        at += 2 if body.startswith(b"\r\n", at) else 1 if body.startswith(b"\n", at) else 0
    return b"".join(parts) + body[at:]


def _undo(encoding: str, body: bytes, limit: int) -> bytes:
    if encoding in ("gzip", "x-gzip"):
        return _inflate(lambda: zlib.decompressobj(31), body, limit) if body.startswith(b"\x1f\x8b") else body
    if encoding == "deflate":  # with or without the zlib header
        zlib_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] << 8 | body[1]) % 31 == 0
        if not zlib_header and body[:64].lstrip().startswith(b"<"):
            return body
        return _inflate(lambda: zlib.decompressobj(15 if zlib_header else -15), body, limit)
    if encoding == "zstd":
        return _unzstd(body, limit) if body.startswith(b"\x28\xb5\x2f\xfd") else body
    if encoding == "br":
        return _unbrotli(body, limit)
    return body  # identity, and names that mean nothing ("utf-8", "none")


def _inflate(factory: Callable[[], Any], body: bytes, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    stream = factory()
    pending = body
    problem = "nothing in it"
    while pending:
        try:
            part = stream.decompress(pending, _STEP)
        except zlib.error as error:
            problem = str(error)
            break
        parts.append(part)
        size += len(part)
        if size > limit:
            raise ValueError(f"the body expands to more than {limit} bytes")
        pending = stream.unconsumed_tail
        if stream.eof or not part:
            break
    if not parts and body:
        raise ValueError(f"the body cannot be decoded: {problem}")
    return b"".join(parts)


def _unzstd(body: bytes, limit: int) -> bytes:
    import zstandard

    parts: list[bytes] = []
    size = 0
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(body)
        while part := reader.read(_STEP):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise ValueError(f"the body expands to more than {limit} bytes")
    except zstandard.ZstdError as error:
        if not parts:
            raise ValueError(f"the body cannot be decoded: {error}") from error
    return b"".join(parts)


def _unbrotli(body: bytes, limit: int) -> bytes:
    import io

    from fastwarc.stream_io import BrotliReader

    if body[:64].lstrip().startswith(b"<"):
        return body  # stored decoded under a header that says it is not
    parts: list[bytes] = []
    size = 0
    reader = BrotliReader(io.BytesIO(body))
    try:
        while part := reader.read(_STEP):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise ValueError(f"the body expands to more than {limit} bytes")
    except OSError as error:
        if not parts:
            raise ValueError(f"the body cannot be decoded: {error}") from error
    return b"".join(parts)
