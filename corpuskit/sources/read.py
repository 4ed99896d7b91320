"""Documents out of upstream files: `read_documents` gives Arrow batches of DOCUMENT rows, whatever the format.

A reader is a generator of records. What it cannot use it hands to the quarantine with file, position and reason, and
goes on. The readers: jsonl (mC4, C4, any JSON lines), cc100, wikipedia, parquet, text, and parts (see split.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from corpuskit.config import UserError
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import BATCH_BYTES, BATCH_ROWS, TableWriter, read_batches
from corpuskit.schema import DOCUMENT, add_sizes, document_id
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, open_bytes, read_chunks, split_lines
from corpuskit.sources.wikipedia import read_pages

MAX_TEXT = 64 << 20  # a document longer than this is quarantined


def read_documents(shard: Shard, quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    """The documents of a shard's first input, in batches of at most BATCH_ROWS rows or about BATCH_BYTES of text.

    The shard's labels say how to read it: `reader`, `source`, `lang`, and for foreign files `text_field`, `url_field`.
    """
    source, labels = shard.inputs[0], shard.labels
    if labels["reader"] == "documents":
        yield from read_batches(source.path, DOCUMENT.names)
        return
    records = READERS[labels["reader"]](source, labels, quarantine)
    yield from _to_batches(records, labels.get("file") or source.name, labels["source"], labels["lang"])


def _to_batches(records: Iterator[Record], file: str, source: str, lang: str) -> Iterator[pa.RecordBatch]:
    waiting: list[Record] = []
    size = 0
    for record in records:
        waiting.append(record)
        size += 3 * len(record.text)  # at most; exact sizes would cost an encoding
        if len(waiting) == BATCH_ROWS or size >= BATCH_BYTES:
            yield _batch(waiting, file, source, lang)
            waiting, size = [], 0
    if waiting:
        yield _batch(waiting, file, source, lang)


def _batch(records: list[Record], file: str, source: str, lang: str) -> pa.RecordBatch:
    def meta(record: Record) -> str:
        value: dict[str, Any] = {"file": file, "record": record.number}
        if record.fields:
            value["fields"] = record.fields
        return orjson.dumps(value, default=str).decode()

    columns = [
        [document_id(source, file, r.number) for r in records],
        [r.text for r in records],
        [r.url for r in records],
        [source] * len(records),
        [lang] * len(records),
        [r.timestamp for r in records],
        [meta(r) for r in records],
    ]
    arrays = [pa.array(values, field.type) for values, field in zip(columns, DOCUMENT, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=DOCUMENT)


def _optional_str(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _read_jsonl(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    text_field, url_field = labels.get("text_field", "text"), labels.get("url_field", "url")
    taken = (text_field, url_field, "timestamp")
    number = -1
    try:
        for line in split_lines(read_chunks(source.path)):
            number += 1
            if line is None:
                quarantine.add(source.name, number, "the line is longer than 64 MiB")
                continue
            if not line.strip():
                continue  # an empty line is no record
            try:
                record = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                quarantine.add(source.name, number, f"not JSON: {error}", line)
                continue
            text = record.get(text_field) if isinstance(record, dict) else None
            if not isinstance(text, str):
                quarantine.add(source.name, number, f"no text in the field '{text_field}'", line)
                continue
            fields = {k: v for k, v in record.items() if k not in taken}
            timestamp = _optional_str(record.get("timestamp"))
            yield Record(number, text, _optional_str(record.get(url_field)), timestamp, fields)
    except CutStream as error:
        quarantine.add(source.name, number + 1, str(error))


def split_cc100(path: str) -> Iterator[tuple[bytes | None, str | None]]:
    """The documents of a CC-100 stream as (bytes, error): a paragraph a line, an empty line between documents.

    The last document needs no empty line after it. Exactly one of the two is None.
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


def _read_cc100(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    for number, (raw, error) in enumerate(split_cc100(source.path)):
        yield from _decoded(source, quarantine, number, raw, error)


def _read_parts(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    for batch in read_batches(source.path):
        rows = zip(*(batch.column(name).to_pylist() for name in ("record", "text", "error")), strict=True)
        for number, raw, error in rows:
            yield from _decoded(source, quarantine, number, raw, error)


def _decoded(
    source: Input, quarantine: Quarantine, number: int, raw: bytes | None, error: str | None
) -> Iterator[Record]:
    if raw is None:
        quarantine.add(source.name, number, error or "empty")
        return
    try:
        yield Record(number, raw.decode("utf-8"))
    except UnicodeDecodeError as problem:
        quarantine.add(source.name, number, f"not UTF-8: {problem.reason} at byte {problem.start}", raw)


def _read_wikipedia(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    def skip(page: int, error: str, excerpt: bytes) -> None:
        quarantine.add(source.name, page, error, excerpt)

    for page in read_pages(source.path, source.start, source.stop, site=labels["file"], skip=skip):
        yield Record(page.id, page.text, page.url, page.timestamp, {"title": page.title})


def _read_parquet(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    text_field, url_field = labels.get("text_field", "text"), labels.get("url_field", "url")
    number = -1
    for batch in read_batches(source.path):
        for row in batch.to_pylist():
            number += 1
            text = row.pop(text_field, None)
            if not isinstance(text, str):
                quarantine.add(source.name, number, f"no text in the column '{text_field}'")
                continue
            url, timestamp = row.pop(url_field, None), row.pop("timestamp", None)
            yield Record(number, text, _optional_str(url), None if timestamp is None else str(timestamp), row or None)


def _read_text(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    raw = b""
    try:
        for chunk in read_chunks(source.path):
            raw += chunk
            if len(raw) > MAX_TEXT:
                quarantine.add(source.name, 0, "a text file is one document, and this one is longer than 64 MiB", raw)
                return
    except CutStream as error:
        quarantine.add(source.name, 0, str(error), raw)
        return
    yield from _decoded(source, quarantine, 0, raw, None)


READERS: dict[str, Callable[[Input, dict[str, str], Quarantine], Iterator[Record]]] = {
    "jsonl": _read_jsonl,
    "cc100": _read_cc100,
    "parts": _read_parts,
    "wikipedia": _read_wikipedia,
    "parquet": _read_parquet,
    "text": _read_text,
}

_READER_OF_SUFFIX = {"jsonl": "jsonl", "json": "jsonl", "parquet": "parquet", "txt": "text", "text": "text"}


def local_reader(path: str, text_field: str) -> str:
    """The reader for a foreign file, by its name, after a look at its first record.

    Raises:
        UserError: unknown extension, or the first record has no such text field.
    """
    parts = path.lower().rsplit("/", 1)[-1].split(".")
    suffix = parts[-2] if parts[-1] in ("gz", "zst", "xz", "bz2") and len(parts) > 2 else parts[-1]
    reader = _READER_OF_SUFFIX.get(suffix)
    if reader is None:
        known = ", ".join(f".{s}" for s in _READER_OF_SUFFIX)
        raise UserError(
            f"--input {path}: unknown kind of file (known: {known}, and .jsonl and .txt with .gz .zst .xz .bz2)"
        )
    if reader == "parquet":
        try:
            with open_bytes(path) as file:
                names = pq.read_schema(file).names
        except (pa.ArrowInvalid, OSError) as error:
            raise UserError(f"--input {path}: not a Parquet file ({error})") from error
        if set(DOCUMENT.names) <= set(names) and text_field == "text":
            return "documents"
        _check_field(path, text_field, names)
    elif reader == "jsonl":
        first = _first_object(path)
        if first is not None:
            _check_field(path, text_field, list(first))
    return reader


def _check_field(path: str, text_field: str, names: list[str]) -> None:
    if text_field not in names:
        raise UserError(
            f"--input {path}: no field '{text_field}'; it has {', '.join(names)}; name the text with --text-field"
        )


def _first_object(path: str) -> dict[str, Any] | None:
    try:
        for number, line in enumerate(split_lines(read_chunks(path))):
            try:
                value = orjson.loads(line or b"")
            except orjson.JSONDecodeError:
                value = None
            if isinstance(value, dict):
                return value
            if number == 100:
                return None
    except CutStream:
        return None
    return None


def read(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Stage function: any file as a documents file, text unchanged; for steps that run alone on foreign files."""
    quarantine = Quarantine(scratch)
    counts: dict[str, Any] = {"source": shard.labels["source"], "chars_in": 0, "bytes_in": 0}
    with TableWriter(scratch / "kept.parquet", DOCUMENT) as kept:
        for batch in read_documents(shard, quarantine):
            kept.write(batch)
            add_sizes(counts, "in", batch.column("text"))
    quarantine.close()
    counts |= {"in": kept.rows + quarantine.count, "kept": kept.rows, "quarantined": quarantine.count}
    return counts


STAGE = Stage("read", 1, read)
