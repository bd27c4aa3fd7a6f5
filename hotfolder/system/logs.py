"""Where log lines go: to a person's terminal, or into the journal; and no line again and again."""

from __future__ import annotations

import logging
import time

from hotfolder.printable import SafeFormatter
from hotfolder.system.notification import JournalHandler, logs_to_journal

#: Within so many seconds the same line is not written again.
_QUIET_SECONDS = 60.0
_MOST_LINES = 1000


#: `extra` of a line that answers somebody: it is written each time.
ALWAYS = {"always": True}


class NoRepeats(logging.Filter):
    """Lets the same warning or error through once a minute, then with the number of times that it was left out."""

    def __init__(self, quiet_seconds: float = _QUIET_SECONDS) -> None:
        super().__init__()
        self._quiet_seconds = quiet_seconds
        self._said: dict[tuple[object, ...], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING or getattr(record, "always", False):
            return True
        key = (record.name, record.levelno, record.getMessage(), str(record.exc_info and record.exc_info[1]))
        now = time.monotonic()
        said_at, left_out = self._said.pop(key, (float("-inf"), 0))
        quiet = now - said_at < self._quiet_seconds
        self._said[key] = (said_at, left_out + 1) if quiet else (now, 0)
        if len(self._said) > _MOST_LINES:
            del self._said[next(iter(self._said))]  # the one that was heard of least lately
        if left_out and not quiet:
            record.msg, record.args = f"{record.getMessage()} (and {left_out} times before)", None
        return not quiet


def brief(line: str) -> dict[str, str]:
    """`extra` of a line that stands on a terminal in these words, where the log is not shown in full."""
    return {"brief": line}


class _BriefFormatter(SafeFormatter):
    def format(self, record: logging.LogRecord) -> str:
        line = getattr(record, "brief", None)
        if line is None or record.levelno >= logging.WARNING:
            return super().format(record)
        return SafeFormatter("%(message)s").format(logging.makeLogRecord({"msg": line}))


def log_briefly() -> None:
    """Sends to stderr what is meant for a person who looks on: a line for each image, warnings and errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(_BriefFormatter("%(levelname)s %(message)s"))
    handler.addFilter(NoRepeats())
    handler.addFilter(lambda record: record.levelno >= logging.WARNING or hasattr(record, "brief"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def log_to_stderr(level: int, format_: str) -> None:
    """Sends the log to stderr in this format, or to the journal where stderr is that."""
    handler: logging.Handler
    if logs_to_journal():
        handler, format_ = JournalHandler(), "%(message)s"  # it knows time and level itself
    else:
        handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(format_, datefmt="%Y-%m-%d %H:%M:%S"))
    handler.addFilter(NoRepeats())
    logging.basicConfig(level=level, handlers=[handler])
