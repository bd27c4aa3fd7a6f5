"""Loads the named queries."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

_HEADING = re.compile(r"^-- (name|part): (\w+)$", re.MULTILINE)
_PART = re.compile(r"\{(\w+)\}")
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)


@cache
def queries() -> dict[str, str]:
    """Name -> SQL, from queries.sql."""
    return read((files("hotfolder.ledger") / "queries.sql").read_text(encoding="utf-8"))


def read(text: str) -> dict[str, str]:
    """Name -> SQL, with the parts in their places. Raises KeyError for a part that is not there."""
    _, *found = _HEADING.split(text)
    sections = list(zip(found[::3], found[1::3], found[2::3], strict=True))
    parts = {name: _COMMENT.sub("", sql).strip() for kind, name, sql in sections if kind == "part"}
    return {name: _PART.sub(lambda part: parts[part[1]], sql) for kind, name, sql in sections if kind == "name"}
