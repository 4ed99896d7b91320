"""From texts to MinHash band keys, and to the shingle sets behind them, by compiled kernels.

In this order: matching shadow, shingles, sketch, band keys. Nothing is decided here; see cluster.py.

matching shadow   the shadow (NFKC code point by code point), casefolded, without white space, punctuation, symbols and
                  invisible characters. Digits stay. Dakuten are never stripped: は, ば and ぱ differ, while カ + U+3099
                  (what NFKC makes of ｶﾞ) is composed to ガ, so half-width and full-width kana match.
words             for languages that put spaces between words: the matching shadow as a row of words, each a 64-bit
                  hash. A word ends at white space, punctuation and symbols, but not at an apostrophe (don't is dont);
                  a kana or kanji is a word of its own.
shingle           `ngram` characters or words of the matching shadow in a row, as a 64-bit polynomial hash. A shorter
                  text is one shingle, the whole of it; an empty one has none.
sketch            `bands * rows_per_band` minima. P(two sketches agree in one place) = Jaccard of the shingle sets.
band key          a 64-bit hash of the `rows_per_band` minima of one band.

The sketch is the Fast Similarity Sketch of Dahlgaard, Knudsen and Thorup (FOCS 2017, arXiv 1704.04370): in round i each
shingle is thrown by a hash of its own for that round into one of k bins, a bin keeps its smallest (round, hash), and
the rounds end when no bin is empty; from round k on all shingles go to bin i - k, so they do end. It is unbiased, its
variance is at most that of k independent MinHashes, it needs no densification, and a text of n shingles costs about
n + k log k hashes in place of n * k. That holds as far as the hash is random, which is why each round mixes 64 bits:
affine functions modulo 2^32 had a standard deviation about 10% over theory (tests/dedup/test_minhash.py has ours).
"""

from __future__ import annotations

import functools
import unicodedata
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.config import Dedup
from corpuskit.text.buffers import CodePoints, Positions, longest_row, utf8_view
from corpuskit.text.kernel import kernel
from corpuskit.text.normalize import decode_utf8
from corpuskit.text.tables import (
    CODES_PER_BYTE,
    EXPANDS,
    HIRAGANA,
    KANJI,
    KATAKANA,
    NEWLINE,
    PUNCTUATION,
    SPACE,
    SYMBOL,
    ShadowTable,
    assigned,
    class_table,
    ja_safe_table,
    shadow_table,
)

Keys = npt.NDArray[np.uint64]
Unit = Literal["characters", "words"]  # what a shingle is made of

_NOT_MATCHED = (SPACE, NEWLINE, PUNCTUATION, SYMBOL)
_VARIATION_SELECTORS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_EMPTY = np.uint64(0xFFFFFFFFFFFFFFFF)
_BREAK = ord(" ")  # between words; the matching shadow itself has no white space
_APOSTROPHES = "'\u2018\u2019"  # these stand inside words, and where they quote one there is white space beside them


class Matching(NamedTuple):
    """Matching shadows of a column of texts, one after the other: row i is codes[offsets[i]:offsets[i + 1]].

    A code is a code point, or the hash of a word.
    """

    codes: CodePoints | Keys
    offsets: Positions

    def text(self, row: int) -> str:
        """The matching shadow of one row as a str, where codes are code points."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-32-le", "replace")


class Sets(NamedTuple):
    """Shingle sets, one after the other: the distinct shingles of row i are values[offsets[i]:offsets[i + 1]]."""

    values: Keys
    offsets: Positions


@functools.cache
def matching_table(unit: Unit = "characters") -> ShadowTable:
    """What each code point becomes in the matching shadow, laid out as the shadow's table; length 0 drops it.

    For words, what ends a word becomes a space.
    """
    shadow, classes = shadow_table(), class_table()
    first = shadow.first.copy()
    rest: list[int] = []
    for code in assigned():
        start, length = code, 1
        if shadow.first[code] & EXPANDS:
            start, length = int(shadow.first[code] & ~EXPANDS) >> 5, int(shadow.first[code]) & 31
            folded = "".join(map(chr, shadow.rest[start : start + length]))
        else:
            folded = chr(shadow.first[code])
        result = [ord(c) for c in folded.casefold() if classes[ord(c)] not in _NOT_MATCHED and not _invisible(c)]
        if unit == "words" and not result:
            ends = [c.isspace() or (classes[ord(c)] in _NOT_MATCHED and c not in _APOSTROPHES) for c in folded]
            result = [_BREAK] * any(ends)
        if len(result) == 1:
            first[code] = result[0]
        else:
            assert len(result) <= CODES_PER_BYTE * len(chr(code).encode())
            first[code] = EXPANDS | np.uint32(len(rest) << 5 | len(result))
            rest.extend(result)
    return ShadowTable(first, np.array(rest, np.uint32))


def _invisible(char: str) -> bool:
    """Controls, format characters and variation selectors: they do not show, so they do not tell texts apart."""
    return unicodedata.category(char) in ("Cc", "Cf") or ord(char) in _VARIATION_SELECTORS


def matching_column(texts: pa.Array, unit: Unit = "characters") -> Matching:
    """The matching shadows of a string column, as code points or as hashes of words (see the top of this file)."""
    table, kana = matching_table(unit), ja_safe_table()
    data, places = utf8_view(texts)
    codes = np.empty(CODES_PER_BYTE * int(places[-1] - places[0]), np.uint32)  # pages never written to cost nothing
    offsets = _matching(data, places, table.first, table.rest, kana.voiced, kana.semivoiced, codes)
    codes = codes[: offsets[-1]]
    if unit == "characters":
        return Matching(codes, offsets)
    words = np.empty(len(codes), np.uint64)
    offsets = _words(codes, offsets, _unspaced(), words)
    return Matching(words[: offsets[-1]], offsets)


@functools.cache
def _unspaced() -> npt.NDArray[np.bool_]:
    """Which code points belong to scripts without spaces between words: kana and kanji."""
    return np.isin(class_table(), (HIRAGANA, KATAKANA, KANJI))


def empty_column(rows: int) -> Matching:
    """The matching shadows of so many texts that nobody asks for."""
    return Matching(np.empty(0, np.uint32), np.zeros(rows + 1, np.int64))


def band_keys(matching: Matching, params: Dedup) -> Keys:
    """The LSH keys of a batch: uint64, one row a document, one column a band.

    Two documents are candidates when they share a key in the same column. The keys of an empty matching shadow are 0
    and mean nothing.
    """
    keys = np.zeros((len(matching.offsets) - 1, params.bands), np.uint64)
    _band_keys(matching.codes, matching.offsets, params.ngram, params.rows_per_band, keys)
    return keys


def signatures(matching: Matching, ngram: int, size: int) -> Keys:
    """The sketches of a batch: uint64, one row a document, `size` columns; all ones where a document has no shingle."""
    out = np.empty((len(matching.offsets) - 1, size), np.uint64)
    _signatures(matching.codes, matching.offsets, ngram, out)
    return out


def shingle_sets(matching: Matching, ngram: int) -> Sets:
    """The distinct shingles of each document of a batch.

    They are 64-bit hashes: that two documents of 1,000 characters hold different shingles with the same hash has a
    probability near 10^-13.
    """
    return Sets(*_shingle_sets(matching.codes, matching.offsets, ngram))


def candidate_probability(jaccard: float, params: Dedup) -> float:
    """P(two documents of this Jaccard share a band key) = 1 - (1 - s^rows_per_band)^bands."""
    return float(1 - (1 - jaccard**params.rows_per_band) ** params.bands)


@kernel
def _matching(data, offsets, first, rest, voiced, semivoiced, codes):  # type: ignore[no-untyped-def]
    rows = len(offsets) - 1
    ends = np.zeros(rows + 1, np.int64)
    o = 0
    for row in range(rows):
        i, end, start = offsets[row], offsets[row + 1], o
        while i < end:
            code, i = decode_utf8(data, i)
            folded = first[code]
            if folded & EXPANDS:
                at = np.int64((folded & ~EXPANDS) >> np.uint32(5))
                for k in range(np.int64(folded & np.uint32(31))):
                    codes[o] = rest[at + k]
                    o += 1
                continue
            if folded == 0x3099 and o > start and voiced[codes[o - 1]]:
                codes[o - 1] = voiced[codes[o - 1]]
            elif folded == 0x309A and o > start and semivoiced[codes[o - 1]]:
                codes[o - 1] = semivoiced[codes[o - 1]]
            else:
                codes[o] = folded
                o += 1
        ends[row + 1] = o
    return ends


@kernel
def mix64(x):  # type: ignore[no-untyped-def]
    """degski's mix: a bijection of 64 bits in which every input bit moves every output bit."""
    x ^= x >> np.uint64(32)
    x *= np.uint64(0xD6E8FEB86659FD93)
    x ^= x >> np.uint64(32)
    x *= np.uint64(0xD6E8FEB86659FD93)
    return x ^ (x >> np.uint64(32))


@kernel
def _words(codes, offsets, unspaced, words):  # type: ignore[no-untyped-def]
    """Rows of code points with breaks as rows of words, each the mixed polynomial hash of its code points."""
    base = np.uint64(0x9E3779B97F4A7C15)
    ends = np.zeros(len(offsets), np.int64)
    o = 0
    for row in range(len(offsets) - 1):
        word = np.uint64(0)  # no word has this: its first code adds one
        for i in range(offsets[row], offsets[row + 1]):
            code = codes[i]
            alone = unspaced[code]
            if word and (alone or code == _BREAK):
                words[o] = mix64(word)
                o += 1
                word = np.uint64(0)
            if alone:
                words[o] = mix64(np.uint64(code) + np.uint64(1))
                o += 1
            elif code != _BREAK:
                word = word * base + np.uint64(code) + np.uint64(1)
        if word:
            words[o] = mix64(word)
            o += 1
        ends[row + 1] = o
    return ends


@kernel
def _shingles(codes, start, end, ngram, out):  # type: ignore[no-untyped-def]
    """Write the shingles of codes[start:end] in order, repetitions too; returns how many."""
    base = np.uint64(0x9E3779B97F4A7C15)
    lead = np.uint64(1)
    for _ in range(ngram):
        lead *= base
    key = np.uint64(0)
    head = min(end, start + ngram)
    for i in range(start, head):
        key = key * base + np.uint64(codes[i]) + np.uint64(1)
    if head == start:
        return 0
    out[0] = key
    for i in range(head, end):
        key = key * base + np.uint64(codes[i]) + np.uint64(1) - lead * (np.uint64(codes[i - ngram]) + np.uint64(1))
        out[i - head + 1] = key
    return end - head + 1


@kernel
def _sketch(shingles, n, sketch):  # type: ignore[no-untyped-def]
    """Fill the sketch of a non-empty shingle set: (round << 40 | hash) of the least shingle of each bin."""
    size = len(sketch)
    low = np.uint64((1 << 40) - 1)
    sketch[:] = _EMPTY
    empty = size
    for turn in range(2 * size):
        seed = mix64(np.uint64(turn) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x2545F4914F6CDD1D))
        stamp = np.uint64(turn) << np.uint64(40)
        if turn < size:
            for i in range(n):
                h = mix64(shingles[i] ^ seed)
                place = np.int64(((h >> np.uint64(32)) * np.uint64(size)) >> np.uint64(32))
                value = stamp | (h & low)
                if value < sketch[place]:
                    empty -= sketch[place] == _EMPTY
                    sketch[place] = value
        elif sketch[turn - size] == _EMPTY:
            for i in range(n):
                value = stamp | (mix64(shingles[i] ^ seed) & low)
                sketch[turn - size] = min(sketch[turn - size], value)
            empty -= 1
        if empty == 0:
            break


@kernel
def _signatures(codes, offsets, ngram, out):  # type: ignore[no-untyped-def]
    shingles = np.empty(longest_row(offsets) + 1, np.uint64)
    for row in range(len(offsets) - 1):
        n = _shingles(codes, offsets[row], offsets[row + 1], ngram, shingles)
        if n:
            _sketch(shingles, n, out[row])
        else:
            out[row] = _EMPTY


@kernel
def _band_keys(codes, offsets, ngram, rows_per_band, keys):  # type: ignore[no-untyped-def]
    shingles = np.empty(longest_row(offsets) + 1, np.uint64)
    sketch = np.empty(keys.shape[1] * rows_per_band, np.uint64)
    for row in range(len(offsets) - 1):
        n = _shingles(codes, offsets[row], offsets[row + 1], ngram, shingles)
        if n == 0:
            continue
        _sketch(shingles, n, sketch)
        for band in range(keys.shape[1]):
            key = np.uint64(0)
            for i in range(band * rows_per_band, (band + 1) * rows_per_band):
                key = mix64(key + sketch[i])
            keys[row, band] = key


@kernel
def table_size(n: int) -> int:
    """Slots for n keys: a power of two, at most half full."""
    size = 64
    while size < 2 * n:
        size *= 2
    return size


@kernel
def find_slot(keys, stamps, stamp, key):  # type: ignore[no-untyped-def]
    """The slot of a key in an open-addressing table; a slot is empty when its stamp is old."""
    mask = len(keys) - 1
    slot = np.int64(mix64(key) >> np.uint64(1)) & mask
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@kernel
def _shingle_sets(codes, offsets, ngram):  # type: ignore[no-untyped-def]
    rows = len(offsets) - 1
    longest = longest_row(offsets)
    shingles = np.empty(longest + 1, np.uint64)
    size = table_size(longest + 1)
    keys, stamps = np.empty(size, np.uint64), np.zeros(size, np.uint32)
    values = np.empty(len(codes) + rows, np.uint64)
    ends = np.zeros(rows + 1, np.int64)
    o = 0
    for row in range(rows):
        n = _shingles(codes, offsets[row], offsets[row + 1], ngram, shingles)
        # a table of its own size for each document keeps short documents inside the cache
        small = table_size(n)
        small_keys, small_stamps, stamp = keys[:small], stamps[:small], np.uint32(row + 1)
        for i in range(n):
            slot = find_slot(small_keys, small_stamps, stamp, shingles[i])
            if small_stamps[slot] != stamp:
                small_keys[slot], small_stamps[slot] = shingles[i], stamp
                values[o] = shingles[i]
                o += 1
        ends[row + 1] = o
    return values[:o].copy(), ends
