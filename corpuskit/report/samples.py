"""Removed documents for a look: of each rule and severity always the same ones, chosen by a keyed hash of the id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from corpuskit.engine.store import read_receipts
from corpuskit.engine.tables import read_batches, read_selected
from corpuskit.filters.decide import SAMPLE, sample_of, smallest
from corpuskit.privacy.detect import find, mask

EXCERPT = 300  # characters of each document
_WITH_SHARD = SAMPLE.append(pa.field("shard", pa.string()))


class Sample(NamedTuple):
    """A removed document: what it was removed for, and how its text begins."""

    rule: str
    severity: int
    id: str
    value: float | None  # None: not measured, as for duplicates by URL
    excerpt: str


def removed_samples(workspace: Path, lang: str) -> dict[str, list[Sample]]:
    """By rule, the sampled documents of a language, by rising severity; at most SAMPLES of each rule and severity."""
    out: dict[str, list[Sample]] = {}
    duplicates = [workspace / step / lang for step in ("dedup", "paragraphs", "substring")]
    for candidates, folder, kind in (
        (_decided(workspace / "decide" / lang), workspace / "clean" / lang, "documents"),
        *((_duplicates(folder), folder, "removed") for folder in duplicates),
    ):
        chosen = smallest(pa.concat_tables([_WITH_SHARD.empty_table(), *candidates])).to_pylist()
        texts = read_texts(folder / kind, chosen)
        for row in chosen:
            text = texts[row["shard"], row["row"]]
            sample = Sample(row["rule"], row["severity"], row["id"], row["value"], excerpt(text))
            out.setdefault(row["rule"], []).append(sample)
    return out


def excerpt(text: str, length: int = EXCERPT) -> str:
    """The beginning of a text on one line, personal information masked: what is shown is there to be shared."""
    head = pa.array([text[: 2 * length]], pa.string())
    masked: str = mask(head, find(head, ("email", "phone_jp")))[0].as_py()
    return " ".join(masked[:length].split())


def _decided(folder: Path) -> Iterator[pa.Table]:
    for receipt in read_receipts(folder):
        yield _of_shard(pq.read_table(folder / "samples" / f"{receipt.shard}.parquet", schema=SAMPLE), receipt.shard)


def _duplicates(folder: Path) -> Iterator[pa.Table]:
    for receipt in read_receipts(folder):
        start = 0
        for batch in read_batches(folder / "removed" / f"{receipt.shard}.parquet", ["id", "rule", "value"]):
            verdicts = batch.append_column("severity", pa.array(np.ones(batch.num_rows, np.int32)))
            candidates = sample_of(verdicts, start + np.arange(batch.num_rows))
            yield _of_shard(smallest(pa.Table.from_batches([candidates])), receipt.shard)
            start += batch.num_rows


def _of_shard(candidates: pa.Table, shard: str) -> pa.Table:
    return candidates.append_column(_WITH_SHARD.field("shard"), pa.array([shard] * candidates.num_rows, pa.string()))


def read_texts(folder: Path, chosen: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """The texts of documents named by `shard` and `row`, out of a folder of documents files."""
    texts: dict[tuple[str, int], str] = {}
    for shard in sorted({row["shard"] for row in chosen}):
        wanted = np.array(sorted(row["row"] for row in chosen if row["shard"] == shard), np.int64)
        for rows, batch in read_selected(folder / f"{shard}.parquet", wanted, ["text"]):
            texts |= {(shard, int(row)): text for row, text in zip(rows, batch["text"].to_pylist(), strict=True)}
    return texts
