"""Which root a command works on. Light: `status` and its like need no more of the configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hotfolder.errors import UsageError
from hotfolder.folders.layout import INBOX
from hotfolder.home import expanded, home

FILE_NAME = "hotfolder.toml"


def find_root(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The root to work on: the one given, else $HOTFOLDER_ROOT, else here, else ~/hotfolder.

    A folder in an inbox is never one: whoever may drop files may write a hotfolder.toml there. Where that is here,
    the root around it is meant. Raises UsageError where a folder that is named is no root.
    """
    if given is not None:
        root, named = given, "--root"
    elif environ.get("HOTFOLDER_ROOT"):
        root, named = Path(environ["HOTFOLDER_ROOT"]), "$HOTFOLDER_ROOT"
    elif Path(FILE_NAME).is_file():
        return _around(Path.cwd()) or Path.cwd()
    else:
        root, named = home() / "hotfolder", "the default root"
    root = Path(os.path.normpath(expanded(root).absolute()))
    if not (root / FILE_NAME).is_file():
        raise UsageError(
            f"{root} ({named}) has no {FILE_NAME}", f"make it with: hotfolder init {root} --preset tiny"
        )
    around = _around(root.resolve())
    if around is not None:
        raise UsageError(f"{root} ({named}) lies in an inbox of {around} and is no root", f"name that: {around}")
    return root


def _around(folder: Path) -> Path | None:
    """The root in an inbox of which a folder lies, if so."""
    inboxes = [each for each in (folder, *folder.parents) if each.name == INBOX]
    return next((inbox.parent for inbox in reversed(inboxes) if (inbox.parent / FILE_NAME).is_file()), None)


def find_root_if_any(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The same, for commands that also work without a root: None where none was named and none is there."""
    try:
        return find_root(given, environ)
    except UsageError:
        if given is not None or environ.get("HOTFOLDER_ROOT"):
            raise
        return None
