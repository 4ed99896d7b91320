"""Weights: how many times as often as others a document is trained on, by the size of its cluster of duplicates.

The tables are rules/dedup/weights/*.yaml. `mix` writes the chosen one into the mixture, `pack` puts documents of one
weight together, and the order of windows gives those of weight k k times in every pass (mix/order.py).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import AfterValidator, Field

from corpuskit.config import Strict, UserError, data_dir, is_path, load_file, suggest
from corpuskit.engine.plan import file_sha256
from corpuskit.text.buffers import Positions

MOST = 100  # times
MOST_DOCUMENTS = 10**12  # in a cluster


def _weighs_every_size(times: dict[int, int]) -> dict[int, int]:
    if min(times, default=0) != 1 or max(times) > MOST_DOCUMENTS:
        raise ValueError("the first size of cluster is 1, of documents without a duplicate, and the last at most 10^12")
    if not all(1 <= k <= MOST for k in times.values()):
        raise ValueError(f"a weight is a whole number from 1 to {MOST}")
    return times


Times = Annotated[dict[int, int], AfterValidator(_weighs_every_size)]  # from this size of cluster on, so many times


class Weights(Strict):
    """A table of weights as a mixture and a receipt hold it."""

    name: str
    sha256: str  # of its file
    times: Times

    def of(self, sizes: Positions) -> Positions:
        """The weight of clusters of these sizes."""
        first, times = (np.array(column, np.int64) for column in zip(*sorted(self.times.items()), strict=True))
        return times[np.searchsorted(first, sizes, side="right") - 1]


class WeightsFile(Strict):
    """A file of weights."""

    name: str = Field(pattern=r"^[\w.-]{1,64}$")
    lang: str
    source: str = Field(min_length=1)  # where the numbers come from
    times: Times


def load_weights(name_or_path: str) -> tuple[str, Weights]:
    """A shipped table by name, or a file by path (it holds a slash or ends in .yaml); with the language it is for.

    Raises:
        UserError: no such table or file, or the file says something it may not.
    """
    path = Path(name_or_path)
    if not is_path(name_or_path):
        shipped = {p.stem: p for p in (data_dir("rules") / "dedup" / "weights").glob("*.yaml")}
        if name_or_path not in shipped:
            raise UserError(f"--weights {name_or_path}: there is no such table{suggest(name_or_path, shipped)}")
        path = shipped[name_or_path]
    elif not path.is_file():
        raise UserError(f"--weights {name_or_path}: no such file")
    file = load_file(path, WeightsFile)
    return file.lang, Weights(name=file.name, sha256=file_sha256(path), times=file.times)


class ClusterSizes:
    """The sizes of the clusters of one file of documents, from the signals `dedup` wrote for it."""

    def __init__(self, signals: str) -> None:
        self._path = signals
        found = pq.read_table(signals, columns=["id", "cluster_size"])
        self._ids, self._sizes = (found[name].combine_chunks() for name in ("id", "cluster_size"))

    def of(self, ids: pa.Array) -> Positions:
        """For each id the size of its cluster, 1 where it has no duplicate.

        Raises:
            UserError: the file knows nothing of a document.
        """
        rows = pc.index_in(ids, value_set=self._ids)
        if rows.null_count:
            unknown = ids.filter(rows.is_null())[0]
            raise UserError(f"{self._path}: has no document {unknown}, which is in the corpus; make the corpus again")
        return self._sizes.take(rows).to_numpy()
