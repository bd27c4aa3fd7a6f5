"""Rows to records, and typed parameters to columns: the only place."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from typing import Any

from hotfolder.core.prompts import said, unsaid
from hotfolder.types import (
    Drop,
    FailedJob,
    GenerateParams,
    Job,
    JobParams,
    Kind,
    Purpose,
    Role,
    ScoreParams,
    Sighting,
    StoredImage,
    UpscaleParams,
    Verdict,
)


def to_job(row: sqlite3.Row) -> Job:
    kind = Kind(row["kind"])
    return Job(
        id=row["id"],
        kind=kind,
        drop_id=row["drop_id"],
        source_file=row["source_file"],
        source=row["source"],
        model=row["model"],
        attempt=row["attempt"],
        claim=row["claim"],
        created_at=row["created_at"],
        params=_to_params(kind, row),
        image_id=row["image_id"],
        try_number=row["try_number"],
        deaths=row["deaths"],
        crashes=row["crashes"],
    )


def _to_params(kind: Kind, row: sqlite3.Row) -> JobParams | None:
    if kind is Kind.UPSCALE:
        told = json.loads(row["params"])
        return UpscaleParams(told.get("scale"), told.get("format"))
    generated = to_generate_params(row) if row["params"] != "{}" else None
    return generated if kind is Kind.GENERATE else ScoreParams(Purpose(row["purpose"]), generated)


def to_generate_params(row: sqlite3.Row) -> GenerateParams:
    """Of a job that generates an image, or scores one that was generated."""
    return GenerateParams(unsaid(json.loads(row["params"])), row["set_number"], row["first_judged_at"])


def job_columns(params: JobParams | None) -> dict[str, Any]:
    """The columns of a job that hold its parameters."""
    columns: dict[str, Any] = {"params": "{}", "purpose": None, "set_number": None, "first_judged_at": None}
    match params:
        case GenerateParams():
            told = json.dumps(said(params.request))
            return {
                **columns, "params": told, "set_number": params.set_number, "first_judged_at": params.first_judged_at,
            }  # fmt: skip
        case ScoreParams():
            return {**job_columns(params.generated), "purpose": params.purpose}
        case UpscaleParams():
            return {**columns, "params": json.dumps(asdict(params))}
    return columns


def to_failed_job(row: sqlite3.Row) -> FailedJob:
    return FailedJob(
        row["id"], Kind(row["kind"]), row["attempt"], row["error_kind"], row["error"], row["fix"] or ""
    )


def to_drop(row: sqlite3.Row) -> Drop:
    sighting = Sighting(row["path"], row["size"], row["mtime_ns"], row["inode"], row["device"])
    return Drop(row["id"], Kind(row["kind"]), sighting, row["seen_at"])


def to_image(row: sqlite3.Row) -> StoredImage:
    return StoredImage(
        id=row["id"],
        path=row["path"],
        sha256=row["sha256"],
        role=Role(row["role"]),
        verdict=Verdict(row["verdict"]) if row["verdict"] else None,
        width=row["width"],
        height=row["height"],
        parent_id=row["parent_id"],
        prompt=row["prompt"],
        negative_prompt=row["negative_prompt"],
        seed=row["seed"],
        model=row["model"],
        source_file=row["source_file"],
        drop_id=row["drop_id"],
        score=row["score"],
        scorer=row["scorer"],
    )
