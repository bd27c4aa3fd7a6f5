"""What one device has in work, what it holds, and how it gets on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hotfolder.core.health import Health
from hotfolder.core.heartbeat import Heartbeat
from hotfolder.core.pace import Rates
from hotfolder.core.sharing import Able
from hotfolder.core.turns import Turns
from hotfolder.executors.base import DeviceId, Done, Lack
from hotfolder.types import Batch, Drop, Group, Job, Kind, Progress


@dataclass(slots=True)
class DeviceWork:
    """The dispatcher's own notes of a device. The monotonic clock (seconds) is an argument."""

    id: DeviceId
    heartbeat: Heartbeat
    health: Health
    jobs: dict[int, Job] = field(default_factory=dict)  # in work
    drops: Mapping[int, Drop] = field(default_factory=dict)  # those that jobs in work are of
    batch_id: int | None = None
    group: Group | None = None  # what is in work, or was last
    turns: Turns = field(default_factory=Turns)
    rates: Rates = field(default_factory=Rates)
    progress: Progress | None = None  # what it told last of what is in work
    stage_since: float = 0.0  # seconds since the epoch
    memory: tuple[str, int, int] = ("", 0, 0)  # device, bytes taken, bytes in all: as they were told last
    temperature: int = 0  # in °C, as it was told last; 0: not known
    holds: dict[Kind, str] = field(default_factory=dict)  # models that lie on it
    cancelled: set[int] = field(default_factory=set)  # in work, and a person does not want them any more
    unwanted_at: float | None = None  # when something of the batch was cancelled, or taken back, last
    leaving: bool = False  # its worker is being ended, or ends itself: no file is to blame
    unfit: str = ""  # why the executor cannot give it work
    unfit_since: float | None = None
    lacks: Mapping[Group, Lack] = field(default_factory=dict)  # what it cannot do although it is able
    is_drained: bool = False  # a person wants it to be given nothing
    has_loaded: bool = False  # the batch in work waited for its model
    took: float = 0.0  # seconds, the last batch that is over
    _begun_at: float = 0.0  # when the batch began
    _moved_at: float = 0.0  # when the batch began, its model was there, or a job of it ended

    @property
    def has_remnants(self) -> bool:
        """Whether its worker is not through with a batch of which nothing is wanted any more."""
        return self.batch_id is not None and not self.jobs

    @property
    def is_able(self) -> bool:
        """Whether it may be given work at all."""
        return not self.unfit and not self.is_drained and self.health.back_in(time.monotonic()) is None

    def has_loaded_model(self, group: Group) -> bool:
        """Whether the model of a group lies on it."""
        return self.holds.get(group[0]) == group[1]

    def begin(self, batch: Batch, jobs: Sequence[Job], drops: Mapping[int, Drop], *, goes_first: bool) -> None:
        """A batch goes to it; `goes_first`: one that is led by a job with a priority."""
        now, group = time.monotonic(), (batch.kind, batch.model)
        self.jobs, self.drops, self.batch_id = {job.id: job for job in jobs}, drops, batch.id
        self.group, self.has_loaded, self.leaving = group, False, False
        self._begun_at = self._moved_at = now
        self.unwanted_at = None
        self.turns.begin(group, now, goes_first=goes_first)

    def submitted(self, megapixels: float | None) -> None:
        """The executor has taken it, with so many megapixels to be worked; None: not known."""
        assert self.group is not None
        now = time.monotonic()
        self.rates.begin(self.group[0], len(self.jobs), now, megapixels)
        self.heartbeat.begin(self.group, now)

    def is_further(self, done: Done) -> bool:
        """Whether it tells of anything new, and not just again what was told last."""
        told, last = done.progress, self.progress
        if told is None or last is None:
            return True
        return (told.job_id, told.stage, told.step) != (last.job_id, last.stage, last.step)

    def note(self, told: Progress) -> None:
        """How far it is."""
        before, self.progress = self.progress, told
        if before is None or (before.stage, before.steps) != (told.stage, told.steps) or told.step < before.step:
            self.stage_since = time.time()
        if told.memory_total:
            self.memory = (told.device, told.memory_used, told.memory_total)
            self.temperature = told.temperature
        self.has_loaded = self.has_loaded or told.loading
        if not told.loading:
            now = time.monotonic()
            if before is None or before.loading:
                self._moved_at = now
            self.rates.working(now)
            if self.group is not None:
                self.holds[self.group[0]] = self.group[1]

    def ended(self, *, counts: bool, megapixels: float = 0.0) -> None:
        """A job of the batch has ended; `counts`: its time tells how fast the device is with so many `megapixels` (0:
        not known)."""
        self._moved_at = time.monotonic()
        if counts:
            self.rates.ended(self._moved_at, megapixels)

    def over(self) -> None:
        """The batch in work has ended."""
        now = time.monotonic()
        if self.batch_id is not None:
            self.took = now - self._begun_at
        self.progress, self.batch_id = None, None
        self.rates.over(now)

    def worker_ended(self) -> None:
        """Nothing is loaded any more."""
        now = time.monotonic()
        self.turns.worker_ended(now)
        self.rates.worker_ended(now)
        self.holds.clear()
        self.memory, self.temperature = (self.memory[0], 0, 0), 0

    def seconds_per_job(self, kind: Kind) -> float | None:
        """As it was lately; None: not known."""
        pace = self.rates.paces({}).get(kind)
        return pace.seconds_per_job if pace else None

    def silence(self) -> float:
        """Seconds since it last ended something; 0 while it has nothing in work, or loads."""
        is_loading = self.progress is None or self.progress.loading
        return 0.0 if not self.jobs or is_loading else time.monotonic() - self._moved_at

    def able(self, group: Group, usual: float, load: float) -> Able:
        """How it could help with a group; `usual` are seconds for a job, and `load` for a model, where its own are not
        known."""
        each = self.seconds_per_job(group[0]) or usual
        free_in = 0.0
        if self.jobs and self.group is not None:
            own, since = self.seconds_per_job(self.group[0]) or usual, self.silence()
            expected = len(self.jobs) * own
            # What takes longer than it was to take is taken to last as long again.
            free_in = max(expected - since, since if since > expected else 0.0)
            if since > expected and self.group[0] is group[0]:
                each = max(each, since / len(self.jobs))
            if self.progress is None or self.progress.loading:
                free_in += self._load_seconds(self.group, load)
        if not self.has_loaded_model(group) and self.group != group:
            free_in += self._load_seconds(group, load)
        return Able(each, free_in)

    def _load_seconds(self, group: Group, usual: float) -> float:
        own = self.rates.load_seconds(group[0])
        return usual if own is None else own
