"""Exact repeated spans over all documents, cut at sentence ends: RefinedWeb's ExactSubstr without a suffix array.

A *repeat* is a window of `length` characters of the stored text that also stands earlier in the corpus, documents being
ordered by source priority, then id, and places in one document by position. Windows that follow one another, and whose
first occurrences do as well, are one *match*: a stretch that stands verbatim in one earlier place. A match gives the
span between its first and its last boundary (spans.py), if there is a sentence between them. Spans side by side that
stand first in their own text are one: a text that says the same a million times has no million spans.

The first occurrence stays, and no sentence is lost: whatever is cut from a text stands in another one, or earlier in
the same, and what is cut there as well stands earlier still. What can remain of a repeat is the broken sentence at
either end of a match; no whole sentence inside one does.

Windows are found by fingerprints, in five passes of bounded memory, so that no partition of the corpus has borders a
repeat could hide behind (windows.py has the hashes, exchange.py the files in between):

    anchors   each file: the anchors of its windows                      -> anchors/keys
    repeated  each range of anchors: which occur twice                   -> repeated/counted
    windows   each file: all windows that such an anchor leads to        -> windows/windows
    firsts    each range of windows: those that occur twice, their first -> firsts/firsts
    cut       each file: matches, spans, and the texts without them      -> kept, removed, spans, top

A suffix array with LCP (tests/dedup has one as the oracle) finds the same repeats, at 8 bytes and more of memory for
each byte of a partition, and none across partitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from numba import njit

from corpuskit.config import KeepRemoved, Substring
from corpuskit.dedup.exchange import (
    KEYS,
    Table,
    answers,
    count,
    count_keys,
    first_runs,
    gather,
    key_ranges,
    load,
    order_by_run,
    save,
)
from corpuskit.dedup.spans import (
    MASK,
    CutWriter,
    Spans,
    boundary_table,
    earlier_files,
    id_column,
    id_numbers,
    mark_boundaries,
    without_empty_lines,
)
from corpuskit.dedup.windows import Characters, anchors, candidate_windows, characters, spread
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt, as_inputs
from corpuskit.engine.tables import read_selected
from corpuskit.privacy.detect import find, mask
from corpuskit.schema import DOCUMENT

RULE = "repeated_span"

WINDOWS = np.dtype(
    [
        *(("key", "<u8"), ("low", "<u8")),  # the window's hash
        *(("priority", "<u4"), ("id_high", "<u8"), ("id_low", "<u8")),  # the order of documents
        *(("window", "<u4"), ("start", "<u4")),  # its number in its batch, and where it stands first in its text
        ("count", "<u4"),  # how often the batch has it
    ]
)
FIRSTS = np.dtype(
    [
        *(("run", "<u4"), ("window", "<u4")),
        *(("first_high", "<u8"), ("first_low", "<u8"), ("first_start", "<u4")),  # where the corpus has it first
        ("count", "<u4"),  # how often the corpus has it
    ]
)

_WINDOW_BYTES = 128  # of `firsts`, for each window of a range: the row, its run, the order, the answer, sorted
_TOP = 100  # spans in the report, of at least half the length, chosen among so many of every file:
_TOP_OF_FILE = 1000
_EXCERPT = 200  # characters shown of each, and so many more are looked at for an address that is cut off there
_MARGIN = 320  # an e-mail address has 254 at most (RFC 5321)


def cut_repeats(
    documents: Sequence[Shard],
    *,
    work: Path,
    out: Path,
    root: Path,
    params: Substring,
    runner: Runner,
    removed: KeepRemoved = "all",
) -> list[Receipt]:
    """Cut, mask or drop what repeats over all documents; returns the receipts of `cut`, one for each shard, in order.

    Args:
        documents: shards as `dedup` takes them; its last inputs may be what earlier steps removed
            and cut, see spans.with_earlier.
        work: gets the folders of the passes, and `report/most_repeated.jsonl`.
        out: gets `kept/`, `removed/`, `spans/`, `top/` and `receipts/`.
        root: the workspace; recorded names are relative to it.
        params: length, mode, and so on.
        runner: how and where shards run.
        removed: what `removed/` gets of the documents that go.

    Raises:
        ShardsFailed: a stage failed for good.
    """
    # in order of name: working files must not show in which order the documents were given
    by_name = sorted(documents, key=lambda s: s.name)
    plain = [(s, *earlier_files(s)) for s in by_name]
    shape = {"length": params.length}

    files = [Shard(s.name, own) for s, own, _ in plain]
    signed = map_shards(ANCHORS, files, out=work / "anchors", params=shape, runner=runner)
    repeated = count_keys(
        REPEATED,
        signed,
        out=work / "repeated",
        at=work / "anchors",
        root=root,
        least=2,
        memory=params.memory,
        runner=runner,
    )
    runs = dict(zip((s.name for s, _, _ in plain), first_runs(signed, "keys"), strict=True))

    def labels(shard: Shard, own: Sequence[Input]) -> dict[str, str]:
        return {"priority": shard.labels["priority"], "run": str(runs[shard.name]), "files": str(len(own))}

    files = [Shard(s.name, (*own, *repeated), labels(s, own)) for s, own, _ in plain]
    windowed = map_shards(WINDOWS_STAGE, files, out=work / "windows", params=shape, runner=runner)
    tables = as_inputs(work / "windows", windowed, "windows", root)
    ranges = key_ranges(tables, sum(r.counts["windows"] for r in windowed), _WINDOW_BYTES, params.memory)
    found = map_shards(FIRSTS_STAGE, ranges if tables else [], out=work / "firsts", params={}, runner=runner)
    firsts = as_inputs(work / "firsts", found, "firsts", root)

    settings = params.model_dump(exclude={"memory"}) | {"removed": removed}
    places = {r.shard: as_inputs(work / "windows", [r], "places", root) for r in windowed}
    files = []
    for shard in documents:
        own, earlier = earlier_files(shard)
        said = {**shard.labels, **labels(shard, own), "batches": str(len(places[shard.name]))}
        files.append(Shard(shard.name, (*own, *places[shard.name], *firsts, *earlier), said))
    receipts = map_shards(CUT, files, out=out, params=settings, runner=runner)
    tops = as_inputs(out, sorted(receipts, key=lambda r: r.shard), "top", root)
    map_shards(REPORT, [Shard("most_repeated", tuple(tops))], out=work / "report", params={}, runner=runner)
    return receipts


def _batches(inputs: Sequence[Input], columns: list[str]) -> Iterator[pa.RecordBatch]:
    chosen = inputs[1].path if len(inputs) > 1 else None
    return (batch for _, batch in read_selected(inputs[0].path, chosen, columns))


def sign(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The anchors of one documents file, a run a batch."""
    documents = total = 0
    for number, batch in enumerate(_batches(shard.inputs, ["text"])):
        keys, counts = anchors(characters(batch.column("text")), params["length"])
        rows = np.empty(len(keys), KEYS)
        rows["key"], rows["count"] = keys, counts
        save(scratch / "keys", number, rows)
        documents, total = documents + batch.num_rows, total + len(rows)
    return {"in": documents, "keys": total}


def find_candidates(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The windows of one documents file that may occur twice, a run a batch."""
    files, first_run = int(shard.labels["files"]), int(shard.labels["run"])
    documents = total = 0
    for number, batch in enumerate(_batches(shard.inputs[:files], ["id", "text"])):
        high, low = id_numbers(batch.column("id"))
        repeated = np.sort(answers(shard.inputs[files:], first_run + number)["key"])
        order = np.lexsort((low, high))
        found, places = candidate_windows(characters(batch.column("text")), params["length"], repeated, order)
        rows = np.empty(len(found.high), WINDOWS)
        rows["key"], rows["low"], rows["priority"] = found.high, found.low, int(shard.labels["priority"])
        rows["id_high"], rows["id_low"] = high[found.row], low[found.row]
        rows["window"], rows["start"], rows["count"] = np.arange(len(rows)), found.start, found.times
        save(scratch / "windows", number, rows[np.argsort(found.high)])
        save(scratch / "places", number, places)
        documents, total = documents + batch.num_rows, total + len(rows)
    return {"in": documents, "windows": total}


def find_firsts(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """For the windows of one range that occur twice or more, to every run that has them: where each stands first."""
    rows, runs = gather(shard)
    order = np.argsort(rows["key"])
    names = ("low", "priority", "id_high", "id_low", "window", "start", "count")
    columns = _firsts(order, runs, np.ascontiguousarray(rows["key"][order]), *(rows[name] for name in names))
    by_run = order_by_run(columns[0])  # by hash within a run
    found = np.empty(len(by_run), FIRSTS)
    for name, column in zip(FIRSTS.names or (), columns, strict=True):
        found[name] = column[by_run]
    save(scratch / "firsts", 0, found)
    return {"in": len(rows), "windows": len(found)}


@njit(cache=True, nogil=True)
def _firsts(order, runs, key, low, priority, id_high, id_low, window, start, count):  # type: ignore[no-untyped-def]
    n = len(order)
    # the worst case; pages that are never written to cost nothing
    out_run, out_window, out_start = np.empty(n, np.uint32), np.empty(n, np.uint32), np.empty(n, np.uint32)
    out_high, out_low, out_count = np.empty(n, np.uint64), np.empty(n, np.uint64), np.empty(n, np.uint32)
    o = i = 0
    while i < n:
        end = i + 1
        while end < n and key[end] == key[i]:
            # 64 bits agree: hardly ever do the others not, so this sorts by them without cost
            k = end
            while k > i and low[order[k - 1]] > low[order[k]]:
                order[k - 1], order[k] = order[k], order[k - 1]
                k -= 1
            end += 1
        while i < end:
            lead, stop, occurrences = order[i], i, np.int64(0)
            while stop < end and low[order[stop]] == low[order[i]]:
                a = order[stop]
                occurrences += np.int64(count[a])
                if (priority[a], id_high[a], id_low[a]) < (priority[lead], id_high[lead], id_low[lead]):
                    lead = a
                stop += 1
            for k in range(i, stop):
                a = order[k]
                # the first itself needs no answer, unless its batch has the window again
                if occurrences > 1 and (a != lead or count[a] > 1):
                    out_run[o], out_window[o], out_start[o] = runs[a], window[a], start[lead]
                    out_high[o], out_low[o] = id_high[lead], id_low[lead]
                    out_count[o] = min(occurrences, np.int64(0xFFFFFFFF))
                    o += 1
            i = stop
    return out_run[:o], out_window[:o], out_high[:o], out_low[:o], out_start[:o], out_count[:o]


def cut(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """One documents file without its repeats; what was cut, and the spans of it that the corpus has most often."""
    settings = Substring(**{name: params[name] for name in params.keys() - {"removed"}})
    own, earlier = earlier_files(shard)
    files, batches, run = (int(shard.labels[name]) for name in ("files", "batches", "run"))
    by = MASK if settings.mode == "mask" else ""
    top: list[dict[str, Any]] = []
    writer = CutWriter(
        scratch,
        shard.labels["source"],
        RULE,
        by=by,
        min_chars=settings.min_chars,
        cut=settings.mode != "drop",
        earlier=earlier,
        removed=params["removed"],
    )
    with writer:
        for number, batch in enumerate(_batches(own[:files], DOCUMENT.names)):
            chars = characters(batch.column("text"))
            lengths = np.diff(chars.offsets)
            places, firsts = load(own[files + number]), answers(own[files + batches :], run + number)
            spans = _spans(batch, chars, places, firsts, settings.length)
            top = _best([*top, *_top(batch, spans, settings.length // 2)])
            if settings.mode == "drop":
                covered = np.bincount(spans.row, weights=spans.end - spans.start, minlength=len(lengths))
                share = covered / np.maximum(lengths, 1)
                writer.write(batch, lengths, spans, {RULE: (share > settings.drop_share, share)})
                continue
            if settings.mode == "cut":
                spans = without_empty_lines(chars.codes, chars.offsets, spans)
            writer.write(batch, lengths, spans)
    (scratch / "top.jsonl").write_bytes(b"".join(orjson.dumps(t, option=orjson.OPT_APPEND_NEWLINE) for t in top))
    return writer.counts


def _spans(batch: pa.RecordBatch, chars: Characters, places: Table, firsts: Table, length: int) -> Spans:
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


@njit(cache=True, nogil=True)
def _matches(codes, offsets, length, windows, id_high, id_low, first_high, first_low, first_start, counts, table):  # type: ignore[no-untyped-def]
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    boundary = np.empty(longest + 1, np.bool_)
    after, before = np.empty(longest + 1, np.int64), np.empty(longest + 1, np.int64)
    room = 1024
    out = np.empty((6, room), np.int64)  # row, start, end, count, window, start of the first occurrence
    o = 0
    for row in range(len(offsets) - 1):
        base, size = offsets[row], offsets[row + 1] - offsets[row]
        n = size - length + 1
        known = False  # whether this row's boundaries are
        written = 0  # the end of the row's last span
        own = False  # whether that one stands first in this very text
        at = 0
        while at < n:
            window = windows[base + at]
            if window < 0 or (
                first_high[window] == id_high[row] and first_low[window] == id_low[row] and first_start[window] == at
            ):
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
                    or (
                        first_high[following] == id_high[row]
                        and first_low[following] == id_low[row]
                        and first_start[following] == at + 1
                    )
                ):
                    break
                at += 1
                count = min(count, counts[following])
            if not known:
                known = True
                mark_boundaries(codes, base, base + size, table, boundary)
                near = 0
                for i in range(size + 1):
                    if boundary[i]:
                        near = i
                    before[i] = near if boundary[0] or near else -1
                near = size
                for i in range(size, -1, -1):
                    if boundary[i]:
                        near = i
                    after[i] = near
            start, end = max(after[begin], written), before[at + length]
            itself = first_high[window] == id_high[row] and first_low[window] == id_low[row]
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


def _top(batch: pa.RecordBatch, spans: Spans, least: int) -> list[dict[str, Any]]:
    """The spans of a batch of at least so many characters that the corpus has most often, with what they say."""
    length = spans.end - spans.start
    long = np.flatnonzero(length >= least)
    places = np.stack([-spans.copies, -length, spans.first_start])[:, long]
    keys = (places[2], spans.first_low[long], spans.first_high[long], places[1], places[0])
    order = long[np.lexsort(keys)]
    same = np.zeros(len(order), np.bool_)  # the same span in several texts counts once
    for values in (spans.copies, length, spans.first_high, spans.first_low, spans.first_start):
        same |= np.append(True, values[order[1:]] != values[order[:-1]])[: len(order)]
    best = order[same][:_TOP_OF_FILE]
    ids = id_column(spans.first_high[best], spans.first_low[best]).to_pylist()
    texts = batch.column("text")
    found = []
    for k, first in zip(best, ids, strict=True):
        said = texts[int(spans.row[k])].as_py()[spans.start[k] : min(spans.end[k], spans.start[k] + _EXCERPT + _MARGIN)]
        place = {"first_id": first, "first_start": int(spans.first_start[k])}
        found.append({"count": int(spans.copies[k]), "characters": int(length[k]), **place, "text": said})
    return found


def _best(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The spans that the corpus has most often, each once. What is among them depends on no cut into files."""
    places = {(-t["count"], -t["characters"], t["first_id"], t["first_start"]): t for t in found}
    return [places[place] for place in sorted(places)[:_TOP_OF_FILE]]


def report(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The most repeated spans of all files, personal information masked: `most_repeated.jsonl`."""
    found: list[dict[str, Any]] = []
    for top in shard.inputs:  # one after the other: there may be many
        found = _best([*found, *map(orjson.loads, Path(top.path).read_bytes().splitlines())])
    taken: dict[str, list[tuple[int, int]]] = {}
    best: list[dict[str, Any]] = []
    for span in found:
        start, end = span["first_start"], span["first_start"] + span["characters"]
        others = taken.setdefault(span["first_id"], [])
        if not any(start < b and a < end for a, b in others):  # of those that overlap only the best
            others.append((start, end))
            best.append(span)
    best = best[:_TOP]
    with open(scratch / "_.jsonl", "wb") as file:
        for span in best:
            shown = _shown(span["text"])
            file.write(orjson.dumps({**span, "text": shown}, option=orjson.OPT_APPEND_NEWLINE))
    return {"spans": len(best)}


def _shown(text: str) -> str:
    """The first characters of a span, masked. What is personal at their end is found as a whole and masked as one."""
    column = pa.array([text], pa.string())
    findings = [f for f in find(column, ("email", "phone_jp")) if f.start < _EXCERPT]
    end = max([_EXCERPT, *(f.end for f in findings)])
    return str(mask(pa.array([text[:end]], pa.string()), findings)[0].as_py())


ANCHORS = Stage("dedup_anchors", 1, sign)
REPEATED = Stage("dedup_repeated", 1, count)
WINDOWS_STAGE = Stage("dedup_windows", 1, find_candidates)
FIRSTS_STAGE = Stage("dedup_firsts", 1, find_firsts)
CUT = Stage("dedup_cut", 2, cut)
REPORT = Stage("dedup_most_repeated", 2, report)
