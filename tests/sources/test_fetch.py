"""Fetching from real local servers that serve files, fail, lie about sizes and send other things in place of data."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import orjson
import pytest

from corpuskit.config import Failure, UserError
from corpuskit.sources import fetch
from corpuskit.sources.fetch import fetch_all, local_path

Answer = Callable[[BaseHTTPRequestHandler], None]

DATA = gzip.compress("本文です。".encode() * 100, mtime=0)
URL = "https://data.example.org/corpus/a.json.gz"
PATH = "/data.example.org/corpus/a.json.gz"


class Server:
    """A mirror on this machine: `answers` by path, one after the other (the last one stays), and the `requests`."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                waiting = outer.answers.get(self.path, [status(404)])
                (waiting.pop(0) if len(waiting) > 1 else waiting[0])(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def body(content: bytes, *, length: int | None = -1, **headers: str) -> Answer:
    """200 with this content; `length` is what Content-Length says, None leaves it out."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        if length is not None:
            handler.send_header("Content-Length", str(len(content) if length < 0 else length))
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = True

    return answer


def status(code: int, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "ATTEMPTS", 2)
    running = Server()
    yield running
    running.stop()


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_a_file_is_fetched_whole_and_recorded(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA)]
    found = fetch_all([URL], tmp_path, server.url + "/")[URL]
    assert Path(found.path) == tmp_path / "data.example.org" / "corpus" / "a.json.gz"
    assert Path(found.path).read_bytes() == DATA
    assert (found.name, found.size, found.sha256) == (URL, len(DATA), hashlib.sha256(DATA).hexdigest())
    record = orjson.loads(Path(found.path + ".receipt.json").read_bytes())
    assert record == {"url": URL, "size": len(DATA), "sha256": found.sha256}
    assert files(tmp_path) == ["data.example.org/corpus/a.json.gz", "data.example.org/corpus/a.json.gz.receipt.json"]


def test_without_a_mirror_the_url_itself_is_asked(server: Server, tmp_path: Path) -> None:
    server.answers["/corpus/a.json.gz?version=2"] = [body(DATA)]
    url = f"{server.url}/corpus/a.json.gz?version=2"
    # the query is part of the question, not of the file's name
    with pytest.raises(UserError, match="something else in place of a gz"):
        server.answers["/corpus/a.json.gz"] = [body(b"other")]
        fetch_all([f"{server.url}/corpus/a.json.gz"], tmp_path / "other", None)
    assert Path(fetch_all([url], tmp_path, None)[url].path).name == "a.json.gz"


def test_what_was_fetched_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA)]
    first = fetch_all([URL], tmp_path, server.url)
    assert fetch_all([URL], tmp_path, server.url) == first
    assert server.requests == [PATH]


@pytest.mark.parametrize("damage", ["the file is short", "the file is gone", "the record is gone", "the record is cut"])
def test_what_is_not_whole_any_more_is_fetched_again(server: Server, tmp_path: Path, damage: str) -> None:
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


def test_many_files_come_back_in_the_order_that_was_asked_for(server: Server, tmp_path: Path) -> None:
    urls = [f"https://data.example.org/{n:02d}.gz" for n in (5, 3, 9, 1, 7, 0, 8)]
    for url in urls:
        server.answers["/data.example.org/" + url[-5:]] = [body(gzip.compress(url.encode(), mtime=0))]
    found = fetch_all(urls, tmp_path, server.url)
    assert list(found) == urls
    assert [gzip.decompress(Path(found[url].path).read_bytes()).decode() for url in urls] == urls


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_a_file_that_is_not_there_is_told_at_once(server: Server, tmp_path: Path, code: int) -> None:
    server.answers[PATH] = [status(code)]
    with pytest.raises(
        UserError, match=f"{PATH}: the server answers {code}; cut the sources with --source and --shards"
    ):
        fetch_all([URL], tmp_path, server.url)
    assert (files(tmp_path), len(server.requests)) == ([], 1)


IN_PLACE_OF_DATA = {
    b"<!DOCTYPE html><html><body>Not found</body></html>": "an HTML page",
    b"\n  <html>\n<body>Sign in</body></html>": "an HTML page",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n": "a git-LFS pointer, not the data",
    b'{"error": "rate limit"}': "something else",
    b"": "something else",
}


@pytest.mark.parametrize("content", IN_PLACE_OF_DATA)
@pytest.mark.parametrize("suffix", ["gz", "xz", "bz2", "zst"])
def test_what_is_not_the_file_is_told_and_not_kept(server: Server, tmp_path: Path, content: bytes, suffix: str) -> None:
    server.answers[f"/data.example.org/a.{suffix}"] = [body(content)]
    url = f"https://data.example.org/a.{suffix}"
    with pytest.raises(
        UserError, match=f"{url}: the server sent {IN_PLACE_OF_DATA[content]} in place of a {suffix} file"
    ):
        fetch_all([url], tmp_path, server.url)
    assert files(tmp_path) == []


def test_a_short_body_is_tried_again_and_then_told(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA[:-5], length=len(DATA))]
    with pytest.raises(Failure, match=f"{PATH}: could not be fetched"):
        fetch_all([URL], tmp_path, server.url)
    assert (files(tmp_path), len(server.requests)) == ([], 2)


def test_a_short_body_that_is_whole_the_second_time_is_fine(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA[:-5], length=len(DATA)), body(DATA)]
    found = fetch_all([URL], tmp_path, server.url)[URL]
    assert Path(found.path).read_bytes() == DATA and found.sha256 == hashlib.sha256(DATA).hexdigest()


def test_a_server_in_trouble_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [status(503), body(DATA)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == DATA


def test_a_server_that_stays_in_trouble_is_told_in_one_line(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [status(500)]
    with pytest.raises(Failure, match=r"could not be fetched .*500") as caught:
        fetch_all([URL], tmp_path, server.url)
    assert "\n" not in str(caught.value) and files(tmp_path) == []


def test_a_server_that_is_not_there_is_told(server: Server, tmp_path: Path) -> None:
    server.stop()
    with pytest.raises(Failure, match="could not be fetched"):
        fetch_all([URL], tmp_path, server.url)


def test_a_redirect_is_followed(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [status(302, Location=f"{server.url}/elsewhere")]
    server.answers["/elsewhere"] = [body(DATA)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == DATA


def test_a_body_without_a_length_is_taken_as_it_comes(server: Server, tmp_path: Path) -> None:
    server.answers[PATH] = [body(DATA, length=None)]
    assert Path(fetch_all([URL], tmp_path, server.url)[URL].path).read_bytes() == DATA


def test_a_server_that_likes_to_compress_does_not_change_the_file(server: Server, tmp_path: Path) -> None:
    text = "本文です。\n".encode() * 50

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if "gzip" in handler.headers.get("Accept-Encoding", ""):
            body(gzip.compress(text), Content_Encoding="gzip")(handler)
        else:
            body(text)(handler)

    server.answers["/data.example.org/a.jsonl"] = [answer]
    url = "https://data.example.org/a.jsonl"
    assert Path(fetch_all([url], tmp_path, server.url)[url].path).read_bytes() == text


def test_one_missing_file_does_not_lose_the_others(server: Server, tmp_path: Path) -> None:
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
