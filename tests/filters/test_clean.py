"""The clean stage on small files: every record comes out exactly once, with its reason, and nothing else changes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from corpuskit.build import stages
from corpuskit.config import Measuring, data_dir
from corpuskit.engine.plan import Input, Shard
from corpuskit.engine.run import Runner, map_shards
from corpuskit.filters import clean as clean_module
from corpuskit.filters.clean import STAGE, signal_names
from corpuskit.filters.signals import FAMILIES, SIGNALS
from corpuskit.rulesets import Rule
from corpuskit.schema import CUT, DOCUMENT, MEASURED, QUARANTINED, REMOVED, document_id
from corpuskit.sources.read import RULES_OF
from corpuskit.sources.split import PART
from corpuskit.sources.streams import as_input

RULES = [
    Rule(name="too_short", signal="num_chars", min=5, source="test"),
    Rule(name="not_japanese", signal="japanese_per_char", min=0.5, source="test"),
]


def run_clean(
    tmp_path: Path,
    lines: list[Any],
    *,
    normalize: Any = "ja-safe",
    cut: str | None = None,
    rules: list[Rule] | None = RULES,
    removed: str = "all",
    name: str = "out",
) -> tuple[dict[str, Any], Path]:
    """Clean one jsonl file; strings of `lines` are written as they are, other values as JSON."""
    source = tmp_path / "in.jsonl"
    source.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines), encoding="utf-8")
    shard = Shard("s", (as_input(str(source)),), {"reader": "jsonl", "source": "web", "lang": "ja"})
    params = {
        **Measuring(lang="ja", normalize=normalize, lines=cut, signals=tuple(FAMILIES)).model_dump(mode="json"),
        "rules": None if rules is None else [r.model_dump() for r in rules],
        "removed": removed,
    }
    out = tmp_path / name
    [receipt] = map_shards(STAGE, [shard], out=out, params=params, runner=Runner(executor="local"))
    return receipt.counts, out


def rows(out: Path, kind: str) -> list[dict[str, Any]]:
    return pq.read_table(out / kind / "s.parquet").to_pylist()


LINES = [
    {"text": "ｶﾞｯｺｳへ行く。", "url": "https://a.example/1", "timestamp": "2020-01-01T00:00:00Z", "likes": 3},
    {"text": "短い"},
    {"text": "This is English."},
    "{broken",
    {"text": "ab"},
    {"no": "text"},
    {"text": "五文字です"},
]


def test_in_is_kept_and_dropped_and_quarantined(tmp_path: Path) -> None:
    counts, out = run_clean(tmp_path, LINES)
    assert counts["in"] == len(LINES) == counts["kept"] + sum(counts["dropped"].values()) + counts["quarantined"]
    assert (counts["kept"], counts["dropped"], counts["quarantined"]) == (2, {"too_short": 2, "not_japanese": 1}, 2)
    numbers = [json.loads(r["meta"])["record"] for kind in ("kept", "removed") for r in rows(out, kind)]
    numbers += [r["record"] for r in rows(out, "quarantined")]
    assert sorted(numbers) == list(range(len(LINES)))


def test_a_rule_counts_what_it_drops_first_and_what_it_fails_at_all(tmp_path: Path) -> None:
    counts, _ = run_clean(tmp_path, LINES)
    assert counts["dropped"] == {"too_short": 2, "not_japanese": 1}
    assert counts["failing"] == {"too_short": 2, "not_japanese": 2}  # "ab" is short and not Japanese
    assert counts["only_failing"] == {"too_short": 1, "not_japanese": 1}
    assert counts["chars_dropped"] == {"too_short": 4, "not_japanese": 16}
    assert counts["bytes_dropped"] == {"too_short": 8, "not_japanese": 16}


def test_kept_documents_are_normalised_and_keep_what_else_they_had(tmp_path: Path) -> None:
    _, out = run_clean(tmp_path, LINES)
    first = rows(out, "kept")[0]
    assert json.loads(first.pop("meta")) == {"file": "in.jsonl", "record": 0, "fields": {"likes": 3}}
    assert first == {
        "id": document_id("web", "in.jsonl", 0),
        "text": "ガッコウへ行く。",
        "url": "https://a.example/1",
        "source": "web",
        "lang": "ja",
        "timestamp": "2020-01-01T00:00:00Z",
    }


def test_removed_documents_say_by_which_rule_and_at_which_value(tmp_path: Path) -> None:
    _, out = run_clean(tmp_path, LINES)
    reasons = [(r["text"], r["step"], r["rule"], r["value"]) for r in rows(out, "removed")]
    assert reasons == [
        ("短い", "clean", "too_short", 2.0),
        ("This is English.", "clean", "not_japanese", 0.0),
        ("ab", "clean", "too_short", 2.0),
    ]


def test_signals_stand_in_reading_order_with_the_verdict(tmp_path: Path) -> None:
    _, out = run_clean(tmp_path, LINES)
    signals = rows(out, "signals")
    assert [s["id"] for s in signals] == [document_id("web", "in.jsonl", n) for n in (0, 1, 2, 4, 6)]
    assert [s["rule"] for s in signals] == [None, "too_short", "not_japanese", "too_short", None]
    assert [s["num_chars"] for s in signals] == [8, 2, 14, 2, 5]
    assert [(s["characters"], s["bytes"]) for s in signals] == [(8, 24), (2, 6), (16, 16), (2, 2), (5, 15)]
    assert list(signals[0]) == ["id", "characters", "bytes", *SIGNALS, "rule"]


def test_without_rules_every_document_stands_beside_its_signals_and_nothing_is_decided(tmp_path: Path) -> None:
    counts, out = run_clean(tmp_path, LINES, rules=None)
    assert (counts["in"], counts["kept"], counts["quarantined"], "dropped" in counts) == (7, 5, 2, False)
    assert (counts["chars_kept"], counts["bytes_kept"]) == (8 + 2 + 16 + 2 + 5, 24 + 6 + 16 + 2 + 15)
    assert {p.name for p in out.iterdir()} == {"documents", "signals", "quarantined", "receipts"}
    documents, signals = rows(out, "documents"), rows(out, "signals")
    assert [d["text"] for d in documents] == ["ガッコウへ行く。", "短い", "This is English.", "ab", "五文字です"]
    assert [s["id"] for s in signals] == [d["id"] for d in documents]
    assert list(signals[0]) == ["id", "characters", "bytes", *SIGNALS]
    _, decided = run_clean(tmp_path, LINES, name="decided")
    assert [{k: v for k, v in s.items() if k != "rule"} for s in rows(decided, "signals")] == signals


def test_files_have_the_schemas_that_later_steps_read(tmp_path: Path) -> None:
    _, out = run_clean(tmp_path, LINES)
    for kind, schema in (("kept", DOCUMENT), ("removed", REMOVED), ("quarantined", QUARANTINED)):
        assert pq.read_schema(out / kind / "s.parquet").equals(schema)


def test_sizes_are_counted_before_and_after(tmp_path: Path) -> None:
    counts, _ = run_clean(tmp_path, [{"text": "五文字です"}, {"text": "ｶﾞｯｺｳです"}, {"text": "x"}])
    assert (counts["chars_in"], counts["bytes_in"]) == (5 + 7 + 1, 15 + 21 + 1)
    assert (counts["chars_kept"], counts["bytes_kept"]) == (5 + 6, 15 + 18)


def test_lines_that_are_no_text_are_cut_before_anything_is_measured_and_kept_beside(tmp_path: Path) -> None:
    page = "ﾛｸﾞｲﾝ\n雨はまだ降っている。\n続きを読む\n駅前の喫茶店で手帳を読んだ。"
    lines = [{"text": "雨。"}, {"text": page}, {"text": "いいね３件"}]
    counts, out = run_clean(tmp_path, lines, cut="ja", rules=[RULES[0]])
    texts = [r["text"] for r in rows(out, "kept") + rows(out, "removed")]
    assert texts == ["雨はまだ降っている。\n駅前の喫茶店で手帳を読んだ。", "雨。", ""]
    first, second, third = rows(out, "signals")
    assert (first["cut_line_fraction"], first["cut_char_fraction"]) == (0, 0)
    assert (second["cut_line_fraction"], second["num_lines"], second["num_chars"]) == (0.5, 2, 24)
    assert second["cut_char_fraction"] == pytest.approx(9 / 33)
    assert (third["cut_char_fraction"], third["characters"], third["rule"]) == (1, 0, "too_short")
    ids = [document_id("web", "in.jsonl", n) for n in range(3)]
    assert [(c["id"], c["rule"], c["text"]) for c in rows(out, "cut")] == [
        (ids[1], "account", "ログイン\n"),
        (ids[1], "read_more", "続きを読む\n"),
        (ids[2], "counter", "いいね3件"),
    ]
    assert pq.read_schema(out / "cut" / "s.parquet").equals(CUT)
    assert (counts["chars_in"], counts["chars_kept"]) == (2 + len(page) + 5, 25)


def test_without_bad_records_there_is_no_quarantine_and_without_records_there_are_empty_files(tmp_path: Path) -> None:
    counts, out = run_clean(tmp_path, [])
    assert (counts["in"], counts["kept"], counts["quarantined"]) == (0, 0, 0)
    assert not (out / "quarantined").exists()
    assert [rows(out, kind) for kind in ("kept", "removed", "signals")] == [[], [], []]


def test_profile_none_keeps_the_text_byte_for_byte(tmp_path: Path) -> None:
    text = "ｶﾞｯｺｳへ\r\n行く\u200b。"
    _, out = run_clean(tmp_path, [{"text": text}], normalize="none")
    assert [r["text"] for r in rows(out, "kept")] == [text]


def test_without_rules_everything_is_kept(tmp_path: Path) -> None:
    counts, _ = run_clean(tmp_path, LINES, rules=[])
    assert (counts["kept"], counts["quarantined"], counts["dropped"]) == (5, 2, {})


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    outs = [run_clean(tmp_path, LINES * 50, name=name)[1] for name in ("one", "two")]
    files = [{p.relative_to(o): p.read_bytes() for p in o.rglob("*") if p.is_file()} for o in outs]
    assert len(files[0]) == 5 and files[0] == files[1]


def test_batches_change_no_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_clean(tmp_path, LINES * 5, name="whole")
    monkeypatch.setattr("corpuskit.sources.read.BATCH_ROWS", 3)
    small = run_clean(tmp_path, LINES * 5, name="small")
    assert whole[0] == small[0]
    for kind in ("kept", "removed", "signals", "quarantined"):
        assert rows(whole[1], kind) == rows(small[1], kind)


def test_language_is_measured_where_one_is_asked_for(tmp_path: Path) -> None:
    import fasttext

    (tmp_path / "train.txt").write_text("__label__ja 今日 は 天気\n__label__en the weather is\n" * 50, encoding="utf-8")
    model = fasttext.train_supervised(
        str(tmp_path / "train.txt"), dim=4, epoch=20, minn=1, maxn=2, bucket=500, thread=1, verbose=0
    )
    model.save_model(str(tmp_path / "lid.bin"))
    (tmp_path / "in.jsonl").write_text('{"text": "今日 は 天気"}\n{"text": "the weather is"}\n', encoding="utf-8")
    language_model = Input(str(tmp_path / "lid.bin"), "lid", "0" * 64, 1)
    labels = {"reader": "jsonl", "source": "web", "lang": "ja"}
    shard = Shard("s", (as_input(str(tmp_path / "in.jsonl")), language_model), labels)
    rule = Rule(name="wrong_language", signal="language_probability", min=0.5, source="test")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    measuring = Measuring(lang="ja", normalize="ja-safe", signals=("characters", "lists", "url"), language_id="ja")
    params = {**measuring.model_dump(mode="json"), "rules": [rule.model_dump()], "removed": "all"}
    counts = clean_module.clean(shard, scratch, params)
    assert (counts["kept"], counts["dropped"]) == (1, {"wrong_language": 1})
    [removed] = pq.read_table(scratch / "removed.parquet").to_pylist()
    assert (removed["text"], removed["rule"]) == ("the weather is", "wrong_language")
    assert removed["value"] < 0.5
    assert pq.read_schema(scratch / "signals.parquet").names == [*MEASURED.names, *signal_names(measuring), "rule"]


def test_every_file_of_rules_that_a_reader_reads_is_in_its_key(tmp_path: Path) -> None:
    """A process of its own sees which files each reader opens; the key has to hold the hash of these and no others."""
    text = "これは記事の本文です。"
    page = f"<html lang=ja><meta charset=euc-jp><title>題</title><p>{text * 9}".encode("euc_jp")
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    article = f"<ns>0</ns><id>1</id><title>記事</title><text>{text}[[港]]</text>"
    entry = json.dumps({"text": text, "namespace": 0, "source_text": text, "title": "記事"})
    contents: dict[str, bytes | str] = {
        "aozora": f"題名\n作者\n\n{text}\n\n底本：「全集」\n".encode("cp932"),
        "cc100": f"{text}\n{text}\n\n{text}\n",
        "cirrus": f'{{"index":{{"_id":"1"}}}}\n{entry}\n',
        "csv": f"text,url\n{text},https://a.example\n",
        "jsonl": json.dumps({"text": text}) + "\n",
        "lines": text,
        "text": text,
        "warc": b"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/\r\n"
        b"Content-Length: %d\r\n\r\n%s\r\n\r\n" % (len(http), http),
        "wet": b"WARC/1.0\r\nWARC-Type: conversion\r\nContent-Length: 4\r\n\r\ntext\r\n\r\n",
        "wikipedia": f"<mediawiki><page>{article}</page></mediawiki>",
    }
    for reader, content in contents.items():
        (tmp_path / reader).write_bytes(content.encode() if isinstance(content, str) else content)
    pq.write_table(pa.table({"text": [text]}), tmp_path / "parquet")
    pq.write_table(pa.Table.from_pylist([], DOCUMENT), tmp_path / "documents")
    part = pa.Table.from_pylist([{"record": 0, "text": text.encode(), "error": None}], PART)
    pq.write_table(part, tmp_path / "parts")
    script = """
import pathlib, sys
opened = set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)
from corpuskit.build.stages import with_rules
from corpuskit.config import data_dir
from corpuskit.engine.plan import Shard
from corpuskit.sources.read import COLUMN_READERS, READERS, read_documents
from corpuskit.sources.record import Quarantine
from corpuskit.sources.streams import as_input
rules, folder = data_dir("rules").resolve(), pathlib.Path(sys.argv[1])
cached = [f for m in list(sys.modules.values()) if m.__name__.startswith("corpuskit")
          for f in vars(m).values() if hasattr(f, "cache_clear")]
assert len(cached) > 3 and not [p for p in opened if pathlib.Path(p).resolve().is_relative_to(rules)]
for reader in (*READERS, *COLUMN_READERS, "documents"):
    for function in cached:
        function.cache_clear()
    opened.clear()
    shard = Shard("s", (as_input(str(folder / reader)),), {"reader": reader, "source": "web", "lang": "ja"})
    quarantine = Quarantine(folder)
    rows = sum(batch.num_rows for batch in read_documents(shard, quarantine))
    assert rows or reader == "documents", (reader, quarantine.skipped)
    assert not quarantine.count, reader
    read = {p.relative_to(rules).as_posix() for p in (pathlib.Path(p).resolve() for p in opened) if rules in p.parents}
    [labelled] = with_rules([shard])
    assert labelled.labels.keys() - shard.labels.keys() == {f"rules/{name}" for name in read}, (reader, read)
    assert all(len(labelled.labels[f"rules/{name}"]) == 64 for name in read)
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)


def test_every_file_of_rules_for_reading_has_a_reader() -> None:
    """rules/ itself holds what readers read and one list of `clean`; its folders are of languages and steps."""
    files = {path.name for path in data_dir("rules").iterdir() if path.is_file()}
    assert files == {name for names in RULES_OF.values() for name in names} | {"mojibake.txt"}


def test_a_changed_file_of_rules_reads_what_it_is_read_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = tmp_path / "rules"
    shutil.copytree(data_dir("rules"), rules)
    monkeypatch.setattr(stages, "data_dir", lambda name: tmp_path / name)
    for name in ("a.jsonl", "a.xml"):
        (tmp_path / name).write_text('{"text": "x"}\n', encoding="utf-8")
    shards = [
        Shard(reader, (as_input(str(tmp_path / name)),), {"reader": reader, "source": "web", "lang": "ja"})
        for reader, name in (("jsonl", "a.jsonl"), ("wikipedia", "a.xml"))
    ]

    def ran() -> int:
        runner = Runner(executor="local")
        measuring = Measuring(lang="ja", normalize="ja-safe", lines=None, signals=("characters",))
        stages.clean(shards, out=tmp_path / "out", runner=runner, rules=None, measuring=measuring)
        return runner.tally.ran

    assert (ran(), ran()) == (2, 0)
    with open(rules / "wikitext.yaml", "a", encoding="utf-8") as file:
        file.write("\n# one more line\n")
    assert (ran(), ran()) == (1, 0)


@pytest.mark.parametrize("lang", ["ja", "en"])
def test_every_file_of_rules_that_measuring_reads_is_in_the_key(lang: str) -> None:
    """A process of its own sees which files are opened; the receipts' key has to hold the hash of each."""
    script = f"""
import pathlib, sys
opened = set()
sys.addaudithook(lambda event, args: opened.add(str(args[0])) if event == "open" else None)
import pyarrow as pa
from corpuskit.build.stages import vocabularies
from corpuskit.config import FAMILIES, Measuring, data_dir
from corpuskit.filters.clean import measure_texts
measuring = Measuring(lang="{lang}", normalize="ja-safe", lines="{lang}", signals=FAMILIES)
measure_texts(pa.array(["ログイン"]), pa.array(["https://a.example/b"]), pa.nulls(1, pa.string()), measuring)
rules = data_dir("rules").resolve()
read = {{p.relative_to(rules).as_posix() for p in map(pathlib.Path, opened) if p.resolve().is_relative_to(rules)}}
assert len(read) > 5 and read == set(vocabularies(measuring)), (read, vocabularies(measuring).keys())
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_control_characters_are_counted_before_they_are_taken_out(tmp_path: Path) -> None:
    rule = Rule(name="control_characters", signal="control_per_char", max=0.02, source="test")
    texts = [
        "あ" * 50 + "\x1b",
        "い" * 49 + "\x1b",
        "う" * 50 + "\r\n\t\x85\u200b\u00ad",
        "\0\0",
        "いいね3件\x07\n" + "え" * 9,
    ]
    for normalize, written in (("ja-safe", "い" * 49), ("none", "い" * 49 + "\x1b")):
        lines = [{"text": text} for text in texts]
        counts, out = run_clean(tmp_path, lines, normalize=normalize, cut="ja", rules=[rule], name=normalize)
        values = [row["control_per_char"] for row in rows(out, "signals")]
        assert values == pytest.approx([1 / 50, 1 / 49, 0, 0, 1 / 9])  # of the whole text, to what is left of it
        assert counts["dropped"] == {"control_characters": 2}
        assert rows(out, "removed")[0]["text"] == written
