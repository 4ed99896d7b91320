"""Rows of a Parquet file chosen by another file: these, with their numbers, and no others."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpuskit.engine.tables import ROWS, read_selected


@pytest.mark.parametrize("chosen", [None, [], [0], [9], [0, 1, 2, 3], [2, 3, 8], list(range(10))])
def test_the_chosen_rows_come_with_their_numbers(tmp_path: Path, chosen: list[int] | None) -> None:
    table = pa.table({"text": [f"文{n}" for n in range(10)], "id": list(range(10))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=4)
    selection = None
    if chosen is not None:
        selection = tmp_path / "rows.parquet"
        pq.write_table(pa.table({"row": chosen}, ROWS), selection)
    batches = list(read_selected(tmp_path / "a.parquet", selection, ["text"]))
    wanted = list(range(10)) if chosen is None else chosen
    assert [int(row) for rows, _ in batches for row in rows] == wanted
    assert [text for _, batch in batches for text in batch["text"].to_pylist()] == [f"文{n}" for n in wanted]
    assert all(batch.num_rows == len(rows) > 0 for rows, batch in batches)
