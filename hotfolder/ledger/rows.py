"""Rows to records, and typed parameters to columns: the only place."""

from __future__ import annotations

import json
import sqlite3
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
    text = row["params"]
    told: dict[str, Any] = json.loads(text) if text != "{}" else {}
    if kind is Kind.UPSCALE:
        return UpscaleParams(told.get("scale"), told.get("format"))
    generated = GenerateParams(unsaid(told), row["set_number"], row["first_judged_at"]) if told else None
    if kind is Kind.GENERATE:
        return generated
    return ScoreParams(Purpose(row["purpose"]), generated)


def to_generate_params(row: sqlite3.Row) -> GenerateParams:
    """Of a job that generated an image, or scored one that was generated."""
    return GenerateParams(unsaid(json.loads(row["params"])), row["set_number"], row["first_judged_at"])


def job_columns(params: JobParams | None) -> dict[str, Any]:
    """The columns of a job that hold its parameters."""
    purpose = params.purpose if isinstance(params, ScoreParams) else None
    generated = params.generated if isinstance(params, ScoreParams) else params
    told: dict[str, Any] = {}
    if isinstance(generated, GenerateParams):
        told = said(generated.request)
    elif isinstance(generated, UpscaleParams):
        told = {"scale": generated.scale, "format": generated.format}
    return {
        "params": json.dumps(told) if told else "{}",
        "purpose": purpose,
        "set_number": generated.set_number if isinstance(generated, GenerateParams) else None,
        "first_judged_at": generated.first_judged_at if isinstance(generated, GenerateParams) else None,
    }


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
