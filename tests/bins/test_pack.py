"""Pack: every document of a corpus file is in its bin, between <s> and </s>, and the manifest says what is where."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece

from corpuskit.bins.format import MANIFEST, TokenStream
from corpuskit.bins.pack import pack_language
from corpuskit.dedup.remove import SIGNALS
from corpuskit.dedup.weights import Weights
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner
from corpuskit.engine.store import Receipt
from corpuskit.schema import DOCUMENT, document_id
from corpuskit.sources.streams import as_input
from corpuskit.tokenizer.train import train_tokenizer

Tree = Callable[[Path], dict[str, str]]

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


# --- weights ------------------------------------------------------------------------------------------------------

TABLE = Weights(name="table", sha256="ab" * 32, times={1: 1, 3: 2, 10: 7})


def sizes(folder: Path, found: dict[str, list[int]]) -> dict[str, Input]:
    """What `dedup` would write: more documents than are left, in the same order."""
    made = {}
    for name, of_rows in found.items():
        rows = [{"id": document_id(name, "f", n), "cluster_size": size} for n, size in enumerate(of_rows)]
        rows.insert(1, {"id": document_id(name, "gone", 0), "cluster_size": 50})
        folder.mkdir(exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, SIGNALS), folder / f"{name}.parquet")
        made[name] = as_input(str(folder / f"{name}.parquet"))
    return made


def test_documents_are_packed_once_and_by_their_weight(
    tmp_path: Path, folder: Path, corpus: list[Shard], tokenizer: Input, packed: list[Receipt], tree: Tree
) -> None:
    def again(weights: Weights | None, of_rows: dict[str, list[int]]) -> tuple[int, dict[str, Any]]:
        runner = Runner(executor="local")
        known = sizes(tmp_path / "sizes", of_rows)
        pack_language(
            "ja", corpus, tokenizer, out=tmp_path / "bins", runner=runner, weights=weights, sizes=known
        )  # fmt: skip
        return runner.tally.ran, orjson.loads((tmp_path / "bins" / MANIFEST).read_bytes())

    plain = {"jawiki-0": [1, 1, 2], "jawiki-1": [], "mc4-0": [1, 1, 1]}
    ran, manifest = again(TABLE, {**plain, "jawiki-0": [3, 9, 2], "mc4-0": [10, 1, 5000]})
    assert ran == 3
    assert manifest["weights"] == {"name": "table", "sha256": "ab" * 32}
    assert [(s["name"], s["weight"], s["source"], s["documents"]) for s in manifest["shards"]] == [
        ("jawiki-0", 1, "jawiki", 1),
        ("jawiki-1", 1, "jawiki", 0),
        ("mc4-0", 1, "mc4", 1),
        ("x2/jawiki-0", 2, "jawiki", 2),
        ("x7/mc4-0", 7, "mc4", 2),
    ]
    before = orjson.loads((folder / "bins" / MANIFEST).read_bytes())
    assert (manifest["tokens"], manifest["documents"]) == (before["tokens"], before["documents"])
    for shard in manifest["shards"]:
        content = (tmp_path / "bins" / f"{shard['name']}.bin").read_bytes()
        assert (shard["sha256"]["bin"], shard["tokens"]) == (hashlib.sha256(content).hexdigest(), len(content) // 2)
    stream = TokenStream.open(tmp_path / "bins")
    assert [weight for weight, _, _ in stream.weights] == [1, 2, 7]
    found = {}
    for weight, start, end in stream.weights:
        for position in range(start, end):
            found[stream.document_at(position, tmp_path / "bins")] = weight
    known = {("jawiki-0", 0): 2, ("jawiki-0", 1): 2, ("jawiki-0", 2): 1, ("mc4-0", 0): 7, ("mc4-0", 1): 1}
    known[("mc4-0", 2)] = 7
    assert found == {(name, document_id(name, "f", n)): weight for (name, n), weight in known.items()}

    # the same again is done; another size of one cluster makes its own file again
    whole = tree(tmp_path / "bins")
    assert again(TABLE, {**plain, "jawiki-0": [3, 9, 2], "mc4-0": [10, 1, 5000]})[0] == 0
    assert again(TABLE, {**plain, "jawiki-0": [3, 1, 2], "mc4-0": [10, 1, 5000]})[0] == 1
    assert again(TABLE, {**plain, "jawiki-0": [3, 9, 2], "mc4-0": [10, 1, 5000]})[0] == 1
    assert tree(tmp_path / "bins") == whole
    # where nothing has duplicates, and without weights, the bins are the plain ones
    for weights in (TABLE, None):
        again(weights, plain)
        bins = {
            name: digest for name, digest in tree(tmp_path / "bins").items() if name[-4:] in (".bin", ".idx", ".ids")
        }
        assert bins == {n: d for n, d in tree(folder / "bins").items() if n[-4:] in (".bin", ".idx", ".ids")}
    assert tree(tmp_path / "bins") == tree(folder / "bins")
