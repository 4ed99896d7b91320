"""Spans of characters that leave their texts: where a span may begin and end, the cut itself, and what is written.

A span begins and ends at a *boundary*: the start or end of a line, the end of a sentence (with its closing brackets
and the white space behind it), the end of the text. What follows a boundary is never a combining mark, a joiner, a
variation selector or a closing bracket, so that no character is taken apart. Between two neighbouring boundaries stands
a *sentence*; whether a place inside it is a boundary depends on the sentence's own characters alone, so equal sentences
are cut as wholes wherever they stand.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.config import KeepRemoved
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.tables import TableWriter, read_batches
from corpuskit.filters.removed import RemovedWriter
from corpuskit.schema import DOCUMENT, REMOVED, SPAN, add_sizes
from corpuskit.text.buffers import Positions, string_column, utf8_view
from corpuskit.text.kernel import kernel
from corpuskit.text.tables import NUM_CODE_POINTS, assigned

MASK = "<REPEATED>"

_ORDINARY, _END, _STOP, _CLOSER, _BLANK, _LINE, _MARK = range(7)
_ENDS = "。．｡！？‼⁇⁈⁉"  # end a sentence by themselves
_STOPS = ".!?"  # where white space follows: 3.14 and Yahoo!ニュース go on
_CLOSERS = ")]}\"'”’»›）］｝」』】〕〉》〗〙｣｠"
_JOINERS = (0x200C, 0x200D, *range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0), *range(0x1F3FB, 0x1F400), 0xFF9E, 0xFF9F)


class Spans(NamedTuple):
    """Spans of a batch, by row and start, disjoint within a row: characters [start, end) of row's text."""

    row: Positions
    start: Positions
    end: Positions
    copies: Positions  # how often the corpus has it
    first_high: npt.NDArray[np.uint64]  # id of the document that has it first, as two numbers
    first_low: npt.NDArray[np.uint64]
    first_start: Positions  # where it stands there, -1 where that is not said


@functools.cache
def _boundary_table() -> npt.NDArray[np.uint8]:
    table = np.full(NUM_CODE_POINTS, _ORDINARY, np.uint8)
    for code in assigned():
        char = chr(code)
        category = unicodedata.category(char)
        if category[0] == "M":
            table[code] = _MARK
        elif char.isspace() or category == "Zs":
            table[code] = _BLANK
    for chars, kind in ((_ENDS, _END), (_STOPS, _STOP), (_CLOSERS, _CLOSER)):
        table[[ord(c) for c in chars]] = kind
    table[list(_JOINERS)] = _MARK
    table[0x0A] = _LINE
    return table


def boundaries(text: str) -> list[int]:
    """The boundaries of one text, as character positions."""
    codes = np.array([ord(c) for c in text], np.uint32)
    found = np.empty(len(codes) + 1, np.bool_)
    mark_boundaries(codes, 0, len(codes), boundary_table(), found)
    return [int(i) for i in np.flatnonzero(found)]


def boundary_table() -> npt.NDArray[np.uint8]:
    """What each code point means to a boundary; for kernels that call mark_boundaries."""
    return _boundary_table()


@kernel
def mark_boundaries(codes, start, end, table, found):  # type: ignore[no-untyped-def]
    """Set found[i] for each place i of codes[start:end], its end included, that is a boundary."""
    size = end - start
    state = _LINE  # what stands before: a line's start, a sentence's end, a stop, or nothing of the kind
    for i in range(size):
        kind = table[codes[start + i]]
        if kind == _LINE:
            found[i] = i == 0 or codes[start + i - 1] != 0x0D
            state = _LINE
            continue
        found[i] = kind == _ORDINARY and (state == _LINE or state == _END)  # noqa: SIM109 (numba)
        if kind == _END:
            state = _END
        elif kind == _STOP:
            if state != _END:
                state = _STOP
        elif kind == _BLANK:
            if state == _STOP:
                state = _END
        elif kind == _CLOSER:
            if state == _LINE:
                state = _ORDINARY
        else:
            state = _ORDINARY
    found[size] = True


def without_empty_lines(codes: npt.NDArray[np.uint32], offsets: Positions, spans: Spans) -> Spans:
    """The same spans; what would leave an empty line takes the line breaks behind it along (at the end, before it)."""
    start, end = spans.start.copy(), spans.end.copy()
    _take_line_breaks(codes, offsets, spans.row, start, end)
    return spans._replace(start=start, end=end)


@kernel
def _take_line_breaks(codes, offsets, rows, starts, ends):  # type: ignore[no-untyped-def]
    fresh = False  # whether what is left before this span ends with a line break, or is nothing
    for k in range(len(rows)):
        base, size = offsets[rows[k]], offsets[rows[k] + 1] - offsets[rows[k]]
        before = ends[k - 1] if k and rows[k - 1] == rows[k] else 0
        if starts[k] > before:
            fresh = codes[base + starts[k] - 1] == 0x0A
        elif before == 0:
            fresh = True
        after = starts[k + 1] if k + 1 < len(rows) and rows[k + 1] == rows[k] else size
        if fresh:
            while ends[k] < after and codes[base + ends[k]] == 0x0A:
                ends[k] += 1
        if ends[k] == size:
            while starts[k] > before and codes[base + starts[k] - 1] == 0x0A:
                starts[k] -= 1


def replace_spans(texts: pa.Array, spans: Spans, by: str = "") -> pa.Array:
    """The texts without the spans; `by` stands where one span, or several side by side, stood."""
    data, offsets = utf8_view(texts)
    first = np.searchsorted(spans.row, np.arange(len(texts) + 1))
    marker = np.frombuffer(by.encode(), np.uint8)
    return string_column(*_replace(data, offsets, first, spans.start, spans.end, marker))


@kernel
def _replace(data, offsets, first, starts, ends, marker):  # type: ignore[no-untyped-def]
    rows = len(offsets) - 1
    out = np.empty(offsets[rows] - offsets[0] + len(starts) * len(marker), np.uint8)
    out_offsets = np.zeros(rows + 1, np.int32)
    o = 0
    for row in range(rows):
        k, stop = first[row], first[row + 1]
        i, end = offsets[row], offsets[row + 1]
        if k == stop:
            out[o : o + end - i] = data[i:end]
            o += end - i
            out_offsets[row + 1] = o
            continue
        at = -1  # the character byte i belongs to
        inside = False
        while i < end:
            if (data[i] & 0xC0) != 0x80:
                at += 1
                while k < stop and ends[k] <= at:
                    k += 1
                if k < stop and starts[k] <= at:
                    if not inside:
                        out[o : o + len(marker)] = marker
                        o += len(marker)
                    inside = True
                else:
                    inside = False
            if not inside:
                out[o] = data[i]
                o += 1
            i += 1
        out_offsets[row + 1] = o
    return out[:o].copy(), out_offsets


def id_numbers(ids: pa.Array) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Document ids (32 hex digits each) as two 64-bit numbers each, which sort as the ids do.

    Raises:
        ValueError: an id is something else.
    """
    data, offsets = utf8_view(ids)
    try:
        whole = bytes.fromhex(data[offsets[0] : offsets[-1]].tobytes().decode())
        if (np.diff(offsets) != 32).any() or len(whole) != 16 * len(ids):
            raise ValueError("a length other than 32")
    except ValueError as error:
        raise ValueError(f"document ids must be 32 hex digits ({error})") from error
    numbers = np.frombuffer(whole, ">u8").astype(np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(numbers[:, 0]), np.ascontiguousarray(numbers[:, 1])


def id_column(high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> pa.Array:
    """The inverse of id_numbers."""
    digits = np.stack([high, low], 1).astype(">u8").tobytes().hex().encode()
    return string_column(np.frombuffer(digits, np.uint8), np.arange(0, len(digits) + 1, 32, dtype=np.int32))


def with_earlier(shard: Shard, files: Sequence[Input]) -> Shard:
    """A documents shard that also carries what earlier steps removed and cut: REMOVED rows, and SPAN rows if any."""
    return Shard(shard.name, (*shard.inputs, *files), {**shard.labels, "earlier": str(len(files))})


def earlier_files(shard: Shard) -> tuple[tuple[Input, ...], tuple[Input, ...]]:
    """The inputs of a shard without, and then only, those that with_earlier gave it."""
    own = len(shard.inputs) - int(shard.labels.get("earlier", "0"))
    return shard.inputs[:own], shard.inputs[own:]


class CutWriter:
    """Writes what became of one documents file: `kept`, `removed` and `spans`, and counts it.

    Args:
        scratch: folder of the shard.
        source: the file's source.
        rule: goes to `spans`, and to `removed` for a document too little is left of.
        by: what stands in a span's place.
        min_chars: a document with fewer characters left after a cut goes as a whole.
        cut: whether texts lose their spans, or only whole documents go.
        earlier: files with what earlier steps removed and cut, which these files get as well; it is not counted again.
        removed: what `removed` gets of the documents that go.
    """

    def __init__(
        self,
        scratch: Path,
        source: str,
        rule: str,
        *,
        by: str = "",
        min_chars: int,
        cut: bool = True,
        earlier: Sequence[Input] = (),
        removed: KeepRemoved = "all",
    ) -> None:
        self._kept = TableWriter(scratch / "kept.parquet", DOCUMENT)
        self._removed = RemovedWriter(scratch / "removed.parquet", removed)
        self._spans = TableWriter(scratch / "spans.parquet", SPAN)
        self._rule, self._by, self._min_chars, self._cut = rule, by, min_chars, cut
        self._earlier = earlier
        self._own = dict.fromkeys(("documents", "spans", "characters", "bytes"), 0)
        self.counts: dict[str, Any] = {
            "source": source,
            **dict.fromkeys(("in", "kept", "duplicates", "quarantined"), 0),
            "dropped": {},
            "by_rule": {rule: 0},
            "cut": {rule: self._own},
            **dict.fromkeys(("chars_in", "chars_kept", "bytes_in", "bytes_kept"), 0),
        }

    def __enter__(self) -> CutWriter:
        for writer in (self._kept, self._removed, self._spans):
            writer.__enter__()
        for file, writer, schema in zip(self._earlier, (self._removed, self._spans), (REMOVED, SPAN), strict=False):
            for batch in read_batches(file.path, schema.names):
                writer.write(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        return self

    def __exit__(self, *error: Any) -> None:
        for writer in (self._kept, self._removed, self._spans):
            writer.__exit__(*error)

    def write(
        self,
        batch: pa.RecordBatch,
        lengths: Positions,
        spans: Spans,
        going: dict[str, tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]] | None = None,
    ) -> None:
        """One batch of documents.

        Args:
            batch: DOCUMENT rows.
            lengths: characters of each text.
            spans: what was found in them.
            going: rule -> (documents that go by it, the value to record); the first rule named wins.
        """
        texts = batch.column("text")
        covered = np.bincount(spans.row, weights=spans.end - spans.start, minlength=len(texts)).astype(np.int64)
        reasons = dict(going or {})
        if self._cut:
            little = (covered > 0) & (lengths - covered < max(1, self._min_chars))
            reasons[self._rule] = (little, covered / np.maximum(lengths, 1))
        rule, value = np.full(len(texts), "", object), np.zeros(len(texts))
        for name, (goes, values) in reasons.items():
            new = goes & (rule == "")
            rule[new], value[new] = name, values[new]
            self.counts["by_rule"][name] = self.counts["by_rule"].get(name, 0) + int(new.sum())
        leaves = rule != ""
        staying, leaving = (pa.array(mask) for mask in (~leaves, leaves))
        columns = [batch.column(name) for name in DOCUMENT.names]
        gone = pa.RecordBatch.from_arrays(columns, schema=DOCUMENT).filter(leaving)
        why = (pa.array(["dedup"] * gone.num_rows, pa.string()), pa.array(rule[leaves].tolist(), pa.string()))
        self._removed.write(pa.RecordBatch.from_arrays([*gone.columns, *why, pa.array(value[leaves])], schema=REMOVED))
        if self._cut and len(spans.row):
            columns[DOCUMENT.get_field_index("text")] = replace_spans(texts, spans, self._by)
        kept = pa.RecordBatch.from_arrays(columns, schema=DOCUMENT).filter(staying)
        self._kept.write(kept)
        self._write_spans(batch, spans)

        for name, number in (("in", len(texts)), ("kept", kept.num_rows), ("duplicates", gone.num_rows)):
            self.counts[name] += number
        add_sizes(self.counts, "in", texts)
        add_sizes(self.counts, "kept", kept.column("text"))
        if self._cut:
            self._own["documents"] += int((covered[~leaves] > 0).sum())
            self._own["characters"] += int(covered[~leaves].sum())
            self._own["bytes"] += pc.sum(pc.binary_length(texts.filter(staying))).as_py() or 0
            self._own["bytes"] -= pc.sum(pc.binary_length(kept.column("text"))).as_py() or 0
        self._own["spans"] += len(spans.row)

    def _write_spans(self, batch: pa.RecordBatch, spans: Spans) -> None:
        nowhere = pa.array(spans.first_start < 0)
        columns = [
            batch.column("id").take(pa.array(spans.row)),
            pa.array([self._rule] * len(spans.row), pa.string()),
            pa.array(spans.start),
            pa.array(spans.end),
            pa.array(spans.copies),
            _null_where(nowhere, id_column(spans.first_high, spans.first_low)),
            _null_where(nowhere, pa.array(spans.first_start)),
        ]
        self._spans.write(pa.RecordBatch.from_arrays(columns, schema=SPAN))


def _null_where(mask: pa.Array, column: pa.Array) -> pa.Array:
    return pc.if_else(mask, pa.scalar(None, column.type), column)
