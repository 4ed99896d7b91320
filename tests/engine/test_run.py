"""map_shards on real Ray and in-process: retries, failures, resume, the lock, and what a terminal is shown.

The stage functions stand at the top of this file, because Ray workers import them from here.
"""

from __future__ import annotations

import json
import os
import pty
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from corpuskit.config import UserError
from corpuskit.engine import store
from corpuskit.engine.plan import Input, Shard, file_sha256, shard_key
from corpuskit.engine.run import SMALL, Runner, ShardsFailed, Stage, map_shards, start_ray, wants_ray, workspace_lock
from corpuskit.engine.store import read_receipts

Executor = Literal["ray", "local"]
BOTH = pytest.mark.parametrize("executor", ["local", "ray"])


def count_todo(stage: Stage, shards: list[Shard], *, out: Path, params: dict[str, Any]) -> int:
    """How many shards map_shards would run."""
    return sum(not store.done(out, s, shard_key(stage.name, stage.version, params, s)) for s in shards)


def shout(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Upper-cases its input; first it misbehaves as often as params say for this shard."""
    marks = Path(params["marks"])
    attempt = len(list(marks.glob(f"{shard.name}.*")))
    (marks / f"{shard.name}.{attempt}").touch()
    (scratch / "half.txt").write_text("this attempt may yet fail")
    if attempt < params.get("raises", {}).get(shard.name, 0):
        raise ValueError(f"attempt {attempt} of {shard.name}")
    if attempt < params.get("dies", {}).get(shard.name, 0):
        os.kill(os.getpid(), signal.SIGKILL)
    if shard.name in params.get("mistaken", ()):
        raise UserError("--input x.jsonl: no field 'body'; it has text, url")
    (scratch / "half.txt").unlink()
    (scratch / "loud.txt").write_text(Path(shard.inputs[0].path).read_text().upper())
    return {"in": 1}


def where(shard: Shard, scratch: Path, params: dict[str, Any]) -> dict[str, Any]:
    """Says on which node of the cluster it ran."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    meeting = Path(params["meeting"])
    (meeting / node).touch()
    until = time.monotonic() + 60
    while len(list(meeting.iterdir())) < 2 and time.monotonic() < until:  # so that one node alone cannot do them all
        time.sleep(0.05)
    return {"node": node}


SHOUT = Stage("shout", 1, shout)
WHERE = Stage("where", 1, where)


@pytest.fixture(scope="module", autouse=True)
def ray_on_this_machine() -> Iterator[None]:
    import ray

    ray.shutdown()  # whatever an earlier test file started: its workers do not find this file
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
        patch.delenv("RAY_ADDRESS", raising=False)
        start_ray(2)
        yield
        ray.shutdown()


@pytest.fixture
def shards(tmp_path: Path) -> list[Shard]:
    out = []
    for name in ("a", "b", "c", "d"):
        path = tmp_path / "in" / f"{name}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"text of {name}")
        out.append(Shard(name, (Input(str(path), path.name, file_sha256(path), path.stat().st_size),)))
    return out


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "marks").mkdir()
    return {"marks": str(tmp_path / "marks")}


def attempts(params: dict[str, Any], shard: str) -> int:
    return len(list(Path(params["marks"]).glob(f"{shard}.*")))


def runner(executor: Executor, workers: int = 2) -> Runner:
    return Runner(executor=executor, workers=workers)


@BOTH
def test_receipts_come_in_plan_order_and_outputs_stand_under_their_shards_name(
    executor: Executor, shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    plan = [shards[2], shards[0], shards[3], shards[1]]
    receipts = map_shards(SHOUT, plan, out=tmp_path / "out", params=params, runner=runner(executor))
    assert [r.shard for r in receipts] == ["c", "a", "d", "b"]
    assert (tmp_path / "out" / "loud" / "c.txt").read_text() == "TEXT OF C"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["loud", "receipts"]


@BOTH
def test_what_is_done_is_not_done_again_and_what_changed_is(
    executor: Executor, shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    map_shards(SHOUT, shards, out=out, params=params, runner=runner(executor))
    again = runner(executor)
    map_shards(SHOUT, shards, out=out, params=params, runner=again)
    assert (again.tally.ran, again.tally.up_to_date) == (0, 4)
    assert count_todo(SHOUT, shards, out=out, params=params) == 0
    (out / "loud" / "b.txt").write_text("SHORT")
    assert count_todo(SHOUT, shards, out=out, params=params) == 1
    map_shards(SHOUT, shards, out=out, params=params, runner=runner(executor))
    assert [attempts(params, n) for n in "abcd"] == [1, 2, 1, 1]
    assert (out / "loud" / "b.txt").read_text() == "TEXT OF B"
    assert count_todo(Stage("shout", 2, shout), shards, out=out, params=params) == 4
    assert count_todo(SHOUT, shards, out=out, params=params | {"raises": {}}) == 4


def test_ray_is_started_where_the_work_is_worth_it(shards: list[Shard], monkeypatch: pytest.MonkeyPatch) -> None:
    auto = Runner(workers=2)
    assert wants_ray(auto, shards)  # it is at work already
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    assert not wants_ray(auto, shards) and wants_ray(auto, shards, large=True) and not wants_ray(auto, shards[:1], True)
    big = [replace(shard, inputs=(replace(shard.inputs[0], size=SMALL // 3),)) for shard in shards]
    assert wants_ray(auto, big) and not wants_ray(auto, big[:3]) and not wants_ray(Runner(workers=1), big)
    parts = [replace(big[0], name=name) for name in "abcdef"]  # six ranges of one file
    assert not wants_ray(auto, parts)
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert wants_ray(auto, shards[:1])


def test_shards_that_left_the_plan_leave_the_folder(
    shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    map_shards(SHOUT, shards, out=out, params=params, runner=runner("local"))
    (out / "loud" / "mine.txt").write_text("somebody else's")
    map_shards(SHOUT, shards[:1], out=out, params=params, runner=runner("local"))
    assert sorted(p.name for p in (out / "loud").iterdir()) == ["a.txt", "mine.txt"]
    assert [r.shard for r in read_receipts(out)] == ["a"]


def test_two_shards_of_one_name_are_a_bug(shards: list[Shard], params: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not unique"):
        map_shards(SHOUT, [shards[0], shards[0]], out=tmp_path / "out", params=params, runner=runner("local"))


@BOTH
def test_a_shard_that_fails_twice_works_the_third_time(
    executor: Executor, shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    params |= {"raises": {"b": 2}}
    receipts = map_shards(SHOUT, shards, out=tmp_path / "out", params=params, runner=runner(executor))
    assert [r.shard for r in receipts] == ["a", "b", "c", "d"]
    assert [attempts(params, n) for n in "abcd"] == [1, 3, 1, 1]
    assert not list((tmp_path / "out").rglob("half*"))  # nothing of the attempts that failed
    assert not (tmp_path / "out" / "failed.json").exists()


@BOTH
def test_a_shard_that_always_fails_is_listed_and_the_others_are_done_and_a_repair_clears_the_list(
    executor: Executor, shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    params |= {"raises": {"b": 3}}
    with pytest.raises(ShardsFailed, match="1 shard") as failed:
        map_shards(SHOUT, shards, out=out, params=params, runner=runner(executor))
    [entry] = json.loads((out / "failed.json").read_text())
    assert entry["shard"] == "b"
    assert entry["error"].splitlines()[-1] == "ValueError: attempt 2 of b"
    assert failed.value.failures == [entry]
    assert [r.shard for r in read_receipts(out)] == ["a", "c", "d"]
    assert attempts(params, "b") == 3
    # what made it fail is gone (its fourth attempt works); only it runs
    receipts = map_shards(SHOUT, shards, out=out, params=params, runner=runner(executor))
    assert [r.shard for r in receipts] == ["a", "b", "c", "d"]
    assert [attempts(params, n) for n in "abcd"] == [1, 4, 1, 1]
    assert not (out / "failed.json").exists()


def test_a_worker_process_that_is_killed_is_replaced(
    shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    params |= {"dies": {"c": 1}}
    receipts = map_shards(SHOUT, shards, out=tmp_path / "out", params=params, runner=runner("ray"))
    assert [r.shard for r in receipts] == ["a", "b", "c", "d"]
    assert attempts(params, "c") == 2
    assert not (tmp_path / "out" / ".corpuskit-tmp").exists()


def test_a_shard_that_always_kills_its_worker_is_listed(
    shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    params |= {"dies": {"c": 99}}
    with pytest.raises(ShardsFailed):
        map_shards(SHOUT, shards, out=tmp_path / "out", params=params, runner=Runner("ray", 2, retries=1))
    [entry] = json.loads((tmp_path / "out" / "failed.json").read_text())
    assert entry["shard"] == "c"
    assert "WorkerCrashed" in entry["error"]
    assert [r.shard for r in read_receipts(tmp_path / "out")] == ["a", "b", "d"]
    assert attempts(params, "c") == 2


@BOTH
def test_a_users_mistake_arrives_as_one_and_is_not_tried_again(
    executor: Executor, shards: list[Shard], params: dict[str, Any], tmp_path: Path
) -> None:
    params |= {"mistaken": ["b"]}
    with pytest.raises(UserError) as mistake:
        map_shards(SHOUT, shards, out=tmp_path / "out", params=params, runner=runner(executor))
    assert type(mistake.value) is UserError
    assert str(mistake.value) == "--input x.jsonl: no field 'body'; it has text, url"
    assert attempts(params, "b") == 1
    if executor == "local":  # on Ray other shards may be at work still; the next run sweeps
        assert not (tmp_path / "out" / ".corpuskit-tmp").exists()


def test_a_cluster_of_two_nodes_gives_the_same_bytes_and_both_work(
    tmp_path: Path, tree: Callable[[Path], dict[str, str]]
) -> None:
    from ray.cluster_utils import Cluster

    os.environ["RAY_AUTH_MODE"] = "disabled"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        here = os.environ | {
            "RAY_ADDRESS": cluster.address,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
        }
        done = subprocess.run(
            [sys.executable, "-c", CLUSTER_DRIVER, str(tmp_path)],
            env=here, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stderr
    assert len(set(json.loads(done.stdout.splitlines()[-1]))) == 2, "one node did everything"
    from corpuskit.build.files import clean_files, plan_clean_files

    plan = plan_clean_files("ja", [str(tmp_path / "docs")], "text", "url", None)
    clean_files(plan, out=tmp_path / "local", runner=runner("local"), lid_model=None)
    assert len(tree(tmp_path / "local")) > 8
    assert tree(tmp_path / "cluster") == tree(tmp_path / "local")


CLUSTER_DRIVER = """
import json, sys
from pathlib import Path
import test_run
from corpuskit.build.files import clean_files, plan_clean_files
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Runner, map_shards

root = Path(sys.argv[1])
(root / "docs").mkdir()
for n in range(4):
    test_run.write_documents(root / "docs" / f"{n}.jsonl", 60, seed=n)
plan = plan_clean_files("ja", [str(root / "docs")], "text", "url", None)
runner = Runner("ray", 2)
clean_files(plan, out=root / "cluster", runner=runner, lid_model=None)
(root / "meeting").mkdir()
params = {"meeting": str(root / "meeting")}
shards = [Shard(str(n), ()) for n in range(4)]
where = map_shards(test_run.WHERE, shards, out=root / "where", params=params, runner=runner)
print(json.dumps([r.counts["node"] for r in where]))
"""


def write_documents(path: Path, count: int, seed: int) -> None:
    """JSON lines of invented Japanese sentences in a random order."""
    chance = random.Random(seed)
    sentences = [
        f"第{n}回の会合は{'東西南北'[n % 4]}の公民館で開かれ、{chance.choice('春夏秋冬')}の行事について話し合いました。"
        for n in range(200)
    ]
    rows = [{"text": "\n".join(chance.sample(sentences, chance.randint(2, 20)))} for _ in range(count)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_a_second_run_in_the_same_folder_is_refused(tmp_path: Path, cli: Callable[..., Any]) -> None:
    write_documents(tmp_path / "a.jsonl", 3, seed=1)
    words = ("clean", "--lang", "ja", "--input", tmp_path / "a.jsonl", "--out", tmp_path / "out", "--executor", "local")
    (tmp_path / "out").mkdir()
    with workspace_lock(tmp_path / "out"):
        refused = cli(*words)
        assert refused.returncode == 2
        assert refused.stderr.count("\n") == 1
        assert "another corpuskit run is at work in this folder" in refused.stderr
        assert list((tmp_path / "out").iterdir()) == []
    assert cli(*words).returncode == 0


def test_nothing_is_printed_where_there_is_no_terminal(tmp_path: Path, cli: Callable[..., Any]) -> None:
    write_documents(tmp_path / "a.jsonl", 3, seed=1)
    words = ("clean", "--lang", "ja", "--input", tmp_path / "a.jsonl", "--out", tmp_path / "out", "--executor", "local")
    done = cli(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Funnel" in done.stdout


def test_a_terminal_is_shown_shards_and_documents_per_second(tmp_path: Path, command: str) -> None:
    for n in range(3):
        write_documents(tmp_path / f"{n}.jsonl", 30, seed=n)
    words = [
        "clean",
        "--lang",
        "ja",
        "--input",
        f"{tmp_path}/*.jsonl",
        "--out",
        f"{tmp_path}/out",
        "--executor",
        "local",
    ]
    control, terminal = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(control, 65536)
            except OSError:  # the other side is closed
                return
            if not data:
                return
            shown.append(data)

    env = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen([command, *words], stdout=subprocess.PIPE, stderr=terminal, env=env)
    os.close(terminal)
    reader = threading.Thread(target=read)
    reader.start()
    out, _ = process.communicate(timeout=120)
    reader.join(10)
    os.close(control)
    assert process.returncode == 0
    screen = b"".join(shown).decode()
    assert "clean" in screen
    assert "3/3" in screen
    assert "shards" in screen
    assert "documents/s" in screen
    assert "shards" not in out.decode()  # the bar is no result


LOUD = """
import sys
from pathlib import Path
from corpuskit.engine.plan import Shard
from corpuskit.engine.run import Runner, ShardsFailed, Stage, map_shards, setup_logging

def spoiled(shard, scratch, params):
    raise ValueError("bad record: \\x1b[2J\\x1b]0;owned\\x07 \\x9b31m")

setup_logging(False)
try:
    map_shards(Stage("s", 1, spoiled), [Shard("x", ())], out=Path(sys.argv[1]), params={}, runner=Runner("local"))
except ShardsFailed:
    pass
"""


def test_an_error_that_quotes_data_does_not_steer_the_terminal(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOUD, str(tmp_path)], capture_output=True, check=True)
    line = done.stderr.decode()
    assert "shard x failed" in line
    assert "owned" in line
    assert [c for c in line if not c.isprintable() and c != "\n"] == []
