"""The texts for users: their commands exist, their links lead somewhere, both languages show the same code."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from corpuskit.cli import app
from corpuskit.filters.cut import SIGNALS as CUT_SIGNALS
from corpuskit.filters.signals import SIGNALS
from corpuskit.filters.upstream import SIGNALS as UPSTREAM_SIGNALS
from corpuskit.filters.urls import SIGNALS as URL_SIGNALS
from corpuskit.filters.words import SIGNALS as LIST_SIGNALS
from corpuskit.rulesets import load_rules

ROOT = Path(__file__).parents[1]
ENGLISH, JAPANESE = ROOT / "README.md", ROOT / "README.ja.md"
TEXTS = [ENGLISH, JAPANESE, *sorted((ROOT / "docs").glob("*.md"))]
PICTURE = ROOT / "docs" / "funnel.svg"

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CHECKOUT_PATH = re.compile(r"`((?:rules|pipelines|docs|corpuskit|tests|sample)/[^`<>*\s]*)`")


def blocks(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and content."""
    return FENCE.findall(path.read_text(encoding="utf-8"))


def commands(path: Path, program: str) -> list[str]:
    """The shell lines of a page that begin with a program."""
    lines = [line for kind, text in blocks(path) if kind == "sh" for line in text.splitlines()]
    return [line for line in lines if line.split()[:1] == [program]]


def all_commands(program: str) -> list[str]:
    return sorted({line for path in TEXTS for line in commands(path, program)})


@pytest.mark.parametrize("line", all_commands("corpuskit"))
def test_every_corpuskit_command_parses(line: str) -> None:
    words = shlex.split(line)[1:]
    command, name = get_command(app), "corpuskit"
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"{line}: there is no command {name}"
        command = command.commands[name]
    context = command.make_context(name, words)  # parses the options; raises on an unknown one, runs nothing
    if name != "mix":
        assert not context.args


@pytest.mark.parametrize("line", [c for c in all_commands("corpuskit") if c.split()[1] == "corpus"])
def test_a_plan_is_shown_for_every_corpus_command(line: str, tmp_path: Path) -> None:
    words = [str(Path(sys.executable).parent / "corpuskit"), *shlex.split(line)[1:]]
    words += [] if "--dry-run" in words else ["--dry-run"]
    [rules] = [text for kind, text in blocks(ENGLISH) if kind == "yaml"]
    (tmp_path / "mine.yaml").write_text(rules, encoding="utf-8")
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "sources" in done.stdout
    assert [p.name for p in tmp_path.iterdir()] == ["mine.yaml"]


def test_the_commands_for_foreign_files_find_the_files_of_the_one_before() -> None:
    chain = [shlex.split(line) for line in commands(ENGLISH, "corpuskit") if "--input" in line]
    assert [words[1] for words in chain] == ["clean", "dedup", "scrub", "pack"]
    outs = [words[words.index("--out") + 1] for words in chain]
    inputs = [words[words.index("--input") + 1] for words in chain]
    assert inputs[1:] == [f"{out}/kept/*.parquet" for out in outs[:-1]]


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make on this machine")
@pytest.mark.parametrize("line", all_commands("make"))
def test_every_make_target_exists(line: str) -> None:
    words = shlex.split(line)
    done = subprocess.run([*words, "--dry-run", "--silent"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words[1:]:
        if "=" in word:
            assert re.search(rf"\$\({word.split('=')[0]}\)", makefile), f"the Makefile has no {word}"


@pytest.mark.parametrize("page", [ENGLISH, JAPANESE])
def test_the_python_is_python(page: Path) -> None:
    codes = [text for kind, text in blocks(page) if kind == "python"]
    assert codes
    for code in codes:
        compile(code, page.name, "exec")


def test_both_languages_show_the_same_code_in_the_same_order() -> None:
    assert blocks(ENGLISH) == blocks(JAPANESE)
    assert "](README.ja.md)" in ENGLISH.read_text(encoding="utf-8")
    assert "](README.md)" in JAPANESE.read_text(encoding="utf-8")


def test_both_languages_give_the_same_numbers() -> None:
    def numbers(path: Path) -> list[list[str]]:
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
        return [[cell.strip() for cell in row.split("|")[2:-1]] for row in rows]

    assert numbers(ENGLISH) == numbers(JAPANESE)


@pytest.mark.parametrize("page", TEXTS, ids=lambda p: p.name)
def test_every_link_and_path_leads_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in LINK.findall(text):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), target
    for target in CHECKOUT_PATH.findall(text):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", [*TEXTS, PICTURE], ids=lambda p: p.name)
def test_nothing_of_a_writers_machine_stands_in_a_page(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users)/", text)
    assert "127.0.0.1" not in text
    assert "localhost" not in text


def test_the_steps_page_lists_every_signal_and_the_rules_use_them() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "steps.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert table == [*SIGNALS, *LIST_SIGNALS, *URL_SIGNALS, *UPSTREAM_SIGNALS, *CUT_SIGNALS, "language_probability"]
    for lang in ("ja", "en", "code"):
        assert {rule.signal for rule in load_rules(lang).rules} <= set(table)


def test_ci_runs_what_the_readme_says_and_the_tests_last() -> None:
    first, *_ = [text for kind, text in blocks(ENGLISH) if kind == "sh"]
    main_job, tests = first.splitlines()
    script = ROOT / ".ci" / "run"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert script.stat().st_mode & 0o111
    assert "set -euo pipefail" in lines
    assert lines[-1] == tests == "make test"
    assert main_job == "make corpus LANG=ja"
    assert main_job in lines
