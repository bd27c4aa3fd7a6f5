"""What becomes of a dropped file, and of what belongs to it, when nothing more is made of it. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from hotfolder.core import naming
from hotfolder.folders.layout import ARCHIVE, FAILED
from hotfolder.routing import reports
from hotfolder.transitions import Cancelled, Followed, Move, SourceFinished
from hotfolder.types import Drop, FailedJob, Sighting, StoredImage


def cancelled(image: StoredImage) -> Cancelled:
    """A drawn image that gets no score any more goes where its prompt file goes."""
    source_file = image.source_file or image.path
    wanted = naming.mirrored(source_file, PurePosixPath(image.path).name, ARCHIVE)
    return Cancelled(
        drop_id=image.drop_id or 0, source_file=source_file, image_id=image.id, image=Move(image.path, wanted)
    )


def finished(drop: Drop, failures: Sequence[FailedJob], now: float) -> SourceFinished:
    """All jobs of a dropped file have ended: to archive/, or to failed/ if not all went well."""
    path = drop.sighting.path
    wanted = naming.mirrored(path, PurePosixPath(path).name, FAILED if failures else ARCHIVE)
    return SourceFinished(
        drop_id=drop.id,
        source_file=path,
        source=Move(path, wanted, drop.sighting.identity),
        report=reports.of_failures(wanted, path, failures, now) if failures else None,
    )


def followed(drop_id: int, there: Sighting, beside: str) -> Followed:
    """A file in an inbox goes to the picture that it belongs to, which left that inbox before."""
    return Followed(drop_id=drop_id, source_file=there.path, file=Move(there.path, beside, there.identity))
