"""CC-100: one xz stream of plain text, a paragraph a line, an empty line between documents, no URL, no date.

A record's number counts documents (and what is quarantined in place of one) from the start of the stream.
"""

from __future__ import annotations

from collections.abc import Iterator

from corpuskit.engine.plan import Input
from corpuskit.engine.tables import read_batches
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, read_chunks, split_lines
from corpuskit.sources.text import MAX_TEXT, decoded


def split_cc100(path: str) -> Iterator[tuple[bytes | None, str | None]]:
    """The documents of a CC-100 stream as (bytes, error); exactly one of the two is None.

    The last document needs no empty line after it. Of a document that the stream is cut in, the paragraphs that came
    whole are given.
    """
    paragraphs: list[bytes] = []
    size = 0
    end = b"\n"  # no line holds a line end, so this cannot be one
    cut: str | None = None
    lines = split_lines(read_chunks(path))
    while True:
        try:
            line = next(lines, end)
        except CutStream as error:
            line, cut = end, str(error)
        if line is None:
            yield None, "a paragraph is longer than 64 MiB"
            continue
        if line.strip():
            size += len(line)
            if size > MAX_TEXT:
                paragraphs = []  # too long to keep, and not to be held in memory either
            else:
                paragraphs.append(line)
            continue
        if size > MAX_TEXT:
            yield None, "a document is longer than 64 MiB"
        elif paragraphs:
            yield b"\n".join(paragraphs), None
        paragraphs, size = [], 0
        if cut:
            yield None, cut
        if line is end:
            return


def read_cc100(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """The documents of a whole stream."""
    for number, (raw, error) in enumerate(split_cc100(source.path)):
        yield from _read(source, quarantine, number, raw, error)


def read_parts(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """The documents of one part of a stream; see split.py."""
    for batch in read_batches(source.path):
        rows = zip(*(batch.column(name).to_pylist() for name in ("record", "text", "error")), strict=True)
        for number, raw, error in rows:
            yield from _read(source, quarantine, number, raw, error)


def _read(source: Input, quarantine: Quarantine, number: int, raw: bytes | None, error: str | None) -> Iterator[Record]:
    if raw is None:
        quarantine.add(source.name, number, error or "empty")
    else:
        yield from decoded(source, quarantine, number, raw)
