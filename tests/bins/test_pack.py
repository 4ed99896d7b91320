"""Pack: every document of a corpus file is in its bin, between <s> and </s>, and the manifest says what is where."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece

from corpuskit.bins.format import MANIFEST, TokenStream
from corpuskit.bins.pack import pack_language
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner
from corpuskit.engine.store import Receipt
from corpuskit.schema import DOCUMENT, document_id
from corpuskit.sources.streams import as_input
from corpuskit.tokenizer.train import train_tokenizer

TEXTS = {
    "jawiki-0": ["東京は日本の首都です。", "", "二行の\n\n文書　です。\t終わり"],
    "jawiki-1": [],
    "mc4-0": ["天気は晴れ。" * 50, "👩‍💻と𠮷", "<EMAIL>へ連絡を。"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pack")


@pytest.fixture(scope="module")
def corpus(folder: Path) -> list[Shard]:
    shards = []
    for name, texts in TEXTS.items():
        rows = [
            {"id": document_id(name, "f", n), "text": text, "source": name[:-2], "lang": "ja", "meta": "{}"}
            for n, text in enumerate(texts)
        ]
        pq.write_table(pa.Table.from_pylist(rows, DOCUMENT), folder / f"{name}.parquet")
        shards.append(Shard(name, (as_input(str(folder / f"{name}.parquet")),), {"source": name[:-2], "x": "y"}))
    return shards


@pytest.fixture(scope="module")
def tokenizer(folder: Path, corpus: list[Shard]) -> Input:
    inputs = [shard.inputs[0] for shard in corpus]
    runner = Runner(executor="local")
    train_tokenizer({"ja": inputs}, {"ja": 1.0}, out=folder / "tokenizer", vocab_size=310, runner=runner)
    return as_input(str(folder / "tokenizer" / "tokenizer.model"))


@pytest.fixture(scope="module")
def packed(folder: Path, corpus: list[Shard], tokenizer: Input) -> list[Receipt]:
    return pack_language("ja", corpus, tokenizer, out=folder / "bins", runner=Runner(executor="local"))


def test_every_document_comes_back_out_of_the_stream(folder: Path, tokenizer: Input, packed: list[Receipt]) -> None:
    processor = sentencepiece.SentencePieceProcessor(model_file=tokenizer.path)
    stream = TokenStream.open(folder / "bins")
    tokens = stream.read(0, stream.tokens).tolist()
    position = 0
    for name, texts in TEXTS.items():
        for number, text in enumerate(texts):
            size = len(processor.encode(text)) + 2
            document = tokens[position : position + size]
            assert (document[0], document[-1]) == (processor.bos_id(), processor.eos_id())
            assert processor.decode(document[1:-1]) == text
            home = (name, document_id(name, "f", number))
            assert {stream.document_at(p, folder / "bins") for p in (position, position + size - 1)} == {home}
            position += size
    assert position == stream.tokens


def test_the_manifest_says_what_is_where(folder: Path, tokenizer: Input, packed: list[Receipt]) -> None:
    manifest = orjson.loads((folder / "bins" / MANIFEST).read_bytes())
    assert (manifest["lang"], manifest["dtype"], manifest["vocab_size"]) == ("ja", "uint16", 310)
    assert manifest["tokenizer_sha256"] == tokenizer.sha256
    assert [(s["name"], s["source"], s["documents"]) for s in manifest["shards"]] == [
        ("jawiki-0", "jawiki", 3),
        ("jawiki-1", "jawiki", 0),
        ("mc4-0", "mc4", 3),
    ]
    assert manifest["documents"] == 6
    assert manifest["tokens"] == sum(s["tokens"] for s in manifest["shards"])
    for shard in manifest["shards"]:
        assert shard["text_bytes"] == sum(len(text.encode()) for text in TEXTS[shard["name"]])
        for kind in ("bin", "idx", "ids"):
            content = (folder / "bins" / f"{shard['name']}.{kind}").read_bytes()
            assert shard["sha256"][kind] == hashlib.sha256(content).hexdigest()
        assert np.fromfile(folder / "bins" / f"{shard['name']}.idx", np.uint64)[-1] == shard["tokens"]


def test_packing_again_does_nothing_and_another_tokenizer_does_all(
    folder: Path, corpus: list[Shard], tokenizer: Input, packed: list[Receipt]
) -> None:
    runner = Runner(executor="local")
    assert pack_language("ja", corpus, tokenizer, out=folder / "bins", runner=runner) == packed
    assert (runner.tally.ran, runner.tally.up_to_date) == (0, 3)
    other = Input(tokenizer.path, tokenizer.name, "0" * 64, tokenizer.size)
    pack_language("ja", corpus, other, out=folder / "bins2", runner=runner)
    assert runner.tally.ran == 3


def test_a_bin_depends_on_its_own_file_alone(
    tmp_path: Path, folder: Path, corpus: list[Shard], tokenizer: Input, packed: list[Receipt]
) -> None:
    pack_language("ja", corpus[2:], tokenizer, out=tmp_path, runner=Runner(executor="local"))
    for kind in ("bin", "idx", "ids"):
        assert (tmp_path / f"mc4-0.{kind}").read_bytes() == (folder / "bins" / f"mc4-0.{kind}").read_bytes()


def test_a_language_without_documents_has_an_empty_stream(tmp_path: Path, tokenizer: Input) -> None:
    assert pack_language("ja", [], tokenizer, out=tmp_path, runner=Runner(executor="local")) == []
    assert TokenStream.open(tmp_path).tokens == 0
