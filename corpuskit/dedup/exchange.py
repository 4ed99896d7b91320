"""Working files through which all documents files learn what they have in common, without anybody holding it all.

run      what one batch of documents says: a sorted table of keys (64-bit hashes), each key once, in one .npy file
range    a part of the key space. Hashes are spread evenly, so ranges of equal width hold equal parts; how many there
         are follows from the rows of all runs and from the memory one range may take, and shows in no result
answers  what a range found out, sorted by run, so that each batch reads back just what concerns it
list     all runs, or all answers, by name, size and hash: one input in place of all, for the many who read them all

Runs are numbered over all files in order of name. Files are read as memory maps: a range touches its own rows only.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt, write_json
from corpuskit.text.kernel import kernel

Table = npt.NDArray[Any]  # structured rows; the runs' first field is `key`

KEYS = np.dtype([("key", "<u8"), ("count", "<u4")])
COUNTED = np.dtype([("run", "<u4"), ("key", "<u8"), ("count", "<u4")])

_KEY_SPACE = 1 << 64
_COUNT_BYTES = 64  # of `count`, for each row of a range: the row, its run, the order, totals and answers


def save(folder: Path, number: int, rows: Table) -> None:
    """Write a run, or the answers of a range, as `<folder>/<number>.npy`."""
    folder.mkdir(exist_ok=True)
    with open(folder / f"{number:05d}.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(rows))
        file.write(np.ascontiguousarray(rows).view(np.uint8).data)  # np.save says nothing of a disk that is full


def load(path: str | Path) -> Table:
    """One such file as a memory map."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def listed(folder: Path, receipts: Sequence[Receipt], kind: str, root: Path) -> Input:
    """Write the list of what finished shards wrote of one kind into `folder`, in order of the receipts."""
    path = folder / f"{kind}.json"
    write_json(path, [asdict(o) for receipt in receipts for o in receipt.outputs if o.path.startswith(f"{kind}/")])
    return Input(str(path), str(path.relative_to(root)), file_sha256(path), path.stat().st_size)


def files_of(listing: Input) -> list[Path]:
    """The files of a list."""
    return [Path(listing.path).parent / file["path"] for file in orjson.loads(Path(listing.path).read_bytes())]


def key_ranges(runs: Input, rows: int, row_bytes: int, memory: int) -> list[Shard]:
    """One shard for each range of keys: all runs, and as labels which keys it looks at; none where there are no rows.

    Args:
        runs: the list of all runs.
        rows: how many rows they have together.
        row_bytes: bytes a row takes while its range is worked on.
        memory: bytes a range may take.
    """
    ranges = -(-rows * row_bytes // memory)
    bounds = [n * _KEY_SPACE // max(1, ranges) for n in range(ranges + 1)]
    return [
        Shard(f"range-{n:05d}", (runs,), {"first": str(bounds[n]), "stop": str(bounds[n + 1])}) for n in range(ranges)
    ]


def gather(shard: Shard) -> tuple[Table, npt.NDArray[np.uint32]]:
    """The rows of a range out of all runs, one run after the other, and the run of each row."""
    first, stop = int(shard.labels["first"]), int(shard.labels["stop"])
    files = files_of(shard.inputs[0])
    slices = []
    for file in files:
        keys = load(file)["key"]
        slices.append((bisect.bisect_left(keys, first), bisect.bisect_left(keys, stop)))
    sizes = [high - low for low, high in slices]
    rows = np.empty(sum(sizes), load(files[0]).dtype)
    at = 0
    for file, (low, high) in zip(files, slices, strict=True):
        rows[at : at + high - low] = load(file)[low:high]
        at += high - low
    return rows, np.repeat(np.arange(len(sizes), dtype=np.uint32), sizes)


def order_by_key(rows: Table) -> npt.NDArray[np.int64]:
    """The order that sorts gathered rows by key and leaves those of a key as they are."""
    return np.argsort(rows["key"], kind="stable")  # the runs are sorted: they are merged, in a fifth of the time


def order_by_run(runs: npt.NDArray[np.uint32]) -> npt.NDArray[np.int64]:
    """The order that sorts rows by run and leaves those of a run as they are."""
    small = len(runs) == 0 or runs.max() < 1 << 16
    return np.argsort(runs.astype(np.uint16) if small else runs, kind="stable")  # of 16 bits a radix sort, 10 x faster


def answers(files: Sequence[Path], run: int, kind: npt.DTypeLike) -> Table:
    """What all ranges have for one run, one range after the other."""
    parts = [np.empty(0, kind)]
    for file in files:
        rows = load(file)
        low, high = bisect.bisect_left(rows["run"], run), bisect.bisect_left(rows["run"], run + 1)
        parts.append(np.array(rows[low:high]))
    return np.concatenate(parts)


def first_runs(receipts: Sequence[Receipt], kind: str) -> list[int]:
    """For each shard the number of its first run, runs being numbered in the order of the receipts."""
    firsts, total = [], 0
    for receipt in receipts:
        firsts.append(total)
        total += sum(o.path.startswith(f"{kind}/") for o in receipt.outputs)
    return firsts


# keys and how often they occur


def count_keys(
    stage: Stage, signed: Sequence[Receipt], *, out: Path, at: Path, root: Path, least: int, memory: int, runner: Runner
) -> Input:
    """Add up the counts of equal keys over all runs of KEYS; the answers are COUNTED, keys with a total >= least.

    Returns the list of the answers.

    Args:
        stage: a stage of `count`, under the name of who asks.
        signed: receipts of shards that wrote runs of kind `keys` into `at`, with their number of rows as count `keys`.
        out: folder of the answers.
        at: folder of the runs.
        root: the workspace.
        least: a key with a smaller total is not reported.
        memory: bytes a range may take.
        runner: how and where shards run.
    """
    ranges = key_ranges(listed(at, signed, "keys", root), sum(r.counts["keys"] for r in signed), _COUNT_BYTES, memory)
    counted = map_shards(stage, ranges, out=out, params={"least": least}, runner=runner, large=True)
    return listed(out, counted, "counted", root)


def count(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """The keys of one range whose counts over all runs add up to `least` or more, reported to every run they are in."""
    rows, runs = gather(shard)
    order = order_by_key(rows)
    totals = _totals(np.ascontiguousarray(rows["key"][order]), np.ascontiguousarray(rows["count"][order]))
    enough = np.flatnonzero(totals >= params["least"])
    found = np.empty(len(enough), COUNTED)
    found["run"], found["key"], found["count"] = runs[order[enough]], rows["key"][order[enough]], totals[enough]
    found = found[order_by_run(found["run"])]  # still by key within a run
    save(scratch / "counted", 0, found)
    return {"in": len(rows), "reported": len(found)}


@kernel
def _totals(keys, counts):  # type: ignore[no-untyped-def]
    totals = np.empty(len(keys), np.uint32)
    i = 0
    while i < len(keys):
        end, total = i, np.int64(0)
        while end < len(keys) and keys[end] == keys[i]:
            total += np.int64(counts[end])
            end += 1
        totals[i:end] = np.uint32(min(total, np.int64(0xFFFFFFFF)))
        i = end
    return totals
