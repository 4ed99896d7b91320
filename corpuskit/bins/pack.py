"""Pack: encode the corpus of one language into bins, one bin a corpus file and weight, and write their manifest."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpuskit.bins.format import MANIFEST, BinWriter, token_dtype
from corpuskit.dedup.weights import ClusterSizes, Weights
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt, write_json
from corpuskit.engine.tables import read_batches


def pack_language(
    lang: str,
    corpus: Sequence[Shard],
    tokenizer: Input,
    *,
    out: Path,
    runner: Runner,
    weights: Weights | None = None,
    sizes: Mapping[str, Input] | None = None,
) -> list[Receipt]:
    """Bins and manifest of one language in `out`; returns the receipts of the bins, in corpus order.

    Args:
        lang: the language.
        corpus: shards of one documents file each.
        tokenizer: the SentencePiece model.
        out: folder of the bins.
        runner: how and where shards run.
        weights: how often documents count by the size of their cluster; None: all once.
        sizes: with weights, for each shard's name the signals that `dedup` wrote.
    """
    shards = []
    for shard in corpus:
        inputs = (*shard.inputs, tokenizer, *([sizes[shard.name]] if weights is not None and sizes is not None else []))
        shards.append(Shard(shard.name, inputs, {"source": shard.labels["source"]}))
    said = weights.model_dump(mode="json") if weights else None
    receipts = map_shards(STAGE, shards, out=out, params={"bos": True, "eos": True, "weights": said}, runner=runner)
    for folder in out.glob("x*"):  # of weights that no document has any more
        with contextlib.suppress(OSError):
            folder.rmdir()
    vocab_size = receipts[0].counts["vocab_size"] if receipts else 0
    manifest = {
        "format": "corpuskit-bins-1",
        "lang": lang,
        "dtype": np.dtype(token_dtype(vocab_size)).name,
        "byte_order": "little",
        "vocab_size": vocab_size,
        "tokenizer_sha256": tokenizer.sha256,
        "weights": weights.model_dump(include={"name", "sha256"}) if weights else None,
        "document": "<s> tokens </s>",
        "tokens": sum(r.counts["tokens"] for r in receipts),
        "documents": sum(r.counts["in"] for r in receipts),
        "shards": [
            _described(receipt, weight)
            for weight in sorted({int(k) for r in receipts for k in r.counts["by_weight"]})
            for receipt in receipts
            if str(weight) in receipt.counts["by_weight"]
        ],
    }
    write_json(out / MANIFEST, manifest)
    return receipts


def _described(receipt: Receipt, weight: int) -> dict[str, Any]:
    """The bin of one corpus file with the documents of one weight."""
    name = receipt.shard if weight == 1 else f"x{weight}/{receipt.shard}"
    hashes = {o.path.rpartition(".")[2]: o.sha256 for o in receipt.outputs if o.path.rpartition(".")[0] == name}
    counts = receipt.counts["by_weight"][str(weight)]
    return {"name": name, "source": receipt.labels["source"], "weight": weight, **counts, "sha256": hashes}


def pack(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Encode one documents file; the second input is the SentencePiece model, the third one its cluster sizes."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=shard.inputs[1].path)
    vocab_size = len(processor)
    weights = Weights(**params["weights"]) if params["weights"] else None
    sizes = ClusterSizes(shard.inputs[2].path) if weights else None
    writers = {1: BinWriter(scratch, "_", vocab_size)}
    text_bytes = {1: 0}
    dtype = token_dtype(vocab_size)
    for batch in read_batches(shard.inputs[0].path, ["id", "text"]):
        ids, texts = batch.columns
        times = weights.of(sizes.of(ids)).tolist() if weights and sizes else [1] * len(ids)
        for id_, text, weight in zip(ids.to_pylist(), texts.to_pylist(), times, strict=True):
            body = processor.encode(text, out_type="numpy")
            tokens = np.empty(len(body) + 2, dtype)
            tokens[0], tokens[1:-1], tokens[-1] = processor.bos_id(), body, processor.eos_id()
            if weight not in writers:
                writers[weight], text_bytes[weight] = BinWriter(scratch, f"x{weight}", vocab_size), 0
            writers[weight].add(id_, tokens)
            text_bytes[weight] += len(text.encode())
    for writer in writers.values():
        writer.close()
    return {
        "source": shard.labels["source"],
        "in": sum(w.documents for w in writers.values()),
        "tokens": sum(w.tokens for w in writers.values()),
        "bytes_in": sum(text_bytes.values()),
        "vocab_size": vocab_size,
        "by_weight": {
            str(weight): {"tokens": w.tokens, "documents": w.documents, "text_bytes": text_bytes[weight]}
            for weight, w in writers.items()
        },
    }


STAGE = Stage("pack", 2, pack)
