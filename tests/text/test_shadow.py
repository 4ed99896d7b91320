"""The shadow: NFKC a character at a time, and every shadow character knows where it came from."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.text.shadow import Shadow, shadow_column


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
        ("\u0085\t\n", "\u0085\t\n", [0, 1, 2]),
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
    return char if char < "\u00a0" else unicodedata.normalize("NFKC", char)


ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(st.lists(ANY, max_size=6))
@settings(max_examples=300, deadline=None)
def test_origins_map_back(texts: list[str]) -> None:
    folded = shadow(*texts)
    for row, text in enumerate(texts):
        start, end = folded.offsets[row], folded.offsets[row + 1]
        origins = folded.origin[start:end].tolist()
        pieces = [folded_char(c) for c in text]
        assert folded.text(row) == "".join(pieces)
        assert origins == [at for at, piece in enumerate(pieces) for _ in piece]


def test_every_code_point() -> None:
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    folded = shadow("".join(points))
    expected = [folded_char(c) for c in points]
    assert folded.text(0) == "".join(expected)
    assert np.array_equal(folded.origin, np.repeat(np.arange(len(points)), [len(e) for e in expected]))
