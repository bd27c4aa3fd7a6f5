"""Publishing: journal the intent, move without clobbering, make it durable, make it true in the ledger."""

from __future__ import annotations

import errno
import filecmp
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hotfolder.core import naming
from hotfolder.errors import DiskFull, EnvironmentTrouble
from hotfolder.folders.moves import fsync_folder, rename_noreplace, write_durably
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import Placement, Publication


class Publisher:
    """The only one who moves people's files."""

    def __init__(self, root: Path, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._root = root
        self._ledger = ledger
        self._clock = clock
        self._backlog: list[Publication] = []

    def publish(self, publication: Publication) -> Publication:
        """Carries out a publication; gives it back with the names that the files really got.

        Raises EnvironmentTrouble when disk or permissions do not allow it; `resume` then finishes it.
        """
        try:
            planned = self._plan(publication)
            entry = self._ledger.journal(planned, self._clock())
        except (OSError, EnvironmentTrouble) as error:
            self._backlog.append(publication)
            raise (explain(error) if isinstance(error, OSError) else error) from error
        return self._carry_out(entry, planned)

    def resume(self) -> list[Publication]:
        """Finishes what was begun before a crash or an error. Raises EnvironmentTrouble when it still cannot."""
        finished = [self._carry_out(entry, pending) for entry, pending in self._ledger.pending_journal()]
        while self._backlog:
            finished.append(self.publish(self._backlog.pop(0)))
        return finished

    def is_duplicate(self, src: Path, dst: str) -> bool:
        """Whether `dst` (relative to the root) already holds the very bytes of `src`."""
        there = self._root / dst
        return there.is_file() and filecmp.cmp(src, there, shallow=False)

    def _plan(self, publication: Publication) -> Publication:
        """Chooses names that are free, and notes each source's inode."""
        taken: set[str] = set()
        planned = []
        for placement in publication.placements:
            dst = self._free(placement.dst, taken)
            taken.add(dst)
            inode = placement.inode or os.lstat(self._root / placement.src).st_ino
            planned.append(Placement(placement.src, dst, inode))
        return replace(publication, placements=tuple(planned))

    def _free(self, wanted: str, taken: set[str]) -> str:
        number = 0
        while True:
            path = naming.numbered(wanted, number)
            if path not in taken and not os.path.lexists(self._root / path):
                return path
            number += 1

    def _carry_out(self, entry: int, publication: Publication) -> Publication:
        try:
            for index, placement in enumerate(publication.placements):
                while not self._move(placement):
                    # The name was taken since it was chosen: another one, and the journal must know first.
                    placement = replace(placement, dst=self._free(placement.dst, set()))
                    placements = list(publication.placements)
                    placements[index] = placement
                    publication = replace(publication, placements=tuple(placements))
                    self._ledger.rewrite_journal(entry, publication)
            self._write_sidecar(publication)
        except OSError as error:
            raise explain(error) from error
        self._ledger.apply(entry, publication, self._clock())
        return publication

    def _move(self, placement: Placement) -> bool:
        """Moves one file, or finds it moved already; False when another file has its name."""
        src, dst = self._root / placement.src, self._root / placement.dst
        if _inode(src) != placement.inode:
            # Moved before the crash; or a person took it away meanwhile, and then it is theirs.
            return True
        dst.parent.mkdir(parents=True, exist_ok=True)
        try:
            rename_noreplace(src, dst)
        except FileExistsError:
            if not dst.samefile(src):
                return False
            src.unlink()  # linked before the crash, the old name not yet removed
        fsync_folder(dst.parent)
        fsync_folder(src.parent)
        return True

    def _write_sidecar(self, publication: Publication) -> None:
        if publication.sidecar is None:
            return
        about = publication.placements[-1].dst if publication.placements else publication.sidecar_for
        if about is None:
            return
        path = self._root / naming.sidecar(about)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(
            path, json.dumps({**publication.sidecar, "file": about}, indent=2, ensure_ascii=False) + "\n"
        )


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def explain(error: OSError) -> EnvironmentTrouble:
    """An error of the disk or its permissions, in words."""
    where = error.filename2 or error.filename or "the disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for {where}", "free some; the queue goes on by itself")
    return EnvironmentTrouble(
        f"{where}: {error.strerror or error}", "make the folder writable; the queue goes on by itself"
    )
