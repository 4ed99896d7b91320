"""The definitions of signals.py once more, in plain Python over the shadow of one text: slow, and easy to check."""

from __future__ import annotations

import itertools
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Hashable, Sequence

import pyarrow as pa
import regex

from corpuskit.filters.lines import BULLETS

STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
MOJIBAKE = set("\ufffd縺繧繝荳螟譁蜷縲髢")
ENDS, CLOSES = set("。.!?"), set("」』)]）\"'”’】〉》")
ELLIPSES = ("...", "・・・", "。。。", "、、、")


def kind(char: str) -> str:
    if char == "\n":
        return "newline"
    name, category = unicodedata.name(char, ""), unicodedata.category(char)
    if category == "Zs" or char == "\t":
        return "space"
    if name.startswith(("CJK UNIFIED", "CJK COMPATIBILITY IDEOGRAPH")) or char in "々〇〻":
        return "kanji"
    if name.startswith(("HIRAGANA LETTER", "HIRAGANA ITER", "HIRAGANA VOICED ITER")):
        return "hiragana"
    if name.startswith(("KATAKANA LETTER", "KATAKANA ITER", "KATAKANA VOICED ITER")) or char == "ー":
        return "katakana"
    if category == "Nd":
        return "digit"
    if category[0] == "L" and name.startswith("LATIN"):
        return "latin"
    return {"L": "letter", "M": "letter", "P": "punctuation", "S": "symbol"}.get(category[0], "other")


def is_foreign(kanji: str) -> bool:
    if not "\u3400" <= kanji <= "\u9fff":
        return False
    return not any(kanji.encode(charset, "ignore") for charset in ("cp932", "euc_jis_2004"))


def is_word_char(char: str) -> bool:
    return kind(char) in ("kanji", "hiragana", "katakana", "latin", "digit", "letter")


def squeezed(text: str) -> str:
    return "".join(c for c in text if kind(c) not in ("space", "newline"))


def sentences(text: str) -> list[str]:
    found, current = [], ""
    for at, char in enumerate(text):
        following = text[at + 1 : at + 2] or "\n"
        if kind(char) != "newline":
            current += char
        ends = kind(char) == "newline"
        if char in ENDS and following not in ENDS | CLOSES:
            digits = char == "." and at > 0 and kind(text[at - 1]) == "digit" and kind(following) == "digit"
            ends = not digits and not (char == "." and kind(following) == "latin")
        if ends:
            found.append(squeezed(current))
            current = ""
    return [s for s in (*found, squeezed(current)) if s]


def grams(symbols: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(symbols[at : at + size]) for at in range(len(symbols) - size + 1)]


def top(symbols: Sequence[str], size: int) -> float:
    """Characters of the most frequent n-gram, all copies, over all characters; of equally frequent ones the longest."""
    count, width = max(((c, len("".join(g))) for g, c in Counter(grams(symbols, size)).items()), default=(0, 0))
    return min(1.0, count * width / len("".join(symbols))) if count > 1 else 0.0


def duplicate(symbols: Sequence[str], size: int) -> float:
    seen: set[tuple[str, ...]] = set()
    covered: set[int] = set()
    for at, gram in enumerate(grams(symbols, size)):
        if gram in seen:
            covered.update(range(at, at + size))
        seen.add(gram)
    return sum(len(symbols[at]) for at in covered) / len("".join(symbols))


def frequent(symbols: Sequence[str], size: int) -> float:
    counts = sorted(Counter(grams(symbols, size)).values(), reverse=True)
    return sum(c for c in counts[: math.isqrt(len(counts))] if c > 1) / max(sum(counts), 1)


def repeated(pieces: Sequence[Hashable]) -> list[int]:
    """Where a piece stands that occurred before."""
    return [at for at, piece in enumerate(pieces) if piece in pieces[:at]]


def longest_periodic_run(chars: str) -> int:
    best = 0
    for start in range(len(chars)):
        for period in range(2, 9):
            end = start + period
            while end < len(chars) and chars[end] == chars[end - period]:
                end += 1
            if end - start >= 2 * period and len(set(chars[start:end])) > 1:
                best = max(best, end - start)
    return best


def lz4_ratio(text: str) -> float:
    data = text.encode()
    return pa.Codec("lz4_raw").compress(data).size / len(data)


def characters(text: str) -> dict[str, float]:
    chars = squeezed(text)
    n = len(chars)
    kinds = Counter(map(kind, chars))
    japanese = kinds["hiragana"] + kinds["katakana"] + kinds["kanji"]
    of_prose = kinds["katakana"] if "ヲ" in chars and chars.count("ヲ") >= 0.015 * kinds["katakana"] else 0
    run = longest = 0
    for at, char in enumerate(chars):
        run = run + 1 if at and char == chars[at - 1] else 1
        longest = max(longest, run)
    return {
        "num_chars": n,
        "num_chars_with_spaces": len(text),
        "num_japanese_chars": japanese,
        "japanese_per_char": japanese / n,
        "hiragana_per_char": kinds["hiragana"] / n,
        "hiragana_per_japanese_char": kinds["hiragana"] / max(japanese, 1),
        "katakana_per_japanese_char": kinds["katakana"] / max(japanese, 1),
        "kanji_per_japanese_char": kinds["kanji"] / max(japanese, 1),
        "prose_kana_per_japanese_char": (kinds["hiragana"] + of_prose) / max(japanese, 1),
        "katakana_word_per_japanese_char": (kinds["katakana"] - of_prose) / max(japanese, 1),
        "foreign_kanji_per_kanji": sum(kind(c) == "kanji" and is_foreign(c) for c in chars) / max(kinds["kanji"], 1),
        "latin_per_char": kinds["latin"] / n,
        "digit_per_char": kinds["digit"] / n,
        "alphanumeric_per_char": (japanese + kinds["latin"] + kinds["letter"] + kinds["digit"]) / n,
        "punctuation_per_char": kinds["punctuation"] / n,
        "symbol_per_char": kinds["symbol"] / n,
        "emoji_per_char": len(regex.findall(r"[\p{Emoji_Presentation}\ufe0f]", chars)) / n,
        "whitespace_per_char_with_spaces": 1 - n / len(text),
        "control_per_char": 0.0,  # the shadow has none
        "replacement_per_char": chars.count("\ufffd") / n,
        "mojibake_per_char": sum(c in MOJIBAKE for c in chars) / n,
        "kana_in_first_50_chars": sum(kind(c) in ("hiragana", "katakana") for c in chars[:50]),
        "longest_char_run": longest,
        "longest_periodic_run": longest_periodic_run(chars),
        "char_entropy": -sum(c / n * math.log2(c / n) for c in Counter(chars).values()),
        "lz4_compression_ratio": lz4_ratio(text),
    }


def lines(text: str) -> dict[str, float]:
    n = len(squeezed(text))
    texts = [line.strip(" \t") for line in text.split("\n") if squeezed(line)]
    bodies = [squeezed(line) for line in texts]  # lines are the same line when they differ in white space alone
    chars = sum(map(len, texts))
    paragraphs: list[list[str]] = [[]]
    for line in text.split("\n"):
        if squeezed(line):
            paragraphs[-1].append(line.strip(" \t"))
        elif paragraphs[-1]:
            paragraphs.append([])
    paragraphs = [p for p in paragraphs if p]
    widths = [sum(map(len, p)) for p in paragraphs]
    same_paragraphs = repeated([tuple(map(squeezed, p)) for p in paragraphs])
    found = sentences(text)
    return {
        "num_lines": len(texts),
        "mean_line_chars": chars / len(texts),
        "max_line_chars": max(map(len, texts)),
        "short_line_fraction": sum(len(line) <= 10 for line in texts) / len(texts),
        "line_under_30_fraction": sum(len(line) < 30 for line in texts) / len(texts),
        "long_line_char_fraction": sum(len(line) for line in texts if len(line) > 1000) / chars,
        "kanaless_line_fraction": sum(not {"hiragana", "katakana"} & set(map(kind, b)) for b in bodies) / len(texts),
        "bullet_line_fraction": sum(b[0] in BULLETS and b[:1] != b[1:2] for b in bodies) / len(texts),
        "ellipsis_line_fraction": sum(b[-3:] in ELLIPSES for b in bodies) / len(texts),
        "punctuated_line_fraction": sum(b[-1] in ENDS | CLOSES for b in bodies) / len(texts),
        "newline_per_char": text.count("\n") / n,
        "duplicate_line_fraction": len(repeated(bodies)) / len(texts),
        "duplicate_line_char_fraction": sum(len(texts[at]) for at in repeated(bodies)) / chars,
        "num_paragraphs": len(paragraphs),
        "mean_paragraph_chars": chars / len(paragraphs),
        "max_paragraph_chars": max(widths),
        "duplicate_paragraph_fraction": len(same_paragraphs) / len(paragraphs),
        "duplicate_paragraph_char_fraction": sum(widths[at] for at in same_paragraphs) / chars,
        "num_sentences": len(found),
        "mean_sentence_chars": n / len(found),
        "mean_clause_chars": n / (len(found) + text.count("、") + text.count(",")),
        "max_sentence_chars": max(map(len, found)),
        "long_sentence_char_fraction": sum(len(s) for s in found if len(s) > 200) / n,
        "ellipsis_sentence_fraction": sum(s[-3:] in ELLIPSES for s in found) / len(found),
        "duplicate_sentence_fraction": len(repeated(found)) / len(found),
        "duplicate_sentence_char_fraction": sum(len(found[at]) for at in repeated(found)) / n,
    }


def repetition(text: str) -> dict[str, float]:
    chars = squeezed(text)
    return {
        **{f"top_{size}gram_char_fraction": top(chars, size) for size in (2, 3, 4)},
        **{f"duplicate_{size}gram_char_fraction": duplicate(chars, size) for size in range(5, 11)},
        "frequent_5gram_fraction": frequent(chars, 5),
    }


def words(text: str) -> dict[str, float]:
    chars = squeezed(text)
    found = [w for w in text.replace("\n", " ").replace("\t", " ").split(" ") if any(map(is_word_char, w))]
    cores = ["".join(c.lower() if c.isascii() else c for c in w if is_word_char(c)) for w in found]
    count = max(len(found), 1)
    lines = sum(bool(squeezed(line)) for line in text.split("\n"))
    has_words = bool(found)
    return {
        "num_words": len(found),
        "mean_word_chars": sum(map(len, found)) / count,
        "alphabetic_word_fraction": sum(any(is_word_char(c) and kind(c) != "digit" for c in w) for w in found) / count,
        "num_stop_words": len(set(cores) & STOP_WORDS),
        "hash_per_word": has_words * text.count("#") / count,
        "ellipsis_per_word": has_words * len(re.findall(r"\.\.\.", text)) / count,
        "mean_words_per_line": len(found) / lines,
        "newline_per_word": has_words * text.count("\n") / count,
        "curly_brackets_per_char": (chars.count("{") + chars.count("}")) / len(chars),
        "lorem_ipsum": sum(pair == ("lorem", "ipsum") for pair in itertools.pairwise(cores)),
        **{f"top_{size}word_char_fraction": top(cores, size) if cores else 0 for size in (2, 3, 4)},
        **{f"duplicate_{size}word_char_fraction": duplicate(cores, size) if cores else 0 for size in range(5, 11)},
    }


def reference(text: str) -> dict[str, float]:
    """Every signal of a shadow that has at least one char."""
    return characters(text) | lines(text) | repetition(text) | words(text)
