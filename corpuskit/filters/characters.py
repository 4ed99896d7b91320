"""Signals of the family `characters`: what a text is written with. Definitions in signals.py."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import regex

from corpuskit.filters.chars import CLASS, Chars, trait_table, word_list
from corpuskit.text.buffers import room
from corpuskit.text.kernel import kernel
from corpuskit.text.normalize import encode_utf8
from corpuskit.text.tables import (
    DIGIT,
    HIRAGANA,
    KANJI,
    KATAKANA,
    LATIN,
    NUM_CODE_POINTS,
    OTHER_LETTER,
    PUNCTUATION,
    SYMBOL,
    class_table,
)

CHARACTERS = (
    "num_chars",
    "num_chars_with_spaces",
    "num_japanese_chars",  # hiragana, katakana (with ー) and kanji
    "japanese_per_char",
    "hiragana_per_char",
    "hiragana_per_japanese_char",
    "katakana_per_japanese_char",
    "kanji_per_japanese_char",
    # katakana is the kana of prose, as in old statutes, where ヲ is PROSE_WO of it or more; else it spells words
    "prose_kana_per_japanese_char",  # hiragana, and katakana where it is the kana of prose
    "katakana_word_per_japanese_char",  # katakana where it is not
    "foreign_kanji_per_kanji",  # kanji of the BMP that neither CP932 nor JIS X 0213 has: Chinese, wrong charsets
    "latin_per_char",
    "digit_per_char",
    "alphanumeric_per_char",  # letters of any script and digits
    "punctuation_per_char",
    "symbol_per_char",
    "emoji_per_char",  # shown as emoji by default, or by U+FE0F behind it
    "whitespace_per_char_with_spaces",
    "control_per_char",  # of the text as it was read: the shadow has none, and ja-safe takes them out
    "replacement_per_char",  # U+FFFD
    "mojibake_per_char",  # U+FFFD and the characters and pairs of rules/mojibake.txt
    "kana_in_first_50_chars",
    "longest_char_run",
    "longest_periodic_run",
    "char_entropy",
    "lz4_compression_ratio",
)

FIRST_CHARS = 50  # HojiChar AcceptJapanese(lookup_size=50)
LONGEST_PERIOD = 8
PROSE_WO = 0.015  # を is 0.03 to 0.04 of the hiragana of prose; ヲ was under 0.01 of the katakana of modern pages
_EMOJI, _MOJIBAKE, _PAIR, _FOREIGN = 1, 2, 4, 8  # _PAIR: the first of a mojibake pair
_WO = 0x30F2
_REPLACEMENT = 0xFFFD
_VARIATION_16 = 0xFE0F


def measure_characters(text: Chars) -> npt.NDArray[np.float64]:
    """The signals of CHARACTERS: one row a document, one column a signal."""
    flags, pairs = _marks()
    out = np.zeros((len(text.offsets) - 1, len(CHARACTERS)), np.float64)
    _characters(text.chars, text.char_offsets, text.codes, text.offsets, trait_table(), flags, pairs, out)
    out[:, CHARACTERS.index("control_per_char")] = text.controls / np.maximum(np.diff(text.char_offsets), 1)
    out[np.diff(text.char_offsets) == 0] = 0
    out[:, -1] = _compression_ratio(text)
    return out


def _compression_ratio(text: Chars) -> npt.NDArray[np.float64]:
    """LZ4 block over UTF-8 bytes of the shadow; 0 for a document without chars."""
    data = room(4 * len(text.codes) + 4, np.uint8)
    ends = _utf8(text.codes, text.offsets, data)
    buffer, codec = pa.py_buffer(data), pa.Codec("lz4_raw")
    sizes = np.diff(ends)
    packed = [
        codec.compress(buffer.slice(start, size)).size if size else 0
        for start, size in zip(ends.tolist(), sizes.tolist(), strict=False)
    ]
    ratio = np.array(packed, np.float64) / np.maximum(sizes, 1)
    return np.where(np.diff(text.char_offsets) > 0, ratio, 0.0)


@functools.cache
def _marks() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint64]]:
    """Flags of every code point, and the sorted mojibake pairs, first << 32 | second."""
    flags = np.zeros(NUM_CODE_POINTS, np.uint8)
    points = "".join(map(chr, (*range(0xD800), *range(0xE000, NUM_CODE_POINTS))))
    for char in regex.findall(r"\p{Emoji_Presentation}", points):
        flags[ord(char)] |= _EMOJI
    flags[_VARIATION_16] |= _EMOJI
    flags[_REPLACEMENT] |= _MOJIBAKE
    for code in np.flatnonzero(class_table() == KANJI).tolist():
        if not _in_japan(chr(code)):
            flags[code] |= _FOREIGN
    pairs = []
    for entry in word_list("mojibake.txt"):
        if len(entry) == 1:
            flags[ord(entry)] |= _MOJIBAKE
        else:
            flags[ord(entry[0])] |= _PAIR
            pairs.append(ord(entry[0]) << 32 | ord(entry[1]))
    return flags, np.array(sorted(pairs), np.uint64)


def _in_japan(kanji: str) -> bool:
    """Whether a Japanese character set has a kanji; those beyond the BMP count as had."""
    if not "\u3400" <= kanji < "\ua000":
        return True
    for charset in ("cp932", "euc_jis_2004"):
        with contextlib.suppress(UnicodeEncodeError):
            kanji.encode(charset)
            return True
    return False


@kernel
def _utf8(codes, offsets, out):  # type: ignore[no-untyped-def]
    ends = np.zeros(len(offsets), np.int64)
    o = 0
    for row in range(len(offsets) - 1):
        text = codes[offsets[row] : offsets[row + 1]]
        for i in range(len(text)):
            o = encode_utf8(text[i], out, o)
        ends[row + 1] = o
    return ends


@kernel
def _characters(chars, char_offsets, codes, offsets, traits, flags, pairs, out):  # type: ignore[no-untyped-def]
    counts = np.zeros(NUM_CODE_POINTS, np.int32)
    distinct = np.empty(NUM_CODE_POINTS + 1, np.int32)
    by_class = np.zeros(CLASS + 1, np.int64)
    for row in range(len(offsets) - 1):
        text = chars[char_offsets[row] : char_offsets[row + 1]]
        n = len(text)
        if n == 0:
            continue
        num_distinct = 0
        run = longest_run = 0
        previous = np.uint32(0xFFFFFFFF)
        for i in range(n):
            code = text[i]
            count = counts[code]
            distinct[num_distinct] = code  # without a branch, which could not be predicted
            num_distinct += count == 0
            counts[code] = count + 1
            run = run + 1 if code == previous else 1
            longest_run = max(longest_run, run)
            previous = code

        by_class[:] = 0
        emoji = mojibake = foreign = 0
        has_pairs = False
        surprise = 0.0
        for k in range(num_distinct):
            code = distinct[k]
            count = counts[code]
            by_class[traits[code] & CLASS] += count
            flag = flags[code]
            if flag:
                emoji += count * ((flag & _EMOJI) != 0)
                mojibake += count * ((flag & _MOJIBAKE) != 0)
                has_pairs |= (flag & _PAIR) != 0
                foreign += count * ((flag & _FOREIGN) != 0)
            surprise += count * np.log2(count)
        replacement, wo = counts[_REPLACEMENT], counts[_WO]
        for k in range(num_distinct):
            counts[distinct[k]] = 0
        if has_pairs:
            i = 0
            while i < n - 1:
                key = (np.uint64(text[i]) << np.uint64(32)) | np.uint64(text[i + 1])
                at = np.searchsorted(pairs, key)
                if at < len(pairs) and pairs[at] == key:
                    mojibake += 2
                    i += 1
                i += 1
        kana = 0
        for i in range(min(n, FIRST_CHARS)):
            kind = traits[text[i]] & CLASS
            kana += (kind == HIRAGANA) | (kind == KATAKANA)

        japanese = by_class[HIRAGANA] + by_class[KATAKANA] + by_class[KANJI]
        letters = japanese + by_class[LATIN] + by_class[OTHER_LETTER]
        with_spaces = offsets[row + 1] - offsets[row]
        result = out[row]
        result[0] = n
        result[1] = with_spaces
        result[2] = japanese
        result[3] = japanese / n
        result[4] = by_class[HIRAGANA] / n
        if japanese:
            result[5] = by_class[HIRAGANA] / japanese
            result[6] = by_class[KATAKANA] / japanese
            result[7] = by_class[KANJI] / japanese
            of_prose = by_class[KATAKANA] if wo > 0 and wo >= PROSE_WO * by_class[KATAKANA] else 0
            result[8] = (by_class[HIRAGANA] + of_prose) / japanese
            result[9] = (by_class[KATAKANA] - of_prose) / japanese
        result[10] = foreign / max(by_class[KANJI], 1)
        result[11] = by_class[LATIN] / n
        result[12] = by_class[DIGIT] / n
        result[13] = (letters + by_class[DIGIT]) / n
        result[14] = by_class[PUNCTUATION] / n
        result[15] = by_class[SYMBOL] / n
        result[16] = emoji / n
        result[17] = (with_spaces - n) / with_spaces
        result[19] = replacement / n
        result[20] = mojibake / n
        result[21] = kana
        result[22] = longest_run
        result[23] = _longest_periodic_run(text)
        result[24] = max(0.0, np.log2(n) - surprise / n)


@kernel
def _longest_periodic_run(chars):  # type: ignore[no-untyped-def]
    """The chars of the longest stretch that repeats a unit of 2 to LONGEST_PERIOD chars at least twice.

    A stretch longer than the best so far has more than `best - period` equal pairs in a row, so looking at one place in
    so many is enough to meet it.
    """
    n = len(chars)
    best = 0
    for period in range(2, LONGEST_PERIOD + 1):
        i = period
        while True:
            stride = max(period, best - period + 1)
            i = _next_equal(chars, i + stride - 1, stride, period)
            if i >= n:
                break
            first = i  # the first of the equal pairs around i
            while first > period and chars[first - 1] == chars[first - 1 - period]:
                first -= 1
            after = i + 1
            while after < n and chars[after] == chars[after - period]:
                after += 1
            length = after - first + period
            if length > best and after - first >= period:
                for k in range(first - period + 1, first):  # a run of one char is longest_char_run's
                    if chars[k] != chars[first - period]:
                        best = length
                        break
            i = after + 1  # chars[after] differs
    return best


@kernel
def _next_equal(chars, start, stride, period):  # type: ignore[no-untyped-def]
    """The first place from `start` on, in strides, whose char is that of `period` places before; or past the end."""
    i, end = np.uint64(start), np.uint64(len(chars))  # unsigned: no look at each index whether it is negative
    step, back = np.uint64(stride), np.uint64(period)
    while i < end and chars[i] != chars[i - back]:
        i += step
    return np.int64(i)
