"""Signals of a document's URL: blocked hosts, and words in host and path, after RefinedWeb (arXiv 2306.01116, G.1).

    url_blocked           1 where the host, or a domain it stands below, is on rules/url/hosts.txt or the pipeline's own
                          list; notexample.com does not stand below example.com
    url_word_score        of the host: 1 for each word of `inside` and `hard`, 0.5 for each of `soft`
    url_path_word_score   likewise, of path and query, percent signs decoded

A document without a URL measures 0. Hosts are compared in lower case and in ASCII (日本.example is xn--wgv71a.example),
without user, port or trailing dot; words look at the Unicode form. The words stand in rules/url/words.yaml.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.config import Strict, UserError, data_dir, load_yaml

SIGNALS = ("url_blocked", "url_word_score", "url_path_word_score")
URL_CHARS = 4096  # the rest of a longer URL is not looked at

_AUTHORITY_ENDS = re.compile(r"[/?#\\]")
_NO_LETTER = re.compile(r"[^a-z]+")


class _Words(Strict):
    inside: tuple[str, ...]
    hard: tuple[str, ...]
    soft: tuple[str, ...]


class _File(Strict):
    innocent: tuple[str, ...]
    host: _Words
    path: _Words


def measure_urls(urls: pa.Array, blocklist: str | None = None) -> npt.NDArray[np.float64]:
    """The signals of a column of URLs, nulls among them: float64, one row a document, one column a name of SIGNALS.

    Args:
        urls: a string column.
        blocklist: a file of more hosts, one a line (as the `domains` files of UT1), # for comments.

    Raises:
        UserError: the blocklist cannot be read.
    """
    hosts, words = blocked_hosts(blocklist), _words()
    out = np.zeros((len(urls), len(SIGNALS)), np.float64)
    seen: dict[str, tuple[float, float]] = {}
    for row, url in enumerate(urls.to_pylist()):
        if not url:
            continue
        host, path = split_url(url)
        if host not in seen:
            seen[host] = float(is_blocked(host, hosts)), _score(_readable(host), words.host)
        out[row, :2] = seen[host]
        out[row, 2] = _score(unquote(path, errors="replace").lower(), words.path) if len(path) > 1 else 0
    return out


def split_url(url: str) -> tuple[str, str]:
    """Host (lower case, ASCII where it can be) and the rest of a URL from its path on. Never fails; linear time."""
    url = url[:URL_CHARS].strip()
    _, marked, rest = url.partition("://")
    rest = rest if marked else url.lstrip("/")
    ends = _AUTHORITY_ENDS.search(rest)
    authority, path = (rest[: ends.start()], rest[ends.start() :]) if ends else (rest, "")
    host = authority.rpartition("@")[2]
    host = host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]
    return _ascii(host), path


def is_blocked(host: str, hosts: frozenset[str]) -> bool:
    """Whether a host, or a domain it stands below, is among the hosts."""
    while host:
        if host in hosts:
            return True
        host = host.partition(".")[2]
    return False


@functools.cache
def blocked_hosts(blocklist: str | None = None) -> frozenset[str]:
    """The hosts of rules/url/hosts.txt, and of a file of one's own.

    Raises:
        UserError: that file cannot be read.
    """
    hosts: set[str] = set()
    for path in (data_dir("rules") / "url" / "hosts.txt", *((Path(blocklist),) if blocklist else ())):
        try:
            with path.open(encoding="utf-8") as lines:
                hosts.update(_ascii(line.partition("#")[0].strip()) for line in lines)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"blocklist: {path}: cannot be read ({error}); it is one host a line") from None
    return frozenset(hosts - {""})


def _ascii(host: str) -> str:
    host = host.lower().rstrip(".")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode()
    except UnicodeError:
        return host


def _readable(host: str) -> str:
    """The host with its xn-- labels decoded, where they can be."""
    if "xn--" not in host:
        return host
    try:
        return host.encode().decode("idna")
    except UnicodeError:
        return host


def _score(text: str, words: _Words) -> float:
    for innocent in _words().innocent:
        text = text.replace(innocent, "-")
    runs = set(_NO_LETTER.split(text))
    certain = sum(w in text for w in words.inside) + sum(w in runs for w in words.hard)
    return certain + 0.5 * sum(w in runs if w.isascii() else w in text for w in words.soft)


@functools.cache
def _words() -> _File:
    return _File.model_validate(load_yaml(data_dir("rules") / "url" / "words.yaml"))
