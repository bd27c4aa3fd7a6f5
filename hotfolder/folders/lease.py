"""Asks the kernel whether any process still has a file open for writing."""

from __future__ import annotations

import errno
import fcntl
import os
import signal

from hotfolder.core.settle import Writers
from hotfolder.files.beneath import Beneath


def writers(beneath: Beneath, path: str) -> Writers:
    """A read lease is granted only while no process has the file open for writing (fcntl(2), F_SETLEASE).

    Exact on local file systems, for files of this user; elsewhere the answer is UNKNOWN. Never blocks, never
    follows a link. Raises FileNotFoundError for a file that is gone.
    """
    try:
        file = beneath.open(path)
    except FileNotFoundError:
        raise
    except OSError:
        return Writers.UNKNOWN
    handle = file.fileno()
    try:
        # Should a program open it while the lease is held, the kernel says so by a signal. By default that is SIGIO,
        # which ends a process that does not expect it; this one does nothing.
        fcntl.fcntl(handle, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return Writers.SOME if error.errno in (errno.EAGAIN, errno.EACCES) and _owned(handle) else Writers.UNKNOWN
    else:
        # Given back at once: a lease that is kept would delay the next program that opens the file.
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return Writers.NONE
    finally:
        file.close()


def _owned(handle: int) -> bool:
    # For a file of another user the kernel says EACCES, which tells nothing about writers.
    return os.geteuid() in (0, os.fstat(handle).st_uid)
