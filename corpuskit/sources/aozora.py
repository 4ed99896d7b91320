"""Aozora Bunko texts, zip or plain, Shift_JIS or UTF-8: the work as running text, all around it in fields.

The format: title, author and the like a line each; an empty line; a block between lines of hyphens that explains
the signs; the work; the colophon from 底本： on. In the work 《...》 is the reading of what stands before it, from ｜
on where there is one; ［＃...］ is a note of the typist; ※［＃...、第3水準1-15-53］ or ※［＃...、U+546D、...］ is a
character outside JIS X 0208. Readings go, their base stays; notes go, and the line with them where nothing else is on
it; such characters are put in, 〓 where no number is given. Accents written out, 〔e'tude〕, are left as they are.

Fields: title, subtitle, author, translator, editor, those of the colophon (rules/aozora.yaml) and `colophon` itself,
`published` (the day it went online), `num_ruby`, `num_unresolved_gaiji`, `charset`, `replaced_char_share`.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import IO, Any

from corpuskit.config import data_dir, load_yaml
from corpuskit.engine.plan import Input
from corpuskit.sources.charset import decode
from corpuskit.sources.record import Quarantine, Record
from corpuskit.sources.streams import CutStream, open_bytes, read_chunks

MAX_TEXT = 64 << 20  # bytes; the longest works have 4 MB
MAX_MEMBERS = 10_000  # files in a zip; Aozora's have one text and its pictures

_RULE = re.compile(r"[-－ー―─]{20,}[ \t　]*")
_SIGN = re.compile(  # every branch begins with a letter of its own, which lets re skip to the next sign
    r"※［＃(?P<gaiji>[^［］\n]*+)］"
    r"|［(?P<note>＃(?:[^［］\n]++|［＃[^［］\n]*+］)*+)］"
    r"|《(?P<ruby>(?<=[^\s　]《)[^《》\n]++)》"
    r"|｜(?P<bar>)(?=[^《》｜\n]++《[^《》\n]++》)"
)
_CODE_POINT = re.compile(r"U\+([0-9A-Fa-f]{4,6})")
_JIS = re.compile(r"(?<![\d-])([12])-(\d{1,2})-(\d{1,2})(?![\d-])")
_DAY = re.compile(r"^(\d{4})年(\d{1,2})月(\d{1,2})日(?:公開|作成)", re.MULTILINE)


@cache
def _rules() -> dict[str, Any]:
    rules: dict[str, Any] = load_yaml(data_dir("rules") / "aozora.yaml")
    return rules


def read_aozora(source: Input, labels: dict[str, str], quarantine: Quarantine) -> Iterator[Record]:
    """The works of a file: one of a text file, one of each text in a zip, numbered in the zip's order."""
    with open_bytes(source.path) as file:
        if file.read(4) == b"PK\x03\x04":
            yield from _read_zip(source, file, quarantine)
            return
    raw = bytearray()
    try:
        for chunk in read_chunks(source.path):
            raw += chunk
            if len(raw) > MAX_TEXT:
                quarantine.add(source.name, 0, f"a text longer than {MAX_TEXT} bytes", bytes(raw[:800]))
                return
    except CutStream as error:
        quarantine.add(source.name, 0, str(error), bytes(raw[:800]))
        return
    yield from _document(source, 0, bytes(raw), {}, quarantine)


def _read_zip(source: Input, file: IO[bytes], quarantine: Quarantine) -> Iterator[Record]:
    try:
        archive = zipfile.ZipFile(file)
        members = [m for m in archive.infolist() if m.filename.lower().endswith(".txt")]
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, EOFError) as error:
        quarantine.add(source.name, 0, f"a damaged zip: {error}")
        return
    if not members or len(members) > MAX_MEMBERS:
        quarantine.add(source.name, 0, f"a zip with {len(members)} text files; 1 to {MAX_MEMBERS} are read")
        return
    for number, member in enumerate(members):
        try:
            with archive.open(member) as text:
                raw = text.read(MAX_TEXT + 1)
        # what zipfile raises on damaged, encrypted and foreign members
        except (
            zipfile.BadZipFile,
            ValueError,
            OSError,
            EOFError,
            RuntimeError,
            NotImplementedError,
            zlib.error,
        ) as error:
            quarantine.add(source.name, number, f"{member.filename}: cannot be unpacked: {error}")
            continue
        if len(raw) > MAX_TEXT:
            quarantine.add(source.name, number, f"{member.filename}: a text longer than {MAX_TEXT} bytes", raw[:800])
            continue
        yield from _document(source, number, raw, {"file": member.filename}, quarantine)


def _document(
    source: Input, number: int, raw: bytes, fields: dict[str, Any], quarantine: Quarantine
) -> Iterator[Record]:
    text, charset, replaced = decode(raw, "shift_jis")
    body, found = parse(text)
    if not body:
        quarantine.add(source.name, number, "no text between header and colophon", raw[:800])
        return
    fields |= found | {"charset": charset}
    if replaced:
        fields["replaced_char_share"] = round(replaced, 6)
    yield Record(number, body, None, None, fields)


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """The work and the fields of a text in Aozora's format."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    fields, begin = _header(lines)
    rules = [i for i in range(begin, min(begin + 60, len(lines))) if _RULE.fullmatch(lines[i])]
    legend = ""
    if len(rules) >= 2 and not any(line.strip("　 ") for line in lines[begin : rules[0]]):
        legend = "\n".join(lines[rules[0] : rules[1]])
        begin = rules[1] + 1
    end = _colophon(lines, begin)
    fields |= _colophon_fields(lines[end:])
    counts = {"ruby": 0, "unresolved": 0}
    kept = []
    for line in lines[begin:end]:
        clean = _clean(line, counts)
        if clean.strip("　 \t") or not line.strip("　 \t"):  # a line of notes alone goes
            kept.append(clean)
    body = "\n".join(kept).strip("\n")
    for sign, character in _rules()["repeats"].items():
        if sign in legend:
            body = body.replace(sign, character)
    fields |= {"num_ruby": counts["ruby"], "num_unresolved_gaiji": counts["unresolved"]}
    return body if body.strip() else "", fields


def _header(lines: list[str]) -> tuple[dict[str, Any], int]:
    """Title, author and the like, and the line after them; nothing where the text does not begin with a header."""
    rules = _rules()
    first = next((i for i, line in enumerate(lines[:20]) if line.strip("　 \t")), None)
    if first is None:
        return {}, 0
    end = first
    while end < len(lines) and lines[end].strip("　 \t"):
        end += 1
    head = [_clean(line, {"ruby": 0, "unresolved": 0}).strip("　 \t") for line in lines[first:end][:20]]
    if not 2 <= len(head) <= rules["max_header_lines"] or end == len(lines) or any(len(h) > 200 for h in head):
        return {}, first
    fields: dict[str, Any] = {"title": head[0]}
    others = []
    for line in head[1:]:
        if line.endswith(tuple(rules["translator_endings"])) and len(head) > 2:
            fields.setdefault("translator", line)
        elif line.endswith(tuple(rules["editor_endings"])) and len(head) > 2:
            fields.setdefault("editor", line)
        else:
            others.append(line)
    if others:
        fields["author"] = others[-1]
    if others[:-1]:
        fields["subtitle"] = " ".join(others[:-1])
    return fields, end


def _colophon(lines: list[str], begin: int) -> int:
    rules = _rules()
    for i in range(max(begin, len(lines) - rules["colophon_lines"]), len(lines)):
        if lines[i].startswith(rules["colophon"]):
            return i
    return len(lines)


def _colophon_fields(lines: list[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, beginning in _rules()["colophon_fields"].items():
        for line in lines:
            if line.startswith(beginning) and line[len(beginning) :].strip():
                fields[name] = line[len(beginning) :].strip()
                break
    text = "\n".join(lines).strip()
    if text:
        fields["colophon"] = text
    if day := _DAY.search(text):
        fields["published"] = f"{int(day[1]):04}-{int(day[2]):02}-{int(day[3]):02}"
    return fields


def _clean(line: str, counts: dict[str, int]) -> str:
    """A line without readings and notes, and with its gaiji; one pass, so that a 《 put in is no reading's."""

    def replace(match: re.Match[str]) -> str:
        if match["gaiji"] is None:
            counts["ruby"] += match["ruby"] is not None
            return ""
        character = gaiji(match["gaiji"])
        counts["unresolved"] += character is None
        return character or _rules()["unresolved"]

    return _SIGN.sub(replace, line)


def gaiji(note: str) -> str | None:
    """The character that a note such as 「言＋墟のつくり」、第4水準2-88-74 means; None where it gives no number."""
    place = _JIS.search(note)
    if place:
        plane, row, cell = (int(n) for n in place.groups())
        if 1 <= row <= 94 and 1 <= cell <= 94:
            code = (b"\x8f" if plane == 2 else b"") + bytes((0xA0 + row, 0xA0 + cell))
            try:
                return code.decode("euc_jis_2004")
            except UnicodeDecodeError:
                pass
    point = _CODE_POINT.search(note)
    if point:
        number = int(point[1], 16)
        if 0x20 < number < 0x110000 and not 0xD800 <= number < 0xE000:
            return chr(number)
    return None
