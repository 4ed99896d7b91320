"""Parquet from anywhere (FineWeb, RefinedWeb, wikimedia/wikipedia, CulturaX): mapped columns only, streamed.

A record's number is its row in the whole file. A shard may be a range of row groups: Input.start and stop count them.

Memory is bounded by what rows really hold, not by what the file's encoding takes: a dictionary of one text of 10 MB and
a million references to it are a small file. So strings are read as dictionaries and decoded a few rows at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpuskit.engine.plan import Input
from corpuskit.engine.tables import BATCH_ROWS
from corpuskit.schema import DOCUMENT
from corpuskit.sources.fields import FieldMap, as_string, find, from_labels, rest, to_json
from corpuskit.sources.record import RECORDS, Quarantine
from corpuskit.sources.streams import open_bytes

ROWS = min(1024, BATCH_ROWS)  # rows decoded at a time: a row group may hold a million
RANGE_BYTES = 256 << 20  # uncompressed bytes a range of row groups aims at
STEP_BYTES = 32 << 20  # bytes of rows decoded at a time, as far as the file's own figures tell
MAX_ROW = 64 << 20  # bytes of strings in one row; a longer one is quarantined, as a longer line of JSON is

# what Arrow raises on a damaged file, and Python on values it cannot hold (a year 10,000, broken UTF-8)
DAMAGE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


def plan_groups(file: Input) -> list[Input]:
    """A file cut into ranges of row groups; a file whose footer cannot be read stays whole, for the quarantine."""
    try:
        with open_bytes(file.path) as handle:
            metadata = pq.read_metadata(handle)
            sizes = [metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups)]
    except DAMAGE:
        return [file]
    cuts, size = [0], 0
    for group, group_size in enumerate(sizes):
        if size and size + group_size > RANGE_BYTES:
            cuts.append(group)
            size = 0
        size += group_size
    cuts.append(len(sizes))
    if len(cuts) == 2:
        return [file]
    return [
        Input(file.path, file.name, file.sha256, file.size, start, stop) for start, stop in itertools.pairwise(cuts)
    ]


def read_parquet(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    """The rows of a file or of a range of its row groups, in columns.

    A row group that is damaged gives the rows before the damage and one quarantine entry.
    """
    fields = from_labels(labels)
    for batch, rows in _rows(source, lambda names: _columns(names, fields), quarantine):
        yield from _read_batch(batch, rows, source, fields, quarantine)


def is_documents(schema: pa.Schema) -> bool:
    """Whether a file has all columns of a document, in their types: then its rows are documents as they stand."""
    return all(field.name in schema.names and schema.field(field.name).type == field.type for field in DOCUMENT)


def read_own(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[pa.RecordBatch]:
    """The documents of a file that has them already, with the ids they have."""
    for batch, rows in _rows(source, lambda names: DOCUMENT.names, quarantine):
        documents = batch.select(DOCUMENT.names).cast(DOCUMENT)
        if not _utf8(documents) or documents.column("id").null_count or documents.column("text").null_count:
            good = [_is_document(documents.slice(at, 1)) for at in range(len(rows))]
            for row in rows[~np.array(good)]:
                quarantine.add(source.name, int(row), "a document without id or text, or not UTF-8")
            documents = documents.filter(pa.array(good))
        yield documents


def _is_document(row: pa.RecordBatch) -> bool:
    return _utf8(row) and row.column("id").null_count == row.column("text").null_count == 0


def _rows(
    source: Input, select: Callable[[list[str]], list[str] | None], quarantine: Quarantine
) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """The rows of a file or range with their numbers, a few at a time; `select` names the columns, None for all."""
    with open_bytes(source.path) as handle:
        try:
            schema = pq.read_schema(handle)
            strings = [column.name for column in schema if _is_string(column.type)]
            file = pq.ParquetFile(handle, buffer_size=1 << 20, pre_buffer=False, read_dictionary=strings)
            columns = select(schema.names)
            groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
        except DAMAGE as error:
            quarantine.add(source.name, 0, f"not a Parquet file: {_line(error)}")
            return
        counts = [group.num_rows for group in groups]
        stop = len(counts) if source.stop is None else source.stop
        for group in range(source.start or 0, stop):
            number = sum(counts[:group])
            fit = STEP_BYTES * counts[group] // max(1, groups[group].total_byte_size)
            try:
                batches = file.iter_batches(
                    min(ROWS, max(1, fit)), row_groups=[group], columns=columns, use_threads=False
                )
                for batch in batches:
                    yield from _parts(batch, number, source, quarantine)
                    number += batch.num_rows
            except DAMAGE as error:
                last = sum(counts[: group + 1]) - 1
                quarantine.add(source.name, number, f"rows {number} to {last} cannot be read: {_line(error)}")


def _is_string(kind: pa.DataType) -> bool:
    strings = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    others = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view, pa.types.is_dictionary)
    return any(test(kind) for test in (*strings, *others))


def _parts(
    batch: pa.RecordBatch, number: int, source: Input, quarantine: Quarantine
) -> Iterator[tuple[pa.RecordBatch, npt.NDArray[np.int64]]]:
    """The rows of a batch with their numbers, a few at a time, dictionaries decoded; overlong rows go to quarantine."""
    sizes = np.zeros(batch.num_rows, np.int64)  # of the strings, decoded
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            lengths = pc.binary_length(column.dictionary).take(column.indices)
            sizes += lengths.fill_null(0).to_numpy(zero_copy_only=False)
    begin = size = 0
    for row, taken in enumerate([*sizes.tolist(), 0]):
        over = row == batch.num_rows or taken > MAX_ROW
        if row > begin and (over or size + taken > STEP_BYTES):
            yield _decoded(batch.slice(begin, row - begin)), number + np.arange(begin, row)
            begin, size = row, 0
        if taken > MAX_ROW:
            quarantine.add(source.name, number + row, f"a row of {taken:,} bytes is longer than {MAX_ROW:,}")
            begin, size = row + 1, 0
        else:
            size += taken


def _decoded(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _columns(names: Sequence[str], fields: FieldMap) -> list[str] | None:
    """The columns to read; None for all."""
    if fields.keep is None:
        return None
    paths = (*fields.taken, *fields.keep)
    return [name for name in names if any(name == path or path.startswith(f"{name}.") for path in paths)]


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _read_batch(
    batch: pa.RecordBatch, rows: npt.NDArray[np.int64], source: Input, fields: FieldMap, quarantine: Quarantine
) -> Iterator[pa.RecordBatch]:
    text = _strings(batch, fields.text)
    if text is None or not _utf8(text):
        text = _row_by_row(batch, rows, source, fields, quarantine)
    elif text.null_count:
        for row in rows[pc.is_null(text).to_numpy(zero_copy_only=False)]:
            quarantine.add(source.name, int(row), f"no text in the column '{fields.text}'")
    others = batch.select([n for n in batch.schema.names if n != fields.text])
    keep = pc.is_valid(text)
    rows, text, others = rows[keep.to_numpy(zero_copy_only=False)], text.filter(keep), others.filter(keep)
    made: list[tuple[int, str | None, str | None, str | None]] = []
    for at, record in _records(others, rows, source, quarantine):
        url, timestamp = as_string(find(record, fields.url)), as_string(find(record, fields.timestamp))
        try:
            made.append((at, url, timestamp, to_json({k: v for k, v in rest(record, fields).items() if v is not None})))
        except ValueError as error:
            quarantine.add(source.name, int(rows[at]), str(error))
    if made:
        at_, urls, times, others_ = zip(*made, strict=True)
        taken = np.array(at_)
        strings = [pa.array(values, pa.string()) for values in (urls, times, others_)]
        whole = text if len(taken) == len(text) else text.take(pa.array(taken))
        yield pa.RecordBatch.from_arrays([pa.array(rows[taken]), whole, *strings], schema=RECORDS)


def _strings(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    """A column of strings as Arrow has it, or None where it is nested or something else."""
    if name not in batch.schema.names:
        return None
    column = batch.column(name)
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return None


def _utf8(values: pa.Array | pa.RecordBatch) -> bool:
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _row_by_row(batch: pa.RecordBatch, rows: Any, source: Input, fields: FieldMap, quarantine: Quarantine) -> pa.Array:
    """The texts of a batch in which some are nested, no strings, or no UTF-8; null for what went to quarantine."""
    head = fields.text if fields.text in batch.schema.names else fields.text.split(".")[0]
    if head not in batch.schema.names:
        for row in rows:
            quarantine.add(source.name, int(row), f"no text in the column '{fields.text}'")
        return pa.nulls(batch.num_rows, pa.string())
    texts: list[str | None] = []
    for row, value in zip(rows, batch.column(head), strict=True):
        try:
            found = find({head: value.as_py()}, fields.text)
            texts.append(found.decode() if isinstance(found, bytes) else found if isinstance(found, str) else None)
            error = f"no text in the column '{fields.text}'"
        except DAMAGE as problem:
            texts.append(None)
            error = f"not UTF-8: {_line(problem)}" if isinstance(problem, UnicodeDecodeError) else _line(problem)
        if texts[-1] is None:
            quarantine.add(source.name, int(row), error)
    return pa.array(texts, pa.string())


def _records(
    batch: pa.RecordBatch, rows: Any, source: Input, quarantine: Quarantine
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of the columns beside the text as (row in the batch, values); unreadable ones are quarantined."""
    names = batch.schema.names
    if not names:
        for at in range(len(rows)):
            yield at, {}
        return
    columns = [_to_microseconds(batch.column(name)) for name in names]
    try:
        values = [column.to_pylist() for column in columns]
    except DAMAGE:
        for at in range(len(rows)):
            try:
                yield at, {name: column[at].as_py() for name, column in zip(names, columns, strict=True)}
            except DAMAGE as error:
                quarantine.add(source.name, int(rows[at]), f"a column cannot be read: {_line(error)}")
        return
    for at, row in enumerate(zip(*values, strict=True)):
        yield at, dict(zip(names, row, strict=True))


def _to_microseconds(column: pa.Array) -> pa.Array:
    """Nanoseconds are more than Python's times hold."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return column
