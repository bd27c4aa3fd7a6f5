"""Hints from the kernel that a scan is due. Nothing is believed of them but that."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

log = logging.getLogger(__name__)
#: Events that a reader causes; all others may mean a new or changed file.
_SILENT = {"opened", "closed_no_write"}


class Watcher(FileSystemEventHandler):
    """Sets an event whenever something happens below the watched folders."""

    def __init__(self, folders: Sequence[Path], wake: threading.Event) -> None:
        self._folders = folders
        self._wake = wake
        self._observer: BaseObserver | None = None
        self._watched: list[int] = []
        self._problem = "not started"

    def ensure(self) -> None:
        """Starts the watch; does so anew when it died, or when a folder was removed and made again."""
        try:
            there = [folder.stat().st_ino for folder in self._folders]
            if self.alive and there == self._watched:
                return
            self.stop()
            observer = Observer()
            for folder in self._folders:
                observer.schedule(self, str(folder), recursive=True)
            observer.start()
        except OSError as error:
            # No inotify left, for one: the scan finds everything, only later.
            if str(error) != self._problem:
                log.warning("the inboxes cannot be watched, they are read every few seconds: %s", error)
            self._problem = str(error)
            return
        self._observer, self._watched = observer, there
        self._wake.set()  # what came before the watch was on

    @property
    def alive(self) -> bool:
        return self._observer is not None and self._observer.is_alive()

    @property
    def mode(self) -> str:
        """How files are noticed."""
        return "inotify" if self.alive else f"reading the inboxes every few seconds ({self._problem})"

    def stop(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)
        self._observer = None

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _SILENT:
            self._wake.set()
