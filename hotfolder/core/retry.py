"""What follows when a job fails: a decision, which the daemon acts on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hotfolder.types import ErrorInfo, FailureClass, Job


class Action(StrEnum):
    """What to do with a job that did not succeed."""

    FAIL = "fail"
    RETRY = "retry"  # an attempt is spent
    PAUSE = "pause"  # the whole queue waits, no attempt is spent
    WAIT = "wait"  # the file may still be arriving; no attempt is spent


#: What half of a file may look like: all else is as it is.
_MAYBE_HALF = frozenset(("empty_file", "not_an_image", "truncated_image", "bad_input"))


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How patient the line is."""

    max_attempts: int
    backoff_seconds: float  # doubled with every attempt
    max_deaths: int  # workers that may die on one job
    pause_seconds: float  # how long the queue waits before it tries the environment again
    incomplete_grace_seconds: float  # how long a damaged file may still turn whole


@dataclass(frozen=True, slots=True)
class RetryDecision:
    """An action, and the moment (seconds since the epoch) before which the job is left alone."""

    action: Action
    not_before: float


def decide(
    error: ErrorInfo, job: Job, policy: RetryPolicy, now: float, seen_at: float | None, jitter: float
) -> RetryDecision:
    """Decides about a failed job; `seen_at` is when its dropped file was first seen as it is, if it has one.

    `jitter`, 0 to 1, draws out the pauses by up to a quarter, so that jobs which failed together do not come back
    together.
    """
    backoff = policy.backoff_seconds * (1 + jitter / 4)
    match error.failure:
        case FailureClass.BAD_INPUT:
            # Half of a file looks like a broken one: give a young file time to turn whole.
            settled_at = (seen_at or 0.0) + policy.incomplete_grace_seconds
            if error.kind in _MAYBE_HALF and seen_at is not None and now < settled_at:
                return RetryDecision(Action.WAIT, settled_at)
            return RetryDecision(Action.FAIL, now)
        case FailureClass.ENVIRONMENT:
            return RetryDecision(Action.PAUSE, now + policy.pause_seconds)
        case FailureClass.POISON:
            if job.deaths + 1 >= policy.max_deaths:
                return RetryDecision(Action.FAIL, now)
            return RetryDecision(Action.RETRY, now + backoff)
        case FailureClass.TRANSIENT:
            if job.attempt >= policy.max_attempts:
                return RetryDecision(Action.FAIL, now)
            return RetryDecision(Action.RETRY, now + backoff * 2 ** (job.attempt - 1))
