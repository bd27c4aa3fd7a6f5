"""Where log lines go: to a person's terminal, or into the journal; and no line again and again."""

from __future__ import annotations

import logging
import time

from hotfolder.printable import SafeFormatter
from hotfolder.systemd import JournalHandler, logs_to_journal

#: Within so many seconds the same line is not written again.
_QUIET_SECONDS = 60.0
_MOST_LINES = 1000


class NoRepeats(logging.Filter):
    """Lets a line through once a minute, then with the number of times that it was left out."""

    def __init__(self, quiet_seconds: float = _QUIET_SECONDS) -> None:
        super().__init__()
        self._quiet_seconds = quiet_seconds
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.levelno, record.getMessage())
        now = time.monotonic()
        said_at, left_out = self._said.get(key, (float("-inf"), 0))
        if now - said_at < self._quiet_seconds:
            self._said[key] = (said_at, left_out + 1)
            return False
        if left_out:
            record.msg, record.args = f"{key[2]} (and {left_out} times before)", None
        if len(self._said) >= _MOST_LINES:
            self._said = {k: v for k, v in self._said.items() if now - v[0] < self._quiet_seconds}
        self._said[key] = (now, 0)
        return True


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
