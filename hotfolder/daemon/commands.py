"""What people ask of a daemon while it runs: to try again, to wait, to go on, to leave something."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from hotfolder.daemon.completion import Completion
from hotfolder.daemon.intake import Intake
from hotfolder.files.moves import write_durably
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing.publisher import explain
from hotfolder.status import mailbox
from hotfolder.types import ErrorInfo, FailureClass, Verdict

log = logging.getLogger(__name__)
#: Images that are looked up at a time when they are sorted anew.
_PAGE = 500
#: Seconds that a pause may last, unless it has no end.
_LONGEST = 366 * 86_400


class Hold:
    """Whether a person wants nothing to be begun; kept on the disk, so that a restart does not forget it."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.hold
        self._until: float | None = None
        self._held = False
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
            self._until, self._held = _moment(found["until"]), True
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


def _moment(value: object) -> float | None:
    """A moment that a calendar has, or None for no end. Raises ValueError."""
    if value is None:
        return None
    if not isinstance(value, int | float) or not 0 <= value < 2**33:
        raise ValueError(f"{value} is no moment")
    return float(value)


class Commands:
    """Carries wishes out, one after the other."""

    def __init__(
        self,
        layout: Layout,
        ledger: Ledger,
        intake: Intake,
        results: Completion,
        hold: Hold,
        clock: Callable[[], float],
        *,
        leave: Callable[[Sequence[int]], None],
        alive: Callable[[], None],
    ) -> None:
        """`leave` is told the jobs that do not count any more, should they be in work; `alive` of progress."""
        self._layout = layout
        self._ledger = ledger
        self._intake = intake
        self._completion = results
        self._hold = hold
        self._clock = clock
        self._leave = leave
        self._alive = alive
        self._known: Mapping[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "retry": self._retry,
            "pause": self._pause,
            "resume": self._resume,
            "cancel": self._cancel,
            "reroute": self._reroute,
            "undo": self._undo,
        }

    def obey(self) -> None:
        """Raises EnvironmentTrouble when the disk does not allow it; the wish then waits."""
        for path, wish in mailbox.commands(self._layout):
            try:
                carry_out = self._known.get(str(wish.get("do")))
                if carry_out is None:
                    answer: dict[str, Any] = {"error": f"a wish that is not known: {wish.get('do')}"}
                    log.error("%s", answer["error"])
                else:
                    answer = carry_out(wish)
                mailbox.done(path, answer)
            except OSError as error:
                raise explain(error) from error

    def _retry(self, wish: dict[str, Any]) -> dict[str, Any]:
        return {"retried": self._completion.retry(wish.get("jobs", []))}

    def _pause(self, wish: dict[str, Any]) -> dict[str, Any]:
        seconds = wish.get("seconds")
        now = self._clock()
        until = now + seconds if isinstance(seconds, int | float) and 0 < seconds <= _LONGEST else None
        self._hold.set(until)
        log.info("paused: %s", self._hold.reason(self._clock()))
        return {"until": until}

    def _resume(self, _: dict[str, Any]) -> dict[str, Any]:
        held = self._hold.until(self._clock()) is not None
        self._hold.lift()
        if held:
            log.info("going on, as you asked for")
        return {"was_paused": held}

    def _reroute(self, wish: dict[str, Any]) -> dict[str, Any]:
        """Sorts what was judged by another threshold, from its stored score."""
        keep = wish.get("keep")
        if not isinstance(keep, int | float) or not 1 <= keep <= 10:
            return {"error": f"a threshold from 1 to 10 is wanted, not {keep}"}
        reroute_id = self._ledger.add_reroute(keep, self._clock())
        moved = {"kept": 0, "rejected": 0, "missing": 0}
        after = 0
        while page := self._ledger.misplaced(keep, after, _PAGE):
            for image_id in page:
                score = (self._ledger.image(image_id) or {}).get("score")
                verdict = Verdict.KEEP if score is not None and score >= keep else Verdict.REJECT
                done = self._completion.reroute(image_id, verdict, reroute_id)
                moved["missing" if not done else "kept" if verdict is Verdict.KEEP else "rejected"] += 1
                self._alive()
            after = page[-1]
            log.info("sorting anew by %g: %d images so far", keep, sum(moved.values()))
        return moved

    def _undo(self, _: dict[str, Any]) -> dict[str, Any]:
        """Puts back what the last reroute moved, but for what has been judged otherwise since."""
        last = self._ledger.last_reroute()
        if last is None:
            return {"kept": 0, "rejected": 0, "missing": 0}
        reroute_id, moves = last
        moved = {"kept": 0, "rejected": 0, "missing": 0}
        for image_id, before in moves:
            done = self._completion.reroute(image_id, Verdict(before), None)
            self._alive()
            moved["missing" if not done else "kept" if before == Verdict.KEEP else "rejected"] += 1
        self._ledger.undo_reroute(reroute_id, self._clock())
        log.info("the last reroute is undone: %s", moved)
        return moved

    def _cancel(self, wish: dict[str, Any]) -> dict[str, Any]:
        """What was dropped, or a line of it, is left; it goes to archive/, and what was made of it takes its way."""
        now, cancelled, line = self._clock(), [], wish.get("line")
        if line is not None and not isinstance(line, int):
            return {"error": f"a line is a number, not {line}"}
        error = ErrorInfo("cancelled", FailureClass.BAD_INPUT, "cancelled by you", "drop it again to have it done")
        for drop_id in wish.get("drops", []):
            drop = self._ledger.drop(drop_id)
            if drop is None:
                continue
            jobs = self._ledger.cancel_drop(drop_id, error, now, line)
            self._leave(jobs)
            self._completion.has_ended(drop_id)
            self._alive()
            cancelled.append({"file": drop.sighting.path, "jobs": len(jobs)})
            log.info("cancelled: %s (%d jobs)", drop.sighting.path, len(jobs))
        return {"cancelled": cancelled}
