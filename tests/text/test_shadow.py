"""The shadow: NFKC a character at a time, and every shadow character knows where it came from."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from corpuskit.text.normalize import normalize_text
from corpuskit.text.shadow import Shadow, shadow_column

ZERO_WIDTH_JOINER = "\u200d"


def shadow(*texts: str) -> Shadow:
    return shadow_column(pa.array(texts, pa.string()))


@pytest.mark.parametrize(
    ("text", "expected", "origin"),
    [
        ("！？（）", "!?()", [0, 1, 2, 3]),
        ("１Ａａ", "1Aa", [0, 1, 2]),
        ("㈱日本", "(株)日本", [0, 0, 0, 1, 2]),
        ("待って…", "待って...", [0, 1, 2, 3, 3, 3]),
        ("〜～~", "~~~", [0, 1, 2]),
        ("㍿①㎏", "株式会社1kg", [0, 0, 0, 0, 1, 2, 2]),
        ("𠮷！", "𠮷!", [0, 1]),
        ("　", " ", [0]),
        ("がカ゛", "がカ \u3099", [0, 1, 2, 2]),  # が is not か in the shadow either
        ("\u0085\t\r\n\r", "\n\t\n\n", [0, 1, 2, 4]),  # one line end, as in ja-safe
        ("ｶﾞｷﾞﾊﾟあﾞ", "ガギパあ \u3099", [0, 2, 4, 6, 7, 7]),
        ("か\u3099は\u309ae\u0301 q\u0301", "がぱé q\u0301", [0, 2, 4, 6, 7, 7]),  # put together as NFC does
        ("東\u200b京\0都\ufeff", "東京都", [0, 2, 4]),
        ("か\u200b\u3099", "が", [0]),
        ("👩\u200d💻 か\u200dき", "👩\u200d💻 かき", [0, 1, 2, 3, 4, 6]),
        ("", "", []),
    ],
)
def test_folds(text: str, expected: str, origin: list[int]) -> None:
    folded = shadow(text)
    assert folded.text(0) == expected
    assert folded.origin.tolist() == origin


def test_dakuten_are_not_stripped() -> None:
    assert shadow("が").text(0) != shadow("か").text(0)


def test_rows_stand_one_after_the_other_and_count_from_their_own_start() -> None:
    folded = shadow("㈱", "", "あ㈱")
    assert [folded.text(row) for row in range(3)] == ["(株)", "", "あ(株)"]
    assert folded.offsets.tolist() == [0, 3, 3, 7]
    assert folded.origin.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_a_slice_of_a_column_has_the_shadow_of_its_rows() -> None:
    column = pa.array(["一", "㈱", "！", "四"], pa.string()).slice(1, 2)
    folded = shadow_column(column)
    assert [folded.text(row) for row in range(2)] == ["(株)", "!"]


def test_an_empty_column_has_an_empty_shadow() -> None:
    folded = shadow()
    assert (len(folded.codes), folded.offsets.tolist()) == (0, [0])


def folded_char(char: str) -> str:
    if char in "〜～":
        return "~"
    if char == "⋯":
        return "..."
    return char if char < "\u00a0" or char == "\ufdfa" else unicodedata.normalize("NFKC", char)


# what ja-safe changes is dense here: marks that join, invisible characters, line ends
ANY = st.lists(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from(
            "かカｶハﾊﾞﾟ\u3099\u309ae\u0301\u0323\u200b\u200d👩\ufe0f\r\n\0\u0085ㄱ\u1112\u1161\u11ab\u0958㋕㍗㈱…"
        ),
    ),
    max_size=30,
).map("".join)


@given(st.lists(ANY, max_size=6))
@settings(max_examples=600, deadline=None)
def test_the_shadow_is_nfkc_of_what_ja_safe_leaves(texts: list[str]) -> None:
    folded = shadow(*texts)
    for row, text in enumerate(texts):
        assert folded.text(row) == "".join(map(folded_char, normalize_text(text)))
    again = shadow(*map(normalize_text, texts))
    assert np.array_equal(again.codes, folded.codes)
    assert np.array_equal(again.offsets, folded.offsets)


@given(st.lists(ANY, max_size=6))
@settings(max_examples=300, deadline=None)
@example(["🀀\u200d"])
def test_origins_map_back(texts: list[str]) -> None:
    folded = shadow(*texts)
    for row, text in enumerate(texts):
        start, end = folded.offsets[row], folded.offsets[row + 1]
        origins = folded.origin[start:end].tolist()
        assert origins == sorted(origins)
        for at, origin in enumerate(origins):  # a shadow character comes out of the text from its origin to the next
            following = next((o for o in origins[at:] if o > origin), len(text))
            char = chr(folded.codes[start + at])
            if char == ZERO_WIDTH_JOINER:  # stays for what stands before it
                assert text[origin] == char
            else:
                assert char in "".join(map(folded_char, normalize_text(text[origin:following])))


def test_control_characters_are_left_out_and_counted() -> None:
    folded = shadow("a\0b\x1b\x85\r\n\t", "", "\u200b\x7f")
    assert folded.text(0) == "ab\n\n\t"
    assert folded.controls.tolist() == [2, 0, 1]


def test_every_code_point() -> None:
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    texts = ["".join(points[at : at + 5000]) for at in range(0, len(points), 5000)]
    folded = shadow(*texts)
    for row, text in enumerate(texts):
        assert folded.text(row) == "".join(map(folded_char, normalize_text(text)))
