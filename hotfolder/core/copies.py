"""Of several copies of one picture, which is the best, and why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Scores that differ by less say nothing: the same picture in another size differs by that.
_SAME_SCORE = 0.1


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture, with what was enlarged from it."""

    id: int
    is_mine: bool  # a person kept it
    score: float | None  # the best of them
    scorer: str | None  # whose the score is
    width: int  # pixels of the original
    height: int


@dataclass(frozen=True, slots=True)
class Group:
    """Copies of one picture."""

    best: int
    why: str
    others: Mapping[int, float]  # how alike each is to the best one; the most alike first


def groups(candidates: Iterable[Candidate], alike: Mapping[tuple[int, int], float]) -> list[Group]:
    """The groups there are, those of the highest score first. `alike`: pairs of ids that are copies, and how alike.

    Each picture is in one group at most. All of a group are copies of one of them: copies of copies are not enough.
    """
    near: dict[int, dict[int, float]] = {}
    for (one, other), cosine in alike.items():
        near.setdefault(one, {})[other] = cosine
        near.setdefault(other, {})[one] = cosine
    by_id = {each.id: each for each in candidates}
    found = []
    for first in sorted(by_id.values(), key=lambda each: (not each.is_mine, -(each.score or 0.0), each.id)):
        around = {each: cosine for each, cosine in near.get(first.id, {}).items() if each in by_id}
        if first.id in by_id and around:
            members = [first, *(by_id.pop(each) for each in around)]
            best, why = best_of(members)
            told = {each.id: near[best.id].get(each.id, around.get(each.id, 0.0)) for each in members}
            told.update({first.id: around[best.id]} if best is not first else {})
            del told[best.id]
            found.append(Group(best.id, why, dict(sorted(told.items(), key=lambda each: (-each[1], each[0])))))
        by_id.pop(first.id, None)
    return found


def best_of(members: Sequence[Candidate]) -> tuple[Candidate, str]:
    """What a person kept; else the highest score; of about the same score the most pixels; else the first.

    Scores count where all are of one scorer.
    """
    mine = [each for each in members if each.is_mine]
    left = mine or list(members)
    why = "you kept it" if 0 < len(mine) < len(members) else ""
    if len({each.scorer for each in left}) == 1 and (
        scores := [each.score for each in left if each.score is not None]
    ):
        highest = max(scores)
        same = [each for each in left if each.score is not None and each.score > highest - _SAME_SCORE]
        others = [each.score for each in left if each not in same and each.score is not None]
        if len(same) == 1 and len(left) > 1 and not why:
            why = f"its score is the highest: {highest:.2f}" + (f", the next {max(others):.2f}" if others else "")
        left = same
    most = max(each.width * each.height for each in left)
    largest = [each for each in left if each.width * each.height == most]
    if not why and len(largest) == 1 and len(left) > 1:
        why = f"it is the largest: {largest[0].width}×{largest[0].height}, and none has a higher score"
    best = min(largest, key=lambda each: each.id)
    return best, why or "all are alike, and it came first"
