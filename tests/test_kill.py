"""The same bytes, always: any number of workers, either executor, killed and started again or not.

The driver is killed with SIGKILL in the middle of a step, at seeded points, several times over; then the same command
runs once more. Every file of the workspace, hidden ones too, must be what an undisturbed run leaves.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from corpuskit.config import load_pipeline, sample_dir
from corpuskit.sources.fetch import local_path

SHARDS = 6
Tree = Callable[[Path], dict[str, str]]
Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six mC4 shards of 1.2 MB, their texts shuffled together from sentences of the sample."""
    folder = tmp_path_factory.mktemp("mirror")
    texts = [
        json.loads(line)["text"]
        for path in sorted(sample_dir().rglob("c4-ja*.json.gz"))
        for line in gzip.decompress(path.read_bytes()).splitlines()
    ]
    sentences = [f"{s}。" for t in texts for line in t.split("\n") for s in line.split("。") if 10 < len(s) < 120]
    chance = random.Random(3)
    [mc4] = [s for s in load_pipeline("ja").profiles["full"].sources if s.name == "mc4"]
    for url in mc4.urls()[:SHARDS]:
        rows, size = [], 0
        while size < 1_200_000:
            text = "\n".join("".join(chance.sample(sentences, 5)) for _ in range(chance.randint(1, 8)))
            size += len(text.encode())
            rows.append({"text": text, "url": f"https://example.org/{len(rows)}", "timestamp": "2026-01-01T00:00:00Z"})
        path = local_path(url, folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode(), 1, mtime=0))
    return folder


def words(mirror: Path, workspace: Path, executor: str, workers: int) -> list[str]:
    source = ["--profile", "full", "--mirror", str(mirror), "--source", "mc4", "--shards", f"0-{SHARDS - 1}"]
    where = ["--workspace", str(workspace), "--executor", executor, "--workers", str(workers)]
    return ["corpus", "--lang", "ja", *source, *where]


@pytest.fixture(scope="module")
def undisturbed(mirror: Path, cli: Cli, tree: Tree, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The workspace of one run on Ray with 4 workers, from start to end."""
    workspace = tmp_path_factory.mktemp("undisturbed") / "ws"
    done = cli(*words(mirror, workspace, "ray", 4))
    assert (done.returncode, done.stderr) == (0, "")
    found = tree(workspace)
    assert sum(name.startswith("clean/ja/receipts/") for name in found) == SHARDS
    assert not [name for name in found if name.endswith(".tmp") or "/." in name]
    return found


def receipts(workspace: Path, step: str) -> dict[str, int]:
    return {p.name: p.stat().st_mtime_ns for p in (workspace / step / "ja" / "receipts").glob("*.json")}


def killed(call: list[str], workspace: Path, step: str, count: int, pause: float) -> dict[str, int]:
    """Run, and SIGKILL the driver alone `pause` seconds after a step has so many receipts; returns those there were."""
    process = subprocess.Popen(
        call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(receipts(workspace, step)) < count:
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    time.sleep(pause)
    os.kill(process.pid, signal.SIGKILL)
    there = receipts(workspace, step)
    assert process.wait() == -signal.SIGKILL
    return there


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_killed_and_started_again_gives_the_same_bytes(
    executor: str, mirror: Path, undisturbed: dict[str, str], command: str, cli: Cli, tree: Tree, tmp_path: Path
) -> None:
    chance = random.Random(executor)
    call = words(mirror, tmp_path / "ws", executor, 2)
    count = 1
    for _ in range(2):
        before = receipts(tmp_path / "ws", "clean")
        there = killed([command, *call], tmp_path / "ws", "clean", count, chance.uniform(0, 0.1))
        assert 0 < len(there) < SHARDS, "not in the middle of clean"
        assert not (tmp_path / "ws" / "corpus").exists()
        assert before.items() <= there.items(), "a shard that was done was done again"
        count = len(there) + 1
    if executor == "local":  # and once more, further on
        killed([command, *call], tmp_path / "ws", "corpus", chance.randint(1, 3), 0)
    before = receipts(tmp_path / "ws", "clean")
    done = cli(*call)
    assert (done.returncode, done.stderr) == (0, "")
    assert before.items() <= receipts(tmp_path / "ws", "clean").items()
    assert tree(tmp_path / "ws") == undisturbed


@pytest.mark.parametrize(("executor", "workers"), [("ray", 1), ("local", 4)])
def test_workers_and_executor_do_not_change_a_byte(
    executor: str, workers: int, mirror: Path, undisturbed: dict[str, str], cli: Cli, tree: Tree, tmp_path: Path
) -> None:
    done = cli(*words(mirror, tmp_path / "ws", executor, workers))
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(tmp_path / "ws") == undisturbed


def test_what_a_killed_run_left_in_the_open_is_swept(cli: Cli, tree: Tree, tmp_path: Path) -> None:
    row = {"text": "これは試しの文章です。" * 30}
    (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")

    def run() -> dict[str, str]:
        out = tmp_path / "out"
        call: tuple[Any, ...] = ("clean", "--lang", "ja", "--input", tmp_path / "a.jsonl", "--out", out)
        assert cli(*call, "--executor", "local").returncode == 0
        return tree(out)

    whole = run()
    for name in (".corpuskit-tmp/00000.4711/kept.parquet", "receipts/.00000.json.4711.tmp", ".funnel.json.4711.tmp",
                 "report/.index.html.4711.tmp"):  # fmt: skip
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(b"half of it")
    swept = run()
    swept.pop("report", None)  # the folder was made by this test
    assert swept == whole
