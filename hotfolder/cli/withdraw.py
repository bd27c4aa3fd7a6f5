"""`hotfolder withdraw`: commands that wait for a daemon, and taking them back."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.cli.times import span, utc
from hotfolder.config.root import find_root
from hotfolder.errors import ExitCode, UsageError
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable
from hotfolder.status import mailbox


def run_withdraw(given: Path | None, ids: Sequence[str], *, everything: bool, as_json: bool) -> ExitCode:
    """Lists the commands that wait, or takes some of them back. Raises UsageError for one that does not wait."""
    layout = acting_on(given) if ids or everything else Layout(find_root(given))
    if everything and ids:
        raise UsageError("either name commands, or say --all", "hotfolder withdraw --all")
    waits = list(mailbox.waiting(layout))
    by_id = {each.id: each for each in waits}
    unknown = [each for each in ids if each not in by_id]
    if unknown:
        raise UsageError(
            f"no command {unknown[0]} waits: it was carried out or withdrawn, or never given",
            "see: hotfolder withdraw",
        )
    wanted = [each for each in waits if everything or each.id in ids]
    taken_back: list[mailbox.Waiting] = []
    too_late: list[mailbox.Waiting] = []
    for each in wanted:
        try:
            (taken_back if mailbox.withdraw(each.path) else too_late).append(each)
        except OSError as error:
            raise refused(error, f"{layout.control} cannot be written", "is this your root?") from None
    left = waits if not wanted else []
    if as_json:
        table.write_json(
            {
                "root": str(layout.root),
                "waiting": [as_document(layout, each) for each in left],
                "withdrawn": [as_document(layout, each) for each in taken_back],
                "too_late": [as_document(layout, each) for each in too_late],
            }
        )
    else:
        for line in lines(layout, left):
            sys.stdout.write(f"{line}\n")
        for each in taken_back:
            sys.stdout.write(f"withdrawn: {described(layout, each.command)}\n")
        for each in too_late:
            sys.stdout.write(f"too late, it has been begun: {described(layout, each.command)}\n")
        if not waits:
            sys.stdout.write("no command waits\n")
    return ExitCode.PARTLY_FAILED if too_late else ExitCode.DONE


def lines(layout: Layout, waits: Sequence[mailbox.Waiting]) -> list[str]:
    """Commands that wait, a line each."""
    now = time.time()
    return [
        f"{each.id}  {described(layout, each.command)}, asked {span(max(0.0, now - each.asked_at))} ago"
        + (", begun" if each.is_begun else "")
        for each in waits
    ]


def as_document(layout: Layout, waits: mailbox.Waiting) -> dict[str, Any]:
    """A command that waits, for JSON."""
    return {
        "id": waits.id, "do": str(waits.command.get("do")), "command": described(layout, waits.command),
        "asked_at": utc(waits.asked_at), "begun": waits.is_begun,
    }  # fmt: skip


def described(layout: Layout, command: Mapping[str, Any]) -> str:
    """A command as a person gave it."""
    do = printable(str(command.get("do")))
    match do:
        case "cancel" | "first" | "retry":
            return f"{do} {_what(layout, command)}"
        case "pause" if isinstance(command.get("seconds"), int | float):
            return f"pause for {span(command['seconds'])}"
        case "reroute" if isinstance(command.get("keep"), int | float):
            return f"reroute --keep {command['keep']:g}" + " --also-mine" * (command.get("also_mine") is True)
        case "undo":
            return f"undo {command['last']}" if isinstance(command.get("last"), int) else "reroute --undo"
        case "verdict":
            return f"{printable(str(command.get('verdict')))} {_images(layout, command)}"
        case "enlarge":
            return f"upscale {_images(layout, command)}"
        case "restore":
            return f"restore {_what(layout, command)}"
    return do


def _images(layout: Layout, command: Mapping[str, Any]) -> str:
    ids = command.get("images") or []
    if len(ids) == 1 and layout.database.exists():
        with Reader(layout.database) as reader:
            row = reader.image_row(ids[0])
        if row is not None:
            return printable(row["path"])
    return f"{len(ids)} images"


def _what(layout: Layout, command: Mapping[str, Any]) -> str:
    if command.get("all") is True:
        return "--all"
    drops, jobs = command.get("drops") or [], command.get("jobs") or []
    line = f" --line {command['line']}" if isinstance(command.get("line"), int) else ""
    if len(drops) == 1 and not jobs and layout.database.exists():
        with Reader(layout.database) as reader:
            path = reader.drop_path(drops[0])
        if path is not None:
            return f"{printable(path)}{line}"
    counts = [f"{len(drops)} files"] * bool(drops) + [f"{len(jobs)} jobs"] * bool(jobs)
    return (" and ".join(counts) or "nothing") + line
