"""Arrays that go to disk when they are larger than a bound: memory-mapped files that nobody else ever sees."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def spilled(folder: Path, size: int, kind: npt.DTypeLike, bound: float) -> npt.NDArray[Any]:
    """An array of zeros: in memory up to `bound` bytes, above it in a file of `folder` that is deleted already.

    The operating system writes its pages out where memory is short; the disk space is free again when the array is.
    """
    kind = np.dtype(kind)
    if size * kind.itemsize <= bound:
        return np.zeros(size, kind)
    with tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, and not a SIGBUS where a page is written
            os.posix_fallocate(file.fileno(), 0, size * kind.itemsize)
        else:
            file.truncate(size * kind.itemsize)
        return np.asarray(np.memmap(file, kind, "r+", shape=(size,)))


def gathered(folder: Path, parts: Iterable[npt.NDArray[Any]], kind: npt.DTypeLike, bound: float) -> npt.NDArray[Any]:
    """The parts one after the other, in memory up to `bound` bytes, above it in a file as `spilled`."""
    kind = np.dtype(kind)
    held: list[npt.NDArray[Any]] = [np.empty(0, kind)]
    size = 0
    rest = iter(parts)
    for part in rest:
        held.append(part)
        size += part.nbytes
        if size > bound:
            break
    else:
        return np.concatenate(held)
    with tempfile.TemporaryFile(dir=folder) as file:
        for part in held:
            file.write(part.tobytes())
        del held
        for part in rest:
            file.write(np.ascontiguousarray(part).tobytes())
        file.flush()
        return np.asarray(np.memmap(file, kind, "r+"))
