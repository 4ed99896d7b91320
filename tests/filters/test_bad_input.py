"""Hostile and broken texts: every signal is a finite number, in time that grows with the length and not faster."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest

from corpuskit.filters.signals import SIGNALS, column, measure
from corpuskit.text.normalize import normalize_column
from corpuskit.text.shadow import shadow_column


def measured(texts: pa.Array) -> np.ndarray:
    rows = measure(shadow_column(texts))
    assert rows.shape == (len(texts), len(SIGNALS))
    assert np.isfinite(rows).all()
    assert np.isfinite(rows.astype(np.float32)).all()  # as they are stored
    assert (rows >= 0).all()
    return rows


TEXTS = {
    "empty": "",
    "white space": " \u3000\n\t\r\n",
    "one kanji": "字",
    "one kanji beyond the BMP": "𠮷",
    "one space": " ",
    "one full stop": "。",
    "one line end": "\n",
    "two characters": "ああ",
    "four characters": "あいうえ",
    "only emoji": "😀🎉👨\u200d👩\u200d👧🇯🇵☀\ufe0f" * 50,
    "only NUL": "\0" * 100,
    "NUL within": "本\0文\0。" * 20,
    "only combining marks": "\u0301\u3099\u0323" * 500,
    "a letter under a tower of marks": "e" + "\u0301" * 3000,
    "only a half-width voicing mark": "ﾞ" * 10,
    "only joiners": "\u200d" * 30,
    "only invisible characters": "\u200b\ufeff\u00ad" * 30,
    "only full stops": "。" * 1000,
    "only quotation marks": "」" * 1000,
    "private use and unassigned": "\ue000\U000f0000\U0010ffff\u0378" * 20,
    "the longest expansions": "ﷺﷻ" * 100,
    "right to left": "שלום עולם مرحبا" * 10,
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("profile", ["none", "ja-safe"])
def test_every_signal_is_finite(text: str, profile: str) -> None:
    measured(normalize_column(pa.array([text, "前後の文。", text], pa.string()), profile))


@pytest.mark.parametrize("text", ["", " \u3000\n", "\0\0", "\u200b\n", "\r"])
def test_a_text_without_chars_measures_nothing(text: str) -> None:
    assert not measured(pa.array([text], pa.string())).any()


@pytest.mark.parametrize("surrogates", [b"\xed\xa0\x80", b"\xed\xb0\x80\xed\xa0\x80", b"\xed\xbf\xbfe\xcc\x81"])
@pytest.mark.parametrize("profile", ["none", "ja-safe"])
def test_lone_surrogates_are_characters_of_no_class(surrogates: bytes, profile: str) -> None:
    data = "前。".encode() + surrogates + "後。".encode()
    texts = pa.array([data, b"ok"], pa.binary()).view(pa.string())  # no reader lets them in; foreign Parquet can
    rows = measured(normalize_column(texts, profile))
    assert column(rows, "num_japanese_chars").tolist() == [2, 0]


def random_text(length: int) -> str:
    return "".join(map(chr, np.random.default_rng(length).integers(0x3041, 0x3045, length)))


# texts that would show a loop inside a loop: n-grams that all hit one slot, overlapping copies, units of all sizes
WORST = {
    "one character": lambda n: "あ" * n,
    "no character twice": lambda n: "".join(chr(0x20000 + i % 40000 + i // 40000) for i in range(n)),
    **{f"a unit of {p}": lambda n, p=p: ("".join(map(chr, range(0x4E00, 0x4E00 + p))) * n)[:n] for p in range(2, 12)},
    "four characters at random": random_text,
    "growing runs": lambda n: "".join("あ" * k + "い" for k in range(int((2 * n) ** 0.5)))[:n],
    "a Fibonacci word": lambda n: fibonacci(n),
    "empty lines": lambda n: "字" + "\n" * (n - 1),
    "one-character lines": lambda n: "字\n" * (n // 2),
    "lines that differ": lambda n: "\n".join(map(str, range(n // 7)))[:n],
    "full stops": lambda n: "。" * n,
    "spaces": lambda n: "字" + " " * (n - 2) + "字",
    "one-letter words": lambda n: "a " * (n // 2),
    "dots and digits": lambda n: "1." * (n // 2),
    "combining marks": lambda n: "か\u3099" * (n // 2),
    "marks in the wrong order": lambda n: "e\u0301\u0323" * (n // 3),
    "a run of marks in the wrong order": lambda n: "か" + "\u0301\u0327" * (n // 2),
    "a run of marks that come apart": lambda n: "\u0f73" * n,
}


def fibonacci(length: int) -> str:
    shorter, longer = "い", "あ"
    while len(longer) < length:
        shorter, longer = longer, longer + shorter
    return longer[:length]


@pytest.mark.parametrize("make", WORST.values(), ids=WORST.keys())
def test_the_time_grows_with_the_text_and_not_with_its_square(make) -> None:
    def seconds(texts: pa.Array) -> float:
        before = time.process_time()
        measured(texts)
        return time.process_time() - before

    sizes = (60_000, 480_000)
    texts = [pa.array([make(size)], pa.string()) for size in sizes]
    seconds(texts[0])
    short, long = (min(seconds(t) for _ in range(3)) for t in texts)
    # linear is 8, and more where the tables leave the cache; quadratic is 64
    assert long < 30 * max(short, 0.002), (short, long)


@pytest.mark.parametrize("unit", ["あ", "日本語の文章が、どこまでも続いて終わらない"])
def test_a_line_of_50_megabytes(unit: str) -> None:
    line = (unit * (50_000_000 // len(unit.encode()) + 1))[: 50_000_000 // 3]
    rows = measured(pa.array([line], pa.string()))
    assert column(rows, "num_chars")[0] == column(rows, "max_line_chars")[0] == len(line)
    assert column(rows, "duplicate_10gram_char_fraction")[0] > 0.99
