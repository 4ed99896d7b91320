"""From band keys and shingle sets to survivors: integer arrays in, integer arrays out, no files.

Documents are numbered by rank, the survivor policy: 0 is the one that would rather stay than any other. Everything
below depends on ranks, keys and sets alone, so the order in which documents were read never shows.

1. `exact_heads`: documents of equal 128-bit hash are one; the best-ranked stands for all of them from here on.
2. `candidate_pairs`: in each band, each bucket gives a star to its best-ranked document and a chain through the rest
   by rank: 2 (n - 1) pairs, never n². The chain lets two documents find each other whose bucket is headed by a third.
3. `components` of the candidate pairs by union-find: what may be looked at independently of the rest.
4. `choose_survivors`, the greedy rule. In rank order each document that is not removed yet survives and removes every
   document that it reaches, in steps along candidate pairs, through documents it removes, and whose true Jaccard *to
   it* is at least the threshold. So whatever is removed has a survivor that is kept and truly similar to it. In a
   chain A ~ B ~ C with A and C unlike, A removes B and C stays. The survivor of a document is the best-ranked one that
   reaches it, not the most similar one. Each pair is looked at twice at most, so the work is linear in the pairs.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from corpuskit.dedup.minhash import Keys, Sets, find_slot, table_size
from corpuskit.text.buffers import Positions


class Survivors(NamedTuple):
    """For each document, by number, its survivor (itself when it stays) and the true Jaccard to it."""

    survivor: Positions
    jaccard: npt.NDArray[np.float64]


def exact_heads(high: Keys, low: Keys) -> Positions:
    """For each document the least number with the same 128-bit hash, which is given as two halves."""
    order = np.lexsort((low, high))  # stable: equal hashes stay in order of number
    if len(order) == 0:
        return order
    new = np.ones(len(order), np.bool_)
    new[1:] = (high[order][1:] != high[order][:-1]) | (low[order][1:] != low[order][:-1])
    heads = np.empty(len(order), np.int64)
    heads[order] = order[np.flatnonzero(new)][np.cumsum(new) - 1]
    return heads


def candidate_pairs(keys: Keys) -> Keys:
    """The pairs of one band, each packed as (lesser << 32 | greater), sorted and unique."""
    order = np.argsort(keys, kind="stable")
    in_order = keys[order]
    follows = np.zeros(len(keys), np.bool_)  # not the first of its bucket
    follows[1:] = in_order[1:] == in_order[:-1]
    first = np.maximum.accumulate(np.where(follows, 0, np.arange(len(keys))))
    at = np.flatnonzero(follows)
    members = order[at]
    return union(pack(order[first[at]], members), pack(order[at - 1], members))


def union(a: Keys, b: Keys) -> Keys:
    """The distinct numbers of both, sorted. (np.union1d hashes first, which took minutes on packed pairs.)"""
    both = np.concatenate([a, b])
    both.sort()
    new = np.ones(len(both), np.bool_)
    new[1:] = both[1:] != both[:-1]
    return both[new]


def pack(lesser: Positions, greater: Positions) -> Keys:
    """Pairs of numbers below 2^32 as one integer each."""
    return lesser.astype(np.uint64) << np.uint64(32) | greater.astype(np.uint64)


def unpack(pairs: Keys) -> tuple[Positions, Positions]:
    """The lesser and the greater number of each packed pair."""
    return (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)


@njit(cache=True, nogil=True)
def components(n: int, left: Positions, right: Positions) -> Positions:
    """Union-find with path halving over n numbers: for each the least number of its component."""
    root = np.arange(n)
    for i in range(len(left)):
        a, b = left[i], right[i]
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        if a < b:
            root[b] = a
        else:
            root[a] = b
    for i in range(n):  # a root is never greater than its member, so one pass in order settles all
        root[i] = root[root[i]]
    return root


def choose_survivors(left: Positions, right: Positions, sets: Sets, where: Positions, threshold: float) -> Survivors:
    """The greedy rule over len(where) documents and their candidate pairs; document i has set number where[i]."""
    n = len(where)
    source = np.concatenate([left, right])
    target = np.concatenate([right, left])
    order = np.argsort(source, kind="stable")
    starts = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(source, minlength=n), out=starts[1:])
    survivor, jaccard = np.full(n, -1, np.int64), np.ones(n)
    _choose(starts, target[order], sets.values, sets.offsets, where, threshold, survivor, jaccard)
    return Survivors(survivor, jaccard)


@njit(cache=True, nogil=True)
def _choose(starts, neighbours, values, offsets, where, threshold, survivor, jaccard):  # type: ignore[no-untyped-def]
    n = len(where)
    longest = 1
    for i in range(len(offsets) - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    size = table_size(longest)
    keys, stamps, stamp = np.empty(size, np.uint64), np.zeros(size, np.uint32), np.uint32(0)
    seen = np.full(n, -1, np.int64)  # the last survivor a document was compared with
    stack = np.empty(n, np.int64)
    for leader in range(n):
        if survivor[leader] != -1:
            continue
        survivor[leader] = leader
        start, end = offsets[where[leader]], offsets[where[leader] + 1]
        small = 0  # the leader's table is built when there is somebody to compare with
        depth, stack[0] = 1, leader
        while depth:
            depth -= 1
            through = stack[depth]
            for k in range(starts[through], starts[through + 1]):
                other = neighbours[k]
                if survivor[other] != -1 or seen[other] == leader:
                    continue
                seen[other] = leader
                begin, stop = offsets[where[other]], offsets[where[other] + 1]
                least, most = min(end - start, stop - begin), max(end - start, stop - begin)
                if least < threshold * most:  # even a subset would not be similar enough
                    continue
                if small == 0:
                    small = table_size(end - start)
                    stamp += np.uint32(1)
                    for i in range(start, end):
                        slot = find_slot(keys[:small], stamps[:small], stamp, values[i])
                        keys[slot], stamps[slot] = values[i], stamp
                common = 0
                for i in range(begin, stop):
                    common += stamps[find_slot(keys[:small], stamps[:small], stamp, values[i])] == stamp
                similarity = common / (end - start + stop - begin - common)
                if similarity >= threshold:
                    survivor[other], jaccard[other] = leader, similarity
                    stack[depth] = other
                    depth += 1
