"""Tables and documents on stdout."""

from __future__ import annotations

import csv
import itertools
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hotfolder.printable import printable

#: Wide enough for any row, where stdout is no terminal.
_ENDLESS = 10_000
#: What spreadsheets take for the beginning of a formula, also in the wide letters of East Asian scripts.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def show(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, right: Sequence[str] = ()) -> None:
    """A table for people: as wide as the terminal, long texts shortened; `right` are the columns of numbers."""
    from rich.console import Console  # 0.1 s: only for tables
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else _ENDLESS, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*(Text(cell(value)) for value in row))
    console.print(table)


def cell(value: Any) -> str:
    """A value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return printable(str(value))


def toml(value: Any) -> str:
    """A value as hotfolder.toml has it: JSON's texts, numbers and lists are TOML's, too."""
    return "not set" if value is None else json.dumps(value, ensure_ascii=False)


def write_json(document: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps({"schema_version": 1, **document}) + "\n")


def write_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, line_end: str = "\r\n") -> None:
    """For spreadsheets: what a file or a prompt says is a text in them, and never a formula."""
    writer = csv.writer(sys.stdout, lineterminator=line_end)
    writer.writerows([harmless(value) for value in row] for row in itertools.chain([columns], rows))


def harmless(value: Any) -> Any:
    """Numbers as they are; texts without control characters, and with an apostrophe before what begins a formula.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(value, str):
        return value
    text = "\n".join(map(printable, value.split("\n")))
    return f"'{text}" if value.lstrip(" ").startswith(_FORMULA) and not _is_number(value) else text


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", text) is not None
