"""Journal entries of the first version: one record for everything, with meaning in positions.

`placements` are moves; `image_move` and `parent_move` are indices into them. The dropped file is the last of them
where `drop_placed` or `reopen` is set. Parameters of jobs are tables with flags: measure, set, since.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotfolder.core.prompts import unsaid
from hotfolder.transitions import (
    Chosen,
    Duplicate,
    ErrorReport,
    Failed,
    Generated,
    ImageRetried,
    Move,
    NewImage,
    Rerouted,
    Retried,
    Scored,
    SourceFinished,
    SourceReopened,
    SourceTakenAnew,
    StaleReport,
    Transition,
    Upscaled,
)
from hotfolder.types import (
    Embedding,
    ErrorInfo,
    FailureClass,
    FileIdentity,
    GenerateParams,
    ImageRole,
    JobParams,
    Kind,
    NewJob,
    Purpose,
    Role,
    Score,
    ScoreParams,
    UpscaleParams,
    Verdict,
)

Told = Mapping[str, Any]


def to_transition(told: Told) -> Transition:
    """Raises KeyError, TypeError or ValueError for what is no such entry."""
    base = {"drop_id": told["drop_id"], "source_file": told["source_file"]}
    moves = [_move(each) for each in told["placements"]]
    image, job_id = told["image"], told["job_id"]
    if job_id is not None:
        return _of_job(told, base, moves)
    if told["reopen"] or told["supersede"]:
        ids = (*told["requeue"], *told["supersede"])
        back = SourceReopened if told["reopen"] else SourceTakenAnew
        return back(**base, job_ids=ids, source=moves[-1], stale_report=StaleReport(told["remove"], ids))
    if told["requeue"]:
        ids = tuple(told["requeue"])
        if image is not None:
            stale = StaleReport(told["remove"], ids)
            return ImageRetried(**base, job_id=ids[0], image_id=image["id"], image=moves[0], stale_report=stale)
        return Retried(**base, job_ids=ids, stale_report=_stale(told["remove"], ids))
    if told["drop_placed"]:
        return SourceFinished(**base, source=moves[-1], report=_report(told, moves))
    if told["reroute_id"] is not None:
        verdict = Verdict(image["verdict"])
        return Rerouted(
            **base, image_id=image["id"], verdict=verdict, image=moves[0], reroute_id=told["reroute_id"]
        )
    if image is not None:  # of a set, or a reroute that is undone: both are this
        next_jobs = _jobs(told)
        return Chosen(
            **base, image_id=image["id"], verdict=Verdict(image["verdict"]), image=moves[0], next_jobs=next_jobs
        )
    raise ValueError("it says nothing that is known")


def _of_job(told: Told, base: dict[str, Any], moves: list[Move]) -> Transition:
    base = {**base, "job_id": told["job_id"]}
    image, parent = told["image"], told["parent"]
    if told["state"] == "failed":
        return Failed(
            **base, error=_error(told["error"]), report=_report(told, moves), image=moves[-1] if moves else None,
            image_id=image["id"] if image else None, is_drop=told["drop_placed"],
        )  # fmt: skip
    if told["state"] != "done":
        raise ValueError(f"a job that is '{told['state']}' after all")
    if told["error"] is not None:
        return Duplicate(**base, note=_error(told["error"]), original=moves[-1] if moves else None)
    if told["score"] is not None:
        new = _new_image(image) if image["id"] is None else None
        return Scored(
            **base, sha256=image["sha256"], score=Score(**told["score"]),
            parts=tuple(Score(**each) for each in told["parts"]),
            embeddings=tuple(Embedding(**each) for each in told["embeddings"]),
            image_id=image["id"], new_image=new, verdict=Verdict(image["verdict"]) if image["verdict"] else None,
            settings=image["settings"], image=moves[0] if moves else None, is_drop=told["drop_placed"],
            next_jobs=_jobs(told),
        )  # fmt: skip
    if image["role"] == Role.GENERATED:
        return Generated(**base, new_image=_new_image(image), image=moves[0], next_jobs=_jobs(told))
    return Upscaled(
        **base, new_image=_new_image(image), image=moves[0],
        new_original=_new_image(parent) if parent else None, original=moves[1] if parent else None,
        next_jobs=_jobs(told),
    )  # fmt: skip


def _move(told: Told) -> Move:
    inode = told["inode"]
    return Move(told["src"], told["dst"], FileIdentity(inode, None, None) if inode else None)


def _new_image(told: Told) -> NewImage:
    return NewImage(
        Role(told["role"]), told["sha256"], told["width"], told["height"], told["parent_id"], told["prompt"],
        told["negative_prompt"], told["seed"], told["model"], told["settings"],
    )  # fmt: skip


def _report(told: Told, moves: list[Move]) -> ErrorReport | None:
    if told["sidecar"] is None:
        return None
    return ErrorReport(moves[-1].dst if moves else told["sidecar_for"], told["sidecar"])


def _stale(path: str | None, ids: tuple[int, ...]) -> StaleReport | None:
    return StaleReport(path, ids) if path is not None else None


def _error(told: Told) -> ErrorInfo:
    return ErrorInfo(told["kind"], FailureClass(told["failure"]), told["message"], told["fix"])


def _jobs(told: Told) -> tuple[NewJob, ...]:
    return tuple(
        NewJob(
            Kind(job["kind"]), job["model"], to_params(Kind(job["kind"]), job["params"]), job["source"],
            {"image": ImageRole.IMAGE, "parent": ImageRole.ORIGINAL}.get(job["about"]), job["try_number"],
            _error(job["error"]) if job["error"] else None,
        )
        for job in told["followups"]
    )  # fmt: skip


def to_params(kind: Kind, told: Told) -> JobParams | None:
    """Parameters as they were: a table, with flags among the fields of the prompt."""
    if kind is Kind.UPSCALE:
        return UpscaleParams(told.get("scale"), told.get("format"))
    fields = {key: value for key, value in told.items() if key not in ("measure", "set", "since")}
    generated = GenerateParams(unsaid(fields), told.get("set"), told.get("since")) if fields else None
    if kind is Kind.GENERATE:
        return generated
    return ScoreParams(Purpose.MEASURE if told.get("measure") else Purpose.JUDGE, generated)
