"""Drawing new seeds until so many were kept: how many more are begun, and why it ends."""

from __future__ import annotations

from dataclasses import dataclass

#: Without --at-most, so many times as many seeds are drawn as are to be kept.
USUAL_FACTOR = 12


@dataclass(frozen=True, slots=True)
class Run:
    """Where such a run stands."""

    kept: int
    drawn: int  # seeds that were begun, also those that failed
    in_work: int  # of them are to be drawn or judged still
    is_cancelled: bool = False  # a person wants no more of it


@dataclass(frozen=True, slots=True)
class Next:
    """How many more seeds are begun, and what is to be said where it ends."""

    more: int = 0
    stopped: str | None = None


def at_first(wanted: int, most: int) -> int:
    """How many seeds are begun at once."""
    return min(wanted, most)


def following(run: Run, wanted: int, most: int) -> Next:
    """Never more are in work than are still missing, so that none is kept too many."""
    if run.is_cancelled:
        # Also where as many were drawn as may be: what a person did is what ended it.
        return Next(stopped=None if run.in_work else f"it was cancelled: {run.kept} of {wanted} were kept")
    missing = wanted - run.kept
    if missing <= 0:
        return Next(stopped=f"{run.kept} of {run.drawn} were kept, as many as --until-kept asks for")
    more = max(0, min(missing - run.in_work, most - run.drawn))
    if more or run.in_work:
        return Next(more)
    return Next(stopped=f"{run.drawn} seeds are as many as --at-most allows: {run.kept} of {wanted} were kept")
