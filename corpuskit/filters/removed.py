"""What is written of documents that a step removes: every one, a sample, or none."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa

from corpuskit.config import KeepRemoved
from corpuskit.engine.tables import TableWriter
from corpuskit.filters.sample import sample_of, smallest
from corpuskit.schema import REMOVED


class RemovedWriter(TableWriter):
    """Writes removed.parquet: the REMOVED rows it is given, in the order they come.

    Args:
        path: the file; it exists whatever is kept.
        keep: `all`; `none`; or `sample`, of each rule the sample.SAMPLES documents of this file with the smallest keyed
            hash of their id. The choice does not depend on how batches are cut, and the report, which looks at the
            smallest hashes of all files, shows the same documents as it does for `all`.
    """

    def __init__(self, path: Path, keep: KeepRemoved) -> None:
        super().__init__(path, REMOVED)
        self._keep = keep
        self._held = REMOVED.empty_table()

    def write(self, batch: pa.RecordBatch) -> None:
        """Append REMOVED rows."""
        if self._keep == "all":
            super().write(batch)
        elif self._keep == "sample" and batch.num_rows:
            both = pa.concat_tables([self._held, pa.Table.from_batches([batch])])
            whys = both.select(["id", "rule", "value"]).combine_chunks().to_batches()[0]
            verdicts = whys.append_column("severity", pa.array(np.ones(both.num_rows, np.int32)))
            chosen = smallest(pa.Table.from_batches([sample_of(verdicts, np.arange(both.num_rows))]))
            stays = np.zeros(both.num_rows, np.bool_)
            stays[chosen["row"].to_numpy()] = True
            self._held = both.filter(pa.array(stays))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for batch in self._held.to_batches():
            super().write(batch)
        super().__exit__(kind, error, trace)
