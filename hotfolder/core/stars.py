"""Scores as stars."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hotfolder.types import Verdict

#: What programs take for 'rejected' in the place of stars (XMP specification, part 2, xmp:Rating).
REJECTED = -1
MOST_STARS = 5


def stars_for(score: float, verdict: Verdict | str | None) -> int:
    """Half a star for each point of a score of 1 to 10, rounded: 1 to 5; -1 for what was rejected."""
    return REJECTED if verdict == Verdict.REJECT else math.floor(score / 2 + 0.5)


def verdict_of(stars: int, keep: float) -> Verdict | None:
    """What stars (-1 to 5) say that a person gave, beside a gate that keeps from a score of `keep`.

    -1 rejects, as many as the threshold itself would get, or more, keep; fewer say nothing.
    """
    if stars == REJECTED:
        return Verdict.REJECT
    return Verdict.KEEP if stars >= max(1, stars_for(keep, None)) else None


@dataclass(frozen=True, slots=True)
class Rated:
    """The stars that an image has as far as is known, and the path that it had when they were written, or seen."""

    stars: int
    path: str
    is_mine: bool = False  # a person gave them: they are not written over

    @classmethod
    def of(cls, text: str | None) -> Rated | None:
        """As it is recorded: '4:keep/a.png', with an asterisk before it where a person gave them."""
        stars, _, path = (text or "").removeprefix("*").partition(":")
        return cls(int(stars), path, (text or "").startswith("*")) if path else None

    def __str__(self) -> str:
        return f"{'*' if self.is_mine else ''}{self.stars}:{self.path}"
