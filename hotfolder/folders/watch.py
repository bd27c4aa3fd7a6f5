"""Hints from the kernel that a scan is due. Nothing is believed of them but that."""

from __future__ import annotations

import threading
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

#: Events that a reader causes; all others may mean a new or changed file.
_SILENT = {"opened", "closed_no_write"}


class Watcher(FileSystemEventHandler):
    """Sets an event whenever something happens below the watched folders."""

    def __init__(self, wake: threading.Event) -> None:
        self._wake = wake
        self._observer = Observer()

    def start(self, folders: list[Path]) -> None:
        for folder in folders:
            self._observer.schedule(self, str(folder), recursive=True)
        self._observer.start()

    @property
    def alive(self) -> bool:
        return self._observer.is_alive()

    def stop(self) -> None:
        if self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type not in _SILENT:
            self._wake.set()
