"""Which documents are shown of each rule: always the same ones, those with the smallest keyed hash of their id."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

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
