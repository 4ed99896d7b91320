"""JSON lines of plain strings straight into Arrow columns: {"text": .., "url": .., "timestamp": ..} and no more.

That is what mC4 and C4 are, line after line, and what read as Python objects costs twice: once to make them, once to
encode them again. A block in which any line is anything else (another field, a number, a broken escape, a byte order
mark) is refused as a whole, and the caller reads it with orjson; a block that is taken gives what orjson would give.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from corpuskit.text.kernel import kernel

Array = npt.NDArray[Any]


def string_columns(block: bytes, names: tuple[str, str, str]) -> tuple[Array, list[pa.Array]] | None:
    """Line numbers (in the block, from 0) and the three columns, or None where the block is not of this plain kind.

    The first name is the text's and must be there in each line; the other two may be missing. Empty lines count as
    lines and give no row.
    """
    keys = [name.encode() for name in names]
    if any(not k or b'"' in k or b"\\" in k or not k.isascii() or min(k) < 32 for k in keys) or len(set(keys)) < 3:
        return None
    data = np.frombuffer(block, np.uint8)
    rows = len(block) // (len(keys[0]) + 8) + 2  # {"text":""} and its line end are the shortest record
    lines = np.empty(rows, np.int64)
    offsets = np.zeros((3, rows + 1), np.int32)
    valid = np.zeros((3, rows), np.bool_)
    # from Arrow's pool, which hands out the same memory again and again; eight bytes to spare, see _string
    buffers = [pa.allocate_buffer(len(block) + 8, resizable=True) for _ in keys]
    out = [np.frombuffer(buffer, np.uint8) for buffer in buffers]
    found = int(_parse(data, *[np.frombuffer(key, np.uint8) for key in keys], *out, lines, offsets, valid))
    del out
    if found < 0:
        return None
    columns = []
    for at, buffer in enumerate(buffers):
        nulls = found - int(valid[at, :found].sum())
        mask = pa.py_buffer(np.packbits(valid[at, :found], bitorder="little")) if nulls else None
        buffer.resize(int(offsets[at, found]), shrink_to_fit=at > 0)
        places = pa.py_buffer(offsets[at, : found + 1].copy())
        column = pa.StringArray.from_buffers(found, places, buffer, mask, nulls)
        try:
            column.validate(full=True)  # UTF-8, row by row
        except pa.ArrowInvalid:
            return None
        columns.append(column)
    return lines[:found].copy(), columns


@kernel
def _blank(data: Array, at: int, end: int) -> int:
    """The first byte at or after `at` that is no space, tab or carriage return."""
    while at < end and (data[at] == 32 or data[at] == 9 or data[at] == 13):
        at += 1
    return at


def count_lines(block: bytes) -> int:
    """How many line ends the bytes hold; some ten times faster than bytes.count."""
    return int(_count(np.frombuffer(block, np.uint8)))


@kernel
def _count(data: Array) -> int:
    count = 0
    for byte in data:
        count += byte == 10
    return count


@intrinsic
def _load(typing: Any, data: Any, at: Any) -> Any:
    """The eight bytes at `at` as a little-endian number; numpy has no unaligned loads."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_address(context, builder, signature.args[0], *args), align=1)

    return types.uint64(data, types.int64), build


@intrinsic
def _store(typing: Any, data: Any, at: Any, value: Any) -> Any:
    """Write eight bytes at `at`."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _address(context, builder, signature.args[0], *args[:2]), align=1)
        return context.get_dummy_value()

    return types.void(data, types.int64, types.uint64), build


@intrinsic
def _trailing_zeros(typing: Any, value: Any) -> Any:
    """The number of zero bits below the lowest one."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), build


def _address(context: Any, builder: Any, kind: Any, array: Any, at: Any) -> Any:
    """The address of byte `at` of an array, as that of a 64-bit number."""
    start = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(start, [at]), ir.IntType(64).as_pointer())


@kernel
def _hex(data: Array, at: int, end: int) -> int:
    """Four hexadecimal digits, or -1."""
    if at + 4 > end:
        return -1
    value = 0
    for i in range(at, at + 4):
        byte = data[i]
        if 48 <= byte <= 57:
            digit = byte - 48
        elif 65 <= byte <= 70:
            digit = byte - 55
        elif 97 <= byte <= 102:
            digit = byte - 87
        else:
            return -1
        value = value * 16 + digit
    return value


@kernel
def _escape(data: Array, at: int, end: int, out: Array, size: int) -> tuple[int, int]:
    """Resolve the escape whose backslash stands at `at`: where it ends and the new size, or (-1, 0)."""
    if at + 1 >= end:
        return -1, 0
    byte = data[at + 1]
    if byte == 117:  # u
        code = _hex(data, at + 2, end)
        at += 6
        if 0xD800 <= code < 0xDC00:
            if at + 6 > end or data[at] != 92 or data[at + 1] != 117:
                return -1, 0
            low = _hex(data, at + 2, end)
            if low < 0xDC00 or low > 0xDFFF:
                return -1, 0
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
            at += 6
        elif code < 0 or 0xDC00 <= code < 0xE000:
            return -1, 0
        if code < 0x80:
            out[size] = code
            return at, size + 1
        if code < 0x800:
            out[size] = 0xC0 | (code >> 6)
            out[size + 1] = 0x80 | (code & 63)
            return at, size + 2
        if code < 0x10000:
            out[size] = 0xE0 | (code >> 12)
            out[size + 1] = 0x80 | ((code >> 6) & 63)
            out[size + 2] = 0x80 | (code & 63)
            return at, size + 3
        out[size] = 0xF0 | (code >> 18)
        out[size + 1] = 0x80 | ((code >> 12) & 63)
        out[size + 2] = 0x80 | ((code >> 6) & 63)
        out[size + 3] = 0x80 | (code & 63)
        return at, size + 4
    if byte == 110:
        out[size] = 10
    elif byte == 34 or byte == 92 or byte == 47:
        out[size] = byte
    elif byte == 116:
        out[size] = 9
    elif byte == 114:
        out[size] = 13
    elif byte == 98:
        out[size] = 8
    elif byte == 102:
        out[size] = 12
    else:
        return -1, 0
    return at + 2, size + 1


@kernel
def _string(data: Array, at: int, end: int, out: Array, size: int) -> tuple[int, int]:
    """Copy the string whose first character stands at `at`: behind its closing quote and the new size, or (-1, 0).

    Eight bytes are copied and looked at together (Mycroft's test for a zero byte, for a byte below 32); what was
    copied behind a quote, a backslash or a control character is written over. `out` has eight bytes to spare.
    """
    ones, highs = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    quotes, slashes = np.uint64(0x2222222222222222), np.uint64(0x5C5C5C5C5C5C5C5C)
    spaces = np.uint64(0x2020202020202020)
    while at < end:
        if at + 8 <= end:
            value = _load(data, at)  # type: ignore[call-arg, var-annotated]
            _store(out, size, value)
            quote, slash = value ^ quotes, value ^ slashes
            found = ((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((value - spaces) & ~value)
            found &= highs
            if found == np.uint64(0):
                at += 8
                size += 8
                continue
            skip = _trailing_zeros(found) >> 3
            at += skip
            size += skip
        byte = data[at]
        if byte == 34:
            return at + 1, size
        if byte < 32:
            return -1, 0
        if byte == 92:
            at, size = _escape(data, at, end, out, size)
            if at < 0:
                return -1, 0
        else:
            out[size] = byte
            at += 1
            size += 1
    return -1, 0


@kernel
def _is_key(data: Array, at: int, end: int, key: Array) -> bool:
    """Whether `key` and a closing quote stand at `at`."""
    if at + len(key) >= end or data[at + len(key)] != 34:
        return False
    for i in range(len(key)):  # noqa: SIM110 - numba compiles loops, not generators
        if data[at + i] != key[i]:
            return False
    return True


@kernel
def _parse(
    data: Array,
    key0: Array,
    key1: Array,
    key2: Array,
    out0: Array,
    out1: Array,
    out2: Array,
    lines: Array,
    offsets: Array,
    valid: Array,
) -> int:
    """Fill the outputs line by line; the number of rows, or -1 where a line is not of the plain kind."""
    total = len(data)
    begin = row = line = 0
    sizes = np.zeros(3, np.int64)
    while begin < total:
        # the end of the line is not looked for: no string may hold one, so the object ends before it or is refused
        at = _blank(data, begin, total)
        if at < total and data[at] == 10:
            begin, line = at + 1, line + 1
            continue
        if at == total:
            break
        if data[at] != 123:
            return -1
        at = _blank(data, at + 1, total)
        while True:
            if at >= total or data[at] != 34:
                return -1
            at += 1
            if _is_key(data, at, total, key0):
                field, at = 0, at + len(key0)
            elif _is_key(data, at, total, key1):
                field, at = 1, at + len(key1)
            elif _is_key(data, at, total, key2):
                field, at = 2, at + len(key2)
            else:
                return -1
            at = _blank(data, at + 1, total)
            if valid[field, row] or at >= total or data[at] != 58:
                return -1
            at = _blank(data, at + 1, total)
            if at >= total or data[at] != 34:
                return -1
            out = out0 if field == 0 else out1 if field == 1 else out2
            at, size = _string(data, at + 1, total, out, sizes[field])
            if at < 0:
                return -1
            sizes[field] = size
            valid[field, row] = True
            at = _blank(data, at, total)
            if at >= total:
                return -1
            if data[at] == 44:
                at = _blank(data, at + 1, total)
                continue
            if data[at] != 125:
                return -1
            break
        at = _blank(data, at + 1, total)
        if not valid[0, row] or (at < total and data[at] != 10):
            return -1
        lines[row] = line
        row += 1
        for field in range(3):
            offsets[field, row] = sizes[field]
        begin, line = at + 1, line + 1
    return row
