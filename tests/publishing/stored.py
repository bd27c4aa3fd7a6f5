"""Roots that were stored with a journal of some version: unpacking them, and what a root holds in the end."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any


def unpack(stored: Path, root: Path) -> None:
    """Makes the root as it lay at the power cut.

    A copied file has another inode, and git keeps no times: both are put right, in the files and in the rows.
    """
    shutil.copytree(stored / "tree", root)
    inodes: dict[int, int] = {}
    first: dict[int, Path] = {}
    for name, facts_ in json.loads((stored / "files.json").read_text()).items():
        path, number = root / name, facts_["inode"]
        if number in first:  # two names of one file
            path.unlink()
            os.link(first[number], path)
        first[number] = path
        os.utime(path, ns=(facts_["mtime_ns"], facts_["mtime_ns"]))
        inodes[number] = path.lstat().st_ino
    connection = sqlite3.connect(root / "hotfolder.db")
    with connection:
        connection.executescript((stored / "database.sql").read_text())
        for drop, inode in connection.execute("SELECT id, inode FROM drops").fetchall():
            # Of some the file has been replaced by another one since.
            connection.execute("UPDATE drops SET inode = ? WHERE id = ?", (inodes.get(inode, 0), drop))
        for entry, text in connection.execute("SELECT id, publication FROM journal").fetchall():
            publication = json.loads(text)
            for placement in publication["placements"]:
                placement["inode"] = inodes[placement["inode"]]
            connection.execute("UPDATE journal SET publication = ? WHERE id = ?", (json.dumps(publication), entry))
    connection.close()


def facts(root: Path) -> dict[str, Any]:
    """What a root holds, without numbers of rows and without times."""
    connection = sqlite3.connect(root / "hotfolder.db")

    connection.row_factory = sqlite3.Row

    def rows(sql: str) -> list[dict[str, Any]]:
        return sorted((dict(row) for row in connection.execute(sql)), key=repr)

    found = {
        "files": {path: None if is_sidecar(path) else sha256(root / path) for path in files_of(root)},
        "sidecars": {path: told(root / path) for path in files_of(root) if is_sidecar(path)},
        "images": rows(
            "SELECT images.path, images.sha256, images.role, images.verdict, images.score, "
            "parents.path AS parent_path, images.prompt, images.seed, images.settings ->> 'template' AS template, "
            "images.settings ->> 'stopped' AS stopped, jobs.kind AS made_by, images.source_file "
            "FROM images LEFT JOIN images AS parents ON parents.id = images.parent_id "
            "LEFT JOIN jobs ON jobs.id = images.job_id"
        ),
        "jobs": rows("SELECT source_file, kind, state, try_number, error_kind FROM jobs"),
        "drops": rows("SELECT path, kind, state, placed_path FROM drops"),
        "scores": rows(
            "SELECT path, scores.score, scores.scorer, gate FROM scores JOIN images ON images.id = image_id"
        ),
        # Layouts are newer than the stored roots, whose scores that are still to be made get one now.
        "embeddings": rows(
            "SELECT encoder, hex(vector) AS vector FROM embeddings WHERE encoder NOT LIKE 'layout/%'"
        ),
        "reroutes": rows(
            "SELECT images.path, substr(path_before, 1, instr(path_before, '/') - 1) AS verdict "
            "FROM verdict_history JOIN images ON images.id = image_id WHERE action_id IS NOT NULL"
        ),
    }
    connection.close()
    return found


def files_of(root: Path) -> list[str]:
    """All files of people, and all images on their way; without the daemon's own notes."""
    found = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    kept = [
        path.as_posix()
        for path in found
        if not path.name.startswith("hotfolder.")
        and (path.parts[0] != ".hotfolder" or path.parts[1] in ("staging", "unscored"))
    ]
    return sorted(kept)


def is_sidecar(path: str) -> bool:
    return path.endswith(".error.json")


def told(path: Path) -> dict[str, Any]:
    """What a sidecar says, without numbers of rows and times."""
    said = json.loads(path.read_bytes())
    jobs = [{key: job[key] for key in ("kind", "attempts", "error_kind")} for job in said["jobs"]]
    return {**{key: said[key] for key in ("kind", "message", "source_file", "file")}, "jobs": jobs}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
