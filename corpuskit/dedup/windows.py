"""Windows of `length` characters and the anchors that lead to equal ones, by compiled kernels over code points.

window   `length` characters in a row inside one document. Its hash has 122 bits: two polynomials modulo the prime
         2^61 - 1 with different bases (Karp and Rabin 1987). Two given windows that differ collide with a probability
         below 10^-32, so 10^12 windows are told apart; modulo 2^64 the Thue-Morse sequence would not be.
gram     three quarters of `length` characters in a row, as a 61-bit polynomial, mixed.
anchor   the gram with the least hash inside a window, of equal ones the last: winnowing, Schleimer, Wilkerson and
         Aiken, SIGMOD 2003. It depends on the window's characters alone, so equal windows have equal anchors wherever
         they stand, and a window whose anchor occurs once in the corpus occurs once. Of `length` grams about 8 are
         anchors.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from corpuskit.dedup.minhash import Keys, mix64, table_size
from corpuskit.text.buffers import CodePoints, Positions, longest_row, utf8_view
from corpuskit.text.kernel import kernel
from corpuskit.text.normalize import decode_utf8

_PRIME = np.uint64((1 << 61) - 1)
# drawn once at random below the modulus
_BASE_1 = np.uint64(1742342624877291343)
_BASE_2 = np.uint64(1149847120394711587)


class Characters(NamedTuple):
    """Code points of a column of texts, one after the other: row i is codes[offsets[i]:offsets[i + 1]]."""

    codes: CodePoints
    offsets: Positions


class Windows(NamedTuple):
    """Distinct windows of a batch, numbered as they come: hash, where the first one stands, how often it occurs."""

    high: Keys
    low: Keys
    row: npt.NDArray[np.uint32]
    start: npt.NDArray[np.uint32]
    times: npt.NDArray[np.uint32]


# Where a batch has its windows: at characters [at, at + length) of `codes` start the windows number `window`,
# `window + step`, `window + 2 step` and so on; step is 1, or 0 where one window follows upon itself.
PLACES = np.dtype([("at", "<u4"), ("window", "<u4"), ("length", "<u4"), ("step", "<u4")])


def characters(texts: pa.Array) -> Characters:
    """The code points of a string column."""
    return Characters(*_characters(*utf8_view(texts)))


def anchors(chars: Characters, length: int) -> tuple[Keys, npt.NDArray[np.uint32]]:
    """The distinct anchors of a batch, sorted, and how often each stands in it (capped at 2^32 - 1)."""
    _, _, keys, counts = _stretches(chars.codes, chars.offsets, length)
    order = np.argsort(keys)
    keys, counts = keys[order], counts[order]
    new = np.ones(len(keys), np.bool_)
    new[1:] = keys[1:] != keys[:-1]
    starts = np.flatnonzero(new)
    totals = np.add.reduceat(counts, starts) if len(starts) else np.empty(0, np.int64)
    return keys[starts], np.minimum(totals, 0xFFFFFFFF).astype(np.uint32)


def candidate_windows(
    chars: Characters, length: int, repeated: Keys, order: Positions
) -> tuple[Windows, npt.NDArray[Any]]:
    """The distinct windows of a batch whose anchor is among `repeated`, and all PLACES they have.

    Args:
        chars: the batch.
        length: characters of a window.
        repeated: anchors that occur more than once in the corpus, sorted.
        order: rows in the order in which one of two equal windows is the first.
    """
    starts, stops, keys, _ = _stretches(chars.codes, chars.offsets, length)
    at = np.searchsorted(repeated, keys)
    known = at < len(repeated)
    known[known] = repeated[at[known]] == keys[known]
    wanted = _marked(starts[known], stops[known], len(chars.codes))
    *columns, places = _candidates(chars.codes, chars.offsets, length, wanted, order)
    rows = np.empty(places.shape[1], PLACES)
    for name, column in zip(PLACES.names or (), places, strict=True):
        rows[name] = column
    return Windows(*columns), rows


def spread(places: npt.NDArray[Any], size: int, numbers: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """For each of `size` characters numbers[w], w being the window that starts there, or -1 where none does."""
    at, window, length, step = (places[name].astype(np.int64) for name in ("at", "window", "length", "step"))
    return _spread(at, window, length, step, size, numbers)


@intrinsic
def _high_half(typingctx: Any, a: Any, b: Any) -> Any:
    """The upper 64 bits of the product of two 64-bit numbers, one machine instruction."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), generate


@kernel(inline="always")
def _times(a, b):  # type: ignore[no-untyped-def]
    """a * b modulo 2^61 - 1, for a and b below it."""
    low, high = a * b, _high_half(a, b)
    total = (low & _PRIME) + ((low >> np.uint64(61)) | (high << np.uint64(3)))
    return total - _PRIME if total >= _PRIME else total


@kernel(inline="always")
def _step(key, base, lead, new, old):  # type: ignore[no-untyped-def]
    """The polynomial one character on: `new` comes in, and `old`, which `lead` = base^length weighs, goes out."""
    total = _times(key, base) + new + _PRIME - _times(lead, old)
    total = (total & _PRIME) + (total >> np.uint64(61))
    return total - _PRIME if total >= _PRIME else total


@kernel
def _gram(length):  # type: ignore[no-untyped-def]
    """Longer grams lead to fewer windows in vain, and there are more anchors."""
    return length - length // 4


@kernel
def _power(base, exponent):  # type: ignore[no-untyped-def]
    result = np.uint64(1)
    for _ in range(exponent):
        result = _times(result, base)
    return result


@kernel
def _characters(data, offsets):  # type: ignore[no-untyped-def]
    rows = len(offsets) - 1
    ends = np.zeros(rows + 1, np.int64)
    size = 0
    for row in range(rows):
        for i in range(offsets[row], offsets[row + 1]):
            size += (data[i] & 0xC0) != 0x80
        ends[row + 1] = size
    codes = np.empty(size, np.uint32)
    i = offsets[0]
    for o in range(size):
        code, i = decode_utf8(data, i)
        codes[o] = code
    return codes, ends


@kernel
def _grams(codes, start, end, size, out):  # type: ignore[no-untyped-def]
    """Write the mixed hashes of all grams of codes[start:end], which is at least `size` long."""
    lead = _power(_BASE_1, size)
    key, zero = np.uint64(0), np.uint64(0)
    for i in range(start, start + size):
        key = _step(key, _BASE_1, lead, np.uint64(codes[i]) + np.uint64(1), zero)
    out[0] = mix64(key)
    for i in range(start + size, end):
        key = _step(key, _BASE_1, lead, np.uint64(codes[i]) + np.uint64(1), np.uint64(codes[i - size]) + np.uint64(1))
        out[i - start - size + 1] = mix64(key)


@kernel(inline="always")
def _next_anchor(grams, at, window, last):  # type: ignore[no-untyped-def]
    """The anchor of the window that starts at `at` and holds `window` grams, `last` being the one before's."""
    end = at + window - 1
    if last >= at:
        return end if grams[end] <= grams[last] else last
    best = at
    for i in range(at + 1, end + 1):
        if grams[i] <= grams[best]:
            best = i
    return best


@kernel
def _stretches(codes, offsets, length):  # type: ignore[no-untyped-def]
    """Stretches of windows whose anchors have one hash: first window, the one behind the last, hash, how many anchors.

    A run of one character, in which every gram is an anchor, is one stretch.
    """
    size = _gram(length)
    window = length - size + 1
    grams = np.empty(longest_row(offsets) + 1, np.uint64)
    most = len(codes)  # the worst case; pages that are never written to cost nothing
    starts, stops = np.empty(most, np.int64), np.empty(most, np.int64)
    keys, counts = np.empty(most, np.uint64), np.empty(most, np.int64)
    o = 0
    for row in range(len(offsets) - 1):
        start, end = offsets[row], offsets[row + 1]
        if end - start < length:
            continue
        _grams(codes, start, end, size, grams)
        last, first = -1, o
        for at in range(end - start - length + 1):
            anchor = _next_anchor(grams, at, window, last)
            if anchor != last:
                last = anchor
                if o > first and keys[o - 1] == grams[anchor]:
                    counts[o - 1] += 1
                else:
                    if o > first:
                        stops[o - 1] = start + at
                    starts[o], keys[o], counts[o] = start + at, grams[anchor], 1
                    o += 1
        stops[o - 1] = end - length + 1
    return starts[:o].copy(), stops[:o].copy(), keys[:o].copy(), counts[:o].copy()


@kernel
def _marked(starts, stops, size):  # type: ignore[no-untyped-def]
    """For each of `size` characters whether it lies in one of the stretches."""
    found = np.zeros(size, np.bool_)
    for k in range(len(starts)):
        found[starts[k] : stops[k]] = True
    return found


@kernel(inline="always")
def _whole(first, second):  # type: ignore[no-untyped-def]
    """122 bits as two words, the upper one spread evenly."""
    return mix64(first | (second << np.uint64(61))), second


@kernel(inline="always")
def _slot(table, numbers, low, key_high, key_low):  # type: ignore[no-untyped-def]
    """Where the table has a window, or the empty slot (number -1) where it would go."""
    mask = len(table) - 1
    slot = np.int64(key_high >> np.uint64(1)) & mask
    while numbers[slot] >= 0 and not (table[slot] == key_high and low[numbers[slot]] == key_low):
        slot = (slot + 1) & mask
    return slot


@kernel(inline="always")
def _note(places, first, p, at, number):  # type: ignore[no-untyped-def]
    """Add the window `number` at a character to places[:, first:p], which end right before it; returns the new p."""
    if p > first:
        count, step = np.int64(places[2, p - 1]), np.int64(places[3, p - 1])
        ahead = number - np.int64(places[1, p - 1]) - (count - 1) * step
        if ahead == step or (count == 1 and ahead == 0):
            places[2, p - 1], places[3, p - 1] = count + 1, ahead
            return p
    places[0, p], places[1, p], places[2, p], places[3, p] = at, number, 1, 1
    return p + 1


@kernel
def _candidates(codes, offsets, length, wanted, order):  # type: ignore[no-untyped-def]
    lead_1, lead_2 = _power(_BASE_1, length), _power(_BASE_2, length)
    zero, one = np.uint64(0), np.uint64(1)
    most = wanted.sum()
    # the worst case; pages that are never written to cost nothing
    high, low = np.empty(most, np.uint64), np.empty(most, np.uint64)
    rows, starts, times = np.empty(most, np.uint32), np.empty(most, np.uint32), np.empty(most, np.uint32)
    places = np.empty((4, most), np.uint32)
    table, numbers = np.empty(table_size(most), np.uint64), np.full(table_size(most), -1, np.int32)
    o = p = 0
    for row in order:
        start, end = offsets[row], offsets[row + 1]
        first, second = zero, zero
        at = start
        while at <= end - length:
            if not wanted[at]:
                at += 1
                continue
            first, second = zero, zero
            for i in range(at, at + length - 1):
                new = np.uint64(codes[i]) + one
                first, second = _step(first, _BASE_1, lead_1, new, zero), _step(second, _BASE_2, lead_2, new, zero)
            old = zero
            begin = p
            while at <= end - length and wanted[at]:
                new = np.uint64(codes[at + length - 1]) + one
                first, second = _step(first, _BASE_1, lead_1, new, old), _step(second, _BASE_2, lead_2, new, old)
                old = np.uint64(codes[at]) + one
                key_high, key_low = _whole(first, second)
                slot = _slot(table, numbers, low, key_high, key_low)
                number = np.int64(numbers[slot])
                if number >= 0:
                    times[number] += np.uint32(1)
                else:
                    number = o
                    table[slot], numbers[slot] = key_high, o
                    high[o], low[o], rows[o], starts[o], times[o] = key_high, key_low, row, at - start, 1
                    o += 1
                p = _note(places, begin, p, at, number)
                at += 1
    return (
        high[:o].copy(),
        low[:o].copy(),
        rows[:o].copy(),
        starts[:o].copy(),
        times[:o].copy(),
        places[:, :p].copy(),
    )


@kernel
def _spread(ats, windows, lengths, steps, size, numbers):  # type: ignore[no-untyped-def]
    found = np.full(size, -1, np.int32)
    for k in range(len(ats)):
        for i in range(lengths[k]):
            found[ats[k] + i] = numbers[windows[k] + i * steps[k]]
    return found
