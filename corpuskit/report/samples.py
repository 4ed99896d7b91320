"""Removed documents for a look: of each rule and severity always the same ones, chosen by a keyed hash of the id."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from corpuskit.engine.store import read_receipts
from corpuskit.engine.tables import read_batches, read_selected
from corpuskit.filters.sample import SAMPLE, sample_of, smallest
from corpuskit.privacy.detect import find, mask
from corpuskit.schema import VERDICT

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
        (_candidates(workspace / "decide" / lang, "verdicts", VERDICT.names), workspace / "clean" / lang, "documents"),
        *((_candidates(folder, "removed", ["id", "rule", "value"]), folder, "removed") for folder in duplicates),
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


def _candidates(folder: Path, kind: str, columns: list[str]) -> Iterator[pa.Table]:
    """The removed documents of each row group of a stage's files that the sample may hold: those with a rule."""
    for receipt in read_receipts(folder):
        start = 0
        for batch in read_batches(folder / kind / f"{receipt.shard}.parquet", columns):
            rows = np.flatnonzero(batch["rule"].is_valid().to_numpy(zero_copy_only=False))
            if "severity" not in columns:  # what dedup removes is a duplicate or not, by no more or less
                batch = batch.append_column("severity", pa.array(np.ones(batch.num_rows, np.int32)))
            chosen = smallest(pa.Table.from_batches([sample_of(batch.take(pa.array(rows)), start + rows)]))
            shard = pa.array([receipt.shard] * chosen.num_rows, pa.string())
            yield chosen.append_column(_WITH_SHARD.field("shard"), shard)
            start += batch.num_rows


def read_texts(folder: Path, chosen: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """The texts of documents named by `shard` and `row`, out of a folder of documents files."""
    texts: dict[tuple[str, int], str] = {}
    for shard in sorted({row["shard"] for row in chosen}):
        wanted = np.array(sorted(row["row"] for row in chosen if row["shard"] == shard), np.int64)
        for rows, batch in read_selected(folder / f"{shard}.parquet", wanted, ["text"]):
            texts |= {(shard, int(row)): text for row, text in zip(rows, batch["text"].to_pylist(), strict=True)}
    return texts
