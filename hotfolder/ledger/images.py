"""Images, their scores, and what encoders made of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.ledger.database import Database
from hotfolder.ledger.rows import identity_columns, to_generate_params, to_image
from hotfolder.ledger.verdicts import Given, Verdicts
from hotfolder.transitions import Move, NewImage
from hotfolder.types import Embedding, FileIdentity, GenerateParams, Judge, Score, StoredImage, Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """What was found out about one image."""

    image_id: int
    sha256: str
    score: Score | None  # the one that the gate looks at
    parts: tuple[Score, ...] = ()
    embeddings: tuple[Embedding, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """An image that lies in a folder, with what is known of it: for a new database in the place of a damaged one."""

    path: str
    image: NewImage
    verdict: Verdict | None
    made_at: float  # seconds since the epoch
    scores: Sequence[Score]
    embeddings: Sequence[Embedding]
    said: Sequence[Given] = ()  # by persons, of this content, the newest last


class Images:
    def __init__(self, database: Database, verdicts: Verdicts) -> None:
        self._database = database
        self._verdicts = verdicts

    def get(self, image_id: int) -> StoredImage | None:
        row = self._database.one("image", id=image_id)
        return to_image(row) if row else None

    def add(
        self,
        image: NewImage,
        move: Move,
        now: float,
        *,
        parent_id: int | None = None,
        source_file: str | None = None,
        job_id: int | None = None,
        drop_id: int | None = None,
    ) -> int:
        """Gives an image its row, and the row's id. `move` is how its file came to its place."""
        row = self._database.run(
            "add_image", path=move.dst, sha256=image.sha256, role=image.role, width=image.width,
            height=image.height, parent_id=parent_id if image.parent_id is None else image.parent_id,
            prompt=image.prompt, negative_prompt=image.negative_prompt, seed=image.seed, model=image.model,
            settings=json.dumps(dict(image.settings)), source_file=source_file, job_id=job_id,
            drop_id=drop_id or None, **identity_columns(move.file), now=now,
        ).rows[0]  # fmt: skip
        return int(row["id"])

    def place(self, image_id: int, move: Move, settings: Mapping[str, Any] | None = None) -> None:
        """The image lies there now; `settings` are added to what its row says."""
        self._database.run(
            "move_image", id=image_id, path=move.dst, **identity_columns(move.file),
            settings=json.dumps(dict(settings or {})),
        )  # fmt: skip

    def note(self, image_id: int, note: str) -> None:
        """Adds a sentence to what the image's row says, once."""
        self._database.run("note_image", id=image_id, note=note)

    def judge(self, judged: Judged, job_id: int | None, now: float) -> None:
        """Records scores and embeddings of an image, whatever it has already."""
        self._add_judged("add_score", judged, job_id, now)

    def of_drop(self, drop_id: int) -> int | None:
        """The image that the dropped file is, if it has a row."""
        row = self._database.one("image_of_drop", drop_id=drop_id)
        return row["id"] if row else None

    def many(self, image_ids: Iterable[int]) -> list[StoredImage]:
        """Those of these that there are, by id."""
        rows = self._database.run("images_by_id", ids=json.dumps(list(image_ids))).rows
        return [to_image(row) for row in rows]

    def add_scores(self, judged: Iterable[Judged], now: float) -> int:
        """Records what is new of these scores and embeddings, for images that have a row. How many scores.

        A score by a version of a scorer that the image has one from already is not new, unless the gate is to look
        at it from now on.
        """
        with self._database.transaction():
            return sum(self._add_judged("add_new_score", each, None, now) for each in judged)

    def _add_judged(self, query: str, judged: Judged, job_id: int | None, now: float) -> int:
        added = 0
        for score in (*judged.parts, *([judged.score] if judged.score else [])):
            added += self._database.run(
                query, image_id=judged.image_id, score=score.value, scorer=score.scorer,
                weights_sha256=score.weights_sha256, preprocessing=score.preprocessing,
                precision=score.precision, gate=int(score is judged.score), job_id=job_id, now=now,
            ).changed  # fmt: skip
        for embedding in judged.embeddings:
            vector = base64.b64decode(embedding.vector)
            self._database.run("add_embedding", sha256=judged.sha256, encoder=embedding.encoder, vector=vector)
        return added

    def score_of(self, image_id: int, like: Score) -> float | None:
        """What the same version of the scorer said of another image, most recently."""
        row = self._database.one(
            "score_of_image", image_id=image_id, scorer=like.scorer, weights_sha256=like.weights_sha256,
            preprocessing=like.preprocessing,
        )  # fmt: skip
        return float(row["score"]) if row else None

    def enlargements(self, image_id: int) -> list[dict[str, Any]]:
        """path, model and settings of what was enlarged from an image."""
        return [dict(row) for row in self._database.run("enlargements", id=image_id).rows]

    def undecided(self, drop_ids: Iterable[int]) -> list[tuple[StoredImage, GenerateParams]]:
        """Judged images of these drops whose set is complete, each with how it was generated."""
        rows = self._database.run("undecided", ids=json.dumps(list(drop_ids))).rows
        return [(to_image(row), to_generate_params(row)) for row in rows]

    def drops_with_sets(self) -> set[int]:
        """Drops of whose sets something was judged and not decided."""
        return {row["drop_id"] for row in self._database.run("drops_with_sets").rows}

    def kept_of_set(self, drop_id: int, number: int) -> int:
        """How many images of a set are kept already."""
        return int(self._database.run("kept_of_set", drop_id=drop_id, set=number).rows[0]["kept"])

    def left_unscored(self) -> list[StoredImage]:
        """Drawn images that nothing is queued for: they were cancelled before they had their score."""
        return [to_image(row) for row in self._database.run("left_unscored").rows]

    def unrated(self, most: int) -> list[dict[str, Any]]:
        """Images whose stars are not written yet."""
        return [dict(row) for row in self._database.run("unrated", most=most).rows]

    def rate_again(self, drop_id: int) -> None:
        """What lies beside the image of a dropped file has changed: its stars have to be written anew."""
        self._database.run("rate_again", drop_id=drop_id)

    def put_back(self, image_id: int, move: Move) -> None:
        """The image lies in its inbox again, and is no result any more: it gets no stars there."""
        self.place(image_id, move)
        self._database.run("never_rated", id=image_id)

    def rating(self, image_id: int, sha256: str) -> None:
        """The file of an image is about to have this sha256: noted first, so that a crash leaves no riddle."""
        self._database.run("rating", id=image_id, sha256=sha256)

    def rated(
        self, image_id: int, rated: str, before: str, sha256: str, identity: FileIdentity | None = None
    ) -> None:
        """The stars of an image are written; its file had one sha256 `before`, and has this one now.

        `identity` is that of the file where it was written anew.
        """
        with self._database.transaction():
            self._database.run("rated", id=image_id, rated=rated, sha256=sha256, **identity_columns(identity))
            if sha256 != before:
                self._database.run("same_embeddings", sha256=sha256, before=before)

    def at(self, path: str) -> tuple[StoredImage, str | None] | None:
        """The image that lies there, and what is known of its stars."""
        row = self._database.one("image_at", path=path)
        return (to_image(row), row["rated"]) if row else None

    def given_stars(self, image_id: int, rated: str | None, *, is_written: bool = False) -> None:
        """What is known of an image's stars; unless they are `written`, they are where stars are written at all."""
        self._database.run("given_stars", id=image_id, rated=rated, unrated=int(not is_written))

    def to_rate(self, image_id: int) -> dict[str, Any] | None:
        """An image as those of `unrated` are."""
        row = self._database.one("to_rate", id=image_id)
        return dict(row) if row else None

    def made_sha256(self, path: str) -> str | None:
        """What the image under this path was before stars were written into it."""
        row = self._database.one("made_sha256", path=path)
        return row["sha256"] if row else None

    def restore(self, images: Iterable[Found]) -> int:
        """Puts rows back that a damaged database has lost. How many."""
        count = 0
        with self._database.transaction():
            for found in images:
                image_id = self.add(found.image, Move("", found.path), found.made_at)
                sha256 = found.image.sha256
                for score in found.scores:
                    self.judge(Judged(image_id, sha256, score), None, found.made_at)
                self.judge(Judged(image_id, sha256, None, embeddings=tuple(found.embeddings)), None, found.made_at)
                if found.verdict is not None:
                    given = next((each for each in reversed(found.said) if each.verdict is found.verdict), None)
                    self._verdicts.give(image_id, given or Given(found.verdict, Judge.GATE), found.made_at)
                count += 1
        return count

    def adopt(self, child: str, parent: str) -> None:
        """The image under one path was enlarged from the one under the other."""
        self._database.run("adopt", child=child, parent=parent)
