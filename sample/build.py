"""Build the bundled sample, corpuskit/sample/, from the texts in this folder: python sample/build.py

The texts were written for this project. A file holds documents, each under a header line

    #### id=ja-news-01 url=... date=... pii=email:1,phone:1

and a near-duplicate is written as edits of another document of its file (near=ID; `old => new`, `+ line after`,
`^ line before`). What comes out is laid out as the hosts serve it and packed as upstream packs it, so that the real
readers read it; expected.tsv says what must happen to each document:

    name   id   source   outcome                               survivor   email   phone_jp
           kept, dropped:<rule>, duplicate or no_document     of a duplicate: the name of the one that stays
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import xxhash

from corpuskit.config import load_pipeline
from corpuskit.schema import document_id

HERE = Path(__file__).parent
OUT = HERE.parent / "corpuskit" / "sample"
PAGES_A_STREAM = 8

# which texts go to which source, and to which of its numbered files
CONTENTS = {
    "ja": {
        "jawiki": ["ja-wiki"],
        "cc100": ["ja-law", "ja-diary"],
        "mc4": ["ja-news", "ja-recipe", "ja-forum", "ja-product", "ja-tech", "ja-travel", "ja-notice", "ja-bad"],
    },
    "en": {"enwiki": ["en-wiki"], "cc100": ["en-book"], "c4": ["en-web"]},
    "code": {"snippets": ["code"]},
}


class Text(NamedTuple):
    """One document of this folder."""

    header: dict[str, str]
    text: str


def parse(path: Path) -> dict[str, Text]:
    """The documents of one file by name, near-duplicates resolved."""
    blocks: list[tuple[dict[str, str], list[str]]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#### "):
            blocks.append((dict(part.split("=", 1) for part in line[5:].split()), []))
        else:
            blocks[-1][1].append(line)
    out: dict[str, Text] = {}
    for header, lines in blocks:
        text = "\n".join(lines).strip("\n")
        if "near" in header:
            text = edited(out[header["near"]].text, text)
        out[header["id"]] = Text(header, text)
    return out


def edited(original: str, edits: str) -> str:
    """A text with the edits of a near-duplicate applied."""
    for edit in edits.splitlines():
        if " => " in edit:
            old, new = edit.split(" => ", 1)
            assert original.count(old) == 1, (old, original.count(old))
            original = original.replace(old, new)
        elif edit.startswith("+ "):
            original = f"{original}\n{edit[2:]}"
        elif edit.startswith("^ "):
            original = f"{edit[2:]}\n{original}"
    return original


def mixed(texts: dict[str, Text]) -> list[Text]:
    """Genres and qualities mixed, as a crawl has them, always in the same order."""
    return sorted(texts.values(), key=lambda t: xxhash.xxh3_64_intdigest(t.header["id"].encode()))


def write(url: str, content: bytes) -> None:
    """Put a file where the host of its URL would serve it."""
    parts = urlsplit(url)
    path = OUT / parts.netloc / parts.path.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def jsonl_gz(rows: list[dict[str, str]]) -> bytes:
    """JSON lines as upstream packs them."""
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return gzip.compress(lines.encode(), mtime=0)


def page_xml(text: Text, number: int) -> str:
    """One page of a MediaWiki export."""
    title = escape(text.header["title"].replace("_", " "))
    redirect = '    <redirect title="x" />\n' if text.header["kind"] == "redirect" else ""
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{text.header['ns']}</ns>\n    <id>{number}</id>\n{redirect}"
        f"    <revision>\n      <id>{number + 900000}</id>\n      <timestamp>2026-10-01T00:00:00Z</timestamp>\n"
        "      <contributor><username>corpuskit</username><id>1</id></contributor>\n      <model>wikitext</model>\n"
        f'      <format>text/x-wiki</format>\n      <text bytes="{len(text.text.encode())}" xml:space="preserve">'
        f"{escape(text.text, {chr(34): '&quot;'})}</text>\n    </revision>\n  </page>\n"
    )


def multistream(texts: list[Text], lang: str, first: int) -> tuple[bytes, bytes]:
    """A multistream dump and its index."""
    head = (
        f'<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.11/" version="0.11" xml:lang="{lang}">\n'
        f"  <siteinfo>\n    <sitename>Wikipedia</sitename>\n    <dbname>{lang}wiki</dbname>\n  </siteinfo>\n"
    )
    dump, index = bz2.compress(head.encode()), []
    for at in range(0, len(texts), PAGES_A_STREAM):
        group = range(at, min(at + PAGES_A_STREAM, len(texts)))
        index += [f"{len(dump)}:{first + n}:{texts[n].header['title'].replace('_', ' ')}\n" for n in group]
        dump += bz2.compress("".join(page_xml(texts[n], first + n) for n in group).encode())
    return dump + bz2.compress(b"</mediawiki>\n"), bz2.compress("".join(index).encode())


def main() -> None:
    """Write every file of the sample, and the table."""
    rows: list[list[str]] = []
    for lang, sources in CONTENTS.items():
        profile = load_pipeline(lang).profiles["sample"]
        placed: dict[str, tuple[str, str, Text]] = {}  # name -> document id, source, text
        for source in profile.sources:
            texts = {k: v for name in sources[source.name] for k, v in parse(HERE / f"{name}.txt").items()}
            if source.reader == "wikipedia":
                first = 1000
                pages = list(texts.values())
                dump, index = multistream(pages, lang, first)
                write(source.url, dump)
                write(str(source.index), index)
                for n, text in enumerate(pages):
                    placed[text.header["id"]] = (document_id(source.name, source.url, first + n), source.name, text)
                continue
            if source.reader == "cc100":
                ordered = mixed(texts)
                for text in ordered:
                    assert "\n\n" not in text.text, text.header
                write(source.url, lzma.compress("\n\n".join(t.text for t in ordered).encode() + b"\n"))
                for n, text in enumerate(ordered):
                    placed[text.header["id"]] = (document_id(source.name, source.url, n), source.name, text)
                continue
            urls = source.urls()
            groups = [mixed(texts)]
            if len(urls) == 2:  # near-duplicates lie in another file than what they repeat
                late = [any(key in t.header for key in ("near", "bad", "pii")) for t in groups[0]]
                groups = [
                    [t for t, is_late in zip(groups[0], late, strict=True) if is_late == wanted]
                    for wanted in (False, True)
                ]
            for url, group in zip(urls, groups, strict=True):
                write(url, jsonl_gz([json_row(t, lang) for t in group]))
                for n, text in enumerate(group):
                    placed[text.header["id"]] = (document_id(source.name, url, n), source.name, text)
        rows += expectations(placed)
    header = ["name", "id", "source", "outcome", "survivor", "email", "phone_jp"]
    table = "".join("\t".join(row) + "\n" for row in [header, *sorted(rows)])
    (OUT / "expected.tsv").write_text(table, encoding="utf-8")
    print(f"{len(rows)} documents", file=sys.stderr)


def json_row(text: Text, lang: str) -> dict[str, str]:
    """One record in the upstream's fields."""
    header = text.header
    if lang == "code":
        return {"content": text.text, "path": header["path"], "license": header["license"], "language": header["lang"]}
    return {"text": text.text, "timestamp": header["date"], "url": header["url"]}


def expectations(placed: dict[str, tuple[str, str, Text]]) -> list[list[str]]:
    """What must happen to each document: written down from what the text is, not from what a run did."""
    duplicate_of: dict[str, str] = {}
    for name, (id_, _, text) in placed.items():
        if "near" in text.header:
            original = text.header["near"]
            # the survivor is the longer one, then the one with the smaller id; all pairs lie within one source
            pair = sorted(
                [(-len(text.text), id_, name), (-len(placed[original][2].text), placed[original][0], original)]
            )
            duplicate_of[pair[1][2]] = pair[0][2]
    rows = []
    for name, (id_, source, text) in placed.items():
        header = text.header
        pii = dict(part.split(":") for part in header.get("pii", "").split(",") if part)
        if header.get("kind", "article") != "article":
            outcome = "no_document"
        elif "bad" in header:
            outcome = f"dropped:{header['rule']}"
        else:
            outcome = "duplicate" if name in duplicate_of else "kept"
        rows.append(
            [name, id_, source, outcome, duplicate_of.get(name, ""), pii.get("email", "0"), pii.get("phone", "0")]
        )
    return rows


if __name__ == "__main__":
    main()
