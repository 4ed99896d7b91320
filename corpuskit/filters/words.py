"""Words from lists: how much of a document is vocabulary of pornography, threats, insults, advertising or boilerplate.

The lists are rules/<lang>/words/<list>.yaml and say themselves how they are read. All of them are searched at once, by
one Aho-Corasick automaton over the shadow (A-Z as a-z). Of each list L:

    L_hits           its words found; one inside a longer one of the same list is not counted
    L_types          how many different words these are
    L_char_fraction  chars covered by them, each counted once / chars; 0 for a single hit

A word is not found where its first or last character is katakana (or Latin) and its neighbour is too, nor inside an
occurrence of one of the list's `not_inside`. No single hit decides, however short the document: the bounds are on types
(uzushio counts unique types) and on the fraction (Swallow, arXiv 2404.17733, ng_fraction), which it leaves at 0.
"""

from __future__ import annotations

import functools
from collections import deque
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from numba import njit

from corpuskit.config import Strict, UserError, data_dir, load_yaml, suggest
from corpuskit.text.shadow import Shadow, shadow_column
from corpuskit.text.tables import KATAKANA, LATIN, NEWLINE, NUM_CODE_POINTS, SPACE, class_table

LISTS = ("adult", "violence", "discrimination", "advertising", "boilerplate")
_WHITE, _ENDS = np.uint16(1 << 15), np.int32(1 << 30)
SIGNALS = tuple(f"{name}_{what}" for name in LISTS for what in ("hits", "types", "char_fraction"))


class Word(NamedTuple):
    """A word that was found: characters start to end of the shadow of a row."""

    row: int
    list: str
    word: str
    start: int
    end: int


class _List(Strict):
    name: str
    lang: str
    source: str
    words: tuple[str, ...]
    not_inside: tuple[str, ...] = ()


class _Automaton(NamedTuple):
    """Aho-Corasick, all failures resolved.

    Attributes:
        words: the patterns.
        symbols: code point -> column of `next`, 0 for one that is in no pattern; A-Z are a-z; _WHITE marks white space.
        next: (state, symbol) -> state, with _ENDS set where a pattern ends; state 0 is the root.
        found: state -> the first pattern that ends there, or -1; `also`: pattern -> the next one that ends there too.
        lists: pattern -> its list; `length`: of the pattern; `exempt`: whether it is a not_inside.
        edges: pattern -> class its left neighbour must not have (0: any), and its right one.
    """

    words: tuple[str, ...]
    symbols: npt.NDArray[np.uint16]
    next: npt.NDArray[np.int32]
    found: npt.NDArray[np.int32]
    also: npt.NDArray[np.int32]
    lists: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    exempt: npt.NDArray[np.bool_]
    edges: npt.NDArray[np.uint8]


def list_files(lang: str) -> list[Path]:
    """The word lists of a language, in the order of LISTS.

    Raises:
        UserError: the language has none.
    """
    folder = data_dir("rules") / lang / "words"
    files = [folder / f"{name}.yaml" for name in LISTS]
    if not lang.isidentifier() or not all(path.is_file() for path in files):
        known = {p.parent.parent.name for p in data_dir("rules").glob("*/words/*.yaml")}
        raise UserError(f"signals: lists: there are no word lists for {lang}{suggest(lang, known)}")
    return files


def measure_lists(shadow: Shadow, lang: str) -> npt.NDArray[np.float64]:
    """The signals of a batch of shadows: float64, one row a document, one column a name of SIGNALS."""
    return _search(shadow, _automaton(lang))[0]


def find_words(texts: pa.Array, lang: str) -> list[Word]:
    """The words of all lists that count in a string column, by row and place; for a look at one document."""
    shadow, known = shadow_column(texts), _automaton(lang)
    hits = _search(shadow, known)[1]
    found = []
    for row, start, end, pattern in hits.tolist():
        begin = int(shadow.offsets[row])
        found.append(Word(row, LISTS[known.lists[pattern]], known.words[pattern], start - begin, end - begin))
    return found


def _search(shadow: Shadow, known: _Automaton) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    return _measure(shadow.codes, shadow.offsets, class_table(), len(LISTS), *known[1:])


@functools.cache
def _automaton(lang: str) -> _Automaton:
    patterns: list[tuple[str, int, bool]] = []
    for number, path in enumerate(list_files(lang)):
        try:
            file = _List.model_validate(load_yaml(path))
        except ValueError as error:
            raise UserError(f"{path}: {str(error).splitlines()[0]}") from error
        words = list(dict.fromkeys(_fold(w) for w in file.words))
        exempt = list(dict.fromkeys(_fold(w) for w in file.not_inside))
        for word in exempt:
            if not any(w in word and w != word for w in words):
                raise UserError(f"{path}: not_inside: '{word}' holds none of the words")
        if any(not 1 < len(w) <= 64 for w in words + exempt):
            raise UserError(f"{path}: a word has 2 to 64 characters")
        patterns += [(w, number, False) for w in words] + [(w, number, True) for w in exempt]
    alphabet = sorted({c for word, _, _ in patterns for c in word})
    symbols = np.zeros(NUM_CODE_POINTS, np.uint16)
    for at, char in enumerate(alphabet, 1):
        symbols[ord(char)] = at
        if char.isascii():
            symbols[ord(char.upper())] = at

    children: list[dict[int, int]] = [{}]
    ends: list[list[int]] = [[]]
    for number, (word, _, _) in enumerate(patterns):
        state = 0
        for char in word:
            symbol = int(symbols[ord(char)])
            if symbol not in children[state]:
                children[state][symbol] = len(children)
                children.append({})
                ends.append([])
            state = children[state][symbol]
        ends[state].append(number)

    following = np.zeros((len(children), len(alphabet) + 1), np.int32)
    for symbol, child in children[0].items():
        following[0, symbol] = child
    fail = np.zeros(len(children), np.int32)
    found = np.full(len(children), -1, np.int32)
    also = np.full(len(patterns), -1, np.int32)
    waiting = deque([0])
    while waiting:
        state = waiting.popleft()
        if state:
            following[state] = following[fail[state]]
        # what ends here: its own patterns, then those of its longest suffix; a chain through `also`
        chain = int(found[fail[state]]) if state else -1
        for number in reversed(ends[state]):
            also[number], chain = chain, number
        found[state] = chain
        for symbol, child in sorted(children[state].items()):
            fail[child] = following[fail[state], symbol] if state else 0
            following[state, symbol] = child
            waiting.append(child)

    following[found[following] >= 0] |= _ENDS
    classes = class_table()
    symbols[(classes == SPACE) | (classes == NEWLINE)] |= _WHITE
    kinds = np.array([[classes[ord(w[0])], classes[ord(w[-1])]] for w, _, _ in patterns], np.uint8)
    kinds[~np.isin(kinds, (KATAKANA, LATIN))] = 0
    return _Automaton(
        tuple(w for w, _, _ in patterns),
        symbols,
        following,
        found,
        also,
        np.array([number for _, number, _ in patterns], np.int32),
        np.array([len(w) for w, _, _ in patterns], np.int32),
        np.array([e for _, _, e in patterns], np.bool_),
        kinds,
    )


def _fold(word: str) -> str:
    """A word as the shadow has it, A-Z as a-z."""
    text = shadow_column(pa.array([word], pa.string())).text(0)
    return "".join(c.lower() if c.isascii() else c for c in text)


@njit(cache=True, nogil=True)
def _measure(  # type: ignore[no-untyped-def]
    codes, offsets, classes, num_lists, symbols, following, found, also, lists, length, exempt, edges
):
    rows = len(offsets) - 1
    out = np.zeros((rows, 3 * num_lists), np.float64)
    hits = np.empty((1024, 4), np.int64)  # row, start, end, pattern
    counted = 0  # those that count, over all rows
    last_row = np.full(len(length), -1, np.int64)
    covered_to = np.empty(num_lists, np.int64)
    for row in range(rows):
        low, high = offsets[row], offsets[row + 1]
        n = counted
        state = 0
        chars = 0
        for i in range(low, high):
            symbol = symbols[codes[i]]
            chars += symbol < _WHITE
            state = following[state, symbol & ~_WHITE]
            if state < _ENDS:
                continue
            state &= ~_ENDS
            pattern = found[state]
            while pattern >= 0:
                start, end = i + 1 - length[pattern], i + 1
                left, right = edges[pattern, 0], edges[pattern, 1]
                apart = left == 0 or start == low or classes[codes[start - 1]] != left
                if apart and (right == 0 or end == high or classes[codes[end]] != right):
                    if n == len(hits):
                        more = np.empty((2 * n, 4), np.int64)
                        more[:n] = hits
                        hits = more
                    hits[n, 0], hits[n, 1], hits[n, 2], hits[n, 3] = row, start, end, pattern
                    n += 1
                pattern = also[pattern]
        begun = counted
        covered_to[:] = 0
        for k in range(begun, n):  # by end; what ends at the same place, the longest first
            pattern = hits[k, 3]
            if exempt[pattern] or _inside(hits, k, begun, n, lists, exempt, length):
                continue
            which = lists[pattern]
            out[row, 3 * which] += 1
            if last_row[pattern] != row:
                last_row[pattern] = row
                out[row, 3 * which + 1] += 1
            for i in range(max(hits[k, 1], covered_to[which]), hits[k, 2]):
                out[row, 3 * which + 2] += symbols[codes[i]] < _WHITE
            covered_to[which] = hits[k, 2]
            # marked, not moved: later hits of the row still ask about those before them
            hits[k, 3] = -1 - pattern
        for k in range(begun, n):
            if hits[k, 3] < 0:
                hits[counted, 0], hits[counted, 1], hits[counted, 2] = hits[k, 0], hits[k, 1], hits[k, 2]
                hits[counted, 3] = -1 - hits[k, 3]
                counted += 1
        for which in range(num_lists):
            if out[row, 3 * which] > 1:
                out[row, 3 * which + 2] /= chars
            else:
                out[row, 3 * which + 2] = 0
    return out, hits[:counted].copy()


@njit(cache=True, nogil=True)
def _inside(hits, k, low, high, lists, exempt, length):  # type: ignore[no-untyped-def]
    """Whether hit k lies inside a longer hit of its list, an exempt or a counting one."""
    start, end = hits[k, 1], hits[k, 2]
    which = lists[hits[k, 3]]
    at = k - 1
    while at >= low and hits[at, 2] == end:
        pattern = hits[at, 3] if hits[at, 3] >= 0 else -1 - hits[at, 3]
        if lists[pattern] == which and hits[at, 1] < start:
            return True
        at -= 1
    at = k + 1
    while at < high and hits[at, 2] - 64 <= start:
        if lists[hits[at, 3]] == which and hits[at, 1] <= start and hits[at, 2] - hits[at, 1] > end - start:
            return True
        at += 1
    return False
