"""Publishing: journal the intent, move without clobbering, make it durable, make it true in the ledger."""

from __future__ import annotations

import errno
import filecmp
import itertools
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from hotfolder.core import naming
from hotfolder.errors import DiskFull, EnvironmentTrouble
from hotfolder.files.moves import fsync_folder, rename_noreplace, write_durably
from hotfolder.folders.guard import Guard
from hotfolder.ledger.ledger import Ledger
from hotfolder.printable import json_text
from hotfolder.types import Placement, Publication


class Publisher:
    """The only one who moves people's files."""

    def __init__(self, root: Path, ledger: Ledger, guard: Guard, clock: Callable[[], float]) -> None:
        self._root = root
        self._ledger = ledger
        self._guard = guard
        self._clock = clock
        self._backlog: list[Publication] = []

    def publish(self, publication: Publication) -> Publication | None:
        """Carries out a publication; gives it back with the names that the files really got.

        None when a file it was to move is not there any more, or is another one now: then nothing was done. Raises
        EnvironmentTrouble when disk or permissions do not allow it; `resume` then finishes it.
        """
        try:
            self._guard.check_root()
            planned = self._plan(publication)
            if planned is None:
                return None
            entry = self._ledger.journal(planned, self._clock())
        except (OSError, EnvironmentTrouble) as error:
            self._backlog.append(publication)
            raise (explain(error) if isinstance(error, OSError) else error) from error
        return self._carry_out(entry, planned)

    def resume(self) -> Iterator[tuple[Publication, Publication | None]]:
        """Finishes what was begun before a crash or an error: pairs as given to and by `publish`.

        Every entry is tried; afterwards raises EnvironmentTrouble if some could not be finished.
        """
        self._guard.check_root()
        trouble: EnvironmentTrouble | None = None
        for entry, pending in self._ledger.pending_journal():
            try:
                yield pending, self._carry_out(entry, pending)
            except EnvironmentTrouble as error:
                trouble = error
        backlog, self._backlog = self._backlog, []
        for waiting in backlog:
            try:
                yield waiting, self.publish(waiting)
            except EnvironmentTrouble as error:
                trouble = error
        if trouble is not None:
            raise trouble

    def is_duplicate(self, src: Path, dst: str) -> bool:
        """Whether `dst` (relative to the root) already holds the very bytes of `src`."""
        there = self._root / dst
        try:
            return there.is_file() and filecmp.cmp(src, there, shallow=False)
        except OSError:
            return False  # what cannot be compared is kept

    def _plan(self, publication: Publication) -> Publication | None:
        """Chooses names that are free, and notes each source's inode; None when a source is gone or replaced."""
        taken: set[str] = set()
        planned = []
        for placement in publication.placements:
            inode = _inode(self._root / placement.src)
            if inode is None or placement.inode not in (0, inode):
                return None
            with_sidecar = publication.sidecar is not None and placement is publication.placements[-1]
            dst = self._free(placement.dst, taken, with_sidecar=with_sidecar)
            taken.add(dst)
            planned.append(Placement(placement.src, dst, inode))
        sidecar_for = publication.sidecar_for
        if sidecar_for is not None:
            sidecar_for = self._free(sidecar_for, set(), with_sidecar=True)
        return replace(publication, placements=tuple(planned), sidecar_for=sidecar_for)

    def _free(self, wanted: str, taken: set[str], *, with_sidecar: bool = False) -> str:
        """The first name that nothing has: `wanted`, or one with a number; nor has anything its sidecar's."""
        wanted = self._around_files(wanted)
        for number in itertools.count():
            path = naming.numbered(wanted, number)
            free = path not in taken and not os.path.lexists(self._root / path)
            if free and not (with_sidecar and os.path.lexists(self._root / naming.sidecar(path))):
                return path
        raise AssertionError("numbers do not end")

    def _around_files(self, wanted: str) -> str:
        """A folder of the wanted path may be a file of that name: then a numbered folder is taken instead."""
        done = PurePosixPath()
        for part in PurePosixPath(wanted).parts[:-1]:
            names = (naming.numbered(part, number) for number in itertools.count())
            done /= next(n for n in names if not _is_file(self._root / done / n))
        return str(done / PurePosixPath(wanted).name)

    def _carry_out(self, entry: int, publication: Publication) -> Publication | None:
        try:
            for index, placement in enumerate(publication.placements):
                if self._is_gone(placement) and index == 0:
                    self._ledger.close_journal(entry)
                    return None
                while not self._move(placement):
                    # The name was taken since it was chosen: another one, and the journal must know first.
                    last = index == len(publication.placements) - 1
                    with_sidecar = last and publication.sidecar is not None
                    placement = replace(placement, dst=self._free(placement.dst, set(), with_sidecar=with_sidecar))
                    placements = list(publication.placements)
                    placements[index] = placement
                    publication = replace(publication, placements=tuple(placements))
                    self._ledger.rewrite_journal(entry, publication)
            self._write_sidecar(publication)
            self._remove_sidecar(publication)
        except OSError as error:
            raise explain(error) from error
        self._ledger.apply(entry, publication, self._clock())
        return publication

    def _is_gone(self, placement: Placement) -> bool:
        """Whether the very file is neither where it was nor where it is to be: a person took it away."""
        return placement.inode not in (_inode(self._root / placement.src), _inode(self._root / placement.dst))

    def _move(self, placement: Placement) -> bool:
        """Moves one file, or finds it moved already; False when another file has its name."""
        src, dst = self._root / placement.src, self._root / placement.dst
        if _inode(src) != placement.inode:
            return True  # moved before the crash, or gone
        dst.parent.mkdir(parents=True, exist_ok=True)
        try:
            rename_noreplace(src, dst)
        except FileExistsError:
            if _inode(dst) != placement.inode:
                return False
            src.unlink()  # linked before the crash, the old name not yet removed
        fsync_folder(dst.parent)
        fsync_folder(src.parent)
        return True

    def _remove_sidecar(self, publication: Publication) -> None:
        """Of the file that `remove` names, or of a numbered one: but only one that speaks of these very jobs."""
        if publication.remove is None:
            return
        jobs = {*publication.requeue, *publication.supersede}
        for number in itertools.count():
            path = self._root / naming.sidecar(naming.numbered(publication.remove, number))
            try:
                told = json.loads(path.read_bytes())
            except FileNotFoundError:
                return
            except ValueError:
                continue  # a person's
            listed = told.get("jobs", ()) if isinstance(told, dict) else ()
            if any(isinstance(job, dict) and job.get("job_id") in jobs for job in listed):
                path.unlink(missing_ok=True)
                return

    def _write_sidecar(self, publication: Publication) -> None:
        if publication.sidecar is None:
            return
        if publication.placements:
            about = publication.placements[-1].dst
        elif publication.sidecar_for is not None:
            about = publication.sidecar_for
        else:
            return
        path = self._root / naming.sidecar(about)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_durably(path, json_text({**publication.sidecar, "file": about}) + "\n")


def _inode(path: Path) -> int | None:
    try:
        return os.lstat(path).st_ino
    except FileNotFoundError:
        return None


def _is_file(path: Path) -> bool:
    return os.path.lexists(path) and not path.is_dir()


def explain(error: OSError) -> EnvironmentTrouble:
    """An error of the disk or its permissions, in words."""
    where = error.filename2 or error.filename or "the disk"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"no space left for {where}", "free some; the queue goes on by itself")
    return EnvironmentTrouble(
        f"{where}: {error.strerror or error}", "make the folder writable; the queue goes on by itself"
    )
