"""Per-code-point tables behind the kernels, built from Python's Unicode database once a process.

Only the planes that hold assigned characters are asked about; everything else keeps its default.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

NUM_CODE_POINTS = 0x110000

# What normalisation does with a code point.
KEEP, DROP, MAP, CARRIAGE_RETURN, COMPOSING, JOINER, VOICING = range(7)

# Character classes of the shadow.
(
    OTHER,
    HIRAGANA,
    KATAKANA,
    KANJI,
    LATIN,
    DIGIT,
    PUNCTUATION,
    SYMBOL,
    SPACE,
    NEWLINE,
    OTHER_LETTER,
) = range(11)

_HALF_KANA_FIRST, _HALF_KANA_LAST = 0xFF61, 0xFF9F
HALF_DAKUTEN, HALF_HANDAKUTEN = 0xFF9E, 0xFF9F

# Dropped by ja-safe: zero-width characters, direction marks and invisible operators. ZWJ is kept inside emoji.
_INVISIBLE = (
    *(0x00AD, 0x061C, 0x180E, 0x200B, 0x200C, 0x200E, 0x200F),
    *range(0x202A, 0x202F),
    *range(0x2060, 0x2070),
    *(0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB),
)


def assigned() -> Iterator[int]:
    """Code points that can be assigned, surrogates left out."""
    yield from range(0xD800)
    yield from range(0xE000, 0x33480)
    yield from range(0xE0000, 0xE01F0)


class NormalizationTable(NamedTuple):
    """`action` per code point, and `target` for those that are mapped."""

    action: npt.NDArray[np.uint8]
    target: npt.NDArray[np.uint32]
    voiced: npt.NDArray[np.uint32]  # kana -> the same kana with dakuten, 0 where there is none
    semivoiced: npt.NDArray[np.uint32]  # likewise with handakuten


@functools.cache
def ja_safe_table() -> NormalizationTable:
    """The `ja-safe` profile as a table; see normalize.py for what it does and why."""
    action = np.full(NUM_CODE_POINTS, KEEP, np.uint8)
    target = np.arange(NUM_CODE_POINTS, dtype=np.uint32)
    voiced = np.zeros(NUM_CODE_POINTS, np.uint32)
    semivoiced = np.zeros(NUM_CODE_POINTS, np.uint32)

    def map_to(code: int, to: int) -> None:
        action[code], target[code] = MAP, to

    for code in assigned():
        char = chr(code)
        decomposition = unicodedata.decomposition(char)
        if decomposition and not decomposition.startswith("<"):
            parts = [int(p, 16) for p in decomposition.split()]
            if len(parts) == 2:
                if unicodedata.normalize("NFC", char) == char:
                    action[parts[1]] = COMPOSING  # may join what stands before it
                if parts[1] == 0x3099:
                    voiced[parts[0]] = code
                elif parts[1] == 0x309A:
                    semivoiced[parts[0]] = code
        if unicodedata.combining(char):
            action[code] = COMPOSING
        elif decomposition and not unicodedata.is_normalized("NFC", char):
            composed = unicodedata.normalize("NFC", char)
            if len(composed) == 1 and not unicodedata.combining(composed):
                map_to(code, ord(composed))
            else:
                action[code] = COMPOSING
    action[0x1161:0x1176] = COMPOSING  # Hangul vowels and final consonants join arithmetically
    action[0x11A8:0x11C3] = COMPOSING

    for code in (*range(0x20), *range(0x7F, 0xA0), *_INVISIBLE):
        action[code] = DROP
    action[[0x09, 0x0A]] = KEEP
    action[0x0D] = CARRIAGE_RETURN
    for code in (0x0B, 0x0C, 0x85, 0x2028, 0x2029):
        map_to(code, 0x0A)
    action[0x200D] = JOINER

    for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B)):
        map_to(code, code - 0xFEE0)  # full-width digits and letters; full-width punctuation stays
    for code in range(_HALF_KANA_FIRST, _HALF_KANA_LAST + 1):
        map_to(code, ord(unicodedata.normalize("NFKC", chr(code))))
    action[[HALF_DAKUTEN, HALF_HANDAKUTEN]] = VOICING
    target[[HALF_DAKUTEN, HALF_HANDAKUTEN]] = 0x309B, 0x309C  # standing alone: the spacing mark
    map_to(0xFF5E, 0x301C)  # one wave dash
    map_to(0x2581, 0x5F)  # ▁ is SentencePiece's space: kept, it would decode to a space
    return NormalizationTable(action, target, voiced, semivoiced)


class ShadowTable(NamedTuple):
    """NFKC of single code points: `first[c]` is the result, or, with the top bit set, start << 5 | length in `rest`."""

    first: npt.NDArray[np.uint32]
    rest: npt.NDArray[np.uint32]


EXPANDS = np.uint32(1 << 31)
LONGEST_FOLD = 8  # characters: of ㌔ 2, of ㍿ 4, of U+FDFB 8
CODES_PER_BYTE = 3  # at most: U+FDFB has three bytes


@functools.cache
def shadow_table() -> ShadowTable:
    """NFKC per code point, with 〜 and ～ both as ~, ⋯ as …; what is longer than LONGEST_FOLD stays."""
    first = np.arange(NUM_CODE_POINTS, dtype=np.uint32)
    rest: list[int] = []
    for code in assigned():
        char = chr(code)
        if code < 0xA0 or not unicodedata.decomposition(char):
            continue
        folded = [ord(c) for c in unicodedata.normalize("NFKC", char)]
        if len(folded) > LONGEST_FOLD:
            continue  # phrases such as U+FDFA: a megabyte of them would be six million characters
        if len(folded) == 1:
            first[code] = folded[0]
        else:
            first[code] = EXPANDS | np.uint32(len(rest) << 5 | len(folded))
            rest.extend(folded)
    first[0x301C] = first[0xFF5E] = ord("~")
    first[0x22EF] = first[0x2026]  # ⋯ is how Chinese keyboards, and many pages, write …
    first[0x1161:0x1176] = np.arange(0x1161, 0x1176)
    return ShadowTable(first, np.array(rest, np.uint32))


# In the fold table, beside EXPANDS: what ja-safe does with a character that has no shadow of its own, and that a
# character may join what stands before it.
SPECIAL, COMPOSES = np.uint32(1 << 30), np.uint32(1 << 29)
CONTROL = 7  # a SPECIAL beside DROP, CARRIAGE_RETURN, JOINER and VOICING: dropped, and counted


@functools.cache
def fold_table(shadow: bool = True) -> ShadowTable:
    """ja-safe and then the shadow table, per code point; without `shadow` ja-safe alone."""
    safe, (first, rest) = ja_safe_table(), shadow_table()
    first = first[safe.target] if shadow else safe.target.copy()
    first[safe.action == COMPOSING] |= COMPOSES
    for what in (DROP, CARRIAGE_RETURN, JOINER, VOICING):
        first[safe.action == what] = SPECIAL | np.uint32(what)
    controls = np.array([*range(0x20), *range(0x7F, 0xA0)])
    first[controls[safe.action[controls] == DROP]] = SPECIAL | np.uint32(CONTROL)
    return ShadowTable(first, rest)


@functools.cache
def class_table() -> npt.NDArray[np.uint8]:
    """The character class of every code point."""
    table = np.full(NUM_CODE_POINTS, OTHER, np.uint8)
    by_category = {"L": OTHER_LETTER, "M": OTHER_LETTER, "N": OTHER, "P": PUNCTUATION, "S": SYMBOL, "Z": SPACE}
    for code in assigned():
        category = unicodedata.category(chr(code))
        table[code] = DIGIT if category == "Nd" else by_category.get(category[0], OTHER)
        if category[0] == "L" and (code < 0x250 or 0x1E00 <= code < 0x1F00):
            table[code] = LATIN
    table[0x3041:0x3097] = table[0x309D:0x30A0] = HIRAGANA
    table[0x30A1:0x30FB] = table[0x30FC:0x3100] = table[0x31F0:0x3200] = KATAKANA  # ー (30FC) is katakana
    table[0x1B001] = table[0x1B11F] = table[0x1B150:0x1B153] = HIRAGANA
    table[0x1B000] = table[0x1B164:0x1B168] = KATAKANA
    table[[0x3005, 0x3007, 0x303B]] = KANJI  # 々 〇 〻
    for start, stop in ((0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x33480)):
        table[start:stop] = KANJI
    table[[0x09, 0x20, 0xA0, 0x3000]] = SPACE
    table[0x0A] = NEWLINE
    return table
