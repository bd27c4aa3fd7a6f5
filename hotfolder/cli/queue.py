"""`hotfolder pause`, `resume`, `cancel`, `first` and `reroute`: commands to the daemon."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.cli.finding import check_no_folder
from hotfolder.cli.prompt_lines import check_line
from hotfolder.cli.times import seconds_of
from hotfolder.core.times import utc
from hotfolder.errors import AlreadyRunning, HotfolderError, UsageError
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import INBOX, Layout
from hotfolder.folders.lock import holder
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable
from hotfolder.status import mailbox

#: Seconds that an answer of a running daemon is waited for, and how many more for each file that is to be moved, and
#: for each that is only noted down.
_PATIENCE, _FOR_A_MOVE, _FOR_A_NOTE = 10.0, 0.1, 0.01
#: Images that a dry run names.
_SOME = 20


def ask(
    layout: Layout,
    command: Mapping[str, Any],
    *,
    moves: int = 0,
    notes: int = 0,
    patience: float = _PATIENCE,
    withdrawn: bool = False,
) -> dict[str, Any] | None:
    """Leaves a command; gives the answer of a running daemon, None where none runs or none answers in time.

    That is longer for so many `moves` of files, each a few writes that must reach the disk, and `notes` in the ledger.
    `withdrawn`: without an answer it is none any more, and no daemon obeys it later.

    Raises UsageError where the root cannot be written, DiskFull.
    """
    try:
        path = mailbox.ask(layout, command)
    except OSError as error:
        raise refused(error, f"{layout.control} cannot be written", "is this your root?") from None
    patience += _FOR_A_MOVE * moves + _FOR_A_NOTE * notes
    try:
        return mailbox.answer_to(path, patience) if holder(layout.lock) is not None else None
    finally:
        if withdrawn:
            with contextlib.suppress(OSError):
                mailbox.withdraw(path)


def ask_or_do(layout: Layout, command: Mapping[str, Any], *, moves: int) -> dict[str, Any] | None:
    """As `ask`; where no daemon runs, it is carried out here, with whatever else waits to be.

    Raises UsageError also for what the daemon refuses; HotfolderError.
    """
    from hotfolder.config import loading
    from hotfolder.daemon.loop import Daemon
    from hotfolder.documents.commands import described
    from hotfolder.executors.stand_in import StandInExecutor

    settings = loading.load(layout.root)
    try:
        path = mailbox.ask(layout, command)
    except OSError as error:
        raise refused(error, f"{layout.control} cannot be written", "is this your root?") from None
    if holder(layout.lock) is None:
        if settings.output.umask:
            os.umask(int(settings.output.umask, 8))
        with contextlib.suppress(AlreadyRunning):  # one was started just now, and answers
            daemon = Daemon(layout.root, settings, StandInExecutor(lambda *_: "nothing is worked"))
            waited = [each for each in mailbox.waiting(layout) if each.path != path]
            for each in waited:
                sys.stderr.write(f"carried out, too, since it waited: {described(layout, each.command)}\n")
            try:
                daemon.obey()
            except AlreadyRunning:
                raise
            except (HotfolderError, OSError):
                with contextlib.suppress(OSError):
                    mailbox.withdraw(path)  # it was told to have failed, and must not be done later
                raise
    return not_refused(mailbox.answer_to(path, _PATIENCE + _FOR_A_MOVE * moves))


def not_refused(answer: dict[str, Any] | None) -> dict[str, Any] | None:
    """An answer. Raises UsageError for what the daemon refuses, such as one of an older version."""
    if answer is not None and "error" in answer:
        raise UsageError(
            answer["error"], "see its log; a daemon of an older version is ended with: hotfolder stop"
        )
    return answer


def later(layout: Layout) -> str:
    """What is said where there is no answer."""
    if holder(layout.lock) is None:
        return "no daemon runs; it will be so when one does (hotfolder run)\n"
    return "asked; the daemon has not answered yet, and does so as soon as it can (see: hotfolder status)\n"


def relative_names(layout: Layout, file: Path) -> set[str]:
    """The paths below the root that a person may mean, who stands here or in the root."""
    return {os.path.relpath(os.path.normpath(base / file), layout.root) for base in (Path.cwd(), layout.root)}


@dataclass(frozen=True, slots=True)
class Meant:
    """What a person names of what is waited for: dropped files, and jobs about images."""

    drops: list[int]
    jobs: list[int]


def waited_for(reader: Reader, layout: Layout, files: Sequence[Path]) -> Meant:
    """What waits for files: as they were dropped, or results that something is still to be done with.

    Raises UsageError for one that nothing waits for.
    """
    open_drops = {drop["path"]: drop["id"] for drop in reader.open_drops()}
    meant = Meant([], [])
    for file in files:
        names = relative_names(layout, file)
        drops = {open_drops[name] for name in names if name in open_drops}
        if not drops:
            placed = [drop["id"] for name in names if (drop := reader.last_drop(name)) is not None]
            drops = {drop_id for drop_id in placed if reader.open_jobs_of_drop(drop_id)}
        images = [image["image_id"] for name in names if (image := reader.image_by_path(name)) is not None]
        jobs = [] if drops else [job for image_id in images for job in reader.open_jobs_of_image(image_id)]
        if not drops and not jobs:
            check_no_folder(file, (layout.root / name for name in names))
            if any(name.startswith(f"{INBOX}/") and (layout.root / name).is_file() for name in names):
                raise UsageError(
                    f"{file} is not taken yet, so no job of it waits",
                    f"to have it left, take it out of the inbox; why it waits: hotfolder why {shlex.quote(str(file))}",
                )
            raise UsageError(
                f"nothing waits to be done for {file}", "name a file of an inbox; see: hotfolder status"
            )
        meant.drops.extend(sorted(drops))
        meant.jobs.extend(jobs)
    return meant


def run_pause(given: Path | None, for_: str | None, *, as_json: bool) -> None:
    layout = acting_on(given)
    answer = not_refused(ask(layout, {"do": "pause", "seconds": seconds_of(for_) if for_ else None}))
    until = answer.get("until") if answer else None
    if as_json:
        table.write_json(
            {"root": str(layout.root), "paused": answer is not None, "until": utc(until), "waits": answer is None}
        )
    elif answer is None:
        sys.stdout.write(later(layout))
    else:
        when = datetime.fromtimestamp(until).astimezone().strftime(" until %Y-%m-%d %H:%M") if until else ""
        sys.stdout.write(f"paused{when}; go on with: hotfolder resume\n")


def run_resume(given: Path | None, *, as_json: bool) -> None:
    layout = acting_on(given)
    answer = not_refused(ask(layout, {"do": "resume"}))
    if as_json:
        told = {key: answer.get(key) if answer else None for key in ("was_paused", "paused")}
        table.write_json({"root": str(layout.root), **told, "waits": answer is None})
    elif answer is None:
        sys.stdout.write(later(layout))
    else:
        still = answer.get("paused")
        over = "your pause is over" if still else "it goes on"
        what = over if answer["was_paused"] else "it was not paused by you"
        sys.stdout.write(f"{what}; it waits: {printable(still)}\n" if still else f"{what}\n")


def run_cancel(
    given: Path | None, files: Sequence[Path], *, line: int | None, everything: bool, as_json: bool
) -> None:
    """Raises UsageError for a file, or a line of it, that is not there or that nothing is waited of."""
    layout = acting_on(given)
    if everything == bool(files):
        raise UsageError(
            "either name what is to be left, or say --all", "hotfolder cancel inbox/generate/cats.txt"
        )
    if line is not None and len(files) != 1:
        raise UsageError("--line is of one prompt file", "hotfolder cancel inbox/generate/cats.txt --line 3")
    with Reader(layout.database) as reader:
        meant = Meant(reader.drops_waited_for(), []) if everything else waited_for(reader, layout, files)
        if line is not None and meant.jobs:
            raise UsageError(f"{files[0]} has no lines", "--line is of a prompt file in an inbox")
        if line is not None:
            check_line(reader, files[0], meant.drops, line)
    command: dict[str, Any] = {"do": "cancel", "drops": meant.drops, "jobs": meant.jobs}
    if everything:  # whatever there is when the daemon gets to it
        command["all"] = True
    if line is not None:
        command["line"] = line
    notes = len(meant.drops) + len(meant.jobs)
    answer = not_refused(ask(layout, command, notes=notes)) if notes else {"cancelled": []}
    if line is not None and answer is not None and not answer["cancelled"]:
        raise UsageError(
            f"nothing waits to be done for line {line} of {files[0]}",
            f"what became of the file: hotfolder why {shlex.quote(str(files[0]))}",
        )
    _tell_jobs(layout, answer, "cancelled", "jobs cancelled", "nothing is waited for", as_json=as_json)


def run_first(given: Path | None, files: Sequence[Path], *, as_json: bool) -> None:
    """Raises UsageError for a file that nothing is waited of."""
    layout = acting_on(given)
    with Reader(layout.database) as reader:
        meant = waited_for(reader, layout, files)
    command = {"do": "first", "drops": meant.drops, "jobs": meant.jobs}
    answer = not_refused(ask(layout, command, notes=len(meant.drops) + len(meant.jobs)))
    _tell_jobs(layout, answer, "first", "jobs go first", "nothing is waited for any more", as_json=as_json)


def _tell_jobs(
    layout: Layout, answer: Mapping[str, Any] | None, key: str, done: str, nothing: str, *, as_json: bool
) -> None:
    """How many jobs of each file a command was about, which its answer has below `key`."""
    files = answer.get(key, []) if answer else []
    if as_json:
        table.write_json({"root": str(layout.root), key: files, "waits": answer is None})
    elif answer is None:
        sys.stdout.write(later(layout))
    else:
        for each in files:
            sys.stdout.write(f"{printable(each['file'])}: {each['jobs']} {done}\n")
        sys.stdout.write("" if files else f"{nothing}\n")


def run_reroute(
    given: Path | None, keep: float | None, *, undo: bool, also_mine: bool, dry_run: bool, as_json: bool
) -> None:
    """Raises UsageError unless it is told either a threshold or to undo."""
    layout = acting_on(given)
    if (keep is None) == (not undo):
        raise UsageError("either name a threshold, or say --undo", "hotfolder reroute --keep 6.8 --dry-run")
    with Reader(layout.database) as reader:
        counts = reader.misplaced_counts(keep, also_mine=also_mine) if keep is not None else {}
        some = reader.misplaced(keep, _SOME, also_mine=also_mine) if keep is not None and dry_run else []
        last = next(iter(reader.last_actions(1, "reroute")), None)
    if undo and last is None:
        raise UsageError("there is nothing to undo", "hotfolder reroute --keep 6.8")
    if dry_run:
        found = {"to_keep": counts.get("reject", 0), "to_reject": counts.get("keep", 0), "examples": some}
        if as_json:
            table.write_json({"root": str(layout.root), "keep": keep, "undo": undo, **found})
        elif undo and last is not None:
            sys.stdout.write(f"the reroute with --keep {last['keep']:g} would be undone\n")
        else:
            sys.stdout.write(f"{found['to_keep']:,} images would go to keep/, {found['to_reject']:,} to reject/\n")
            for each in some:
                sys.stdout.write(f"  {each['score']:.2f}  {printable(each['path'])}\n")
        return
    if undo:
        answer = ask(layout, {"do": "undo"}, patience=3600)
    else:
        answer = ask(layout, {"do": "reroute", "keep": keep, "also_mine": also_mine}, moves=sum(counts.values()))
    answer = not_refused(answer)
    if as_json:
        told = {"keep": keep, "undo": undo, "waits": answer is None, **(answer or {})}
        table.write_json({"root": str(layout.root), **told})
    elif answer is None:
        sys.stdout.write(later(layout))
    else:
        missing = f", {answer['missing']:,} are not there any more" if answer["missing"] else ""
        sys.stdout.write(f"{answer['kept']:,} images went to keep/, {answer['rejected']:,} to reject/{missing}\n")
        if not undo:
            sys.stdout.write("take it back with: hotfolder reroute --undo. For new images, set gate.keep\n")
