"""Everything that `hotfolder show` tells of an image."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from hotfolder.core.samplers import sampler_called
from hotfolder.core.stars import Rated
from hotfolder.core.times import utc
from hotfolder.ledger.reader import Reader

#: So many tries of one prompt are listed.
_MOST_TRIES = 50
_FLAGS = (
    "seed", "negative_prompt", "model", "steps", "guidance", "width", "height", "sampler", "strength", "wildcards",
)  # fmt: skip


def image_document(reader: Reader, row: dict[str, Any], root: Path) -> dict[str, Any]:
    """Where an image comes from, what came of it, who judged it, and how to make it again.

    `root` is the root as the command that makes it again is to call it.
    """
    ancestors: list[dict[str, Any]] = []
    above = row
    while above["parent_id"] is not None and (parent := reader.image_row(above["parent_id"])) is not None:
        ancestors.insert(0, parent)
        above = parent
    oldest = ancestors[0] if ancestors else row
    tries = [oldest["id"]]
    if oldest["drop_id"] is not None and oldest["prompt"] is not None:
        tries = reader.tries(oldest["drop_id"], oldest["prompt"], _MOST_TRIES) or tries
    parent_row = reader.image_row(row["parent_id"]) if row["parent_id"] is not None else None
    return {
        **_facts(reader, row),
        "source_file": row["source_file"],
        "prompt": row["prompt"],
        "negative_prompt": row["negative_prompt"],
        "settings": json.loads(row["settings"]),
        "scores": reader.scores_of_image(row["id"]),
        "verdicts": [
            {**each, "created_at": utc(each["created_at"])} for each in reader.verdicts_of_image(row["id"])
        ],
        "lineage": [_branch(reader, image_id) for image_id in tries],
        "reproduce": _reproduce(root, row, parent_row),
    }


def _facts(reader: Reader, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": row["path"], "is_gone": row["gone_at"] is not None, "role": row["role"], "verdict": row["verdict"],
        "verdict_by": row["verdict_by"], "stars": _given_stars(row["rated"]), "score": row["score"],
        "scorer": row["scorer"], "gain": reader.gain_of(row["path"]) if row["role"] == "upscaled" else None,
        "seed": row["seed"], "model": row["model"], "width": row["width"], "height": row["height"],
        "created_at": utc(row["created_at"]), "stopped": json.loads(row["settings"]).get("stopped"),
    }  # fmt: skip


def _given_stars(rated: str | None) -> int | None:
    """Those that a person gave."""
    known = Rated.of(rated)
    return known.stars if known is not None and known.is_mine else None


def _branch(reader: Reader, image_id: int) -> dict[str, Any]:
    row = reader.image_row(image_id)
    assert row is not None
    return {**_facts(reader, row), "became": [_branch(reader, child) for child in reader.children(image_id)]}


def _reproduce(root: Path, row: dict[str, Any], parent: dict[str, Any] | None) -> str | None:
    """A command that makes the same image again; None for one that was dropped."""
    if row["role"] == "upscaled" and parent is not None:
        settings = json.loads(row["settings"])
        scale = f"{settings.get('scale', 4):g}"
        # Without the root, the original would be a file like any other, and enlarged beside it.
        words = ["hotfolder", "upscale", "--root", str(root), str(root / parent["path"])]
        return shlex.join([*words, "--model", row["model"], "--scale", scale])
    if row["role"] != "generated":
        return None
    settings = {**json.loads(row["settings"]), "seed": row["seed"], "model": row["model"], "wildcards": "off"}
    settings["negative_prompt"] = row["negative_prompt"]
    if sampler_called(str(settings.get("sampler"))) is None:
        settings["sampler"] = None  # the model's own, which has no name
    words = ["hotfolder", "generate", "--root", str(root), "--exact"]
    for key in _FLAGS:
        if settings.get(key) not in (None, ""):
            words += [f"--{key.replace('_', '-')}", str(settings[key])]
    for name, weight in (settings.get("lora") or {}).items():
        words += ["--lora", f"{name}:{weight}"]
    if settings.get("init_image"):
        words += ["--init-image", str(root / settings["init_image"])]
    # Behind "--" all is a prompt, also an option that a person adds at the end: it stands there only where it must.
    return shlex.join([*words, *(["--"] if row["prompt"].startswith("-") else []), row["prompt"]])
