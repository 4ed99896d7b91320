"""exact: which documents share a URL, a text or a matching shadow with a better one; and who is better at all.

Runs twice: by URL, and then by text over what is left, so that a page crawled twice is represented by its best version
whatever becomes of that version. Each time the documents are looked at in `parts` ranges of the hash, one after the
other or in shards of their own; what shares a hash is in one range, so the ranges decide nothing.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpuskit.config import UserError
from corpuskit.dedup.cluster import groups
from corpuskit.dedup.minhash import Keys
from corpuskit.dedup.signatures import Signatures, halves
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter, read_batches
from corpuskit.text.buffers import Positions

URL, EXACT, NORMALIZED, NEAR = "url_duplicate", "exact_duplicate", "normalized_duplicate", "near_duplicate"
RULES = (URL, EXACT, NORMALIZED, NEAR)

# What goes, for whom, and why; sorted by position.
GONE = pa.schema([("position", pa.int64()), ("survivor", pa.int64()), ("rule", pa.string()), ("jaccard", pa.float64())])
POLICY = ["id", "num_chars", "quality", "timestamp", "source", "priority", "frozen"]  # columns that `rank` reads
POLICY_PARAMS = {"survivor", "prefer"}
BYTES_PER_ROW = 160  # of a range: hash, position and the policy columns, and the copies made while they are sorted

_WIKIPEDIA = "*wiki"  # dumps.wikimedia.org names its Wikipedias jawiki, enwiki, ...


def in_part(keys: Keys, part: int, parts: int) -> npt.NDArray[np.bool_]:
    """Which keys lie in range `part` of `parts`, a power of two."""
    if parts == 1:
        return np.ones(len(keys), np.bool_)
    return keys >> np.uint64(64 - (parts.bit_length() - 1)) == part


def rank(rows: pa.Table, params: dict[str, Any], first: str | None = None) -> Positions:
    """The order in which documents would rather stay than one another, best first; `first` is a column to group by.

    Those of an earlier corpus come first, then preferred sources in the order named, then what the policy says, the
    smaller id last. A document that lacks what is compared comes after those that have it.
    """
    keys = {} if first is None else {first: rows[first]}
    keys["frozen"] = pc.invert(rows["frozen"]).cast(pa.int8())
    preferred = [_WIKIPEDIA if name == "wikipedia" else name for name in params["prefer"]]
    if preferred:
        order = {
            name: next((n for n, p in enumerate(preferred) if fnmatch.fnmatchcase(name or "", p)), len(preferred))
            for name in rows["source"].unique().to_pylist()
        }
        keys["preferred"] = pa.array([order[name] for name in rows["source"].to_pylist()], pa.int32())
    columns = {
        "quality": pc.negate(rows["quality"]),
        "length": pc.negate(rows["num_chars"]),
        "source": rows["priority"],
        "newest": rows["timestamp"],
        "oldest": rows["timestamp"],
    }
    keys |= {word: columns[word] for word in params["survivor"]} | {"id": rows["id"]}
    sort_keys = [(name, "descending" if name == "newest" else "ascending") for name in keys]
    order = pc.sort_indices(pa.table(keys), sort_keys=sort_keys)
    return order.to_numpy().astype(np.int64)


def exact(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """One range of hashes: of each group the best document stays, the others go.

    The shard's inputs are all signature files, `signatures` of them, then what an earlier round removed.
    """
    count, part, parts = (int(shard.labels[k]) for k in ("signatures", "part", "parts"))
    signatures, gone = Signatures.open(shard.inputs[:count]), shard.inputs[count:]
    if params["by"] == "url" or "url" not in params["exact"]:  # once, in the first round
        _check_ids(signatures, part, parts)
    dead = removed_mask(gone, len(signatures))
    positions, high, low, tables = [], [], [], []
    for start, batch in signatures.read([*POLICY, "content", "shadow", "url"]):
        key = _compared(batch, params)
        hashes = halves(key)
        keep = np.asarray(key.is_valid()) & in_part(hashes[0], part, parts) & ~dead[start : start + batch.num_rows]
        chosen = np.flatnonzero(keep)
        positions.append(start + chosen)
        high.append(hashes[0][chosen])
        low.append(hashes[1][chosen])
        tables.append(batch.select([*POLICY, "content"]).take(pa.array(chosen)))
    with TableWriter(scratch / "gone.parquet", GONE) as writer:
        if sum(map(len, positions)):
            rows, number = groups(np.concatenate(high), np.concatenate(low))
            table = pa.Table.from_batches(tables).take(pa.array(rows)).append_column("group", pa.array(number))
            _write(writer, table, np.concatenate(positions)[rows], params)
        return {"in": sum(map(len, positions)), "duplicates": writer.rows}


def _compared(batch: pa.RecordBatch, params: dict[str, Any]) -> pa.Array:
    """The hash by which this round groups documents."""
    if params["by"] == "url":
        return batch.column("url")
    content, shadow = batch.column("content"), batch.column("shadow")
    if {"text", "shadow"} <= set(params["exact"]):
        return pc.coalesce(shadow, content)
    if "text" in params["exact"]:
        return content
    return shadow if "shadow" in params["exact"] else pa.nulls(batch.num_rows, shadow.type)


def _write(writer: TableWriter, table: pa.Table, positions: Positions, params: dict[str, Any]) -> None:
    order = rank(table, params, first="group")
    table, positions = table.take(pa.array(order)), positions[order]
    number = table["group"].to_numpy()
    new = np.ones(len(number), np.bool_)
    new[1:] = number[1:] != number[:-1]
    head = np.maximum.accumulate(np.where(new, np.arange(len(number)), 0))
    goes = np.flatnonzero(~new & ~table["frozen"].to_numpy())
    content = table["content"].combine_chunks()
    same = pc.equal(content.take(pa.array(goes)), content.take(pa.array(head[goes]))).fill_null(False)
    rule = pa.array([URL] * len(goes)) if params["by"] == "url" else pc.if_else(same, EXACT, NORMALIZED)
    jaccard = pa.nulls(len(goes), pa.float64()) if params["by"] == "url" else pa.array(np.ones(len(goes)))
    by_position = np.argsort(positions[goes])
    columns = [pa.array(positions[goes]), pa.array(positions[head[goes]]), rule, jaccard]
    taken = [column.take(pa.array(by_position)) for column in columns]
    whole = pa.Table.from_arrays([pa.chunked_array([c]) if isinstance(c, pa.Array) else c for c in taken], schema=GONE)
    for batch in whole.to_batches(max_chunksize=1 << 16):
        writer.write(batch)


def _check_ids(signatures: Signatures, part: int, parts: int) -> None:
    keys, positions = [], []
    for start, batch in signatures.read(["id_key"]):
        column = batch.column(0).to_numpy()
        chosen = np.flatnonzero(in_part(column, part, parts))
        keys.append(column[chosen])
        positions.append(start + chosen)
    if not keys:
        return
    key = np.concatenate(keys)
    rows, _ = groups(key, np.zeros_like(key))
    if len(rows) == 0:
        return
    suspects = np.sort(np.concatenate(positions)[rows])
    seen: set[tuple[str, bool]] = set()  # a record may be in the earlier corpus as well
    for start, batch in signatures.read(["id", "frozen"]):
        first, last = np.searchsorted(suspects, [start, start + batch.num_rows])
        both = batch.take(pa.array(suspects[first:last] - start))
        for id_, frozen in zip(*(column.to_pylist() for column in both.columns), strict=True):
            if (id_, frozen) in seen:
                raise UserError(
                    f"dedup: the id {id_!r} occurs more than once in the documents; ids must be unique, "
                    f"look whether a file is given twice"
                )
            seen.add((id_, frozen))


def removed_mask(gone: Iterable[Input], documents: int) -> npt.NDArray[np.bool_]:
    """For each position whether one of these files removes it."""
    mask = np.zeros(documents, np.bool_)
    for file in gone:
        for batch in read_batches(file.path, ["position"]):
            mask[batch.column(0).to_numpy()] = True
    return mask


def removed_between(gone: Sequence[Input], start: int, stop: int) -> npt.NDArray[np.bool_]:
    """The same for the positions from start to stop alone."""
    mask = np.zeros(stop - start, np.bool_)
    for file in gone:
        table = pq.read_table(
            file.path, columns=["position"], filters=[("position", ">=", start), ("position", "<", stop)]
        )
        mask[table["position"].to_numpy() - start] = True
    return mask


EXACT_STAGE = Stage("dedup_exact", 1, exact)
