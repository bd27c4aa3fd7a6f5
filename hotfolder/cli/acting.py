"""Commands that change something say which root they act on."""

from __future__ import annotations

import sys
from pathlib import Path

from hotfolder.config.root import find_root
from hotfolder.folders.layout import Layout
from hotfolder.printable import printable


def acting_on(given: Path | None, *, trusted: bool = False, default: Path | None = None) -> Layout:
    """The root that a command changes, named on stderr. `trusted`, `default` and what is raised: see `find_root`."""
    layout = Layout(find_root(given, trusted=trusted, default=default))
    name_root(layout.root)
    return layout


def name_root(root: Path) -> None:
    """Says on stderr which root is about to be changed."""
    sys.stderr.write(f"root: {printable(str(root))}\n")
