"""Fetch upstream files into the workspace, from their hosts, from a mirror, or in place from an offline folder.

A mirror is an HTTP URL or a folder laid out as the hosts serve it: <mirror>/<host>/<path>. Files of a folder are read
where they lie. What was fetched is recorded beside the file: URL, size and sha256.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import orjson

from corpuskit.config import Failure, UserError
from corpuskit.engine.plan import Input
from corpuskit.engine.progress import progress_bar
from corpuskit.engine.store import write_json
from corpuskit.sources.streams import as_input

MAGIC = {".gz": b"\x1f\x8b", ".xz": b"\xfd7zXZ\0", ".bz2": b"BZh", ".zst": b"\x28\xb5\x2f\xfd"}
PARALLEL = 4
ATTEMPTS = 4


def local_path(url: str, folder: Path) -> Path:
    """<folder>/<host>/<path of the url>.

    Raises:
        UserError: the URL's path would lead out of the folder.
    """
    parts = urlsplit(url)
    steps = [step for step in parts.path.split("/") if step not in ("", ".")]
    if parts.netloc in ("", ".", "..") or ".." in steps or not steps:
        raise UserError(f"{url}: not a usable URL")
    return folder.resolve().joinpath(parts.netloc, *steps)  # links inside the folder are the user's own


def fetch_all(urls: Sequence[str], raw: Path, mirror: str | None) -> dict[str, Input]:
    """Make every URL a local file and return them as stage inputs named by URL.

    Args:
        urls: upstream URLs.
        raw: folder that fetched files go to.
        mirror: None for the hosts themselves, an http(s) URL, or a folder.

    Raises:
        UserError: a file is not there, or what came is not the file.
        Failure: a host does not answer, or breaks off, time after time.
    """
    if mirror and not mirror.startswith(("http://", "https://")):
        if not Path(mirror).is_dir():
            raise UserError(f"--mirror {mirror}: no such folder")
        return {url: _in_place(url, Path(mirror)) for url in urls}
    found = {url: record for url in urls if (record := _recorded(url, raw))}
    todo = [url for url in urls if url not in found]
    if todo:
        with ThreadPoolExecutor(PARALLEL) as pool, progress_bar("download", len(urls), len(found)) as advance:
            jobs = [pool.submit(_download, url, raw, mirror) for url in todo]
            try:
                for url, job in zip(todo, jobs, strict=True):
                    found[url] = job.result()
                    advance({})
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return {url: found[url] for url in urls}


def _in_place(url: str, mirror: Path) -> Input:
    path = local_path(url, mirror)
    if not path.is_file():
        raise UserError(f"{path}: the mirror has no such file; cut the sources with --source and --shards")
    return as_input(str(path), url)


def _record_path(url: str, raw: Path) -> Path:
    path = local_path(url, raw)
    return path.with_name(path.name + ".receipt.json")


def _recorded(url: str, raw: Path) -> Input | None:
    path = local_path(url, raw)
    try:
        record = orjson.loads(_record_path(url, raw).read_bytes())
        if path.stat().st_size == record["size"]:
            return Input(str(path), url, record["sha256"], record["size"])
    except (FileNotFoundError, orjson.JSONDecodeError, KeyError):
        pass  # not fetched yet, or not whole
    return None


def _download(url: str, raw: Path, mirror: str | None) -> Input:
    import httpx
    import tenacity

    parts = urlsplit(url)
    address = f"{mirror.rstrip('/')}/{parts.netloc}{parts.path}" if mirror else url
    path = local_path(url, raw)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")

    def attempt() -> Input:
        digest, size = hashlib.sha256(), 0
        timeout = httpx.Timeout(60, connect=10)
        plain = {"Accept-Encoding": "identity"}  # the file's own bytes, not compressed once more on the way
        with httpx.stream("GET", address, headers=plain, timeout=timeout, follow_redirects=True) as response:
            if response.status_code in (401, 403, 404, 410):
                raise UserError(
                    f"{address}: the server answers {response.status_code}; cut the sources with --source and --shards"
                )
            response.raise_for_status()
            expected = int(response.headers.get("content-length", 0))
            if expected > shutil.disk_usage(path.parent).free:
                raise UserError(f"{url}: {expected:,} bytes do not fit on the disk of {raw}")
            with open(partial, "wb") as file:
                for chunk in response.iter_raw(1 << 20):
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
        if size != expected and expected:
            raise httpx.RemoteProtocolError(f"{size} bytes came instead of {expected}")
        with open(partial, "rb") as file:
            _check_magic(url, file.read(200))
        partial.replace(path)
        write_json(_record_path(url, raw), {"url": url, "size": size, "sha256": digest.hexdigest()})
        return Input(str(path), url, digest.hexdigest(), size)

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(httpx.HTTPError),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_exponential_jitter(initial=1, max=30),
        reraise=True,
    )
    try:
        return retrying(attempt)
    except httpx.HTTPError as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise Failure(f"{address}: could not be fetched ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_magic(url: str, head: bytes) -> None:
    """A web page or a git-LFS pointer that was saved under the name of a data file is told apart here."""
    expected = MAGIC.get("." + url.rsplit(".", 1)[-1])
    if expected is None or head.startswith(expected):
        return
    what = "something else"
    if head.startswith(b"version https://git-lfs"):
        what = "a git-LFS pointer, not the data"
    elif head.lstrip()[:15].lower().startswith((b"<!doctype", b"<html")):
        what = "an HTML page"
    raise UserError(f"{url}: the server sent {what} in place of a {url.rsplit('.', 1)[-1]} file")
