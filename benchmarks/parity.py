"""Gopher's repetition measures as five toolkits publish them, and corpuskit's, on the same Japanese texts.

python benchmarks/parity.py [--data DIR] [--documents N]

Each toolkit's measure is written here anew from its published definition; no code of theirs runs. Words are what that
toolkit makes of Japanese without its optional dictionaries: str.split() where it splits at white space, single
characters of Japanese where it calls a segmenter (uniseg, Sudachi, MeCab): n-grams are then shorter than with words of
a dictionary, and what the definitions do to them is the same.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import string
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import regex
import zstandard

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from corpuskit.filters.signals import measure, signals_of
from corpuskit.text.shadow import shadow_column

Measures = tuple[float, float, float]  # top 2-gram, duplicate 5-gram, duplicate lines (by count); see COLUMNS
COLUMNS = ("top2", "dup5", "lines")
GENRES = ("ja_literature", "ja_law", "ja_tech")
LONGEST = 20_000  # characters of a document; the naive definitions are quadratic or slow

SEGMENT = regex.compile(r"[\p{Latin}\p{N}]+|[\p{Han}\p{Hiragana}\p{Katakana}ー]|[^\s]")


def segmented(text: str) -> list[str]:
    """A stand-in for a segmenter's words, punctuation among them."""
    return SEGMENT.findall(text)


def grams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def datatrove(text: str) -> Measures:
    """datatrove, filters/gopher_repetition_filter.py: n-grams joined by spaces, over len(text)."""
    words = segmented(text)
    pairs = Counter(" ".join(g) for g in grams(words, 2))
    top = max(pairs.items(), key=lambda item: item[1], default=("", 0))
    seen: set[str] = set()
    repeated = i = 0
    while i < len(words) - 4:  # a hit skips its words, a miss goes on by one; the first copy is not counted
        gram = "".join(words[i : i + 5])
        if gram in seen:
            repeated += len(gram)
            i += 5
        else:
            seen.add(gram)
            i += 1
    lines = text.strip().split("\n")
    return len(top[0]) * top[1] / len(text), repeated / len(text), 1 - len(set(lines)) / len(lines)


def dclm(text: str) -> Measures:
    """DCLM, massivetext repetition filter: words without punctuation; all copies count, each character once."""
    words = [w for w in segmented(text) if any(c.isalnum() for c in w)]
    total = sum(map(len, words)) or 1
    pairs = Counter(grams(words, 2))
    most = max(pairs.values(), default=0)
    widest = max((sum(map(len, g)) for g, c in pairs.items() if c == most), default=0)
    counts = Counter(grams(words, 5))
    covered = {k for i, g in enumerate(grams(words, 5)) if counts[g] > 1 for k in range(i, i + 5)}
    lines = [line for line in text.split("\n") if line.strip()]
    of_line = Counter(lines)
    top = widest * most / total if most > 1 else 0.0
    return top, sum(len(words[k]) for k in covered) / total, sum(of_line[x] > 1 for x in lines) / len(lines)


def dolma(text: str) -> Measures:
    """Dolma, taggers/gopher.py: str.split(); overlapping character mass of all copies, over that of all n-grams."""
    words = text.split()
    total = sum(map(len, words)) or 1
    pairs = Counter(grams(words, 2))
    gram, most = max(pairs.items(), key=lambda item: item[1], default=((), 0))
    counts = Counter(grams(words, 5))
    mass = sum(sum(map(len, g)) * c for g, c in counts.items())
    repeated = sum(sum(map(len, g)) * c for g, c in counts.items() if c > 1)
    lines = text.split("\n")
    of_line = Counter(lines)
    top = sum(map(len, gram)) * most / total
    return top, repeated / mass if mass else 0.0, sum(of_line[x] > 1 for x in lines) / len(lines)


def redpajama(text: str) -> Measures:
    """RedPajama-v2, core/quality_signals/repetitions.py: lower case, ASCII punctuation out, NFD, str.split().

    It publishes signals and no duplicate-line fraction of a document; lines that repeat are its deduplication's work.
    """
    plain = unicodedata.normalize("NFD", text.lower().translate(str.maketrans("", "", string.punctuation)))
    words = plain.split()
    total = sum(map(len, words)) or 1
    pairs = Counter(grams(words, 2))
    gram, most = max(pairs.items(), key=lambda item: item[1], default=((), 0))
    counts = Counter(grams(words, 5))
    covered = {k for i, g in enumerate(grams(words, 5)) if counts[g] > 1 for k in range(i, i + 5)}
    top = sum(map(len, gram)) * most / total if most > 1 else 0.0
    return top, sum(len(words[k]) for k in covered) / total, float("nan")


def curator(text: str) -> Measures:
    """NeMo Curator, stages/text/filters/heuristic/repetition: joined by spaces, the top n-gram cut from the text."""
    words = segmented(text)
    top = Counter(" ".join(g) for g in grams(words, 2)).most_common(1)
    lost = len(text) - len(text.replace(top[0][0], "")) if top and top[0][1] > 1 else 0
    seen: set[str] = set()
    i = 0
    fives = [" ".join(g) for g in grams(words, 5)]
    duplicated = 0
    while i < len(fives):
        if fives[i] in seen:
            duplicated += len(fives[i])
            i += 5
        else:
            seen.add(fives[i])
            i += 1
    lines = [line for line in text.split("\n") if line]
    return lost / len(text), duplicated / len(text), 1 - len(set(lines)) / len(lines)


def corpuskit(text: str) -> Measures:
    """corpuskit/filters/signals.py: characters without white space; the first copy is not counted."""
    families = ("lines", "repetition")
    row = measure(shadow_column(pa.array([text], pa.string())), families)[0].tolist()
    found = dict(zip(signals_of(families), row, strict=True))
    names = ("top_2gram_char_fraction", "duplicate_5gram_char_fraction", "duplicate_line_fraction")
    top, duplicate, lines = (found[name] for name in names)
    return top, duplicate, lines


TOOLS: dict[str, tuple[Callable[[str], Measures], str]] = {
    "datatrove": (datatrove, "top2 counts a space between characters that the text has not: 3/2 of the true share"),
    "DCLM": (dclm, "counts the first copy too: text given twice scores 1.0, not 0.5"),
    "Dolma": (dolma, "a Japanese line is one word: repetition within it is not seen, two equal lines pass 1"),
    "RedPajama-v2": (redpajama, "a Japanese line is one word; NFD parts が into か and a mark; 。、 stay"),
    "NeMo Curator": (curator, "looks for 'a b' in text that has 'ab': top n-grams are never found; dup5 counts spaces"),
    "corpuskit": (corpuskit, "-"),
}

SENTENCE = "猫は窓の外を静かに眺めている。"
VARIED = (
    "図書館は朝の八時に開き、職員が新聞を棚に並べる。川沿いの道では犬を連れた人が歩き、遠くで電車の音がした。"
    "店先に積まれた林檎は赤く、値札には去年より高い数字が書かれている。"
)
CONSTRUCTED = {
    "no repetition": VARIED,
    "a text twice": VARIED * 2,
    "a sentence 50 times, one line": SENTENCE * 50,
    "a sentence 50 times, a line each": "\n".join([SENTENCE] * 50),
    "the same, spaces between characters": "\n".join([" ".join(SENTENCE)] * 50),
    "ああああ... 500 times": "あ" * 500,
    "ガ once as half-width ｶﾞ": "カタログガイドです。ｶﾀﾛｸﾞｶﾞｲﾄﾞです。",
    "menu lines between prose": "\n".join(f"メニュー\n{part}。" for part in VARIED.split("。") if part),
}


def documents(path: Path, wanted: int) -> list[str]:
    """The first documents of a file, cut at LONGEST characters."""
    texts = []
    with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            texts.append(json.loads(line)["text"][:LONGEST])
            if len(texts) == wanted:
                break
    return texts


def table(title: str, texts: list[str]) -> None:
    """Print the median of each measure over the texts, a line a tool."""
    print(f"\n{title}")
    print(f"  {'':14}" + "".join(f"{name:>7}" for name in COLUMNS) + "   what it gets wrong on Japanese")
    for name, (tool, wrong) in TOOLS.items():
        rows = [tool(text) for text in texts]
        medians = [statistics.median(values) for values in zip(*rows, strict=True)]
        cells = "".join(f"{'-' if m != m else format(m, '.3f'):>7}" for m in medians)
        print(f"  {name:14}{cells}   {wrong}")


def main() -> int:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder with the texts (default: ../shared/data)")
    parser.add_argument("--documents", type=int, default=100, help="documents of each genre (default: 100)")
    args = parser.parse_args()
    print("top2: top 2-gram; dup5: duplicate 5-grams; lines: duplicate lines. Shares, as each toolkit defines them.")
    for title, text in CONSTRUCTED.items():
        table(title, [text])
    for genre in GENRES:
        path = args.data / "bench" / f"{genre}.jsonl.zst"
        if not path.is_file():
            print(f"skipped: there is no {path}", file=sys.stderr)
            continue
        texts = documents(path, args.documents)
        table(f"{genre}: median of {len(texts)} documents", texts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
