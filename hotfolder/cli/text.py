"""Text that is safe to show."""

from __future__ import annotations


def printable(text: str) -> str:
    """Control characters and bytes that are no text, escaped: a file's name must not steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
