"""Bytes out of files: local or remote (s3://, gs://, hf:// through fsspec), plain, gz, zst, xz or bz2.

A stream that is cut off or damaged gives everything up to the damage and then raises CutStream, so that a reader can
keep the documents before it and put one line into quarantine.
"""

from __future__ import annotations

import bz2
import glob
import hashlib
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from corpuskit.config import UserError
from corpuskit.engine.plan import Input, file_sha256

CHUNK = 1 << 16  # compressed bytes a step: bounds what one step can expand to
MAX_LINE = 64 << 20  # a longer line is quarantined, not held in memory


class CutStream(Exception):
    """The compressed stream ended early or is damaged."""


def open_bytes(path: str) -> IO[bytes]:
    """Open a local path or an fsspec URL for reading."""
    if "://" not in path:
        return open(path, "rb")
    import fsspec

    try:
        handle: IO[bytes] = fsspec.open(path, "rb").open()
    except ImportError as error:
        raise UserError(f"{path}: {error}; install corpuskit[s3] or the package for this protocol") from error
    return handle


def expand(pattern: str) -> list[str]:
    """The files a path or a glob stands for, sorted.

    Raises:
        UserError: nothing matches, or a folder without files is meant.
    """
    if "://" in pattern:
        import fsspec

        try:
            filesystem, _, _ = fsspec.get_fs_token_paths(pattern)
            found = [filesystem.unstrip_protocol(p) for p in sorted(filesystem.glob(pattern))]
        except ImportError as error:
            raise UserError(
                f"--input {pattern}: {error}; install corpuskit[s3] or the package for this protocol"
            ) from error
    elif Path(pattern).is_dir():
        found = sorted(str(p) for p in Path(pattern).iterdir() if p.is_file() and not p.name.startswith("."))
        if not found:
            raise UserError(f"--input {pattern}: the folder is empty")
    else:
        found = sorted(p for p in glob.glob(pattern, recursive=True) if Path(p).is_file())  # noqa: PTH207 - absolute patterns
    if not found:
        raise UserError(f"--input {pattern}: no such file")
    return found


def as_input(path: str, name: str | None = None) -> Input:
    """A file as a stage input, hashed; `name` is what receipts record, by default the file name."""
    if "://" in path:
        digest, size = hashlib.sha256(), 0
        with open_bytes(path) as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
        return Input(path, name or path, digest.hexdigest(), size)
    return Input(str(Path(path).resolve()), name or Path(path).name, file_sha256(path), Path(path).stat().st_size)


def decompressor(path: str) -> Callable[[], Any] | None:
    """A factory of decompressor objects (decompress, eof, unused_data) by file extension; None for plain files."""
    suffix = path.rsplit(".", 1)[-1].lower()
    if suffix == "gz":
        from isal import isal_zlib

        return lambda: isal_zlib.decompressobj(wbits=31)
    if suffix == "zst":
        import zstandard

        return lambda: zstandard.ZstdDecompressor().decompressobj()
    return {"xz": lzma.LZMADecompressor, "bz2": bz2.BZ2Decompressor}.get(suffix)


def read_chunks(path: str, start: int | None = None, stop: int | None = None) -> Iterator[bytes]:
    """The decompressed bytes of a file or of its byte range [start, stop), in chunks; all members of a file in one.

    Raises:
        CutStream: after everything readable has been given.
    """
    factory = decompressor(path)
    with open_bytes(path) as file:
        if start:
            file.seek(start)
        left = None if stop is None else stop - (start or 0)
        active = None
        while True:
            data = file.read(CHUNK if left is None else min(CHUNK, left))
            if left is not None:
                left -= len(data)
            if not data:
                break
            if factory is None:
                yield data
                continue
            while data:
                if active is None:
                    data = data.lstrip(b"\0")  # gzip and xz may be padded with zeros
                    if not data:
                        break
                    active = factory()
                try:
                    plain = active.decompress(data)
                except _damage() as problem:
                    raise CutStream(f"damaged stream: {problem}") from problem
                if plain:
                    yield plain
                data = b""
                if active.eof:
                    data, active = active.unused_data, None
    if active is not None:
        raise CutStream("the compressed stream ends early")


def _damage() -> tuple[type[Exception], ...]:
    """What the decompressors raise on a damaged stream."""
    import zstandard
    from isal import isal_zlib

    isal_error: type[Exception] = getattr(isal_zlib, "error")  # noqa: B009 - its stub types it as an instance
    return (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError, isal_error)


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    """Lines without their end, split at \\n only; None stands for a line longer than MAX_LINE, which is skipped."""
    carry: list[bytes] = []
    carried = 0
    too_long = False
    for chunk in chunks:
        lines = chunk.split(b"\n")
        for line in lines[:-1]:
            if too_long or carried + len(line) > MAX_LINE:
                yield None
            elif carry:
                carry.append(line)
                yield b"".join(carry)
            else:
                yield line
            carry, carried, too_long = [], 0, False
        rest = lines[-1]
        carried += len(rest)
        if carried > MAX_LINE:
            carry, too_long = [], True
        elif rest:
            carry.append(rest)
    if too_long:
        yield None
    elif carry:
        yield b"".join(carry)
