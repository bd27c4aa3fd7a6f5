"""`hotfolder retry`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.cli.finding import check_no_folder
from hotfolder.cli.queue import ask, later, not_refused, relative_names
from hotfolder.core import naming
from hotfolder.errors import ExitCode, UsageError
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable


def run_retry(given: Path | None, files: Sequence[Path], *, everything: bool, as_json: bool) -> ExitCode:
    """Asks the daemon to try failed work again. Raises UsageError when nothing of that kind has failed."""
    layout = acting_on(given)
    if everything == bool(files):
        raise UsageError("either name what is to be tried again, or say --all", "hotfolder retry failed/cat.png")
    with Reader(layout.database) as reader:
        failed = reader.failed_jobs()
    if everything:  # what went back to where it was dropped is a person's again
        failed = [job for job in failed if job["restored_at"] is None]
    jobs = failed if everything else _meant(layout, files, failed)
    ids = sorted({job["id"] for job in jobs})
    answer = None
    if ids:
        answer = not_refused(ask(layout, {"do": "retry", "jobs": ids}, moves=len(ids)))
    told: list[dict[str, Any]] = answer.get("retried", []) if answer else []
    refused = [each for each in told if "error" in each]
    if as_json:
        waits = bool(ids) and answer is None
        table.write_json({"root": str(layout.root), "jobs": len(ids), "waits": waits, "files": told})
    elif not ids:
        sys.stdout.write("nothing has failed\n")
    elif answer is None:
        sys.stdout.write(f"{len(ids)} jobs will be tried again: {later(layout)}")
    else:
        for each in told:
            sys.stdout.write(f"{printable(each['file'])}: {each.get('error', 'tried again')}\n")
    return ExitCode.PARTLY_FAILED if refused else ExitCode.DONE


def _meant(layout: Layout, files: Sequence[Path], failed: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The failed jobs that a person means: by the failed file, its sidecar, or where it was dropped.

    What is called the same now is the newest that was.
    """
    by_name: dict[str, dict[int, list[dict[str, Any]]]] = {}
    for job in failed:
        paths = {job["source_file"], job["source"], job["placed_path"], job["image_path"]} - {None}
        if job["source"]:
            paths.add(naming.mirrored(job["source_file"], Path(job["source"]).name, "failed"))
        for name in paths | {naming.sidecar(path) for path in paths}:
            by_name.setdefault(name, {}).setdefault(job["drop_id"], []).append(job)
    found = []
    for file in files:
        drops = {
            drop_id: jobs
            for name in relative_names(layout, file)
            for drop_id, jobs in by_name.get(name, {}).items()
        }
        if not drops:
            check_no_folder(file, (layout.root / name for name in relative_names(layout, file)), ", or say --all")
            raise UsageError(
                f"nothing that failed is called {file}", "name a file of failed/; see: hotfolder status"
            )
        found += drops[max(drops)]
    return found
