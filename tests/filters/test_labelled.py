"""Precision and recall of the default rules on the labelled set, by rule, by label and by reason; floors for all.

The documents go the real way: normalised, lines cut, measured, their language identified, decided. A floor is what was
measured when it was written down, so a change that loses something is seen here. Where a rule has got better, its
floor may rise; it is lowered only together with the reason in the rule's source.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from judged import LABELS, NAMES, labelled, signals_of_texts

from corpuskit.config import load_pipeline
from corpuskit.filters.language import find_model, language_probability
from corpuskit.filters.rules import failing
from corpuskit.rulesets import load_rules
from corpuskit.text.normalize import normalize_column

# reason -> the rules that are right to fail such a document
RIGHT_RULES = {
    "ja": {
        "navigation": (
            *("too_much_cut", "too_short", "short_lines", "few_hiragana", "mostly_digits", "boilerplate_share"),
        ),
        "repetition": (
            "duplicate_lines",
            "duplicate_sentences",
            "repeated_2gram",
            "repeated_4gram",
            "repeated_passages",
        ),
        "keywords": (
            "few_hiragana",
            "mostly_katakana",
            "mostly_digits",
            "unpunctuated_sentences",
            "repeated_2gram",
            "repeated_4gram",
        ),
        "machine": ("mostly_digits", "not_japanese", "few_hiragana", "wrong_language"),
        "mojibake": ("garbled", "foreign_kanji"),
        "escapes": ("control_characters",),
        "symbols": ("mostly_symbols", "character_run", "repeated_2gram", "repeated_4gram"),
        "teasers": ("ellipsis_lines",),
        "other_language": ("not_japanese", "few_hiragana", "wrong_language"),
        "too_short": ("too_short",),
        "unpunctuated": ("unpunctuated_sentences",),
        "listed_host": ("blocked_host",),
        "advertising": ("advertising_share", "advertising_types"),
        "adult": ("adult_share", "adult_types"),
        "violence": ("violence_share", "violence_types"),
        "discrimination": ("discrimination_share", "discrimination_types"),
    },
    "en": {
        "navigation": ("too_much_cut", "too_few_words", "few_stop_words", "unpunctuated_lines"),
        "repetition": ("duplicate_lines", "duplicate_sentences"),
        "keywords": ("few_stop_words", "unpunctuated_lines"),
        "machine": (
            "few_alphabetic_words",
            "few_stop_words",
            "unpunctuated_lines",
            "word_length_low",
            "word_length_high",
        ),
        "mojibake": ("garbled",),
        "teasers": ("ellipsis_lines",),
        "other_language": ("few_stop_words", "wrong_language"),
        "too_short": ("too_few_words",),
        "placeholder": ("few_stop_words", "wrong_language"),
        "listed_host": ("blocked_host",),
        "advertising": ("advertising_share", "advertising_types"),
        "adult": ("adult_share", "adult_types"),
        "violence": ("violence_share", "violence_types"),
        "discrimination": ("discrimination_share", "discrimination_types"),
    },
}

# What was measured. Of good documents and hard negatives the share that is kept, of the others the share that is
# dropped; precision and recall of dropping.
LABEL_FLOORS: dict[str, dict[str, float]] = {
    "ja": {
        "good": 1,
        "hard_negative": 1,
        "low": 0.95,
        "harmful": 1,
        "precision": 1,
        "recall": 0.9655,
    },
    "en": {
        "good": 1,
        "hard_negative": 1,
        "low": 1,
        "harmful": 1,
        "precision": 1,
        "recall": 1,
    },
}
# Of the documents of a reason, the share that fails one of its right rules.
REASON_FLOORS: dict[str, dict[str, float]] = {
    "ja": {
        "navigation": 1,
        "repetition": 0.7273,
        "keywords": 1,
        "machine": 1,
        "mojibake": 1,
        "escapes": 1,
        "symbols": 1,
        "teasers": 1,
        "other_language": 1,
        "too_short": 1,
        "unpunctuated": 1,
        "listed_host": 1,
        "advertising": 1,
        "adult": 1,
        "violence": 1,
        "discrimination": 1,
    },
    "en": {
        "navigation": 1,
        "repetition": 1,
        "keywords": 1,
        "machine": 1,
        "mojibake": 1,
        "teasers": 1,
        "other_language": 1,
        "too_short": 1,
        "placeholder": 1,
        "listed_host": 1,
        "advertising": 1,
        "adult": 1,
        "violence": 1,
        "discrimination": 1,
    },
}
# rule -> precision, recall: of the documents it fails, the share that is low or harmful; of the documents whose reason
# it is right for, the share it fails. None: no such document.
RULE_FLOORS: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "ja": {
        "blocked_host": (1, 1),
        "harmful_url": (1, None),
        "harmful_path": (1, None),
        "too_much_cut": (1, 0.8182),
        "too_short": (1, 0.8667),
        "garbled": (1, 1),
        "foreign_kanji": (1, 0),
        "control_characters": (1, 1),
        "not_japanese": (1, 0.7),
        "few_hiragana": (1, 0.6552),
        "mostly_katakana": (1, 0.25),
        "wrong_language": (1, 0.7),
        "mostly_symbols": (1, 0.5),
        "mostly_digits": (1, 0.3333),
        "character_run": (1, 0.25),
        "short_lines": (1, 0.6364),
        "unpunctuated_sentences": (1, 0.5556),
        "ellipsis_lines": (1, 1),
        "duplicate_lines": (1, 0.1818),
        "duplicate_sentences": (1, 0.5455),
        "repeated_2gram": (1, 0.2609),
        "repeated_4gram": (1, 0.2609),
        "repeated_passages": (1, 0.4545),
        "adult_share": (1, 1),
        "adult_types": (1, 1),
        "violence_share": (1, 1),
        "violence_types": (1, 0.1667),
        "discrimination_share": (1, 1),
        "discrimination_types": (1, 0.375),
        "advertising_share": (1, 1),
        "advertising_types": (1, 1),
        "boilerplate_share": (1, 0),
    },
    "en": {
        "blocked_host": (1, 1),
        "harmful_url": (1, None),
        "harmful_path": (1, None),
        "too_much_cut": (1, 0.6667),
        "too_few_words": (1, 0.75),
        "too_many_words": (None, None),
        "garbled": (1, 1),
        "control_characters": (None, None),
        "wrong_language": (1, 1),
        "word_length_low": (1, 0.25),
        "word_length_high": (1, 0.25),
        "few_alphabetic_words": (1, 0.5),
        "few_stop_words": (1, 0.6),
        "ellipsis_lines": (1, 1),
        "unpunctuated_lines": (1, 0.875),
        "duplicate_lines": (1, 1),
        "duplicate_sentences": (1, 1),
        "adult_share": (1, 1),
        "adult_types": (1, 1),
        "violence_share": (1, 1),
        "violence_types": (None, 0),
        "discrimination_share": (1, 1),
        "discrimination_types": (1, 0.5),
        "advertising_share": (1, 1),
        "advertising_types": (1, 1),
    },
}


class Score(NamedTuple):
    """What the rules did to the labelled documents of one language."""

    labels: dict[str, float]
    reasons: dict[str, float]
    rules: dict[str, tuple[float | None, float | None]]
    failed: dict[str, int]  # rule -> documents it fails
    wrong: list[str]  # documents on the wrong side, with the rules they fail


@cache
def score(lang: str) -> Score:
    documents = labelled(lang)
    texts = [d.text for d in documents]
    pipeline = load_pipeline(lang)
    column = normalize_column(pa.array(texts, pa.string()), pipeline.normalize)
    assert pipeline.language_id
    language = language_probability(column, pipeline.language_id, find_model().path)
    rules = load_rules(lang).rules
    fails = failing(signals_of_texts(texts, lang, language.tolist(), [d.url for d in documents]), NAMES, rules)

    dropped = fails.any(axis=1)
    label = np.array([d.label for d in documents])
    bad = np.isin(label, ("low", "harmful"))
    labels = {name: share((dropped == bad)[label == name]) for name in LABELS}
    labels |= {"precision": share(bad[dropped]), "recall": share(dropped[bad])}

    names = [rule.name for rule in rules]
    reasons = {}
    right = np.zeros(fails.shape, np.bool_)
    for reason, right_rules in RIGHT_RULES[lang].items():
        of_reason = np.array([d.reason == reason for d in documents])
        columns = np.isin(names, right_rules)
        right |= of_reason[:, None] & columns
        reasons[reason] = share(fails[of_reason][:, columns].any(axis=1))
    by_rule = {name: (share(bad[fails[:, at]]), share(fails[right[:, at], at])) for at, name in enumerate(names)}
    wrong = [
        f"{d.label} {d.name}: {', '.join(n for n, f in zip(names, fails[at], strict=True) if f) or 'kept'}"
        for at, d in enumerate(documents)
        if dropped[at] != bad[at]
    ]
    return Score(labels, reasons, by_rule, dict(zip(names, fails.sum(axis=0).tolist(), strict=True)), wrong)


def share(of: npt.NDArray[np.bool_]) -> float | None:
    return round(float(of.mean()), 4) if len(of) else None


def show(value: float | None) -> str:
    return "     -" if value is None else f"{value:6.3f}"


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_precision_and_recall_do_not_fall(lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = score(lang)
    with capsys.disabled():
        print(f"\n\ncorpuskit-{lang} on {len(labelled(lang))} labelled documents")
        for label, value in found.labels.items():
            print(f"  {label:<26}{show(value)}")
        print(f"  {'rule':<26}precision  recall  documents")
        for name, (precision, recall) in found.rules.items():
            print(f"  {name:<26}   {show(precision)}  {show(recall)}  {found.failed[name]:9}")
        print(f"  {'reason':<26}recognised")
        for reason, value in found.reasons.items():
            print(f"  {reason:<26}    {show(value)}")
        print("  on the wrong side: " + ("; ".join(found.wrong) or "none"))
    fallen = []
    for what, now, floors in (
        ("label", found.labels, LABEL_FLOORS[lang]),
        ("reason", found.reasons, REASON_FLOORS[lang]),
    ):
        assert now.keys() == floors.keys()
        fallen += [f"{what} {name}: {now[name]} < {floors[name]}" for name in floors if now[name] < floors[name]]
    assert found.rules.keys() == RULE_FLOORS[lang].keys(), "every rule has a floor, and every floor a rule"
    for name, floors in RULE_FLOORS[lang].items():
        for what, now, floor in zip(("precision", "recall"), found.rules[name], floors, strict=True):
            if floor is not None and (now is None or now < floor):
                fallen.append(f"{what} of {name}: {now} < {floor}")
    assert fallen == []


@pytest.mark.parametrize(("lang", "least"), [("ja", 220), ("en", 40)])
def test_the_set_is_what_it_says(lang: str, least: int) -> None:
    documents = labelled(lang)
    assert len(documents) >= least
    assert len({d.name for d in documents}) == len({d.text for d in documents}) == len(documents)
    for document in documents:
        assert (document.reason is None) == (document.label in ("good", "hard_negative")), document.name
    assert {d.reason for d in documents} - {None} == RIGHT_RULES[lang].keys()
    named = {rule for rules in RIGHT_RULES[lang].values() for rule in rules}
    assert named <= {rule.name for rule in load_rules(lang).rules}
