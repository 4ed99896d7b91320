"""The shadow: the copy of a text on which signals, matching and personal-information search run.

The shadow is the text as ja-safe leaves it, then NFKC code point by code point, so ！ and !, １ and 1, ｶﾞ and ガ, ㈱ and
(株), …, ⋯ and ... count the same, and a text has the same shadow before and after ja-safe. Every shadow character knows
which character of the text it came from. The shadow is never stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from corpuskit.text.buffers import Bytes, CodePoints, Offsets, Positions, room, utf8_view
from corpuskit.text.kernel import kernel
from corpuskit.text.normalize import decode_utf8, joins_emoji, nfc
from corpuskit.text.tables import (
    CARRIAGE_RETURN,
    CODES_PER_BYTE,
    COMPOSES,
    COMPOSING,
    CONTROL,
    DROP,
    EXPANDS,
    HALF_DAKUTEN,
    JOINER,
    NUM_CODE_POINTS,
    SPECIAL,
    fold_table,
    ja_safe_table,
    shadow_table,
)


class Shadow(NamedTuple):
    """Shadows of a column of texts, one after the other.

    Attributes:
        codes: code points.
        offsets: row i is codes[offsets[i]:offsets[i + 1]].
        origin: for each code, the index of the character it came from in its own text.
        controls: how many control characters each text had; the shadow has none. `clean` adds those that normalising
            took out.
    """

    codes: CodePoints
    offsets: Positions
    origin: CodePoints
    controls: Positions

    def text(self, row: int) -> str:
        """The shadow of one row as a str."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-32-le", "replace")


def shadow_column(texts: pa.Array) -> Shadow:
    """The shadows of a string column."""
    data, offsets = utf8_view(texts)
    size = int(offsets[-1] - offsets[0])
    for most in (size, CODES_PER_BYTE * size):  # a byte makes one code or less, but for the few that expand
        codes, origin = room(most, np.uint32), room(most, np.uint32)
        ends, controls, composing = _shadow(data, offsets, codes, origin, *fold_table(), *ja_safe_table()[1:])
        if ends[-1] >= 0:
            break
    codes, origin = codes[: ends[-1]], origin[: ends[-1]]
    # a few documents hold combining characters, and fewer still need them put together
    rebuilt = {row: found for row in np.flatnonzero(composing) if (found := _composed(data, offsets[row : row + 2]))}
    if not rebuilt:
        return Shadow(codes, ends, origin, controls)
    code_pieces, origin_pieces, start = [], [], 0
    lengths = np.diff(ends)
    for row, (new_codes, new_origin) in rebuilt.items():
        code_pieces += [codes[start : ends[row]], new_codes]
        origin_pieces += [origin[start : ends[row]], new_origin]
        start, lengths[row] = ends[row + 1], len(new_codes)
    codes = np.concatenate([*code_pieces, codes[start:]])
    origin = np.concatenate([*origin_pieces, origin[start:]])
    return Shadow(codes, np.concatenate([[0], np.cumsum(lengths)]), origin, controls)


def _composed(data: Bytes, offsets: Offsets) -> tuple[CodePoints, CodePoints] | None:
    """The shadow of one row put in NFC, and its origins; None where it is in NFC as it is."""
    size = int(offsets[-1] - offsets[0])  # enough: ja-safe alone makes no character of a text more than one
    codes, origin = room(size, np.uint32), room(size, np.uint32)
    ends, *_ = _shadow(data, offsets, codes, origin, *fold_table(shadow=False), *ja_safe_table()[1:])
    codes, origin = codes[: ends[-1]], origin[: ends[-1]]
    text = codes.tobytes().decode("utf-32-le", "surrogatepass")
    if nfc(text) == text:
        return None
    joins = ja_safe_table().action[codes] == COMPOSING
    joins[:1] = False
    starts = np.append(np.flatnonzero(~joins), len(codes))  # of a character with what may join it
    lengths = np.diff(starts)
    pieces, done = [], 0
    for at in np.flatnonzero((lengths > 1) | (starts[:-1] == 0)).tolist():
        start, end = int(starts[at]), int(starts[at + 1])
        piece = nfc(text[start:end])
        pieces += [text[done:start], piece]
        lengths[at], done = len(piece), end
    composed = "".join([*pieces, text[done:]]).encode("utf-32-le", "surrogatepass")
    return _folded(np.frombuffer(composed, np.uint32), np.repeat(origin[starts[:-1]], lengths))


def _folded(codes: CodePoints, origin: CodePoints) -> tuple[CodePoints, CodePoints]:
    """NFKC code point by code point."""
    first, rest = shadow_table()
    folded = first[codes]
    expanding = np.flatnonzero(folded & EXPANDS)
    lengths = np.ones(len(codes), np.int64)
    lengths[expanding] = folded[expanding] & np.uint32(31)
    ends = np.cumsum(lengths)
    codes, origin = np.repeat(folded, lengths), np.repeat(origin, lengths)
    for at in expanding.tolist():
        start, length = int(folded[at] & ~EXPANDS) >> 5, lengths[at]
        codes[ends[at] - length : ends[at]] = rest[start : start + length]
    return codes, origin


@kernel
def _shadow(data, offsets, codes, origin, first, rest, target, voiced, semivoiced):  # type: ignore[no-untyped-def]
    """Write codes and origins; the offsets, controls, and which rows hold what may compose.

    `first` and `rest` are a fold_table: of ja-safe and the shadow, or of ja-safe alone.
    The last offset is -1 if they are too small.
    """
    rows = len(offsets) - 1
    ends = np.zeros(rows + 1, np.int64)
    controls = np.zeros(rows, np.int64)
    composing = np.zeros(rows, np.bool_)
    o = 0
    for row in range(rows):
        i, end, index = offsets[row], offsets[row + 1], -1
        skipped = 0  # the \n behind \r
        last = np.int64(0)  # what ja-safe wrote last
        while i < end:
            index += 1 + skipped
            skipped = 0
            byte = data[i]
            if byte < 0x80 and byte >= 0x20 and byte != 0x7F:
                codes[o] = byte
                origin[o] = index
                o += 1
                i += 1
                last = np.int64(byte)
                continue
            code, i = decode_utf8(data, i)
            folded = first[code]
            if folded < NUM_CODE_POINTS:
                codes[o] = folded
                origin[o] = index
                o += 1
                last = code
                continue
            if folded & SPECIAL:
                what = folded & ~SPECIAL
                if what == DROP:
                    continue
                if what == CONTROL:
                    controls[row] += 1
                    continue
                if what == CARRIAGE_RETURN:
                    if i < end and data[i] == 0x0A:
                        i, skipped = i + 1, 1
                    folded = np.uint32(0x0A)
                elif what == JOINER:
                    if not joins_emoji(np.int64(target[last])):
                        continue
                    folded = np.uint32(code)
                else:  # VOICING
                    base = target[last]
                    joined = voiced[base] if code == HALF_DAKUTEN else semivoiced[base]
                    if joined:
                        codes[o - 1] = joined
                        last = np.int64(joined)
                        continue
                    folded = first[target[code]]
            if folded & COMPOSES:
                composing[row] = True
                folded &= ~COMPOSES
            last = code
            if folded & EXPANDS:
                start = np.int64((folded & ~EXPANDS) >> np.uint32(5))
                length = np.int64(folded & np.uint32(31))
                if o + length + offsets[rows] - i > len(codes):
                    ends[rows] = -1
                    return ends, controls, composing
                for k in range(length):
                    codes[o] = rest[start + k]
                    origin[o] = index
                    o += 1
            else:
                codes[o] = folded
                origin[o] = index
                o += 1
        ends[row + 1] = o
    return ends, controls, composing
