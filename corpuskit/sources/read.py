"""Documents out of upstream files: `read_documents` gives Arrow batches of DOCUMENT rows, whatever the format.

A reader is a generator: of Records, or of RECORDS batches where the format comes in columns. What it cannot use it
hands to the quarantine with file, position and reason, and goes on. A format is a module of its own beside this one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from corpuskit.config import UserError, suggest
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import BATCH_ROWS, TableWriter
from corpuskit.schema import DOCUMENT, add_sizes, document_id
from corpuskit.sources.aozora import read_aozora
from corpuskit.sources.cc100 import read_cc100, read_parts
from corpuskit.sources.cirrus import read_cirrus
from corpuskit.sources.codecs import SUFFIXES
from corpuskit.sources.fields import has, to_json
from corpuskit.sources.jsonl import read_jsonl
from corpuskit.sources.parquet import DAMAGE, is_documents, read_own, read_parquet
from corpuskit.sources.record import RECORDS, Quarantine, Record
from corpuskit.sources.streams import CutStream, open_bytes, read_chunks, split_lines
from corpuskit.sources.table import read_csv, read_header
from corpuskit.sources.text import read_lines, read_text
from corpuskit.sources.warc import read_warc, read_wet
from corpuskit.sources.wikipedia import read_wikipedia

READERS: dict[str, Callable[[Input, dict[str, str], Quarantine], Iterator[Record]]] = {
    "aozora": read_aozora,
    "cc100": read_cc100,
    "cirrus": read_cirrus,
    "csv": read_csv,
    "lines": read_lines,
    "parts": read_parts,  # of a CC-100 stream, see split.py
    "text": read_text,
    "warc": lambda source, labels, quarantine: read_warc(source, labels, quarantine, quarantine.skipped),
    "wet": lambda source, labels, quarantine: read_wet(source, labels, quarantine, quarantine.skipped),
    "wikipedia": read_wikipedia,
}
COLUMN_READERS: dict[str, Callable[[Input, dict[str, str], Quarantine], Iterator[pa.RecordBatch]]] = {
    "jsonl": read_jsonl,
    "parquet": read_parquet,
}

READ_BYTES = 4 << 20  # of columns: code points and signals of a batch stay in the caches; with 16 MB a fifth slower

# the files of rules/ that a reader reads
RULES_OF: dict[str, tuple[str, ...]] = {
    "aozora": ("aozora.yaml", "charsets.yaml"),
    "cirrus": ("wikitext.yaml",),
    "warc": ("charsets.yaml", "web.yaml"),
    "wet": ("web.yaml",),
    "wikipedia": ("wikitext.yaml",),
}


def read_documents(shard: Shard, quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    """The documents of a shard's first input, in batches of at most BATCH_ROWS rows or about READ_BYTES of text.

    The shard's labels say how to read it: `reader`, `source`, `lang`, `file` (the upstream file, where the input is
    made from it) and the field map (fields.py).
    """
    source, labels = shard.inputs[0], shard.labels
    reader = labels["reader"]
    if reader == "documents":
        yield from _gather(read_own(source, labels, quarantine))
        return
    if reader in COLUMN_READERS:
        batches = _gather(COLUMN_READERS[reader](source, labels, quarantine))
    else:
        batches = _columns(READERS[reader](source, labels, quarantine), source, quarantine)
    for batch in batches:
        yield _documents(batch, labels.get("file") or source.name, labels["source"], labels["lang"])


def _gather(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches joined, large ones cut."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= BATCH_ROWS or size >= READ_BYTES:
            yield from _joined(waiting)
            waiting, rows, size = [], 0, 0
    yield from _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    if batches:
        whole = pa.concat_batches(batches) if len(batches) > 1 else batches[0]
        for start in range(0, whole.num_rows, BATCH_ROWS):
            yield whole.slice(start, BATCH_ROWS)


def _columns(records: Iterator[Record], source: Input, quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    """Records in columns."""
    waiting: list[tuple[int, str, str | None, str | None, str | None]] = []
    size = 0
    for number, text, url, timestamp, fields in records:
        try:
            waiting.append((number, text, url, timestamp, to_json(fields)))
        except ValueError as error:
            quarantine.add(source.name, number, str(error), text[:200])
            continue
        size += 3 * len(text)  # at most; exact sizes would cost an encoding
        if len(waiting) == BATCH_ROWS or size >= READ_BYTES:
            yield _batch(waiting)
            waiting, size = [], 0
    if waiting:
        yield _batch(waiting)


def _batch(rows: list[tuple[int, str, str | None, str | None, str | None]]) -> pa.RecordBatch:
    columns = zip(zip(*rows, strict=True), RECORDS, strict=True)
    return pa.RecordBatch.from_arrays([pa.array(values, field.type) for values, field in columns], schema=RECORDS)


def _documents(batch: pa.RecordBatch, file: str, source: str, lang: str) -> pa.RecordBatch:
    """DOCUMENT rows of RECORDS rows: with ids, and `meta` as JSON {"file", "record", "fields"}."""
    numbers, fields = batch.column("record").to_pylist(), batch.column("fields")
    head = f'{{"file":{orjson.dumps(file).decode()},"record":'
    if fields.null_count == len(fields):
        metas = [f"{head}{number}}}" for number in numbers]
    else:
        metas = [
            f"{head}{number}}}" if others is None else f'{head}{number},"fields":{others}}}'
            for number, others in zip(numbers, fields.to_pylist(), strict=True)
        ]
    columns = [
        pa.array([document_id(source, file, number) for number in numbers], pa.string()),
        batch.column("text"),
        batch.column("url"),
        pa.repeat(pa.scalar(source, pa.string()), batch.num_rows),
        pa.repeat(pa.scalar(lang, pa.string()), batch.num_rows),
        batch.column("timestamp"),
        pa.array(metas, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=DOCUMENT)


_READER_OF_SUFFIX = {
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "json": "jsonl",
    "parquet": "parquet",
    "csv": "csv",
    "tsv": "csv",
    "txt": "text",
    "text": "text",
    "xml": "wikipedia",
    "warc": "warc",
    "arc": "warc",
    "wet": "wet",
}


def local_reader(path: str, text_field: str, text_unit: str = "file", reader: str | None = None) -> str:
    """The reader for a foreign file: the one named, or by the file's name; after a look at its first record.

    Args:
        path: local path or URL.
        text_field: where the text is, for formats that have fields.
        text_unit: 'file' or 'line', what one document of a text file is.
        reader: a name of READERS or COLUMN_READERS, for formats that no name tells; None: by the file's name.

    Raises:
        UserError: unknown reader or extension, a reader named for a Parquet file that reads something else, or the
            first record has no such text field.
    """
    if reader is None:
        reader = _by_name(path)
    elif reader not in (known := sorted({*READERS, *COLUMN_READERS} - {"parts"})):
        raise UserError(f"--reader {reader}: there is no such reader{suggest(reader, known)}")
    elif reader != "parquet" and _is_parquet(path):
        raise UserError(f"--input {path}: is a Parquet file, which --reader {reader} cannot read; leave --reader out")
    if reader == "parquet":
        try:
            with open_bytes(path) as file:
                schema = pq.read_schema(file)
        except DAMAGE as error:
            raise UserError(f"--input {path}: not a Parquet file ({error})") from error
        if is_documents(schema) and text_field == "text":
            return "documents"
        _check_field(path, text_field, {n: _nested(schema.field(n).type) for n in schema.names})
    elif reader == "csv":
        try:
            header = read_header(path)
        except (CutStream, ValueError) as error:
            raise UserError(f"--input {path}: not a CSV file ({error})") from error
        _check_field(path, text_field, dict.fromkeys(header, ""))
    elif reader == "jsonl":
        first = _first_object(path)
        if first is not None:
            _check_field(path, text_field, first)
    elif reader == "text" and text_unit == "line":
        return "lines"
    return reader


def _by_name(path: str) -> str:
    name = path.lower().rsplit("/", 1)[-1]
    if "-cirrussearch-" in name:  # jawiki-20261101-cirrussearch-content.json.gz
        return "cirrus"
    parts = name.split(".")
    suffix = parts[-2] if parts[-1] in SUFFIXES and len(parts) > 2 else parts[-1]
    reader = _READER_OF_SUFFIX.get(suffix)
    if reader is None:
        known = ", ".join(f".{s}" for s in _READER_OF_SUFFIX)
        packed = " ".join(f".{s}" for s in SUFFIXES)
        raise UserError(
            f"--input {path}: unknown kind of file (known: {known}, and all but .parquet with {packed}); "
            "name it with --reader"
        )
    return reader


def _is_parquet(path: str) -> bool:
    """Whether a file is Parquet, whatever its name: such files begin and end with the same four bytes."""
    with open_bytes(path) as file:
        head, size = file.read(4), file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4))
        return head == file.read(4) == b"PAR1"


def _nested(kind: pa.DataType) -> Any:
    return {f.name: _nested(f.type) for f in kind} if pa.types.is_struct(kind) else ""


def _check_field(path: str, text_field: str, record: dict[str, Any]) -> None:
    if not has(record, text_field):
        names = ", ".join(
            f"{name}.{inner}"
            for name, value in record.items()
            for inner in (value if isinstance(value, dict) else [""])
        )
        shown = names.replace(".,", ",").removesuffix(".")[:400]
        raise UserError(f"--input {path}: no field '{text_field}'; it has {shown}; name the text with --text-field")


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
    return counts | {"skipped": dict(sorted(quarantine.skipped.items()))}


STAGE = Stage("read", 2, read)
