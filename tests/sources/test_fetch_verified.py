"""Checksums from lists and headers; files that changed, upstream or here."""

from __future__ import annotations

import bz2
import hashlib
from pathlib import Path

import orjson
import pytest
from fault_server import FaultServer, body, ranged, status
from fetching import BIG, DATA, DUMP, OTHER, PAGES, PATH, URL, fetch_all, files, record_of, sha256

from corpuskit.config import Failure
from corpuskit.sources.fetch import check_all
from corpuskit.sources.verify import Digest, checksum_lists, etag_digest, published_digest

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
