"""Measure: one pass over the shadow of each document gives all heuristic signals.

Each signal is named after what it divides. `char` means a non-white-space character of the shadow. Definitions:

    line        text between line ends, blank lines left out; its length counts every character but the margins; two
                lines are the same when they differ in white space alone
    sentence    text up to 。．！？!? or a line end; the marks that end it count to its length. ．does not end one
                between digits (3．14) or before a Latin letter (example.jp), no mark does before another mark or before
                a closing 」』）"
    top_Ngram_char_fraction        count of the most frequent character N-gram x N / chars; 0 if it occurs once
    duplicate_Ngram_char_fraction  chars covered by an N-gram that already occurred earlier, each counted once / chars;
                                   the first copy is not counted, so text repeated k times gives about (k - 1) / k
    word        a maximal run without white space that holds a letter or digit (meant for spaced languages)

N-grams run over the chars in reading order, across lines. The families and most bounds come from Gopher (Rae et al.
2021, arXiv 2112.11446, table A1), redefined on characters because Japanese has no spaces.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from corpuskit.config import data_dir
from corpuskit.text.shadow import Shadow
from corpuskit.text.tables import (
    DIGIT,
    HIRAGANA,
    KANJI,
    KATAKANA,
    LATIN,
    NEWLINE,
    OTHER_LETTER,
    SPACE,
    SYMBOL,
    class_table,
)

SIGNALS = (
    "num_chars",
    "num_japanese_chars",  # hiragana, katakana (with ー) and kanji
    "japanese_per_char",
    "hiragana_per_japanese_char",
    "katakana_per_japanese_char",
    "latin_per_char",
    "digit_per_char",
    "alphanumeric_per_char",  # letters of any script and digits
    "symbol_per_char",
    "mojibake_per_char",  # U+FFFD and the kanji of rules/mojibake.txt
    "longest_char_run",
    "num_lines",
    "mean_line_chars",
    "max_line_chars",
    "short_line_fraction",  # lines of at most 10 characters
    "duplicate_line_char_fraction",  # characters of lines that occurred before, over characters of all lines
    "ellipsis_line_fraction",  # lines that end in ..., ・・・ or 。。。
    "punctuated_line_fraction",  # lines that end in a sentence mark or a closing quotation mark or bracket
    "num_sentences",
    "mean_sentence_chars",
    "long_sentence_char_fraction",  # characters of sentences longer than 200
    "duplicate_sentence_char_fraction",  # likewise, on sentences
    "top_2gram_char_fraction",
    "top_3gram_char_fraction",
    "top_4gram_char_fraction",
    "duplicate_5gram_char_fraction",
    "duplicate_10gram_char_fraction",
    "num_words",
    "mean_word_chars",
    "alphabetic_word_fraction",  # words that hold a letter
    "num_stop_words",  # how many different words of rules/en/stop_words.txt occur
)

SHORT_LINE = 10
LONG_SENTENCE = 200
_TOP = (2, 3, 4)
_DUPLICATE = (5, 10)

# flags beside the class of a code point
_ENDS_SENTENCE, _CLOSES, _MOJIBAKE = 1, 2, 4


def measure(shadow: Shadow) -> npt.NDArray[np.float64]:
    """All signals of a batch of shadows: float64, one row a document, one column a name of SIGNALS.

    An empty document measures 0 everywhere.
    """
    stop_words = np.array(sorted(_word_hash(w) for w in _list("en/stop_words.txt")), np.uint64)
    out = np.zeros((len(shadow.offsets) - 1, len(SIGNALS)), np.float64)
    _measure(shadow.codes, shadow.offsets, class_table(), _flag_table(), stop_words, out)
    return out


def column(signals: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    """One signal of a measured batch, by name."""
    return signals[:, SIGNALS.index(name)]


@functools.cache
def _flag_table() -> npt.NDArray[np.uint8]:
    table = np.zeros(len(class_table()), np.uint8)
    for char in "。.!?":  # ． ！ ？ are . ! ? in the shadow
        table[ord(char)] |= _ENDS_SENTENCE
    for char in "」』)]）\"'”’】〉》":
        table[ord(char)] |= _CLOSES
    for char in ["\ufffd", *_list("mojibake.txt")]:
        table[ord(char)] |= _MOJIBAKE
    return table


def _list(name: str) -> Sequence[str]:
    """The entries of a word list under rules/: one a line, # starts a comment."""
    lines = (data_dir("rules") / name).read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _word_hash(word: str) -> int:
    value = 0
    for char in word:
        value = (value * 0x100000001B3 + ord(char) + 1) & 0xFFFFFFFFFFFFFFFF
    return value


@njit(cache=True, nogil=True)
def _slot(keys, stamps, stamp, key):  # type: ignore[no-untyped-def]
    """The slot of a key in an open-addressing table; a slot is empty when its stamp is old."""
    mask = len(keys) - 1
    slot = np.int64((key ^ (key >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(20)) & mask
    while stamps[slot] == stamp and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(cache=True, nogil=True)
def _measure(codes, offsets, classes, flags, stop_words, out):  # type: ignore[no-untyped-def]
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    size = 64
    while size < 2 * longest + 2:
        size *= 2
    keys = np.empty(size, np.uint64)
    stamps = np.zeros(size, np.uint32)
    counts = np.zeros(size, np.int32)
    chars = np.empty(longest + 1, np.uint32)
    by_class = np.zeros(16, np.int64)
    stamp = np.uint32(0)
    base = np.uint64(0x100000001B3)

    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        if start == end:
            continue
        # a table of its own size for each document keeps short documents inside the cache
        wanted = 64
        while wanted < 2 * (end - start) + 2:
            wanted *= 2
        table_keys, table_stamps, table_counts = keys[:wanted], stamps[:wanted], counts[:wanted]
        by_class[:] = 0
        n = 0  # chars
        run = longest_run = mojibake = 0
        previous = np.uint32(0)
        stamp += np.uint32(1)

        num_lines = line_chars = max_line = short_lines = duplicate_line_chars = ellipsis_lines = punctuated_lines = 0
        line_hash, line_length, line_margin = np.uint64(0), 0, 0  # margin: white space seen since the last char
        num_sentences = sentence_chars = long_sentence_chars = duplicate_sentence_chars = sentence = 0
        sentence_hash = np.uint64(0)
        last1 = last2 = last3 = np.uint32(0)  # the last chars of the line
        num_words = word_chars = alphabetic_words = found_stop_words = 0
        word_hash, word_length, word_has_letter, word_counts = np.uint64(0), 0, False, False
        seen_stop = np.uint64(0)

        for i in range(start, end + 1):
            code = codes[i] if i < end else np.uint32(10)
            kind = classes[code] if i < end else np.uint8(NEWLINE)
            # words end at any white space
            if kind in (SPACE, NEWLINE):
                if word_counts:
                    num_words += 1
                    word_chars += word_length
                    alphabetic_words += word_has_letter
                    for k in range(len(stop_words)):
                        if stop_words[k] == word_hash and not (seen_stop >> np.uint64(k)) & np.uint64(1):
                            seen_stop |= np.uint64(1) << np.uint64(k)
                            found_stop_words += 1
                word_hash, word_length, word_has_letter, word_counts = np.uint64(0), 0, False, False
            sentence_ends = kind == NEWLINE
            if kind == NEWLINE:
                if line_length:
                    num_lines += 1
                    line_chars += line_length
                    max_line = max(max_line, line_length)
                    short_lines += line_length <= SHORT_LINE
                    if last1 == last2 and last2 == last3 and (last1 == 0x2E or last1 == 0x30FB or last1 == 0x3002):
                        ellipsis_lines += 1
                    if flags[last1] & (_ENDS_SENTENCE | _CLOSES):
                        punctuated_lines += 1
                    slot = _slot(table_keys, table_stamps, stamp, line_hash)
                    if table_stamps[slot] == stamp:
                        duplicate_line_chars += line_length
                    else:
                        table_keys[slot], table_stamps[slot] = line_hash, stamp
                line_hash, line_length, line_margin = np.uint64(0), 0, 0
                last1 = last2 = last3 = np.uint32(0)
            elif kind == SPACE:
                if line_length:
                    line_margin += 1
            else:
                chars[n] = code
                n += 1
                by_class[kind] += 1
                flag = flags[code]
                if flag & _MOJIBAKE:
                    mojibake += 1
                run = run + 1 if code == previous else 1
                longest_run = max(longest_run, run)
                previous = code
                line_length += 1 + line_margin
                line_margin = 0
                line_hash = line_hash * base + np.uint64(code) + np.uint64(1)
                last3, last2, last1 = last2, last1, code
                sentence += 1
                sentence_hash = sentence_hash * base + np.uint64(code) + np.uint64(1)
                if flag & _ENDS_SENTENCE:
                    following = codes[i + 1] if i + 1 < end else np.uint32(10)
                    between_digits = (
                        code == 0x2E and i > start and classes[codes[i - 1]] == DIGIT and classes[following] == DIGIT
                    )
                    # a Latin full stop ends a sentence only before white space: no ends inside URLs and names
                    inside_word = code == 0x2E and classes[following] == LATIN
                    sentence_ends = not (between_digits or inside_word or flags[following] & (_ENDS_SENTENCE | _CLOSES))
                lower = code + np.uint32(32) if 0x41 <= code <= 0x5A else code
                if kind in (LATIN, DIGIT, OTHER_LETTER) or (kind <= KANJI and kind != 0):
                    word_counts = True
                    word_hash = word_hash * base + np.uint64(lower) + np.uint64(1)
                    if kind != DIGIT:
                        word_has_letter = True
                word_length += 1
            if sentence_ends and sentence:
                num_sentences += 1
                sentence_chars += sentence
                if sentence > LONG_SENTENCE:
                    long_sentence_chars += sentence
                # the same stamp, another key: a line that is one sentence must not count as its own repetition
                slot = _slot(table_keys, table_stamps, stamp, ~sentence_hash)
                if table_stamps[slot] == stamp:
                    duplicate_sentence_chars += sentence
                else:
                    table_keys[slot], table_stamps[slot] = ~sentence_hash, stamp
                sentence, sentence_hash = 0, np.uint64(0)

        if n == 0:
            continue
        japanese = by_class[HIRAGANA] + by_class[KATAKANA] + by_class[KANJI]
        letters = japanese + by_class[LATIN] + by_class[OTHER_LETTER]
        result = out[row]
        result[0] = n
        result[1] = japanese
        result[2] = japanese / n
        if japanese:
            result[3] = by_class[HIRAGANA] / japanese
            result[4] = by_class[KATAKANA] / japanese
        result[5] = by_class[LATIN] / n
        result[6] = by_class[DIGIT] / n
        result[7] = (letters + by_class[DIGIT]) / n
        result[8] = by_class[SYMBOL] / n
        result[9] = mojibake / n
        result[10] = longest_run
        result[11] = num_lines
        result[12] = line_chars / num_lines
        result[13] = max_line
        result[14] = short_lines / num_lines
        result[15] = duplicate_line_chars / line_chars
        result[16] = ellipsis_lines / num_lines
        result[17] = punctuated_lines / num_lines
        result[18] = num_sentences
        result[19] = sentence_chars / num_sentences
        result[20] = long_sentence_chars / sentence_chars
        result[21] = duplicate_sentence_chars / sentence_chars

        at = 22
        for k in range(len(_TOP)):
            stamp += np.uint32(1)
            result[at] = _top_ngram(chars, n, _TOP[k], table_keys, table_stamps, table_counts, stamp)
            at += 1
        for k in range(len(_DUPLICATE)):
            stamp += np.uint32(1)
            result[at] = _duplicate_ngram(chars, n, _DUPLICATE[k], table_keys, table_stamps, stamp)
            at += 1
        result[27] = num_words
        if num_words:
            result[28] = word_chars / num_words
            result[29] = alphabetic_words / num_words
        result[30] = found_stop_words


@njit(cache=True, nogil=True)
def _top_ngram(chars, n, size, keys, stamps, counts, stamp):  # type: ignore[no-untyped-def]
    best = 1
    key = np.uint64(0)
    mask = np.uint64((1 << (size * 16)) - 1) if size < 4 else np.uint64(0xFFFFFFFFFFFFFFFF)
    for i in range(n):
        # 16 bits a char: code points beyond the BMP share keys with others, which counts too much once in a blue moon
        key = ((key << np.uint64(16)) | np.uint64(chars[i] & np.uint32(0xFFFF))) & mask
        if i < size - 1:
            continue
        slot = _slot(keys, stamps, stamp, key)
        if stamps[slot] == stamp:
            counts[slot] += 1
            best = max(best, counts[slot])
        else:
            keys[slot], stamps[slot], counts[slot] = key, stamp, 1
    return min(1.0, best * size / n) if best > 1 else 0.0


@njit(cache=True, nogil=True)
def _duplicate_ngram(chars, n, size, keys, stamps, stamp):  # type: ignore[no-untyped-def]
    base = np.uint64(0x9E3779B97F4A7C15)
    lead = np.uint64(1)
    for _ in range(size - 1):
        lead *= base
    key = np.uint64(0)
    covered, covered_to = 0, 0
    for i in range(n):
        if i >= size:
            key -= lead * (np.uint64(chars[i - size]) + np.uint64(1))
        key = key * base + np.uint64(chars[i]) + np.uint64(1)
        if i < size - 1:
            continue
        slot = _slot(keys, stamps, stamp, key)
        if stamps[slot] == stamp:
            first = max(covered_to, i - size + 1)
            covered += i + 1 - first
            covered_to = i + 1
        else:
            keys[slot], stamps[slot] = key, stamp
    return covered / n
