"""Why one document is kept or not: its signals beside the bounds, the verdict, and its text with what was cut."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from corpuskit.config import Measuring
from corpuskit.filters.clean import measure_texts, signal_names
from corpuskit.filters.rules import failing, severities
from corpuskit.filters.words import find_words
from corpuskit.rulesets import Rule

# A stretch of text and the rule of the line-wise corrections that cut it, or None where it stayed.
Segment = tuple[str, str | None]


@dataclass(frozen=True, slots=True)
class Explanation:
    """One document, measured and judged."""

    signals: dict[str, float]
    rules: tuple[Rule, ...]
    segments: tuple[Segment, ...]
    words: dict[str, dict[str, int]]  # list -> word that was found -> how often

    def checks(self) -> list[dict[str, Any]]:
        """Of every rule in order: its bounds, the document's value, whether it fails, how severely (0: passes)."""
        values = {rule.name: np.array([self.signals[rule.signal]], np.float32) for rule in self.rules}
        fails = {r.name: bool(failing(values[r.name][:, None], [r.signal], [r])[0, 0]) for r in self.rules}
        return [
            {
                **rule.model_dump(),
                "value": self.signals[rule.signal],
                "fails": fails[rule.name],
                "severity": int(severities(values[rule.name], rule)[0]) if fails[rule.name] else 0,
            }
            for rule in self.rules
        ]

    def verdict(self) -> dict[str, Any]:
        """Whether the document is kept, and else the first rule it fails, with value and severity."""
        failed = [check for check in self.checks() if check["fails"]]
        if not failed:
            return {"kept": True, "rule": None, "value": None, "severity": 0}
        return {"kept": False, "rule": failed[0]["name"], **{key: failed[0][key] for key in ("value", "severity")}}


def explain_text(text: str, measuring: Measuring, rules: Sequence[Rule], lid_model: str | None) -> Explanation:
    """Measure and judge a text as `clean` would one without a URL."""
    nothing = pa.nulls(1, pa.string())
    texts, signals, pieces = measure_texts(pa.array([text], pa.string()), nothing, nothing, measuring, lid_model)
    names = signal_names(measuring)
    cut = [] if pieces is None else pieces.to_pylist()
    values = dict(zip(names, map(float, signals[0]), strict=True))
    words = words_of(texts[0].as_py(), measuring.lang) if "lists" in measuring.signals else {}
    return Explanation(values, tuple(rules), tuple(segments(texts[0].as_py(), cut)), words)


def words_of(text: str, lang: str) -> dict[str, dict[str, int]]:
    """The words that the signals of the lists count in a text as `clean` leaves it, the most frequent first."""
    found: dict[str, Counter[str]] = {}
    for word in find_words(pa.array([text], pa.string()), lang):
        found.setdefault(word.list, Counter())[word.word] += 1
    return {name: dict(counts.most_common()) for name, counts in found.items()}


def segments(kept: str, cut: Sequence[dict[str, Any]]) -> list[Segment]:
    """The text as it stood before lines were cut, in stretches.

    Args:
        kept: what was left.
        cut: rows of cut.PIECE or schema.CUT: `start` and `end` in the whole text, `rule`, `text`.
    """
    out: list[Segment] = []
    taken = whole = 0  # how far we are in `kept`, and in the whole text
    for piece in sorted(cut, key=lambda row: int(row["start"])):
        stays = piece["start"] - whole
        out += [(kept[taken : taken + stays], None), (piece["text"], piece["rule"])]
        taken, whole = taken + stays, piece["end"]
    return [(text, rule) for text, rule in [*out, (kept[taken:], None)] if text]
