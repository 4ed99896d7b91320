"""The atomic store: outputs appear whole or not at all, and each shard's receipt is written last.

Layout of one stage's folder, for a shard called `mc4-00000`:

    kept/mc4-00000.parquet         a stage function wrote `kept.parquet` into its scratch folder
    removed/mc4-00000.parquet      likewise; `_.bin` would become `mc4-00000.bin` beside the folders, and
                                   `parts/00007.parquet` would become `parts/mc4-00000-00007.parquet`
    receipts/mc4-00000.json        inputs, parameters, counts, and size and sha256 of each output
    .corpuskit-tmp/                scratch of running shards; swept when a run starts and when it ends

A shard is done when its receipt's key matches and every output it names has the recorded size. Nothing in the folder
depends on time, host or worker, so two runs can be compared byte by byte; CPU seconds are no results and are shown,
not written (see run.py).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import orjson

from corpuskit.config import UserError
from corpuskit.engine.plan import Input, Shard, file_sha256

SCRATCH = ".corpuskit-tmp"
RECEIPTS = "receipts"


@dataclass(frozen=True, slots=True)
class Output:
    """One finished file: its path relative to the stage's folder, its size in bytes and its sha256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a shard was made of, how, and what came out."""

    stage: str
    version: int
    shard: str
    key: str
    inputs: list[dict[str, Any]]
    labels: dict[str, str]
    params: dict[str, Any]
    counts: dict[str, Any]
    outputs: list[Output] = field(default_factory=list)

    def to_json(self) -> bytes:
        """The receipt as JSON with sorted keys, and the sha256 of the rest under `receipt_sha256`."""
        # plain dicts, whose keys alone orjson sorts; asdict would copy every rule of the parameters
        body = {f.name: getattr(self, f.name) for f in fields(self)}
        body["outputs"] = [asdict(o) for o in self.outputs]
        digest = hashlib.sha256(_dumps(body)).hexdigest()
        return _dumps({**body, "receipt_sha256": digest})


def _dumps(value: object) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_receipt(path: Path) -> Receipt | None:
    """The receipt at `path`, or None where there is none or it is not whole."""
    try:
        data = orjson.loads(path.read_bytes())
        digest = data.pop("receipt_sha256")
        if hashlib.sha256(_dumps(data)).hexdigest() != digest:
            return None
        data["outputs"] = [Output(**o) for o in data["outputs"]]
        return Receipt(**data)
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return None


def read_receipts(folder: Path) -> list[Receipt]:
    """All receipts of a stage's folder, in order of shard name."""
    found = (read_receipt(p) for p in sorted((folder / RECEIPTS).glob("*.json")))
    return [r for r in found if r is not None]


def done(folder: Path, shard: Shard, key: str) -> Receipt | None:
    """The receipt of a finished shard whose key matches and whose outputs are all there, else None."""
    receipt = read_receipt(folder / RECEIPTS / f"{shard.name}.json")
    if receipt is None or receipt.key != key:
        return None
    for output in receipt.outputs:
        try:
            if (folder / output.path).stat().st_size != output.size:
                return None
        except FileNotFoundError:
            return None
    return receipt


_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP}
_IN_THE_WAY |= {errno.ENAMETOOLONG, errno.EINVAL}  # what another try would meet again


def make_folder(path: Path) -> None:
    """A folder that results go to, made where it is not there yet.

    Raises:
        UserError: it cannot be made (a file in the way, no permission), or nothing can be written into it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
        raise UserError(f"{path}: cannot be made a folder ({error.strerror}); choose another one") from None
    if not os.access(path, os.W_OK | os.X_OK):
        raise UserError(f"{path}: nothing may be written into this folder; choose another one")


def write_atomic(path: Path, content: bytes) -> None:
    """Write a small file whole: temporary name, flush to disk, rename. A file that holds just this is left alone."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write sorted, indented JSON atomically."""
    write_atomic(path, _dumps(value))


def commit(folder: Path, scratch: Path, receipt: Receipt) -> Receipt:
    """Move a shard's scratch files to their final names, then write its receipt.

    The old receipt goes first: from then until the new one stands the shard counts as not done, so a reader never
    pairs an old receipt with a new file.
    """
    receipt_path = folder / RECEIPTS / f"{receipt.shard}.json"
    before = read_receipt(receipt_path)
    receipt_path.unlink(missing_ok=True)
    for old in before.outputs if before else ():  # also what this time is not made, such as a quarantine
        if (folder / old.path).resolve().is_relative_to(folder.resolve()):
            (folder / old.path).unlink(missing_ok=True)
    outputs = []
    for made in sorted(p for p in scratch.rglob("*") if p.is_file()):
        stem, suffix = made.name.split(".", 1)
        if made.parent != scratch:
            relative = f"{made.parent.name}/{receipt.shard}-{stem}.{suffix}"
        else:
            relative = f"{receipt.shard}.{suffix}" if stem == "_" else f"{stem}/{receipt.shard}.{suffix}"
        with open(made, "rb+") as file:
            os.fsync(file.fileno())
        outputs.append(Output(relative, made.stat().st_size, file_sha256(made)))
        final = folder / relative
        make_folder(final.parent)
        made.replace(final)
    whole = replace(receipt, outputs=outputs)
    write_atomic(receipt_path, whole.to_json())
    return whole


def as_inputs(folder: Path, receipts: Iterable[Receipt], kind: str, root: Path) -> list[Input]:
    """The outputs of one kind (`kept`, `signatures`, ...) of finished shards, as inputs of the next stage.

    Their recorded names are relative to `root`, the workspace, so that receipts do not depend on where it lies.
    """
    return [
        Input(str(folder / o.path), str((folder / o.path).relative_to(root)), o.sha256, o.size)
        for receipt in receipts
        for o in receipt.outputs
        if o.path.startswith(f"{kind}/")
    ]


def sweep(folder: Path) -> None:
    """Remove scratch left by runs that were killed."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    sweep_strays(folder, folder / RECEIPTS)


def sweep_strays(*folders: Path) -> None:
    """Remove the temporary files that `write_atomic` left in these folders when it was killed."""
    for folder in folders:
        for stray in folder.glob(".*.tmp"):
            if re.fullmatch(r"\..+\.\d+\.tmp", stray.name):
                stray.unlink(missing_ok=True)


def prune(folder: Path, keep: Iterable[str]) -> None:
    """Remove receipts and outputs of shards that are not in the plan any more.

    Only files that a receipt names are touched, so a folder that holds somebody's other files keeps them.
    """
    wanted = set(keep)
    for path in sorted((folder / RECEIPTS).glob("*.json")):
        if path.stem in wanted:
            continue
        receipt = read_receipt(path)
        path.unlink()
        for output in receipt.outputs if receipt else ():
            target = (folder / output.path).resolve()
            if target.is_relative_to(folder.resolve()):
                target.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # the folder still holds other shards
                    target.parent.rmdir()
