"""The compiled part of the line-wise corrections that looks: lines, and what each of them is, by itself alone.

One hash table holds all phrases of a language, numbers folded to their shape; a line is boilerplate if it is made of
phrases and numbers only. See rules/ja/lines.yaml for the kinds and cut.py for the order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpuskit.text.kernel import kernel

# What a code point is.
CORE, NUMERAL, WHITE, STOP, MARKUP, BULLET, FIRST, LAST = 1, 2, 4, 8, 16, 32, 64, 128

# What a line is, the later the surer. TEXT is never cut whole; those before EDGE only beside others, and of these UPPER
# counts as one of the lines that make a row.
BLANK, TEXT, COMPANY, NUMBERS, BESIDE, UPPER, EDGE, AMONG, ANYWHERE = range(9)
KINDS = {"anywhere": ANYWHERE, "among": AMONG, "beside": BESIDE, "edge": EDGE, "end_of_line": TEXT}

# Values of the phrase table: a rule's number, whether the phrase can begin a breadcrumb, and whether it is a sentence.
HOME, SENTENCE, NO_RULE = 1 << 16, 1 << 17, (1 << 16) - 1

IN_ONE_LINE = 3  # phrases of `among` in one line that make it go anywhere
PATTERN_CHARS = 160  # a longer line is not matched by a pattern
_PHRASE_CHARS = 48
_PROBE = 24  # how far white space and marks at a line's end are skipped
_BASE = np.uint64(0x100000001B3)
# the numbers of a phrase: four digits of a year, one or two digits, others; private code points
_YEAR, _FEW, _MANY = np.uint64(0xE000), np.uint64(0xE001), np.uint64(0xE002)


class Lines(NamedTuple):
    """The lines of a batch; blank lines that follow each other are one.

    Attributes:
        row: the document; `number`: the line in it.
        first, start, end, stop: places in shadow.codes: the line, its text, the text's end, the next line.
        kept_to: where the text ends without its tail; `tail_rule`: the rule that took it, or -1.
        kind, rule: what the line is, and by which rule.
    """

    row: npt.NDArray[np.int32]
    number: npt.NDArray[np.int32]
    first: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    end: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]
    kept_to: npt.NDArray[np.int32]
    tail_rule: npt.NDArray[np.int32]
    kind: npt.NDArray[np.uint8]
    rule: npt.NDArray[np.int32]
    fixed: npt.NDArray[np.bool_]  # code, markup, a table: not looked at
    item: npt.NDArray[np.bool_]  # of a list: never cut whole
    ends_like_a_tail: npt.NDArray[np.bool_]
    looks_like_a_pattern: npt.NDArray[np.bool_]


@kernel
def _lower(code):  # type: ignore[no-untyped-def]
    return code + np.uint32(32) if 0x41 <= code <= 0x5A else code


@kernel
def _starts(codes, start, end, words):  # type: ignore[no-untyped-def]
    for k in range(len(words)):
        n = 0
        while words[k, n] and start + n < end and _lower(codes[start + n]) == words[k, n]:
            n += 1
        if words[k, n] == 0:
            return True
    return False


@kernel
def _ends(codes, start, end, words, flags):  # type: ignore[no-untyped-def]
    """Whether the text ends in one of the words, marks after it left out (or taken in, for a word that ends in one)."""
    last = end
    for _ in range(_PROBE):
        flag = flags[codes[last - 1]]
        if flag & LAST:
            for k in range(len(words)):
                n = 0
                while words[k, n]:
                    n += 1
                at = n
                while at and last - n + at > start and _lower(codes[last - n + at - 1]) == words[k, at - 1]:
                    at -= 1
                if at == 0:
                    return True
        if flag & CORE or last - 1 <= start:
            return False
        last -= 1
    return False


def split_lines(
    codes: npt.NDArray[np.uint32],
    offsets: npt.NDArray[np.int64],
    flags: npt.NDArray[np.uint8],
    tails: npt.NDArray[np.uint32],
) -> Lines:
    """The lines of a batch of shadows, none classified yet, and which of them end in a word of `tails`."""
    return Lines(*_split_lines(codes, offsets, flags, tails))


@kernel
def _split_lines(codes, offsets, flags, tails):  # type: ignore[no-untyped-def]
    rows = len(offsets) - 1
    size = rows
    for i in range(len(codes)):
        size += codes[i] == 10
    row, number = np.empty(size, np.int32), np.empty(size, np.int32)
    first, stop = np.empty(size, np.int32), np.empty(size, np.int32)
    start, end = np.empty(size, np.int32), np.empty(size, np.int32)
    fixed, item, tail = np.zeros(size, np.bool_), np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    kind = np.zeros(size, np.uint8)
    at = 0
    for r in range(rows):
        i, row_end, line, fence = offsets[r], offsets[r + 1], 0, np.uint32(0)
        row_first = at
        while True:
            begin = i
            while i < row_end and codes[i] != 10:
                i += 1
            low, high = begin, i
            while low < high and flags[codes[low]] & WHITE:
                low += 1
            while high > low and flags[codes[high - 1]] & WHITE:
                high -= 1
            line += 1
            i += 1
            if high == low and at > row_first and kind[at - 1] == BLANK:
                stop[at - 1] = min(i, row_end)
                if i > row_end:
                    break
                continue
            row[at], number[at], first[at], start[at], end[at] = r, line - 1, begin, low, high
            stop[at] = min(i, row_end)
            if high > low:
                kind[at] = TEXT
                mark = codes[low]
                fenced = (mark == 0x60 or mark == 0x7E) and high - low >= 3
                fenced = fenced and codes[low + 1] == mark and codes[low + 2] == mark
                indented = low - begin >= 4 or codes[begin] == 9
                fixed[at] = fenced or fence != 0 or indented or flags[mark] & MARKUP != 0
                if fenced and (fence == 0 or fence == mark):
                    fence = mark if fence == 0 else np.uint32(0)
                item[at] = _is_item(codes, low, high, flags)
                if not fixed[at] and len(tails):
                    tail[at] = _ends(codes, low, high, tails, flags)
            at += 1
            if i > row_end:
                break
    return (
        row[:at],
        number[:at],
        first[:at],
        start[:at],
        end[:at],
        stop[:at],
        end[:at].copy(),
        np.full(at, -1, np.int32),
        kind[:at],
        np.full(at, -1, np.int32),
        fixed[:at],
        item[:at],
        tail[:at],
        np.zeros(at, np.bool_),
    )


@kernel
def _is_item(codes, i, end, flags):  # type: ignore[no-untyped-def]
    """Whether a line is an item of a list: - ログイン, ・ログイン, 3. ログイン, (3) ログイン."""
    if flags[codes[i]] & BULLET:
        spaced = codes[i] in (0x2A, 0x2B, 0x2D)  # * + - are marks around a phrase as well: *続きを読む*
        return not spaced or (i + 1 < end and flags[codes[i + 1]] & WHITE != 0)
    if codes[i] == 0x28:
        i += 1
    digits = 0
    while i < end and flags[codes[i]] & NUMERAL:
        i += 1
        digits += 1
    if digits == 0 or digits > 2 or i + 1 >= end:
        return False
    return (codes[i] == 0x2E or codes[i] == 0x29) and not flags[codes[i + 1]] & NUMERAL


@kernel
def _is_latin(code):  # type: ignore[no-untyped-def]
    return 0x30 <= code <= 0x39 or 0x41 <= code <= 0x5A or 0x61 <= code <= 0x7A or 0xC0 <= code < 0x250


@kernel
def _number(codes, i, end, flags):  # type: ignore[no-untyped-def]
    """The shape of the number that starts at i, and the place after it. 1,234 is one number."""
    start, digits, grouped = i, 0, False
    while i < end:
        if flags[codes[i]] & NUMERAL:
            digits += 1
            i += 1
        elif (
            codes[i] == 0x2C
            and i + 3 < end
            and digits <= 12
            and flags[codes[i + 1]] & NUMERAL
            and flags[codes[i + 2]] & NUMERAL
            and flags[codes[i + 3]] & NUMERAL
            and (i + 4 == end or not flags[codes[i + 4]] & NUMERAL)
        ):
            grouped = True
            digits += 3
            i += 4
        else:
            break
    if digits == 4 and not grouped:
        century = (codes[start] - np.uint32(48)) * np.uint32(10) + codes[start + 1] - np.uint32(48)
        if century == 19 or century == 20:
            return _YEAR, i
    return (_FEW if digits <= 2 else _MANY), i


@kernel
def _phrase(codes, i, end, flags, keys, values):  # type: ignore[no-untyped-def]
    """The longest phrase of the table that starts at i: (value or -1, the place after it, hash of codes[i:end]).

    What is hashed: letters in lower case; numbers as their shape; white space and : only between Latin letters or
    digits, as one space, but : between digits as it is; everything else as it is. A phrase ends where a letter or digit
    is followed by something else.
    """
    limit = min(end, i + _PHRASE_CHARS)
    size = np.uint64(len(keys))
    mask = size - np.uint64(1)
    value, value_end = -1, i
    key = np.uint64(0)
    before = np.uint32(0)  # the last code that was no space
    gap = False
    while i < limit:
        code = codes[i]
        flag = flags[code]
        if flag & NUMERAL:
            shape, after = _number(codes, i, end, flags)
            if gap and _is_latin(before):
                key = key * _BASE + np.uint64(33)
            key = key * _BASE + shape + np.uint64(1)
            before, gap = np.uint32(0x30), False
            i = after
        elif flag & WHITE or (code == 0x3A and not (before == 0x30 and i + 1 < end and flags[codes[i + 1]] & NUMERAL)):
            gap = True
            i += 1
            continue
        else:
            if gap and _is_latin(before) and _is_latin(code):
                key = key * _BASE + np.uint64(33)
            key = key * _BASE + np.uint64(_lower(code)) + np.uint64(1)
            before, gap = code, False
            i += 1
            if not flag & CORE:
                continue
        # here something of a phrase's body ends; a digit beside a letter ends it too (3users)
        if size and (i == end or not flags[codes[i]] & CORE):
            probe = key | np.uint64(1)
            slot = np.int64(probe & mask)
            while keys[slot] != 0 and keys[slot] != probe:
                slot = (slot + 1) & np.int64(mask)
            if keys[slot] == probe:
                if values[slot] != NO_RULE:
                    value, value_end = np.int64(values[slot]), i
            elif _is_latin(before):  # no phrase begins like this
                break
    return value, value_end, key | np.uint64(1)


@kernel
def hash_phrases(codes, offsets, flags):  # type: ignore[no-untyped-def]
    """The hash of each phrase as a line's text would give it (0 for one without letter or digit); its first code; and
    the hashes of all beginnings of phrases that are Latin words, without which most searches end at the first word.
    """
    rows = len(offsets) - 1
    hashes, first = np.zeros(rows, np.uint64), np.zeros(rows, np.int64)
    beginnings = np.zeros(len(codes), np.uint64)
    n = 0
    keys, values = np.zeros(0, np.uint64), np.zeros(0, np.int32)  # without a table the whole text is hashed
    for row in range(rows):
        i, end = offsets[row], offsets[row + 1]
        while i < end and not flags[codes[i]] & CORE:
            i += 1
        while end > i and not flags[codes[end - 1]] & CORE:
            end -= 1
        if i < end:
            first[row] = _lower(codes[i])
            hashes[row] = _phrase(codes, i, end, flags, keys, values)[2]
            for to in range(i + 1, end):
                if _is_latin(codes[to - 1]) and not _is_latin(codes[to]):
                    beginnings[n] = _phrase(codes, i, to, flags, keys, values)[2]
                    n += 1
    return hashes, first, beginnings[:n].copy()


def classify(
    codes: npt.NDArray[np.uint32],
    lines: Lines,
    flags: npt.NDArray[np.uint8],
    keys: npt.NDArray[np.uint64],
    values: npt.NDArray[np.int32],
    where: npt.NDArray[np.uint8],
    limits: npt.NDArray[np.int64],
    starts: npt.NDArray[np.uint32],
    ends: npt.NDArray[np.uint32],
) -> None:
    """Fill in `kind` and `rule` of every line, and `looks_like_a_pattern` of those that only a pattern can decide."""
    _classify(
        codes,
        (lines.start, lines.kept_to, lines.fixed, lines.item),
        (lines.kind, lines.rule, lines.looks_like_a_pattern),
        flags,
        keys,
        values,
        where,
        limits,
        starts,
        ends,
    )


@kernel
def _classify(codes, lines, out, flags, keys, values, where, limits, starts, ends):  # type: ignore[no-untyped-def]
    start, kept_to, fixed, item = lines
    kind, rule, pattern = out
    longest, one_word, upper_words, segment, numbers_anywhere, num_rules = (
        limits[0],
        limits[1],
        limits[2],
        limits[3],
        limits[4],
        limits[5],
    )
    for at in range(len(start)):
        if kind[at] != TEXT or fixed[at] or item[at]:
            continue
        low, high = start[at], kept_to[at]
        while high > low and flags[codes[high - 1]] & WHITE:
            high -= 1
        if high - low > PATTERN_CHARS:
            continue
        found, by = TEXT, -1
        if high - low <= longest:
            found, by = _whole_line(codes, low, high, flags, keys, values, where)
        if found != ANYWHERE and _is_breadcrumb(codes, low, high, flags, keys, values, segment):
            found, by = ANYWHERE, num_rules
        if found == TEXT:
            begins = flags[codes[low]] & FIRST and _starts(codes, low, high, starts)
            pattern[at] = begins or _ends(codes, low, high, ends, flags)
        if found == NUMBERS:
            by = num_rules + 2
            found = COMPANY
            if numbers_anywhere:
                found = ANYWHERE
                for i in range(low, high):
                    if not flags[codes[i]] & NUMERAL:
                        found = TEXT
        if found == TEXT and high - low <= longest and not flags[codes[high - 1]] & STOP:
            if one_word and _is_one_word(codes, low, high, flags, one_word):
                found, by = COMPANY, num_rules + 1
            elif upper_words and _is_upper_case(codes, low, high, flags, upper_words):
                found, by = UPPER, num_rules + 3
        kind[at], rule[at] = found, by


@kernel
def _whole_line(codes, low, high, flags, keys, values, where):  # type: ignore[no-untyped-def]
    """What a line is that is made of phrases and numbers only: (kind, rule)."""
    i = low
    strongest, by, known = NUMBERS, -1, 0
    some, sentence = False, False
    first = np.uint32(0)
    while True:
        apart = i == low
        while i < high and not flags[codes[i]] & CORE:
            code = codes[i]
            # ・ , & and brackets join what stands beside them; white space, | / > and the like do not
            apart |= flags[code] & WHITE != 0 or code in (0x7C, 0x2F, 0x3E, 0xBB, 0x203A, 0x5D, 0x3011)
            i += 1
        if i >= high:
            break
        if not flags[codes[i]] & (FIRST | NUMERAL):
            return TEXT, -1
        value, after, _ = _phrase(codes, i, high, flags, keys, values)
        if not some:
            first = codes[i]
        some = True
        if value >= 0 and value & NO_RULE != NO_RULE:
            one = value & NO_RULE
            kind = np.int64(where[one])
            known += apart
            sentence = value & SENTENCE != 0
            if kind > strongest:
                strongest, by = kind, one
            i = after
        elif flags[codes[i]] & NUMERAL:
            sentence = False
            _, i = _number(codes, i, high, flags)
            if i < high and flags[codes[i]] & CORE:
                return TEXT, -1
        else:
            return TEXT, -1
    if not some:
        return TEXT, -1
    last = codes[high - 1]
    if flags[last] & STOP:  # the end of a sentence that began on the line before, unless the phrase is one itself
        full_stop = last == 0x3002 or (last == 0x2E and not (high - low > 1 and codes[high - 2] == 0x2E))
        if (full_stop and not sentence) or 0x61 <= first <= 0x7A:
            return TEXT, -1
    if strongest == AMONG and known >= IN_ONE_LINE:
        strongest = ANYWHERE
    return strongest, by


@kernel
def _is_arrow(code):  # type: ignore[no-untyped-def]
    # > » › ≫ → ▶ ▸ and, between spaces, /
    return code in (0x3E, 0xBB, 0x203A, 0x226B, 0x2192, 0x25B6, 0x25B8, 0x25BA)


@kernel
def _is_breadcrumb(codes, low, high, flags, keys, values, segment):  # type: ignore[no-untyped-def]
    i = low
    while i < high and not flags[codes[i]] & CORE:
        i += 1
    if i >= high or not flags[codes[i]] & FIRST or codes[high - 1] == 0x3002:
        return False
    value, i, _ = _phrase(codes, i, high, flags, keys, values)
    if value < 0 or not value & HOME:
        return False
    arrows, slashes, length = 0, 0, 0
    nothing = True  # nothing but margins since the first phrase
    while i < high:
        code = codes[i]
        if _is_arrow(code) or (code == 0x2F and flags[codes[i - 1]] & WHITE != 0):
            arrows += code != 0x2F
            slashes += code == 0x2F
            length = 0
            nothing = False
        elif nothing and flags[code] & CORE:
            return False
        else:
            length += 1
            if length > segment:
                return False
        i += 1
    return arrows >= 1 or slashes >= 2


@kernel
def _is_one_word(codes, low, high, flags, longest):  # type: ignore[no-untyped-def]
    if high - low > longest:
        return False
    letters = 0
    for i in range(low, high):
        flag = flags[codes[i]]
        if 0x3041 <= codes[i] < 0x3097:  # hiragana: words of menus and tags are nouns, a short line of prose is not
            return False
        if not flag & CORE and not (codes[i] == 0x30FB or codes[i] == 0x2D or codes[i] == 0x26):
            return False
        letters += flag & NUMERAL == 0
    return letters > 0


@kernel
def _is_upper_case(codes, low, high, flags, most):  # type: ignore[no-untyped-def]
    upper, chars, words = 0, 0, 1
    for i in range(low, high):
        if flags[codes[i]] & WHITE:
            words += 1
            if flags[codes[i - 1]] & WHITE:  # columns
                return False
        else:
            chars += 1
            upper += 0x41 <= codes[i] <= 0x5A
    return words <= most and 2 * upper > chars
