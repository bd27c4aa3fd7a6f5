"""How long what waits will take: with the scores, new tries and enlargements that will follow from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hotfolder.core.drawing import Drawing
from hotfolder.core.pace import Pace
from hotfolder.types import Kind

#: Of what followed from judged images while none has been judged: a guess, for the first moments of a new root.
_FEW = 0.2
#: How many times the pixels an enlarged image has, while none has been made.
_GROWTH = 16.0


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
    sized: int = 0  # of how many of them the picture's size is known
    megapixels: float = 0.0  # of the pictures of those
    drawing: Drawing | None = None  # what their prompts say of it, of those that are drawn, or were
    usual_megapixels: float | None = None  # of one whose prompt leaves it to the model, as far as that is known
    steps: float | None = 1.0  # how often each of them is gone through when it is drawn; None: not known


@dataclass(frozen=True, slots=True)
class Judged:
    """An image that the gate has judged, and what followed."""

    is_drawn: bool
    is_enlarged: bool
    is_tried_again: bool | None  # None: it could not be
    megapixels: float = 0.0
    enlarged_megapixels: float | None = None  # of what was made of it


@dataclass(frozen=True, slots=True)
class Shares:
    """What follows from judged images, in parts of 1; and how large they are, in megapixels (None: not known)."""

    again: float = _FEW
    enlarged_drawn: float = _FEW
    enlarged_dropped: float = _FEW
    drawn: float | None = None
    dropped: float | None = None
    growth: float = _GROWTH  # how many times the pixels an enlarged one has


@dataclass(slots=True)
class Expected:
    """Jobs of a kind that wait, and that will follow."""

    jobs: float = 0.0
    megapixels: float = 0.0  # of those whose size is known, or foreseen; drawn ones once for each step
    unsized: float = 0.0  # how many of the jobs are not among those

    def add(self, jobs: float, each: float | None) -> None:
        """`each`: the megapixels of one; None: not known."""
        self.jobs += jobs
        if each is None:
            self.unsized += jobs
        else:
            self.megapixels += jobs * each

    def seconds(self, pace: Pace) -> float:
        """Where a size, or the number of steps, is not known, the work is taken to be as it was lately."""
        work = pace.seconds(self.jobs, self.megapixels + self.unsized * pace.megapixels)
        return work + pace.load_seconds * min(1.0, self.jobs)


def shares(judged: Iterable[Judged], *, enlarges: bool = True) -> Shares:
    """Learned from images that were judged lately. Without `enlarges` nothing is enlarged for its score alone."""
    seen = list(judged)
    guess = _FEW if enlarges else 0.0
    return Shares(
        _share([each.is_tried_again for each in seen if each.is_tried_again is not None], _FEW),
        _share([each.is_enlarged for each in seen if each.is_drawn], guess),
        _share([each.is_enlarged for each in seen if not each.is_drawn], guess),
        _mean([each.megapixels for each in seen if each.is_drawn]),
        _mean([each.megapixels for each in seen if not each.is_drawn]),
        _growth(seen),
    )


def _mean(seen: Sequence[float]) -> float | None:
    return sum(seen) / len(seen) if seen else None


def _growth(seen: Sequence[Judged]) -> float:
    made = [each for each in seen if each.enlarged_megapixels is not None and each.megapixels > 0]
    before = sum(each.megapixels for each in made)
    return sum(each.enlarged_megapixels or 0.0 for each in made) / before if before else _GROWTH


def _share(seen: Sequence[bool], guess: float) -> float:
    """Of few that are seen, not too much is concluded: as if one of `guess` had been seen before."""
    return (sum(seen) + guess) / (len(seen) + 1)


def expected_jobs(waiting: Iterable[OpenJobs], shares: Shares, max_attempts: int) -> dict[Kind, Expected]:
    """The jobs of each kind that there will be until nothing is left: those that wait, and all that follow.

    `max_attempts` are the tries for one prompt, the first included.
    """
    found = {kind: Expected() for kind in Kind}
    for jobs in waiting:
        each = _size(jobs, shares)
        larger = None if each is None else each * shares.growth
        if jobs.kind is Kind.UPSCALE:
            found[Kind.UPSCALE].add(jobs.count, each)
            found[Kind.SCORE].add(jobs.count, larger)
            found[Kind.SCORE].add(0 if jobs.is_of_image else jobs.count, each)
            continue
        if jobs.is_measure:
            found[Kind.SCORE].add(jobs.count, each)
            continue
        is_drawn = _is_drawn(jobs)
        further = jobs.count * _tries(shares.again, max_attempts - jobs.try_number) if is_drawn else 0.0
        if jobs.is_of_set:
            further = 0.0
        judged = jobs.count + further
        enlarged = judged * (shares.enlarged_drawn if is_drawn else shares.enlarged_dropped)
        drawn = None if each is None or jobs.steps is None else each * jobs.steps
        found[Kind.GENERATE].add(further + (jobs.count if jobs.kind is Kind.GENERATE else 0), drawn)
        found[Kind.SCORE].add(judged, each)
        found[Kind.SCORE].add(enlarged, larger)
        found[Kind.UPSCALE].add(enlarged, each)
    return found


def _is_drawn(jobs: OpenJobs) -> bool:
    return jobs.kind is Kind.GENERATE or jobs.is_drawn


def _size(jobs: OpenJobs, shares: Shares) -> float | None:
    """Megapixels of one of them; of pictures that nobody has looked at yet, as others of their sort were."""
    usual = shares.drawn if _is_drawn(jobs) else shares.dropped
    if jobs.kind is Kind.UPSCALE:  # dropped to be enlarged: others than those dropped to be judged
        usual = None
    if usual is None:
        usual = jobs.usual_megapixels
    if jobs.sized and usual is None:
        usual = jobs.megapixels / jobs.sized
    return None if usual is None else (jobs.megapixels + (jobs.count - jobs.sized) * usual) / jobs.count


def _tries(again: float, most: int) -> float:
    """How many further images an image leads to where each is tried again with this share, `most` times."""
    return sum(again**number for number in range(1, max(0, most) + 1))


def seconds_left(expected: Mapping[Kind, Expected], paces: Mapping[Kind, Pace]) -> float | None:
    """Until nothing is left; None where the pace of something that is expected is not known."""
    some = {kind: each for kind, each in expected.items() if each.jobs > 0}
    if not some.keys() <= paces.keys():
        return None
    return sum(each.seconds(paces[kind]) for kind, each in some.items())
