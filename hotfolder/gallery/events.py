"""What happens, told to every open page: changed images, what is in work, answers. By server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import Layout
from hotfolder.gallery.asking import Asking
from hotfolder.ledger.shown import Changes, Shown

log = logging.getLogger(__name__)
#: Seconds between two looks at the database, two at what is in work, and two signs of life of a quiet stream.
_LOOK_EVERY, _STATUS_EVERY, _SIGN_EVERY = 0.25, 1.0, 15.0
#: Images that are told one by one; of more, a page asks for all anew.
MOST_CHANGES = 2000
#: Open streams, and events that a slow one is behind, at most.
MOST_STREAMS, _MOST_BEHIND = 64, 200

_Queue = asyncio.Queue[str | None]


class Events:
    """Looks while anybody listens, and tells."""

    def __init__(self, layout: Layout, asking: Asking, panel: Callable[[], dict[str, Any]]) -> None:
        """`panel` gives what is in work and what waits. Raises HotfolderError there."""
        self._layout = layout
        self._asking = asking
        self._panel = panel
        self._listeners: set[_Queue] = set()
        self._reader: Shown | None = None
        self._file: tuple[int, int] | None = None  # which database is open
        self._version = -1
        self._changed: int | None = None  # the newest change that was told
        self._told_panel = ""
        self._has_changed = False
        self._next_panel = 0.0

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                await asyncio.sleep(_LOOK_EVERY)
                if self._listeners:
                    for text in await anyio.to_thread.run_sync(self._look):
                        self._tell(text)
        finally:
            for queue in list(self._listeners):
                self._end(queue)
            self._close()

    @property
    def is_full(self) -> bool:
        return len(self._listeners) >= MOST_STREAMS

    async def stream(self, after: int | None) -> AsyncIterator[str]:
        """Events for one page, from the change with this number on; None: from now on."""
        queue: _Queue = asyncio.Queue(_MOST_BEHIND)
        self._listeners.add(queue)
        try:
            yield "retry: 1000\n\n"
            for text in await anyio.to_thread.run_sync(self._missed, after):
                yield text
            while True:
                try:
                    text_or_end = await asyncio.wait_for(queue.get(), _SIGN_EVERY)
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if text_or_end is None:
                    return
                yield text_or_end
        finally:
            self._listeners.discard(queue)

    def _tell(self, text: str) -> None:
        for queue in list(self._listeners):
            try:
                queue.put_nowait(text)
            except asyncio.QueueFull:  # its page comes again, and says what it has seen
                self._end(queue)

    def _end(self, queue: _Queue) -> None:
        self._listeners.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    def _missed(self, after: int | None) -> list[str]:
        """What a page has not seen that comes again, and what is in work."""
        told = []
        with contextlib.suppress(HotfolderError), Shown(self._layout.database) as reader:
            newest = reader.newest_change()
            if self._changed is None:
                self._changed = newest
            if after is not None and after != newest:
                told = [_event("reload", {}, newest)]
                if after < newest:
                    changes = reader.changes(after, MOST_CHANGES)
                    told = [_images(changes)] if changes.changed >= newest else told
        with contextlib.suppress(HotfolderError):
            told.append(_event("panel", self._panel()))
        return told

    def _look(self) -> list[str]:
        """What is to be told. A database that does not answer now is looked at again."""
        # Asked for first and told last: what an answer, or the panel, knows of is told before it.
        last = [_event("answer", answer) for answer in self._asking.answered()]
        now = time.monotonic()
        if self._has_changed or now >= self._next_panel:
            self._next_panel = now + _STATUS_EVERY
            with contextlib.suppress(HotfolderError):
                text = _event("panel", self._panel())
                if text != self._told_panel:
                    self._told_panel = text
                    last.append(text)
        try:
            self._has_changed, changes = self._changes()
        except HotfolderError as error:
            log.debug("the database does not answer: %s", error.message)
            self._close()
            return last
        return [*changes, *last]

    def _changes(self) -> tuple[bool, list[str]]:
        """Raises HotfolderError."""
        try:
            stat = os.stat(self._layout.database)  # noqa: PTH116
        except OSError:
            self._close()
            return False, []
        file = (stat.st_dev, stat.st_ino)
        if self._reader is None or file != self._file:
            self._close()
            is_another = self._file not in (None, file)
            self._reader, self._file, self._version = Shown(self._layout.database), file, -1
            if is_another:  # the daemon made it anew
                self._changed = self._reader.newest_change()
                return True, [_event("reload", {}, self._changed)]
        if self._changed is None:
            self._changed = self._reader.newest_change()
        version = self._reader.data_version()
        if version == self._version:
            return False, []
        self._version = version
        changes = self._reader.changes(self._changed, MOST_CHANGES)
        if len(changes.rows) + len(changes.gone) >= MOST_CHANGES:
            self._changed = self._reader.newest_change()
            return True, [_event("reload", {}, self._changed)]
        if changes.changed == self._changed:
            return True, []
        self._changed = changes.changed
        return True, [_images(changes)]

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.__exit__()
            self._reader = None


def _images(changes: Changes) -> str:
    return _event("images", {"rows": changes.rows, "gone": changes.gone}, changes.changed)


def _event(name: str, data: Any, number: int | None = None) -> str:
    id_ = f"id: {number}\n" if number is not None else ""
    return f"{id_}event: {name}\ndata: {json.dumps(data)}\n\n"
