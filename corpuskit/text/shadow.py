"""The shadow: the copy of a text on which signals, matching and personal-information search run.

The shadow is NFKC code point by code point, so ！ and !, １ and 1, ㈱ and (株), … and ... count the same, and every
shadow character knows which character of the stored text it came from. It is never stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numba import njit

from corpuskit.text.buffers import CodePoints, Positions, utf8_view
from corpuskit.text.normalize import decode_utf8
from corpuskit.text.tables import EXPANDS, shadow_table


class Shadow(NamedTuple):
    """Shadows of a column of texts, one after the other.

    Attributes:
        codes: code points.
        offsets: row i is codes[offsets[i]:offsets[i + 1]].
        origin: for each code, the index of the character it came from in its own text.
    """

    codes: CodePoints
    offsets: Positions
    origin: CodePoints

    def text(self, row: int) -> str:
        """The shadow of one row as a str."""
        return self.codes[self.offsets[row] : self.offsets[row + 1]].tobytes().decode("utf-32-le", "replace")


def shadow_column(texts: pa.Array) -> Shadow:
    """The shadows of a string column."""
    data, offsets = utf8_view(texts)
    table = shadow_table()
    return Shadow(*_shadow(data, offsets, table.first, table.rest))


@njit(cache=True, nogil=True)
def _shadow(data, offsets, first, rest):  # type: ignore[no-untyped-def]
    rows = len(offsets) - 1
    ends = np.zeros(rows + 1, np.int64)
    size = 0
    for row in range(rows):  # exact sizes first: growing arrays inside the loop cost more than decoding twice
        i, end = offsets[row], offsets[row + 1]
        while i < end:
            if data[i] < 0x80:
                size += 1
                i += 1
                continue
            code, i = decode_utf8(data, i)
            folded = first[code]
            size += np.int64(folded & np.uint32(31)) if folded & EXPANDS else 1
        ends[row + 1] = size
    codes = np.empty(size, np.uint32)
    origin = np.empty(size, np.uint32)
    o = 0
    for row in range(rows):
        i, end, index = offsets[row], offsets[row + 1], 0
        while i < end:
            if data[i] < 0x80:
                codes[o] = data[i]
                origin[o] = index
                o += 1
                i += 1
            else:
                code, i = decode_utf8(data, i)
                folded = first[code]
                if folded & EXPANDS:
                    start = np.int64((folded & ~EXPANDS) >> np.uint32(5))
                    for k in range(np.int64(folded & np.uint32(31))):
                        codes[o] = rest[start + k]
                        origin[o] = index
                        o += 1
                else:
                    codes[o] = folded
                    origin[o] = index
                    o += 1
            index += 1
    return codes, ends, origin
