"""Signals of the family `lines`: lines, paragraphs and sentences. Definitions in signals.py."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from corpuskit.filters.chars import CLASS, CLOSES, ENDS, WHITE, Chars
from corpuskit.text.buffers import longest_row
from corpuskit.text.kernel import kernel
from corpuskit.text.tables import DIGIT, HIRAGANA, KATAKANA, LATIN, NEWLINE, NUM_CODE_POINTS, SPACE

LINES = (
    "num_lines",
    "mean_line_chars",
    "max_line_chars",
    "short_line_fraction",  # lines of at most 10 characters
    "line_under_30_fraction",
    "long_line_char_fraction",  # characters of lines longer than 1000, over characters of all lines
    "kanaless_line_fraction",
    "bullet_line_fraction",  # lines that start with a bullet which is not repeated
    "ellipsis_line_fraction",  # lines that end in ..., ・・・, 。。。 or 、、、
    "punctuated_line_fraction",  # lines that end in a sentence mark or a closing quotation mark or bracket
    "newline_per_char",
    "duplicate_line_fraction",  # lines that occurred before
    "duplicate_line_char_fraction",  # characters of lines that occurred before, over characters of all lines
    "num_paragraphs",
    "mean_paragraph_chars",
    "max_paragraph_chars",
    "duplicate_paragraph_fraction",
    "duplicate_paragraph_char_fraction",
    "num_sentences",
    "mean_sentence_chars",
    "mean_clause_chars",  # chars / (sentences and 、 and ,)
    "max_sentence_chars",
    "long_sentence_char_fraction",  # characters of sentences longer than 200
    "ellipsis_sentence_fraction",
    "duplicate_sentence_fraction",
    "duplicate_sentence_char_fraction",
)

SHORT_LINE = 10  # HojiChar DiscardTooShortLines, threshold 10
LINE_UNDER = 30  # FineWeb, Penedo et al. 2024 (arXiv 2406.17557), section 3.6
LONG_LINE = 1000
LONG_SENTENCE = 200  # Swallow v1 quality.py, max_sentence_length
# Gopher has • and - (arXiv 2112.11446, A.1.1); the others are what Japanese pages and Markdown use
BULLETS = "•-*‣▪●○◎■□◆◇▶►▷★☆・※"
ELLIPSES = ".・。、"  # … is ... in the shadow

_BULLET, _ELLIPSIS = 1, 2


def measure_lines(text: Chars) -> npt.NDArray[np.float64]:
    """The signals of LINES: one row a document, one column a signal."""
    out = np.zeros((len(text.offsets) - 1, len(LINES)), np.float64)
    _lines(text.codes, text.offsets, text.traits, text.char_offsets, _flags(), out)
    return out


@functools.cache
def _flags() -> npt.NDArray[np.uint8]:
    flags = np.zeros(NUM_CODE_POINTS, np.uint8)
    flags[[ord(c) for c in BULLETS]] |= _BULLET
    flags[[ord(c) for c in ELLIPSES]] |= _ELLIPSIS
    return flags


@kernel
def _duplicates(hashes, lengths, count, slots):  # type: ignore[no-untyped-def]
    """How many units occurred earlier, by hash, and their characters. `slots` has room for 4 * count + 8."""
    size = 8
    while size < 2 * count:
        size *= 2
    slots[:size] = -1
    mask = size - 1
    found = chars = 0
    for at in range(count):
        key = hashes[at]
        slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(20)) & mask
        while slots[slot] >= 0 and hashes[slots[slot]] != key:
            slot = (slot + 1) & mask
        if slots[slot] >= 0:
            found += 1
            chars += lengths[at]
        else:
            slots[slot] = at
    return found, chars


@kernel
def _ends_in_ellipsis(text, marks, last, flags):  # type: ignore[no-untyped-def]
    """Whether the last three chars up to `last`, which there are, are one ellipsis character."""
    if not flags[text[last]] & _ELLIPSIS:
        return False
    found, i = 1, last
    while found < 3:
        i -= 1
        if marks[i] & CLASS != SPACE:
            if text[i] != text[last]:
                return False
            found += 1
    return True


@kernel
def _repeated(text, marks, first, last):  # type: ignore[no-untyped-def]
    """Whether the next char of the line is the same as its first."""
    i = first + 1
    while i <= last and marks[i] & CLASS == SPACE:
        i += 1
    return i <= last and text[i] == text[first]


@kernel
def _lines(codes, offsets, traits, char_offsets, flags, out):  # type: ignore[no-untyped-def]
    longest = longest_row(offsets)
    line_hashes, line_lengths = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.int64)
    paragraph_hashes, paragraph_lengths = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.int64)
    sentence_hashes, sentence_lengths = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.int64)
    slots = np.empty(4 * longest + 8, np.int32)
    base = np.uint64(0x9E3779B97F4A7C15)

    for row in range(len(offsets) - 1):
        text, marks = codes[offsets[row] : offsets[row + 1]], traits[offsets[row] : offsets[row + 1]]
        end = len(text)
        n = char_offsets[row + 1] - char_offsets[row]
        if n == 0:
            continue
        newlines = num_lines = num_paragraphs = num_sentences = 0
        max_line = short = under_30 = long_chars = kanaless = bullets = ellipses = punctuated = 0
        commas = 0
        for i in range(end):
            commas += (text[i] == 0x3001) | (text[i] == 0x2C)
        max_paragraph = paragraph = max_sentence = long_sentence_chars = sentence_ellipses = 0
        line_chars = 0
        line_hash, sentence_hash, paragraph_hash = np.uint64(0), np.uint64(0), np.uint64(0)
        line_size = sentence = 0  # chars so far
        first = last = 0  # where the line's first and last char stand
        kinds = 0  # a bit for each class of char in the line
        i = 0
        while i <= end:  # once more at the end of the text, which ends a line as a line end does
            begin = i
            closing = False  # whether the last char may end a sentence
            while i < end and not (marks[i] & WHITE or closing):
                value = np.uint64(text[i]) + np.uint64(1)
                line_hash = line_hash * base + value
                sentence_hash = sentence_hash * base + value
                kinds |= 1 << np.int64(marks[i] & CLASS)
                closing = (marks[i] & ENDS) != 0
                i += 1
            if i > begin:
                first = first if line_size else begin
                last = i - 1
                line_size += i - begin
                sentence += i - begin
            following = marks[i] if i < end else np.uint8(NEWLINE)
            kind = following & CLASS
            if closing:
                if following & (ENDS | CLOSES):
                    continue
                if text[last] == 0x2E:
                    # neither in 3．14 nor in URLs and names
                    if kind == LATIN:
                        continue
                    if kind == DIGIT and last > 0 and marks[last - 1] & CLASS == DIGIT:
                        continue
            else:
                i += 1
                if kind == SPACE:
                    continue
            if sentence:
                sentence_hashes[num_sentences], sentence_lengths[num_sentences] = sentence_hash, sentence
                num_sentences += 1
                max_sentence = max(max_sentence, sentence)
                if sentence > LONG_SENTENCE:
                    long_sentence_chars += sentence
                sentence_ellipses += sentence > 2 and _ends_in_ellipsis(text, marks, last, flags)
                sentence, sentence_hash = 0, np.uint64(0)
            if closing:
                continue
            newlines += i <= end
            if line_size:
                length = last - first + 1
                line_hashes[num_lines], line_lengths[num_lines] = line_hash, length
                num_lines += 1
                line_chars += length
                max_line = max(max_line, length)
                short += length <= SHORT_LINE
                under_30 += length < LINE_UNDER
                long_chars += length if length > LONG_LINE else 0
                kanaless += not kinds & (1 << HIRAGANA | 1 << KATAKANA)
                bullets += (flags[text[first]] & _BULLET) != 0 and not _repeated(text, marks, first, last)
                ellipses += line_size > 2 and _ends_in_ellipsis(text, marks, last, flags)
                punctuated += (marks[last] & (ENDS | CLOSES)) != 0
                paragraph += length
                paragraph_hash = (paragraph_hash ^ line_hash) * base + np.uint64(1)
            if paragraph and (line_size == 0 or i > end):
                paragraph_hashes[num_paragraphs], paragraph_lengths[num_paragraphs] = paragraph_hash, paragraph
                num_paragraphs += 1
                max_paragraph = max(max_paragraph, paragraph)
                paragraph, paragraph_hash = 0, np.uint64(0)
            line_hash, line_size, kinds = np.uint64(0), 0, 0

        duplicate_lines, duplicate_line_chars = _duplicates(line_hashes, line_lengths, num_lines, slots)
        duplicate_paragraphs, duplicate_paragraph_chars = _duplicates(
            paragraph_hashes, paragraph_lengths, num_paragraphs, slots
        )
        duplicate_sentences, duplicate_sentence_chars = _duplicates(
            sentence_hashes, sentence_lengths, num_sentences, slots
        )
        result = out[row]
        result[0] = num_lines
        result[1] = line_chars / num_lines
        result[2] = max_line
        result[3] = short / num_lines
        result[4] = under_30 / num_lines
        result[5] = long_chars / line_chars
        result[6] = kanaless / num_lines
        result[7] = bullets / num_lines
        result[8] = ellipses / num_lines
        result[9] = punctuated / num_lines
        result[10] = newlines / n
        result[11] = duplicate_lines / num_lines
        result[12] = duplicate_line_chars / line_chars
        result[13] = num_paragraphs
        result[14] = line_chars / num_paragraphs
        result[15] = max_paragraph
        result[16] = duplicate_paragraphs / num_paragraphs
        result[17] = duplicate_paragraph_chars / line_chars
        result[18] = num_sentences
        result[19] = n / num_sentences
        result[20] = n / (num_sentences + commas)
        result[21] = max_sentence
        result[22] = long_sentence_chars / n
        result[23] = sentence_ellipses / num_sentences
        result[24] = duplicate_sentences / num_sentences
        result[25] = duplicate_sentence_chars / n
