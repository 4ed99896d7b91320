"""Damaged input for the readers of WARC, WET and Aozora files: no crash, no hang, bounded memory; seeded, no network.

Every reader gets 2,000 inputs, made from good ones by cutting, flipping, doubling, dropping and inserting,
some with a huge line, NULs, foreign encodings or a bomb inside. What must hold: the reader ends by itself; its records
hold text that UTF-8 can carry; and memory stays bounded, measured over the whole run in a process of its own.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_aozora import WORK
from web_archives import SENTENCE, page, record, response, run

ROUNDS = 2_000
HANG = 300  # seconds for the process of a reader; it takes about 3
MAX_MEMORY = 1_000  # MiB resident at the peak, the inputs of 100 MB and their making included

TOKENS = [
    b"\0" * 50,
    b"\r\n\r\n",
    b"WARC/1.0\r\n",
    b"Content-Length: 99999999999\r\n",
    b"<div>" * 3000,
    b"\x1b$B",
    b"<",
    b"]]>",
]
TOKENS += [
    b"\x1f\x8b\x08\0" * 9,
    b"\xff\xfe",
    b"HTTP/1.1 200 OK\r\n",
    b"&#xD800;",
    b"\xed\xa0\x80",
    b"<!--",
    b"Transfer-Encoding: chunked\r\n",
]
TOKENS += [
    t.encode("cp932")
    for t in ("《" * 40, "［＃" * 40, "｜" * 40, "※［＃、U+D800］", "※［＃「」、1-99-99］", "-" * 60 + "\n", "底本：")
]


def seeds(reader: str, rng: random.Random) -> bytes:
    """A good input of a reader."""
    if reader == "aozora":
        raw = WORK.encode(rng.choice(["cp932", "utf-8", "utf-16"]))
        if rng.random() < 0.5:
            return raw
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", rng.choice([zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])) as archive:
            archive.writestr("a.txt", raw)
            archive.writestr("b.txt", b"\0" * (1 << 20) if rng.random() < 0.1 else raw)
        return buffer.getvalue()
    codec = rng.choice(["utf-8", "cp932", "euc_jp", "iso2022_jp", "utf-16"])
    body = page(meta=f"<meta charset={codec}>").encode(codec)
    coded = {"gzip": gzip.compress(body), "deflate": body, "br": body, "zstd": body}
    parts = [record("warcinfo", "", b"software: x")]
    if reader == "wet":
        parts += [record("conversion", f"http://x.jp/{i}", (SENTENCE * i).encode()) for i in range(4)]
    else:
        name = rng.choice(list(coded))
        headers = f"Content-Type: text/html; charset={codec}\r\nContent-Encoding: {name}"
        chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        parts += [
            response("http://x.jp/1", body),
            response("http://x.jp/2", coded[name], headers),
            response("http://x.jp/3", chunk, "Content-Type: text/html\r\nTransfer-Encoding: chunked"),
            b"http://x.jp/4 1.2.3.4 20140216050221 text/html %d\nHTTP/1.1 200 OK\n\n%s\n" % (len(body) + 17, body),
            record("resource", "http://x.jp/5", body, "Content-Type: text/html"),
        ]
    if rng.random() < 0.03:
        parts.insert(1, response("http://x.jp/0", gzip.compress(b"<p>" * 700_000), "Content-Encoding: gzip"))
    whole = rng.random()
    return (
        b"".join(map(gzip.compress, parts))
        if whole < 0.5
        else b"".join(parts)
        if whole < 0.8
        else gzip.compress(b"".join(parts))
    )


def mutated(raw: bytes, rng: random.Random) -> bytes:
    """The input with one to six wounds."""
    data = bytearray(raw)
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(data) + 1)
        to = min(len(data), at + rng.choice([1, 2, 16, 200]))
        kind = rng.randrange(7)
        if kind == 0 and data:
            del data[at:]
        elif kind == 1 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del data[at:to]
        elif kind == 3:
            data[at:at] = data[at:to] * rng.randint(1, 30)
        elif kind == 4:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 5:
            data[at:to] = rng.randbytes(to - at)
        elif rng.random() < 0.05:
            data[at:at] = rng.choice([b"a", b"\0", b"\xe3", b"\x82"]) * 1_000_000
    return bytes(data)


def fuzz(reader: str, folder: Path) -> None:
    """All rounds of a reader; raises where one of the promises is broken."""
    rng = random.Random(f"corpuskit {reader}")
    path = folder / "input.bin"
    for number in range(ROUNDS):
        data = mutated(seeds(reader, rng), rng)
        path.write_bytes(data)
        records, errors, _ = run(reader, path, rng.choice(["ja", "en"]))
        for found in records:
            found.text.encode("utf-8")
            assert found.text.strip()
        assert len({r.number for r in records} | {n for n, _ in errors}) == len(records) + len(errors), (
            f"input {number}"
        )


def huge(reader: str, folder: Path) -> None:
    """Lines of 100 MB, and bombs."""
    path = folder / "input.bin"
    for data in (
        b"a" * (100 << 20),
        b"WARC/1.0\r\n" + b"a" * (100 << 20),
        b"WARC/1.0\r\nContent-Length: 104857600\r\nWARC-Type: response\r\n\r\n" + b"a" * (100 << 20),
        b"\0" * (100 << 20),
        gzip.compress(b"\0" * (80 << 20), 1),
        gzip.compress(record("conversion", "http://x.jp/", b"x" * (80 << 20)), 1),
        b"\x1f\x8b\x08\0" * (5 << 20),
    ):
        path.write_bytes(data)
        records, errors, _ = run(reader, path, "ja")
        assert len(records) + len(errors) <= 2


@pytest.mark.parametrize("reader", ["warc", "wet", "aozora"])
@pytest.mark.parametrize("what", ["fuzz", "huge"])
def test_no_crash_no_hang_bounded_memory(reader: str, what: str, tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, __file__, what, reader, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert int(result.stdout.split()[-1]) < MAX_MEMORY, f"{result.stdout} MiB"


if __name__ == "__main__":
    {"fuzz": fuzz, "huge": huge}[sys.argv[1]](sys.argv[2], Path(sys.argv[3]))
    # not ru_maxrss: a process has that from the one it was forked from
    status = Path("/proc/self/status").read_text(encoding="ascii")
    print(int(status.split("VmHWM:")[1].split()[0]) >> 10)
