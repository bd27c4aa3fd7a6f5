"""One device of a cluster, as the link holds it: its host, what it has in work, and whether it answers."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hotfolder.executors.base import Device, Done
from hotfolder.executors.carrying import AT_ONCE, as_error, check_source, put_output, read_inputs
from hotfolder.executors.ray_host import RayHost
from hotfolder.executors.ray_models import THREAD, HeldModels, Stock
from hotfolder.executors.ray_wire import Setup, short, why_unfit
from hotfolder.types import Batch, ErrorInfo, Item, Outcome, Progress

log = logging.getLogger(__name__)
#: Seconds after which a host that does not say hello is said to be late, and one that was at work to be lost.
HELLO_SECONDS = 30.0
SILENT_SECONDS = 60.0
#: Seconds that fetching what has arrived may take.
_FETCH_SECONDS = 60.0
#: Seconds that a host waits for news in one go, and between two looks at one without work.
_POLL_SECONDS, _IDLE_EVERY = 0.3, 3.0
#: Seconds between two signs of life while models are compared.
_TELL_EVERY = 2.0
#: Seconds until another host is started, and at most, in place of one that was lost.
_AGAIN, _AGAIN_MOST = 2.0, 60.0
Tell = Callable[[Done], None]


class Held:
    """Ray's own repeating is off: a host that is lost is lost, and the ledger decides what follows."""

    def __init__(
        self, ray: Any, tell: Tell, id_: str, node: str, machine: str, setup: Setup, ours: Mapping[str, Any],
        stock: Stock,
    ) -> None:  # fmt: skip
        self.id, self.node, self.machine = id_, node, machine
        self._ray, self._tell, self._setup, self._ours = ray, tell, setup, ours
        self._on_gpu = not id_.endswith("/cpu")
        self._actor: Any = None
        self._hello: Any = None
        self._poll: Any = None
        self._since = self._polled_at = 0.0
        self._again_at, self._again = 0.0, _AGAIN
        self._unfit, self._pid = "starting", None
        self._sees_root = False
        self._is_known = False
        self._batch: Batch | None = None
        self._rest: tuple[Item, ...] = ()  # of the batch, not on their way yet
        self._sent: dict[int, str] = {}  # job -> sha256 of the file that it works on
        self._submitted: Any = None
        self._models = HeldModels(ray, stock, machine)
        self._compares = False  # its models, for the batch that it was given
        self._told_at = 0.0

    @property
    def is_known(self) -> bool:
        """Whether it has said hello, or why it does not."""
        return self._is_known

    @property
    def is_busy(self) -> bool:
        return self._batch is not None

    def as_device(self) -> Device:
        return Device(self.id, self.machine, self._pid, self._unfit, dict(self._models.lacks))

    def refs(self) -> list[Any]:
        """What is waited for."""
        return [*(ref for ref in (self._hello, self._poll) if ref is not None), *self._models.refs()]

    def turn(self, now: float) -> None:
        """Does what is due."""
        if self._actor is None:
            if now >= self._again_at:
                self._start(now)
        elif self._hello is not None:
            self._greet(now)
        elif self._unfit:
            if now >= self._again_at:  # perhaps it was mended
                self.end()
        else:
            self._go_on_with_models(now)
            self._ask_for_news(now)

    def _ask_for_news(self, now: float) -> None:
        if self._poll is None:
            if self.is_busy or now - self._polled_at >= _IDLE_EVERY:
                self._poll, self._polled_at = self._actor.poll.remote(_POLL_SECONDS if self.is_busy else 0.0), now
        elif self._is_ready(self._poll):
            self._hear(now)
        elif now - self._polled_at > SILENT_SECONDS:
            self.lose(f"{self.machine} did not answer for {SILENT_SECONDS:.0f} s", again=True)

    def _start(self, now: float) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        resources = {"num_cpus": 0, "num_gpus": 1} if self._on_gpu else {"num_cpus": 1}
        host = self._ray.remote(concurrency_groups={THREAD: 1})(RayHost).options(
            max_restarts=0, max_task_retries=0, **resources,
            scheduling_strategy=NodeAffinitySchedulingStrategy(self.node, soft=False),
        )  # fmt: skip
        self._actor = host.remote(self.id, on_gpu=self._on_gpu)
        self._hello = self._actor.hello.remote(self._setup.probe, self._setup.nonce, self._setup.boot_id)
        self._since = now

    def _greet(self, now: float) -> None:
        if not self._is_ready(self._hello):
            if now - self._since > HELLO_SECONDS:
                self._is_known = True
                self._unfit = f"no answer for {HELLO_SECONDS:.0f} s: the node may be full, or not be reached"
            return
        try:
            facts = self._ray.get(self._hello, timeout=_FETCH_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever became of it: the device cannot be used
            self._unfit = f"it does not start: {short(error)}"
            self._is_known = True
            self._let_go(now)
            return
        self._hello, self._is_known = None, True
        self._unfit = why_unfit(self._ours, facts, self.machine)
        if self._unfit:
            log.warning("%s gets no work: %s", self.id, self._unfit)
            self._again_at = now + _AGAIN_MOST
            return
        self._again = _AGAIN
        self._sees_root = facts["sees_root"]
        self.reconfigure(self._setup)

    def _is_ready(self, ref: Any) -> bool:
        return bool(self._ray.wait([ref], timeout=0)[0])

    def submit(self, batch: Batch) -> None:
        self._batch, self._rest, self._sent = batch, batch.items, {}
        if self._unfit or self._actor is None:
            self.lose(self._unfit or "its host is gone", again=True)
            return
        self._compares, self._told_at = True, time.monotonic()
        self._go_on_with_models(self._told_at)

    def _go_on_with_models(self, now: float) -> None:
        """Sends a batch on once the node is known to have its models. Raises what the host comes to."""
        self._models.turn(now)
        if not self._compares or self._batch is None:
            return
        found = self._models.look(self._batch, now)
        if found is None:
            self._say_that_it_compares(now)
            return
        self._compares = False
        for item in self._rest:
            if (why := found.error or found.items.get(item.job_id)) is not None:
                self._fail(item, why)
        if found.lack is not None or found.error is not None:
            self._rest = ()  # nothing was begun: they go back
        self._rest = tuple(item for item in self._rest if item.job_id not in found.items)
        self._next_part()

    def _say_that_it_compares(self, now: float) -> None:
        """A sign of life, where it takes time: files are read."""
        if now - self._told_at >= _TELL_EVERY and self._batch is not None and self._rest:
            self._told_at = now
            stage = f"comparing {self._batch.model}"
            self._tell(Done(self.id, progress=Progress(self._rest[0].job_id, stage, loading=True)))

    def _next_part(self) -> None:
        """Sends on what is left of the batch: all of it, where paths do; else as much as goes at once."""
        batch = self._batch
        assert batch is not None
        items: list[Item] = []
        carried: list[tuple[int, str]] = []
        files: list[Any] = []
        size = 0
        if self._is_seen(batch):
            items, self._rest = list(self._rest), ()
        while self._rest and size < AT_ONCE:
            item, *rest = self._rest
            self._rest = tuple(rest)
            try:
                inputs = read_inputs(item, self._setup.settings.max_file_bytes)
            except Exception as error:  # noqa: BLE001 - the edge around one job
                self._fail(item, as_error(error))
                continue
            items.append(item)
            for role, source in inputs.items():
                # Owned by this process: it outlives the host.
                files.append(self._ray.put(np.frombuffer(source.data, np.uint8)))
                carried.append((item.job_id, role))
                size += len(source.data)
                if role == "source":
                    self._sent[item.job_id] = source.sha256
        if not items:
            self._finish()
            return
        part = replace(batch, items=tuple(items))
        self._submitted = self._actor.submit.remote(part, None if self._is_seen(batch) else carried, *files)

    def _is_seen(self, batch: Batch) -> bool:
        """Whether the node reaches all the files of a batch by their paths."""
        root = self._setup.root
        return self._sees_root and root is not None and all(_lies_below(root, item) for item in batch.items)

    def _hear(self, now: float) -> None:
        ref, self._poll = self._poll, None
        try:
            if self._submitted is not None:
                submitted, self._submitted = self._submitted, None
                if why := self._ray.get(submitted, timeout=_FETCH_SECONDS):
                    raise RuntimeError(why)
            self._pid, told = self._ray.get(ref, timeout=_FETCH_SECONDS)
        except Exception as error:  # noqa: BLE001 - whatever became of it: the host is lost
            self.lose(f"its host on {self.machine} is lost: {short(error)}", again=True)
            return
        if not self.is_busy:
            self._polled_at = now
        for done, data in told:
            self._pass_on(done, data)

    def _pass_on(self, done: Done, data: bytes | None) -> None:
        if self._batch is None:
            return
        if done.outcome is not None:
            item = next((item for item in self._batch.items if item.job_id == done.outcome.job_id), None)
            if item is not None and item.claim == done.outcome.claim:
                self._tell(replace(done, outcome=self._received(done.outcome, item, data)))
        elif done.finished is not None:
            if self._rest:
                self._next_part()
            elif done.finished == self._batch.id:
                self._finish()
        elif done.lost is not None:
            why = f"hotfolder was changed to {done.other_version} there" if done.other_version else done.lost
            self._batch, self._rest = None, ()
            self._tell(Done(self.id, lost=why, started=done.started))
            if done.other_version:
                self.end()
        else:
            self._tell(done)

    def _received(self, outcome: Outcome, item: Item, data: bytes | None) -> Outcome:
        sent = self._sent.get(item.job_id)
        try:
            if data is not None:
                return put_output(outcome, item, data, sent)
            check_source(outcome, sent)
        except Exception as error:  # noqa: BLE001 - the edge around one job
            return Outcome(item.job_id, item.claim, error=as_error(error))
        return outcome

    def _fail(self, item: Item, error: ErrorInfo) -> None:
        self._tell(Done(self.id, outcome=Outcome(item.job_id, item.claim, error=error)))

    def _finish(self) -> None:
        assert self._batch is not None
        finished, self._batch, self._rest, self._sent = self._batch.id, None, (), {}
        self._tell(Done(self.id, finished=finished))

    def cancel(self, job_ids: Collection[int]) -> None:
        self._rest = tuple(item for item in self._rest if item.job_id not in set(job_ids))
        self._end_comparing(if_empty=True)
        if self._actor is not None and not self._unfit:
            self._actor.cancel.remote(tuple(job_ids))

    def _end_comparing(self, *, if_empty: bool) -> None:
        """Nothing of the batch is wanted any more, and nothing of it was begun."""
        if self._compares and not (if_empty and self._rest):
            self._compares, self._rest = False, ()
            self._models.forget_batch()
            self._finish()

    def interrupt(self) -> None:
        self._rest = ()
        self._end_comparing(if_empty=False)
        if self._actor is not None and not self._unfit:
            self._actor.interrupt.remote()

    def unload(self) -> None:
        self._pid = None
        if self._actor is not None and not self._unfit:
            self._actor.unload.remote()

    def reconfigure(self, setup: Setup) -> None:
        self._setup = setup
        if self._actor is not None and self._hello is None and not self._unfit:
            self._actor.set_up.remote(setup.settings, setup.idle_seconds)
            self._models.begin(
                self._actor, setup.settings, setup.groups, time.monotonic(), sees_root=self._sees_root
            )

    def lose(self, why: str, *, again: bool) -> None:
        """The host is given up, by force; `again`: another one is started in its place."""
        was_busy, self._batch, self._rest = self.is_busy, None, ()
        self._unfit = why
        self._let_go(time.monotonic() if again else float("inf"))
        if was_busy:
            self._tell(Done(self.id, lost=why, started=False))
        else:
            log.warning("%s: %s", self.id, why)

    def _let_go(self, now: float) -> None:
        self.end()
        self._again_at, self._again = now + self._again, min(_AGAIN_MOST, 2 * self._again)

    def leave(self) -> Any:
        """Asks the host to clear up after itself; gives what can be waited for before it is ended, or None."""
        if self._actor is None or self._hello is not None or self._unfit:
            return None
        return self._actor.close.remote()

    def end(self) -> None:
        """Ends the host. Its worker dies with it."""
        actor, self._actor, self._hello, self._poll, self._submitted = self._actor, None, None, None, None
        self._pid, self._compares = None, False
        self._models.end()
        if actor is not None:
            try:
                self._ray.kill(actor, no_restart=True)
            except Exception as error:  # noqa: BLE001 - it is gone already, or cannot be reached
                log.debug("%s: %s", self.id, error)


def _lies_below(root: str, item: Item) -> bool:
    paths: Iterable[Any] = (
        item.source,
        item.staging,
        item.params.get("init_file") or item.params.get("init_image"),
    )
    return all(path is None or str(path).startswith(f"{root}/") for path in paths)
