"""The order of training windows: position i of a run -> language -> window, computed, never stored.

A window is sequence_length + 1 consecutive tokens of a language's stream; windows start every sequence_length tokens,
so every token but the first is predicted once an epoch. The k-th window of a language that gives n of the N windows of
the run stands at the ideal position (k + 1/2) N / n, and the run takes all windows in order of ideal position. So every
language is never further than 1/2 + share x languages / 2 windows from its share, at any point of the run (under one
window for the usual three), and within one at its end. The windows of a language are divided likewise among its parts,
the stretches of its stream whose documents count k times (`mix --weights`; a window belongs to where it starts): a part
of s windows gets k x s shares of them. So a pass over a language is k passes over such a part, each spread over a k-th
of it, and a window counts as often as it is read. Which window the k-th one is, is a seeded
permutation of the part's windows, a new one each epoch (a Feistel network with cycle walking: no memory, no
index file, and no pattern an affine shuffle would leave). So the state of a run is one integer, whatever the number of
processes or the batch size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import xxhash

from corpuskit.bins.format import TokenStream
from corpuskit.config import UserError
from corpuskit.mix.mixture import Mixture, load_mixture
from corpuskit.text.kernel import kernel

Int64s = npt.NDArray[np.int64]

HELDOUT_FRACTION = 0.01
HELDOUT_MIN, HELDOUT_MAX = 8, 256  # windows a language


class Located(NamedTuple):
    """Where positions of the run lie: index of the language, epoch of its part, and window of its stream."""

    language: Int64s
    epoch: Int64s
    window: Int64s


class Part(NamedTuple):
    """The windows of a language that start among documents of one weight."""

    weight: int
    first: int  # window of the stream
    heldout: int
    size: int  # windows for training
    planned: int  # windows of the run


class PlanLine(NamedTuple):
    """One language of the plan, in tokens."""

    lang: str
    share: float
    wanted: float  # share x tokens of the run
    planned: int  # windows x sequence_length
    available: int  # without the held-out windows, and each as often as its weight says
    epochs: float


@dataclass(frozen=True)
class WindowOrder:
    """The windows of one run in training order, and the windows held out from it."""

    mixture: Mixture
    sequence_length: int
    streams: tuple[TokenStream, ...]
    counts: Int64s  # training windows of the run, per language
    sizes: Int64s  # windows that exist for training, per language, each counted as often as its weight says
    parts: tuple[tuple[Part, ...], ...]  # per language
    fingerprint: str = field(default="")

    @classmethod
    def open(cls, workspace: Path, sequence_length: int) -> WindowOrder:
        """The order that the workspace's mixture gives on its bins.

        Raises:
            UserError: no mixture, no bins, bins of different tokenizers or of other weights than the mixture's, or
            too few tokens for the mixture.
        """
        mixture = load_mixture(workspace)
        if mixture is None:
            raise UserError(f"{workspace}: no mixture yet; make one with: corpuskit mix --ja 0.57 --en 0.31")
        streams = tuple(TokenStream.open(workspace / "bins" / lang) for lang in sorted(mixture.shares))
        if len({s.manifest["tokenizer_sha256"] for s in streams}) > 1:
            raise UserError(f"{workspace / 'bins'}: bins of different tokenizers; make them again with: corpuskit pack")
        if others := packed_otherwise(mixture, streams):
            raise UserError(
                f"{workspace / 'bins' / others[0]}: the mixture has other weights than these bins; "
                "make them again with: corpuskit pack"
            )
        return cls.build(mixture, streams, sequence_length)

    @classmethod
    def build(cls, mixture: Mixture, streams: tuple[TokenStream, ...], sequence_length: int) -> WindowOrder:
        """As `open`, from parts: one stream a language of the mixture, in order of language name."""
        shares = np.array([mixture.shares[s.lang] for s in streams])
        total = np.array([max(0, (s.tokens - 1) // sequence_length) for s in streams], np.int64)
        heldout = np.minimum(np.clip((total * HELDOUT_FRACTION).astype(np.int64), HELDOUT_MIN, HELDOUT_MAX), total // 5)
        for stream, windows in zip(streams, total - heldout, strict=True):
            if windows < 1:
                raise UserError(
                    f"the bins of '{stream.lang}' hold {stream.tokens} tokens, too few for windows of {sequence_length}"
                )
        parts = [_parts(*each, sequence_length) for each in zip(streams, total.tolist(), heldout.tolist(), strict=True)]
        sizes = np.array([sum(p.weight * p.size for p in some) for some in parts], np.int64)
        longest = int(min(mixture.max_epochs * sizes / shares))
        if mixture.tokens is None:
            windows_of_run = longest
        else:
            windows_of_run = mixture.tokens // sequence_length
            if windows_of_run > longest:
                scarce = streams[int(np.argmin(sizes / shares))].lang
                raise UserError(
                    f"{mixture.tokens} tokens of this mixture repeat '{scarce}' over {mixture.max_epochs:g} times; "
                    f"at most {longest * sequence_length} tokens, or raise --max-epochs"
                )
        if windows_of_run < 1:
            raise UserError(f"this mixture gives no window of {sequence_length} tokens; mix more tokens or epochs")
        content = {
            "mixture": mixture.model_dump(mode="json", exclude=None if mixture.weights else {"weights"}),
            "bins": {s.lang: [shard["sha256"]["bin"] for shard in s.manifest["shards"]] for s in streams},
            "sequence_length": sequence_length,
        }
        fingerprint = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
        counts = _largest_remainder(shares, windows_of_run)
        divided = tuple(_divided(some, count) for some, count in zip(parts, counts.tolist(), strict=True))
        return cls(mixture, sequence_length, streams, counts, sizes, divided, fingerprint)

    @property
    def num_windows(self) -> int:
        """Training windows of the run; positions go from 0 to num_windows - 1."""
        return int(self.counts.sum())

    @property
    def vocab_size(self) -> int:
        """Pieces of the tokenizer."""
        return int(self.streams[0].manifest["vocab_size"])

    @property
    def tokenizer_sha256(self) -> str:
        """Hash of the tokenizer the bins were made with."""
        return str(self.streams[0].manifest["tokenizer_sha256"])

    def locate(self, positions: Int64s) -> Located:
        """Language, epoch and window of each position; positions need not be sorted."""
        language, rank = _locate(np.asarray(positions, np.int64), self.counts)
        epoch, window = np.empty(len(rank), np.int64), np.empty(len(rank), np.int64)
        for lang, parts in enumerate(self.parts):
            mine = np.flatnonzero(language == lang)
            which, within = _locate(rank[mine], np.array([part.planned for part in parts]))
            for number, part in enumerate(parts):
                here, ranks = mine[which == number], within[which == number]
                epoch[here] = ranks // max(1, part.size)
                for turn in np.unique(epoch[here]):
                    now = epoch[here] == turn
                    index = _permute(ranks[now] % part.size, part.size, self._key(lang, part, int(turn)))
                    window[here[now]] = self._base(lang, part, index + part.heldout)
        return Located(language, epoch, window)

    def read(self, positions: Int64s) -> Int64s:
        """The tokens of the windows at the given positions: shape (n, sequence_length + 1)."""
        located = self.locate(positions)
        return self._read(located.language, located.window)

    @property
    def heldout(self) -> dict[str, Int64s]:
        """Windows no position of the run ever gives: language -> (m, sequence_length + 1) tokens."""
        out = {}
        for lang, stream in enumerate(self.streams):
            held = [self._base(lang, part, np.arange(part.heldout)) for part in self.parts[lang]]
            windows = np.sort(np.concatenate(held))
            out[stream.lang] = self._read(np.full(len(windows), lang), windows)
        return out

    def plan(self) -> list[PlanLine]:
        """What the mixture comes to, language by language."""
        length, total = self.sequence_length, self.num_windows
        return [
            PlanLine(
                s.lang,
                self.mixture.shares[s.lang],
                self.mixture.shares[s.lang] * total * length,
                int(self.counts[at]) * length,
                int(self.sizes[at]) * length,
                float(self.counts[at] / self.sizes[at]),
            )
            for at, s in enumerate(self.streams)
        ]

    def _read(self, languages: Int64s, windows: Int64s) -> Int64s:
        out: Int64s = np.empty((len(windows), self.sequence_length + 1), np.int64)
        for row, (lang, window) in enumerate(zip(languages.tolist(), windows.tolist(), strict=True)):
            out[row] = self.streams[lang].read(window * self.sequence_length, self.sequence_length + 1)
        return out

    def _key(self, lang: int, part: Part, epoch: int) -> int:
        name = self.streams[lang].lang if part.weight == 1 else f"{self.streams[lang].lang} x{part.weight}"
        return xxhash.xxh3_64_intdigest(f"{self.mixture.seed}/{name}/{epoch}".encode())

    def _base(self, lang: int, part: Part, index: Int64s) -> Int64s:
        """The permutation that splits a part's windows: the first ones of it are held out."""
        return part.first + _permute(index, part.size + part.heldout, self._key(lang, part, -1))


def packed_otherwise(mixture: Mixture, streams: Sequence[TokenStream]) -> list[str]:
    """The languages whose bins were packed with other weights than the mixture's."""
    wanted = {lang: weights.model_dump(include={"name", "sha256"}) for lang, weights in mixture.weights.items()}
    return [s.lang for s in streams if s.manifest.get("weights") != wanted.get(s.lang)]


def _parts(stream: TokenStream, windows: int, heldout: int, length: int) -> list[Part]:
    """The parts of a stream that windows start in, each with its share of the held-out ones; nothing is planned yet."""
    bounds = [(k, -(-start // length), min(windows, -(-end // length))) for k, start, end in stream.weights]
    some = [(k, first, stop - first) for k, first, stop in bounds if stop > first]
    held = _largest_remainder(np.array([size for _, _, size in some], np.float64), heldout).tolist()
    return [Part(k, first, h, size - h, 0) for (k, first, size), h in zip(some, held, strict=True)]


def _divided(parts: Sequence[Part], windows: int) -> tuple[Part, ...]:
    """The parts with what is planned of each, in all `windows`."""
    counts = _largest_remainder(np.array([part.weight * part.size for part in parts], np.float64), windows)
    return tuple(part._replace(planned=count) for part, count in zip(parts, counts.tolist(), strict=True))


def _largest_remainder(shares: npt.NDArray[np.float64], total: int) -> Int64s:
    """Whole numbers that sum to `total`, each within one of shares x total (Hamilton's method)."""
    exact = shares / shares.sum() * total
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - int(counts.sum())]] += 1
    return counts


@kernel
def _locate(positions, counts):  # type: ignore[no-untyped-def]
    """Language and rank within the language of each position, by merging the languages' ideal positions."""
    languages = len(counts)
    total = counts.sum()
    which = np.empty(len(positions), np.int64)
    rank = np.empty(len(positions), np.int64)
    taken = np.empty(languages, np.int64)
    for at in range(len(positions)):
        position = positions[at]
        # before `position - languages` every language has given at least this many windows
        merged = 0
        for lang in range(languages):
            taken[lang] = max(0, np.int64((position - languages) * (counts[lang] / total)) - 1)
            merged += taken[lang]
        while True:
            best, best_at = -1, np.inf
            for lang in range(languages):
                if taken[lang] < counts[lang]:
                    ideal = (taken[lang] + 0.5) * (total / counts[lang])
                    if ideal < best_at:  # ties go to the language named first
                        best, best_at = lang, ideal
            if merged == position:
                which[at], rank[at] = best, taken[best]
                break
            taken[best] += 1
            merged += 1
    return which, rank


@kernel
def _mix64(value):  # type: ignore[no-untyped-def]
    """splitmix64's finaliser (Steele et al. 2014)."""
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def _permute(index: Int64s, size: int, key: int) -> Int64s:
    """A keyed permutation of range(size), applied to `index`."""
    half_bits = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    return _feistel(np.asarray(index, np.int64), np.uint64(size), np.uint64(key), np.uint64(half_bits))


@kernel
def _feistel(index, size, key, half_bits):  # type: ignore[no-untyped-def]
    out = np.empty(len(index), np.int64)
    mask = (np.uint64(1) << half_bits) - np.uint64(1)
    for at in range(len(index)):
        value = np.uint64(index[at])
        while True:  # cycle walking: the network permutes a power of four; walk until back inside the range
            left, right = value >> half_bits, value & mask
            for turn in range(6):
                left, right = (
                    right,
                    left ^ (_mix64(right + key + np.uint64(turn) * np.uint64(0x9E3779B97F4A7C15)) & mask),
                )
            value = (left << half_bits) | right
            if value < size:
                break
        out[at] = np.int64(value)
    return out
