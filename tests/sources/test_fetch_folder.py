"""Files of an offline folder: read where they lie, checked, and never outside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from fetching import DATA, DUMP, PAGES, URL, fetch_all, sha256

from corpuskit.config import UserError
from corpuskit.sources.fetch import local_path


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
