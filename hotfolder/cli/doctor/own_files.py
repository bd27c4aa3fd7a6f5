"""The files of a root that are hotfolder's own: its configuration and its database."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from hotfolder.cli.doctor.check import Check
from hotfolder.config.settings import Settings
from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.ledger import health, kept
from hotfolder.ledger.reader import Reader


def configuration(path: Path, settings: Settings) -> Iterator[Check]:
    """Where it is, and whether people read passwords in it."""
    yield Check("configuration", "ok", str(path))
    if settings.holds_secrets and _everybody_reads(path) and not settings.output.readers & 0o004:
        yield Check(
            "configuration", "warn", f"{path} may hold passwords (notify, hooks), and everybody may read it",
            f"chmod o-r {shlex.quote(str(path))}; the daemon does so when it starts",
        )  # fmt: skip


def database(layout: Layout, settings: Settings) -> Iterator[Check]:
    """Whether it is whole, who may read it, and what lies beside it."""
    if not layout.database.exists():
        yield Check("database", "ok", f"{layout.database} is made when the daemon first runs")
        return
    problem = health.problem(layout.database, thoroughly=True)
    if problem:
        fix = "start the daemon: it mends it, or sets it aside and makes a new one from the folders"
        yield Check("database", "fail", f"{layout.database}: {problem}", fix)
        return
    try:
        with Reader(layout.database):
            pass
    except HotfolderError as error:
        yield Check("database", "fail", f"{layout.database}: {error.message}", error.fix)
        return
    size = layout.database.stat().st_size
    yield Check("database", "ok", f"{layout.database}, {size / 1e6:,.1f} MB, whole")
    if _everybody_reads(layout.database) and not settings.output.readers & 0o004:
        fix = f'chmod o-r {shlex.quote(str(layout.database))}*, or output.umask = "022" if that is meant'
        text = f"everybody may read {layout.database}, with all prompts and names"
        yield Check("database", "warn", text, fix)
    if copies := kept.copies(layout.database):
        size = sum(copy.stat().st_size for copy in copies)
        text = f"{len(copies)} copies from before its schema was changed, {size / 1e6:,.1f} MB, the newest {copies[0]}"
        yield Check("database", "ok", text)
    aside = sorted(layout.root.glob("hotfolder.damaged-*.db"))
    if aside:
        yield Check("database", "warn", f"set aside as damaged: {aside[-1]}", "remove it when you miss nothing")


def _everybody_reads(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o004) and all(folder.stat().st_mode & 0o001 for folder in path.parents)
