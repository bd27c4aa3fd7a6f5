"""Rows to records, and typed parameters to columns: the only place."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from hotfolder.core.prompts import said, unsaid
from hotfolder.types import (
    Drop,
    FailedJob,
    FileIdentity,
    GenerateParams,
    Job,
    JobParams,
    Judge,
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


@dataclass(frozen=True, slots=True)
class Restorable:
    """A dropped file whose work has ended: where it lies, and which file that is."""

    drop: Drop
    state: str  # 'placed' or 'failed'
    lies: str  # relative to the root
    image_id: int | None
    identity: FileIdentity | None
    is_gone: bool


def to_restorable(row: sqlite3.Row) -> Restorable:
    drop = to_drop(row)
    identity = drop.sighting.identity
    if row["image_id"] is not None:
        known = row["image_inode"] is not None
        identity_of_image = FileIdentity(row["image_inode"], row["image_size"], row["image_mtime_ns"])
        return Restorable(
            drop, row["state"], row["lies"], row["image_id"], identity_of_image if known else None,
            row["gone_at"] is not None,
        )  # fmt: skip
    return Restorable(drop, row["state"], row["lies"], None, identity, is_gone=False)


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
        judge=Judge(row["verdict_by"]) if row["verdict_by"] in list(Judge) else None,
        identity=to_identity(row),
        is_gone=row["gone_at"] is not None,
    )


def to_identity(row: sqlite3.Row) -> FileIdentity | None:
    """Of an image's file; None where it was not seen since it became known what to remember."""
    return None if row["inode"] is None else FileIdentity(row["inode"], row["size"], row["mtime_ns"])


def identity_columns(identity: FileIdentity | None) -> dict[str, Any]:
    """The same as columns."""
    if identity is None:
        return {"inode": None, "size": None, "mtime_ns": None}
    return {"inode": identity.inode, "size": identity.size, "mtime_ns": identity.mtime_ns}


def range_of(inbox: str) -> dict[str, str]:
    """Between these lie the dropped files of an inbox."""
    return {"first": f"inbox/{inbox}/", "last": f"inbox/{inbox}0"}
