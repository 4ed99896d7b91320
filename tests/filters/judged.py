"""The labelled set, and what the rules say of a text along the real path: normalise, cut lines, measure, decide."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import yaml

from corpuskit.config import FAMILIES, Measuring, load_pipeline
from corpuskit.filters.clean import measure_texts, signal_names
from corpuskit.filters.rules import failing
from corpuskit.rulesets import load_rules

LABELS = ("good", "hard_negative", "low", "harmful")
NAMES = signal_names(
    Measuring(lang="ja", normalize="none", lines="ja", signals=FAMILIES, language_id="ja")
)  # all there are


class Labelled(NamedTuple):
    """One document of tests/filters/labelled/."""

    lang: str
    label: str
    name: str
    genre: str
    reason: str | None  # of low and harmful documents: what is wrong with it
    url: str | None
    text: str


@cache
def labelled(lang: str) -> tuple[Labelled, ...]:
    """The labelled documents of a language, in the order of their labels and files."""
    found = []
    for label in LABELS:
        path = Path(__file__).parent / "labelled" / f"{lang}-{label}.yaml"
        for entry in yaml.safe_load(path.read_text(encoding="utf-8")):
            found.append(Labelled(lang, label, **{"reason": None, "url": None, **entry}))
    return tuple(found)


def signals_of_texts(
    texts: Sequence[str],
    lang: str,
    language: Sequence[float] | None = None,
    urls: Sequence[str | None] | None = None,
) -> npt.NDArray[np.float32]:
    """The signals of texts as `clean` stores them, one column a name of NAMES; 0 for what is not measured on `lang`.

    The probability of the language is given, 1 where it is not.
    """
    families = [family for family in FAMILIES if lang != "code" or family != "lists"]
    measuring = load_pipeline(lang).measuring().model_copy(update={"language_id": None, "signals": families})
    links = pa.array(urls or [None] * len(texts), pa.string())
    measured = measure_texts(pa.array(texts, pa.string()), links, pa.nulls(len(texts), pa.string()), measuring).signals
    signals = np.zeros((len(texts), len(NAMES)), np.float32)
    signals[:, [NAMES.index(name) for name in signal_names(measuring)]] = measured
    signals[:, -1] = 1 if language is None else language
    return signals


def judged(
    text: str, lang: str, preset: str | None = None, language: float = 1.0, url: str | None = None
) -> dict[str, float]:
    """The rules of a preset, the language's default where none is named, that a text fails: name -> the signal."""
    signals = signals_of_texts([text], lang, [language], [url])
    rules = load_rules(lang, preset).rules
    fails = failing(signals, NAMES, rules)[0]
    return {r.name: float(signals[0, NAMES.index(r.signal)]) for r, fail in zip(rules, fails, strict=True) if fail}


def signal(text: str, lang: str, name: str, language: float = 1.0) -> float:
    """One signal of one text."""
    return float(signals_of_texts([text], lang, [language])[0, NAMES.index(name)])
