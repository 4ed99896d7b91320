"""Rule files: severities, what a file takes over from another one, and one clear line for every mistake."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from corpuskit.config import UserError, load_pipeline
from corpuskit.dedup import exact, paragraphs, substring
from corpuskit.filters.clean import signal_names
from corpuskit.filters.rules import check_signals
from corpuskit.rulesets import Rule, RuleSet, load_rules, presets

DEDUP_RULES = (exact.URL, exact.EXACT, exact.NORMALIZED, exact.NEAR, substring.RULE, paragraphs.RULE, paragraphs.COMMON)
HEAD = "name: mine\nlang: ja\ndescription: 試し\n"


def write(folder: Path, body: str, name: str = "mine.yaml", head: str = HEAD) -> Path:
    path = folder / name
    path.write_text(head + body, encoding="utf-8")
    return path


def load(folder: Path, body: str) -> RuleSet:
    return load_rules("ja", str(write(folder, body)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"min": 200, "severities": [100, 50]}, None),
        ({"max": 0.2, "severities": [0.4, 0.8]}, None),
        ({"min": 200, "severities": [100, 100]}, "severities lie below min and fall"),
        ({"min": 200, "severities": [200]}, "severities lie below min and fall"),
        ({"min": 200, "severities": [400]}, "severities lie below min and fall"),
        ({"max": 0.2, "severities": [0.1]}, "severities lie above max and rise"),
        ({"max": 0.2, "severities": [0.8, 0.4]}, "severities lie above max and rise"),
        ({"min": 1, "max": 2, "severities": [3]}, "severities need one bound"),
        ({"min": 2, "max": 1}, "min 2 is above max 1"),
        ({"min": float("nan")}, "finite number"),
        ({"max": float("inf")}, "finite number"),
        ({"min": 1e300}, "less than or equal"),  # as a float32 it would be infinite
        ({"max": -1e39}, "greater than or equal"),
        ({"max": 1, "source": ""}, "source"),
        ({"max": 1, "name": "a\x1b[31m"}, "name"),
        ({"max": 1, "name": ""}, "name"),
        *(({"max": 1, "name": name}, "is counted by this name") for name in DEDUP_RULES),
    ],
)
def test_a_rule_makes_sense_or_is_refused(fields: dict[str, Any], message: str | None) -> None:
    whole = {"name": "r", "signal": "num_chars", "source": "own", **fields}
    if message is None:
        assert Rule(**whole).severities == tuple(fields["severities"])
        return
    with pytest.raises(ValidationError, match=message):
        Rule(**whole)


def test_a_file_extends_a_preset_and_changes_drops_and_adds_rules(tmp_path: Path) -> None:
    base = load_rules("ja")
    mine = load(
        tmp_path,
        "extends: corpuskit-ja\n"
        "change:\n  too_short: {min: 400, severities: [200, 50]}\n  garbled: {source: measured again}\n"
        "drop: [short_lines, mostly_digits]\n"
        "rules:\n  - {name: no_lines, signal: num_lines, min: 2, source: own}\n",
    )
    inherited = [rule.name for rule in base.rules if rule.name not in ("short_lines", "mostly_digits")]
    assert [rule.name for rule in mine.rules] == [*inherited, "no_lines"]
    rules, before = {r.name: r for r in mine.rules}, {r.name: r for r in base.rules}
    assert (rules["too_short"].min, rules["too_short"].severities) == (400, (200, 50))
    assert rules["too_short"].source == before["too_short"].source + "; mine: min 200 -> 400, severities none -> 200 50"
    assert (rules["garbled"].max, rules["garbled"].source) == (before["garbled"].max, "measured again")
    assert rules["few_hiragana"] == before["few_hiragana"]
    assert (mine.name, mine.lang, mine.description) == ("mine", "ja", "試し")


def test_a_file_extends_another_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "extends: corpuskit-ja\ndrop: [garbled]\n", "base.yaml", HEAD.replace("mine", "base"))
    assert "garbled" not in [r.name for r in load(tmp_path, "extends: ./base.yaml\n").rules]


def test_a_bound_is_taken_away_by_null(tmp_path: Path) -> None:
    write(tmp_path, "rules: [{name: length, signal: num_chars, min: 5, max: 9, source: own}]\n", "base.yaml")
    [rule] = load(tmp_path, "extends: base.yaml\nchange: {length: {max: null}}\n").rules
    assert (rule.min, rule.max) == (5, None)


MERGE_BOMB = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{b}: &{b} {{<<: [{', '.join([f'*{a}'] * 9)}]}}\n" for a, b in itertools.pairwise("abcdefghijkl")
)
RULE = "{name: a, signal: num_chars, min: 1, source: own}"
ONE = f"rules: [{RULE}]\n"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", "no rules: give 'rules', or 'extends'"),
        ("extends: corpuskit-jp\n", r"extends corpuskit-jp: no such preset .*did you mean corpuskit-ja\?"),
        ("extends: ./no.yaml\n", r"no\.yaml: cannot be read"),
        ("extends: ./mine.yaml\n", r"extends \./mine\.yaml, which extends this file"),
        ("extends: ./en.yaml\n", r"extends \./en\.yaml, rules for en and not for ja"),
        ("extends: corpuskit-ja\ndrop: [to_short]\n", r"drop: .* no rule 'to_short'; did you mean too_short\?"),
        ("extends: corpuskit-ja\nchange: {to_short: {min: 3}}\n", r"change: .*'to_short'; did you mean too_short\?"),
        ("extends: corpuskit-ja\nchange: {too_short: {minn: 3}}\n", r"change\.too_short\.minn: .*did you mean min\?"),
        ("extends: corpuskit-ja\nchange: {too_short: {min: null}}\n", "rule too_short has neither min nor max"),
        ("extends: corpuskit-ja\nchange: {too_short: {severities: [300]}}\n", "severities lie below min"),
        ("extends: corpuskit-ja\nchange: {too_short: {severities: [.nan]}}\n", "too_short.severities.0: .*finite"),
        ("extends: corpuskit-ja\nchange: {garbled: {max: 2}}\ndrop: [garbled]\n", "drop: garbled: is changed as well"),
        (f"x: {'[' * 3000}{']' * 3000}\n", "nested too deeply"),
        (f"# {'x' * (1 << 20)}\n", "larger than 1 MB"),
        (MERGE_BOMB, "too much is merged by <<"),
        (f"x: {'9' * 5000}\n", "not valid YAML"),
        ("drop: []\ndrop: [too_short]\n", "'drop' stands twice"),
        ("change: {too_short: {min: 3}}\n" + ONE, "nothing to change without 'extends'"),
        ("drop: [too_short]\n" + ONE, "nothing to drop without 'extends'"),
        (f"rules: [{RULE}, {RULE}]\n", "'a' is there twice"),
        (
            "extends: corpuskit-ja\nrules: [{name: too_short, signal: num_chars, min: 1, source: own}]\n",
            "'too_short' is there already; use change",
        ),
        (
            "rules: [{name: a, signal: num_chars, minimum: 1, source: own}]\n",
            r"rules\.0\.minimum: .*did you mean min\?",
        ),
        ("rules: [{name: a, signal: num_chars, min: 1}]\n", r"rules\.0\.source: Field required"),
        ("extend: corpuskit-ja\n", r"did you mean extends\?"),
    ],
)
def test_a_mistake_is_one_line_with_file_and_way_out(tmp_path: Path, body: str, message: str) -> None:
    write(tmp_path, ONE, "en.yaml", HEAD.replace("ja", "en"))
    path = write(tmp_path, body)
    with pytest.raises(UserError, match=message) as caught:
        load_rules("ja", str(path))
    assert str(path.parent) in str(caught.value) and "\n" not in str(caught.value)
    assert "Value error" not in str(caught.value)


def test_files_that_extend_each_other_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "extends: ./mine.yaml\n", "other.yaml")
    with pytest.raises(UserError, match=r"other\.yaml: extends \./mine\.yaml, which extends this file"):
        load(tmp_path, "extends: ./other.yaml\n")


def test_a_chain_of_files_has_an_end(tmp_path: Path) -> None:
    write(tmp_path, "extends: corpuskit-ja\n", "0.yaml")
    for n in range(1, 40):
        write(tmp_path, f"extends: ./{n - 1}.yaml\n", f"{n}.yaml")
    load_rules("ja", str(tmp_path / "19.yaml"))
    with pytest.raises(UserError, match="is extended through more than 20 files"):
        load_rules("ja", str(tmp_path / "39.yaml"))


def test_rules_of_another_language_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, ONE)
    with pytest.raises(UserError, match="these are rules for ja, not for en"):
        load_rules("en", str(path))


@pytest.mark.parametrize("lang", ["ja", "en", "code"])
def test_every_preset_loads_by_its_name(lang: str) -> None:
    assert f"corpuskit-{lang}" in presets(lang)
    for name in presets(lang):
        rules = load_rules(lang, name)
        assert (rules.name, rules.lang) == (name, lang)
        assert all(len(rule.source) > 10 for rule in rules.rules)
        check_signals(rules, signal_names(load_pipeline(lang).measuring()))


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_a_preset_after_another_pipeline_says_where_it_deviates(lang: str) -> None:
    others = [name for name in presets(lang) if not name.startswith("corpuskit")]
    assert len(others) == 4
    for name in others:
        assert "Deviations from the original" in load_rules(lang, name).description
