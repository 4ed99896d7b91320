"""How deduplication grows: 1, 4 and 16 times the data, and its key stages alone on many synthetic signatures.

python benchmarks/growth.py [--data DIR] [--mb N] [--step NAME ...] [--json FILE]
python benchmarks/growth.py --signatures N [--json FILE]

The first takes N MB of real Japanese and makes 16 copies of it, each under a substitution of its own (hiragana for
hiragana, kanji for kanji, letter for letter), so that all copies have the same kinds of text and the same duplicates
among their documents and none in common; a tenth of each copy's documents are planted near-duplicates, the same in
all, so that all copies are the same work. Every step runs on 1, 4 and 16 of them in a process of its own, after a
warm-up, three times by turns. Printed are the least CPU seconds (what else a machine does only adds to them), CPU
seconds a MB as a multiple of those on one copy (to hold: 1.15), and the peak of resident memory (VmHWM) beside what the
step may take: its setting, and BASE for Python, its libraries, and one batch of documents.

The second makes N signatures without texts, a tenth exact duplicates, a fifth near-duplicates by families,
and runs the stages that see all documents at once. docs/dedup.md does the arithmetic for 10^9 documents with them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as pa

SIZES = (1, 4, 16)
TURNS = 3
LINEAR = 1.15
BASE = 1_000_000_000  # bytes of memory beside the setting
MEMORY = 500_000_000  # what the steps are set to
# hiragana, katakana, kanji, capitals, small letters, digits, signs: what takes each other's places in a copy
KINDS = ((0x3041, 0x3094), (0x30A1, 0x30F5), (0x4E00, 0x9FFF), (65, 91), (97, 123), (48, 58), (33, 48), (58, 65))
MC4 = "huggingface.co/datasets/allenai/c4/resolve/*/multilingual/c4-ja.tfrecord-*.json.gz"
LEAF = 1_000_000  # rows of a signatures file


def copies(data: Path, megabytes: int, folder: Path) -> list[Path]:
    """The files of the 16 copies, as JSON lines; empty where the texts are not there."""
    texts: list[str] = []
    size = 0
    for path in sorted(data.glob(MC4)):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if size < 1e6 * megabytes:
                    texts.append(json.loads(line)["text"])
                    size += len(texts[-1].encode())
    files = []
    for number in range(max(SIZES) if texts else 0):
        rng, planting = random.Random(number), random.Random(0)  # the same is planted in all: they are as much work
        table: dict[int, int] = {}
        for low, high in KINDS:
            codes = [code for code in range(low, high) if chr(code) not in ".!?\"')"]  # sentences end where they ended
            table |= dict(zip(codes, rng.sample(codes, len(codes)), strict=True))
        written = [t.translate(table) for t in texts]
        for k in planting.sample(range(len(written)), len(written) // 10):
            near = list(written[planting.randrange(len(written))])
            for _ in range(min(3, len(near))):
                near[planting.randrange(len(near))] = "〇"
            written[k] = "".join(near)
        files.append(folder / f"copy-{number:02d}.jsonl")
        lines = (json.dumps({"text": t, "url": None}, ensure_ascii=False) + "\n" for t in written)
        files[-1].write_text("".join(lines), encoding="utf-8")
    return files


def run_step(step: str, files: list[Path], out: Path) -> None:
    """One step from files to files, in this process."""
    from corpuskit import config
    from corpuskit.build.files import dedup_files, foreign_shards, plan_dedup_files
    from corpuskit.dedup.paragraphs import cut_paragraphs
    from corpuskit.dedup.substring import cut_repeats
    from corpuskit.engine.plan import Shard
    from corpuskit.engine.run import Runner, map_shards
    from corpuskit.engine.store import as_inputs
    from corpuskit.sources.read import STAGE as READ

    runner = Runner("local", 1, 0)
    shards = foreign_shards([str(f) for f in files], "ja", "text", "url")
    if step == "dedup":
        dedup_files(plan_dedup_files(shards, "ja", {"memory_gb": MEMORY / 1e9}), out=out, runner=runner)
        return
    read = map_shards(READ, shards, out=out / "read", params={}, runner=runner)
    labels = {"source": "input", "priority": "0"}
    documents = [Shard(r.shard, tuple(as_inputs(out / "read", [r], "kept", out)), labels) for r in read]
    if step == "paragraphs":
        lines = config.Paragraphs(documents=10, memory=MEMORY)
        cut_paragraphs(documents, work=out / "work", out=out, root=out, params=lines, runner=runner)
    else:
        spans = config.Substring(length=100, memory=MEMORY)
        cut_repeats(documents, work=out / "work", out=out, root=out, params=spans, runner=runner)


def measure(step: str, folder: Path, files: list[Path]) -> dict[str, float]:
    """CPU seconds of a step after a warm-up, and the process's peak of memory. Runs in a process of its own."""
    warm = folder / "warm-up.jsonl"
    with open(files[0], encoding="utf-8") as lines:
        warm.write_text("".join(line for line, _ in zip(lines, range(40), strict=False)), encoding="utf-8")
    for turn, some in enumerate(([warm], files)):
        out = folder / f"out{turn}"
        started = time.process_time()
        run_step(step, some, out)
        spent = time.process_time() - started
        shutil.rmtree(out)
    return {"cpu_seconds": spent, "peak": peak()}


def peak() -> int:
    """The largest resident memory of this process so far, in bytes."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def in_a_process(*arguments: object) -> dict[str, Any]:
    """What this script prints last when it is called with these arguments."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def grow(data: Path, megabytes: int, steps: list[str]) -> list[dict[str, Any]]:
    """Measure the steps on 1, 4 and 16 copies and print a line each."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="corpuskit-growth-") as name:
        folder = Path(name)
        files = copies(data, megabytes, folder)
        if not files:
            print(f"skipped: no mC4 files in {data}; give the texts with --data DIR", file=sys.stderr)
            return rows
        print(f"{'step':11} {'MB':>6} {'CPU s':>8} {'MB/s':>6} {'x linear':>9} {'peak MB':>8} {'bound':>6}")
        for step in steps:
            runs = [
                (size, in_a_process("--measure", step, folder, *files[:size])) for _ in range(TURNS) for size in SIZES
            ]
            first = 0.0
            for size in SIZES:
                mb = sum(len(json.loads(line)["text"].encode()) for f in files[:size] for line in f.open()) / 1e6
                found = {key: [run[key] for n, run in runs if n == size] for key in ("cpu_seconds", "peak")}
                seconds, most = min(found["cpu_seconds"]), max(found["peak"])
                first = first or seconds / mb
                times = seconds / mb / first
                rows.append({"step": step, "copies": size, "mb": mb, **found, "times_linear": times})
                cells = f"{mb:6.0f} {seconds:8.2f} {mb / seconds:6.1f} {times:9.3f}"
                print(f"{step:11} {cells} {most / 1e6:8.0f} {(MEMORY + BASE) / 1e6:6.0f}", flush=True)
    return rows


def synthetic(count: int, folder: Path, bands: int) -> Iterator[Path]:
    """Signature files of so many documents, LEAF rows each."""
    from corpuskit.dedup.signatures import signature_schema
    from corpuskit.engine.tables import TableWriter

    schema = signature_schema(bands)
    for number, start in enumerate(range(0, count, LEAF)):
        n = min(LEAF, count - start)
        rng = np.random.default_rng(number)
        at = np.arange(start, start + n, dtype=np.uint64)
        name = _mix(at)
        # an exact duplicate has the hash of a document before it, maybe of another file
        twin = rng.random(n) < 0.1
        origin = np.where(twin, (rng.random(n) * (at + 1)).astype(np.uint64), at)
        shadow = np.stack([_mix(origin), _mix(origin + np.uint64(1 << 60))], 1)
        family = np.where(rng.random(n) < 0.2, (rng.random(n) * count / 20).astype(np.uint64), at + np.uint64(1 << 50))
        keys = []
        for band in range(bands):
            shared = rng.random(n) < 0.35  # of a pair about (0.35)^2, near 0.8^8
            keys.append(_mix(np.where(shared, family, name) + np.uint64(band << 56)))
        whole = pa.py_buffer(np.ascontiguousarray(shadow).tobytes())
        hashes = pa.Array.from_buffers(pa.binary(16), n, [None, whole])
        digits = np.stack([name, at], 1).astype(">u8").tobytes().hex().encode()
        offsets = pa.py_buffer(np.arange(0, 32 * n + 1, 32, dtype=np.int32))
        nothing = pa.nulls(n, pa.string())
        columns = {
            "id": pa.StringArray.from_buffers(n, offsets, pa.py_buffer(digits)),
            "id_key": pa.array(_mix(at + np.uint64(7))),
            "content": hashes,
            "shadow": hashes,
            "name": pa.array(shadow[:, 0]),
            "url": pa.nulls(n, pa.binary(16)),
            "num_chars": pa.array(rng.integers(200, 3000, n)),
            "quality": pa.nulls(n, pa.float32()),
            "timestamp": nothing,
            "source": pa.array(["web"] * n),
            "priority": pa.array(np.zeros(n, np.int32)),
            "frozen": pa.array(np.zeros(n, np.bool_)),
            **{f"band_{band:04d}": pa.array(column) for band, column in enumerate(keys)},
        }
        path = folder / f"signatures-{number:05d}.parquet"
        with TableWriter(path, schema) as writer:
            whole_batch = pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)
            for row in range(0, n, 1 << 16):
                writer.write(whole_batch.slice(row, 1 << 16))
        yield path


def _mix(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore"):
        for _ in range(2):
            x = (x ^ (x >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
        return x ^ (x >> np.uint64(32))


def stage_on_keys(stage: str, folder: Path, memory: int, bands: int) -> dict[str, Any]:
    """One of the stages exact, pairs and components on the synthetic signatures. Runs in a process of its own."""
    from corpuskit.config import Dedup
    from corpuskit.dedup import components, exact, pairs
    from corpuskit.dedup.stage import _parts
    from corpuskit.engine.plan import Input, Shard

    def inputs(pattern: str) -> tuple[Input, ...]:
        return tuple(Input(str(p), p.name, "", p.stat().st_size) for p in sorted(folder.glob(pattern)))

    signatures = inputs("signatures-*.parquet")
    total = int(folder.joinpath("count").read_text())
    labels = {"signatures": str(len(signatures))}
    scratch = folder / stage
    scratch.mkdir()
    settings = Dedup()
    counts: dict[str, int] = {}
    started = time.process_time()
    if stage == "exact":
        parts = _parts(total * exact.BYTES_PER_ROW, memory)
        params = {"by": "text", "exact": sorted(settings.exact), **settings.model_dump(include=exact.POLICY_PARAMS)}
        for part in range(parts):
            target = scratch / f"{part:05d}"
            target.mkdir()
            shard = Shard("exact", signatures, {**labels, "part": str(part), "parts": str(parts)})
            found = exact.exact(shard, target, params)
            counts = {key: counts.get(key, 0) + value for key, value in found.items()}
    elif stage == "pairs":
        gone = inputs("exact/*/gone.parquet")
        more = {"first": "0", "last": str(bands - 1), "parts": str(_parts(total * pairs.BYTES_PER_ROW, memory))}
        counts = pairs.pairs(Shard("pairs", (*signatures, *gone), {**labels, **more}), scratch, {"bands": bands})
    else:
        gone, found_pairs = inputs("exact/*/gone.parquet"), inputs("pairs/pairs.parquet")
        more = {"gone": str(len(gone)), "parts": str(_parts(total * 32, memory)), "memory": str(memory)}
        shard = Shard("all", (*signatures, *gone, *found_pairs), {**labels, **more, "group_chars": str(memory // 48)})
        counts = components.components(shard, scratch, {"verify": "pairs"})
    spent = time.process_time() - started
    disk = sum(p.stat().st_size for p in scratch.rglob("*") if p.is_file())
    return {"stage": stage, "cpu_seconds": spent, "peak": peak(), "disk": disk, "counts": counts}


def simulate(count: int, memory: int, bands: int) -> list[dict[str, Any]]:
    """Run the key stages on so many synthetic signatures and print a line each."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="corpuskit-growth-") as name:
        folder = Path(name)
        size = sum(path.stat().st_size for path in synthetic(count, folder, bands))
        folder.joinpath("count").write_text(str(count))
        print(f"{count:,} signatures of {bands} bands: {size / 1e9:.2f} GB, {size / count:.0f} bytes a document")
        print(f"{'stage':11} {'CPU s':>8} {'us/document':>12} {'peak MB':>8} {'bound':>6} {'disk MB':>8}  counts")
        for stage in ("exact", "pairs", "components"):
            row = in_a_process("--stage", stage, folder, memory, bands)
            rows.append({"signatures": count, "bands": bands, **row})
            cells = f"{row['cpu_seconds']:8.1f} {1e6 * row['cpu_seconds'] / count:12.3f} {row['peak'] / 1e6:8.0f}"
            bound = (memory + BASE) / 1e6
            print(f"{stage:11} {cells} {bound:6.0f} {row['disk'] / 1e6:8.0f}  {row['counts']}", flush=True)
    return rows


def main() -> int:
    """Parse, measure, print."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(sys.argv[2], Path(sys.argv[3]), [Path(p) for p in sys.argv[4:]])))
        return 0
    if sys.argv[1:2] == ["--stage"]:
        print(json.dumps(stage_on_keys(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))))
        return 0
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    steps = ["dedup", "paragraphs", "substring"]
    parser.add_argument("--data", type=Path, default=default, help="folder with the texts (default: ../shared/data)")
    parser.add_argument("--mb", type=int, default=8, help="text of one copy (default: 8)")
    parser.add_argument("--step", nargs="+", choices=steps, default=steps, metavar="NAME", help="only these steps")
    parser.add_argument("--signatures", type=int, metavar="N", help="the key stages on N synthetic signatures instead")
    parser.add_argument("--bands", type=int, default=2, help="bands of each signature (default: 2; sharp has 36)")
    parser.add_argument("--memory-gb", type=float, default=4.0, help="what they may take (default: 4)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    args = parser.parse_args()
    if args.signatures:
        rows = simulate(args.signatures, int(args.memory_gb * 1e9), args.bands)
    else:
        rows = grow(args.data, args.mb, args.step)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(r.get("times_linear", 0) <= LINEAR for r in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
