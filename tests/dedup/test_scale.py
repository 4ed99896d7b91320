"""What does not show in the result: workers, memory, SIGKILL. What does not hurt: huge buckets, full disks."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpuskit.config import Dedup
from corpuskit.dedup import components, pairs, verify
from corpuskit.dedup.cluster import bucket_pairs, choose_survivors, graph, settle, unite
from corpuskit.dedup.minhash import Sets, matching_column, shingle_sets
from corpuskit.dedup.signatures import signature_schema
from corpuskit.dedup.spill import gathered, spilled
from corpuskit.dedup.stage import dedup
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner, ShardsFailed
from corpuskit.engine.tables import TableWriter
from corpuskit.schema import DOCUMENT, document_id

FILES = 4


@pytest.fixture(scope="module")
def documents() -> list[dict[str, str]]:
    """600 documents in families of copies, near copies and chains, with URLs and dates."""
    chance = random.Random(5)
    letters = [chr(c) for c in range(0x3041, 0x3097)] + [chr(c) for c in range(0x4E00, 0x4F00)]
    texts = []
    while len(texts) < 600:
        base = chance.choices(letters, k=chance.randint(40, 400))
        for _ in range(chance.choice([1, 1, 2, 5, 20])):
            text = list(base)
            for _ in range(chance.choice([0, 0, 1, 3, 8])):
                text[chance.randrange(len(text))] = chance.choice(letters)
            texts.append("".join(text) + chance.choice(["", "。"]))
    return [
        {
            "id": document_id("test", "file", n),
            "text": text,
            "url": f"https://example.jp/{n % 550}",
            "source": chance.choice(["web", "wiki"]),
            "timestamp": f"20{chance.randint(10, 26)}-01-01T00:00:00Z",
            "lang": "ja",
            "meta": "{}",
        }
        for n, text in enumerate(texts[:600])
    ]


def shards(root: Path, documents: list[dict[str, str]], files: int = FILES, names: str = "part-{}") -> list[Shard]:
    made = []
    for k in range(files):
        path = root / "in" / f"{names.format(k)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with TableWriter(path, DOCUMENT) as writer:
            writer.write(pa.RecordBatch.from_pylist(documents[k::files], schema=DOCUMENT))
        file = Input(str(path), str(path.relative_to(root)), file_sha256(path), path.stat().st_size)
        made.append(Shard(path.stem, (file,), {"source": "test", "priority": str(k)}))
    return made


SETTINGS = Dedup(exact=("url", "text", "shadow"), survivor=("newest", "length"), prefer=("wiki",))


def run(root: Path, made: list[Shard], params: Dedup = SETTINGS, runner: Runner | None = None) -> None:
    runner = runner or Runner(executor="local", retries=0)
    dedup(made, out=root / "out", root=root, params=params, runner=runner)


def results(root: Path) -> dict[str, bytes]:
    """What users get: no receipts, no working files."""
    out = root / "out"
    wanted = [*out.glob("kept/*"), *out.glob("removed/*"), *out.glob("signals/*"), out / "clusters/clusters.parquet"]
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(wanted)}


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def expected(documents: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("expected")
    run(root, shards(root, documents))
    counts = json.loads((root / "out/clusters/receipts/clusters.json").read_bytes())["counts"]
    assert all(counts["by_rule"][rule] > 10 for rule in ("url_duplicate", "exact_duplicate", "near_duplicate"))
    assert counts["by_rule"]["normalized_duplicate"] > 10
    return root


# nothing but the documents decides


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_workers_do_not_show(workers: int, documents: list[dict[str, str]], expected: Path, tmp_path: Path) -> None:
    run(tmp_path, shards(tmp_path, documents), runner=Runner(executor="ray", workers=workers))
    assert everything(tmp_path) == everything(expected)


def test_one_and_sixteen_ranges_and_many_groups_on_disk(
    documents: list[dict[str, str]], expected: Path, tmp_path: Path
) -> None:
    # 600 documents times 160 bytes in half of 12 kB: 16 ranges of hashes, 8 of keys
    small = SETTINGS.model_copy(update={"memory_gb": 12e-6})
    run(tmp_path, shards(tmp_path, documents), small)
    assert len(list((tmp_path / "out/work/text/gone").iterdir())) == 16
    assert len(list((tmp_path / "out/work/verified/gone").iterdir())) > 16
    assert results(tmp_path) == results(expected)


def test_shuffled_documents_and_other_names(documents: list[dict[str, str]], expected: Path, tmp_path: Path) -> None:
    shuffled = random.Random(1).sample(documents, len(documents))
    made = shards(tmp_path, shuffled, 7, "z{}-other")
    run(tmp_path, made[::-1])
    clusters = "clusters/clusters.parquet"
    assert results(tmp_path)[clusters] == results(expected)[clusters]
    kept = [pq.read_table(sorted((root / "out/kept").iterdir())) for root in (expected, tmp_path)]
    assert kept[0].sort_by("id") == kept[1].sort_by("id")


def test_killed_at_ten_points(documents: list[dict[str, str]], expected: Path, tmp_path: Path) -> None:
    made = shards(tmp_path, documents)
    started = time.monotonic()
    run(tmp_path / "warm", shards(tmp_path / "warm", documents))
    whole = time.monotonic() - started
    chance = random.Random(7)
    died = 0
    for _ in range(10):
        child = os.fork()
        if child == 0:  # one run after the other goes on where the last was killed
            try:
                run(tmp_path, made)
            finally:
                os._exit(0)
        time.sleep(chance.uniform(0.02, 0.35) * whole)
        os.kill(child, signal.SIGKILL)
        died += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert died >= 3
    run(tmp_path, made)
    left = everything(tmp_path)
    assert {k: v for k, v in left.items() if not k.startswith("warm/")} == everything(expected)


# nothing hurts


def test_a_bucket_of_a_million_members_is_linear() -> None:
    n = 1_000_000
    names = np.arange(1, n + 1, dtype=np.uint64)
    keys = np.full(n, 7, np.uint64)
    left, right = bucket_pairs(keys, names % np.uint64(1000), names)
    assert n - 1 <= len(left) <= 2 * n
    root = np.arange(n)
    unite(root, (left - 1).astype(np.int64), (right - 1).astype(np.int64))
    settle(root)
    assert not root.any()
    # all alike: each is compared with the first and nobody else
    sets = Sets(np.repeat(np.arange(20, dtype=np.uint64)[None], n, 0).ravel(), np.arange(0, 20 * n + 1, 20))
    found = choose_survivors(
        graph(n, (left - 1).astype(np.int64), (right - 1).astype(np.int64)), sets, np.arange(n), 0.8
    )
    assert not found.survivor.any()


def test_a_million_signatures_in_one_bucket_by_files(tmp_path: Path) -> None:
    """Keys only: every document shares the key of one band with all others, and is alone in the other."""
    n, schema = 1_000_000, signature_schema(2)
    path = tmp_path / "in.parquet"
    with TableWriter(path, schema) as writer:
        for start in range(0, n, 1 << 16):
            rows = min(n, start + (1 << 16)) - start
            names = pa.array(np.arange(start + 1, start + rows + 1, dtype=np.uint64))
            values = {"name": names, "num_chars": pa.array(np.full(rows, 1000)), "band_0001": names}
            values["band_0000"] = pa.array(np.full(rows, 9, np.uint64))
            columns = [values.get(f.name, pa.nulls(rows, f.type)) for f in schema]
            writer.write(pa.RecordBatch.from_arrays(columns, schema=schema))
    signatures = Input(str(path), "in", "", 0)
    labels = {"signatures": "1", "first": "0", "last": "1", "parts": "4"}
    (tmp_path / "pairs").mkdir()
    counts = pairs.pairs(Shard("p", (signatures,), labels), tmp_path / "pairs", {"bands": 2})
    assert counts["pairs"] <= 2 * n
    (tmp_path / "made").mkdir()
    found = Input(str(tmp_path / "pairs/pairs.parquet"), "pairs", "", 0)
    labels = {"signatures": "1", "gone": "0", "parts": "2", "memory": str(16 << 20), "group_chars": "1000000"}
    shard = Shard("all", (signatures, found), labels)
    counts = components.components(shard, tmp_path / "made", {"verify": "pairs"})
    assert (counts["candidates"], counts["groups"]) == (n, 1)  # one component cannot be divided


def test_a_component_larger_than_the_memory_is_verified_from_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 near copies of one text of 1,000 characters, 16 MB of shingles, with 1 MB."""
    chance = random.Random(2)
    base = [chr(chance.randint(0x4E00, 0x9FFF)) for _ in range(1000)]
    rows = []
    for n in range(2000):
        text = list(base)
        text[chance.randrange(1000)] = "々"
        rows.append({"id": f"{n:05d}", "text": "".join(text) + str(n), "source": "t", "lang": "ja", "meta": "{}"})
    mapped: list[int] = []

    def noted(folder: Path, parts, kind, bound):  # type: ignore[no-untyped-def]
        made = gathered(folder, parts, kind, bound)
        mapped.append(made.nbytes if made.base is not None else 0)
        return made

    monkeypatch.setattr(verify, "gathered", noted)
    run(tmp_path, shards(tmp_path, rows, 2), Dedup(memory_gb=1e-3))
    [clusters] = [pq.read_table(tmp_path / "out/clusters/clusters.parquet")]
    assert set(clusters["survivor"].to_pylist()) == {"01000"} and len(clusters) == 2000  # the longest, the least id
    assert max(mapped) > 10_000_000
    assert not list((tmp_path / "out").rglob("tmp*"))  # the mapped files are gone


def test_spilled_arrays(tmp_path: Path) -> None:
    for bound in (1e9, 0):
        array = spilled(tmp_path, 1000, np.int64, bound)
        array[7] = 3
        assert (array.sum(), len(array)) == (3, 1000)
        parts = [np.arange(3, dtype=np.uint64), np.arange(5, dtype=np.uint64)]
        assert gathered(tmp_path, parts, np.uint64, bound).tolist() == [0, 1, 2, 0, 1, 2, 3, 4]
        assert gathered(tmp_path, [], np.uint64, bound).tolist() == []
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing_that_looks_finished(
    documents: list[dict[str, str]], expected: Path, tmp_path: Path
) -> None:
    """The kernel refuses to write more than so many bytes to a file, as it does on a full disk."""
    made = shards(tmp_path, documents)
    sizes = sorted(p.stat().st_size for p in (expected / "out").rglob("*.parquet"))
    for limit in (sizes[-1] - 1, sizes[len(sizes) // 2]):
        child = os.fork()
        if child == 0:
            try:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
                run(tmp_path, made)
            except ShardsFailed as error:
                text = " ".join(failure["error"] for failure in error.failures)
                os._exit(3 if os.strerror(errno.EFBIG) in text else 4)
            finally:
                os._exit(5)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        for receipt in (tmp_path / "out").rglob("receipts/*.json"):
            for output in json.loads(receipt.read_bytes())["outputs"]:
                path = receipt.parent.parent / output["path"]
                assert file_sha256(path) == output["sha256"]
        named = {
            receipt.parent.parent / output["path"]
            for receipt in (tmp_path / "out").rglob("receipts/*.json")
            for output in json.loads(receipt.read_bytes())["outputs"]
        }
        assert set((tmp_path / "out").rglob("*.parquet")) <= named  # no file without a receipt
    run(tmp_path, made)
    assert everything(tmp_path) == everything(expected)


_ON_A_SMALL_DISK = """
mount -t tmpfs -o size=$1 tmpfs "$2" || exit 77
"$3" dedup --input "$4" --out "$2/out" --executor local --json > /dev/null 2> "$5"
echo "code $?" >> "$5"
ls "$2"/out/kept "$2"/out/receipts "$2"/out/funnel.json >> "$5" 2> /dev/null
mount -o remount,size=200m "$2"
"$3" dedup --input "$4" --out "$2/out" --executor local --json > "$6"
"""


def test_a_small_disk_is_said_and_the_same_command_goes_on(
    documents: list[dict[str, str]], command: str, tmp_path: Path
) -> None:
    """A real one: a tmpfs of 300 kB in a mount namespace of its own, and then of 200 MB."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces for this user here")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(d) + "\n" for d in documents))
    (tmp_path / "disk").mkdir()
    said, result = tmp_path / "said", tmp_path / "result.json"
    words = ["300k", tmp_path / "disk", command, tmp_path / "in.jsonl", said, result]
    done = subprocess.run(["unshare", "-rm", "sh", "-c", _ON_A_SMALL_DISK, "sh", *map(str, words)], check=False)
    if done.returncode == 77:
        pytest.skip("a tmpfs cannot be mounted here")
    text = said.read_text()
    assert os.strerror(errno.ENOSPC) in text and "Traceback" not in text
    assert text.splitlines()[-1] == "code 1", text  # and nothing that looks finished
    assert json.loads(result.read_bytes())["total"]["in"] == len(documents)


def test_sets_of_a_document_do_not_depend_on_its_neighbours() -> None:
    texts = pa.array(["春はあけぼの", "夏は夜", ""])
    whole = shingle_sets(matching_column(texts), 5)
    alone = [shingle_sets(matching_column(texts.slice(k, 1)), 5).values.tolist() for k in range(3)]
    assert whole.values.tolist() == [value for values in alone for value in values]
