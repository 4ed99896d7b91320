"""Every signal on literal texts, against a plain Python reading of the definitions, and under changes of width."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from signal_reference import duplicate, frequent, reference, squeezed, top

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
    ("num_chars_with_spaces", "今日 は\n　晴れ。", 9),
    ("num_japanese_chars", "漢字かなカナー々ABC123。", 8),
    ("japanese_per_char", "あいABCDEF12", 2 / 10),
    ("num_japanese_chars", "𠮷野家𩸽", 4),  # kanji beyond the BMP
    ("hiragana_per_char", "ああアa。", 2 / 5),
    ("hiragana_per_japanese_char", "ああア亜", 2 / 4),
    ("hiragana_per_japanese_char", "abc", 0),
    ("katakana_per_japanese_char", "データを", 3 / 4),
    ("katakana_per_japanese_char", "ﾃﾞｰﾀを", 3 / 4),
    ("kanji_per_japanese_char", "𠮷野家だ", 3 / 4),
    ("latin_per_char", "Ａbé1あ", 3 / 5),
    ("digit_per_char", "１2٣ab", 3 / 5),
    ("alphanumeric_per_char", "aあ1д!", 4 / 5),
    ("symbol_per_char", "○+★あ、", 3 / 5),
    ("symbol_per_char", "、。「」-", 0),
    ("punctuation_per_char", "はい、「そう」。！", 5 / 9),
    ("emoji_per_char", "晴れ😀🎉。", 2 / 5),
    ("emoji_per_char", "☀\ufe0f晴れ", 1 / 4),  # a symbol shown as emoji
    ("emoji_per_char", "♪★☆→©", 0),
    ("whitespace_per_char_with_spaces", "今 日\n\n", 3 / 5),
    ("control_per_char", "a\0b\x1b\x85c", 2 / 3),
    ("replacement_per_char", "こ\ufffd\ufffdは", 2 / 4),
    ("prose_kana_per_japanese_char", "第一條 此ノ法律ヲ行フ", 3 / 10),
    ("prose_kana_per_japanese_char", "データを扱うアプリ", 2 / 9),
    ("katakana_word_per_japanese_char", "第一條 此ノ法律ヲ行フ", 0),
    ("katakana_word_per_japanese_char", "データを扱うアプリ", 6 / 9),
    ("foreign_kanji_per_kanji", "这是汉字、漢字", 2 / 6),
    ("foreign_kanji_per_kanji", "𠮷野家で﨑山さんが鷗外と剝製を見る。々〇〻", 0),
    ("mean_clause_chars", "晴れ、雨、雪。曇り", 9 / 4),
    ("mojibake_per_char", "縺薙ｌ縺ｯ\ufffd", 3 / 6),
    ("mojibake_per_char", "ドキュメント文書".encode().decode("cp1252"), 14 / 23),  # its soft hyphen is none
    ("mojibake_per_char", "café à Paris, São Tomé, naïve", 0),
    ("kana_in_first_50_chars", "漢" * 48 + " あアアア", 2),
    ("longest_char_run", "あーーーい", 3),
    ("longest_char_run", "ーー ー\nー", 4),  # white space does not end a run
    ("longest_char_run", "！!", 2),
    ("longest_char_run", "あ", 1),
    ("longest_periodic_run", "あ笑顔笑顔笑顔笑い", 7),
    ("longest_periodic_run", "笑顔笑い", 0),  # a unit has to come twice
    ("longest_periodic_run", "一二三四五六七八一二三四五六七八", 16),
    ("longest_periodic_run", "一二三四五六七八九一二三四五六七八九", 0),
    ("longest_periodic_run", "ーーーーーー", 0),  # longest_char_run has it
    ("char_entropy", "ああいい", 1),
    ("char_entropy", "あいうえ", 2),
    ("char_entropy", "ああああ", 0),
    ("lz4_compression_ratio", "あ", 4 / 3),  # a token and three literals
    # lines: blank ones do not count, margins neither, white space inside does
    ("num_lines", "一\n\n 　\n二\n", 2),
    ("mean_line_chars", "　一 二　\n三", (3 + 1) / 2),
    ("max_line_chars", "　一 二　\n三", 3),
    ("short_line_fraction", "一二三四五六七八九十\n一二三四五六七八九十一", 1 / 2),
    ("line_under_30_fraction", "字" * 29 + "\n" + "字" * 30, 1 / 2),
    ("long_line_char_fraction", "字" * 1000 + "\n" + "字" * 1001, 1001 / 2001),
    ("kanaless_line_fraction", "東京都庁\n東京です\nデータ\nABC 2", 2 / 4),
    ("bullet_line_fraction", "・一つ\n- 二つ\n　● 三つ\n・・・\n----\n文", 3 / 6),
    ("newline_per_char", "一\n二\n\n三", 3 / 3),
    ("duplicate_line_fraction", "同じ行\n違う行だ\n同じ行\n同じ行", 2 / 4),
    ("duplicate_line_char_fraction", "同じ行\n違う行だ\n同じ行", 3 / 10),
    ("duplicate_line_char_fraction", "同じ行\n　同じ行　\n同じ行", 6 / 9),
    ("ellipsis_line_fraction", "続く…\n続く...\n続く・・・\n続く。。。\n続く..\n終わり。", 4 / 6),
    ("punctuated_line_fraction", "終わり。\n「はい」\nWhy?\n見出し\nメニュー", 3 / 5),
    ("ellipsis_line_fraction", "続く、、、\n続く‥‥\n続く⋯\n続く⋯⋯\n続く。", 4 / 5),
    # paragraphs: a line with nothing but white space parts them
    ("num_paragraphs", "一\n二\n 　\n\n三\n", 2),
    ("mean_paragraph_chars", "一二\n三\n\n四", (3 + 1) / 2),
    ("max_paragraph_chars", "一二\n三\n\n四", 3),
    ("duplicate_paragraph_fraction", "一\n二\n\n三\n\n一\n二", 1 / 3),
    ("duplicate_paragraph_fraction", "一\n二\n\n一\n\n二", 0),
    ("duplicate_paragraph_char_fraction", "一\n二\n\n三\n\n一\n　二", 2 / 5),
    # sentences: the marks that end one count to it
    ("num_sentences", "晴れ。雨！雪？曇りだ", 4),
    ("num_sentences", "本当！？はい。", 2),
    ("num_sentences", "見出し\n本文。", 2),
    ("num_sentences", "「はい。」と言った。", 1),
    ("num_sentences", "円周率は３．１４だ．次", 2),
    ("num_sentences", "www.example.com を見る。", 1),
    ("mean_sentence_chars", "晴れ。雨！", (3 + 2) / 2),
    ("max_sentence_chars", "晴れ。雨！", 3),
    ("long_sentence_char_fraction", "長" * 199 + "。短い。", 0),
    ("long_sentence_char_fraction", "長" * 200 + "。短い。", 201 / 204),
    ("ellipsis_sentence_fraction", "でも…そう。まあ……。ええ・・・\nうん、、、", 3 / 5),
    ("duplicate_sentence_fraction", "同じ文。違う文だ。同じ文。", 1 / 3),
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
    ("duplicate_6gram_char_fraction", "あいうえおかきあいうえおか", 6 / 13),
    ("duplicate_7gram_char_fraction", "あいうえおかきあいうえおか", 0),
    ("duplicate_7gram_char_fraction", "あいうえおかきくあいうえおかきく", 8 / 16),
    ("duplicate_8gram_char_fraction", "あいうえおかきくあいうえおかきく", 8 / 16),
    ("duplicate_9gram_char_fraction", "あいうえおかきくけ" * 2, 9 / 18),
    ("duplicate_10gram_char_fraction", "一二三四五六七八九十" * 4, 3 / 4),
    # nine different 5-grams, the three most frequent of them count: two occur twice
    ("frequent_5gram_fraction", "あいうえおかxyzあいうえおか", 4 / 11),
    # words
    ("num_words", "The quick, brown fox -- jumps!", 5),
    ("mean_word_chars", "The quick, fox -- !", (3 + 6 + 3) / 3),
    ("alphabetic_word_fraction", "one 2 three4 5,6", 2 / 4),
    ("num_stop_words", "The, the THE of 'and' cat", 3),
    ("num_stop_words", "Ｔｈｅ ｏｆ", 2),
    ("num_stop_words", "theory often", 0),
    ("num_stop_words", "the be to of and that have with", 8),
    ("hash_per_word", "#one #two three #", 3 / 3),
    ("ellipsis_per_word", "one... two… three......", 4 / 3),
    ("mean_words_per_line", "one two\n\nthree\n--", 3 / 3),
    ("newline_per_word", "one\n\ntwo three\n", 3 / 3),
    ("curly_brackets_per_char", "a {b} ｛", 3 / 5),
    ("lorem_ipsum", "Lorem ipsum dolor. LOREM, ipsum lorem", 2),
    ("top_2word_char_fraction", "ab cde, x Ab cde! y", 2 * 5 / 12),
    ("top_2word_char_fraction", "ab cde x ab cde y longer words z longer words", 2 * 11 / 35),  # the longer of two
    ("top_3word_char_fraction", "a b c x a b c y", 2 * 3 / 8),
    ("top_4word_char_fraction", "a b c dd x a b c dd y", 2 * 5 / 12),
    ("duplicate_5word_char_fraction", "a b c d ee x A, b; c d (ee)", 6 / 13),
    ("duplicate_6word_char_fraction", "a b c d e f x a b c d e f", 6 / 13),
    ("duplicate_7word_char_fraction", "a b c d e f g " * 2, 7 / 14),
    ("duplicate_8word_char_fraction", "a b c d e f g h " * 2, 8 / 16),
    ("duplicate_9word_char_fraction", "a b c d e f g h i " * 2, 9 / 18),
    ("duplicate_10word_char_fraction", "a b c d e f g h i j " * 4, 3 / 4),
    ("duplicate_10word_char_fraction", "a b c d e f g h i x a b c d e f g h i y", 0),
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


# few different characters, so that lines, sentences and n-grams do repeat
PIECES = st.sampled_from(
    [
        *'あいがアー漢字々a Z1２3.。！!?？」』)"（、・…~〜○+☃縺\ufffdд한é𠮷👩 　\t\n\n',
        "the ",
        "of. ",
        "a b c ",
        "Lorem ipsum ",
        "# ",
        "{",
        "、、、",
        "- ",
        "😀",
        "☀\ufe0f",
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
        assert measured[f"top_{size}gram_char_fraction"] == pytest.approx(top(chars, size)), size
    for size in range(5, 11):
        assert measured[f"duplicate_{size}gram_char_fraction"] == pytest.approx(duplicate(chars, size)), size
    assert measured["frequent_5gram_fraction"] == pytest.approx(frequent(chars, 5))


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
    assert signals(raw) == signals(plain) == signals(normalize_text(raw))


@given(st.lists(st.one_of(PIECES, st.characters(exclude_categories=["Cs"])), max_size=60).map("".join))
@settings(max_examples=300, deadline=None)
@example("ｶﾞｷﾞ か\u3099\r\n\u200bＡ…～\0")
def test_a_text_measures_the_same_before_and_after_ja_safe(text: str) -> None:
    before, after = signals(text, normalize_text(text))
    del before["control_per_char"], after["control_per_char"]  # of the text as it was given
    assert before == after


@pytest.mark.parametrize(("wide", "narrow"), EQUAL)
def test_each_equivalence_in_a_sentence(wide: str, narrow: str) -> None:
    text = "これは{}です。\n値は{}、次も{}{}。"
    assert signals(normalize_text(text.replace("{}", wide))) == signals(normalize_text(text.replace("{}", narrow)))


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_fractions_stay_between_zero_and_one(text: str) -> None:
    rows = measure(shadow_column(pa.array([text], pa.string())))[0]
    shares = [name for name in SIGNALS if name.endswith(("_fraction", "_per_char", "_japanese_char", "_with_spaces"))]
    fractions = [SIGNALS.index(n) for n in shares if n not in ("newline_per_char", "num_chars_with_spaces")]
    assert np.all((rows[fractions] >= 0) & (rows[fractions] <= 1))
