"""Reading the settings anew while the daemon works. A bad file changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hotfolder.config.settings import Settings, differences
from hotfolder.errors import HotfolderError, Interrupted
from hotfolder.folders.guard import check_folders
from hotfolder.folders.layout import Layout
from hotfolder.system.logs import ALWAYS

log = logging.getLogger(__name__)


def read_anew(load: Callable[[], Settings], layout: Layout) -> Settings | None:
    """The settings as they are now, with their folders made; None where they cannot be used, which is logged."""
    try:
        settings = load()
        layout.make(settings.inboxes)
        check_folders(layout, settings.inboxes)
    except Interrupted:
        raise
    except Exception as error:  # noqa: BLE001 - nothing that a file says may end a daemon that works
        fix = f" ({error.fix})" if isinstance(error, HotfolderError) else ""
        log.error("the configuration stays as it was: %s%s", error, fix, extra=ALWAYS)
        return None
    return settings


def log_changes(before: Settings, settings: Settings) -> None:
    """Once they are in force."""
    changed = differences(before, settings)
    for line in changed:
        log.info("configuration: %s", line)
    log.info("configuration read anew: %s", f"{len(changed)} changes" if changed else "nothing has changed")
