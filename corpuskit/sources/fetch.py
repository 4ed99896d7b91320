"""Fetch upstream files into the workspace, from their hosts, from a mirror, or in place from an offline folder.

A mirror is an HTTP or fsspec URL (s3://, gs://, hf://) or a folder laid out as the hosts serve it:
<mirror>/<host>/<path>. Files of a folder are read where they lie. Beside every fetched file lies its record,
<name>.receipt.json: URL, revision, size, sha256, what vouches for it, and the ETag and Last-Modified by which a change
upstream shows. When it was fetched is not written down: nothing is decided by that time, and the same files give the
same workspace.

A file that has its record is not asked for again; `check_all` (download --check) compares it with its host. One whose
bytes are lost is fetched again, and must then be what the record says: a file that changed upstream is an error.
"""

from __future__ import annotations

import shutil
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import orjson

from corpuskit.config import Failure, UserError
from corpuskit.engine.plan import Input, file_sha256
from corpuskit.engine.progress import download_bar
from corpuskit.engine.store import make_folder, write_json
from corpuskit.sources.transfer import (
    Facts,
    Pauses,
    Policy,
    Server,
    Stopped,
    discard_part,
    held_part,
    part_paths,
    receive,
    retry,
    tidy,
    without_secrets,
)
from corpuskit.sources.verify import Damaged, Digest, check_content, etag_digest, published_digest, verify
from corpuskit.sources.versions import difference, revision_of

T = TypeVar("T")

LIST_SIZE = 16 << 20  # bytes: no list of checksums is longer (enwiki's dumpstatus.json has less than 1 MB)


def local_path(url: str, folder: Path) -> Path:
    """<folder>/<host>/<path of the url>.

    Raises:
        UserError: the URL's path would lead out of the folder.
    """
    parts = urlsplit(url)
    steps = [step for step in parts.path.split("/") if step not in ("", ".")]
    if parts.netloc in ("", ".", "..") or ".." in steps or not steps:
        raise UserError(f"{without_secrets(url)}: not a usable URL")
    host = parts.netloc.rsplit("@", 1)[-1]
    return folder.resolve().joinpath(host, *steps)  # links inside the folder are the user's own


def fetch_all(
    urls: Sequence[str], raw: Path, mirror: str | None, *, expected: int = 0, policy: Policy | None = None
) -> dict[str, Input]:
    """Make every URL a local file and return them as stage inputs named by URL.

    Args:
        urls: upstream URLs.
        raw: folder that fetched files go to.
        mirror: None for the hosts themselves, a URL, or a folder.
        expected: bytes of all files together, for those whose host gives no size; 0 where nobody knows.
        policy: waits and bounds.

    Raises:
        UserError: a file is not there, what came is not the file, or the disk is too small.
        Failure: a host does not answer, or breaks off, time after time; or a recorded file changed upstream.
    """
    urls = list(dict.fromkeys(urls))
    places = {local_path(url, raw): url for url in urls}
    for url in urls:
        if (other := places[local_path(url, raw)]) != url:
            raise UserError(f"{url} and {other} would be one file; their paths must differ, not their queries alone")
    if mirror and "://" not in mirror:
        return {url: _in_place(url, _folder(mirror)) for url in urls}
    found = {url: record for url in urls if (record := recorded(url, raw))}
    todo = [url for url in urls if url not in found]
    if todo:
        download = _Download(raw, mirror, policy or Policy())
        try:
            found |= download.run(todo, expected // len(urls))
        finally:
            download.close()
    return {url: found[url] for url in urls}


def check_all(urls: Sequence[str], raw: Path, mirror: str | None, *, policy: Policy | None = None) -> dict[str, int]:
    """Compare fetched files with their records and with what their hosts serve now; nothing is fetched.

    Returns how many are the same upstream, not comparable there (gone, or the host does not say), and not fetched.

    Raises:
        Failure: files changed, here or upstream.
    """
    if mirror and "://" not in mirror:
        raise UserError("--check: the files of a folder are not fetched, so there is no record to compare them with")
    download = _Download(raw, mirror, policy or Policy())
    counts, changed = {"same": 0, "not_comparable": 0, "not_fetched": 0}, []
    try:
        held = {url: record for url in urls if (record := _read_record(url, raw)) and recorded(url, raw)}
        jobs = download.start(list(held), download.ask)
        counts["not_fetched"] = len(urls) - len(held)
        for url, job in jobs.items():
            facts, path = job.result(), local_path(url, raw)
            if file_sha256(path) != held[url]["sha256"]:
                changed.append(f"{path}: is not what was fetched; delete it and run download again")
            elif facts == Facts():
                counts["not_comparable"] += 1
            elif what := difference(held[url], facts, urlsplit(download.address(url)).netloc):
                changed.append(f"{url}: changed upstream since it was fetched ({what})")
            else:
                counts["same"] += 1
    finally:
        download.close()
    if changed:
        more = f"; and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise Failure(f"{changed[0]}{more}")
    return counts


def bytes_here(urls: Sequence[str], raw: Path, mirror: str | None) -> tuple[int, int]:
    """How many of these files are here, and the bytes of them and of unfinished ones."""
    if mirror and "://" not in mirror:
        sizes = [path.stat().st_size for url in urls if (path := local_path(url, _folder(mirror))).is_file()]
        return len(sizes), sum(sizes)
    found = [record for url in urls if (record := recorded(url, raw))]
    return len(found), sum(i.size for i in found) + sum(held_part(url, local_path(url, raw))[0] for url in urls)


def recorded(url: str, raw: Path) -> Input | None:
    """A file that was fetched and is as long as its record says."""
    path, record = local_path(url, raw), _read_record(url, raw)
    if record and path.is_file() and path.stat().st_size == record["size"]:
        return Input(str(path), url, record["sha256"], record["size"])
    return None  # not fetched yet, or not whole


def _folder(mirror: str) -> Path:
    if not Path(mirror).is_dir():
        raise UserError(f"--mirror {mirror}: no such folder")
    return Path(mirror)


def _in_place(url: str, mirror: Path) -> Input:
    path = local_path(url, mirror).resolve()
    if not path.is_file():
        raise UserError(f"{path}: the mirror has no such file; cut the sources with --source and --shards")

    def read(address: str) -> bytes | None:
        beside = local_path(address, mirror)
        return beside.read_bytes() if beside.is_file() else None

    check_content(url, path, f"{path} is")
    digest = published_digest(url, read)
    try:
        sha256, _ = verify(url, path, [digest] if digest else [], read_through=False)
    except Damaged as problem:
        raise UserError(f"{path}: the mirror's file is damaged: {problem}") from problem
    return Input(str(path), url, sha256, path.stat().st_size)


def _record_path(url: str, raw: Path) -> Path:
    path = local_path(url, raw)
    return path.with_name(path.name + ".receipt.json")


def _read_record(url: str, raw: Path) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = orjson.loads(_record_path(url, raw).read_bytes())
        return record if record["url"] == url and {"size", "sha256"} <= set(record) else None
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError, TypeError):
        return None


class _Download:
    """One run over files that are not here yet: a pool of threads a host, and what they share."""

    def __init__(self, raw: Path, mirror: str | None, policy: Policy) -> None:
        from corpuskit.sources.http import Http

        self.raw, self.mirror, self.policy = raw, mirror, policy
        self.stop = threading.Event()
        self.pauses = Pauses(self.stop)
        self.http = Http(policy, self.pauses)
        self.pools: dict[str, ThreadPoolExecutor] = {}
        self.failed_in_a_row: dict[str, int] = defaultdict(int)
        self.lists: dict[str, bytes | None] = {}
        self.lists_lock = threading.Lock()
        self.advance: Callable[[int, int], None] = lambda size, files: None

    def close(self) -> None:
        """End all threads and connections; what came so far stays."""
        self.stop.set()
        self.http.interrupt()
        for pool in self.pools.values():
            pool.shutdown(cancel_futures=True)
        self.http.close()

    def address(self, url: str) -> str:
        """Where a URL is asked for."""
        parts = urlsplit(url)
        return f"{self.mirror.rstrip('/')}/{parts.netloc}{parts.path}" if self.mirror else url

    def server(self, address: str) -> Server:
        """Who is asked for an address."""
        if address.startswith(("http://", "https://")):
            return self.http
        from corpuskit.sources.remote import Remote

        return Remote(self.policy)

    def start(self, urls: Sequence[str], function: Callable[[str], T]) -> dict[str, Future[T]]:
        """Call the function on every URL, so many at a time for each host."""
        jobs = {}
        for url in urls:
            host = urlsplit(self.address(url)).netloc
            if host not in self.pools:
                self.pools[host] = ThreadPoolExecutor(self.policy.per_host, thread_name_prefix="fetch")
            jobs[url] = self.pools[host].submit(function, url)
        return jobs

    def ask(self, url: str) -> Facts:
        """What the host says of a file before it is fetched."""
        return self.server(self.address(url)).ask(self.address(url))

    def run(self, urls: Sequence[str], guess: int) -> dict[str, Input]:
        """Fetch all files; those that can be fetched are, also when others fail. `guess`: bytes of one of them."""
        facts = {url: job.result() for url, job in self.start(urls, self.ask).items()}
        sizes = [guess if (size := facts[url].size) is None else size for url in urls]
        held = sum(held_part(url, local_path(url, self.raw))[0] for url in urls)
        self._check_disk(len(urls), sum(sizes) - held)
        found: dict[str, Input] = {}
        errors: list[UserError | Failure] = []
        with download_bar(len(urls), sum(sizes), held) as self.advance:
            for url, job in self.start(urls, lambda url: self._guarded(url, facts[url])).items():
                try:
                    found[url] = job.result()
                except (UserError, Failure) as error:
                    errors.append(error)
        if len(errors) > 1:
            kind = Failure if any(isinstance(error, Failure) for error in errors) else UserError
            raise kind(f"{len(errors)} of {len(urls)} files could not be fetched; the first: {errors[0]}")
        if errors:
            raise errors[0]
        return found

    def _check_disk(self, files: int, need: int) -> None:
        there = next(p for p in (self.raw.resolve(), *self.raw.resolve().parents) if p.exists())
        free = shutil.disk_usage(there).free
        if need > free:
            raise UserError(
                f"{self.raw}: {files} files need {need:,} bytes and {free:,} are free; "
                "make room, or cut the sources with --source and --shards"
            )

    def _guarded(self, url: str, announced: Facts) -> Input:
        """Fetch a file, unless its host failed so often that it is not worth the time."""
        host = urlsplit(self.address(url)).netloc
        if self.stop.is_set():
            raise Stopped
        if self.failed_in_a_row[host] >= self.policy.patience:
            raise Failure(f"{url}: not tried, after {self.failed_in_a_row[host]} failures in a row on {host}")
        try:
            found = self._fetch(url, announced)
        except Failure:
            self.failed_in_a_row[host] += 1
            raise
        self.failed_in_a_row[host] = 0
        self.advance(0, 1)
        return found

    def _fetch(self, url: str, announced: Facts) -> Input:
        address, path = self.address(url), local_path(url, self.raw)
        server, part = self.server(address), part_paths(path)[0]
        make_folder(path.parent)
        with tidy(url, path):
            published = published_digest(url, self._read_list)
            for left in reversed(range(self.policy.damaged)):
                facts = retry(
                    lambda: receive(
                        url,
                        address,
                        path,
                        server,
                        announced=announced,
                        stop=self.stop,
                        arrived=lambda size: self.advance(size, 0),
                    ),
                    lambda: part.stat().st_size if part.exists() else 0,
                    address=address,
                    policy=self.policy,
                    pauses=self.pauses,
                )
                try:
                    return self._keep(url, path, facts, published)
                except Damaged as problem:
                    self.advance(-part.stat().st_size, 0)
                    discard_part(path)
                    if not left:
                        raise Failure(f"{without_secrets(address)}: what came is damaged: {problem}") from problem
                except (UserError, Failure):
                    discard_part(path)
                    raise
        raise AssertionError("unreachable: the last damaged file raises")

    def _keep(self, url: str, path: Path, facts: Facts, published: Digest | None) -> Input:
        """Verify `<path>.part`, write its record, and give it its name.

        The record goes first: killed in between, the next run finds the whole .part and compares it with the record.
        """
        part, note = part_paths(path)
        check_content(url, part)
        claims = [claim for claim in (published, facts.linked, etag_digest(facts.etag)) if claim]
        sha256, verified_by = verify(url, part, claims)
        size = part.stat().st_size
        old = _read_record(url, self.raw)
        if old and old["sha256"] != sha256:
            raise Failure(
                f"{url}: changed upstream since it was first fetched ({old['size']:,} bytes, sha256 {old['sha256']}; "
                f"now {size:,} bytes, {sha256}); to take the new one, delete {_record_path(url, self.raw)}"
            )
        record = {"url": url, "size": size, "sha256": sha256, "verified_by": verified_by}
        record["host"] = urlsplit(without_secrets(self.address(url))).netloc
        version = facts.linked.hexdigest if facts.linked else facts.etag
        more = {"etag": version, "last_modified": facts.modified, "revision": revision_of(url, facts)}
        write_json(_record_path(url, self.raw), record | {key: value for key, value in more.items() if value})
        part.replace(path)
        note.unlink(missing_ok=True)
        return Input(str(path), url, sha256, size)

    def _read_list(self, url: str) -> bytes | None:
        """A list of checksums, asked for once a run; None where the host has none."""
        with self.lists_lock:
            if url not in self.lists:
                address = self.address(url)
                server = self.server(address)

                def read() -> bytes:
                    content = b""
                    with server.open(address, 0, None) as body:
                        for chunk in body.chunks:
                            content += chunk
                            if len(content) > LIST_SIZE:
                                return b""
                    return content

                try:
                    self.lists[url] = retry(read, lambda: 0, address=address, policy=self.policy, pauses=self.pauses)
                except UserError:  # not there, or not for us: the file is verified by other means
                    self.lists[url] = None
            return self.lists[url]
