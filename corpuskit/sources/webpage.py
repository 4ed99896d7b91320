"""A web page to text: a cheap language test before its HTML is parsed, then title and main content.

The test reads what the page says about itself and counts kana; it is there to be fast and to lose nothing, language
identification decides later. Main content is what resiliparse takes for it (no navigation, footers, comments, forms),
paragraphs parted by empty lines; ruby keeps its base, the reading goes. Bounds are in rules/web.yaml.
"""

from __future__ import annotations

import importlib.util
import re
from typing import Any

import numpy as np

from corpuskit.config import UserError
from corpuskit.sources.archive import limits

_HTML_LANG = re.compile(r"<html\b[^>]{0,500}?\blang\s{0,9}=\s{0,9}[\"']?([A-Za-z]{2,8})", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)\b[^<>]*>")
# Elements whose tags do not nest: void ones, those with an implied end, and those whose content is not markup
_FLAT = frozenset(
    re.findall(
        r"\S+",
        """area base br col embed hr img input link meta param source track wbr p li dt dd tr td th thead tbody tfoot
        option optgroup a colgroup rt rp html head body script style textarea title xmp iframe noscript noembed
        template plaintext select button""",
    )
)


class Unusable(Exception):
    """A page that must not be parsed."""


def may_be(text: str, charset: str, lang: str) -> bool:
    """Whether a decoded page may be in a language; True for languages without a test in rules/web.yaml."""
    rule: dict[str, Any] | None = limits()["pretest"].get(lang)
    if rule is None or charset in rule["charsets"]:
        return True
    said = _HTML_LANG.search(text, 0, 4096)
    if said and said[1].lower() == rule["lang"]:
        return True
    window = text[: rule["window"]]
    if window.isascii():
        return False
    units = np.frombuffer(window.encode("utf-16-le", "replace"), dtype="<u2")
    kana = int(np.count_nonzero((units >= 0x3041) & (units <= 0x30FF)))
    return kana >= rule["min_kana"] and kana >= rule["min_kana_share"] * int(np.count_nonzero(units > 0x7F))


def need_web_extra(path: str) -> None:
    """Check that web archives can be read.

    Raises:
        UserError: the packages of the extra `web` are not installed.
    """
    for package in ("fastwarc", "resiliparse"):
        if importlib.util.find_spec(package) is None:
            raise UserError(f"{path}: reading web archives needs {package}; install corpuskit[web]")


def extract(html: str) -> tuple[str | None, str]:
    """Title and main text of a page; the text is empty where nothing looks like content.

    Raises:
        Unusable: more tags than can be parsed in bounded memory.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tags = html.count("<")
    if tags > limits()["max_tags"]:
        raise Unusable(f"a page with more than {limits()['max_tags']} tags")
    tree = HTMLTree.parse(html)
    depth = limits()["max_depth"]
    if tags > limits()["depth_test_tags"] and tree.document and tree.document.query_selector(">".join("*" * depth)):
        tree = HTMLTree.parse(_flatten(html, depth))
    text = extract_plain_text(
        tree,
        preserve_formatting=True,
        main_content=True,
        alt_texts=False,
        comments=False,
        skip_elements=["rt", "rp", "rtc"],
    )
    title = " ".join((tree.title or "").split())
    return title or None, text.strip()


def _flatten(html: str, depth: int) -> str:
    """The page without the tags that nest deeper than `depth`, what stands in them left in place."""
    level = 0

    def keep(match: re.Match[str]) -> str:
        nonlocal level
        if match[2].lower() in _FLAT:
            return match[0]
        if match[1]:
            deep = level > depth
            level = max(0, level - 1)
        else:
            level += 1
            deep = level > depth
        return "" if deep else match[0]

    return _TAG.sub(keep, html)
