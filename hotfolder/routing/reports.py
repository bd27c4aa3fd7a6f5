"""What is told of failures: the content of <name>.error.json."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from hotfolder.transitions import ErrorReport
from hotfolder.types import ErrorInfo, FailedJob, FailureClass, Job


def failed_job(job: Job, error: ErrorInfo) -> FailedJob:
    return FailedJob(job.id, job.kind, job.attempt, error.kind, error.message, error.fix)


def of_failures(beside: str, source_file: str, failures: Sequence[FailedJob], now: float) -> ErrorReport:
    """The first failure at the top, all of them below; `now` in seconds since the epoch."""
    first = failures[0]
    content = {
        "schema_version": 1,
        "kind": first.error_kind,
        "message": first.message,
        "fix": first.fix,
        "source_file": source_file,
        "failed_at": datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds"),
        "jobs": [
            {
                "job_id": failure.id, "kind": failure.kind, "attempts": failure.attempts,
                "error_kind": failure.error_kind, "message": failure.message, "fix": failure.fix,
            }
            for failure in failures
        ],
    }  # fmt: skip
    return ErrorReport(beside, content)


def duplicate(twin: str) -> ErrorInfo:
    """What is recorded with the job of a picture that lies there already."""
    return ErrorInfo("duplicate", FailureClass.BAD_INPUT, f"the same picture is {twin} already")
