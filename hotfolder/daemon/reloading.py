"""Reading the settings anew while the daemon works. A bad file changes nothing, and that is not forgotten."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from hotfolder.config.settings import Settings, differences
from hotfolder.errors import ConfigError, HotfolderError, Interrupted
from hotfolder.folders.guard import check_folders
from hotfolder.folders.layout import Layout
from hotfolder.system.logs import ALWAYS

log = logging.getLogger(__name__)


class Reloading:
    """Settings that were read wait here until nothing is in work: what is in work is done as it was begun.

    `load` reads them, and raises HotfolderError where it cannot; without it nothing is ever read.
    """

    def __init__(self, load: Callable[[], Settings] | None, layout: Layout) -> None:
        self._load = load
        self._layout = layout
        self._read: Settings | None = None
        self.refused: HotfolderError | None = None  # what is wrong with the file as it was read last

    @property
    def waits(self) -> bool:
        """Whether settings were read and are not in force yet."""
        return self._read is not None

    def read(self, in_force: Settings) -> dict[str, Any]:
        """Reads them, and makes their folders. Gives what is told of it: `changes`, or the `error` against them."""
        if self._load is None:
            return {"changes": []}
        try:
            self._read = self._usable(self._load)
        except Interrupted:
            raise
        except HotfolderError as error:
            log.error("the configuration stays as it was: %s (%s)", error.message, error.fix, extra=ALWAYS)
            self._read, self.refused = None, error
            return {"error": error.message, "kind": error.kind, "fix": error.fix}
        self.refused = None
        return {"changes": differences(in_force, self._read)}

    def take(self) -> Settings | None:
        """What was read and is to be in force from now on."""
        read, self._read = self._read, None
        return read

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


def log_changes(before: Settings, settings: Settings) -> None:
    """Once they are in force."""
    changed = differences(before, settings)
    for line in changed:
        log.info("configuration: %s", line)
    log.info("configuration read anew: %s", f"{len(changed)} changes" if changed else "nothing has changed")
