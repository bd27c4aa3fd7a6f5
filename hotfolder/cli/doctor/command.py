"""Every check, one after the other, for a person or as JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from hotfolder.cli import table
from hotfolder.cli.doctor import daemon, devices, folders, installed, models, own_files
from hotfolder.cli.doctor.check import Check
from hotfolder.config import loading
from hotfolder.config.root import FILE_NAME, find_root_if_any
from hotfolder.config.settings import Settings
from hotfolder.errors import ExitCode, HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.printable import printable


def run_doctor(given: Path | None, *, as_json: bool) -> ExitCode:
    """Exit 1 when something fails; a warning alone is no failure."""
    found: list[Check] = []
    for check in examine(find_root_if_any(given)):
        found.append(check)
        if not as_json:
            _show(check)
    counts = {status: sum(1 for check in found if check.status == status) for status in ("ok", "warn", "fail")}
    if as_json:
        table.write_json({"checks": [asdict(check) for check in found], **counts})
    else:
        sys.stdout.write(f"\n{counts['ok']} ok, {counts['warn']} warnings, {counts['fail']} failures\n")
    return ExitCode.FAILURE if counts["fail"] else ExitCode.DONE


def _show(check: Check) -> None:
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    code = {"ok": "32", "warn": "33", "fail": "31"}[check.status]
    status = f"\x1b[{code}m{check.status:<4}\x1b[0m" if colour else f"{check.status:<4}"
    sys.stdout.write(f"{status}  {check.name:<13} {printable(check.message)}\n")
    if check.fix and check.status != "ok":
        sys.stdout.write(f"{'':<20}fix: {printable(check.fix)}\n")
    sys.stdout.flush()


def examine(root: Path | None) -> Iterator[Check]:
    """Every check, one after the other; those of a root only where there is one."""
    yield installed.python()
    yield from installed.packages()
    settings = None
    if root is None:
        yield Check("root", "warn", "there is no root here", "hotfolder init ~/hotfolder --preset tiny")
    else:
        try:
            settings = loading.load(root)
            yield from own_files.configuration(root / FILE_NAME, settings)
        except HotfolderError as error:
            for each in error.each:
                yield Check("configuration", "fail", each.message, each.fix)
    yield from devices.examine(settings or Settings())
    if root is not None:
        yield from folders.examine(Layout(root), settings or Settings())
        yield from own_files.database(Layout(root), settings or Settings())
    yield from folders.inotify(Layout(root) if root else None)
    if settings is not None:
        yield from models.examine(settings)
        yield from models.orders(settings)
    if root is not None:
        yield daemon.examine(Layout(root))
    yield daemon.service(root)
