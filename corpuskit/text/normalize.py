"""ja-safe: the only change corpuskit makes to stored text, idempotent and without loss of meaning.

What it does, and nothing else:

    NFC                                   か + U+3099 -> が; NFKC is never applied (x² stays x², ① stays ①)
    half-width kana to full width         ｶﾞｷﾞ -> ガギ, ｡｢｣､･ -> 。「」、・
    full-width letters and digits to half ＡＢＣ１２３ -> ABC123; ！？（）：… keep their width
    one wave dash                         ～ (U+FF5E) -> 〜 (U+301C)
    line ends                             CRLF, CR, VT, FF, NEL, U+2028, U+2029 -> \\n
    invisible characters out              controls, zero-width, BOM, soft hyphen, direction marks; ZWJ stays in emoji
    ▁ (U+2581) to _                       SentencePiece writes spaces as ▁, so a literal one would decode to a space

NFC maps CJK compatibility ideographs to their unified form, as every NFC text on the web already has them.
Dakuten are never stripped: が is not か.
"""

from __future__ import annotations

import functools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from corpuskit.text.buffers import Bytes, Offsets, Positions, room, string_column, utf8_view
from corpuskit.text.kernel import kernel
from corpuskit.text.tables import (
    CARRIAGE_RETURN,
    COMPOSING,
    DROP,
    HALF_DAKUTEN,
    JOINER,
    KEEP,
    MAP,
    VOICING,
    assigned,
    ja_safe_table,
)


def normalize_column(texts: pa.Array, profile: str) -> pa.Array:
    """Normalise a string column by the named profile: `ja-safe` or `none`.

    Raises:
        ValueError: unknown profile.
    """
    return normalize_counted(texts, profile)[0]


def normalize_counted(texts: pa.Array, profile: str) -> tuple[pa.Array, Positions]:
    """As normalize_column, and how many control characters each text has lost by it."""
    if profile == "none":
        return texts, np.zeros(len(texts), np.int64)
    if profile != "ja-safe":
        raise ValueError(f"unknown normalisation profile {profile!r}")
    data, offsets = utf8_view(texts)
    out, out_offsets, composing, controls = ja_safe(data, offsets, room_for(offsets), *ja_safe_table())
    column = string_column(out, out_offsets)
    if not composing.any():
        return column, controls
    # a few documents hold combining characters; only those need the full algorithm
    composed = []
    for row in np.flatnonzero(composing):
        text = out[out_offsets[row] : out_offsets[row + 1]].tobytes().decode("utf-8", "surrogatepass")
        composed.append(nfc(text).encode("utf-8", "surrogatepass"))
    replaced = pa.array(composed, pa.binary()).view(pa.string())
    return pc.replace_with_mask(column, pa.array(composing), replaced), controls


def normalize_text(text: str, profile: str = "ja-safe") -> str:
    """Normalise one text; see normalize_column."""
    result: str = normalize_column(pa.array([text], pa.string()), profile)[0].as_py()
    return result


def nfc(text: str) -> str:
    """NFC, in time that grows with the text alone.

    Python puts a run of combining characters in order by insertion, in time that grows with the square of its length;
    so where there are runs longer than any writing has, they are put in order beforehand, which changes nothing of what
    comes out.
    """
    if len(text) >= 64 and _runs().search(text[::8]):  # a run of 64 is one of 8 there
        text = _runs().sub(_in_order, text)
    return unicodedata.normalize("NFC", text)


@functools.cache
def _runs() -> re.Pattern[str]:
    marks = "".join(chr(c) for c in assigned() if unicodedata.combining(unicodedata.normalize("NFD", chr(c))[0]))
    return re.compile(f"[{marks}]{{8,}}")


def _in_order(run: re.Match[str]) -> str:
    parts = (part for mark in run.group() for part in unicodedata.normalize("NFD", mark))
    return "".join(sorted(parts, key=unicodedata.combining))


@kernel
def decode_utf8(data, i):  # type: ignore[no-untyped-def]
    """The code point that starts at byte i of valid UTF-8, and the index after it."""
    b = data[i]
    if b < 0x80:
        return np.int64(b), i + 1
    if b < 0xE0:
        return (np.int64(b & 0x1F) << 6) | np.int64(data[i + 1] & 0x3F), i + 2
    if b < 0xF0:
        return (np.int64(b & 0x0F) << 12) | (np.int64(data[i + 1] & 0x3F) << 6) | np.int64(data[i + 2] & 0x3F), i + 3
    return (
        (np.int64(b & 0x07) << 18)
        | (np.int64(data[i + 1] & 0x3F) << 12)
        | (np.int64(data[i + 2] & 0x3F) << 6)
        | np.int64(data[i + 3] & 0x3F)
    ), i + 4


@kernel
def encode_utf8(code, out, o):  # type: ignore[no-untyped-def]
    """Write a code point at byte o; returns the index after it."""
    if code < 0x80:
        out[o] = code
        return o + 1
    if code < 0x800:
        out[o] = 0xC0 | (code >> 6)
        out[o + 1] = 0x80 | (code & 0x3F)
        return o + 2
    if code < 0x10000:
        out[o] = 0xE0 | (code >> 12)
        out[o + 1] = 0x80 | ((code >> 6) & 0x3F)
        out[o + 2] = 0x80 | (code & 0x3F)
        return o + 3
    out[o] = 0xF0 | (code >> 18)
    out[o + 1] = 0x80 | ((code >> 12) & 0x3F)
    out[o + 2] = 0x80 | ((code >> 6) & 0x3F)
    out[o + 3] = 0x80 | (code & 0x3F)
    return o + 4


@kernel
def joins_emoji(code):  # type: ignore[no-untyped-def]
    """Whether a ZWJ after this code point belongs to an emoji sequence (symbols, pictographs, U+FE0F)."""
    if code == 0x2ADC:  # the one symbol NFC takes apart: what stands before the ZWJ then is a combining character
        return False
    return 0x2190 <= code < 0x2C00 or code == 0xFE0F or 0x1F000 <= code < 0x20000


def room_for(offsets: Offsets) -> Bytes:
    """Room for the texts at these offsets as ja_safe leaves them."""
    size = int(offsets[-1] - offsets[0])
    return room(size + size // 3 + 16, np.uint8)  # the worst case: 3 bytes become 4 (U+FA6C)


@kernel
def ja_safe(data, offsets, out, action, target, voiced, semivoiced):  # type: ignore[no-untyped-def]
    rows = len(offsets) - 1
    out_offsets = np.zeros(rows + 1, np.int32)
    composing = np.zeros(rows, np.bool_)
    controls = np.zeros(rows, np.int64)
    o = 0
    for row in range(rows):
        i, end = offsets[row], offsets[row + 1]
        last = -1  # the code point written last
        last_at = o
        while i < end:
            if data[i] < 0x80 and data[i] >= 0x20 and data[i] != 0x7F:  # ASCII needs no table
                last, last_at = np.int64(data[i]), o
                out[o] = data[i]
                o += 1
                i += 1
                continue
            code, i = decode_utf8(data, i)
            what = action[code]
            if what == DROP:
                controls[row] += code < 0xA0  # nothing else below is dropped
                continue
            if what == MAP:
                code = np.int64(target[code])
            elif what == CARRIAGE_RETURN:
                if i < end and data[i] == 0x0A:
                    continue
                code = np.int64(0x0A)
            elif what == VOICING:
                base = max(last, 0)
                joined = voiced[base] if code == HALF_DAKUTEN else semivoiced[base]
                if joined:
                    o, code = last_at, np.int64(joined)
                else:
                    code = np.int64(target[code])
            elif what == JOINER:
                if not joins_emoji(last):
                    continue
            elif what == COMPOSING:
                composing[row] = True
            elif what != KEEP:
                continue
            last, last_at = code, o
            o = encode_utf8(code, out, o)
        out_offsets[row + 1] = o
    return out[:o], out_offsets, composing, controls
