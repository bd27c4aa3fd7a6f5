"""Which head the gate looks at, for each inbox: a small file, so that it can be asked with every dropped file."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hotfolder.errors import HotfolderError
from hotfolder.files.beneath import Beneath, open_below
from hotfolder.folders.layout import Layout
from hotfolder.taste.reports import place

log = logging.getLogger(__name__)
_FILE = "in-use.json"
_MOST_BYTES = 2**20


class InUse:
    """Reads the file again when it is another one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = Layout(root).tastes / _FILE
        self._stamp: tuple[int, ...] | None = None
        self._heads: Mapping[str, str] = {}

    def head(self, inbox: str) -> str | None:
        """The name of the head that is in use there."""
        return self.heads().get(inbox)

    def heads(self) -> Mapping[str, str]:
        """Of every inbox where one is."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._heads = _known(self._root) if stamp is not None else {}
            self._stamp = stamp
        return self._heads


def use(layout: Layout, inbox: str, head: str | None) -> None:
    """From the next file on the gate looks at this head there; None: at none.

    Raises OSError, and HotfolderError where the file is damaged: it says what other inboxes are judged by.
    """
    heads = _read(layout)
    heads.pop(inbox, None)
    if head is not None:
        heads[inbox] = head
    with Beneath(layout.root) as beneath:
        name = place(layout, _FILE)
        if heads:
            beneath.write(name, json.dumps({"version": 1, "in_use": heads}, indent=1, sort_keys=True) + "\n")
        elif beneath.exists(name):
            beneath.unlink(name)


def _known(root: Path) -> dict[str, str]:
    """What cannot be read is said, and counts as none: the gate is then what the settings say."""
    try:
        return _read(Layout(root))
    except HotfolderError as error:
        log.error("%s; no taste is in use", error.message)
        return {}


def _read(layout: Layout) -> dict[str, str]:
    """Raises HotfolderError for what cannot be read."""
    try:
        with open_below(layout.root, layout.tastes / _FILE) as file:
            said: Any = json.loads(file.read(_MOST_BYTES))
        return {str(inbox): str(head) for inbox, head in said["in_use"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise HotfolderError(
            f"{place(layout, _FILE)} cannot be read: {getattr(error, 'strerror', None) or error}",
            "make it readable, take it from a backup, or move it away: then no inbox is judged by a taste",
        ) from None


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
