"""Where a span may begin and end, and what is left of a text without it."""

from __future__ import annotations

import itertools
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.dedup.spans import Spans, boundaries, id_column, id_numbers, replace_spans, without_empty_lines
from corpuskit.dedup.windows import characters


def sentences(text: str) -> list[str]:
    return [text[a:b] for a, b in itertools.pairwise(boundaries(text))]


@pytest.mark.parametrize(
    "parts",
    [
        ["今日は晴れ。", "明日は雨。"],
        ["本当？！", "まさか……", "\n", "次の行"],  # a line ends without a mark
        ["「行くぞ。」", "と言った。"],  # a closing bracket belongs to what it closes
        ["（終わり。）』", "次。"],
        ["値は3.14だ。", "次。"],  # no white space behind the stop
        ["It ends. ", "It goes on (as Yahoo!ニュース does.) ", "End"],
        ["一行目。", "\n", "二行目"],
        ["一行目。", "\n　　", "二行目"],  # indentation goes with the line break
        ["すごい。 ", "次。"],
    ],
)
def test_sentences(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


def test_no_character_is_taken_apart() -> None:
    assert boundaries("か。\u3099き") == [
        0,
        4,
    ]  # a combining mark after the end: no boundary before it, nor an end before き
    assert boundaries("。\u200d次") == [3]  # a joiner, and a text may not begin with what closes
    assert boundaries("一\r\n二") == [0, 3, 4]  # CR LF is one line break
    assert boundaries("👍🏽。👍🏽") == [0, 3, 5]  # a skin tone stays with its hand
    assert boundaries("") == [0]


@given(st.text(alphabet="あか。」\n 　.a!\u3099\u200d\r", max_size=20))
def test_nothing_starts_with_a_mark(text: str) -> None:
    at = boundaries(text)
    assert at[-1] == len(text)
    for i in at[:-1]:
        assert text[i] == "\n" or not (unicodedata.combining(text[i]) or text[i] in "。」　 .!\u200d\r")


@given(st.text(alphabet="あか。」\n .a", max_size=12), st.text(alphabet="あか。」\n .a", max_size=12))
def test_a_sentence_is_one_wherever_it_stands(before: str, after: str) -> None:
    text = before + "雪が降る (。」. 3) 日" + after
    at, start = boundaries(text), len(before)
    inside = [i - start for i in at if start < i < start + 14]
    assert inside == [i for i in boundaries("雪が降る (。」. 3) 日") if 0 < i < 14]


def cut(text: str, *ranges: tuple[int, int], by: str = "", lines: bool = True) -> str:
    column = pa.array(["前の文書。", text, "後の文書。"], pa.string())
    starts, ends = (np.array([r[k] for r in ranges], np.int64) for k in (0, 1))
    zeros = np.zeros(len(ranges), np.int64)
    spans = Spans(zeros + 1, starts, ends, zeros, zeros.astype(np.uint64), zeros.astype(np.uint64), zeros)
    chars = characters(column)
    if lines:
        spans = without_empty_lines(chars.codes, chars.offsets, spans)
    result = replace_spans(column, spans, by)
    result.validate(full=True)
    assert [result[0].as_py(), result[2].as_py()] == ["前の文書。", "後の文書。"]
    assert result[1].as_py() is not None
    return str(result[1].as_py())


def test_what_is_left() -> None:
    assert cut("甲。乙。丙。", (2, 4)) == "甲。丙。"
    assert cut("甲。乙。丙。", (0, 2), (4, 6)) == "乙。"
    assert cut("甲。乙。丙。", (0, 6)) == ""
    assert cut("𠮷。乙。丙。", (2, 4)) == "𠮷。丙。"


def test_no_empty_line_is_left() -> None:
    assert cut("甲\n乙\n丙", (2, 3)) == "甲\n丙"
    assert cut("甲\n\n乙\n\n丙", (3, 4)) == "甲\n\n丙"
    assert cut("甲\n\n乙", (3, 4)) == "甲"
    assert cut("乙\n\n甲", (0, 1)) == "甲"
    assert cut("甲\n乙。丙\n丁", (2, 4)) == "甲\n丙\n丁"  # the line is not empty
    assert cut("甲\n乙。丙。\n丁", (2, 4), (4, 6)) == "甲\n丁"
    assert cut("甲\n乙\n", (2, 3)) == "甲"  # nor at the end of a text


def test_a_mask_stands_once_for_neighbours() -> None:
    assert cut("甲。乙。丙。", (2, 4), by="<REPEATED>", lines=False) == "甲。<REPEATED>丙。"
    assert cut("甲。乙。丙。", (0, 2), (2, 4), by="<REPEATED>", lines=False) == "<REPEATED>丙。"


def test_ids_as_numbers() -> None:
    ids = ["00000000000000010000000000000002", "ffffffffffffffff0123456789abcdef"]
    high, low = id_numbers(pa.array(ids, pa.string()))
    assert (high.tolist(), low.tolist()) == ([1, 2**64 - 1], [2, 0x0123456789ABCDEF])
    assert id_column(high, low).to_pylist() == ids
    assert id_column(high[:0], low[:0]).to_pylist() == []
    for wrong in (["xyz"], ["zz" * 16], ["00" * 8, "00" * 24]):
        with pytest.raises(ValueError, match="32 hex digits"):
            id_numbers(pa.array(wrong, pa.string()))
