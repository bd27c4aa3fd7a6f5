"""What people ask of a daemon while it runs: to try again, to wait, to go on, to leave something."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from hotfolder import control
from hotfolder.folders.layout import Layout
from hotfolder.folders.moves import write_durably
from hotfolder.folders.publish import explain
from hotfolder.intake import Intake
from hotfolder.ledger.ledger import Ledger
from hotfolder.results import Results
from hotfolder.types import ErrorInfo, FailureClass

log = logging.getLogger(__name__)


class Hold:
    """Whether a person wants nothing to be begun; kept on the disk, so that a restart does not forget it."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.hold
        self._until: float | None = None
        self._held = False
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self._until, self._held = found["until"], True
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, KeyError) as error:
            log.warning("%s cannot be read and does not count: %s", self._path, error)

    def set(self, until: float | None) -> None:
        """From now on, until a moment (seconds since the epoch) or until it is lifted. Raises OSError."""
        write_durably(self._path, json.dumps({"until": until}))
        self._until, self._held = until, True

    def lift(self) -> None:
        self._path.unlink(missing_ok=True)
        self._held = False

    def until(self, now: float) -> float | None:
        """The moment when it ends by itself, if it does; infinity if not; None when nothing is held."""
        if not self._held:
            return None
        if self._until is not None and now >= self._until:
            log.info("the pause is over")
            self.lift()
            return None
        return float("inf") if self._until is None else self._until

    def reason(self, now: float) -> str | None:
        """Why nothing is begun, in words."""
        until = self.until(now)
        if until is None:
            return None
        if until == float("inf"):
            return "you asked for it; go on with: hotfolder resume"
        when = datetime.fromtimestamp(until).astimezone().strftime("%Y-%m-%d %H:%M")
        return f"you asked for it, until {when}; earlier with: hotfolder resume"


class Wishes:
    """Carries wishes out, one after the other."""

    def __init__(
        self,
        layout: Layout,
        ledger: Ledger,
        intake: Intake,
        results: Results,
        hold: Hold,
        clock: Callable[[], float],
        *,
        drop_running: Callable[[int], None],
    ) -> None:
        """`drop_running` is told the id of a drop whose jobs in work do not count any more."""
        self._layout = layout
        self._ledger = ledger
        self._intake = intake
        self._results = results
        self._hold = hold
        self._clock = clock
        self._drop_running = drop_running
        self._known: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "retry": self._retry,
            "pause": self._pause,
            "resume": self._resume,
            "cancel": self._cancel,
        }

    def obey(self) -> None:
        """Raises EnvironmentTrouble when the disk does not allow it; the wish then waits."""
        for path, wish in control.wishes(self._layout):
            try:
                carry_out = self._known.get(str(wish.get("do")))
                if carry_out is None:
                    answer: dict[str, Any] = {"error": f"a wish that is not known: {wish.get('do')}"}
                    log.error("%s", answer["error"])
                else:
                    answer = carry_out(wish)
                control.done(path, answer)
            except OSError as error:
                raise explain(error) from error

    def _retry(self, wish: dict[str, Any]) -> dict[str, Any]:
        return {"retried": self._results.retry(wish.get("jobs", []))}

    def _pause(self, wish: dict[str, Any]) -> dict[str, Any]:
        seconds = wish.get("seconds")
        until = self._clock() + seconds if isinstance(seconds, int | float) else None
        self._hold.set(until)
        log.info("paused: %s", self._hold.reason(self._clock()))
        return {"until": until}

    def _resume(self, _: dict[str, Any]) -> dict[str, Any]:
        held = self._hold.until(self._clock()) is not None
        self._hold.lift()
        if held:
            log.info("going on, as you asked for")
        return {"was_paused": held}

    def _cancel(self, wish: dict[str, Any]) -> dict[str, Any]:
        """What was dropped is left; it goes to archive/, and what was made of it already takes its way."""
        now, cancelled = self._clock(), []
        error = ErrorInfo("cancelled", FailureClass.BAD_INPUT, "cancelled by you", "drop it again to have it done")
        for drop_id in wish.get("drops", []):
            drop = self._ledger.drop(drop_id)
            if drop is None:
                continue
            jobs = self._ledger.cancel_drop(drop_id, error, now)
            self._drop_running(drop_id)
            self._results.has_ended(drop_id)
            cancelled.append({"file": drop.sighting.path, "jobs": jobs})
            log.info("cancelled: %s (%d jobs)", drop.sighting.path, jobs)
        return {"cancelled": cancelled}
