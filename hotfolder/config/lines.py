"""On which line of a configuration file a key stands, for messages: where it is not found, that of its table."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from hotfolder.core import toml
from hotfolder.files.regular import Opens, open_regular, read_at_most

#: A configuration is text that people write: more than this is something else.
MOST_BYTES = 1 << 20
#: A place in a document: names of tables and keys, and numbers of entries of an array.
Loc = tuple[int | str, ...]
_HEADER = re.compile(r"\s*\[(?P<array>\[?)")
_PART = re.compile(r"""\s*(?:"((?:[^"\\]|\\.)*+)"|'([^']*+)'|([\w-]++))\s*""")


class Lines:
    """`where` is what the file is called in messages; it is read when a line is asked for. Without one: no lines."""

    def __init__(self, where: str, file: Path | None = None, opens: Opens = open_regular) -> None:
        self.where = where
        self._file = file
        self._opens = opens

    def at(self, loc: Loc) -> int | None:
        """The line of the key at this place, or of the table that it would stand in; None where that is not found."""
        for end in range(len(loc), 0, -1):
            if loc[:end] in self._known:
                return self._known[loc[:end]]
        return None

    def place(self, loc: Loc) -> str:
        """As a message begins: '…/hotfolder.toml:3'."""
        line = self.at(loc)
        return self.where if line is None else f"{self.where}:{line}"

    @cached_property
    def _known(self) -> dict[Loc, int]:
        try:
            data = read_at_most(self._file, MOST_BYTES, self._opens) if self._file is not None else None
        except OSError:
            data = None
        return _lines((data or b"").decode(errors="replace"))


def _lines(text: str) -> dict[Loc, int]:
    """The first line of each table and key."""
    found: dict[Loc, int] = {}
    entries: dict[Loc, int] = {}  # of each array of tables, the number of the last one
    table: Loc = ()
    depth = 0  # of brackets that a value has opened
    for number, (line, bare) in enumerate(zip(text.split("\n"), toml.bare(text).split("\n"), strict=True), 1):
        header = _HEADER.match(bare) if depth == 0 else None
        if header is not None:
            *above, name = _parts(line, header.end()) or [""]
            table = (*_inside((), above, entries), name)
            if header["array"]:
                entries[table] = entries.get(table, -1) + 1
                found.setdefault(table, number)
            table = _inside(table[:-1], [name], entries)
            found.setdefault(table, number)
            continue
        if depth == 0 and "=" in bare:
            key = _parts(line, 0)
            for end in range(1, len(key) + 1):
                found.setdefault((*table, *key[:end]), number)
            bare = bare.partition("=")[2]
        depth = max(0, depth + sum(map(bare.count, "[{")) - sum(map(bare.count, "]}")))
    return found


def _inside(table: Loc, names: list[str], entries: dict[Loc, int]) -> Loc:
    """The table of these names: of an array of tables in it, the last one."""
    for name in names:
        table = (*table, name)
        if table in entries:
            table = (*table, entries[table])
    return table


def _parts(line: str, at: int) -> list[str]:
    """The names of a dotted key that begins here."""
    parts = []
    while (found := _PART.match(line, at)) is not None:
        parts.append(next(each for each in found.groups() if each is not None))
        at = found.end() + 1
        if line[found.end() : at] != ".":
            break
    return parts
