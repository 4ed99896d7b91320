"""Measure: one pass over the shadow of each document gives all heuristic signals, family by family.

Each signal is named after what it divides. `char` means a non-white-space character of the shadow. Definitions:

    line        text between line ends, blank lines left out; its length counts every character but the margins; two
                lines are the same when they differ in white space alone
    paragraph   lines in a row with no blank line between them; its length is that of its lines
    sentence    text up to 。．！？!? or a line end; the marks that end it count to its length. ．does not end one
                between digits (3．14) or before a Latin letter (example.jp), no mark does before another mark or before
                a closing 」』）"
    duplicate_{line,paragraph,sentence}_fraction   those that already occurred earlier / all: the first copy is not
                counted; ..._char_fraction: their characters / characters of all
    ellipsis    three or more of . ・ 。 、 in a row at the end (… and ⋯ are ... in the shadow)
    top_Ngram_char_fraction        count of the most frequent character N-gram x N / chars, at most 1; copies may
                                   overlap; 0 if it occurs once
    duplicate_Ngram_char_fraction  chars covered by an N-gram that already occurred earlier, each counted once / chars;
                                   the first copy is not counted, so text repeated k times gives about (k - 1) / k
    frequent_5gram_fraction        occurrences of the most frequent 5-grams / all 5-grams; of as many as the square root
                                   of how many different ones there are, those that occur once left out (BigScience
                                   data-preparation, character repetition)
    word        a maximal run without white space that holds a letter or digit (meant for spaced languages)
    top_Nword_, duplicate_Nword_char_fraction   the same on words, which are equal when their letters and digits are,
                A-Z as a-z; in characters of these letters and digits; of equally frequent N-grams the longest counts
    longest_periodic_run   chars of the longest stretch that repeats a unit of 2 to 8 chars, not all the same, at least
                twice; the last copy may be cut short
    char_entropy           Shannon entropy of the chars, bits
    lz4_compression_ratio  size of one LZ4 block / size, of the UTF-8 bytes of the shadow

N-grams run over the chars or words in reading order, across lines. The families and most bounds come from Gopher (Rae
et al. 2021, arXiv 2112.11446, table A1), redefined on characters because Japanese has no spaces.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from corpuskit.filters.characters import CHARACTERS, measure_characters
from corpuskit.filters.chars import read_chars
from corpuskit.filters.lines import LINES, measure_lines
from corpuskit.filters.repetition import REPETITION, measure_repetition
from corpuskit.filters.word_signals import (
    WORD_REPETITION,
    WORDS,
    measure_word_repetition,
    measure_words,
    read_words,
)
from corpuskit.text.shadow import Shadow

FAMILIES: dict[str, tuple[str, ...]] = {
    "characters": CHARACTERS,
    "lines": LINES,
    "repetition": REPETITION,
    "words": WORDS,
    "word_repetition": WORD_REPETITION,
}
# of the shadow alone; lists (words.py) and url (urls.py) need a language and the URLs, and are measured beside them
SIGNALS = tuple(name for names in FAMILIES.values() for name in names)


def signals_of(families: Sequence[str]) -> tuple[str, ...]:
    """The signals of these families, in the order of the columns of `measure`."""
    return tuple(name for family in families for name in FAMILIES[family])


def measure(shadow: Shadow, families: Sequence[str] = tuple(FAMILIES)) -> npt.NDArray[np.float64]:
    """The signals of a batch of shadows: float64, one row a document, one column a name of signals_of(families).

    An empty document measures 0 everywhere.
    """
    text = read_chars(shadow)
    words = read_words(text) if {"words", "word_repetition"} & set(families) else None
    columns = []
    for family in families:
        if family == "characters":
            columns.append(measure_characters(text))
        elif family == "lines":
            columns.append(measure_lines(text))
        elif family == "repetition":
            columns.append(measure_repetition(text))
        elif family == "words" and words:
            columns.append(measure_words(text, words))
        elif family == "word_repetition" and words:
            columns.append(measure_word_repetition(words))
        else:
            raise KeyError(family)
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(shadow.offsets) - 1, 0))


def column(signals: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.float64]:
    """One signal of a batch measured with all families, by name."""
    return signals[:, SIGNALS.index(name)]
