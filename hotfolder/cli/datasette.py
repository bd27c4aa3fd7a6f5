"""`hotfolder datasette`: titles, descriptions and questions for Datasette, which shows any SQLite file."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.config.root import find_root
from hotfolder.errors import UsageError
from hotfolder.files.durable import write_durably
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.ledger.published import CANNED, VIEWS
from hotfolder.printable import printable

NAME = "datasette.json"


def run_datasette(given: Path | None, file: Path | None, *, as_json: bool) -> None:
    """Writes the metadata, in the place of older ones. Raises UsageError where another file has that name."""
    layout = Layout(find_root(given))
    target = (file or layout.root / NAME).absolute()
    if target.exists() and not _is_ours(target):
        raise UsageError(f"{target} is there already, and is none of hotfolder's", "name another file")
    try:
        write_durably(target, json.dumps(metadata(), indent=2) + "\n")
    except OSError as error:
        raise refused(error, f"{target} cannot be written", "name another file") from None
    command = shlex.join(["datasette", layout.database.name, "--metadata", str(target)])
    if as_json:
        table.write_json({"root": str(layout.root), "file": str(target), "command": command})
    else:
        sys.stdout.write(
            f"written: {printable(str(target))}\nin {printable(str(layout.root))}: {printable(command)}\n"
        )


def metadata() -> dict[str, Any]:
    """See https://docs.datasette.io/en/stable/metadata.html."""
    tables = {name: {"description": told, "columns": columns} for name, (told, columns) in VIEWS.items()}
    queries = {name: {"title": title, "sql": sql} for name, title, sql in CANNED}
    about = "Scores, jobs, lineage and verdicts. Scripts may rely on the views; the tables behind them may change."
    return {
        "title": "hotfolder",
        "databases": {"hotfolder": {"description": about, "tables": tables, "queries": queries}},
    }


def _is_ours(path: Path) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["title"] == "hotfolder"
    except (OSError, ValueError, KeyError, TypeError):
        return False
