"""Whether the folders are what they should be: apart from each other, on one disk, and really there."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from hotfolder.errors import DiskFull, EnvironmentTrouble, LedgerError, UsageError, raise_all
from hotfolder.files.filesystem import free_bytes
from hotfolder.files.moves import rename_noreplace
from hotfolder.folders.layout import ARCHIVE, FAILED, KEEP, REJECT, UPSCALED, Layout
from hotfolder.types import Kind

log = logging.getLogger(__name__)
#: A file with this name and a number is ours, and is moved to see whether that works.
_TRIAL = ".hotfolder-trial-"
_OUTPUTS = (KEEP, REJECT, UPSCALED, FAILED, ARCHIVE)


def check_folders(layout: Layout, inboxes: Iterable[str] = tuple(Kind)) -> None:
    """Raises UsageError, naming both paths, for all folders whose results would land in an inbox or on another disk.

    OSError where one is not there.
    """
    wrong = []
    folders = [layout.inbox(name) for name in inboxes]
    outputs = [layout.root / name for name in _OUTPUTS]
    home = layout.private.stat().st_dev
    for folder in (*folders, *outputs):
        if folder.stat().st_dev != home:
            told = f"{folder} is on another file system than {layout.private}"
            fix = "keep all folders of a root on one file system; make another root on the other one"
            wrong.append(UsageError(told, fix))
    for index, inbox in enumerate(folders):
        for other in (*outputs, layout.private, *folders[index + 1 :]):
            if _overlap(inbox, other):
                told = (
                    f"{inbox} and {other} are the same folder, or one lies in the other ({os.path.realpath(inbox)}, "
                    f"{os.path.realpath(other)}): results would be taken for new files"
                )
                wrong.append(UsageError(told, "point the links apart, or remove them"))
    raise_all(wrong)


def try_moves(layout: Layout, inboxes: Iterable[str] = tuple(Kind)) -> None:
    """A small file goes into each folder and back: a bind mount, for one, is another mount of the same file system.

    Says so, since files are copied there. Raises UsageError, naming both paths, where files cannot be moved at all.
    What may pass (space, permission) is not said.
    """
    trial = layout.private / f"{_TRIAL}{os.getpid()}"
    folders = [layout.inbox(name) for name in inboxes] + [layout.root / name for name in _OUTPUTS]
    try:
        trial.touch()
        for folder in folders:
            try:
                rename_noreplace(trial, folder / trial.name)
                rename_noreplace(folder / trial.name, trial)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    log.warning("%s is another mount: files are copied there, which takes longer", folder)
                elif error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise UsageError(
                        f"files cannot be moved between {layout.private} and {folder}: {error.strerror}",
                        "make a root of its own there, or put this folder beside the others",
                    ) from None
    except OSError as error:
        log.debug("moving files was not tried: %s", error)
    finally:
        with contextlib.suppress(OSError):
            trial.unlink(missing_ok=True)


def tidy_permissions(database: Path, lock: Path, configuration: Path, *, readers: int, secret: bool) -> None:
    """Whoever may write the database or the configuration decides what the daemon does: not everybody may.

    `readers` are the bits of those beside the owner who are to read the database, and the lock, which tells them
    whether a daemon runs. A configuration that holds what is
    `secret` is not for everybody to read, unless it is for them.
    """
    for ending in ("", "-wal", "-shm"):
        _change_mode(Path(f"{database}{ending}"), add=readers, remove=0o002)
    _change_mode(lock, add=readers, remove=0o002)
    unwanted = 0o006 & ~readers if secret else 0o002
    _change_mode(configuration, add=0, remove=unwanted)


def _change_mode(path: Path, *, add: int, remove: int) -> None:
    try:
        mode = path.stat().st_mode
        if mode != (wanted := mode & ~remove | add):
            path.chmod(wanted & 0o7777)
        if mode & remove:
            verb = "written" if mode & remove & 0o002 else "read"
            log.warning("%s could be %s by everybody: not any more", path, verb)
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("%s: its permissions cannot be mended: %s", path, error)


def _overlap(one: Path, other: Path) -> bool:
    """By identity, not by name: links and bind mounts may lead to the same folder."""
    return _identity(one) in _chain(other) or _identity(other) in _chain(one)


def _chain(folder: Path) -> list[tuple[int, int]]:
    real = Path(os.path.realpath(folder))
    return [_identity(step) for step in (real, *real.parents)]


def _identity(folder: Path) -> tuple[int, int]:
    found = folder.stat()
    return found.st_dev, found.st_ino


def _identity_if_any(path: Path) -> tuple[int, int] | None:
    try:
        return _identity(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


class Guard:
    """Watches over the folders of a running daemon, and over the files that it holds open.

    Those files are the marker, too: where none of them is there, the inboxes are not empty but gone with their disk
    or share. What is held open keeps its inode, also where the file system makes inodes up.
    """

    def __init__(self, layout: Layout, held: Iterable[Path]) -> None:
        """`held` are the lock, the database and what belongs to it; those that are there now."""
        self._layout = layout
        self._device = layout.private.stat().st_dev
        self._held = {path: _identity(path) for path in held if path.exists()}

    def lost(self) -> set[Path]:
        """Files that are held open and do not lie in their places any more. Raises OSError."""
        return {path for path, identity in self._held.items() if _identity_if_any(path) != identity}

    def check_root(self) -> None:
        """Whether the root is the one that the daemon was started on, with the very files that it holds open.

        Raises EnvironmentTrouble when it is not there: it may come back. LedgerError when it is there and another
        one, or some of these files are: what would be written now, nobody would find again.
        """
        try:
            lost = self.lost()
            is_there = not lost or any(_identity_if_any(path) for path in self._held)
        except OSError:
            is_there = False
        if not is_there:
            raise EnvironmentTrouble(
                f"{self._layout.root} is not there any more: was its disk or share unmounted?",
                "mount it again; the queue goes on by itself",
            )
        if not lost:
            return
        if self._is_mounted_anew():
            told = f"{self._layout.root} was mounted anew, or is another folder than at the start"
        else:
            names = " and ".join(sorted(str(path.relative_to(self._layout.root)) for path in lost))
            told = f"removed or replaced in {self._layout.root}, while the daemon held it open: {names}"
        raise LedgerError(
            told, "nothing more is written; start it again, as systemd does by itself: it looks at all of it anew"
        )

    def _is_mounted_anew(self) -> bool:
        try:
            return self._layout.private.stat().st_dev != self._device
        except OSError:
            return False

    def check_space(self, least_bytes: int) -> None:
        """Raises DiskFull when less than that is free: work that cannot be stored is not begun."""
        try:
            free = free_bytes(self._layout.private)
        except OSError as error:
            self.check_root()
            raise EnvironmentTrouble(
                f"the disk of {self._layout.root} cannot be asked for its space: {error.strerror}",
                "look at the disk",
            ) from error
        if free < least_bytes:
            raise DiskFull(
                f"only {free >> 20:,} MiB are free on the disk of {self._layout.root}, less than the "
                f"{least_bytes >> 20:,} of output.min_free_mb",
                "free some space, or lower output.min_free_mb; the queue goes on by itself",
            )

    def inbox(self, name: str) -> Path:
        """The inbox, made again if it was removed. Raises EnvironmentTrouble when it is another disk's now."""
        self.check_root()
        folder = self._layout.inbox(name)
        if not folder.is_dir():
            log.warning("%s is missing: made again", folder)
            folder.mkdir(parents=True, exist_ok=True)
        elif folder.stat().st_dev != self._device:
            raise EnvironmentTrouble(
                f"{folder} is on another file system than before: was something mounted over it?",
                "undo that; the queue goes on by itself",
            )
        return folder
