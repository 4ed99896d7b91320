"""The command line as a shell sees it: exit codes, one line for a mistake, what goes to stdout, foreign files."""

from __future__ import annotations

import bz2
import codecs
import gzip
import http.server
import json
import lzma
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from corpuskit import config

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
Tree = Callable[[Path], dict[str, str]]

GOOD = (
    "港の朝は早い。まだ暗いうちから漁師たちが集まり、昨夜の風の話をしながら網を積み込んでいく。"
    "灯台の明かりが消えるころ、最初の船が静かに岸を離れ、沖へ向かって小さくなっていった。\n"
    "市場では、戻ってきた船の魚がすぐに並べられる。料理店の主人は目の色と身の張りを確かめ、"
    "値段の交渉は短い言葉だけで終わる。慣れた人どうしの、気持ちのよいやり取りである。\n"
    "昼を過ぎると町は急に静かになる。猫が防波堤で眠り、子どもたちは釣り糸を垂れて夕方を待っている。"
)
BAD = "短い。"


def line(text: str, **more: Any) -> str:
    return json.dumps({"text": text, **more}, ensure_ascii=False) + "\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs that commands are pointed at, to be read only."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "good.jsonl").write_text(line(GOOD), encoding="utf-8")
    pq.write_table(pa.table({"text": [GOOD]}), folder / "documents.bin")
    (folder / "empty").mkdir()
    (folder / "taken").mkdir()
    (folder / "taken" / "read").touch()
    rules = (config.data_dir("rules") / "ja" / "corpuskit-ja.yaml").read_text(encoding="utf-8")
    (folder / "signal.yaml").write_text(rules.replace("signal: num_chars", "signal: num_char"), encoding="utf-8")
    (folder / "field.yaml").write_text(rules.replace("min: 200", "minimum: 200"), encoding="utf-8")
    (folder / "broken.yaml").write_text("name: [", encoding="utf-8")
    (folder / "a_file").touch()
    (folder / "data.docx").write_bytes(b"PK")
    (folder / "odd").mkdir()
    (folder / "odd" / "\udcff.jsonl").write_bytes(b"{}")
    return folder


CLEAN = "clean --lang ja --out {out} --executor local"
MISTAKES = {
    "missing input": (f"{CLEAN} --input {{files}}/no.jsonl", "--input {files}/no.jsonl: no such file"),
    "glob without a match": (f"{CLEAN} --input {{files}}/*.parquet", "--input {files}/*.parquet: no such file"),
    "empty folder": (f"{CLEAN} --input {{files}}/empty", "--input {files}/empty: the folder is empty"),
    "unknown protocol": (f"{CLEAN} --input foo://x.jsonl", "foo://x.jsonl: Protocol not known: foo; install"),
    "remote out": ("clean --lang ja --input {files}/good.jsonl --out s3://b/x", "--out s3://b/x: must be a folder"),
    "remote workspace": ("download --lang ja --dry-run --workspace gs://b/x", "--workspace gs://b/x: must be a folder"),
    "remote workspace to train in": ("train --workspace s3://b", "--workspace s3://b: must be a folder"),
    "out in input": ("clean --lang ja --input {files} --out {files}/x --executor local", "lies in --input"),
    "out in a glob": ("scrub --input {files}/** --out {files}/x/y --executor local", "lies in --input {files}/**"),
    "mode alone": ("dedup --input {files}/good.jsonl --out {out} --substring-mode drop", "needs --substring"),
    "reader": (f"{CLEAN} --input {{files}}/good.jsonl --reader aosora", "aosora: there is no such reader; did you"),
    "reader of something else": (
        f"{CLEAN} --input {{files}}/documents.bin --reader aozora",
        "documents.bin: is a Parquet file, which --reader aozora cannot read; leave --reader out",
    ),
    "kind of file": (f"{CLEAN} --input {{files}}/data.docx", "unknown kind of file"),
    "text field": (f"{CLEAN} --input {{files}}/good.jsonl --text-field body", "no field 'body'; it has text;"),
    "language, clean": ("clean --lang fr --out {out} --input {files}/good.jsonl", "no rules for this language"),
    "language, corpus": ("corpus --lang fr --workspace {out}", "--lang fr: there is no pipeline for this language"),
    "language that is a locale": ("corpus --lang ja_JP.UTF-8 --workspace {out}", "(known: code, en, ja)"),
    "language that is a path": ("corpus --lang ../ja --workspace {out}", "no pipeline for this language"),
    "profile": (
        "corpus --lang ja --profile fulll --workspace {out}",
        "did you mean full? (known: fineweb2, full, oscar, sample, wiki)",
    ),
    "source": ("corpus --lang ja --source mc44 --workspace {out}", "did you mean mc4?"),
    "shards beyond the source": ("corpus --lang ja --shards 0-2 --workspace {out}", "source mc4 has the shards 0-1"),
    "shards backwards": ("corpus --lang ja --shards 5-3 --workspace {out}", "'5-3' is not a range such as 0-15"),
    "shards of a stream": ("corpus --lang ja --source cc100 --shards 0 --workspace {out}", "has numbered files"),
    "mirror": ("corpus --lang ja --mirror {files}/nowhere --workspace {out}", "no such folder"),
    "mirror without the file": (
        "corpus --lang ja --profile full --mirror {files}/empty --source mc4 --shards 0 --workspace {out}",
        "00000-of-01024.json.gz: the mirror has no such file; cut the sources with --source and --shards",
    ),
    "file without a name in UTF-8": (f"{CLEAN} --input {{files}}/odd", "odd/\\udcff.jsonl: is not UTF-8; rename it"),
    "what is no language model": (
        f"{CLEAN} --input {{files}}/good.jsonl --lid-model {{files}}/good.jsonl", "good.jsonl: is no fastText model"
    ),
    "rules with too long a name": (
        "decide --workspace {sample} --lang ja --rules " + "a" * 300 + ".yaml", "File name too long"
    ),
    "language model": (f"{CLEAN} --input {{files}}/good.jsonl --lid-model {{files}}/no.ftz", "no.ftz"),
    "preset": (f"{CLEAN} --input {{files}}/good.jsonl --rules corpuskit-jp", "did you mean corpuskit-ja?"),
    "rule file": (f"{CLEAN} --input {{files}}/good.jsonl --rules {{files}}/no.yaml", "no.yaml: no such file"),
    "signal": (f"{CLEAN} --input {{files}}/good.jsonl --rules {{files}}/signal.yaml", "did you mean num_chars?"),
    "rule field": (f"{CLEAN} --input {{files}}/good.jsonl --rules {{files}}/field.yaml", "minimum"),
    "rule file that is no YAML": (
        f"{CLEAN} --input {{files}}/good.jsonl --rules {{files}}/broken.yaml",
        "not valid YAML",
    ),
    "folder that is a file": (
        "clean --lang ja --input {files}/good.jsonl --out {files}/a_file --executor local", "cannot be made a folder"
    ),
    "folder below a file": (
        "scrub --input {files}/good.jsonl --out {files}/a_file/x --executor local",
        "{files}/a_file/x: cannot be made a folder (Not a directory); choose another one",
    ),
    "workspace below a file": ("corpus --lang ja --workspace {files}/a_file/x", "{files}/a_file/x: cannot be made"),
    "folder that nobody can make": (
        "scrub --input {files}/good.jsonl --out /proc/x --executor local", "/proc/x: cannot be made a folder"
    ),
    "folder with too long a name": (
        f"scrub --input {{files}}/good.jsonl --out {{out}}{'x' * 300} --executor local", "(File name too long)"
    ),
    "folder with a file where results go": (
        "scrub --input {files}/good.jsonl --out {files}/taken --executor local",
        "{files}/taken/read: cannot be made a folder (File exists)",
    ),
    "language, dedup": ("dedup --lang fr --out {out} --input {files}/good.jsonl", "no pipeline for this language"),
    "pack of a workspace to a folder": ("pack --workspace {sample} --out {out}", "--out and --tokenizer belong to"),
    "pack without --out": ("pack --input {files}/good.jsonl", "needs --out DIR and --tokenizer MODEL"),
    "pack without its model": (
        "pack --input {files}/good.jsonl --out {out} --tokenizer no.model",
        "no.model: no such file",
    ),
    "tokenizer without a corpus": ("tokenizer train --workspace {out}", "corpuskit corpus --lang ja"),
    "pack without a corpus": ("pack --workspace {out}", "corpuskit corpus --lang ja"),
    "report without a corpus": ("report --workspace {out}", "corpuskit corpus --lang ja"),
    "mix without a corpus": ("mix --ja 1 --workspace {out}", "corpuskit corpus --lang ja"),
    "train without a mixture": ("train --workspace {out}", "corpuskit mix --ja 0.57 --en 0.31"),
    "no shares": ("mix --workspace {sample}", "no shares given"),
    "share that is no number": ("mix --ja half --workspace {sample}", "--ja half: a share is a number between 0 and 1"),
    "share above 1": ("mix --ja 1.5 --workspace {sample}", "a share lies between 0 and 1"),
    "share given twice": ("mix --ja 0.1 --ja 0.3 --workspace {sample}", "--ja is given twice"),
    "epochs without end": ("mix --ja 0.6 --max-epochs 1e300 --workspace {sample}", "--max-epochs 1e+300: a number"),
    "share that is nothing": ("mix --ja nan --en 0.3 --workspace {sample}", "a share lies between 0 and 1"),
    "shares above 1": (
        "mix --ja 0.7 --en 0.4 --workspace {sample}",
        "the shares sum to 1.1; they may sum to 1 at most",
    ),
    "share of no language": (
        "mix --jp 0.5 --workspace {sample}",
        "--jp: no corpus of 'jp' in this workspace (known: code, en, ja)",
    ),
    "rest for two": ("mix --ja 0.5 --workspace {sample}", "say which language gets the other 0.5"),
    "share without a value": ("mix --ja 0.5 --en --workspace {sample}", "mix:"),
    "weights": ("mix --ja 1 --weights fineweb2-jp --workspace {sample}", "did you mean fineweb2-jpn?"),
    "weights of another language": (
        "mix --en 1 --weights fineweb2-jpn --workspace {sample}",
        "--weights fineweb2-jpn: weighs documents of 'ja', which is not in this mixture",
    ),
    "epochs": ("mix --ja 0.57 --en 0.31 --max-epochs 0 --workspace {sample}", "--max-epochs"),
    "endless epochs": ("mix --ja 0.57 --en 0.31 --max-epochs inf --workspace {sample}", "--max-epochs"),
    "vocabulary": (
        "tokenizer train --vocab-size 1000000 --workspace {sample}",
        "too small for so many pieces; at most ",
    ),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line_and_exit_code_2(
    mistake: str, cli: Cli, files: Path, sample: Path, tmp_path: Path
) -> None:
    words, said = MISTAKES[mistake]
    places = {"files": files, "out": tmp_path / "out", "sample": sample}
    done = cli(*(word.format(**places) for word in words.split()))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert said.format(**places) in done.stderr
    assert done.stdout == ""


def test_an_option_that_is_given_nothing(cli: Cli, files: Path, sample: Path, tree: Tree) -> None:
    before = tree(sample)
    for words in (
        ("decide", "--rules", "hojichar", "--diff", "", "--workspace", sample),
        ("decide", "--rules=", "--workspace", sample),
        ("clean", "--lang", "ja", "--input", files / "good.jsonl", "--out", ""),
    ):
        done = cli(*words)
        assert (done.returncode, done.stdout) == (2, "")
        assert re.fullmatch("error: --(diff|rules|out): is given nothing; is a variable empty\\?\n", done.stderr)
    assert tree(sample) == before


def test_a_mistake_leaves_the_workspace_as_it_was(
    cli: Cli, sample: Path, tree: Tree, files: Path, tmp_path: Path
) -> None:
    before = tree(sample)
    assert cli("mix", "--ja", "2", "--workspace", sample).returncode == 2
    assert (
        cli(
            "corpus", "--lang", "ja", "--profile", "full", "--mirror", files / "empty", "--workspace", sample
        ).returncode
        == 2
    )
    after = tree(sample)
    assert {name for name in after if after[name] != before.get(name)} == set()
    assert set(before) <= set(after), "a mirror without the files cost the sample"
    assert not (tmp_path / "out").exists()
    for words in (
        ("report",),
        ("pack",),
        ("pack", "--dry-run"),
        ("mix", "--ja", "1"),
        ("tokenizer", "train", "--dry-run"),
    ):
        assert cli(*words, "--workspace", tmp_path / "out").returncode == 2
        assert not (tmp_path / "out").exists(), f"{words} made a folder"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(files: Path) -> Iterator[str]:
    """An HTTP server that has nothing."""
    handler = lambda *a: Quiet(*a, directory=str(files / "empty"))  # noqa: E731
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()


def test_a_file_the_mirror_does_not_serve(cli: Cli, server: str, tmp_path: Path) -> None:
    done = cli(
        *("corpus", "--lang", "ja", "--profile", "full", "--mirror", server, "--source", "mc4", "--shards", "0"),
        *("--workspace", tmp_path / "ws"),
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "c4-ja.tfrecord-00000-of-01024.json.gz: the server answers 404" in done.stderr
    assert not [p for p in (tmp_path / "ws").rglob("*") if p.is_file()]


def test_every_command_has_help(cli: Cli) -> None:
    top = cli("--help")
    assert top.returncode == 0
    commands = (
        "corpus",
        "download",
        "clean",
        "dedup",
        "scrub",
        "pack",
        "mix",
        "train",
        "report",
        "tokenizer",
        "decide",
        "explain",
    )
    for name in commands:
        assert name in top.stdout
        words = (name, "train") if name == "tokenizer" else (name,)
        done = cli(*words, "--help")
        assert (done.returncode, done.stderr) == (0, ""), name
        assert "--workspace" in done.stdout or "--out" in done.stdout
    assert cli("--version").stdout.startswith("corpuskit ")
    assert cli("no-such-command").returncode == 2


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from corpuskit.cli import app\n"
        "try: app(['corpus', '--help'])\n"
        "except SystemExit as leave: assert not leave.code\n"
        "heavy = ['ray', 'numba', 'pyarrow', 'torch', 'pandas', 'httpx', 'sentencepiece']\n"
        "print('loaded:', [m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--mirror" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_json_is_the_only_thing_on_stdout(cli: Cli, files: Path, sample: Path, tmp_path: Path) -> None:
    good = files / "good.jsonl"
    local = ("--executor", "local")
    results = {}
    for words in (
        ("clean", "--lang", "ja", "--input", good, "--out", tmp_path / "clean", *local),
        ("dedup", "--input", good, "--out", tmp_path / "dedup", *local),
        ("scrub", "--input", good, "--out", tmp_path / "scrub", *local),
        ("mix", "--ja", "0.57", "--en", "0.31", "--dry-run", "--workspace", sample),
        ("pack", "--dry-run", "--workspace", sample),
        ("corpus", "--lang", "ja", "--dry-run", "--profile", "full"),
        ("download", "--lang", "ja", "--dry-run"),
    ):
        done = cli(*words, "--json")
        assert (done.returncode, done.stderr) == (0, ""), words
        results[words[0]] = json.loads(done.stdout)
    for step in ("clean", "dedup", "scrub"):
        assert results[step]["total"]["kept"] == 1
        assert json.loads((tmp_path / step / "funnel.json").read_bytes()) == results[step]
    assert results["corpus"]["languages"]["ja"]["sources"][2]["files"] == 16  # a first run of mC4 is bounded
    failed = cli("clean", "--lang", "ja", "--input", "no", "--out", tmp_path / "x", "--json")
    assert (failed.returncode, failed.stdout) == (2, "")


def test_a_dry_run_touches_nothing(cli: Cli, files: Path, sample: Path, tree: Tree, tmp_path: Path) -> None:
    before, mtime = tree(sample), sample.stat().st_mtime_ns
    good, out = files / "good.jsonl", tmp_path / "out"
    for words in (
        ("corpus", "--lang", "ja", "--workspace", out),
        ("corpus", "--lang", "ja", "--profile", "full", "--workspace", sample),
        ("download", "--lang", "ja", "--workspace", out),
        ("clean", "--lang", "ja", "--input", good, "--out", out),
        ("dedup", "--input", good, "--out", out),
        ("scrub", "--input", good, "--out", out),
        ("pack", "--input", good, "--out", out, "--tokenizer", sample / "tokenizer" / "tokenizer.model"),
        ("pack", "--workspace", sample),
        ("tokenizer", "train", "--workspace", sample),
        ("mix", "--ja", "0.57", "--en", "0.31", "--workspace", sample),
    ):
        done = cli(*words, "--dry-run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert done.stdout
        assert list(tmp_path.iterdir()) == [], words
    assert tree(sample) == before
    assert sample.stat().st_mtime_ns == mtime


def pack_as(kind: str, folder: Path, texts: list[str]) -> None:
    lines = "".join(line(text, url="https://example.org/", rating=5) for text in texts).encode()
    writers: dict[str, Callable[[], bytes]] = {
        "jsonl": lambda: lines,
        "jsonl.gz": lambda: gzip.compress(lines),
        "jsonl.zst": lambda: zstandard.ZstdCompressor().compress(lines),
        "jsonl.xz": lambda: lzma.compress(lines),
        "jsonl.bz2": lambda: bz2.compress(lines),
    }
    if kind == "parquet":
        table = pa.table({"text": texts, "url": ["https://example.org/"] * len(texts), "rating": [5] * len(texts)})
        pq.write_table(table, folder / "x.parquet")
    elif kind == "txt":
        for n, text in enumerate(texts):
            (folder / f"{n}.txt").write_text(text, encoding="utf-8")
    else:
        (folder / f"x.{kind}").write_bytes(writers[kind]())


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "jsonl.zst", "jsonl.xz", "jsonl.bz2", "parquet", "txt"])
def test_foreign_files_of_every_kind(kind: str, cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    pack_as(kind, tmp_path / "in", [GOOD, BAD, GOOD.replace("港", "山")])
    pattern = tmp_path / "in" / f"*.{kind}"
    done = cli("clean", "--lang", "ja", "--input", pattern, "--out", tmp_path / "out", "--executor", "local", "--json")
    assert done.returncode == 0, done.stderr
    total = json.loads(done.stdout)["total"]
    assert {k: total[k] for k in ("in", "kept", "dropped", "duplicates", "quarantined")} == {
        "in": 3, "kept": 2, "dropped": 1, "duplicates": 0, "quarantined": 0
    }  # fmt: skip
    kept = [row for file in sorted((tmp_path / "out" / "kept").iterdir()) for row in pq.read_table(file).to_pylist()]
    assert [row["text"] for row in kept] == [GOOD, GOOD.replace("港", "山")]
    [removed] = [r for file in (tmp_path / "out" / "removed").iterdir() for r in pq.read_table(file).to_pylist()]
    assert (removed["text"], removed["step"], removed["rule"]) == (BAD, "clean", "too_short")
    if kind != "txt":
        assert json.loads(kept[0]["meta"])["fields"] == {"rating": 5}
        assert kept[0]["url"] == "https://example.org/"


def test_a_file_that_gives_nothing_is_named(cli: Cli, files: Path, tmp_path: Path) -> None:
    for reader, quiet in (("wikipedia", False), ("jsonl", True)):
        where = ("--out", tmp_path / reader, "--executor", "local", "--json")
        done = cli("scrub", "--input", files / "good.jsonl", "--reader", reader, *where)
        said = f"WARNING: {files}/good.jsonl: nothing in it could be read as wikipedia; name the right reader with"
        assert done.returncode == 0 and (done.stderr == "" if quiet else done.stderr.startswith(said)), done.stderr


def test_another_text_field(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({"body": GOOD, "link": "https://example.org/"}) + "\n")
    done = cli(
        *("clean", "--lang", "ja", "--input", tmp_path / "x.jsonl", "--out", tmp_path / "out", "--executor", "local"),
        *("--text-field", "body", "--url-field", "link"),
    )
    assert done.returncode == 0, done.stderr
    [row] = pq.read_table(tmp_path / "out" / "kept").to_pylist()
    assert (row["text"], row["url"]) == (GOOD, "https://example.org/")


def test_broken_lines_are_quarantined_and_counted(cli: Cli, tmp_path: Path) -> None:
    broken = [b'{"text": "cut off\n', b'{"text": 5}\n', b"[1]\n", b'{"text": "\xff\xfe"}\n']
    lines = [line(GOOD).encode(), *broken, b"\n", line(BAD).encode()]
    (tmp_path / "mixed.jsonl").write_bytes(b"".join(lines))
    (tmp_path / "broken.jsonl").write_bytes(b"".join(broken))
    (tmp_path / "nothing.jsonl").write_bytes(b"")
    (tmp_path / "marked.jsonl").write_bytes(codecs.BOM_UTF8 + line(GOOD).encode() + codecs.BOM_UTF8 + b"{}\n")
    (tmp_path / "cut.jsonl.gz").write_bytes(
        gzip.compress(b"".join(line(f"{GOOD}{n}").encode() for n in range(500)))[:-200]
    )
    (tmp_path / "false.jsonl.gz").write_bytes(b"this is no gzip")
    wanted = {  # in, kept, dropped, quarantined
        "mixed.jsonl": (6, 1, 1, 4),
        "broken.jsonl": (4, 0, 0, 4),
        "nothing.jsonl": (0, 0, 0, 0),
        "marked.jsonl": (2, 1, 0, 1),  # a byte order mark is one at the beginning alone
        "false.jsonl.gz": (1, 0, 0, 1),
    }
    for name, counts in wanted.items():
        out = tmp_path / f"out-{name}"
        words = ("--input", tmp_path / name, "--out", out, "--executor", "local", "--json")
        done = cli("clean", "--lang", "ja", *words)
        assert (done.returncode, done.stderr) == (0, ""), name
        total = json.loads(done.stdout)["total"]
        assert tuple(total[k] for k in ("in", "kept", "dropped", "quarantined")) == counts, name
        rows = pq.read_table(out / "quarantined").to_pylist() if counts[3] else []
        assert len(rows) == counts[3]
        assert all(row["file"].endswith(name) and row["error"] for row in rows)
    rows = pq.read_table(tmp_path / "out-mixed.jsonl" / "quarantined").to_pylist()
    assert [row["record"] for row in rows] == [1, 2, 3, 4]
    words = ("--input", tmp_path / "cut.jsonl.gz", "--out", tmp_path / "out-cut", "--executor", "local", "--json")
    total = json.loads(cli("clean", "--lang", "ja", *words).stdout)["total"]
    assert total["quarantined"] >= 1
    assert total["in"] == total["kept"] + total["dropped"] + total["quarantined"]


def test_hostile_data_never_reaches_the_terminal_raw(cli: Cli, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / f"{evil}.jsonl").write_text(
        line(evil + GOOD, **{evil: evil, "url": evil}) + line(evil) + evil + "\n", encoding="utf-8"
    )
    runs = [
        cli("clean", "--lang", "ja", "--input", folder, "--out", tmp_path / "out", "--executor", "local"),
        cli("clean", "--lang", "ja", "--input", folder, "--out", tmp_path / "out", "--executor", "local", "--json"),
        cli("clean", "--lang", "ja", "--input", folder, "--out", tmp_path / "out", "--dry-run"),
        cli("clean", "--lang", "ja", "--input", folder, "--out", tmp_path / "out", "--text-field", "body"),
        cli("clean", "--lang", evil, "--input", folder, "--out", tmp_path / "out"),
        cli("dedup", "--input", folder, "--out", tmp_path / "out2", "--executor", "local"),
        cli("mix", f"--{evil}", "0.5", "--workspace", tmp_path / "out"),
    ]
    assert [done.returncode for done in runs] == [0, 0, 0, 2, 2, 0, 2]
    for done in runs:
        shown = done.stdout + done.stderr
        assert [hex(ord(c)) for c in shown if not c.isprintable() and c != "\n"] == [], done.args
    assert "owned" in runs[3].stderr  # the field names are listed, made harmless


def test_interrupted_by_ctrl_c(command: str, tmp_path: Path) -> None:
    rows = "".join(line(f"{GOOD}{n}") for n in range(4000))
    for n in range(6):
        (tmp_path / f"{n}.jsonl").write_text(rows, encoding="utf-8")
    words = [
        "clean",
        "--lang",
        "ja",
        "--input",
        f"{tmp_path}/*.jsonl",
        "--out",
        f"{tmp_path}/out",
        "--executor",
        "local",
    ]
    process = subprocess.Popen([command, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list((tmp_path / "out").glob("receipts/*.json")):
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "stopped; the same command goes on where this one was\n"
    assert not (tmp_path / "out" / "funnel.json").exists()


def test_the_sample_makes_room_and_nothing_makes_room_for_it(cli: Cli, sample: Path, tmp_path: Path) -> None:
    workspace = Path(shutil.copytree(sample, tmp_path / "ws"))
    (workspace / "workspace.json").write_text(json.dumps({"profile": "full"}))
    refused = cli("corpus", "--lang", "ja", "--workspace", workspace)
    assert refused.returncode == 2
    assert "holds a corpus of the profile full; choose another folder with --workspace" in refused.stderr
    assert (workspace / "corpus" / "ja" / "funnel.json").is_file()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or not shutil.which("mount"):
        pytest.skip("only root may mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"mounting is not permitted here: {mounted.stderr.decode().strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_full_disk_is_said_and_a_later_run_finishes(small_disk: Path, cli: Cli, tree: Tree, tmp_path: Path) -> None:
    chance = random.Random(5)
    (tmp_path / "in").mkdir()
    for n in range(4):
        texts = ("".join(chr(chance.randrange(0x4E00, 0x9FFF)) for _ in range(3000)) for _ in range(60))
        (tmp_path / "in" / f"{n}.jsonl").write_text("".join(map(line, texts)), encoding="utf-8")
    words = ("clean", "--lang", "ja", "--input", tmp_path / "in", "--executor", "local")
    full = cli(*words, "--out", small_disk / "out")
    assert full.returncode == 1, full.stderr
    assert "Traceback" not in full.stderr
    assert "No space left on device" in full.stderr or "the disk is full" in full.stderr
    assert full.stdout == ""
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    done = cli(*words, "--out", small_disk / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert cli(*words, "--out", tmp_path / "roomy").returncode == 0
    assert tree(small_disk / "out") == tree(tmp_path / "roomy")
