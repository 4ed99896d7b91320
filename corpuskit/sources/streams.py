"""Bytes out of files: local or remote (s3://, gs://, hf:// through fsspec), plain, gz, zst, xz or bz2.

A stream that is cut off or damaged gives everything up to the damage and then raises CutStream, so that a reader can
keep the documents before it and put one line into quarantine.
"""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from corpuskit.config import Failure, UserError, check_utf8
from corpuskit.engine.plan import Input, file_sha256
from corpuskit.sources.codecs import CHUNK, CutStream, decompressor, expand_members

__all__ = [
    "MAX_LINE",
    "CutStream",
    "as_input",
    "expand",
    "line_blocks",
    "open_bytes",
    "read_chunks",
    "split_lines",
    "would_match",
]

BLOCK = 1 << 20  # bytes of whole lines handed on together
MAX_LINE = 64 << 20  # a longer line is quarantined, not held in memory


def open_bytes(path: str) -> IO[bytes]:
    """Open a local path or an fsspec URL for reading."""
    if "://" not in path:
        return open(path, "rb")
    import fsspec

    from corpuskit.sources.remote import store_options

    with _remote(path):
        handle: IO[bytes] = fsspec.open(path, "rb", **store_options(path)).open()
    return handle


def expand(pattern: str) -> list[str]:
    """The files a path, a folder or a glob stands for, sorted. A file whose own name has * ? [ ] in it is that file.

    Raises:
        UserError: nothing matches, or a folder without files is meant.
        Failure: the store does not answer.
    """
    if "://" in pattern:
        found = _expand_remote(pattern)
    elif pattern and Path(pattern).is_dir():
        found = sorted(str(p) for p in Path(pattern).iterdir() if p.is_file() and not p.name.startswith("."))
        if not found:
            raise UserError(f"--input {pattern}: the folder is empty")
    elif Path(pattern).is_file():
        found = [pattern]
    else:
        found = sorted(p for p in glob.glob(pattern, recursive=True) if Path(p).is_file())  # noqa: PTH207 - absolute patterns
    if not found:
        raise UserError(f"--input {pattern}: no such file")
    for path in found:
        check_utf8(path, "--input ")
    return found


def would_match(pattern: str, path: Path) -> bool:
    """Whether a pattern is a glob that gives this local file once it is there, by the rules of `glob.glob`."""
    steps = Path(pattern.removeprefix("file://")).absolute().parts
    fixed = next((n for n, step in enumerate(steps) if glob.has_magic(step)), len(steps))
    if "://" in pattern.removeprefix("file://") or fixed == len(steps) or Path(pattern).is_file():
        return False
    base, path = Path(*steps[:fixed]).resolve(), path.resolve()
    return path.is_relative_to(base) and _steps_match(steps[fixed:], path.relative_to(base).parts)


def _steps_match(steps: Sequence[str], names: Sequence[str]) -> bool:
    if not steps or not names:
        return not names and all(step == "**" for step in steps)
    hidden = names[0].startswith(".")  # only what begins with a dot itself matches them
    if steps[0] == "**":
        return _steps_match(steps[1:], names) or (not hidden and _steps_match(steps, names[1:]))
    fits = fnmatch.fnmatchcase(names[0], steps[0]) and (not hidden or steps[0].startswith("."))
    return fits and _steps_match(steps[1:], names[1:])


def _expand_remote(pattern: str) -> list[str]:
    import fsspec

    from corpuskit.sources.remote import store_options

    with _remote(pattern):
        filesystem, path = fsspec.core.url_to_fs(pattern, **store_options(pattern))
        if filesystem.isfile(path):
            return [pattern]
        found = filesystem.glob(path, detail=True)
        if [entry["type"] for entry in found.values()] == ["directory"]:
            found = filesystem.find(path, maxdepth=1, detail=True)
        return [filesystem.unstrip_protocol(p) for p, entry in sorted(found.items()) if entry["type"] != "directory"]


@contextlib.contextmanager
def _remote(path: str) -> Iterator[None]:
    """Errors of a store as UserError or Failure."""
    from corpuskit.sources.remote import told
    from corpuskit.sources.transfer import Transient, without_secrets

    try:
        with told(path, "name another one with --input"):
            yield
    except Transient as problem:
        raise Failure(f"{without_secrets(path)}: {problem}") from problem


def as_input(path: str, name: str | None = None) -> Input:
    """A file as a stage input, hashed; `name` is what receipts record, by default the file name."""
    if "://" in path:
        digest, size = hashlib.sha256(), 0
        with open_bytes(path) as file, _remote(path):
            while chunk := file.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
        return Input(path, name or path, digest.hexdigest(), size)
    return Input(str(Path(path).resolve()), name or Path(path).name, file_sha256(path), Path(path).stat().st_size)


def read_chunks(path: str, start: int | None = None, stop: int | None = None) -> Iterator[bytes]:
    """The decompressed bytes of a file or of its byte range [start, stop), in chunks; all members of a file in one.

    Raises:
        CutStream: after everything readable has been given.
    """
    factory = decompressor(path)
    if factory is None:
        return _raw_chunks(path, start or 0, stop)
    again = partial(_raw_chunks, path, start or 0, stop)
    return expand_members(again(), factory, again)


def _raw_chunks(path: str, start: int, stop: int | None) -> Iterator[bytes]:
    with open_bytes(path) as file:
        if start:
            file.seek(start)
        left = None if stop is None else stop - start
        while data := file.read(CHUNK if left is None else min(CHUNK, left)):
            if left is not None:
                left -= len(data)
            yield data


def line_blocks(chunks: Iterator[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Blocks of whole lines with their ends, of about BLOCK bytes, in order, each with the offset of its first byte.

    Only the very last line may lack its end. None stands for a line longer than MAX_LINE, which is never held whole.

    Raises:
        CutStream: as `chunks` does, after all lines before the cut. What there is of the cut line is lost.
    """
    ready: list[bytes] = []  # whole lines
    carry: list[bytes] = []  # the beginning of a line
    ready_bytes = carried = 0
    start = read = 0  # where ready begins, and how much was read
    skipping = False  # inside a line that is too long
    cut: CutStream | None = None
    over = False
    chunks = _bounded(chunks)
    while not over:
        try:
            chunk = next(chunks, b"")
        except CutStream as error:
            chunk, cut = b"", error
        over = not chunk
        read += len(chunk)
        first, last = chunk.find(b"\n"), chunk.rfind(b"\n") + 1
        if not skipping and carried + (first if last else len(chunk)) > MAX_LINE:
            if ready:
                yield start, b"".join(ready)
                start += ready_bytes
            ready, ready_bytes, carry, carried, skipping = [], 0, [], 0, True
        if skipping:
            if not last and not over:
                continue
            yield start, None
            skipping, start = False, read - len(chunk) + first + 1
            chunk = chunk[first + 1 :]
            last = chunk.rfind(b"\n") + 1
        if last:
            ready += carry
            ready.append(chunk[:last])
            ready_bytes += carried + last
            carry, carried = [chunk[last:]], len(chunk) - last
        else:
            carry.append(chunk)
            carried += len(chunk)
        if over and cut is None:
            ready += carry
        if (over or ready_bytes >= BLOCK) and (block := b"".join(ready)):
            yield start, block
            start += len(block)
            ready, ready_bytes = [], 0
    if cut is not None:
        raise cut


def _bounded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The chunks, none longer than MAX_LINE: so a line that lies inside one is short enough."""
    for chunk in chunks:
        if len(chunk) <= MAX_LINE:
            yield chunk
        else:
            yield from (chunk[at : at + MAX_LINE] for at in range(0, len(chunk), MAX_LINE))


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes | None]:
    """Lines without their end, split at \\n only; None stands for a line longer than MAX_LINE, which is skipped.

    Raises:
        CutStream: as `line_blocks` does.
    """
    for _, block in line_blocks(chunks):
        if block is None:
            yield None
            continue
        lines = block.split(b"\n")
        if not lines[-1]:
            lines.pop()
        yield from lines
