"""Charsets: the order of evidence, the Japanese encodings as the web writes them, and what is left alone."""

from __future__ import annotations

import pytest

from corpuskit.sources.charset import codec_of, decode

JAPANESE = "これは日本語の文章です。漢字とかなが混ざっています。"


def page(charset: str, text: str = JAPANESE) -> str:
    return f'<html><head><meta charset="{charset}"></head><body>{text}</body></html>'


@pytest.mark.parametrize("label", ["Shift_JIS", "x-sjis", " SJIS ", '"shift-jis"', "windows-31j", "MS_Kanji"])
def test_shift_jis_is_code_page_932(label: str) -> None:
    assert codec_of(label) == "cp932"
    # 0x8160 is U+FF5E in CP932 (WHATWG too), U+301C in strict Shift_JIS; normalisation unifies the two later
    raw = b"\x87\x40\x87\x8a\xfb\xfc\x81\x60" + "髙島屋㈱は①番".encode("cp932")
    assert decode(raw, label) == ("①㈱髙\uff5e髙島屋㈱は①番", "cp932", 0.0)


def test_euc_jp_has_the_nec_and_ibm_characters() -> None:
    raw = "これは".encode("euc_jp") + b"\xad\xa1\xad\xea\xfc\xe2\xa1\xc1" + b"\x8e\xb1" + "です".encode("euc_jp")
    assert decode(raw, "EUC-JP") == ("これは①㈱髙\u301cｱです", "euc_jp", 0.0)


def test_iso_2022_jp_needs_no_declaration() -> None:
    assert decode(JAPANESE.encode("iso2022_jp"), None) == (JAPANESE, "iso2022_jp", 0.0)
    assert decode(b"\x1b$B\x2d\x21\x2d\x6a\x1b(B ok", "iso-2022-jp") == ("①㈱ ok", "iso2022_jp", 0.0)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-8"])
def test_a_byte_order_mark_outranks_the_header(codec: str) -> None:
    assert decode(("\ufeff" + JAPANESE).encode(codec), "Shift_JIS") == (JAPANESE, codec, 0.0)


def test_utf_16_without_a_mark_is_believed_of_the_header() -> None:
    assert decode("AB日本".encode("utf-16-le"), "utf-16") == ("AB日本", "utf-16-le", 0.0)


@pytest.mark.parametrize("codec", ["cp932", "euc_jp"])
def test_without_header_the_meta_tag_decides(codec: str) -> None:
    label = {"cp932": "shift_jis", "euc_jp": "euc-jp"}[codec]
    assert decode(page(label).encode(codec), None) == (page(label), codec, 0.0)


@pytest.mark.parametrize("codec", ["utf-8", "cp932", "euc_jp"])
@pytest.mark.parametrize("header", [None, "utf-8", "Shift_JIS", "euc-jp", "iso-8859-1", "no-such-charset"])
def test_a_wrong_or_missing_header_does_not_matter(codec: str, header: str | None) -> None:
    assert decode(JAPANESE.encode(codec), header) == (JAPANESE, codec, 0.0)


def test_the_header_outranks_the_meta_tag_where_both_can_be() -> None:
    text = page("windows-1251", "Привет")
    assert decode(text.encode("koi8-r"), "koi8-r") == (text, "koi8-r", 0.0)


def test_a_server_default_gives_way_to_the_page() -> None:
    text = page("windows-1251", "Привет")
    assert decode(text.encode("cp1251"), "ISO-8859-1") == (text, "cp1251", 0.0)


def test_western_pages_without_declaration() -> None:
    assert decode("naïve café – “x”".encode("cp1252"), None) == ("naïve café – “x”", "cp1252", 0.0)
    assert decode(b"plain", None) == ("plain", "utf-8", 0.0)
    assert decode(b"", None) == ("", "utf-8", 0.0)


def test_undecodable_bytes_become_replacement_characters_and_their_share_is_told() -> None:
    raw = ("あ" * 199).encode("cp932") + b"\xff"
    text, codec, share = decode(raw, "shift_jis")
    assert (text, codec, share) == ("あ" * 199 + "\ufffd", "cp932", 1 / 200)
    text, codec, share = decode(("あ" * 499).encode() + b"\xe3\x81", "utf-8")  # cut inside a character
    assert (text, codec, share) == ("あ" * 499 + "\ufffd", "utf-8", 1 / 500)


def test_text_garbled_before_it_was_stored_stays() -> None:
    garbled = "データ".encode().decode("latin-1")
    assert decode(garbled.encode(), "utf-8") == (garbled, "utf-8", 0.0)


def test_a_stray_byte_does_not_swallow_the_tag_behind_it() -> None:
    assert decode("あ".encode("cp932") * 200 + b"\x82<b>", "shift_jis")[0].endswith("あ\ufffd<b>")


def test_chinese_without_declaration_is_not_taken_for_japanese() -> None:
    assert decode("这是一个中文网页，没有声明编码。我们在这里测试".encode("gb18030"), None)[1] == "cp1252"
