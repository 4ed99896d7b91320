"""A first, naive kernel, as a yardstick: what a machine makes of it in a run tells what its other figures are worth.

It decodes, counts the classes of characters, and fills a table of n-grams for each n from 2 to 10, every n-gram hashed
anew: no rolling hash, no early exit, far fewer signals than corpuskit measures.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.text.buffers import longest_row, utf8_view
from corpuskit.text.kernel import kernel
from corpuskit.text.normalize import decode_utf8
from corpuskit.text.tables import class_table

SIZES = range(2, 11)


def naive_signals(texts: pa.Array) -> npt.NDArray[np.float64]:
    """Fractions of the character classes, then of the n-grams that occurred before: one row a document."""
    out = np.zeros((len(texts), 11 + len(SIZES)), np.float64)
    _naive(*utf8_view(texts), class_table(), out)
    return out


@kernel
def _naive(data, offsets, classes, out):  # type: ignore[no-untyped-def]
    longest = longest_row(offsets) + 1
    codes, slots = np.empty(longest, np.uint32), np.empty(8 * longest, np.uint64)
    for row in range(len(offsets) - 1):
        i, n = offsets[row], 0
        while i < offsets[row + 1]:
            code, i = decode_utf8(data, i)
            codes[n] = code
            out[row, classes[code]] += 1
            n += 1
        if n:
            out[row, :11] /= n
        size = 2
        while size < 2 * n:
            size *= 2
        for length in range(2, 11):
            slots[:size] = 0
            repeated = 0
            for start in range(n - length + 1):
                key = np.uint64(1)
                for k in range(length):
                    key = (key ^ np.uint64(codes[start + k])) * np.uint64(0x9E3779B97F4A7C15)
                    key ^= key >> np.uint64(29)
                key |= np.uint64(1)
                slot = np.int64(key >> np.uint64(32)) & (size - 1)
                while slots[slot] and slots[slot] != key:
                    slot = (slot + 1) & (size - 1)
                repeated += slots[slot] == key
                slots[slot] = key
            out[row, 9 + length] = repeated / max(n - length + 1, 1)
