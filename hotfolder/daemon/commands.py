"""What people ask of a daemon: try again, wait, go on, leave it, judge otherwise, put back, take back, end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from hotfolder.core.prompts.converters import MAX_PRIORITY
from hotfolder.core.sizes import MOST_SCALE
from hotfolder.core.stars import MOST_STARS
from hotfolder.daemon.completion import Completion
from hotfolder.daemon.dispatcher import Dispatcher
from hotfolder.daemon.enlarging import Enlarging
from hotfolder.daemon.given_stars import GivenStars
from hotfolder.daemon.pauses import Pauses
from hotfolder.daemon.restoring import Restoring
from hotfolder.daemon.tasting import Tasting
from hotfolder.daemon.undoing import Undoing
from hotfolder.daemon.verdicts import Verdicts
from hotfolder.errors import EnvironmentTrouble, LedgerError
from hotfolder.files.trouble import explain
from hotfolder.folders.layout import Layout
from hotfolder.imaging.encode import ENDINGS
from hotfolder.ledger.ledger import Ledger
from hotfolder.status import mailbox
from hotfolder.types import ErrorInfo, FailureClass, How, Verdict

log = logging.getLogger(__name__)
#: Files that are cancelled in one transaction.
_PAGE = 500
#: Seconds that a pause may last, unless it has no end.
_LONGEST = 366 * 86_400
#: Letters of the name of a device.
_LONGEST_NAME = 200
#: Commands that are for a daemon that runs, and not for the next one.
OF_A_DAEMON = ("reload", "stop")
_CANCELLED = ErrorInfo("cancelled", FailureClass.BAD_INPUT, "cancelled by you", "drop it again to have it done")


@dataclass(slots=True)
class Asked:
    """Something that only the loop can do; it sets the answer."""

    what: str  # one of OF_A_DAEMON
    answer: dict[str, Any] = field(default_factory=dict)


#: Works for a while, yields, works on; returns the answer.
Steps = Generator[Asked | None, None, dict[str, Any]]


class Commands:
    """Carries them out, one after the other."""

    def __init__(
        self,
        layout: Layout,
        ledger: Ledger,
        completion: Completion,
        dispatcher: Dispatcher,
        pauses: Pauses,
        enlarging: Enlarging,
        verdicts: Verdicts,
        given_stars: GivenStars,
        restoring: Restoring,
        undoing: Undoing,
        tasting: Tasting,
        clock: Callable[[], float],
    ) -> None:
        self._layout = layout
        self._ledger = ledger
        self._completion = completion
        self._dispatcher = dispatcher
        self._pauses = pauses
        self._enlarging = enlarging
        self._verdicts = verdicts
        self._given_stars = given_stars
        self._restoring = restoring
        self._undoing = undoing
        self._tasting = tasting
        self._clock = clock
        #: What is asked, and the name of the command, by which it is known again after a crash.
        self._known: Mapping[str, Callable[[dict[str, Any], str], Steps]] = {
            "retry": self._retry,
            "pause": self._pause,
            "resume": self._resume,
            "cancel": self._cancel,
            "first": self._first,
            "reroute": self._reroute,
            "undo": self._undo,
            **dict.fromkeys(OF_A_DAEMON, self._for_the_loop),
            "enlarge": self._enlarge,
            "verdict": self._verdict,
            "stars": self._stars,
            "restore": self._restore,
            "seen": self._seen,
            "forget_seen": self._forget_seen,
            "taste": self._taste,
            "drain": self._drain,
            "undrain": self._undrain,
        }

    def obey(self) -> Iterator[Asked | None]:
        """Yields again and again while it works, also what the loop is to do before it is asked for more.

        Raises EnvironmentTrouble when the disk does not allow it.
        """
        for path, command in mailbox.commands(self._layout):
            try:
                answer = yield from self._carry_out(command, path.name)
                mailbox.done(path, answer)
            except OSError as error:
                raise explain(error) from error

    def _carry_out(self, command: dict[str, Any], asked: str) -> Steps:
        """Raises EnvironmentTrouble, OSError; any other error is its answer, so that it is not met again and again."""
        wanted = command.get("do")
        known = self._known.get(str(wanted))
        if known is None:
            log.error("a command that is not known: %s", wanted)
            return {"error": f"a command that is not known: {wanted}"}
        try:
            return (yield from known(command, asked))
        except (EnvironmentTrouble, LedgerError, OSError):
            raise
        except Exception as error:
            log.error("the command '%s': unexpected %s", wanted, type(error).__name__, exc_info=error)
            return {"error": f"'{wanted}' cannot be carried out: {error}"}

    def _for_the_loop(self, command: dict[str, Any], asked: str) -> Steps:
        wanted = Asked(command["do"])
        yield wanted
        return wanted.answer

    def _retry(self, command: dict[str, Any], asked: str) -> Steps:
        answers = []
        self._dispatcher.forget(command.get("jobs", []))
        action_id = self._ledger.actions.begin("retry", asked, self._clock())
        for answer in self._completion.retry(command.get("jobs", []), action_id):
            answers.append(answer)
            yield None
        return {"retried": answers}

    def _pause(self, command: dict[str, Any], asked: str) -> Steps:
        yield None
        seconds, now = command.get("seconds"), self._clock()
        until = now + seconds if isinstance(seconds, int | float) and 0 < seconds <= _LONGEST else None
        self._pauses.ask(until)
        log.info("paused: %s", self._pauses.asked_reason(self._clock()))
        return {"until": until}

    def _resume(self, _: dict[str, Any], asked: str) -> Steps:
        yield None
        was_paused = self._pauses.asked_until(self._clock()) is not None
        self._pauses.go_on()
        if was_paused:
            log.info("going on, as you asked for")
        still = self._pauses.reason(self._clock()) or self._dispatcher.devices.why_none
        return {"was_paused": was_paused, "paused": still}

    def _drain(self, command: dict[str, Any], asked: str) -> Steps:
        """A device is given nothing more."""
        yield None
        device = command.get("device")
        if not _is_name(device):
            return {"error": f"the name of a device is wanted, not {device}"}
        is_busy = self._dispatcher.devices.drain(device)
        log.info("%s is drained, as you asked for", device)
        return {"device": device, "finishing": is_busy}

    def _undrain(self, command: dict[str, Any], asked: str) -> Steps:
        """A device is given work again, also where it was set aside."""
        yield None
        device = command.get("device")
        if not _is_name(device):
            return {"error": f"the name of a device is wanted, not {device}"}
        was_out = self._dispatcher.devices.go_on(device)
        self._pauses.try_now()  # the trouble may have been its own
        if was_out:
            log.info("%s is given work again, as you asked for", device)
        return {"device": device, "was_out": was_out}

    def _reroute(self, command: dict[str, Any], asked: str) -> Steps:
        keep = command.get("keep")
        if not isinstance(keep, int | float) or not 1 <= keep <= 10:
            return {"error": f"a threshold from 1 to 10 is wanted, not {keep}"}
        return (yield from self._verdicts.reroute(keep, asked, also_mine=command.get("also_mine") is True))

    def _undo(self, command: dict[str, Any], asked: str) -> Steps:
        """So many of the last actions, or what one command has done; without either, the last reroute."""
        last, name = command.get("last"), command.get("asked")
        if isinstance(name, str):
            return {"undone": (yield from self._undoing.undo_asked(mailbox.begun(name), asked))}
        if last is None:
            return (yield from self._undoing.undo_reroute(asked))
        if not isinstance(last, int) or last < 1:
            return {"error": f"a number of actions is wanted, not {last}"}
        return {"undone": (yield from self._undoing.undo(last, asked))}

    def _verdict(self, command: dict[str, Any], asked: str) -> Steps:
        try:
            verdict, how = Verdict(str(command.get("verdict"))), How(command.get("how", How.COMMAND))
        except ValueError as error:
            return {"error": str(error)}
        return {"files": (yield from self._verdicts.give(command.get("images", []), verdict, how, asked))}

    def _stars(self, command: dict[str, Any], asked: str) -> Steps:
        stars = command.get("stars")
        if not isinstance(stars, int) or isinstance(stars, bool) or not 0 <= stars <= MOST_STARS:
            return {"error": f"stars from 0 to {MOST_STARS} are wanted, not {stars}"}
        return {"files": (yield from self._given_stars.give(command.get("images", []), stars, asked))}

    def _restore(self, command: dict[str, Any], asked: str) -> Steps:
        return {"files": (yield from self._restoring.restore(command.get("drops", []), asked))}

    def _seen(self, command: dict[str, Any], asked: str) -> Steps:
        """What a person looked at and left as it was; `milliseconds` has how long, for each."""
        images, lengths = command.get("images", []), command.get("milliseconds")
        if not isinstance(lengths, list) or len(lengths) != len(images) or not all(map(_is_length, lengths)):
            return {"error": "for each image a length in milliseconds is wanted"}
        seen = yield from self._verdicts.seen(dict(zip(images, lengths, strict=True)))
        return {"seen": seen}

    def _forget_seen(self, command: dict[str, Any], asked: str) -> Steps:
        yield None
        return {"forgotten": self._ledger.verdicts.forget_looks(command.get("images"))}

    def _taste(self, command: dict[str, Any], asked: str) -> Steps:
        yield None
        return self._tasting.obey(command)

    def _cancel(self, command: dict[str, Any], asked: str) -> Steps:
        """Nothing more is begun of what was dropped, of a line of it, or of some jobs.

        What lies in an inbox goes to archive/, what has its score stays where it is.
        """
        now, line = self._clock(), command.get("line")
        if line is not None and not isinstance(line, int):
            return {"error": f"a line is a number, not {line}"}
        cancelled: dict[str, int] = {}
        self._completion.begin_seeds()
        wanted = self._ledger.drops.waited_for() if command.get("all") is True else command.get("drops", [])
        for start in range(0, len(wanted), _PAGE):
            found = self._ledger.drops.cancel_many(wanted[start : start + _PAGE], _CANCELLED, now, line)
            self._completion.cancelled({drop.id for drop, _ in found})
            for drop, jobs in found:
                if line is not None and not jobs:
                    continue  # nothing of that line is waited for
                self._dispatcher.cancel(jobs)
                cancelled[drop.sighting.path] = cancelled.get(drop.sighting.path, 0) + len(jobs)
                log.info("cancelled: %s (%d jobs)", drop.sighting.path, len(jobs))
            yield None
        some = self._ledger.jobs.cancel(command.get("jobs", []), _CANCELLED, now)
        self._dispatcher.cancel([job_id for job_id, _, _ in some])
        self._completion.cancelled({drop_id for _, drop_id, _ in some})
        for _, _, file in some:
            cancelled[file] = cancelled.get(file, 0) + 1
        return {"cancelled": [{"file": file, "jobs": jobs} for file, jobs in cancelled.items()]}

    def _first(self, command: dict[str, Any], asked: str) -> Steps:
        """What waits for some files, or some jobs, and what follows from it, goes before all others."""
        yield None
        found: dict[str, int] = {}
        for _, _, file in self._ledger.jobs.go_first(command.get("drops", []), command.get("jobs", [])):
            found[file] = found.get(file, 0) + 1
        for file, jobs in found.items():
            log.info("goes first: %s (%d jobs)", file, jobs)
        return {"first": [{"file": file, "jobs": jobs} for file, jobs in found.items()]}

    def _enlarge(self, command: dict[str, Any], asked: str) -> Steps:
        """Results by their ids; `scales` has how many times larger each becomes, null what is usual."""
        images, scales = command.get("images", []), command.get("scales")
        if not isinstance(scales, list) or len(scales) != len(images) or not all(map(_is_scale, scales)):
            return {"error": "for each image a scale is wanted, or null"}
        format_, model = command.get("format"), command.get("model")
        if not (format_ is None or format_ in ENDINGS) or not (model is None or isinstance(model, str)):
            return {"error": f"a format ({', '.join(ENDINGS)}) and the name of a model are wanted"}
        priority = command.get("priority") or 0
        if not isinstance(priority, int) or not 0 <= priority <= MAX_PRIORITY:
            return {"error": f"a priority from 0 to {MAX_PRIORITY} is wanted, not {priority}"}
        answers = []
        for image_id, scale in zip(images, scales, strict=True):
            answers.append(self._enlarging.ask(image_id, scale, format_, model, priority))
            yield None
        return {"images": answers}


def _is_name(device: object) -> TypeGuard[str]:
    return isinstance(device, str) and 0 < len(device) <= _LONGEST_NAME


def _is_length(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LONGEST * 1000


def _is_scale(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value is None or (is_number and 0 < value <= MOST_SCALE)  # type: ignore[operator]
