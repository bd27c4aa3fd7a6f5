"""What a service tells systemd: sd_notify(3) and the journal's native protocol, without systemd's libraries."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

log = logging.getLogger(__name__)
_JOURNAL = "/run/systemd/journal/socket"
#: What a start or a stop that still makes progress is given, again and again, in seconds.
_EXTENSION = 60
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}
#: Attributes of a log record that become fields of the journal.
_FIELDS = ("job_id", "source_file")


class Notifier:
    """Sends to $NOTIFY_SOCKET; does nothing where there is none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._every: float | None = None
        with contextlib.suppress(ValueError):
            # sd_watchdog_enabled(3): at half the time it is fed; here at a quarter.
            if environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid()):
                self._every = int(environ["WATCHDOG_USEC"]) / 4e6 if environ.get("WATCHDOG_USEC") else None
        self._fed_at = self._extended_at = float("-inf")
        self._status = ""
        self._is_passing = True  # between two states: starting, or stopping

    @property
    def is_there(self) -> bool:
        """Whether somebody listens."""
        return bool(self._address)

    def ready(self) -> None:
        """It works from now on; also after a reload."""
        self._is_passing = False
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        self._is_passing = True
        self._send("STOPPING=1")

    def alive(self, *, loading: bool = False) -> None:
        """The loop made progress. A start or a stop that takes its time is given more, and so is a model's loading."""
        now = time.monotonic()
        if self._every is not None and now - self._fed_at >= self._every:
            self._fed_at = now
            self._send("WATCHDOG=1")
        if (loading or self._is_passing) and now - self._extended_at >= _EXTENSION / 4:
            self._extended_at = now
            self._send(f"EXTEND_TIMEOUT_USEC={_EXTENSION * 1_000_000}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; whoever calls sees to it that it is not too often."""
        text = text.encode(errors="backslashreplace").decode().replace("\n", " ")
        if text != self._status:
            self._status = text
            self._send(f"STATUS={text}")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        # '@' stands for the zero byte of an abstract address.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto(message.encode(), address)
        except OSError as error:
            log.debug("systemd cannot be told: %s", error)


def logs_to_journal(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether stderr is the journal: $JOURNAL_STREAM names its device and inode, see systemd.exec(5)."""
    try:
        found = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}" and Path(_JOURNAL).exists()


class JournalHandler(logging.Handler):
    """Log records as entries of the journal, with the job and its file as fields of their own.

    https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
    """

    def __init__(self, address: str = _JOURNAL) -> None:
        super().__init__()
        self._address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._socket.sendto(self.entry(record), self._address)
        except OSError:
            self.handleError(record)

    def entry(self, record: logging.LogRecord) -> bytes:
        """The datagram for a record."""
        fields = {
            "MESSAGE": self.format(record),
            "PRIORITY": str(_PRIORITIES.get(record.levelno, 6)),
            "SYSLOG_IDENTIFIER": "hotfolder",
            "LOGGER": record.name,
        }
        for name in _FIELDS:
            if (value := getattr(record, name, None)) is not None:
                fields[f"HOTFOLDER_{name.upper()}"] = str(value)
        return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: str) -> bytes:
    """A value with line ends is preceded by its length, as 64 bits little-endian."""
    data = value.encode(errors="backslashreplace")
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode(), data)
    return b"%s\n%s%s\n" % (name.encode(), len(data).to_bytes(8, "little"), data)
