"""Reading the settings anew while the daemon works. A bad file changes nothing, and that is not forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.config.root import FILE_NAME
from hotfolder.config.settings import Settings, differences
from hotfolder.daemon.dispatcher import Dispatcher
from hotfolder.daemon.reporter import Reporter
from hotfolder.daemon.scans import Scans
from hotfolder.errors import ConfigError, HotfolderError, Interrupted
from hotfolder.folders.guard import check_folders, tidy_permissions
from hotfolder.folders.layout import Layout
from hotfolder.system.logs import ALWAYS

log = logging.getLogger(__name__)


class Reloading:
    """Settings that were read wait here until nothing is in work: what is in work is done as it was begun.

    `load` reads them, and raises HotfolderError where it cannot; without it nothing is ever read.
    """

    def __init__(
        self,
        load: Callable[[], Settings] | None,
        layout: Layout,
        settings: FolderSettings,
        reporter: Reporter,
    ) -> None:
        self._load = load
        self._layout = layout
        self._settings = settings
        self._reporter = reporter
        self._read: Settings | None = None
        self.refused: HotfolderError | None = None  # what is wrong with the file as it was read last

    @property
    def waits(self) -> bool:
        """Whether settings were read and are not in force yet."""
        return self._read is not None

    def read(self) -> dict[str, Any]:
        """Reads them, and makes their folders. Gives what is told of it: `changes`, or an `error`, and all `mistakes`.

        They are in force when nothing is in work any more: see `apply`.
        """
        told = self._read_anew()
        if not self.waits:
            self._reporter.reloading()
            self._reporter.ready()
        return told

    def _read_anew(self) -> dict[str, Any]:
        if self._load is None:
            return {"changes": []}
        try:
            self._read = self._usable(self._load)
        except Interrupted:
            raise
        except HotfolderError as error:
            for each in error.each:
                log.error("the configuration stays as it was: %s (%s)", each.message, each.fix, extra=ALWAYS)
            self._read, self.refused = None, error
            mistakes = [each.told() for each in error.each]
            return {"error": error.message, "kind": error.kind, "fix": error.fix, "mistakes": mistakes}
        self.refused = None
        return {"changes": differences(self._settings.of_root, self._read)}

    def apply(self, dispatcher: Dispatcher, scans: Scans) -> None:
        """What was read is in force from now on. Between two batches: what is in work is done as it was begun."""
        self._reporter.reloading()
        before = self._settings.of_root
        settings, self._read = self._read, None
        if settings is not None:
            self._settings.change(settings)
            tidy(self._layout, settings)
            self._reporter.settings_changed(settings)
            dispatcher.settings_changed(before)
            scans.settings_changed(before)
            _log_changes(before, settings)
        self._reporter.ready()

    def _usable(self, load: Callable[[], Settings]) -> Settings:
        """Raises HotfolderError for whatever may be wrong."""
        try:
            settings = load()
            self._layout.make(settings.inboxes)
            check_folders(self._layout, settings.inboxes)
        except HotfolderError:
            raise
        except Exception as error:
            # Nothing that a file says may end a daemon that works.
            raise ConfigError(f"the settings cannot be used: {error}", "simplify what was changed last") from error
        return settings


def tidy(layout: Layout, settings: Settings) -> None:
    """Lets those read what is private who may by these settings, and nobody else."""
    readers, secret = settings.output.readers, settings.holds_secrets
    tidy_permissions(layout.database, layout.lock, layout.root / FILE_NAME, readers=readers, secret=secret)


def _log_changes(before: Settings, settings: Settings) -> None:
    changed = differences(before, settings)
    for line in changed:
        log.info("configuration: %s", line)
    log.info("configuration read anew: %s", f"{len(changed)} changes" if changed else "nothing has changed")
