"""A station with what it may look up."""

from __future__ import annotations

import logging
from pathlib import Path

from hotfolder.engines.model_runner import ModelRunner
from hotfolder.errors import LedgerError
from hotfolder.ledger.memory import Memory
from hotfolder.types import RunnerSettings

log = logging.getLogger(__name__)


def make_runner(settings: RunnerSettings) -> ModelRunner:
    """The station of these settings; it remembers what the database holds, where there is one already."""
    database = Path(settings.database) if settings.database else None
    memory = None
    if database is not None and database.is_file():
        try:
            memory = Memory(database)
        except LedgerError as error:
            log.warning("nothing is remembered: %s", error.message)
    return ModelRunner(settings, memory)
