"""What several test files share: the real command line, the sample corpus built once by it, and folders as hashes."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

# A test that was green stays green until the code or the test changes. `--hypothesis-profile explore` looks for new
# inputs instead; what it finds goes into the test as an @example.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", derandomize=False, deadline=None)
hypothesis.settings.load_profile("repeatable")

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = Path(sys.executable).parent / "corpuskit"

# A shell starts what runs in the background with Ctrl-C ignored, and every process started from there inherits that.
# Some tests press Ctrl-C: a handler of our own makes it work again in what we start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def command() -> str:
    """The installed console script."""
    return str(COMMAND)


@pytest.fixture(scope="session")
def cli() -> Cli:
    """Runs `corpuskit ARGUMENTS` as a user's shell does: a process of its own, no terminal."""

    def run(*arguments: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | environment
        words = [str(COMMAND), *map(str, arguments)]
        return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=env, timeout=300, check=False)

    return run


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, str]]:
    """Every file below a folder, hidden ones too, as path -> sha256; a folder without files is there as path -> ''."""

    def read(folder: Path) -> dict[str, str]:
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                found[str(path.relative_to(folder))] = hashlib.sha256(path.read_bytes()).hexdigest()
            elif not any(path.iterdir()):
                found[str(path.relative_to(folder))] = ""
        return found

    return read


@pytest.fixture(scope="session")
def sample_run(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The bundled sample, built with no option but language and folder: (workspace, the run). Not to be changed."""
    workspace = tmp_path_factory.mktemp("sample") / "workspace"
    done = cli("corpus", "--lang", "ja", "--workspace", workspace)
    assert done.returncode == 0, done.stderr
    return workspace, done


@pytest.fixture(scope="session")
def sample(sample_run: tuple[Path, subprocess.CompletedProcess[str]]) -> Path:
    """The workspace of the bundled sample. Not to be changed; copy it first."""
    return sample_run[0]
