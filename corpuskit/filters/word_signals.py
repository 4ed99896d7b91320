"""Signals of the families `words` and `word_repetition`, meant for spaced languages. Definitions in signals.py."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpuskit.filters.chars import CLASS, WORD, Chars, word_list
from corpuskit.filters.repetition import repetition_of
from corpuskit.text.buffers import Positions
from corpuskit.text.kernel import kernel
from corpuskit.text.tables import DIGIT, NEWLINE, SPACE

WORDS = (
    "num_words",
    "mean_word_chars",
    "alphabetic_word_fraction",  # words that hold a letter
    "num_stop_words",  # how many different words of rules/en/stop_words.txt occur
    "hash_per_word",
    "ellipsis_per_word",
    "mean_words_per_line",
    "newline_per_word",
    "curly_brackets_per_char",
    "lorem_ipsum",
)
WORD_REPETITION = (
    *(f"top_{n}word_char_fraction" for n in (2, 3, 4)),
    *(f"duplicate_{n}word_char_fraction" for n in range(5, 11)),
)


class Words(NamedTuple):
    """The words of a batch, one after the other.

    Attributes:
        hashes: of the letters and digits of a word, A to Z as a to z.
        cores: how many these are.
        chars: how many chars the word has, with punctuation.
        alphabetic: whether it holds a letter.
        offsets: row i has the words offsets[i] to offsets[i + 1].
    """

    hashes: npt.NDArray[np.uint64]
    cores: npt.NDArray[np.int32]
    chars: npt.NDArray[np.int32]
    alphabetic: npt.NDArray[np.bool_]
    offsets: Positions


def read_words(text: Chars) -> Words:
    """The words of a batch of documents."""
    return Words(*_split(text.codes, text.offsets, text.traits))


def measure_words(text: Chars, words: Words) -> npt.NDArray[np.float64]:
    """The signals of WORDS: one row a document, one column a signal."""
    out = np.zeros((len(text.offsets) - 1, len(WORDS)), np.float64)
    stop_words = np.array([_word_hash(w) for w in word_list("en/stop_words.txt")], np.uint64)
    lorem_ipsum = np.array([_word_hash(w) for w in ("lorem", "ipsum")], np.uint64)
    _words(text.codes, text.offsets, text.traits, text.char_offsets, *words, stop_words, lorem_ipsum, out)
    return out


def measure_word_repetition(words: Words) -> npt.NDArray[np.float64]:
    """The signals of WORD_REPETITION: one row a document, one column a signal."""
    out = np.zeros((len(words.offsets) - 1, len(WORD_REPETITION)), np.float64)
    _, symbols = np.unique(words.hashes, return_inverse=True)
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(words.cores, dtype=np.int64)])
    repetition_of(symbols.astype(np.uint32), words.offsets, ends, True, out)
    return out


def _word_hash(word: str) -> int:
    value = 0
    for char in word:
        value = (value * 0x9E3779B97F4A7C15 + ord(char) + 1) & 0xFFFFFFFFFFFFFFFF
    return value


@kernel
def _split(codes, offsets, traits):  # type: ignore[no-untyped-def]
    most = len(codes) // 2 + len(offsets) + 1
    hashes, cores, chars = np.empty(most, np.uint64), np.empty(most, np.int32), np.empty(most, np.int32)
    alphabetic = np.empty(most, np.bool_)
    word_offsets = np.zeros(len(offsets), np.int64)
    base = np.uint64(0x9E3779B97F4A7C15)
    n = 0
    for row in range(len(offsets) - 1):
        word, core, length, letter = np.uint64(0), 0, 0, False
        for i in range(offsets[row], offsets[row + 1] + 1):
            trait = traits[i] if i < offsets[row + 1] else np.uint8(NEWLINE)
            kind = trait & CLASS
            if kind in (SPACE, NEWLINE):
                if core:
                    hashes[n], cores[n], chars[n], alphabetic[n] = word, core, length, letter
                    n += 1
                word, core, length, letter = np.uint64(0), 0, 0, False
                continue
            length += 1
            if trait & WORD:
                code = codes[i]
                lower = code + np.uint32(32) if 0x41 <= code <= 0x5A else code
                word = word * base + np.uint64(lower) + np.uint64(1)
                core += 1
                letter |= kind != DIGIT
        word_offsets[row + 1] = n
    return hashes[:n], cores[:n], chars[:n], alphabetic[:n], word_offsets


@kernel
def _words(  # type: ignore[no-untyped-def]
    codes, offsets, traits, char_offsets, hashes, cores, chars, alphabetic, word_offsets, stop_words, lorem_ipsum, out
):
    found = np.zeros(len(stop_words), np.bool_)
    for row in range(len(offsets) - 1):
        n = char_offsets[row + 1] - char_offsets[row]
        if n == 0:
            continue
        hash_marks = ellipses = brackets = newlines = lines = dots = 0
        in_line = False
        for i in range(offsets[row], offsets[row + 1]):
            code = codes[i]
            kind = traits[i] & CLASS
            if kind == NEWLINE:
                newlines += 1
                in_line = False
            elif kind != SPACE and not in_line:
                lines += 1
                in_line = True
            if code == 0x2E:
                dots += 1
                if dots == 3:
                    ellipses += 1
                    dots = 0
            else:
                dots = 0
            hash_marks += code == 0x23
            brackets += (code == 0x7B) | (code == 0x7D)
        first, last = word_offsets[row], word_offsets[row + 1]
        words = last - first
        result = out[row]
        result[8] = brackets / n
        if words == 0:
            continue
        found[:] = False
        word_chars = letters = placeholders = 0
        for w in range(first, last):
            word_chars += chars[w]
            letters += alphabetic[w]
            for k in range(len(stop_words)):
                found[k] |= stop_words[k] == hashes[w]
            if w + 1 < last and hashes[w] == lorem_ipsum[0] and hashes[w + 1] == lorem_ipsum[1]:
                placeholders += 1
        result[0] = words
        result[1] = word_chars / words
        result[2] = letters / words
        result[3] = found.sum()
        result[4] = hash_marks / words
        result[5] = ellipses / words
        result[6] = words / lines
        result[7] = newlines / words
        result[9] = placeholders
