"""What lies in an inbox and is not taken, each with its reason: said once in the log, counted for `status`."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container

from hotfolder.folders.admission import Refused

log = logging.getLogger(__name__)
#: Names that are given in one line of the log.
_NAMED = 3


class LeftAlone:
    def __init__(self) -> None:
        self._now: dict[str, Refused] = {}
        self._said: dict[str, str] = {}  # path -> the reason that was given
        self._to_say: dict[str, Refused] = {}

    def add(self, path: str, why: Refused) -> None:
        self._now[path] = why
        if self._said.get(path) != why.reason:
            self._to_say[path] = why

    def take_back(self, path: str) -> None:
        """It is taken after all, or is gone."""
        for known in (self._now, self._said, self._to_say):
            known.pop(path, None)

    def keep(self, *there: Container[str]) -> None:
        """What is in none of these is not there any more."""
        for path in [path for path in self._now if not any(path in each for each in there)]:
            self.take_back(path)

    def say(self) -> None:
        """What was not said yet: one line for what has the same reason."""
        by_reason: dict[str, list[str]] = {}
        for path, why in self._to_say.items():
            by_reason.setdefault(why.reason, []).append(path)
            self._said[path] = why.reason
        self._to_say.clear()
        for reason, paths in by_reason.items():
            if len(paths) == 1:
                log.warning("%s is left alone: %s", paths[0], reason)
            else:
                named = ", ".join(sorted(paths)[:_NAMED]) + (", …" if len(paths) > _NAMED else "")
                log.warning("%d files are left alone (%s); of each: %s", len(paths), named, reason)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(Counter(why.kind for why in self._now.values()))
