"""Decide: rules are bounds on signals, and a verdict is the first rule a document fails.

Signals are compared as float32, the precision they are stored in, so deciding again from a signals file gives the
same verdicts as deciding while measuring. What is not a number fails every rule it is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.config import UserError, suggest
from corpuskit.rulesets import Rule, RuleSet

KEPT = -1


class Verdicts(NamedTuple):
    """What the rules say of a batch of documents."""

    first: npt.NDArray[np.int64]  # index of the first failing rule, or KEPT
    value: npt.NDArray[np.float64]  # its signal's value; NaN where the document is kept
    severity: npt.NDArray[np.int32]  # of that failure, from 1; 0 where the document is kept
    fails: npt.NDArray[np.bool_]  # shape (documents, rules)


def check_signals(rules: RuleSet, known: Sequence[str]) -> None:
    """Make sure every rule names one of the signals that are measured.

    Raises:
        UserError: a rule names a signal that is not measured, or that is none.
    """
    for rule in rules.rules:
        if rule.signal not in known:
            from corpuskit.filters.clean import ALL_SIGNALS

            what = f"rules {rules.name}: rule {rule.name}: "
            if rule.signal in ALL_SIGNALS:
                raise UserError(
                    f"{what}{rule.signal} is not measured here; see `signals:` of the pipeline in docs/steps.md"
                )
            raise UserError(f"{what}unknown signal '{rule.signal}'{suggest(rule.signal, known)}")


def as_params(rules: RuleSet) -> list[dict[str, Any]]:
    """The rules as a stage's parameters: without their sources, so that a corrected citation redoes nothing."""
    return [rule.model_dump(exclude={"source"}) for rule in rules.rules]


def from_params(params: Sequence[dict[str, Any]]) -> list[Rule]:
    """The rules of a stage's parameters."""
    return [Rule(**{"source": "not carried along", **rule}) for rule in params]


def judge(signals: npt.NDArray[np.float32], names: Sequence[str], rules: Sequence[Rule]) -> Verdicts:
    """The verdicts on a batch of signals, shape (documents, names)."""
    fails = failing(signals, names, rules)
    first = verdicts(fails)
    value = np.full(len(first), np.nan)
    severity = np.zeros(len(first), np.int32)
    for at in np.unique(first[first != KEPT]):
        rows = np.flatnonzero(first == at)
        values = signals[rows, names.index(rules[at].signal)]
        value[rows], severity[rows] = values, severities(values, rules[at])
    return Verdicts(first, value, severity, fails)


def failing(signals: npt.NDArray[np.float32], names: Sequence[str], rules: Sequence[Rule]) -> npt.NDArray[np.bool_]:
    """Which document fails which rule: bool, shape (documents, rules). A bound itself passes, NaN does not."""
    out = np.zeros((len(signals), len(rules)), np.bool_)
    for at, rule in enumerate(rules):
        values = signals[:, names.index(rule.signal)]
        if rule.min is not None:
            out[:, at] |= ~(values >= np.float32(rule.min))
        if rule.max is not None:
            out[:, at] |= ~(values <= np.float32(rule.max))
    return out


def severities(values: npt.NDArray[np.float32], rule: Rule) -> npt.NDArray[np.int32]:
    """How severely values that fail a rule fail it: 1, and 1 more for each of its severities they are beyond."""
    out = np.ones(len(values), np.int32)
    for bound in np.array(rule.severities, np.float32):
        out += ~(values <= bound) if rule.min is None else ~(values >= bound)
    return out


def verdicts(fails: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The index of the first failing rule of each document, or KEPT."""
    if fails.shape[1] == 0:
        return np.full(len(fails), KEPT, np.int64)
    first = fails.argmax(axis=1)
    return np.where(fails[np.arange(len(fails)), first], first, KEPT)


def rule_column(judged: Verdicts, rules: Sequence[Rule]) -> pa.Array:
    """The name of the first failing rule of each document, null where it is kept."""
    return pa.array([rule.name for rule in rules], pa.string()).take(pa.array(judged.first, mask=judged.first == KEPT))


def new_counts(rules: Sequence[Rule]) -> dict[str, Any]:
    """Empty counts of verdicts.

    Documents, characters and bytes kept; by rule, those dropped because it was the first to fail, by severity as well,
    and the documents that fail it at all, and that fail it and no other.
    """
    per_rule = ("dropped", "chars_dropped", "bytes_dropped", "failing", "only_failing")
    return {
        **dict.fromkeys(("kept", "chars_kept", "bytes_kept"), 0),
        **{count: {rule.name: 0 for rule in rules} for count in per_rule},
        "severities": {rule.name: [0] * (1 + len(rule.severities)) for rule in rules},
    }


def count_verdicts(
    counts: dict[str, Any],
    judged: Verdicts,
    rules: Sequence[Rule],
    characters: npt.NDArray[np.int64],
    size: npt.NDArray[np.int64],
) -> None:
    """Add a batch's verdicts to the counts; characters and bytes are those of each document's text."""
    place = judged.first + 1  # 0: kept
    steps = 2 + max((len(rule.severities) for rule in rules), default=0)
    dropped = [
        np.bincount(place, weights, 1 + len(rules)).astype(np.int64).tolist() for weights in (None, characters, size)
    ]
    failing = judged.fails.sum(axis=0).tolist()
    only_failing = judged.fails[judged.fails.sum(axis=1) == 1].sum(axis=0).tolist()
    by_severity = np.bincount(place * steps + judged.severity, minlength=(1 + len(rules)) * steps).reshape(-1, steps)
    for name, sums in zip(("kept", "chars_kept", "bytes_kept"), dropped, strict=True):
        counts[name] += sums[0]
    for at, rule in enumerate(rules):
        for name, sums in zip(("dropped", "chars_dropped", "bytes_dropped"), dropped, strict=True):
            counts[name][rule.name] += sums[at + 1]
        counts["failing"][rule.name] += failing[at]
        counts["only_failing"][rule.name] += only_failing[at]
        severities = counts["severities"][rule.name]
        for step in range(len(severities)):
            severities[step] += int(by_severity[at + 1, step + 1])
