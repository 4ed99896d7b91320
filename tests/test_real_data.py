"""Real text laid out as upstream serves it, over a real HTTP server: ../shared/data."""

from __future__ import annotations

import gzip
import http.server
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1].parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"there is no real data beside the checkout ({DATA})")
Cli = Callable[..., "subprocess.CompletedProcess[str]"]
JAWIKI, MC4 = 243, 1380  # articles in the dump that are no redirects; lines of the shard
PARTS = ("kept", "dropped", "duplicates", "quarantined")


@pytest.fixture(scope="module")
def mirror() -> Iterator[tuple[str, list[str]]]:
    """The address of an HTTP server over the data, and the paths that were fetched."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(DATA))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            if self.command == "GET":
                asked.append(self.path)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_the_full_profile_from_a_mirror(mirror: tuple[str, list[str]], cli: Cli, tmp_path: Path) -> None:
    address, asked = mirror
    words = (
        *("corpus", "--lang", "ja", "--profile", "full", "--mirror", address, "--source", "jawiki", "--source", "mc4"),
        *("--shards", "0-0", "--workspace", tmp_path, "--json"),
    )
    done = cli(*words)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    funnel = result["languages"]["ja"]
    assert {name: counts["in"] for name, counts in funnel["sources"].items()} == {"jawiki": JAWIKI, "mc4": MC4}
    for counts in (funnel["total"], *funnel["sources"].values()):
        assert counts["in"] == sum(counts[part] for part in PARTS)
        assert counts["quarantined"] == 0
        assert counts["kept"] > 0.5 * counts["in"]
    [shard] = DATA.rglob("c4-ja.tfrecord-00000-of-01024.json.gz")
    assert len(gzip.decompress(shard.read_bytes()).splitlines()) == MC4
    assert result["bins"]["ja"]["documents"] == funnel["total"]["kept"]
    assert result["tokenizer"]["pieces"] == 32000
    assert len(asked) == 4  # the dump, its index, the list of checksums, one mC4 file
    again = cli(*words)
    assert json.loads(again.stdout)["shards_run"] == 0
    assert json.loads(again.stdout)["languages"] == result["languages"]
    assert len(asked) == 4, "what was fetched was fetched again"


def test_what_is_no_text_at_all_is_quarantined(cli: Cli, tmp_path: Path) -> None:
    """WARC and ARC files under the name of JSON lines, compressed or not, whole or cut off."""
    folder = tmp_path / "in"
    folder.mkdir()
    for file in sorted((DATA / "warc").iterdir()):
        shutil.copy(file, folder / re.sub(r"\.w?arc(\.gz)?$", r".jsonl\1", file.name))
    done = cli("clean", "--lang", "ja", "--input", folder, "--out", tmp_path / "out", "--executor", "local", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    total = json.loads(done.stdout)["total"]
    assert total["in"] == total["quarantined"] + total["kept"] + total["dropped"]
    assert total["kept"] == 0
    assert total["quarantined"] > 1000


def test_a_truncated_dump_in_place_of_a_text_file(cli: Cli, tmp_path: Path) -> None:
    [dump] = (DATA / "truncated").iterdir()
    for name in ("x.txt.bz2", "x.jsonl.bz2"):
        shutil.copy(dump, tmp_path / name)
    words = ("--input", tmp_path / "*.bz2", "--out", tmp_path / "out", "--executor", "local", "--json")
    done = cli("clean", "--lang", "ja", *words)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    total = json.loads(done.stdout)["total"]
    assert total["in"] == total["quarantined"] > 1
    assert total["kept"] == 0
