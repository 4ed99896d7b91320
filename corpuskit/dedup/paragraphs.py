"""Boilerplate: lines that many documents of the corpus have are counted, and cut or held against the documents.

A paragraph is a line, as in CCNet (arXiv 1911.00359, section 3.1) and in the text that extractors of web pages give.
Two lines are the same when their matching shadows are (minhash.py: NFKC, lower case, no white space, punctuation or
symbols) with a 0 for every digit, as in CCNet: 2026年11月2日 is 2025年10月3日 and not 2025年1月3日. The frequency of a
line is the number of documents that have it; a line without letters and digits has none.

Two rules, both uzushio's (WorksApplications/uzushio, lib/filters and scripts/pipeline_03a.conf):

    frequent_paragraphs  LargeFreqParagraphs: `run` frequent lines in a row are cut, or fewer where they begin or end
                         the text; lines without a frequency join in where they stand between two of them
    common_document      DeduplicateDocumentsPercentile: a document stays with probability expected / frequency, the
                         frequency being that of a low percentile of its lines. uzushio draws at random; here the id
                         is the draw, so every run draws alike; of n equal documents about `expected` stay

Three passes of bounded memory:

    lines     each file: the hashes of its lines                    -> lines/keys
    counted   each range of hashes: how many documents have each    -> counted/counted
    cut       each file: the rules, and the texts without the lines -> kept, removed, spans
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.config import KeepRemoved, Paragraphs
from corpuskit.dedup.exchange import COUNTED, KEYS, Table, answers, count, count_keys, files_of, first_runs, save
from corpuskit.dedup.minhash import Keys, matching_column, mix64
from corpuskit.dedup.signatures import read_documents
from corpuskit.dedup.spans import CutWriter, Spans, earlier_files, id_numbers
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt
from corpuskit.schema import DOCUMENT
from corpuskit.text.buffers import Positions, string_column, utf8_view
from corpuskit.text.kernel import kernel

RULE, COMMON = "frequent_paragraphs", "common_document"

_LEAST = 2  # documents a line must be in to have its frequency reported; others have 1


class Lines(NamedTuple):
    """The lines of a column of texts that are not empty."""

    row: Positions  # which text
    start: Positions  # characters [start, end) of it, without the line break
    end: Positions
    key: Keys  # hash of what counts in it, 0 where nothing does


def cut_paragraphs(
    documents: Sequence[Shard],
    *,
    work: Path,
    out: Path,
    root: Path,
    params: Paragraphs,
    runner: Runner,
    removed: KeepRemoved = "all",
) -> list[Receipt]:
    """Cut frequent lines and drop common documents; returns the receipts of `cut`, one for each shard, in order.

    Arguments and errors are those of substring.cut_repeats.
    """
    by_name = sorted(documents, key=lambda s: s.name)
    files = [Shard(s.name, earlier_files(s)[0]) for s in by_name]
    signed = map_shards(LINES, files, out=work / "lines", params={}, runner=runner)
    counted = count_keys(
        COUNT,
        signed,
        out=work / "counted",
        at=work / "lines",
        root=root,
        least=_LEAST,
        memory=params.memory,
        runner=runner,
    )
    runs = dict(zip((s.name for s in by_name), first_runs(signed, "keys"), strict=True))
    files = []
    for shard in documents:
        own, earlier = earlier_files(shard)
        labels = {**shard.labels, "files": str(len(own)), "run": str(runs[shard.name])}
        files.append(Shard(shard.name, (*own, counted, *earlier), labels))
    settings = params.model_dump(exclude={"memory"}) | {"removed": removed}
    return map_shards(CUT, files, out=out, params=settings, runner=runner)


def lines_of(texts: pa.Array) -> Lines:
    """The lines of a string column, and what counts in each, hashed."""
    data, offsets = utf8_view(texts)
    row, start, end, bytes_start, bytes_end = _lines(data, offsets)
    bounds = np.empty(2 * len(row) + 1, np.int32)  # every second row of this column is a line, the others lie between
    bounds[0:-1:2], bounds[1::2], bounds[-1] = bytes_start, bytes_end, bytes_end[-1] if len(row) else 0
    matching = matching_column(string_column(data, bounds))
    return Lines(row, start, end, _line_keys(matching.codes, matching.offsets, len(row)))


@kernel
def _lines(data, offsets):  # type: ignore[no-untyped-def]
    rows, size = len(offsets) - 1, 1
    for i in range(offsets[0], offsets[rows]):
        size += data[i] == 0x0A
    out = np.empty((5, size + rows), np.int64)
    o = 0
    for row in range(rows):
        chars, begin, byte = 0, 0, offsets[row]
        for i in range(offsets[row], offsets[row + 1] + 1):
            last = i == offsets[row + 1]
            if last or data[i] == 0x0A:
                if i > byte:
                    out[0, o], out[1, o], out[2, o], out[3, o], out[4, o] = row, begin, chars, byte, i
                    o += 1
                begin, byte = chars + 1, i + 1
            if not last:
                chars += (data[i] & 0xC0) != 0x80
    found = out[:, :o].copy()
    return found[0], found[1], found[2], found[3], found[4]


@kernel
def _line_keys(codes, offsets, n):  # type: ignore[no-untyped-def]
    keys = np.zeros(n, np.uint64)
    for k in range(n):
        start, end = offsets[2 * k], offsets[2 * k + 1]
        key = np.uint64(0)
        for i in range(start, end):
            code = codes[i]
            if 0x30 <= code <= 0x39:
                code = np.uint32(0x30)
            key = mix64(key + np.uint64(code) + np.uint64(1))
        if end > start:
            keys[k] = max(key, np.uint64(1))
    return keys


def sign(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The line hashes of one documents file and how many documents have each, a run a batch."""
    documents = total = 0
    for number, batch in enumerate(read_documents(shard.inputs, ["text"])):
        lines = lines_of(batch.column("text"))
        some = lines.key > 0
        order = np.lexsort((lines.row[some], lines.key[some]))
        keys, owners = lines.key[some][order], lines.row[some][order]
        new = np.ones(len(keys), np.bool_)
        new[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])  # a document counts once
        distinct, counts = np.unique(keys[new], return_counts=True)
        rows = np.empty(len(distinct), KEYS)
        rows["key"], rows["count"] = distinct, counts
        save(scratch / "keys", number, rows)
        documents, total = documents + batch.num_rows, total + len(rows)
    return {"in": documents, "keys": total}


def cut(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """One documents file without its frequent lines and without its common documents."""
    settings = Paragraphs(**{name: params[name] for name in params.keys() - {"removed"}})
    own, earlier = earlier_files(shard)
    files, run = int(shard.labels["files"]), int(shard.labels["run"])
    writer = CutWriter(
        scratch,
        shard.labels["source"],
        RULE,
        min_chars=settings.min_chars,
        earlier=earlier,
        removed=params["removed"],
    )
    counted = files_of(own[files])
    with writer:
        for number, batch in enumerate(read_documents(own[:files], DOCUMENT.names)):
            lines = lines_of(batch.column("text"))
            frequency = _frequencies(lines.key, answers(counted, run + number, COUNTED))
            lengths = _lengths(batch.column("text"))
            spans = frequent_runs(lines, frequency, lengths, settings)
            common = document_frequencies(lines, frequency, batch.num_rows, settings.percentile)
            goes = draws(batch.column("id")) * common >= settings.expected
            writer.write(batch, lengths, spans, {COMMON: (goes, common)})
    return writer.counts


def _lengths(texts: pa.Array) -> Positions:
    return pc.utf8_length(texts).cast(pa.int64()).to_numpy()


def _frequencies(keys: Keys, counted: Table) -> Positions:
    """For each line in how many documents it is; 0 where nothing counts in it."""
    counted = counted[np.argsort(counted["key"])]
    at = np.searchsorted(counted["key"], keys)
    frequency = np.ones(len(keys), np.int64)
    known = at < len(counted)
    known[known] = counted["key"][at[known]] == keys[known]
    frequency[known] = counted["count"][at[known]]
    frequency[keys == 0] = 0
    return frequency


def draws(ids: pa.Array) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each id, spread evenly and the same in every run."""
    high, low = id_numbers(ids)
    return (_mixed(high, low) >> np.uint64(11)) * 2.0**-53


@kernel
def _mixed(high, low):  # type: ignore[no-untyped-def]
    out = np.empty(len(high), np.uint64)
    for i in range(len(high)):
        out[i] = mix64(mix64(high[i]) ^ low[i])
    return out


def document_frequencies(lines: Lines, frequency: Positions, rows: int, percentile: float) -> npt.NDArray[np.float64]:
    """For each text the frequency at the given percentile of its lines that have one, 1 where none has."""
    some = frequency > 0
    row, values = lines.row[some], frequency[some]
    order = np.lexsort((values, row))
    sizes = np.bincount(row, minlength=rows)
    first = np.cumsum(sizes) - sizes
    found = np.ones(rows)
    has = sizes > 0
    found[has] = values[order][(first + (sizes * percentile).astype(np.int64))[has]]
    return found


def frequent_runs(lines: Lines, frequency: Positions, lengths: Positions, params: Paragraphs) -> Spans:
    """The runs of frequent lines that are cut, each with the line breaks that would be left over."""
    row, start, end, least = _runs(lines.row, lines.start, lines.end, frequency, lengths, params.documents, params.run)
    none = np.zeros(len(row), np.uint64)
    return Spans(row, start, end, least, none, none, np.full(len(row), -1, np.int64))


@kernel
def _runs(rows, starts, ends, frequency, lengths, frequent, run):  # type: ignore[no-untyped-def]
    out = np.empty((4, len(rows)), np.int64)
    o = i = 0
    while i < len(rows):
        stop = i
        while stop < len(rows) and rows[stop] == rows[i]:
            stop += 1
        k = i
        seen = False  # whether a line with a frequency that is not enough came before
        while k < stop:
            if frequency[k] < frequent:
                seen |= frequency[k] > 0
                k += 1
                continue
            first, last, size, least = k, k, 1, frequency[k]
            k += 1
            while k < stop and (frequency[k] == 0 or frequency[k] >= frequent):
                if frequency[k]:
                    last, size, least = k, size + 1, min(least, frequency[k])
                k += 1
            if size >= run or not seen or k == stop:
                # up to where the next line begins; the last lines of a text take the line breaks before them along
                begin, end = starts[first], lengths[rows[i]]
                if last + 1 < stop:
                    end = starts[last + 1]
                elif first > i:
                    begin = ends[first - 1]
                else:
                    begin = 0
                out[0, o], out[1, o], out[2, o], out[3, o] = rows[i], begin, end, least
                o += 1
            k = last + 1
            while k < stop and frequency[k] == 0:
                k += 1
        i = stop
    found = out[:, :o].copy()
    return found[0], found[1], found[2], found[3]


LINES = Stage("dedup_lines", 1, sign)
COUNT = Stage("dedup_lines_counted", 1, count)
CUT = Stage("dedup_paragraphs", 1, cut)
