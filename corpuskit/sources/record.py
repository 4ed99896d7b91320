"""What a reader hands on: records that become documents, and a quarantine for those that cannot.

A reader that makes its records one by one yields Records; one that has them in columns yields batches of RECORDS.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from corpuskit.engine.tables import BATCH_ROWS, TableWriter
from corpuskit.schema import QUARANTINED

RECORDS = pa.schema(
    [
        ("record", pa.int64()),
        ("text", pa.string()),
        ("url", pa.string()),
        ("timestamp", pa.string()),
        ("fields", pa.string()),  # JSON, or null
    ]
)


class Record(NamedTuple):
    """One upstream record, before it becomes a document."""

    number: int  # position in the upstream file, or the page id of a Wikipedia page
    text: str
    url: str | None = None
    timestamp: str | None = None
    fields: dict[str, Any] | None = None  # whatever else the input had


class Quarantine:
    """Records that could not be used, written to `quarantined.parquet` as soon as there is one."""

    def __init__(self, folder: Path) -> None:
        self.count = 0
        self.skipped: Counter[str] = (
            Counter()
        )  # records that are no documents by their kind, such as requests in a WARC
        self._path = folder / "quarantined.parquet"
        self._rows: list[dict[str, Any]] = []
        self._writer: TableWriter | None = None

    def add(self, file: str, record: int, error: str, excerpt: bytes | str = b"") -> None:
        """Note one unusable record."""
        self.count += 1
        shown = excerpt[:800].decode("utf-8", "replace") if isinstance(excerpt, bytes) else excerpt
        self._rows.append({"file": file, "record": record, "error": error[:500], "excerpt": shown[:200]})
        if len(self._rows) == BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer = self._writer or TableWriter(self._path, QUARANTINED)
            self._writer.write(pa.RecordBatch.from_pylist(self._rows, QUARANTINED))
            self._rows = []

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        if self._writer:
            self._writer.__exit__(None, None, None)
