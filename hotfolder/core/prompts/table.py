"""Reads `.csv`: a prompt a row, in the column 'prompt'; other columns are keys."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from hotfolder.core.prompts.fields import ALIASES
from hotfolder.core.prompts.request import Request
from hotfolder.core.prompts.values import option
from hotfolder.errors import PromptSyntax


def read_csv(name: str, text: str) -> Iterator[Request | PromptSyntax]:
    """Parted by commas, semicolons or tabs, as its first line is; a cell that is empty leaves its key open."""
    lines = [f"{line}\n" for line in text.split("\n")]
    first = next((line for line in lines if line.strip()), "")
    delimiter = next((sign for sign in ",;\t" if "prompt" in _columns(first, sign)), None)
    if delimiter is None:
        raise PromptSyntax(
            f"{name}:1: no column is called 'prompt'", "name the columns in the first line, one of them 'prompt'"
        )
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    columns: list[str] = []
    try:
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if not columns:
                columns = _columns(first, delimiter)
                continue
            yield _request(f"{name}:{rows.line_num}:", rows.line_num, columns, row)
    except csv.Error as error:
        raise PromptSyntax(f"{name}:{rows.line_num}: not valid CSV: {error}", "mend the line") from None


def _columns(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return []


def _request(place: str, number: int, columns: list[str], row: list[str]) -> Request | PromptSyntax:
    try:
        if len(row) > len(columns):
            raise PromptSyntax(
                f"{place} the row has more cells than there are columns", 'put texts with commas in "…"'
            )
        cells = {column: cell.strip() for column, cell in zip(columns, row, strict=False) if cell.strip()}
        prompt = cells.pop("prompt", "")
        if not prompt:
            raise PromptSyntax(f"{place} the row has no prompt", "fill the column 'prompt'")
        options: dict[str, Any] = {}
        for column, cell in cells.items():
            key, value = option(place, column, cell, "")
            if key in options:
                raise PromptSyntax(f"{place} {key} is given twice, once as '{column}'", "give it once")
            options[key] = value
        own = frozenset(ALIASES.get(key, key) for key in cells)
        return Request(prompt, options, number, place, own)
    except PromptSyntax as error:
        return error
