"""What a setting finds and what it costs, before it runs: the detection curve, RAM, disk and time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from corpuskit.config import Dedup
from corpuskit.dedup.minhash import Matching, band_keys, candidate_probability

SIMILARITIES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)

# Costs, measured on the texts of benchmarks/ (README there); they move with the kind of text and the machine.
_SIGN_SECONDS_PER_BYTE = 1 / 90e6  # reading, hashing and writing without the sketch
_SKETCH_SECONDS_PER_DOCUMENT_HASH = 60e-9
_REST_SECONDS_PER_BYTE = 1 / 70e6  # candidates read back and verified, documents written
_BYTES_PER_ROW = 100  # of a signatures file, without band keys
_TEXT_RATIO = 0.35  # of compressed text to text
_CANDIDATE_SHARE = 0.3  # of documents that are in some pair


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run over so much text is expected to need; rough, and said to be."""

    documents: int
    text_bytes: int
    ram_bytes: int  # of one worker
    disk_bytes: int  # beside the documents themselves: signatures, pairs, candidates, what is kept and removed
    cpu_seconds: float


def detection(params: Dedup) -> dict[str, float]:
    """P(a pair is joined) by Jaccard: the step of verification for `pairs`, the S of the bands for `sample`."""
    step = params.threshold if params.verify == "pairs" else 0.0
    return {f"{j:g}": round(candidate_probability(j, params) if j >= step else 0.0, 4) for j in SIMILARITIES}


def planted(
    params: Dedup, similarities: tuple[float, ...] = (0.7, 0.8, 0.9), shingles: int = 600, trials: int = 400
) -> dict[str, float]:
    """The same measured: the share of made-up pairs of documents with that Jaccard that share a bucket.

    Two documents have `shingles` shingles together.
    """
    out = {}
    for similarity in similarities:
        rng = np.random.default_rng(round(1000 * similarity))
        common = round(similarity * shingles)
        one = common + (shingles - common) // 2
        rows: list[Any] = []
        for _ in range(trials):
            codes = rng.choice(0x10000, shingles, replace=False).astype(np.uint32)
            rows += [codes[:one], np.concatenate([codes[:common], codes[one:]])]
        pairs = Matching(np.concatenate(rows), np.cumsum([0, *map(len, rows)]))
        keys = band_keys(pairs, params.model_copy(update={"ngram": 1}))
        out[f"{similarity:g}"] = float((keys[::2] == keys[1::2]).any(axis=1).mean()) if params.bands else 0.0
    return out


def estimate(documents: int, text_bytes: int, params: Dedup) -> Estimate:
    """RAM, disk and CPU time for so many documents of so much UTF-8 text."""
    hashes = params.bands * params.rows_per_band
    rows = documents * (_BYTES_PER_ROW + 8 * params.bands)
    texts = text_bytes * _TEXT_RATIO * (1 + (_CANDIDATE_SHARE if params.bands else 0))
    pairs = documents * _CANDIDATE_SHARE * params.bands * 16 * 2
    seconds = text_bytes * (_SIGN_SECONDS_PER_BYTE + _REST_SECONDS_PER_BYTE)
    seconds += documents * hashes * _SKETCH_SECONDS_PER_DOCUMENT_HASH
    # one worker: a byte a document for what is removed, and what the largest stage holds, up to the setting
    held = documents * 200 + text_bytes * _CANDIDATE_SHARE * 4
    ram = 200e6 + documents + min(held, params.memory_gb * 1e9)
    return Estimate(documents, text_bytes, int(ram), int(rows + texts + pairs), seconds)


def one_line(params: Dedup) -> str:
    """The setting and its curve in a line."""
    chance = ", ".join(f"{j}: {p:.3f}" for j, p in detection(params).items())
    how = "exact duplicates alone" if not params.bands else f"{params.bands} bands x {params.rows_per_band} rows"
    if params.bands and params.shingles == "words":
        how += f", {params.ngram}-grams of words"
    return f"dedup: preset {params.preset}, {how}, threshold {params.threshold}; P(joined) at Jaccard {chance}"


def cost_line(cost: Estimate) -> str:
    """What it takes in a line."""
    return (
        f"about {cost.ram_bytes / 1e9:.1f} GB of RAM a worker, {cost.disk_bytes / 1e9:.1f} GB of disk and "
        f"{cost.cpu_seconds / 3600:.2f} CPU hours for {cost.documents:,} documents"
    )


def describe(params: Dedup, documents: int, text_bytes: int) -> dict[str, Any]:
    """Setting, curve and cost as one mapping, for --dry-run."""
    cost = estimate(documents, text_bytes, params)
    return {
        "preset": params.preset,
        "bands": params.bands,
        "rows_per_band": params.rows_per_band,
        "threshold": params.threshold,
        "verify": params.verify,
        "shingles": params.shingles,
        "ngram": params.ngram,
        "exact": list(params.exact),
        "joined_at_jaccard": detection(params),
        "shares_a_bucket": {
            j: {"predicted": round(candidate_probability(float(j), params), 4), "measured": round(share, 4)}
            for j, share in planted(params).items()
        },
        "expected": {
            "documents": cost.documents,
            "text_gb": round(cost.text_bytes / 1e9, 3),
            "ram_gb_per_worker": round(cost.ram_bytes / 1e9, 2),
            "disk_gb": round(cost.disk_bytes / 1e9, 3),
            "cpu_hours": round(cost.cpu_seconds / 3600, 3),
        },
    }
