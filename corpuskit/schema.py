"""The Arrow schemas every stage reads and writes, and the document id.

A stage hands its documents on as Parquet files of `DOCUMENT` rows; removed documents carry three more columns that
say why. Signals and verdicts stand in files of their own, row by row beside the documents that were measured.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import xxhash

DOCUMENT = pa.schema(
    [
        ("id", pa.string()),  # 32 hex digits, see document_id
        ("text", pa.string()),
        ("url", pa.string()),  # null where upstream gives none (CC-100)
        ("source", pa.string()),  # mc4, cc100, jawiki, ...
        ("lang", pa.string()),
        ("timestamp", pa.string()),  # ISO 8601 as upstream wrote it, or null
        ("meta", pa.string()),  # JSON: upstream file, record number, and whatever else the input had
    ]
)

REMOVED = pa.schema(
    [
        *DOCUMENT,
        ("step", pa.string()),  # clean, dedup
        ("rule", pa.string()),  # the first rule that failed, or exact_duplicate, near_duplicate
        ("value", pa.float64()),  # what was measured: the signal's value, or the Jaccard to the survivor
    ]
)

CUT = pa.schema(  # what the line-wise corrections took out of a text
    [
        ("id", pa.string()),
        ("line", pa.int64()),  # counted from 0, blank lines too
        ("start", pa.int64()),  # characters start to end of the normalised text, with the line ends that go along
        ("end", pa.int64()),
        ("rule", pa.string()),  # of rules/<lang>/lines.yaml
        ("text", pa.string()),
    ]
)

MEASURED = pa.schema(  # the first columns of a signals file; a float32 column for each signal follows
    [
        ("id", pa.string()),
        ("characters", pa.int64()),  # of the document's text, with which a funnel is counted; no rule asks for them
        ("bytes", pa.int64()),
    ]
)

VERDICT = pa.schema(
    [
        ("id", pa.string()),
        ("rule", pa.string()),  # the first rule that failed; null: kept
        ("value", pa.float64()),  # the value of its signal; null: kept
        ("severity", pa.int32()),  # of that failure, from 1, see rulesets.Rule; 0: kept
    ]
)

QUARANTINED = pa.schema(
    [
        ("file", pa.string()),  # upstream file
        ("record", pa.int64()),  # record number in it, counted from 0
        ("error", pa.string()),
        ("excerpt", pa.string()),  # at most 200 characters, for a look
    ]
)

FINDING = pa.schema(
    [
        ("id", pa.string()),
        ("type", pa.string()),
        ("start", pa.int64()),  # character offsets in the text before masking; the value itself is never written
        ("end", pa.int64()),
    ]
)

SPAN = pa.schema(
    [
        ("id", pa.string()),
        ("rule", pa.string()),  # repeated_span, frequent_paragraphs
        ("start", pa.int64()),  # character offsets in the text before the cut
        ("end", pa.int64()),
        ("count", pa.int64()),  # how often the corpus has it
        ("first_id", pa.string()),  # where it stands first and stays, null for paragraphs
        ("first_start", pa.int64()),
    ]
)

CLUSTER = pa.schema(
    [
        ("id", pa.string()),
        ("survivor", pa.string()),
        ("cluster_size", pa.int64()),
        ("jaccard", pa.float64()),  # true Jaccard of the shingle sets, to the survivor
    ]
)


def document_id(source: str, file: str, record: int) -> str:
    """The stable 128-bit id of one upstream record, as 32 hex digits.

    It is a hash of where the record stands (source, upstream file, record number), so that the same dump gives the
    same ids in every run, on every machine, whatever the rules do to the text.
    """
    return xxhash.xxh3_128_hexdigest(f"{source}\0{file}\0{record}".encode())


def add_sizes(counts: dict[str, Any], side: str, texts: pa.Array) -> None:
    """Add the characters and UTF-8 bytes of a text column to counts['chars_<side>'] and counts['bytes_<side>']."""
    counts[f"chars_{side}"] += pc.sum(pc.utf8_length(texts)).as_py() or 0
    counts[f"bytes_{side}"] += pc.sum(pc.binary_length(texts)).as_py() or 0
