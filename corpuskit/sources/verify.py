"""Is a fetched file the file? Told by its first bytes, its size, an upstream checksum, and the archive's own checksums.

Upstream checksums come from a list that lies beside the file (Wikipedia's sha1sums, md5sums and dumpstatus.json,
OSCAR's checksum.sha256) or from the server's headers (`X-Linked-Etag` of huggingface.co is the sha256 of the LFS
object; an ETag of 32 or 64 hex digits often is the md5 or sha256). Where none is to be had, an archive is read through
once: gzip, xz, bzip2 and most zstd streams carry checksums and show where they end, so a cut or mixed file is found.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from corpuskit.config import UserError
from corpuskit.sources.codecs import CHUNK, CutStream, decompressor, expand_members

MAGIC = {
    ".gz": b"\x1f\x8b",
    ".xz": b"\xfd7zXZ\0",
    ".bz2": b"BZh",
    ".zst": b"\x28\xb5\x2f\xfd",
    ".parquet": b"PAR1",  # at both ends
}
HEAD = 512  # bytes that are looked at: a git-LFS pointer is never longer than 200
HEX = {32: "md5", 40: "sha1", 64: "sha256"}  # hex digits of a digest
DUMP = re.compile(r"(?P<folder>.*/(?P<wiki>[a-z][a-z0-9_]*)/(?P<date>\d{8})/)(?P=wiki)-(?P=date)-[^/]+$")
POINTER = re.compile(rb"version https://git-lfs\.github\.com/spec/.*?oid sha256:([0-9a-f]+)\s+size (\d+)", re.DOTALL)


class Damaged(Exception):
    """What came is not what upstream says it is; the message says how."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A checksum upstream gives for a file, or may have given: an ETag can look like a digest and be none."""

    algorithm: str  # md5, sha1, sha256
    hexdigest: str
    said_by: str  # for receipts and errors
    sure: bool = True
    size: int | None = None  # bytes, where the same list says so


def etag_digest(etag: str | None) -> Digest | None:
    """The digest an ETag looks like; None for a weak, multipart or other ETag."""
    bare = (etag or "").strip('"')
    if len(bare) not in (32, 64) or not re.fullmatch(r"[0-9a-f]+", bare):
        return None
    return Digest(HEX[len(bare)], bare, "ETag", sure=False)


def checksum_lists(url: str) -> list[str]:
    """URLs of the lists that may hold this file's checksum, the best first."""
    plain = re.split(r"[?#]", url, maxsplit=1)[0]
    if match := DUMP.match(plain):
        stem = f"{match['folder']}{match['wiki']}-{match['date']}-"
        return [f"{stem}sha1sums.txt", f"{stem}md5sums.txt", f"{match['folder']}dumpstatus.json"]
    if "/oscar-corpus/" in plain and plain.endswith((".zst", ".gz")):
        return [f"{plain.rsplit('/', 1)[0]}/checksum.sha256"]
    return []


def published_digest(url: str, read: Callable[[str], bytes | None]) -> Digest | None:
    """What upstream's lists say about this file; `read` returns a list's bytes, or None where it is not there."""
    for address in checksum_lists(url):
        content = read(address)
        found = _listed(url, content, address.rsplit("/", 1)[-1]) if content else None
        if found:
            return found
    return None


def _listed(url: str, content: bytes, list_name: str) -> Digest | None:
    name = re.split(r"[?#]", url, maxsplit=1)[0].rsplit("/", 1)[-1]
    if list_name.endswith(".json"):
        try:
            jobs = orjson.loads(content)["jobs"].values()
            entry: dict[str, Any] = next((job["files"][name] for job in jobs if name in job.get("files", {})), {})
            for algorithm in ("sha1", "md5"):
                if algorithm in entry:
                    return Digest(algorithm, entry[algorithm], list_name, size=entry.get("size"))
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            pass  # a page in place of the list: no checksum from here
        return None
    for line in content.decode("utf-8", "replace").splitlines():
        digest, _, path = line.strip().partition(" ")
        if len(digest) in HEX and path.strip().lstrip("*").rsplit("/", 1)[-1] == name:
            return Digest(HEX[len(digest)], digest.lower(), list_name)
    return None


def check_content(url: str, path: Path, culprit: str = "the server sent") -> None:
    """Tell a web page, an error message or a git-LFS pointer that was saved under the name of a data file.

    Raises:
        UserError: the file is not of the kind its name says; the message names what it is.
    """
    with open(path, "rb") as file:
        head = file.read(HEAD)
    name = re.split(r"[?#]", url, maxsplit=1)[0].rsplit("/", 1)[-1]
    kind = name.rsplit(".", 1)[-1].lower()
    expected = MAGIC.get("." + kind)
    if expected and head.startswith(expected):
        return
    what = None
    if pointer := POINTER.match(head):
        oid, size = pointer[1].decode(), int(pointer[2])
        what = f"a git-LFS pointer, not the data (which has {size:,} bytes, sha256 {oid}; git lfs pull fetches it),"
    elif head.startswith(b"version https://git-lfs"):
        what = "a git-LFS pointer, not the data,"
    elif kind not in ("html", "htm", "xml") and head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
        what = "an HTML page"
    elif expected and not head:
        what = "an empty file"
    elif expected and head.lstrip().startswith((b"{", b"[")):
        what = "a JSON message"
    elif expected:
        what = "something else"
    if what:
        raise UserError(f"{url}: {culprit} {what} in place of a {kind} file")


def digests(path: Path, algorithms: set[str]) -> dict[str, str]:
    """Several digests of a file in one pass, as hex by algorithm."""
    made = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            for digest in made.values():
                digest.update(chunk)
    return {name: digest.hexdigest() for name, digest in made.items()}


def verify(url: str, path: Path, claims: list[Digest], *, read_through: bool = True) -> tuple[str, str]:
    """Check a file against what upstream says about it.

    Args:
        url: what the file should be.
        path: where its bytes are, whatever the name.
        claims: what upstream says, from lists and headers.
        read_through: read an archive to its end where no claim settles it.

    Returns:
        The sha256 as hex, and in words what vouches for the file.

    Raises:
        Damaged: size, checksum or the archive's own structure do not fit.
    """
    found = digests(path, {"sha256"} | {claim.algorithm for claim in claims})
    size, vouched = path.stat().st_size, ""
    for claim in claims:
        if claim.size is not None and claim.size != size:
            raise Damaged(f"it has {size:,} bytes where {claim.said_by} says {claim.size:,}")
        if found[claim.algorithm] == claim.hexdigest:
            vouched = vouched or f"{claim.algorithm} of {claim.said_by}"
        elif claim.sure:
            raise Damaged(
                f"its {claim.algorithm} is {found[claim.algorithm]} where {claim.said_by} says {claim.hexdigest}"
            )
    if not vouched and read_through:
        vouched = _read_through(url, path)
    return found["sha256"], vouched


def _read_through(url: str, path: Path) -> str:
    """Read an archive to its end; returns what that shows, in words."""
    name = re.split(r"[?#]", url, maxsplit=1)[0]
    if name.endswith(".parquet"):
        with open(path, "rb") as file:
            file.seek(-4, 2)
            if file.read() != MAGIC[".parquet"]:
                raise Damaged("it does not end as a parquet file ends")
        return "parquet footer"
    if (factory := decompressor(name)) is None:
        return "size"
    try:
        with open(path, "rb") as file:
            for _ in expand_members(iter(lambda: file.read(CHUNK), b""), factory):
                pass
    except CutStream as problem:
        raise Damaged(str(problem)) from problem
    return f"{name.rsplit('.', 1)[-1]} read to its end"
