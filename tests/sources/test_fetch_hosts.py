"""What hosts ask for is kept: pauses, "slow down", files at once; a host that fails is left alone."""

from __future__ import annotations

import email.utils
import itertools
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, Handler, ranged, slowly, status
from fetching import BIG, DATA, OTHER, PATH, QUICK, URL, fetch_all, sha256

from corpuskit.config import Failure


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
