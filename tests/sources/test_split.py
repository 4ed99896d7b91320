"""Split: the parts of a stream give the same documents, ids and quarantine as the stream itself."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Runner, map_shards
from corpuskit.sources import split as split_module
from corpuskit.sources.read import Quarantine, read_documents
from corpuskit.sources.split import PART, STAGE
from corpuskit.sources.streams import as_input

LABELS = {"source": "cc100", "lang": "ja", "file": "https://host.example/ja.txt.gz"}


def documents_of(path: Path, reader: str, folder: Path) -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    folder.mkdir()
    quarantine = Quarantine(folder)
    shard = Shard("s", (as_input(str(path)),), {**LABELS, "reader": reader})
    rows = [row for batch in read_documents(shard, quarantine) for row in batch.to_pylist()]
    quarantine.close()
    if not quarantine.count:
        return rows, []
    bad = pq.read_table(folder / "quarantined.parquet").to_pylist()
    return rows, [(b["record"], b["error"]) for b in bad]


def split(path: Path, out: Path) -> tuple[list[Path], dict[str, Any]]:
    [receipt] = map_shards(
        STAGE, [Shard("cc100-ja", (as_input(str(path)),), LABELS)], out=out, params={}, runner=Runner(executor="local")
    )
    return [out / output.path for output in receipt.outputs], receipt.counts


TEXTS = [f"{n}番目の文書の一行目。\n二行目の{n * 7919 % 997}。".encode() for n in range(60)]
TEXTS[7] = b"\xff\xfe broken"
STREAM = gzip.compress(b"\n\n".join(TEXTS) + b"\n", mtime=0)


@pytest.mark.parametrize("part_bytes", [1, 200, 1000, 1 << 20])
@pytest.mark.parametrize("cut", [0, 40])
def test_parts_hold_what_the_stream_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, cut: int
) -> None:
    monkeypatch.setattr(split_module, "PART_BYTES", part_bytes)
    monkeypatch.setattr(split_module, "_BATCH_BYTES", 150)
    path = tmp_path / "ja.txt.gz"
    path.write_bytes(STREAM[: len(STREAM) - cut])
    whole, whole_bad = documents_of(path, "cc100", tmp_path / "whole")
    parts, counts = split(path, tmp_path / "split")
    assert counts["parts"] == len(parts)
    rows, bad = [], []
    for number, part in enumerate(parts):
        assert part == tmp_path / "split" / "parts" / f"cc100-ja-{number:05d}.parquet"
        assert pq.read_schema(part).equals(PART)
        more_rows, more_bad = documents_of(part, "parts", tmp_path / f"part{number}")
        rows += more_rows
        bad += more_bad
    assert rows == whole and bad == whole_bad
    assert len(rows) + len(bad) == (60 if not cut else len(whole) + 2)
    assert [number for number, _ in bad][:1] == [7]


def test_a_part_ends_with_the_document_that_fills_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(split_module, "PART_BYTES", 10)
    (tmp_path / "ja.txt").write_bytes(b"12345\n\n67890\n\nabc\n\n" + b"x" * 30 + b"\n\nlast\n")
    parts, _ = split(tmp_path / "ja.txt", tmp_path / "split")
    texts = [pq.read_table(part).column("text").to_pylist() for part in parts]
    assert texts == [[b"12345", b"67890"], [b"abc", b"x" * 30], [b"last"]]


def test_an_empty_stream_has_one_empty_part(tmp_path: Path) -> None:
    (tmp_path / "ja.txt").write_bytes(b"\n\n")
    parts, counts = split(tmp_path / "ja.txt", tmp_path / "split")
    assert (counts, [pq.read_table(part).num_rows for part in parts]) == ({"source": "cc100", "parts": 1}, [0])
