"""components: what hangs together by proposed pairs, and who is verified with whom at once.

Union-find over the sorted names of all documents that are in a pair. Names, roots and lengths are arrays of 8 bytes a
document; those that do not fit into their share of the memory are mapped from disk. Pairs are only ever streamed.

Components are then put together, in order of their roots, to groups of about as much text as may be in memory. A
component larger than that is a group of its own; verify.py keeps its shingle sets on disk.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.dedup.cluster import distinct, settle, unite
from corpuskit.dedup.exact import in_part, removed_mask
from corpuskit.dedup.minhash import Keys
from corpuskit.dedup.pairs import PAIR
from corpuskit.dedup.signatures import Signatures
from corpuskit.dedup.spill import gathered, spilled
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter, read_batches
from corpuskit.text.buffers import Positions

# Of one documents file, its documents that are in a pair. root: what names its component; sampled: to be measured.
MEMBER = pa.schema(
    [
        ("position", pa.int64()),
        ("name", pa.uint64()),
        ("root", pa.uint64()),
        ("group", pa.int32()),
        ("sampled", pa.bool_()),
    ]
)

_SAMPLE = 20_000  # documents that are measured where only a sample is verified, about
_BATCHES = 64  # of pairs that are looked at together
_OPEN_FILES = 256  # of pairs, one a group, written at once


def components(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """members/NNNNNN.parquet for each documents file, pairs/NNNNNN.parquet for each group.

    The shard's inputs are all signature files, what is no head of exact duplicates, and all pairs; its labels say how
    many of the first two, and `memory` in bytes, `group_chars`, `parts`. Where only a sample is to be verified, whole
    components are chosen by their root.
    """
    label = {name: int(value) for name, value in shard.labels.items()}
    signatures = Signatures.open(shard.inputs[: label["signatures"]])
    files = shard.inputs[label["signatures"] :]
    dead, files = removed_mask(files[: label["gone"]], len(signatures)), files[label["gone"] :]
    share = label["memory"] / 8

    names = gathered(
        scratch, (_touched(files, part, label["parts"]) for part in range(label["parts"])), np.uint64, share
    )
    root = spilled(scratch, len(names), np.int64, share)
    for start in range(0, len(names), 1 << 20):
        stop = min(len(names), start + (1 << 20))
        root[start:stop] = np.arange(start, stop)
    for left, right in _numbered(files, names):
        unite(root, left, right)
    settle(root)

    chars = spilled(scratch, len(names), np.int64, share)  # of a component, at its root
    for start, batch in signatures.read(["name", "num_chars"]):
        here, at = _members(batch.column("name").to_numpy(), dead, start, names)
        np.add.at(chars, root[at], batch.column("num_chars").to_numpy()[here])
    group = spilled(scratch, len(names), np.int32, share)  # of a component, at its root
    number = _group(root, chars, group, label["group_chars"])

    sampled, sample = 0, 1.0 if params["verify"] == "pairs" else _SAMPLE / max(1, len(names))
    folder = scratch / "members"
    folder.mkdir()
    for n, (start, stop) in enumerate(itertools.pairwise(signatures.starts.tolist())):
        one = Signatures((signatures.files[n],), np.array([start, stop]))
        with TableWriter(folder / f"{n:06d}.parquet", MEMBER) as writer:
            for at_row, batch in one.read(["name"]):
                column = batch.column(0).to_numpy()
                here, at = _members(column, dead, at_row, names)
                roots = root[at]
                chosen = mix_share(np.asarray(names[roots])) < sample
                sampled += int(chosen.sum())
                columns = [at_row + here, column[here], names[roots], group[roots], chosen]
                arrays = [pa.array(c, f.type) for c, f in zip(columns, MEMBER, strict=True)]
                writer.write(pa.RecordBatch.from_arrays(arrays, schema=MEMBER))
    (scratch / "pairs").mkdir()
    for first in range(0, number, _OPEN_FILES):
        _write_pairs(scratch / "pairs", files, names, root, group, range(first, min(number, first + _OPEN_FILES)))
    return {"in": len(signatures), "candidates": len(names), "groups": number, "sampled": sampled}


def mix_share(names: Keys) -> npt.NDArray[np.float64]:
    """A number in [0, 1) for each name, as good as random and always the same."""
    with np.errstate(over="ignore"):
        mixed = names * np.uint64(0xD6E8FEB86659FD93)
        mixed = (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)
    return mixed / 2.0**64


def _batches(files: Sequence[Input]) -> Iterator[tuple[Keys, Keys]]:
    batches = (batch for file in files for batch in read_batches(file.path, PAIR.names))
    while some := list(itertools.islice(batches, _BATCHES)):
        left, right = (np.concatenate([b.column(side).to_numpy() for b in some]) for side in PAIR.names)
        yield left, right


def _touched(files: Sequence[Input], part: int, parts: int) -> Keys:
    """The sorted names of one range that are in a pair."""
    found = np.empty(0, np.uint64)
    for left, right in _batches(files):
        both = np.concatenate([left, right])
        found = distinct(np.concatenate([found, distinct(both[in_part(both, part, parts)])]))
    return found


def _search(names: Keys, wanted: Keys) -> Positions:
    """np.searchsorted, in order of what is wanted: in many names three to seven times as fast as in any order."""
    order = np.argsort(wanted)
    found = np.empty(len(wanted), np.int64)
    found[order] = np.searchsorted(names, wanted[order])
    return found


def _numbered(files: Sequence[Input], names: Keys) -> Iterator[tuple[Positions, Positions]]:
    for left, right in _batches(files):
        yield _search(names, left), _search(names, right)


def _members(column: Keys, dead: npt.NDArray[np.bool_], start: int, names: Keys) -> tuple[Positions, Positions]:
    """Which rows of a batch are in a pair, and the number of each one's name."""
    alive = np.flatnonzero((column != 0) & ~dead[start : start + len(column)])
    at = _search(names, column[alive])
    there = at < len(names)
    there[there] = names[at[there]] == column[alive][there]
    return alive[there], at[there]


def _group(root: Positions, chars: Positions, group: npt.NDArray[np.int32], limit: int) -> int:
    """Numbers the groups in order of root; returns how many there are."""
    number, filled = -1, limit
    for start in range(0, len(root), 1 << 20):
        own = root[start : start + (1 << 20)]
        for i in (start + np.flatnonzero(own == np.arange(start, start + len(own)))).tolist():
            if filled >= limit:
                number, filled = number + 1, 0
            filled += int(chars[i])
            group[i] = number
    return number + 1


def _write_pairs(
    folder: Path, files: Sequence[Input], names: Keys, root: Positions, group: npt.NDArray[np.int32], wanted: range
) -> None:
    """One file of pairs for each wanted group."""
    with ExitStack() as stack:
        writers = [stack.enter_context(TableWriter(folder / f"{n:06d}.parquet", PAIR)) for n in wanted]
        for left, right in _batches(files):
            number = group[root[_search(names, left)]]
            order = np.lexsort((right, left, number))
            new = np.ones(len(order), np.bool_)
            a, b = left[order], right[order]
            new[1:] = (a[1:] != a[:-1]) | (b[1:] != b[:-1])
            order = order[new]
            cuts = np.searchsorted(number[order], [*wanted, wanted.stop])
            for writer, (first, last) in zip(writers, itertools.pairwise(cuts.tolist()), strict=True):
                for at in range(first, last, 1 << 16):
                    part = order[at : min(last, at + (1 << 16))]
                    writer.write(pa.RecordBatch.from_arrays([pa.array(left[part]), pa.array(right[part])], schema=PAIR))


COMPONENTS = Stage("dedup_components", 1, components)
