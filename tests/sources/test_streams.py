"""Bytes out of files: every compression, cut at every place; lines of any length; what a path stands for."""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import lzma
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.config import UserError
from corpuskit.sources import streams
from corpuskit.sources.streams import CutStream, as_input, expand, read_chunks, split_lines, would_match

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "bz2": bz2.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
}
DATA = "".join(f"{n * 7919 % 1000}行目の文です。\n" for n in range(200)).encode()


def read(path: Path, start: int | None = None, stop: int | None = None) -> tuple[bytes, bool]:
    """Everything a file gives, and whether it ended in CutStream."""
    out = b""
    try:
        for chunk in read_chunks(str(path), start, stop):
            out += chunk
    except CutStream:
        return out, True
    return out, False


@pytest.fixture(params=COMPRESS)
def suffix(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_plain_files_are_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(DATA)
    assert read(tmp_path / "a.txt") == (DATA, False)
    assert read(tmp_path / "a.txt", 10, 50) == (DATA[10:50], False)
    assert read(tmp_path / "a.txt", 10) == (DATA[10:], False)


def test_compressed_files_are_expanded(tmp_path: Path, suffix: str) -> None:
    for name in (f"a.{suffix}", f"A.{suffix.upper()}"):
        (tmp_path / name).write_bytes(COMPRESS[suffix](DATA))
        assert read(tmp_path / name) == (DATA, False)


def test_members_one_after_the_other_are_one_stream(tmp_path: Path, suffix: str) -> None:
    parts = [DATA[:1000], DATA[1000:1001], b"", DATA[1001:]]
    (tmp_path / f"a.{suffix}").write_bytes(b"".join(map(COMPRESS[suffix], parts)))
    assert read(tmp_path / f"a.{suffix}") == (DATA, False)


def test_a_byte_range_of_whole_members_is_a_stream(tmp_path: Path, suffix: str) -> None:
    members = [COMPRESS[suffix](part) for part in (b"one", b"two", b"three")]
    (tmp_path / f"a.{suffix}").write_bytes(b"".join(members))
    first, second = len(members[0]), len(members[0] + members[1])
    assert read(tmp_path / f"a.{suffix}", first, second) == (b"two", False)
    assert read(tmp_path / f"a.{suffix}", None, first) == (b"one", False)
    assert read(tmp_path / f"a.{suffix}", second, None) == (b"three", False)


def test_cut_at_every_byte_gives_a_beginning_and_says_so(tmp_path: Path, suffix: str) -> None:
    whole = COMPRESS[suffix](DATA)
    path = tmp_path / f"a.{suffix}"
    lengths = []
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        got, cut = read(path)
        assert cut and DATA.startswith(got), size
        lengths.append(len(got))
    assert lengths == sorted(lengths)


def test_cut_far_behind_gives_what_stands_before(tmp_path: Path, suffix: str) -> None:
    blocks = [hashlib.sha256(str(n).encode()).digest() * 3 for n in range(40_000)]
    data = b"".join(blocks)
    whole = COMPRESS[suffix](data)
    (tmp_path / f"a.{suffix}").write_bytes(whole[: len(whole) * 2 // 3])
    got, cut = read(tmp_path / f"a.{suffix}")
    assert cut and data.startswith(got)
    assert len(got) > (0 if suffix == "bz2" else len(data) // 3)  # bz2 gives nothing of a block that is not whole


def test_cut_between_members_gives_the_whole_members(tmp_path: Path, suffix: str) -> None:
    whole = COMPRESS[suffix](b"first\n") + COMPRESS[suffix](b"second\n")
    (tmp_path / f"a.{suffix}").write_bytes(whole[:-3])
    got, cut = read(tmp_path / f"a.{suffix}")
    assert cut and got.startswith(b"first\n")


def test_damage_is_told_and_what_came_is_true(tmp_path: Path, suffix: str) -> None:
    whole = bytearray(COMPRESS[suffix](DATA))
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / f"a.{suffix}").write_bytes(whole)
    got, cut = read(tmp_path / f"a.{suffix}")
    assert cut and got != DATA


def test_damage_in_a_later_member_costs_nothing_that_was_read_before(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = COMPRESS[suffix](DATA), bytearray(COMPRESS[suffix](DATA))
    second[len(second) // 2] ^= 0xFF
    monkeypatch.setattr(streams, "CHUNK", len(first))
    (tmp_path / f"a.{suffix}").write_bytes(first + second)
    got, cut = read(tmp_path / f"a.{suffix}")
    assert cut and got.startswith(DATA)


def test_what_is_no_such_stream_is_told(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"<html>not found</html>" * 10)
    assert read(tmp_path / f"a.{suffix}") == (b"", True)
    (tmp_path / f"b.{suffix}").write_bytes(COMPRESS[suffix](DATA) + b"trailing rubbish that is no member")
    assert read(tmp_path / f"b.{suffix}")[1]


@pytest.mark.parametrize("padding", [1, 4, 512, 200_000])
@pytest.mark.parametrize("suffix", ["gz", "xz"])
def test_zeros_after_a_member_are_padding(tmp_path: Path, suffix: str, padding: int) -> None:
    member = COMPRESS[suffix](b"text\n")
    (tmp_path / f"a.{suffix}").write_bytes(member + b"\0" * padding + member + b"\0" * padding)
    assert read(tmp_path / f"a.{suffix}") == (b"text\ntext\n", False)


def test_a_remote_file_is_read_through_fsspec() -> None:
    with fsspec.open("memory://corpus/a.txt.gz", "wb") as file:
        file.write(gzip.compress(DATA))
    assert b"".join(read_chunks("memory://corpus/a.txt.gz")) == DATA
    found = as_input("memory://corpus/a.txt.gz")
    assert found.size > 0 and found.name == "memory://corpus/a.txt.gz"
    assert expand("memory://corpus/*.gz") == ["memory:///corpus/a.txt.gz"]
    with pytest.raises(UserError, match="no such file"):
        expand("memory://corpus/*.zst")


# --- lines --------------------------------------------------------------------------------------------------------


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(st.lists(st.sampled_from([b"\n", b"\r", b"a", "あ".encode(), b"\0", b"\x0b", b"\xc2\x85"])), st.integers(1, 7))
@settings(max_examples=300, deadline=None)
def test_lines_are_those_between_line_feeds_however_chunks_are_cut(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()  # a line end ends the last line, it begins none
    assert list(split_lines(chunked(data, size))) == expected


@given(st.lists(st.integers(0, 14), max_size=8), st.integers(1, 40))
@settings(max_examples=300, deadline=None)
def test_a_line_over_the_limit_is_none_however_chunks_are_cut(lengths: list[int], size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "MAX_LINE", 10)
        data = b"".join(b"x" * n + b"\n" for n in lengths)
        expected = [b"x" * n if n <= 10 else None for n in lengths]
        assert list(split_lines(chunked(data, size))) == expected


@pytest.mark.parametrize(("length", "whole"), [(10, True), (11, False)])
def test_the_last_line_needs_no_line_end(length: int, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE", 10)
    assert list(split_lines(iter([b"a\n", b"x" * length]))) == [b"a", b"x" * length if whole else None]


# --- paths --------------------------------------------------------------------------------------------------------


def test_a_path_a_glob_and_a_folder_stand_for_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "c.txt", ".hidden", "sub/d.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert expand(str(tmp_path / "c.txt")) == [str(tmp_path / "c.txt")]
    assert expand(str(tmp_path / "*.jsonl")) == [str(tmp_path / n) for n in ("a.jsonl", "b.jsonl")]
    assert expand(str(tmp_path)) == [str(tmp_path / n) for n in ("a.jsonl", "b.jsonl", "c.txt")]
    assert expand(str(tmp_path / "**/*.jsonl")) == [str(tmp_path / n) for n in ("a.jsonl", "b.jsonl", "sub/d.jsonl")]


PATTERNS = ("**", "*", "*/*", "**/*.parquet", "**/a*", "a/**", "a/**/*", "*/[ab].*", "?/**/b.txt", ".h/*", "a", "[")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_a_glob_would_match_is_what_it_matches(tmp_path: Path, pattern: str) -> None:
    names = ("a/b.txt", "a/c/b.txt", "a/.h/b.txt", ".h/a.parquet", "b.parquet", "a/b.parquet", "a/c/d/e.parquet", ".x")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    wanted = {name for name in names if would_match(str(tmp_path / pattern), tmp_path / name)}
    for name in names:
        (tmp_path / name).touch()
    found = glob.glob(str(tmp_path / pattern), recursive=True)  # noqa: PTH207 - as expand does it
    assert wanted == {str(Path(p).relative_to(tmp_path)) for p in found if Path(p).is_file()}


def test_a_glob_is_compared_with_the_file_itself_however_both_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("in")
    monkeypatch.chdir(tmp_path)
    for pattern in ("in/**", "./in/*.json", f"{tmp_path}/link/*", f"file://{tmp_path}/in/**", "link/../in/*"):
        assert would_match(pattern, Path("link/funnel.json")) and would_match(pattern, tmp_path / "in" / "funnel.json")
    for pattern in ("in/*.jsonl", "out/**", "in", "in/funnel.json", "s3://in/**", ""):
        assert not would_match(pattern, Path("in/funnel.json"))


def test_a_path_that_stands_for_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"--input .*/empty: the folder is empty"):
        expand(str(tmp_path / "empty"))
    for pattern in ("none.jsonl", "*.jsonl", "emp*"):  # a folder is no file
        with pytest.raises(UserError, match="no such file"):
            expand(str(tmp_path / pattern))


def test_a_file_with_the_signs_of_a_glob_in_its_name_is_that_file(tmp_path: Path) -> None:
    for name in ("[1]*.jsonl", "1a.jsonl"):
        (tmp_path / name).write_text("x")
    assert expand(str(tmp_path / "[1]*.jsonl")) == [str(tmp_path / "[1]*.jsonl")]
    assert expand(str(tmp_path / "[1]a.jsonl")) == [str(tmp_path / "1a.jsonl")]  # no such file: a glob
    assert expand(f"file://{tmp_path}/[1]*.jsonl") == [f"file://{tmp_path}/[1]*.jsonl"]
    with pytest.raises(UserError, match="no such file"):
        expand("")


def test_a_remote_folder_stands_for_its_files() -> None:
    for name in ("b.txt", "a.txt", "sub/c.txt"):
        with fsspec.open(f"memory://folder/{name}", "wb") as file:
            file.write(b"x")
    assert expand("memory://folder") == ["memory:///folder/a.txt", "memory:///folder/b.txt"]
    assert expand("memory://folder/*") == ["memory:///folder/a.txt", "memory:///folder/b.txt"]


def test_an_input_carries_name_hash_and_size(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(DATA)
    found = as_input(str(tmp_path / "a.txt"))
    assert (found.name, found.size, found.sha256) == ("a.txt", len(DATA), hashlib.sha256(DATA).hexdigest())
    assert as_input(str(tmp_path / "a.txt"), "https://host.example/a.txt").name == "https://host.example/a.txt"
