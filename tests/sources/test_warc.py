"""WARC, ARC and WET: the public conformance files, and damage of every kind on archives made here."""

from __future__ import annotations

import base64
import builtins
import gzip
import hashlib
import importlib.util
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from web_archives import PAGE_TEXT, SENTENCE, page, record, response, run

from corpuskit.config import UserError
from corpuskit.sources.record import Record
from corpuskit.sources.webpage import extract, may_be

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "warc"
HEAD = "http://x.jp/"

# file: (documents, quarantine entries)
COUNTS = {
    "warcio__bad.arc": (0, 4),
    "warcio__example-bad-non-chunked.warc.gz": (1, 0),
    "warcio__example-digest.warc": (0, 0),
    "warcio__example-iana.org-chunked.warc": (1, 0),
    "warcio__example-resource.warc.gz": (1, 0),
    "warcio__example-space-in-target-uri.warc.gz": (0, 0),
    "warcio__example-space-in-url.arc": (1, 0),
    "warcio__example-trunc.warc": (1, 0),
    "warcio__example-wget-bad-target-uri.warc.gz": (1, 0),
    "warcio__example-wrong-chunks.warc.gz": (1, 0),
    "warcio__example.arc": (1, 0),
    "warcio__example.arc.gz": (1, 0),
    "warcio__example.warc": (1, 0),
    "warcio__example.warc.gz": (1, 0),
    "warcio__post-test.warc.gz": (0, 0),
    "webarchive-test-suite__IAH-20080430204825-00000-blackbook-truncated.arc": (2, 0),
    "webarchive-test-suite__IAH-20080430204825-00000-blackbook-truncated.arc.gz": (2, 0),
    "webarchive-test-suite__IAH-20080430204825-00000-blackbook-truncated.warc": (2, 0),
    "webarchive-test-suite__IAH-20080430204825-00000-blackbook-truncated.warc.gz": (2, 0),
    "webarchive-test-suite__IAH-urls-wget.warc.gz": (2, 0),
    "webarchive-test-suite__main-page.warc.gz": (1, 0),
    "webarchive-test-suite__post-blackout.warc.gz": (1, 0),
    "webarchive-test-suite__sopa-wikipedia-homepage.warc.gz": (1, 0),
}

PAGES = {
    ("warcio__example-trunc.warc", 2): (
        "http://example.com/",
        "2017-03-06T04:02:06Z",
        {"title": "Example Domain", "charset": "utf-8", "incomplete": True},
        "Example Domain\n\nThis domain is established to be used for illustrative examples in "
        "documents. You may use this "
        "domain in examples without prior coordination or asking for permission.\n\nMore information...",
    ),
    ("warcio__example-space-in-url.arc", 1): (
        "http://example.com/index.cfm?FuseAction=Email&EmailTitle=Examples From The Live Web&IsPopUp=False",
        "2014-02-16T05:02:21Z",
        {"title": "Example Domain", "charset": "utf-8"},
        "Example Domain\n\nThis domain is established to be used for illustrative examples in "
        "documents. You may use this "
        "domain in examples without prior coordination or asking for permission.\n\nMore information...",
    ),
    ("warcio__example-iana.org-chunked.warc", 1): (
        "http://www.iana.org/",
        "2017-03-06T16:54:09Z",
        {"title": "Internet Assigned Numbers Authority", "charset": "utf-8"},
        "Internet Assigned Numbers Authority\n\nThe global coordination of the DNS Root, IP "
        "addressing, and other Internet "
        "protocol resources is performed as the Internet Assigned Numbers Authority (IANA) functions. Learn more.\n\n"
        "Domain Names\n\nManagement of the DNS Root Zone (assignments of ccTLDs and gTLDs) along "
        "with other functions such "
        "as the .int and .arpa zones.\n\nNumber Resources\n\nCoordination of the global IP and AS "
        "number spaces, such as "
        "allocations made to Regional Internet Registries.\n\nProtocol Assignments\n\nThe central "
        "repository for protocol "
        "name and number registries used in many Internet protocols.\n\nNew Root Zone trust anchor being distributed. "
        "Following successful key ceremonies in October 2016 and February 2017, a new key signing key for the DNS root "
        "zone has been generated that is expected to be used later in 2017. Software implementing DNSSEC validation "
        "should obtain the revised root anchors in our repository. This is an important step in the KSK Rollover "
        "project.\n\n2016 Annual Customer Survey available. In September 2016, we invited our "
        "customers to participate in "
        "our fifth annual customer satisfaction survey. We have now published the compiled results, showing continued "
        "very positive satisfaction from our communities. The report describes the methodology and responses received.",
    ),
    ("webarchive-test-suite__post-blackout.warc.gz", 111): (
        "http://wikimediafoundation.org/wiki/SOPA/Blackoutpage",
        "2012-01-19T10:02:32Z",
        {"title": "SOPA/Blackoutpage - Wikimedia Foundation", "charset": "utf-8"},
        "SOPA/Blackoutpage\n\nFrom the Wikimedia Foundation\nJump to: navigation, "
        "search\n\n\xa0\nThank you.\n\nThe Wikipedia "
        "blackout is over — and you have spoken.\n\nMore than 162 million people saw our message asking if you could "
        "imagine a world without free knowledge. You said no. You shut down Congress’s switchboards. You melted their "
        "servers. From all around the world your messages dominated social media and the news. Millions of people have "
        "spoken in defense of a free and open Internet.\n\nFor us, this is not about money. It’s about knowledge. As a "
        "community of authors, editors, photographers, and programmers, we invite everyone to share and build upon our "
        "work.\n\nOur mission is to empower and engage people to document the sum of all human "
        "knowledge, and to make it "
        "available to all humanity, in perpetuity. We care passionately about the rights of authors, because we are "
        "authors.\n\nSOPA and PIPA are not dead: they are waiting in the shadows. What’s happened "
        "in the last 24 hours, "
        "though, is extraordinary. The internet has enabled creativity, knowledge, and innovation to shine, and as "
        "Wikipedia went dark, you've directed your energy to protecting it.\n\nWe’re turning the "
        "lights back on. Help us "
        "keep them shining brightly.\n\nRead more\n\nIf you live in the U.S., contact your "
        "representatives.\n\nMake your "
        "voice heard!\n\nPersonal tools\nNamespaces\nVariants\nActions\nAbout Wikimedia\nSupport\nCorporate\nWiki\n"
        "Print/export\nToolbox",
    ),
}

shared_data = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/warc beside the checkout")


@shared_data
@pytest.mark.parametrize("name", sorted(COUNTS))
def test_every_public_file_gives_its_documents(name: str) -> None:
    records, errors, _ = run("warc", SHARED / name, "en")
    assert (len(records), len(errors)) == COUNTS[name]


@shared_data
def test_no_public_file_is_left_out() -> None:
    assert sorted(p.name for p in SHARED.iterdir()) == sorted(COUNTS)


@shared_data
@pytest.mark.parametrize(("name", "number"), sorted(PAGES))
def test_whole_pages(name: str, number: int) -> None:
    found = {r.number: r for r in run("warc", SHARED / name, "en")[0]}[number]
    assert (found.url, found.timestamp, found.fields, found.text) == PAGES[name, number]


@shared_data
def test_pages_in_english_are_not_parsed_for_japanese() -> None:
    records, errors, skipped = run("warc", SHARED / "warcio__example.warc.gz", "ja")
    assert (records, errors, skipped["language"]) == ([], [], 1)


# what follows is made here


def written(tmp_path: Path, data: bytes, name: str = "a.warc") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp", "iso2022_jp"])
@pytest.mark.parametrize("form", ["plain", "gzip per record", "gzip as a whole"])
def test_a_japanese_page_in_every_charset(tmp_path: Path, codec: str, form: str) -> None:
    records = [record("warcinfo", "", b"software: x"), response(HEAD, page().encode(codec))]
    if form == "gzip per record":
        records = [gzip.compress(r) for r in records]
    data = b"".join(records)
    path = written(tmp_path, gzip.compress(data) if form == "gzip as a whole" else data, "a.bin")
    (found,), errors, skipped = run("warc", path, "ja")
    assert errors == [] and skipped == {"warcinfo": 1}
    assert (found.number, found.url, found.timestamp) == (1, HEAD, "2026-01-02T03:04:05Z")
    assert found.fields == {"title": "題名 & 副題", "charset": codec}
    assert found.text == PAGE_TEXT


@pytest.mark.parametrize(
    ("html", "charset", "taken"),
    [
        (page(), "utf-8", True),
        (page(sentence="Words. " * 30), "utf-8", True),  # its menu and footer have kana enough
        ('<html lang="ja"><p>Hello', "utf-8", True),
        ("<html class=no-js lang=ja-JP><p>Hello", "utf-8", True),
        ("<html><p>Hello", "cp932", True),
        ("<html><p>Hello", "utf-8", False),
        ('<html lang="en"><p>' + SENTENCE, "utf-8", True),  # templates lie
        ("<html><p>这是一个中文网页。" * 20 + "の" * 10, "utf-8", False),
        ("<html><p>" + "あ" * 9, "utf-8", False),
        ("<html><p>" + "あ" * 10, "utf-8", True),
    ],
)
def test_the_language_test_before_parsing(html: str, charset: str, taken: bool) -> None:
    assert may_be(html, charset, "ja") is taken
    assert may_be(html, charset, "en")  # no test for other languages


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw deflate", "br", "zstd", "gzip that is not", "none"])
def test_http_encodings(tmp_path: Path, encoding: str) -> None:
    import zstandard

    raw = page().encode()
    deflate = zlib.compressobj(wbits=-15)
    name, body = {
        "gzip": ("gzip", gzip.compress(raw)),
        "deflate": ("deflate", zlib.compress(raw)),
        "raw deflate": ("deflate", deflate.compress(raw) + deflate.flush()),
        # brotli: one uncompressed metablock (RFC 7932), then an empty last one
        "br": ("br", _brotli(raw)),
        "zstd": ("zstd", zstandard.compress(raw)),
        "gzip that is not": ("gzip", raw),
        "none": ("utf-8", raw),
    }[encoding]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i : i + 100]), body[i : i + 100]) for i in range(0, len(body), 100))
    headers = f"Content-Type: text/html; charset=utf-8\r\nContent-Encoding: {name}\r\nTransfer-Encoding: chunked"
    for stored in (body, chunks + b"0\r\n\r\n", chunks):
        (found,), errors, _ = run("warc", written(tmp_path, response(HEAD, stored, headers)), "ja")
        assert (found.text, errors) == (PAGE_TEXT, [])


def _brotli(raw: bytes) -> bytes:
    assert len(raw) <= 1 << 16
    # window bits 16 (0), ISLAST 0, MNIBBLES 4 (00), MLEN-1 (16 bits), ISUNCOMPRESSED 1
    bits = 0 | (len(raw) - 1) << 4 | 1 << 20
    return bits.to_bytes(3, "little") + raw + b"\x03"


def test_what_is_no_document_is_counted(tmp_path: Path) -> None:
    data = b"".join(
        [
            response(HEAD, b"gone", status="404 Not Found"),
            response(HEAD, b"\x89PNG", "Content-Type: image/png"),
            response(HEAD + "robots.txt", b"User-agent: *", "Content-Type: text/plain"),
            response("dns:x.jp", b""),
            response(HEAD, b"<html lang=ja><body></body></html>"),
            record("request", HEAD, b"GET / HTTP/1.1\r\n\r\n"),
        ]
    )
    records, errors, skipped = run("warc", written(tmp_path, data), "ja")
    assert (records, errors) == ([], [])
    assert skipped == {
        "status": 1,
        "content type": 1,
        "robots.txt": 1,
        "not fetched by HTTP": 1,
        "no text": 1,
        "request": 1,
    }


PAGES_OF_FIVE = [response(f"{HEAD}{i}", page(sentence=f"{i}番。{SENTENCE}").encode()) for i in range(5)]


def numbers(records: list[Record]) -> list[tuple[int, str]]:
    return [(r.number, r.url) for r in records]


def expected(*which: int) -> list[tuple[int, str]]:
    return [(i, f"{HEAD}{i}") for i in which]


def test_a_cut_gzip_stream_gives_all_before_and_one_entry(tmp_path: Path) -> None:
    for data in (b"".join(map(gzip.compress, PAGES_OF_FIVE)), gzip.compress(b"".join(PAGES_OF_FIVE))):
        whole = len(data)
        records, errors, _ = run("warc", written(tmp_path, data[: whole - 12]), "ja")
        assert numbers(records) == expected(0, 1, 2, 3)
        assert errors == [(4, "the gzip stream ends early")]
        for cut in range(1, whole, 97):
            records, errors, _ = run("warc", written(tmp_path, data[:cut]), "ja")
            assert numbers(records) == expected(*range(len(records)))
            assert len(errors) <= 1


@pytest.mark.parametrize("place", ["data", "checksum", "magic"])
def test_a_damaged_member_costs_its_record_alone(tmp_path: Path, place: str) -> None:
    members = [bytearray(gzip.compress(r)) for r in PAGES_OF_FIVE]
    at = {"data": 200, "checksum": -6, "magic": 1}[place]
    members[1][at] ^= 0xFF
    records, errors, _ = run("warc", written(tmp_path, b"".join(members)), "ja")
    if place == "magic":  # the reader sees bytes behind the first member, which may be anything
        assert [r.url for r in records] == [f"{HEAD}{i}" for i in (0, 2, 3, 4)]
    else:
        assert numbers(records) == expected(0, 2, 3, 4)
    assert [number for number, _ in errors] == [1]


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
def test_wrong_lengths(tmp_path: Path, wrap: Callable[[bytes], bytes]) -> None:
    block = PAGES_OF_FIVE[1].split(b"\r\n\r\n", 1)[1][:-4]
    for length in (len(block) + 50_000, len(block) + 7, len(block) - 10):
        data = [
            PAGES_OF_FIVE[0],
            record("response", f"{HEAD}1", block, "Content-Type: application/http", length),
            *PAGES_OF_FIVE[2:],
        ]
        records, errors, _ = run("warc", written(tmp_path, b"".join(wrap(r) for r in data)), "ja")
        assert numbers(records) == expected(0, 1, 2, 3, 4), length
        assert errors == []
        assert records[1].fields is not None and records[1].fields["incomplete"] is True
    for length, error in ((-5, "without a usable length"), (10**12, "longer than 67108864 bytes")):
        data[1] = record("response", f"{HEAD}1", block, "Content-Type: application/http", length)
        records, errors, _ = run("warc", written(tmp_path, b"".join(wrap(r) for r in data)), "ja")
        assert numbers(records) == expected(0, 2, 3, 4)
        assert errors == [(1, f"a record {error}")]


def test_rubbish_between_records_is_one_entry(tmp_path: Path) -> None:
    data = PAGES_OF_FIVE[0] + b"rubbish\r\n\r\nmore of it\n" * 9 + PAGES_OF_FIVE[1]
    records, errors, _ = run("warc", written(tmp_path, data), "ja")
    assert [r.url for r in records] == [f"{HEAD}0", f"{HEAD}1"]
    assert errors == [(1, "no record where one should begin")]


def test_a_plain_file_cut_in_a_record(tmp_path: Path) -> None:
    records, errors, _ = run("warc", written(tmp_path, b"".join(PAGES_OF_FIVE)[:-100]), "ja")
    assert numbers(records) == expected(0, 1, 2, 3)
    assert errors == [(4, "the file ends inside a record")]


def test_a_byte_range_of_an_archive(tmp_path: Path) -> None:
    members = [gzip.compress(r) for r in PAGES_OF_FIVE]
    start, stop = len(members[0]), sum(map(len, members[:3]))
    records, errors, _ = run("warc", written(tmp_path, b"".join(members)), "ja", start, stop)
    assert [(r.number, r.url) for r in records] == [(start, f"{HEAD}1"), (start + 1, f"{HEAD}2")]
    assert errors == []


def test_bombs_are_bounded(tmp_path: Path) -> None:
    big = record("response", HEAD, b"\0" * (80 << 20), "Content-Type: application/http")
    body = gzip.compress(b"<html lang=ja>" + b" " * (80 << 20))
    bombs = [
        gzip.compress(big),
        gzip.compress(response(HEAD, body, "Content-Type: text/html\r\nContent-Encoding: gzip")),
    ]
    records, errors, _ = run("warc", written(tmp_path, b"".join([*bombs, gzip.compress(PAGES_OF_FIVE[2])])), "ja")
    assert numbers(records) == expected(2)
    assert errors == [
        (0, "a record longer than 67108864 bytes"),
        (1, "the body expands to more than 67108864 bytes"),
    ]


def test_deep_and_huge_pages() -> None:
    _, text = extract("<html><body>" + "<div>" * 100_000 + f"<p>{SENTENCE}</p>" + "</div>" * 100_000)
    assert text == SENTENCE
    assert extract("<p>" * 7000 + SENTENCE)[1] == SENTENCE


def test_digest(tmp_path: Path) -> None:
    block = PAGES_OF_FIVE[0].split(b"\r\n\r\n", 1)[1][:-4]
    right = base64.b32encode(hashlib.sha1(block).digest()).decode()
    for digest, bad in ((right, None), (hashlib.sha1(block).hexdigest(), None), ("A" * 32, True)):
        data = record("response", HEAD, block, f"WARC-Block-Digest: sha1:{digest}\r\nContent-Type: application/http")
        (found,), _, _ = run("warc", written(tmp_path, data), "ja")
        assert (found.fields or {}).get("bad_digest") is bad


def test_wet(tmp_path: Path) -> None:
    more = "Content-Type: text/plain\r\nWARC-Identified-Content-Language: jpn,eng"
    data = [
        record("warcinfo", "", b"x"),
        record("conversion", HEAD, "題名\nホーム\n本文です。\n".encode(), more),
        record("conversion", HEAD + "2", "本文\ufffd。".encode()),
        record("conversion", HEAD + "3", b" \n"),
    ]
    records, errors, skipped = run("wet", written(tmp_path, b"".join(map(gzip.compress, data))), "ja")
    assert [tuple(r) for r in records] == [
        (1, "題名\nホーム\n本文です。", HEAD, "2026-01-02T03:04:05Z", {"identified_languages": "jpn,eng"}),
        (2, "本文\ufffd。", HEAD + "2", "2026-01-02T03:04:05Z", {"replaced_char_share": 0.25}),
    ]
    assert (errors, skipped) == ([], {"warcinfo": 1, "no text": 1})


def test_without_the_extra_the_error_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "resiliparse" else find(name, *a))
    with pytest.raises(UserError, match=r"a\.warc: reading web archives needs resiliparse; install corpuskit\[web\]"):
        run("warc", written(tmp_path, PAGES_OF_FIVE[0]), "ja")


def test_nothing_of_the_extra_is_imported_before_a_page_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def guarded(name: str, *args: object, **kwargs: object) -> object:
        assert name.split(".")[0] not in ("fastwarc", "resiliparse")
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", guarded)
    for module in ("archive", "http_message", "webpage", "warc"):
        spec = importlib.util.find_spec(f"corpuskit.sources.{module}")
        assert spec is not None and spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
