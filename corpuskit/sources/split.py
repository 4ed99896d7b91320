"""Split: cut a stream that can only be read from its start into parts that can be cleaned side by side.

CC-100 is one xz stream of 70 GB; decompressing it is 10 times faster than cleaning it, so one pass cuts it into parts
of whole documents. The cut depends on the text alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter
from corpuskit.sources.cc100 import split_cc100

PART = pa.schema([("record", pa.int64()), ("text", pa.binary()), ("error", pa.string())])
PART_BYTES = 64 << 20
_BATCH_BYTES = 4 << 20


def split(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Write parts/<n>.parquet with the records of one stream; bad ones keep their place and carry an error."""
    folder = scratch / "parts"
    folder.mkdir()
    number = part = size = batch_size = 0
    rows: list[dict[str, Any]] = []
    writer = TableWriter(folder / f"{part:05d}.parquet", PART)
    for number, (raw, error) in enumerate(split_cc100(shard.inputs[0].path)):
        if size >= PART_BYTES:
            writer.write(pa.RecordBatch.from_pylist(rows, PART))
            writer.__exit__(None, None, None)
            part, size, batch_size, rows = part + 1, 0, 0, []
            writer = TableWriter(folder / f"{part:05d}.parquet", PART)
        rows.append({"record": number, "text": raw, "error": error})
        size += len(raw or b"")
        batch_size += len(raw or b"")
        if batch_size >= _BATCH_BYTES:
            writer.write(pa.RecordBatch.from_pylist(rows, PART))
            batch_size, rows = 0, []
    writer.write(pa.RecordBatch.from_pylist(rows, PART))
    writer.__exit__(None, None, None)
    return {"source": shard.labels["source"], "parts": part + 1}


STAGE = Stage("split", 1, split)
