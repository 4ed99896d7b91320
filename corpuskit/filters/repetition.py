"""Signals of the families `repetition` (n-grams of chars) and `word_repetition` (n-grams of words): see signals.py.

Everything is exact; counters that different n-grams may share only tell where it is worth looking.

    top n-grams        a frequent n-gram stands only where the counters of all its 2-grams are high
    duplicate n-grams  for each place, the longest stretch of up to LONGEST symbols that occurred earlier tells of all
                       sizes. It is found in a trie of the earlier n-grams, or, where a long stretch goes on, by
                       comparing one more symbol with its earlier copy
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from corpuskit.filters.chars import Chars

SHORTEST, LONGEST = 5, 10  # duplicate n-grams
_SEEN_BITS = 24  # at most; more places than that only mean more false alarms
_ROOM = 1 << 20  # slots a document's tables start with at most, so that one giant line of one character stays small
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
    longest = 1
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    hashes = np.empty(longest, np.uint32)
    ceilings = np.empty(longest, np.int32)  # no n-gram that starts here is more frequent
    counters = np.empty(1 << 16, np.int32)
    bits = 6
    while bits < _SEEN_BITS and 1 << bits < 4 * longest:
        bits += 1
    seen = np.empty(1 << bits, np.uint8)
    room = 256
    while room < min(4 * longest, _ROOM):
        room *= 2
    slots, link_keys, link_nodes = np.empty(room, np.int32), np.empty(room, np.uint64), np.empty(room, np.int32)
    work = np.empty((4, longest + 1), np.int32)
    tree = np.empty((2, 2 * longest + 2), np.int32)
    for row in range(len(offsets) - 1):
        text = symbols[offsets[row] : offsets[row + 1]]
        n = len(text)
        if n < 3:
            continue
        widths = ends[offsets[row] : offsets[row + 1] + 1] if by_row else ends[: n + 1]
        width = widths[n] - widths[0]
        _ceilings(text, hashes, counters, ceilings)
        guess = ceilings[: n - 1].max()
        for size in range(2, 5):
            best, best_width = _top(text, size, ceilings, guess, widths, work)
            out[row, size - 2] = min(1.0, best * best_width / width)
            guess = max(best // 2, 2)
        if n >= SHORTEST:
            flagged, bits = _flag(text, hashes, seen)
            room = 256
            while room < min(2 * flagged, _ROOM):
                room *= 2
            while True:
                if room > len(slots):
                    slots, link_keys = np.empty(room, np.int32), np.empty(room, np.uint64)
                    link_nodes = np.empty(room, np.int32)
                covered, frequent = _duplicates(
                    text, hashes, bits, seen, slots[:room], work, tree, link_keys[:room], link_nodes[:room], widths
                )
                if frequent >= 0:
                    break
                room *= 4
            for size in range(SHORTEST, LONGEST + 1):
                out[row, size - 2] = covered[size] / width
            if out.shape[1] > LONGEST - 1:
                out[row, LONGEST - 1] = frequent / (n - SHORTEST + 1)


@njit(cache=True, nogil=True)
def _ceilings(text, hashes, counters, ceilings):  # type: ignore[no-untyped-def]
    """How often, at most, the 2-gram at each place occurs."""
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


@njit(cache=True, nogil=True)
def _top(text, size, ceilings, guess, widths, work):  # type: ignore[no-untyped-def]
    """How often the most frequent n-gram occurs (0 if once) and its width; of equally frequent ones the longest.

    Only n-grams that may occur `guess` times are counted; when none does, the guess is lowered.
    """
    places, counts = work[0], work[1]
    last = len(text) - size + 1
    while True:
        candidates = 0
        for i in range(last):
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
            return best if best > 1 else 0, best_width
        guess = max(best, guess // 2, 2)


@njit(cache=True, nogil=True)
def _flag(text, hashes, seen):  # type: ignore[no-untyped-def]
    """Hash the 5-grams; `seen[hash]` is 2 where two or more share a hash. How many do so again, and bits of a hash."""
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
    flagged = 0
    for i in range(last):
        count = seen[hashes[i]]
        seen[hashes[i]] = count + (count < 2)
        flagged += count > 0
    return flagged, bits


@njit(cache=True, nogil=True)
def _duplicates(text, hashes, bits, seen, slots, work, tree, link_keys, link_nodes, widths):  # type: ignore[no-untyped-def]
    """Characters covered by n-grams that occurred earlier, by size, and occurrences of the most frequent 5-grams.

    The trie: n-grams of SHORTEST symbols are found by hash, by the place where they first occur. Each leads to a node;
    a node stands for a stretch that starts at `tree[0]` and is the same, `tree[1]` symbols far, wherever the node was
    met. There it branches, by the next symbol. Occurrences are -1 when the tables were too small.
    """
    n = len(text)
    last = n - SHORTEST + 1
    golden = np.uint64(0x9E3779B97F4A7C15)
    roots, counts, root_of, node_of = work[0], work[1], work[2], work[3]
    starts, reaches = tree[0], tree[1]
    mask = len(slots) - 1
    room_bits = 0
    while 1 << room_bits < len(slots):
        room_bits += 1
    left, right = max(room_bits - bits, 0), max(bits - room_bits, 0)
    full = 3 * len(slots) // 4
    slots[:] = -1
    link_keys[:] = 0
    num_links = num_nodes = num_roots = unique = 0
    covered, covered_to = np.zeros(LONGEST + 1, np.int64), np.full(LONGEST + 1, widths[0], np.int64)

    i = 0
    while i < last:
        if seen[hashes[i]] < 2:
            unique += 1
            i += 1
            continue
        slot = (np.int64(hashes[i]) << left) >> right
        root = slots[slot]
        while root >= 0 and not (
            text[root] == text[i]
            and text[root + 1] == text[i + 1]
            and text[root + 2] == text[i + 2]
            and text[root + 3] == text[i + 3]
            and text[root + 4] == text[i + 4]
        ):
            slot = (slot + 1) & mask
            root = slots[slot]
        if num_roots >= full or num_links >= full:
            return covered, -1
        if root < 0:  # the first of its kind
            slots[slot] = i
            root_of[i] = i
            counts[i] = 1
            roots[num_roots] = i
            num_roots += 1
            node_of[i] = num_nodes
            starts[num_nodes], reaches[num_nodes] = i, LONGEST
            num_nodes += 1
            i += 1
            continue
        root_of[i] = root
        counts[root] += 1

        node = node_of[root]
        above = -1  # the link that leads to the node
        length = SHORTEST
        most = min(LONGEST, n - i)
        while True:
            start, reach = starts[node], min(reaches[node], most)
            while length < reach and text[start + length] == text[i + length]:
                length += 1
            if length == most:
                break
            if length < reaches[node]:  # branch off in the middle: a new node above this one
                upper = num_nodes
                starts[upper], reaches[upper] = start, length
                if above < 0:
                    node_of[root] = upper
                else:
                    link_nodes[above] = upper
                key = ((np.uint64(upper) << np.uint64(32)) | np.uint64(text[start + length])) + np.uint64(1)
                slot = np.int64((key * golden) >> np.uint64(32)) & mask
                while link_keys[slot] != 0:
                    slot = (slot + 1) & mask
                link_keys[slot], link_nodes[slot] = key, node
                node = upper
                num_nodes += 1
                num_links += 1
            key = ((np.uint64(node) << np.uint64(32)) | np.uint64(text[i + length])) + np.uint64(1)
            above = np.int64((key * golden) >> np.uint64(32)) & mask
            while link_keys[above] != 0 and link_keys[above] != key:
                above = (above + 1) & mask
            if link_keys[above] == 0:
                link_keys[above], link_nodes[above] = key, num_nodes
                starts[num_nodes], reaches[num_nodes] = i, LONGEST
                num_nodes += 1
                num_links += 1
                break
            node = link_nodes[above]
        for size in range(SHORTEST, length + 1):
            covered[size] += widths[i + size] - max(covered_to[size], widths[i])
            covered_to[size] = widths[i + size]
        i += 1
        if length == LONGEST:
            begin = i
            start += 1
            while i + LONGEST <= n and text[i + LONGEST - 1] == text[start + LONGEST - 1]:
                root = root_of[start]
                root_of[i] = root
                counts[root] += 1
                i += 1
                start += 1
            if i > begin:
                for size in range(SHORTEST, LONGEST + 1):
                    covered[size] += widths[i - 1 + size] - widths[begin - 1 + size]
                    covered_to[size] = widths[i - 1 + size]

    # BigScience: the most frequent n-grams, as many as the root of how many differ, those that occur once left out
    frequent = 0
    if num_roots:
        highest = 1
        for at in range(num_roots):
            highest = max(highest, counts[roots[at]])
        by_count = np.zeros(highest + 1, np.int64)
        for at in range(num_roots):
            by_count[counts[roots[at]]] += 1
        wanted = int(np.sqrt(unique + num_roots))
        for count in range(highest, 1, -1):
            taken = min(wanted, by_count[count])
            frequent += taken * count
            wanted -= taken
    return covered, frequent
