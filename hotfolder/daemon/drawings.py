"""How much work there is in drawing what waits. What prompts leave open, their models say."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.drawing import Drawing, default_megapixels, steps_of
from hotfolder.core.estimate import OpenJobs
from hotfolder.errors import HotfolderError
from hotfolder.ledger.lately import JudgedLately
from hotfolder.types import GenerateParams, Job, Kind

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    """Of a model."""

    defaults: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""


class Drawings:
    """Asked for with each batch: the files of a model are looked at once."""

    def __init__(self, settings: FolderSettings) -> None:
        self._settings = settings
        self._catalogue = settings.catalogue
        self._known: dict[str, _Known] = {}
        self._lately: dict[str, float] = {}

    def learn(self, judged: Sequence[JudgedLately]) -> None:
        """In how many steps models drew lately, for those of which nobody says it; the newest picture first."""
        drawn = [each for each in reversed(judged) if each.model is not None and each.steps]
        self._lately.update({str(each.model): float(each.steps or 0) for each in drawn})

    def known(self, jobs: OpenJobs) -> OpenJobs:
        """With the number of steps and the size that they would have where their prompts leave them to the model."""
        drawing = jobs.drawing
        if drawing is None:
            return jobs
        return replace(jobs, steps=self._steps(drawing), usual_megapixels=self._usual_megapixels(drawing))

    def megapixels(self, jobs: Sequence[Job]) -> float | None:
        """Of what is drawn together, once for each step; None: not known, or nothing is drawn."""
        found = 0.0
        for job in jobs:
            if job.kind is not Kind.GENERATE or not isinstance(job.params, GenerateParams):
                return None
            asked, drawing = job.params.request, Drawing.of(job.params.request, job.model)
            steps, each = self._steps(drawing), self._usual_megapixels(drawing)
            if asked.width is not None and asked.height is not None:
                each = asked.width * asked.height / 1e6
            if steps is None or each is None:
                return None
            found += steps * each
        return found

    def _steps(self, drawing: Drawing) -> float | None:
        known = self._of(drawing.model)
        steps = steps_of(drawing, known.defaults, known.family)
        return self._lately.get(drawing.model) if steps is None else steps

    def _usual_megapixels(self, drawing: Drawing) -> float | None:
        """Where the prompt leaves it to the model. An init-image brings its own size."""
        return None if drawing.has_init_image else default_megapixels(self._of(drawing.model).defaults)

    def _of(self, model: str) -> _Known:
        """Nothing of one that is not here, or not whole: it is asked for again, since it may come."""
        if self._catalogue is not self._settings.catalogue:  # the settings were read anew
            self._catalogue, self._known = self._settings.catalogue, {}
        if model not in self._known:
            try:
                spec = self._catalogue.resolve(model, Kind.GENERATE)
            except (HotfolderError, OSError, ValueError, RecursionError) as error:
                log.debug("nothing is known of the model %s: %s", model, error)
                return _Known()
            self._known[model] = _Known(spec.defaults, spec.family)
        return self._known[model]
