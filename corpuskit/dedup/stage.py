"""Deduplication as three stages over files: sign every document, cluster all of them, remove file by file.

    sign      one documents file                     -> out/signatures/signatures/<shard>.parquet
    cluster   all signatures, then all documents     -> out/clusters/clusters.parquet, and in removals/ the same by file
    remove    one documents file and the removals    -> out/kept/<shard>.parquet, out/removed/<shard>.parquet

Who survives (the rank): lower priority number, then longer text, then smaller id. A document is removed when it is an
exact duplicate of a survivor (the same text, or the same non-empty matching shadow), or when the true Jaccard of their
shingle sets is at least the threshold; MinHash only proposes the pairs. cluster.py has the rule in full.

Signatures and survivors are held in memory by the one `cluster` shard; texts are read back only for candidates, a
bounded number of characters at a time. Nothing is spilled to disk.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from corpuskit.config import Dedup, UserError
from corpuskit.dedup.cluster import (
    Survivors,
    candidate_pairs,
    choose_survivors,
    components,
    exact_heads,
    union,
    unpack,
)
from corpuskit.dedup.minhash import (
    Keys,
    Sets,
    band_keys,
    candidate_probability,
    matching_column,
    shingle_sets,
)
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt, as_inputs
from corpuskit.engine.tables import TableWriter, read_batches, read_selected
from corpuskit.schema import CLUSTER, DOCUMENT, REMOVED, add_sizes
from corpuskit.text.buffers import Positions, utf8_view

log = logging.getLogger("corpuskit")

EXACT, NEAR = "exact_duplicate", "near_duplicate"

# What `cluster` tells `remove`. Sorted by file and row: statistics lead to the row groups of one documents file.
REMOVAL = pa.schema([("file", pa.string()), ("row", pa.int64()), ("rule", pa.string()), ("jaccard", pa.float64())])

_CANDIDATE_CHARS = 1 << 26  # characters of candidate texts whose shingle sets (8 bytes each) are in memory at once
_BYTES_PER_DOCUMENT = 320  # of `cluster`, measured: id, hashes, rank, the band being sorted, pairs
_BYTES_PER_CANDIDATE_CHAR = 20  # of `cluster`, measured: shingle sets, and the copies made while they are gathered
_ROWS = 1 << 16  # rows in a row group of the files `cluster` writes


def dedup(documents: Sequence[Shard], *, out: Path, root: Path, params: Dedup, runner: Runner) -> list[Receipt]:
    """Remove duplicates across all documents; returns the receipts of `remove`, one for each shard, in order.

    Args:
        documents: shards of one DOCUMENT Parquet file each, or of one and a file of ROWS, the only ones that are looked
            at; with the labels `source` and `priority` (an integer as text; where duplicates of several priorities
            meet, the lowest survives).
        out: gets `kept/`, `removed/` and `receipts/`, and the other stages' folders `signatures/` and `clusters/`.
        root: the workspace; recorded names are relative to it.
        params: n-gram, bands, rows per band, threshold.
        runner: how and where shards run.

    Raises:
        UserError: an id occurs twice.
        ShardsFailed: a stage failed for good.
    """
    _announce(documents, params)
    shape = params.model_dump(include={"ngram", "bands", "rows_per_band"})
    signed = map_shards(SIGN, documents, out=out / "signatures", params=shape, runner=runner)
    # in order of name, so that even the receipt does not know in which order the documents were given
    by_name = sorted(documents, key=lambda s: s.name)
    signatures = as_inputs(out / "signatures", sorted(signed, key=lambda r: r.shard), "signatures", root)
    everything = Shard("clusters", (*signatures, *(s.inputs[0] for s in by_name)))
    clustered = map_shards(CLUSTER_STAGE, [everything], out=out / "clusters", params=params.model_dump(), runner=runner)
    removals = as_inputs(out / "clusters", clustered, "removals", root)
    files = [Shard(s.name, (*s.inputs, *removals), s.labels) for s in documents]
    return map_shards(REMOVE, files, out=out, params={}, runner=runner)


def _announce(documents: Sequence[Shard], params: Dedup) -> None:
    rows = size = 0
    for shard in documents:
        metadata = pq.read_metadata(shard.inputs[0].path)
        chosen = pq.read_metadata(shard.inputs[1].path).num_rows if len(shard.inputs) > 1 else metadata.num_rows
        rows += chosen
        whole = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
        size += whole * chosen // max(1, metadata.num_rows)
    memory = rows * _BYTES_PER_DOCUMENT + min(size, _CANDIDATE_CHARS) * _BYTES_PER_CANDIDATE_CHAR
    curve = ", ".join(f"{j}: {candidate_probability(j, params):.3f}" for j in (0.7, 0.8, 0.9))
    log.info(
        "dedup: %d documents, character %d-grams, %d bands x %d rows; P(candidate) at Jaccard %s; threshold %s; "
        "clustering takes up to %.1f GB of RAM",
        *(rows, params.ngram, params.bands, params.rows_per_band, curve, params.threshold, memory / 1e9),
    )


# sign


def _signature_schema(bands: int) -> pa.Schema:
    return pa.schema(
        [
            ("id", pa.string()),
            ("content", pa.binary(16)),  # xxh3-128 of the text
            ("shadow", pa.binary(16)),  # xxh3-128 of the matching shadow, null where that is empty
            ("row", pa.int64()),  # where the document stands in its file
            ("num_chars", pa.int64()),  # code points of the text
            ("priority", pa.int32()),
            *((_band(band), pa.uint64()) for band in range(bands)),  # a column each: `cluster` reads one at a time
        ]
    )


def _band(band: int) -> str:
    return f"band_{band:04d}"


def sign(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Hashes, length, priority and band keys of every document of one file, in file order."""
    shape = Dedup(**params)
    schema = _signature_schema(shape.bands)
    priority = int(shard.labels["priority"])
    with TableWriter(scratch / "signatures.parquet", schema) as writer:
        for rows, batch in _read_documents(shard.inputs, ["id", "text"]):
            texts = batch.column("text")
            matching = matching_column(texts)
            keys = band_keys(matching, shape)
            columns = [
                batch.column("id"),
                pa.array(_digests(*utf8_view(texts)), pa.binary(16)),
                pa.array(_digests(matching.codes, matching.offsets, empty=None), pa.binary(16)),
                pa.array(rows),
                pc.utf8_length(texts).cast(pa.int64()),
                pa.array(np.full(len(texts), priority, np.int32)),
                *(pa.array(np.ascontiguousarray(keys[:, band])) for band in range(shape.bands)),
            ]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=schema))
        return {"in": writer.rows}


def _read_documents(
    inputs: Sequence[Input], columns: list[str]
) -> Iterator[tuple[npt.NDArray[np.int64], pa.RecordBatch]]:
    """The documents of a shard and their row numbers: all of its file, or those its second file selects."""
    return read_selected(inputs[0].path, inputs[1].path if len(inputs) > 1 else None, columns)


def _digests(
    data: npt.NDArray[Any], offsets: npt.NDArray[Any], empty: bytes | None = xxhash.xxh3_128_digest(b"")
) -> list[bytes | None]:
    """xxh3-128 of data[offsets[i]:offsets[i + 1]] for each i, and `empty` where there is nothing."""
    view = data.data
    return [
        xxhash.xxh3_128_digest(view[start:end]) if end > start else empty
        for start, end in itertools.pairwise(offsets.tolist())
    ]


# cluster


class _Ranked(NamedTuple):
    """All documents in order of rank."""

    ids: pa.Array
    high: Keys  # the two halves of the hash that exact duplicates share
    low: Keys
    has_shingles: npt.NDArray[np.bool_]
    num_chars: Positions
    file: Positions  # where the document stands: number of its file, row in it
    row: Positions
    order: Positions  # rank -> position in the signature files, read one after the other


def cluster(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Clusters of all documents: which ones survive, and where the others stand.

    The shard's inputs are all signature files, then the documents files they were made from, in the same order.
    """
    settings = Dedup(**params)
    half = len(shard.inputs) // 2
    pairs = sorted(zip(shard.inputs[:half], shard.inputs[half:], strict=True), key=lambda pair: pair[1].name)
    signatures, documents = [s for s, _ in pairs], [d for _, d in pairs]
    if len({d.name for d in documents}) != half:
        raise ValueError("two documents files carry the same name")

    ranked = _rank(signatures)
    n = len(ranked.ids)
    heads = exact_heads(ranked.high, ranked.low)
    alone = np.flatnonzero((heads == np.arange(n)) & ranked.has_shingles)  # one for each group of exact duplicates
    candidates = np.empty(0, np.uint64)
    for band in range(settings.bands):
        keys = _concat([b.column(0).to_numpy() for b in _read(signatures, [_band(band)])], np.uint64)
        candidates = union(candidates, candidate_pairs(keys[ranked.order][alone]))
    left, right = (alone[side] for side in unpack(candidates))
    near = _survivors(ranked, left, right, documents, settings)

    survivor, rank = near.survivor[heads], np.arange(n)
    jaccard = near.jaccard[heads]  # an exact duplicate has its head's shingles, so its head's Jaccard too
    sizes = np.bincount(survivor, minlength=n)
    _write_clusters(scratch / "_.parquet", ranked.ids, survivor, sizes, jaccard)
    removed = np.flatnonzero(survivor != rank)
    removed = removed[np.lexsort((ranked.row[removed], ranked.file[removed]))]
    rules = np.where(survivor[removed] == heads[removed], EXACT, NEAR)
    with TableWriter(scratch / "removals.parquet", REMOVAL) as writer:
        for start in range(0, len(removed), _ROWS):
            part = removed[start : start + _ROWS]
            columns = [
                pa.array([documents[f].name for f in ranked.file[part]], pa.string()),
                pa.array(ranked.row[part]),
                pa.array(rules[start : start + _ROWS].tolist(), pa.string()),
                pa.array(jaccard[part]),
            ]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=REMOVAL))
    return {"in": n, "candidate_pairs": len(candidates), "clusters": int((sizes > 1).sum()), "duplicates": len(removed)}


def _read(files: Sequence[Input], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for file in files:
        yield from read_batches(file.path, columns)


def _concat(arrays: Sequence[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.empty(0, kind), *arrays])


def _rank(signatures: Sequence[Input]) -> _Ranked:
    files, rows, ids, halves, shingled, chars, priorities = [], [], [], [], [], [], []
    columns = ["id", "content", "shadow", "row", "num_chars", "priority"]
    for number, file in enumerate(signatures):
        for batch in _read([file], columns):
            files.append(np.full(batch.num_rows, number, np.int64))
            rows.append(batch.column("row").to_numpy())
            ids.append(batch.column("id").cast(pa.large_string()))
            shadow = batch.column("shadow")
            hashes = pc.coalesce(shadow, batch.column("content"))
            halves.append(np.frombuffer(b"".join(hashes.to_pylist()), np.uint64).reshape(-1, 2))
            shingled.append(shadow.is_valid().to_numpy(zero_copy_only=False))
            chars.append(batch.column("num_chars").to_numpy())
            priorities.append(batch.column("priority").to_numpy())
    id_column = pa.concat_arrays([pa.array([], pa.large_string()), *ids])
    num_chars = _concat(chars, np.int64)
    # longer texts first: sorted by the negative length
    keys = pa.table({"priority": _concat(priorities, np.int32), "length": -num_chars, "id": id_column})
    sort_keys = [(name, "ascending") for name in keys.column_names]
    order = pc.sort_indices(keys, sort_keys=sort_keys).to_numpy().astype(np.int64)
    _check_unique(id_column)
    hash_halves = np.concatenate([np.empty((0, 2), np.uint64), *halves])[order]
    return _Ranked(
        ids=id_column.take(pa.array(order)),
        high=np.ascontiguousarray(hash_halves[:, 0]),
        low=np.ascontiguousarray(hash_halves[:, 1]),
        has_shingles=_concat(shingled, np.bool_)[order],
        num_chars=num_chars[order],
        file=_concat(files, np.int64)[order],
        row=_concat(rows, np.int64)[order],
        order=order,
    )


def _check_unique(ids: pa.Array) -> None:
    in_order = ids.take(pc.sort_indices(ids))
    again = in_order[1:].filter(pc.equal(in_order[1:], in_order[:-1])) if len(ids) else ids
    if len(again):
        raise UserError(
            f"dedup: the id {again[0].as_py()!r} occurs more than once in the documents; ids must be unique, "
            f"look whether a file is given twice"
        )


def _survivors(
    ranked: _Ranked, left: Positions, right: Positions, documents: Sequence[Input], settings: Dedup
) -> Survivors:
    """Survivor and true Jaccard of each document by rank, exact duplicates left as they are."""
    n = len(ranked.ids)
    result = Survivors(np.arange(n), np.ones(n))
    touched = np.zeros(n, np.bool_)
    touched[left] = touched[right] = True
    members = np.flatnonzero(touched)
    roots = components(n, left, right)
    # whole components, in order of root, cut where the characters reach the bound
    members = members[np.argsort(roots[members], kind="stable")]
    before = np.cumsum(ranked.num_chars[members]) - ranked.num_chars[members]
    first = np.searchsorted(roots[members], roots[members])  # where each one's component starts
    part_of_member = before[first] // _CANDIDATE_CHARS if len(members) else before
    part = np.full(n, -1, np.int64)
    part[members] = part_of_member
    part_of_pair = part[left]
    for number in np.unique(part_of_member):
        chosen = np.sort(members[part_of_member == number])
        edges = part_of_pair == number
        sets, where = _read_sets(ranked, chosen, documents, settings.ngram)
        a, b = np.searchsorted(chosen, left[edges]), np.searchsorted(chosen, right[edges])
        found = choose_survivors(a, b, sets, where, settings.threshold)
        result.survivor[chosen], result.jaccard[chosen] = chosen[found.survivor], found.jaccard
    return result


def _read_sets(
    ranked: _Ranked, chosen: Positions, documents: Sequence[Input], ngram: int
) -> tuple[Sets, npt.NDArray[np.int64]]:
    """The shingle sets of the chosen documents in order of file and row, and the number of the set of each document."""
    file, row = ranked.file[chosen], ranked.row[chosen]
    order = np.lexsort((row, file))
    where = np.empty(len(chosen), np.int64)
    where[order] = np.arange(len(chosen))
    parts = []
    for number in np.unique(file):
        rows = row[order][file[order] == number]
        with pq.ParquetFile(documents[number].path, memory_map=True) as parquet:
            start = 0
            for group in range(parquet.num_row_groups):
                size = parquet.metadata.row_group(group).num_rows
                wanted = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + size)] - start
                start += size
                if len(wanted):
                    table = parquet.read_row_group(group, columns=["text"], use_threads=False)
                    texts = table["text"].combine_chunks().take(pa.array(wanted))
                    parts.append(shingle_sets(matching_column(texts), ngram))
    sizes = _concat([np.diff(p.offsets) for p in parts], np.int64)
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return Sets(_concat([p.values for p in parts], np.uint64), offsets), where


def _write_clusters(
    path: Path, ids: pa.Array, survivor: Positions, sizes: Positions, jaccard: npt.NDArray[np.float64]
) -> None:
    members = np.flatnonzero(sizes[survivor] > 1)
    members = members[pc.sort_indices(ids.take(pa.array(members))).to_numpy()]
    with TableWriter(path, CLUSTER) as writer:
        for start in range(0, len(members), _ROWS):
            part = members[start : start + _ROWS]
            columns = [
                ids.take(pa.array(part)).cast(pa.string()),
                ids.take(pa.array(survivor[part])).cast(pa.string()),
                pa.array(sizes[survivor[part]]),
                pa.array(jaccard[part]),
            ]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=CLUSTER))


# remove


def remove(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """One documents file in two: what stays, and what goes, with rule and Jaccard to the survivor."""
    *chosen, removals = shard.inputs
    going = pq.read_table(removals.path, filters=[("file", "=", chosen[0].name)])
    gone, rules = going["row"].to_numpy(), going["rule"].combine_chunks()
    order = np.argsort(gone)
    gone = gone[order]
    by_rule = {EXACT: 0, NEAR: 0}
    seen = 0
    sizes = dict.fromkeys(("chars_in", "chars_kept", "bytes_in", "bytes_kept"), 0)
    with (
        TableWriter(scratch / "kept.parquet", DOCUMENT) as kept,
        TableWriter(scratch / "removed.parquet", REMOVED) as removed,
    ):
        for rows, batch in _read_documents(chosen, DOCUMENT.names):
            first, last = np.searchsorted(gone, [rows[0], rows[-1] + 1])
            here = order[first:last]
            leaves = np.isin(rows, gone[first:last], assume_unique=True)
            seen += batch.num_rows
            staying = batch.filter(pa.array(~leaves))
            kept.write(pa.RecordBatch.from_arrays(staying.columns, schema=DOCUMENT))
            rule = rules.take(pa.array(here))
            for name in by_rule:
                by_rule[name] += pc.sum(pc.equal(rule, name)).as_py() or 0
            why = [pa.array(["dedup"] * len(here), pa.string()), rule, pa.array(going["jaccard"].to_numpy()[here])]
            leaving = batch.filter(pa.array(leaves))
            removed.write(pa.RecordBatch.from_arrays([*leaving.columns, *why], schema=REMOVED))
            add_sizes(sizes, "in", batch.column("text"))
            add_sizes(sizes, "kept", staying.column("text"))
    return {
        "source": shard.labels["source"],
        "in": seen,
        "kept": kept.rows,
        "duplicates": removed.rows,
        "dropped": {},
        "quarantined": 0,
        "by_rule": by_rule,
        **sizes,
    }


SIGN = Stage("dedup_sign", 2, sign)
CLUSTER_STAGE = Stage("dedup_cluster", 1, cluster)
REMOVE = Stage("dedup_remove", 1, remove)
