"""Whose fault a failure is, and what follows: decisions, which the daemon acts on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from hotfolder.errors import EnvironmentTrouble, WorkerLost
from hotfolder.types import ErrorInfo, FailureClass, Job


class Action(StrEnum):
    """What to do with a job that did not succeed."""

    FAIL = "fail"
    RETRY = "retry"  # an attempt is spent
    PAUSE = "pause"  # the whole queue waits, no attempt is spent
    WAIT = "wait"  # the file may still be arriving; no attempt is spent


#: What half of a file may look like: all else is as it is.
_MAYBE_HALF = frozenset(("empty_file", "not_an_image", "truncated_image", "bad_input"))
_MODEL_TROUBLE = frozenset(("model_missing", "model_damaged"))


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


def runs_alone(job: Job) -> bool:
    """Whether a worker, or the daemon, died while it was in work: then it takes no innocent job with it."""
    return bool(job.deaths or job.crashes)


def blamed(error: ErrorInfo, *, is_default_model: bool) -> ErrorInfo:
    """The same error as the fault of whom it is: a model that only this job asks for must not hold up the others."""
    if error.kind in _MODEL_TROUBLE and error.failure is FailureClass.ENVIRONMENT and not is_default_model:
        return replace(error, failure=FailureClass.BAD_INPUT)
    return error


def fault_of_lost_worker(
    how: str, model: str, *, started: bool, loading: bool, is_default_model: bool
) -> ErrorInfo:
    """Whose fault it is that a worker was lost, and `how`: of the files in work, or of none.

    `started`: it came to work; `loading`: it was loading `model` and had no file in work yet. Of a model that only
    some prompt asks for, that prompt is to blame.
    """
    if not started:
        return EnvironmentTrouble(f"the worker cannot start: {how}", "see the log for what it said last").info()
    if loading and is_default_model:
        fix = "see the log; is there memory enough for it?"
        return EnvironmentTrouble(f"loading '{model}' failed: {how}", fix).info()
    return WorkerLost(how, "the file may be too much for the device; see the log").info()


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
