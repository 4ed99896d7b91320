"""Who finds the near-duplicates of a labelled file, and who removes what is none: see README.md.

python benchmarks/near_duplicates.py [--data FILE] [--preset NAME ...] [--peers hojichar_dedup rensa_dedup ...]
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import logging
import sys
import tempfile
import time
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from corpuskit import config
from corpuskit.dedup.cluster import jaccard_of
from corpuskit.dedup.minhash import Matching, candidate_probability, matching_column, shingle_sets, signatures
from corpuskit.dedup.stage import dedup
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner
from corpuskit.engine.tables import TableWriter
from corpuskit.schema import DOCUMENT

PRESETS = ("sharp", "fineweb", "refinedweb", "swallow", "llm-jp")
SIMILAR, UNLIKE, ALONE = 0.8, 0.5, 0.6


class Truth(NamedTuple):
    """The true Jaccard of 5-gram sets, for every pair of documents that an estimate gives 0.3 or more."""

    left: np.ndarray
    right: np.ndarray
    jaccard: np.ndarray
    documents: int

    def best(self, among: np.ndarray) -> np.ndarray:
        """For each document the Jaccard to the most similar other one of those."""
        out = np.zeros(self.documents)
        for one, other in ((self.left, self.right), (self.right, self.left)):
            chosen = among[other]
            np.maximum.at(out, one[chosen], self.jaccard[chosen])
        return out


def raw_characters(texts: list[str]) -> Matching:
    """The texts as they are, laid out as matching shadows: the truth other tools' shingles are nearer to."""
    codes = [np.frombuffer(t.encode("utf-32-le"), np.uint32) for t in texts]
    return Matching(np.concatenate(codes), np.cumsum([0, *map(len, codes)]))


def true_pairs(shadows: Matching) -> Truth:
    """Estimate all pairs, measure those that may be alike."""
    sketches, sets = signatures(shadows, 5, 256), shingle_sets(shadows, 5)
    left, right = [], []
    for i in range(1, len(sketches)):
        found = np.flatnonzero((sketches[:i] == sketches[i]).mean(axis=1) >= 0.3)
        left.append(found)
        right.append(np.full(len(found), i))
    a, b = np.concatenate(left), np.concatenate(right)
    order = np.argsort(a, kind="stable")
    a, b = a[order], b[order]
    return Truth(a, b, jaccard_of(sets.values, sets.offsets, a, b), len(sketches))


def score(truth: Truth, kept: np.ndarray, survivor: np.ndarray | None = None) -> dict[str, Any]:
    """Figures of one result: which documents stayed and, where a tool says so, for whom the others went."""
    similar = truth.jaccard >= SIMILAR
    left_over = kept[truth.left] & kept[truth.right]
    everyone = np.ones(truth.documents, np.bool_)
    alone = truth.best(everyone) < ALONE
    figures = {
        "removed": int((~kept).sum()),
        "recall": 1 - left_over[similar].mean(),
        "lonely_removed": int((alone & ~kept).sum()),
        "lonely": int(alone.sum()),
        "removed_for_nothing": int((~kept & (truth.best(kept) < SIMILAR)).sum()),
    }
    if survivor is not None:
        joined = survivor[truth.left] == survivor[truth.right]
        figures["joined_pairs"] = int(joined.sum())
        figures["precision"] = float((truth.jaccard[joined] >= UNLIKE).mean()) if joined.any() else 1.0
    return figures


def run_corpuskit(rows: list[dict[str, Any]], params: config.Dedup, work: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Which documents stay, for whom the others go, and CPU seconds."""
    work.mkdir()
    path = work / "documents.parquet"
    with TableWriter(path, DOCUMENT) as writer:
        records = [{"id": f"{n:08d}", "text": row["text"], "source": "x", "lang": "ja"} for n, row in enumerate(rows)]
        for batch in pa.Table.from_pylist(records, schema=DOCUMENT).to_batches(max_chunksize=256):
            writer.write(batch)
    shard = Shard(
        "all", (Input(str(path), "all", file_sha256(path), path.stat().st_size),), {"source": "x", "priority": "0"}
    )
    started = time.process_time()
    dedup([shard], out=work / "out", root=work, params=params, runner=Runner(executor="local", retries=0))
    spent = time.process_time() - started
    kept = np.zeros(len(rows), np.bool_)
    kept[[int(i) for i in pq.read_table(work / "out/kept/all.parquet")["id"].to_pylist()]] = True
    survivor = np.arange(len(rows))
    clusters = pq.read_table(work / "out/clusters/clusters.parquet")
    survivor[[int(i) for i in clusters["id"].to_pylist()]] = [int(i) for i in clusters["survivor"].to_pylist()]
    return kept, survivor, spent


def run_peer(driver: str, rows: list[dict[str, Any]], work: Path) -> tuple[np.ndarray, float]:
    """The same from a driver of peers.py; a document's number travels in its url, or is found by the text."""
    import peers

    [peer] = [p for p in peers.PEERS if p.driver == driver]
    path = work / f"{driver}.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8", compresslevel=1) as file:
        file.writelines(json.dumps({"text": r["text"], "url": str(n)}) + "\n" for n, r in enumerate(rows))
    result = peers._drive(peers.environment(peer.environment), peer, [path], "", work)
    kept = np.zeros(len(rows), np.bool_)
    numbers: dict[str, int] = {}
    for n, row in enumerate(rows):  # of equal texts the first stays
        numbers.setdefault(unicodedata.normalize("NFKC", row["text"]), n)
    for made in sorted((work / "peer").rglob("*.jsonl.gz")):
        if made.name == path.name or "prepared" in made.parts:
            continue
        with gzip.open(made, "rt", encoding="utf-8") as file:
            for line in file:
                record = json.loads(line)
                number = record.get("url") or record.get("id")
                kept[numbers[record["text"]] if number is None else int(number)] = True
    return kept, result["cpu_seconds"]


def show(name: str, truth: str, figures: dict[str, Any], seconds: float) -> None:
    """One line of the table."""
    precision = f"{figures['precision']:.4f}" if "precision" in figures else "-"
    lonely = f"{figures['lonely_removed']}/{figures['lonely']}"
    print(
        f"{name:16} {truth:9} {figures['removed']:>8,} {figures['recall']:>8.4f} {precision:>9} {lonely:>9} "
        f"{figures['removed_for_nothing']:>8,} {seconds:>7.2f}",
        flush=True,
    )


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "labelled" / "near_duplicates.jsonl.zst"
    parser.add_argument("--data", type=Path, default=default, help="JSON lines (zst) with `text`")
    parser.add_argument("--preset", nargs="*", default=PRESETS, help="which of corpuskit's presets")
    parser.add_argument("--peers", nargs="*", default=(), metavar="DRIVER", help="drivers of peers.py")
    args = parser.parse_args()
    if not args.data.is_file():
        print(f"skipped: there is no {args.data}; give a file with --data", file=sys.stderr)
        return 0
    logging.getLogger("corpuskit").setLevel(logging.ERROR)
    with open(args.data, "rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        rows = [json.loads(line) for line in lines]
    texts = [row["text"] for row in rows]
    truths = {"text": true_pairs(raw_characters(texts)), "matching": true_pairs(matching_column(pa.array(texts)))}
    for name, truth in truths.items():
        counts = [int((truth.jaccard >= SIMILAR).sum()), int((truth.jaccard < UNLIKE).sum())]
        print(
            f"5-grams of the {name}: {len(rows):,} documents; {counts[0]:,} pairs >= 0.8, {counts[1]:,} of 0.3 to 0.5"
        )
    similar = truths["matching"].jaccard[truths["matching"].jaccard >= SIMILAR]
    print(
        f"{'':16} {'5-grams':9} {'removed':>8} {'recall':>8} {'precision':>9} {'lonely':>9} {'nothing':>8} {'CPU s':>7}"
    )
    with tempfile.TemporaryDirectory(prefix="corpuskit-near-") as folder:
        for preset in args.preset:
            params = config.Dedup(preset=preset)
            run_corpuskit(rows[:40], params, Path(folder) / f"{preset}-warm")  # kernels are not in the figure
            kept, survivor, seconds = run_corpuskit(rows, params, Path(folder) / preset)
            for name, truth in truths.items():
                show(preset, name, score(truth, kept, survivor), seconds)
            predicted = np.mean([candidate_probability(j, params) for j in similar])
            print(f"{'':16} predicted recall {predicted:.4f}")
        for driver in args.peers:
            kept, seconds = run_peer(driver, rows, Path(folder))
            for name, truth in truths.items():
                show(driver.removesuffix("_dedup"), name, score(truth, kept), seconds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
