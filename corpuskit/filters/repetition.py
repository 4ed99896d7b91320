"""Signals of the families `repetition` (n-grams of chars) and `word_repetition` (n-grams of words): see signals.py.

Everything is exact; counters that different n-grams may share only tell where it is worth looking.

    top n-grams        a frequent n-gram stands only where the counters of all its 2-grams are high
    duplicate n-grams  for each place, the longest stretch of up to LONGEST symbols that occurred earlier tells of all
                       sizes: first against the place where its 5-gram stands first, then, round by round, against
                       the first of those that left that one at the same symbol and go on alike
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from corpuskit.filters.chars import Chars
from corpuskit.text.buffers import longest_row

SHORTEST, LONGEST = 5, 10  # duplicate n-grams
_SEEN_BITS = 24  # at most; more places than that only mean more false alarms
REPETITION = (
    *(f"top_{n}gram_char_fraction" for n in (2, 3, 4)),
    *(f"duplicate_{n}gram_char_fraction" for n in range(SHORTEST, LONGEST + 1)),
    "frequent_5gram_fraction",
)


def measure_repetition(text: Chars) -> npt.NDArray[np.float64]:
    """The signals of REPETITION: one row a document, one column a signal."""
    out = np.zeros((len(text.offsets) - 1, len(REPETITION)), np.float64)
    longest = int(np.diff(text.char_offsets).max(initial=0))
    repetition_of(text.chars, text.char_offsets, np.arange(longest + 1, dtype=np.int32), False, out)
    return out


@njit(cache=True, nogil=True)
def repetition_of(symbols, offsets, ends, by_row, out):  # type: ignore[no-untyped-def]
    """The signals of n-grams of `symbols`, whose rows start at `offsets`.

    The first i symbols of a row have `ends[i] - ends[0]` characters, where `ends` is that of the batch from the row's
    offset on if `by_row`, and else one for all rows.
    """
    longest = max(1, longest_row(offsets))
    hashes = np.empty(longest, np.uint32)
    ceilings = np.empty(longest, np.int32)  # no n-gram that starts here is more frequent
    counters = np.empty(1 << 16, np.int32)
    bits = 6
    while bits < _SEEN_BITS and 1 << bits < 4 * longest:
        bits += 1
    seen = np.empty(1 << bits, np.uint8)
    work = np.empty((5, longest + 1), np.int32)
    lengths = np.empty(longest, np.uint8)
    slots, keys = np.empty(256, np.int32), np.empty(64, np.uint64)
    for row in range(len(offsets) - 1):
        text = symbols[offsets[row] : offsets[row + 1]]
        n = len(text)
        if n < 3:
            continue
        widths = ends[offsets[row] : offsets[row + 1] + 1] if by_row else ends[: n + 1]
        width = widths[n] - widths[0]
        guess = _ceilings(text, hashes, counters, ceilings)
        floor, frequent_places = guess + 1, 0
        for size in range(2, 5):
            best, best_width, floor, frequent_places = _top(
                text, size, ceilings[: n - 1], guess, floor, frequent_places, widths, work
            )
            out[row, size - 2] = min(1.0, best * best_width / width)
            guess = max(best // 2, 2)
        if n >= SHORTEST:
            bits = _hash_5grams(text, hashes, seen)
            places = _twice(hashes[: n - SHORTEST + 1], seen, work[0])
            if places > len(keys):
                slots, keys = np.empty(4 * places, np.int32), np.empty(places, np.uint64)
            covered, frequent = _duplicates(text, hashes, bits, places, work, lengths, slots, keys, widths)
            for size in range(SHORTEST, LONGEST + 1):
                out[row, size - 2] = covered[size] / width
            if out.shape[1] > LONGEST - 1:
                out[row, LONGEST - 1] = frequent / (n - SHORTEST + 1)


@njit(cache=True, nogil=True)
def _ceilings(text, hashes, counters, ceilings):  # type: ignore[no-untyped-def]
    """How often, at most, the 2-gram at each place occurs, and the most of these."""
    last = len(text) - 1
    bits = 8
    while bits < 16 and 1 << bits < 2 * len(text):
        bits += 1
    shift = np.uint32(32 - bits)
    counters[: 1 << bits] = 0
    for i in range(last):
        mixed = np.uint32(text[i] * np.uint32(0x9E3779B1) + text[i + 1] * np.uint32(0x85EBCA77))
        hashes[i] = np.uint32(mixed * np.uint32(0xC2B2AE3D)) >> shift
    for i in range(last):
        counters[hashes[i]] += 1
    for i in range(last):
        ceilings[i] = counters[hashes[i]]
    return counters[: 1 << bits].max()


@njit(cache=True, nogil=True)
def _top(text, size, ceilings, guess, floor, listed, widths, work):  # type: ignore[no-untyped-def]
    """How often the most frequent n-gram occurs (0 if once) and its width; of equally frequent ones the longest.

    Only n-grams that may occur `guess` times are counted; when none does, the guess is lowered. They start at places
    whose 2-gram may occur so often: work[2] lists the `listed` places of a ceiling of `floor` or more, and is made anew
    when the guess falls below that. Returns floor and listed as well, for the next size.
    """
    places, counts, often = work[0], work[1], work[2]
    last = len(text) - size + 1
    while True:
        if guess < floor:
            floor, listed = max(guess // 4, 2), 0
            for i in range(len(ceilings)):
                often[listed] = i
                listed += ceilings[i] >= floor
        candidates = 0
        for at in range(listed):
            i = often[at]
            if i >= last:
                break
            ceiling = ceilings[i]
            for k in range(1, size - 1):
                ceiling = min(ceiling, ceilings[i + k])
            places[candidates] = i
            candidates += ceiling >= guess
        bits = 4
        while 1 << bits < 2 * candidates:
            bits += 1
        shift, mask = np.uint64(64 - bits), (1 << bits) - 1
        slots = np.full(mask + 1, -1, np.int32)
        best, best_width = 1, 0
        for at in range(candidates):
            i = places[at]
            key = np.uint64(0)
            for k in range(size):
                key = (key + np.uint64(text[i + k])) * np.uint64(0x9E3779B97F4A7C15)
            slot = np.int64(key >> shift)
            while slots[slot] >= 0:
                first = slots[slot]
                k = 0
                while k < size and text[first + k] == text[i + k]:
                    k += 1
                if k == size:
                    break
                slot = (slot + 1) & mask
            if slots[slot] < 0:
                slots[slot] = i
                counts[i] = 1
                continue
            first = slots[slot]
            counts[first] += 1
            if counts[first] >= best:
                wide = widths[i + size] - widths[i]
                if counts[first] > best or wide > best_width:
                    best, best_width = counts[first], wide
        if best >= guess or guess <= 2:
            return best if best > 1 else 0, best_width, floor, listed
        guess = max(best, guess // 2, 2)


@njit(cache=True, nogil=True)
def _hash_5grams(text, hashes, seen):  # type: ignore[no-untyped-def]
    """Hash the 5-grams; `seen[hash]` is 2 where two or more share a hash. How many bits a hash has."""
    last = len(text) - SHORTEST + 1
    bits = 6
    while 1 << bits < 4 * len(text) and 1 << bits < len(seen):
        bits += 1
    shift = np.uint32(32 - bits)
    seen[: 1 << bits] = 0
    for i in range(last):
        mixed = np.uint32(
            text[i] * np.uint32(0x9E3779B1)
            + text[i + 1] * np.uint32(0x85EBCA77)
            + text[i + 2] * np.uint32(0xC2B2AE3D)
            + text[i + 3] * np.uint32(0x27D4EB2F)
            + text[i + 4] * np.uint32(0x165667B1)
        )
        hashes[i] = np.uint32(mixed * np.uint32(0x2C1B3C6D)) >> shift
    for i in range(last):
        count = seen[hashes[i]]
        seen[hashes[i]] = count + (count < 2)
    return bits


@njit(cache=True, nogil=True)
def _twice(hashes, seen, places):  # type: ignore[no-untyped-def]
    """List the places whose hash occurs twice or more; how many these are."""
    found = 0
    for i in range(len(hashes)):
        places[found] = i
        found += seen[hashes[i]] > 1
    return found


@njit(cache=True, nogil=True)
def _duplicates(text, hashes, bits, found, work, lengths, slots, keys, widths):  # type: ignore[no-untyped-def]
    """Characters covered by n-grams that occurred earlier, by size, and occurrences of the most frequent 5-grams.

    `work[0]` lists the `found` places whose 5-gram may occur twice.
    """
    n = len(text)
    places, nearest, counts, run_to, items = work[0], work[1], work[2], work[3], work[4]
    once = n - SHORTEST + 1 - found
    found = _roots(text, hashes, bits, found, places, nearest, counts, run_to, lengths, slots)
    repeated = num_roots = 0
    for at in range(found):
        i = places[at]
        is_root = np.int64(nearest[i] == i)
        places[repeated] = i
        repeated += 1 - is_root
        items[num_roots] = counts[i]
        num_roots += is_root
    frequent = _most_frequent(items[:num_roots], int(np.sqrt(once + num_roots)))

    rest = 0
    for at in range(repeated):
        i = places[at]
        items[rest] = i
        rest += np.int64((lengths[i] < LONGEST) & (i + lengths[i] < n))
    while rest > 1:
        rest = _extend(text, items, rest, nearest, lengths, slots, keys, counts)
        items, counts = counts, items

    covered, to = np.zeros(LONGEST + 1, np.int64), np.full(LONGEST + 1, widths[0], np.int64)
    for at in range(repeated):
        i = places[at]
        begin, last = np.int64(widths[i]), run_to[i]
        for size in range(SHORTEST, lengths[i] + 1):
            end = np.int64(widths[min(last + size, n)])
            covered[size] += end - max(to[size], begin)
            to[size] = end
    return covered, frequent


@njit(cache=True, nogil=True)
def _roots(text, hashes, bits, found, places, nearest, counts, run_to, lengths, slots):  # type: ignore[no-untyped-def]
    """Find the root of the 5-gram at each of `places`: where it stands first. How many of the places stay in the list.

    `nearest` is the root, `counts` tells of a root how often its 5-gram stands anywhere, `lengths` how many symbols (0
    for a root, at most LONGEST) a place has in common with its root. Where that is LONGEST, the two are followed as
    long as they agree: `run_to` is the last place of such a run, and of its places only the first one stays.
    """
    n = len(text)
    size_bits = 4
    while 1 << size_bits < found + found // 2:
        size_bits += 1
    left, right, mask = max(size_bits - bits, 0), max(bits - size_bits, 0), (1 << size_bits) - 1
    slots[: mask + 1] = -1
    at = kept = 0
    while at < found:
        i = places[at]
        places[kept] = i
        at += 1
        kept += 1
        slot = (np.int64(hashes[i]) << left) >> right
        root = slots[slot] if slots[slot] >= 0 else i  # without a branch: which of them it is cannot be foretold
        while not _same(text, root, i):
            slot = (slot + 1) & mask
            root = slots[slot] if slots[slot] >= 0 else i
        slots[slot] = root
        counts[root] = 1 + (counts[root] if root != i else 0)
        nearest[i] = root
        run_to[i] = i
        lengths[i] = 0
        if root == i:
            continue
        length = _common(text, root, i, SHORTEST)
        lengths[i] = length
        if length < LONGEST:
            continue
        first = i
        root += 1
        i += 1
        while i + LONGEST <= n and text[i + LONGEST - 1] == text[root + LONGEST - 1]:
            nearest[i] = nearest[root]
            counts[nearest[i]] += 1
            root += 1
            i += 1
        run_to[first] = i - 1
        at += i - 1 - first
    return kept


@njit(cache=True, nogil=True)
def _same(text, a, b):  # type: ignore[no-untyped-def]
    """Whether the 5 symbols at two places are equal."""
    return (
        (text[a] == text[b])
        & (text[a + 1] == text[b + 1])
        & (text[a + 2] == text[b + 2])
        & (text[a + 3] == text[b + 3])
        & (text[a + 4] == text[b + 4])
    )


@njit(cache=True, nogil=True)
def _common(text, a, b, length):  # type: ignore[no-untyped-def]
    """How many symbols, at most LONGEST, are equal from a place and from a later one on; `length` are known to be."""
    most = min(LONGEST, len(text) - b)
    while length < most and text[a + length] == text[b + length]:
        length += 1
    return length


@njit(cache=True, nogil=True)
def _most_frequent(counts, wanted):  # type: ignore[no-untyped-def]
    """Occurrences of the `wanted` most frequent n-grams, those that occur once left out (BigScience)."""
    by_count = np.zeros(counts.max() + 1 if len(counts) else 1, np.int64)
    for count in counts:
        by_count[count] += 1
    frequent = 0
    for count in range(len(by_count) - 1, 1, -1):
        taken = min(wanted, by_count[count])
        frequent += taken * count
        wanted -= taken
    return frequent


@njit(cache=True, nogil=True)
def _extend(text, items, num, nearest, lengths, slots, keys, out):  # type: ignore[no-untyped-def]
    """Look for an earlier place that has more symbols in common with each of `items` than its nearest one has.

    Such a place has the same nearest one, leaves it after as many symbols, and goes on with the same symbol. The first
    of them becomes the nearest. Lists in `out` those that may go further still; how many these are.
    """
    size_bits = 4
    while 1 << size_bits < 2 * num:
        size_bits += 1
    shift, mask = np.uint64(64 - size_bits), (1 << size_bits) - 1
    slots[: mask + 1] = -1
    left = 0
    for at in range(num):
        i = items[at]
        length = np.int64(lengths[i])
        key = np.uint64(nearest[i]) << np.uint64(32) | np.uint64(text[i + length]) << np.uint64(4) | np.uint64(length)
        keys[at] = key
        slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        first = slots[slot] if slots[slot] >= 0 else at
        while keys[first] != key:
            slot = (slot + 1) & mask
            first = slots[slot] if slots[slot] >= 0 else at
        slots[slot] = first
        if first == at:
            continue
        nearest[i] = items[first]
        length = _common(text, items[first], i, length + 1)
        lengths[i] = length
        out[left] = i
        left += np.int64((length < LONGEST) & (i + length < len(text)))
    return left
