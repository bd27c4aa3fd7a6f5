"""Sub-folders of inboxes that have become empty, where the settings want them removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable

from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.transitions import Transition


def remove_emptied(layout: Layout, done: Iterable[Transition]) -> None:
    """Those that some file was moved out of, and the folders above them up to the inbox; only empty ones can be."""
    left = {
        move.src.rpartition("/")[0]
        for transition in done
        for move in (*(move for _, move in transition.moves()), *(each.move for each in transition.companions))
        if move.src.startswith(f"{INBOX}/")
    }
    with Beneath(layout.root) as beneath:
        for folder in left:
            with contextlib.suppress(OSError):
                while folder.count("/") >= 2:  # below inbox/score
                    beneath.rmdir(folder)
                    folder = folder.rpartition("/")[0]
