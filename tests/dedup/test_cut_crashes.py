"""Paragraphs and substring, killed at ten points and on a full disk: the next run leaves what any run leaves."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from corpuskit.config import Paragraphs, Substring
from corpuskit.dedup.paragraphs import cut_paragraphs
from corpuskit.dedup.substring import cut_repeats
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner, ShardsFailed
from corpuskit.engine.tables import TableWriter
from corpuskit.schema import DOCUMENT

KILLS = 10
Run = Callable[[Path], None]
Tree = Callable[[Path], dict[str, str]]


def corpus(root: Path) -> list[Shard]:
    """Two files of two batches each, of lines that come again and again among others. What is there is left alone."""
    chance = random.Random(3)

    def line(size: int) -> str:
        return "".join(chance.choices("あいうえおかきくけこ山川海空", k=size)) + "。"

    often = [line(30) for _ in range(20)]
    made = []
    for number in range(2):
        path = root / "in" / f"part-{number}.parquet"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with TableWriter(path, DOCUMENT) as writer:
                for batch in range(2):
                    texts = [[*(line(8) for _ in range(25)), *chance.choices(often, k=8)] for _ in range(8)]
                    rest = {"source": "test", "lang": "ja", "meta": "{}"}
                    rows = [
                        {"id": f"{1000 * number + 100 * batch + n:032x}", "text": "\n".join(text), **rest}
                        for n, text in enumerate(texts)
                    ]
                    writer.write(pa.RecordBatch.from_pylist(rows, schema=DOCUMENT))
                    writer.cut()
        file = Input(str(path), str(path.relative_to(root)), file_sha256(path), path.stat().st_size)
        made.append(Shard(path.stem, (file,), {"source": "test", "priority": str(number)}))
    return made


def paragraphs(root: Path) -> None:
    params = Paragraphs(documents=10, run=2, min_chars=0, expected=1e9).model_copy(update={"memory": 1 << 15})
    runner = Runner("local", retries=0)
    cut_paragraphs(corpus(root), work=root / "out", out=root / "out", root=root, params=params, runner=runner)


def substring(root: Path) -> None:
    params = Substring(length=20, min_chars=0).model_copy(update={"memory": 1 << 18})
    runner = Runner("local", retries=0)
    cut_repeats(corpus(root), work=root / "out", out=root / "out", root=root, params=params, runner=runner)


def child(work: Callable[[], int]) -> int:
    """Do this in a process of its own: its exit code, or the negative number of the signal that ended it."""
    process = os.fork()
    if process == 0:
        try:
            os._exit(work())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run_until(run: Run, root: Path, last: int) -> int:
    """Run, and SIGKILL before so many files or folders were opened, made, moved or removed; 0 where it gets by."""
    seen = 0

    def watch(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir") and str(args[0]).startswith(str(root)):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    def work() -> int:
        sys.addaudithook(watch)
        run(root)
        (root.parent / "seen").write_text(str(seen))
        return 0

    return child(work)


@pytest.fixture(scope="module", params=[paragraphs, substring])
def run(request: pytest.FixtureRequest) -> Run:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def expected(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("expected")
    run(root)
    assert len(list((root / "out").glob("*/receipts/range-*.json"))) >= 2
    counts = [json.loads(p.read_bytes())["counts"] for p in (root / "out" / "receipts").glob("*.json")]
    assert sum(c["spans"] for count in counts for c in count["cut"].values()) > 30
    return root


def test_killed_at_ten_points(run: Run, expected: Path, tree: Tree, tmp_path: Path) -> None:
    root = tmp_path / "whole"
    corpus(root)
    assert run_until(run, root, -1) == 0
    events = int((tmp_path / "seen").read_text())
    chance = random.Random(run.__name__)
    rounds = died = 0
    while died < KILLS:
        root = tmp_path / f"killed-{rounds}"
        corpus(root)
        # one run after the other goes on where the last was killed, until one comes to its end
        while died < KILLS and run_until(run, root, chance.randint(1, events)):
            died += 1
        run(root)
        assert tree(root) == tree(expected)
        rounds += 1


def test_a_full_disk_leaves_nothing_that_looks_finished(run: Run, expected: Path, tree: Tree, tmp_path: Path) -> None:
    """The kernel refuses to write more than so many bytes to a file, as it does on a full disk."""

    def refused() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            run(tmp_path)
        except ShardsFailed as error:
            said = " ".join(failure["error"] for failure in error.failures)
            return 3 if os.strerror(errno.EFBIG) in said else 4
        return 5

    corpus(tmp_path)
    for kind in ("npy", "parquet"):
        limit = max(p.stat().st_size for p in (expected / "out").rglob(f"*.{kind}")) - 1
        assert child(refused) == 3
        named = set()
        for receipt in (tmp_path / "out").rglob("receipts/*.json"):
            for output in json.loads(receipt.read_bytes())["outputs"]:
                path = receipt.parent.parent / output["path"]
                assert file_sha256(path) == output["sha256"]
                named.add(path)
        others = {p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.suffix != ".json"}
        assert others == named  # no file without a receipt
    run(tmp_path)
    assert tree(tmp_path) == tree(expected)
