"""Tokens, passwords and proxies, and object stores (a real local S3)."""

from __future__ import annotations

import importlib.util
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from fault_server import FaultServer, ranged, status
from fetching import BIG, DATA, OTHER, PATH, QUICK, URL, fetch_all, record_of, sha256

from corpuskit.config import Failure, UserError
from corpuskit.sources import remote
from corpuskit.sources.fetch import check_all
from corpuskit.sources.streams import as_input, expand
from corpuskit.sources.transfer import public

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


@pytest.fixture
def silent_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 that takes every connection and never answers."""
    s3fs = pytest.importorskip("s3fs")
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{listening.getsockname()[1]}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setattr(s3fs.S3FileSystem, "retries", 2)  # of 5, with ever longer pauses between them
        s3fs.S3FileSystem.clear_instance_cache()
        yield
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.usefixtures("silent_s3")
def test_a_store_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, quick = time.monotonic(), replace(QUICK, silence=0.2, attempts=2)
    with pytest.raises(Failure, match=r"s3://corpora/a\.gz: could not be fetched \(\w*Timeout\w*: .*; run it again"):
        fetch_all(["s3://corpora/a.gz"], tmp_path, None, quick)
    monkeypatch.setattr(remote, "POLICY", quick)
    with pytest.raises(Failure, match=r"s3://corpora/\*\.gz: \w*Timeout"):
        expand("s3://corpora/*.gz")
    with pytest.raises(Failure, match=r"s3://corpora/a\.gz: \w*Timeout"):
        as_input("s3://corpora/a.gz")
    assert time.monotonic() - begin < 10


def test_a_store_without_its_package_is_told(tmp_path: Path) -> None:
    if importlib.util.find_spec("huggingface_hub"):
        pytest.skip("huggingface_hub is installed here, so hf:// works")
    with pytest.raises(UserError, match=r"hf://datasets/x/a\.gz: .*install corpuskit\[s3\] or the package for this"):
        fetch_all(["hf://datasets/x/a.gz"], tmp_path, None)
    with pytest.raises(UserError, match="install"):
        fetch_all(["nosuch://x/a.gz"], tmp_path, None)
