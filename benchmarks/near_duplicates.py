"""Who finds near-duplicates, and who removes what is none: corpuskit's presets and other tools on the same files.

python benchmarks/near_duplicates.py [--peers] [--data FILE] [--pages N] [--seed N] [--json FILE]

Two files: real near-duplicates (`--data`: JSON lines with `text`), long and clean, and the short pages of
templated.py, by length. Each tool removes near-duplicates from gzipped JSON lines; then for every pair of documents
the Jaccard of their sets of character 5-grams is known, without any of the tools, and a line for each tool says:

    found      of the pairs with Jaccard >= 0.8, those of which at most one stays
    predicted  the same by 1 - (1 - J^rows)^bands, for tools that compare character 5-grams
    merged     pairs that were put into one cluster, and those of them below 0.5 and below 0.8
    gone       documents that were removed; *nothing*: those of them that no document which stayed is like (0.8);
               *alien*: those that no document which stayed is even half like (0.5)
    CPU s      user and system, from file to file, imports and compiled kernels not included

All of it twice: by the 5-grams of the text as it stands, and of the text as corpuskit compares it (NFKC, lower case,
letters, marks and numbers alone). A pair near 0.8 may be above by the one and below by the other.
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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import PeerFailed, drive, environment
from templated import KINDS, make_pages

from corpuskit import config
from corpuskit.build.files import dedup_files, foreign_shards, plan_dedup_files
from corpuskit.dedup.minhash import candidate_probability, matching_column, signatures
from corpuskit.engine.run import Runner

NGRAM, LIKE, HALF_LIKE = 5, 0.8, 0.5
CLASSES = ((100, 200), (200, 350), (350, 601))  # characters of a templated page
BANDS = ("fineweb", "refinedweb", "swallow", "llm-jp")
WARM_UP = 40  # documents

Survivors = npt.NDArray[np.int64]  # for each document, by number, the one that stayed for it; itself where it stays


class Peer(NamedTuple):
    """Another tool: its name in the tables, its driver and environment in peers.py, bands x rows of 5-grams if so."""

    name: str
    driver: str
    environment: str
    shape: tuple[int, int] | None


PEERS = (
    Peer("HojiChar 27 x 18", "hojichar_dedup_27x18", "hojichar", (27, 18)),
    Peer("HojiChar 14 x 8", "hojichar_dedup", "hojichar", (14, 8)),
    Peer("rensa 14 x 8", "rensa_dedup", "encoders", (14, 8)),
    Peer("datatrove 14 x 8, words", "datatrove_dedup", "datatrove", None),
    Peer("text-dedup 14 x 8, words", "textdedup_dedup", "textdedup", None),
    Peer("text-dedup, 1-grams", "textdedup_dedup_1gram", "textdedup", None),
)


class Result(NamedTuple):
    """What one tool did with a file; or why it did not."""

    name: str
    shape: config.Dedup | None
    survivors: Survivors | None
    seconds: float
    error: str = ""


class Truth:
    """Jaccard of the 5-gram sets of any two texts, and the pairs that reach HALF_LIKE.

    Args:
        texts: as they are compared.
        given: as they stand, which is what lengths are taken of; None: the same.
    """

    def __init__(self, texts: Sequence[str], given: Sequence[str] | None = None) -> None:
        self.lengths = np.array([len(t) for t in given or texts])
        self._sets = [frozenset(t[i : i + NGRAM] for i in range(max(1, len(t) - NGRAM + 1))) for t in texts]
        self._known: dict[tuple[int, int], float] = {}
        # 256 hashes stray by 0.03 at 0.5: who may be half alike is estimated, who is gets counted
        sketches = signatures(matching_column(pa.array(texts)), NGRAM, 256)
        self.pairs = {}
        for j in range(1, len(sketches)):
            for i in np.flatnonzero((sketches[:j] == sketches[j]).mean(axis=1) >= HALF_LIKE - 0.2).tolist():
                if self.jaccard(i, j) >= HALF_LIKE:
                    self.pairs[i, j] = self.jaccard(i, j)

    def jaccard(self, i: int, j: int) -> float:
        """Of documents i < j."""
        if (i, j) not in self._known:
            a, b = self._sets[i], self._sets[j]
            common = len(a & b)
            self._known[i, j] = common / (len(a) + len(b) - common)
        return self._known[i, j]


def as_compared(text: str) -> str:
    """A text as corpuskit compares it, by the standard library."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LNM")


def score(
    truth: Truth, survivors: Survivors, shape: config.Dedup | None, classes: Sequence[tuple[int, int]]
) -> Iterator[dict[str, Any]]:
    """The figures of one tool by length, in a row each. A pair is as long as its shorter document."""
    stays = survivors == np.arange(len(survivors))
    nearest = np.zeros(len(survivors))  # the Jaccard of each document to the most similar one that stayed
    for (i, j), jaccard in truth.pairs.items():
        for one, other in ((i, j), (j, i)):
            if stays[other]:
                nearest[one] = max(nearest[one], jaccard)
    clusters: dict[int, list[int]] = {}
    for number, survivor in enumerate(survivors.tolist()):
        clusters.setdefault(survivor, []).append(number)
    merged = [(i, j) for members in clusters.values() for n, j in enumerate(members) for i in members[:n]]

    for low, high in classes:

        def within(pair: tuple[int, int], low: int = low, high: int = high) -> bool:
            return bool(low <= min(truth.lengths[pair[0]], truth.lengths[pair[1]]) < high)

        like = {pair: jaccard for pair, jaccard in truth.pairs.items() if jaccard >= LIKE and within(pair)}
        joined = np.array([truth.jaccard(*pair) for pair in merged if within(pair)])
        gone = ~stays & (truth.lengths >= low) & (truth.lengths < high)
        yield {
            "characters": f"{low}-{high - 1}" if high < 1 << 30 else "all",
            "pairs": len(like),
            "found": sum(not (stays[i] and stays[j]) for i, j in like) / max(1, len(like)),
            "predicted": float(np.mean([candidate_probability(j, shape) for j in like.values()])) if shape else None,
            "merged": len(joined),
            "merged_below_0.5": int((joined < HALF_LIKE).sum()),
            "merged_below_0.8": int((joined < LIKE).sum()),
            "gone": int(gone.sum()),
            "nothing": int((nearest[gone] < LIKE).sum()),
            "alien": int((nearest[gone] < HALF_LIKE).sum()),
        }


def run_corpuskit(file: Path, changes: dict[str, Any], work: Path) -> tuple[Survivors, float]:
    """For whom each document goes, and CPU seconds. Documents have their number as URL."""
    [shard] = foreign_shards([str(file)], "ja", "text", "url")
    named = replace(shard.inputs[0], name="documents")  # ids are made of it, and of two equals the lesser id stays
    plan = plan_dedup_files([replace(shard, inputs=(named,))], "ja", changes)
    started = time.process_time()
    dedup_files(plan, out=work, runner=Runner("local", 1, 0))
    seconds = time.process_time() - started
    number: dict[str, int] = {}
    for path in [*work.glob("kept/*.parquet"), *work.glob("removed/*.parquet")]:
        table = pq.read_table(path, columns=["id", "url"])
        number |= dict(zip(table["id"].to_pylist(), map(int, table["url"].to_pylist()), strict=True))
    survivors = np.arange(len(number))
    clusters = pq.read_table(work / "clusters" / "clusters.parquet", columns=["id", "survivor"])
    for one, survivor in zip(*(column.to_pylist() for column in clusters.columns), strict=True):
        survivors[number[one]] = number[survivor]
    return survivors, seconds


def run_tools(texts: Sequence[str], folder: Path, peers: Sequence[Peer]) -> Iterator[Result]:
    """Every tool on the texts; how far it is goes to stderr."""
    few, file = folder / "few.jsonl.gz", folder / "documents.jsonl.gz"
    for path, some in ((few, texts[:WARM_UP]), (file, texts)):
        with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as out:
            out.writelines(json.dumps({"text": text, "url": str(n)}) + "\n" for n, text in enumerate(some))
    ours: list[tuple[str, dict[str, Any]]] = [("corpuskit sharp", {"preset": "sharp"})]
    ours += [(f"corpuskit {name}", {"preset": name}) for name in BANDS]
    ours += [(f"{label}, verified", {**c, "verify": "pairs", "threshold": LIKE}) for label, c in ours[1:]]
    for label, changes in ours:
        print(f"running {label}", file=sys.stderr)
        run_corpuskit(few, changes, folder / f"{label}, few")
        survivors, seconds = run_corpuskit(file, changes, folder / label)
        yield Result(label, config.Dedup(**changes), survivors, seconds)
    for peer in peers:
        print(f"running {peer.name}", file=sys.stderr)
        shape = config.Dedup(preset="fineweb", bands=peer.shape[0], rows_per_band=peer.shape[1]) if peer.shape else None
        try:
            measured = drive(environment(peer.environment), peer.driver, [file], folder)
        except PeerFailed as problem:
            yield Result(peer.name, shape, None, 0.0, str(problem))
        else:
            name = f"{peer.name} ({measured['version']})"
            yield Result(name, shape, np.array(measured["survivors"]), measured["cpu_seconds"])


def compare(
    what: str, texts: Sequence[str], classes: Sequence[tuple[int, int]], peers: Sequence[Peer]
) -> list[dict[str, Any]]:
    """Run all tools on the texts and print their figures by either kind of 5-grams."""
    with tempfile.TemporaryDirectory(prefix="corpuskit-near-") as folder:
        results = list(run_tools(texts, Path(folder), peers))
    rows = []
    views: dict[str, Callable[[str], str]] = {"as compared": as_compared, "as it stands": str}
    for view, look in views.items():
        truth = Truth([look(text) for text in texts], texts)
        like = sum(jaccard >= LIKE for jaccard in truth.pairs.values())
        print(f"\n{what}, text {view}: {len(texts):,} documents; {like:,} pairs with Jaccard >= {LIKE},", end=" ")
        print(f"{len(truth.pairs) - like:,} between {HALF_LIKE} and {LIKE}")
        print(f"{'':34} {'chars':>7} {'found':>7} {'predicted':>9}", end=" ")
        print(f"{'merged':>7} {'<0.5':>7} {'<0.8':>7} {'gone':>6} {'nothing':>7} {'alien':>6} {'CPU s':>6}")
        for result in results:
            if result.survivors is None:
                print(f"{result.name:34} not measured: {result.error}")
                continue
            for row in score(truth, result.survivors, result.shape, classes):
                rows.append({"data": what, "text": view, "tool": result.name, "cpu_seconds": result.seconds, **row})
                print(_line(rows[-1]), flush=True)
    return rows


def _line(row: dict[str, Any]) -> str:
    predicted = "-" if row["predicted"] is None else f"{row['predicted']:.4f}"
    wrong = " ".join(f"{row[key] / max(1, row['merged']):>7.2%}" for key in ("merged_below_0.5", "merged_below_0.8"))
    return (
        f"{row['tool']:34} {row['characters']:>7} {row['found']:>7.4f} {predicted:>9} {row['merged']:>7,} {wrong} "
        f"{row['gone']:>6,} {row['nothing']:>7,} {row['alien']:>6,} {row['cpu_seconds']:>6.2f}"
    )


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parents[2] / "shared" / "data" / "labelled" / "near_duplicates.jsonl.zst"
    parser.add_argument("--data", type=Path, default=default, help="JSON lines (zst) with `text`")
    parser.add_argument("--pages", type=int, default=400, help="templated pages of each kind (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of the templated pages (default: 0)")
    parser.add_argument("--peers", action="store_true", help="other tools as well, some minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    args = parser.parse_args()
    logging.getLogger("corpuskit").setLevel(logging.ERROR)
    peers = PEERS if args.peers else ()
    everything, rows = [(0, 1 << 30)], []
    if args.data.is_file():
        with open(args.data, "rb") as file:
            lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
            rows += compare(args.data.name, [json.loads(line)["text"] for line in lines], everything, peers)
    else:
        print(f"skipped: there is no {args.data}; give a file with --data", file=sys.stderr)
    pages = [page for kind in KINDS for page in make_pages(kind, args.pages, args.seed)]
    rows += compare("templated pages", pages, [*CLASSES, *everything], peers)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
