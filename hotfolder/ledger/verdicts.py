"""Verdicts: who said what of which image, and what of it was taken back. Nothing of it is ever deleted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hotfolder.ledger.database import Database
from hotfolder.types import How, Judge, Verdict

#: Of an image that was looked at large, and left: as much as a verdict that was given.
LOOK_WEIGHT = 1.0


@dataclass(frozen=True, slots=True)
class Given:
    """A verdict. `action_id`: of a person's action that is undone as one; `path_before`: where the image was."""

    verdict: Verdict
    judge: Judge
    how: How | None = None
    gate_keep: float | None = None  # what the gate's threshold was then
    action_id: int | None = None
    path_before: str | None = None


@dataclass(frozen=True, slots=True)
class OfAction:
    """What an action said of one image. `is_last`: nothing was said of the image since."""

    image_id: int
    path_before: str | None
    path: str
    is_last: bool


class Verdicts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def give(self, image_id: int, given: Given, now: float) -> None:
        """It is the image's verdict from now on. The image's row has to be as it is then: place and score."""
        self._database.run("set_verdict", image_id=image_id, verdict=given.verdict, given_by=given.judge)
        self._database.run(
            "add_verdict", image_id=image_id, verdict=given.verdict, given_by=given.judge, how=given.how,
            gate_keep=given.gate_keep, path_before=given.path_before, action_id=given.action_id, now=now,
        )  # fmt: skip

    def take_back(self, image_id: int, action_id: int, now: float) -> None:
        """What an action said of an image does not count any more: the one before it is the image's verdict."""
        self._database.run("take_back_verdict", image_id=image_id, action_id=action_id, now=now)
        self._database.run("verdict_in_force", image_id=image_id)

    def of_action(self, action_id: int, after: int, most: int) -> list[OfAction]:
        """What an action said of images with a higher id than `after`, by id, unless it was taken back."""
        rows = self._database.run("verdicts_of_action", action_id=action_id, after=after, most=most).rows
        return [OfAction(row["image_id"], row["path_before"], row["path"], bool(row["is_last"])) for row in rows]

    def is_given(self, image_id: int, action_id: int) -> bool:
        """Whether the action was carried out for this image."""
        return self._database.one("has_verdict_of", image_id=image_id, action_id=action_id) is not None

    def seen(self, lengths: Mapping[int, int], keeps: Mapping[int, float], now: float) -> int:
        """Images that were looked at for so many milliseconds, with the gate's threshold of each. How many count.

        An image without a verdict does not.
        """
        with self._database.transaction():
            return sum(
                self._database.run(
                    "add_look", image_id=image_id, gate_keep=keeps[image_id], weight=LOOK_WEIGHT,
                    milliseconds=milliseconds, now=now,
                ).changed
                for image_id, milliseconds in lengths.items()
            )  # fmt: skip

    def forget_looks(self, image_ids: Sequence[int] | None) -> int:
        """Of these images, or of all. How many were forgotten."""
        if image_ids is None:
            return self._database.run("forget_all_looks").changed
        return self._database.run("forget_looks", ids=json.dumps(list(image_ids))).changed

    def misplaced(self, keep: float, after: int, most: int, *, also_mine: bool) -> list[int]:
        """Images with a higher id than `after` whose verdict would be another with this threshold, by id.

        Those of which a person gave the verdict only with `also_mine`.
        """
        rows = self._database.run("misplaced", keep=keep, after=after, most=most, also_mine=int(also_mine)).rows
        return [row["id"] for row in rows]
