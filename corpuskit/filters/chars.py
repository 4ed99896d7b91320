"""What every signal kernel reads: the shadow, a trait of each of its characters, and its `chars` alone.

A char is a character that is no white space. A trait is one byte: the character class in the low four bits, and flags.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.config import data_dir
from corpuskit.text.buffers import CodePoints, Positions, room
from corpuskit.text.kernel import kernel
from corpuskit.text.shadow import Shadow, shadow_column
from corpuskit.text.tables import DIGIT, HIRAGANA, KANJI, KATAKANA, LATIN, NEWLINE, OTHER_LETTER, SPACE, class_table

CLASS = 15
# ends a sentence; closes a quotation or bracket; a letter or digit; white space
ENDS, CLOSES, WORD, WHITE = 16, 32, 64, 128

ENDING = "。.!?"  # ． ！ ？ are . ! ? in the shadow
CLOSING = "」』)]\"'”’】〉》"  # ） is ) in the shadow


class Chars(NamedTuple):
    """A batch of documents as the kernels see it.

    Attributes:
        codes, offsets: the shadow; row i is codes[offsets[i]:offsets[i + 1]].
        traits: one for each code.
        chars, char_offsets: the codes that are no white space, laid out the same way.
        controls: how many control characters each text had.
    """

    codes: CodePoints
    offsets: Positions
    traits: npt.NDArray[np.uint8]
    chars: CodePoints
    char_offsets: Positions
    controls: Positions


def read_chars(shadow: Shadow) -> Chars:
    """The characters of a batch of shadows."""
    traits, chars = room(len(shadow.codes), np.uint8), room(len(shadow.codes), np.uint32)
    char_offsets = _read(shadow.codes, shadow.offsets, trait_table(), traits, chars)
    return Chars(shadow.codes, shadow.offsets, traits, chars[: char_offsets[-1]], char_offsets, shadow.controls)


@functools.cache
def trait_table() -> npt.NDArray[np.uint8]:
    """The trait of every code point."""
    table = class_table().copy()
    letters = np.isin(table, (HIRAGANA, KATAKANA, KANJI, LATIN, DIGIT, OTHER_LETTER))
    table[letters] |= WORD
    table[np.isin(table, (SPACE, NEWLINE))] |= WHITE
    for char in ENDING:
        table[ord(char)] |= ENDS
    for char in CLOSING:
        table[ord(char)] |= CLOSES
    return table


def word_list(name: str) -> list[str]:
    """The entries of a list under rules/, as the shadow spells them: parted by white space, # starts a comment line."""
    lines = (data_dir("rules") / name).read_text(encoding="utf-8").splitlines()
    entries = [entry for line in lines if not line.startswith("#") for entry in line.split()]
    shadow = shadow_column(pa.array(entries, pa.string()))
    return [shadow.text(row) for row in range(len(entries))]


@kernel
def _read(codes, offsets, table, traits, chars):  # type: ignore[no-untyped-def]
    char_offsets = np.zeros(len(offsets), np.int64)
    n = 0
    for row in range(len(offsets) - 1):
        text, marks = codes[offsets[row] : offsets[row + 1]], traits[offsets[row] : offsets[row + 1]]
        for i in range(len(text)):
            trait = table[text[i]]
            marks[i] = trait
            chars[n] = text[i]
            n += not trait & WHITE
        char_offsets[row + 1] = n
    return char_offsets
