"""Arrow string columns seen as numpy arrays, and back, without copying.

Kernels read and write UTF-8 the way Arrow stores it: one byte buffer and row offsets. The large arrays they write are
handed to them (`room`): with numba's own np.empty half of the shadow's time went into mapping fresh memory.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from corpuskit.text.kernel import kernel

Bytes = npt.NDArray[np.uint8]
Offsets = npt.NDArray[np.int32]
CodePoints = npt.NDArray[np.uint32]
Positions = npt.NDArray[np.int64]
Number = TypeVar("Number", np.uint8, np.uint32)


def utf8_view(column: pa.Array) -> tuple[Bytes, Offsets]:
    """The bytes and the row offsets (length n + 1) of a string column without nulls.

    Raises:
        ValueError: the column is not a plain string column, or has nulls.
    """
    if column.type != pa.string() or column.null_count:
        raise ValueError(f"expected a string column without nulls, got {column.type} with {column.null_count} nulls")
    _, offset_buffer, data_buffer = column.buffers()
    if len(column) == 0 or offset_buffer is None:
        return np.empty(0, np.uint8), np.zeros(1, np.int32)
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer is not None else np.empty(0, np.uint8)
    return data, offsets


def string_column(data: Bytes, offsets: Offsets) -> pa.Array:
    """A string column over the given buffers; the bytes must be valid UTF-8."""
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def room(size: int, kind: type[Number]) -> npt.NDArray[Number]:
    """An array of any contents, from Arrow's pool: it hands out the same memory again and again, already mapped."""
    held = pa.allocate_buffer(max(1, size) * np.dtype(kind).itemsize)
    return np.frombuffer(held, kind)[:size]


@kernel
def longest_row(offsets):  # type: ignore[no-untyped-def]
    """The length of the longest row of a column with these offsets."""
    longest = 0
    for row in range(len(offsets) - 1):
        longest = max(longest, offsets[row + 1] - offsets[row])
    return longest
