"""The reading side: what the commands ask, with nothing but sqlite3, so that they answer at once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from hotfolder.errors import UsageError
from hotfolder.ledger.connection import open_reader
from hotfolder.ledger.queries import queries
from hotfolder.ledger.trouble import told

#: Before every image.
_EVER = -1e12


class Reader:
    """Read-only questions to a ledger that a daemon may be writing."""

    def __init__(self, path: Path) -> None:
        self._connection = open_reader(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _all(self, name: str, /, **values: Any) -> list[dict[str, Any]]:
        return list(self._each(name, values))

    def _first(self, name: str, /, **values: Any) -> dict[str, Any] | None:
        return next(self._each(name, values), None)

    def _each(self, name: str, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Raises LedgerError, EnvironmentTrouble."""
        with told("read"):
            for row in self._connection.execute(queries()[name], values):
                yield dict(row)

    def placed(self, beginning: str) -> list[tuple[str, str]]:
        """(path in the inbox, path now) of files that left an inbox, newest first; of paths that begin so, some."""
        rows = self._all("placed_lately", first=beginning, last=f"{beginning}\U0010ffff", since=0.0)
        return [(row["dropped"], row["path"]) for row in rows]

    def counts(self) -> dict[str, dict[str, int]]:
        """kind -> state -> jobs."""
        found: dict[str, dict[str, int]] = {}
        for row in self._all("counts"):
            if row["jobs"]:
                found.setdefault(row["kind"], {})[row["state"]] = row["jobs"]
        return found

    def outcome_counts(self, since: float | None = None) -> dict[str, int]:
        """How many images were kept, rejected and enlarged, since a moment (seconds since the epoch) or ever."""
        found = {"keep": 0, "reject": 0, "upscaled": 0}
        rows = self._all("outcome_counts") if since is None else self._all("outcome_counts_since", since=since)
        for row in rows:
            name = "upscaled" if row["role"] == "upscaled" else row["verdict"]
            if name:
                found[name] += row["images"]
        return found

    def pace(self, since: float) -> dict[str, float]:
        """Jobs a second by kind while such were in work, of those that ended well since a moment."""
        rows = self._all("pace", since=since)
        return {row["kind"]: row["jobs"] / row["seconds"] for row in rows if row["seconds"] > 0}

    def running(self) -> list[dict[str, Any]]:
        return self._all("running")

    def recent_failures(self, most: int = 5) -> list[dict[str, Any]]:
        return self._all("recent_failures", most=most)

    def failures_since(self, since: float) -> int:
        """How many jobs have failed since a moment (seconds since the epoch), and not been tried again."""
        return int(self._all("failures_since", since=since)[0]["jobs"])

    def open_drops(self) -> list[dict[str, Any]]:
        """Files that are taken and whose work has not ended."""
        return self._all("open_drops")

    def drops_waited_for(self) -> list[int]:
        """Files that lie in an inbox still, or of which something is to be done."""
        return [row["id"] for row in self._all("drops_waited_for")]

    def failed_jobs(self) -> list[dict[str, Any]]:
        """Every failed job, with `placed_path` of the file it came from and `image_path` of the one it works on."""
        return self._all("failed_jobs")

    def last_drop(self, path: str) -> dict[str, Any] | None:
        """The newest file dropped under this path (relative to the root)."""
        return self._first("last_drop_of_path", path=path)

    def drop_path(self, drop_id: int) -> str | None:
        """Where a file was dropped."""
        row = self._first("drop", id=drop_id)
        return str(row["path"]) if row else None

    def jobs_of_drop(self, drop_id: int) -> list[dict[str, Any]]:
        return self._all("jobs_of_drop", drop_id=drop_id)

    def open_jobs_of_drop(self, drop_id: int) -> list[int]:
        return [row["id"] for row in self._all("open_jobs_of_drop", drop_id=drop_id)]

    def lines_of_drop(self, drop_id: int) -> list[int]:
        """The lines of a prompt file that have a prompt; none of a file with a single one, or of a picture."""
        return [row["line"] for row in self._all("lines_of_drop", drop_id=drop_id)]

    def open_jobs_of_image(self, image_id: int) -> list[int]:
        """What waits, or is in work, of one image."""
        return [row["id"] for row in self._all("open_jobs_of_image", image_id=image_id)]

    def cancelled_of_image(self, image_id: int) -> list[str]:
        """The kinds of work at an image that a person has cancelled."""
        return [row["kind"] for row in self._all("cancelled_of_image", image_id=image_id)]

    def jobs_ahead(self, job_id: int) -> int:
        row = self._first("jobs_ahead", id=job_id)
        return int(row["ahead"]) if row else 0

    def image_by_path(self, path: str) -> dict[str, Any] | None:
        return self._first("image_by_path", path=path)

    def images_of_content(self, sha256: str) -> list[int]:
        """Images of this content, whatever their files are called, the newest first."""
        return [row["id"] for row in self._all("images_of_content", sha256=sha256)]

    def images_called(self, name: str, most: int) -> list[str]:
        """Paths of results whose file has this name, the newest first."""
        for sign in "\\%_":
            name = name.replace(sign, f"\\{sign}")
        return [row["path"] for row in self._all("images_called", pattern=f"%/{name}", most=most)]

    def drop_placed_at(self, path: str) -> dict[str, Any] | None:
        """The file that was dropped and lies here now (relative to the root)."""
        return self._first("drop_placed_at", path=path)

    def contents(self, after: int, most: int) -> list[dict[str, Any]]:
        """Images (id, path, sha256, source_file) with a higher id than `after`, by id, at most `most`."""
        return self._all("contents", after=after, most=most)

    def image_count(self) -> int:
        return int(self._all("image_count")[0]["images"])

    def results(self) -> list[dict[str, Any]]:
        return self._all("results")

    def score_gain(self) -> list[dict[str, Any]]:
        return self._all("score_gain")

    def misplaced_counts(self, keep: float, *, also_mine: bool = False) -> dict[str, int]:
        """How many images would leave keep/ ('keep') and reject/ ('reject') with this threshold."""
        found = {"keep": 0, "reject": 0}
        found.update(
            (row["verdict"], row["images"])
            for row in self._all("misplaced_counts", keep=keep, also_mine=int(also_mine))
        )
        return found

    def misplaced(self, keep: float, most: int, *, also_mine: bool = False) -> list[dict[str, Any]]:
        """path and score of some of them."""
        ids = [
            row["id"] for row in self._all("misplaced", keep=keep, after=0, most=most, also_mine=int(also_mine))
        ]
        rows = (self.image_row(image_id) for image_id in ids)
        return [{"path": row["path"], "score": row["score"]} for row in rows if row is not None]

    def last_actions(self, most: int, kind: str | None = None) -> list[dict[str, Any]]:
        """What a person did last and did not take back, newest first: kind, keep, created_at, and how many `files`."""
        rows = self._all("last_actions", most=most, kind=kind)
        return [{**row, "files": self._all("count_of_action", id=row["id"])[0]["files"]} for row in rows]

    def verdicts_of_image(self, image_id: int) -> list[dict[str, Any]]:
        """verdict, given_by, how, score, gate_keep, created_at: oldest first."""
        return self._all("verdicts_of_image", image_id=image_id)

    def restorable(self, drop_ids: list[int] | None) -> list[dict[str, Any]]:
        """Dropped files whose work has ended: `path` where each was dropped, `lies` where it is.

        Of these ids, or all that were dropped as images.
        """
        ids = [row["id"] for row in self._all("dropped_images")] if drop_ids is None else drop_ids
        rows = self._all("restorable", ids=json.dumps(ids))
        return [row for row in rows if row["gone_at"] is None and not row["lies"].startswith("inbox/")]

    def best_images(
        self, most: int, verdict: str | None = None, since: float | None = None
    ) -> list[dict[str, Any]]:
        """The best ones. Of an image and what was enlarged from it only the best is among them."""
        return [row for _, row in self.best_originals(most, verdict, since)]

    def best_originals(
        self, most: int, verdict: str | None = None, since: float | None = None
    ) -> list[tuple[int, dict[str, Any]]]:
        """The same, each with the id of the image that it was enlarged from: its own, if it was not."""
        name = "best_images" if since is None else "best_images_since"
        found: dict[int, dict[str, Any]] = {}
        for row in self._each(name, {"verdict": verdict, "since": since}):
            found.setdefault(self.original_of(row["image_id"]), row)
            if len(found) == most:
                break
        return list(found.items())

    def original_of(self, image_id: int) -> int:
        """The image that one was enlarged from in the end; the image itself, if it was not."""
        row = self._first("original_of", id=image_id)
        return int(row["id"]) if row else image_id

    def best_prompts(self, most: int, since: float | None = None) -> list[dict[str, Any]]:
        """prompt, best, mean, images, kept, judged: the best one first. Enlarged images may be the best, no more."""
        if since is None:
            return self._all("best_prompts", most=most)
        return self._all("best_prompts_since", most=most, since=since)

    def days(self, most: int, offset: float, since: float | None = None) -> list[dict[str, Any]]:
        """day (since the epoch, `offset` seconds ahead of UTC), best, mean, images, kept, judged: newest first."""
        return self._all("days", most=most, offset=offset, since=_EVER if since is None else since)

    def images_of_drop(self, drop_id: int, most: int) -> list[int]:
        """What came of a dropped file."""
        return [row["id"] for row in self._all("images_of_drop", drop_id=drop_id, most=most)]

    def models(self) -> list[dict[str, Any]]:
        return self._all("models")

    def prompts_by_count(self, most: int) -> list[dict[str, Any]]:
        return self._all("prompts_by_count", most=most)

    def histogram(self) -> list[dict[str, Any]]:
        """bin (its lower end; each is half a point wide) and images."""
        return self._all("histogram")

    def score_summary(self) -> dict[str, Any]:
        return self._all("score_summary")[0]

    def image_row(self, image_id: int) -> dict[str, Any] | None:
        return self._first("image_row", id=image_id)

    def children(self, image_id: int) -> list[int]:
        return [row["id"] for row in self._all("children", id=image_id)]

    def tries(self, drop_id: int, prompt: str, most: int) -> list[int]:
        return [row["id"] for row in self._all("tries", drop_id=drop_id, prompt=prompt, most=most)]

    def scores_of_image(self, image_id: int) -> list[dict[str, Any]]:
        return self._all("scores_of_image", id=image_id)

    def gain_of(self, path: str) -> float | None:
        row = self._first("gain_of", path=path)
        return float(row["gain"]) if row else None

    def export(self) -> Iterator[dict[str, Any]]:
        """Every row of `results`, with its gain, one after the other."""
        yield from self._each("export", {})

    def ask(self, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Columns and rows of one statement of a person's own. Raises UsageError for what is not understood, or
        would change anything."""

        def judge(action: int, *_: object) -> int:
            harmless = (
                sqlite3.SQLITE_SELECT,
                sqlite3.SQLITE_READ,
                sqlite3.SQLITE_FUNCTION,
                sqlite3.SQLITE_RECURSIVE,
            )
            return sqlite3.SQLITE_OK if action in harmless else sqlite3.SQLITE_DENY

        self._connection.set_authorizer(judge)
        try:
            cursor = self._connection.execute(sql)
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise UsageError(
                f"the query was not understood, or would change something: {error}",
                "one SELECT over the views results, queue, score_gain, image_scores and verdicts",
            ) from None
        return [column[0] for column in cursor.description or ()], self._tuples(cursor)

    def _tuples(self, cursor: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
        with told("read"):
            yield from (tuple(row) for row in cursor)
