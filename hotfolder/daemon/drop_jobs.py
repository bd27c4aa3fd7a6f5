"""What a dropped file asks for: the jobs that are queued when it is taken."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.core.prompts import place_of
from hotfolder.daemon.last_read import LastRead
from hotfolder.errors import EnvironmentTrouble, HotfolderError, PromptSyntax
from hotfolder.files.beneath import open_below
from hotfolder.folders.layout import Layout
from hotfolder.prompt_files.checking import PromptCheck
from hotfolder.prompt_files.reading import read_specs
from hotfolder.prompt_files.wildcards import WildcardLists
from hotfolder.routing.router import Router
from hotfolder.types import Kind, NewJob, PromptSpec, Sighting

log = logging.getLogger(__name__)


class DropJobs:
    """Reads prompt files; a picture asks for one job."""

    def __init__(self, layout: Layout, settings: FolderSettings, router: Router) -> None:
        self._layout = layout
        self._settings = settings
        self._router = router
        self._last_read = LastRead(layout.last_read)

    def of(self, kind: Kind, sighting: Sighting) -> list[NewJob]:
        """Raises EnvironmentTrouble where a prompt file cannot be read just now."""
        path = sighting.path
        if kind is not Kind.GENERATE:
            return [self._router.image_job(kind, path)]
        told: HotfolderError
        try:
            with self._last_read.reading(sighting):
                specs = self._read_prompts(path)
            return self._router.prompt_jobs(path, specs)
        except EnvironmentTrouble:
            raise
        except HotfolderError as error:
            told = error
        except Exception as error:
            log.warning("%s: unexpected %s", path, type(error).__name__, exc_info=error)
            told = PromptSyntax(f"{Path(path).name} cannot be read: {error}", "simplify it, or report this")
        # Recorded as a job that failed, so that the queue shows it and the file goes the usual way.
        return [NewJob(kind, self._settings.of_root.generate.model, None, error=told.info())]

    def _read_prompts(self, path: str) -> list[PromptSpec]:
        """The images that a prompt file, or a generated image, asks for, with the configuration's defaults."""
        name = Path(path).name
        settings = self._settings.of(path)
        check = PromptCheck(self._layout, self._settings.catalogue, settings)
        specs = read_specs(
            self._layout.root / path,
            WildcardLists(self._layout),
            opens=partial(open_below, self._layout.root),
            adapt=settings.generate.adapt,
        )
        return check.all_completed((place_of(name, spec), spec) for spec in specs)
