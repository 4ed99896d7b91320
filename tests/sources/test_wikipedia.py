"""Wikipedia dumps: which pages are documents, ranges from the index, and broken dumps."""

from __future__ import annotations

import bz2
import html
import itertools
from pathlib import Path

import pytest

from corpuskit.config import UserError
from corpuskit.engine.plan import Input
from corpuskit.sources import wikipedia
from corpuskit.sources.streams import as_input
from corpuskit.sources.wikipedia import Page, plan_ranges, read_pages

SITE = "https://dumps.wikimedia.org/jawiki/20261101/jawiki-20261101-pages-articles-multistream.xml.bz2"
SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"

Skipped = list[tuple[int, str]]


def page(number: int, title: str, text: str | None, *, namespace: int = 0, head: str = "") -> str:
    body = '<text bytes="0" />' if text is None else f'<text bytes="9" xml:space="preserve">{text}</text>'
    return (
        f"  <page>\n    <title>{title}</title>\n    <ns>{namespace}</ns>\n    <id>{number}</id>\n{head}"
        f"    <revision>\n      <id>9{number}</id>\n      <timestamp>2026-10-0{number % 9 + 1}T00:00:00Z</timestamp>\n"
        f"      <contributor><id>77</id></contributor>\n      {body}\n    </revision>\n  </page>\n"
    )


HEADER = '<mediawiki xml:lang="ja">\n  <siteinfo><sitename>Wikipedia</sitename></siteinfo>\n'


def pages_of(path: Path, start: int | None = None, stop: int | None = None) -> tuple[list[Page], Skipped]:
    skipped: Skipped = []
    pages = list(
        read_pages(str(path), start, stop, site=SITE, skip=lambda number, error, _: skipped.append((number, error)))
    )
    return pages, skipped


def pages_in(tmp_path: Path, *parts: str | bytes, name: str = "dump.xml") -> tuple[list[Page], Skipped]:
    data = b"".join(p if isinstance(p, bytes) else p.encode() for p in parts)
    (tmp_path / name).write_bytes(data)
    return pages_of(tmp_path / name)


def test_an_article_is_a_page(tmp_path: Path) -> None:
    [article], skipped = pages_in(
        tmp_path, HEADER, page(5, "東京 &amp; 大阪", "'''東京'''は[[日本]]の首都。&lt;!-- x --&gt;")
    )
    assert article == Page(
        5,
        "東京 & 大阪",
        "https://ja.wikipedia.org/wiki/%E6%9D%B1%E4%BA%AC_%26_%E5%A4%A7%E9%98%AA",
        "2026-10-06T00:00:00Z",
        "東京は日本の首都。",
    )
    assert skipped == []


@pytest.mark.parametrize(
    ("site", "host"),
    [
        ("enwiki-20261101-pages-articles.xml.bz2", "en"),
        ("/folder/zh_yuewiki-latest-pages.xml.bz2", "zh-yue"),
    ],
)
def test_urls_belong_to_the_wiki_of_the_dump(tmp_path: Path, site: str, host: str) -> None:
    (tmp_path / "d.xml").write_text(page(1, "A/B (C)", "Text."), encoding="utf-8")
    [article] = read_pages(str(tmp_path / "d.xml"), None, None, site=site, skip=lambda *_: None)
    assert article.url == f"https://{host}.wikipedia.org/wiki/A/B_(C)"


def test_a_dump_of_an_unknown_site_has_no_urls(tmp_path: Path) -> None:
    (tmp_path / "d.xml").write_text(page(1, "A", "Text."), encoding="utf-8")
    assert [p.url for p in read_pages(str(tmp_path / "d.xml"), None, None, site="d.xml", skip=lambda *_: None)] == [
        None
    ]


def test_redirects_disambiguations_other_namespaces_and_empty_pages_are_no_documents(tmp_path: Path) -> None:
    pages, skipped = pages_in(
        tmp_path,
        HEADER,
        page(1, "記事", "本文。"),
        page(2, "転送", "#転送 [[記事]]"),
        page(3, "転送2", "本文。", head='    <redirect title="記事" />\n'),
        page(4, "曖昧", "'''曖昧'''は以下のものを指す。\n* [[記事]]\n{{aimai}}"),
        page(5, "Wikipedia:井戸端", "議論。", namespace=4),
        page(6, "ノート:記事", "議論。", namespace=1),
        page(7, "空", None),
        page(8, "記事2", "本文二。"),
    )
    assert [p.id for p in pages] == [1, 8]
    assert skipped == []


BROKEN = {
    "a page that does not end": (page(2, "B", "b。").replace("</page>", ""), (-1, "a page without an end")),
    "a page that does not begin": (page(2, "B", "b。").replace("<page>", ""), (-1, "a page without a beginning")),
    "a page without id": (
        page(2, "B", "b。").replace("<id>", "<x>"),
        (-1, "a page without id or title"),
    ),
    "a page without title": (page(2, "B", "b。").replace("title>", "t>"), (2, "a page without id or title")),
    "a page without text": (page(2, "B", "b。").replace("text", "t"), (2, "a page without text")),
    "a text that does not end": (page(2, "B", "b。").replace("</text>", ""), (2, "a page without text")),
    "a text that is not UTF-8": (
        page(2, "B", "XX").encode().replace(b"XX", b"\xe3\x81"),
        (2, "not UTF-8: unexpected end of data"),
    ),
    "a title that is not UTF-8": (
        page(2, "XX", "b。").encode().replace(b"XX", b"\xff"),
        (2, "not UTF-8: invalid start byte"),
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_page_costs_itself_alone_and_is_told(tmp_path: Path, what: str) -> None:
    broken, expected = BROKEN[what]
    pages, skipped = pages_in(tmp_path, HEADER, page(1, "A", "a。"), broken, page(3, "C", "c。"), "</mediawiki>\n")
    assert [p.id for p in pages] == [1, 3]
    assert [number for number, _ in skipped] == [expected[0]]
    assert skipped[0][1].startswith(expected[1])


def test_a_dump_that_ends_inside_a_page_says_so(tmp_path: Path) -> None:
    pages, skipped = pages_in(tmp_path, HEADER, page(1, "A", "a。"), page(2, "B", "b。")[:60])
    assert ([p.id for p in pages], skipped) == ([1], [(-1, "the dump ends inside a page")])


def test_a_page_over_the_limit_is_told_once_and_the_next_one_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wikipedia, "MAX_PAGE", 100_000)
    pages, skipped = pages_in(
        tmp_path, HEADER, page(1, "A", "a。"), page(2, "B", "b" * 700_000), page(3, "C", "c。"), page(4, "D", "d。")
    )
    assert [p.id for p in pages] == [1, 3, 4]
    assert skipped == [(-1, "a page is longer than 64 MiB")]


def test_nul_bytes_in_a_page_are_text(tmp_path: Path) -> None:
    pages, skipped = pages_in(tmp_path, page(1, "A", "a\0b。"))
    assert [p.id for p in pages] == [1] and skipped == []


@pytest.fixture
def dump(tmp_path: Path) -> tuple[Path, Path, list[int]]:
    """A multistream dump of 6 streams with 5 pages each, its index, and where the streams of pages start."""
    streams = [bz2.compress(HEADER.encode())]
    offsets, lines = [], []
    for stream in range(6):
        offset = sum(map(len, streams))
        offsets.append(offset)
        numbers = range(5 * stream + 1, 5 * stream + 6)
        streams.append(bz2.compress("".join(page(n, f"記事{n}", f"{n}番目の本文。") for n in numbers).encode()))
        lines += [f"{offset}:{n}:記事{n}\n" for n in numbers]
    streams.append(bz2.compress(b"</mediawiki>\n"))
    (tmp_path / "dump.xml.bz2").write_bytes(b"".join(streams))
    (tmp_path / "index.txt.bz2").write_bytes(bz2.compress("".join(lines).encode()))
    return tmp_path / "dump.xml.bz2", tmp_path / "index.txt.bz2", offsets


@pytest.mark.parametrize("size", [1, 600, 1500, 1 << 20])
def test_ranges_cover_the_dump_once_and_every_page_once(
    dump: tuple[Path, Path, list[int]], monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    path, index, offsets = dump
    monkeypatch.setattr(wikipedia, "RANGE_BYTES", size)
    ranges = plan_ranges(as_input(str(path)), str(index))
    edges = [r.start for r in ranges] + [ranges[-1].stop]
    assert (edges[0], edges[-1]) == (0, path.stat().st_size)
    assert all(before.stop == after.start for before, after in itertools.pairwise(ranges))
    assert set(edges[1:-1]) <= set(offsets)
    assert len(ranges) == {1: 7, 1 << 20: 1}.get(size, len(ranges))
    found = [pages_of(path, r.start, r.stop) for r in ranges]
    assert [p.id for pages, _ in found for p in pages] == list(range(1, 31))
    assert [skipped for _, skipped in found if skipped] == []


def test_a_damaged_stream_costs_its_own_pages_and_its_range_says_so(
    dump: tuple[Path, Path, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, index, offsets = dump
    monkeypatch.setattr(wikipedia, "RANGE_BYTES", 1)
    data = bytearray(path.read_bytes())
    data[offsets[2] + 60] ^= 0xFF
    path.write_bytes(data)
    found = [pages_of(path, r.start, r.stop) for r in plan_ranges(as_input(str(path)), str(index))]
    assert [p.id for pages, _ in found for p in pages] == [*range(1, 11), *range(16, 31)]
    [(number, error)] = [s for _, skipped in found for s in skipped]
    assert number == -1 and error.startswith("damaged stream")


def test_a_dump_cut_anywhere_gives_the_pages_before_and_says_so(dump: tuple[Path, Path, list[int]]) -> None:
    path, _, offsets = dump
    whole = path.read_bytes()
    for size in range(offsets[0] + 1, len(whole), 37):
        path.write_bytes(whole[:size])
        pages, skipped = pages_of(path)
        assert [p.id for p in pages] == list(range(1, len(pages) + 1))
        assert skipped == ([] if size in offsets else [(-1, "the compressed stream ends early")])


@pytest.mark.parametrize("content", [b"no number here\n", b"", b"\n\n", b"99999999:1:beyond the end\n"])
def test_an_index_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "index.txt.bz2").write_bytes(bz2.compress(content))
    dump = Input(str(tmp_path / "d"), "https://host.example/d", "0" * 64, 1000)
    with pytest.raises(UserError, match=r"index\.txt\.bz2: (not a multistream index|does not belong to https://host)"):
        plan_ranges(dump, str(tmp_path / "index.txt.bz2"))


def test_a_cut_index_is_refused(dump: tuple[Path, Path, list[int]]) -> None:
    path, index, _ = dump
    index.write_bytes(index.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"not a multistream index .*fetch it again"):
        plan_ranges(as_input(str(path)), str(index))


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data, the real dumps, is not beside this checkout")
def test_a_real_dump_cut_inside_a_stream_gives_articles_and_says_so() -> None:
    path = SHARED / "truncated" / "jawiki-latest-pages-articles.truncated.xml.bz2"
    pages, skipped = pages_of(path)
    assert len(pages) > 10 and all(p.title and p.url for p in pages)
    assert skipped[-1] == (-1, "the compressed stream ends early")


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "a",
        "&lt;ref&gt;&quot;&amp;nbsp;&quot;",
        "&amp;lt;",
        "&amp;amp;",
        "&#39;&apos;&amp;",
        "& &lt",
        "&eacute;&lt;",
        "&\0lt;&\0amp;",
    ],
)
def test_entities_are_undone_once_as_html_undoes_them(raw: str) -> None:
    assert wikipedia._unescape(raw.encode()) == html.unescape(raw)
