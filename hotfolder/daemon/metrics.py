"""The textfile for Prometheus that the daemon writes itself (`metrics.textfile`)."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hotfolder.errors import HotfolderError
from hotfolder.home import expanded
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable
from hotfolder.status import prometheus
from hotfolder.status.live import Snapshot
from hotfolder.status.queue import at_rest
from hotfolder.types import Kind, State

log = logging.getLogger(__name__)
#: Seconds between two writings: node_exporter is asked every 15 to 60 seconds.
EVERY = 15.0
#: What is passed on of a snapshot as it is.
_FACTS = (
    "version", "paused", "taking", "unsettled", "left_alone", "unplaced", "device", "memory_used", "memory_total",
    "devices",
)  # fmt: skip


class Metrics:
    """Writes it now and then; `textfile` empty: never. Nothing depends on it: what hinders it is logged once."""

    def __init__(self, root: Path, database: Path, textfile: str) -> None:
        self._root = root
        self._database = database
        self._target = ""
        self._written_at = 0.0
        self._last: dict[str, Any] = {}
        self._trouble = ""
        self.change(textfile)

    def change(self, textfile: str) -> None:
        """Another file, or none any more."""
        self._target = str(expanded(Path(textfile))) if textfile else ""
        self._written_at = 0.0

    def update(self, now: float, make: Callable[[], Snapshot], *, force: bool = False) -> None:
        """Writes the file, unless it is young, or with `force`."""
        if not self._target or (not force and abs(now - self._written_at) < EVERY):
            return
        self._written_at = now
        try:
            with Reader(self._database) as reader:
                jobs, images = reader.counts(), reader.outcome_counts()
        except HotfolderError as error:
            self._say(error)
            return
        snapshot = make()
        self._last = {
            "root": os.fspath(self._root),
            "daemon": {
                "running": True,
                "started_at": datetime.fromtimestamp(snapshot.started_at, UTC).isoformat(),
                "refused_configuration": snapshot.refused,
                **{name: getattr(snapshot, name) for name in _FACTS},
            },
            "heartbeat_seconds": 0.0,
            "queue": {
                kind.value: {state.value: jobs.get(kind, {}).get(state, 0) for state in State} for kind in Kind
            },
            "images": images,
        }
        self._write(now)

    def close(self, now: float) -> None:
        """The daemon ends: nobody is to wait for the file to grow old to see that."""
        if self._target and self._last:
            self._last["daemon"]["running"] = False
            self._last["queue"] = {kind: at_rest(states) for kind, states in self._last["queue"].items()}
            self._write(now)

    def _write(self, now: float) -> None:
        try:
            prometheus.write(self._last, now, self._target)
            self._trouble = ""
        except HotfolderError as error:
            self._say(error)

    def _say(self, error: HotfolderError) -> None:
        if error.message != self._trouble:
            self._trouble = error.message
            log.warning("no metrics: %s (%s)", printable(error.message), error.fix)
