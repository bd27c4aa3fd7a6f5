"""Reads the inboxes: the truth about what was dropped."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from hotfolder.core.settle import ignored
from hotfolder.files.identity import facts_of
from hotfolder.types import Sighting


def sight(root: Path, path: str) -> Sighting | None:
    """One look at one regular file; None when it is gone or is something else.

    Raises OSError when its folder cannot be looked into just now.
    """
    try:
        found = os.lstat(f"{root}/{path}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    return Sighting(path, *facts_of(found))


def scan(root: Path, folder: Path, patterns: tuple[str, ...], unread: list[str]) -> Iterator[Sighting]:
    """Every regular file below `folder` that is not ignored, in no particular order.

    Sub-folders and files that cannot be looked at just now are added to `unread`, relative to the root.

    Links, FIFOs, sockets and devices are never followed or opened. Raises OSError when `folder` itself cannot be
    read.
    """
    prefix = os.fspath(root) + os.sep
    pending = [os.fspath(folder)]
    while pending:
        current = pending.pop()
        try:
            entries = os.scandir(current)
        except OSError:
            if current == os.fspath(folder):
                raise
            unread.append(current.removeprefix(prefix))
            continue
        with entries:
            for entry in entries:
                if ignored(entry.name, patterns):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield Sighting(
                            entry.path.removeprefix(prefix), *facts_of(entry.stat(follow_symlinks=False))
                        )
                except FileNotFoundError:
                    continue
                except OSError:
                    unread.append(entry.path.removeprefix(prefix))
