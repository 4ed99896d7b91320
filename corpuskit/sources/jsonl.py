"""JSON lines: mC4, C4, OSCAR, SlimPajama, RedPajama, Dolma and any other; see fields.py for what is taken from each.

A record's number is its line number. A plain file of partition.SPLIT_BYTES or more is read in byte ranges, and there
its number is the byte at which the line begins: the same whatever the ranges are.
"""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator

import orjson
import pyarrow as pa

from corpuskit.engine.plan import Input
from corpuskit.sources.fields import FieldMap, as_string, find, from_labels, rest, to_json
from corpuskit.sources.json_kernel import count_lines, string_columns
from corpuskit.sources.record import RECORDS, Quarantine
from corpuskit.sources.streams import CutStream, line_blocks, read_chunks

PLAIN_TRIES = 4  # blocks that are not of the plain kind before the kernel is no longer asked
TOO_LONG = "the line is longer than 64 MiB"


def read_jsonl(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    """The records of a JSON-lines file or byte range, in columns."""
    fields = from_labels(labels)
    tries = PLAIN_TRIES if fields.keep is None else 0
    for number, block in numbered_blocks(source, quarantine):
        if block is None:
            quarantine.add(source.name, number, TOO_LONG)
            continue
        # byte offsets are known line by line only, and a file that has them is not compressed: orjson is fast enough
        plain = string_columns(block, fields.taken) if tries and source.start is None else None
        if plain is None:
            tries -= tries > 0
            yield from _read_block(source, number, block, fields, quarantine)
            continue
        tries = PLAIN_TRIES
        lines, columns = plain
        if len(lines):
            empty = pa.nulls(len(lines), pa.string())
            yield pa.RecordBatch.from_arrays([pa.array(lines + number), *columns, empty], schema=RECORDS)


def _read_block(
    source: Input, number: int, block: bytes, fields: FieldMap, quarantine: Quarantine
) -> Iterator[pa.RecordBatch]:
    """The records of one block of lines, read one by one."""
    rows: list[tuple[int, str, str | None, str | None, str | None]] = []
    for at, line in numbered_lines(source, number, block):
        if not line.strip():
            continue  # an empty line is no record
        try:
            record = orjson.loads(line if at else line.removeprefix(codecs.BOM_UTF8))
        except orjson.JSONDecodeError as error:
            quarantine.add(source.name, at, f"not JSON: {error}", line)
            continue
        text = find(record, fields.text) if isinstance(record, dict) else None
        if not isinstance(text, str):
            quarantine.add(source.name, at, f"no text in the field '{fields.text}'", line)
            continue
        url, timestamp = as_string(find(record, fields.url)), as_string(find(record, fields.timestamp))
        try:
            rows.append((at, text, url, timestamp, to_json(rest(record, fields))))
        except ValueError as error:
            quarantine.add(source.name, at, str(error), line)
    if rows:
        columns = [pa.array(c, field.type) for c, field in zip(zip(*rows, strict=True), RECORDS, strict=True)]
        yield pa.RecordBatch.from_arrays(columns, schema=RECORDS)


def numbered_lines(source: Input, number: int, block: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a block with their numbers, or with their byte offsets where the file is read in ranges."""
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for line in lines:
        yield number, line
        number += 1 if source.start is None else len(line) + 1


def numbered_blocks(source: Input, quarantine: Quarantine) -> Iterator[tuple[int, bytes | None]]:
    """Blocks of whole lines, each with the number of its first line, or that line's byte offset in a range.

    A range [start, stop) owns the lines that begin in it. A stream that is cut ends with one quarantine entry.
    """
    number = 0
    try:
        if source.start is not None:
            yield from _range_blocks(source.path, source.start, source.stop or source.size)
            return
        for _, block in line_blocks(read_chunks(source.path)):
            yield number, block
            number += 1 if block is None else count_lines(block)
    except CutStream as error:
        quarantine.add(source.name, number, str(error))


def _range_blocks(path: str, start: int, stop: int) -> Iterator[tuple[int, bytes | None]]:
    """The lines that begin in a byte range of a plain file, with the offset of each block."""
    base = max(0, start - 1)  # the byte before the range tells whether a line begins at its start
    chunks = read_chunks(path, base)
    if start:
        for chunk in chunks:
            end = chunk.find(b"\n") + 1
            if end:
                base += end
                chunks = itertools.chain((chunk[end:],) if chunk[end:] else (), chunks)
                break
            base += len(chunk)
            if base >= stop:
                return
    for offset, block in line_blocks(chunks):
        room = stop - base - offset
        if room <= 0:
            return
        if block is not None and (end := block.find(b"\n", room - 1) + 1):
            block = block[:end]
        yield base + offset, block
