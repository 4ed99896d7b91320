"""The decide stage: verdicts from the signals of one shard alone; no text is read.

Writes verdicts.parquet (VERDICT, row by row beside the signals), rows.parquet (the row numbers of the documents that
are kept, which is all that later steps depend on) and samples.parquet (of each rule and severity the documents with
the smallest keyed hash of their id, for a look at what a rule removes).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import ROWS, TableWriter, read_batches
from corpuskit.filters.rules import KEPT, Verdicts, count_verdicts, from_params, judge, new_counts, rule_column
from corpuskit.rulesets import Rule
from corpuskit.schema import MEASURED, VERDICT

SAMPLES = 20  # documents shown of each rule and severity
_KEY = 0x636F727075736B69  # keeps the sample apart from every other choice that is made by a hash of the id

SAMPLE = pa.schema(
    [
        ("rule", pa.string()),
        ("severity", pa.int32()),
        ("key", pa.uint64()),  # the keyed hash of the id
        ("row", pa.int64()),
        ("id", pa.string()),
        ("value", pa.float64()),
    ]
)


def decide(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The verdicts on one shard. Its input is the signals file.

    Params: `rules` (see rules.as_params), `preset` (their name).
    Counts: see rules.new_counts; `in` is the number of documents.
    """
    rules = from_params(params["rules"])
    counts: dict[str, Any] = {"source": shard.labels["source"], **new_counts(rules), "in": 0}
    failed: list[pa.RecordBatch] = []
    with (
        TableWriter(scratch / "verdicts.parquet", VERDICT) as verdicts,
        TableWriter(scratch / "rows.parquet", ROWS) as rows,
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
            verdict = pa.RecordBatch.from_arrays(columns, schema=VERDICT)
            verdicts.write(verdict)
            rows.write(pa.RecordBatch.from_arrays([pa.array(first_row + np.flatnonzero(kept))], schema=ROWS))
            failed.append(sample_of(verdict.filter(pa.array(~kept)), first_row + np.flatnonzero(~kept)))
            sizes = (batch.column(name).to_numpy() for name in ("characters", "bytes"))
            count_verdicts(counts, judged, rules, *sizes)
    with TableWriter(scratch / "samples.parquet", SAMPLE) as samples:
        for batch in smallest(pa.Table.from_batches(failed, SAMPLE)).to_batches():
            samples.write(batch)
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


def sample_keys(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """The keyed hash of each id, by which documents are sampled."""
    digest = xxhash.xxh3_64_intdigest
    return np.fromiter((digest(id_, _KEY) for id_ in ids.cast(pa.binary()).to_pylist()), np.uint64, len(ids))


def sample_of(verdicts: pa.RecordBatch, rows: npt.NDArray[np.int64]) -> pa.RecordBatch:
    """Dropped documents as candidates for the sample."""
    ids = verdicts.column("id")
    columns = [verdicts.column("rule"), verdicts.column("severity"), pa.array(sample_keys(ids)), pa.array(rows)]
    return pa.RecordBatch.from_arrays([*columns, ids, verdicts.column("value")], schema=SAMPLE)


def smallest(candidates: pa.Table) -> pa.Table:
    """Of each rule and severity the SAMPLES candidates with the smallest keys, in that order."""
    table = candidates.take(
        pc.sort_indices(candidates, [(name, "ascending") for name in ("rule", "severity", "key", "id")])
    ).combine_chunks()
    if not table.num_rows:
        return table
    rule, severity = (table[name].combine_chunks() for name in ("rule", "severity"))
    changes = pc.or_(pc.not_equal(rule[1:], rule[:-1]), pc.not_equal(severity[1:], severity[:-1]))
    starts = np.concatenate([[True], changes.to_numpy(zero_copy_only=False)])
    place = np.arange(table.num_rows)
    return table.filter(pa.array(place - np.maximum.accumulate(np.where(starts, place, 0)) < SAMPLES))


STAGE = Stage("decide", 1, decide)
