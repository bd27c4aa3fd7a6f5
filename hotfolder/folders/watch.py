"""Hints from the kernel that a scan is due. Nothing is believed of them but that."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify_buffer import InotifyBuffer

from hotfolder.files.filesystem import tells_events, type_of

log = logging.getLogger(__name__)
#: The library holds the news that a file was moved away for half a second, to tell it together with where it went; all
#: that comes after waits behind it, and so does the end. Every file that is taken is moved away: the next one would be
#: noticed so much later, and the daemon would end so much later. Where a file came from is asked by nobody here.
InotifyBuffer.delay = 0.0
#: What may mean a new or changed file. Not what readers cause: the kernel need not even tell of that.
_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent, DirDeletedEvent, DirMovedEvent, FileClosedEvent, FileCreatedEvent, FileDeletedEvent,
    FileModifiedEvent, FileMovedEvent,
]  # fmt: skip
#: Names that events have told and no scan has asked for yet; more are forgotten.
_MOST_NAMES = 200_000
#: Seconds before a watch that cannot be had is asked for again: at first, and at most.
_PATIENCE, _MOST_PATIENCE = 60.0, 6 * 3600.0
#: Seconds after which an event comes no more.
_LATE = 2.0
Mode = Literal["auto", "events", "polling"]


class Watcher(FileSystemEventHandler):
    """Sets an event whenever something happens below the watched folders.

    It keeps count of the files that were found without an event: that is how a queue that overflowed in the kernel,
    and a file system that tells nothing, are noticed. With the mode 'auto' the latter is polled from then on.
    """

    def __init__(self, folders: Sequence[Path], wake: threading.Event, mode: Mode) -> None:
        self.missed = 0  # files that no event told of
        self._folders = folders
        self._wake = wake
        self._mode = mode
        self._observer: BaseObserver | None = None
        self._watched: list[tuple[int, int]] = []
        self._type = ""
        self._problem = "not started"
        self._fresh = False
        self._not_before = 0.0
        self._patience = _PATIENCE
        self._names: set[str] = set()
        self._untold: dict[str, float] = {}
        self._told_anything = False

    def ensure(self) -> None:
        """Starts the watch; does so anew when it died, or when a folder was removed and made again."""
        self._count_missed()
        try:
            there = [(s.st_dev, s.st_ino) for s in (folder.stat() for folder in self._folders)]
            if there == self._watched and (self.alive or self._is_polling):
                return
            died = there == self._watched
            self.stop()
            self._watched = there
            types = {type_of(folder) for folder in self._folders}
            self._type = next((t for t in types if not tells_events(t)), min(types))
            if self._mode == "polling":
                self._poll("as configured")
                return
            if self._mode == "auto" and not tells_events(self._type):
                self._poll(f"{self._type} tells no events")
                return
            if died:
                log.warning("the watch of the inboxes has died and is started anew")
            if time.monotonic() < self._not_before:
                self._watched = []
                return
            observer = Observer()
            try:
                for folder in self._folders:
                    observer.schedule(self, str(folder), recursive=True, event_filter=_EVENTS)
                observer.start()
            except OSError:
                # Seldom: the library does not close what failed.
                self._not_before = time.monotonic() + self._patience
                self._patience = min(2 * self._patience, _MOST_PATIENCE)
                observer.unschedule_all()  # those of the other folders were started
                raise
        except OSError as error:
            # No inotify left, for one: the scan finds everything, only later.
            if str(error) != self._problem:
                log.warning("the inboxes cannot be watched, they are read every few seconds: %s", error)
            self._problem = str(error)
            self._watched = []
            return
        self._observer, self._problem, self._fresh = observer, "", True
        self._names.clear()
        self._wake.set()  # what came before the watch was on

    def is_fresh(self) -> bool:
        """Whether the watch was started since this was asked last: what lies there now, no event tells of."""
        fresh, self._fresh = self._fresh, False
        return fresh

    def found(self, path: str) -> None:
        """A file came to lie in an inbox, under this path, since the watch began: some event should have told."""
        if not self.alive:
            return
        if path in self._names:
            self._names.discard(path)
        elif len(self._names) < _MOST_NAMES:
            self._untold[path] = time.monotonic()

    def _count_missed(self) -> None:
        late = time.monotonic() - _LATE
        for path, since in list(self._untold.items()):
            if since < late and self._untold.pop(path, None) is not None:
                self.missed += 1
                if self.missed == 1:
                    log.warning("files appear without an event (%s): they are found by reading the inboxes", path)
        if self.missed and self._mode == "auto" and not self._told_anything and self.alive:
            self.stop()
            self._poll(f"{self._type or 'the file system'} tells no events")

    @property
    def alive(self) -> bool:
        """Whether events come: every thread of the observer is at work."""
        observer = self._observer
        return observer is not None and observer.is_alive() and all(e.is_alive() for e in observer.emitters)

    @property
    def mode(self) -> str:
        """How files are noticed, in words."""
        if self.alive:
            missed = f", {self.missed} files found without an event" if self.missed else ""
            return f"inotify ({self._type}{missed})"
        if self._is_polling:
            return f"polling ({self._problem})"
        return f"reading the inboxes every few seconds ({self._problem or 'the watch died'})"

    def stop(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(timeout=5)
        self._observer = None

    def on_any_event(self, event: FileSystemEvent) -> None:
        # Not for what goes away: mostly that is our own doing.
        new = event.dest_path if event.event_type == "moved" else event.src_path
        if event.event_type != "deleted" and not event.is_directory and new:
            self._told_anything = True
            name = os.fsdecode(new)
            if self._untold.pop(name, None) is None and len(self._names) < _MOST_NAMES:
                self._names.add(name)
        self._wake.set()

    @property
    def _is_polling(self) -> bool:
        return self._observer is None and self._problem != "not started" and bool(self._watched)

    def _poll(self, why: str) -> None:
        self._problem = why
        log.info("the inboxes are polled: %s", why)
