"""Exact repeated spans: what is cut, what stays, against brute force and a suffix array, and on hostile texts."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corpuskit.config import Substring
from corpuskit.dedup.most_repeated import excerpt
from corpuskit.dedup.spans import MASK, boundaries
from corpuskit.dedup.substring import RULE, cut_repeats
from corpuskit.dedup.windows import anchors, candidate_windows, characters, spread
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner
from corpuskit.engine.store import Receipt
from corpuskit.schema import DOCUMENT, REMOVED, SPAN, document_id

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
LOCAL = Runner(executor="local", retries=0)
SHORT = Substring(length=20, min_chars=0)

A, B, C = (f"{n:032x}" for n in (10, 11, 12))
# 30 characters, a whole sentence
TERMS = "本サイトの文章や画像を無断で転載することは固くお断りします。"
assert len(TERMS) == 30

Documents = Sequence[tuple[str, str]]  # id, text


def shard(root: Path, name: str, documents: Documents, priority: int = 0, rows: int = 4096) -> Shard:
    path = root / "in" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with pq.ParquetWriter(path, DOCUMENT) as writer:
        for start in range(0, len(documents), rows):
            part = documents[start : start + rows]
            records = [{"id": i, "text": t, "source": "test", "lang": "ja", "meta": "{}"} for i, t in part]
            writer.write_table(pa.Table.from_pylist(records, schema=DOCUMENT))
    file = Input(str(path), str(path.relative_to(root)), file_sha256(path), path.stat().st_size)
    return Shard(name, (file,), {"source": "test", "priority": str(priority)})


def run(root: Path, shards: Sequence[Shard], params: Substring = SHORT, runner: Runner = LOCAL) -> list[Receipt]:
    out = root / "out"
    return cut_repeats(shards, work=out / "substring", out=out, root=root, params=params, runner=runner)


def rows(root: Path, kind: str) -> list[dict[str, Any]]:
    return [r for f in sorted((root / "out" / kind).glob("*.parquet")) for r in pq.read_table(f).to_pylist()]


def kept(root: Path) -> dict[str, str]:
    return {r["id"]: r["text"] for r in rows(root, "kept")}


def one_file(root: Path, *texts: str, params: Substring = SHORT) -> list[str]:
    """What is left of texts with the ids A, B, C, ... in one file."""
    run(root, [shard(root, "only", [(f"{10 + n:032x}", t) for n, t in enumerate(texts)])], params)
    return list(kept(root).values())


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# what is cut


def test_a_repeated_sentence_stays_where_it_stands_first(tmp_path: Path) -> None:
    texts = ["猫の話。" + TERMS + "終わり。", "犬の話。" + TERMS + "続く。"]
    assert one_file(tmp_path, *texts) == [texts[0], "犬の話。続く。"]
    assert rows(tmp_path, "spans") == [
        {"id": B, "rule": RULE, "start": 4, "end": 34, "count": 2, "first_id": A, "first_start": 4}
    ]


def test_just_over_and_just_under_the_length(tmp_path: Path) -> None:
    texts = ["猫の話。" + TERMS + "終", "犬だった！" + TERMS + "続"]  # 31 with the 。 before, 。 and ！ differ
    at = Substring(length=30, min_chars=0)
    assert one_file(tmp_path / "at", *texts, params=at)[1] == "犬だった！続"
    over = Substring(length=31, min_chars=0)
    assert one_file(tmp_path / "over", *texts, params=over) == texts


def test_the_cut_moves_inwards_to_sentences(tmp_path: Path) -> None:
    middle = "が無断で転載することは固くお断りします。お問い合わせは窓口へどうぞ。詳しくは"
    texts = ["当社" + middle + "本社", "弊社" + middle + "支店"]
    # the broken sentence before and the one behind stay; what is whole goes
    assert one_file(tmp_path, *texts)[1] == "弊社が無断で転載することは固くお断りします。詳しくは支店"


def test_nothing_is_cut_without_a_sentence_end(tmp_path: Path) -> None:
    words = "国境の長いトンネルを抜けると雪国であった夜の底が白くなった"
    assert one_file(tmp_path, "甲" + words + "甲", "乙" + words + "乙") == ["甲" + words + "甲", "乙" + words + "乙"]


def test_dakuten_count(tmp_path: Path) -> None:
    texts = ["\n" + "はひふへほ" * 6 + "\n甲", "\n" + "ばびぶべぼ" * 6 + "\n乙"]
    assert one_file(tmp_path, *texts) == ["\n" + "はひふへほ" * 6 + "\n甲", "\n" + "ばびぶべぼ" * 6 + "\n乙"]


def test_priority_goes_before_id_and_id_before_position(tmp_path: Path) -> None:
    web = [(B, "あ。" + TERMS), (A, "い。" + TERMS)]
    run(tmp_path, [shard(tmp_path, "mc4", web, 1), shard(tmp_path, "wiki", [(C, "う。" + TERMS)], 0)])
    assert kept(tmp_path) == {A: "い。", B: "あ。", C: "う。" + TERMS}
    run(tmp_path / "web", [shard(tmp_path / "web", "mc4", web, 1)])
    assert kept(tmp_path / "web") == {A: "い。" + TERMS, B: "あ。"}


def test_a_text_that_repeats_itself(tmp_path: Path) -> None:
    assert one_file(tmp_path, f"{TERMS}\n甲。\n{TERMS}\n乙。\n{TERMS}\n") == [f"{TERMS}\n甲。\n乙。"]


def test_each_part_has_its_own_first(tmp_path: Path) -> None:
    one, two = TERMS, "営業時間は平日の午前九時から午後五時までとなっております。"
    texts = ["一。" + one, "二。" + two, one + two]
    assert one_file(tmp_path, *texts) == texts[:2]
    spans = [(s["start"], s["end"], s["first_id"], s["first_start"]) for s in rows(tmp_path, "spans")]
    assert spans == [(0, 30, A, 2), (30, 59, B, 2)]
    assert [r["id"] for r in rows(tmp_path, "removed")] == [C]


def test_equal_documents_and_what_is_too_short(tmp_path: Path) -> None:
    texts = [TERMS * 2, TERMS * 2, "短い。", "短い。", "", "", TERMS + "残りは十文字です。"]
    assert one_file(tmp_path, *texts, params=Substring(length=20, min_chars=9)) == [
        TERMS,
        "短い。",  # shorter than a window: not looked at
        "短い。",
        "",
        "",
        "残りは十文字です。",
    ]
    [gone] = rows(tmp_path, "removed")
    assert (gone["id"], gone["text"], gone["step"], gone["rule"], gone["value"]) == (B, TERMS * 2, "dedup", RULE, 1.0)
    assert one_file(tmp_path / "more", *texts, params=Substring(length=20, min_chars=10))[-1] == ""
    assert {r["id"] for r in rows(tmp_path / "more", "removed")} == {B, f"{16:032x}"}


def test_mask(tmp_path: Path) -> None:
    texts = ["猫。" + TERMS, "犬。" + TERMS + "\n" + TERMS + "馬。"]
    mask = SHORT.model_copy(update={"mode": "mask"})
    assert one_file(tmp_path, *texts, params=mask) == [texts[0], f"犬。{MASK}\n{MASK}馬。"]


def test_drop(tmp_path: Path) -> None:
    drop = Substring(length=20, mode="drop", min_chars=0)
    # of 150 and of 149 characters 30 repeat: a fifth, and more than a fifth
    left = one_file(tmp_path, TERMS, "甲" * 119 + "。" + TERMS, "乙" * 118 + "。" + TERMS, params=drop)
    assert left == [TERMS, "甲" * 119 + "。" + TERMS]  # at the share it stays, whole
    [gone] = rows(tmp_path, "removed")
    assert (gone["id"], gone["rule"], gone["value"]) == (C, RULE, 30 / 149)


def test_counts_and_schemas(tmp_path: Path) -> None:
    texts = ["猫の話。" + TERMS, "犬の話。" + TERMS + "続く。", TERMS]
    [receipt] = run(tmp_path, [shard(tmp_path, "only", [(f"{n:032x}", t) for n, t in enumerate(texts)])])
    left = texts[0] + "犬の話。続く。"
    assert receipt.counts == {
        "source": "test",
        "in": 3,
        "kept": 2,
        "duplicates": 1,
        "dropped": {},
        "quarantined": 0,
        "by_rule": {RULE: 1},
        "cut": {RULE: {"documents": 1, "spans": 2, "characters": 30, "bytes": 90}},
        "chars_in": sum(map(len, texts)),
        "chars_kept": len(left),
        "bytes_in": len("".join(texts).encode()),
        "bytes_kept": len(left.encode()),
    }
    for kind, schema in (("kept", DOCUMENT), ("removed", REMOVED), ("spans", SPAN)):
        assert pq.read_schema(tmp_path / "out" / kind / "only.parquet") == schema


def test_the_report_names_the_most_repeated_spans_and_no_addresses(tmp_path: Path) -> None:
    contact = "ご質問は電話番号03-1234-5678またはメールinfo@example.jpまで。"
    texts = [f"{n}番。" + contact + ("" if n < 3 else TERMS) for n in range(6)]
    one_file(tmp_path, *texts)
    lines = (tmp_path / "out/substring/report/most_repeated.jsonl").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines]
    assert [(f["count"], f["characters"]) for f in found] == [(6, len(contact)), (3, 30)]
    assert found[0]["text"].startswith("ご質問は電話番号<PHONE>またはメール<EMAIL>")
    assert found[1]["text"] == TERMS


def test_no_documents(tmp_path: Path) -> None:
    [receipt] = run(tmp_path, [shard(tmp_path, "empty", [])])
    assert receipt.counts["in"] == 0
    assert kept(tmp_path) == {}
    assert run(tmp_path / "none", []) == []
    assert one_file(tmp_path / "one", TERMS) == [TERMS]


# the oracles


def expected(documents: Documents, length: int) -> dict[str, list[tuple[int, int, int, str, int]]]:
    """By brute force: for each id its spans (start, end, count, first id, start there)."""
    first: dict[str, tuple[str, int]] = {}
    times: Counter[str] = Counter()
    for i, text in sorted(documents):
        for p in range(len(text) - length + 1):
            first.setdefault(text[p : p + length], (i, p))
            times[text[p : p + length]] += 1
    found: dict[str, list[tuple[int, int, int, str, int]]] = {}
    for i, text in documents:
        matches: list[tuple[int, int, int, str, int]] = []  # first and last window, count, place of the first
        for p in range(len(text) - length + 1):
            window = text[p : p + length]
            where = first[window]
            if where == (i, p):
                continue
            if matches and matches[-1][1] == p - 1:
                begin, _, least, source, start = matches[-1]
                if where == (source, start + p - begin):
                    matches[-1] = (begin, p, min(least, times[window]), source, start)
                    continue
            matches.append((p, p, times[window], *where))
        done, own, at = 0, False, boundaries(text)
        for begin, last, least, source, start in matches:
            inside = [b for b in at if max(begin, done) <= b <= last + length]
            if len(inside) > 1:
                mine = found.setdefault(i, [])
                if own and source == i and inside[0] == done > 0:  # side by side, first in this text: one span
                    mine[-1] = (mine[-1][0], inside[-1], min(least, mine[-1][2]), *mine[-1][3:])
                else:
                    mine.append((inside[0], inside[-1], least, source, start + inside[0] - begin))
                done, own = inside[-1], source == i
    return found


def spans_of(root: Path) -> dict[str, list[tuple[int, int, int, str, int]]]:
    found: dict[str, list[tuple[int, int, int, str, int]]] = {}
    for s in rows(root, "spans"):
        found.setdefault(s["id"], []).append((s["start"], s["end"], s["count"], s["first_id"], s["first_start"]))
    return found


def patchwork(seed: int, count: int = 60) -> list[tuple[str, str]]:
    """Texts made of a few sentences, fragments and line breaks, so that repeats of all kinds meet."""
    rng = random.Random(seed)
    pieces = ["".join(rng.choice("あいうえお") for _ in range(rng.randint(1, 25))) for _ in range(30)]
    ends = ["。", "。", "\n", "」", "、", "", "。」", " ", "か\u3099"]
    texts = ["".join(rng.choice(pieces) + rng.choice(ends) for _ in range(rng.randint(0, 12))) for _ in range(count)]
    return [(document_id("test", str(seed), n), text) for n, text in enumerate(texts)]


@pytest.mark.parametrize("seed", range(6))
def test_spans_are_those_of_brute_force(tmp_path: Path, seed: int) -> None:
    documents = patchwork(seed)
    params = Substring(length=16 + seed, min_chars=0, mode="mask")  # mask: spans are written as they were found
    run(tmp_path, [shard(tmp_path, "only", documents, rows=7 + seed)], params)
    wanted = expected(documents, 16 + seed)
    assert sum(map(len, wanted.values())) > 10
    assert spans_of(tmp_path) == wanted


def test_windows_are_those_of_a_suffix_array() -> None:
    """Real text: the places whose window occurs more than once, by winnowing and by suffix array with LCP."""
    divsufsort = pytest.importorskip("pydivsufsort")
    files = sorted(SHARED.glob("huggingface.co/datasets/allenai/c4/resolve/*/multilingual/*00000-of*.json.gz"))
    if not files:
        pytest.skip("real text is not there: ../shared/data")
    with gzip.open(files[0], "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(150), strict=False)]
    length = 50
    chars = characters(pa.array(texts, pa.string()))
    keys, counts = anchors(chars, length)
    found, places = candidate_windows(chars, length, keys[counts > 1], np.arange(len(texts)))
    by_winnowing = spread(places, len(chars.codes), np.where(found.times > 1, 0, -1).astype(np.int32)) == 0

    # texts one after the other, each followed by a code of its own, so that no match leaves its text
    bounds = itertools.pairwise(chars.offsets)
    parts = [np.append(chars.codes[a:b], 0x200000 + n) for n, (a, b) in enumerate(bounds)]
    joined = np.concatenate(parts).astype(np.uint32)
    suffixes = divsufsort.divsufsort(joined)
    lcp = divsufsort.kasai(joined, suffixes)  # lcp[i]: with the suffix after it in order
    twice = np.zeros(len(joined), bool)
    twice[suffixes[:-1][lcp[:-1] >= length]] = True
    twice[suffixes[1:][lcp[:-1] >= length]] = True
    by_suffix_array = twice[joined < 0x200000]
    assert by_suffix_array.sum() > 10_000
    assert np.array_equal(by_winnowing, by_suffix_array)


# what holds for all texts


@st.composite
def corpora(draw: st.DrawFn) -> list[str]:
    pieces = draw(st.lists(st.text("あい。」\n が\u3099👍🏽", min_size=1, max_size=24), min_size=1, max_size=6))
    return draw(st.lists(st.lists(st.sampled_from(pieces), max_size=8).map("".join), min_size=1, max_size=6))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(corpora())
def test_no_sentence_is_lost_and_no_repeat_is_left(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    root = tmp_path_factory.mktemp("corpus")
    documents = [(f"{n:032x}", text) for n, text in enumerate(texts)]
    params = Substring(length=16, min_chars=0)
    run(root, [shard(root, "only", documents)], params)
    spans, left = spans_of(root), kept(root)
    everything = "\0".join(left.values())
    for i, text in documents:
        if i not in spans:
            assert left[i] == text
            continue
        at = boundaries(text)
        inside = [(a, b) for a, b in itertools.pairwise(at) if any(s <= a and b <= e for s, e, *_ in spans[i])]
        assert all(text[a:b].strip("\n") in everything for a, b in inside)
        covered = {p for a, b in inside for p in range(a, b)}
        cut = {p for s, e, *_ in spans[i] for p in range(s, e)}
        assert {text[p] for p in cut - covered} <= {"\n"}  # whole sentences, and the line breaks of empty lines
        assert left.get(i, "") == "".join(c for p, c in enumerate(text) if p not in cut)
    for i, found in expected(documents, 16).items():  # no sentence inside a repeat is left, but where it stands first
        cut = {p for s, e, *_ in spans[i] for p in range(s, e)}
        assert all(p in cut for start, end, *_ in found for p in range(start, end))


# nothing but the documents decides


def test_files_batches_memory_order_and_workers_do_not_show(tmp_path: Path) -> None:
    documents = patchwork(7, 200)
    params = Substring(length=16, min_chars=5)
    run(tmp_path / "one", [shard(tmp_path / "one", "all", documents)], params)
    expected_texts, expected_spans = kept(tmp_path / "one"), spans_of(tmp_path / "one")
    report = (tmp_path / "one/out/substring/report/most_repeated.jsonl").read_bytes()
    assert len(expected_spans) > 50

    rng = random.Random(11)
    for name, files, size, memory in (("two", 2, 4096, 1 << 30), ("seven", 7, 5, 1 << 20), ("many", 16, 3, 1 << 20)):
        root = tmp_path / name
        shuffled = rng.sample(documents, len(documents))
        shards = [shard(root, f"part-{k:02d}", shuffled[k::files], rows=size) for k in range(files)]
        small = params.model_copy(update={"memory": memory})
        receipts = run(root, rng.sample(shards, files), small)
        assert kept(root) == expected_texts
        assert spans_of(root) == expected_spans
        assert (root / "out/substring/report/most_repeated.jsonl").read_bytes() == report
        assert sum(r.counts["in"] for r in receipts) == len(documents)


def test_ranges_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = patchwork(8, 200)
    shards = [shard(tmp_path, f"part-{k}", documents[k::4], rows=9) for k in range(4)]
    run(tmp_path, shards)
    before = tree(tmp_path / "out/kept") | tree(tmp_path / "out/spans")
    run(tmp_path, shards, SHORT.model_copy(update={"memory": 1 << 20}))
    monkeypatch.setattr("corpuskit.dedup.substring._WINDOW_BYTES", 1 << 12)
    monkeypatch.setattr("corpuskit.dedup.exchange._COUNT_BYTES", 1 << 14)
    run(tmp_path, shards, SHORT.model_copy(update={"memory": 1 << 20}))
    assert len(list((tmp_path / "out/substring/firsts/firsts").glob("*.npy"))) > 5
    assert len(list((tmp_path / "out/substring/repeated/counted").glob("*.npy"))) > 5
    assert tree(tmp_path / "out/kept") | tree(tmp_path / "out/spans") == before


def test_receipts_do_not_grow_with_the_number_of_batches(tmp_path: Path) -> None:
    """A range has one input, the list of the runs with their hashes; a documents file one list of the answers."""
    run(tmp_path, [shard(tmp_path, "only", patchwork(1, 12), rows=3)])
    work = tmp_path / "out" / "substring"
    for step, kind, where in (("anchors", "keys", "repeated"), ("windows", "windows", "firsts")):
        files = json.loads((work / step / f"{kind}.json").read_bytes())
        assert len(files) == 4
        assert all(file_sha256(work / step / f["path"]) == f["sha256"] for f in files)
        [receipt] = [json.loads(p.read_bytes()) for p in (work / where / "receipts").iterdir()]
        assert [i["name"] for i in receipt["inputs"]] == [f"out/substring/{step}/{kind}.json"]
    receipt = json.loads((work / "windows" / "receipts" / "only.json").read_bytes())
    assert [i["name"] for i in receipt["inputs"]] == ["in/only.parquet", "out/substring/repeated/counted.json"]


def test_ray_and_local_give_the_same_bytes(tmp_path: Path) -> None:
    documents = patchwork(9, 120)
    for executor in ("local", "ray"):
        root = tmp_path / executor
        shards = [shard(root, f"part-{k}", documents[k::3]) for k in range(3)]
        run(root, shards, runner=Runner(executor=executor, workers=2))  # type: ignore[arg-type]
    assert tree(tmp_path / "local" / "out") == tree(tmp_path / "ray" / "out")


def test_a_second_run_does_nothing(tmp_path: Path) -> None:
    shards = [shard(tmp_path, "only", patchwork(3))]
    run(tmp_path, shards)
    before = tree(tmp_path / "out")
    again = Runner(executor="local", retries=0)
    run(tmp_path, shards, runner=again)
    assert again.tally.ran == 0
    assert tree(tmp_path / "out") == before


# hostile texts


@pytest.mark.parametrize(("text", "megabytes"), [("あ", 50), ("はい。", 5), ("\n", 5)])
def test_one_text_over_and_over(tmp_path: Path, text: str, megabytes: int) -> None:
    long = text * (megabytes * 1_000_000 // len(text.encode()))
    one_file(tmp_path, "前。", long, "後。", params=Substring(length=100, min_chars=0))
    left = kept(tmp_path)
    assert left[A] == "前。" and left[C] == "後。"
    if text == "あ":  # no sentence ends, nothing to cut
        assert left[B] == long
        return
        assert len(left[B]) < 300 and left[B] == text * (len(left[B]) // len(text))


def test_many_equal_documents(tmp_path: Path) -> None:
    run(tmp_path, [shard(tmp_path, "equal", [(f"{n:032x}", TERMS) for n in range(20_000)])])
    assert kept(tmp_path) == {f"{0:032x}": TERMS}
    assert {s["count"] for s in rows(tmp_path, "spans")} == {20_000}
    runs = (tmp_path / "out/substring/windows/windows").glob("*.npy")
    assert max(len(np.load(f)) for f in runs) == 11  # the windows of one text


def test_thue_morse_windows_are_told_apart() -> None:
    """Words that polynomials modulo 2^64 cannot tell apart, whatever the base, from 2^11 characters on."""
    word = "あ"
    while len(word) < 4096:
        word += "".join("い" if c == "あ" else "あ" for c in word)
    other = "".join("い" if c == "あ" else "あ" for c in word)
    chars = characters(pa.array([word, other], pa.string()))
    keys, _ = anchors(chars, 4096)
    found, _ = candidate_windows(chars, 4096, keys, np.arange(2))
    assert len(found.high) == 2


@pytest.mark.parametrize("before", [150, 185, 199, 200])
def test_an_address_at_the_end_of_an_excerpt_is_masked_as_a_whole(before: int) -> None:
    address = "taro.yamada.of.a.long.name@example.co.jp"
    shown = excerpt("あ" * before + address + "い" * 300)
    assert "taro" not in shown and "example" not in shown
    assert shown == "あ" * before + ("<EMAIL>" if before < 200 else "") + "い" * max(0, 200 - before - len(address))
