"""Bytes of a web page or a text file to characters: which charset, by what the bytes and their senders say.

The order is byte order mark, HTTP header, <meta> or XML declaration, detection; with three exceptions for what senders
get wrong: valid UTF-8 is UTF-8 whatever was declared, a server's default of Latin-1 gives way to what the page says
itself, and a declared charset that the bytes contradict gives way to one they do not. Shift_JIS is read as CP932,
EUC-JP and ISO-2022-JP with the same NEC and IBM characters. Undecodable bytes become U+FFFD. Text that was garbled
before it was stored (UTF-8 once read as Latin-1) stays as it is. The tables are in rules/charsets.yaml.
"""

from __future__ import annotations

import codecs
import re
from functools import cache
from typing import NamedTuple

from corpuskit.config import data_dir, load_yaml

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"<meta\b[^>]{0,500}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_XML = re.compile(rb"\A\s{0,99}<\?xml\b[^>]{0,200}?encoding\s{0,9}=\s{0,9}[\"']([A-Za-z0-9_.:-]{2,40})", re.IGNORECASE)
_ISO2022 = re.compile(rb"\x1b(?:\$[@B]|\([IJ])")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
_JAPANESE = re.compile(r"[\u3000-\u30ff\u4e00-\u9fff\uff01-\uff5e①-⑳]+")
_KANA = re.compile(r"[ぁ-ゖァ-ヺー]+")
_NOT_CP932 = re.compile(
    "[\xa0\uf8f1-\uf8f3]"
)  # what Python makes of the bytes A0 and FD to FF, which are no characters
_DETECT_BYTES = 1 << 18  # detection looks at the beginning only


class _Tables(NamedTuple):
    codec: dict[str, str]  # label in lower case -> Python codec
    weak: frozenset[str]
    max_replaced: float
    min_utf8_chars: int
    min_japanese: float
    min_kana: float
    meta_bytes: int


@cache
def _tables() -> _Tables:
    data = load_yaml(data_dir("rules") / "charsets.yaml")
    return _Tables(
        {label: codec for codec, labels in data["labels"].items() for label in labels},
        frozenset(data["weak"]),
        data["max_replaced"],
        data["min_utf8_chars"],
        data["min_japanese"],
        data["min_kana"],
        data["meta_bytes"],
    )


def codec_of(label: str | None) -> str | None:
    """Python's codec for a charset label of the web; None for an unknown one."""
    return _tables().codec.get(label.strip(" \t\r\n\"';").lower()) if label else None


def declared(payload: bytes) -> str | None:
    """The codec a page names in <meta> or its XML declaration; UTF-16 said in ASCII means UTF-8, as in HTML."""
    head = payload[: _tables().meta_bytes]
    match = _META.search(head) or _XML.search(head)
    codec = codec_of(match[1].decode("ascii")) if match else None
    return "utf-8" if codec in ("utf-16-le", "utf-16-be") else codec


def decode(payload: bytes, http_charset: str | None) -> tuple[str, str, float]:
    """The text, the Python codec that gave it, and the share of U+FFFD among its characters.

    `http_charset` is the label of the Content-Type header, or what the caller knows about a file's charset.
    """
    for mark, codec in _BOMS:
        if payload.startswith(mark):
            return _result(payload[len(mark) :], codec)
    tables = _tables()
    said = [codec for codec in (codec_of(http_charset), declared(payload)) if codec]
    if said and said[0].startswith("utf-16") and b"\0" in payload[:256]:
        return _result(payload, said[0])
    if payload.isascii():
        # ISO-2022-JP is ASCII bytes too; the escape sequence must be there, declared or not
        return _result(payload, "iso2022_jp" if _ISO2022.search(payload) else "utf-8")
    utf8 = _strict(payload, "utf-8")
    if utf8 is not None and (
        all(codec in ("utf-8", *tables.weak) for codec in said)
        or sum(map(len, _BEYOND_ASCII.findall(utf8[:_DETECT_BYTES]))) >= tables.min_utf8_chars
    ):
        return utf8, "utf-8", utf8.count("\ufffd") / len(utf8)
    tried: list[tuple[str, str, float]] = []
    for codec in said:
        if codec not in tables.weak and codec not in (t[1] for t in tried):
            tried.append(_result(payload, codec))
            if tried[-1][2] <= tables.max_replaced:
                return tried[-1]
    detected = _detect(payload)
    if detected:
        tried.append(_result(payload, detected))
    if not tried:  # nothing better: what the server said by default, or the default of HTML
        return _result(payload, said[0] if said else "cp1252")
    return min(tried, key=lambda t: t[2])


def _strict(payload: bytes, codec: str) -> str | None:
    try:
        return payload.decode(codec)
    except UnicodeDecodeError:
        return None


def _result(payload: bytes, codec: str) -> tuple[str, str, float]:
    errors = "corpuskit-jis" if codec in ("euc_jp", "iso2022_jp") else "replace"
    text = payload.decode(codec, errors)
    if codec == "cp932":
        text = _NOT_CP932.sub("\ufffd", text)
    return text, codec, text.count("\ufffd") / len(text) if text else 0.0


def _detect(payload: bytes) -> str | None:
    """UTF-8 with little damage, or the Japanese charset in which the bytes beyond ASCII make sense; None if in none."""
    sample, tables = payload[:_DETECT_BYTES], _tables()
    best, best_share = None, tables.min_japanese
    for codec in ("utf-8", "cp932", "euc_jp", "iso2022_jp"):
        if codec == "iso2022_jp" and not _ISO2022.search(sample):
            continue
        text, _, replaced = _result(sample, codec)
        if codec == "utf-8" and replaced <= tables.max_replaced:
            return codec
        beyond, japanese, kana = (sum(map(len, p.findall(text))) for p in (_BEYOND_ASCII, _JAPANESE, _KANA))
        if beyond and japanese / beyond > best_share and kana / beyond >= tables.min_kana:
            best, best_share = codec, japanese / beyond
    return best


def _jis_as_cp932(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: two bytes of EUC-JP or ISO-2022-JP that strict JIS X 0208 has not, looked up in CP932.

    CP932's NEC row 13 (①, ㈱, Ⅰ) and IBM rows (髙, 﨑) are written in these charsets as well (CP51932, CP50221).
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    pair = error.object[error.start : error.start + 2]
    if len(pair) == 2 and (all(0xA1 <= b <= 0xFE for b in pair) or all(0x21 <= b <= 0x7E for b in pair)):
        row, cell = (pair[0] & 0x7F) - 0x21, (pair[1] & 0x7F) - 0x21
        lead = row // 2 + (0x81 if row < 62 else 0xC1)
        trail = cell + (0x9F if row % 2 else 0x40 + (cell >= 63))
        character = bytes((lead, trail)).decode("cp932", "replace")
        if "\ufffd" not in character:
            return character, error.start + 2
    return "\ufffd", error.end


codecs.register_error("corpuskit-jis", _jis_as_cp932)
