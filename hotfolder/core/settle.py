"""When is a dropped file finished? Decided from what was seen of it, and when."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from enum import StrEnum

from hotfolder.types import Sighting


class Writers(StrEnum):
    """What the kernel says about processes that have the file open for writing."""

    NONE = "none"
    SOME = "some"
    UNKNOWN = "unknown"  # the file system has no leases, or the file is somebody else's


@dataclass(frozen=True, slots=True)
class SettlePolicy:
    """Seconds without a change before a file is taken."""

    quiet_seconds: float  # where the kernel says that no writer is left
    quiet_seconds_without_lease: float  # where it cannot say


@dataclass(frozen=True, slots=True)
class Observation:
    """A file as it has been since `since` (seconds since the epoch)."""

    sighting: Sighting
    since: float


@dataclass(frozen=True, slots=True)
class Settled:
    """Whether a file may be taken; if not, why, and when to look again."""

    ready: bool
    reason: str
    look_again_at: float


def observe(before: Observation | None, sighting: Sighting, now: float) -> Observation:
    """The observation after one more look: the clock starts again whenever the file changed."""
    # `since` ahead of now: the clock was set back, and the old time means nothing.
    if before is not None and before.sighting == sighting and before.since <= now:
        return before
    return Observation(sighting, now)


def settle(seen: Observation, writers: Writers, policy: SettlePolicy, now: float) -> Settled:
    """Decides whether a file is finished. The quiet time bridges writers that open, append and close."""
    if writers is Writers.SOME:
        return Settled(False, "a program still has it open for writing", now + policy.quiet_seconds)
    quiet = policy.quiet_seconds if writers is Writers.NONE else policy.quiet_seconds_without_lease
    due = seen.since + quiet
    if now < due:
        return Settled(False, f"it changed {now - seen.since:.1f} s ago; taken after {quiet:g} s of quiet", due)
    return Settled(True, "it is complete", now)


def ignored(name: str, patterns: tuple[str, ...]) -> str | None:
    """The pattern by which a file or folder name is left alone, or None. Case is ignored."""
    lowered = name.lower()
    return next((p for p in patterns if fnmatch.fnmatchcase(lowered, p.lower())), None)
