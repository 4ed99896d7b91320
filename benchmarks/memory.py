"""Peak memory of `corpuskit clean` over 1, 4 and 16 times the data, each in a process of its own.

python benchmarks/memory.py [--data DIR] [--limit RATIO]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import zstandard

ROOT = Path(__file__).resolve().parent.parent
UNIT_BYTES = 8_000_000  # of JSON lines
TIMES = (1, 4, 16)
PROGRAM = """
import sys
from corpuskit.cli import main
sys.argv = ["corpuskit", *sys.argv[1:]]
try:
    main()
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("peak", peak.split()[1], file=sys.stderr)
"""


def write_times(source: Path, times: int, target: Path) -> None:
    """The first UNIT_BYTES of lines of a file, `times` times."""
    with source.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        unit = stream.read(UNIT_BYTES)
    unit = unit[: unit.rindex(b"\n") + 1]
    with target.open("wb") as out:
        for _ in range(times):
            out.write(unit)


def peak_mb(file: Path, out: Path) -> float:
    """Clean one file in a new process; its VmHWM in MB."""
    options = [
        "clean",
        "--input",
        str(file),
        "--out",
        str(out),
        "--lang",
        "ja",
        "--executor",
        "local",
        "--workers",
        "1",
    ]
    done = subprocess.run([sys.executable, "-c", PROGRAM, *options], cwd=ROOT, capture_output=True, text=True)
    peaks = [line.split()[1] for line in done.stderr.splitlines() if line.startswith("peak ")]
    if done.returncode or not peaks:
        raise SystemExit(f"clean failed: {done.stderr[-2000:]}")
    return int(peaks[-1]) / 1024


def main() -> int:
    """Parse, measure, print; 1 when memory grows with the data."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder with the texts")
    parser.add_argument("--limit", type=float, default=1.3, help="how much more 16 times the data may take")
    args = parser.parse_args()
    source = args.data / "bench" / "ja_tech.jsonl.zst"
    if not source.is_file():
        print(f"skipped: there is no {source}", file=sys.stderr)
        return 0
    peaks = {}
    with tempfile.TemporaryDirectory(prefix="corpuskit-memory-") as folder:
        for times in TIMES:
            file = Path(folder) / f"{times}.jsonl"
            write_times(source, times, file)
            peaks[times] = peak_mb(file, Path(folder) / f"out-{times}")
            print(f"{times:>3} times {UNIT_BYTES / 1e6:.0f} MB: peak {peaks[times]:.0f} MB", flush=True)
            file.unlink()
    growth = peaks[TIMES[-1]] / peaks[TIMES[1]]  # one unit fills no whole batch
    print(json.dumps({"peak_mb": peaks, "growth_4_to_16": round(growth, 3)}))
    return int(growth > args.limit)


if __name__ == "__main__":
    sys.exit(main())
