"""pairs: from the keys of some bands to the pairs their buckets propose.

A band is looked at in `parts` ranges of its keys, one after the other: what shares a bucket shares a key, so the ranges
decide nothing but how much is in memory at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from corpuskit.dedup.cluster import bucket_pairs
from corpuskit.dedup.exact import in_part, removed_mask
from corpuskit.dedup.signatures import Signatures, band_column
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter

PAIR = pa.schema([("a", pa.uint64()), ("b", pa.uint64())])  # names of two documents, a <= b
BYTES_PER_ROW = 80  # of a range: keys, names, their order and the copies made while they are sorted

_ROWS = 1 << 16


def pairs(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The pairs of the bands first to last of the shard's labels, a pair at most once a band.

    The shard's inputs are all signature files, `signatures` of them, then what is no head of exact duplicates.
    """
    labels = {name: int(value) for name, value in shard.labels.items()}
    signatures = Signatures.open(shard.inputs[: labels["signatures"]])
    dead = removed_mask(shard.inputs[labels["signatures"] :], len(signatures))
    with TableWriter(scratch / "pairs.parquet", PAIR) as writer:
        for band in range(labels["first"], labels["last"] + 1):
            columns = [band_column(band), band_column((band + 1) % params["bands"]), "name"]
            for part in range(labels["parts"]):
                found: list[list[np.ndarray[Any, Any]]] = [[], [], []]
                for start, batch in signatures.read(list(dict.fromkeys(columns))):
                    arrays = [batch.column(column).to_numpy() for column in columns]
                    wanted = in_part(arrays[0], part, labels["parts"]) & (arrays[2] != 0)
                    wanted &= ~dead[start : start + batch.num_rows]
                    for kept, array in zip(found, arrays, strict=True):
                        kept.append(array[wanted])
                if found[0]:
                    left, right = bucket_pairs(*(np.concatenate(kept) for kept in found))
                    for at in range(0, len(left), _ROWS):
                        both = [pa.array(side[at : at + _ROWS]) for side in (left, right)]
                        writer.write(pa.RecordBatch.from_arrays(both, schema=PAIR))
        return {"in": len(signatures), "pairs": writer.rows}


PAIRS = Stage("dedup_pairs", 1, pairs)
