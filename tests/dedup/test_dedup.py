"""Deduplication from files to files: who goes, who stays, and that nothing but the documents decides it."""

from __future__ import annotations

import io
import json
import logging
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpuskit.config import Dedup, UserError
from corpuskit.dedup.cluster import bucket_pairs, groups, jaccard_of
from corpuskit.dedup.exact import EXACT, NEAR, NORMALIZED, URL
from corpuskit.dedup.minhash import candidate_probability, matching_column, shingle_sets, signatures
from corpuskit.dedup.outcome import HAS_DUPLICATES
from corpuskit.dedup.stage import dedup
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner
from corpuskit.engine.store import Receipt
from corpuskit.engine.tables import TableWriter
from corpuskit.schema import CLUSTER, DOCUMENT, REMOVED, document_id

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
LOCAL = Runner(executor="local", retries=0)
SURE = Dedup(bands=60, rows_per_band=3)  # so wide that chance plays no part at Jaccard 0.6 and more

CAT = (
    "吾輩は猫である名前はまだ無いどこで生れたかとんと見当がつかぬ"
    "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している"
)
CAT_6 = CAT[:-6] + "忘れて久しい"  # 55 of 67 shingles shared: 0.82
CAT_7 = CAT[:-7] + "とうに忘れたよ"  # 54 of 68: 0.794
SNOW = (
    "国境の長いトンネルを抜けると雪国であった夜の底が白くなった信号所に汽車が止まった向側の座席から娘が立って来て"
    "島村の前のガラス窓を落した雪の冷気が流れこんだ娘は窓いっぱいに乗り出して遠くへ叫ぶように駅長さん駅長さんと"
    "呼んだ明りをさげてゆっくり雪を踏んで来た男は襟巻で鼻の上まで包み耳に帽子の毛皮を垂れていた"
)

Documents = Sequence[tuple[str, str]]  # id, text


def shard(root: Path, name: str, documents: Documents, priority: int = 1, rows: int = 4096) -> Shard:
    path = root / "in" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with TableWriter(path, DOCUMENT) as writer:
        for start in range(0, len(documents), rows):
            part = documents[start : start + rows]
            records = [{"id": i, "text": t, "source": "test", "lang": "ja", "meta": "{}"} for i, t in part]
            writer.write(pa.RecordBatch.from_pylist(records, schema=DOCUMENT))
    file = Input(str(path), str(path.relative_to(root)), file_sha256(path), path.stat().st_size)
    return Shard(name, (file,), {"source": "test", "priority": str(priority)})


def run(root: Path, shards: Sequence[Shard], params: Dedup = SURE, runner: Runner = LOCAL) -> list[Receipt]:
    return dedup(shards, out=root / "out", root=root, params=params, runner=runner)


def kept(root: Path) -> list[str]:
    files = sorted((root / "out" / "kept").glob("*.parquet"))
    return [i for f in files for i in pq.read_table(f)["id"].to_pylist()]


def removed(root: Path) -> dict[str, tuple[str, float]]:
    files = sorted((root / "out" / "removed").glob("*.parquet"))
    return {r["id"]: (r["rule"], r["value"]) for f in files for r in pq.read_table(f).to_pylist()}


def clusters(root: Path) -> dict[str, dict[str, Any]]:
    return {r["id"]: r for r in pq.read_table(root / "out" / "clusters" / "clusters.parquet").to_pylist()}


def one_shard(root: Path, *texts: str, params: Dedup = SURE) -> list[str]:
    """Deduplicate texts with the ids a, b, c, ...; returns the ids that stay."""
    run(root, [shard(root, "only", [(chr(97 + n), t) for n, t in enumerate(texts)])], params)
    return kept(root)


def jaccard(a: str, b: str, n: int = 5) -> float:
    """The oracle, on texts that are their own matching shadow."""
    one, two = ({t[i : i + n] for i in range(max(1, len(t) - n + 1))} for t in (a, b))
    return len(one & two) / len(one | two)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# who goes


def test_just_over_and_just_under_the_threshold(tmp_path: Path) -> None:
    assert (jaccard(CAT, CAT_6), jaccard(CAT, CAT_7)) == (55 / 67, 54 / 68)
    assert one_shard(tmp_path / "over", CAT, CAT_6) == ["a"]
    assert removed(tmp_path / "over") == {"b": (NEAR, 55 / 67)}
    assert one_shard(tmp_path / "under", CAT, CAT_7) == ["a", "b"]
    assert clusters(tmp_path / "under") == {}


def test_a_pair_at_the_threshold_is_a_duplicate(tmp_path: Path) -> None:
    a = CAT[:58]
    b = a[:-6] + "忘れて久しい"
    assert jaccard(a, b) == 0.8
    assert one_shard(tmp_path / "at", a, b) == ["a"]
    assert one_shard(tmp_path / "over", a, b, params=SURE.model_copy(update={"threshold": 0.81})) == ["a", "b"]


def test_dakuten_are_not_stripped(tmp_path: Path) -> None:
    assert one_shard(tmp_path, "はははははは", "ばばばばばば", "ぱぱぱぱぱぱ", "ハハハハハハ") == list("abcd")


def test_width_case_punctuation_and_white_space_do_not_count(tmp_path: Path) -> None:
    half = "。\n".join(CAT.replace("ニャーニャー", "ﾆｬｰﾆｬｰ"))
    texts = [CAT + "ABC2026", CAT + "Ａｂｃ２０２６", half + "、abc 2026", "まったく別の文章です"]
    assert one_shard(tmp_path, *texts) == ["c", "d"]
    assert {r for r, _ in removed(tmp_path).values()} == {NORMALIZED}


def test_digits_count(tmp_path: Path) -> None:
    assert one_shard(tmp_path, "2025年1月", "2026年1月") == ["a", "b"]


def test_exact_duplicates_and_the_files_that_tell_of_them(tmp_path: Path) -> None:
    texts = [("b" * 32, CAT), ("a" * 32, CAT), ("c" * 32, CAT_6), ("d" * 32, SNOW)]
    [receipt] = run(tmp_path, [shard(tmp_path, "only", texts)])
    assert kept(tmp_path) == ["a" * 32, "d" * 32]  # of equal texts the smaller id stays; the order is the input's
    assert removed(tmp_path) == {"b" * 32: (EXACT, 1.0), "c" * 32: (NEAR, 55 / 67)}
    assert pq.read_table(tmp_path / "out/clusters/clusters.parquet").to_pylist() == [
        {"id": "a" * 32, "survivor": "a" * 32, "cluster_size": 3, "jaccard": 1.0},
        {"id": "b" * 32, "survivor": "a" * 32, "cluster_size": 3, "jaccard": 1.0},
        {"id": "c" * 32, "survivor": "a" * 32, "cluster_size": 3, "jaccard": 55 / 67},
    ]
    stay, all_texts = CAT + SNOW, CAT * 2 + CAT_6 + SNOW
    assert receipt.counts == {
        "source": "test",
        "in": 4,
        "kept": 2,
        "duplicates": 2,
        "dropped": {},
        "quarantined": 0,
        "by_rule": {URL: 0, EXACT: 1, NORMALIZED: 0, NEAR: 1, HAS_DUPLICATES: 0},
        "chars_in": len(all_texts),
        "chars_kept": len(stay),
        "bytes_in": len(all_texts.encode()),
        "bytes_kept": len(stay.encode()),
    }
    for name, schema in (("kept", DOCUMENT), ("removed", REMOVED), ("clusters", CLUSTER)):
        assert pq.read_schema(tmp_path / "out" / name / f"{name if name == 'clusters' else 'only'}.parquet") == schema
    assert set(pq.read_table(tmp_path / "out/removed/only.parquet")["step"].to_pylist()) == {"dedup"}


def test_an_exact_duplicate_of_a_removed_document_goes_with_it(tmp_path: Path) -> None:
    # c equals b and b is like a: c is as like a as b is, so it may go, but as a near duplicate of a
    assert one_shard(tmp_path, CAT, CAT_6, CAT_6) == ["a"]
    assert removed(tmp_path) == {"b": (NEAR, 55 / 67), "c": (NEAR, 55 / 67)}


def test_no_removal_by_chaining(tmp_path: Path) -> None:
    a, b, c = SNOW[:100], SNOW[10:110], SNOW[20:120]
    assert jaccard(a, b) > 0.8 and jaccard(b, c) > 0.8 and jaccard(a, c) < 0.7
    assert one_shard(tmp_path / "a first", a, b, c) == ["a", "c"]
    assert clusters(tmp_path / "a first").keys() == {"a", "b"}
    # where the one in the middle ranks first, both others have it as their survivor
    assert one_shard(tmp_path / "b first", a, b + "、", c) == ["b"]
    assert {r["survivor"] for r in clusters(tmp_path / "b first").values()} == {"b"}


def test_whoever_stays_of_a_chain_gathers_its_own(tmp_path: Path) -> None:
    texts = [SNOW[k : k + 100] for k in range(0, 50, 10)]  # each like its neighbours, not like the one after
    assert one_shard(tmp_path, *texts) == ["a", "c", "e"]
    assert {i: r["survivor"] for i, r in clusters(tmp_path).items()} == {"a": "a", "b": "a", "c": "c", "d": "c"}


def test_length_goes_before_source_and_source_before_id(tmp_path: Path) -> None:
    web = [("1", CAT + "。"), ("2", CAT + "！！！"), ("3", SNOW), ("4", SNOW + "。")]
    wiki = [("8", SNOW + "！"), ("9", CAT)]
    files = [("mc4", web, 2), ("wiki", wiki, 1)]
    run(tmp_path / "a", [shard(tmp_path / "a", *file) for file in files])
    assert kept(tmp_path / "a") == ["2", "8"]
    first = SURE.model_copy(update={"survivor": ("source", "length")})
    run(tmp_path / "b", [shard(tmp_path / "b", *file) for file in files], first)
    assert kept(tmp_path / "b") == ["8", "9"]


def test_short_and_empty_documents(tmp_path: Path) -> None:
    texts = ["猫", "犬", "猫", "猫。", "猫と", "", "", "  ", "猫の手", "！！", "！！", "？？", "。"]
    # f, h, j, l and m hold nothing to match by: only g, equal to f, and k, equal to j, are anybody's duplicates
    assert one_shard(tmp_path, *texts) == ["b", "d", "e", "f", "h", "i", "j", "l", "m"]
    assert {i: rule for i, (rule, _) in removed(tmp_path).items()} == {
        "a": NORMALIZED, "c": NORMALIZED, "g": EXACT, "k": EXACT,
    }  # fmt: skip


def test_no_documents(tmp_path: Path) -> None:
    [receipt] = run(tmp_path, [shard(tmp_path, "empty", [])])
    assert receipt.counts["in"] == 0
    assert kept(tmp_path) == []
    assert run(tmp_path / "none", []) == []
    assert clusters(tmp_path / "none") == {}


def test_ids_must_be_unique(tmp_path: Path) -> None:
    shards = [shard(tmp_path, "one", [("x", CAT)]), shard(tmp_path, "two", [("x", SNOW)])]
    with pytest.raises(UserError, match=r"'x' occurs more than once.*given twice"):
        run(tmp_path, shards)


def test_many_equal_documents(tmp_path: Path) -> None:
    documents = [(f"{n:08d}", CAT) for n in range(50_000)]
    run(tmp_path, [shard(tmp_path, "equal", documents)])
    assert kept(tmp_path) == ["00000000"]
    assert clusters(tmp_path)["00049999"]["cluster_size"] == 50_000


def test_one_bucket_of_many_near_duplicates(tmp_path: Path) -> None:
    documents = [(f"{n:08d}", SNOW + str(n)) for n in range(10_000, 40_000)]
    run(tmp_path, [shard(tmp_path, "near", documents)], Dedup())
    assert kept(tmp_path) == ["00010000"]
    made = [json.loads(p.read_bytes())["counts"] for p in (tmp_path / "out/work/pairs/receipts").glob("*.json")]
    # linear, where all pairs of one band would be 450 million
    assert 29_999 <= sum(counts["pairs"] for counts in made) < 36 * 3 * 30_000


# nothing but the documents decides


def mixed_documents() -> list[tuple[str, str]]:
    """300 documents in families of copies, near copies and chains."""
    rng = random.Random(7)
    texts = []
    for _ in range(40):
        base = "".join(rng.choice(SNOW + CAT) for _ in range(rng.randint(60, 160)))
        for _ in range(rng.randint(1, 14)):
            text = list(base)
            for _ in range(rng.choice([0, 0, 1, 2, 3, 6])):
                text[rng.randrange(len(text))] = rng.choice(CAT)
            texts.append("".join(text) + rng.choice(["", "。", "終"]))
    return [(document_id("test", "file", n), text) for n, text in enumerate(texts)]


def test_order_and_cut_of_the_files_and_the_memory_do_not_show(tmp_path: Path) -> None:
    documents = mixed_documents()
    run(tmp_path / "one", [shard(tmp_path / "one", "all", documents)])
    expected = (tmp_path / "one/out/clusters/clusters.parquet").read_bytes()
    gone = removed(tmp_path / "one")
    assert 50 < len(gone) < len(documents) - 40

    rng = random.Random(11)
    # the memory decides nothing either, down to where every component and every range stands alone and is on disk
    for name, files, rows, memory in (("two", 2, 4096, 4.0), ("seven", 7, 5, 1e-4), ("bounded", 3, 9, 1e-6)):
        root = tmp_path / name
        shuffled = rng.sample(documents, len(documents))
        shards = [shard(root, f"part-{k}", shuffled[k::files], rows=rows) for k in range(files)]
        receipts = run(root, rng.sample(shards, files), SURE.model_copy(update={"memory_gb": memory}))
        assert (root / "out/clusters/clusters.parquet").read_bytes() == expected
        assert removed(root) == gone
        assert sum(r.counts["in"] for r in receipts) == len(documents)
        assert all(r.counts["in"] == r.counts["kept"] + r.counts["duplicates"] for r in receipts)
        for k in range(files):  # files keep their order of documents
            ids = pq.read_table(root / f"out/kept/part-{k}.parquet")["id"].to_pylist()
            assert ids == [i for i, _ in shuffled[k::files] if i not in gone]


def test_what_is_removed_is_truly_similar_to_what_is_kept(tmp_path: Path) -> None:
    documents = dict(mixed_documents())
    run(tmp_path, [shard(tmp_path, "all", list(documents.items()))])
    stay = set(kept(tmp_path))
    for member in clusters(tmp_path).values():
        assert member["survivor"] in stay
        assert (member["id"] in stay) == (member["id"] == member["survivor"])
        pair = [documents[member[k]].replace("。", "") for k in ("id", "survivor")]
        assert member["jaccard"] == jaccard(*pair) >= SURE.threshold
    texts = [documents[i].replace("。", "") for i in sorted(stay)]
    pairs = [(a, b) for n, a in enumerate(texts) for b in texts[:n] if jaccard(a, b) >= SURE.threshold]
    assert pairs == []  # so wide a search leaves none


def test_ray_and_local_give_the_same_bytes(tmp_path: Path) -> None:
    documents = mixed_documents()
    for executor in ("local", "ray"):
        root = tmp_path / executor
        shards = [shard(root, f"part-{k}", documents[k::3]) for k in range(3)]
        run(root, shards, runner=Runner(executor=executor, workers=2))  # type: ignore[arg-type]
    assert tree(tmp_path / "local" / "out") == tree(tmp_path / "ray" / "out")


def test_a_new_threshold_signs_nothing_again(tmp_path: Path) -> None:
    shards = [shard(tmp_path, "only", [("a", CAT), ("b", CAT_7)])]
    run(tmp_path, shards)
    before = (tmp_path / "out/signatures/receipts/only.json").stat().st_mtime_ns
    run(tmp_path, shards, SURE.model_copy(update={"threshold": 0.75}))
    assert kept(tmp_path) == ["a"]
    assert (tmp_path / "out/signatures/receipts/only.json").stat().st_mtime_ns == before


def test_the_curve_and_the_memory_are_said_before_the_work(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("corpuskit"), "propagate", True)
    with caplog.at_level(logging.INFO, logger="corpuskit"):
        run(tmp_path, [shard(tmp_path, "only", [("a", CAT)])], Dedup())
    assert "0.7: 0.000, 0.75: 0.000, 0.8: 0.999, 0.85: 1.000" in caplog.messages[0]
    assert "GB of RAM" in caplog.messages[0] and "GB of disk" in caplog.messages[0] and "hours" in caplog.messages[0]


def pairs_of(keys: list[int], following: list[int] | None = None) -> list[tuple[int, int]]:
    names = np.arange(100, 100 + len(keys), dtype=np.uint64)
    left, right = bucket_pairs(np.array(keys, np.uint64), np.array(following or keys, np.uint64), names)
    return sorted(zip((left - 100).tolist(), (right - 100).tolist(), strict=True))


def test_a_small_bucket_proposes_all_pairs() -> None:
    assert pairs_of([7, 9, 7, 7, 8, 7]) == [(0, 2), (0, 3), (0, 5), (2, 3), (2, 5), (3, 5)]
    assert len(pairs_of([7] * 32)) == 32 * 31 / 2
    assert pairs_of([]) == pairs_of([1, 2, 3]) == []


def test_a_large_bucket_proposes_a_star_and_neighbours_by_the_next_band() -> None:
    found = pairs_of([7] * 2000, [n % 1000 for n in range(2000)])
    assert found == sorted(set(found)) and len(found) < 2 * 2000
    assert {b for a, b in found if a == 0} >= set(range(1, 2000))
    assert {(n, n + 1000) for n in range(1000)} <= set(found)  # who shares the next band as well
    assert len(pairs_of([7] * 64)) < 1024 + 2 * 64


def test_documents_of_one_name_are_told() -> None:
    left, right = bucket_pairs(*(np.array(column, np.uint64) for column in ([5, 5], [1, 1], [3, 3])))
    assert (left.tolist(), right.tolist()) == ([3], [3])


def test_groups() -> None:
    high, low = np.array([5, 5, 1, 5, 1], np.uint64), np.array([2, 3, 9, 2, 9], np.uint64)
    rows, number = groups(high, low)
    assert (rows.tolist(), number.tolist()) == ([2, 4, 0, 3], [0, 0, 1, 1])


# real text


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no real text: {SHARED} is not there")
def test_recall_and_precision_on_labelled_near_duplicates(tmp_path: Path) -> None:
    path = SHARED / "labelled" / "near_duplicates.jsonl.zst"
    with open(path, "rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), "utf-8")
        rows = [json.loads(line) for line in lines]
    ids = [document_id("near", "labelled", n) for n in range(len(rows))]
    texts = [r["text"] for r in rows]
    run(tmp_path, [shard(tmp_path, "all", list(zip(ids, texts, strict=True)))], Dedup())
    gone = set(removed(tmp_path))

    # the truth: all pairs, with no bands between
    shadows = matching_column(pa.array(texts))
    sets, sketches = shingle_sets(shadows, 5), signatures(shadows, 5, 128)
    left, right = np.triu_indices(len(ids), 1)
    true = np.zeros(len(left))
    worth = np.concatenate([(sketches[n] == sketches[n + 1 :]).mean(axis=1) >= 0.2 for n in range(len(ids) - 1)])
    true[worth] = jaccard_of(sets.values, sets.offsets, left[worth], right[worth])  # the others are far below 0.5
    stays = np.array([i not in gone for i in ids])
    similar = true >= 0.8
    missed = (stays[left] & stays[right])[similar].mean()
    predicted = np.mean([candidate_probability(j, Dedup()) for j in true[similar]])
    assert similar.sum() > 1000 and 1 - missed >= predicted - 0.02
    survivor = {m["id"]: m["survivor"] for m in clusters(tmp_path).values()}
    joined = np.array([survivor.get(ids[a]) == survivor.get(ids[b], "") for a, b in zip(left, right, strict=True)])
    assert joined.sum() > 1000 and (true[joined] >= 0.5).mean() >= 0.99
    # and whoever goes is truly similar to one that stays
    best = np.zeros(len(ids))
    for one, other in ((left, right), (right, left)):
        np.maximum.at(best, one[stays[other]], true[stays[other]])
    assert (best[~stays] >= 0.8).all()

    # the labels are of another normalisation (stored text, not the matching shadow), so the bound leaves room
    first: dict[str, int] = {}
    for n, row in enumerate(rows):
        first.setdefault(row["cluster"], n)
    found = [
        ids[n] in gone or ids[first[row["cluster"]]] in gone
        for n, row in enumerate(rows)
        if n != first[row["cluster"]] and row["jaccard5_to_first"] >= 0.85
    ]
    assert sum(found) / len(found) > 0.99
