"""`--removed all|sample|none`: what is written of removed documents changes, and nothing else does."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpuskit.build.files import clean_files, dedup_files, foreign_shards, plan_clean_files, plan_dedup_files
from corpuskit.config import KeepRemoved, Paragraphs
from corpuskit.engine.run import Runner
from corpuskit.filters.sample import SAMPLES, sample_keys
from corpuskit.schema import REMOVED

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
MODES: tuple[KeepRemoved, ...] = ("all", "sample", "none")
RULES = """\
name: two
lang: ja
description: test
rules:
  - {name: too_short, signal: num_chars, min: 6, source: test}
  - {name: few_japanese, signal: japanese_per_char, min: 0.5, source: test}
"""


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [r for f in sorted((folder / kind).glob("*.parquet")) for r in pq.read_table(f).to_pylist()]


def smallest_keys(removed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each rule the twenty with the smallest keyed hash, in the order they came."""
    keys = dict(zip((r["id"] for r in removed), sample_keys(pa.array([r["id"] for r in removed])), strict=True))
    chosen = set()
    for rule in {r["rule"] for r in removed}:
        chosen |= set(sorted((r["id"] for r in removed if r["rule"] == rule), key=keys.__getitem__)[:SAMPLES])
    return [r for r in removed if r["id"] in chosen]


def test_clean_writes_all_or_twenty_a_rule_or_none_and_counts_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [t for n in range(60) for t in ("短い", f"This is page {n}.", f"これは{n}番の文章です。")]
    texts += ["短い"] * 5
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    (tmp_path / "two.yaml").write_text(RULES, encoding="utf-8")
    plan = plan_clean_files("ja", [str(tmp_path / "in.jsonl")], "text", "url", str(tmp_path / "two.yaml"))
    runner = Runner("local", retries=0)
    out = tmp_path / "out"
    found, funnels, same = {}, {}, {}
    for mode in MODES:
        funnels[mode] = clean_files(plan, out=out, runner=runner, lid_model=None, removed=mode)
        found[mode], same[mode] = rows(out, "removed"), [rows(out, kind) for kind in ("kept", "signals")]
        assert pq.read_schema(out / "removed" / "00000.parquet").equals(REMOVED)
    assert runner.tally.ran == 3  # the mode is part of the receipt's key
    assert funnels["all"] == funnels["sample"] == funnels["none"] and same["all"] == same["sample"] == same["none"]
    assert {k: funnels["none"]["total"][k] for k in ("in", "kept", "dropped")} == {
        "in": 185,
        "kept": 60,
        "dropped": 125,
    }
    assert (len(found["all"]), len(found["sample"]), found["none"]) == (125, 2 * SAMPLES, [])
    assert found["sample"] == smallest_keys(found["all"])
    monkeypatch.setattr("corpuskit.sources.read.BATCH_ROWS", 7)
    clean_files(plan, out=tmp_path / "cut", runner=runner, lid_model=None, removed="sample")
    assert rows(tmp_path / "cut", "removed") == found["sample"]


def test_dedup_and_the_steps_behind_it(tmp_path: Path) -> None:
    texts = [f"これは{'一二三四五六七八九十'[n % 10]}番の文書です。" + "いろはにほへと" * 5 for n in range(50)]
    texts += [f"お知らせ\n{'甲乙丙丁'[n]}\n終わり" for n in range(4)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    shards = foreign_shards([str(tmp_path / "in.jsonl")], "ja", "text", "url")
    lines = Paragraphs(documents=4, run=1, expected=1e9, min_chars=3)
    plan = plan_dedup_files(shards, "ja", {"preset": "exact"}, None, lines)
    found, funnels = {}, {}
    for mode in MODES:
        funnels[mode] = dedup_files(plan, out=tmp_path / mode, runner=Runner("local", retries=0), removed=mode)
        found[mode] = rows(tmp_path / mode, "removed")
    assert funnels["all"] == funnels["sample"] == funnels["none"]
    assert funnels["none"]["total"]["duplicates"] == len(found["all"]) == 44
    assert [r["rule"] for r in found["sample"]].count("frequent_paragraphs") == 4  # of the last step
    assert len(found["sample"]) == SAMPLES + 4 and found["sample"] == smallest_keys(found["all"])
    assert found["none"] == []


def test_a_corpus_without_its_duplicates_is_the_same_corpus_and_says_what_it_lacks(
    sample: Path, tmp_path: Path, cli: Cli, tree: Callable[[Path], dict[str, str]]
) -> None:
    workspace = Path(shutil.copytree(sample, tmp_path / "ws"))
    removed = rows(workspace, "dedup/ja/removed")
    before = tree(workspace / "corpus" / "ja" / "kept")
    there = ("--workspace", workspace, "--executor", "local", "--json")
    done = cli("corpus", "--lang", "ja", "--removed", "none", *there)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["cpu_seconds"]) == {"dedup_remove"}  # no other step depends on it
    assert tree(workspace / "corpus" / "ja" / "kept") == before
    assert result["languages"]["ja"] == json.loads((sample / "corpus" / "ja" / "funnel.json").read_bytes())
    assert rows(workspace, "dedup/ja/removed") == []
    page = (workspace / "report" / "index.html").read_text(encoding="utf-8")
    assert page.count("The removed documents were not kept (--removed none).") >= 1

    found = json.loads(cli("explain", removed[0]["id"], "--workspace", workspace, "--json").stdout)
    assert found["verdict"]["kept"] and found["text"][0]["text"]  # measured and whole, as ever
    assert found["duplicate"] == {"step": "dedup", "rule": None, "value": None}
    shown = cli("explain", removed[0]["id"], "--workspace", workspace).stdout
    assert "Removed by dedup; its rule is not known, since removed documents were not kept" in shown
    verdicts = rows(workspace, "decide/ja/verdicts")
    alive = {r["id"] for r in rows(workspace, "corpus/ja/kept")}
    for id_ in (next(iter(alive)), next(r["id"] for r in verdicts if r["rule"])):
        assert json.loads(cli("explain", id_, "--workspace", workspace, "--json").stdout)["duplicate"] is None

    # what rules drop stays with clean's documents, so decide still has all it needs, and goes on in the same mode
    moves = json.loads(cli("decide", "--rules", "swallow-v1", "--diff", "corpuskit-ja", *there).stdout)
    assert any(row["excerpt"] for of in moves["samples"]["left"].values() for row in of)
    again = json.loads(cli("decide", "--rules", "swallow-v1", *there).stdout)
    assert "--removed none" in again["next"]


def test_an_unknown_mode_is_one_error(cli: Cli, tmp_path: Path) -> None:
    done = cli("clean", "--lang", "ja", "--input", "x.jsonl", "--out", tmp_path / "o", "--removed", "some")
    assert done.returncode == 2 and "--removed" in done.stderr and "'sample'" in done.stderr
