"""What a person's verdicts lead to, and what a person has tried again, puts back or takes back. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePosixPath

from hotfolder.core import naming
from hotfolder.core.places import place_of
from hotfolder.folders.layout import FAILED
from hotfolder.routing import reports
from hotfolder.routing.router import FOLDER_OF
from hotfolder.transitions import (
    Failed,
    ImageRetried,
    Move,
    Rerouted,
    Restored,
    RestoreTakenBack,
    Retried,
    SourceReopened,
    SourceTakenAnew,
    StaleReport,
    Transition,
    VerdictGiven,
    VerdictTakenBack,
)
from hotfolder.types import Drop, FailedJob, FileIdentity, How, Job, Sighting, StoredImage, Verdict


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


def retried_source(
    drop: Drop,
    jobs: Sequence[Job],
    placed: str | None,
    there: Sighting | None,
    action_id: int | None = None,
) -> Transition:
    """Failed jobs of a dropped file are to be tried again; `there` is the file where it was `placed`.

    It goes back into its inbox. If it was changed meanwhile, or was never understood, it is taken as a new one.
    """
    ids = tuple(job.id for job in jobs)
    path = drop.sighting.path
    if placed is None:  # others of its jobs go on: it lies in the inbox still
        return Retried(drop_id=drop.id, source_file=path, job_ids=ids, action_id=action_id)
    as_it_was = there is not None and replace(there, path=path) == drop.sighting
    again = as_it_was and all(job.params is not None for job in jobs)
    back = SourceReopened if again else SourceTakenAnew
    return back(
        drop_id=drop.id,
        source_file=path,
        action_id=action_id,
        job_ids=ids,
        source=Move(placed, path, there.identity if there else None),
        stale_report=StaleReport(placed, ids),
    )


def retried_image(job: Job, image: StoredImage, action_id: int | None = None) -> Transition:
    """A failed job about an image that has a row is to be tried again: where the image is now."""
    assert job.source is not None
    if not image.path.startswith(f"{FAILED}/"):
        beside = naming.mirrored(job.source_file, PurePosixPath(job.source).name, FAILED)
        return Retried(
            drop_id=job.drop_id, source_file=job.source_file, job_ids=(job.id,), action_id=action_id,
            source=image.path, stale_report=StaleReport(beside, (job.id,)),
        )  # fmt: skip
    return ImageRetried(
        drop_id=job.drop_id,
        source_file=job.source_file,
        action_id=action_id,
        job_id=job.id,
        image_id=image.id,
        image=Move(image.path, job.source),
        stale_report=StaleReport(image.path, (job.id,)),
    )


def rerouted(image: StoredImage, verdict: Verdict, keep: float, reroute_id: int) -> Rerouted:
    """A judged image is to lie in the other folder, by another threshold; its sub-folder and name stay."""
    below = image.path.partition("/")[2]
    return Rerouted(
        drop_id=image.drop_id or 0,
        source_file=image.source_file or image.path,
        image_id=image.id,
        verdict=verdict,
        gate_keep=keep,
        image=Move(image.path, f"{FOLDER_OF[verdict]}/{below}"),
        reroute_id=reroute_id,
    )
