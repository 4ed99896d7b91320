"""URL signals: hosts, domains above them, words; and that no URL is too odd."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corpuskit.config import UserError
from corpuskit.filters.urls import SIGNALS, blocked_hosts, is_blocked, measure_urls, split_url


def signals(url: str | None, blocklist: str | None = None) -> list[float]:
    return measure_urls(pa.array([url], pa.string()), blocklist)[0].tolist()


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://example.jp/a/b?c=d#e", "example.jp", "/a/b?c=d#e"),
        ("HTTPS://User:Secret@WWW.Example.JP:8080/", "www.example.jp", "/"),
        ("http://a@b@example.jp/x@y", "example.jp", "/x@y"),
        ("//example.jp?x", "example.jp", "?x"),
        ("example.jp./x", "example.jp", "/x"),
        ("https://日本.example/あ", "xn--wgv71a.example", "/あ"),
        ("http://[2001:db8::1]:80/x", "[2001:db8::1]", "/x"),
        ("https://", "", ""),
        ("https:///x", "", "/x"),
        ("http://example.jp\\@5ch.net/", "example.jp", "\\@5ch.net/"),
    ],
)
def test_host_and_path(url: str, host: str, path: str) -> None:
    assert split_url(url) == (host, path)


def test_a_host_is_blocked_by_itself_and_by_a_domain_above_it_only() -> None:
    hosts = frozenset({"example.jp"})
    assert is_blocked("example.jp", hosts) and is_blocked("a.b.example.jp", hosts)
    assert not is_blocked("notexample.jp", hosts) and not is_blocked("jp", hosts) and not is_blocked("", hosts)
    assert signals("https://itest.5ch.net/test")[0] == 1
    assert signals("https://5ch.net.example.jp/")[0] == 0


def test_a_list_of_ones_own_comes_beside_the_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "domains"
    own.write_text("# mine\nBad.Example  # why\n日本.example\n\n", encoding="utf-8")
    assert signals("https://www.bad.example/", str(own))[0] == 1
    assert signals("https://xn--wgv71a.example/", str(own))[0] == 1
    assert signals("https://5ch.net/", str(own))[0] == 1
    assert signals("https://www.bad.example/")[0] == 0
    with pytest.raises(UserError, match=r"blocklist: .*missing: cannot be read .*; it is one host a line"):
        blocked_hosts(str(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("url", "host_score", "path_score"),
    [
        ("https://www.freeporn-tube.example/", 1.5, 0),  # porn inside, tube alone
        ("https://hentaigana.example.jp/支援交流会", 0, 0),
        ("https://ville-pornic.example.fr/hentaigana", 0, 0),
        ("https://hentai.example.jp/援交", 1, 1),
        (f"https://example.jp/{'a/' * 500}無修正", 0, 1),
        ("https://muryou-douga.example/", 1, 0),  # two soft words
        ("https://av.watch.example.jp/", 0.5, 0),  # one is not enough
        ("https://essex.example/middlesex/specialist", 0, 0),
        ("https://fuzoku.example.ac.jp/", 0, 0),  # a school that belongs to a university
        ("https://xn--dckwb5c8b2c.example/", 0, 0),
        ("https://アダルト動画.example/", 1, 0),
        ("https://example.jp/%E7%84%A1%E4%BF%AE%E6%AD%A3", 0, 1),  # 無修正
        ("https://example.jp/sex-education", 0, 0.5),
        ("https://example.jp/?q=casino+slots", 0, 1),
        ("https://example.jp/%ff%", 0, 0),
    ],
)
def test_words_in_host_and_path(url: str, host_score: float, path_score: float) -> None:
    assert signals(url)[1:] == [host_score, path_score]


def test_no_url_measures_nothing() -> None:
    assert signals(None) == signals("") == [0.0] * len(SIGNALS)


@settings(max_examples=200, deadline=None)
@given(
    st.text(max_size=80)
    | st.sampled_from(["xn--\ud7ff.jp", "http://" + "a" * 100 + ".jp", "xn--", ".", "http://xn--a.jp"])
)
def test_no_url_is_too_odd(url: str) -> None:
    values = signals(url)
    assert values[0] in (0, 1) and min(values) >= 0
