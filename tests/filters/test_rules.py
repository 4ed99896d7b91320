"""The rules of corpuskit-code on texts just inside and just outside of their bounds, and how verdicts are made.

The rules for languages are tested in test_rules_ja.py, test_rules_en.py and test_presets.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from judged import judged

from corpuskit.config import UserError
from corpuskit.filters.rules import KEPT, check_signals, failing, judge, verdicts
from corpuskit.filters.signals import SIGNALS
from corpuskit.rulesets import Rule, RuleSet, load_rules


def failed_rules(text: str) -> list[str]:
    """The rules of corpuskit-code that a text fails, in their order."""
    return list(judged(text, "code"))


# --- code ---------------------------------------------------------------------------------------------------------


def code_lines(length: int, extra: int = 0) -> str:
    """Ten lines of so many characters of code, the first one longer by `extra`."""
    made = [f"value_{at} = " + ("compute" * 200)[: length - 10 + (extra if at == 0 else 0)] for at in range(10)]
    return "\n".join(made)


def long_line(length: int) -> str:
    return "x = 1\n" * 20 + "data = '" + "ab" * ((length - 10) // 2) + "c" * (length % 2) + "';"


CODE: dict[str, tuple[str, str]] = {
    "too_short": ("value = 1\n" + "y" * 93, "value = 1\n" + "y" * 92),
    "long_line": (long_line(1000), long_line(1001)),
    "long_lines": (code_lines(100), code_lines(100, extra=1)),
    "few_alphanumeric": ("ab1d" * 25 + "+-*/(){}[];:" * 25, "ab1d" * 24 + "ab1" + "+-*/(){}[];:" * 25 + "="),
}


@pytest.mark.parametrize("rule", CODE)
def test_code_at_the_bound_is_kept_and_beyond_it_fails_this_rule_alone(rule: str) -> None:
    inside, outside = (
        "\n".join(t[at : at + 80] for at in range(0, len(t), 80)) if rule == "few_alphanumeric" else t
        for t in CODE[rule]
    )
    assert failed_rules(inside) == []
    assert failed_rules(outside) == [rule]


def test_every_code_rule_has_a_text_on_both_sides() -> None:
    assert {rule.name for rule in load_rules("code").rules} == set(CODE)


KEPT_CODE = {
    "Python with Japanese comments": """\
def 合計(値):
    # 空のときは 0 を返す
    total = 0
    for v in 値:
        if v is None:
            continue
        total += v  # 欠測は数えない
    return total


if __name__ == "__main__":
    print(合計([1, 2, None, 3]))
""",
    "C with many braces": """\
static int max(const int *a, size_t n) {
    int m = a[0];
    for (size_t i = 1; i < n; ++i) {
        if (a[i] > m) { m = a[i]; }
    }
    return m;
}
int main(void) { int a[] = {1, 2, 3}; return max(a, 3) == 3 ? 0 : 1; }
""",
}


@pytest.mark.parametrize("what", KEPT_CODE)
def test_code_hard_negatives_are_kept(what: str) -> None:
    assert failed_rules(KEPT_CODE[what]) == []


# --- deciding -----------------------------------------------------------------------------------------------------


def decide(values: list[list[float]], *rules: Rule) -> list[int]:
    return verdicts(failing(np.array(values, np.float32), ("a", "b"), rules)).tolist()


def test_a_bound_itself_passes() -> None:
    rule = Rule(name="r", signal="a", min=0.1, max=0.3, source="own")
    assert decide([[0.1, 0], [0.3, 0], [0.0999, 0], [0.3001, 0]], rule) == [KEPT, KEPT, 0, 0]


def test_bounds_compare_in_the_precision_signals_are_stored_in() -> None:
    rule = Rule(name="r", signal="a", max=0.1, source="own")
    assert float(np.float32(0.1)) > 0.1  # as float64 the stored value would lie beyond the bound
    assert decide([[0.1, 0]], rule) == [KEPT]


def test_the_first_failing_rule_in_order_is_the_verdict() -> None:
    rules = [Rule(name=n, signal=n, max=1, source="own") for n in ("b", "a")]
    assert decide([[2, 2], [2, 0], [0, 2], [0, 0]], *rules) == [0, 1, 0, KEPT]


def test_no_rules_keep_everything_and_no_documents_have_no_verdicts() -> None:
    assert decide([[1, 2], [3, 4]]) == [KEPT, KEPT]
    assert verdicts(np.zeros((0, 3), np.bool_)).tolist() == []


def test_a_rule_on_an_unknown_signal_is_refused_with_the_closest_one() -> None:
    rules = RuleSet(
        name="mine", lang="ja", description="", rules=(Rule(name="r", signal="num_char", min=1, source="own"),)
    )
    with pytest.raises(UserError, match=r"rules mine: rule r: unknown signal 'num_char'; did you mean num_chars\?"):
        check_signals(rules, SIGNALS)
    check_signals(rules.model_copy(update={"rules": ()}), SIGNALS)


def test_what_is_not_a_number_fails_every_rule_on_it() -> None:
    low, high = Rule(name="low", signal="a", min=0, source="own"), Rule(name="high", signal="a", max=9, source="own")
    assert decide([[np.nan, 0]], low) == decide([[np.nan, 0]], high) == [0]
    judged = judge(np.array([[np.nan, 0]], np.float32), ("a", "b"), [high.model_copy(update={"severities": (10, 20)})])
    assert (judged.first.tolist(), judged.severity.tolist()) == ([0], [3])
    assert np.isnan(judged.value[0])


@pytest.mark.parametrize(
    ("fields", "values", "severities"),
    [
        ({"min": 200, "severities": (100, 50)}, [200, 199, 100, 99, 50, 49], [0, 1, 1, 2, 2, 3]),
        ({"max": 0.2, "severities": (0.4,)}, [0.2, 0.3, 0.4, 0.41], [0, 1, 1, 2]),
        ({"min": 1, "max": 2}, [0, 1, 2, 3], [1, 0, 0, 1]),
    ],
)
def test_severity_is_how_many_bounds_a_document_is_beyond(
    fields: dict[str, Any], values: list[float], severities: list[int]
) -> None:
    rule = Rule(name="r", signal="a", source="own", **fields)
    judged = judge(np.array([[value, 0] for value in values], np.float32), ("a", "b"), [rule])
    assert judged.severity.tolist() == severities
    assert [first == KEPT for first in judged.first] == [severity == 0 for severity in severities]
    dropped = [value for value, severity in zip(values, severities, strict=True) if severity]
    assert judged.value[judged.first != KEPT].tolist() == np.float32(dropped).tolist()
    assert np.isnan(judged.value[judged.first == KEPT]).all()
