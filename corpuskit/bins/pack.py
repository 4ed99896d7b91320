"""Pack: encode the corpus of one language into bins, one bin a corpus file, and write their manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from corpuskit.bins.format import MANIFEST, BinWriter, token_dtype
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner, Stage, map_shards
from corpuskit.engine.store import Receipt, write_json
from corpuskit.engine.tables import read_batches


def pack_language(lang: str, corpus: Sequence[Shard], tokenizer: Input, *, out: Path, runner: Runner) -> list[Receipt]:
    """Bins and manifest of one language in `out`; each corpus shard holds one documents file.

    Returns the receipts of the bins, in corpus order.
    """
    shards = [Shard(s.name, (*s.inputs, tokenizer), {"source": s.labels["source"]}) for s in corpus]
    receipts = map_shards(STAGE, shards, out=out, params={"bos": True, "eos": True}, runner=runner)
    vocab_size = receipts[0].counts["vocab_size"] if receipts else 0
    manifest = {
        "format": "corpuskit-bins-1",
        "lang": lang,
        "dtype": np.dtype(token_dtype(vocab_size)).name,
        "byte_order": "little",
        "vocab_size": vocab_size,
        "tokenizer_sha256": tokenizer.sha256,
        "document": "<s> tokens </s>",
        "tokens": sum(r.counts["tokens"] for r in receipts),
        "documents": sum(r.counts["in"] for r in receipts),
        "shards": [
            {
                "name": r.shard,
                "source": r.labels["source"],
                "tokens": r.counts["tokens"],
                "documents": r.counts["in"],
                "text_bytes": r.counts["bytes_in"],
                "sha256": {o.path.rsplit(".", 1)[-1]: o.sha256 for o in r.outputs},
            }
            for r in receipts
        ],
    }
    write_json(out / MANIFEST, manifest)
    return receipts


def pack(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Encode one documents file; the second input is the SentencePiece model."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=shard.inputs[1].path)
    vocab_size = len(processor)
    writer = BinWriter(scratch, "_", vocab_size)
    size = 0
    dtype = token_dtype(vocab_size)
    for batch in read_batches(shard.inputs[0].path, ["id", "text"]):
        for id_, text in zip(*(c.to_pylist() for c in batch.columns), strict=True):
            body = processor.encode(text, out_type="numpy")
            tokens = np.empty(len(body) + 2, dtype)
            tokens[0], tokens[1:-1], tokens[-1] = processor.bos_id(), body, processor.eos_id()
            writer.add(id_, tokens)
            size += len(text.encode())
    writer.close()
    return {
        "source": shard.labels["source"],
        "in": writer.documents,
        "tokens": writer.tokens,
        "bytes_in": size,
        "vocab_size": vocab_size,
    }


STAGE = Stage("pack", 1, pack)
