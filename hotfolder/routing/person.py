"""What a person's verdicts, and what a person puts back or takes back, lead to. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hotfolder.core.places import place_of
from hotfolder.folders.layout import FAILED
from hotfolder.routing import reports
from hotfolder.transitions import (
    Failed,
    Move,
    Restored,
    RestoreTakenBack,
    StaleReport,
    VerdictGiven,
    VerdictTakenBack,
)
from hotfolder.types import Drop, FailedJob, FileIdentity, How, StoredImage, Verdict


def verdict_given(
    image: StoredImage, verdict: Verdict, how: How, gate_keep: float, action_id: int
) -> VerdictGiven:
    """A person keeps or rejects an image; its sub-folder and name stay."""
    wanted = place_of(image.path, image.role, verdict)
    return VerdictGiven(
        drop_id=image.drop_id or 0,
        source_file=image.source_file or image.path,
        action_id=action_id,
        image_id=image.id,
        verdict=verdict,
        how=how,
        gate_keep=gate_keep,
        image=Move(image.path, wanted, image.identity) if wanted != image.path else None,
    )


def verdict_taken_back(image: StoredImage, path_before: str | None, path: str, action_id: int) -> VerdictTakenBack:
    """An action that moved an image from `path_before` to `path` is undone.

    Where a person has renamed it since, only its folder is what it was before.
    """
    wanted = image.path
    if path_before is not None:
        below = image.path.partition("/")[2]
        wanted = path_before if image.path == path else f"{path_before.partition('/')[0]}/{below}"
    return VerdictTakenBack(
        drop_id=image.drop_id or 0,
        source_file=image.source_file or image.path,
        action_id=action_id,
        image_id=image.id,
        image=Move(image.path, wanted, image.identity) if wanted != image.path else None,
    )


def restored(
    drop: Drop,
    lies: str,
    identity: FileIdentity | None,
    image_id: int | None,
    job_ids: Sequence[int],
    action_id: int,
) -> Restored:
    """A dropped file that lies there goes back where it was dropped. `job_ids`: its failed jobs."""
    return Restored(
        drop_id=drop.id,
        source_file=drop.sighting.path,
        action_id=action_id,
        image_id=image_id,
        file=Move(lies, drop.sighting.path, identity),
        stale_report=StaleReport(lies, tuple(job_ids)) if job_ids else None,
    )


def restore_taken_back(
    drop: Drop, path: str, image_id: int | None, failures: Sequence[FailedJob], now: float
) -> RestoreTakenBack:
    """It goes to where it was before: `path`; with its report, where it had failed."""
    report = None
    if path.startswith(f"{FAILED}/") and failures:
        report = reports.of_failures(path, drop.sighting.path, failures, now)
    return RestoreTakenBack(
        drop_id=drop.id,
        source_file=drop.sighting.path,
        image_id=image_id,
        file=Move(drop.sighting.path, path, drop.sighting.identity),
        report=report,
    )


def failed_again(failed: Failed, attempts: int) -> Failed:
    """A retry is taken back before its job was begun: it has failed, as it had before."""
    return replace(failed, attempts=attempts)
