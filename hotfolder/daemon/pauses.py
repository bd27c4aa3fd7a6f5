"""Whether anything may be begun: a person's wish, or trouble with the machine, may stand against it."""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.errors import EnvironmentTrouble
from hotfolder.files.durable import write_durably
from hotfolder.files.trouble import explain
from hotfolder.types import ErrorInfo

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pause:
    """A part has found that nothing can be begun just now."""

    error: ErrorInfo
    until: float | None = None  # seconds since the epoch; None: for the usual time


class Pauses:
    """Both reasons for waiting. What a person asked for is kept in a file, so that a restart does not forget it."""

    def __init__(self, file: Path, settings: FolderSettings, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._trouble: tuple[float, ErrorInfo] | None = None  # until when, why
        self._logged = ""  # the trouble, as it was logged; empty when work goes on
        self._file = file
        self._asked = False
        self._asked_until: float | None = None  # None: without an end
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            self._asked_until, self._asked = _moment(found["until"]), True
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            log.warning("%s cannot be read and does not count: %s", self._file, error)

    @property
    def in_trouble(self) -> bool:
        return self._trouble is not None

    @contextlib.contextmanager
    def catching(self) -> Iterator[None]:
        """Trouble with the machine, of whatever kind, ends nothing: for a while nothing new is begun."""
        try:
            yield
        except EnvironmentTrouble as error:
            self.trouble(error.info())
        except OSError as error:  # whose fault it is, no part has said
            log.warning("unexpected %s", type(error).__name__, exc_info=error)
            self.trouble(explain(error).info())

    def trouble(self, error: ErrorInfo, until: float | None = None) -> None:
        """Nothing is begun until then, or for the usual time; said once, as long as it is the same."""
        if gist(error.message) != self._logged:
            self._logged = gist(error.message)
            log.error("paused: %s (%s)", error.message, error.fix)
        usual = self._clock() + self._settings.of_root.retry.pause_seconds
        self._trouble = (until or usual, error)

    def try_again_at(self) -> float | None:
        """When the trouble may be over."""
        return self._trouble[0] if self._trouble else None

    def try_now(self) -> None:
        """The clock was set back: what was to be tried at a moment that is far ahead now is tried at once."""
        if self._trouble:
            self._trouble = (0.0, self._trouble[1])

    def trouble_is_over(self) -> None:
        """Work is tried again. `works` says whether that goes well."""
        self._trouble = None

    def works(self) -> None:
        """A whole turn went well."""
        if self._logged and self._trouble is None:
            self._logged = ""
            log.info("going on")

    def ask(self, until: float | None) -> None:
        """From now on, until a moment (seconds since the epoch) or until `go_on`. Raises OSError."""
        write_durably(self._file, json.dumps({"until": until}))
        self._asked_until, self._asked = until, True

    def go_on(self) -> None:
        """Raises OSError."""
        self._asked = False
        self._file.unlink(missing_ok=True)

    def asked_until(self, now: float) -> float | None:
        """The moment when a person's pause ends by itself; infinity if it does not; None where there is none."""
        if not self._asked:
            return None
        if self._asked_until is not None and now >= self._asked_until:
            log.info("the pause is over")
            with contextlib.suppress(OSError):  # it is over, also where the file stays
                self.go_on()
            return None
        return float("inf") if self._asked_until is None else self._asked_until

    def reason(self, now: float) -> str | None:
        """Why nothing is begun, in words; None when nothing stands against it."""
        return self._trouble[1].message if self._trouble else self.asked_reason(now)

    def asked_reason(self, now: float) -> str | None:
        """A person's pause, in words; None where there is none."""
        until = self.asked_until(now)
        if until is None:
            return None
        if until == float("inf"):
            return "you asked for it; go on with: hotfolder resume"
        when = datetime.fromtimestamp(until).astimezone().strftime("%Y-%m-%d %H:%M")
        return f"you asked for it, until {when}; earlier with: hotfolder resume"


def gist(reason: str) -> str:
    """A reason without its numbers: the space that is left changes all the time."""
    return re.sub(r"[\d.,]+", "#", reason)


def _moment(value: object) -> float | None:
    """A moment that a calendar has, or None for no end. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 <= value < 2**33:
        raise ValueError(f"{value} is no moment")
    return float(value)
