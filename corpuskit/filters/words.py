"""Words from lists: how much of a document is vocabulary of pornography, threats, insults, advertising or boilerplate.

The lists are rules/<lang>/words/<list>.yaml and say themselves how they are read. All of them are searched at once, in
one trie that is entered wherever the first two characters of a word stand in the shadow (A-Z as a-z). Of each list L:

    L_hits           its words found; one inside a longer one of the same list is not counted
    L_types          how many different words these are
    L_char_fraction  chars covered by them, each counted once / chars; 0 for a single hit

A word is not found where its first or last character is katakana (or Latin) and its neighbour is too, nor inside an
occurrence of one of the list's `not_inside`. One of the `ambiguous` words, which medicine, courts and novels need as
well, is found only where `company` different others of its list stand in the document. No single hit decides, however
short the document: the bounds are on types (uzushio counts unique types) and on the fraction (Swallow, arXiv
2404.17733, ng_fraction), which it leaves at 0.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from corpuskit.config import Strict, UserError, data_dir, load_yaml, suggest
from corpuskit.text.buffers import longest_row
from corpuskit.text.kernel import kernel
from corpuskit.text.shadow import Shadow, shadow_column
from corpuskit.text.tables import KATAKANA, LATIN, NEWLINE, NUM_CODE_POINTS, SPACE, class_table

LISTS = ("adult", "violence", "discrimination", "advertising", "boilerplate")
_WHITE, _NUMBER = np.uint16(1 << 15), np.uint16((1 << 15) - 1)
_PAIR_BITS = 16
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
    ambiguous: tuple[str, ...] = ()
    company: int = Field(0, ge=0)
    not_inside: tuple[str, ...] = ()


class _Trie(NamedTuple):
    """The patterns of all lists.

    Attributes:
        words: the patterns.
        symbols: code point -> column of `next`, 0 for one that is in no pattern; A-Z are a-z; _WHITE marks white space.
        pairs: one bit for each hash of two symbols, set where a pattern begins with them.
        next: (node, symbol) -> node, 0 where no pattern goes on; node 0 is the root.
        found: node -> the first pattern that ends there, or -1; `also`: pattern -> the next one that ends there too.
        lists: pattern -> its list; `length`: of the pattern; `exempt`: whether it is a not_inside.
        company: pattern -> how many words that are not ambiguous it needs beside it.
        edges: pattern -> class its left neighbour must not have (0: any), and its right one.
    """

    words: tuple[str, ...]
    symbols: npt.NDArray[np.uint16]
    pairs: npt.NDArray[np.uint8]
    next: npt.NDArray[np.int32]
    found: npt.NDArray[np.int32]
    also: npt.NDArray[np.int32]
    lists: npt.NDArray[np.int32]
    length: npt.NDArray[np.int32]
    exempt: npt.NDArray[np.bool_]
    company: npt.NDArray[np.int32]
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
    return _search(shadow, _trie(lang))[0]


def find_words(texts: pa.Array, lang: str) -> list[Word]:
    """The words of all lists that count in a string column, by row and place: what `explain` names."""
    shadow, known = shadow_column(texts), _trie(lang)
    hits = _search(shadow, known)[1]
    found = []
    for row, start, end, pattern in hits.tolist():
        begin = int(shadow.offsets[row])
        found.append(Word(row, LISTS[known.lists[pattern]], known.words[pattern], start - begin, end - begin))
    return found


def _search(shadow: Shadow, known: _Trie) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    return _measure(shadow.codes, shadow.offsets, class_table(), len(LISTS), *known[1:])


@functools.cache
def _trie(lang: str) -> _Trie:
    patterns: list[tuple[str, int, bool]] = []
    company: list[int] = []
    for number, path in enumerate(list_files(lang)):
        try:
            file = _List.model_validate(load_yaml(path))
        except ValueError as error:
            raise UserError(f"{path}: {str(error).splitlines()[0]}") from error
        sure = {_fold(w) for w in file.words}
        words = list(dict.fromkeys(_fold(w) for w in (*file.words, *file.ambiguous)))
        exempt = list(dict.fromkeys(_fold(w) for w in file.not_inside))
        for word in exempt:
            if not any(w in word and w != word for w in words):
                raise UserError(f"{path}: not_inside: '{word}' holds none of the words")
        if any(not 1 < len(w) <= 64 for w in words + exempt):
            raise UserError(f"{path}: a word has 2 to 64 characters")
        patterns += [(w, number, False) for w in words] + [(w, number, True) for w in exempt]
        company += [0 if w in sure else file.company for w in words] + [0] * len(exempt)
    alphabet = sorted({c for word, _, _ in patterns for c in word})
    symbols = np.zeros(NUM_CODE_POINTS, np.uint16)
    for at, char in enumerate(alphabet, 1):
        symbols[ord(char)] = at
        if char.isascii():
            symbols[ord(char.upper())] = at

    children: list[dict[int, int]] = [{}]
    ends: list[list[int]] = [[]]
    for number, (word, _, _) in enumerate(patterns):
        node = 0
        for char in word:
            symbol = int(symbols[ord(char)])
            if symbol not in children[node]:
                children[node][symbol] = len(children)
                children.append({})
                ends.append([])
            node = children[node][symbol]
        ends[node].append(number)

    following = np.zeros((len(children), len(alphabet) + 1), np.int32)
    found = np.full(len(children), -1, np.int32)
    also = np.full(len(patterns), -1, np.int32)
    for node, below in enumerate(children):
        following[node, list(below)] = list(below.values())
        for number in reversed(ends[node]):
            also[number], found[node] = found[node], number

    classes = class_table()
    pairs = np.zeros(1 << _PAIR_BITS, np.uint8)
    pairs[[_pair(*(int(symbols[ord(c)]) for c in word[:2])) for word, _, _ in patterns]] = 1
    symbols[(classes == SPACE) | (classes == NEWLINE)] |= _WHITE
    kinds = np.array([[classes[ord(w[0])], classes[ord(w[-1])]] for w, _, _ in patterns], np.uint8)
    kinds[~np.isin(kinds, (KATAKANA, LATIN))] = 0
    return _Trie(
        tuple(w for w, _, _ in patterns),
        symbols,
        np.packbits(pairs, bitorder="little"),
        following,
        found,
        also,
        np.array([number for _, number, _ in patterns], np.int32),
        np.array([len(w) for w, _, _ in patterns], np.int32),
        np.array([e for _, _, e in patterns], np.bool_),
        np.array(company, np.int32),
        kinds,
    )


def _fold(word: str) -> str:
    """A word as the shadow has it, A-Z as a-z."""
    text = shadow_column(pa.array([word], pa.string())).text(0)
    return "".join(c.lower() if c.isascii() else c for c in text)


@kernel
def _pair(first, second):  # type: ignore[no-untyped-def]
    """The hash of two symbols, which are numbers from 0 on."""
    return (first * 40503 + second * 30011) & ((1 << _PAIR_BITS) - 1)


@kernel
def _measure(  # type: ignore[no-untyped-def]
    codes, offsets, classes, num_lists, symbols, pairs, following, found, also, lists, length, exempt, company, edges
):
    rows = len(offsets) - 1
    out = np.zeros((rows, 3 * num_lists), np.float64)
    hits = np.empty((1024, 4), np.int64)  # row, start, end, pattern
    counted = 0  # those that count, over all rows
    last_row = np.full(len(length), -1, np.int64)
    covered_to = np.empty(num_lists, np.int64)
    longest = longest_row(offsets)
    places = np.empty(longest + 1, np.uint32)  # in the row, of the second of two symbols that a pattern may begin with
    for row in range(rows):
        low, high = offsets[row], offsets[row + 1]
        text = codes[low:high]
        n = counted
        num_places = 0
        before = np.int64(0)
        for i in range(len(text)):  # without a branch: most of these pairs begin nothing, but many do
            symbol = np.int64(symbols[text[i]] & _NUMBER)
            pair = _pair(before, symbol)
            places[num_places] = i
            num_places += (pairs[pair >> 3] >> (pair & 7)) & 1
            before = symbol
        for at in range(num_places):
            i = low + np.int64(places[at]) - 1
            if i < low:  # symbol 0 before the first one
                continue
            node = following[following[0, symbols[codes[i]] & _NUMBER], symbols[codes[i + 1]] & _NUMBER]
            end = i + 2
            while node:
                pattern = found[node]
                while pattern >= 0:
                    left, right = edges[pattern, 0], edges[pattern, 1]
                    apart = left == 0 or i == low or classes[codes[i - 1]] != left
                    if apart and (right == 0 or end == high or classes[codes[end]] != right):
                        if n == len(hits):
                            more = np.empty((2 * n, 4), np.int64)
                            more[:n] = hits
                            hits = more
                        to = n  # in order of end, then of start; the ends of hits lie at most a word's length apart
                        while to > counted and hits[to - 1, 2] > end:
                            hits[to] = hits[to - 1]
                            to -= 1
                        hits[to, 0], hits[to, 1], hits[to, 2], hits[to, 3] = row, i, end, pattern
                        n += 1
                    pattern = also[pattern]
                if end == high:
                    break
                node = following[node, symbols[codes[end]] & _NUMBER]
                end += 1
        begun = counted
        covered_to[:] = 0
        for k in range(begun, n):  # by end; what ends at the same place, the longest first
            pattern = hits[k, 3]
            if exempt[pattern] or _inside(hits, k, begun, n, lists, exempt, length):
                continue
            # marked, not moved: later hits of the row still ask about those before them
            hits[k, 3] = -1 - pattern
            if company[pattern] == 0 and last_row[pattern] != row:
                last_row[pattern] = row
                out[row, 3 * lists[pattern] + 1] += 1
        for k in range(begun, n):
            pattern = -1 - hits[k, 3]
            if pattern < 0:
                continue
            which = lists[pattern]
            if out[row, 3 * which + 1] < company[pattern]:  # types so far: ambiguous ones only where there are enough
                continue
            out[row, 3 * which] += 1
            if last_row[pattern] != row:
                last_row[pattern] = row
                out[row, 3 * which + 1] += 1
            for i in range(max(hits[k, 1], covered_to[which]), hits[k, 2]):
                out[row, 3 * which + 2] += symbols[codes[i]] < _WHITE
            covered_to[which] = hits[k, 2]
            hits[counted, 0], hits[counted, 1], hits[counted, 2] = hits[k, 0], hits[k, 1], hits[k, 2]
            hits[counted, 3] = pattern
            counted += 1
        chars = 0
        if counted > begun:
            for i in range(low, high):
                chars += symbols[codes[i]] < _WHITE
        for which in range(num_lists):
            if out[row, 3 * which] > 1:
                out[row, 3 * which + 2] /= chars
            else:
                out[row, 3 * which + 2] = 0
    return out, hits[:counted].copy()


@kernel
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
