"""One daemon per root."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from hotfolder.errors import AlreadyRunning, UsageError
from hotfolder.home import user_name

_TRIES = 5


class RootLock:
    """An advisory lock that the kernel drops with the process, however it ends; the pid inside is for people."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle = -1

    def acquire(self) -> bool:
        """Whether the one that had it before ended in order: its pid is not in it any more.

        Raises AlreadyRunning, naming the process, when another daemon holds it.
        """
        pid = ""
        for _ in range(_TRIES):  # `status` holds it for an instant when it looks
            handle = self._open()
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_of(handle):
                    break
            except OSError:
                time.sleep(0.05)
            pid = _pid_in(handle)
            os.close(handle)
        else:
            raise AlreadyRunning(
                f"a daemon (process {pid or 'unknown'}) already works on {self._path.parent.parent}",
                "look at it with: hotfolder status",
            ) from None
        in_order = not _pid_in(handle)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle
        return in_order

    def _open(self) -> int:
        """Raises UsageError for a root of somebody else, OSError."""
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except PermissionError:
            whose = _owner(self._path) or _owner(self._path.parent)
            raise UsageError(
                f"{self._path.parent.parent} is worked by {whose or 'another user'}: its lock {self._path} may not be "
                "written by this user",
                "run it as that user, or make a root of your own: hotfolder init",
            ) from None

    def _is_of(self, handle: int) -> bool:
        """Whether the file that is locked lies under its path: it may have been removed in between."""
        try:
            return os.path.samestat(os.fstat(handle), self._path.stat())
        except FileNotFoundError:
            return False

    def release(self, *, in_order: bool = True) -> None:
        """With `in_order`, the next one need not look at what is left."""
        if self._handle >= 0:
            if in_order:
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = -1


def _owner(path: Path) -> str:
    """Empty where that cannot be seen."""
    try:
        return user_name(path.stat().st_uid)
    except OSError:
        return ""


def _pid_in(handle: int) -> str:
    return os.pread(handle, 32, 0).decode(errors="replace").strip()


def taken_at(path: Path) -> float | None:
    """When the lock was taken last, in seconds since the epoch; None where there is none."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def is_held_by(path: Path, pid: int) -> bool:
    """Whether the kernel knows it so: the pid in a lock may be of another machine, or of a container's own numbers."""
    try:
        inode = path.stat().st_ino
        held = Path("/proc/locks").read_text()
    except OSError:
        return False
    # "1: FLOCK  ADVISORY  WRITE 708 08:02:66978 0 EOF", see proc_locks(5); the device is not always that of stat(2).
    locks = [words for line in held.splitlines() if len(words := line.split()) > 5]
    return any(
        words[1:4] == ["FLOCK", "ADVISORY", "WRITE"] and words[4] == str(pid) and words[5].endswith(f":{inode}")
        for words in locks
    )


def holder(path: Path) -> int | None:
    """The pid of the daemon that holds the lock; None when none does.

    Raises UsageError where this user may not know: that is not the same as none.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise UsageError(
            f"{path} may not be read by this user, so nobody knows whether a daemon runs",
            'for your group: chmod g+rx its folder, output.umask = "027" and a new start of the daemon',
        ) from None
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = _pid_in(handle)
        return int(text) if text.isdigit() else 0
    else:
        return None
    finally:
        os.close(handle)
