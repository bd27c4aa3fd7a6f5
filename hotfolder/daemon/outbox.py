"""What is to be published: gathered, published many at a time, and what has come of it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hotfolder.config.folder_settings import FolderSettings
from hotfolder.daemon.companions import Companions
from hotfolder.daemon.empty_folders import remove_emptied
from hotfolder.daemon.pauses import Pause
from hotfolder.daemon.sources import Sources
from hotfolder.errors import CannotPlace, Vanished
from hotfolder.folders.guard import Guard
from hotfolder.folders.layout import Layout
from hotfolder.ledger.ledger import Ledger
from hotfolder.publishing.publisher import Published, Publisher
from hotfolder.system.logs import brief
from hotfolder.transitions import Chosen, Failed, Generated, OfJob, Scored, SourceFinished, Transition, Upscaled
from hotfolder.types import ErrorInfo, FailedJob, FailureClass, Job, Kind, Role, State, Verdict

log = logging.getLogger(__name__)
#: Transitions that are published together, and how long the first of them waits for others, in seconds.
AT_ONCE, TOGETHER_SECONDS = 64, 0.05


@dataclass(frozen=True, slots=True)
class Event:
    """Something that hooks and messages tell of: 'keep' or 'failed', with facts that can be JSON."""

    name: str
    facts: Mapping[str, Any]


class Outbox:
    """Between those who find out what follows and the publisher. `done` and `failed` count jobs of this run."""

    def __init__(
        self,
        layout: Layout,
        settings: FolderSettings,
        ledger: Ledger,
        guard: Guard,
        sources: Sources,
        companions: Companions,
        clock: Callable[[], float],
    ) -> None:
        self.done = self.failed = 0
        self._layout = layout
        self._settings = settings
        self._ledger = ledger
        self._sources = sources
        self._companions = companions
        self._clock = clock
        self._publisher = Publisher(layout.root, ledger, guard, clock)
        self._gathered: list[Transition] = []
        self._gathered_since = 0.0
        self._jobs: dict[int, Job] = {}  # of what is gathered
        self._wanted: set[str] = set()  # the paths that it asks for
        self._unplaced_said: set[str] = set()  # dropped files whose results wait, as it was logged
        self._place_again_at: float | None = None  # when what could not be put into its place is tried again
        self._moved: list[Transition] = []  # since emptied folders were looked for
        self._events: list[Event] = []
        self._pause: Pause | None = None

    @property
    def gathered(self) -> list[Job]:
        """Jobs that have ended and are not published yet."""
        return list(self._jobs.values())

    @property
    def unplaced(self) -> int:
        """How many results wait because a file cannot be put into its place."""
        return len(self._publisher.held)

    def is_all_done(self) -> bool:
        """Whether nothing is left to do, but for what cannot be put into its place. Raises EnvironmentTrouble."""
        held = self._publisher.held
        waiting = self._ledger.jobs.open_count() - sum(isinstance(each, OfJob) for each in held)
        if waiting > 0 or self._gathered or self._sources.ended:
            return False
        return {drop.id for drop in self._ledger.drops.finished(None)} <= {each.drop_id for each in held}

    @property
    def is_full(self) -> bool:
        """Whether as much is gathered as is published together."""
        return len(self._gathered) >= AT_ONCE

    def due_at(self) -> float | None:
        """When something has to be published, in seconds since the epoch; None where nothing is gathered or held."""
        moments = [self._gathered_since + TOGETHER_SECONDS] if self._gathered else []
        return min([*moments, *([self._place_again_at] if self._place_again_at is not None else [])], default=None)

    def events(self) -> list[Event]:
        """What happened since this was asked last."""
        events, self._events = self._events, []
        return events

    def take_pause(self) -> Pause | None:
        """Why nothing can be begun just now, if that was found since this was asked last."""
        pause, self._pause = self._pause, None
        return pause

    def gather(self, transition: Transition, job: Job | None = None) -> None:
        """To be published with others; `job` is the one that ends with it, if one does."""
        if not self._gathered:
            self._gathered_since = self._clock()
        self._gathered.append(transition)
        self._wanted.update(move.dst for _, move in transition.moves())
        if job is not None:
            self._jobs[job.id] = job

    def publish(self) -> None:
        """Publishes what is gathered."""
        gathered, self._gathered = self._gathered, []
        self._jobs, self._wanted = {}, set()
        if gathered:
            listings: dict[str, Mapping[str, list[str]]] = {}
            for published in self._publisher.publish(
                [self._companions.with_companions(each, listings) for each in gathered]
            ):
                self._after(published)
            self._tidy()

    def publish_now(self, wanted: Sequence[Transition]) -> Iterator[Published]:
        """So many at a time, after what is gathered; what became of each, in the order asked."""
        if wanted:
            self.publish()
        listings: dict[str, Mapping[str, list[str]]] = {}
        for start in range(0, len(wanted), AT_ONCE):
            some = [self._companions.with_companions(each, listings) for each in wanted[start : start + AT_ONCE]]
            results = {id(published.wanted): published for published in self._publisher.publish(some)}
            for each in some:
                self._after(results[id(each)])
                yield results[id(each)]
            self._tidy()

    def asks_for(self, path: str) -> bool:
        """Whether something gathered is to lie under this path."""
        return path in self._wanted

    def holds_score_of(self, image_id: int) -> bool:
        """Whether something gathered is a score of this image, which the ledger does not have yet."""
        return any(isinstance(each, Scored) and each.image_id == image_id for each in self._gathered)

    @property
    def held_drops(self) -> set[int]:
        """Drops of which something cannot be put into its place."""
        return {each.drop_id for each in self._publisher.held}

    @property
    def held_paths(self) -> set[str]:
        """Where files are, or are to be, that cannot be put into their places: it is not known which."""
        moves = (move for each in self._publisher.held for _, move in each.moves())
        return {path for move in moves for path in (move.src, move.dst)}

    def place_again(self, now: float) -> None:
        """What could not be put into its place is tried again now and then. Raises EnvironmentTrouble."""
        if self._place_again_at is not None and now >= self._place_again_at:
            self.resume()

    def pause(self, pause: Pause) -> None:
        """Somebody has found that nothing can be begun just now."""
        self._pause = pause

    def resume(self) -> None:
        """Finishes what was begun before a crash or an error. Raises EnvironmentTrouble while that cannot be."""
        self._place_again_at = None
        results, unreadable = self._publisher.resume()
        for published in results:
            self._after(published)
        self._tidy()
        for error in unreadable:
            self.failed += 1
            self._tell_failure("", None, error)

    def _after(self, published: Published) -> None:
        if isinstance(published.trouble, CannotPlace):
            self._cannot_place(published.wanted, published.trouble)
        elif published.trouble is not None:
            self._pause = Pause(published.trouble.info())  # the publisher keeps it until it is resumed
        elif published.refused is not None:
            self.failed += 1
            self._sources.ended.add(published.wanted.drop_id)
            self._sources.look_again = True
            self._tell_failure(published.wanted.source_file, None, published.refused)
        elif published.done is None:
            self._nothing_to_publish(published.wanted)
        else:
            self._is_published(published.done)

    def _tidy(self) -> None:
        done, self._moved = self._moved, []
        if self._settings.of_root.settle.remove_empty_folders:
            remove_emptied(self._layout, done)

    def _is_published(self, done: Transition) -> None:
        self._moved.append(done)
        self._sources.ended.add(done.drop_id)
        if self._companions.are_left_behind(done):
            self._sources.look_again = True
        if isinstance(done, OfJob):
            if not isinstance(done, Scored):  # for a score nothing is staged
                shutil.rmtree(self._layout.staging / str(done.job_id), ignore_errors=True)
            self.failed += isinstance(done, Failed) and not _is_taken_back(done)
            self.done += not isinstance(done, Failed)
        if isinstance(done, Failed):
            if _is_taken_back(done):
                return
            moved = done.image.dst if done.image else None
            self._tell_failure(done.source_file, moved, done.error)
        elif isinstance(done, Scored | Chosen):
            if isinstance(done, Scored):
                moved = done.image.dst if done.image else ""
                log.info(
                    "job %d: %s scores %.2f%s", done.job_id, done.image.src if done.image else done.source_file,
                    done.score.value, f" -> {moved}" if moved else "",
                    extra={"job_id": done.job_id, "source_file": done.source_file, **self._briefly(done)},
                )  # fmt: skip
            if done.verdict is Verdict.KEEP:
                self._tell_kept(done)
        elif isinstance(done, Generated | Upscaled):
            log.info(
                "job %d: %s made %s", done.job_id, done.source_file, done.image.dst,
                extra={"job_id": done.job_id, "source_file": done.source_file},
            )  # fmt: skip

    def _briefly(self, done: Scored) -> dict[str, str]:
        """An image in one line, when all is decided about it: of a set, when that is complete; see `_choose`."""
        path, again = done.image.dst if done.image else "", ""
        if any(job.kind is Kind.GENERATE for job in done.next_jobs):
            again = ", tried again"
        if not path and done.image_id is not None:
            image = self._ledger.images.get(done.image_id)
            path = image.path if image is not None and image.role is Role.UPSCALED else ""
        if not path:
            return {}
        folder, name = path.partition("/")[0], path.rpartition("/")[2]
        return brief(f"{folder:<9}{done.score.value:5.2f}  {name}{again}")

    def _cannot_place(self, wanted: Transition, trouble: CannotPlace) -> None:
        if wanted.source_file not in self._unplaced_said:
            self._unplaced_said.add(wanted.source_file)
            log.warning("%s: %s (%s)", wanted.source_file, trouble.message, trouble.fix)
        self._place_again_at = self._clock() + self._settings.of_root.retry.pause_seconds
        if isinstance(wanted, OfJob):
            self._ledger.jobs.note(wanted.job_id, trouble.info())

    def _nothing_to_publish(self, wanted: Transition) -> None:
        """A person took the file away, or put another one in its place, at the last moment."""
        now = self._clock()
        error = Vanished(f"{wanted.source_file} was taken away before it was done", "drop it again").info()
        if isinstance(wanted, OfJob):
            self._ledger.jobs.end(wanted.job_id, State.CANCELLED, now, error)
            self._sources.ended.add(wanted.drop_id)
        drop = self._ledger.drops.get(wanted.drop_id)
        if drop is not None and _places_drop(wanted):
            self._sources.give_up(drop, now)
        self._sources.look_again = True

    def never_ran(self, source_file: str, failure: FailedJob) -> None:
        """A job that failed before it could be queued: not counted or told yet."""
        self.failed += 1
        log.warning("%s failed: %s", source_file, failure.message)
        error = ErrorInfo(failure.error_kind, FailureClass.BAD_INPUT, failure.message, failure.fix)
        self._tell_failure(source_file, None, error)

    def _tell_kept(self, done: Scored | Chosen) -> None:
        image = self._ledger.images.get(done.image_id) if done.image_id is not None else None
        told: dict[str, Any] = {}
        if image is not None:
            told = {
                "prompt": image.prompt, "seed": image.seed, "model": image.model, "score": image.score,
                "scorer": image.scorer,
            }  # fmt: skip
        if isinstance(done, Scored):
            told |= {"score": done.score.value, "scorer": done.score.scorer}
        path = done.image.dst if done.image else None
        self._events.append(Event("keep", {"source_file": done.source_file, "path": path, **told}))

    def _tell_failure(self, source_file: str, path: str | None, error: ErrorInfo) -> None:
        self._events.append(Event("failed", {"source_file": source_file, "path": path, "error": error.told()}))


def _is_taken_back(done: Failed) -> bool:
    """Whether nothing has failed anew: a retry was taken back."""
    return done.attempts is not None


def _places_drop(wanted: Transition) -> bool:
    """Whether it would have placed the dropped file itself."""
    if isinstance(wanted, Scored | Failed):
        return wanted.is_drop
    return isinstance(wanted, SourceFinished) or getattr(wanted, "original", None) is not None
