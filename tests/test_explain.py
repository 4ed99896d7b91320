"""`corpuskit explain`: the numbers of the files, the text as it was before lines were cut, and hostile text made harmless."""  # noqa: E501

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from corpuskit.report.explained import print_explained
from corpuskit.schema import MEASURED

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def rows(workspace: Path, kind: str) -> list[dict[str, Any]]:
    return [r for f in sorted(workspace.glob(f"{kind}/*.parquet")) for r in pq.read_table(f).to_pylist()]


def joined(found: dict[str, Any], *, cut: bool) -> str:
    return "".join(part["text"] for part in found["text"] if cut or part["cut_by"] is None)


def test_a_document_of_the_workspace_is_shown_as_it_was_measured_and_judged(sample: Path, cli: Cli) -> None:
    pieces = rows(sample, "clean/ja/cut")
    verdicts = {row["id"]: row for row in rows(sample, "decide/ja/verdicts")}
    signals = {row["id"]: row for row in rows(sample, "clean/ja/signals")}
    documents = {row["id"]: row for row in rows(sample, "clean/ja/documents")}
    whole: dict[str, list[dict[str, Any]]] = {}
    for piece in pieces:
        whole.setdefault(piece["id"], []).append(piece)
    kept = next(id_ for id_ in verdicts if verdicts[id_]["rule"] is None)
    cut_and_dropped = next(id_ for id_ in whole if verdicts[id_]["rule"])
    for id_ in (kept, cut_and_dropped):
        done = cli("explain", id_, "--workspace", sample, "--json")
        assert (done.returncode, done.stderr) == (0, "")
        found = json.loads(done.stdout)
        assert found["signals"] == {k: v for k, v in signals[id_].items() if k not in MEASURED.names}
        for name in ("adult", "violence", "discrimination", "advertising", "boilerplate"):
            assert sum(found["words"].get(name, {}).values()) == found["signals"][f"{name}_hits"]
        rule, value, severity = (verdicts[id_][k] for k in ("rule", "value", "severity"))
        assert found["verdict"] == {"kept": rule is None, "rule": rule, "value": value, "severity": severity}
        assert [c["name"] for c in found["checks"] if c["fails"]][:1] == ([rule] if rule else [])
        assert (found["source"], found["url"]) == (documents[id_]["source"], documents[id_]["url"])
        assert joined(found, cut=False) == documents[id_]["text"]
        text = joined(found, cut=True)
        for piece in whole.get(id_, []):
            assert text[piece["start"] : piece["end"]] == piece["text"]
        table = cli("explain", id_, "--workspace", sample).stdout
        for piece in whole.get(id_, []):
            assert f"[-{piece['text'].strip()}-] ({piece['rule']})" in table
        assert ("Kept by the rules of corpuskit-ja" if rule is None else f"Dropped by {rule}: ") in table


def test_a_text_gets_what_it_would_get_in_a_workspace(sample: Path, cli: Cli, tmp_path: Path) -> None:
    piece = rows(sample, "clean/ja/cut")[0]
    known = json.loads(cli("explain", piece["id"], "--workspace", sample, "--json").stdout)
    path = tmp_path / "text.txt"
    path.write_text(joined(known, cut=True), encoding="utf-8")
    found = json.loads(cli("explain", path, "--json").stdout)
    for key in ("signals", "verdict", "text", "rules"):
        assert found[key] == known[key]
    assert [c["severity"] for c in found["checks"]] == [c["severity"] for c in known["checks"]]


def test_other_rules_judge_by_other_bounds_and_a_duplicate_says_so(sample: Path, cli: Cli) -> None:
    removed = rows(sample, "dedup/ja/removed")[0]
    found = json.loads(cli("explain", removed["id"], "--workspace", sample, "--rules", "swallow-v1", "--json").stdout)
    assert found["rules"] == "swallow-v1"
    assert next(c["min"] for c in found["checks"] if c["signal"] == "num_chars") == 400
    assert found["duplicate"] == {"step": "dedup", "rule": removed["rule"], "value": removed["value"]}
    assert "Removed as near_duplicate" in cli("explain", removed["id"], "--workspace", sample).stdout


def test_a_text_in_place_of_its_file_and_a_duplicate_without_a_jaccard(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    done = cli("explain", "これは試しの文章です。" * 30)
    assert done.returncode == 2
    assert "no such file, and no id" in done.stderr
    found = {
        "rules": "r",
        "checks": [],
        "signals": {},
        "words": {"adult": {"巨乳": 2, "爆乳": 1}},
        "text": [],
        "verdict": {"kept": True},
    }
    print_explained({**found, "duplicate": {"step": "dedup", "rule": "url_duplicate", "value": None}})
    shown = capsys.readouterr().out
    assert "Removed as url_duplicate\n" in shown
    assert "adult words: 巨乳 2, 爆乳\n" in shown


HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e[red]赤[/red] \x00\x9b31m これは試しの文章です。\n" * 12


def test_hostile_text_does_not_steer_the_terminal(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "\x1b[31m.txt"
    path.write_text(HOSTILE, encoding="utf-8")
    shown = cli("explain", path).stdout
    assert "これは試しの文章です。" in shown and "[red]赤[/red]" in shown
    assert [c for c in shown if not c.isprintable() and c != "\n"] == []
    coloured = cli("explain", path, FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert "\x1b[" in coloured and not any(bad in coloured for bad in ("\x1b[2J", "\x1b]", "\u202e", "\x07", "\x9b"))


def test_what_was_cut_is_struck_out_in_colour(sample: Path, cli: Cli) -> None:
    piece = next(p for p in rows(sample, "clean/ja/cut") if p["text"].strip())
    shown = cli("explain", piece["id"], "--workspace", sample, FORCE_COLOR="1", TERM="xterm-256color").stdout
    assert f"\x1b[9;31m{piece['text'].strip()[:5]}" in shown  # 9: struck out
    assert "[-" not in shown


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", "が".encode(), b"\n\n\n", ("あ" * 100_000).encode()])
def test_any_bytes_are_explained(content: bytes, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(content)
    done = cli("explain", tmp_path / "text.txt", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["verdict"]["kept"] is False
    assert cli("explain", tmp_path / "text.txt").returncode == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("no.txt",), "explain no.txt: no such file, and no id"),
        (("0" * 32, "--workspace", "{sample}"), "has this id"),
        (("0" * 32, "--workspace", "{sample}", "--lang", "jp"), "--lang jp: nothing of it is measured"),
        (("{files}/a.jsonl",), "takes the plain text of one document; for records: corpuskit clean --input"),
        (("{files}/a.txt", "--lang", "fr"), "--lang fr: there is no pipeline for this language"),
        (("{files}/a.txt", "--rules", "swallow"), "did you mean swallow-v1?"),
    ],
)
def test_a_mistake_is_one_line(words: tuple[str, ...], message: str, sample: Path, cli: Cli, tmp_path: Path) -> None:
    for name in ("a.txt", "a.jsonl"):
        (tmp_path / name).write_text("文章", encoding="utf-8")
    done = cli("explain", *(w.replace("{sample}", str(sample)).replace("{files}", str(tmp_path)) for w in words))
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert message in done.stderr
