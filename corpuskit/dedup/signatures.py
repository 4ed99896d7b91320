"""sign: one documents file -> one signatures file, row by row beside it, and how the later stages read those.

Everything after this stage speaks of a document by its position: its row, counted through all signature files in
order. What a document looks like is decided here; who stays is not, so that another policy signs nothing again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from corpuskit.config import Dedup, UserError
from corpuskit.dedup.minhash import Keys, band_keys, empty_column, matching_column
from corpuskit.dedup.urls import normalize_url
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Stage
from corpuskit.engine.tables import TableWriter, read_batches, read_selected
from corpuskit.text.buffers import Positions, utf8_view

SIGN_PARAMS = {"shingles", "ngram", "bands", "rows_per_band", "scope", "quality"}  # and if URL and shadow are compared


def signature_schema(bands: int) -> pa.Schema:
    """The columns of a signatures file."""
    return pa.schema(
        [
            ("id", pa.string()),
            ("id_key", pa.uint64()),  # xxh3-64 of the id
            ("content", pa.binary(16)),  # xxh3-128 of the text, null where there is none
            ("shadow", pa.binary(16)),  # xxh3-128 of the matching shadow, null where that is empty
            ("name", pa.uint64()),  # half of it: what the document is called in the graph of candidates; 0: none
            ("url", pa.binary(16)),  # xxh3-128 of the normalised URL, null where there is none or it is not compared
            ("num_chars", pa.int64()),  # code points of the text
            ("quality", pa.float32()),
            ("timestamp", pa.string()),
            ("source", pa.string()),
            ("priority", pa.int32()),
            ("frozen", pa.bool_()),  # of an earlier corpus: always stays
            *((band_column(band), pa.uint64()) for band in range(bands)),  # a column each: they are read one at a time
        ]
    )


def band_column(band: int) -> str:
    """The name of a band's column of keys."""
    return f"band_{band:04d}"


def sign(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Hashes, length, policy columns and band keys of every document of one file, in file order.

    Its inputs are as `dedup` takes them.
    """
    if "index" in shard.labels:
        return _from_index(shard, scratch)
    shape = Dedup(**{k: v for k, v in params.items() if k in SIGN_PARAMS})
    schema = signature_schema(shape.bands)
    qualities = _qualities(shard.inputs[-1], shape.quality) if shape.quality and "signals" in shard.labels else None
    priority, frozen = int(shard.labels["priority"]), shard.labels.get("frozen") == "yes"
    salts: dict[str | None, int] = {}
    with TableWriter(scratch / "signatures.parquet", schema) as writer:
        for batch in read_documents(document_files(shard), ["id", "text", "url", "source", "timestamp"]):
            rows, texts = batch.num_rows, batch.column("text").fill_null("")
            sources, seeds = batch.column("source"), None
            if shape.scope == "source":  # the same text of another source hashes to something else
                for name in sources.unique().to_pylist():
                    salts.setdefault(name, xxhash.xxh3_64_intdigest((name or "").encode()))
                seeds = [salts[name] for name in sources.to_pylist()]
            matching = matching_column(texts, shape.shingles) if params["shadow"] else empty_column(rows)
            keys = band_keys(matching, shape)
            if seeds is not None:
                keys ^= np.array(seeds, np.uint64)[:, None]
            content = pa.array(_digests(*utf8_view(texts), seeds=seeds), pa.binary(16))
            content = pc.if_else(batch.column("text").is_valid(), content, None)
            shadow = pa.array(_digests(matching.codes, matching.offsets, empty=None, seeds=seeds), pa.binary(16))
            columns = [
                batch.column("id"),
                pa.array([xxhash.xxh3_64_intdigest(i.encode()) for i in batch.column("id").to_pylist()], pa.uint64()),
                content,
                shadow,
                pa.array(halves(shadow)[0]),
                pa.array(_urls(batch.column("url"), seeds) if params["url"] else [None] * rows, pa.binary(16)),
                pc.utf8_length(texts).cast(pa.int64()),
                pa.nulls(rows, pa.float32()) if qualities is None else qualities(batch.column("id")),
                batch.column("timestamp"),
                sources,
                pa.array(np.full(rows, priority, np.int32)),
                pa.array(np.full(rows, frozen)),
                *(pa.array(np.ascontiguousarray(keys[:, band])) for band in range(shape.bands)),
            ]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=schema))
        return {"in": writer.rows}


def document_files(shard: Shard) -> tuple[Input, ...]:
    """The inputs of a shard but for signals or index: its documents file and, where there is one, the rows of it."""
    return shard.inputs[:-1] if shard.labels.keys() & {"signals", "index"} else shard.inputs


def sign_key(params: dict[str, Any], version: int) -> str:
    """What two runs have to share for the signatures of one to serve the other; the label `index` of a shard."""
    return orjson.dumps([version, params], option=orjson.OPT_SORT_KEYS).decode()


def _from_index(shard: Shard, scratch: Path) -> dict[str, Any]:
    """The signatures of the documents an earlier run kept, from the signatures it made of all: no text is read."""
    documents, index = shard.inputs
    wanted = pq.read_table(documents.path, columns=["id"])["id"].combine_chunks()
    schema = pq.read_schema(index.path).remove_metadata()
    with TableWriter(scratch / "signatures.parquet", schema) as writer:
        for batch in read_batches(index.path):
            batch = batch.filter(pc.is_in(batch.column("id"), value_set=wanted))
            if not batch.column("id").equals(wanted.slice(writer.rows, batch.num_rows)):
                raise UserError(
                    f"--against: {index.path} is not of the documents in {documents.path}; remove the former"
                )
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            columns["priority"] = pa.array(np.full(batch.num_rows, int(shard.labels["priority"]), np.int32))
            columns["frozen"] = pa.array(np.ones(batch.num_rows, np.bool_))
            writer.write(pa.RecordBatch.from_arrays(list(columns.values()), schema=schema))
        if writer.rows != len(wanted):
            raise UserError(f"--against: {index.path} is not of the documents in {documents.path}; remove the former")
        return {"in": writer.rows}


def read_documents(files: Sequence[Input], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The documents of a file, or those that a second file selects by row number, in batches that hold any."""
    for _, batch in read_selected(files[0].path, files[1].path if len(files) > 1 else None, columns):
        yield batch


def _digests(
    data: npt.NDArray[Any],
    offsets: npt.NDArray[Any],
    empty: bytes | None = xxhash.xxh3_128_digest(b""),
    seeds: list[int] | None = None,
) -> list[bytes | None]:
    """xxh3-128 of data[offsets[i]:offsets[i + 1]] for each i, and `empty` where there is nothing."""
    view = data.data
    ends = itertools.pairwise(offsets.tolist())
    if seeds is None:
        return [xxhash.xxh3_128_digest(view[start:end]) if end > start else empty for start, end in ends]
    pairs = zip(ends, seeds, strict=True)
    return [xxhash.xxh3_128_digest(view[a:b], seed) if b > a or empty else None for (a, b), seed in pairs]


def _urls(urls: pa.Array, seeds: list[int] | None) -> list[bytes | None]:
    pairs = zip(urls.to_pylist(), seeds or itertools.repeat(0), strict=False)
    return [xxhash.xxh3_128_digest(normalize_url(url).encode(), seed) if url else None for url, seed in pairs]


def _qualities(signals: Input, name: str) -> Any:
    """A function from a column of ids to their values of one signal, null for an id without one."""
    schema = pq.read_schema(signals.path)
    if name not in schema.names:
        raise UserError(f"dedup: quality {name}: {signals.name} has no such signal (it has {', '.join(schema.names)})")
    table = pq.read_table(signals.path, columns=["id", name])
    ids, values = table["id"].combine_chunks(), table[name].cast(pa.float32()).combine_chunks()
    return lambda wanted: values.take(pc.index_in(wanted, value_set=ids))


SIGN = Stage("dedup_sign", 5, sign)


def halves(digests: pa.Array) -> tuple[Keys, Keys]:
    """The two 64-bit halves of a binary(16) column; zeros where it is null."""
    whole = digests.fill_null(bytes(16)) if digests.null_count else digests
    data = np.frombuffer(whole.buffers()[1], np.uint64, 2 * len(whole), 16 * whole.offset).reshape(-1, 2)
    return np.ascontiguousarray(data[:, 0]), np.ascontiguousarray(data[:, 1])


class Signatures(NamedTuple):
    """All signature files in order; the row r of file f stands at position starts[f] + r."""

    files: tuple[Input, ...]
    starts: Positions  # one more than files: the last is the number of documents

    @classmethod
    def open(cls, files: Sequence[Input]) -> Signatures:
        """Read how many rows each file has."""
        rows = [pq.read_metadata(file.path).num_rows for file in files]
        return cls(tuple(files), np.concatenate([[0], np.cumsum(rows, dtype=np.int64)]).astype(np.int64))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def read(self, columns: list[str]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Batches of these columns, each with the position of its first row."""
        for file, start in zip(self.files, self.starts[:-1].tolist(), strict=True):
            for batch in read_batches(file.path, columns):
                yield start, batch
                start += batch.num_rows
