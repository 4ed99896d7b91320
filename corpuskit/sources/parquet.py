"""Parquet from anywhere (FineWeb, RefinedWeb, wikimedia/wikipedia, CulturaX): mapped columns only, streamed.

A record's number is its row in the whole file. A shard may be a range of row groups: Input.start and stop count them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpuskit.engine.plan import Input
from corpuskit.engine.tables import BATCH_ROWS
from corpuskit.sources.fields import FieldMap, as_string, find, from_labels, rest, to_json
from corpuskit.sources.record import RECORDS, Quarantine
from corpuskit.sources.streams import open_bytes

ROWS = min(1024, BATCH_ROWS)  # rows decoded at a time: a row group may hold a million
RANGE_BYTES = 256 << 20  # uncompressed bytes a range of row groups aims at

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
    with open_bytes(source.path) as handle:
        try:
            file = pq.ParquetFile(handle, buffer_size=1 << 20, pre_buffer=False)
            columns = _columns(file.schema_arrow.names, fields)
            counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        except DAMAGE as error:
            quarantine.add(source.name, 0, f"not a Parquet file: {_line(error)}")
            return
        stop = len(counts) if source.stop is None else source.stop
        for group in range(source.start or 0, stop):
            number = sum(counts[:group])
            try:
                batches = file.iter_batches(ROWS, row_groups=[group], columns=columns, use_threads=False)
                for batch in batches:
                    yield from _read_batch(batch, number, source, fields, quarantine)
                    number += batch.num_rows
            except DAMAGE as error:
                last = sum(counts[: group + 1]) - 1
                quarantine.add(source.name, number, f"rows {number} to {last} cannot be read: {_line(error)}")


def _columns(names: Sequence[str], fields: FieldMap) -> list[str] | None:
    """The columns to read; None for all."""
    if fields.keep is None:
        return None
    paths = (*fields.taken, *fields.keep)
    return [name for name in names if any(name == path or path.startswith(f"{name}.") for path in paths)]


def _line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _read_batch(
    batch: pa.RecordBatch, number: int, source: Input, fields: FieldMap, quarantine: Quarantine
) -> Iterator[pa.RecordBatch]:
    text = _strings(batch, fields.text)
    rows = np.arange(number, number + batch.num_rows)
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
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        return column
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else None


def _utf8(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
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
