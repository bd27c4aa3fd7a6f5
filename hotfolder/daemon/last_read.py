"""Which file of others the daemon reads itself just now: should it end there, the next start knows at which."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hotfolder.errors import BadInput
from hotfolder.types import Sighting

log = logging.getLogger(__name__)
#: How many daemons may end while they read one and the same file: killed for their memory, for one.
MOST_ENDS = 2


class LastRead:
    """Kept in a small file that is not made durable: after a power cut, no file is to blame."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._ends: dict[str, int] = {}  # files at which daemons have ended, and how many
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            self._ends = {str(key): int(count) for key, count in found["ends"].items()}
            now = found["now"]
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            log.debug("%s cannot be read and does not count: %s", file, error)
            return
        if isinstance(now, str):
            self._ends[now] = self._ends.get(now, 0) + 1
            log.warning("the last daemon ended while it read %s", now.rpartition(" ")[0] or now)
            self._note(None)

    @contextlib.contextmanager
    def reading(self, sighting: Sighting) -> Iterator[None]:
        """Raises BadInput for a file at which too many daemons have ended."""
        key = f"{sighting.path} {sighting.size}-{sighting.mtime_ns}-{sighting.inode}"
        ends = self._ends.pop(key, 0)
        if ends >= MOST_ENDS:
            self._note(None)
            raise BadInput(
                f"{Path(sighting.path).name} is not read: {ends} daemons have ended while they did",
                "look at it, and at the log; simplify it, then drop it anew",
            )
        if ends:
            self._ends[key] = ends
        self._note(key)
        try:
            yield
        finally:
            self._ends.pop(key, None)
            self._note(None)

    def _note(self, now: str | None) -> None:
        try:
            if now is None and not self._ends:
                self._file.unlink(missing_ok=True)
            else:
                self._file.write_text(json.dumps({"now": now, "ends": self._ends}), encoding="utf-8")
        except OSError as error:
            log.debug("%s cannot be written: %s", self._file, error)  # what it is for is seldom
