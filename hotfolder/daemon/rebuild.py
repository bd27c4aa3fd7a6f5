"""A new database in the place of a damaged one: from what lies in the folders, and what could be read of the old."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from hotfolder.core import naming
from hotfolder.files.beneath import Beneath
from hotfolder.files.moves import fsync_folder
from hotfolder.folders.layout import ARCHIVE, KEEP, REJECT, UNSCORED, UPSCALED, Layout
from hotfolder.folders.scan import scan
from hotfolder.ledger import health
from hotfolder.ledger.images import Found
from hotfolder.ledger.ledger import Ledger
from hotfolder.transitions import NewImage
from hotfolder.types import Kind, Role, Sighting, Verdict

log = logging.getLogger(__name__)
_VERDICTS = {KEEP: Verdict.KEEP, REJECT: Verdict.REJECT}
#: Files whose rows are written in one transaction.
_AT_ONCE = 200


def open_or_rebuild(layout: Layout) -> Generator[None, None, Ledger]:
    """The ledger; in the place of a database that is damaged, or gone, a new one is made from the folders.

    It is made beside the old one, and takes its place when it is complete: a crash in between costs nothing. Yields
    again and again while it works.
    """
    made = layout.database.with_name("hotfolder.rebuilt.db")
    wrong = health.problem(layout.database)
    if wrong is None:
        return Ledger.open(layout.database)
    if layout.database.exists() or not made.exists():
        if not any(_results(layout)) and not any(_unscored(layout)) and not _has_content(layout.database):
            return Ledger.open(layout.database)  # a new root
        log.error("THE DATABASE IS DAMAGED (%s: %s). A new one is made from the folders.", layout.database, wrong)
        partial = layout.database.with_name("hotfolder.rebuilding.db")
        for ending in ("", "-wal", "-shm"):
            Path(f"{partial}{ending}").unlink(missing_ok=True)
        known = health.salvage(layout.database) if layout.database.exists() else {}
        ledger = Ledger.open(partial)
        images, scored = yield from rebuild(layout, ledger, known)
        ledger.close()
        partial.replace(made)
        log.error(
            "The new database has %d images, %d of them with scores that could still be read. What was queued is "
            "taken from the inboxes again; scores that are missing: hotfolder rescore", images, scored,
        )  # fmt: skip
        if layout.database.exists():
            log.error("The old one is kept as %s.", health.set_aside(layout.database))
    made.rename(layout.database)
    fsync_folder(layout.root)
    return Ledger.open(layout.database)


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
    for sighting in _results(layout):
        yield
        path = sighting.path
        try:
            image, made_at = _describe(layout, path), sighting.mtime_ns / 1e9
            verdict = _VERDICTS.get(path.partition("/")[0])
        except Exception as error:  # noqa: BLE001 - no file, however odd, may cost the others their rows
            log.info("%s is left out: %s", path, error)
            continue
        about = known.get(image.sha256, health.Known())
        scored += bool(about.scores)
        batch.append(Found(path, image, verdict, made_at, about.scores, about.embeddings))
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
        yield from sorted(scan(layout.root, folder, (), []), key=lambda found: found.path)


def _describe(layout: Layout, path: str) -> NewImage:
    """What the file and its place say. Raises whatever reading a file raises that is no image."""
    from hotfolder.imaging.decode import open_image, read  # Pillow: only when it comes to this
    from hotfolder.imaging.metadata import read_generation

    if naming.as_text(path) != path:
        raise ValueError("its name is not UTF-8")
    source = read(layout.root / path, 2**40)
    image = open_image(source, 2**62, first_frame=True).image
    width, height = image.size
    folder = path.partition("/")[0]
    told = _told(read_generation(layout.root / path).get("hotfolder", "")) if folder != ARCHIVE else {}
    role = Role.UPSCALED if folder == UPSCALED else Role.GENERATED if "prompt" in told else Role.DROPPED
    return NewImage(
        role=role, sha256=source.sha256, width=width, height=height, prompt=told.get("prompt"),
        negative_prompt=told.get("negative_prompt") or None, seed=told.get("seed"),
        model=told.get("model"), settings=told,
    )  # fmt: skip


def _told(text: str) -> dict[str, Any]:
    """What an image says of how it was made; nothing, where it says what cannot be: anybody can write that."""
    try:
        found = json.loads(text, parse_constant=_no_number)
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
