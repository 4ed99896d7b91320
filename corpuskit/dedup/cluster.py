"""The decisions of deduplication on integer arrays, no files: who is proposed to whom, what hangs together, who stays.

1. `bucket_pairs`: the members of a bucket propose pairs to each other: all of them up to 32 members, at most
   1,024 + 2 n in a larger one, never n². Everyone meets the member of the least name; beyond that the members stand in
   order of their key in the next band, where the more alike lie closer, and meet the next 1,024 / n (at least one).
2. `unite`: union-find, the least number as root: what may be looked at independently of the rest.
3. `choose_survivors`, the greedy rule. In order of rank each document that is not removed yet survives and removes
   every document that it reaches, in steps along proposed pairs, through documents it removes, and whose true Jaccard
   *to it* is at least the threshold. So whatever is removed has a survivor that is kept and truly similar to it. In a
   chain A ~ B ~ C with A and C unlike, A removes B and C stays. The survivor of a document is the best-ranked one that
   reaches it, not the most similar one. Each pair is looked at twice at most, so the work is linear in the pairs.

Names are hashes of matching shadows, so which pairs are proposed depends on the texts alone, and not on the order, the
cut or the names of the files they came in.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from corpuskit.dedup.minhash import Keys, Sets, find_slot, table_size
from corpuskit.text.buffers import Positions, longest_row
from corpuskit.text.kernel import kernel

_FULL_PAIRS = 1024  # about the pairs of 32 members, and what a larger bucket may spend on neighbours


class Survivors(NamedTuple):
    """For each document, by number, its survivor (itself when it stays) and the true Jaccard to it."""

    survivor: Positions
    jaccard: npt.NDArray[np.float64]


def bucket_pairs(keys: Keys, following: Keys, names: Keys) -> tuple[Keys, Keys]:
    """The pairs of one band as two arrays of names, the lesser first.

    Args:
        keys: the key of each document in the band.
        following: its key in another band, by which large buckets are put in order.
        names: its name. A pair of one name twice says that two documents carry it.
    """
    order = np.argsort(keys)
    in_order = keys[order]
    same = in_order[1:] == in_order[:-1]
    shared = np.zeros(len(keys), np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    chosen = order[shared]
    chosen = chosen[np.lexsort((names[chosen], following[chosen], keys[chosen]))]
    return _bucket_pairs(keys[chosen], names[chosen])


@kernel
def _bucket_pairs(keys, names):  # type: ignore[no-untyped-def]
    n = len(keys)
    left, right = np.empty(0, np.uint64), np.empty(0, np.uint64)
    for filling in (False, True):  # count, then fill
        total = 0
        start = 0
        while start < n:
            end, head = start + 1, start
            while end < n and keys[end] == keys[start]:
                if names[end] < names[head]:
                    head = end
                end += 1
            reach = max(1, _FULL_PAIRS // (end - start))
            for i in range(start, end):
                for j in range(i + 1, min(end, i + 1 + reach)):
                    if filling:
                        left[total], right[total] = min(names[i], names[j]), max(names[i], names[j])
                    total += 1
                if abs(i - head) > reach:
                    if filling:
                        left[total], right[total] = names[head], names[i]
                    total += 1
            start = end
        if not filling:
            left, right = np.empty(total, np.uint64), np.empty(total, np.uint64)
    return left, right


def distinct(values: Keys) -> Keys:
    """The distinct numbers, sorted. (np.unique hashes first, which took minutes on packed pairs.)"""
    values = np.sort(values)
    new = np.ones(len(values), np.bool_)
    new[1:] = values[1:] != values[:-1]
    return values[new]


def groups(high: Keys, low: Keys) -> tuple[Positions, Positions]:
    """Which rows share both numbers with another: those rows, sorted by them, and the number of each one's group."""
    order = np.lexsort((low, high))
    a, b = high[order], low[order]
    same = (a[1:] == a[:-1]) & (b[1:] == b[:-1])
    shared = np.zeros(len(order), np.bool_)
    shared[1:] |= same
    shared[:-1] |= same
    first = shared.copy()
    first[1:] &= ~same
    return order[shared], (np.cumsum(first) - 1)[shared]


@kernel
def unite(root: Positions, left: Positions, right: Positions) -> None:
    """Union-find with path halving: joins left[i] and right[i] in `root`, the lesser root above the greater."""
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


@kernel
def settle(root: Positions) -> None:
    """Point every number at its root itself. A root is never greater than its member, so one pass in order does."""
    for i in range(len(root)):
        root[i] = root[root[i]]


@kernel
def _add_neighbours(ends, neighbours, left, right):  # type: ignore[no-untyped-def]
    for i in range(len(left)):
        a, b = left[i], right[i]
        ends[a] -= 1
        neighbours[ends[a]] = b
        ends[b] -= 1
        neighbours[ends[b]] = a


class Graph(NamedTuple):
    """Proposed pairs by document: those of i are neighbours[starts[i]:starts[i + 1]]; a pair may stand there twice."""

    starts: Positions
    neighbours: Positions

    @classmethod
    def empty(cls, degrees: Positions, neighbours: Positions) -> Graph:
        """Room for so many neighbours each, to be filled by `add`; `starts` are right when all have been added."""
        return cls(np.concatenate([np.cumsum(degrees), [int(degrees.sum())]]), neighbours)

    def add(self, left: Positions, right: Positions) -> None:
        """Add pairs, each once in both directions."""
        _add_neighbours(self.starts, self.neighbours, left, right)


def graph(n: int, left: Positions, right: Positions) -> Graph:
    """The graph of pairs that are in memory."""
    degrees = np.bincount(left, minlength=n) + np.bincount(right, minlength=n)
    made = Graph.empty(degrees, np.empty(2 * len(left), np.int64))
    made.add(left, right)
    return made


def choose_survivors(
    pairs: Graph, sets: Sets, where: Positions, threshold: float, frozen: npt.NDArray[np.bool_] | None = None
) -> Survivors:
    """The greedy rule over len(where) documents in order of rank; document i has set number where[i].

    Those that are `frozen` are never removed.
    """
    n = len(where)
    survivor, jaccard = np.full(n, -1, np.int64), np.ones(n)
    if frozen is not None:
        survivor[frozen] = np.flatnonzero(frozen)
    _choose(pairs.starts, pairs.neighbours, sets.values, sets.offsets, where, threshold, survivor, jaccard)
    return Survivors(survivor, jaccard)


@kernel
def _choose(starts, neighbours, values, offsets, where, threshold, survivor, jaccard):  # type: ignore[no-untyped-def]
    n = len(where)
    size = table_size(max(1, longest_row(offsets)))
    keys, stamps, stamp = np.empty(size, np.uint64), np.zeros(size, np.uint32), np.uint32(0)
    seen = np.full(n, -1, np.int64)  # the last survivor a document was compared with
    stack = np.empty(n, np.int64)
    for leader in range(n):
        if survivor[leader] != -1 and survivor[leader] != leader:
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


@kernel
def jaccard_of(values, offsets, a, b):  # type: ignore[no-untyped-def]
    """The true Jaccard of the sets a[i] and b[i], for each i; cheapest where equal a stand together."""
    out = np.empty(len(a), np.float64)
    keys, stamps, stamp = np.empty(0, np.uint64), np.zeros(0, np.uint32), np.uint32(1)
    for k in range(len(a)):
        start, end = offsets[a[k]], offsets[a[k] + 1]
        begin, stop = offsets[b[k]], offsets[b[k] + 1]
        if k == 0 or a[k] != a[k - 1]:
            size = table_size(end - start)
            keys, stamps = np.empty(size, np.uint64), np.zeros(size, np.uint32)
            for i in range(start, end):
                slot = find_slot(keys, stamps, stamp, values[i])
                keys[slot], stamps[slot] = values[i], stamp
        common = 0
        for i in range(begin, stop):
            common += stamps[find_slot(keys, stamps, stamp, values[i])] == stamp
        out[k] = common / (end - start + stop - begin - common)
    return out


def true_pairs(pairs: Graph, sets: Sets, where: Positions, threshold: float) -> Positions:
    """For each document the best-ranked one of its component of pairs whose true Jaccard reaches the threshold."""
    root = np.arange(len(where))
    for i in range(len(where)):
        others = distinct(pairs.neighbours[pairs.starts[i] : pairs.starts[i + 1]].astype(np.uint64)).astype(np.int64)
        others = others[others > i]
        at = np.full(len(others), where[i])
        true = others[jaccard_of(sets.values, sets.offsets, at, where[others]) >= threshold]
        unite(root, np.full(len(true), i), true)
    settle(root)
    return root
