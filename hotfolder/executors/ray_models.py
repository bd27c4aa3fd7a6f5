"""Which models a node has, as a link knows it: they are compared by content, and sent where they are missing.

Nothing here waits, but for the disk when a piece of a model is read to be sent. What takes longer (comparing files,
and the node's answers) goes on beside the link's turns: a course is a generator that hands out what it waits for.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hotfolder.engines.needs import added_to, needs_of
from hotfolder.errors import HotfolderError, ModelMissing
from hotfolder.executors.base import Lack
from hotfolder.executors.carrying import as_error
from hotfolder.models.contents import Content, Held, Need, Presence, held
from hotfolder.models.registry import Catalogue
from hotfolder.types import Batch, ErrorInfo, Group, Item, RunnerSettings

log = logging.getLogger(__name__)
#: The thread of a host, as Ray calls such, that all this is asked of.
THREAD = "models"
#: Bytes of a model that are on their way in one piece, and pieces at a time.
PIECE, _PIECES = 16 << 20, 2
#: Seconds after which a node is asked again: for what it had, and for what it lacked.
_FRESH_SECONDS, _LACKS_SECONDS = 30.0, 15.0
#: Seconds that fetching an answer may take that is there.
_FETCH_SECONDS = 60.0


class Stock:
    """The models of the daemon's machine, for all nodes. Files are read in a thread, once."""

    def __init__(self, settings: RunnerSettings) -> None:
        self._thread = ThreadPoolExecutor(1, "stock")
        self.change(settings)

    def change(self, settings: RunnerSettings) -> None:
        tastes = Path(settings.tastes) if settings.tastes is not None else None
        self._catalogue = Catalogue(settings.model_folders, settings.model_entries, tastes)

    def find(self, need: Need) -> Future[list[Held]]:
        """The model, with those that it needs, those first. Its errors are those of `contents.held`."""
        catalogue = self._catalogue
        return self._thread.submit(lambda: list(held(need, catalogue)))

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


@dataclass(frozen=True, slots=True)
class Found:
    """Whether a node can do a batch, as far as models go."""

    lack: Lack | None = None  # it cannot
    error: ErrorInfo | None = None  # nobody can: the daemon's own machine does not have what is asked for
    items: Mapping[int, ErrorInfo] = field(default_factory=dict)  # jobs that it cannot do, and why


Course = Generator[Any, Any, Found]


@dataclass(slots=True)
class _Running:
    course: Course
    waits_for: Any = None  # a Future, a reference of Ray's, or a function that says when it may go on


class HeldModels:
    """Of one host."""

    def __init__(self, ray: Any, stock: Stock, machine: str) -> None:
        self._ray, self._stock, self._machine = ray, stock, machine
        self.lacks: dict[Group, Lack] = {}
        self._actor: Any = None
        self._sees_root = False
        self._settings = RunnerSettings()
        self._known: dict[Need, float] = {}  # models that it has, and when that was found
        self._again_at: dict[Group, float] = {}  # when to look again for what it lacked
        self._running: dict[Group, _Running] = {}
        self._batch: tuple[Group, _Running] | None = None  # the course of the batch that waits
        self._sender: object | None = None  # the course that sends: one at a time

    def begin(
        self, actor: Any, settings: RunnerSettings, groups: Iterable[Group], now: float, *, sees_root: bool
    ) -> None:
        """A new host, or other settings: nothing is known any more. `groups` are those that will be asked for."""
        self.end()
        self._actor, self._settings, self._sees_root = actor, settings, sees_root
        self._again_at = dict.fromkeys(groups, now)

    def end(self) -> None:
        """The host is gone, or what was found does not count any more."""
        running = self._all_running
        self._running, self._batch, self._sender = {}, None, None
        for each in running:
            each.course.close()
        self.lacks, self._known, self._again_at, self._actor = {}, {}, {}, None

    @property
    def _all_running(self) -> list[_Running]:
        return [*self._running.values(), *([self._batch[1]] if self._batch else [])]

    def refs(self) -> list[Any]:
        """What is waited for of the node."""
        return [each.waits_for for each in self._all_running if _is_ref(each.waits_for)]

    def turn(self, now: float) -> None:
        """Goes on with what was begun, and looks again where it is due. Raises what the host comes to."""
        for group in [group for group, at in self._again_at.items() if now >= at and group not in self._running]:
            del self._again_at[group]
            self._running[group] = _Running(self._course(group, (), now))
        for group, running in list(self._running.items()):
            found = self._go_on(running, now)
            if found is not None:
                del self._running[group]
                self._note(group, found, now)

    def look(self, batch: Batch, now: float) -> Found | None:
        """What is known of the models of a batch; None: not yet, it is to be asked again. Raises
        what the host comes to.
        """
        group = (batch.kind, batch.model)
        lack = self.lacks.get(group)
        if lack is not None:
            return Found(lack)
        if self._batch is None:
            if self._is_fresh(batch, now):
                return Found()
            self._batch = (group, _Running(self._course(group, batch.items, now)))
        found = self._go_on(self._batch[1], now)
        if found is not None:
            self._batch = None
            self._note(group, found, now)
        elif (lack := self.lacks.get(group)) is not None:  # it is being sent: others may do the jobs meanwhile
            running, self._batch = self._batch[1], None
            if self._running.setdefault(group, running) is not running:
                running.course.close()
            return Found(lack)
        return found

    def forget_batch(self) -> None:
        """It is not wanted any more."""
        if self._batch is not None:
            running, self._batch = self._batch[1], None
            running.course.close()

    def _is_fresh(self, batch: Batch, now: float) -> bool:
        try:
            needs = needs_of(batch.kind, batch.model, self._settings)
        except ValueError:
            return False
        added = (need for item in batch.items for need in added_to(batch.kind, item))
        return all(now - self._known.get(need, float("-inf")) < _FRESH_SECONDS for need in (*needs, *added))

    def _note(self, group: Group, found: Found, now: float) -> None:
        if found.lack is not None:
            if self.lacks.get(group) != found.lack:
                log.warning("%s gets no jobs of %s: %s", self._machine, group[1], found.lack.why)
            self.lacks[group], self._again_at[group] = found.lack, now + _LACKS_SECONDS
        else:
            self.lacks.pop(group, None)

    def _go_on(self, running: _Running, now: float) -> Found | None:
        """Until it waits for something that is not there yet."""
        try:
            while True:
                waits_for = running.waits_for
                if isinstance(waits_for, Future):
                    if not waits_for.done():
                        return None
                    error = waits_for.exception()
                    if error is not None:
                        running.waits_for = running.course.throw(error)
                        continue
                    running.waits_for = running.course.send(waits_for.result())
                elif _is_ref(waits_for):
                    if not self._ray.wait([waits_for], timeout=0)[0]:
                        return None
                    running.waits_for = running.course.send(self._ray.get(waits_for, timeout=_FETCH_SECONDS))
                elif callable(waits_for) and not waits_for():
                    return None
                else:
                    running.waits_for = running.course.send(None)
        except StopIteration as end:
            result: Found = end.value
            return result

    def _ask(self, method: str, *arguments: Any) -> Any:
        """A reference to the answer."""
        return getattr(self._actor, method).options(concurrency_group=THREAD).remote(*arguments)

    def _course(self, group: Group, items: Sequence[Item], now: float) -> Course:
        """Compares what a group needs, and what each of these jobs takes on; sends what may be sent."""
        kind, model = group
        try:
            needs = needs_of(kind, model, self._settings)
            for need in needs:
                lack = yield from self._settle(group, need, now)
                if lack:
                    return Found(Lack(lack))
        except Exception as error:  # noqa: BLE001 - of this machine's own models: no other one could do it
            return Found(error=as_error(error))
        failed: dict[int, ErrorInfo] = {}
        for item in items:
            for need in added_to(kind, item):
                lack = ""
                with contextlib.suppress(HotfolderError, OSError):  # it is gone: the worker says so
                    lack = yield from self._settle(group, need, now)
                if lack:
                    failed[item.job_id] = ModelMissing(f"{self._machine}: {lack}", "see: hotfolder workers").info()
                    break
        return Found(items=failed)

    def _settle(self, group: Group, need: Need, now: float) -> Generator[Any, Any, str]:
        """One model, with those that it needs: empty where the node has them in the end, else why it has not."""
        if now - self._known.get(need, float("-inf")) < _FRESH_SECONDS:
            return ""
        of_need: list[Held] = yield self._stock.find(need)
        # What is learnt of a person lies in the root: who sees that, sees it.
        of_need = [each for each in of_need if not (each.content.is_taste and self._sees_root)]
        sent: set[str] = set()
        while True:
            folders, entries = self._settings.model_folders, self._settings.model_entries
            contents = [each.content for each in of_need]
            told: list[tuple[Presence, str]] = yield self._ask("compare", contents, folders, entries)
            wrong = [(each, *answer) for each, answer in zip(of_need, told, strict=True) if answer[1]]
            if not wrong:
                self._known[need] = now
                return ""
            lacking, how, why = wrong[0]
            content = lacking.content
            may_come = content.is_taste or (self._settings.auto_pull and content.is_sendable)
            if how is not Presence.ABSENT or not may_come or content.identity in sent:
                return why
            sent.add(content.identity)
            error = yield from self._send(group, lacking)
            if error is not None:
                return f"it lacks the model '{content.need.name}', and it cannot be sent there: {error.message}"

    def _send(self, group: Group, model: Held) -> Generator[Any, Any, ErrorInfo | None]:
        """All of a model's files, a few pieces at a time."""
        content = model.content
        own = object()
        error: ErrorInfo | None
        yield lambda: self._sender is None
        self._sender = own
        try:
            had = yield self._ask("receive", content)
            if isinstance(had, ErrorInfo):
                return had
            done = sum(had)
            underway: list[Any] = []
            for number, (piece, file) in enumerate(zip(model.pieces, content.files, strict=True)):
                for offset in range(had[number], file.size, PIECE):
                    data = _read(piece.path, offset, min(PIECE, file.size - offset))
                    # Owned by this process, and let go as soon as it was taken.
                    ref = self._ray.put(np.frombuffer(data, np.uint8))
                    underway.append(self._ask("take", content.identity, number, offset, ref))
                    done += len(data)
                    self.lacks[group] = Lack(_sent(content, done), is_coming=True)
                    if len(underway) >= _PIECES and (error := (yield underway.pop(0))) is not None:
                        return error
            for ref in underway:
                if (error := (yield ref)) is not None:
                    return error
            error = yield self._ask("received", content.identity)
            if error is None:
                log.info("%s was sent the model '%s'", self._machine, content.need.name)
            return error
        except OSError as trouble:
            return as_error(trouble)
        finally:
            if self._sender is own:
                self._sender = None
            if self._actor is not None:
                with contextlib.suppress(Exception):  # it is gone
                    self._ask("leave_off", content.identity)


def _sent(content: Content, done: int) -> str:
    """Whole percents: it is told again only when they change."""
    percent = 100 * done // max(1, content.size)
    return f"the model '{content.need.name}' is being sent there: {percent} % of {content.size / 1e6:,.1f} MB"


def _read(path: Path, offset: int, size: int) -> bytes:
    """Raises OSError, also where the file is not as long as it was."""
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(size)
    if len(data) != size:
        raise OSError(f"{path} is shorter than it was")
    return data


def _is_ref(waits_for: Any) -> bool:
    """Whether it is one of Ray's."""
    return waits_for is not None and not isinstance(waits_for, Future) and not callable(waits_for)
