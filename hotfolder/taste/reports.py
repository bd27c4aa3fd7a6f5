"""What the last training found, as a small file, for whoever has no time to learn."""

from __future__ import annotations

import json
from typing import Any

from hotfolder.files.beneath import open_below
from hotfolder.folders.layout import Layout

_MOST_BYTES = 2**20


def place(layout: Layout, name: str) -> str:
    """Where a file of the folder of tastes lies, relative to the root."""
    return str(layout.tastes.relative_to(layout.root) / name)


def report_name(inbox: str) -> str:
    """Its name in the folder of tastes."""
    return f"report-{inbox}.json"


def last_report(layout: Layout, inbox: str) -> dict[str, Any] | None:
    """What `training.report` told; None where there was no training."""
    try:
        with open_below(layout.root, layout.tastes / report_name(inbox)) as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def offered(layout: Layout, inbox: str) -> str | None:
    """The head that the last training offered."""
    found = (last_report(layout, inbox) or {}).get("offered")
    return found if isinstance(found, str) else None
