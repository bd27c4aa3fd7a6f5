"""An event that a signal handler may set, also in the thread that just looks at it."""

from __future__ import annotations

import threading


class Wake(threading.Event):
    """As `threading.Event`, whose lock is not to be had by a handler that interrupts its own thread between taking and
    giving it back: it would wait for itself, for ever.

    A handler that interrupts just before the wait begins does not end that wait; what it has set is there afterwards.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_set = False
        self._changed = threading.Condition(threading.RLock())

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        with self._changed:
            self._is_set = True
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(self.is_set, timeout)
