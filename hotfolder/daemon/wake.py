"""An event that a signal handler may set, also in the thread that just waits for it, or is about to."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import weakref


class Wake(threading.Event):
    """As `threading.Event`, but without a lock: whether it is set, the kernel knows.

    A handler that interrupts its own thread while that holds the lock would wait for itself, for ever.
    """

    def __init__(self) -> None:
        super().__init__()
        self._handle = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        weakref.finalize(self, os.close, self._handle).atexit = False

    def is_set(self) -> bool:
        return self.wait(0)

    def set(self) -> None:
        os.eventfd_write(self._handle, 1)

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it is not set
            os.eventfd_read(self._handle)

    def wait(self, timeout: float | None = None) -> bool:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout) * 1000))
