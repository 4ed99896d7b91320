"""Ask object stores for files through fsspec: s3://, gs://, hf:// and whatever else has an fsspec package.

Credentials are those the store's own package finds in the environment; for hf:// it is HF_TOKEN alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import IO, Any

import fsspec

from corpuskit.config import UserError
from corpuskit.sources.transfer import Body, Facts, Policy, Transient, public, without_secrets
from corpuskit.sources.verify import Digest

CHUNK = 1 << 20  # bytes
BLOCK = 8 << 20  # bytes asked for at once


POLICY = Policy()  # for what is read in place, such as --input


class Remote:
    """Files through fsspec; one for all threads of a run."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def ask(self, address: str) -> Facts:
        """What the store says of a file; empty Facts where it does not answer now."""
        try:
            return _facts(address, *self._find(address))
        except (Transient, UserError):
            return Facts()  # said when it is opened

    @contextlib.contextmanager
    def open(self, address: str, start: int, held: Facts | None) -> Iterator[Body]:
        """The file from byte `start` if it is still the file `held` describes, else from byte 0."""
        filesystem, path = self._find(address)
        facts = _facts(address, filesystem, path)
        begin = start if held and held.same_file(facts) else 0
        with told(address):
            file: IO[bytes] = filesystem.open(path, "rb", block_size=BLOCK, cache_type="readahead")
        with file:
            file.seek(begin)
            yield Body(begin, facts, _chunks(file, address))
        if _facts(address, filesystem, path) != facts:  # not every store refuses to read on in a file that was replaced
            raise Transient("the file changed on the server while it was fetched")

    def _find(self, address: str) -> tuple[Any, str]:
        with told(address):
            filesystem, path = fsspec.core.url_to_fs(address, **store_options(address, self._policy))
        return filesystem, path


def _chunks(file: IO[bytes], address: str) -> Iterator[bytes]:
    while True:
        with told(address):
            chunk = file.read(CHUNK)
        if not chunk:
            return
        yield chunk


def store_options(address: str, policy: Policy | None = None) -> dict[str, Any]:
    """What the store's package is told beside the address; its own patience is that of one attempt in `policy`."""
    policy = policy or POLICY
    if address.startswith("hf://"):
        return {"token": os.environ.get("HF_TOKEN") or False}
    if address.startswith(("s3://", "s3a://")):
        from s3fs import S3FileSystem

        tries: int = S3FileSystem.retries  # s3fs repeats by itself, and botocore below it would do so again
        times = {"connect_timeout": policy.connect / tries, "read_timeout": policy.silence / tries}
        own = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})  # what we give would replace it as a whole
        return {"config_kwargs": {**own, **times, "retries": {"total_max_attempts": 1}}}
    return {}


def _facts(address: str, filesystem: Any, path: str) -> Facts:
    with told(address):
        filesystem.invalidate_cache()  # the listing of an earlier attempt may be old
        info = filesystem.info(path)
    etag = next((str(info[key]) for key in ("ETag", "etag", "blob_id") if info.get(key)), None)
    modified = next((str(info[key]) for key in ("LastModified", "updated", "mtime") if info.get(key)), None)
    lfs = info.get("lfs")  # hf://: what the git-LFS pointer says
    linked = Digest("sha256", lfs["sha256"], "the git-LFS pointer", size=lfs.get("size")) if lfs else None
    return Facts(info.get("size"), etag, modified, info.get("VersionId"), linked)


@contextlib.contextmanager
def told(address: str, missing: str = "cut the sources with --source and --shards") -> Iterator[None]:
    """Errors of a store in our words; `missing` is the way out where there is no such file.

    Raises:
        UserError: for what the user can mend.
        Transient: for all else: every store has exceptions of its own.
    """
    shown = without_secrets(address)
    try:
        yield
    except (ImportError, ValueError) as error:  # ValueError: a protocol or a path that fsspec does not know
        raise UserError(
            f"{shown}: {public(str(error))}; install corpuskit[s3] or the package for this protocol"
        ) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise UserError(f"{shown}: there is no such file; {missing}") from error
    except PermissionError as error:
        raise UserError(f"{shown}: the store denies access ({public(str(error))})") from error
    except Exception as error:
        if "Credentials" in type(error).__name__:
            raise UserError(f"{shown}: no credentials in the environment ({public(str(error))})") from error
        raise Transient(f"{type(error).__name__}: {public(str(error))}") from error
