"""The partition plan: which shard is made of which input, decided and hashed before any work starts.

A plan depends on the inputs and on the parameters alone. Worker count, executor and order of completion never enter
it, so shard names and contents are the same on a laptop and on a cluster.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Input:
    """One input file of a shard, or a byte range of it.

    `path` is where this machine reads it and may differ between machines; `name` is what receipts record: the
    upstream URL or a path relative to the workspace. `sha256` and `size` are those of the whole file.
    """

    path: str
    name: str
    sha256: str
    size: int
    start: int | None = None  # [start, stop): bytes, or row groups of Parquet; for what can be entered in the middle
    stop: int | None = None

    def identity(self) -> dict[str, Any]:
        """What makes this input this input: everything but where it happens to lie."""
        fields = asdict(self)
        del fields["path"]
        return fields


@dataclass(frozen=True, slots=True)
class Shard:
    """One unit of work and the name its outputs carry."""

    name: str
    inputs: tuple[Input, ...]
    labels: dict[str, str] = field(default_factory=dict)  # handed to the stage function: source, reader, ...


def shard_key(stage: str, version: int, params: dict[str, Any], shard: Shard) -> str:
    """The key of a shard's result: sha256 over stage, stage version, parameters and input identities."""
    content = {
        "stage": stage,
        "version": version,
        "params": params,
        "shard": shard.name,
        "labels": shard.labels,
        "inputs": [i.identity() for i in shard.inputs],
    }
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def file_sha256(path: str | Path) -> str:
    """The sha256 of a local file, as hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
