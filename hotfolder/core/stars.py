"""Scores as stars."""

from __future__ import annotations

import math

from hotfolder.types import Verdict

#: What programs take for 'rejected' in the place of stars (XMP specification, part 2, xmp:Rating).
REJECTED = -1


def stars_for(score: float, verdict: Verdict | str | None) -> int:
    """Half a star for each point of a score of 1 to 10, rounded: 1 to 5; -1 for what was rejected."""
    return REJECTED if verdict == Verdict.REJECT else math.floor(score / 2 + 0.5)
