"""What the tests of the downloader share: contents, a quick policy, and short ways to call it and look at results."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import random
from pathlib import Path
from typing import Any

import orjson

from corpuskit.engine.plan import Input
from corpuskit.sources import fetch
from corpuskit.sources.transfer import Policy

DATA = gzip.compress("本文です。".encode() * 100, mtime=0)
BIG = gzip.compress(random.Random(0).randbytes(300_000), mtime=0)
OTHER = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)
PAGES = bz2.compress("<page>本文</page>".encode() * 500)
DUMP = "https://dumps.wikimedia.org/jawiki/20261101/jawiki-20261101-pages-articles-multistream.xml.bz2"
URL = "https://data.example.org/corpus/a.json.gz"
PATH = "/data.example.org/corpus/a.json.gz"
QUICK = Policy(connect=2, silence=1, attempts=3, first_wait=0.01, longest_wait=0.05, longest_pause=5)


def fetch_all(urls: list[str], raw: Path, mirror: str | None, policy: Policy = QUICK, **more: int) -> dict[str, Input]:
    return fetch.fetch_all(urls, raw, mirror, policy=policy, **more)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def record_of(found: Input) -> dict[str, Any]:
    return orjson.loads(Path(found.path + ".receipt.json").read_bytes())


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
