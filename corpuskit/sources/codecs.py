"""Decompression in bounded steps: whatever a file holds, one step gives at most STEP bytes, or BZIP2_STEP.

gzip (isal), bzip2 and xz come with an output limit in their libraries; Zstandard's Python binding has none, so its
frames are fed block by block here, and a block holds at most 128 KiB by the format (RFC 8878, section 3.1.1.2).
All four look alike: `decompress(data, max_length)`, `needs_input`, `eof`, `unused_data`, as in the module bz2.
"""

from __future__ import annotations

import bz2
import lzma
from collections.abc import Callable, Iterator
from typing import Any, Protocol

CHUNK = 1 << 16  # compressed bytes read at a time
STEP = 1 << 18  # decompressed bytes a step gives at most,
BZIP2_STEP = 1 << 20  # and of bzip2 a block: what is done between steps takes its table of 3.6 MB out of the caches
MAX_WINDOW = 128 << 20  # zstd -22 --ultra uses 128 MiB, xz -9 64 MiB; more is refused, not allocated
FREE_BYTES = 64 << 20  # a stream may expand to this whatever its ratio,
MAX_RATIO = 1000  # beyond it to this many times its compressed size (text: 3 to 10; the most gzip can do: 1,032)


class CutStream(Exception):
    """The compressed stream ended early, is damaged, or expands without end."""


class Decompressor(Protocol):
    """One member of a compressed file."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


class Zstd:
    """One Zstandard frame, fed to the library block by block.

    Args:
        inner: the library's `decompressobj`, which gives all it can at once; a parameter, so that tests can watch it.
    """

    def __init__(self, inner: Any = None) -> None:
        import zstandard

        self._inner = inner or zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW).decompressobj()
        self._held = b""
        self._at = 0  # what stands before this was fed
        self._expect: Callable[[], int] = self._header
        self._checksum = 0
        self._left = -1  # bytes of the piece at hand that are still to feed; -1: its length is not known yet
        self._ended = False
        self.eof = False
        self.needs_input = True

    @property
    def unused_data(self) -> bytes:
        """What follows the frame."""
        return self._held[self._at :] if self.eof else b""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """The next bytes, at most `max_length` and one block; call again with b'' until `needs_input`."""
        if data:
            self._held = self._held[self._at :] + data
            self._at = 0
        out: list[bytes] = []
        size = 0
        while not self.eof and (max_length < 0 or size < max_length):
            if self._left < 0 and (length := self._expect()) >= 0:
                self._left = length
            piece = self._held[self._at : self._at + max(0, self._left)]
            if self._left < 0 or (self._left and not piece):
                self.needs_input = True
                return b"".join(out)
            self._at += len(piece)
            self._left -= len(piece)
            plain = self._inner.decompress(piece) if piece else b""
            out.append(plain)
            size += len(plain)
            if self._left == 0:
                self._left = -1
                self.eof = self._ended
        self.needs_input = False
        return b"".join(out)

    # what comes next in the frame: its length, or -1 where more bytes are needed to tell

    def _header(self) -> int:
        head = self._held[self._at : self._at + 8]
        if len(head) < 5:
            return -1
        magic = int.from_bytes(head[:4], "little")
        if magic & ~0xF == 0x184D2A50:  # a skippable frame
            if len(head) < 8:
                return -1
            self._ended = True
            return 8 + int.from_bytes(head[4:8], "little")
        if magic != 0xFD2FB528:
            raise ValueError("not a Zstandard frame")
        flags = head[4]
        single = flags >> 5 & 1
        self._checksum = 4 * (flags >> 2 & 1)
        self._expect = self._block
        return 5 + (1 - single) + (0, 1, 2, 4)[flags & 3] + (single, 2, 4, 8)[flags >> 6]

    def _block(self) -> int:
        head = self._held[self._at : self._at + 3]
        if len(head) < 3:
            return -1
        value = int.from_bytes(head, "little")
        if value & 1:  # the last one
            self._expect = self._trailer
            if not self._checksum:
                self._ended = True
        return 3 + (1 if value >> 1 & 3 == 1 else value >> 3)

    def _trailer(self) -> int:
        self._ended = True
        return self._checksum


def _gzip() -> Decompressor:
    from isal import igzip_lib

    decompressor: Decompressor = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    return decompressor


def _xz() -> Decompressor:
    return lzma.LZMADecompressor(memlimit=MAX_WINDOW + (16 << 20))


_OF_SUFFIX: dict[str, Callable[[], Decompressor]] = {"gz": _gzip, "zst": Zstd, "xz": _xz, "bz2": bz2.BZ2Decompressor}
SUFFIXES = tuple(_OF_SUFFIX)


def decompressor(path: str) -> Callable[[], Decompressor] | None:
    """A factory of decompressors by file extension; None for plain files."""
    return _OF_SUFFIX.get(path.rsplit(".", 1)[-1].lower())


def expand_members(
    data: Iterator[bytes], factory: Callable[[], Decompressor], again: Callable[[], Iterator[bytes]] | None = None
) -> Iterator[bytes]:
    """The plain bytes of a file of one or more members (gzip members, bzip2 or xz streams, zstd frames).

    Args:
        data: the file's bytes.
        factory: see decompressor.
        again: the same bytes once more, to get at what a damaged stream holds right before the damage.

    Raises:
        CutStream: after everything readable has been given.
    """
    active: Decompressor | None = None
    step = BZIP2_STEP if factory is bz2.BZ2Decompressor else STEP
    members = 0
    read = given = 0  # of the whole file: many small members are a bomb as well
    member_read = member_given = 0
    for chunk in data:
        intact = read  # all that stands before this chunk was good
        read += len(chunk)
        member_read += len(chunk)
        while chunk or (active is not None and not active.needs_input):
            if active is None:
                chunk = chunk.lstrip(b"\0")  # gzip and xz may be padded with zeros
                if not chunk:
                    break
                active = factory()
                members += 1
                member_read, member_given = len(chunk), 0
            try:
                plain = active.decompress(chunk, step)
            except _damage() as problem:
                if again is not None:
                    yield from _replayed(again(), factory, intact, read, given)
                raise CutStream(f"damaged stream: {problem}") from problem
            chunk = b""
            if plain:
                given += len(plain)
                member_given += len(plain)
                if (member_given > FREE_BYTES and member_given > MAX_RATIO * member_read) or (
                    given > FREE_BYTES and given > MAX_RATIO * read
                ):
                    raise CutStream(f"the stream expands to more than {MAX_RATIO:,} times its size")
                yield plain
            if active.eof:
                chunk, active = active.unused_data, None
    if active is not None:
        raise CutStream("the compressed stream ends early")
    if not members:
        raise CutStream("the file holds no compressed stream")


def _replayed(
    data: Iterator[bytes], factory: Callable[[], Decompressor], intact: int, stop: int, given: int
) -> Iterator[bytes]:
    """What stands right before the damage in a file of which `given` plain bytes were given.

    A library gives nothing of a step that meets damage: behind the first `intact` bytes of the file, of which all came,
    the steps are of single bytes. The damage lies before `stop`.
    """
    active: Decompressor | None = None
    seen = 0
    for chunk in _slowing(data, intact, stop):
        while chunk or (active is not None and not active.needs_input):
            if active is None:
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                active = factory()
            try:
                plain = active.decompress(chunk, STEP)
            except _damage():
                return
            chunk = b""
            if behind := plain[max(0, given - seen) :]:
                yield behind
            seen += len(plain)
            if active.eof:
                chunk, active = active.unused_data, None


def _slowing(data: Iterator[bytes], intact: int, stop: int) -> Iterator[bytes]:
    """The bytes before `stop`, one by one from `intact` on."""
    at = 0
    for chunk in data:
        chunk = chunk[: stop - at]
        if not chunk:
            return
        whole = chunk[: max(0, intact - at)]
        at += len(chunk)
        if whole:
            yield whole
        for n in range(len(whole), len(chunk)):
            yield chunk[n : n + 1]


def _damage() -> tuple[type[Exception], ...]:
    """What the decompressors raise on a damaged stream."""
    import zstandard
    from isal import igzip_lib

    isal_error: type[Exception] = getattr(igzip_lib, "error")  # noqa: B009 - its stub types it as an instance
    return (OSError, EOFError, ValueError, MemoryError, lzma.LZMAError, zstandard.ZstdError, isal_error)
