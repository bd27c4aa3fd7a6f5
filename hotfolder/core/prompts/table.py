"""Reads `.csv`: a prompt a row, in the column 'prompt'; other columns are keys."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from hotfolder.core.prompts.fields import ALIASES
from hotfolder.core.prompts.request import Request
from hotfolder.core.prompts.values import option
from hotfolder.errors import PromptSyntax
from hotfolder.types import Place


def read_csv(name: str, text: str) -> Iterator[Request | PromptSyntax]:
    """Parted by commas, semicolons or tabs, as its first line is; a cell that is empty leaves its key open."""
    lines = [f"{line}\n" for line in text.split("\n")]
    first = next((line for line in lines if line.strip()), "")
    delimiter = next((sign for sign in ",;\t" if "prompt" in _columns(first, sign)), None)
    if delimiter is None:
        raise PromptSyntax(
            "no column is called 'prompt'",
            "name the columns in the first line, one of them 'prompt'",
            at=Place(name, 1),
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
            yield _request(Place(name, rows.line_num), rows.line_num, columns, row)
    except csv.Error as error:
        raise PromptSyntax(f"not valid CSV: {error}", "mend the line", at=Place(name, rows.line_num)) from None


def _columns(line: str, delimiter: str) -> list[str]:
    try:
        return [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return []


def _request(place: Place, number: int, columns: list[str], row: list[str]) -> Request | PromptSyntax:
    try:
        if len(row) > len(columns):
            raise PromptSyntax(
                "the row has more cells than there are columns", 'put texts with commas in "…"', at=place
            )
        cells = {column: cell.strip() for column, cell in zip(columns, row, strict=False) if cell.strip()}
        prompt = cells.pop("prompt", "")
        if not prompt:
            raise PromptSyntax("the row has no prompt", "fill the column 'prompt'", at=place)
        options: dict[str, Any] = {}
        for column, cell in cells.items():
            key, value = option(place, column, cell, "")
            if key in options:
                raise PromptSyntax(f"{key} is given twice, once as '{column}'", "give it once", at=place)
            options[key] = value
        own = frozenset(ALIASES.get(key, key) for key in cells)
        return Request(prompt, options, number, place, own)
    except PromptSyntax as error:
        return error
