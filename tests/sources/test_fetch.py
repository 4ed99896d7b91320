"""Fetching whole files from a real local server, and what is not the file; refusals, addresses, the disk."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest
from fault_server import FaultServer, Handler, body, ranged, send, status
from fetching import BIG, DATA, PATH, URL, fetch_all, files, record_of

from corpuskit.config import Failure, UserError


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


def test_one_url_twice_is_one_file_and_two_for_one_file_are_refused(server: FaultServer, tmp_path: Path) -> None:
    server.answers[PATH] = [ranged(BIG)]
    assert len(fetch_all([URL, URL], tmp_path, server.url)) == len(server.requests) == 1
    with pytest.raises(UserError, match="would be one file"):
        fetch_all([URL, f"{URL}?version=2"], tmp_path, server.url)


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
