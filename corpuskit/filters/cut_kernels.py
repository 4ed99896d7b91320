"""The compiled part of the line-wise corrections that cuts: which lines go, and texts and shadows without them.

A line's kind (line_kinds.py) is decided by the line alone; here it is weighed in the company of its neighbours, in
steps that cutting does not disturb, so that in a corrected text nothing more is cut.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from corpuskit.filters.line_kinds import ANYWHERE, BESIDE, BLANK, COMPANY, EDGE, TEXT, UPPER, WHITE, Lines
from corpuskit.text.kernel import kernel
from corpuskit.text.shadow import Shadow

IN_A_ROW = 3  # known lines that make a row go in the middle of a document
AT_THE_START = 2  # and at its beginning, where a heading may be the first of them
NEAR = 3  # `beside`: a sentence so many lines of text away makes it part of a text
EDGE_LINES = 3  # `edge`: among so many lines of text from the beginning or the end


def choose(
    shadow: Shadow, lines: Lines, flags: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Which lines go: the signals of each row, (line, rule) of each span, and the spans (row, start, end in codes)."""
    return _choose(shadow.codes, shadow.offsets, shadow.origin, tuple(lines[:10]), flags)


@kernel
def _choose(codes, offsets, origin, lines, flags):  # type: ignore[no-untyped-def]
    row, tail_rule, kind = lines[0], lines[7], lines[8]
    rows = len(offsets) - 1
    signals = np.zeros((rows, 2), np.float64)
    gone = np.zeros(len(row), np.bool_)
    spans = np.empty((2 * len(row), 3), np.int64)
    where = np.empty((2 * len(row), 2), np.int64)
    n = 0
    at = 0
    while at < len(row):
        stop_at = at
        touched = False
        while stop_at < len(row) and row[stop_at] == row[at]:
            touched |= kind[stop_at] > TEXT or tail_rule[stop_at] >= 0
            stop_at += 1
        if touched:
            _decide(lines, gone, at, stop_at, codes)
            begun = n
            n = _spans(lines, gone, at, stop_at, codes, origin, spans, where, n)
            if n > begun:
                low, high = offsets[row[at]], offsets[row[at] + 1]
                chars = cut = num_lines = cut_lines = 0
                for i in range(low, high):
                    chars += flags[codes[i]] & WHITE == 0
                for k in range(begun, n):
                    for i in range(spans[k, 1], spans[k, 2]):
                        cut += flags[codes[i]] & WHITE == 0
                for k in range(at, stop_at):
                    num_lines += kind[k] != BLANK
                    cut_lines += gone[k]
                signals[row[at], 0] = cut_lines / num_lines
                signals[row[at], 1] = cut / chars
        at = stop_at
    return signals, where[:n].copy(), spans[:n].copy()


@kernel
def _is_sentence(codes, end):  # type: ignore[no-untyped-def]
    """Whether a line whose text ends there ends as a sentence does."""
    return codes[end - 1] == 0x3002 or codes[end - 1] == 0x2E


@kernel
def _decide(lines, gone, low, high, codes):  # type: ignore[no-untyped-def]
    """Mark the lines low..high of one document that go."""
    kept_to, kind = lines[6], lines[8]
    since = NEAR  # lines of text since the last one that is a sentence
    at = low
    before = 0  # lines of text so far
    while at < high:
        if kind[at] <= TEXT:
            if kind[at] == TEXT:
                before += 1
                since = 0 if _is_sentence(codes, kept_to[at]) else since + 1
            at += 1
            continue
        to = at  # a row: no line of text from here to there
        words = known = beside = 0
        last = at
        while to < high and kind[to] != TEXT:
            words += kind[to] >= EDGE
            known += kind[to] >= UPPER
            beside += kind[to] == BESIDE
            to += 1
        below = to < high and _is_sentence(codes, kept_to[to])
        near, k, seen = since < NEAR or below, to, 0
        while beside and not near and k < high and seen < NEAR:
            if kind[k] == TEXT:
                near = _is_sentence(codes, kept_to[k])
                seen += 1
            k += 1
        if not near:
            words, known = words + beside, known + beside
        at_end = True
        for k in range(to, high):
            if kind[k] != BLANK:
                at_end = False
                break
        goes = known >= IN_A_ROW or (at_end and words >= 1) or (before == 0 and words >= AT_THE_START)
        if goes:
            left, length, of_them = -1, 0, 0
            for k in range(at, to):
                if kind[k] >= BESIDE:
                    gone[k] = True
                    last = k
                    if left < 0:
                        left = k
            stop = to if at_end else last + 1
            for k in range(max(left, at), stop):
                length += kind[k] != BLANK
                of_them += kind[k] >= BESIDE
            if of_them >= 2 and 3 * of_them >= length:
                for k in range(max(left, at), stop):
                    gone[k] |= kind[k] == COMPANY
        else:
            for k in range(at, to):
                # a heading, such as ログイン in a manual: behind a blank line, and a sentence right below
                heads = below and low < k == to - 1 and kind[k - 1] == BLANK
                gone[k] = kind[k] == ANYWHERE and not heads
        at = to
    # a date that is the only one left, near the beginning or the end
    dates, date, texts_before, texts = 0, -1, 0, 0
    for k in range(low, high):
        if kind[k] == EDGE and not gone[k]:
            dates += 1
            date, texts_before = k, texts
        texts += kind[k] == TEXT
    if dates == 1 and (texts_before < EDGE_LINES or texts - texts_before < EDGE_LINES):
        gone[date] = True


@kernel
def _spans(lines, gone, low, high, codes, origin, spans, where, n):  # type: ignore[no-untyped-def]
    """Append the spans of one document, in order.

    Line ends stay well-formed: where lines between two blank lines go, one of these goes too, and a document ends in a
    line end or blank line only if it did before.
    """
    row, number, first, _, end, stop, kept_to, tail_rule, kind, rule = lines
    dropped = gone[low:high].copy()
    kept_is_blank = True  # the last line that stays is blank, or there is none
    last = -1  # the last line that stays
    for k in range(low, high):
        if gone[k]:
            continue
        if kind[k] == BLANK and kept_is_blank and k > low and dropped[k - 1 - low]:
            dropped[k - low] = True
        else:
            kept_is_blank = kind[k] == BLANK
            last = k
    if gone[high - 1]:
        while last >= low and kind[last] == BLANK:
            dropped[last - low] = True
            last -= 1
            while last >= low and dropped[last - low]:
                last -= 1
    pending = -1  # a blank line that goes before the line it goes with
    for k in range(low, high):
        if not dropped[k - low]:
            if tail_rule[k] >= 0:
                cut_from, cut_to = kept_to[k], end[k]
                while cut_from > 0 and cut_from < cut_to and origin[cut_from] == origin[cut_from - 1]:
                    cut_from += 1  # not through a character that is several in the shadow
                if cut_from < cut_to:
                    spans[n, 0], spans[n, 1], spans[n, 2] = row[k], cut_from, cut_to
                    where[n, 0], where[n, 1] = number[k], tail_rule[k]
                    n += 1
            continue
        # behind the last line that stays, the line end before a line goes and not the one after it
        begin, to = first[k], stop[k]
        if k > last and last >= low:
            begin -= 1
            to -= k + 1 < high
        if not gone[k]:
            if k > low and dropped[k - 1 - low] and n and spans[n - 1, 0] == row[k] and pending < 0:
                spans[n - 1, 2] = to
            elif pending < 0:
                pending = begin
            continue
        spans[n, 0], spans[n, 1], spans[n, 2] = row[k], begin if pending < 0 else pending, to
        where[n, 0], where[n, 1] = number[k], rule[k]
        pending = -1
        n += 1
    return n


@kernel
def to_characters(spans, offsets, origin, data, byte_offsets):  # type: ignore[no-untyped-def]
    """Spans of shadow.codes as spans of characters of the stored texts: row, start, end."""
    out = spans.copy()
    for k in range(len(spans)):
        row, low, high = spans[k]
        out[k, 1] = origin[low]
        if high < offsets[row + 1]:
            out[k, 2] = origin[high]
        else:  # to the end of the text: the last shadow character can stand for several (CR LF, ｶﾞ)
            length = 0
            for i in range(byte_offsets[row], byte_offsets[row + 1]):
                length += data[i] & 0xC0 != 0x80
            out[k, 2] = length
    return out


@kernel
def take_out(data, offsets, chars, kept, cut):  # type: ignore[no-untyped-def]
    """Write the bytes of the texts without the spans, and those of the spans; the offsets of both."""
    rows = len(offsets) - 1
    kept_offsets, cut_offsets = np.zeros(rows + 1, np.int32), np.zeros(len(chars) + 1, np.int32)
    o = c = k = 0
    for row in range(rows):
        i, end, index = offsets[row], offsets[row + 1], 0
        while k < len(chars) and chars[k, 0] == row:
            for bound in range(1, 3):
                while i < end and index < chars[k, bound]:
                    byte = data[i]
                    length = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                    for b in range(i, i + length):
                        if bound == 1:
                            kept[o] = data[b]
                            o += 1
                        else:
                            cut[c] = data[b]
                            c += 1
                    i += length
                    index += 1
            k += 1
            cut_offsets[k] = c
        kept[o : o + end - i] = data[i:end]
        o += end - i
        kept_offsets[row + 1] = o
    return kept_offsets, cut_offsets


@kernel
def take_out_of_shadow(codes, offsets, origin, spans, chars, new_codes, new_origin):  # type: ignore[no-untyped-def]
    """Write the shadows without the spans, what shadow_column gives for the corrected texts; their offsets."""
    rows = len(offsets) - 1
    new_offsets = np.zeros(rows + 1, np.int64)
    o = k = 0
    for row in range(rows):
        i, end, shift = offsets[row], offsets[row + 1], np.uint32(0)
        while True:
            to = spans[k, 1] if k < len(spans) and spans[k, 0] == row else end
            for j in range(i, to):
                new_codes[o] = codes[j]
                new_origin[o] = origin[j] - shift
                o += 1
            if to == end and not (k < len(spans) and spans[k, 0] == row):
                break
            i = spans[k, 2]
            shift += np.uint32(chars[k, 2] - chars[k, 1])
            k += 1
        new_offsets[row + 1] = o
    return new_offsets
