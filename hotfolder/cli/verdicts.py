"""`hotfolder keep`, `reject` and `undo`: a person's verdicts, and taking back."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.cli.finding import find_result
from hotfolder.cli.queue import ask_or_do, later
from hotfolder.core.places import place_of, why_not_judged
from hotfolder.core.times import utc
from hotfolder.documents.commands import described
from hotfolder.errors import ExitCode, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable
from hotfolder.status import mailbox
from hotfolder.types import Role, Verdict


def run_verdict(
    given: Path | None, verdict: Verdict, files: Sequence[Path], *, dry_run: bool, as_json: bool
) -> ExitCode:
    """Raises UsageError for a file that is no result; then nothing is done."""
    layout = acting_on(given)
    with Reader(layout.database) as reader:
        rows = {row["id"]: row for row in (find_result(reader, layout, file) for file in files)}
    answer: Mapping[str, Any] | None
    if dry_run:
        answer = {"files": [_would_be(row, verdict) for row in rows.values()]}
    else:
        command = {"do": "verdict", "verdict": verdict, "images": list(rows)}
        answer = ask_or_do(layout, command, moves=len(rows))
    told: list[dict[str, Any]] = answer["files"] if answer else []
    if as_json:
        table.write_json(
            {
                "root": str(layout.root),
                "verdict": verdict,
                "dry_run": dry_run,
                "waits": answer is None,
                "files": told,
            }
        )
    elif answer is None:
        sys.stdout.write(later(layout))
    else:
        for each in told:
            sys.stdout.write(_line(each))
    return ExitCode.PARTLY_FAILED if any("error" in each for each in told) else ExitCode.DONE


def run_undo(given: Path | None, count: int, *, dry_run: bool, as_json: bool) -> ExitCode:
    """Raises UsageError where there is nothing to take back."""
    layout = acting_on(given)
    with Reader(layout.database) as reader:
        last = reader.last_actions(count)
    _check_that_none_waits(layout)
    if not last:
        raise UsageError(
            "there is nothing to undo", "it takes back: keep, reject, stars, reroute, retry and restore"
        )
    if dry_run:
        actions = [
            {
                "action": each["kind"], "keep": each["keep"], "created_at": utc(each["created_at"]),
                "count": each["files"],
            }
            for each in last
        ]  # fmt: skip
        if as_json:
            table.write_json({"root": str(layout.root), "dry_run": True, "waits": False, "undone": actions})
        else:
            for each in actions:
                sys.stdout.write(f"would be undone: {_called(each, each['count'])}\n")
        return ExitCode.DONE
    answer = ask_or_do(layout, {"do": "undo", "last": count}, moves=sum(each["files"] for each in last))
    undone = [{**each, "created_at": utc(each["created_at"])} for each in answer["undone"]] if answer else []
    if as_json:
        table.write_json({"root": str(layout.root), "dry_run": False, "waits": answer is None, "undone": undone})
    elif answer is None:
        sys.stdout.write(later(layout))
    else:
        for each in undone:
            sys.stdout.write(f"undone: {_called(each, len(each['files']))}\n")
            for file in each["files"]:
                sys.stdout.write(f"  {_line(file)}")
    left = any("error" in file for each in undone for file in each["files"])
    return ExitCode.PARTLY_FAILED if left else ExitCode.DONE


def _check_that_none_waits(layout: Layout) -> None:
    """Raises UsageError where what a person did last has not been begun: it would be done first, to be undone then."""
    for each in mailbox.waiting(layout):
        if each.command.get("do") in mailbox.UNDOABLE and not each.is_begun:
            raise UsageError(
                f"{described(layout, each.command)} waits for a daemon, and has done nothing yet",
                f"take it back with: hotfolder withdraw {each.id}",
            )


def _would_be(row: Mapping[str, Any], verdict: Verdict) -> dict[str, Any]:
    why_not = why_not_judged(row["path"], is_gone=row["gone_at"] is not None)
    if why_not is not None:
        return {"file": row["path"], "error": why_not}
    return {"file": row["path"], "path": place_of(row["path"], Role(row["role"]), verdict)}


def _line(told: Mapping[str, Any]) -> str:
    if "error" in told:
        return f"{printable(told['file'])}: {printable(told['error'])}\n"
    if told["file"] == told["path"]:
        return f"{printable(told['file'])} stays\n"
    return f"{printable(told['file'])} → {printable(told['path'])}\n"


def _called(action: Mapping[str, Any], count: int) -> str:
    """What a person did, in words."""
    when = datetime.fromisoformat(action["created_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
    threshold = f" --keep {action['keep']:g}" if action["keep"] is not None else ""
    return f"{action['action']}{threshold} of {when}, {count} file{'' if count == 1 else 's'}"
