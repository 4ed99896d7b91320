"""Every signal on literal texts, against a plain Python reading of the definitions, and under changes of width."""

from __future__ import annotations

import unicodedata
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpuskit.filters.signals import SIGNALS, column, measure
from corpuskit.text.normalize import normalize_text
from corpuskit.text.shadow import shadow_column


def signals(*texts: str) -> list[dict[str, float]]:
    rows = measure(shadow_column(pa.array(texts, pa.string())))
    return [dict(zip(SIGNALS, row.tolist(), strict=True)) for row in rows]


def signal(name: str, text: str) -> float:
    return signals(text)[0][name]


LITERAL = [
    # characters: white space is none, ー is katakana, 々 is kanji, punctuation is no letter
    ("num_chars", "今日 は\n　晴れ。", 6),
    ("num_chars", "㈱", 3),  # (株)
    ("num_chars", "👩‍💻", 3),  # woman, joiner, computer
    ("num_japanese_chars", "漢字かなカナー々ABC123。", 8),
    ("japanese_per_char", "あいABCDEF12", 2 / 10),
    ("hiragana_per_japanese_char", "ああア亜", 2 / 4),
    ("hiragana_per_japanese_char", "abc", 0),
    ("katakana_per_japanese_char", "データを", 3 / 4),
    ("katakana_per_japanese_char", "ﾃﾞｰﾀを", 3 / 4),  # not normalised: a half-width dakuten is no kana
    ("latin_per_char", "Ａbé1あ", 3 / 5),
    ("digit_per_char", "１2٣ab", 3 / 5),
    ("alphanumeric_per_char", "aあ1д!", 4 / 5),
    ("symbol_per_char", "○+★あ、", 3 / 5),
    ("symbol_per_char", "、。「」-", 0),
    ("mojibake_per_char", "縺薙ｌ縺ｯ\ufffd", 3 / 6),
    ("longest_char_run", "あーーーい", 3),
    ("longest_char_run", "ーー ー\nー", 4),  # white space does not end a run
    ("longest_char_run", "！!", 2),
    ("longest_char_run", "あ", 1),
    # lines: blank ones do not count, margins neither, white space inside does
    ("num_lines", "一\n\n 　\n二\n", 2),
    ("mean_line_chars", "　一 二　\n三", (3 + 1) / 2),
    ("max_line_chars", "　一 二　\n三", 3),
    ("short_line_fraction", "一二三四五六七八九十\n一二三四五六七八九十一", 1 / 2),
    ("duplicate_line_char_fraction", "同じ行\n違う行だ\n同じ行", 3 / 10),
    ("duplicate_line_char_fraction", "同じ行\n　同じ行　\n同じ行", 6 / 9),
    ("ellipsis_line_fraction", "続く…\n続く...\n続く・・・\n続く。。。\n続く..\n終わり。", 4 / 6),
    ("punctuated_line_fraction", "終わり。\n「はい」\nWhy?\n見出し\nメニュー", 3 / 5),
    # sentences: the marks that end one count to it
    ("num_sentences", "晴れ。雨！雪？曇りだ", 4),
    ("num_sentences", "本当！？はい。", 2),
    ("num_sentences", "見出し\n本文。", 2),
    ("num_sentences", "「はい。」と言った。", 1),
    ("num_sentences", "円周率は３．１４だ．次", 2),
    ("num_sentences", "www.example.com を見る。", 1),
    ("mean_sentence_chars", "晴れ。雨！", (3 + 2) / 2),
    ("long_sentence_char_fraction", "長" * 199 + "。短い。", 0),
    ("long_sentence_char_fraction", "長" * 200 + "。短い。", 201 / 204),
    ("duplicate_sentence_char_fraction", "同じ文。違う文だ。同じ文。", 4 / 13),
    ("duplicate_sentence_char_fraction", "一行が一文。", 0),  # a line that is a sentence is not its own repetition
    # n-grams run over the characters, across lines and white space
    ("top_2gram_char_fraction", "あいうあいえ", 2 * 2 / 6),
    ("top_2gram_char_fraction", "あい うあ\nい", 2 * 2 / 5),
    ("top_2gram_char_fraction", "あいうえお", 0),
    ("top_2gram_char_fraction", "ああああ", 1),  # three pairs of four characters: at most all of them
    ("top_3gram_char_fraction", "あいうかあいうき", 2 * 3 / 8),
    ("top_4gram_char_fraction", "あいうえかあいうえき", 2 * 4 / 10),
    ("duplicate_5gram_char_fraction", "あいうえおかあいうえお", 5 / 11),
    ("duplicate_5gram_char_fraction", "あいうえあいうえ", 0),
    ("duplicate_10gram_char_fraction", "一二三四五六七八九十" * 4, 3 / 4),
    # words
    ("num_words", "The quick, brown fox -- jumps!", 5),
    ("mean_word_chars", "The quick, fox -- !", (3 + 6 + 3) / 3),
    ("alphabetic_word_fraction", "one 2 three4 5,6", 2 / 4),
    ("num_stop_words", "The, the THE of 'and' cat", 3),
    ("num_stop_words", "Ｔｈｅ ｏｆ", 2),
    ("num_stop_words", "theory often", 0),
    ("num_stop_words", "the be to of and that have with", 8),
]


@pytest.mark.parametrize(("name", "text", "value"), LITERAL)
def test_literal(name: str, text: str, value: float) -> None:
    assert signal(name, text) == pytest.approx(value, abs=1e-12)


def test_every_signal_has_a_literal_example() -> None:
    assert {name for name, _, _ in LITERAL} == set(SIGNALS)


@pytest.mark.parametrize("text", ["", " ", "　\n\t\n"])
def test_an_empty_document_measures_nothing(text: str) -> None:
    assert set(signals(text)[0].values()) == {0.0}


def test_a_document_measures_the_same_in_any_company() -> None:
    texts = ["", "短い。", "長い文章。" * 500, "a", "長い文章。" * 500, "短い。"]
    together = signals(*texts)
    assert together == [signals(text)[0] for text in texts]


def test_a_column_is_found_by_name() -> None:
    rows = measure(shadow_column(pa.array(["あい", "う"], pa.string())))
    assert column(rows, "num_chars").tolist() == [2, 1]
    with pytest.raises(ValueError, match="not in tuple"):
        column(rows, "num_characters")


# The definitions once more, in plain Python over the characters of the shadow.
STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
MOJIBAKE = set("\ufffd縺繧繝荳螟譁蜷縲髢")
ENDS, CLOSES = set("。.!?"), set("」』)]）\"'”’】〉》")


def kind(char: str) -> str:
    if char == "\n":
        return "newline"
    name, category = unicodedata.name(char, ""), unicodedata.category(char)
    if category == "Zs" or char == "\t":
        return "space"
    if name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH")) or char in "々〇〻":
        return "kanji"
    if name.startswith(("HIRAGANA LETTER", "HIRAGANA ITER", "HIRAGANA VOICED ITER")):
        return "hiragana"
    if name.startswith(("KATAKANA LETTER", "KATAKANA ITER", "KATAKANA VOICED ITER")) or char == "ー":
        return "katakana"
    if category == "Nd":
        return "digit"
    if category[0] == "L" and name.startswith("LATIN"):
        return "latin"
    return {"L": "letter", "M": "letter", "P": "punctuation", "S": "symbol"}.get(category[0], "other")


def is_word_char(char: str) -> bool:
    return kind(char) in ("kanji", "hiragana", "katakana", "latin", "digit", "letter")


def squeezed(text: str) -> str:
    return "".join(c for c in text if kind(c) not in ("space", "newline"))


def reference_sentences(text: str) -> list[str]:
    found, current = [], ""
    for at, char in enumerate(text):
        following = text[at + 1 : at + 2] or "\n"
        if kind(char) != "newline":
            current += char
        ends = kind(char) == "newline"
        if char in ENDS and following not in ENDS | CLOSES:
            digits = char == "." and at > 0 and kind(text[at - 1]) == "digit" and kind(following) == "digit"
            ends = not digits and not (char == "." and kind(following) == "latin")
        if ends:
            found.append(squeezed(current))
            current = ""
    return [s for s in (*found, squeezed(current)) if s]


def reference_grams(chars: str, size: int) -> list[str]:
    return [chars[at : at + size] for at in range(len(chars) - size + 1)]


def reference_top(chars: str, size: int) -> float:
    count = max(Counter(reference_grams(chars, size)).values(), default=0)
    return min(1.0, count * size / len(chars)) if count > 1 else 0.0


def reference_duplicate(chars: str, size: int) -> float:
    seen, covered = set(), set()
    for at, gram in enumerate(reference_grams(chars, size)):
        if gram in seen:
            covered.update(range(at, at + size))
        seen.add(gram)
    return len(covered) / len(chars)


def repeated(pieces: list[str]) -> int:
    return sum(len(p) for at, p in enumerate(pieces) if p in pieces[:at])


def reference(text: str) -> dict[str, float]:
    chars = squeezed(text)
    n = len(chars)
    kinds = Counter(map(kind, chars))
    japanese = kinds["hiragana"] + kinds["katakana"] + kinds["kanji"]
    lines = [line.strip(" \t") for line in text.split("\n") if squeezed(line)]
    line_chars = sum(map(len, lines))
    # lines are the same line when they differ in white space alone
    duplicate_lines = sum(
        len(line) for at, line in enumerate(lines) if squeezed(line) in [squeezed(before) for before in lines[:at]]
    )
    endings = [squeezed(line)[-3:] for line in lines]
    sentences = reference_sentences(text)
    words = [w for w in text.replace("\n", " ").replace("\t", " ").split(" ") if any(map(is_word_char, w))]
    cores = {"".join(c.lower() if c.isascii() else c for c in w if is_word_char(c)) for w in words}
    run = longest = 0
    for at, char in enumerate(chars):
        run = run + 1 if at and char == chars[at - 1] else 1
        longest = max(longest, run)
    return {
        "num_chars": n,
        "num_japanese_chars": japanese,
        "japanese_per_char": japanese / n,
        "hiragana_per_japanese_char": kinds["hiragana"] / max(japanese, 1),
        "katakana_per_japanese_char": kinds["katakana"] / max(japanese, 1),
        "latin_per_char": kinds["latin"] / n,
        "digit_per_char": kinds["digit"] / n,
        "alphanumeric_per_char": (japanese + kinds["latin"] + kinds["letter"] + kinds["digit"]) / n,
        "symbol_per_char": kinds["symbol"] / n,
        "mojibake_per_char": sum(c in MOJIBAKE for c in chars) / n,
        "longest_char_run": longest,
        "num_lines": len(lines),
        "mean_line_chars": line_chars / len(lines),
        "max_line_chars": max(map(len, lines)),
        "short_line_fraction": sum(len(line) <= 10 for line in lines) / len(lines),
        "duplicate_line_char_fraction": duplicate_lines / line_chars,
        "ellipsis_line_fraction": sum(e in ("...", "・・・", "。。。") for e in endings) / len(lines),
        "punctuated_line_fraction": sum(e[-1] in ENDS | CLOSES for e in endings) / len(lines),
        "num_sentences": len(sentences),
        "mean_sentence_chars": n / len(sentences),
        "long_sentence_char_fraction": sum(len(s) for s in sentences if len(s) > 200) / n,
        "duplicate_sentence_char_fraction": repeated(sentences) / n,
        "top_2gram_char_fraction": reference_top(chars, 2),
        "top_3gram_char_fraction": reference_top(chars, 3),
        "top_4gram_char_fraction": reference_top(chars, 4),
        "duplicate_5gram_char_fraction": reference_duplicate(chars, 5),
        "duplicate_10gram_char_fraction": reference_duplicate(chars, 10),
        "num_words": len(words),
        "mean_word_chars": sum(map(len, words)) / len(words) if words else 0,
        "alphabetic_word_fraction": (
            sum(any(is_word_char(c) and kind(c) != "digit" for c in w) for w in words) / len(words) if words else 0
        ),
        "num_stop_words": len(cores & STOP_WORDS),
    }


# few different characters, so that lines, sentences and n-grams do repeat
PIECES = st.sampled_from(
    [
        *'あいがアー漢字々a Z1２3.。！!?？」』)"（、・…~〜○+☃縺\ufffdд한é𠮷👩 　\t\n\n',
        "the ",
        "of. ",
        "あいうえお。",
        "同じ行だ。\n",
        "1.5",
        "。」",
    ]
)
TEXTS = st.lists(PIECES, min_size=1, max_size=60).map("".join)


@given(TEXTS)
@settings(max_examples=600, deadline=None)
@example("あ" * 201 + "。\n" + "い" * 201)
def test_all_signals_equal_a_plain_reading_of_their_definitions(text: str) -> None:
    folded = shadow_column(pa.array([text], pa.string())).text(0)
    if not squeezed(folded):
        return
    measured = signals(text)[0]
    for name, value in reference(folded).items():
        assert measured[name] == pytest.approx(value, abs=1e-9), name


@given(st.text(st.sampled_from("abあい𠮷"), min_size=1, max_size=80))
@settings(max_examples=300, deadline=None)
def test_ngram_fractions_equal_a_naive_count(chars: str) -> None:
    measured = signals(chars)[0]
    for size in (2, 3, 4):
        assert measured[f"top_{size}gram_char_fraction"] == pytest.approx(reference_top(chars, size)), size
    for size in (5, 10):
        assert measured[f"duplicate_{size}gram_char_fraction"] == pytest.approx(reference_duplicate(chars, size)), size


EQUAL = [
    ("！", "!"),
    ("？", "?"),
    ("１", "1"),
    ("ｶﾞ", "ガ"),
    ("ﾊﾟ", "パ"),
    ("…", "..."),
    ("Ａ", "A"),
    ("（", "("),
    ("～", "〜"),
    ("㈱", "(株)"),
]


@given(
    st.lists(
        st.one_of(st.sampled_from(EQUAL), st.sampled_from(["あ", "漢", "。", "\n", " ", "b"])), min_size=1, max_size=40
    )
)
@settings(max_examples=300, deadline=None)
def test_the_width_of_characters_changes_no_signal(pieces: list[str | tuple[str, str]]) -> None:
    raw = "".join(p if isinstance(p, str) else p[0] for p in pieces)
    plain = "".join(p if isinstance(p, str) else p[1] for p in pieces)
    assert signals(normalize_text(raw)) == signals(normalize_text(plain))


@pytest.mark.parametrize(("wide", "narrow"), EQUAL)
def test_each_equivalence_in_a_sentence(wide: str, narrow: str) -> None:
    text = "これは{}です。\n値は{}、次も{}{}。"
    assert signals(normalize_text(text.replace("{}", wide))) == signals(normalize_text(text.replace("{}", narrow)))


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_fractions_stay_between_zero_and_one(text: str) -> None:
    rows = measure(shadow_column(pa.array([text], pa.string())))[0]
    fractions = [at for at, name in enumerate(SIGNALS) if name.endswith(("_fraction", "_per_char", "_japanese_char"))]
    assert np.all((rows[fractions] >= 0) & (rows[fractions] <= 1))
