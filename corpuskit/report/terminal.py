"""Text of foreign origin in a terminal."""

from __future__ import annotations


def harmless(text: str) -> str:
    """The text without anything that would steer the terminal; line ends stay."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)
