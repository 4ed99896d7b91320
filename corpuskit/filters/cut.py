"""Line-wise corrections: the lines of a web page that are not its text are cut out before anything is measured.

After RefinedWeb (arXiv 2306.01116, appendix G.2). What such lines are is data: rules/<lang>/lines.yaml, which explains
itself. Here it is read and compiled; line_kinds.py and cut_kernels.py hold the kernels. In this order: the shadow is
split into lines; the ends of lines (... 続きを読む) are taken off by patterns, on the few lines that end in one of
their words; what is left of each short line is looked up in one hash table of all phrases, numbers folded; patterns
decide on the lines that start or end with one of their words; then each document's lines are chosen by their company.

Decisions are made on the shadow, cuts on the stored text. Cutting is idempotent: in a corrected text nothing is cut.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import regex
from pydantic import Field

from corpuskit.config import Strict, UserError, data_dir, load_yaml, suggest
from corpuskit.filters import cut_kernels, line_kinds
from corpuskit.schema import CUT
from corpuskit.text.buffers import room, string_column, utf8_view
from corpuskit.text.shadow import Shadow, shadow_column
from corpuskit.text.tables import DIGIT, NEWLINE, PUNCTUATION, SPACE, SYMBOL, class_table

SIGNALS = (
    "cut_line_fraction",  # lines cut whole, over lines that are not blank
    "cut_char_fraction",  # characters cut, over characters, both without white space
)

PIECE = pa.schema([("row", pa.int64()), *list(CUT)[1:]])  # `row` of the column that was given, for the document's id

_TAIL_CHARS = 80  # how much of a line's end the patterns of end_of_line look at
_NUMBERS = ("5", "555", "2024", "1.5万", "5万", "1.5k", "5k")  # what {n} stands for, one sample of each shape
_WEEKDAYS = (*"月火水木金土日", "祝")
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DAYS_EN = (*_DAYS, *(d[:3] for d in _DAYS))
_LONG_MONTHS = ("january", "february", "march", "april", "june", "july", "august", "september", "october", "november")
_MONTHS = (*_LONG_MONTHS, "december", "may", *(m[:3] for m in _LONG_MONTHS), "sept", "dec")


class Cut(NamedTuple):
    """A corrected column.

    Attributes:
        texts: the texts without what was cut; the given column itself where nothing was.
        shadow: their shadows.
        signals: float64, one row a document, one column a name of SIGNALS.
        pieces: what was cut (PIECE), by row and position.
    """

    texts: pa.Array
    shadow: Shadow
    signals: npt.NDArray[np.float64]
    pieces: pa.RecordBatch


class _Rule(Strict):
    name: str = Field(pattern=r"^[a-z_]+$")
    where: Literal["anywhere", "among", "beside", "edge", "end_of_line"]
    source: str
    phrases: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    pattern: str | None = None


class _Breadcrumb(Strict):
    segment: int
    first: tuple[str, ...]


class _File(Strict):
    lang: str
    source: str
    longest: int = Field(le=200)
    one_word: int
    numbers: Literal["anywhere", "among"]
    upper_case: int
    breadcrumb: _Breadcrumb
    rules: tuple[_Rule, ...]


class _Vocabulary(NamedTuple):
    """A lines.yaml, compiled. Rules are numbered as in `names`."""

    names: tuple[str, ...]
    flags: npt.NDArray[np.uint8]
    table: tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]
    where: npt.NDArray[np.uint8]
    limits: npt.NDArray[np.int64]
    tails: npt.NDArray[np.uint32]
    starts: npt.NDArray[np.uint32]
    ends: npt.NDArray[np.uint32]
    tail_patterns: tuple[tuple[int, Any], ...]
    patterns: tuple[tuple[int, Any], ...]


def cut_column(texts: pa.Array, lines: str) -> Cut:
    """Cut the lines of a string column that rules/<lines>/lines.yaml names.

    Raises:
        UserError: no such language, or its file says something it may not.
        ValueError: not a string column without nulls.
    """
    known = vocabulary(lines)
    shadow = shadow_column(texts)
    codes, offsets = shadow.codes, shadow.offsets
    found = line_kinds.split_lines(codes, offsets, known.flags, known.tails)
    for at in np.flatnonzero(found.ends_like_a_tail):
        _take_tail(codes, found, int(at), known)
    line_kinds.classify(codes, found, known.flags, *known.table, known.where, known.limits, known.starts, known.ends)
    for at in np.flatnonzero(found.looks_like_a_pattern):
        _match(codes, found, int(at), known)
    signals, where, spans = cut_kernels.choose(shadow, found, known.flags)
    if len(spans) == 0:
        return Cut(texts, shadow, signals, pa.RecordBatch.from_pylist([], PIECE))
    data, byte_offsets = utf8_view(texts)
    chars = cut_kernels.to_characters(spans, shadow.offsets, shadow.origin, data, byte_offsets)
    size = int(byte_offsets[-1] - byte_offsets[0])
    kept, cut = room(size, np.uint8), room(size, np.uint8)
    kept_offsets, cut_offsets = cut_kernels.take_out(data, byte_offsets, chars, kept, cut)
    columns = [
        pa.array(chars[:, 0]),
        pa.array(where[:, 0]),
        pa.array(chars[:, 1]),
        pa.array(chars[:, 2]),
        pa.array(known.names, pa.string()).take(pa.array(where[:, 1])),
        string_column(cut[: cut_offsets[-1]].copy(), cut_offsets),
    ]
    rest, origin = room(len(codes), np.uint32), room(len(codes), np.uint32)
    ends = cut_kernels.take_out_of_shadow(codes, offsets, shadow.origin, spans, chars, rest, origin)
    corrected = Shadow(rest[: ends[-1]], ends, origin[: ends[-1]], shadow.controls)
    pieces = pa.RecordBatch.from_arrays(columns, schema=PIECE)
    return Cut(string_column(kept[: kept_offsets[-1]], kept_offsets), corrected, signals, pieces)


def _take_tail(codes: npt.NDArray[np.uint32], found: line_kinds.Lines, at: int, known: _Vocabulary) -> None:
    """Shorten a line by the ends that patterns of end_of_line take."""
    again = True
    while again:  # a tail may stand behind another
        again = False
        end = int(found.kept_to[at])
        start = max(int(found.start[at]), end - _TAIL_CHARS)
        text = _text(codes, start, end)
        for rule, pattern in known.tail_patterns:
            match = pattern.search(text)
            if match and match.start() > 0:
                found.kept_to[at] = start + len(text[: match.start()].rstrip())
                found.tail_rule[at] = rule
                again = True
                break


def _match(codes: npt.NDArray[np.uint32], found: line_kinds.Lines, at: int, known: _Vocabulary) -> None:
    """Let the patterns decide on a line."""
    start, end = int(found.start[at]), int(found.kept_to[at])
    if end - start <= line_kinds.PATTERN_CHARS:
        text = _text(codes, start, end).strip()
        for rule, pattern in known.patterns:
            if pattern.fullmatch(text):
                found.kind[at], found.rule[at] = known.where[rule], rule
                return


def _text(codes: npt.NDArray[np.uint32], start: int, end: int) -> str:
    lowered = codes[start:end].tobytes().decode("utf-32-le", "replace")
    return "".join(c.lower() if c.isascii() else c for c in lowered)


@functools.cache
def vocabulary(lines: str) -> _Vocabulary:
    """rules/<lines>/lines.yaml, compiled once a process.

    Raises:
        UserError: no such language, a field it may not have, a phrase twice, or a pattern that cannot be compiled.
    """
    path = lines_file(lines)
    data = load_yaml(path)
    try:
        file = _File.model_validate(data)
    except ValueError as error:
        raise UserError(f"{path}: {str(error).splitlines()[0]}: {str(error).splitlines()[1]}") from error
    rules = file.rules
    names = (*(r.name for r in rules), "breadcrumb", "one_word", "number", "upper_case")
    where = np.array([line_kinds.KINDS[r.where] for r in rules], np.uint8)
    first_flags = _flags()
    phrases = [(text, number) for number, rule in enumerate(rules) for p in rule.phrases for text in _samples(p)]
    homes = [(text, -1) for text in file.breadcrumb.first]
    hashes, first, beginnings = _hashes([text for text, _ in (*phrases, *homes)], first_flags)
    keys: dict[int, int] = {}
    for key, (text, number) in zip(hashes.tolist(), (*phrases, *homes), strict=True):
        if number < 0:
            keys[key] = keys.get(key, line_kinds.NO_RULE) | line_kinds.HOME
            continue
        other = keys.setdefault(key, number) & line_kinds.NO_RULE
        if other != number:
            raise UserError(f"{path}: '{text}' stands in {rules[other].name} and in {rules[number].name}")
        keys[key] |= line_kinds.SENTENCE if text.endswith((".", "。")) else 0
    limits = (
        file.longest,
        file.one_word,
        file.upper_case,
        file.breadcrumb.segment,
        file.numbers == "anywhere",
        len(rules),
    )
    tails = [(n, r) for n, r in enumerate(rules) if r.where == "end_of_line"]
    others = [(n, r) for n, r in enumerate(rules) if r.where != "end_of_line" and r.pattern]
    for key in beginnings:
        keys.setdefault(key, line_kinds.NO_RULE)
    starts = [chr(code) for code in first] + [w[0] for _, r in others for w in r.starts]
    flags = first_flags.copy()
    for chars, flag in ((starts, line_kinds.FIRST), ([w[-1] for r in rules for w in r.ends], line_kinds.LAST)):
        flags[[ord(c) for char in chars for c in {char, char.upper()} if len(c) == 1]] |= flag
    return _Vocabulary(
        names,
        flags,
        _table(keys),
        where,
        np.array(limits, np.int64),
        _words([w for _, r in tails for w in r.ends]),
        _words([w for _, r in others for w in r.starts]),
        _words([w for _, r in others for w in r.ends]),
        tuple((n, _compile(path, f"(?:{r.pattern})$")) for n, r in tails),
        tuple((n, _compile(path, r.pattern)) for n, r in others),
    )


def lines_file(lines: str) -> Path:
    """The file of a language's line-wise corrections.

    Raises:
        UserError: there is none.
    """
    path = data_dir("rules") / lines / "lines.yaml"
    if not lines.isidentifier() or not path.is_file():
        known = [p.parent.name for p in data_dir("rules").glob("*/lines.yaml")]
        raise UserError(f"lines: {lines}: there are no line-wise corrections of this name{suggest(lines, known)}")
    return path


def _compile(path: Path, pattern: str | None) -> Any:
    try:
        return regex.compile(pattern or "", regex.VERBOSE)
    except regex.error as error:
        raise UserError(f"{path}: pattern {str(pattern).strip()[:40]}: {error}") from error


def _samples(phrase: str) -> Iterator[str]:
    """A phrase with each {name} filled by each of its samples."""
    # the language of a date is that of its names: {month} stands in English phrases alone
    weekdays = _DAYS_EN if phrase.isascii() and "{month}" in phrase else _WEEKDAYS
    samples = {"{n}": _NUMBERS, "{year}": ("2024",), "{d}": ("5",), "{weekday}": weekdays, "{month}": _MONTHS}
    parts = regex.split(r"(\{\w+\})", phrase)
    for filled in itertools.product(*(samples.get(part, (part,)) for part in parts)):
        yield "".join(filled)


def _flags() -> npt.NDArray[np.uint8]:
    """What each code point is to the kernels, FIRST left out."""
    classes = class_table()
    flags = np.zeros(len(classes), np.uint8)
    margins = np.isin(classes, (PUNCTUATION, SYMBOL, SPACE, NEWLINE, 0))
    flags[~margins] |= line_kinds.CORE
    flags[classes == DIGIT] |= line_kinds.NUMERAL
    flags[(classes == SPACE) | (classes == NEWLINE)] |= line_kinds.WHITE
    for char in "。.!?、,」』)”:;":
        flags[ord(char)] |= line_kinds.STOP
    for char in "|#`<{}=~\\「『“":  # the last three begin a speech
        flags[ord(char)] |= line_kinds.MARKUP
    for char in "-*+・•>‣◦":
        flags[ord(char)] |= line_kinds.BULLET
    return flags


def _hashes(texts: Sequence[str], flags: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.uint64], list[int], list[int]]:
    """The hash of each phrase, the code points that phrases start with, and the hashes of their beginnings."""
    shadow = shadow_column(pa.array(texts, pa.string()))
    hashes, first, beginnings = line_kinds.hash_phrases(shadow.codes, shadow.offsets, flags)
    if not hashes.all():
        raise UserError(f"lines.yaml: '{texts[int(np.flatnonzero(hashes == 0)[0])]}' has no letter or digit")
    return hashes, np.unique(first).tolist(), np.unique(beginnings).tolist()


def _table(keys: dict[int, int]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int32]]:
    """An open-addressing table of hash -> value; an empty slot has key 0."""
    size = 1 << max(4, (4 * len(keys)).bit_length())
    slots, values = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    for key, value in sorted(keys.items()):
        slot = key & (size - 1)
        while slots[slot]:
            slot = (slot + 1) & (size - 1)
        slots[slot], values[slot] = key, value
    return slots, values


def _words(words: Sequence[str]) -> npt.NDArray[np.uint32]:
    """Words as rows of code points, padded with 0."""
    rows = np.zeros((len(words), max(map(len, words), default=0) + 1), np.uint32)
    for row, word in zip(rows, words, strict=True):
        row[: len(word)] = [ord(c) for c in word]
    return rows
