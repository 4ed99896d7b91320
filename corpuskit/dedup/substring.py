"""Exact repeated spans over all documents, cut at sentence ends: RefinedWeb's ExactSubstr without a suffix array.

A *repeat* is a window of `length` characters of the stored text that also stands earlier in the corpus, documents being
ordered by source priority, then id, and places in one document by position. What is cut are the whole sentences inside
of *matches* (matches.py), stretches of repeats that stand verbatim in one earlier place.

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

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from corpuskit.config import KeepRemoved, Substring, data_dir
from corpuskit.dedup.exchange import (
    COUNTED,
    KEYS,
    answers,
    count,
    count_keys,
    files_of,
    first_runs,
    gather,
    key_ranges,
    listed,
    load,
    order_by_key,
    order_by_run,
    save,
)
from corpuskit.dedup.matches import FIRSTS, matched_spans
from corpuskit.dedup.most_repeated import REPORT, best, most_repeated
from corpuskit.dedup.signatures import read_documents
from corpuskit.dedup.spans import MASK, CutWriter, earlier_files, id_numbers, without_empty_lines
from corpuskit.dedup.windows import anchors, candidate_windows, characters
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt, as_inputs
from corpuskit.schema import DOCUMENT
from corpuskit.text.kernel import kernel

RULE = "repeated_span"

WINDOWS = np.dtype(
    [
        *(("key", "<u8"), ("low", "<u8")),  # the window's hash
        *(("priority", "<u4"), ("id_high", "<u8"), ("id_low", "<u8")),  # the order of documents
        *(("window", "<u4"), ("start", "<u4")),  # its number in its batch, and where it stands first in its text
        ("count", "<u4"),  # how often the batch has it
    ]
)
_WINDOW_BYTES = 128  # of `firsts`, for each window of a range: the row, its run, the order, the answer, sorted


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

    files = [Shard(s.name, (*own, repeated), labels(s, own)) for s, own, _ in plain]
    windowed = map_shards(WINDOWS_STAGE, files, out=work / "windows", params=shape, runner=runner)
    tables = listed(work / "windows", windowed, "windows", root)
    ranges = key_ranges(tables, sum(r.counts["windows"] for r in windowed), _WINDOW_BYTES, params.memory)
    found = map_shards(FIRSTS_STAGE, ranges, out=work / "firsts", params={}, runner=runner, large=True)
    firsts = listed(work / "firsts", found, "firsts", root)

    settings = params.model_dump(exclude={"memory"}) | {"removed": removed}
    places = {r.shard: as_inputs(work / "windows", [r], "places", root) for r in windowed}
    files = []
    for shard in documents:
        own, earlier = earlier_files(shard)
        said = {**shard.labels, **labels(shard, own), "batches": str(len(places[shard.name]))}
        files.append(Shard(shard.name, (*own, *places[shard.name], firsts, *earlier), said))
    receipts = map_shards(CUT, files, out=out, params=settings, runner=runner)
    tops = as_inputs(out, sorted(receipts, key=lambda r: r.shard), "top", root)
    shown = {"patterns": file_sha256(data_dir("rules") / "privacy" / "patterns.yaml")}  # what the report masks
    map_shards(REPORT, [Shard("most_repeated", tuple(tops))], out=work / "report", params=shown, runner=runner)
    return receipts


def sign(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The anchors of one documents file, a run a batch."""
    documents = total = 0
    for number, batch in enumerate(read_documents(shard.inputs, ["text"])):
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
    counted = files_of(shard.inputs[files])
    for number, batch in enumerate(read_documents(shard.inputs[:files], ["id", "text"])):
        high, low = id_numbers(batch.column("id"))
        repeated = np.sort(answers(counted, first_run + number, COUNTED)["key"])
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
    order = order_by_key(rows)
    names = ("low", "priority", "id_high", "id_low", "window", "start", "count")
    columns = _firsts(order, runs, np.ascontiguousarray(rows["key"][order]), *(rows[name] for name in names))
    by_run = order_by_run(columns[0])  # by hash within a run
    found = np.empty(len(by_run), FIRSTS)
    for name, column in zip(FIRSTS.names or (), columns, strict=True):
        found[name] = column[by_run]
    save(scratch / "firsts", 0, found)
    return {"in": len(rows), "windows": len(found)}


@kernel
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
    found = files_of(own[files + batches])
    with writer:
        for number, batch in enumerate(read_documents(own[:files], DOCUMENT.names)):
            chars = characters(batch.column("text"))
            lengths = np.diff(chars.offsets)
            places, firsts = load(own[files + number].path), answers(found, run + number, FIRSTS)
            spans = matched_spans(batch, chars, places, firsts, settings.length)
            top = best([*top, *most_repeated(batch, spans, settings.length // 2)])
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


ANCHORS = Stage("dedup_anchors", 1, sign)
REPEATED = Stage("dedup_repeated", 1, count)
WINDOWS_STAGE = Stage("dedup_windows", 1, find_candidates)
FIRSTS_STAGE = Stage("dedup_firsts", 1, find_firsts)
CUT = Stage("dedup_cut", 2, cut)
