"""What a person did last is taken back, each action as one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

from hotfolder.daemon.given_stars import GivenStars
from hotfolder.daemon.outbox import Outbox
from hotfolder.daemon.restoring import Restoring
from hotfolder.daemon.verdicts import Told, Verdicts, counts, what_became
from hotfolder.ledger.actions import Action, Step
from hotfolder.ledger.ledger import Ledger
from hotfolder.routing.person import failed_again
from hotfolder.routing.router import About, Router
from hotfolder.transitions import Failed, NotEnlarged
from hotfolder.types import ErrorInfo, FailureClass, Job, State

log = logging.getLogger(__name__)


class Undoing:
    def __init__(
        self,
        ledger: Ledger,
        router: Router,
        outbox: Outbox,
        verdicts: Verdicts,
        given_stars: GivenStars,
        restoring: Restoring,
        clock: Callable[[], float],
    ) -> None:
        self._ledger = ledger
        self._router = router
        self._outbox = outbox
        self._verdicts = verdicts
        self._given_stars = given_stars
        self._restoring = restoring
        self._clock = clock

    def undo(self, count: int, asked: str) -> Generator[None, None, list[dict[str, Any]]]:
        """Takes back so many of the last actions; what each was, and what became of its files."""
        before = self._ledger.actions.undone_by(asked)  # a crash came before the answer
        told = [_told(action, []) for action in before]
        for action in self._ledger.actions.last(max(0, count - len(before))):
            files = yield from self._take_back(action, asked)
            told += [_told(action, files)]
        return told

    def undo_asked(self, name: str, asked: str) -> Generator[None, None, list[dict[str, Any]]]:
        """The same of what one command has done, whatever was done since; nothing where that was taken back."""
        before = self._ledger.actions.undone_by(asked)
        action = self._ledger.actions.asked(name)
        if before or action is None:
            return [_told(each, []) for each in before]
        return [_told(action, (yield from self._take_back(action, asked)))]

    def undo_reroute(self, asked: str) -> Generator[None, None, dict[str, int]]:
        """The last reroute is taken back, whatever was done since. How many images went where."""
        if self._ledger.actions.undone_by(asked):
            return counts([])
        for action in self._ledger.actions.last(1, "reroute"):
            return counts((yield from self._take_back(action, asked)))
        return counts([])

    def _take_back(self, action: Action, asked: str) -> Generator[None, None, list[Told]]:
        if action.kind == "retry":
            told = yield from self._retry(action.id)
        elif action.kind == "restore":
            told = yield from self._restoring.take_back(action.id)
        elif action.kind == "stars":
            told = yield from self._given_stars.take_back(action.id)
        else:
            told = yield from self._verdicts.take_back(action.id)
        self._ledger.actions.undone(action.id, asked, self._clock())
        left = sum("error" in each for each in told)
        log.info("undone: %s, %d files, %d of them left as they are", action.kind, len(told), left)
        return told

    def _retry(self, action_id: int) -> Generator[None, None, list[Told]]:
        """Jobs that were not begun since have failed again, as they had; their files go back to failed/."""
        told: list[Told] = []
        transitions: list[Failed | NotEnlarged] = []
        for step in self._ledger.actions.steps(action_id):
            job, state = self._ledger.jobs.get(step.job_id or 0) or (None, None)
            if job is None:
                continue
            if state is State.QUEUED:
                transitions.append(self._failed_again(job, step))
            else:
                why = _WHY_NOT.get(state or State.DONE, "it was done since")
                told.append({"file": job.source_file, "error": why})
        for published in self._outbox.publish_now(transitions):
            before = published.wanted.source_file
            told.append({"file": before, **what_became(published, before)})
            yield
        return told

    def _failed_again(self, job: Job, step: Step) -> Failed | NotEnlarged:
        image = self._ledger.images.get(job.image_id) if job.image_id is not None else None
        works_on_drop = job.source is not None and image is None
        drop = self._ledger.drops.get(job.drop_id) if works_on_drop else None
        error = ErrorInfo(step.error_kind or "failure", FailureClass.BAD_INPUT, step.error or "", step.fix or "")
        attempts = step.attempts or 0
        failed = self._router.failed(replace(job, attempt=attempts), error, About(image, drop), self._clock())
        return failed_again(failed, attempts) if isinstance(failed, Failed) else failed


_WHY_NOT = {
    State.RUNNING: "it is in work already; leave it with: hotfolder cancel",
    State.CANCELLED: "it was taken as a new file, or cancelled, since",
    State.FAILED: "it has failed again already",
}


def _told(action: Action, files: list[Told]) -> dict[str, Any]:
    return {"action": action.kind, "keep": action.keep, "created_at": action.created_at, "files": files}
