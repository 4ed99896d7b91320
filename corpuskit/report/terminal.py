"""Text of foreign origin in a terminal."""

from __future__ import annotations

from unicodedata import category


def harmless(text: str) -> str:
    """The text without anything that would steer the terminal; line ends and spaces of every kind stay."""
    return "".join(c if c.isprintable() or c == "\n" or category(c) == "Zs" else "\ufffd" for c in text)
