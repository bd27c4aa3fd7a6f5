"""A small file of what was found out, kept across starts: text keys, each with some numbers.

Several workers write it, one after the other. It is a hint: where it cannot be read or written, or is damaged, all
is found out again.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hotfolder.files.beneath import Beneath
from hotfolder.files.regular import read_at_most
from hotfolder.home import cache_folder

log = logging.getLogger(__name__)
Entry = Mapping[str, int]
#: More than a file of ours ever has, in bytes; and entries, the oldest of which go.
_MOST_BYTES, _MOST_ENTRIES = 2**20, 1000
#: Seconds that another worker is waited for, which writes for milliseconds.
_WAIT = 2.0


class Remembered:
    """The file `path`, or the one of this name in the user's cache."""

    def __init__(self, name: str, path: Path | None = None) -> None:
        self.path = path or cache_folder() / name

    def read(self) -> dict[str, dict[str, int]]:
        """Whatever lies there: only numbers that can be bytes, pictures or seconds are taken from it."""
        try:
            text = read_at_most(self.path, _MOST_BYTES)
            found: Any = json.loads(text) if text is not None else None
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(found, dict):
            return {}
        return {
            key: {name: value for name, value in entry.items() if type(value) is int and 0 <= value < 2**63}
            for key, entry in found.items()
            if isinstance(entry, dict)
        }

    def note(self, key: str, found: Callable[[Entry], Entry]) -> None:
        """Adds what is found to the entry as it is in the file: others write there, too."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(self.path):
                entries = self.read()
                entry = entries.pop(key, {})
                entries[key] = {**entry, **found(entry)}
                kept = dict(list(entries.items())[-_MOST_ENTRIES:])
                with Beneath(self.path.parent) as folder:
                    folder.write(self.path.name, json.dumps(kept), durable=False)
        except OSError as error:
            log.warning("%s cannot be written (%s): it is found out again next time", self.path, error.strerror)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While nobody else writes this file. Raises OSError, also where somebody else does for long."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    handle = os.open(path.with_name(f"{path.name}.lock"), flags, 0o600)
    try:
        until = time.monotonic() + _WAIT
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)
