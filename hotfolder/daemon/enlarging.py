"""Results that a person wants to have enlarged: they keep their lineage, and the gain is measured."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.errors import BadInput, HotfolderError, UsageError, Vanished
from hotfolder.files.beneath import Beneath
from hotfolder.folders.layout import Layout
from hotfolder.imaging.encode import ENDINGS
from hotfolder.ledger.ledger import Ledger
from hotfolder.routing.router import Router
from hotfolder.types import Job, Kind, NewJob, StoredImage, UpscaleParams

log = logging.getLogger(__name__)


class Enlarging:
    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        router: Router,
        clock: Callable[[], float],
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._router = router
        self._clock = clock

    def ask(
        self, image_id: int, scale: float | None, format_: str | None, model: str | None, priority: int = 0
    ) -> dict[str, Any]:
        """Queues one; what became of that, for the asker: queued, or done before, or why it cannot be.

        None leaves the choice to the settings of the file that the image came of. `priority` is 0 to 100; what is
        queued already gets it, too.
        """
        image = self._ledger.images.get(image_id)
        if image is None:
            return {"error": Vanished(f"there is no image {image_id}", "look with: hotfolder top").info().told()}
        answer: dict[str, Any] = {"image": image.path}
        try:
            job = replace(self._router.enlarging(image, scale, format_, model), priority=priority)
            self._check(image, job)
        except HotfolderError as error:
            return {**answer, "error": error.info().told()}
        done = self._done_before(image, job)
        if done is not None:
            return {**answer, "done": done}
        queued = [other.id for other in self._ledger.jobs.enlarging(image_id) if _is_enough(other, job)]
        if queued:
            self._ledger.jobs.bring_forward(queued, priority)
        else:
            assert image.drop_id is not None
            about = (image_id, image.path)
            self._ledger.jobs.add(job, image.drop_id, image.source_file or image.path, about, self._clock())
            log.info("%s is to be enlarged, as you asked for", image.path)
        return {**answer, "queued": True}

    def _check(self, image: StoredImage, job: NewJob) -> None:
        """Raises a HotfolderError where the job could not be done."""
        with Beneath(self._layout.root) as beneath:
            if beneath.identity(image.path) is None:
                raise Vanished(f"{image.path} is not there any more", "put it back, or name another")
        if image.drop_id is None:
            raise BadInput(
                f"it is not known any more which file {image.path} came of",
                "enlarge it here and now: --out FOLDER",
            )
        denoise = self._settings.of_root.upscale.denoise
        spec = self._settings.catalogue.resolve(job.model, Kind.UPSCALE, with_twin=denoise is not None)
        if denoise is not None and spec.twin is None:
            raise UsageError(f"model '{job.model}' has no twin for upscale.denoise", "name another model")

    def _done_before(self, image: StoredImage, job: NewJob) -> str | None:
        """Where it lies enlarged already by that model, to that size and format, if it does."""
        assert isinstance(job.params, UpscaleParams)
        scale, format_ = job.params.scale, job.params.format
        for row in self._ledger.images.enlargements(image.id):
            had = json.loads(row["settings"]).get("scale")
            is_as_large = scale is None or (had is not None and abs(had - scale) < 1e-4)
            is_alike = format_ is None or PurePosixPath(row["path"]).suffix == ENDINGS[format_]
            if row["model"] == job.model and is_as_large and is_alike:
                with Beneath(self._layout.root) as beneath:
                    if beneath.identity(row["path"]) is not None:
                        return str(row["path"])
        return None


def _is_enough(other: Job, wanted: NewJob) -> bool:
    """Whether a job that is queued makes what is wanted: by that model, to that size and format."""
    assert isinstance(wanted.params, UpscaleParams) and isinstance(other.params, UpscaleParams)
    return (
        other.model == wanted.model
        and wanted.params.scale in (None, other.params.scale)
        and wanted.params.format in (None, other.params.format)
    )
