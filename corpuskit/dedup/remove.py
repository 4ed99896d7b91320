"""remove: one documents file in two, what stays and what goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpuskit.dedup.exact import RULES
from corpuskit.dedup.outcome import HAS_DUPLICATES
from corpuskit.dedup.signatures import read_documents
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import FAST_ZSTD, TableWriter
from corpuskit.filters.removed import RemovedWriter
from corpuskit.schema import DOCUMENT, REMOVED, add_sizes

SIGNALS = pa.schema([("id", pa.string()), ("cluster_size", pa.int64())])


def remove(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """kept, removed with rule and Jaccard to the survivor, and for what is kept the size of its cluster as a signal.

    The shard's inputs are its documents and the removals. Params: `removed` (config.KeepRemoved).
    """
    *documents, removals = shard.inputs
    found = pq.read_table(removals.path, filters=[("file", "=", shard.name)])
    rows, rules = found["row"].to_numpy(), found["rule"].combine_chunks()
    sizes, jaccard = found["cluster_size"].to_numpy(), found["jaccard"].combine_chunks()
    goes = rules.is_valid().to_numpy(zero_copy_only=False)
    by_rule = dict.fromkeys((*RULES, HAS_DUPLICATES), 0)
    seen = 0
    totals, lost = dict.fromkeys(("chars_kept", "bytes_kept"), 0), dict.fromkeys(("chars_in", "bytes_in"), 0)
    with (
        TableWriter(scratch / "kept.parquet", DOCUMENT, FAST_ZSTD) as kept,
        RemovedWriter(scratch / "removed.parquet", params["removed"]) as removed,
        TableWriter(scratch / "signals.parquet", SIGNALS) as signals,
    ):
        for batch in read_documents(documents, DOCUMENT.names):
            first, last = np.searchsorted(rows, [seen, seen + batch.num_rows])
            here = np.arange(first, last)
            stays, size = np.ones(batch.num_rows, np.bool_), np.ones(batch.num_rows, np.int64)
            stays[rows[here[goes[here]]] - seen] = False
            size[rows[here] - seen] = sizes[here]
            seen += batch.num_rows
            staying = batch if stays.all() else batch.filter(pa.array(stays))
            kept.write(pa.RecordBatch.from_arrays(staying.columns, schema=DOCUMENT))
            signals.write(pa.RecordBatch.from_arrays([staying.column("id"), pa.array(size[stays])], schema=SIGNALS))
            going = pa.array(here[goes[here]])
            rule = rules.take(going)
            for name in by_rule:
                by_rule[name] += pc.sum(pc.equal(rule, name)).as_py() or 0
            why = [pa.array(["dedup"] * len(going), pa.string()), rule, jaccard.take(going)]
            leaving = batch.filter(pa.array(~stays))
            removed.write(pa.RecordBatch.from_arrays([*leaving.columns, *why], schema=REMOVED))
            add_sizes(totals, "kept", staying.column("text"))
            add_sizes(lost, "in", leaving.column("text"))
    return {
        "source": shard.labels["source"],
        "in": seen,
        "kept": kept.rows,
        "duplicates": seen - kept.rows,
        "dropped": {},
        "quarantined": 0,
        "by_rule": by_rule,
        **totals,
        "chars_in": totals["chars_kept"] + lost["chars_in"],
        "bytes_in": totals["bytes_kept"] + lost["bytes_in"],
    }


REMOVE = Stage("dedup_remove", 3, remove)
