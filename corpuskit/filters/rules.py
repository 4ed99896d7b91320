"""Decide: rules are bounds on signals, and a verdict is the first rule a document fails.

Signals are compared as float32, the precision they are stored in, so deciding again from a signals file gives the
same verdicts as deciding while measuring.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from corpuskit.config import Rule, RuleSet, UserError, suggest

KEPT = -1


def check_signals(rules: RuleSet, known: Sequence[str]) -> None:
    """Make sure every rule names a signal that is measured.

    Raises:
        UserError: a rule names an unknown signal.
    """
    for rule in rules.rules:
        if rule.signal not in known:
            raise UserError(
                f"rules {rules.name}: rule {rule.name}: unknown signal '{rule.signal}'{suggest(rule.signal, known)}"
            )


def failing(signals: npt.NDArray[np.float32], names: Sequence[str], rules: Sequence[Rule]) -> npt.NDArray[np.bool_]:
    """Which document fails which rule: bool, shape (documents, rules). A bound itself passes."""
    out = np.zeros((len(signals), len(rules)), np.bool_)
    for at, rule in enumerate(rules):
        values = signals[:, names.index(rule.signal)]
        if rule.min is not None:
            out[:, at] |= values < np.float32(rule.min)
        if rule.max is not None:
            out[:, at] |= values > np.float32(rule.max)
    return out


def verdicts(fails: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """The index of the first failing rule of each document, or KEPT."""
    if fails.shape[1] == 0:
        return np.full(len(fails), KEPT, np.int64)
    first = fails.argmax(axis=1)
    return np.where(fails[np.arange(len(fails)), first], first, KEPT)
