"""One spelling for the URLs of one page: without scheme, www., default port, tracking parameters and fragment.

The path keeps its case and the other parameters their order: servers may tell them apart.
"""

from __future__ import annotations

import functools
from pathlib import Path
from urllib.parse import urlsplit

from corpuskit.config import UserError, data_dir, load_yaml

_PORTS = {"http": ":80", "https": ":443"}


def tracking_file() -> Path:
    """The file of the parameters that are left out; a changed one signs all documents anew."""
    return data_dir("rules") / "dedup" / "urls.yaml"


@functools.cache
def _tracking() -> tuple[frozenset[str], tuple[str, ...]]:
    path = tracking_file()
    rules = load_yaml(path)
    try:
        return frozenset(map(str.lower, rules["names"])), tuple(map(str.lower, rules["prefixes"]))
    except (TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: expected lists of strings under names and prefixes ({error})") from None


def normalize_url(url: str) -> str:
    """The URL as its duplicates are told by: `https://www.Example.jp:443/a?utm_source=x&p=1#top` is `example.jp/a?p=1`.

    What is no URL with a host comes back without white space around it.
    """
    url = url.strip()
    try:
        parts = urlsplit(url)
    except ValueError:  # a broken bracketed host
        return url
    if not parts.netloc:
        return url
    host = parts.netloc.rpartition("@")[2].lower()
    host = host.removesuffix(_PORTS.get(parts.scheme.lower(), ":")).removesuffix(".").removeprefix("www.")
    names, prefixes = _tracking()
    query = "&".join(
        p
        for p in parts.query.split("&")
        if p and not ((name := p.partition("=")[0].lower()) in names or name.startswith(prefixes))
    )
    return f"{host}{parts.path or '/'}" + (f"?{query}" if query else "")
