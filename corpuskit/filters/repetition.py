"""Signals of the families `repetition` (n-grams of chars) and `word_repetition` (n-grams of words): see signals.py.

A duplicated (n + 1)-gram starts only where two duplicated n-grams follow each other, and the pair of their numbers
names it. So each size looks only at the places that were duplicates one size below, with exact 64-bit keys and tables
that shrink from size to size.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from corpuskit.filters.chars import Chars

REPETITION = (
    *(f"top_{n}gram_char_fraction" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_char_fraction" for n in range(5, 11)),
    "frequent_5gram_fraction",
)


def measure_repetition(text: Chars) -> npt.NDArray[np.float64]:
    """The signals of REPETITION: one row a document, one column a signal."""
    out = np.zeros((len(text.offsets) - 1, len(REPETITION)), np.float64)
    ends = np.arange(len(text.chars) + 1)
    repetition_of(text.chars, text.char_offsets, ends, out)
    return out


@njit(cache=True, nogil=True)
def _intern(key, keys, num, slots, mask, shift):  # type: ignore[no-untyped-def]
    """The number of a key among those seen, `num` if it is new, and the slot it is or would be in."""
    slot = np.int64(key * np.uint64(0x9E3779B97F4A7C15) >> shift)
    while True:
        at = slots[slot]
        if at < 0:
            return num, slot
        if keys[at] == key:
            return at, slot
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def repetition_of(symbols, offsets, ends, out):  # type: ignore[no-untyped-def]
    """The signals of n-grams of `symbols`; the symbols before place i of the batch have `ends[i]` characters."""
    longest = 1
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    places = np.empty(longest, np.int32)  # where an n-gram starts that may be duplicated
    names = np.empty(longest, np.int32)  # its number
    keys = np.empty(longest, np.uint64)
    counts = np.empty(longest, np.int32)
    first_place = np.empty(longest, np.int32)
    slots = np.empty(8 * longest + 1024, np.int32)
    for row in range(len(offsets) - 1):
        start = offsets[row]
        n = offsets[row + 1] - start
        if n < 3:
            continue
        width = ends[start + n] - ends[start]
        candidates = n
        for i in range(n):
            places[i], names[i] = start + i, np.int32(symbols[start + i])
        result = out[row]
        for size in range(2, 11):
            mask, shift = 1023, np.uint64(54)
            slots[:1024] = -1
            num = 0
            covered = 0
            covered_to = ends[start]
            kept = 0
            for k in range(candidates - 1):
                place = places[k]
                if places[k + 1] != place + 1:
                    continue
                key = (np.uint64(names[k]) << np.uint64(32)) | np.uint64(names[k + 1])
                name, slot = _intern(key, keys, num, slots, mask, shift)
                if name == num:
                    keys[num], counts[num], first_place[num], slots[slot] = key, 1, place, num
                    num += 1
                    if 2 * num > mask:  # grow
                        mask, shift = 4 * mask + 3, shift - np.uint64(2)
                        slots[: mask + 1] = -1
                        for again in range(num):
                            _, slot = _intern(keys[again], keys, again, slots, mask, shift)
                            slots[slot] = again
                else:
                    counts[name] += 1
                    if size >= 5:
                        covered += ends[place + size] - max(covered_to, ends[place])
                        covered_to = ends[place + size]
                places[kept], names[kept] = place, name
                kept += 1
            if size <= 4:
                best = 1
                best_width = 0
                for name in range(num):
                    if counts[name] >= best and counts[name] > 1:
                        wide = ends[first_place[name] + size] - ends[first_place[name]]
                        if counts[name] > best or wide > best_width:
                            best, best_width = counts[name], wide
                result[size - 2] = min(1.0, best * best_width / width)
            else:
                result[size - 2] = covered / width
            if size == 5 and num and len(result) > 9:
                # BigScience: the most frequent sqrt(distinct) n-grams, those that occur once left out
                distinct = (n - 4 - kept) + num
                by_count = np.zeros(counts[:num].max() + 1, np.int64)
                for name in range(num):
                    by_count[counts[name]] += 1
                wanted = int(np.sqrt(distinct))
                occurrences = 0
                for count in range(len(by_count) - 1, 1, -1):
                    taken = min(wanted, by_count[count])
                    occurrences += taken * count
                    wanted -= taken
                result[9] = occurrences / (n - 4)
            candidates = 0
            for k in range(kept):
                if counts[names[k]] > 1:
                    places[candidates], names[candidates] = places[k], names[k]
                    candidates += 1
            if candidates < 2:
                break
