"""Paragraphs and substring as steps of a build and of `corpuskit dedup`: files, funnel, what is up to date."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpuskit.build.corpus import build_corpus, make_report
from corpuskit.build.files import DedupFiles, dedup_files, foreign_shards, plan_dedup_files
from corpuskit.build.sources import CorpusRequest, describe, fetch_sources, plan_corpus
from corpuskit.build.workspace import open_space
from corpuskit.config import Paragraphs, Substring, load_pipeline
from corpuskit.engine.run import Runner

TERMS = "本サイトの文章や画像を無断で転載することは固くお断りします。"
LINES, SPANS = Paragraphs(documents=3, expected=1e9, min_chars=0), Substring(length=20, min_chars=0)


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [r for f in sorted((folder / kind).glob("*.parquet")) for r in pq.read_table(f).to_pylist()]


def foreign(tmp_path: Path, lines: Paragraphs | None = None, spans: Substring | None = None) -> DedupFiles:
    texts = []
    for c in "猫犬鳥":
        own = f"{c}の話を書きます、ここには{c}のことだけが書いてあります。{c * 9}の声が聞こえてくる夜でした。"
        texts.append(f"ホーム\n{own}\n新着記事\n人気記事\nお問い合わせ\n{c * 30}の終わり。" + TERMS)
    texts += ["同じ文書です。" + "いろはにほへと" * 5] * 2
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts), encoding="utf-8")
    shards = foreign_shards([str(path)], "ja", "text", "url")
    return plan_dedup_files(shards, "ja", {}, None, lines, spans)


def test_all_three_on_foreign_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    runner = Runner("local", retries=0)
    funnel = dedup_files(foreign(tmp_path, LINES, SPANS), out=out, runner=runner)
    total = funnel["total"]
    assert (total["in"], total["kept"], total["duplicates"]) == (5, 4, 1)
    assert [s["step"] for s in total["steps"]] == ["read", "dedup", "paragraphs", "substring"]
    # the folder itself has the end of it all
    texts = [r["text"] for r in rows(out, "kept")]
    assert not any("ホーム" in t or "人気記事" in t for t in texts)
    assert sum(t.count(TERMS) for t in texts) == 1
    assert [r["rule"] for r in rows(out, "removed")] == ["exact_duplicate"]
    found = [s["rule"] for s in rows(out, "spans")]
    assert (found.count("frequent_paragraphs"), found.count("repeated_span")) == (6, 2)
    cut = funnel["cut"]
    assert cut["repeated_span"] == {"documents": 2, "spans": 2, "characters": 60, "bytes": 180}
    steps = [s["characters"] for s in total["steps"]]
    assert steps[1] - steps[2] == cut["frequent_paragraphs"]["characters"]
    assert steps[2] - steps[3] == 60
    assert json.loads((out / "funnel.json").read_bytes()) == funnel

    again = Runner("local", retries=0)
    dedup_files(foreign(tmp_path, LINES, SPANS), out=out, runner=again)
    assert again.tally.ran == 0


@pytest.mark.parametrize(("lines", "spans"), [(LINES, None), (None, SPANS)])
def test_one_of_them_on_foreign_files(tmp_path: Path, lines: Paragraphs | None, spans: Substring | None) -> None:
    out = tmp_path / "out"
    runner = Runner("local", retries=0)
    funnel = dedup_files(foreign(tmp_path, lines, spans), out=out, runner=runner)
    assert len(rows(out, "kept")) == funnel["total"]["kept"] == 4
    assert len(rows(out, "removed")) == 1
    assert {s["rule"] for s in rows(out, "spans")} == {"frequent_paragraphs" if lines else "repeated_span"}


def test_they_are_off_unless_a_pipeline_says_so() -> None:
    for lang in ("ja", "en", "code"):
        pipeline = load_pipeline(lang)
        assert pipeline.paragraphs is pipeline.substring is None


def test_a_pipeline_with_both(tmp_path: Path) -> None:
    [plain, *_] = plan_corpus("ja", "sample", None, (), None, None)

    def build(request: CorpusRequest) -> tuple[dict[str, Any], Runner]:
        with open_space(tmp_path / "w", executor="local") as space:
            files = fetch_sources(space, request.sources, "sample")
            return build_corpus(space, request, files), space.runner

    update = {"paragraphs": LINES.model_copy(update={"documents": 2}), "substring": SPANS}
    both = replace(plain, pipeline=plain.pipeline.model_copy(update=update))
    assert {"paragraphs", "substring"} <= set(describe([both])["steps"])
    funnel, _ = build(both)
    total = funnel["total"]
    assert total["in"] == sum(total[k] for k in ("kept", "dropped", "duplicates", "quarantined"))
    assert (
        total["kept"] == len(rows(tmp_path / "w/corpus/ja", "kept")) == len(rows(tmp_path / "w/substring/ja", "kept"))
    )
    assert [s["step"] for s in total["steps"]][-3:] == ["paragraphs", "substring", "scrub"]
    assert sum(c["characters"] for c in funnel["cut"].values()) > 0
    with open_space(tmp_path / "w") as space:
        assert space.languages("corpus") == ["ja"]
        assert make_report(space)[0]["ja"] == funnel

    again, runner = build(both)
    assert again == funnel
    assert runner.tally.ran == 0
    # without them nothing of theirs stays, and the corpus is the plain one
    plainly, _ = build(plain)
    assert plainly["cut"] == {}
    assert not (tmp_path / "w/substring/ja").exists() and not (tmp_path / "w/paragraphs/ja").exists()
    with open_space(tmp_path / "w") as space:
        assert make_report(space)[0]["ja"] == plainly
