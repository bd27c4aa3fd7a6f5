"""What is told at the end, once, and how notes are told."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hotfolder.errors import HotfolderError
from hotfolder.printable import printable
from hotfolder.types import Outcome


@contextmanager
def told_at_the_end(tell: Callable[[], None], *, as_json: bool) -> Iterator[None]:
    """Calls `tell` after the work, also after Ctrl-C or trouble: what is known by then is worth having.

    Not after trouble with `as_json`: then the error is the one document on stdout.
    """
    try:
        yield
    except HotfolderError:
        if not as_json:
            tell()
        raise
    except KeyboardInterrupt:
        tell()
        raise
    tell()


def noted(outcome: Outcome) -> dict[str, list[str]]:
    """For a row of a JSON document: `notes`, where there are some."""
    return {"notes": list(outcome.notes)} if outcome.notes else {}


def write_notes(row: Mapping[str, Any]) -> None:
    """Below a row's line."""
    for note in row.get("notes", ()):
        sys.stdout.write(f"    note: {printable(note)}\n")
