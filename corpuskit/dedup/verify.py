"""extract and verify: the texts of candidates, by group, and who of a group stays.

`extract` reads each documents file once and writes the texts that are in a pair, sorted by group. `verify` reads one
group from all of them. It holds 8 bytes a shingle; where that is more than its share of the memory, in a component that
could not be divided, shingle sets and pairs are mapped from disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpuskit.dedup.cluster import Graph, choose_survivors, jaccard_of, true_pairs
from corpuskit.dedup.components import MEMBER
from corpuskit.dedup.exact import GONE, NEAR, POLICY, rank
from corpuskit.dedup.minhash import Keys, Sets, matching_column, shingle_sets
from corpuskit.dedup.pairs import PAIR
from corpuskit.dedup.signatures import read_documents, signature_schema
from corpuskit.dedup.spill import gathered, spilled
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter, read_batches
from corpuskit.text.buffers import Positions

CANDIDATE = pa.schema([*MEMBER, *(signature_schema(0).field(name) for name in POLICY), ("text", pa.string())])

_HELD_BYTES = 64 << 20  # of texts that `extract` sorts by group at once


def extract(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The candidates of one documents file; the shard's inputs are its documents, their signatures and its members."""
    *documents, signatures, members = shard.inputs
    wanted = pq.read_table(members.path).combine_chunks()
    positions, start = wanted["position"].to_numpy(), int(shard.labels["start"])
    with TableWriter(scratch / "texts.parquet", CANDIDATE) as writer:
        held: list[pa.RecordBatch] = []
        row = 0
        texts = read_documents(documents, ["text"])
        policies = read_batches(signatures.path, POLICY)
        for text, policy in _aligned(texts, policies):
            first, last = np.searchsorted(positions, [start + row, start + row + len(text)])
            at = pa.array(positions[first:last] - start - row)
            row += len(text)
            if first == last:
                continue
            members_here = wanted.slice(first, last - first).to_batches()[0]
            chosen = text.take(at)
            sampled = members_here.column("sampled")
            if sampled.true_count != len(sampled):
                chosen = pc.if_else(sampled, chosen, pa.scalar(None, pa.string()))
            columns = [*members_here.columns, *policy.take(at).columns, chosen]
            held.append(pa.RecordBatch.from_arrays(columns, schema=CANDIDATE))
            if sum(b.nbytes for b in held) > _HELD_BYTES:
                _write_by_group(writer, held)
                held = []
        _write_by_group(writer, held)
        return {"in": row, "candidates": writer.rows}


def _aligned(
    texts: Iterator[pa.RecordBatch], policies: Iterator[pa.RecordBatch]
) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
    """The text column and the policy columns of the same rows, however the two files are cut."""
    waiting: pa.RecordBatch | None = None
    for batch in texts:
        text = batch.column("text")
        while len(text):
            if waiting is None or waiting.num_rows == 0:
                waiting = next(policies)
            rows = min(len(text), waiting.num_rows)
            yield text.slice(0, rows), waiting.slice(0, rows)
            text, waiting = text.slice(rows), waiting.slice(rows)


def _write_by_group(writer: TableWriter, held: list[pa.RecordBatch]) -> None:
    """Row groups of one group each, so that a group can be read without its neighbours."""
    if not held:
        return
    table = pa.Table.from_batches(held)
    group = table["group"].to_numpy()
    order = np.argsort(group, kind="stable")
    cuts = [0, *(np.flatnonzero(np.diff(group[order])) + 1).tolist(), len(order)]
    for first, last in itertools.pairwise(cuts):
        for batch in table.take(pa.array(order[first:last])).combine_chunks().to_batches():
            writer.write(batch)
        writer.cut()


EXTRACT = Stage("dedup_extract", 2, extract)


def verify(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Who goes of one group, for whom, and at which Jaccard. The shard's inputs are its pairs, then all texts."""
    share = float(shard.labels["memory"]) / 4
    tables: list[pa.Table] = []
    sizes: list[Positions] = []

    def values() -> Iterator[Keys]:
        for table in _of_group(shard.inputs[1:], int(shard.labels["group"])):
            for batch in table.to_batches():
                matching = matching_column(batch.column("text").fill_null(""), params["shingles"])
                sets = shingle_sets(matching, params["ngram"])
                sizes.append(np.diff(sets.offsets))
                yield sets.values
            tables.append(table.drop_columns(["text"]))

    shingles = gathered(scratch, values(), np.uint64, share)
    sets = Sets(shingles, np.concatenate([[0], *sizes]).cumsum())
    members = pa.concat_tables(tables)
    order = rank(members, params)
    members = members.take(pa.array(order))
    frozen, sampled = members["frozen"].to_numpy(), members["sampled"].to_numpy()
    n = len(order)
    if params["verify"] == "sample":
        survivor = _best_of_root(members["root"].to_numpy())
        jaccard = np.full(n, np.nan)
        measured = np.flatnonzero(sampled & (survivor != np.arange(n)))
        jaccard[measured] = _jaccard(sets, order, measured, survivor)
    else:
        pairs = _graph(scratch, shard.inputs[0], members["name"].to_numpy(), share)
        if params["transitive"]:
            survivor = true_pairs(pairs, sets, order, params["threshold"])
            jaccard = np.ones(n)
            goes = np.flatnonzero(survivor != np.arange(n))
            jaccard[goes] = _jaccard(sets, order, goes, survivor)
        else:
            survivor, jaccard = choose_survivors(pairs, sets, order, params["threshold"], frozen)
    position = members["position"].to_numpy()
    goes = np.flatnonzero((survivor != np.arange(n)) & ~frozen)
    goes = goes[np.argsort(position[goes])]
    columns = [position[goes], position[survivor[goes]], [NEAR] * len(goes), jaccard[goes]]
    with TableWriter(scratch / "gone.parquet", GONE) as writer:
        arrays = [pa.array(c, f.type, from_pandas=True) for c, f in zip(columns, GONE, strict=True)]
        for batch in pa.Table.from_arrays(arrays, schema=GONE).to_batches(max_chunksize=1 << 16):
            writer.write(batch)
    known = jaccard[goes][~np.isnan(jaccard[goes])]
    return {
        "in": n,
        "duplicates": len(goes),
        "measured": len(known),
        "below_threshold": int((known < params["threshold"]).sum()),
    }


def _of_group(files: Sequence[Input], group: int) -> Iterator[pa.Table]:
    column = CANDIDATE.get_field_index("group")
    for file in files:
        with pq.ParquetFile(file.path, memory_map=True) as parquet:
            for n in range(parquet.num_row_groups):
                if parquet.metadata.row_group(n).column(column).statistics.min == group:
                    yield parquet.read_row_group(n, use_threads=False)


def _best_of_root(roots: Keys) -> Positions:
    """For each document in order of rank the first with the same root."""
    order = np.argsort(roots, kind="stable")
    new = np.ones(len(order), np.bool_)
    new[1:] = roots[order][1:] != roots[order][:-1]
    best = np.empty(len(order), np.int64)
    best[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    return best


def _jaccard(sets: Sets, where: Positions, chosen: Positions, survivor: Positions) -> npt.NDArray[np.float64]:
    """The true Jaccard of the chosen documents to their survivors."""
    order = np.argsort(survivor[chosen], kind="stable")
    out = np.empty(len(chosen), np.float64)
    pair = where[survivor[chosen][order]], where[chosen[order]]
    out[order] = jaccard_of(sets.values, sets.offsets, *pair)
    return out


def _graph(scratch: Path, pairs: Input, names: Keys, share: float) -> Graph:
    """The pairs of a group by rank. Where several documents carry one name, the best stands for it and knows them."""
    order = np.argsort(names, kind="stable")
    in_order = names[order]
    new = np.ones(len(names), np.bool_)
    new[1:] = in_order[1:] != in_order[:-1]
    first = order[np.flatnonzero(new)]
    known = in_order[new]

    def numbered() -> Iterator[tuple[Positions, Positions]]:
        yield first[np.cumsum(new) - 1][~new], order[~new]
        for batch in read_batches(pairs.path, PAIR.names):
            left, right = (first[np.searchsorted(known, batch.column(side).to_numpy())] for side in PAIR.names)
            other = left != right
            yield left[other], right[other]

    degrees = np.zeros(len(names), np.int64)
    for left, right in numbered():
        degrees += np.bincount(left, minlength=len(names)) + np.bincount(right, minlength=len(names))
    graph = Graph.empty(degrees, spilled(scratch, int(degrees.sum()), np.int64, share))
    for left, right in numbered():
        graph.add(left, right)
    return graph


VERIFY = Stage("dedup_verify", 1, verify)
