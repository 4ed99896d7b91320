"""outcome: everything that was found, put together: who goes from which file, and the table of clusters.

Survivors, sizes and similarities are arrays over all documents; those that do not fit into their share of the memory
are mapped from disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.dedup.exact import GONE, NEAR, RULES
from corpuskit.dedup.signatures import Signatures
from corpuskit.dedup.spill import spilled
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter, read_batches
from corpuskit.schema import CLUSTER
from corpuskit.text.buffers import Positions

HAS_DUPLICATES = "has_duplicates"  # why a survivor goes with drop_all

# What `remove` is told about one documents file: what goes, and (rule null) the size of the cluster of what stays.
REMOVAL = pa.schema(
    [
        ("file", pa.string()),  # name of its shard; sorted by file and row, so statistics lead to its row groups
        ("row", pa.int64()),
        ("rule", pa.string()),
        ("jaccard", pa.float64()),
        ("cluster_size", pa.int64()),
    ]
)

_ROWS = 1 << 16
_BYTES_PER_MEMBER = 300  # while clusters are sorted: two ids, positions, and the copies made


def outcome(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """clusters.parquet and removals.parquet.

    The shard's inputs are all signature files, then what the rounds of `exact` and `verify` removed, in this order; its
    labels say how many of each there are, and how many of the signature files are to be deduplicated.
    """
    label = {name: int(value) for name, value in shard.labels.items()}
    signatures = Signatures.open(shard.inputs[: label["signatures"]])
    rest = iter(shard.inputs[label["signatures"] :])
    url, exact, near = (list(itertools.islice(rest, label[k])) for k in ("url", "exact", "near"))
    n, share = len(signatures), label["memory"] / 8
    survivor = spilled(scratch, n, np.int64, share)
    for start in range(0, n, 1 << 20):
        survivor[start : start + (1 << 20)] = np.arange(start, min(n, start + (1 << 20)))
    rules = spilled(scratch, n, np.int8, share)  # 1 + the number of the rule in RULES, 0: stays
    jaccard = spilled(scratch, n, np.float64, share)
    for position, head, rule, similarity in _gone(near):
        survivor[position], rules[position], jaccard[position] = head, rule, similarity
    for position, head, rule, similarity in _gone(exact):
        # an exact duplicate has its head's shingles, so what was found out about the head holds for it
        stays = survivor[head] == head
        survivor[position] = survivor[head]
        rules[position] = np.where(stays, rule, 1 + RULES.index(NEAR))
        jaccard[position] = np.where(stays, similarity, jaccard[head])
    for position, head, rule, similarity in _gone(url):
        survivor[position], rules[position], jaccard[position] = survivor[head], rule, similarity
    sizes = spilled(scratch, n, np.int64, share)
    for start in range(0, n, 1 << 20):
        np.add.at(sizes, survivor[start : start + (1 << 20)], 1)

    members = sum(int((sizes[survivor[start : start + (1 << 20)]] > 1).sum()) for start in range(0, n, 1 << 20))
    parts = 1 + int(members * _BYTES_PER_MEMBER / (4 * share))
    with TableWriter(scratch / "_.parquet", CLUSTER) as writer:
        rows = _clusters(signatures, survivor, sizes, jaccard, rules, members, parts)
        for batch in _recut(rows):
            writer.write(batch)
    counts = dict.fromkeys((*RULES, HAS_DUPLICATES), 0)
    with TableWriter(scratch / "removals.parquet", REMOVAL) as writer:
        for batch in _recut(_removals(signatures, label["own"], survivor, sizes, jaccard, rules, params["drop_all"])):
            for rule in pc.value_counts(batch.column("rule").drop_null()).to_pylist():
                counts[rule["values"]] += rule["counts"]
            writer.write(batch)
    clusters = sum(int((sizes[start : start + (1 << 20)] > 1).sum()) for start in range(0, n, 1 << 20))
    own = int(signatures.starts[label["own"]])
    return {"in": own, "clusters": clusters, "duplicates": sum(counts.values()), "by_rule": counts}


def _gone(
    files: list[Input],
) -> Iterator[tuple[Positions, Positions, npt.NDArray[np.int8], npt.NDArray[np.float64]]]:
    for file in files:
        for batch in read_batches(file.path, GONE.names):
            position, head, rule, jaccard = batch.columns
            number = pc.index_in(rule, value_set=pa.array(RULES)).to_numpy().astype(np.int8) + np.int8(1)
            similarity = jaccard.to_numpy(zero_copy_only=False)
            yield position.to_numpy(), head.to_numpy(), number, similarity


def _recut(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of _ROWS, so that the file's bytes do not know how they came."""
    held: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        while rows + batch.num_rows >= _ROWS:
            head = batch.slice(0, _ROWS - rows)
            yield pa.concat_batches([*held, head])
            batch, held, rows = batch.slice(len(head)), [], 0
        held.append(batch)
        rows += batch.num_rows
    if rows:
        yield pa.concat_batches(held)


def _removals(
    signatures: Signatures,
    own: int,
    survivor: Positions,
    sizes: Positions,
    jaccard: npt.NDArray[np.float64],
    rules: npt.NDArray[np.int8],
    drop_all: bool,
) -> Iterator[pa.RecordBatch]:
    names = pa.array([None, *RULES, HAS_DUPLICATES], pa.string())
    bounds = itertools.pairwise(signatures.starts[: own + 1].tolist())
    for file, (begin, stop) in zip(signatures.files[:own], bounds, strict=True):
        name = Path(file.path).stem
        for start in range(begin, stop, _ROWS):
            end = min(stop, start + _ROWS)
            size, rule = sizes[survivor[start:end]], rules[start:end].copy()
            at = np.flatnonzero(size > 1)
            if drop_all:
                rule[(rule == 0) & (size > 1)] = len(names) - 1
            similarity = np.where(rules[start:end] == 0, 1.0, jaccard[start:end])
            columns = [
                pa.repeat(pa.scalar(name), len(at)),
                pa.array(start - begin + at),
                names.take(pa.array(rule[at])),
                pa.array(similarity[at], from_pandas=True),
                pa.array(size[at]),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=REMOVAL)


def _clusters(
    signatures: Signatures,
    survivor: Positions,
    sizes: Positions,
    jaccard: npt.NDArray[np.float64],
    rules: npt.NDArray[np.int8],
    members: int,
    parts: int,
) -> Iterator[pa.RecordBatch]:
    """The members of clusters in order of id, one range of ids after the other."""
    cuts: list[str | None] = [None, None]
    if parts > 1:
        every = max(1, members // (64 * parts))
        some = [i for ids, at in _member_ids(signatures, survivor, sizes) for i in ids.to_pylist()[::every] if len(at)]
        some.sort()
        cuts[1:1] = [some[len(some) * k // parts] for k in range(1, parts)]
    for low, high in itertools.pairwise(cuts):
        found, where = [pa.array([], pa.string())], [np.empty(0, np.int64)]
        for ids, at in _member_ids(signatures, survivor, sizes):
            chosen = pa.array(np.ones(len(ids), np.bool_))
            if low is not None:
                chosen = pc.and_(chosen, pc.greater_equal(ids, low))
            if high is not None:
                chosen = pc.and_(chosen, pc.less(ids, high))
            found.append(ids.filter(chosen))
            where.append(at[chosen.to_numpy(zero_copy_only=False)])
        own = pa.chunked_array(found).combine_chunks()
        position = np.concatenate(where)
        heads, inverse = np.unique(survivor[position], return_inverse=True)
        head_ids = [pa.array([], pa.string())]
        for start, batch in signatures.read(["id"]):
            first, last = np.searchsorted(heads, [start, start + batch.num_rows])
            head_ids.append(batch.column(0).take(pa.array(heads[first:last] - start)))
        names = pa.chunked_array(head_ids).combine_chunks().take(pa.array(inverse))
        similarity = np.where(rules[position] == 0, 1.0, jaccard[position])
        columns = [own, names, pa.array(sizes[survivor[position]]), pa.array(similarity, from_pandas=True)]
        table = pa.Table.from_arrays(columns, schema=CLUSTER)
        yield from table.take(pc.sort_indices(own)).to_batches(max_chunksize=_ROWS)


def _member_ids(signatures: Signatures, survivor: Positions, sizes: Positions) -> Iterator[tuple[pa.Array, Positions]]:
    for start, batch in signatures.read(["id"]):
        at = start + np.flatnonzero(sizes[survivor[start : start + batch.num_rows]] > 1)
        yield batch.column(0).take(pa.array(at - start)), at


OUTCOME = Stage("dedup_clusters", 2, outcome)
