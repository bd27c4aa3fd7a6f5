"""Publishing, many at a time: journal the intent, move without clobbering, make it durable, make it true."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hotfolder.errors import CannotPlace, EnvironmentTrouble, LedgerMismatch, UnreadableJournal
from hotfolder.files.beneath import Beneath
from hotfolder.files.copying import is_copy
from hotfolder.files.identity import is_same
from hotfolder.files.trouble import explain, explain_move
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import PRIVATE
from hotfolder.ledger.journal import StoredEntry
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing.entries import UnreadableEntry, decode, encode
from hotfolder.publishing.planning import Planner, companions_beside
from hotfolder.publishing.reports import remove_report, write_report
from hotfolder.transitions import Move, Transition
from hotfolder.types import ErrorInfo, FileIdentity

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a transition.

    `done` is what was carried out, with the names that the files really got. None, without `trouble`: a file that it
    was to move is not there any more, or is another one now, and nothing was done. With `trouble`: it has to wait,
    and `resume` tries it again. With `refused`: its files are in their places, but the ledger does not take it.
    """

    wanted: Transition
    done: Transition | None = None
    trouble: EnvironmentTrouble | CannotPlace | None = None
    refused: ErrorInfo | None = None


@dataclass(slots=True)
class _Begun:
    """A transition that stands in the journal."""

    entry_id: int
    wanted: Transition
    planned: Transition


class Publisher:
    """The only one who moves people's files."""

    def __init__(self, root: Path, ledger: Ledger, guard: Guard, clock: Callable[[], float]) -> None:
        self._root = root
        self._beneath = Beneath(root)
        self._planner = Planner(self._beneath)
        self._ledger = ledger
        self._guard = guard
        self._clock = clock
        self._backlog: list[Transition] = []  # not even journalled
        self._held: dict[int, Transition] = {}  # journalled; what it needs cannot be had just now

    @property
    def held(self) -> list[Transition]:
        """What waits because something cannot be put into its place."""
        return [*self._held.values(), *self._backlog]

    def publish(self, wanted: Sequence[Transition]) -> list[Published]:
        """Carries out transitions, all of them or each that can be, in any order.

        One that cannot be carried out holds back no other.
        """
        with self._beneath:
            return self._publish(wanted)

    def _publish(self, wanted: Sequence[Transition]) -> list[Published]:
        results: list[Published] = []
        plans: list[tuple[Transition, Transition]] = []
        taken: set[str] = set()
        waiting = list(wanted)
        try:
            self._guard.check_root()
            while waiting:
                planned = self._planned(waiting[0], taken)
                if isinstance(planned, Published):
                    results.append(planned)
                else:
                    plans.append((waiting[0], planned))
                del waiting[0]
            entries = self._ledger.journal.record([encode(plan) for _, plan in plans], self._clock())
        except EnvironmentTrouble as trouble:
            waiting += [transition for transition, _ in plans]
            self._backlog += waiting
            return results + [Published(each, trouble=trouble) for each in waiting]
        begun = [_Begun(entry, *plan) for entry, plan in zip(entries, plans, strict=True)]
        return results + self._carry_out(begun)

    def resume(self) -> tuple[list[Published], list[ErrorInfo]]:
        """Finishes what was begun before a crash or an error: what became of it, and of entries that are not readable.

        Those are set aside, and their jobs fail. Raises EnvironmentTrouble; LedgerError for the journal of a newer
        version.
        """
        self._guard.check_root()
        begun, unreadable = [], []
        self._held.clear()
        for entry in self._ledger.journal.pending():
            try:
                transition = decode(entry.version, entry.text)
            except UnreadableEntry as error:
                unreadable.append(self._set_aside(entry, error))
            else:
                begun.append(_Begun(entry.id, transition, transition))
        with self._beneath:
            results = self._carry_out(begun)
        backlog, self._backlog = self._backlog, []
        return results + self.publish(backlog), unreadable

    def _set_aside(self, entry: StoredEntry, error: UnreadableEntry) -> ErrorInfo:
        told = UnreadableJournal(
            f"what was begun cannot be finished: journal entry {entry.id} cannot be read ({error})",
            "look where its file is (hotfolder why FILE), then: hotfolder retry FILE. The database keeps the entry",
        ).info()
        log.error("%s", told.message)
        self._ledger.journal.set_aside(entry, told, self._clock())
        return told

    def _planned(self, wanted: Transition, taken: set[str]) -> Transition | Published:
        """The transition as it will be carried out; or what became of it already. Raises EnvironmentTrouble."""
        try:
            planned = self._planner.plan(wanted, taken)
        except OSError as error:
            trouble = self._explain(error, [move for _, move in wanted.moves()])
            if isinstance(trouble, EnvironmentTrouble):
                raise trouble from error
            self._backlog.append(wanted)
            return Published(wanted, trouble=trouble)
        return planned or Published(wanted)

    def _explain(self, error: OSError, moves: Sequence[Move]) -> EnvironmentTrouble | CannotPlace:
        """Of one file, or of everything that goes to or comes from the same top folder."""
        paths = [path for move in moves for path in (move.src, move.dst)]
        return explain_move(error, tuple(self._root / path.partition("/")[0] for path in paths))

    def _carry_out(self, begun: Sequence[_Begun]) -> list[Published]:
        """Every one is tried. The folders are made durable once each, then one transaction makes all of it true."""
        folders: set[str] = set()
        results: list[Published] = []
        moved: list[tuple[_Begun, Transition]] = []
        gone: list[_Begun] = []
        for each in begun:
            try:
                done = self._move_all(each, folders)
            except (OSError, EnvironmentTrouble) as error:
                trouble = (
                    self._explain(error, [move for _, move in each.planned.moves()])
                    if isinstance(error, OSError)
                    else error
                )
                results.append(self._wait(each, trouble))
                continue
            if done is None:
                gone.append(each)
            else:
                moved.append((each, done))
        try:
            self._beneath.fsync(folders)
            refused = self._apply(moved, gone)
        except (OSError, EnvironmentTrouble) as error:
            trouble = explain(error) if isinstance(error, OSError) else error
            return results + [self._wait(each, trouble) for each in (*gone, *(each for each, _ in moved))]
        results += [
            Published(each.wanted, refused=refused[each.entry_id])
            if each.entry_id in refused
            else Published(each.wanted, done)
            for each, done in moved
        ]
        return results + [Published(each.wanted) for each in gone]

    def _apply(self, moved: Sequence[tuple[_Begun, Transition]], gone: Sequence[_Begun]) -> dict[int, ErrorInfo]:
        """All of it in one transaction. Where something does not fit the ledger: one each, and that one is set aside.

        Gives the entries that were, and why. Raises EnvironmentTrouble, LedgerError.
        """
        journal, refused = self._ledger.journal, dict[int, ErrorInfo]()
        closed = [each.entry_id for each in gone]
        try:
            journal.apply([(each.entry_id, done) for each, done in moved], closed, self._clock())
            return refused
        except LedgerMismatch:
            journal.apply([], closed, self._clock())
        for each, done in moved:
            try:
                journal.apply([(each.entry_id, done)], [], self._clock())
            except LedgerMismatch as error:
                places = ", ".join(move.dst for _, move in done.moves()) or done.source_file
                told = LedgerMismatch(
                    f"{places} is in its place, but cannot be recorded: {error.message}", error.fix
                )
                log.error("%s", told.message)
                entry = encode(done)
                stored = StoredEntry(each.entry_id, entry.version, entry.text, entry.job_id)
                journal.set_aside(stored, told.info(), self._clock())
                refused[each.entry_id] = told.info()
        return refused

    def _wait(self, begun: _Begun, trouble: EnvironmentTrouble | CannotPlace) -> Published:
        self._held[begun.entry_id] = begun.wanted
        return Published(begun.wanted, trouble=trouble)

    def _move_all(self, begun: _Begun, folders: set[str]) -> Transition | None:
        """Moves the files of one transition and writes its report; None when its first file is gone.

        Adds the folders whose names have changed.
        """
        transition = begun.planned
        for number, (role, move) in enumerate(transition.moves()):
            if number == 0 and self._is_gone(move):
                return None
            while not self._move(move, folders):
                # The name was taken since it was chosen: another one, and the journal must know first.
                report = transition.error_report
                with_report = report is not None and report.beside == move.dst
                own = [each for each in transition.companions if each.of == role]
                dst = self._planner.free(move, set(), own, with_report=with_report)
                if report is not None and with_report:
                    transition = transition.with_report(replace(report, beside=dst))
                move = replace(move, dst=dst)
                others = (each for each in transition.companions if each.of != role)
                transition = replace(
                    transition.with_moves({role: move}), companions=(*others, *companions_beside(move, own))
                )
                self._ledger.journal.rewrite(begun.entry_id, encode(transition))
        for each in transition.companions:
            self._move_along(each.move, folders)
        write_report(self._beneath, transition)
        remove_report(self._beneath, transition)
        return transition

    def _move_along(self, move: Move, folders: set[str]) -> None:
        """A companion that cannot be moved stays where it is, and holds nothing back. Raises EnvironmentTrouble."""
        try:
            why = "" if self._move(move, folders) else f"{move.dst} is there already"
        except CannotPlace as trouble:
            why = trouble.message
        except OSError as error:
            found = self._explain(error, [move])
            if isinstance(found, EnvironmentTrouble):
                raise found from error
            why = found.message
        if why:
            log.warning("%s stays apart from its picture: %s", move.src, why)

    def _is_gone(self, move: Move) -> bool:
        """Whether the very file is neither where it was nor where it is to be: a person took it away."""
        here, there = self._beneath.identity(move.src), self._beneath.identity(move.dst)
        is_here = here is not None and is_same(move.file, here)
        return not is_here and (there is None or not is_copy(move.file, there))

    def _move(self, move: Move, folders: set[str]) -> bool:
        """Moves one file, or finds it moved already; False when another file has its name."""
        here = self._beneath.identity(move.src)
        folders.add(_folder_of(move.dst))
        if here is None or not is_same(move.file, here):
            return True  # moved before the crash, or gone
        folders.add(_folder_of(move.src))
        try:
            if move.src.startswith(f"{PRIVATE}/"):  # what was made here, not dropped
                self._beneath.take_group(move.src, move.dst)
            was_copied = self._beneath.rename(move.src, move.dst)
        except FileNotFoundError:
            self._beneath.close()  # a folder was removed, or it is the file that is gone
            return self._move(move, folders)
        except FileExistsError:
            there = self._beneath.identity(move.dst)
            if there is None or not self._is_moved(move, there):
                return False
            self._beneath.unlink(move.src)  # linked or copied before the crash, the old name not yet removed
            return True
        moved = self._beneath.identity(move.dst)
        if moved is not None and not (is_copy if was_copied else is_same)(here, moved):
            with contextlib.suppress(OSError):
                self._beneath.rename(move.dst, move.src)
            raise CannotPlace(
                f"{move.src} was exchanged for another file while it was moved",
                "what lies there now is taken anew",
            )
        return True

    def _is_moved(self, move: Move, there: FileIdentity) -> bool:
        """Whether what has the new name is the file itself, or a copy of it: nothing is removed for looking alike."""
        if is_same(move.file, there):
            return True
        return is_copy(move.file, there) and self._beneath.is_same_content(move.src, move.dst)


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]
