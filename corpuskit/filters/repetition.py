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

from corpuskit.filters.chars import Chars
from corpuskit.text.buffers import longest_row
from corpuskit.text.kernel import kernel

SHORTEST, LONGEST = 5, 10  # duplicate n-grams
_NONE = np.uint32(0xFFFFFFFF)  # no place, or no symbol
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


@kernel
def repetition_of(symbols, offsets, ends, by_row, out):  # type: ignore[no-untyped-def]
    """The signals of n-grams of `symbols`, whose rows start at `offsets`.

    The first i symbols of a row have `ends[i] - ends[0]` characters, where `ends` is that of the batch from the row's
    offset on if `by_row`, and else one for all rows.
    """
    longest = max(1, longest_row(offsets))
    # a row and _NONE behind it: there no two n-grams go on alike, and _same and _common may look without asking
    text = np.empty(longest + LONGEST, np.uint32)
    hashes = np.empty(longest, np.uint32)
    ceilings = np.empty(longest, np.uint32)  # no n-gram that starts here is more frequent
    counters = np.empty(1 << 16, np.uint32)
    bits = 6
    while bits < _SEEN_BITS and 1 << bits < 4 * longest:
        bits += 1
    seen = np.empty(1 << bits, np.uint8)
    work = np.empty((4, longest + 1), np.uint32)
    lengths, cover = np.empty(longest, np.uint8), np.empty(longest, np.uint8)
    slots, keys = np.empty(256, np.uint32), np.empty(64, np.uint64)
    for row in range(len(offsets) - 1):
        n = offsets[row + 1] - offsets[row]
        if n < 3:
            continue
        text[:n] = symbols[offsets[row] : offsets[row + 1]]
        text[n : n + LONGEST] = _NONE
        widths = ends[offsets[row] : offsets[row + 1] + 1] if by_row else ends[: n + 1]
        width = widths[n] - widths[0]
        guess = _ceilings(text[:n], hashes, counters, ceilings)
        floor, frequent_places = guess + 1, 0
        for size in range(2, 5):
            best, best_width, floor, frequent_places = _top(
                text, n, size, ceilings, guess, floor, frequent_places, widths, work
            )
            out[row, size - 2] = min(1.0, best * best_width / width)
            guess = max(best // 2, 2)
        if n >= SHORTEST:
            bits = _hash_5grams(text[:n], hashes, seen)
            places = _twice(hashes[: n - SHORTEST + 1], seen, work[0])
            if places > len(keys):
                slots, keys = np.empty(4 * places, np.uint32), np.empty(places, np.uint64)
            covered, frequent = _duplicates(text, n, hashes, bits, places, work, lengths, cover, slots, keys, widths)
            for size in range(SHORTEST, LONGEST + 1):
                out[row, size - 2] = covered[size] / width
            if out.shape[1] > LONGEST - 1:
                out[row, LONGEST - 1] = frequent / (n - SHORTEST + 1)


@kernel
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
    return np.int64(counters[: 1 << bits].max())


@kernel
def _top(text, n, size, ceilings, guess, floor, listed, widths, work):  # type: ignore[no-untyped-def]
    """How often the most frequent n-gram occurs (0 if once) and its width; of equally frequent ones the longest.

    Only n-grams that may occur `guess` times are counted; when none does, the guess is lowered. They start at places
    whose 2-gram may occur so often: work[2] lists the `listed` places of a ceiling of `floor` or more, and is made anew
    when the guess falls below that. Returns floor and listed as well, for the next size.
    """
    places, counts, often = work[0], work[1], work[2]
    last = n - size + 1
    while True:
        if guess < floor:
            floor, listed = max(guess // 4, 2), 0
            for i in range(n - 1):
                often[listed] = i
                listed += ceilings[i] >= floor
        candidates = 0
        for at in range(listed):
            i = np.int64(often[at])
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
        slots = np.full(mask + 1, _NONE, np.uint32)
        best, best_width = 1, 0
        for at in range(candidates):
            i = np.int64(places[at])
            key = np.uint64(0)
            for k in range(size):
                key = (key + np.uint64(text[i + k])) * np.uint64(0x9E3779B97F4A7C15)
            slot = np.int64(key >> shift)
            first = np.int64(min(slots[slot], places[at]))
            while not _same(text, first, i, size):
                slot = (slot + 1) & mask
                first = np.int64(min(slots[slot], places[at]))
            slots[slot] = first
            counts[first] = 1 + counts[first] * (first < i)
            if counts[first] >= best:
                wide = widths[i + size] - widths[i]
                if counts[first] > best or wide > best_width:
                    best, best_width = np.int64(counts[first]), wide
        if best >= guess or guess <= 2:
            return best if best > 1 else 0, best_width, floor, listed
        guess = max(best, guess // 2, 2)


@kernel
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


@kernel
def _twice(hashes, seen, places):  # type: ignore[no-untyped-def]
    """List the places whose hash occurs twice or more; how many these are."""
    found = 0
    for i in range(len(hashes)):
        places[found] = i
        found += seen[hashes[i]] > 1
    return found


@kernel
def _duplicates(text, n, hashes, bits, found, work, lengths, cover, slots, keys, widths):  # type: ignore[no-untyped-def]
    """Characters covered by n-grams that occurred earlier, by size, and occurrences of the most frequent 5-grams.

    `work[0]` lists the `found` places whose 5-gram may occur twice.
    """
    places, nearest, counts, items = work[0], work[1], work[2], work[3]
    once = n - SHORTEST + 1 - found
    lengths[:n] = 0
    found = _roots(text, hashes, bits, found, places, nearest, counts, lengths, slots)
    repeated = num_roots = 0
    for at in range(found):
        i = np.int64(places[at])
        is_root = np.int64(nearest[i] == i)
        places[repeated] = i
        repeated += 1 - is_root
        items[num_roots] = counts[i]
        num_roots += is_root
    frequent = _most_frequent(items[:num_roots], int(np.sqrt(once + num_roots)))

    rest = 0
    for at in range(repeated):
        i = np.int64(places[at])
        items[rest] = i
        rest += np.int64((lengths[i] < LONGEST) & (i + lengths[i] < n))
    while rest > 1:
        rest = _extend(text, n, items, rest, nearest, lengths, slots, keys, counts)
        items, counts = counts, items

    covered = np.zeros(LONGEST + 1, np.int64)
    if repeated:
        _cover(lengths[:n], cover[:n])
        for size in range(SHORTEST, LONGEST + 1):
            chars = np.int32(0)
            for i in range(n):  # 32 bits throughout, for the sake of vector instructions
                chars = np.int32(chars + np.int32(widths[i + 1] - widths[i]) * np.int32(cover[i] >= size))
            covered[size] = chars
    return covered, frequent


@kernel
def _cover(lengths, cover):  # type: ignore[no-untyped-def]
    """The size of the largest repeated n-gram that covers each symbol; one of each smaller size covers it as well."""
    cover[:] = lengths
    for back in range(1, LONGEST):
        shortest = np.uint8(back + 1)
        begun, here = lengths[:-back], cover[back:]  # slices, for the same reason
        for i in range(len(begun)):
            here[i] = max(here[i], begun[i] if begun[i] >= shortest else np.uint8(0))


@kernel
def _roots(text, hashes, bits, found, places, nearest, counts, lengths, slots):  # type: ignore[no-untyped-def]
    """Find the root of the 5-gram at each of `places`: where it stands first. How many of the places stay in the list.

    `nearest` is the root, `counts` tells of a root how often its 5-gram stands anywhere, `lengths` how many symbols (0
    for a root, at most LONGEST) a place has in common with its root. Where that is LONGEST, the two are followed as
    long as they agree, and of the places of such a run only the first one stays.

    Places are unsigned, so that no index needs a look at its sign, and the smaller of what a slot holds and the place
    itself is the root.
    """
    size_bits = 4
    while 1 << size_bits < found + found // 2:
        size_bits += 1
    left, right, mask = max(size_bits - bits, 0), max(bits - size_bits, 0), (1 << size_bits) - 1
    slots[: mask + 1] = _NONE
    at = kept = 0
    while at < found:
        here = places[at]
        places[kept] = here
        at += 1
        kept += 1
        i = np.int64(here)
        slot = np.int64(np.uint32((hashes[i] << left) >> right))
        root = np.int64(min(slots[slot], here))
        while not _same(text, root, i, SHORTEST):
            slot = np.int64(np.uint32((slot + 1) & mask))
            root = np.int64(min(slots[slot], here))
        slots[slot] = root
        again = root < i
        counts[root] = 1 + counts[root] * again
        nearest[i] = root
        length = _common(text, root, i) * again
        lengths[i] = length
        if length < LONGEST:
            continue
        root += 1
        i += 1
        while text[i + LONGEST - 1] == text[root + LONGEST - 1]:
            nearest[i] = nearest[root]
            counts[nearest[i]] += 1
            lengths[i] = LONGEST
            root += 1
            i += 1
        at += i - 1 - here
    return kept


@kernel
def _same(text, a, b, size):  # type: ignore[no-untyped-def]
    """Whether the `size` (2 to SHORTEST) symbols at two places are equal: without a branch, as in _common."""
    return (
        (text[a] == text[b])
        & (text[a + 1] == text[b + 1])
        & ((text[a + 2] == text[b + 2]) | (size < 3))
        & ((text[a + 3] == text[b + 3]) | (size < 4))
        & ((text[a + 4] == text[b + 4]) | (size < 5))
    )


@kernel
def _common(text, a, b):  # type: ignore[no-untyped-def]
    """How many symbols, at most LONGEST, are equal from two places on: SHORTEST are known to be.

    Where they part cannot be foretold, so a branch at each symbol would cost more than looking at all of them.
    """
    length, unequal = SHORTEST, np.uint32(0)
    for k in range(SHORTEST, LONGEST):
        unequal |= text[a + k] ^ text[b + k]
        length += unequal == 0
    return length


@kernel
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


@kernel
def _extend(text, n, items, num, nearest, lengths, slots, keys, out):  # type: ignore[no-untyped-def]
    """Look for an earlier place that has more symbols in common with each of `items` than its nearest one has.

    Such a place has the same nearest one, leaves it after as many symbols, and goes on with the same symbol. The first
    of them becomes the nearest. Lists in `out` those that may go further still; how many these are.
    """
    size_bits = 4
    while 1 << size_bits < 2 * num:
        size_bits += 1
    shift, mask = np.uint64(64 - size_bits), (1 << size_bits) - 1
    slots[: mask + 1] = _NONE
    left = 0
    for at in range(num):
        i = np.int64(items[at])
        length = np.int64(lengths[i])
        key = np.uint64(nearest[i]) << np.uint64(32) | np.uint64(text[i + length]) << np.uint64(4) | np.uint64(length)
        keys[at] = key
        slot = np.int64((key * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        first = min(np.int64(slots[slot]), at)
        while keys[first] != key:
            slot = (slot + 1) & mask
            first = min(np.int64(slots[slot]), at)
        slots[slot] = first
        if first == at:
            continue
        nearest[i] = items[first]
        length = _common(text, np.int64(items[first]), i)
        lengths[i] = length
        out[left] = i
        left += np.int64((length < LONGEST) & (i + length < n))
    return left
