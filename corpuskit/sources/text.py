"""Plain text: one document a file, or one document a line.

A line's number is its line number, or its byte offset where the file is read in ranges (see jsonl.py).
"""

from __future__ import annotations

from collections.abc import Iterator

from corpuskit.engine.plan import Input
from corpuskit.sources.jsonl import TOO_LONG, numbered_blocks, numbered_lines
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, read_chunks

MAX_TEXT = 64 << 20  # a document longer than this is quarantined


def read_text(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """A file as one document. One that is cut or too long is quarantined: part of a document is no document."""
    chunks: list[bytes] = []
    size = 0
    try:
        for chunk in read_chunks(source.path):
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_TEXT:
                error = "a text file is one document, and this one is longer than 64 MiB; for a document a line: "
                quarantine.add(source.name, 0, error + "--text-unit line", chunks[0])
                return
    except CutStream as problem:
        quarantine.add(source.name, 0, str(problem), chunks[0] if chunks else b"")
        return
    yield from decoded(source, quarantine, 0, b"".join(chunks))


def read_lines(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """A line as one document; empty lines are none."""
    for number, block in numbered_blocks(source, quarantine):
        if block is None:
            quarantine.add(source.name, number, TOO_LONG)
            continue
        for at, line in numbered_lines(source, number, block):
            if line.strip():
                yield from decoded(source, quarantine, at, line.removesuffix(b"\r"))


def decoded(source: Input, quarantine: Quarantine, number: int, raw: bytes) -> Iterator[Record]:
    """The bytes of one document as a record, or in quarantine where they are no UTF-8. A byte order mark goes."""
    try:
        yield Record(number, raw.decode("utf-8").removeprefix("\ufeff"))
    except UnicodeDecodeError as problem:
        quarantine.add(source.name, number, f"not UTF-8: {problem.reason} at byte {problem.start}", raw)
