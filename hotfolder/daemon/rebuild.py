"""A new database in the place of a damaged one: from what lies in the folders, and what could be read of the old."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from hotfolder.core import naming
from hotfolder.core.companions import pairs
from hotfolder.core.prompts import ENDINGS
from hotfolder.daemon.last_read import LastRead
from hotfolder.errors import NotAnImage
from hotfolder.files.beneath import Beneath, open_below
from hotfolder.files.moves import fsync_folder
from hotfolder.folders.layout import ARCHIVE, KEEP, REJECT, UNSCORED, UPSCALED, Layout
from hotfolder.folders.scan import scan
from hotfolder.ledger import connection, health
from hotfolder.ledger.images import Found
from hotfolder.ledger.ledger import Ledger
from hotfolder.transitions import NewImage
from hotfolder.types import Kind, Role, Sighting, Verdict

log = logging.getLogger(__name__)
_VERDICTS = {KEEP: Verdict.KEEP, REJECT: Verdict.REJECT}
#: Files whose rows are written in one transaction.
_AT_ONCE = 200


def open_or_rebuild(
    layout: Layout, *, thoroughly: bool, alive: Callable[[], None] = lambda: None
) -> Generator[None, None, Ledger]:
    """The ledger; in the place of a database that is damaged, or gone, a new one is made from the folders.

    It is made beside the old one, and takes its place when it is complete: a crash in between costs nothing. With
    `thoroughly`, damage is looked for that a start after an orderly end need not fear. Yields again and again while
    it works, and calls `alive` where it cannot.
    """
    database = layout.database
    made = database.with_name("hotfolder.rebuilt.db")
    wrong = _mended(database, health.problem(database, thoroughly=thoroughly))
    is_blank = wrong is None and health.is_blank(database) and _has_files(layout)
    if is_blank:
        wrong = "it knows of no file, but the folders hold some"
    if wrong is None:
        made.unlink(missing_ok=True)  # somebody has put a whole one back before that could take its place
        return Ledger.open(database, alive)
    if not made.exists():
        if not _has_files(layout) and not _has_content(database):
            _set_aside(layout, time.time())  # a new root, perhaps with the log of an old one
            return Ledger.open(database, alive)
        log.error("THE DATABASE IS DAMAGED (%s: %s). A new one is made.", database, wrong)
        found = yield from _make(layout, made, from_folders=is_blank)
        if is_blank and not found:
            made.unlink()  # what the folders hold are no images: nothing is missing
            return Ledger.open(database, alive)
    _set_aside(layout, made.stat().st_mtime)
    made.rename(database)
    fsync_folder(layout.root)
    return Ledger.open(database, alive)


def _mended(database: Path, wrong: str | None) -> str | None:
    """What is still wrong, when that was done which needs no new database."""
    if wrong is None or not _has_content(database):
        return wrong
    if health.is_whole_without_log(database):
        aside = health.set_log_aside(database, time.time())
        log.error("%s lay beside a log of another database, which is kept as %s.", database, aside)
        return None
    if health.mend_indexes(database):
        log.error("%s had damaged indexes (%s). They are made anew; nothing is lost.", database, wrong)
        return None
    return wrong


def _make(layout: Layout, made: Path, *, from_folders: bool) -> Generator[None, None, int]:
    """A new database, complete once it lies under the name `made`; gives how many images the folders gave it.

    Unless `from_folders`, with all rows of the old one, where they can be read.
    """
    images = 0
    partial = made.with_name("hotfolder.rebuilding.db")
    _remove(partial)
    if not from_folders and _has_content(layout.database) and health.copy_rows(layout.database, partial):
        log.error("All rows of the old one could be read, and are in the new one: only indexes were damaged.")
    else:
        _remove(partial)
        known = health.salvage(layout.database) if layout.database.exists() else {}
        ledger = Ledger.open(partial)
        images, scored = yield from rebuild(layout, ledger, known)
        ledger.database.to_one_file()
        ledger.close()
        log.error(
            "The new database has %d images of the folders, %d of them with scores that could still be read. What "
            "was queued is taken from the inboxes again; scores that are missing: hotfolder rescore", images, scored,
        )  # fmt: skip
    partial.replace(made)
    fsync_folder(layout.root)
    return images


def _remove(database: Path) -> None:
    for file in connection.files(database):
        file.unlink(missing_ok=True)


def _set_aside(layout: Layout, moment: float) -> None:
    aside = health.set_aside(layout.database, moment)
    if aside is not None:
        fsync_folder(layout.root)  # before a new one comes, which must not find the log
        log.error("What was there of the old database is kept as %s.", aside)


def _has_files(layout: Layout) -> bool:
    return any(_results(layout)) or any(_unscored(layout))


def _has_content(database: Path) -> bool:
    try:
        return database.stat().st_size > 0
    except OSError:
        return False


def rebuild(
    layout: Layout, ledger: Ledger, known: dict[str, health.Known]
) -> Generator[None, None, tuple[int, int]]:
    """Records every image of the result folders; gives how many, and how many of them have a score.

    Generated images that were not judged yet go to inbox/score: they are pictures like others now.
    """
    count = scored = 0
    children: list[tuple[str, list[str]]] = []
    batch = []
    last_read = LastRead(layout.last_read)
    for sighting in _results(layout):
        yield
        path = sighting.path
        try:
            with last_read.reading(sighting):
                image = _describe(layout, path)
            made_at = sighting.mtime_ns / 1e9
            verdict = _VERDICTS.get(path.partition("/")[0])
        except Exception as error:  # noqa: BLE001 - no file, however odd, may cost the others their rows
            log.info("%s is left out: %s", path, error)
            continue
        about = known.get(image.sha256, health.Known())
        scored += bool(about.scores)
        batch.append(Found(path, image, verdict, made_at, about.scores, about.embeddings, about.said))
        if image.role is Role.UPSCALED:
            children.append((path, _parents(layout, path)))
        if len(batch) >= _AT_ONCE:
            count, batch = count + ledger.images.restore(batch), []
    count += ledger.images.restore(batch)
    for child, parents in children:
        if parents:
            ledger.images.adopt(child, parents[0])
    _hand_in_unscored(layout)
    return count, scored


def _unscored(layout: Layout) -> Iterator[str]:
    yield from (sighting.path for sighting in scan(layout.root, UNSCORED, (), []))


def _results(layout: Layout) -> Iterator[Sighting]:
    for folder in (KEEP, REJECT, ARCHIVE, UPSCALED):
        found = sorted(scan(layout.root, folder, (), []), key=lambda found: found.path)
        names: dict[str, list[str]] = {}
        for path in (sighting.path for sighting in found):
            names.setdefault(path.rpartition("/")[0], []).append(path.rpartition("/")[2])
        if folder == ARCHIVE:  # prompts that were done lie there, too
            found = [sighting for sighting in found if not sighting.path.lower().endswith(ENDINGS)]
        belongs = {f"{place}/{name}" for place, there in names.items() for name in pairs(there)}
        yield from (sighting for sighting in found if sighting.path not in belongs)  # the RAW half is no result


def _describe(layout: Layout, path: str) -> NewImage:
    """What the file and its place say. Raises whatever reading a file raises that is no image."""
    from hotfolder.imaging.decode import size_of  # Pillow: only when it comes to this
    from hotfolder.imaging.metadata import read_generation

    if naming.as_text(path) != path:
        raise ValueError("its name is not UTF-8")
    with open_below(layout.root, layout.root / path) as file:
        width, height = size_of(file)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]  # it is a reader
    folder = path.partition("/")[0]
    told: dict[str, Any] = {}
    with contextlib.suppress(NotAnImage):  # of a format that does not say how it was made
        if folder != ARCHIVE:
            told = _told(read_generation(layout.root / path).get("hotfolder", ""))
    role = Role.UPSCALED if folder == UPSCALED else Role.GENERATED if "prompt" in told else Role.DROPPED
    return NewImage(
        role=role, sha256=sha256, width=width, height=height, prompt=told.get("prompt"),
        negative_prompt=told.get("negative_prompt") or None, seed=told.get("seed"),
        model=told.get("model"), settings=told,
    )  # fmt: skip


def _told(text: str) -> dict[str, Any]:
    """What an image says of how it was made; nothing, where it says what cannot be: anybody can write that."""
    try:
        found = json.loads(text, parse_constant=_no_number)
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    seed = found.get("seed")
    texts = (found.get(key) for key in ("prompt", "negative_prompt", "model"))
    if not all(text is None or isinstance(text, str) for text in texts):
        return {}
    if seed is not None and not (isinstance(seed, int) and 0 <= seed < 2**63):
        return {}
    return found


def _no_number(text: str) -> None:
    """SQLite's JSON knows no NaN."""
    raise ValueError(f"{text} is no number")


def _parents(layout: Layout, path: str) -> list[str]:
    """What an enlarged image may have been made from, by its name: `cat_4x.png` from some `cat.*`."""
    pure = PurePosixPath(path)
    stem = pure.stem.removesuffix(".regressed").rpartition("_")[0]
    found = []
    for folder in (KEEP, REJECT, ARCHIVE):
        place = PurePosixPath(folder, *pure.parts[1:-1])
        try:
            names = sorted(os.listdir(layout.root / place))  # noqa: PTH208 - names, not paths
        except OSError:
            continue
        found += [str(place / name) for name in names if stem and PurePosixPath(name).stem == stem]
    return found


def _hand_in_unscored(layout: Layout) -> None:
    with Beneath(layout.root) as beneath:
        for path in list(_unscored(layout)):
            below = PurePosixPath(path).relative_to(UNSCORED)
            wanted = str(PurePosixPath("inbox", Kind.SCORE, below))
            for number in range(10_000):
                try:
                    beneath.rename(path, naming.numbered(wanted, number))
                    break
                except (FileExistsError, NotADirectoryError):
                    continue
                except OSError as error:
                    log.warning("%s cannot be handed in again: %s", path, error)
                    break
