"""Same content, same name: kept once."""

from __future__ import annotations

import filecmp
from pathlib import Path

from hotfolder.folders.layout import KEEP, REJECT, UNSCORED, Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.transitions import Move, NewImage


class Duplicates:
    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        self._layout = layout
        self._ledger = ledger

    def twin_of(self, image: NewImage, move: Move) -> str | None:
        """The path, relative to the root, of the very picture that a new image would lie beside; None if none does."""
        # A generated image has no verdict yet: its twin may lie on either side of the gate.
        places = [move.dst]
        if move.dst.startswith(UNSCORED):
            places += [move.dst.replace(UNSCORED, folder, 1) for folder in (KEEP, REJECT)]
        source = self._layout.root / move.src
        return next((path for path in places if self._is_there(source, image.sha256, path)), None)

    def _is_there(self, src: Path, sha256: str, path: str) -> bool:
        """Whether the same file has this name already, perhaps with stars in it since."""
        there = self._layout.root / path
        try:
            if not there.is_file():
                return False
            if filecmp.cmp(src, there, shallow=False):
                return True
        except OSError:
            return False  # what cannot be compared is kept
        return self._ledger.images.made_sha256(path) == sha256
