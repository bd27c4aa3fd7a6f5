"""When is a dropped file finished? Decided from what was seen of it, and when."""

from __future__ import annotations

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
    empty_seconds: float  # for a file without a byte: most are just about to get some


#: A file that grew in pieces is given so many times the longest pause between two of them, where the kernel cannot
#: say that its writer is gone; but no more than so many times the usual quiet time.
PAUSES, MOST_QUIET = 2, 20


@dataclass(frozen=True, slots=True)
class Observation:
    """A file as it has been since `since` (seconds since the epoch)."""

    sighting: Sighting
    since: float
    longest_pause: float = 0.0  # seconds between two changes that were seen


@dataclass(frozen=True, slots=True)
class Settled:
    """Whether a file may be taken; if not, why, and when to look again."""

    ready: bool
    reason: str
    look_again_at: float


def observe(before: Observation | None, sighting: Sighting, now: float) -> Observation:
    """The observation after one more look: the clock starts again whenever the file changed."""
    # `since` ahead of now: the clock was set back, and the old time means nothing.
    if before is None or before.since > now:
        return Observation(sighting, now)
    if before.sighting == sighting:
        return before
    return Observation(sighting, now, max(before.longest_pause, now - before.since))


def settle(seen: Observation, writers: Writers, policy: SettlePolicy, now: float) -> Settled:
    """Decides whether a file is finished. The quiet time bridges writers that open, append and close."""
    if writers is Writers.SOME:
        return Settled(False, "a program still has it open for writing", now + policy.quiet_seconds)
    quiet = policy.quiet_seconds
    if writers is Writers.UNKNOWN:
        usual = policy.quiet_seconds_without_lease
        quiet = max(usual, min(PAUSES * seen.longest_pause, MOST_QUIET * usual))
    if seen.sighting.size == 0:
        quiet = max(quiet, policy.empty_seconds)
    due = seen.since + quiet
    if now < due:
        if seen.sighting.size == 0:
            return Settled(False, f"it is empty; taken after {quiet:g} s nevertheless", due)
        return Settled(False, f"it changed {now - seen.since:.1f} s ago; taken after {quiet:g} s of quiet", due)
    return Settled(True, "it is complete", now)
