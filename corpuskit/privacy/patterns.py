"""rules/privacy/patterns.yaml, read and compiled: the patterns, and the character table of the gate before them.

The file explains itself. Nothing is loaded before a text is searched.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import regex

from corpuskit.config import Strict, data_dir, load_yaml
from corpuskit.text.tables import NUM_CODE_POINTS

# What a code point of the shadow may be to the gate.
AT_FIRST, ZERO, PLUS, DIGIT, JOIN, LOCAL, DOMAIN = 1, 2, 4, 8, 16, 32, 64

TYPES = ("email", "phone_jp")

_ASCII_ALNUM = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class _AreaCodes(Strict):
    two: tuple[str, ...]
    three: tuple[str, ...]
    four: dict[str, str]
    five: tuple[str, ...]


class _Type(Strict):
    token: str
    first: str
    patterns: tuple[str, ...]  # alternatives; where two match at the same place the first one listed wins


class _File(Strict):
    hyphens: str
    at: tuple[str, ...]
    dot: tuple[str, ...]
    file_suffixes: tuple[str, ...]
    repository_accounts: tuple[str, ...]
    area_codes: _AreaCodes
    labels_ja: tuple[str, ...]
    labels_latin: tuple[str, ...]
    other_numbers: tuple[str, ...]
    serial_marks: tuple[str, ...]
    pieces: dict[str, str]
    types: dict[str, _Type]


class Patterns(NamedTuple):
    """The compiled pattern and the mask token of each type, and the words of the gate.

    Attributes:
        compiled: type -> pattern of the `regex` module.
        tokens: type -> what stands in the masked text, such as <EMAIL>.
        at_words: code points of the spellings of @ in lower case, one row each, padded with 0; longest first.
        flags: for each code point the sum of AT_FIRST, ZERO, ... that hold.
    """

    compiled: dict[str, Any]
    tokens: dict[str, str]
    at_words: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]


@functools.cache
def patterns() -> Patterns:
    """The patterns of this installation, compiled once a process."""
    file = _File.model_validate(load_yaml(data_dir("rules") / "privacy" / "patterns.yaml"))
    codes = file.area_codes
    four = [f"{head}[{last}]" for head, last in codes.four.items()]
    pieces = {
        **file.pieces,
        "hyphens": regex.escape(file.hyphens, special_only=False),
        "at_words": _any(tuple(w for w in file.at if w != "@")),
        "dot_words": _any(file.dot),
        "file_suffixes": _any(file.file_suffixes),
        "repository_accounts": _any(file.repository_accounts),
        "labels_ja": _any(file.labels_ja),
        "labels_latin": _any(file.labels_latin),
        "other_numbers": _any(file.other_numbers),
        "serial_marks": _any(file.serial_marks),
        "area_two": _any(codes.two),
        "area_three": _any(codes.three),
        "area_four": f"(?:{'|'.join(four)}|{_any(codes.three)}[0-9])",
        "area_five": _any(codes.five),
    }
    compiled = {name: _compile(file.types[name], pieces) for name in TYPES}
    tokens = {name: file.types[name].token for name in TYPES}

    words = sorted((w.lower() for w in file.at), key=lambda w: (-len(w), w))
    at_words = np.zeros((len(words), len(words[0]) + 1), np.uint32)
    for k, word in enumerate(words):
        at_words[k, : len(word)] = [ord(c) for c in word]

    flags = np.zeros(NUM_CODE_POINTS, np.uint8)
    domain = _ASCII_ALNUM + "_- " + "".join(w.lower() + w.upper() for w in file.dot)
    members = (
        (AT_FIRST, {w[0] for w in words}),
        (ZERO, {"0"}),
        (PLUS, {"+"}),
        (DIGIT, set("0123456789")),
        (JOIN, set(file.hyphens + " ()")),
        (LOCAL, set(_ASCII_ALNUM + "_.+-")),
        (DOMAIN, set(domain)),
    )
    for flag, chars in members:
        flags[[ord(c) for c in sorted(chars)]] |= np.uint8(flag)
    return Patterns(compiled, tokens, at_words, flags)


def _compile(kind: _Type, pieces: dict[str, str]) -> Any:
    alternatives = "|".join(_fill(p, pieces) for p in kind.patterns)
    return regex.compile(f"(?={kind.first})(?:{alternatives})", regex.VERBOSE)


def _any(words: tuple[str, ...]) -> str:
    """One of the words, the longest first."""
    escaped = (regex.escape(w, special_only=False) for w in sorted(words, key=lambda w: (-len(w), w)))
    return f"(?:{'|'.join(escaped)})"


def _fill(pattern: str, pieces: dict[str, str]) -> str:
    """Put the pieces in for their {{names}}, those inside pieces too.

    Raises:
        KeyError: a name that is no piece.
    """
    while "{{" in pattern:
        pattern = regex.sub(r"\{\{(\w+)\}\}", lambda m: pieces[m[1]], pattern)
    return pattern
