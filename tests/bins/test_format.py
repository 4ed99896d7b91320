"""The bin format: what is written comes back, wrong sizes are refused, and a token leads to its document."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.bins.format import MANIFEST, BinWriter, TokenStream, token_dtype
from corpuskit.config import UserError


def identity(bin_number: int, document: int) -> str:
    return f"{bin_number:016x}{document:016x}"


def write(folder: Path, bins: Sequence[Sequence[Sequence[int]]], vocab_size: int = 1000) -> TokenStream:
    """Bins of documents of tokens, and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, documents in enumerate(bins):
        writer = BinWriter(folder, f"b{number}", vocab_size)
        for at, tokens in enumerate(documents):
            writer.add(identity(number, at), np.array(tokens, np.int64))
        writer.close()
        shards.append({"name": f"b{number}", "tokens": writer.tokens, "documents": writer.documents})
        assert (writer.tokens, writer.documents) == (sum(map(len, documents)), len(documents))
    dtype = np.dtype(token_dtype(vocab_size)).name
    (folder / MANIFEST).write_bytes(
        orjson.dumps({"lang": "ja", "dtype": dtype, "vocab_size": vocab_size, "shards": shards})
    )
    return TokenStream.open(folder)


@pytest.mark.parametrize(
    ("vocab_size", "dtype"), [(300, np.uint16), (65_535, np.uint16), (65_536, np.uint16), (65_537, np.uint32)]
)
def test_two_bytes_a_token_where_every_id_fits(tmp_path: Path, vocab_size: int, dtype: type) -> None:
    assert token_dtype(vocab_size) is dtype
    stream = write(tmp_path, [[[1, vocab_size - 1, 2]]], vocab_size)
    assert (tmp_path / "b0.bin").stat().st_size == 3 * np.dtype(dtype).itemsize
    assert stream.read(0, 3).tolist() == [1, vocab_size - 1, 2]


def test_the_files_byte_by_byte(tmp_path: Path) -> None:
    write(tmp_path, [[[1, 258, 2], [1, 2]]])
    assert (tmp_path / "b0.bin").read_bytes() == bytes([1, 0, 2, 1, 2, 0, 1, 0, 2, 0])
    assert (tmp_path / "b0.idx").read_bytes() == b"".join(n.to_bytes(8, "little") for n in (0, 3, 5))
    assert (tmp_path / "b0.ids").read_bytes() == bytes.fromhex(identity(0, 0) + identity(0, 1))


BINS = st.lists(st.lists(st.lists(st.integers(0, 99_999), min_size=1, max_size=6), max_size=5), min_size=1, max_size=5)


@given(BINS, st.data())
@settings(max_examples=120, deadline=None)
def test_any_stretch_comes_back_and_every_token_leads_to_its_document(
    tmp_path_factory: pytest.TempPathFactory, bins: list[list[list[int]]], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("bins")
    stream = write(folder, bins, vocab_size=100_000)
    tokens = [t for documents in bins for document in documents for t in document]
    homes = [
        (f"b{number}", identity(number, at))
        for number, documents in enumerate(bins)
        for at, document in enumerate(documents)
        for _ in document
    ]
    assert stream.tokens == len(tokens)
    start = data.draw(st.integers(0, len(tokens)))
    length = data.draw(st.integers(0, len(tokens) - start))
    assert stream.read(start, length).tolist() == tokens[start : start + length]
    assert [stream.document_at(position, folder) for position in range(len(tokens))] == homes


def test_a_stretch_over_the_end_is_no_stretch(tmp_path: Path) -> None:
    stream = write(tmp_path, [[[1, 5, 2]], []])
    with pytest.raises(IndexError):
        stream.read(1, 3)


@pytest.mark.parametrize("change", [-2, -1, 1, 2])
def test_a_bin_of_another_size_is_refused(tmp_path: Path, change: int) -> None:
    write(tmp_path, [[[1, 5, 2]], [[1, 6, 2]]])
    content = (tmp_path / "b1.bin").read_bytes()
    (tmp_path / "b1.bin").write_bytes((content + b"\0\0")[: len(content) + change])
    with pytest.raises(UserError, match=rf"b1\.bin: {6 + change} bytes where the manifest says 3 tokens of uint16"):
        TokenStream.open(tmp_path)


def test_a_wrong_dtype_is_refused(tmp_path: Path) -> None:
    write(tmp_path, [[[1, 5, 2]]])
    manifest = orjson.loads((tmp_path / MANIFEST).read_bytes())
    (tmp_path / MANIFEST).write_bytes(orjson.dumps({**manifest, "dtype": "uint32"}))
    with pytest.raises(UserError, match="6 bytes where the manifest says 3 tokens of uint32"):
        TokenStream.open(tmp_path)


def test_a_bin_that_is_gone_and_a_folder_without_bins_are_refused(tmp_path: Path) -> None:
    write(tmp_path, [[[1, 5, 2]]])
    (tmp_path / "b0.bin").unlink()
    with pytest.raises(UserError, match=r"b0\.bin: -1 bytes.*make the bins again with: corpuskit pack"):
        TokenStream.open(tmp_path)
    with pytest.raises(UserError, match="no bins here; make them with: corpuskit pack"):
        TokenStream.open(tmp_path / "none")


def test_an_empty_language_is_an_empty_stream(tmp_path: Path) -> None:
    assert write(tmp_path, [[]]).tokens == 0
    assert (tmp_path / "b0.idx").read_bytes() == bytes(8)
