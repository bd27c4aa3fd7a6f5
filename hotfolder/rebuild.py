"""A new database in the place of a damaged one: from what lies in the folders, and what could be read of the old."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from hotfolder.core import naming
from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import ARCHIVE, KEEP, REJECT, UNSCORED, UPSCALED, Layout
from hotfolder.folders.moves import rename_noreplace
from hotfolder.folders.scan import scan
from hotfolder.ledger import health
from hotfolder.ledger.ledger import Ledger
from hotfolder.types import ImageRecord, Kind, Role, Verdict

log = logging.getLogger(__name__)
_VERDICTS = {KEEP: Verdict.KEEP, REJECT: Verdict.REJECT}
#: Files whose rows are written in one transaction.
_AT_ONCE = 200


def open_or_rebuild(layout: Layout) -> Ledger:
    """The ledger; a database that is damaged is set aside first, and a new one made in its place."""
    wrong = health.problem(layout.database)
    if wrong is None:
        return Ledger.open(layout.database)
    aside = health.set_aside(layout.database)
    log.error("THE DATABASE IS DAMAGED (%s). It is %s now, and a new one is made from the folders.", wrong, aside)
    ledger = Ledger.open(layout.database)
    images, scored = rebuild(layout, ledger, health.salvage(aside))
    log.error(
        "the new database has %d images, %d of them with scores that could still be read; what was queued is taken "
        "from the inboxes again. Scores that are missing: hotfolder rescore", images, scored,
    )  # fmt: skip
    return ledger


def rebuild(layout: Layout, ledger: Ledger, known: dict[str, health.Known]) -> tuple[int, int]:
    """Records every image of the result folders; gives how many, and how many of them have a score.

    Generated images that were not judged yet go to inbox/score: they are pictures like others now.
    """
    _hand_in_unscored(layout)
    count = scored = 0
    children: list[tuple[str, list[str]]] = []
    batch = []
    for path in _results(layout):
        image = _describe(layout, path)
        if image is None:
            continue
        about = known.get(image.sha256, health.Known())
        scored += bool(about.scores)
        batch.append((image, (layout.root / path).stat().st_mtime, about.scores, about.embeddings))
        if image.role is Role.UPSCALED:
            children.append((path, _parents(layout, path)))
        if len(batch) >= _AT_ONCE:
            count, batch = count + ledger.restore(batch), []
    count += ledger.restore(batch)
    for child, parents in children:
        if parents:
            ledger.adopt(child, parents[0])
    return count, scored


def _results(layout: Layout) -> Iterator[str]:
    for folder in (KEEP, REJECT, ARCHIVE, UPSCALED):
        yield from sorted(s.path for s in scan(layout.root, layout.root / folder, (), []))


def _describe(layout: Layout, path: str) -> ImageRecord | None:
    """What the file and its place say; None for what is no image."""
    from hotfolder.imaging.decode import open_image, read  # Pillow: only when it comes to this

    try:
        source = read(layout.root / path, 2**40)
        image = open_image(source, 2**62, first_frame=True).image
        text = getattr(image, "text", {})
        told = _json(text.get("hotfolder", "")) if path.startswith((KEEP, REJECT, UPSCALED)) else {}
    except (HotfolderError, OSError, ValueError, SyntaxError) as error:
        log.info("%s is left out: %s", path, error)
        return None
    folder = path.partition("/")[0]
    role = Role.UPSCALED if folder == UPSCALED else Role.GENERATED if "prompt" in told else Role.DROPPED
    width, height = image.size
    return ImageRecord(
        path=path, role=role, sha256=source.sha256, width=width, height=height,
        verdict=_VERDICTS.get(folder), prompt=told.get("prompt"),
        negative_prompt=told.get("negative_prompt") or None, seed=told.get("seed"), model=told.get("model"),
        settings=told,
    )  # fmt: skip


def _json(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


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
    for sighting in list(scan(layout.root, layout.root / UNSCORED, (), [])):
        below = PurePosixPath(sighting.path).relative_to(UNSCORED)
        wanted = str(PurePosixPath("inbox", Kind.SCORE, below))
        for number in range(10_000):
            target = layout.root / naming.numbered(wanted, number)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                rename_noreplace(layout.root / sighting.path, target)
                break
            except FileExistsError:
                continue
