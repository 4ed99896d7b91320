"""2,000 mutated inputs a reader, seeded: no crash, no hang, bounded memory, and every record accounted for.

Each reader runs in a process of its own, so that a crash below Python is seen as one and peak memory is the reader's.
What is fed is a small file as upstream packs it, damaged: cut off, bits flipped, bytes overwritten, pieces repeated or
thrown away, NULs and broken UTF-8 put in, deep JSON; some before packing, some after. Huge lines and bombs follow.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import json
import lzma
import random
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpuskit.engine.plan import Input, Shard
from corpuskit.schema import DOCUMENT
from corpuskit.sources.read import read_documents
from corpuskit.sources.record import Quarantine

RUNS = 2000
MEMORY = 900 << 20  # bytes above what the process held after its first file: a 64 MiB line, its copies, a batch
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": lambda b: gzip.compress(b, 1, mtime=0),
    ".zst": lambda b: zstandard.ZstdCompressor(level=1, write_checksum=True).compress(b),
    ".xz": lambda b: lzma.compress(b, preset=0),
    ".bz2": lambda b: bz2.compress(b, 1),
}
TEXT = '日本語の文章。\n二行目 with English, "quotes" and 😀'


def jsonl() -> bytes:
    rows = [{"text": f"{TEXT} {n}", "url": f"https://a.example/{n}", "timestamp": "2020-01-01"} for n in range(8)]
    return "".join(json.dumps(r, ensure_ascii=n % 2 == 0) + "\n" for n, r in enumerate(rows)).encode()


def oscar() -> bytes:
    row = {"content": TEXT, "warc_headers": {"warc-target-uri": "u"}, "metadata": {"quality_warnings": ["tiny"]}}
    return (json.dumps(row) + "\n").encode() * 8


def wikipedia() -> bytes:
    page = "<page><title>茶 {0}</title><ns>0</ns><id>{0}</id><revision><timestamp>2026-01-01T00:00:00Z</timestamp><text>'''茶'''は[[飲料|のみもの]]。{{{{lang|en|tea}}}}\n== 脚注 ==\n* a</text></revision></page>\n"  # noqa: E501
    return ("<mediawiki>\n" + "".join(page.format(n) for n in range(8)) + "</mediawiki>").encode()


def cirrus() -> bytes:
    page = {"title": "茶", "text": TEXT, "namespace": 0, "wiki": "jawiki"}
    return b"".join(json.dumps(r).encode() + b"\n" for n in range(6) for r in ({"index": {"_id": str(n)}}, page))


def parquet() -> bytes:
    table = pa.table({"text": [TEXT] * 40, "url": ["u"] * 40, "tags": [["a"]] * 40, "info": [{"n": 1}] * 40})
    out = io.BytesIO()
    kind = random.choice(["none", "snappy", "zstd", "gzip"])
    pq.write_table(table, out, row_group_size=10, compression=kind, use_dictionary=random.random() < 0.5)
    return out.getvalue()


def csv() -> bytes:
    return ("id,text,url\n" + "".join(f'{n},"{TEXT.replace(chr(34), chr(34) * 2)}",u\n' for n in range(8))).encode()


def text() -> bytes:
    return (TEXT + "\n").encode() * 8


def cc100() -> bytes:
    return "一の一\n一の二\n\n二\n\n三\n".encode() * 3


CASES: dict[str, tuple[Callable[[], bytes], str, str, str]] = {
    "jsonl": (jsonl, "jsonl", ".jsonl", ""),
    "jsonl.gz": (jsonl, "jsonl", ".jsonl", ".gz"),
    "jsonl.zst": (jsonl, "jsonl", ".jsonl", ".zst"),
    "jsonl.xz": (jsonl, "jsonl", ".jsonl", ".xz"),
    "jsonl.bz2": (jsonl, "jsonl", ".jsonl", ".bz2"),
    "oscar": (oscar, "jsonl", ".jsonl", ".zst"),
    "cc100": (cc100, "cc100", ".txt", ".xz"),
    "wikipedia": (wikipedia, "wikipedia", ".xml", ".bz2"),
    "cirrus": (cirrus, "cirrus", ".json", ".gz"),
    "parquet": (parquet, "parquet", ".parquet", ""),
    "csv": (csv, "csv", ".csv", ".gz"),
    "text": (text, "text", ".txt", ".gz"),
    "lines": (text, "lines", ".txt", ""),
}
LABELS = {"text_field": "content", "url_field": "warc_headers.warc-target-uri", "keep": "metadata.quality_warnings"}
INSERTS = [
    b"\0",
    b"\0" * 300,
    b"\xff\xfe",
    b"\xe3\x81",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\n",
    b'"',
    b"[" * 2000,
    b'{"text":' * 1500,
    b"{{" * 500,
    b"<page>",
    b"9" * 400,
    b"\r",
    b"x" * 70_000,
]


def mutated(data: bytes, times: int) -> bytes:
    """The bytes with some damage done to them."""
    out = bytearray(data)
    for _ in range(times):
        at = random.randrange(len(out) + 1)
        match random.randrange(6):
            case 0:
                del out[at:]
            case 1 if out:
                out[at % len(out)] ^= 1 << random.randrange(8)
            case 2:
                out[at:at] = random.choice(INSERTS)
            case 3:
                out[at : at + random.randrange(1, 40)] = random.randbytes(random.randrange(20))
            case 4:
                del out[at : at + random.randrange(1, 200)]
            case _:
                out[at:at] = out[max(0, at - random.randrange(1, 300)) : at]
    return bytes(out)


# how many records an undamaged stream of these bytes has, counted in another way
RECORDS: dict[str, Callable[[bytes], int]] = {
    "jsonl": lambda b: sum(1 for line in b.split(b"\n") if line.strip()),
    "lines": lambda b: sum(1 for line in b.split(b"\n") if line.strip()),
    "cc100": lambda b: sum(1 for found, _ in itertools.groupby(b.split(b"\n"), lambda x: bool(x.strip())) if found),
    "text": lambda b: 1,
}


def count(path: Path, reader: str, folder: Path, labels: dict[str, str]) -> tuple[int, int]:
    """Documents and quarantined records of a file; fails where a batch is not whole."""
    quarantine = Quarantine(folder)
    shard = Shard("s", (Input(str(path), path.name, "", path.stat().st_size),), {"reader": reader, "source": "w", "lang": "ja", **labels})  # fmt: skip  # noqa: E501
    documents = 0
    ids: set[tuple[str, str]] = set()
    for batch in read_documents(shard, quarantine):
        batch.validate(full=True)
        assert batch.schema == DOCUMENT and batch.column("text").null_count == 0
        for identity, meta in zip(batch.column("id").to_pylist(), batch.column("meta").to_pylist(), strict=True):
            json.loads(meta)
            ids.add((identity, meta))
        documents += batch.num_rows
    quarantine.close()
    if reader != "wikipedia" and reader != "cirrus":  # a repeated page has the id of the page it repeats
        assert len(ids) == documents
    return documents, quarantine.count


def zeros(size: int) -> Iterator[bytes]:
    """A stream of one letter, in pieces."""
    for _ in range(size >> 20):
        yield b"x" * (1 << 20)


def packed_huge(packing: str, head: bytes, size: int, tail: bytes, path: Path) -> None:
    """A file with one line of `size` bytes between two ordinary ones, made without holding it."""
    if packing == ".zst":
        maker = zstandard.ZstdCompressor(level=1).compressobj()
    elif packing:
        maker = {".gz": lambda: zlib.compressobj(1, zlib.DEFLATED, 31), ".xz": lambda: lzma.LZMACompressor(preset=0), ".bz2": lambda: bz2.BZ2Compressor(1)}[packing]()  # fmt: skip  # noqa: E501
    else:
        maker = None
    with open(path, "wb") as file:
        for piece in (head, *zeros(size), tail):
            file.write(maker.compress(piece) if maker else piece)
        file.write(maker.flush() if maker else b"")


BOMBS = (".zst", ".xz", ".bz2")  # these pack 100 MiB of one letter into less than a thousandth; gzip does not


def fuzz(name: str, runs: int) -> None:
    """What the process of one reader does."""
    make, reader, suffix, packing = CASES[name]
    labels = LABELS if name == "oscar" else {}
    random.seed(name)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        path = folder / f"jawiki-1-a{suffix}{packing}"
        path.write_bytes(PACK[packing](make()))
        whole, bad = count(path, reader, folder, labels)
        assert whole and not bad, (whole, bad)
        before = peak_bytes()
        slowest = 0.0
        for run in range(runs):
            plain = make()
            inner = mutated(plain, random.randrange(1, 4)) if run % 2 and reader != "parquet" else plain
            outer = packed = PACK[packing](inner)
            if not (run % 2) or run % 5 == 0:
                outer = mutated(outer, random.randrange(1, 4))
            path.write_bytes(outer)
            start = time.process_time()
            documents, bad = count(path, reader, folder, labels)
            slowest = max(slowest, time.process_time() - start)
            if outer is not packed and packing:
                # a part that repeats may read as a member more; what is missing was told
                assert bad or (documents >= whole if inner is plain else True), run
            elif (expected := RECORDS.get(reader)) is not None:
                assert documents + bad == expected(inner if packing else outer), run
        assert slowest < 5, slowest
        if reader != "parquet":
            huge(name, folder)
        peak = peak_bytes() - before
        assert peak < MEMORY, f"{peak >> 20} MiB"
        print(f"{name}: {runs} runs, slowest {slowest:.3f} s, peak {peak >> 20} MiB more")


def peak_bytes() -> int:
    """The largest resident size of this process; ru_maxrss would hand on that of the process it was forked from."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def huge(name: str, folder: Path) -> None:
    """A line of 100 MiB is one quarantined record between two good ones; a bomb ends in one."""
    make, reader, suffix, packing = CASES[name]
    labels = LABELS if name == "oscar" else {}
    path = folder / f"jawiki-1-a{suffix}{packing}"
    good = make()
    if reader == "wikipedia":
        head, tail = good.replace(b"</mediawiki>", b"<page><title>"), b"</title></page>" + good
    elif reader == "cc100":
        head, tail = good, b"\n\n" + good
    else:
        head, tail = good, b"\n" + good
    packed_huge(packing, head, 100 << 20, tail, path)
    documents, bad = count(path, reader, folder, labels)
    path.write_bytes(PACK[packing](good))
    ordinary, _ = count(path, reader, folder, labels)
    if reader == "text":
        assert (documents, bad) == (0, 1)
    elif packing in BOMBS:
        assert documents == ordinary and 1 <= bad <= 2, (documents, bad)
    else:
        # the header of the second half is a record to a CSV reader
        assert (documents, bad) == (2 * ordinary + (reader == "csv"), 1)


@pytest.mark.parametrize("name", CASES)
def test_no_input_breaks_a_reader(name: str) -> None:
    command = [sys.executable, __file__, name, str(RUNS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


if __name__ == "__main__":
    fuzz(sys.argv[1], int(sys.argv[2]))
