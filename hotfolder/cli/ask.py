"""`hotfolder query` and `hotfolder export`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from hotfolder.cli import table
from hotfolder.config.root import find_root
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader

_COLUMNS = (
    "image_id", "path", "sha256", "role", "verdict", "score", "scorer", "width", "height", "parent_path", "prompt",
    "negative_prompt", "seed", "model", "source_file", "job_id", "created_at", "gain",
)  # fmt: skip


def run_query(given: Path | None, sql: str, *, as_json: bool, as_csv: bool) -> None:
    """Raises UsageError for what is no question, or asks for bytes in JSON."""
    _one_of(as_json, as_csv)
    with Reader(Layout(find_root(given)).database) as reader:
        columns, rows = reader.ask(sql)
        if as_csv:
            table.write_csv(columns, rows)
        elif as_json:
            table.write_json({"columns": columns, "rows": [[_plain(value) for value in row] for row in rows]})
        else:
            table.show(columns, rows)


def run_export(given: Path | None, *, as_json: bool, as_csv: bool) -> None:
    """Every image with its score, oldest first; JSON unless CSV is asked for."""
    _one_of(as_json, as_csv)
    with Reader(Layout(find_root(given)).database) as reader:
        rows = reader.export()
        if as_csv:
            table.write_csv(_COLUMNS, ([row[column] for column in _COLUMNS] for row in rows))
            return
        # One document, a line for each image, however many there are.
        sys.stdout.write('{"schema_version": 1, "results": [')
        for number, row in enumerate(rows):
            sys.stdout.write(("," if number else "") + "\n" + json.dumps(row))
        sys.stdout.write("\n]}\n")


def _one_of(as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise UsageError("--json and --csv exclude each other", "choose one")


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value
