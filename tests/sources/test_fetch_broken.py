"""Connections that break, stall, change or lie: each ends in the exact file or in one clear error."""

from __future__ import annotations

import bz2
import email.utils
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fault_server import (
    FaultServer,
    Handler,
    body,
    chunked,
    cutting,
    ranged,
    send,
    slowly,
    stalling,
    status,
    trickling_headers,
)
from fetching import BIG, DATA, OTHER, PATH, QUICK, URL, fetch_all, files, sha256

from corpuskit.config import Failure, UserError, sample_dir


@pytest.mark.parametrize("seed", range(6))
def test_a_connection_that_is_cut_at_random_bytes_is_taken_up_where_it_was(
    server: FaultServer, tmp_path: Path, seed: int
) -> None:
    server.answers[PATH] = cutting(BIG, seed, 4)
    found = fetch_all([URL], tmp_path, server.url, replace(QUICK, attempts=6))[URL]
    assert Path(found.path).read_bytes() == BIG and found.sha256 == sha256(BIG)
    assert server.body_bytes == len(BIG)  # no byte twice
    assert server.ranges()[0] is None and all(asked for asked in server.ranges()[1:])
    assert len(files(tmp_path)) == 2


def test_a_file_that_stays_cut_fails_and_the_next_run_goes_on(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG, cut=lambda left: min(left, 50_000)), ranged(BIG, cut=lambda left: 0)]
    with pytest.raises(Failure, match=rf"{PATH}: could not be fetched \(.*\); run it again to go on"):
        fetch_all([URL], tmp_path, server.url)
    assert files(tmp_path) == [f"{PATH[1:]}.part", f"{PATH[1:]}.part.json"]
    assert (tmp_path / f"{PATH[1:]}.part").read_bytes() == BIG[:50_000]
    server.answers[PATH] = [ranged(BIG)]
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(BIG)
    assert (server.ranges()[-1], server.body_bytes) == ("bytes=50000-", len(BIG))


def test_a_long_file_may_be_cut_more_often_than_there_are_attempts(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG, cut=lambda left: 20_000 if left > 20_000 else None)]
    found = fetch_all([URL], tmp_path, server.url, replace(QUICK, progress=10_000))[URL]
    assert found.sha256 == sha256(BIG) and len(server.requests) > 10


def test_a_server_that_ignores_ranges_starts_again(server: FaultServer, tmp_path: Path) -> None:
    whole = body(BIG, ETag='"1"')
    server.answers[PATH] = [ranged(BIG, cut=lambda left: 70_000), whole]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == BIG
    assert server.ranges() == [None, "bytes=70000-"]


def test_without_anything_that_tells_versions_apart_a_file_starts_again(server: FaultServer, tmp_path: Path) -> None:
    cut = body(BIG[:70_000], length=len(BIG))
    server.answers[PATH] = [cut, body(BIG)]
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(BIG)
    assert server.ranges() == [None, None]


@pytest.mark.parametrize(
    "first", [{"ETag": '"old"'}, {"ETag": 'W/"old"'}, {"Last_Modified": email.utils.formatdate(0)}]
)
def test_a_file_that_changes_between_attempts_is_never_mixed(
    server: FaultServer, tmp_path: Path, first: dict[str, str]
) -> None:
    now = dict.fromkeys(first, '"new"' if "ETag" in first else email.utils.formatdate(10**9, usegmt=True))
    server.answers[PATH] = [ranged(OTHER, cut=lambda left: 100_000, **first), ranged(BIG, **now)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == BIG


def test_a_server_that_ignores_if_range_is_found_out(server: FaultServer, tmp_path: Path) -> None:
    def rest_of_another(handler: Handler) -> None:
        said = {"Content-Range": f"bytes 100000-{len(BIG) - 1}/{len(BIG)}", "ETag": '"new"'}
        send(handler, 206, BIG[100_000:], {"Content-Length": str(len(BIG) - 100_000)} | said)

    server.answers[PATH] = [ranged(OTHER, cut=lambda left: 100_000), rest_of_another, ranged(BIG, ETag='"new"')]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == BIG
    assert server.ranges() == [None, "bytes=100000-", None]


def test_a_file_that_became_shorter_starts_again(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG, cut=lambda left: 100_000), ranged(DATA), ranged(DATA)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == DATA


def test_another_range_than_the_one_asked_for_is_not_taken(server: FaultServer, tmp_path: Path) -> None:
    def wrong(handler: Handler) -> None:
        said = {
            "Content-Range": f"bytes 7-{len(BIG) - 1}/{len(BIG)}",
            "ETag": '"1"',
            "Content-Length": str(len(BIG) - 7),
        }
        send(handler, 206, BIG[7:], said)

    server.answers[PATH] = [ranged(BIG, cut=lambda left: 100_000), wrong, ranged(BIG)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == BIG


def test_a_partial_answer_need_not_repeat_what_if_range_confirmed(server: FaultServer, tmp_path: Path) -> None:
    date = email.utils.formatdate(10**9, usegmt=True)

    def cut(handler: Handler) -> None:
        send(handler, 200, BIG, {"Content-Length": str(len(BIG)), "Last-Modified": date}, 100_000)

    def rest(handler: Handler) -> None:
        assert handler.headers["If-Range"] == date
        said = {"Content-Range": f"bytes 100000-{len(BIG) - 1}/{len(BIG)}"}
        send(handler, 206, BIG[100_000:], {"Content-Length": str(len(BIG) - 100_000)} | said)

    server.answers[PATH] = [cut, rest]
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(BIG)
    assert server.body_bytes == len(BIG)


def test_the_bundled_sample_comes_whole_over_a_bad_connection(server: FaultServer, tmp_path: Path) -> None:
    files_by_url = {}
    for seed, path in enumerate(sorted(p for p in sample_dir().rglob("*.*") if p.suffix in (".gz", ".xz", ".bz2"))):
        relative = str(path.relative_to(sample_dir()))
        files_by_url[f"https://{relative}"] = path
        server.answers[f"/{relative}"] = [status(503), *cutting(path.read_bytes(), seed, 3)]
    found = fetch_all(list(files_by_url), tmp_path, server.url, replace(QUICK, attempts=6))
    assert len(found) > 8
    assert all(Path(found[url].path).read_bytes() == path.read_bytes() for url, path in files_by_url.items())


def test_a_server_that_goes_silent_is_given_up_and_asked_again(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [stalling(BIG, 80_000, 3), ranged(BIG)]
    assert fetch_all([URL], tmp_path, server.url, replace(QUICK, silence=0.3))[URL].sha256 == sha256(BIG)
    assert server.ranges() == [None, "bytes=80000-"]


def test_a_server_that_stays_silent_is_told(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [stalling(BIG, 0, 1)]
    with pytest.raises(Failure, match=r"could not be fetched \(.*timed out"):
        fetch_all([URL], tmp_path, server.url, replace(QUICK, silence=0.2, attempts=2))


def test_a_server_that_trickles_is_given_up_and_asked_for_the_rest(server: FaultServer, tmp_path: Path) -> None:
    slow = replace(QUICK, least_rate=1_000, rate_window=0.4)
    server.answers[PATH] = [slowly(BIG, 1, 0.02), ranged(BIG)]  # 50 bytes a second: never silent for long
    assert fetch_all([URL], tmp_path, server.url, slow)[URL].sha256 == sha256(BIG)
    first, second = server.ranges()
    assert first is None and second is not None and 10 <= int(second[6:-1]) <= 21


def test_a_server_that_goes_on_trickling_ends_in_one_line(server: FaultServer, tmp_path: Path) -> None:
    slow = replace(QUICK, least_rate=1_000, rate_window=0.3, attempts=2)
    server.answers[PATH] = [slowly(BIG, 1, 0.02)]
    begin = time.monotonic()
    with pytest.raises(
        Failure, match=rf"{PATH}: could not be fetched \(too slow: \d+ bytes in 0\.\d seconds\); run it"
    ):
        fetch_all([URL], tmp_path, server.url, slow)
    assert time.monotonic() - begin < 5 and len(server.requests) == 2


@pytest.mark.parametrize("then", ["goes on", "sends"])
def test_a_server_whose_headers_trickle_is_given_up(server: FaultServer, tmp_path: Path, then: str) -> None:
    slow = replace(QUICK, least_rate=1_000, rate_window=0.3, attempts=2)
    server.heads[PATH] = trickling_headers(0.02)  # never silent for long
    server.answers[PATH] = [trickling_headers(0.02), *([ranged(BIG)] if then == "sends" else [])]
    begin = time.monotonic()
    if then == "sends":
        assert fetch_all([URL], tmp_path, server.url, slow)[URL].sha256 == sha256(BIG)
    else:
        with pytest.raises(Failure, match=rf"{PATH}: could not be fetched \(too slow: \d+ bytes in 0\.\d seconds\)"):
            fetch_all([URL], tmp_path, server.url, slow)
    assert time.monotonic() - begin < 5 and len(server.requests) == 2


def test_a_redirect_whose_page_trickles_is_given_up(server: FaultServer, tmp_path: Path) -> None:
    def trickle(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", f"{server.url}/there")
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x")
            time.sleep(0.02)

    server.answers[PATH] = [trickle]
    with pytest.raises(Failure, match=r"could not be fetched \(too slow: "):
        fetch_all([URL], tmp_path, server.url, replace(QUICK, rate_window=0.3, attempts=1))


def test_a_slow_server_that_keeps_the_least_rate_is_waited_for(server: FaultServer, tmp_path: Path) -> None:
    slow = replace(QUICK, least_rate=1_000, rate_window=0.1)
    server.answers[PATH] = [slowly(BIG, 20_000, 0.05)]  # 400,000 bytes a second, for 0.8 s
    assert fetch_all([URL], tmp_path, server.url, slow)[URL].sha256 == sha256(BIG)
    assert len(server.requests) == 1


def test_chunks_without_a_length_are_a_whole_file_or_none(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [chunked(DATA)]
    assert Path(fetch_all([URL], tmp_path / "whole", server.url)[URL].path).read_bytes() == DATA
    server.answers[PATH] = [chunked(DATA, whole=False)]
    with pytest.raises(Failure, match="could not be fetched"):
        fetch_all([URL], tmp_path / "cut", server.url)


@pytest.mark.parametrize("seed", range(20))
def test_any_sequence_of_faults_ends_in_an_exact_file_or_an_error(
    server: FaultServer, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    at = chance.randrange(1, len(BIG))
    faults = [
        ranged(BIG, cut=lambda left: chance.randrange(left)),
        ranged(OTHER, cut=lambda left: chance.randrange(left), ETag='"other"'),
        body(BIG[:at], length=len(BIG)),
        body(BIG[:at], length=at, ETag='"1"'),
        body(BIG, length=len(BIG) + at, ETag='"1"'),
        body(BIG, length=at),
        chunked(BIG[:at], whole=False),
        status(503, Retry_After="0"),
        status(403, b"Slow Down"),
        status(206),
        status(416, Content_Range=f"bytes */{at}"),
    ]
    server.answers[PATH] = [*chance.choices(faults, k=5), ranged(BIG)]
    server.heads[PATH] = chance.choice([ranged(BIG), ranged(OTHER), status(404)])
    try:
        found = fetch_all([URL], tmp_path, server.url, replace(QUICK, attempts=7, damaged=3))[URL]
    except Failure:
        assert not (tmp_path / PATH[1:]).exists()
    else:
        content = Path(found.path).read_bytes()
        assert content in (BIG, OTHER) and found.sha256 == sha256(content)


def test_a_content_length_that_is_too_long_fails(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(BIG, length=len(BIG) + 100, ETag='"1"')]
    with pytest.raises(Failure, match="could not be fetched"):
        fetch_all([URL], tmp_path, server.url)


def test_a_content_length_that_is_too_short_fails(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(BIG, length=len(BIG) - 100, ETag='"1"')]
    with pytest.raises(Failure, match="what came is damaged: the compressed stream ends early"):
        fetch_all([URL], tmp_path, server.url)
    assert files(tmp_path) == []


def test_two_sizes_of_one_plain_file_are_not_believed(server: FaultServer, tmp_path: Path) -> None:
    url, path = "https://data.example.org/a.jsonl", "/data.example.org/a.jsonl"
    server.heads[path] = status(200, b"x" * 1000)
    server.answers[path] = [body(b"x" * 1000, length=900)]
    with pytest.raises(Failure, match="the server sends 900 bytes of a file it says has 1,000"):
        fetch_all([url], tmp_path, server.url)
    assert files(tmp_path) == []


@pytest.mark.parametrize("suffix", ["gz", "bz2"])
def test_bytes_that_changed_on_the_way_are_found_without_a_checksum(
    server: FaultServer, tmp_path: Path, suffix: str
) -> None:
    good = BIG if suffix == "gz" else bz2.compress(BIG)
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    url, path = f"https://data.example.org/a.{suffix}", f"/data.example.org/a.{suffix}"
    server.answers[path] = [body(bytes(bad)), body(good)]
    assert Path(fetch_all([url], tmp_path / "mended", server.url)[url].path).read_bytes() == good
    server.answers[path] = [body(bytes(bad))]
    with pytest.raises(Failure, match="what came is damaged: damaged stream"):
        fetch_all([url], tmp_path / "never", server.url)


def test_a_page_is_told_under_any_name(server: FaultServer, tmp_path: Path) -> None:
    server.answers["/data.example.org/a.jsonl"] = [body(b"<!DOCTYPE html>\n<html>Sign in</html>")]
    with pytest.raises(UserError, match="the server sent an HTML page in place of a jsonl file"):
        fetch_all(["https://data.example.org/a.jsonl"], tmp_path, server.url)


CHILD = """
import sys
from pathlib import Path
from corpuskit.sources.fetch import fetch_all
fetch_all([sys.argv[1]], Path(sys.argv[2]), sys.argv[3])
"""


@pytest.mark.parametrize("least", [1, 60_000, 200_000])
def test_after_a_sigkill_only_the_missing_bytes_are_fetched(server: FaultServer, tmp_path: Path, least: int) -> None:
    server.answers[PATH] = [slowly(BIG, 4_000, 0.01)]
    child = subprocess.Popen([sys.executable, "-c", CHILD, URL, str(tmp_path), server.url])
    part = tmp_path / f"{PATH[1:]}.part"
    until = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= least) and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    held = part.stat().st_size
    assert least <= held < len(BIG)
    server.answers[PATH], server.body_bytes = [ranged(BIG)], 0
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == BIG
    assert (server.ranges()[-1], server.body_bytes) == (f"bytes={held}-", len(BIG) - held)


@pytest.mark.parametrize("head", [True, False])
def test_killed_between_the_last_byte_and_the_rename(server: FaultServer, tmp_path: Path, head: bool) -> None:
    server.answers[PATH] = [ranged(BIG, cut=lambda left: left - 1), ranged(BIG, cut=lambda left: 0)]
    with pytest.raises(Failure):
        fetch_all([URL], tmp_path, server.url)
    with open(tmp_path / f"{PATH[1:]}.part", "ab") as file:
        file.write(BIG[-1:])
    server.answers[PATH], server.body_bytes = [ranged(BIG)], 0
    if head:
        server.heads[PATH] = ranged(BIG)
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(BIG)
    assert server.body_bytes == 0 and len(files(tmp_path)) == 2
