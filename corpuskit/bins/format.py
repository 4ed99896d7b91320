"""The bin format, byte by byte, with its writer and its reader.

    NAME.bin   token ids, little endian, uint16 when the vocabulary has at most 65,536 pieces, else uint32; documents
               one after the other, each as <s> document </s>, and nothing else
    NAME.idx   uint64 little endian, documents + 1 entries: where each document starts, in tokens; the last entry is
               the number of tokens
    NAME.ids   16 bytes a document: its id (the 32 hex digits of the corpus, as bytes), so that a token leads back to
               its document, its URL and the rules it passed
    manifest.json  beside them: dtype, vocabulary, tokenizer hash, and of each NAME its source, counts and hashes

Documents that count k times (dedup/weights.py) stand once, apart from others: NAME is xK/FILE then, and FILE for those
that count once. A stream has the former behind the latter, in order of K.

Opening checks the size of every NAME.bin against the manifest, so a wrong dtype cannot go unseen.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from corpuskit.config import UserError

MANIFEST = "manifest.json"


def token_dtype(vocab_size: int) -> type[np.uint16] | type[np.uint32]:
    """uint16 where every id fits, else uint32."""
    return np.uint16 if vocab_size <= 1 << 16 else np.uint32


class BinWriter:
    """Writes one NAME.bin, NAME.idx, NAME.ids into a folder, document by document."""

    def __init__(self, folder: Path, name: str, vocab_size: int) -> None:
        self.tokens = 0
        self.documents = 0
        self._dtype = token_dtype(vocab_size)
        self._bin = open(folder / f"{name}.bin", "wb")  # noqa: SIM115 - closed in close()
        self._idx = open(folder / f"{name}.idx", "wb")  # noqa: SIM115
        self._ids = open(folder / f"{name}.ids", "wb")  # noqa: SIM115
        self._idx.write(np.uint64(0).tobytes())

    def add(self, id_: str, tokens: npt.NDArray[np.integer[Any]]) -> None:
        """Append one document: its 32-digit id and all its tokens, delimiters included."""
        self._bin.write(tokens.astype(self._dtype, copy=False).tobytes())
        self.tokens += len(tokens)
        self.documents += 1
        self._idx.write(np.uint64(self.tokens).tobytes())
        self._ids.write(bytes.fromhex(id_))

    def close(self) -> None:
        """Close the three files."""
        for file in (self._bin, self._idx, self._ids):
            file.close()


@dataclass(frozen=True)
class TokenStream:
    """The bins of one language as one long stream of tokens, memory-mapped.

    Attributes:
        tokens: its length.
        manifest: what manifest.json says.
    """

    lang: str
    tokens: int
    manifest: dict[str, Any]
    _bins: Sequence[npt.NDArray[np.integer[Any]]]
    _starts: npt.NDArray[np.int64]  # where each bin starts in the stream, and its end

    @classmethod
    def open(cls, folder: Path) -> TokenStream:
        """Open bins/<lang>.

        Raises:
            UserError: no manifest, or a file does not have the size the manifest gives.
        """
        try:
            manifest = orjson.loads((folder / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise UserError(f"{folder}: no bins here; make them with: corpuskit pack") from None
        except orjson.JSONDecodeError as error:
            raise UserError(f"{folder / MANIFEST}: damaged ({error}); make it again with: corpuskit pack") from error
        dtype = np.dtype(manifest["dtype"])
        bins = []
        for shard in manifest["shards"]:
            path = folder / f"{shard['name']}.bin"
            size = path.stat().st_size if path.is_file() else -1
            if size != shard["tokens"] * dtype.itemsize:
                raise UserError(
                    f"{path}: {size} bytes where the manifest says {shard['tokens']} tokens of {dtype}; "
                    "make the bins again with: corpuskit pack"
                )
            bins.append(np.memmap(path, dtype, "r") if size else np.empty(0, dtype))
        starts = np.cumsum([0, *(len(b) for b in bins)], dtype=np.int64)
        return cls(manifest["lang"], int(starts[-1]), manifest, bins, starts)

    def read(self, start: int, length: int) -> npt.NDArray[np.int64]:
        """`length` consecutive tokens from position `start` of the stream, across bins where need be."""
        out = np.empty(length, np.int64)
        filled = 0
        at = int(np.searchsorted(self._starts, start, side="right")) - 1
        while filled < length:
            offset = start + filled - int(self._starts[at])
            piece = self._bins[at][offset : offset + length - filled]
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
            at += 1
        return out

    @property
    def weights(self) -> list[tuple[int, int, int]]:
        """The parts of the stream by weight of their documents: weight, first token, and the token behind the last."""
        parts: list[tuple[int, int, int]] = []
        for shard, (start, end) in zip(self.manifest["shards"], itertools.pairwise(self._starts.tolist()), strict=True):
            weight = shard.get("weight", 1)
            if parts and parts[-1][0] == weight:
                start = parts.pop()[1]
            parts.append((weight, start, end))
        return parts

    def document_at(self, position: int, folder: Path) -> tuple[str, str]:
        """The corpus file and the document id that hold the token at a position of the stream."""
        at = int(np.searchsorted(self._starts, position, side="right")) - 1
        name = self.manifest["shards"][at]["name"]
        ends = np.fromfile(folder / f"{name}.idx", np.uint64)
        row = int(np.searchsorted(ends, position - int(self._starts[at]), side="right")) - 1
        ids = np.memmap(folder / f"{name}.ids", np.uint8, "r")
        return name.rpartition("/")[2], ids[16 * row : 16 * row + 16].tobytes().hex()
