"""The one door for TOML that others write: a small file must not cost much memory or time."""

from __future__ import annotations

import re
from typing import Any

import tomli

#: Dots, brackets and braces outside of texts. Each may make a table, of about a kilobyte while it is read.
_MOST_TABLES = 100_000
#: Parts of one dotted key: reading it takes the square of their number.
_MOST_PARTS = 32
#: Texts and comments; one that does not end, ends with its line, or with the file.
_TEXT = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:"""|\Z)'
    r"|'''(?:[^']|'(?!''))*+(?:'''|\Z)"
    r'|"(?:[^"\\\n]|\\.)*+"?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
_LONG_KEY = re.compile(rf"(?<![\w-])(?:[\w-]++[ \t]*+\.[ \t]*+){{{_MOST_PARTS}}}")


def bare(text: str) -> str:
    """TOML on as many lines, without comments, and with a `_` for each text in it."""
    return _TEXT.sub(lambda found: "" if found[0].startswith("#") else "_" + "\n" * found[0].count("\n"), text)


def loads(text: str) -> dict[str, Any]:
    """Raises ValueError for what is no TOML, or too much of it; with a `lineno` where that is known."""
    structure = bare(text)
    if sum(map(structure.count, ".[{")) > _MOST_TABLES:
        raise ValueError(f"it has more than {_MOST_TABLES:,} dots, brackets and braces: split it")
    if _LONG_KEY.search(structure):
        raise ValueError(f"a key in it has more than {_MOST_PARTS} parts")
    try:
        return tomli.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
