"""Matches: stretches of a text that stand verbatim in one earlier place, from its windows and where these stand first.

Windows that follow one another, and whose first occurrences do as well, are one match. It gives the span between its
first and its last boundary (spans.py), if there is a sentence between them. Spans side by side that stand first in
their own text are one: a text that says the same a million times has no million spans.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from corpuskit.dedup.exchange import Table
from corpuskit.dedup.spans import Spans, boundary_table, id_numbers, mark_boundaries
from corpuskit.dedup.windows import Characters, spread
from corpuskit.text.buffers import longest_row
from corpuskit.text.kernel import kernel

FIRSTS = np.dtype(
    [
        *(("run", "<u4"), ("window", "<u4")),
        *(("first_high", "<u8"), ("first_low", "<u8"), ("first_start", "<u4")),  # where the corpus has it first
        ("count", "<u4"),  # how often the corpus has it
    ]
)


def matched_spans(batch: pa.RecordBatch, chars: Characters, places: Table, firsts: Table, length: int) -> Spans:
    """The spans of one batch, from the places of its windows and from where these stand first."""
    if len(firsts) == 0:
        none, no_id = np.empty(0, np.int64), np.empty(0, np.uint64)
        return Spans(none, none, none, none, no_id, no_id, none)
    columns = {name: np.ascontiguousarray(firsts[name]) for name in FIRSTS.names or ()}
    numbers = np.full(int(places["window"].max(initial=0)) + int(places["length"].max(initial=0)) + 1, -1, np.int32)
    numbers[columns["window"]] = np.arange(len(firsts))
    row, start, end, count, window, first_start = _matches(
        chars.codes,
        chars.offsets,
        length,
        spread(places, len(chars.codes), numbers),
        *id_numbers(batch.column("id")),
        columns["first_high"],
        columns["first_low"],
        columns["first_start"].astype(np.int64),
        columns["count"].astype(np.int64),
        boundary_table(),
    )
    return Spans(row, start, end, count, columns["first_high"][window], columns["first_low"][window], first_start)


@kernel(inline="always")
def _is_first(window, at, high, low, first_high, first_low, first_start):  # type: ignore[no-untyped-def]
    """Whether a window that starts at a character of the document `high, low` is the first of its kind."""
    return first_high[window] == high and first_low[window] == low and first_start[window] == at


@kernel
def _nearest(boundary, size, before, after):  # type: ignore[no-untyped-def]
    """For each place the nearest boundary at it or before, -1 where there is none, and at it or after."""
    near = -1
    for i in range(size + 1):
        if boundary[i]:
            near = i
        before[i] = near
    near = size
    for i in range(size, -1, -1):
        if boundary[i]:
            near = i
        after[i] = near


@kernel
def _matches(codes, offsets, length, windows, id_high, id_low, first_high, first_low, first_start, counts, table):  # type: ignore[no-untyped-def]
    longest = longest_row(offsets)
    boundary = np.empty(longest + 1, np.bool_)
    after, before = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    room = 1024
    out = np.empty((6, room), np.int64)  # row, start, end, count, window, start of the first occurrence
    o = 0
    for row in range(len(offsets) - 1):
        base, size = offsets[row], offsets[row + 1] - offsets[row]
        high, low = id_high[row], id_low[row]
        n = size - length + 1
        known = False  # whether this row's boundaries are
        written = 0  # the end of the row's last span
        own = False  # whether that one stands first in this very text
        at = 0
        while at < n:
            window = windows[base + at]
            if window < 0 or _is_first(window, at, high, low, first_high, first_low, first_start):
                at += 1
                continue
            # one match: windows whose first occurrences follow one another in one document
            begin, count = at, counts[window]
            while at + 1 < n:
                following = windows[base + at + 1]
                if (
                    following < 0
                    or first_high[following] != first_high[window]
                    or first_low[following] != first_low[window]
                    or first_start[following] - (at + 1) != first_start[window] - begin
                    or _is_first(following, at + 1, high, low, first_high, first_low, first_start)
                ):
                    break
                at += 1
                count = min(count, counts[following])
            if not known:
                known = True
                mark_boundaries(codes, base, base + size, table, boundary)
                _nearest(boundary, size, before, after)
            start, end = max(after[begin], written), before[at + length]
            itself = first_high[window] == high and first_low[window] == low
            if end > start and itself and start > 0 and start == written and own:
                out[2, o - 1], out[3, o - 1], written = end, min(out[3, o - 1], count), end
            elif end > start:
                own = itself
                if o == room:
                    room *= 2
                    larger = np.empty((6, room), np.int64)
                    larger[:, :o] = out
                    out = larger
                out[0, o], out[1, o], out[2, o] = row, start, end
                out[3, o], out[4, o], out[5, o] = count, window, first_start[window] + start - begin
                o += 1
                written = end
            at += 1
    found = out[:, :o].copy()
    return found[0], found[1], found[2], found[3], found[4], found[5]
