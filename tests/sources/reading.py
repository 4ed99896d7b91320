"""Read one file with a reader and look at everything that came out."""

from __future__ import annotations

import bz2
import json
import lzma
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import zstandard

from corpuskit.engine.plan import Input, Shard
from corpuskit.schema import DOCUMENT
from corpuskit.sources.read import read_documents
from corpuskit.sources.record import Quarantine


def read_input(source: Input, reader: str, **labels: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The documents of an input (their meta parsed) and the quarantined records."""
    with tempfile.TemporaryDirectory() as folder:
        quarantine = Quarantine(Path(folder))
        shard = Shard("s", (source,), {"reader": reader, "source": "web", "lang": "ja", **labels})
        documents: list[dict[str, Any]] = []
        for batch in read_documents(shard, quarantine):
            batch.validate(full=True)
            assert batch.schema == DOCUMENT
            documents += batch.to_pylist()
        quarantine.close()
        path = Path(folder) / "quarantined.parquet"
        bad = pq.read_table(path).to_pylist() if path.is_file() else []
    for document in documents:
        document["meta"] = json.loads(document["meta"])
    return documents, bad


def read_file(path: Path, reader: str, **labels: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The same for a whole file."""
    return read_input(Input(str(path), path.name, "0" * 64, path.stat().st_size), reader, **labels)


_LIBRARIES: dict[str, Callable[[], Any]] = {
    "gz": lambda: zlib.decompressobj(31),
    "xz": lzma.LZMADecompressor,
    "bz2": bz2.BZ2Decompressor,
    "zst": lambda: zstandard.ZstdDecompressor().decompressobj(),
}


def before_damage(packed: bytes, suffix: str) -> bytes:
    """All that the format's usual library gives, fed byte by byte, for a file of streams before it meets damage."""
    out = bytearray()
    stream = _LIBRARIES[suffix]()
    try:
        for at in range(len(packed)):
            out += stream.decompress(packed[at : at + 1])
            if stream.eof:
                stream = _LIBRARIES[suffix]()
    except (OSError, EOFError, lzma.LZMAError, zlib.error, zstandard.ZstdError):
        return bytes(out)
    raise AssertionError("no damage was met")
