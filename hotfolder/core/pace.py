"""How long work takes, learned while it is done: seconds for each job, and for each megapixel that is worked.

A large photograph takes a hundred times as long to enlarge as a small drawing, and with a small model nothing but the
pixels counts; with a large one that looks at 224 pixels whatever the picture, nothing but the number of jobs. Which it
is, is learned, too. A picture that is drawn is gone through in each step: its megapixels count once for each of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hotfolder.types import Kind

#: Each batch counts so much less than the one after it: a pace is that of about the last ten.
_FADING = 0.9
#: So many batches tell jobs from megapixels: more, since the sizes change more seldom than the batches.
_REMEMBERED = 40
#: Jobs that end after the first one, each in more than this part of its time, were not worked together with it.
_ONE_BY_ONE = 0.1
#: What passes between two batches belongs to the first, whose results are put into their places; but no more seconds
#: than that: then the line was paused.
_LONGEST_GAP = 10.0
#: As long as so many megapixels takes a job beside its own: a guess, until pictures of other sizes tell better, or
#: other numbers of steps.
_BESIDE = {Kind.GENERATE: 0.05, Kind.SCORE: 1.0, Kind.UPSCALE: 0.005}
#: What that can come to: beyond it, only the jobs count, or only the megapixels.
_LEAST_BESIDE, _MOST_BESIDE = 1e-3, 1e3
#: Each finds it twice as well, about.
_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class Pace:
    """How long jobs of a kind take. Megapixels of what is drawn count once for each step."""

    per_job: float  # seconds, whatever the size of its picture
    load_seconds: float = 0.0  # that its model still takes before the first of them
    per_megapixel: float = 0.0  # seconds beside those
    megapixels: float = 0.0  # of a job, as they were lately

    @property
    def seconds_per_job(self) -> float:
        """Of a job as large as they were lately."""
        return self.seconds(1.0, self.megapixels)

    def seconds(self, jobs: float, megapixels: float) -> float:
        """For so many jobs, whose pictures have so many megapixels together."""
        return jobs * self.per_job + megapixels * self.per_megapixel


@dataclass(slots=True)
class Work:
    """What was done, and how long it took."""

    jobs: float = 0.0  # that have ended
    megapixels: float = 0.0  # of their pictures; of those that were drawn, once for each step
    seconds: float = 0.0

    def add(self, jobs: float, megapixels: float, seconds: float) -> None:
        self.jobs, self.megapixels, self.seconds = (
            self.jobs + jobs, self.megapixels + megapixels, self.seconds + seconds
        )  # fmt: skip

    def fade(self) -> None:
        """What is added from now on counts more."""
        self.jobs, self.megapixels, self.seconds = (
            each * _FADING for each in (self.jobs, self.megapixels, self.seconds)
        )

    def pace(self, beside: float) -> Pace:
        """Where a job takes as long as `beside` megapixels take, and its own beside them."""
        mean = self.megapixels / self.jobs
        unit = self.seconds / (beside * self.jobs + self.megapixels)
        return Pace(beside * unit, 0.0, unit, mean) if mean > 0 else Pace(self.seconds / self.jobs)


#: How long jobs of a kind, and the loading of its model, usually take beside those of the others.
_USUAL = {Kind.GENERATE: Pace(1.0, 1.0), Kind.SCORE: Pace(0.1, 0.3), Kind.UPSCALE: Pace(1.5, 0.5)}


def guessed(known: Mapping[Kind, Pace], loads: Mapping[Kind, float]) -> dict[Kind, Pace]:
    """Of all kinds, by those that are known: as slow beside those as they usually are. Empty where none is.

    `loads` are the seconds that models took to load, of kinds of which that is known.
    """
    if not known:
        return {}
    each = sum(pace.seconds_per_job / _USUAL[kind].per_job for kind, pace in known.items()) / len(known)
    load = sum(seconds / _USUAL[kind].load_seconds for kind, seconds in loads.items()) / max(1, len(loads))
    return {kind: Pace(each * pace.per_job, load * pace.load_seconds) for kind, pace in _USUAL.items()}


def beside(batches: Sequence[Work], start: float) -> float:
    """As long as how many megapixels a job takes beside its own, by batches whose pictures were of different sizes.

    Richardson-Lucy iterations (Richardson 1972, Lucy 1974) for seconds = a jobs + b megapixels with a, b >= 0: what a
    batch took is parted as a and b so far say, and those are read from the parts. `start`: what it is taken for at
    first; it stays that where all pictures are of one size.
    """
    batches = [each for each in batches if each.jobs > 0]  # of others nobody knows what took the time
    jobs, megapixels = sum(each.jobs for each in batches), sum(each.megapixels for each in batches)
    seconds = sum(each.seconds for each in batches)
    if jobs <= 0 or megapixels <= 0 or seconds <= 0:
        return start
    for _ in range(_ROUNDS):
        of_jobs = sum(each.seconds * start * each.jobs / (start * each.jobs + each.megapixels) for each in batches)
        of_megapixels = max(seconds - of_jobs, 1e-12)
        start = min(max((of_jobs / jobs) / (of_megapixels / megapixels), _LEAST_BESIDE), _MOST_BESIDE)
    return start


def pace_of_batches(kind: Kind, batches: Sequence[Work]) -> Pace | None:
    """Of batches of an earlier run; None where there are none.

    The slowest batch is the one that loaded the model: what it took longer than the others is put down to that.
    """
    if not batches:
        return None
    guess = _BESIDE[kind]
    slowest = max(batches, key=lambda batch: batch.seconds / (guess * batch.jobs + batch.megapixels))
    others = [batch for batch in batches if batch is not slowest] or list(batches)
    whole = Work()
    for each in others:
        whole.add(each.jobs, each.megapixels, each.seconds)
    pace = whole.pace(beside(others, guess))
    return replace(pace, load_seconds=max(0.0, slowest.seconds - pace.seconds(slowest.jobs, slowest.megapixels)))


@dataclass(slots=True)
class _First:
    """The first batch after a model was loaded."""

    work: Work = field(default_factory=Work)
    one: Work = field(default_factory=Work)  # the first job of it, which also warms the model up

    def usual(self) -> Work:
        """Without the first job, unless all were worked together."""
        work, one = self.work, self.one
        others = Work(work.jobs - one.jobs, work.megapixels - one.megapixels, work.seconds - one.seconds)
        is_one_by_one = others.jobs > 0 and others.seconds / others.jobs > _ONE_BY_ONE * one.seconds
        return others if is_one_by_one else work


class Rates:
    """Learns from the batches of this run how long each kind takes. The clock (seconds) is an argument.

    The first loading of a model is told apart; where models push each other out, every other one counts as work. So
    is the first batch after it, as soon as there is another: its first job also warms the model up, and takes several
    times as long as those that follow.
    """

    def __init__(self) -> None:
        self._works: dict[Kind, Work] = {}
        self._batches: dict[Kind, deque[Work]] = {}  # the last ones, each for itself
        self._beside: dict[tuple[Kind, float], tuple[Work, float]] = {}  # by what it began with; as of which batch
        self._first: dict[Kind, _First] = {}
        self._is_first = False  # the batch in work, or last in work, is such a one
        self._loads: dict[Kind, float] = {}
        self._loaded: set[Kind] = set()
        self._kind: Kind | None = None  # in work, or last in work
        self._is_over = True
        self._since = 0.0  # the last event
        self._is_loading = False
        self._left = self._ended = 0  # jobs of the batch in work that have not ended, and that have
        self._one = 0.0  # seconds until the first of those had
        self._megapixels_left: float | None = None  # of those, where it is known

    def begin(self, kind: Kind, jobs: int, now: float, megapixels: float | None = None) -> None:
        """A batch goes to the executor, whose pictures have so many megapixels together; None: not known."""
        if self._kind is not None and now - self._since <= _LONGEST_GAP:
            self._spend(now)
        self._kind, self._since, self._is_over = kind, now, False
        self._left, self._megapixels_left, self._ended = jobs, megapixels, 0
        self._is_loading = self._is_first = kind not in self._loaded
        if self._is_first:
            self._first[kind] = _First()
        else:
            self._works.setdefault(kind, Work()).fade()
            self._batches.setdefault(kind, deque(maxlen=_REMEMBERED)).append(Work())

    def working(self, now: float) -> None:
        """The model is there, and the work itself begins."""
        if self._kind is not None and self._is_loading:
            self._is_loading = False
            self._loads[self._kind] = now - self._since
            self._loaded.add(self._kind)
            self._since = now

    def ended(self, now: float, megapixels: float = 0.0) -> None:
        """A job of the batch in work has ended; its picture has so many `megapixels` (0: not known, so as others)."""
        if self._kind is not None:
            if self._is_loading:  # nobody has told when the loading was over: all of it counts as work
                self._is_loading = False
                self._loaded.add(self._kind)
            work = self._work(self._kind)
            self._one = self._one if self._ended else now - self._since
            self._ended += 1
            self._spend(now, 1, megapixels or (work.megapixels / work.jobs if work.jobs else 0.0))
            if self._megapixels_left is not None:  # as if those of a batch were alike
                self._megapixels_left -= self._megapixels_left / max(1, self._left)
            self._left = max(0, self._left - 1)

    def over(self, now: float) -> None:
        """The batch in work has ended."""
        if self._kind is not None and not self._is_over:
            self._spend(now)
            self._left, self._is_over, self._is_loading = 0, True, False

    def worker_ended(self, now: float) -> None:
        """Nothing is loaded any more."""
        self.over(now)
        self._loaded.clear()
        self._kind = None

    def idle(self) -> None:
        """Nothing waits: the time until the next batch is nobody's."""
        if self._is_over:
            self._kind = None

    def _spend(self, now: float, jobs: int = 0, megapixels: float = 0.0) -> None:
        assert self._kind is not None
        kind, seconds = self._kind, now - self._since
        if self._is_first:
            first = self._first[kind]
            if not first.one.jobs:
                first.one.add(jobs, megapixels, seconds)
            first.work.add(jobs, megapixels, seconds)
        else:
            for each in (self._works[kind], self._batches[kind][-1]):
                each.add(jobs, megapixels, seconds)
        self._since = now

    def paces(self, earlier: Mapping[Kind, Pace]) -> dict[Kind, Pace]:
        """Of each kind, once one is known; `earlier` are those of earlier runs, for kinds not done in this one."""
        found: dict[Kind, Pace] = {}
        loads = {**{kind: pace.load_seconds for kind, pace in earlier.items()}, **self._loads}
        for kind in Kind:
            pace, load, first = self._pace(kind, earlier.get(kind)), loads.get(kind, 0.0), self._first.get(kind)
            if pace is None:
                continue
            if first is not None and first.work.jobs:
                load += max(0.0, first.work.seconds - pace.seconds(first.work.jobs, first.work.megapixels))
            found[kind] = replace(pace, load_seconds=0.0 if kind in self._loaded else load)
        return {**guessed(found, loads), **found}

    def _pace(self, kind: Kind, before: Pace | None) -> Pace | None:
        work = self._work(kind)
        return work.pace(self._beside_of(kind, before)) if work.jobs else before

    def _work(self, kind: Kind) -> Work:
        """What was done of a kind in this run, without the first batch as soon as there is another."""
        work = self._works.get(kind)
        if work is not None and not self._tells(kind):
            own = self._batches[kind][-1]
            work = Work(work.jobs - own.jobs, work.megapixels - own.megapixels, work.seconds - own.seconds)
        return work if work is not None and work.jobs else self._first.get(kind, _First()).usual()

    def _tells(self, kind: Kind) -> bool:
        """Whether the batch in work tells the pace: not while only a part of what is worked together has ended."""
        if kind is not self._kind or self._is_over or self._is_first or self._left == 0:
            return True
        others = self._batches[kind][-1].seconds - self._one
        return self._ended > 1 and others / (self._ended - 1) > _ONE_BY_ONE * self._one

    def _beside_of(self, kind: Kind, before: Pace | None) -> float:
        """Found out anew as soon as another batch has begun."""
        guess = before.per_job / before.per_megapixel if before and before.per_megapixel else _BESIDE[kind]
        batches = list(self._batches.get(kind, ()))
        since, known = self._beside.get((kind, guess), (None, guess))
        if batches and since is not batches[-1]:
            known = beside(batches[:-1], known)
            self._beside[kind, guess] = batches[-1], known
        return known

    def measured(self, kind: Kind) -> float | None:
        """Seconds for a job of a kind that was done in this run."""
        work = self._work(kind)
        return work.seconds / work.jobs if work.jobs else None

    def load_seconds(self, kind: Kind) -> float | None:
        """How long the model of a kind took to load last; None: not known."""
        return self._loads.get(kind)

    def spent(self, paces: Mapping[Kind, Pace], now: float) -> float:
        """Seconds of what is left that the batch in work has had already."""
        pace = paces.get(self._kind) if self._kind is not None and not self._is_over else None
        if pace is None:
            return 0.0
        if self._is_loading:
            most = pace.load_seconds
        elif self._megapixels_left is None:
            most = self._left * pace.seconds_per_job
        else:
            most = pace.seconds(self._left, self._megapixels_left)
        return min(now - self._since, most)
