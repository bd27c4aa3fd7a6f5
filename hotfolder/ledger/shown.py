"""What the gallery asks of the ledger: all images in a few bytes each, and what has changed since."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from hotfolder.ledger import prompt_words
from hotfolder.ledger.queries import queries
from hotfolder.ledger.reader import Reader
from hotfolder.ledger.trouble import told

#: Orders of a grid; 'scorer' is by the scores of one.
SORTS = ("newest", "oldest", "best", "worst", "gain", "scorer")
#: What a grid may show in the place of images: dropped files, by what has become of them.
STATES = {"waiting": "files_that_wait", "failed": "files_that_failed"}
#: How `flags` of an image are put together: verdict, in whose name, role, folder.
VERDICTS = {"keep": 1, "reject": 2}
BY_PERSON = 4
ROLES = {"generated": 0, "dropped": 8, "upscaled": 16}
#: In the place of the role, of images of a set of which the best are kept: no threshold moves them.
OF_BEST = 24
FOLDERS = {"keep": 32, "reject": 64, "upscaled": 96, "archive": 128}
#: A word in so many different prompts is looked for in all of them: that takes no longer.
_COMMON = 2000
#: How the stars that a person gave are told, -1 to 5: so much more. 0: none were given.
STARS = 2
_NO_SCORE = float("nan")


@dataclass(frozen=True, slots=True)
class Columns:
    """Images in columns. `changed` is the number of the newest change that is in them."""

    changed: int
    scores: array[float]
    ids: array[int]
    versions: array[int]  # the first 32 bits of the sha256
    flags: array[int]
    stars: array[int]


@dataclass(frozen=True, slots=True)
class Filters:
    """Which images are wanted; None: whatever they are."""

    folders: tuple[str, ...] | None = None
    verdicts: tuple[str, ...] | None = None  # 'keep', 'reject' or 'none'
    by: str | None = None
    role: str | None = None
    lowest: float | None = None
    highest: float | None = None
    stars: int | None = None  # a person's, else those of the score
    model: str | None = None
    seed: int | None = None
    source: str | None = None  # the dropped file, relative to the root
    below: str | None = None  # a sub-folder of the folders of results, with '/' at its end
    since: float | None = None  # seconds since the epoch
    until: float | None = None
    words: tuple[str, ...] | None = None  # each of which is in the prompt or the path, large or small
    lowest_gain: float | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """Rows of `id, score, flags, version, stars`, ids of what is gone, and the number of the newest change in them."""

    changed: int
    rows: list[tuple[int, float | None, int, int, int]]
    gone: list[int]


class Shown(Reader):
    """Read-only, as every Reader."""

    def columns(self) -> Columns:
        """Every image that is there, by id."""
        changed = self.newest_change()  # first: what is changed meanwhile is told again
        scores, ids, versions, flags, stars = array("d"), array("I"), array("I"), array("B"), array("B")
        with told("read"):
            for id_, score, verdict, by, role, folder, version, given, of_best in self._connection.execute(
                queries()["shown_images"]
            ):
                ids.append(id_)
                scores.append(_NO_SCORE if score is None else score)
                versions.append(int(version, 16))
                flags.append(_flags(verdict, by, role, folder, is_of_best=of_best))
                stars.append(0 if given is None else _stars(given))
        return Columns(changed, scores, ids, versions, flags, stars)

    def ordered(self, filters: Filters, sort: str, scorer: str | None = None) -> array[int]:
        """Ids of the images that are wanted, in one of SORTS; by `scorer` those that it gave no score come last."""
        values = {
            **asdict(filters), "folders": _list(filters.folders), "verdicts": _list(filters.verdicts),
            "sort": sort, "scorer": scorer,
        }  # fmt: skip
        with told("read"):
            words = list(dict.fromkeys(word.lower() for word in filters.words or ()))
            saying = {word: found for word in words if (found := self._saying(word)) is not None}
            values["words"] = _list([word for word in words if word not in saying] or None)
            ids = (row[0] for row in self._connection.execute(queries()["ordered_images"], values))
            if not saying:
                return array("I", ids)
            wanted = set[int].intersection(*saying.values())
            return array("I", (id_ for id_ in ids if id_ in wanted))

    def _saying(self, word: str) -> set[int] | None:
        """Images with this word, in lower case, in their prompt or their path, by the index of prompts.

        None where all prompts have to be looked through, or may as well: most say it. Raises sqlite3.Error.
        """
        phrase = prompt_words.phrase(word) if prompt_words.is_kept_up(self._connection) else None
        if phrase is None:
            return None
        if word.isascii():  # what looks through all does not know large and small of other letters
            values = {"phrase": phrase, "most": _COMMON}
            if self._connection.execute(queries()["prompts_saying"], values).fetchone()[0] >= _COMMON:
                return None
        rows = self._connection.execute(queries()["images_saying"], {"word": word, "phrase": phrase})
        return {row[0] for row in rows}

    def newest_change(self) -> int:
        return int(self._all("newest_change")[0]["changed"])

    def changes(self, after: int, most: int) -> Changes:
        """What has changed after the change of this number, at most so many images."""
        last = after
        rows: list[tuple[int, float | None, int, int, int]] = []
        gone: list[int] = []
        for row in self._all("changed_images", after=after, most=most):
            last = row["changed"]
            if row["is_gone"]:
                gone.append(row["id"])
            else:
                rows.append(_row(row))
        return Changes(last, rows, gone)

    def data_version(self) -> int:
        """Another number whenever another connection has committed something."""
        with told("read"):
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def names(self, ids: Collection[int]) -> list[dict[str, Any]]:
        """id, path, prompt, width and height."""
        return self._all("names_of_images", ids=json.dumps(list(ids)))

    def sources(self) -> list[str]:
        """Dropped files, the newest first."""
        return list(dict.fromkeys(row["path"] for row in self._all("shown_sources")))

    def scorers(self) -> list[str]:
        """Who has given any image a score."""
        return [row["scorer"] for row in self._all("scorers")]

    def files(self, state: str, words: Collection[str] = ()) -> array[int]:
        """Ids of dropped files in one of STATES, in its order; each word is in the path that it was dropped under."""
        found = array("I", (row["drop_id"] for row in self._all(STATES[state])))
        if words:
            paths = {
                row["id"]: row["path"].lower() for row in self._all("drops_by_id", ids=json.dumps(list(found)))
            }
            found = array("I", (id_ for id_ in found if all(word.lower() in paths[id_] for word in words)))
        return found

    def files_by_id(self, ids: Collection[int]) -> list[dict[str, Any]]:
        """Where each was dropped (`path`), how much waits, is in work and has failed, why, and an image of it."""
        return self._all("shown_files", ids=json.dumps(list(ids)))

    def failed_jobs_of(self, drop_ids: Collection[int]) -> list[int]:
        """What of dropped files has failed, and was not tried again."""
        return [row["id"] for row in self._all("failed_jobs_of_drops", ids=json.dumps(list(drop_ids)))]

    def shown_jobs(self, most: int) -> list[dict[str, Any]]:
        """What is in work, and at most so many of what waits."""
        return self._all("shown_jobs", most=most)


def _row(row: Mapping[str, Any]) -> tuple[int, float | None, int, int, int]:
    of_best = row["is_of_best"]
    flags = _flags(row["verdict"], row["verdict_by"], row["role"], row["folder"], is_of_best=of_best)
    return row["id"], row["score"], flags, int(row["version"], 16), _stars(row["stars"])


def _stars(given: int | None) -> int:
    return 0 if given is None or not -1 <= given <= 5 else given + STARS


def _flags(verdict: str | None, by: str | None, role: str, folder: str, *, is_of_best: int) -> int:
    mine = BY_PERSON if by == "person" else 0
    kind = OF_BEST if is_of_best else ROLES[role]
    return VERDICTS.get(verdict or "", 0) | mine | kind | FOLDERS.get(folder, 0)


def _list(values: Collection[str] | None) -> str | None:
    return json.dumps(list(values)) if values is not None else None
