"""Which root a command works on. Light: `status` and its like need no more of the configuration."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hotfolder.errors import UsageError

FILE_NAME = "hotfolder.toml"


def find_root(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The root to work on: the one given, else $HOTFOLDER_ROOT, else here, else ~/hotfolder.

    Raises UsageError where that folder has no hotfolder.toml.
    """
    if given is not None:
        root, named = given, "--root"
    elif environ.get("HOTFOLDER_ROOT"):
        root, named = Path(environ["HOTFOLDER_ROOT"]), "$HOTFOLDER_ROOT"
    elif (Path.cwd() / FILE_NAME).is_file():
        return Path.cwd()
    else:
        root, named = Path.home() / "hotfolder", "the default root"
    root = Path(os.path.normpath(root.expanduser().absolute()))
    if not (root / FILE_NAME).is_file():
        raise UsageError(
            f"{root} ({named}) has no {FILE_NAME}", f"make it with: hotfolder init {root} --preset tiny"
        )
    return root


def find_root_if_any(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The same, for commands that also work without a root: None where none was named and none is there."""
    try:
        return find_root(given, environ)
    except UsageError:
        if given is not None or environ.get("HOTFOLDER_ROOT"):
            raise
        return None
