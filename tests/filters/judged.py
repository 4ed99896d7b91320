"""The labelled set, and what the rules say of a text along the real path: normalise, cut lines, measure, decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from corpuskit.config import load_pipeline, load_rules
from corpuskit.filters import cut
from corpuskit.filters.rules import failing
from corpuskit.filters.signals import SIGNALS, measure
from corpuskit.text.normalize import normalize_column
from corpuskit.text.shadow import shadow_column

LABELS = ("good", "hard_negative", "low", "harmful")
NAMES = (*SIGNALS, *cut.SIGNALS, "language_probability")
CORRECTED = ("ja", "en")  # languages with line-wise corrections


class Labelled(NamedTuple):
    """One document of tests/filters/labelled/."""

    lang: str
    label: str
    name: str
    genre: str
    reason: str | None  # of low and harmful documents: what is wrong with it
    text: str


@cache
def labelled(lang: str) -> tuple[Labelled, ...]:
    """The labelled documents of a language, in the order of their labels and files."""
    found = []
    for label in LABELS:
        path = Path(__file__).parent / "labelled" / f"{lang}-{label}.yaml"
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            found.append(Labelled(lang, label, **{"reason": None, **entry}))
    return tuple(found)


def signals_of_texts(
    texts: Sequence[str], lang: str, language: Sequence[float] | None = None
) -> npt.NDArray[np.float32]:
    """The signals of texts as `clean` stores them, one column a name of NAMES.

    The probability of the language is given, 1 where it is not.
    """
    column = normalize_column(pa.array(texts, pa.string()), load_pipeline(lang).normalize)
    if lang in CORRECTED:
        corrected = cut.cut_column(column, lang)
        shadow, cuts = corrected.shadow, corrected.signals
    else:
        shadow, cuts = shadow_column(column), np.zeros((len(texts), len(cut.SIGNALS)))
    probability = np.ones(len(texts)) if language is None else np.array(language)
    return np.column_stack([measure(shadow), cuts, probability]).astype(np.float32)


def judged(text: str, lang: str, preset: str | None = None, language: float = 1.0) -> dict[str, float]:
    """The rules of a preset, the language's default where none is named, that a text fails: name -> the signal."""
    signals = signals_of_texts([text], lang, [language])
    rules = load_rules(lang, preset).rules
    fails = failing(signals, NAMES, rules)[0]
    return {r.name: float(signals[0, NAMES.index(r.signal)]) for r, fail in zip(rules, fails, strict=True) if fail}


def signal(text: str, lang: str, name: str, language: float = 1.0) -> float:
    """One signal of one text."""
    return float(signals_of_texts([text], lang, [language])[0, NAMES.index(name)])


def verdict_of_signals(rules: Sequence[Any], given: Mapping[str, float]) -> list[str]:
    """The rules a document fails whose signals are 0 but for the given ones."""
    signals = np.zeros((1, len(NAMES)), np.float32)
    for name, value in given.items():
        signals[0, NAMES.index(name)] = value
    return [rule.name for rule, fail in zip(rules, failing(signals, NAMES, rules)[0], strict=True) if fail]
