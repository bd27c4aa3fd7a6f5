"""`hotfolder restore`: what was dropped goes back where it was dropped, or is copied elsewhere."""

from __future__ import annotations

import filecmp
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.cli.finding import NOT_KNOWN, find_result
from hotfolder.cli.queue import ask_or_do, later, relative_names
from hotfolder.core.companions import pairs, renamed
from hotfolder.errors import ExitCode, UsageError
from hotfolder.files.beneath import Beneath, open_folder
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable


def run_restore(
    given: Path | None, files: Sequence[Path], to: Path | None, *, everything: bool, dry_run: bool, as_json: bool
) -> ExitCode:
    """Raises UsageError for a file that was not dropped; then nothing is done."""
    layout = acting_on(given)
    if everything == bool(files):
        raise UsageError("either name what is to be put back, or say --all", "hotfolder restore keep/IMG_0001.jpg")
    with Reader(layout.database) as reader:
        wanted = reader.restorable(None if everything else [_drop_of(reader, layout, file) for file in files])
    answer: Mapping[str, Any] | None
    if to is not None:
        answer = {"files": list(_copy_all(layout, wanted, _outside(layout, to), dry_run=dry_run))}
    elif dry_run or not wanted:
        answer = {"files": [{"file": row["lies"], "path": row["path"]} for row in wanted]}
    else:
        command = {"do": "restore", "drops": [row["id"] for row in wanted]}
        answer = ask_or_do(layout, command, moves=len(wanted))
    told: list[dict[str, Any]] = answer["files"] if answer else []
    if as_json:
        table.write_json({"root": str(layout.root), "dry_run": dry_run, "waits": answer is None, "files": told})
    elif answer is None:
        sys.stdout.write(later(layout))
    else:
        for each in told:
            became = each["error"] if "error" in each else each["path"]
            sys.stdout.write(f"{printable(each['file'])}{': ' if 'error' in each else ' → '}{printable(became)}\n")
        if not told:
            sys.stdout.write("nothing that was dropped lies in the folders of results\n")
    return ExitCode.PARTLY_FAILED if any("error" in each for each in told) else ExitCode.DONE


def _drop_of(reader: Reader, layout: Layout, file: Path) -> int:
    """The dropped file that is meant: by where it lies, or where it was dropped. Raises UsageError."""
    for name in relative_names(layout, file):
        drop = reader.drop_placed_at(name) or reader.last_drop(name)
        if drop is not None:
            return _checked(reader, drop["id"], file)
    row = find_result(reader, layout, file)
    if row["role"] != "dropped":
        made_from = row["source_file"] or NOT_KNOWN
        raise UsageError(f"{file} was not dropped but made here, from {made_from}", "name a file that was dropped")
    if row["drop_id"] is None:
        raise UsageError(
            f"where {file} was dropped is not known: it is from before the database was made anew",
            "move it where you want it",
        )
    return _checked(reader, row["drop_id"], file)


def _checked(reader: Reader, drop_id: int, file: Path) -> int:
    if not reader.restorable([drop_id]):
        raise UsageError(
            f"{file} is gone, is still worked, or was put back already", f"hotfolder why {shlex.quote(str(file))}"
        )
    return drop_id


def _outside(layout: Layout, to: Path) -> Path:
    """Raises UsageError for a folder of the root: what lies there would be worked, or taken for a result."""
    folder = Path(os.path.realpath(to))
    if folder.is_relative_to(os.path.realpath(layout.root)):
        raise UsageError(f"{to} is below the root {layout.root}", "name a folder elsewhere; or leave --to out")
    return folder


def _copy_all(
    layout: Layout, wanted: Sequence[Mapping[str, Any]], to: Path, *, dry_run: bool
) -> Iterator[dict[str, Any]]:
    """Copies, with the sub-folders that they had in their inboxes; the results stay where they are."""
    with Beneath(layout.root) as beneath:
        for row in wanted:
            inside = PurePosixPath(*PurePosixPath(row["path"]).parts[2:])
            for source, target in _with_companions(layout, row["lies"], to / inside):
                told = {"file": source, "path": str(target)}
                try:
                    if not dry_run:
                        beneath.copy_out(source, target)
                except FileExistsError:
                    if not _is_copy(layout.root / source, target):
                        told = {"file": source, "error": f"{target} is there already, and is another file"}
                except OSError as error:
                    told = {"file": source, "error": f"it cannot be copied to {target}: {error.strerror}"}
                yield told


def _with_companions(layout: Layout, lies: str, target: Path) -> Iterator[tuple[str, Path]]:
    """The file, and those that belong to it but for what we wrote ourselves, each with its place."""
    from hotfolder.imaging.sidecars import is_our_sidecar

    yield lies, target
    folder, _, name = lies.rpartition("/")
    try:
        handle = open_folder(layout.root, folder)
        try:
            names = [entry.name for entry in os.scandir(handle) if entry.is_file(follow_symlinks=False)]
        finally:
            os.close(handle)
    except OSError:
        return
    with Beneath(layout.root) as beneath:
        for companion, picture in pairs(names).items():
            if picture == name and not is_our_sidecar(beneath, f"{folder}/{companion}"):
                yield f"{folder}/{companion}", target.with_name(renamed(companion, name, target.name))


def _is_copy(source: Path, target: Path) -> bool:
    try:
        return not target.is_symlink() and filecmp.cmp(source, target, shallow=False)
    except OSError:
        return False
