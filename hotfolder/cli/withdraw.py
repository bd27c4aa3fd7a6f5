"""`hotfolder withdraw`: commands that wait for a daemon, and taking them back."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.config.root import find_root
from hotfolder.core.times import span
from hotfolder.documents.commands import as_document, described
from hotfolder.errors import ExitCode, UsageError
from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
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
