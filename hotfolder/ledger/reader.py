"""The reading side: what the commands ask, with nothing but sqlite3, so that they answer at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from hotfolder.ledger.connection import open_reader
from hotfolder.ledger.queries import queries


class Reader:
    """Read-only questions to a ledger that a daemon may be writing."""

    def __init__(self, path: Path) -> None:
        self._connection = open_reader(path)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _all(self, name: str, /, **values: Any) -> list[dict[str, Any]]:
        return [dict(row) for row in self._connection.execute(queries()[name], values)]

    def _first(self, name: str, /, **values: Any) -> dict[str, Any] | None:
        row: sqlite3.Row | None = self._connection.execute(queries()[name], values).fetchone()
        return dict(row) if row else None

    def counts(self) -> dict[str, dict[str, int]]:
        """kind -> state -> jobs."""
        found: dict[str, dict[str, int]] = {}
        for row in self._all("counts"):
            found.setdefault(row["kind"], {})[row["state"]] = row["jobs"]
        return found

    def outcome_counts(self) -> dict[str, int]:
        """How many images were kept, rejected and enlarged."""
        found = {"keep": 0, "reject": 0, "upscaled": 0}
        for row in self._all("outcome_counts"):
            name = "upscaled" if row["role"] == "upscaled" else row["verdict"]
            if name:
                found[name] += row["images"]
        return found

    def running(self) -> list[dict[str, Any]]:
        return self._all("running")

    def recent_failures(self) -> list[dict[str, Any]]:
        return self._all("recent_failures")

    def failed_jobs(self) -> list[dict[str, Any]]:
        """Every failed job, with `placed_path` of the file it came from and `image_path` of the one it works on."""
        return self._all("failed_jobs")

    def last_drop(self, path: str) -> dict[str, Any] | None:
        """The newest file dropped under this path (relative to the root)."""
        return self._first("last_drop_of_path", path=path)

    def jobs_of_drop(self, drop_id: int) -> list[dict[str, Any]]:
        return self._all("jobs_of_drop", drop_id=drop_id)

    def jobs_ahead(self, job_id: int) -> int:
        row = self._first("jobs_ahead", id=job_id)
        return int(row["ahead"]) if row else 0

    def image_by_path(self, path: str) -> dict[str, Any] | None:
        return self._first("image_by_path", path=path)

    def contents(self, after: int, most: int) -> list[dict[str, Any]]:
        """Images (id, path, sha256) with a higher id than `after`, by id, at most `most`."""
        return self._all("contents", after=after, most=most)

    def image_count(self) -> int:
        return int(self._all("image_count")[0]["images"])

    def results(self) -> list[dict[str, Any]]:
        return self._all("results")

    def score_gain(self) -> list[dict[str, Any]]:
        return self._all("score_gain")
