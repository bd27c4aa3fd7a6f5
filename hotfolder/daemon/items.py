"""What a worker is told of a job: absolute paths, and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.gate import precise
from hotfolder.core.prompts import said
from hotfolder.folders.layout import Layout
from hotfolder.folders.scan import sight
from hotfolder.types import Drop, GenerateParams, Item, Job, Purpose, ScoreParams, Sighting, UpscaleParams


def item_of(job: Job, drop: Drop | None, layout: Layout, settings: FolderSettings) -> Item:
    """`drop` is the dropped file that the job works on, if it does."""
    return Item(
        job_id=job.id,
        claim=job.claim,
        source=str(layout.root / job.source) if job.source else None,
        staging=str(layout.claim_folder(job.id, job.claim)),
        params=_params(job, layout),
        precise=precise(job.params, settings.policy(job.source_file).gate),
        root=str(layout.root),
        file=_file_of(job, drop, layout),
    )


def _file_of(job: Job, drop: Drop | None, layout: Layout) -> Sighting | None:
    """Which file the worker is to read: of a dropped one, the one that was taken."""
    if job.source is None:
        return None
    try:
        there = sight(layout.root, job.source)
    except OSError:
        return None  # the worker will say what is the matter
    if drop is None or job.source != drop.sighting.path or there == drop.sighting:
        return there  # with the number that its device has now
    return drop.sighting


def _params(job: Job, layout: Layout) -> Mapping[str, Any]:
    """What a worker is told, with the init-image's place: in the ledger its path is relative to the root."""
    if isinstance(job.params, GenerateParams):
        told = said(job.params.request)
        named = told.get("init_image")
        if not named:
            return told
        root, file = layout.root, layout.root / named  # or an absolute path of its own
        below = {"init_root": str(root)} if file.is_relative_to(root) else {}
        return {**told, "init_file": str(file), **below}
    if isinstance(job.params, UpscaleParams):
        return {"scale": job.params.scale, "format": job.params.format}
    if not isinstance(job.params, ScoreParams):
        return {}
    # What we enlarged ourselves may be larger than what is taken from others.
    is_ours = job.params.purpose is Purpose.MEASURE
    generated = job.params.generated
    by_prompt = {"prompt": generated.request.prompt} if generated is not None else {}
    return {**({"measure": True} if is_ours else {}), **by_prompt}
