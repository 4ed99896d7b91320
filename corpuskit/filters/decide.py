"""The decide stage: verdicts from the signals of one shard alone; no text is read.

Writes verdicts.parquet (VERDICT, row by row beside the signals) and rows.parquet (the row numbers of the documents
that are kept, which is all that later steps depend on).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import LZ4, NUMBER_ROWS, ROWS, TableWriter, read_batches
from corpuskit.filters.rules import KEPT, Verdicts, count_verdicts, from_params, judge, new_counts, rule_column
from corpuskit.rulesets import Rule
from corpuskit.schema import MEASURED, VERDICT


def decide(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The verdicts on one shard. Its input is the signals file.

    Params: `rules` (see rules.as_params), `preset` (their name).
    Counts: see rules.new_counts; `in` is the number of documents.
    """
    rules = from_params(params["rules"])
    counts: dict[str, Any] = {"source": shard.labels["source"], **new_counts(rules), "in": 0}
    with (
        TableWriter(scratch / "verdicts.parquet", VERDICT, LZ4, NUMBER_ROWS) as verdicts,
        TableWriter(scratch / "rows.parquet", ROWS, group=NUMBER_ROWS) as rows,
    ):
        for batch, judged in judged_batches(shard.inputs[0].path, rules):
            first_row, counts["in"] = counts["in"], counts["in"] + batch.num_rows
            kept = judged.first == KEPT
            columns = [
                batch.column("id"),
                rule_column(judged, rules),
                pa.array(judged.value, mask=kept),
                pa.array(judged.severity),
            ]
            verdicts.write(pa.RecordBatch.from_arrays(columns, schema=VERDICT))
            rows.write(pa.RecordBatch.from_arrays([pa.array(first_row + np.flatnonzero(kept))], schema=ROWS))
            sizes = (batch.column(name).to_numpy() for name in ("characters", "bytes"))
            count_verdicts(counts, judged, rules, *sizes)
    return counts


def judged_batches(path: str | Path, rules: Sequence[Rule]) -> Iterator[tuple[pa.RecordBatch, Verdicts]]:
    """The batches of a signals file, columns id, characters and bytes, with what the rules say of them."""
    names = sorted({rule.signal for rule in rules})
    for batch in read_batches(path, [*MEASURED.names, *names]):
        yield batch.select(MEASURED.names), judge(signal_matrix(batch, names), names, rules)


def signal_matrix(batch: pa.RecordBatch, names: Sequence[str]) -> npt.NDArray[np.float32]:
    """Columns of a signals file as judge() takes them: shape (documents, names), each column in one piece."""
    signals = np.empty((len(names), batch.num_rows), np.float32)
    for at, name in enumerate(names):
        signals[at] = batch.column(name).to_numpy(zero_copy_only=False)  # null becomes NaN, which passes no rule
    return signals.T


STAGE = Stage("decide", 2, decide)
