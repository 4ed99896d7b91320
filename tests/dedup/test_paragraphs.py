"""Lines that many documents have: what counts as the same line, which runs are cut, which documents go."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpuskit.config import Paragraphs
from corpuskit.dedup.paragraphs import COMMON, RULE, cut_paragraphs, document_frequencies, draws, lines_of
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner
from corpuskit.engine.store import Receipt
from corpuskit.schema import DOCUMENT, REMOVED, SPAN, document_id

LOCAL = Runner(executor="local", retries=0)
THREE = Paragraphs(documents=3, run=3, min_chars=0, expected=1e9)  # so much that no document is common

HEAD, FOOT = "ホーム > 記事一覧", "Copyright 2026 例の会社"
MENU = ["新着記事", "人気記事", "お問い合わせ"]


def shard(root: Path, name: str, documents: Sequence[tuple[str, str]], rows: int = 4096) -> Shard:
    path = root / "in" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, DOCUMENT) as writer:
        for start in range(0, len(documents), rows):
            part = documents[start : start + rows]
            records = [{"id": i, "text": t, "source": "test", "lang": "ja", "meta": "{}"} for i, t in part]
            writer.write_table(pa.Table.from_pylist(records, schema=DOCUMENT))
    file = Input(str(path), str(path.relative_to(root)), file_sha256(path), path.stat().st_size)
    return Shard(name, (file,), {"source": "test", "priority": "0"})


def run(root: Path, shards: Sequence[Shard], params: Paragraphs = THREE, runner: Runner = LOCAL) -> list[Receipt]:
    out = root / "out"
    return cut_paragraphs(shards, work=out / "paragraphs", out=out, root=root, params=params, runner=runner)


def rows(root: Path, kind: str) -> list[dict[str, Any]]:
    return [r for f in sorted((root / "out" / kind).glob("*.parquet")) for r in pq.read_table(f).to_pylist()]


def one_file(root: Path, *texts: str, params: Paragraphs = THREE) -> list[str]:
    run(root, [shard(root, "only", [(f"{n:032x}", t) for n, t in enumerate(texts)])], params)
    return [r["text"] for r in rows(root, "kept")]


def keys(*lines: str) -> list[int]:
    return [int(k) for k in lines_of(pa.array(["\n".join(lines)], pa.string())).key]


def test_what_counts_in_a_line() -> None:
    plain = "2026年11月2日の記事"
    same = ["２０２５年１０月３日の記事", "「2026年11月2日」の記事！", " 2026年 11月2日 の記事\t"]
    other = ["2026年1月2日の記事", "2026年11月2日の記亊", "2026年11月2日の配事"]
    assert set(keys(plain, *same)) == set(keys(plain))
    assert not set(keys(*other)) & set(keys(plain))
    assert keys("は", "ば")[0] != keys("は", "ば")[1]
    assert keys("ABC", "ａｂｃ")[0] == keys("ABC", "ａｂｃ")[1]
    assert keys("-----", "★", "…") == [0, 0, 0]  # nothing counts in them


@given(st.lists(st.text("あ1。a\u3099𠮷 ", max_size=5), max_size=6))
def test_lines_are_where_they_are_said_to_be(parts: list[str]) -> None:
    text = "\n".join(parts)
    lines = lines_of(pa.array(["前", text, "", "後"], pa.string()))
    found = [text[a:b] for r, a, b in zip(lines.row, lines.start, lines.end, strict=True) if r == 1]
    assert found == [p for p in parts if p]
    assert lines.row.tolist() == [0] + [1] * len(found) + [3]


def test_a_menu_is_cut_and_two_of_its_lines_in_a_text_are_not(tmp_path: Path) -> None:
    bodies = [f"これは{c}についての本文です。" for c in "猫犬鳥"]
    menu = "\n".join(MENU)
    texts = [f"{b}\n{menu}\n{b}続き。" for b in bodies]
    two = "前の文。\n新着記事\n人気記事\n後の文。"
    left = one_file(tmp_path, *texts, two)
    assert left == [*(f"{b}\n{b}続き。" for b in bodies), two]
    [first, *_] = rows(tmp_path, "spans")
    assert (first["rule"], first["start"], first["end"], first["first_id"]) == (RULE, 15, 15 + len(menu) + 1, None)
    assert first["count"] == 3  # the least frequent of its lines


def test_just_over_and_just_under_the_frequency(tmp_path: Path) -> None:
    texts = [f"{c}の本文。\n" + "\n".join(MENU) + f"\n{c}の終わり。" for c in "猫犬鳥"]
    assert one_file(tmp_path / "3", *texts)[0] == "猫の本文。\n猫の終わり。"
    assert one_file(tmp_path / "2", *texts[:2]) == texts[:2]
    # once a document: three times in one are not three documents
    assert one_file(tmp_path / "same", texts[0] * 3, texts[1]) == [texts[0] * 3, texts[1]]


def test_one_line_is_enough_at_the_ends(tmp_path: Path) -> None:
    texts = [f"{HEAD}\n\n{c}の本文。\n\n{FOOT}" for c in "猫犬鳥"]
    assert one_file(tmp_path, *texts) == ["猫の本文。", "犬の本文。", "鳥の本文。"]


def test_lines_without_letters_join_in(tmp_path: Path) -> None:
    texts = [f"{c}の本文。\n新着記事\n-----\n人気記事\n★\nお問い合わせ\n=====\n{c}の終わり。" for c in "猫犬鳥"]
    assert one_file(tmp_path, *texts)[0] == "猫の本文。\n=====\n猫の終わり。"


def test_what_is_nothing_but_boilerplate_goes(tmp_path: Path) -> None:
    menu = "\n".join(MENU)
    texts = [menu, menu + "\n短い。", f"{menu}\n{'長い本文' * 5}。"]
    left = one_file(tmp_path, *texts, params=THREE.model_copy(update={"min_chars": 5}))
    assert left == ["長い本文" * 5 + "。"]
    assert [(r["text"], r["step"], r["rule"]) for r in rows(tmp_path, "removed")] == [
        (texts[0], "dedup", RULE),
        (texts[1], "dedup", RULE),
    ]


def test_common_documents_go_by_a_draw_that_is_always_the_same(tmp_path: Path) -> None:
    page = "\n".join(f"{c}についての決まり文句の段落です" for c in "甲乙丙丁")
    documents = [(document_id("test", "file", n), page) for n in range(2000)]
    params = Paragraphs(documents=10**6, expected=50, percentile=0.1)
    [receipt] = run(tmp_path, [shard(tmp_path, "only", documents)], params)
    assert 50 - 3 * 50**0.5 < receipt.counts["kept"] < 50 + 3 * 50**0.5
    assert receipt.counts["by_rule"] == {RULE: 0, COMMON: 2000 - receipt.counts["kept"]}
    assert {r["value"] for r in rows(tmp_path, "removed")} == {2000.0}
    kept = {r["id"] for r in rows(tmp_path, "kept")}
    wanted = draws(pa.array([i for i, _ in documents], pa.string())) * 2000 < 50
    assert kept == {i for (i, _), stays in zip(documents, wanted, strict=True) if stays}


def test_a_text_with_lines_of_its_own_is_no_common_document() -> None:
    lines = lines_of(pa.array(["一行\n二行\n三行\n四行\n五行\n六行\n七行\n八行\n九行\n十行", "短い", "-"], pa.string()))
    frequency = np.array([1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 7, 0])
    assert document_frequencies(lines, frequency, 3, 0.09).tolist() == [1, 7, 1]
    assert document_frequencies(lines, frequency, 3, 0.1).tolist() == [9, 7, 1]  # the second lowest of ten


def test_counts_and_schemas(tmp_path: Path) -> None:
    texts = [f"{HEAD}\n{c}の本文です。" for c in "猫犬鳥"]
    [receipt] = run(tmp_path, [shard(tmp_path, "only", [(f"{n:032x}", t) for n, t in enumerate(texts)])])
    cut = len(HEAD) + 1
    assert receipt.counts["cut"] == {
        RULE: {"documents": 3, "spans": 3, "characters": 3 * cut, "bytes": 3 * (len(HEAD.encode()) + 1)}
    }
    assert receipt.counts["in"] == receipt.counts["kept"] == 3
    assert receipt.counts["chars_in"] == receipt.counts["chars_kept"] + 3 * cut
    for kind, schema in (("kept", DOCUMENT), ("removed", REMOVED), ("spans", SPAN)):
        assert pq.read_schema(tmp_path / "out" / kind / "only.parquet") == schema


def test_no_documents(tmp_path: Path) -> None:
    [receipt] = run(tmp_path, [shard(tmp_path, "empty", [])])
    assert receipt.counts["in"] == 0
    assert run(tmp_path / "none", []) == []
    assert one_file(tmp_path / "one", "", "\n\n", FOOT) == ["", "\n\n", FOOT]


@pytest.mark.parametrize("executor", ["local", "ray"])
def test_files_batches_memory_and_order_do_not_show(tmp_path: Path, executor: str) -> None:
    rng = random.Random(5)
    pool = [f"{c}の行{n}" for n in range(6) for c in "甲乙丙丁戊"]
    documents = [
        (document_id("test", "file", n), "\n".join(rng.choice(pool) for _ in range(rng.randint(0, 9))))
        for n in range(150)
    ]
    params = Paragraphs(documents=25, run=2, expected=15, percentile=0.1, min_chars=3)
    run(tmp_path / "one", [shard(tmp_path / "one", "all", documents)], params)
    expected = {kind: sorted(map(str, rows(tmp_path / "one", kind))) for kind in ("kept", "removed", "spans")}
    assert all(len(r) > 10 for r in expected.values())
    root = tmp_path / "many"
    shuffled = rng.sample(documents, len(documents))
    shards = [shard(root, f"part-{k}", shuffled[k::5], rows=4) for k in range(5)]
    small = params.model_copy(update={"memory": 1 << 20})
    runner = Runner(executor=executor, workers=2)  # type: ignore[arg-type]
    run(root, rng.sample(shards, 5), small, runner)
    assert {kind: sorted(map(str, rows(root, kind))) for kind in expected} == expected
