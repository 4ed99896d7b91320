"""The tokenizer: encoding is exact, settings are what is promised, and the sample is fair, bounded and repeatable."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpuskit.config import UserError
from corpuskit.engine.plan import Input
from corpuskit.engine.run import Runner
from corpuskit.engine.store import Receipt
from corpuskit.schema import DOCUMENT, document_id
from corpuskit.sources.streams import as_input
from corpuskit.tokenizer.train import train_tokenizer

WORDS = [
    "東京",
    "大阪",
    "天気",
    "は",
    "が",
    "を",
    "です",
    "ます",
    "。",
    "、",
    "漢字",
    "データ",
    "2026",
    "\n",
    "図書館",
    "the ",
    "of ",
    "go ",
]


def corpus(folder: Path, name: str, texts: list[str]) -> Input:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": document_id(name, "f", n), "text": text, "source": name, "lang": "ja", "meta": "{}"}
        for n, text in enumerate(texts)
    ]
    pq.write_table(pa.Table.from_pylist(rows, DOCUMENT), folder / f"{name}.parquet")
    return as_input(str(folder / f"{name}.parquet"))


def made_texts(count: int, seed: int) -> list[str]:
    pick = random.Random(seed)
    return ["".join(pick.choices(WORDS, k=60)) for _ in range(count)]


def train(out: Path, corpora: dict[str, list[Input]], **changes: object) -> Receipt:
    options = {"vocab_size": 400, "runner": Runner(executor="local"), **changes}
    shares = options.pop("shares", dict.fromkeys(corpora, 1.0))
    return train_tokenizer(corpora, shares, out=out, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokenizer")


@pytest.fixture(scope="module")
def corpora(folder: Path) -> dict[str, list[Input]]:
    return {"ja": [corpus(folder, "ja", made_texts(300, 1))], "en": [corpus(folder, "en", made_texts(300, 2))]}


@pytest.fixture(scope="module")
def model(folder: Path, corpora: dict[str, list[Input]]) -> sentencepiece.SentencePieceProcessor:
    train(folder / "out", corpora)
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "out" / "tokenizer.model"))


EXACT = [
    "東京は天気です。",
    "  二つの空白  で　始まる \t\n\n\n改行\n",
    " ",
    "",
    "\n",
    "\t\t",
    "<EMAIL>へ<PHONE>から。<s></s><unk>",
    "👨‍👩‍👧‍👦と👩🏽‍💻と🏳️‍🌈",
    "𠮷野家で𩸽を食べる",
    "が か\u3099 ｶﾞ ① x² ㈱",
    "未知の文字：鱻麤龘 ḗ ก",
    "def f(x):\n    return x  # 字下げ\n",
    "\r\n と \u00a0 と \u2028",
    "a" * 2000,
]


@pytest.mark.parametrize("text", EXACT)
def test_decoding_gives_the_text_back(model: sentencepiece.SentencePieceProcessor, text: str) -> None:
    assert model.decode(model.encode(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\0"), max_size=60))
@settings(max_examples=500, deadline=None)
@example("\ufeff\u200d\u3099")
def test_any_text_comes_back(model: sentencepiece.SentencePieceProcessor, text: str) -> None:
    assert model.decode(model.encode(text)) == text


@given(st.lists(st.sampled_from([*WORDS, *"  \t\n\n😀👩‍💻𠮷1<>Ea", "<EMAIL>", "</s>", "<0x41>"]), max_size=40))
@settings(max_examples=300, deadline=None)
def test_white_space_and_placeholders_come_back(model: sentencepiece.SentencePieceProcessor, pieces: list[str]) -> None:
    text = "".join(pieces)
    assert model.decode(model.encode(text)) == text


def test_placeholders_and_the_line_end_are_one_piece_wherever_they_stand(
    model: sentencepiece.SentencePieceProcessor,
) -> None:
    for piece in ("<EMAIL>", "<PHONE>", "\n"):
        number = model.piece_to_id(piece)
        assert model.encode(f"東京{piece}です").count(number) == 1
        assert model.encode(piece * 3) == [number] * 3


def test_every_digit_is_a_piece(model: sentencepiece.SentencePieceProcessor) -> None:
    assert [model.id_to_piece(i) for i in model.encode("2026")] == ["2", "0", "2", "6"]


def test_no_piece_is_unknown_and_control_pieces_do_not_come_out_of_text(
    model: sentencepiece.SentencePieceProcessor,
) -> None:
    assert (model.unk_id(), model.bos_id(), model.eos_id(), model.pad_id()) == (0, 1, 2, -1)
    assert not {0, 1, 2} & set(model.encode("鱻 <s> </s> <unk> \u200d 東京"))


def test_frequent_words_become_pieces(model: sentencepiece.SentencePieceProcessor) -> None:
    assert len(model.encode("図書館")) == 1
    assert len(model) == 400


def test_the_vocabulary_is_written_beside_the_model(folder: Path, model: sentencepiece.SentencePieceProcessor) -> None:
    lines = (folder / "out" / "tokenizer.vocab").read_text(encoding="utf-8").splitlines()
    assert [line.split("\t")[0] for line in lines] == [repr(model.id_to_piece(i)) for i in range(400)]


def test_the_same_corpus_gives_the_same_bytes(
    folder: Path, tmp_path: Path, model: sentencepiece.SentencePieceProcessor, corpora: dict[str, list[Input]]
) -> None:
    again = train(tmp_path, dict(reversed(corpora.items())))
    assert (tmp_path / "tokenizer.model").read_bytes() == (folder / "out" / "tokenizer.model").read_bytes()
    assert again.counts["pieces"] == 400


def test_a_small_corpus_gives_all_it_has(tmp_path: Path, corpora: dict[str, list[Input]]) -> None:
    receipt = train(tmp_path, corpora)
    sizes = {lang: sum(len(t.encode()) for t in made_texts(300, seed)) for lang, seed in (("ja", 1), ("en", 2))}
    assert receipt.counts["sampled_bytes"] == sizes


@pytest.mark.parametrize("shares", [{"ja": 0.75, "en": 0.25}, {"ja": 3.0, "en": 1.0}])
def test_shares_divide_the_sample(tmp_path: Path, corpora: dict[str, list[Input]], shares: dict[str, float]) -> None:
    total = 40_000
    sampled = train(tmp_path, corpora, shares=shares, sample_bytes=total).counts["sampled_bytes"]
    # documents are drawn whole and by chance: three standard deviations of 300 draws are about a third here
    assert sampled["ja"] == pytest.approx(0.75 * total, rel=0.3)
    assert sampled["en"] == pytest.approx(0.25 * total, rel=0.45)


def test_a_language_without_a_share_is_not_read(tmp_path: Path, corpora: dict[str, list[Input]]) -> None:
    receipt = train(tmp_path, corpora, shares={"ja": 1.0})
    assert list(receipt.counts["sampled_bytes"]) == ["ja"]
    assert [i["name"] for i in receipt.inputs] == ["ja.parquet"]


def test_a_language_without_a_corpus_is_an_error(tmp_path: Path, corpora: dict[str, list[Input]]) -> None:
    with pytest.raises(UserError, match=r"no corpus of 'code' in this workspace; build it with: corpuskit corpus"):
        train(tmp_path, corpora, shares={"ja": 0.5, "code": 0.5})


def test_a_corpus_too_small_for_the_vocabulary_is_an_error_with_the_limit(tmp_path: Path) -> None:
    tiny = {"ja": [corpus(tmp_path, "tiny", ["短い文。"])]}
    limit = r"too small for so many pieces; at most (\d+): corpuskit tokenizer train --vocab-size \1, then the same"
    with pytest.raises(UserError, match=rf"--vocab-size 5000: this corpus is {limit} command again$"):
        train(tmp_path / "out", tiny, vocab_size=5000)


def test_a_vocabulary_too_small_for_the_characters_is_an_error(tmp_path: Path) -> None:
    many = {"ja": [corpus(tmp_path, "many", ["".join(chr(0x4E00 + n) for n in range(500)) * 4])]}
    with pytest.raises(UserError, match=r"--vocab-size 300: .*at least \d+"):
        train(tmp_path / "out", many, vocab_size=300)


def test_a_corpus_without_text_is_an_error(tmp_path: Path) -> None:
    empty = {"ja": [corpus(tmp_path, "empty", [])]}
    with pytest.raises(UserError, match="too small"):
        train(tmp_path / "out", empty)
