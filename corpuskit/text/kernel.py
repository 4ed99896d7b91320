"""Compiled kernels: numba functions that hold no lock, compiled on first use and kept until their source changes.

numba tells by a function's own file whether what it kept is still good. But functions and constants of other modules
are compiled in, those of the same room and of text/, so here a change in any of these counts.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any, Literal

import numba
from numba.core import caching

TEXT = Path(__file__).parent


class _ByRoom:
    """Mixed into numba's locators: what must be as it was for a kept function to be used."""

    def get_source_stamp(self) -> tuple[bytes, bytes]:
        own: bytes = super().get_source_stamp()  # type: ignore[misc]
        return own, _sources(Path(self._py_file).parent)  # type: ignore[attr-defined]


class GivenFolder(_ByRoom, caching.UserProvidedCacheLocator):
    """Where NUMBA_CACHE_DIR says."""


class BesideSource(_ByRoom, caching.InTreeCacheLocator):
    """Where the package may be written."""


class UserFolder(_ByRoom, caching.UserWideCacheLocator):
    """Where it may not."""


@functools.cache
def _sources(room: Path) -> bytes:
    digest = hashlib.sha256()
    for folder in (room, TEXT):
        for path in sorted(folder.glob("*.py")):
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


_LOCATORS = ",".join(f"{__name__}.{c.__name__}" for c in (GivenFolder, BesideSource, UserFolder))


def kernel(function: Any = None, *, inline: Literal["never", "always"] = "never") -> Any:
    """Decorate a function that numba is to compile.

    Args:
        function: in terms of numbers and numpy arrays; without annotations, for numba infers them.
        inline: "always" makes it a part of the kernels that call it.
    """
    if function is None:
        return functools.partial(kernel, inline=inline)
    config: Any = numba.config
    others, config.CACHE_LOCATOR_CLASSES = config.CACHE_LOCATOR_CLASSES, _LOCATORS
    try:
        return numba.njit(cache=True, nogil=True, inline=inline)(function)
    finally:
        config.CACHE_LOCATOR_CLASSES = others
