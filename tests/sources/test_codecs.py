"""Bytes and lines out of packed files: every member, everything before a cut, and never more than a bounded step."""

from __future__ import annotations

import bz2
import gzip
import lzma
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import before_damage

from corpuskit.sources import codecs, streams
from corpuskit.sources.streams import CutStream, line_blocks, read_chunks, split_lines

PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": lambda b: zstandard.ZstdCompressor(level=3, write_checksum=len(b) % 2 == 0).compress(b),
    "xz": lzma.compress,
    "bz2": bz2.compress,
}
RANDOM = random.Random(5)
CONTENT = b"".join(RANDOM.choice([b"abc ", b"\n", RANDOM.randbytes(9)]) for _ in range(90_000))


def drain(path: Path) -> tuple[bytes, str | None]:
    got = bytearray()
    try:
        for chunk in read_chunks(str(path)):
            most = codecs.BZIP2_STEP if path.suffix == ".bz2" else codecs.STEP + (128 << 10)
            assert 0 < len(chunk) <= most
            got += chunk
    except CutStream as error:
        return bytes(got), str(error)
    return bytes(got), None


@pytest.mark.parametrize("kind", PACK)
def test_all_members_of_a_file_are_one_stream(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    pieces = [CONTENT, b"", b"x", CONTENT[:70_000]]
    path.write_bytes(b"".join(PACK[kind](p) for p in pieces))
    assert drain(path) == (b"".join(pieces), None)


def test_zstandard_frames_of_every_make(tmp_path: Path) -> None:
    path = tmp_path / "a.zst"
    streaming = zstandard.ZstdCompressor(level=1).compressobj()  # its header states no content size
    made = streaming.compress(CONTENT) + streaming.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK) + streaming.flush()
    skippable = (0x184D2A53).to_bytes(4, "little") + (5).to_bytes(4, "little") + b"hello"
    ultra = zstandard.ZstdCompressor(level=19, write_content_size=False).compress(CONTENT)
    path.write_bytes(made + skippable + ultra + PACK["zst"](b"\0" * 3_000_000))
    assert drain(path) == (CONTENT + CONTENT + b"\0" * 3_000_000, None)


@pytest.mark.parametrize("kind", PACK)
def test_a_cut_stream_gives_what_came_before_the_cut(tmp_path: Path, kind: str) -> None:
    packed = PACK[kind](CONTENT)
    for part in (0.1, 0.5, 0.9, 0.999):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(packed[: int(len(packed) * part)])
        got, error = drain(path)
        assert CONTENT.startswith(got) and error == "the compressed stream ends early"
        # bzip2 works in blocks of 900 kB and zstd of 128 kB; what is not whole cannot be had
        assert len(got) >= len(CONTENT) * part - 900_000


@pytest.mark.parametrize("kind", PACK)
def test_a_damaged_stream_is_told(tmp_path: Path, kind: str) -> None:
    packed = bytearray(PACK[kind](CONTENT[: len(CONTENT) // 2 * 2]))  # even: the zstd frame has a checksum
    packed[len(packed) // 2] ^= 0x55
    (tmp_path / f"a.{kind}").write_bytes(packed)
    assert drain(tmp_path / f"a.{kind}")[1]


@pytest.mark.parametrize("kind", PACK)
def test_a_bomb_is_cut(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(codecs, "MAX_RATIO", 200)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(PACK[kind](CONTENT) + PACK[kind](b"\0" * (50 << 20)))
    got, error = drain(path)
    assert error == "the stream expands to more than 200 times its size"
    assert got.startswith(CONTENT) and len(got) < len(CONTENT) + 400 * path.stat().st_size + (4 << 20)


def test_a_bomb_of_many_small_members_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(codecs, "MAX_RATIO", 200)
    (tmp_path / "a.bz2").write_bytes(bz2.compress(b"\0" * 900_000) * 2000)
    got, error = drain(tmp_path / "a.bz2")
    assert error and len(got) < 40_000_000


LINES = st.lists(st.sampled_from([b"", b"a", b"bb\r", b"c" * 9, b"d" * 30, b"e" * 31]), max_size=12)


@settings(max_examples=400, deadline=None)
@given(LINES, st.booleans(), st.integers(1, 30), st.integers(1, 70), st.booleans())
def test_lines_are_the_lines_whatever_the_chunks_are(
    lines: list[bytes], ended: bool, step: int, block: int, cut: bool
) -> None:
    content = b"\n".join(lines) + (b"\n" if ended else b"")

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(content), step):
            yield content[at : at + step]
        if cut:
            raise CutStream("cut")

    expected = content.split(b"\n")
    last = expected.pop()
    if last and not cut:
        expected.append(last)
    wanted = [None if len(line) > 30 else line for line in expected]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "MAX_LINE", 30)
        patch.setattr(streams, "BLOCK", block)
        got: list[bytes | None] = []
        try:
            for line in split_lines(chunks()):
                got.append(line)
        except CutStream:
            assert cut
        if cut and len(last) > 30:
            wanted.append(None)  # it was too long before the stream was cut
        assert got == wanted
        try:
            for offset, found in line_blocks(chunks()):
                assert found is None or content[offset : offset + len(found)] == found
                assert offset == 0 or content[offset - 1 : offset] == b"\n"
        except CutStream:
            assert cut


# --- damage ---------------------------------------------------------------------------------------------------------


# zstd tells damage inside a block at the frame's checksum alone, if at all; every other format soon
SMALL_BLOCKS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "bz2": lambda data: bz2.compress(data, 1),
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("place", [0.35, 0.5, 0.68, 0.83, 0.97])
@pytest.mark.parametrize("streams", [1, 3])
@pytest.mark.parametrize("suffix", PACK)
def test_a_damaged_file_gives_every_byte_before_the_damage(
    tmp_path: Path, suffix: str, streams: int, place: float
) -> None:
    chance = random.Random(7)
    text = "".join(f"{chance.random()}行目の文です。\n" for _ in range(20_000)).encode()
    size = len(text) // streams + 1
    parts = [SMALL_BLOCKS[suffix](text[at : at + size]) for at in range(0, len(text), size)]
    packed = bytearray(b"".join(parts))
    at = int(len(packed) * place)
    packed[at : at + 400] = b"\xff" * 400
    (tmp_path / f"a.{suffix}").write_bytes(packed)
    got, error = drain(tmp_path / f"a.{suffix}")
    assert error is not None and error.startswith("damaged stream: ")
    assert got == before_damage(bytes(packed), suffix)
    # bzip2 -1 has blocks of 100,000 bytes, zstd of 131,072, and nothing comes of one that is damaged
    assert len(got) > len(text) * place - 150_000


@pytest.mark.parametrize("suffix", PACK)
def test_a_wrong_checksum_costs_no_byte(tmp_path: Path, suffix: str) -> None:
    """The last byte of a stream is given, though the library finds the checksum wrong in the same step."""
    text = b"".join(b"%d\n" % RANDOM.getrandbits(64) for _ in range(3000))
    packed = bytearray(SMALL_BLOCKS[suffix](text))
    at = {"gz": -8, "zst": -4, "bz2": -8, "xz": -28}[suffix]  # xz has an index and a footer behind it
    packed[at] ^= 0xFF
    (tmp_path / f"a.{suffix}").write_bytes(packed)
    got, error = drain(tmp_path / f"a.{suffix}")
    assert error is not None and error.startswith("damaged stream: ") and got == text
