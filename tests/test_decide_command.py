"""`corpuskit decide` on the sample's workspace: new verdicts without reading text, and what moves between two rule sets."""  # noqa: E501

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Tree = Callable[[Path], dict[str, str]]
MINE = """\
name: mine
lang: ja
description: shorter documents, names of models
extends: corpuskit-ja
change:
  too_short: {min: 120, severities: [60, 20]}
  unpunctuated_sentences: {max: 20}
drop: [short_lines, few_hiragana]
"""


@pytest.fixture
def copy(sample: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sample, tmp_path / "ws"))


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE, encoding="utf-8")
    return path


def verdicts(workspace: Path) -> dict[str, dict[str, Any]]:
    files = sorted((workspace / "decide" / "ja" / "verdicts").glob("*.parquet"))
    return {row["id"]: row for file in files for row in pq.read_table(file).to_pylist()}


def test_a_changed_threshold_redoes_decide_and_what_follows_and_never_clean(
    copy: Path, mine: Path, cli: Cli, tree: Tree, tmp_path: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}
    done = cli("decide", "--rules", mine, "--workspace", copy, "--executor", "local", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    changed = {p for p in copy.rglob("*") if p.is_file() and before.get(p) != p.stat().st_mtime_ns}
    assert changed and all(p.is_relative_to(copy / "decide" / "ja") for p in changed)
    found = verdicts(copy)
    dropped = [row for row in found.values() if row["rule"]]
    assert result["funnel"]["total"]["kept"] == len(found) - len(dropped)
    short = [row for row in dropped if row["rule"] == "too_short"]
    assert {row["severity"] for row in short} >= {1, 2}
    assert all(row["severity"] == 1 + (row["value"] < 60) + (row["value"] < 20) for row in short)
    by_severity = [sum(row["severity"] == n for row in short) for n in (1, 2, 3)]
    assert result["funnel"]["rules"]["too_short"]["severities"] == by_severity
    assert result["stale"] == ["dedup/ja", "corpus/ja", "tokenizer", "bins/ja", "report"]

    # nothing is made of a corpus whose verdicts are others now
    left_out = cli("report", "--workspace", copy, "--json")
    assert (
        "the corpus of ja is unfinished and left out; run: corpuskit corpus --lang ja --rules FILE" in left_out.stderr
    )
    assert sorted(json.loads(left_out.stdout)["languages"]) == ["code", "en"]

    # the command it names finishes the corpus, as if it had been built with these rules from the start
    words = shlex.split(result["next"])
    assert words[:6] == ["corpuskit", "corpus", "--lang", "ja", "--rules", str(mine)]
    going_on = cli(*words[1:], "--executor", "local", "--json")
    assert going_on.returncode == 0, going_on.stderr
    assert not any(stage in json.loads(going_on.stdout)["cpu_seconds"] for stage in ("clean", "decide", "split"))
    assert cli("corpus", "--lang", "ja", "--rules", mine, "--workspace", tmp_path / "new").returncode == 0
    assert tree(copy) == tree(tmp_path / "new")

    again = cli("decide", "--rules", mine, "--workspace", copy, "--executor", "local")
    assert "nothing is stale" in again.stdout


def test_rules_that_keep_the_same_documents_leave_the_corpus_as_it_is(copy: Path, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "renamed.yaml"
    path.write_text("name: renamed\nlang: ja\ndescription: the same\nextends: corpuskit-ja\n", encoding="utf-8")
    done = cli("decide", "--rules", path, "--workspace", copy, "--executor", "local", "--json")
    assert (json.loads(done.stdout)["stale"], json.loads(done.stdout)["next"]) == ([], None)
    assert "ja" in json.loads(cli("report", "--workspace", copy, "--json").stdout)["languages"]


def test_a_comparison_says_what_moves_and_writes_nothing(copy: Path, mine: Path, cli: Cli, tree: Tree) -> None:
    before, files = verdicts(copy), tree(copy)
    words = ("decide", "--rules", mine, "--diff", "corpuskit-ja", "--workspace", copy)
    done = cli(*words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(copy) == files
    result = json.loads(done.stdout)
    assert json.loads(cli(*words, "--workers", 1, "--json").stdout) == result
    table = cli(*words).stdout
    back = json.loads(cli("decide", "--rules", "corpuskit-ja", "--diff", mine, "--workspace", copy, "--json").stdout)

    assert cli("decide", "--rules", mine, "--workspace", copy, "--executor", "local").returncode == 0
    after = verdicts(copy)
    left = {id_: row["rule"] for id_, row in after.items() if row["rule"] and not before[id_]["rule"]}
    returned = {id_: row["rule"] for id_, row in before.items() if row["rule"] and not after[id_]["rule"]}
    assert len(left) > 0 and len(returned) > 5
    for way, moved in (("left", left), ("returned", returned)):
        assert result[way]["documents"] == len(moved)
        by_rule = {rule: n[way] for rule, n in result["rules"].items() if n[way]}
        assert by_rule == {rule: list(moved.values()).count(rule) for rule in set(moved.values())}
        for rule, samples in result["samples"][way].items():
            assert len(samples) == min(20, by_rule[rule])
            assert all(moved[sample["id"]] == rule for sample in samples)
            assert f"{rule}: {way} {by_rule[rule]}" in table
    assert result["before"]["kept"] + len(returned) - len(left) == result["after"]["kept"]
    assert (back["left"], back["returned"]) == (result["returned"], result["left"])
    rules = result["rules"]["short_lines"]
    assert rules["failing_before"] > 0 and rules["failing_after"] is None


def test_a_plan_is_shown_and_nothing_done(copy: Path, mine: Path, cli: Cli, tree: Tree) -> None:
    before = tree(copy)
    done = cli("decide", "--rules", mine, "--workspace", copy, "--dry-run", "--json")
    plan = json.loads(done.stdout)
    assert (plan["lang"], plan["rules"], plan["files"], plan["documents"]) == ("ja", "mine", 4, 339)
    assert plan["bytes"] == sum(p.stat().st_size for p in (copy / "clean" / "ja" / "signals").glob("*.parquet"))
    assert tree(copy) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say which language is meant: code, en, ja"),
        (("--lang", "jp"), r"--lang jp: nothing of it is measured in .*(known: code, en, ja)"),
        (("--rules", "corpuskit-jp"), "no such preset; did you mean corpuskit-ja?"),
        (("--rules", "{files}/no.yaml"), "no.yaml: no such file"),
        (("--rules", "{files}/french.yaml"), "rules for fr, of which"),
        (("--rules", "corpuskit-ja", "--lang", "en"), "--rules corpuskit-ja: no such preset"),
        (("--rules", "corpuskit-ja", "--diff", "corpuskit-en"), "--rules corpuskit-en: no such preset"),
        (("--rules", "{files}/signal.yaml"), "unknown signal 'num_char'; did you mean num_chars?"),
        (("--rules", "corpuskit-ja", "--diff", "{files}/signal.yaml"), "did you mean num_chars?"),
        (("--rules", "{files}/words.yaml"), "rule short: num_words is not measured here; see `signals:`"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    sample: Path, tmp_path: Path, cli: Cli, words: tuple[str, ...], message: str
) -> None:
    body = "description: d\nrules: [{name: short, signal: SIGNAL, min: 1, source: own}]\n"
    for name, lang, signal in (
        ("french", "fr", "num_chars"),
        ("signal", "ja", "num_char"),
        ("words", "ja", "num_words"),
    ):
        text = f"name: {name}\nlang: {lang}\n{body.replace('SIGNAL', signal)}"
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    done = cli("decide", *(word.replace("{files}", str(tmp_path)) for word in words), "--workspace", sample)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    for part in message.split(".*"):
        assert part in done.stderr


def test_what_is_damaged_or_unfinished_is_said(copy: Path, cli: Cli) -> None:
    receipts = copy / "clean" / "ja" / "receipts"
    (copy / "clean" / "ja" / ".corpuskit-tmp").mkdir()  # as kill -9 leaves it
    done = cli("decide", "--rules", "hojichar", "--workspace", copy)
    assert done.returncode == 0
    assert "only what is measured is decided" in done.stderr
    signals = next((copy / "clean" / "ja" / "signals").iterdir())
    signals.write_bytes(signals.read_bytes()[:-100])
    done = cli("decide", "--rules", "hojichar", "--diff", "corpuskit-ja", "--workspace", copy)
    assert done.returncode == 1
    assert f"{signals}: is missing or damaged" in done.stderr and "Traceback" not in done.stderr
    damaged = min(receipts.iterdir())
    damaged.write_text("{")
    done = cli("decide", "--rules", "hojichar", "--workspace", copy)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{damaged}: is damaged; to measure what it is of again: corpuskit corpus --lang ja" in done.stderr


def test_a_folder_that_measured_nothing_says_how_to_begin(tmp_path: Path, cli: Cli) -> None:
    done = cli("decide", "--workspace", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing is measured here; build a corpus with: corpuskit corpus --lang ja" in done.stderr
