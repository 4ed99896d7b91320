"""ja-safe: what it changes, what it leaves alone, and that it is what its docstring says on all of Unicode."""

from __future__ import annotations

import random
import re
import unicodedata

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpuskit.text.normalize import normalize_column, normalize_text

CHANGED = {
    "a combining dakuten joins": ("か\u3099", "が"),
    "a combining handakuten joins": ("ハ\u309a", "パ"),
    "half-width kana widen": ("ｱｲｳｴｵ ｯｬｭｮ ｰ", "アイウエオ ッャュョ ー"),
    "half-width dakuten join": ("ｶﾞｷﾞｸﾞ ﾊﾟﾋﾟ ｳﾞ ﾜﾞ ｦﾞ", "ガギグ パピ ヴ ヷ ヺ"),
    "half-width dakuten join full-width kana": ("カﾞかﾞはﾟゝﾞ", "ガがぱゞ"),
    "a half-width dakuten alone is the spacing mark": ("ﾞﾟ あﾞ", "゛゜ あ゛"),
    "a second dakuten joins nothing": ("ｶﾞﾞ", "ガ゛"),
    "half-width punctuation widens": ("｡｢｣､･", "。「」、・"),
    "full-width letters and digits narrow": ("ＡＺａｚ０９", "AZaz09"),
    "one wave dash": ("９時～５時〜", "9時〜5時〜"),
    "one line end": ("a\r\nb\rc\vd\fe\x85f\u2028g\u2029h", "a\nb\nc\nd\ne\nf\ng\nh"),
    "CR CR LF is two line ends": ("a\r\r\nb", "a\n\nb"),
    "controls go": ("a\0b\x01c\x1fd\x7fe\x80f\x9f", "abcdef"),
    "zero-width characters go": ("東\u200b京\u200c都\ufeff庁\u00ad\u2060", "東京都庁"),
    "direction marks go": ("\u200fabc\u202e\u2066d\u2069", "abcd"),
    "what an invisible character parted joins": ("か\u200b\u3099 ｶ\u200bﾞ", "が ガ"),
    "a ZWJ outside of emoji goes": ("か\u200dき \u200d a\u200d", "かき  a"),
    "SentencePiece's space becomes an underscore": ("▁▁", "__"),
    "a compatibility ideograph is unified": ("\ufa19\ufa6c\U0002f800", "神\U000242ee丽"),
    "ångström, kelvin, ohm": ("\u212b\u212a\u2126", "ÅKΩ"),
    "Hangul letters join": ("\u1112\u1161\u11ab", "한"),
}

KEPT = [
    "！？（）：；，．＝％＆＠＃",
    "x² H₂O ①②③ ㈱ ㍻ ½ Ⅳ ﬁ ™",
    "が ガ ぱ パ ゔ ヴ",
    "カ゛ は゜",
    "　全角の空白 と\u00a0改行しない空白",
    "表\tの\n列",
    "𠮷野家 𩸽 叱 葛\U000e0100城市",
    "👨‍👩‍👧‍👦 👩🏽‍💻 🏳️‍🌈 ❤️‍🔥 🏴\U000e0067\U000e0062\U000e007f",
    "― — – ー - − … ‥ 〆 々 ゝ ヽ",
    "¥100 ￥100 £ €",
    "",
]


@pytest.mark.parametrize("name", CHANGED)
def test_changes(name: str) -> None:
    raw, expected = CHANGED[name]
    assert normalize_text(raw) == expected


@pytest.mark.parametrize("text", KEPT)
def test_leaves_alone(text: str) -> None:
    assert normalize_text(text) == text


def test_dakuten_tell_words_apart() -> None:
    for plain, voiced in ["かが", "はば", "はぱ", "カガ", "ウヴ"]:
        assert normalize_text(plain) != normalize_text(voiced)


def test_profile_none_changes_nothing() -> None:
    text = "ｶﾞ\r\nＡ\u200b\0"
    assert normalize_text(text, "none") == text


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown normalisation profile 'nfkc'"):
        normalize_text("a", "nfkc")


def test_rows_do_not_run_into_each_other() -> None:
    column = pa.array(["ｶ", "ﾞ", "", "か", "\u3099", "a\r", "\nb", "👨", "\u200d👩"], pa.string())
    expected = ["カ", "゛", "", "か", "\u3099", "a\n", "\nb", "👨", "👩"]
    assert normalize_column(column, "ja-safe").to_pylist() == expected


def test_a_slice_of_a_column_is_normalised_as_itself() -> None:
    column = pa.array(["ｱ", "ｶﾞ", "Ａ", "ﾊ\u309a"], pa.string())
    assert normalize_column(column.slice(1, 2), "ja-safe").to_pylist() == ["ガ", "A"]
    assert normalize_column(column.slice(3), "ja-safe").to_pylist() == ["パ"]
    assert normalize_column(column.slice(4), "ja-safe").to_pylist() == []


def test_a_column_with_nulls_is_refused() -> None:
    with pytest.raises(ValueError, match="without nulls"):
        normalize_column(pa.array(["a", None], pa.string()), "ja-safe")


# The docstring once more, one step after the other, in plain Python.
INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u180e\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
EMOJI_THEN_JOINER = re.compile("(?<![\u2190-\u2bff\ufe0f\U0001f000-\U0001ffff])\u200d")
FULL_TO_HALF = {c: c - 0xFEE0 for r in ("０９", "ＡＺ", "ａｚ") for c in range(ord(r[0]), ord(r[1]) + 1)}
HALF_KANA = {c: unicodedata.normalize("NFKC", chr(c)) for c in range(0xFF61, 0xFF9E)}
MARKS = {"ﾞ": ("\u3099", "゛"), "ﾟ": ("\u309a", "゜")}


def reference(text: str) -> str:
    text = re.sub("\r\n|[\r\v\f\x85\u2028\u2029]", "\n", text)
    text = INVISIBLE.sub("", text)
    text = text.translate({**FULL_TO_HALF, **HALF_KANA, 0xFF5E: "〜", 0x2581: "_"})
    # compatibility ideographs and their like become what they stand for before anything is joined to them
    text = "".join(unicodedata.normalize("NFC", c) for c in text)
    text = EMOJI_THEN_JOINER.sub("", text)
    out = ""
    for char in text:
        if char in MARKS:
            combining, alone = MARKS[char]
            joined = unicodedata.normalize("NFC", out[-1:] + combining)
            if out and len(joined) == 1:
                out = out[:-1] + joined
            else:
                out += alone
        else:
            out += char
    return unicodedata.normalize("NFC", out)


INTERESTING = st.sampled_from(
    [
        *"かガはカｶﾊｳﾞﾟﾞ。｡Ａ１a ～〜▁_e각가\u3099\u309a\u0301\u0323\u0338\u1161\u11a8\r\n\v\x85\u2028\0\u200b\ufeff\u200d\ufe0f👨👩❤←≠\u2adc\u2329𠮷\ufa6c\u212b½"  # noqa: E501
    ]
)
ANY = st.text(st.one_of(INTERESTING, st.characters(exclude_categories=["Cs"])), max_size=40)


@given(ANY)
@settings(max_examples=600, deadline=None)
@example("\u2adc\u200d👩")
@example("ｶ\u0323ﾞ")
@example("e\u200b\u0301")
def test_equals_a_plain_reading_of_the_docstring_and_is_idempotent(text: str) -> None:
    once = normalize_text(text)
    assert once == reference(text)
    assert normalize_text(once) == once
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize("seed", range(8))
def test_towers_of_marks_are_put_in_order_as_python_does(seed: int) -> None:
    rng = random.Random(seed)
    marks = [c for c in map(chr, range(0x30000)) if unicodedata.combining(unicodedata.normalize("NFD", c)[0])]
    heights = [0, 1, 2, 7, 8, 9, 63, 64, 65, 200]
    towers = (rng.choice("かｶeậḍ가\u1161\u0f40ﾞ") + "".join(rng.choices(marks, k=rng.choice(heights))) for _ in range(9))
    text = "".join(towers)
    assert normalize_text(text) == reference(text)


def test_every_code_point() -> None:
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000 and chr(c) != "|"]
    once = normalize_text("|".join(points)).split("|")
    expected = reference("|".join(points)).split("|")
    assert len(once) == len(points)
    assert [(p, o, e) for p, o, e in zip(points, once, expected, strict=True) if o != e] == []


@pytest.mark.parametrize("frame", ["{}", "か{}\u3099", "👩{}\u200d👩"])
def test_every_code_point_in_company_is_normalised_once_and_for_all(frame: str) -> None:
    points = [frame.format(chr(c)) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    once = normalize_column(pa.array(points, pa.string()), "ja-safe")
    again = normalize_column(once, "ja-safe")
    assert [p for p, a, b in zip(points, once.to_pylist(), again.to_pylist(), strict=True) if a != b] == []
