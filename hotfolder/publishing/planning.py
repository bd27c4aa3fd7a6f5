"""Under which names files come to lie: chosen before anything is moved, so that the journal can say it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from hotfolder.core import companions, naming
from hotfolder.files.beneath import Beneath
from hotfolder.files.identity import is_same
from hotfolder.transitions import Change, Companion, Move, Transition


class Planner:
    """Chooses names that nothing has."""

    def __init__(self, beneath: Beneath) -> None:
        self._beneath = beneath

    def plan(self, wanted: Transition, taken: set[str]) -> Transition | None:
        """Chooses names that are free, and notes each source's identity; None when a source is gone or replaced."""
        moves: dict[str, Move] = {}
        along: list[Companion] = []
        report = wanted.error_report
        beside = report.beside if report else None
        for role, move in wanted.moves():
            there = self._beneath.identity(move.src)
            if there is None or not is_same(move.file, there):
                return None
            with_report = move.dst == beside
            own = self._companions_of(role, wanted)
            dst = self.free(move, taken, own, with_report=with_report)
            taken.add(dst)
            moves[role] = replace(move, dst=dst, file=there)
            along += companions_beside(moves[role], own)
            taken.update(each.move.dst for each in along)
            if with_report:
                beside = dst
        planned = replace(wanted.with_moves(moves), companions=tuple(along))
        if report is None or beside is None:
            return planned
        if beside == report.beside and not any(move.dst == beside for move in moves.values()):
            beside = self.free(Move("", beside), taken, (), with_report=True)
        return planned.with_report(replace(report, beside=beside))

    def _companions_of(self, role: str, wanted: Change) -> list[Companion]:
        """Those that are still there, with the identity of each. One that is another file by now is left."""
        found = []
        for each in wanted.companions:
            there = self._beneath.identity(each.move.src) if each.of == role else None
            if there is not None and is_same(each.move.file, there):
                found.append(replace(each, move=replace(each.move, file=there)))
        return found

    def free(self, move: Move, taken: set[str], along: Sequence[Companion], *, with_report: bool = False) -> str:
        """The first name that nothing has: the wanted one, or one with a number.

        Nor has anything its report's, or those that its companions would get.
        """
        wanted = self._around_files(move.dst)
        for number in itertools.count():
            path = naming.numbered(wanted, number)
            needed = [path, *(each.move.dst for each in companions_beside(replace(move, dst=path), along))]
            free = not any(each in taken or self._beneath.exists(each) for each in needed)
            if free and not (with_report and self._beneath.exists(naming.sidecar(path))):
                return path
        raise AssertionError("numbers do not end")

    def _around_files(self, wanted: str) -> str:
        """A folder of the wanted path may be a file of that name, or a link: then a numbered folder is taken."""
        *folders, name = wanted.split("/")
        done = ""
        for part in folders:
            names = (naming.numbered(part, number) for number in itertools.count())
            done += next(n for n in names if not self._beneath.is_no_folder(f"{done}{n}")) + "/"
        return done + name


def companions_beside(picture: Move, along: Sequence[Companion]) -> list[Companion]:
    """The same companions, each with the place that it gets beside the picture where that goes."""
    folder, _, name = picture.dst.rpartition("/")
    before = picture.src.rpartition("/")[2]
    return [
        replace(
            each,
            move=replace(
                each.move,
                dst=f"{folder}/{companions.renamed(each.move.src.rpartition('/')[2], before, name)}",
            ),
        )
        for each in along
    ]
