"""Where the files of images are, as they were found in the folders: a person may have moved them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hotfolder.core.whereabouts import Known, Missing
from hotfolder.ledger.database import Database
from hotfolder.ledger.jobs import Jobs
from hotfolder.ledger.rows import identity_columns, to_identity
from hotfolder.ledger.verdicts import Given, Verdicts
from hotfolder.types import FileIdentity, Verdict


@dataclass(frozen=True, slots=True)
class Seen:
    """A file of an image that was found. `given`: the verdict that a person gave by moving it there."""

    image_id: int
    path: str
    identity: FileIdentity
    given: Given | None = None
    given_at: float = 0.0  # seconds since the epoch


class Whereabouts:
    def __init__(self, database: Database, jobs: Jobs, verdicts: Verdicts) -> None:
        self._database = database
        self._jobs = jobs
        self._verdicts = verdicts

    def known(self) -> list[Known]:
        """Every image, and where it is, or was last."""
        return self._known("known_files")

    def placed(self) -> list[Known]:
        """Dropped files in failed/ and archive/, by the ids of their drops."""
        return self._known("placed_files")

    def _known(self, query: str) -> list[Known]:
        return [
            Known(row["id"], row["path"], to_identity(row), row["gone_at"] is not None)
            for row in self._database.run(query).rows
        ]

    def missing(self, image_ids: Sequence[int]) -> list[Missing]:
        """What is known of the contents of these images."""
        rows = self._database.run("images_by_id", ids=json.dumps(list(image_ids))).rows
        return [
            Missing(
                row["id"], row["path"], row["size"], {row["sha256"], row["rating_sha256"] or row["sha256"]},
                row["gone_at"] is not None,
            )
            for row in rows
        ]  # fmt: skip

    def seen(self, files: Iterable[Seen], now: float) -> None:
        """They lie there now, all in one transaction; what waits to be done with them is done there."""
        with self._database.transaction():
            for each in files:
                self._database.run(
                    "see_image", id=each.image_id, path=each.path, **identity_columns(each.identity)
                )
                self._jobs.follow(each.image_id, each.path)
                if each.given is not None:
                    self._verdicts.give(each.image_id, each.given, each.given_at)
                    if each.given.verdict is Verdict.REJECT:
                        self._jobs.cancel_enlarging(each.image_id, now)

    def placed_at(self, paths: Mapping[int, str]) -> None:
        """Dropped files lie there now, by the ids of their drops."""
        with self._database.transaction():
            for drop_id, path in paths.items():
                self._database.run("see_placed", id=drop_id, path=path)

    def lost(self, image_ids: Sequence[int], now: float) -> None:
        """Their files are in none of the folders; nothing that waits to be done with them is done."""
        with self._database.transaction():
            for image_id in image_ids:
                self._database.run("lose_image", id=image_id, now=now)
                self._jobs.cancel_about(image_id, now)
