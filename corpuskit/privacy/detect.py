"""Find and mask personal information: e-mail addresses and Japanese telephone numbers.

In this order: the shadow of the batch is made; a compiled gate walks over it once and marks windows around every @ (or
what is written for it) with an address's characters on both sides, and around every 0 or +81 with ten digits near
each other; the `regex` module decides inside the windows; hits are carried back to characters of the stored text. The
gate only saves time: it lets through whatever a pattern could match (a test compares with a search of whole texts).

Names, addresses and identity numbers are not looked for here.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.privacy.patterns import AT_FIRST, DIGIT, DOMAIN, JOIN, LOCAL, PLUS, TYPES, ZERO, patterns
from corpuskit.text.kernel import kernel
from corpuskit.text.shadow import Shadow, shadow_column

# Sizes in shadow characters. They bound what the patterns of rules/privacy can reach.
CONTEXT = 32  # lookbehind and lookahead: the longest label, the filler after it, the characters of one expansion
PHONE_CHARS = 64  # the longest telephone number: 14 digits with three characters between most of them
LOCAL_CHARS = 64  # RFC 5321, section 4.5.3.1
DOMAIN_CHARS = 700  # eight labels of 63, and room for dots that are spelled out


class Finding(NamedTuple):
    """One find: characters start to end of the stored text of a row."""

    row: int
    type: str
    start: int
    end: int


def find(texts: pa.Array, types: Sequence[str]) -> list[Finding]:
    """The personal information of the given types in a string column, by row and position, without overlaps.

    What looks like both is what comes first in TYPES: 090-0000-1234@example.jp is an address.

    Raises:
        ValueError: an unknown type, or a column that is not a string column without nulls.
    """
    unknown = sorted(set(types) - set(TYPES))
    if unknown:
        raise ValueError(f"unknown types of personal information: {', '.join(unknown)} (known: {', '.join(TYPES)})")
    wanted = [t for t in TYPES if t in types]
    shadow = shadow_column(texts)
    triggers = (AT_FIRST if "email" in wanted else 0) | (ZERO | PLUS if "phone_jp" in wanted else 0)
    windows = _gate(shadow.codes, shadow.offsets, patterns().flags, patterns().at_words, np.uint8(triggers))
    found = []
    for row, low, high, first in windows.tolist():
        found.extend(_search(shadow, row, low, high, first, wanted))
    return found


def mask(texts: pa.Array, findings: Sequence[Finding]) -> pa.Array:
    """The column with every finding replaced by the token of its type: <EMAIL>, <PHONE>.

    Masking is idempotent: in masked text nothing more is found.
    """
    if not findings:
        return texts
    tokens = patterns().tokens
    masked = []
    for row, group in groupby(findings, key=lambda f: f.row):
        text, pieces, at = texts[row].as_py(), [], 0
        for finding in group:
            pieces += [text[at : finding.start], tokens[finding.type]]
            at = finding.end
        masked.append("".join([*pieces, text[at:]]))
    touched = np.zeros(len(texts), np.bool_)
    touched[[f.row for f in findings]] = True
    return pc.replace_with_mask(texts, pa.array(touched), pa.array(masked, pa.string()))


def _search(shadow: Shadow, row: int, low: int, high: int, first: int, types: Sequence[str]) -> list[Finding]:
    """Run the patterns over one window, codes[low:high]; matches start at `first` or later.

    The tokens are put in as we go and the search is repeated until it finds nothing: a token can free what stood right
    behind the hit (info@example.jp03-0000-1234), and what is found must be all that masked text holds.
    """
    known = patterns()
    text = shadow.codes[low:high].tobytes().decode("utf-32-le")
    where: Sequence[int] = range(low, high)  # of each character of `text`, its place in shadow.codes
    found: list[Finding] = []
    again = True
    while again:
        again = False
        for name in types:
            pieces: list[str] = []
            places: list[int] = []
            at = 0
            for match in known.compiled[name].finditer(text, first - low):
                start, end = _whole_characters(shadow, where, match.start(), match.end())
                if start < at:  # shares an expanded character with the hit before it
                    continue
                place = (int(shadow.origin[where[start]]), int(shadow.origin[where[end - 1]]) + 1)
                found.append(Finding(row, name, *place))
                pieces += [text[at:start], known.tokens[name]]
                places += [*where[at:start], *[-1] * len(known.tokens[name])]
                at = end
            if at:
                text, where = "".join([*pieces, text[at:]]), [*places, *where[at:]]
                again = True
    return sorted(found, key=lambda f: f.start)


def _whole_characters(shadow: Shadow, where: Sequence[int], start: int, end: int) -> tuple[int, int]:
    """Widen a hit so that it cuts no stored character: one character such as ㏂ or ⑽ may be several in the shadow."""
    origin = shadow.origin
    while start > 0 and where[start - 1] == where[start] - 1 and origin[where[start - 1]] == origin[where[start]]:
        start -= 1
    while end < len(where) and where[end] == where[end - 1] + 1 and origin[where[end]] == origin[where[end - 1]]:
        end += 1
    return start, end


@kernel
def _lower(code):  # type: ignore[no-untyped-def]
    return code + np.uint32(32) if 0x41 <= code <= 0x5A else code


@kernel
def _at_word(codes, i, end, at_words):  # type: ignore[no-untyped-def]
    """The length of the spelling of @ that starts at i, or 0; the longest where several do."""
    for k in range(len(at_words)):
        n = 0
        while at_words[k, n] and i + n < end and _lower(codes[i + n]) == at_words[k, n]:
            n += 1
        if at_words[k, n] == 0:
            return n
    return 0


@kernel
def _is_81(codes, i, end):  # type: ignore[no-untyped-def]
    return i + 1 < end and codes[i] == 0x38 and codes[i + 1] == 0x31


@kernel
def _could_be_phone(codes, i, end, flags):  # type: ignore[no-untyped-def]
    """Whether the 0 or + at i could begin a number: +81, 0081, 010-81, or ten digits in at most three groups."""
    if flags[codes[i]] & PLUS:
        return _is_81(codes, i + 1, end)
    if i + 2 < end and codes[i + 1] == 0x30 and _is_81(codes, i + 2, end):
        return True
    if i + 3 < end and codes[i + 1] == 0x31 and codes[i + 2] == 0x30:
        after = i + 3 + (flags[codes[i + 3]] & JOIN != 0)
        if _is_81(codes, after, end):
            return True
    digits, groups, apart = 0, 1, 0
    for k in range(i, min(end, i + PHONE_CHARS)):
        kind = flags[codes[k]]
        if kind & DIGIT:
            groups += apart > 0
            digits += 1
            apart = 0
            if groups > 3:
                return False
            if digits == 10:
                return True
        else:
            apart += 1
            if apart > 6 or not kind & JOIN:
                return False
    return False


@kernel
def _gate(codes, offsets, flags, at_words, triggers):  # type: ignore[no-untyped-def]
    """Windows worth a closer look: row, start, end with context, and where the first match could start.

    Windows of a row that touch become one, so no character is searched twice.
    """
    windows = np.empty((1024, 4), np.int64)
    n = 0
    for row in range(len(offsets) - 1):
        row_start, row_end = offsets[row], offsets[row + 1]
        for i in range(row_start, row_end):
            flag = flags[codes[i]]
            if not flag & triggers:
                continue
            if flag & AT_FIRST:
                length = _at_word(codes, i, row_end, at_words)
                if length == 0:
                    continue
                left, right = i - 1, i + length
                if length > 1:  # spaces may stand around all but a plain @
                    for _ in range(2):
                        left -= left >= row_start and codes[left] == 0x20
                        right += right < row_end and codes[right] == 0x20
                if left < row_start or not flags[codes[left]] & LOCAL:
                    continue
                if right >= row_end or not flags[codes[right]] & DOMAIN:
                    continue
                bound = max(row_start, left - LOCAL_CHARS)
                while left > bound and flags[codes[left - 1]] & LOCAL:
                    left -= 1
                bound = min(row_end, right + DOMAIN_CHARS)
                while right < bound and flags[codes[right]] & DOMAIN:
                    right += 1
                first, stop = left, right
            else:
                if flag & ZERO and i > row_start and flags[codes[i - 1]] & DIGIT:
                    continue
                if not _could_be_phone(codes, i, row_end, flags):
                    continue
                first, stop = max(row_start, i - 2), i + PHONE_CHARS  # 2: a bracket and a space before the 0
            low, high = max(row_start, first - CONTEXT), min(row_end, stop + CONTEXT)
            while n and windows[n - 1, 0] == row and windows[n - 1, 2] >= low:
                n -= 1
                low, high = min(low, windows[n, 1]), max(high, windows[n, 2])
                first = min(first, windows[n, 3])
            if n == len(windows):
                more = np.empty((2 * n, 4), np.int64)
                more[:n] = windows
                windows = more
            windows[n, 0], windows[n, 1], windows[n, 2], windows[n, 3] = row, low, high, first
            n += 1
    return windows[:n].copy()
