"""`corpuskit download`: what it plans, what it takes of a big source, what it says, and how it ends."""

from __future__ import annotations

import gzip
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from fault_server import FaultServer, body, ranged, slowly, stalling, status

from corpuskit.build import sources
from corpuskit.config import Source, UserError

MC4 = "/huggingface.co/datasets/allenai/c4/resolve/1ddc917116b730e1859edef32896ec5c16be51d0/multilingual/"
SHARD = gzip.compress(random.Random(0).randbytes(50_000), mtime=0)
PROGRAM = [sys.executable, "-c", "from corpuskit.cli import main; main()", "download", "--lang", "ja"]


def mc4(shard: int) -> str:
    return f"{MC4}c4-ja.tfrecord-{shard:05d}-of-01024.json.gz"


def download(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"NO_PROXY": "127.0.0.1"}
    return subprocess.run([*PROGRAM, *map(str, words)], capture_output=True, text=True, env=env, timeout=120, **options)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    running = FaultServer()
    running.answers |= {mc4(n): [ranged(SHARD)] for n in range(4)}
    running.heads |= {mc4(n): ranged(SHARD) for n in range(4)}
    yield running
    running.stop()


def test_a_dry_run_asks_nobody_and_says_files_bytes_and_disk_need(server: FaultServer, tmp_path: Path) -> None:
    words = ("--source", "mc4", "--shards", "0-15", "--mirror", server.url, "--workspace", tmp_path / "w", "--json")
    done = download(*words, "--dry-run")
    plan = orjson.loads(done.stdout)
    assert done.returncode == 0 and server.log == [] and not (tmp_path / "w").exists()
    assert (plan["files"], plan["bytes"], plan["disk_need_bytes"]) == (16, 4_687_500_000, 4_687_500_000)
    assert plan["disk_free_bytes"] > 0 and plan["languages"]["ja"]["sources"][0]["last"].endswith(
        "00015-of-01024.json.gz"
    )


def test_files_that_are_here_are_not_needed_again(server: FaultServer, tmp_path: Path) -> None:
    words = ("--source", "mc4", "--shards", "0-1", "--mirror", server.url, "--workspace", tmp_path, "--json")
    done = download(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert orjson.loads(done.stdout) == {"files": 2, "bytes": 2 * len(SHARD), "notes": []}
    plan = orjson.loads(download(*words, "--dry-run").stdout)
    assert plan["disk_need_bytes"] == 0 and plan["languages"]["ja"]["sources"][0]["files_here"] == 2
    assert orjson.loads(download(*words, "--check").stdout) == {"same": 2, "not_comparable": 0, "not_fetched": 0}


PART = "mc4 (ja): only shards 0-15 of 0-1023; --shards all takes everything, 300 GB"


def test_a_big_source_is_taken_in_part_unless_told_otherwise(tmp_path: Path) -> None:
    def files(shards: str | None) -> tuple[int, list[str]]:
        plan = sources.plan_corpus("ja", "full", None, ["mc4"], shards, None)
        described = sources.describe_download(tmp_path, plan)
        return described["files"], described["notes"]

    assert files(None) == (16, [PART])
    assert files("all") == (1024, [])
    assert files("100-101") == (2, [])
    with pytest.raises(UserError, match="--shards 1020-1024: source mc4 has the shards 0-1023"):
        files("1020-1024")


def test_the_part_is_said_when_it_is_fetched(server: FaultServer, tmp_path: Path) -> None:
    done = download("--source", "mc4", "--mirror", server.url, "--workspace", tmp_path)
    assert done.stderr.startswith(PART + "\n") and done.returncode == 2  # the server has 4 of the 16
    assert "error: 12 of 16 files could not be fetched; the first: " in done.stderr
    assert "c4-ja.tfrecord-00004-of-01024.json.gz: the server answers 404" in done.stderr
    assert len(list(tmp_path.rglob("*.json.gz"))) == 4  # the others are not lost


def test_a_changed_file_ends_the_check_with_an_error(server: FaultServer, tmp_path: Path) -> None:
    words = ("--source", "mc4", "--shards", "0-1", "--mirror", server.url, "--workspace", tmp_path)
    assert download(*words).returncode == 0
    server.heads[mc4(1)] = ranged(SHARD, ETag='"2"')
    done = download(*words, "--check")
    assert done.returncode == 1 and "changed upstream since it was fetched" in done.stderr
    assert done.stderr.count("\n") == 1 and len(server.requests) == 2


@pytest.mark.parametrize("answer, code", [(body(b"<html>"), 2), (status(404), 2)])
def test_a_mistake_is_2(server: FaultServer, tmp_path: Path, answer: Any, code: int) -> None:
    server.answers[mc4(0)] = [answer]
    done = download("--source", "mc4", "--shards", "0", "--mirror", server.url, "--workspace", tmp_path)
    assert done.returncode == code and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_a_host_that_cannot_be_used_is_1(server: FaultServer, tmp_path: Path) -> None:
    server.answers[mc4(0)] = [status(429, Retry_After="86400")]
    done = download("--source", "mc4", "--shards", "0", "--mirror", server.url, "--workspace", tmp_path)
    assert done.returncode == 1 and "asks for a pause of 86,400 seconds" in done.stderr


ANSWERS = {
    "a slow server": slowly(SHARD, 500, 0.1),
    "a server gone silent": stalling(SHARD, 1000, 20),
    "a server that asks for a pause": status(503, Retry_After="600"),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_ctrl_c_ends_at_once_with_one_line_and_keeps_what_came(server: FaultServer, tmp_path: Path, case: str) -> None:
    server.answers |= {mc4(n): [ANSWERS[case]] for n in range(2)}
    words = ["--source", "mc4", "--shards", "0-1", "--mirror", server.url, "--workspace", str(tmp_path)]
    child = subprocess.Popen([*PROGRAM, *words], stderr=subprocess.PIPE, text=True, env=os.environ | {"NO_PROXY": "*"})
    part = tmp_path / "raw" / f"{mc4(0)[1:]}.part"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (
        len(server.requests) == 2 if "pause" in case else part.exists() and part.stat().st_size >= 1000
    ):
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=5)  # far less than the 60 seconds a server may be silent
    assert (child.returncode, said) == (130, "stopped; the same command goes on where this one was\n")
    held = part.stat().st_size if part.exists() else 0
    server.answers |= {mc4(n): [ranged(SHARD)] for n in range(2)}
    assert download(*words).returncode == 0
    assert (f"bytes={held}-" in server.ranges()) == bool(held)


def test_progress_is_drawn_on_a_terminal_alone(server: FaultServer, tmp_path: Path) -> None:
    server.answers[mc4(0)] = [slowly(SHARD, 5000, 0.05)]
    words = ["--source", "mc4", "--shards", "0-1", "--mirror", server.url, "--workspace", str(tmp_path)]
    terminal, theirs = pty.openpty()
    env = os.environ | {"NO_PROXY": "127.0.0.1", "TERM": "xterm", "COLUMNS": "120"}
    done = subprocess.run([*PROGRAM, *words], stdout=subprocess.PIPE, stderr=theirs, env=env, timeout=60)
    os.close(theirs)
    drawn = os.read(terminal, 1 << 20).decode()
    os.close(terminal)
    assert done.returncode == 0 and "2/2 files" in drawn and "kB" in drawn


def test_the_first_shards_lie_in_the_source() -> None:
    fields = {"name": "a", "reader": "jsonl", "url": "https://h.example/{shard}.gz", "shards": "0-9", "bytes": 100}
    assert Source(**fields, first_shards="2-3").cut("2-3", "first_shards").bytes == 20
    for wrong in ("8-10", "x"):
        with pytest.raises((ValueError, UserError), match="source a"):
            Source(**fields, first_shards=wrong)
