"""The main job on the bundled sample, through the real command line: what must come out, document by document."""

from __future__ import annotations

import csv
import html.parser
import itertools
import json
import os
import re
import shutil
import subprocess
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import sentencepiece
import yaml

from corpuskit import config, rulesets
from corpuskit.bins.format import TokenStream
from corpuskit.build.tokens import pack_corpora
from corpuskit.build.workspace import open_space
from corpuskit.config import UserError
from corpuskit.mix.order import WindowOrder
from corpuskit.schema import VERDICT

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Tree = Callable[[Path], dict[str, str]]
LANGUAGES = ("code", "en", "ja")
PARTS = ("kept", "dropped", "duplicates", "quarantined")


def rows_of(sample: Path, step: str, kind: str, lang: str = "*") -> list[dict[str, Any]]:
    files = sorted(sample.glob(f"{step}/{lang}/{kind}/*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def dropped_of(sample: Path, lang: str = "*") -> list[dict[str, Any]]:
    """The documents a rule removed: rows of `clean`'s documents with the verdict that stands beside each."""
    documents, verdicts = rows_of(sample, "clean", "documents", lang), rows_of(sample, "decide", "verdicts", lang)
    assert [row["id"] for row in documents] == [row["id"] for row in verdicts]
    both = [document | verdict for document, verdict in zip(documents, verdicts, strict=True)]
    assert all((row["value"] is None) == (row["severity"] == 0) == (row["rule"] is None) for row in both)
    return [row for row in both if row["rule"] is not None]


def texts_of(sample: Path, step: str) -> dict[str, str]:
    return {row["id"]: row["text"] for row in rows_of(sample, step, "kept")}


def expected() -> list[dict[str, str]]:
    with open(config.sample_dir() / "expected.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.fixture
def copy(sample: Path, tmp_path: Path) -> Path:
    """The sample's workspace in another place, to be changed."""
    return Path(shutil.copytree(sample, tmp_path / "elsewhere"))


def test_every_row_of_the_table_holds(sample: Path) -> None:
    corpus = {row["id"] for row in rows_of(sample, "corpus", "kept")}
    cleaned = {row["id"]: row for row in dropped_of(sample)}
    duplicates = {row["id"]: row for row in rows_of(sample, "dedup", "removed")}
    measured = {row["id"]: row for row in rows_of(sample, "clean", "signals")}
    clusters = {
        row["id"]: row["survivor"]
        for lang in LANGUAGES
        for row in pq.read_table(sample / "dedup" / lang / "clusters" / "clusters.parquet").to_pylist()
    }
    table = expected()
    id_of = {row["name"]: row["id"] for row in table}
    wrong = []
    for row in table:
        id_, outcome = row["id"], row["outcome"]
        places = (id_ in corpus, id_ in cleaned, id_ in duplicates, id_ in measured)
        if outcome == "kept":
            right = places == (True, False, False, True) and clusters.get(id_, id_) == id_
        elif outcome.startswith("dropped:"):
            rule = outcome.removeprefix("dropped:")
            right = places == (False, True, False, True)
            right = right and cleaned[id_]["rule"] == rule
        elif outcome == "duplicate":
            survivor = id_of[row["survivor"]]
            right = places == (False, False, True, True) and clusters[id_] == survivor and survivor in corpus
            right = right and duplicates[id_]["step"] == "dedup" and duplicates[id_]["value"] >= 0.8
        else:
            right = outcome == "no_document" and places == (False,) * 4
        if not right:
            wrong.append((row["name"], outcome, places, cleaned.get(id_, {}).get("rule")))
    assert wrong == []
    # and there is nothing beside the rows of the table
    assert set(measured) == {row["id"] for row in table if row["outcome"] != "no_document"}
    assert Counter(r["outcome"].split(":")[0] for r in table) == {
        "kept": len(corpus), "dropped": len(cleaned), "duplicate": len(duplicates), "no_document": 10
    }  # fmt: skip


def test_every_finding_of_the_table_is_found_and_no_other(sample: Path) -> None:
    found = Counter((row["id"], row["type"]) for row in rows_of(sample, "corpus", "findings"))
    wanted = Counter({
        (row["id"], kind): int(row[kind])
        for row in expected()
        if row["outcome"] == "kept"
        for kind in ("email", "phone_jp")
        if int(row[kind])
    })  # fmt: skip
    assert found == wanted
    funnels = json.loads((sample / "report" / "funnel.json").read_bytes())["languages"]
    by_type = Counter(kind for (id_, kind), count in wanted.items() for _ in range(count))
    masked: Counter[str] = Counter()
    for funnel in funnels.values():
        masked.update(funnel["masked"])
    assert +masked == by_type
    assert by_type["email"] >= 20
    assert by_type["phone_jp"] >= 15


def test_no_personal_data_is_left_in_the_corpus(sample: Path) -> None:
    before, after = texts_of(sample, "dedup"), texts_of(sample, "corpus")
    assert set(before) == set(after)
    values: dict[str, list[tuple[int, int, str]]] = {}
    for row in rows_of(sample, "corpus", "findings"):
        assert set(row) == {"id", "type", "start", "end"}, "a finding must not carry the value"
        values.setdefault(row["id"], []).append((row["start"], row["end"], row["type"]))
    names = {"email": "<EMAIL>", "phone_jp": "<PHONE>"}
    for id_, text in before.items():
        masked = text
        for start, end, kind in sorted(values.get(id_, ()), reverse=True):
            assert text[start:end] not in after[id_]
            masked = masked[:start] + names[kind] + masked[end:]
        assert after[id_] == masked
    # independently of the detector: anything with an @ between a name and a domain, anything dialled with a 0
    email = re.compile(r"[\w.+-]+@[\w-]+(\.[\w-]+)+")
    phone = re.compile(
        r"(?<![\d-])(?:\+81[- ]?|0)\d{1,4}[-() ]{1,2}\d{1,4}[-() ]{1,2}\d{3,4}(?!\d)|(?<!\d)0[789]0\d{8}(?!\d)"
    )
    lang = {row["id"]: row["lang"] for row in rows_of(sample, "corpus", "kept")}
    plain = {id_: unicodedata.normalize("NFKC", text) for id_, text in after.items()}
    assert [m[0] for id_, text in plain.items() for m in email.finditer(text)] == []
    assert [m[0] for id_, text in plain.items() if lang[id_] == "ja" for m in phone.finditer(text)] == []
    there = [unicodedata.normalize("NFKC", text) for text in before.values()]
    assert sum(bool(email.search(text)) for text in there) >= 15  # these patterns do see what was there
    assert sum(bool(phone.search(text)) for text in there) >= 15


def test_the_funnel_adds_up_for_every_source_and_agrees_with_the_files(sample: Path) -> None:
    funnels = json.loads((sample / "report" / "funnel.json").read_bytes())["languages"]
    assert sorted(funnels) == list(LANGUAGES)
    for lang, funnel in funnels.items():
        assert json.loads((sample / "corpus" / lang / "funnel.json").read_bytes()) == funnel
        documents = {
            "kept": rows_of(sample, "corpus", "kept", lang),
            "dropped": dropped_of(sample, lang),
            "duplicates": rows_of(sample, "dedup", "removed", lang),
            "quarantined": rows_of(sample, "clean", "quarantined", lang),
        }
        for source, counts in funnel["sources"].items():
            assert counts["in"] == sum(counts[part] for part in PARTS)
            for part in PARTS:
                assert counts[part] == sum(row["source"] == source for row in documents[part]), (source, part)
        for part in ("in", *PARTS):
            assert funnel["total"][part] == sum(counts[part] for counts in funnel["sources"].values())
        rules = Counter(row["rule"] for row in documents["dropped"] + documents["duplicates"])
        assert {name: n["dropped"] for name, n in funnel["rules"].items() if n["dropped"]} == dict(rules)
        for name, n in funnel["rules"].items():
            assert n["only_failing"] <= n["dropped"] <= n["failing"]
            of_rule = [row["text"] for row in documents["dropped"] if row["rule"] == name]
            if "dropped_characters" in n:
                assert n["dropped_characters"] == sum(map(len, of_rule))
                assert n["dropped_bytes"] == sum(len(text.encode()) for text in of_rule)
            assert n["dropped"] == sum(counts["rules"][name]["dropped"] for counts in funnel["sources"].values())
        last = funnel["total"]["steps"][-1]
        kept = [row["text"] for row in documents["kept"]]
        assert last == {
            "step": "scrub",
            "documents": len(kept),
            "characters": sum(map(len, kept)),
            "bytes": sum(len(text.encode()) for text in kept),
        }
        sizes = [step["documents"] for step in funnel["total"]["steps"]]
        assert sizes == sorted(sizes, reverse=True)
        assert [step["step"] for step in funnel["total"]["steps"]] == [
            "read", "clean", "decide", "dedup", "scrub"
        ]  # fmt: skip
    assert funnels["ja"]["total"]["in"] >= 300
    assert funnels["ja"]["total"]["steps"][0]["bytes"] >= 400_000
    assert funnels["en"]["total"]["in"] >= 150


def test_the_run_says_how_to_run_the_real_thing_and_nothing_on_stderr(
    sample_run: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    workspace, done = sample_run
    assert done.stderr == ""
    first, second = done.stdout.splitlines()[-2:]
    assert "make corpus LANG=ja PROFILE=full" in first
    assert re.search(r"\d+ GB to download, up to [\d.]+ TB of disk", second)
    assert str(workspace / "report" / "index.html") in done.stdout
    assert "up to date" not in done.stdout


def test_a_second_run_says_so_and_changes_no_file(copy: Path, cli: Cli, tree: Tree) -> None:
    def times() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in copy.rglob("*") if p.is_file()}

    bytes_before, times_before = tree(copy), times()
    done = cli("corpus", "--lang", "ja", "--workspace", copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Everything is up to date: 73 shards, nothing to do." in done.stdout
    assert tree(copy) == bytes_before
    assert times() == times_before


def test_only_what_is_missing_is_made_again(copy: Path, cli: Cli, tree: Tree) -> None:
    before = tree(copy)
    (copy / "corpus" / "ja" / "kept" / "jawiki-00000.parquet").unlink()
    done = cli("corpus", "--lang", "ja", "--workspace", copy, "--executor", "local", "--json")
    result = json.loads(done.stdout)
    assert (result["shards_run"], result["shards_up_to_date"]) == (1, 72)
    assert tree(copy) == before


def test_every_token_leads_back_to_its_document(sample: Path) -> None:
    model = sentencepiece.SentencePieceProcessor(model_file=str(sample / "tokenizer" / "tokenizer.model"))
    corpus = {row["id"]: row for row in rows_of(sample, "corpus", "kept")}
    seen = []
    for lang in LANGUAGES:
        folder = sample / "bins" / lang
        stream = TokenStream.open(folder)
        start = 0
        for shard in stream.manifest["shards"]:
            edges = np.fromfile(folder / f"{shard['name']}.idx", np.uint64).astype(int).tolist()
            for begin, end in itertools.pairwise(edges):
                tokens = stream.read(start + begin, end - begin)
                ids = {stream.document_at(start + at, folder) for at in (begin, (begin + end) // 2, end - 1)}
                [(name, id_)] = ids
                assert name == shard["name"]
                assert (tokens[0], tokens[-1]) == (model.bos_id(), model.eos_id())
                assert model.decode(tokens[1:-1].tolist()) == corpus[id_]["text"]
                assert (corpus[id_]["lang"], corpus[id_]["source"]) == (lang, shard["source"])
                assert json.loads(corpus[id_]["meta"])["file"].startswith("https://")
                seen.append(id_)
            start += shard["tokens"]
        assert start == stream.tokens == stream.manifest["tokens"]
    assert sorted(seen) == sorted(corpus)


def test_weights_by_cluster_size_from_mix_to_the_order_of_windows(copy: Path, cli: Cli) -> None:
    """The sample's clusters are of two documents, so the table counts from there."""
    table = copy.parent / "mine.yaml"
    table.write_text("name: mine\nlang: ja\nsource: own\ntimes: {1: 1, 2: 3}\n")
    words = ("mix", "--ja", "0.57", "--en", "0.31", "--weights", table, "--workspace", copy, "--json")
    result = json.loads(cli(*words).stdout)
    assert (result["weights"], result["pack_again"], result["plan"]) == ({"ja": "mine"}, ["ja"], None)
    with pytest.raises(UserError, match="make them again with: corpuskit pack"):
        WindowOrder.open(copy, 32)

    assert cli("pack", "--workspace", copy, "--executor", "local").returncode == 0
    sizes = {r["id"]: r["cluster_size"] for r in rows_of(copy, "dedup", "signals", "ja")}
    tokens = {1: 0, 3: 0}
    for shard in TokenStream.open(copy / "bins" / "ja").manifest["shards"]:
        ids = np.fromfile(copy / "bins" / "ja" / f"{shard['name']}.ids", "V16")
        assert {1 if sizes[id_.tobytes().hex()] == 1 else 3 for id_ in ids} <= {shard["weight"]}
        tokens[shard["weight"]] += shard["tokens"]
    assert tokens[3] > 10_000
    result = json.loads(cli(*words).stdout)
    [line] = [line for line in result["plan"] if line["lang"] == "ja"]
    assert result["pack_again"] == []
    assert 0.95 * (tokens[1] + 3 * tokens[3]) < line["available"] < tokens[1] + 3 * tokens[3]  # without the held-out

    for file in (copy / "dedup" / "ja" / "signals").iterdir():
        file.unlink()
    with open_space(copy) as space, pytest.raises(UserError, match=r"is gone, .* with: corpuskit corpus --lang ja$"):
        pack_corpora(space)


def test_mix_gives_the_rest_to_code_and_plans_within_one_window(copy: Path, cli: Cli) -> None:
    words = ("mix", "--ja", "0.57", "--en", "0.31", "--workspace", copy)
    result = json.loads(cli(*words, "--json").stdout)
    assert result["shares"] == pytest.approx({"ja": 0.57, "en": 0.31, "code": 0.12})
    assert result["note"] == "The shares sum to 0.88; the other 0.12 goes to code."
    window = min(TokenStream.open(copy / "bins" / lang).tokens for lang in LANGUAGES) // 64
    assert result["tokens"] == sum(line["planned"] for line in result["plan"])
    for line in result["plan"]:
        assert abs(line["planned"] - result["shares"][line["lang"]] * result["tokens"]) < window
        assert 0 < line["epochs"] <= 4
    asked = json.loads((copy / "mix" / "mixture.json").read_bytes())
    assert asked["asked"] == {"ja": 0.57, "en": 0.31}
    table = cli(*words).stdout
    assert "The shares sum to 0.88; the other 0.12 goes to code." in table
    assert all(share in table for share in ("0.5700", "0.3100", "0.1200"))


class Loads(html.parser.HTMLParser):
    """What a page would fetch from elsewhere or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "iframe", "object", "embed", "base", "img", "form"):
            self.found.append(f"<{tag}>")
        for name, value in attrs:
            outside = name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster", "background")
            if name.startswith("on") or (outside and not (value or "").startswith("#")):
                self.found.append(f"<{tag} {name}={value}>")

    handle_startendtag = handle_starttag


def test_the_report_is_one_page_that_fetches_nothing(sample: Path) -> None:
    page = (sample / "report" / "index.html").read_text(encoding="utf-8")
    reader = Loads()
    reader.feed(page)
    assert reader.found == []
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", page)
    funnel = json.loads((sample / "report" / "funnel.json").read_bytes())["languages"]["ja"]
    for source, counts in funnel["sources"].items():
        assert f"<td>{source}</td><td>{counts['in']:,}</td><td>{counts['kept']:,}</td>" in page
    assert "few_hiragana" in page


def test_the_report_is_the_same_when_it_is_made_again(copy: Path, cli: Cli, tree: Tree) -> None:
    before = tree(copy / "report")
    assert {"index.html", "funnel.json"} <= set(before)
    shutil.rmtree(copy / "report")
    done = cli("report", "--workspace", copy)
    assert (done.returncode, done.stderr) == (0, "")
    assert tree(copy / "report") == before


def test_a_changed_threshold_redoes_clean_and_what_depends_on_it_alone(sample: Path, tmp_path: Path, cli: Cli) -> None:
    kept = texts_of(sample, "dedup")
    length = {
        row["id"]: int(row["num_chars"]) for row in rows_of(sample, "clean", "signals", "ja") if row["id"] in kept
    }
    ids = sorted(length, key=lambda id_: (length[id_], id_))
    short, long = ([kept[id_] for id_ in chosen] for chosen in (ids[:10], ids[-10:]))
    (tmp_path / "in").mkdir()
    for name, chosen in (("a", short), ("b", long)):
        lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in chosen)
        (tmp_path / "in" / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    rules = yaml.safe_load((config.data_dir("rules") / "ja" / "corpuskit-ja.yaml").read_text(encoding="utf-8"))
    mine = tmp_path / "mine.yaml"

    def run(minimum: int) -> tuple[dict[str, Any], dict[str, int]]:
        for rule in rules["rules"]:
            if rule["name"] == "too_short":
                rule["min"] = minimum
        mine.write_text(yaml.safe_dump(rules, allow_unicode=True), encoding="utf-8")
        local = ("--executor", "local", "--json")
        cleaned = cli(
            *("clean", "--lang", "ja", "--input", tmp_path / "in", "--out", tmp_path / "clean", "--rules", mine), *local
        )
        scrubbed = cli("scrub", "--input", tmp_path / "clean" / "kept", "--out", tmp_path / "scrub", *local)
        assert (cleaned.returncode, scrubbed.returncode) == (0, 0), cleaned.stderr + scrubbed.stderr
        times = {str(p.relative_to(tmp_path)): p.stat().st_mtime_ns for p in tmp_path.rglob("receipts/*.json")}
        return json.loads(cleaned.stdout), times

    first, before = run(200)
    assert first["total"]["kept"] == 20
    assert run(200) == (first, before)
    shortest = length[ids[0]]
    second, after = run(shortest + 1)
    gone = sum(n == shortest for n in length.values())
    assert gone < 10
    assert second["total"]["kept"] == 20 - gone
    assert second["rules"]["too_short"]["dropped"] == gone
    assert set(after) == set(before)
    assert {name for name in before if before[name] != after[name]} == {
        "clean/receipts/00000.json",
        "clean/receipts/00001.json",  # its verdicts had to be looked at again,
        "scrub/read/receipts/00000.json",
        "scrub/receipts/00000.json",  # but its documents stayed, so nothing after it had
    }


def test_what_was_removed_says_why_and_can_be_read_back(sample: Path) -> None:
    presets = {lang: rulesets.load_rules(lang, config.load_pipeline(lang).rules) for lang in LANGUAGES}
    bounds = {(lang, r.name): r for lang, preset in presets.items() for r in preset.rules}
    removed = dropped_of(sample)
    assert len(removed) > 60
    for row in removed:
        rule = bounds[row["lang"], row["rule"]]
        low = rule.min is not None and row["value"] < rule.min
        high = rule.max is not None and row["value"] > rule.max
        assert low or high, row
        assert row["text"]
    assert pq.read_schema(next(sample.glob("decide/ja/verdicts/*.parquet"))).equals(VERDICT)


def test_no_folder_or_clock_of_this_machine_is_written_down(sample: Path) -> None:
    here = (str(sample).encode(), os.fsencode(Path.home()), os.uname().nodename.encode())
    for path in sample.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            content = path.read_bytes()
            assert not any(word in content for word in here), path
