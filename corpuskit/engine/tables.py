"""Parquet as every stage reads and writes it: compressed, row groups of one batch, streamed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from corpuskit.config import Failure

BATCH_BYTES = 16 << 20  # text bytes a batch may hold before it is handed on; bounds a worker's memory
BATCH_ROWS = 4096
NUMBER_ROWS = 1 << 16  # of a table without texts: each row group costs a fixed time a column

ROWS = pa.schema([("row", pa.int64())])  # a selection of rows of another file: their numbers, ascending

_REPEATED = ["source", "lang", "step", "rule", "type", "file"]  # columns a dictionary is worth trying for
Compression = tuple[str, int | None]  # the codec's name and level
ZSTD: Compression = ("zstd", 3)
FAST_ZSTD: Compression = ("zstd", 1)  # two thirds of the time, a tenth to a sixth larger: texts a step only hands on
LZ4: Compression = ("lz4", None)  # for many small columns, which are read in half the time; a quarter larger
_PAGE_CHECK_ROWS = 64  # pages near 1 MB also where rows are long: zstd takes a fifth less time than on pages of 10 MB


class TableWriter:
    """Writes one Parquet file batch by batch. The file exists, with its schema, even when no batch comes.

    Small batches are gathered into row groups of about `group` rows or BATCH_BYTES bytes, so that the file's bytes
    depend on its rows alone as long as batches come cut the same way.
    """

    def __init__(self, path: Path, schema: pa.Schema, compression: Compression = ZSTD, group: int = BATCH_ROWS) -> None:
        self.rows = 0
        self._group = group
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._writer = pq.ParquetWriter(
            path,
            schema,
            compression=compression[0],
            compression_level=compression[1],
            use_dictionary=_REPEATED,
            write_batch_size=_PAGE_CHECK_ROWS,
            store_schema=False,
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch with the writer's schema."""
        if batch.num_rows == 0:
            return
        self.rows += batch.num_rows
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        self._waiting_bytes += batch.get_total_buffer_size()
        if self._waiting_rows >= self._group or self._waiting_bytes >= BATCH_BYTES:
            self.cut()

    def cut(self) -> None:
        """End the row group here, however small it is."""
        if self._waiting:
            table = pa.Table.from_batches(self._waiting, self._schema).combine_chunks()
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
            self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.cut()
        self._writer.close()


def read_batches(path: str | Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The batches of a Parquet file, one row group at a time."""
    with open_parquet(path) as file:
        for group in range(file.num_row_groups):
            yield from file.read_row_group(group, columns=columns, use_threads=False).combine_chunks().to_batches()


def open_parquet(path: str | Path) -> pq.ParquetFile:
    """A Parquet file that an earlier step wrote, mapped into memory.

    Raises:
        Failure: it is not there, or not whole.
    """
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowInvalid, FileNotFoundError) as error:
        raise Failure(
            f"{path}: is missing or damaged; the command that wrote it makes it anew ({str(error).splitlines()[0]})"
        ) from None


def read_selected(
    path: str | Path, selection: str | Path | npt.NDArray[np.int64] | None, columns: list[str] | None = None
) -> Iterator[tuple[npt.NDArray[np.int64], pa.RecordBatch]]:
    """Chosen rows of a Parquet file with their numbers, a row group at a time; row groups without any are not read.

    Args:
        path: the file.
        selection: a file of ROWS, or the ascending row numbers themselves; None for all rows.
        columns: the columns to read; None for all.
    """
    chosen: npt.NDArray[np.int64] | None = selection if not isinstance(selection, str | Path) else None
    if isinstance(selection, str | Path):
        chosen = pq.read_table(selection, schema=ROWS)["row"].to_numpy()
    start = 0
    with open_parquet(path) as file:
        for group in range(file.num_row_groups):
            end = start + file.metadata.row_group(group).num_rows
            rows = np.arange(start, end)
            if chosen is not None:
                rows = chosen[slice(*np.searchsorted(chosen, [start, end]))]
            if len(rows):
                [batch] = file.read_row_group(group, columns=columns, use_threads=False).combine_chunks().to_batches()
                yield rows, batch if len(rows) == end - start else batch.take(pa.array(rows - start))
            start = end
