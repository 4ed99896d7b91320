"""The atomic store: outputs appear whole or not at all, receipts come last, and nobody else's file is touched."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import orjson
import pytest

from corpuskit.config import UserError
from corpuskit.engine import store
from corpuskit.engine.plan import Shard
from corpuskit.engine.store import Receipt

SHARD = Shard("mc4-00000", ())


def receipt(shard: str = SHARD.name, key: str = "k1") -> Receipt:
    return Receipt("clean", 1, shard, key, [], {"source": "mc4"}, {"min": 0.1}, {"in": 2})


def committed(folder: Path, files: dict[str, bytes], shard: str = SHARD.name, key: str = "k1") -> Receipt:
    scratch = folder / store.SCRATCH / shard
    for name, content in files.items():
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return store.commit(folder, scratch, receipt(shard, key))


def files_of(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_outputs_take_the_shards_name(tmp_path: Path) -> None:
    made = committed(tmp_path, {"kept.parquet": b"1", "_.bin": b"22", "parts/00007.parquet": b"333"})
    names = ["kept/mc4-00000.parquet", "mc4-00000.bin", "parts/mc4-00000-00007.parquet"]
    assert files_of(tmp_path) == sorted([*names, "receipts/mc4-00000.json"])
    assert {o.path: o.size for o in made.outputs} == dict(zip(names, (1, 2, 3), strict=True))
    assert {o.path: o.sha256 for o in made.outputs}[names[1]] == hashlib.sha256(b"22").hexdigest()


def test_a_committed_shard_is_done_for_its_key_alone(tmp_path: Path) -> None:
    made = committed(tmp_path, {"kept.parquet": b"text"})
    assert store.done(tmp_path, SHARD, "k1") == made
    assert store.done(tmp_path, SHARD, "k2") is None
    assert store.done(tmp_path, Shard("mc4-00001", ()), "k1") is None


@pytest.mark.parametrize("content", [b"tex", b"text and more", None])
def test_an_output_of_another_size_or_none_is_not_done(tmp_path: Path, content: bytes | None) -> None:
    committed(tmp_path, {"kept.parquet": b"text", "removed.parquet": b"gone"})
    output = tmp_path / "kept" / "mc4-00000.parquet"
    output.write_bytes(content) if content is not None else output.unlink()
    assert store.done(tmp_path, SHARD, "k1") is None


def test_a_receipt_cut_off_anywhere_is_no_receipt(tmp_path: Path) -> None:
    committed(tmp_path, {"kept.parquet": b"text"})
    path = tmp_path / "receipts" / "mc4-00000.json"
    whole = path.read_bytes()
    for length in range(len(whole) - 2):  # without its last line end alone the JSON is still whole
        path.write_bytes(whole[:length])
        assert store.done(tmp_path, SHARD, "k1") is None, whole[:length]
    path.write_bytes(whole)
    assert store.done(tmp_path, SHARD, "k1") is not None


def test_a_receipt_somebody_edited_is_no_receipt(tmp_path: Path) -> None:
    committed(tmp_path, {"kept.parquet": b"text"})
    path = tmp_path / "receipts" / "mc4-00000.json"
    for content in (path.read_bytes().replace(b'"in": 2', b'"in": 3'), b"[]", b"null", b'"x"', b"{}", b"\xff\xfe"):
        path.write_bytes(content)
        assert store.read_receipt(path) is None, content
        assert store.read_receipts(tmp_path) == []


def test_a_receipt_comes_back_as_it_was_and_knows_no_time_and_no_host(tmp_path: Path) -> None:
    made = committed(tmp_path, {"kept.parquet": b"text"})
    data = orjson.loads((tmp_path / "receipts" / "mc4-00000.json").read_bytes())
    assert store.read_receipts(tmp_path) == [made]
    assert list(data) == sorted(data)
    assert set(data) == {
        *("stage", "version", "shard", "key", "inputs", "labels", "params", "counts", "outputs", "receipt_sha256")
    }


def test_a_reader_never_sees_half_a_file_or_an_old_receipt_beside_a_new_file(tmp_path: Path) -> None:
    contents = [b"a" * 3_000_000, b"b" * 1_000_000]
    final, path = tmp_path / "kept" / "mc4-00000.parquet", tmp_path / "receipts" / "mc4-00000.json"
    stop = threading.Event()
    seen: list[str] = []
    pairs = 0

    def watch() -> None:
        nonlocal pairs
        while not stop.is_set():
            before = store.read_receipt(path)
            try:
                content = final.read_bytes()
            except FileNotFoundError:
                continue
            after = store.read_receipt(path)
            if content not in contents:
                seen.append(f"half a file: {len(content)} bytes")
            if before is not None and before == after:  # keys are never used twice: no commit came between
                pairs += 1
                if before.outputs[0].size != len(content):
                    seen.append(f"receipt {before.key} beside {len(content)} bytes")

    reader = threading.Thread(target=watch)
    reader.start()
    for n in range(40):
        committed(tmp_path, {"kept.parquet": contents[n % 2]}, key=str(n))
    stop.set()
    reader.join()
    assert seen == []
    assert pairs > 0


LOOP = """
import sys
from pathlib import Path
from corpuskit.engine import store
from corpuskit.engine.store import Receipt

folder = Path(sys.argv[1])
print("ready", flush=True)
for n in range(100000):
    scratch = folder / ".corpuskit-tmp" / "s"
    scratch.mkdir(parents=True, exist_ok=True)
    for kind, byte in (("kept", b"k"), ("removed", b"r")):
        (scratch / f"{kind}.parquet").write_bytes(byte * (500_000 + n))
    store.commit(folder, scratch, Receipt("s", 1, "s", "key", [], {}, {}, {"n": n}))
"""


def test_sigkill_at_any_point_of_a_commit_leaves_a_whole_result_or_none(tmp_path: Path) -> None:
    chance = random.Random(7)
    for kill in range(8):
        folder = tmp_path / str(kill)
        process = subprocess.Popen([sys.executable, "-c", LOOP, str(folder)], stdout=subprocess.PIPE)
        assert process.stdout and process.stdout.readline() == b"ready\n"
        time.sleep(0.02 + chance.random() * 0.1)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        found = store.done(folder, Shard("s", ()), "key")
        if found:
            for output in found.outputs:
                assert hashlib.sha256((folder / output.path).read_bytes()).hexdigest() == output.sha256
        store.sweep(folder)
        assert set(files_of(folder)) <= {"kept/s.parquet", "removed/s.parquet", "receipts/s.json"}


def test_prune_removes_what_the_receipts_of_left_shards_name_and_nothing_else(tmp_path: Path) -> None:
    committed(tmp_path, {"kept.parquet": b"1", "signals.parquet": b"1"}, shard="old")
    committed(tmp_path, {"kept.parquet": b"2"}, shard="new")
    (tmp_path / "kept" / "mine.parquet").write_bytes(b"somebody else's")
    (tmp_path / "old.txt").write_bytes(b"somebody else's")
    store.prune(tmp_path, ["new"])
    assert files_of(tmp_path) == ["kept/mine.parquet", "kept/new.parquet", "old.txt", "receipts/new.json"]
    assert not (tmp_path / "signals").exists()


def test_prune_does_not_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "stage"
    victim = tmp_path / "victim.txt"
    victim.write_bytes(b"somebody else's")
    forged = Receipt("s", 1, "old", "k", [], {}, {}, {}, [store.Output("../victim.txt", 15, "0" * 64)])
    store.write_atomic(folder / "receipts" / "old.json", forged.to_json())
    store.prune(folder, [])
    assert victim.read_bytes() == b"somebody else's"
    assert not (folder / "receipts" / "old.json").exists()


def test_prune_with_a_damaged_receipt_removes_that_receipt_alone(tmp_path: Path) -> None:
    committed(tmp_path, {"kept.parquet": b"1"}, shard="old")
    (tmp_path / "receipts" / "old.json").write_bytes(b"{")
    store.prune(tmp_path, [])
    assert files_of(tmp_path) == ["kept/old.parquet"]


def test_sweep_removes_what_killed_runs_left_and_nothing_else(tmp_path: Path) -> None:
    committed(tmp_path, {"kept.parquet": b"1"})
    left = [".corpuskit-tmp/mc4-00001.4711/kept.parquet", "receipts/.mc4-00001.json.4711.tmp", ".funnel.json.4711.tmp"]
    mine = [".notes.tmp", "papers/.draft.tmp", "kept/x.tmp"]
    for name in left + mine:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    store.sweep(tmp_path)
    assert files_of(tmp_path) == sorted([*mine, "kept/mc4-00000.parquet", "receipts/mc4-00000.json"])


def test_write_atomic_replaces_other_content_and_leaves_the_same_content_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "funnel.json"
    store.write_atomic(path, b"1")
    os.utime(path, ns=(1, 1))
    store.write_atomic(path, b"1")
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (b"1", 1)
    store.write_atomic(path, b"2")
    assert path.read_bytes() == b"2"
    assert path.stat().st_mtime_ns != 1
    assert files_of(tmp_path) == ["new/funnel.json"]


@pytest.mark.parametrize("kind", ["a file", "below a file", "a broken link", "below a loop", "too long"])
def test_a_folder_that_cannot_be_made_is_the_users_to_mend(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    names = {"a file": "file", "below a file": "file/x", "a broken link": "broken", "below a loop": "loop/x"}
    path = tmp_path / names.get(kind, "x" * 300)
    with pytest.raises(UserError, match=r"cannot be made a folder \([A-Z][a-z ]+\); choose another one"):
        store.make_folder(path)


def test_a_folder_that_nothing_may_be_written_into_is_the_users_to_mend() -> None:
    with tempfile.TemporaryDirectory() as name:  # where others than root can go
        closed = Path(name) / "closed"
        closed.mkdir(mode=0o555)
        Path(name).chmod(0o755)
        root = os.geteuid() == 0  # to whom no folder is closed
        if root:
            os.setresuid(65534, 65534, 0)
        try:
            with pytest.raises(UserError, match=r"closed: nothing may be written into this folder"):
                store.make_folder(closed)
            with pytest.raises(UserError, match=r"x: cannot be made a folder \(Permission denied\)"):
                store.make_folder(closed / "x")
        finally:
            if root:
                os.setresuid(0, 0, 0)


def test_a_file_where_outputs_go_stops_the_shard(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    with pytest.raises(UserError, match="kept: cannot be made a folder"):
        committed(tmp_path, {"kept.parquet": b"text"})


def test_as_inputs_names_files_by_their_place_in_the_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "ws" / "clean" / "ja"
    made = committed(folder, {"kept.parquet": b"text", "removed.parquet": b""})
    [found] = store.as_inputs(folder, [made], "kept", tmp_path / "ws")
    assert found.name == "clean/ja/kept/mc4-00000.parquet"
    assert Path(found.path).read_bytes() == b"text"
    assert (found.sha256, found.size) == (hashlib.sha256(b"text").hexdigest(), 4)
