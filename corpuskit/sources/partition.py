"""The partition plan of one file: which ranges of it are shards of their own. It depends on the file alone.

Split are plain JSON lines and text by line (byte ranges; a range owns the lines that begin in it) and Parquet (ranges
of row groups). Smaller files and compressed streams stay whole. The size also decides how lines are numbered, by count
or by offset, and with that their documents' ids: SPLIT_BYTES is not to be changed.
"""

from __future__ import annotations

from dataclasses import replace

from corpuskit.engine.plan import Input
from corpuskit.sources.codecs import decompressor
from corpuskit.sources.parquet import plan_groups

SPLIT_BYTES = 256_000_000  # a file of this size or more is split
RANGE_BYTES = 128 << 20  # bytes of a range; may change without changing an id


def partition(reader: str, file: Input) -> list[Input]:
    """The file as it is, or its ranges in order."""
    if file.size < SPLIT_BYTES:
        return [file]
    if reader == "parquet":
        return plan_groups(file)
    if reader not in ("jsonl", "lines") or decompressor(file.path) is not None:
        return [file]
    return [
        replace(file, start=start, stop=min(start + RANGE_BYTES, file.size))
        for start in range(0, file.size, RANGE_BYTES)
    ]
