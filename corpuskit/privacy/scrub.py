"""The scrub stage: documents in, the same documents with personal information masked out, and a list of what was found.

Writes kept.parquet (DOCUMENT) and findings.parquet (FINDING: where something was, never what it was).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter, read_batches
from corpuskit.privacy.detect import find, mask
from corpuskit.schema import DOCUMENT, FINDING, add_sizes


def scrub(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Mask the personal information of one documents file.

    Args:
        shard: one input, a Parquet file of DOCUMENT rows; the label `source` is passed on.
        scratch: where the outputs are written.
        params: `types`, the types to look for, see detect.TYPES; `patterns`, the hash of their file.

    Returns:
        Counts: documents `in` and `kept` (all of them), `masked_documents`, `findings` by type, code points and UTF-8
        bytes of text before (`chars_in`, `bytes_in`) and after (`chars_kept`, `bytes_kept`).
    """
    types: list[str] = params["types"]
    per_type = dict.fromkeys(types, 0)
    documents = masked_documents = 0
    sizes = dict.fromkeys(("chars_in", "chars_kept", "bytes_in", "bytes_kept"), 0)
    [source] = shard.inputs
    with (
        TableWriter(scratch / "kept.parquet", DOCUMENT) as kept,
        TableWriter(scratch / "findings.parquet", FINDING) as found,
    ):
        for batch in read_batches(source.path, DOCUMENT.names):
            texts = batch["text"]
            findings = find(texts, types)
            masked = mask(texts, findings)
            kept.write(batch.set_column(DOCUMENT.get_field_index("text"), DOCUMENT.field("text"), masked))
            rows = pa.array([f.row for f in findings], pa.int64())
            columns = [
                batch["id"].take(rows),
                pa.array([f.type for f in findings], pa.string()),
                pa.array([f.start for f in findings], pa.int64()),
                pa.array([f.end for f in findings], pa.int64()),
            ]
            found.write(pa.RecordBatch.from_arrays(columns, schema=FINDING))
            documents += batch.num_rows
            masked_documents += len({f.row for f in findings})
            for finding in findings:
                per_type[finding.type] += 1
            add_sizes(sizes, "in", texts)
            add_sizes(sizes, "kept", masked)
    return {
        "source": shard.labels["source"],
        "in": documents,
        "kept": documents,
        "masked_documents": masked_documents,
        "findings": per_type,
        **sizes,
    }


STAGE = Stage("scrub", 1, scrub)
