"""Rows to records."""

from __future__ import annotations

import json
import sqlite3

from hotfolder.types import Drop, Job, Kind, Sighting


def to_job(row: sqlite3.Row) -> Job:
    return Job(
        id=row["id"],
        kind=Kind(row["kind"]),
        drop_id=row["drop_id"],
        source_file=row["source_file"],
        source=row["source"],
        model=row["model"],
        attempt=row["attempt"],
        claim=row["claim"],
        created_at=row["created_at"],
        params=json.loads(row["params"]),
        image_id=row["image_id"],
        try_number=row["try_number"],
        deaths=row["deaths"],
        crashes=row["crashes"],
    )


def to_drop(row: sqlite3.Row) -> Drop:
    sighting = Sighting(row["path"], row["size"], row["mtime_ns"], row["inode"], row["device"])
    return Drop(row["id"], Kind(row["kind"]), sighting, row["seen_at"])
