"""Every default rule drops some document by the real way: file to file through `clean`, with the language model.

A rule that never is the first to fail would be dead weight. Its document is the text beyond its bound of
test_rules_ja.py and test_rules_en.py, where the language model takes that for the language, or one written here.
"""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import test_rules_en
import test_rules_ja
from judged import labelled

from corpuskit.build.files import clean_files, plan_clean_files
from corpuskit.engine.run import Runner
from corpuskit.rulesets import load_rules

# what stands beside it is prose that any model takes for English
ENGLISH = "\n".join(d.text for d in labelled("en") if d.label == "good")
SENTENCES = [s + "." for s in ENGLISH.replace("\n", " ").split(". ")][:40]

# no more than one of: the, be, to, of, and, that, have, with
ONE_STOP_WORD = """\
She walks home alone every night because her brother works late. Rain falls on empty streets, lamps flicker, dogs bark \
behind wooden gates. Nobody asks where she goes. Once, a stranger said good evening, she answered him politely, then \
hurried past his door. Her kitchen is warm. She makes tea, reads letters from an old friend, sleeps until seven.
"""
WRITTEN: dict[str, dict[str, str]] = {
    "ja": {
        "wrong_language": next(d.text for d in labelled("ja") if d.name == "記号絵-星"),
    },
    "en": {
        "wrong_language": next(d.text for d in labelled("en") if d.name == "lorem"),
        "few_stop_words": ONE_STOP_WORD,
        "duplicate_lines": "\n".join([*SENTENCES, *SENTENCES[:20]]),
        "duplicate_sentences": " ".join([*SENTENCES, *SENTENCES[:20]]),
        **{
            f"{kind}_{what}": prose + "\n" + ", ".join(words) + "."
            for kind, words in (
                ("adult", test_rules_en.OBSCENE),
                ("violence", test_rules_en.VIOLENT),
                ("discrimination", test_rules_en.INSULTS),
                ("advertising", test_rules_en.SALES),
            )
            for what, prose in (("share", " ".join(SENTENCES[:3])), ("types", "\n".join(SENTENCES)))
        },
    },
}


@pytest.mark.parametrize(("lang", "literals"), [("ja", test_rules_ja), ("en", test_rules_en)])
def test_every_rule_is_the_first_to_fail_for_some_document(lang: str, literals: object, tmp_path: Path) -> None:
    pairs, urls = literals.PAIRS, literals.URLS  # type: ignore[attr-defined]
    documents = {rule: {"text": pair.outside} for rule, pair in pairs.items()}
    prose = next(d.text for d in labelled(lang) if d.label == "good")
    documents |= {rule: {"text": prose, "url": outside} for rule, (_, outside) in urls.items()}
    documents |= {rule: {"text": text} for rule, text in WRITTEN[lang].items()}
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents.values()), encoding="utf-8")

    plan = plan_clean_files(lang, [str(tmp_path / "in.jsonl")], "text", "url", None)
    clean_files(plan, out=tmp_path / "out", runner=Runner("local", retries=0), lid_model=None)
    removed = pq.read_table(tmp_path / "out" / "removed").to_pylist()
    by_record = {json.loads(row["meta"])["record"]: row["rule"] for row in removed}
    dropped_by = {rule: by_record.get(number, "kept") for number, rule in enumerate(documents)}
    assert dropped_by == {rule.name: rule.name for rule in load_rules(lang).rules}
