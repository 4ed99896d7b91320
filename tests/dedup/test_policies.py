"""Which copy stays, over what, and for which reason: the settings of dedup, one by one."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from corpuskit.config import Dedup, UserError, change_dedup, dedup_presets
from corpuskit.dedup.curve import describe, detection, planted
from corpuskit.dedup.exact import EXACT, NEAR, NORMALIZED, URL
from corpuskit.dedup.outcome import HAS_DUPLICATES
from corpuskit.dedup.stage import dedup
from corpuskit.dedup.urls import normalize_url
from corpuskit.engine.plan import Input, Shard, file_sha256
from corpuskit.engine.run import Runner
from corpuskit.engine.tables import TableWriter
from corpuskit.schema import DOCUMENT

Cli = Callable[..., "subprocess.CompletedProcess[str]"]

CAT = (
    "吾輩は猫である名前はまだ無いどこで生れたかとんと見当がつかぬ"
    "何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している"
)
CAT_6 = CAT[:-6] + "忘れて久しい"  # Jaccard 55 / 67 to CAT
SNOW = (
    "国境の長いトンネルを抜けると雪国であった夜の底が白くなった信号所に汽車が止まった向側の座席から娘が立って来て"
    "島村の前のガラス窓を落した雪の冷気が流れこんだ娘は窓いっぱいに乗り出して遠くへ叫ぶように駅長さん駅長さんと"
)
CHAIN = [SNOW[k : k + 70] for k in (0, 7, 14)]  # neighbours at 0.8 and more, the ends at 0.65


class Case:
    """Documents by keyword, run through dedup."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root, self.params = root, Dedup(**settings)
        self.shards: list[Shard] = []

    def file(self, name: str, *rows: dict[str, Any], priority: int = 1, signals: dict[str, Any] | None = None) -> Case:
        path = self.root / "in" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        with TableWriter(path, DOCUMENT) as writer:
            rows = tuple({"source": name, "lang": "ja", "meta": "{}"} | row for row in rows)
            writer.write(pa.RecordBatch.from_pylist(list(rows), schema=DOCUMENT))
        inputs, labels = [self._input(path)], {"source": name, "priority": str(priority)}
        if signals is not None:
            pq.write_table(pa.table(signals), path.with_suffix(".signals"))
            inputs.append(self._input(path.with_suffix(".signals")))
            labels["signals"] = "yes"
        self.shards.append(Shard(name, tuple(inputs), labels))
        return self

    def _input(self, path: Path) -> Input:
        return Input(str(path), str(path.relative_to(self.root)), file_sha256(path), path.stat().st_size)

    def run(self, against: list[Shard] | None = None, **changes: Any) -> dict[str, str]:
        """What was removed: rule by id."""
        params = change_dedup(self.params, changes)
        runner = Runner(executor="local", retries=0)
        dedup(self.shards, out=self.root / "out", root=self.root, params=params, runner=runner, against=against or ())
        return {row["id"]: row["rule"] for row in self.rows("removed")}

    def rows(self, kind: str) -> list[dict[str, Any]]:
        files = sorted((self.root / "out" / kind).glob("*.parquet"))
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def kept(self) -> list[str]:
        return [row["id"] for row in self.rows("kept")]


def document(id_: str, text: str | None, **columns: Any) -> dict[str, Any]:
    return {"id": id_, "text": text, **columns}


# exact


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.Example.jp:443/a?utm_source=x&p=1#top", "example.jp/a?p=1"),
        ("http://example.jp/a?p=1", "example.jp/a?p=1"),
        ("HTTP://EXAMPLE.JP", "example.jp/"),
        ("http://example.jp:8080/", "example.jp:8080/"),
        ("http://example.jp:80/", "example.jp/"),
        ("https://user@example.jp/A", "example.jp/A"),  # paths keep their case
        ("https://example.jp/a?b=2&a=1", "example.jp/a?b=2&a=1"),  # and parameters their order
        ("https://example.jp/a?fbclid=1&GCLID=2", "example.jp/a"),
        ("https://example.jp/検索?q=猫#結果", "example.jp/検索?q=猫"),
        (" https://example.jp/a ", "example.jp/a"),
        ("http://[broken", "http://[broken"),
        ("memo 3", "memo 3"),
    ],
)
def test_urls_of_one_page(url: str, expected: str) -> None:
    assert normalize_url(url) == expected


def test_exact_duplicates_are_counted_by_what_they_share(tmp_path: Path) -> None:
    case = Case(tmp_path, exact=("url", "text", "shadow")).file(
        "web",
        document("a", CAT, url="https://example.jp/1"),
        document("b", SNOW, url="http://www.example.jp/1?utm_medium=mail"),  # another version of the page, the longer
        document("c", CAT, url="https://example.jp/2"),
        document("d", CAT + "。", url="https://example.jp/3"),
        document("e", CAT_6, url="https://example.jp/4"),
        document("f", "犬も歩けば棒に当たる", url=None),
        document("g", "猫に小判", url=None),  # no URL is nobody's
    )
    assert case.run() == {"a": URL, "c": NORMALIZED, "e": NEAR}
    assert case.kept() == ["b", "d", "f", "g"]
    [row] = [row for row in case.rows("removed") if row["id"] == "a"]
    assert row["value"] is None  # what shares a URL is not compared
    assert case.run(exact=("text", "shadow")) == {"a": NORMALIZED, "c": NORMALIZED, "e": NEAR}
    # without one of them the next look finds the same documents by another reason
    assert case.run(exact=("text",)) == {"a": NEAR, "c": NEAR, "e": NEAR}  # c with a
    assert case.run(exact=()) == {"a": NEAR, "c": NEAR, "e": NEAR}
    assert case.run(exact=("text",), preset="exact") == {"c": EXACT}
    assert case.run(exact=("shadow",), preset="exact") == {"a": NORMALIZED, "c": NORMALIZED}
    assert case.run(exact=("url",), preset="exact") == {"a": URL}


def test_a_page_is_represented_by_its_best_version(tmp_path: Path) -> None:
    """The version that stays by URL goes as a near duplicate: the other one does not come back."""
    case = Case(tmp_path, exact=("url", "text", "shadow")).file(
        "web",
        document("a", CAT_6, url="https://example.jp/1"),
        document("b", "短い版", url="https://example.jp/1"),
        document("c", CAT + "。。", url="https://example.jp/2"),
    )
    assert case.run() == {"a": NEAR, "b": URL}
    clusters = {r["id"]: r["survivor"] for r in pq.read_table(tmp_path / "out/clusters/clusters.parquet").to_pylist()}
    assert clusters == {"a": "c", "b": "c", "c": "c"}


# survivors


def test_quality_goes_before_length(tmp_path: Path) -> None:
    signals = {"id": ["a", "b", "c"], "quality_score": [0.9, 0.1, None]}
    rows = [document("a", CAT), document("b", CAT + "。"), document("c", CAT + "。。")]
    case = Case(tmp_path).file("web", *rows, signals=signals)
    case.run()
    assert case.kept() == ["c"]
    case.run(quality="quality_score")
    assert case.kept() == ["a"]  # a document without the signal comes last
    with pytest.raises(UserError, match=r"quality qualty: in/web\.signals has no such signal \(it has id, quality_sc"):
        case.run(quality="qualty")


def test_newest_and_oldest(tmp_path: Path) -> None:
    days = {"a": "2024-01-01T00:00:00Z", "b": "2026-01-01T00:00:00Z", "c": None}
    case = Case(tmp_path).file("web", *(document(id_, CAT, timestamp=day) for id_, day in days.items()))
    for word, expected in (("newest", "b"), ("oldest", "a"), ("length", "a")):
        case.run(survivor=(word,))
        assert case.kept() == [expected], word
    with pytest.raises(UserError, match="one of newest and oldest"):
        case.run(survivor=("newest", "oldest"))
    with pytest.raises(UserError, match="each word once"):
        case.run(survivor=("length", "length"))


def test_preferred_sources_stay_before_all_others(tmp_path: Path) -> None:
    case = Case(tmp_path)
    case.file("mc4", document("1", CAT + "。。。"), priority=0)
    case.file("jawiki", document("2", CAT), priority=2)
    case.file("cc100", document("3", CAT + "。"), priority=1)
    for prefer, expected in (((), "1"), (("wikipedia",), "2"), (("cc*", "jawiki"), "3"), (("jawiki", "cc100"), "2")):
        case.run(prefer=prefer)
        assert case.kept() == [expected], prefer


def test_drop_all_keeps_no_copy(tmp_path: Path) -> None:
    case = Case(tmp_path).file("web", document("a", CAT), document("b", CAT_6), document("c", SNOW))
    assert case.run(drop_all=True) == {"a": HAS_DUPLICATES, "b": NEAR}
    assert case.kept() == ["c"]


def test_cluster_size_is_a_signal(tmp_path: Path) -> None:
    case = Case(tmp_path).file("web", document("a", CAT), document("b", SNOW), document("c", CAT_6))
    case.run()
    assert case.rows("signals") == [{"id": "a", "cluster_size": 2}, {"id": "b", "cluster_size": 1}]


# what is joined


@pytest.mark.parametrize(
    ("preset", "why"), [("fineweb", "removes whole components as it is"), ("exact", "looks for no near-duplicates")]
)
def test_transitive_is_refused_where_it_would_change_nothing(preset: str, why: str) -> None:
    with pytest.raises(UserError, match=f"transitive: preset {preset} {why}; leave transitive out"):
        change_dedup(Dedup(), {"preset": preset, "transitive": True})


def test_transitive_removes_the_ends_of_a_chain(tmp_path: Path) -> None:
    case = Case(tmp_path).file("web", *(document(i, t) for i, t in zip("abc", CHAIN, strict=True)))
    assert case.run() == {"b": NEAR}
    assert case.run(transitive=True) == {"b": NEAR, "c": NEAR}
    values = {row["id"]: row["value"] for row in case.rows("removed")}
    assert values["b"] >= 0.8 > values["c"] > 0.6  # each to the one that stays


def test_presets_of_others_join_what_shares_a_bucket_and_measure_a_sample(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("corpuskit"), "propagate", True)
    rng = np.random.default_rng(3)
    texts = []
    for _ in range(60):  # pairs at Jaccard near 0.67, of which fineweb's bands join half
        text = "".join(map(chr, rng.integers(0x4E00, 0x9000, 300)))
        texts += [text, text[:240] + "".join(map(chr, rng.integers(0x4E00, 0x9000, 60)))]
    case = Case(tmp_path).file("web", *(document(f"{n:03d}", t) for n, t in enumerate(texts)))
    assert case.run() == {}  # sharp: not one
    removed = case.run(preset="fineweb")
    assert 10 < len(removed) < 50
    assert all(0.6 < row["value"] < 0.75 for row in case.rows("removed"))
    [warning] = [m for m in caplog.messages if "without a second look" in m]
    assert f"of a sample of {len(removed)} removed documents 100.0% have a true Jaccard below 0.75" in warning


def test_the_scope_of_a_source(tmp_path: Path) -> None:
    case = Case(tmp_path, exact=("url", "text", "shadow"))
    case.file("one", document("a", CAT, url="https://example.jp/"), document("b", CAT_6), document("c", CAT + "。"))
    case.file("two", document("d", CAT, url="https://example.jp/"), document("e", CAT_6), document("f", SNOW))
    assert case.run(scope="source") == {"a": NORMALIZED, "b": NEAR, "e": NEAR}
    assert set(case.run()) == {"a", "b", "d", "e"}


# earlier corpora


def test_a_new_dump_against_the_old(tmp_path: Path) -> None:
    old = Case(tmp_path / "old").file("dump", document("a", CAT), document("b", CAT_6), document("c", SNOW + "一"))
    old.run()
    assert old.kept() == ["a", "c"]
    before = {p: p.read_bytes() for p in (tmp_path / "old").rglob("*") if p.is_file()}

    new = Case(
        tmp_path / "new"
    ).file(
        "dump",
        document("k", CAT + "。。。"),  # longer than the old one, and goes all the same
        document("l", CAT_6[:-1]),
        document("m", "新しい文書はそのまま残る"),
        document("n", "新しい文書はそのまま残る。"),
        document("o", SNOW),
    )
    path = tmp_path / "old/out/kept/dump.parquet"
    earlier = Input(str(path), "against/dump.parquet", file_sha256(path), path.stat().st_size)
    against = [Shard("dump", (earlier,), {"source": "against", "priority": "0"})]
    assert new.run(against=against) == {"k": NORMALIZED, "l": NEAR, "m": NORMALIZED, "o": NEAR}
    assert new.kept() == ["n"]
    clusters = {
        r["id"]: r["survivor"] for r in pq.read_table(tmp_path / "new/out/clusters/clusters.parquet").to_pylist()
    }
    assert clusters["k"] == clusters["l"] == "a" and clusters["o"] == "c"
    assert {p: p.read_bytes() for p in (tmp_path / "old").rglob("*") if p.is_file()} == before
    # what is alike in the old corpus already is none of the new run's business
    both = [replace(against[0], name="x"), replace(against[0], name="y")]
    with pytest.raises(UserError, match="occurs more than once"):
        new.run(against=both)


def test_a_record_that_is_in_the_earlier_corpus_already(tmp_path: Path) -> None:
    old = Case(tmp_path / "old").file("old", document("a", CAT), document("b", "変わった文書"))
    new = Case(tmp_path).file("new", document("a", CAT), document("b", SNOW))
    assert new.run(against=old.shards) == {"a": EXACT}
    assert new.kept() == ["b"]  # the same record with another text is another document


def test_old_documents_are_never_removed(tmp_path: Path) -> None:
    case = Case(tmp_path).file("new", document("n", CAT))
    old = Case(tmp_path / "old").file("old", document("a", CAT_6), document("b", CAT_6), document("c", CAT_6 + "。"))
    for changes in (
        {},
        {"transitive": True},
        {"preset": "fineweb"},
        {"drop_all": True},
        {"exact": ("text",)},
        {"shingles": "words"},
    ):
        assert case.run(against=old.shards, **changes) == {"n": NEAR}, changes
        [receipt] = (tmp_path / "out" / "receipts").glob("*.json")
        assert receipt.stem == "new"


# settings


def test_presets_and_their_curves() -> None:
    curves = {name: detection(Dedup(preset=name)) for name in dedup_presets()}
    assert curves["sharp"] | {"0.8": 1.0} == dict.fromkeys(("0.5", "0.6", "0.7", "0.75"), 0.0) | dict.fromkeys(
        ("0.8", "0.85", "0.9", "0.95"), 1.0
    )
    assert curves["sharp"]["0.8"] > 0.998
    assert [curves["refinedweb"][j] for j in ("0.75", "0.8")] == [0.7605, 0.9946]  # the paper's 76% and 99.4%
    assert [curves["fineweb"][j] for j in ("0.7", "0.8")] == [0.5645, 0.9235]
    assert (curves["swallow"]["0.9"], curves["llm-jp"]["0.8"]) == (0.9944, 0.8969)
    assert set(curves["exact"].values()) == {0.0}


@pytest.mark.parametrize("shingles", [60, 120, 1000])
def test_sharp_finds_at_the_threshold_what_it_promises(shingles: int) -> None:
    measured = planted(Dedup(), (0.8, 0.85), shingles, trials=4000)
    assert measured["0.8"] >= 0.995 and measured["0.85"] >= 0.999


def test_settings_that_find_nothing_are_refused() -> None:
    with pytest.raises(
        ValidationError, match="'20 x 450' is a misprint in RefinedWeb's text, preset refinedweb is 450"
    ):
        Dedup(bands=20, rows_per_band=450)
    with pytest.raises(ValidationError, match="were the two swapped"):
        Dedup(bands=8, rows_per_band=128)
    with pytest.raises(UserError, match="no such preset 'shrap'; did you mean sharp"):
        change_dedup(Dedup(), {"preset": "shrap"})
    with pytest.raises(UserError, match="nothing to look for"):
        change_dedup(Dedup(), {"preset": "exact", "exact": ()})
    with pytest.raises(ValidationError, match="memory_gb"):
        Dedup(memory_gb=float("inf"))
    assert Dedup(bands=450, rows_per_band=20, verify="sample").bands == 450


def test_another_preset_replaces_what_the_old_one_gave() -> None:
    changed = change_dedup(Dedup(threshold=0.9, prefer=("jawiki",)), {"preset": "llm-jp"})
    assert (changed.bands, changed.threshold, changed.verify, changed.prefer) == (20, 0.8, "sample", ("jawiki",))


def test_the_plan_says_what_is_found_and_what_it_costs() -> None:
    plan = describe(Dedup(preset="refinedweb"), 1_000_000, 5_000_000_000)
    for entry in plan["shares_a_bucket"].values():
        assert entry["measured"] == pytest.approx(entry["predicted"], abs=0.08)
    assert plan["expected"]["ram_gb_per_worker"] < 5 and plan["expected"]["disk_gb"] > 1_000_000 * 450 * 8 / 1e9
    assert plan["expected"]["cpu_hours"] > describe(Dedup(), 1_000_000, 5_000_000_000)["expected"]["cpu_hours"]


def test_the_command(cli: Cli, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    first.write_text("".join(json.dumps({"text": t, "url": f"https://example.jp/{t[:3]}"}) + "\n" for t in (CAT, SNOW)))
    second.write_text("".join(json.dumps({"text": t}) + "\n" for t in (CAT_6, "新しい文書", "新しい文書")))
    local = ("--executor", "local")
    done = cli("dedup", "--input", first, "--out", tmp_path / "one", *local, "--exact", "url,text", "--memory-gb", 1)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "dedup: preset sharp, 36 bands x 8 rows, threshold 0.8; P(joined) at Jaccard 0.5: 0.000"
    )
    assert "GB of RAM a worker" in done.stdout.splitlines()[0]
    both = ("dedup", "--input", second, "--out", tmp_path / "two", *local, "--against", tmp_path / "one", "--json")
    done = cli(*both)
    total = json.loads(done.stdout)["total"]
    assert [total[k] for k in ("in", "kept", "dropped", "duplicates", "quarantined")] == [3, 1, 0, 2, 0]
    # the earlier run's signatures are its index: text is signed again only where the setting differs
    [signed] = (tmp_path / "two/signatures/receipts").glob("against-*.json")
    assert len(json.loads(signed.read_bytes())["inputs"]) == 1  # url was compared there
    again = cli(*both, "--exact", "url,text")
    assert json.loads(again.stdout)["total"]["duplicates"] == 2
    assert len(json.loads(signed.read_bytes())["inputs"]) == 2
    [made] = (tmp_path / "two/signatures/signatures").glob("against-*")
    [old] = (tmp_path / "one/signatures/signatures").iterdir()
    assert pq.read_table(made).drop_columns(["frozen"]) == pq.read_table(old).drop_columns(["frozen"])
    plan = json.loads(cli(*both, "--preset", "llm-jp", "--drop-all", "--dry-run").stdout)
    assert (plan["against_files"], plan["dedup"]["bands"], plan["dedup"]["verify"]) == (1, 20, "sample")
    assert plan["dedup"]["joined_at_jaccard"]["0.8"] == 0.8969
    for words, said in (
        (("--preset", "shrap"), "no such preset 'shrap'; did you mean sharp?"),
        (("--exact", "text,urls"), "exact.1: Input should be 'text', 'shadow' or 'url'"),
        (("--survivor", "newest,oldest"), "one of newest and oldest"),
        (("--against", tmp_path), "no documents in"),
    ):
        done = cli("dedup", "--input", first, "--out", tmp_path / "no", *words)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and said in done.stderr
        assert not (tmp_path / "no").exists()


# bad input


def test_documents_without_text_are_nobodys_duplicates(tmp_path: Path) -> None:
    rows = [document("a", None), document("b", None), document("c", ""), document("d", ""), document("e", CAT)]
    case = Case(tmp_path).file("web", *rows)
    assert case.run() == {"d": EXACT}
    assert case.kept() == ["a", "b", "c", "e"]
    assert case.rows("kept")[0]["text"] is None


def test_one_document(tmp_path: Path) -> None:
    case = Case(tmp_path).file("web", document("a", CAT))
    assert case.run() == {} and case.kept() == ["a"]


def test_all_documents_are_one(tmp_path: Path) -> None:
    case = Case(tmp_path).file("web", *(document(f"{n:04d}", CAT) for n in range(3000)))
    assert set(case.run().values()) == {EXACT} and case.kept() == ["0000"]
    assert case.run(drop_all=True) and case.kept() == []


def test_an_id_that_comes_again(tmp_path: Path) -> None:
    case = Case(tmp_path).file("one", document("x", CAT)).file("two", document("y", SNOW), document("x", SNOW))
    for exact in (("text", "shadow"), ("url", "text"), ()):
        with pytest.raises(UserError, match=r"the id 'x' occurs more than once.*given twice"):
            case.run(exact=exact)
    assert not (tmp_path / "out/kept").exists()
