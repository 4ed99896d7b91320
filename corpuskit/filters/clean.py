"""The clean stage: read, normalise, measure, in one pass over each shard; and decide, where it is given rules.

In a workspace it knows no rules and writes, beside the receipt, documents.parquet and signals.parquet, row by row
beside them; decide.py makes the verdicts from the signals alone. On files that are in no workspace it is given rules
and writes kept.parquet, removed.parquet (with rule and value) and signals.parquet (every document, in reading order,
and its verdict). Either way there is quarantined.parquet when there is something to put there.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter
from corpuskit.filters.language import language_probability
from corpuskit.filters.rules import KEPT, count_verdicts, from_params, judge, new_counts, rule_column
from corpuskit.filters.signals import SIGNALS, measure
from corpuskit.schema import DOCUMENT, MEASURED, REMOVED, add_sizes
from corpuskit.sources.read import read_documents
from corpuskit.sources.record import Quarantine
from corpuskit.text.normalize import normalize_column
from corpuskit.text.shadow import shadow_column


def signal_names(language_label: str | None) -> tuple[str, ...]:
    """The signals `clean` measures, in the order of their columns."""
    return (*SIGNALS, "language_probability") if language_label else SIGNALS


def clean(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Clean one shard. Its second input, where there is one, is the language model.

    Params: `normalize` (profile), `language` (fastText label or None), `rules` (see rules.as_params; None measures and
    keeps every document).
    Counts: documents in, kept, quarantined; characters and bytes; with rules, what rules.new_counts has.
    """
    rules = None if params["rules"] is None else from_params(params["rules"])
    names = signal_names(params["language"])
    measured = pa.schema([*MEASURED, *((n, pa.float32()) for n in names)])
    counts: dict[str, Any] = {
        "source": shard.labels["source"],
        **dict.fromkeys(("in", "quarantined", "chars_in", "bytes_in", "kept", "chars_kept", "bytes_kept"), 0),
        **(new_counts(rules) if rules is not None else {}),
    }
    if rules is None:
        files = {"documents": DOCUMENT, "signals": measured}
    else:
        files = {"kept": DOCUMENT, "removed": REMOVED, "signals": measured.append(pa.field("rule", pa.string()))}
    quarantine = Quarantine(scratch)
    with ExitStack() as stack:
        out = {kind: stack.enter_context(TableWriter(scratch / f"{kind}.parquet", s)) for kind, s in files.items()}
        for batch in read_documents(shard, quarantine):
            texts = normalize_column(batch.column("text"), params["normalize"])
            signals = measure(shadow_column(texts)).astype(np.float32)
            if params["language"]:
                language = language_probability(texts, params["language"], shard.inputs[1].path)
                signals = np.column_stack([signals, language.astype(np.float32)])
            documents = batch.set_column(1, DOCUMENT.field("text"), texts)
            characters, size = pc.utf8_length(texts).cast(pa.int64()), pc.binary_length(texts).cast(pa.int64())
            columns = [pa.array(np.ascontiguousarray(signals[:, i])) for i in range(len(names))]
            rows = [batch.column("id"), characters, size, *columns]
            counts["in"] += batch.num_rows
            add_sizes(counts, "in", batch.column("text"))
            if rules is None:
                out["documents"].write(documents)
                counts["kept"] += documents.num_rows
                add_sizes(counts, "kept", texts)
            else:
                judged = judge(signals, names, rules)
                dropped = judged.first != KEPT
                rows.append(rule_column(judged, rules))
                out["kept"].write(documents.filter(pa.array(~dropped)))
                leaving = documents.filter(pa.array(dropped))
                why = [pa.array(["clean"] * leaving.num_rows, pa.string()), rows[-1].drop_null()]
                values = pa.array(judged.value[dropped])
                out["removed"].write(pa.RecordBatch.from_arrays([*leaving.columns, *why, values], schema=REMOVED))
                count_verdicts(counts, judged, rules, characters.to_numpy(), size.to_numpy())
            out["signals"].write(pa.RecordBatch.from_arrays(rows, schema=files["signals"]))
    quarantine.close()
    counts["in"] += quarantine.count
    counts["quarantined"] = quarantine.count
    counts["skipped"] = dict(sorted(quarantine.skipped.items()))
    return counts


STAGE = Stage("clean", 2, clean)
