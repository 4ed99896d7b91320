"""The Makefile: which language it builds, and what locale the programs it starts see. Nothing is installed here.

VENV is a folder of two-line shell scripts that say how they were called, with marks newer than what they depend on.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="there is no make on this machine")

STUB = """#!/bin/sh
echo "called: $0 $*"
env | grep -E '^(LANG|LC_ALL|LANGUAGE|MAKEFLAGS|MAKEOVERRIDES)=' | sed 's/^/sees: /'
exit ${STUB_EXIT:-0}
"""


@pytest.fixture
def venv(tmp_path: Path) -> Path:
    folder = tmp_path / "venv"
    (folder / "bin").mkdir(parents=True)
    for name in ("corpuskit", "python", "ruff", "mypy"):
        (folder / "bin" / name).write_text(STUB)
        (folder / "bin" / name).chmod(0o755)
    for name in (".train", ".dev"):
        (folder / name).touch()
    return folder


def make(venv: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("LANG", "LC_ALL", "LANGUAGE", "MAKEFLAGS", "MAKELEVEL")}
    call = [str(MAKE), "-C", str(ROOT), "--no-print-directory", f"VENV={venv}", "PYTHON=false", *words]
    return subprocess.run(call, env=env | environment, capture_output=True, text=True, timeout=60, check=False)


def called(done: subprocess.CompletedProcess[str]) -> str:
    """The one command line that reached corpuskit."""
    assert done.returncode == 0, done.stderr
    [line] = [x for x in done.stdout.splitlines() if x.startswith("called: ")]
    return line.split("/bin/", 1)[1]


@pytest.mark.parametrize("locale", ["en_US.UTF-8", "ja_JP.UTF-8", "ja", "C", None])
def test_without_lang_on_the_command_line_it_says_what_to_write(venv: Path, locale: str | None) -> None:
    done = make(venv, "corpus", **({"LANG": locale} if locale else {}))
    assert done.returncode == 2
    assert "called:" not in done.stdout
    said = done.stderr.splitlines()[0]
    assert "for example: make corpus LANG=ja" in said
    assert all(lang in said for lang in ("code", "en", "ja"))
    assert done.stdout == ""


def test_an_empty_lang_is_no_language(venv: Path) -> None:
    done = make(venv, "corpus", "LANG=", LANG="ja_JP.UTF-8")
    assert done.returncode == 2
    assert "make corpus LANG=ja" in done.stderr


@pytest.mark.parametrize("locale", ["en_US.UTF-8", None])
def test_lang_is_the_language_and_not_the_locale(venv: Path, locale: str | None) -> None:
    done = make(venv, "corpus", "LANG=ja", **({"LANG": locale} if locale else {}))
    assert called(done) == "corpuskit corpus --lang ja --profile sample --workspace workspace"
    sees = [x for x in done.stdout.splitlines() if x.startswith("sees: ")]
    assert "sees: LANG=C.UTF-8" in sees
    assert not any("ja" in x.split("=", 1)[1].split() or "LANG=ja" in x for x in sees), sees


def test_lang_from_a_make_above_this_one(venv: Path, tmp_path: Path) -> None:
    above = tmp_path / "Makefile"
    above.write_text(f"all:\n\t@$(MAKE) -C '{ROOT}' --no-print-directory corpus 'VENV={venv}' PYTHON=false\n")
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")} | {"LANG": "en_US.UTF-8"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        call = [str(MAKE), "-f", str(above), *words]
        return subprocess.run(call, env=env, capture_output=True, text=True, timeout=60, check=False)

    done = run("LANG=ja")
    assert called(done) == "corpuskit corpus --lang ja --profile sample --workspace workspace"
    assert "sees: LANG=C.UTF-8" in done.stdout
    assert "LANG=ja" not in done.stdout
    without = run()
    assert without.returncode == 2
    assert "make corpus LANG=ja" in without.stderr


def test_a_make_started_by_the_program_does_not_inherit_the_language(venv: Path, tmp_path: Path) -> None:
    below = tmp_path / "below.mk"
    below.write_text('all:\n\t@echo "below: $(LANG) $$LANG"\n')
    (venv / "bin" / "corpuskit").write_text(f"#!/bin/sh\nexec '{MAKE}' -f '{below}'\n")
    done = make(venv, "corpus", "LANG=ja")
    assert "below: C.UTF-8 C.UTF-8" in done.stdout, done.stdout + done.stderr


def test_profile_workspace_and_args_are_passed_on(venv: Path) -> None:
    words = ("LANG=en", "PROFILE=full", "WORKSPACE=/data/my corpus", "ARGS=--workers 16 --source c4 --shards 0-3")
    assert called(make(venv, "corpus", *words)) == (
        "corpuskit corpus --lang en --profile full --workspace /data/my corpus --workers 16 --source c4 --shards 0-3"
    )
    # one argument, not two
    (venv / "bin" / "corpuskit").write_text('#!/bin/sh\nfor x in "$@"; do echo "<$x>"; done\n')
    assert "</data/my corpus>" in make(venv, "corpus", *words).stdout


def test_the_exit_code_of_the_program_reaches_the_caller(venv: Path) -> None:
    assert make(venv, "corpus", "LANG=ja", STUB_EXIT="1").returncode != 0
    assert make(venv, "corpus", "LANG=ja").returncode == 0


def test_test_and_check_run_what_they_say(venv: Path) -> None:
    tested = make(venv, "test", "ARGS=tests/engine")
    assert called(tested) == "python -m pytest -n 2 --dist loadfile tests/engine"
    checked = [
        x.split("/bin/", 1)[1].strip() for x in make(venv, "check").stdout.splitlines() if x.startswith("called: ")
    ]
    assert checked == ["ruff check .", "mypy"]


def test_the_environment_is_made_anew_when_the_pins_changed(venv: Path) -> None:
    long_ago = 1_000_000_000
    os.utime(venv / ".train", (long_ago, long_ago))
    done = make(venv, "corpus", "LANG=ja")  # PYTHON=false: making it fails at once
    assert done.returncode != 0
    assert "making the environment" in done.stdout
    assert "called:" not in done.stdout


def test_help_is_what_make_alone_gives(venv: Path) -> None:
    done = make(venv)
    assert done.returncode == 0
    for target in ("corpus", "test", "check", "env", "clean", "help"):
        assert any(line.startswith(target) for line in done.stdout.splitlines()), target


def test_clean_removes_the_environment_and_never_a_workspace(venv: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    (workspace / "corpus").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    assert venv.exists()
    assert make(venv, "clean", f"WORKSPACE={workspace}").returncode == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "ws"]
    assert not venv.exists()
