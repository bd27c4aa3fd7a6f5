"""How long what waits will take: with the scores, new tries and enlargements that will follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hotfolder.types import Kind

#: Of what followed from judged images while none has been judged: a guess, for the first moments of a new root.
_FEW = 0.2
#: Each batch counts so much less than the one after it: a pace is that of about the last ten.
_FADING = 0.9
#: Jobs that end after the first one, each in more than this part of its time, were not worked together with it.
_ONE_BY_ONE = 0.1
#: What passes between two batches belongs to the first, whose results are put into their places; but no more seconds
#: than that: then the line was paused.
_LONGEST_GAP = 10.0


@dataclass(frozen=True, slots=True)
class OpenJobs:
    """Jobs of one sort that wait or are in work."""

    kind: Kind
    count: int
    is_measure: bool = False  # a score from which nothing follows
    is_drawn: bool = False  # a score of an image that was drawn
    is_of_set: bool = False  # of which the best are kept: nothing is tried again
    is_of_image: bool = True  # an enlargement of an image that has its score; else the original is measured, too
    try_number: int = 1


@dataclass(frozen=True, slots=True)
class Judged:
    """An image that the gate has judged, and what followed."""

    is_drawn: bool
    is_enlarged: bool
    is_tried_again: bool | None  # None: it could not be


@dataclass(frozen=True, slots=True)
class Shares:
    """What follows from judged images, in parts of 1."""

    again: float = _FEW
    enlarged_drawn: float = _FEW
    enlarged_dropped: float = _FEW


@dataclass(frozen=True, slots=True)
class Pace:
    """How long jobs of a kind take."""

    seconds_per_job: float
    load_seconds: float = 0.0  # that its model still takes before the first of them


#: How long jobs of a kind, and the loading of its model, usually take beside those of the others.
_USUAL = {Kind.GENERATE: Pace(1.0, 1.0), Kind.SCORE: Pace(0.1, 0.3), Kind.UPSCALE: Pace(1.5, 0.5)}


def shares(judged: Iterable[Judged], *, enlarges: bool = True) -> Shares:
    """Learned from images that were judged lately. Without `enlarges` nothing is enlarged for its score alone."""
    seen = list(judged)
    guess = _FEW if enlarges else 0.0
    return Shares(
        _share([each.is_tried_again for each in seen if each.is_tried_again is not None], _FEW),
        _share([each.is_enlarged for each in seen if each.is_drawn], guess),
        _share([each.is_enlarged for each in seen if not each.is_drawn], guess),
    )


def _share(seen: Sequence[bool], guess: float) -> float:
    """Of few that are seen, not too much is concluded: as if one of `guess` had been seen before."""
    return (sum(seen) + guess) / (len(seen) + 1)


def expected_jobs(waiting: Iterable[OpenJobs], shares: Shares, max_attempts: int) -> dict[Kind, float]:
    """How many jobs of each kind there will be until nothing is left: those that wait, and all that follow.

    `max_attempts` are the tries for one prompt, the first included.
    """
    found = dict.fromkeys(Kind, 0.0)
    for jobs in waiting:
        if jobs.kind is Kind.UPSCALE:
            found[Kind.UPSCALE] += jobs.count
            found[Kind.SCORE] += jobs.count * (1 if jobs.is_of_image else 2)
            continue
        if jobs.is_measure:
            found[Kind.SCORE] += jobs.count
            continue
        is_drawn = jobs.kind is Kind.GENERATE or jobs.is_drawn
        further = jobs.count * _tries(shares.again, max_attempts - jobs.try_number) if is_drawn else 0.0
        if jobs.is_of_set:
            further = 0.0
        judged = jobs.count + further
        enlarged = judged * (shares.enlarged_drawn if is_drawn else shares.enlarged_dropped)
        found[Kind.GENERATE] += further + (jobs.count if jobs.kind is Kind.GENERATE else 0)
        found[Kind.SCORE] += judged + enlarged
        found[Kind.UPSCALE] += enlarged
    return found


def _tries(again: float, most: int) -> float:
    """How many further images an image leads to where each is tried again with this share, `most` times."""
    return sum(again**number for number in range(1, max(0, most) + 1))


def seconds_left(expected: Mapping[Kind, float], paces: Mapping[Kind, Pace]) -> float | None:
    """Until nothing is left; None where the pace of something that is expected is not known."""
    if any(jobs > 0 and kind not in paces for kind, jobs in expected.items()):
        return None
    return sum(
        jobs * paces[kind].seconds_per_job + paces[kind].load_seconds * min(1.0, jobs)
        for kind, jobs in expected.items()
        if jobs > 0
    )


def guessed(known: Mapping[Kind, Pace], loads: Mapping[Kind, float]) -> dict[Kind, Pace]:
    """Of all kinds, by those that are known: as slow beside those as they usually are. Empty where none is.

    `loads` are the seconds that models took to load, of kinds of which that is known.
    """
    if not known:
        return {}
    each = sum(pace.seconds_per_job / _USUAL[kind].seconds_per_job for kind, pace in known.items()) / len(known)
    load = sum(seconds / _USUAL[kind].load_seconds for kind, seconds in loads.items()) / max(1, len(loads))
    return {kind: Pace(each * pace.seconds_per_job, load * pace.load_seconds) for kind, pace in _USUAL.items()}


def pace_of_batches(batches: Sequence[tuple[int, float]]) -> Pace | None:
    """Of batches of an earlier run, each its jobs and seconds; None where there are none.

    The slowest batch is the one that loaded the model: what it took longer than the others is put down to that.
    """
    if not batches:
        return None
    slowest = max(batches, key=lambda batch: batch[1] / batch[0])
    others = list(batches)
    if len(others) > 1:
        others.remove(slowest)
    each = sum(seconds for _, seconds in others) / sum(jobs for jobs, _ in others)
    return Pace(each, max(0.0, slowest[1] - slowest[0] * each))


@dataclass(slots=True)
class _First:
    """The first batch after a model was loaded."""

    jobs: int = 0  # that have ended
    seconds: float = 0.0
    until_one: float = 0.0  # seconds until the first of them had ended

    @property
    def seconds_per_job(self) -> float:
        """Without the first job, which also warms the model up, unless all were worked together."""
        others = (self.seconds - self.until_one) / (self.jobs - 1) if self.jobs > 1 else 0.0
        return others if others > _ONE_BY_ONE * self.until_one else self.seconds / self.jobs


class Rates:
    """Learns from the batches of this run how long each kind takes. The clock (seconds) is an argument.

    The first loading of a model is told apart; where models push each other out, every other one counts as work. So
    is the first batch after it, as soon as there is another: its first job also warms the model up, and takes several
    times as long as those that follow.
    """

    def __init__(self) -> None:
        self._jobs: dict[Kind, float] = {}
        self._seconds: dict[Kind, float] = {}
        self._first: dict[Kind, _First] = {}
        self._is_first = False  # the batch in work, or last in work, is such a one
        self._loads: dict[Kind, float] = {}
        self._loaded: set[Kind] = set()
        self._kind: Kind | None = None  # in work, or last in work
        self._is_over = True
        self._since = 0.0  # the last event
        self._is_loading = False
        self._left = 0  # jobs of the batch in work that have not ended

    def begin(self, kind: Kind, jobs: int, now: float) -> None:
        """A batch goes to the executor."""
        if self._kind is not None and now - self._since <= _LONGEST_GAP:
            self._spend(now)
        self._kind, self._since, self._left, self._is_over = kind, now, jobs, False
        self._is_loading = self._is_first = kind not in self._loaded
        if self._is_first:
            self._first[kind] = _First()
        else:
            for each in (self._jobs, self._seconds):
                each[kind] = each.get(kind, 0.0) * _FADING

    def working(self, now: float) -> None:
        """The model is there, and the work itself begins."""
        if self._kind is not None and self._is_loading:
            self._is_loading = False
            self._loads[self._kind] = now - self._since
            self._loaded.add(self._kind)
            self._since = now

    def ended(self, now: float) -> None:
        """A job of the batch in work has ended well."""
        if self._kind is not None:
            if self._is_loading:  # nobody has told when the loading was over: all of it counts as work
                self._is_loading = False
                self._loaded.add(self._kind)
            self._spend(now, jobs=1)
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

    def _spend(self, now: float, jobs: int = 0) -> None:
        assert self._kind is not None
        kind, seconds = self._kind, now - self._since
        if self._is_first:
            first = self._first[kind]
            first.jobs, first.seconds = first.jobs + jobs, first.seconds + seconds
            if jobs and first.jobs == jobs:
                first.until_one = first.seconds
        else:
            self._jobs[kind] = self._jobs.get(kind, 0.0) + jobs
            self._seconds[kind] = self._seconds.get(kind, 0.0) + seconds
        self._since = now

    def paces(self, earlier: Mapping[Kind, Pace]) -> dict[Kind, Pace]:
        """Of each kind, once one is known; `earlier` are those of earlier runs, for kinds not done in this one."""
        found: dict[Kind, Pace] = {}
        loads = {**{kind: pace.load_seconds for kind, pace in earlier.items()}, **self._loads}
        for kind in Kind:
            before = earlier.get(kind)
            jobs, load = self._jobs.get(kind, 0.0), loads.get(kind, 0.0)
            first = self._first.get(kind, _First())
            if jobs > 0 or first.jobs > 0:
                each = self._seconds[kind] / jobs if jobs > 0 else first.seconds_per_job
                load += max(0.0, first.seconds - first.jobs * each)
            elif before is not None:
                each = before.seconds_per_job
            else:
                continue
            found[kind] = Pace(each, 0.0 if kind in self._loaded else load)
        return {**guessed(found, loads), **found}

    def measured(self, kind: Kind) -> float | None:
        """Seconds for a job of a kind that was done in this run."""
        pace = self.paces({}).get(kind) if kind in self._first else None
        return pace.seconds_per_job if pace else None

    def load_seconds(self, kind: Kind) -> float | None:
        """How long the model of a kind took to load last; None: not known."""
        return self._loads.get(kind)

    def spent(self, paces: Mapping[Kind, Pace], now: float) -> float:
        """Seconds of what is left that the batch in work has had already."""
        pace = paces.get(self._kind) if self._kind is not None and not self._is_over else None
        if pace is None:
            return 0.0
        most = pace.load_seconds if self._is_loading else self._left * pace.seconds_per_job
        return min(now - self._since, most)
