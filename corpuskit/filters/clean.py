"""The clean stage: read, normalise, measure, decide, in one pass over each shard.

Writes, beside the receipt: kept.parquet, removed.parquet (with rule and value), signals.parquet (every document, in
reading order, and its verdict) and, when there is something to put there, quarantined.parquet.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter
from corpuskit.filters.language import language_probability
from corpuskit.filters.rules import KEPT, failing, from_params, verdicts
from corpuskit.filters.signals import SIGNALS, measure
from corpuskit.schema import DOCUMENT, REMOVED, add_sizes
from corpuskit.sources.read import read_documents
from corpuskit.sources.record import Quarantine
from corpuskit.text.normalize import normalize_column
from corpuskit.text.shadow import shadow_column


def signal_names(language_label: str | None) -> tuple[str, ...]:
    """The signals `clean` measures, in the order of their columns."""
    return (*SIGNALS, "language_probability") if language_label else SIGNALS


def clean(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Clean one shard. Its second input, where there is one, is the language model.

    Params: `normalize` (profile), `language` (fastText label or None), `rules` (name, signal, min, max of each).
    Counts: documents in, kept, dropped by first failing rule, failing per rule, quarantined; characters and bytes.
    """
    rules = from_params(params["rules"])
    names = signal_names(params["language"])
    schema = pa.schema([("id", pa.string()), *((n, pa.float32()) for n in names), ("rule", pa.string())])
    counts: dict[str, Any] = {
        "source": shard.labels["source"],
        **dict.fromkeys(("in", "kept", "quarantined", "chars_in", "chars_kept", "bytes_in", "bytes_kept"), 0),
        "dropped": {r.name: 0 for r in rules},
        "failing": {r.name: 0 for r in rules},
    }
    quarantine = Quarantine(scratch)
    with (
        TableWriter(scratch / "kept.parquet", DOCUMENT) as kept,
        TableWriter(scratch / "removed.parquet", REMOVED) as removed,
        TableWriter(scratch / "signals.parquet", schema) as signals_file,
    ):
        for batch in read_documents(shard, quarantine):
            texts = normalize_column(batch.column("text"), params["normalize"])
            signals = measure(shadow_column(texts)).astype(np.float32)
            if params["language"]:
                language = language_probability(texts, params["language"], shard.inputs[1].path)
                signals = np.column_stack([signals, language.astype(np.float32)])
            fails = failing(signals, names, rules)
            verdict = verdicts(fails)
            keep = verdict == KEPT
            rule_names = pa.array([None if v == KEPT else rules[v].name for v in verdict], pa.string())

            documents = batch.set_column(1, DOCUMENT.field("text"), texts)
            kept_batch = documents.filter(pa.array(keep))
            kept.write(kept_batch)
            rows = np.flatnonzero(~keep)
            values = [float(signals[row, names.index(rules[verdict[row]].signal)]) for row in rows]
            dropped_batch = documents.take(pa.array(rows))
            reasons = [
                pa.array(["clean"] * len(rows), pa.string()),
                rule_names.take(pa.array(rows)),
                pa.array(values, pa.float64()),
            ]
            removed.write(pa.RecordBatch.from_arrays([*dropped_batch.columns, *reasons], schema=REMOVED))
            columns = [pa.array(np.ascontiguousarray(signals[:, i])) for i in range(len(names))]
            signals_file.write(pa.RecordBatch.from_arrays([batch.column("id"), *columns, rule_names], schema=schema))

            counts["in"] += batch.num_rows
            counts["kept"] += kept_batch.num_rows
            add_sizes(counts, "in", batch.column("text"))
            add_sizes(counts, "kept", kept_batch.column("text"))
            for at, rule in enumerate(rules):
                counts["dropped"][rule.name] += int((verdict == at).sum())
                counts["failing"][rule.name] += int(fails[:, at].sum())
    quarantine.close()
    counts["in"] += quarantine.count
    counts["quarantined"] = quarantine.count
    counts["skipped"] = dict(sorted(quarantine.skipped.items()))
    return counts


STAGE = Stage("clean", 1, clean)
