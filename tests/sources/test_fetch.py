"""Fetching from a real local server that misbehaves on purpose, from a real local S3, and from folders.

Each test ends in the exact file or in one clear error, never in a wrong file with a success.
"""

from __future__ import annotations

import bz2
import email.utils
import gzip
import hashlib
import importlib.util
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from fault_server import FaultServer, Handler, body, chunked, cutting, ranged, send, slowly, stalling, status

from corpuskit.config import Failure, UserError, sample_dir
from corpuskit.engine.plan import Input
from corpuskit.sources import fetch
from corpuskit.sources.fetch import check_all, local_path
from corpuskit.sources.transfer import Policy, public
from corpuskit.sources.verify import Digest, checksum_lists, etag_digest, published_digest

DATA = gzip.compress("本文です。".encode() * 100, mtime=0)
BIG = gzip.compress(random.Random(0).randbytes(300_000), mtime=0)
OTHER = gzip.compress(random.Random(1).randbytes(300_000), mtime=0)
URL = "https://data.example.org/corpus/a.json.gz"
PATH = "/data.example.org/corpus/a.json.gz"
QUICK = Policy(connect=2, silence=1, attempts=3, first_wait=0.01, longest_wait=0.05, longest_pause=5)


def fetch_all(urls: list[str], raw: Path, mirror: str | None, policy: Policy = QUICK, **more: int) -> dict[str, Input]:
    return fetch.fetch_all(urls, raw, mirror, policy=policy, **more)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = FaultServer()
    yield running
    running.stop()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def record_of(found: Input) -> dict[str, Any]:
    return orjson.loads(Path(found.path + ".receipt.json").read_bytes())


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_is_fetched_whole_and_recorded(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA)]
    found = fetch_all([URL], tmp_path, server.url + "/")[URL]
    assert Path(found.path) == tmp_path / "data.example.org" / "corpus" / "a.json.gz"
    assert Path(found.path).read_bytes() == DATA
    assert (found.name, found.size, found.sha256) == (URL, len(DATA), hashlib.sha256(DATA).hexdigest())
    assert record_of(found) == {
        "url": URL,
        "size": len(DATA),
        "sha256": found.sha256,
        "host": server.url.removeprefix("http://"),
        "verified_by": "gz read to its end",
    }
    assert files(tmp_path) == ["data.example.org/corpus/a.json.gz", "data.example.org/corpus/a.json.gz.receipt.json"]


def test_without_a_mirror_the_url_itself_is_asked(server: FaultServer, tmp_path: Path) -> None:
    server.answers["/corpus/a.json.gz?version=2"] = [body(DATA)]
    url = f"{server.url}/corpus/a.json.gz?version=2"
    # the query is part of the question, not of the file's name
    with pytest.raises(UserError, match="something else in place of a gz"):
        server.answers["/corpus/a.json.gz"] = [body(b"other")]
        fetch_all([f"{server.url}/corpus/a.json.gz"], tmp_path / "other", None)
    assert Path(fetch_all([url], tmp_path, None)[url].path).name == "a.json.gz"


def test_what_was_fetched_is_not_fetched_again(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA)]
    first = fetch_all([URL], tmp_path, server.url)
    assert fetch_all([URL], tmp_path, server.url) == first
    assert server.requests == [PATH]


@pytest.mark.parametrize("damage", ["the file is short", "the file is gone", "the record is gone", "the record is cut"])
def test_what_is_not_whole_any_more_is_fetched_again(server: FaultServer, tmp_path: Path, damage: str) -> None:
    server.answers[PATH] = [body(DATA)]
    first = fetch_all([URL], tmp_path, server.url)[URL]
    path, record = Path(first.path), Path(first.path + ".receipt.json")
    if damage == "the file is short":
        path.write_bytes(DATA[:-1])
    elif damage == "the file is gone":
        path.unlink()
    elif damage == "the record is gone":
        record.unlink()
    else:
        record.write_bytes(record.read_bytes()[:-10])
    assert fetch_all([URL], tmp_path, server.url)[URL] == first
    assert path.read_bytes() == DATA and len(server.requests) == 2


def test_many_files_come_back_in_the_order_that_was_asked_for(server: FaultServer, tmp_path: Path) -> None:
    urls = [f"https://data.example.org/{n:02d}.gz" for n in (5, 3, 9, 1, 7, 0, 8)]
    for url in urls:
        server.answers["/data.example.org/" + url[-5:]] = [body(gzip.compress(url.encode(), mtime=0))]
    found = fetch_all(urls, tmp_path, server.url)
    assert list(found) == urls
    assert [gzip.decompress(Path(found[url].path).read_bytes()).decode() for url in urls] == urls


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_file_that_is_not_there_is_told_at_once(server: FaultServer, tmp_path: Path, code: int) -> None:
    server.answers[PATH] = [status(code)]
    with pytest.raises(
        UserError, match=f"{PATH}: the server answers {code}; cut the sources with --source and --shards"
    ):
        fetch_all([URL], tmp_path, server.url)
    assert (files(tmp_path), len(server.requests)) == ([], 1)


IN_PLACE_OF_DATA = {
    b"<!DOCTYPE html><html><body>Not found</body></html>": "an HTML page",
    b"\n  <html>\n<body>Sign in</body></html>": "an HTML page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": (
        "a git-LFS pointer, not the data (which has 12,345 bytes, sha256 4d7a; git lfs pull fetches it),"
    ),
    b'{"error": "rate limit"}': "a JSON message",
    b"PK\x03\x04": "something else",
    b"": "an empty file",
}


@pytest.mark.parametrize("content", IN_PLACE_OF_DATA)
@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2", "zst"])
def test_what_is_not_the_file_is_told_and_not_kept(
    server: FaultServer, tmp_path: Path, content: bytes, suffix: str
) -> None:
    server.answers[f"/data.example.org/a.{suffix}"] = [body(content)]
    url = f"https://data.example.org/a.{suffix}"
    with pytest.raises(
        UserError, match=f"{url}: the server sent {re.escape(IN_PLACE_OF_DATA[content])} in place of a {suffix} file"
    ):
        fetch_all([url], tmp_path, server.url)
    assert files(tmp_path) == []


def test_a_short_body_is_tried_again_and_then_told(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA[:-5], length=len(DATA))]
    with pytest.raises(Failure, match=f"{PATH}: could not be fetched"):
        fetch_all([URL], tmp_path, server.url)
    assert (files(tmp_path), len(server.requests)) == ([], 3)


def test_a_short_body_that_is_whole_the_second_time_is_fine(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA[:-5], length=len(DATA)), body(DATA)]
    found = fetch_all([URL], tmp_path, server.url)[URL]
    assert Path(found.path).read_bytes() == DATA and found.sha256 == hashlib.sha256(DATA).hexdigest()


def test_a_server_in_trouble_is_asked_again(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(503), body(DATA)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == DATA


def test_a_server_that_stays_in_trouble_is_told_in_one_line(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(500)]
    with pytest.raises(Failure, match=r"could not be fetched .*500") as caught:
        fetch_all([URL], tmp_path, server.url)
    assert "\n" not in str(caught.value) and files(tmp_path) == []


def test_a_server_that_is_not_there_is_told(server: FaultServer, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(Failure, match="could not be fetched"):
        fetch_all([URL], tmp_path, server.url)


def test_a_redirect_is_followed(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(302, Location=f"{server.url}/elsewhere")]
    server.answers["/elsewhere"] = [body(DATA)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == DATA


def test_a_body_without_a_length_is_taken_as_it_comes(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA, length=None)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == DATA


def test_a_server_that_likes_to_compress_does_not_change_the_file(server: FaultServer, tmp_path: Path) -> None:
    text = "本文です。\n".encode() * 50

    def answer(handler: Handler) -> None:
        if "gzip" in handler.headers.get("Accept-Encoding", ""):
            body(gzip.compress(text), Content_Encoding="gzip")(handler)
        else:
            body(text)(handler)

    server.answers["/data.example.org/a.jsonl"] = [answer]
    url = "https://data.example.org/a.jsonl"
    assert Path(fetch_all([url], tmp_path, server.url)[url].path).read_bytes() == text


def test_one_missing_file_does_not_lose_the_others(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA)]
    with pytest.raises(UserError, match="404"):
        fetch_all([URL, "https://data.example.org/none.gz"], tmp_path, server.url)
    assert fetch_all([URL], tmp_path, server.url)[URL].size == len(DATA)
    assert server.requests.count(PATH) == 1


# --- a folder in place of the hosts ---------------------------------------------------------------------------------


def test_files_of_an_offline_folder_are_read_where_they_lie(tmp_path: Path) -> None:
    path = tmp_path / "mirror" / "data.example.org" / "corpus" / "a.json.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    found = fetch_all([URL], tmp_path / "raw", str(tmp_path / "mirror"))[URL]
    assert (found.path, found.name, found.sha256) == (str(path), URL, hashlib.sha256(DATA).hexdigest())
    assert not (tmp_path / "raw").exists()


def test_a_link_in_an_offline_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(DATA)
    link = tmp_path / "mirror" / "data.example.org" / "corpus" / "a.json.gz"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "blob")
    assert fetch_all([URL], tmp_path / "raw", str(tmp_path / "mirror"))[URL].size == len(DATA)


def test_an_offline_folder_without_the_file_or_no_folder_at_all_is_told(tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    with pytest.raises(UserError, match=r"a\.json\.gz: the mirror has no such file; cut the sources"):
        fetch_all([URL], tmp_path / "raw", str(tmp_path / "mirror"))
    with pytest.raises(UserError, match=r"--mirror .*none: no such folder"):
        fetch_all([URL], tmp_path / "raw", str(tmp_path / "none"))


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example/../../etc/passwd",
        "https://host.example/a/../../other/b.gz",
        "https://../b.gz",
        "https://./b.gz",
        "https:///b.gz",
        "https://host.example",
        "b.gz",
    ],
)
def test_no_url_leads_out_of_its_folder(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="not a usable URL"):
        local_path(url, tmp_path)


def test_a_file_lies_under_its_host(tmp_path: Path) -> None:
    assert local_path("https://host.example//a//b.gz?x=1#y", tmp_path) == tmp_path / "host.example" / "a" / "b.gz"


@pytest.mark.parametrize(
    "content", [b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n", b"<html>"]
)
def test_an_offline_folder_that_holds_pointers_or_pages_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.example.org" / "corpus" / "a.json.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.json\.gz is (a git-LFS pointer|an HTML page).* in place of a gz file"):
        fetch_all([URL], tmp_path / "raw", str(tmp_path))


def test_an_offline_folder_is_verified_by_the_lists_that_lie_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "dumps.wikimedia.org" / "jawiki" / "20261101"
    folder.mkdir(parents=True)
    (folder / DUMP.rsplit("/", 1)[-1]).write_bytes(PAGES)
    (folder / "jawiki-20261101-md5sums.txt").write_text(
        f"{hashlib.md5(PAGES).hexdigest()}  {DUMP.rsplit('/', 1)[-1]}\n"
    )
    assert fetch_all([DUMP], tmp_path / "raw", str(tmp_path))[DUMP].sha256 == sha256(PAGES)
    (folder / DUMP.rsplit("/", 1)[-1]).write_bytes(PAGES + b"x")
    with pytest.raises(UserError, match=r"damaged: its md5 is .* where jawiki-20261101-md5sums.txt says"):
        fetch_all([DUMP], tmp_path / "raw", str(tmp_path))


# --- a connection that breaks ---------------------------------------------------------------------------------------


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


def test_one_url_twice_is_one_file_and_two_for_one_file_are_refused(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG)]
    assert len(fetch_all([URL, URL], tmp_path, server.url)) == len(server.requests) == 1
    with pytest.raises(UserError, match="would be one file"):
        fetch_all([URL, f"{URL}?version=2"], tmp_path, server.url)


def test_a_server_that_goes_silent_is_given_up_and_asked_again(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [stalling(BIG, 80_000, 3), ranged(BIG)]
    assert fetch_all([URL], tmp_path, server.url, replace(QUICK, silence=0.3))[URL].sha256 == sha256(BIG)
    assert server.ranges() == [None, "bytes=80000-"]


def test_a_server_that_stays_silent_is_told(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [stalling(BIG, 0, 1)]
    with pytest.raises(Failure, match=r"could not be fetched \(.*timed out"):
        fetch_all([URL], tmp_path, server.url, replace(QUICK, silence=0.2, attempts=2))


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


# --- lies -----------------------------------------------------------------------------------------------------------


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


# --- "not now" ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 503])
def test_the_pause_a_server_asks_for_is_kept(server: FaultServer, tmp_path: Path, code: int) -> None:
    server.answers[PATH] = [status(code, Retry_After="1"), ranged(BIG)]
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(BIG)
    first, second = [request.at for request in server.log if request.method == "GET"]
    assert second - first >= 0.99


def test_a_pause_may_be_a_date(server: FaultServer, tmp_path: Path) -> None:
    def later(handler: Handler) -> None:
        status(503, Retry_After=email.utils.formatdate(time.time() + 2, usegmt=True))(handler)

    server.answers[PATH] = [later, ranged(BIG)]
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(BIG)
    first, second = [request.at for request in server.log if request.method == "GET"]
    assert second - first >= 0.9


def test_a_pause_holds_for_the_host_and_not_for_the_file_alone(server: FaultServer, tmp_path: Path) -> None:
    server.answers["/h.example/a.gz"] = [status(429, Retry_After="1"), ranged(BIG)]
    server.answers["/h.example/b.gz"] = [ranged(OTHER)]
    fetch_all(["https://h.example/a.gz", "https://h.example/b.gz"], tmp_path, server.url, replace(QUICK, per_host=1))
    asked = {path: r.at for r in reversed(server.log) if r.method == "GET" and (path := r.path)}
    assert asked["/h.example/b.gz"] - asked["/h.example/a.gz"] >= 0.99


def test_a_pause_that_is_too_long_is_told(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(429, Retry_After="86400")]
    with pytest.raises(Failure, match="answers 429; it asks for a pause of 86,400 seconds"):
        fetch_all([URL], tmp_path, server.url)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "busy",
    [
        status(403, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
        status(403, b"Slow Down"),
        status(403, Retry_After="0"),
        status(500),
        status(408),
    ],
)
def test_slow_down_is_not_a_refusal(server: FaultServer, tmp_path: Path, busy: Any) -> None:
    server.answers[PATH] = [busy, busy, ranged(BIG)]
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(BIG)


def test_pauses_grow_and_are_bounded(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [status(503)]
    with pytest.raises(Failure, match="answers 503"):
        fetch_all([URL], tmp_path, server.url, replace(QUICK, attempts=5, first_wait=0.1, longest_wait=0.2))
    at = [request.at for request in server.log if request.method == "GET"]
    gaps = [b - a for a, b in itertools.pairwise(at)]
    assert len(gaps) == 4 and gaps[0] >= 0.05 and all(gap >= 0.1 for gap in gaps[1:])


def test_no_more_files_of_a_host_at_once_than_the_limit(server: FaultServer, tmp_path: Path) -> None:
    urls = [f"https://h.example/{n}.gz" for n in range(9)]
    server.answers |= {f"/h.example/{n}.gz": [slowly(DATA, 100, 0.02)] for n in range(9)}
    fetch_all(urls, tmp_path, server.url, replace(QUICK, per_host=3))
    assert 2 <= server.most_at_once <= 3


def test_a_host_that_fails_time_after_time_is_left_alone(server: FaultServer, tmp_path: Path) -> None:
    urls = [f"https://h.example/{n}.gz" for n in range(9)]
    server.answers |= {f"/h.example/{n}.gz": [status(500)] for n in range(9)}
    with pytest.raises(Failure, match=r"9 of 9 files could not be fetched; the first: .*/h\.example/0\.gz: could not"):
        fetch_all(urls, tmp_path, server.url, replace(QUICK, attempts=1, per_host=1))
    assert len(server.requests) == 3


def test_files_that_do_not_fit_on_the_disk_are_told_before_anything_is_fetched(
    server: FaultServer, tmp_path: Path
) -> None:
    def huge(handler: Handler) -> None:
        send(handler, 200, b"", {"Content-Length": str(10**18)})

    server.heads[PATH], server.answers[PATH] = huge, [ranged(BIG)]
    with pytest.raises(UserError, match=r"1 files need 1,000,000,000,000,000,000 bytes and [\d,]+ are free; make room"):
        fetch_all([URL], tmp_path, server.url)
    with pytest.raises(UserError, match=r"need 5,000,000,000,000,000 bytes"):  # no HEAD: what the pipeline says
        fetch_all(["https://h.example/a.gz"], tmp_path, server.url, expected=5 * 10**15)
    assert server.requests == []


# --- checksums ------------------------------------------------------------------------------------------------------

PAGES = bz2.compress("<page>本文</page>".encode() * 500)
DUMP = "https://dumps.wikimedia.org/jawiki/20261101/jawiki-20261101-pages-articles-multistream.xml.bz2"
FOLDER = "/dumps.wikimedia.org/jawiki/20261101/"
NAME = DUMP.rsplit("/", 1)[-1]
STATUS = {
    "jobs": {"x": {"status": "done", "files": {NAME: {"size": len(PAGES), "md5": hashlib.md5(PAGES).hexdigest()}}}}
}
LISTS = {
    "jawiki-20261101-sha1sums.txt": f"{'0' * 40}  other\n{hashlib.sha1(PAGES).hexdigest()}  {NAME}\n".encode(),
    "jawiki-20261101-md5sums.txt": f"{hashlib.md5(PAGES).hexdigest()}  {NAME}\n".encode(),
    "dumpstatus.json": orjson.dumps(STATUS),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_dump_is_verified_by_the_lists_beside_it(server: FaultServer, tmp_path: Path, name: str) -> None:
    server.answers |= {FOLDER + NAME: [ranged(PAGES)], FOLDER + name: [body(LISTS[name])]}
    record = record_of(fetch_all([DUMP], tmp_path / "good", server.url)[DUMP])
    assert record["verified_by"] == f"{'sha1' if 'sha1' in name else 'md5'} of {name}"
    assert (record["revision"], record["etag"]) == ("20261101", '"1"')
    wrong = bz2.compress(b"another dump" * 500)
    server.answers[FOLDER + NAME] = [ranged(wrong)]
    with pytest.raises(Failure, match=rf"what came is damaged: it.* where {name} says"):
        fetch_all([DUMP], tmp_path / "wrong", server.url)
    assert files(tmp_path / "wrong") == []


def test_a_page_in_place_of_a_list_is_no_list(server: FaultServer, tmp_path: Path) -> None:
    server.answers |= {FOLDER + name: [body(b"<html>Sorry</html>")] for name in LISTS}
    server.answers[FOLDER + NAME] = [ranged(PAGES)]
    assert record_of(fetch_all([DUMP], tmp_path, server.url)[DUMP])["verified_by"] == "bz2 read to its end"


def test_oscars_list_names_paths() -> None:
    url = "https://huggingface.co/datasets/oscar-corpus/OSCAR-2301/resolve/main/ja_meta/ja_meta_part_1.jsonl.zst"
    line = f"{'ab' * 32}  ./ja_meta/ja_meta_part_1.jsonl.zst\n{'cd' * 32}  ja_meta/ja_meta_part_11.jsonl.zst\n".encode()
    digest = published_digest(url, lambda address: line if address.endswith("/ja_meta/checksum.sha256") else None)
    assert digest == Digest("sha256", "ab" * 32, "checksum.sha256")
    assert checksum_lists(URL) == []


@pytest.mark.parametrize(
    "etag, algorithm",
    [(f'"{"a" * 32}"', "md5"), (f'"{"a" * 64}"', "sha256"), (f'"{"a" * 32}-7"', None), (f'W/"{"a" * 32}"', None)],
)
def test_an_etag_that_looks_like_a_digest(etag: str, algorithm: str | None) -> None:
    digest = etag_digest(etag)
    assert (digest.algorithm if digest else None) == algorithm


def test_the_hubs_linked_etag_decides(server: FaultServer, tmp_path: Path) -> None:
    url, path = "https://huggingface.co/datasets/x/resolve/main/a.gz", "/huggingface.co/datasets/x/resolve/main/a.gz"
    linked = {"X_Linked_Etag": f'"{sha256(BIG)}"', "X_Linked_Size": str(len(BIG)), "X_Repo_Commit": "abc"}
    server.answers[path] = [status(302, Location=f"{server.url}/cdn/a", **linked)]
    server.answers["/cdn/a"] = [ranged(BIG, ETag='"xet"')]
    record = record_of(fetch_all([url], tmp_path / "good", server.url)[url])
    assert (record["verified_by"], record["revision"]) == ("sha256 of X-Linked-Etag", "abc")
    server.answers["/cdn/a"] = [ranged(OTHER)]
    with pytest.raises(Failure, match=r"what came is damaged: .* where X-Linked-Etag says"):
        fetch_all([url], tmp_path / "wrong", server.url)


def test_an_etag_that_is_the_digest_vouches_and_one_that_is_not_means_nothing(
    server: FaultServer, tmp_path: Path
) -> None:
    server.answers[PATH] = [ranged(BIG, ETag=f'"{hashlib.md5(BIG).hexdigest()}"')]
    assert record_of(fetch_all([URL], tmp_path / "md5", server.url)[URL])["verified_by"] == "md5 of ETag"
    server.answers[PATH] = [ranged(BIG, ETag=f'"{"0" * 32}"')]
    assert record_of(fetch_all([URL], tmp_path / "any", server.url)[URL])["verified_by"] == "gz read to its end"


# --- a file that changed upstream -----------------------------------------------------------------------------------


def test_a_lost_file_that_changed_upstream_is_an_error(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG)]
    path = Path(fetch_all([URL], tmp_path, server.url)[URL].path)
    path.unlink()
    server.answers[PATH] = [ranged(OTHER, ETag='"2"')]
    with pytest.raises(Failure, match=r"changed upstream since it was first fetched .*delete .*\.receipt\.json"):
        fetch_all([URL], tmp_path, server.url)
    assert not path.exists()
    Path(f"{path}.receipt.json").unlink()  # the way out
    assert fetch_all([URL], tmp_path, server.url)[URL].sha256 == sha256(OTHER)


def test_check_compares_with_upstream_and_fetches_nothing(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH], server.heads[PATH] = [ranged(BIG)], ranged(BIG)
    urls = [URL, "https://data.example.org/later.gz"]
    fetch_all([URL], tmp_path, server.url)
    assert check_all(urls, tmp_path, server.url) == {"same": 1, "not_comparable": 0, "not_fetched": 1}
    server.heads[PATH] = status(404)
    assert check_all([URL], tmp_path, server.url) == {"same": 0, "not_comparable": 1, "not_fetched": 0}
    server.heads[PATH] = ranged(BIG, ETag='"2"')
    with pytest.raises(Failure, match=f'{URL}: changed upstream since it was fetched .ETag "1", now "2"'):
        check_all([URL], tmp_path, server.url)
    server.heads[PATH] = ranged(DATA)
    with pytest.raises(Failure, match=f"changed upstream since it was fetched .{len(BIG):,} bytes, now {len(DATA):,}"):
        check_all([URL], tmp_path, server.url)
    assert len(server.requests) == 1


def test_another_server_may_send_other_etags(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG)]
    fetch_all([URL], tmp_path, server.url)
    other = FaultServer()
    other.heads[PATH] = ranged(BIG, ETag='"of the mirror"')
    assert check_all([URL], tmp_path, other.url)["same"] == 1
    other.stop()


def test_check_finds_a_file_that_changed_here(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG)]
    path = Path(fetch_all([URL], tmp_path, server.url)[URL].path)
    path.write_bytes(BIG[:-1] + b"?")
    with pytest.raises(Failure, match="is not what was fetched"):
        check_all([URL], tmp_path, server.url)


# --- killed ---------------------------------------------------------------------------------------------------------

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


# --- secrets, proxies -----------------------------------------------------------------------------------------------

TOKEN = "hf_veryVerySecretToken"


def test_a_token_goes_to_its_own_host_alone(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    caplog.set_level("DEBUG")
    elsewhere = FaultServer()
    elsewhere.answers["/cdn?X-Amz-Signature=abc"] = [ranged(BIG, cut=lambda left: 1000), ranged(BIG)]
    server.answers["/a.gz"] = [status(302, Location=f"{elsewhere.url}/cdn?X-Amz-Signature=abc")]
    url = f"{server.url}/a.gz"
    own = replace(QUICK, tokens={server.url: "HF_TOKEN"})
    found = fetch_all([url], tmp_path, None, own)[url]
    assert Path(found.path).read_bytes() == BIG
    assert {r.headers.get("authorization") for r in server.log} == {f"Bearer {TOKEN}"}
    assert {r.headers.get("authorization") for r in elsewhere.log} == {None}
    elsewhere.answers["/huggingface.co/a.gz"] = [ranged(BIG)]
    fetch_all(["https://huggingface.co/a.gz"], tmp_path, elsewhere.url)  # a mirror gets none
    assert {r.headers.get("authorization") for r in elsewhere.log} == {None}
    written = b"".join(p.read_bytes() for p in tmp_path.rglob("*.json"))
    assert TOKEN.encode() not in written and b"Signature" not in written and TOKEN not in caplog.text
    assert "Signature" not in caplog.text
    elsewhere.stop()


@pytest.mark.parametrize(
    "token, hint", [("", "put a token into HF_TOKEN"), (TOKEN, "the token in HF_TOKEN may read it")]
)
def test_a_gated_file_says_which_variable_and_not_the_token(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, token: str, hint: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    server.answers["/a.gz"] = [status(401, TOKEN.encode())]
    with pytest.raises(UserError, match=f"answers 401; accept the set's terms on its page, and .*{hint}") as caught:
        fetch_all([f"{server.url}/a.gz"], tmp_path, None, replace(QUICK, tokens={server.url: "HF_TOKEN"}))
    assert TOKEN not in str(caught.value)


def test_a_password_in_the_mirrors_url_is_used_and_not_shown(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG), status(404)]
    mirror = server.url.replace("://", "://anna:sesame@")
    record = record_of(fetch_all([URL], tmp_path / "good", mirror)[URL])
    assert server.log[-1].headers["authorization"].startswith("Basic ") and "sesame" not in str(record)
    with pytest.raises(UserError, match="answers 404") as caught:
        fetch_all([URL], tmp_path / "bad", mirror)
    assert "sesame" not in str(caught.value)


def test_text_for_errors_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame")
    line = public("no sesame at https://u:p@h.example/a?X-Amz-Signature=b&x=1\nsecond")
    assert line == "no *** at https://h.example/a?X-Amz-Signature=***&x=1"


def test_a_proxy_from_the_environment_is_used(
    server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("NO_PROXY", "")
    server.answers["/far.example/a.gz"] = [ranged(BIG)]
    assert fetch_all(["http://far.example/a.gz"], tmp_path, None)["http://far.example/a.gz"].sha256 == sha256(BIG)


# --- object stores --------------------------------------------------------------------------------------------------


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A real S3 server on this machine with the bucket `corpora`; gives its client."""
    pytest.importorskip("s3fs")
    boto3 = pytest.importorskip("boto3")
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    running = ThreadedMotoServer(port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    endpoint = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    client.create_bucket(Bucket="corpora")
    yield client
    S3FileSystem.clear_instance_cache()
    running.stop()


def test_files_come_from_s3_as_sources_and_as_a_mirror(s3: Any, tmp_path: Path) -> None:
    s3.put_object(Bucket="corpora", Key="my/a.gz", Body=BIG)
    s3.put_object(Bucket="corpora", Key="mirror/data.example.org/corpus/a.json.gz", Body=DATA)
    found = fetch_all(["s3://corpora/my/a.gz"], tmp_path, None)["s3://corpora/my/a.gz"]
    assert Path(found.path) == tmp_path / "corpora" / "my" / "a.gz" and Path(found.path).read_bytes() == BIG
    assert record_of(found)["verified_by"] == "md5 of ETag"
    mirrored = fetch_all([URL], tmp_path, "s3://corpora/mirror")[URL]
    assert Path(mirrored.path).read_bytes() == DATA and mirrored.name == URL
    with pytest.raises(UserError, match=r"s3://corpora/my/none\.gz: there is no such file"):
        fetch_all(["s3://corpora/my/none.gz"], tmp_path, None)


def test_an_unfinished_file_of_s3_is_gone_on_with_unless_it_changed(s3: Any, tmp_path: Path) -> None:
    url, path = "s3://corpora/a.gz", tmp_path / "corpora" / "a.gz"
    s3.put_object(Bucket="corpora", Key="a.gz", Body=BIG)
    found = fetch_all([url], tmp_path, None)[url]
    record = record_of(found)
    note = {"url": url, "size": len(BIG), "etag": record["etag"], "modified": None, "revision": None, "linked": None}
    for content in (BIG, OTHER):
        s3.put_object(Bucket="corpora", Key="a.gz", Body=content)
        path.unlink()
        Path(found.path + ".receipt.json").unlink()
        path.with_name("a.gz.part").write_bytes(BIG[:100_000])
        path.with_name("a.gz.part.json").write_bytes(orjson.dumps(note))
        assert Path(fetch_all([url], tmp_path, None)[url].path).read_bytes() == content
    s3.put_object(Bucket="corpora", Key="a.gz", Body=BIG)
    with pytest.raises(Failure, match="changed upstream"):
        check_all([url], tmp_path, None)


def test_a_store_without_its_package_is_told(tmp_path: Path) -> None:
    if importlib.util.find_spec("huggingface_hub"):
        pytest.skip("huggingface_hub is installed here, so hf:// works")
    with pytest.raises(UserError, match=r"hf://datasets/x/a\.gz: .*install corpuskit\[s3\] or the package for this"):
        fetch_all(["hf://datasets/x/a.gz"], tmp_path, None)
    with pytest.raises(UserError, match="install"):
        fetch_all(["nosuch://x/a.gz"], tmp_path, None)
