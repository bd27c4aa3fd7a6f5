"""Companions of pictures: which lie in the inboxes, which lie beside what is moved, and which came too late."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from hotfolder.core import naming
from hotfolder.core.companions import belongs_to, may_be_one, pairs, renamed
from hotfolder.files.beneath import Beneath, open_folder
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.imaging.sidecars import is_our_sidecar
from hotfolder.ledger.ledger import Ledger
from hotfolder.transitions import Companion, Move, Restored, RestoreTakenBack, Transition
from hotfolder.types import Sighting

log = logging.getLogger(__name__)
#: So long after its picture was placed a companion still follows it, in seconds.
LATELY = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Follower:
    """A file that came to an inbox when the picture that it belongs to had left that."""

    sighting: Sighting
    drop_id: int  # of the picture
    picture: str  # where that lies now
    beside: str  # where the file is to go


class Companions:
    """Shared by the intake, which finds them, and the outbox, which has them go along."""

    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        self._layout = layout
        self._ledger = ledger
        self._picture_of: dict[str, str] = {}
        self._of: dict[str, list[str]] = {}
        self._resting: dict[str, Sighting] = {}  # complete: they wait for their picture

    def look(self, paths: Iterable[str]) -> None:
        """What lies in inboxes for pictures now. Costs next to nothing where nothing but pictures does."""
        there = list(paths)
        split = [path.rpartition("/") for path in there]
        folders: dict[str, list[str]] = {folder: [] for folder, _, name in split if may_be_one(name)}
        if folders:
            for folder, _, name in split:
                if folder in folders:
                    folders[folder].append(name)
        self._picture_of = {
            f"{folder}/{name}": f"{folder}/{picture}"
            for folder, names in folders.items()
            for name, picture in pairs(names).items()
        }
        self._of = {}
        for path, picture in self._picture_of.items():
            self._of.setdefault(picture, []).append(path)
        self._resting = {path: seen for path, seen in self._resting.items() if path in self._picture_of}

    def picture_of(self, path: str) -> str | None:
        """The picture that a file in an inbox belongs to."""
        return self._picture_of.get(path)

    def rest(self, sighting: Sighting) -> None:
        """It is complete, and goes along as soon as its picture leaves."""
        self._resting[sighting.path] = sighting

    def is_resting(self, sighting: Sighting) -> bool:
        return self._resting.get(sighting.path) == sighting

    def follower(self, sighting: Sighting, now: float) -> Follower | None:
        """Where a file is to go whose picture left this inbox lately; None where there is none, or it is gone."""
        folder, _, name = sighting.path.rpartition("/")
        if not may_be_one(name):
            return None
        beginning = f"{folder}/{name.split('.')[0]}"
        for drop_id, dropped, placed in self._ledger.drops.placed_lately(beginning, now - LATELY):
            pure = PurePosixPath(dropped)
            if str(pure.parent) == folder and belongs_to(name, pure.name):
                where, _, called = placed.rpartition("/")
                if (self._layout.root / placed).exists():
                    return Follower(sighting, drop_id, placed, f"{where}/{renamed(name, pure.name, called)}")
        return None

    def with_companions(self, transition: Transition, listings: dict[str, Mapping[str, list[str]]]) -> Transition:
        """The transition with what goes along. `listings` remembers folders that were read for others of them."""
        found = []
        for role, move in transition.moves():
            folder, _, name = move.src.rpartition("/")
            if folder.startswith(f"{INBOX}/") and not isinstance(transition, RestoreTakenBack):
                for path in self._of.get(move.src, ()):
                    seen = self._resting.get(path)
                    if seen is not None:
                        found.append(Companion(role, Move(path, "", seen.identity)))
            elif not (folder.startswith(".") or move.dst.startswith(".")):
                if folder not in listings:
                    listings[folder] = self._beside(folder)
                found += [Companion(role, Move(f"{folder}/{each}", "")) for each in listings[folder].get(name, ())]
        if isinstance(transition, Restored):  # nothing goes back that was not dropped
            found = [each for each in found if not self._is_ours(each.move.src)]
        return replace(transition, companions=tuple(found)) if found else transition

    def _is_ours(self, path: str) -> bool:
        """Whether a sidecar is one that we wrote."""
        with Beneath(self._layout.root) as beneath:
            try:
                return is_our_sidecar(beneath, path)
            except OSError as error:
                log.debug("%s cannot be read: %s", path, error)
                return False

    def are_left_behind(self, done: Transition) -> bool:
        """Whether something that belongs to what was moved lies in the inbox still: not complete, or changed."""
        went = {each.move.src for each in done.companions}
        return any(path not in went for _, move in done.moves() for path in self._of.get(move.src, ()))

    def _beside(self, folder: str) -> Mapping[str, list[str]]:
        """The companions of each picture of a folder that is no inbox."""
        try:
            handle = open_folder(self._layout.root, folder)
        except OSError as error:
            log.debug("%s cannot be read: %s", folder, error)
            return {}
        try:
            names = [
                entry.name
                for entry in os.scandir(handle)
                if entry.is_file(follow_symlinks=False) and naming.as_text(entry.name) == entry.name
            ]
        finally:
            os.close(handle)
        found: dict[str, list[str]] = {}
        for name, picture in pairs(names).items():
            found.setdefault(picture, []).append(name)
        return found
