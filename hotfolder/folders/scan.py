"""Reads the inboxes: the truth about what was dropped."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hotfolder.core.litter import ignored
from hotfolder.files.beneath import Beneath, open_folder
from hotfolder.files.identity import facts_of
from hotfolder.folders.admission import Refused, irregular
from hotfolder.types import Sighting


def sight(root: Path, path: str) -> Sighting | None:
    """One look at one regular file; None when it is gone, is something else, or a link leads there.

    Raises OSError when its folder cannot be looked into just now.
    """
    with Beneath(root) as beneath:
        return sight_beneath(beneath, path)


def sight_beneath(beneath: Beneath, path: str) -> Sighting | None:
    """The same for many files of the same folders."""
    try:
        found = beneath.lstat(path)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return None
        raise
    return Sighting(path, *facts_of(found)) if stat.S_ISREG(found.st_mode) else None


def scan(
    root: Path,
    folder: str,
    patterns: tuple[str, ...],
    unread: list[str],
    passed_over: dict[str, Refused] | None = None,
) -> Iterator[Sighting]:
    """Every regular file below `folder`, a path relative to the root, that is not ignored, in no particular order.

    Sub-folders and files that cannot be looked at just now are added to `unread`, relative to the root.

    Links, FIFOs, sockets and devices are never followed or opened, but noted in `passed_over`. Raises OSError when
    `folder` itself cannot be read.
    """
    pending = [folder]
    while pending:
        current = pending.pop()
        try:
            handle = open_folder(root, current)
        except OSError as error:
            if current == folder:
                raise
            if error.errno not in (errno.ENOENT, errno.ELOOP):  # gone, or not a folder any more
                unread.append(current)
            continue
        try:
            yield from _files_of(handle, current, patterns, pending, unread, passed_over)
        finally:
            os.close(handle)


def _files_of(
    handle: int,
    folder: str,
    patterns: tuple[str, ...],
    pending: list[str],
    unread: list[str],
    passed_over: dict[str, Refused] | None,
) -> Iterator[Sighting]:
    """The files of one folder; its sub-folders are added to `pending`."""
    with os.scandir(handle) as entries:
        for entry in entries:
            if ignored(entry.name, patterns):
                continue
            path = f"{folder}/{entry.name}"
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                elif entry.is_file(follow_symlinks=False):
                    yield Sighting(path, *facts_of(entry.stat(follow_symlinks=False)))
                elif passed_over is not None:
                    why = irregular(entry.stat(follow_symlinks=False).st_mode)
                    if why is not None:
                        passed_over[path] = why
            except FileNotFoundError:
                continue
            except OSError:
                unread.append(path)
