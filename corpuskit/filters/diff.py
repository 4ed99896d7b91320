"""What moves between two sets of rules, from the signals of one shard alone; nothing is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.engine.tables import read_batches
from corpuskit.filters.decide import signal_matrix
from corpuskit.filters.rules import KEPT, Verdicts, count_verdicts, judge, new_counts, rule_column
from corpuskit.filters.sample import SAMPLE, sample_keys, smallest
from corpuskit.rulesets import RuleSet
from corpuskit.schema import MEASURED

LEFT, RETURNED = 1, 2  # what `severity` says in the samples of a comparison


class Moves(NamedTuple):
    """Two sets of rules on the same documents.

    `left` are documents the first set keeps and the second drops, `returned` the others that move; both in documents,
    characters and bytes, and by the rule that drops them. `before` and `after` are the counts of rules.new_counts.
    """

    before: dict[str, Any]
    after: dict[str, Any]
    left: dict[str, Any]
    returned: dict[str, Any]
    samples: pa.Table  # SAMPLE, with LEFT or RETURNED as severity


def compare(path: str | Path, before: RuleSet, after: RuleSet) -> Moves:
    """What moves when `after` takes the place of `before`, on the documents of one signals file."""
    names = sorted({rule.signal for rules in (before, after) for rule in rules.rules})
    counts = [new_counts(rules.rules) for rules in (before, after)]
    moved = [_none(rules) for rules in (after, before)]
    samples = []
    first_row = 0
    for batch in read_batches(path, [*MEASURED.names, *names]):
        signals = signal_matrix(batch, names)
        sizes = [batch.column(name).to_numpy() for name in ("characters", "bytes")]
        judged = [judge(signals, names, rules.rules) for rules in (before, after)]
        for count, verdicts, rules in zip(counts, judged, (before, after), strict=True):
            count_verdicts(count, verdicts, rules.rules, *sizes)
        kept = [verdicts.first == KEPT for verdicts in judged]
        for way, out, rules, verdicts, rows in (
            (LEFT, moved[0], after, judged[1], np.flatnonzero(kept[0] & ~kept[1])),
            (RETURNED, moved[1], before, judged[0], np.flatnonzero(kept[1] & ~kept[0])),
        ):
            for name, size in zip(("characters", "bytes"), sizes, strict=True):
                out[name] += int(size[rows].sum())
            out["documents"] += len(rows)
            for rule, count in zip(
                rules.rules, np.bincount(verdicts.first[rows], minlength=len(rules.rules)), strict=True
            ):
                out["rules"][rule.name] += int(count)
            samples.append(_sample(batch, verdicts, rules, rows, first_row, way))
        first_row += batch.num_rows
    return Moves(counts[0], counts[1], moved[0], moved[1], smallest(pa.Table.from_batches(samples, SAMPLE)))


def add(one: Moves, other: Moves) -> Moves:
    """The moves of two shards together, without samples."""
    before, after, left, returned = (_add(a, b) for a, b in zip(one[:4], other[:4], strict=True))
    return Moves(before, after, left, returned, SAMPLE.empty_table())


def _add(a: Any, b: Any) -> Any:
    if isinstance(a, dict):
        return {key: _add(a[key], b[key]) for key in a}
    if isinstance(a, list):
        return [_add(x, y) for x, y in zip(a, b, strict=True)]
    return a + b


def _none(rules: RuleSet) -> dict[str, Any]:
    return {**dict.fromkeys(("documents", "characters", "bytes"), 0), "rules": {rule.name: 0 for rule in rules.rules}}


def _sample(
    batch: pa.RecordBatch, verdicts: Verdicts, rules: RuleSet, rows: npt.NDArray[np.int64], first_row: int, way: int
) -> pa.RecordBatch:
    ids = batch.column("id").take(pa.array(rows))
    columns = [
        rule_column(verdicts, rules.rules).take(pa.array(rows)),
        pa.array(np.full(len(rows), way, np.int32)),
        pa.array(sample_keys(ids)),
        pa.array(first_row + rows),
        ids,
        pa.array(verdicts.value[rows]),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SAMPLE)
