"""`hotfolder show`: where an image comes from, and what came of it."""

from __future__ import annotations

import json
import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.finding import find_image
from hotfolder.cli.times import utc
from hotfolder.config.root import find_root
from hotfolder.core.samplers import sampler_called
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable

#: So many tries of one prompt are listed.
_MOST_TRIES = 50
_FLAGS = (
    "seed", "negative_prompt", "model", "steps", "guidance", "width", "height", "sampler", "strength", "wildcards",
)  # fmt: skip


def run_show(given: Path | None, image: Path, *, as_json: bool) -> None:
    """Raises UsageError for a file that is no result of this root."""
    layout = Layout(find_root(given))
    with Reader(layout.database) as reader:
        found = find_image(reader, layout, image)
        answer = {**_answer(reader, layout, found.row), "note": found.note}
    if as_json:
        table.write_json(answer)
    else:
        sys.stdout.write(_text(answer))


def _answer(reader: Reader, layout: Layout, row: dict[str, Any]) -> dict[str, Any]:
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
        "reproduce": _reproduce(layout, row, parent_row),
    }


def _facts(reader: Reader, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "path": row["path"], "is_gone": row["gone_at"] is not None, "role": row["role"], "verdict": row["verdict"],
        "verdict_by": row["verdict_by"], "score": row["score"],
        "scorer": row["scorer"], "gain": reader.gain_of(row["path"]) if row["role"] == "upscaled" else None,
        "seed": row["seed"], "model": row["model"], "width": row["width"], "height": row["height"],
        "created_at": utc(row["created_at"]), "stopped": json.loads(row["settings"]).get("stopped"),
    }  # fmt: skip


def _branch(reader: Reader, image_id: int) -> dict[str, Any]:
    row = reader.image_row(image_id)
    assert row is not None
    return {**_facts(reader, row), "became": [_branch(reader, child) for child in reader.children(image_id)]}


def _reproduce(layout: Layout, row: dict[str, Any], parent: dict[str, Any] | None) -> str | None:
    """A command that makes the same image again; None for one that was dropped."""
    if row["role"] == "upscaled" and parent is not None:
        settings = json.loads(row["settings"])
        source = shlex.quote(str(layout.root / parent["path"]))
        return (
            f"hotfolder upscale {source} --model {shlex.quote(row['model'])} --scale {settings.get('scale', 4):g}"
        )
    if row["role"] != "generated":
        return None
    settings = {**json.loads(row["settings"]), "seed": row["seed"], "model": row["model"], "wildcards": "off"}
    settings["negative_prompt"] = row["negative_prompt"]
    if sampler_called(str(settings.get("sampler"))) is None:
        settings["sampler"] = None  # the model's own, which has no name
    words = ["hotfolder", "generate", "--root", str(layout.root), "--exact"]
    for key in _FLAGS:
        if settings.get(key) not in (None, ""):
            words += [f"--{key.replace('_', '-')}", str(settings[key])]
    for name, weight in (settings.get("lora") or {}).items():
        words += ["--lora", f"{name}:{weight}"]
    if settings.get("init_image"):
        words += ["--init-image", str(layout.root / settings["init_image"])]
    return shlex.join([*words, "--", row["prompt"]])


def _text(answer: dict[str, Any]) -> str:
    when = datetime.fromisoformat(answer["created_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
    lines = [f"{printable(answer['path'])}  {answer['width']} × {answer['height']}  {answer['role']} {when}"]
    for score in answer["scores"]:
        mark = "" if score["gate"] else "  (beside the gate)"
        lines.append(f"  {score['score']:.2f} by {score['scorer']}, {score['precision']}{mark}")
    lines += [f"  {_told(each)}" for each in answer["verdicts"] if each["given_by"] == "person"]
    lines += [f"  note: {printable(note)}" for note in answer["settings"].get("notes", ())]
    if answer["note"]:
        lines.append(f"  {printable(answer['note'])}")
    lines.append("")
    source = printable(answer["source_file"] or "a file that is not known")
    lines.append(source)
    if answer["prompt"]:
        lines.append(f"  “{printable(answer['prompt'])}”")
    if answer["settings"].get("template"):
        lines.append(f"  from “{printable(answer['settings']['template'])}”")
    lines += [f"  note: {printable(str(note))}" for note in answer["settings"].get("notes") or ()]
    for number, branch in enumerate(answer["lineage"]):
        _draw(branch, "  ", answer["path"], lines, last=number == len(answer["lineage"]) - 1)
    if answer["reproduce"]:
        lines += ["", "the same again:", f"  {printable(answer['reproduce'])}"]
    return "\n".join(lines) + "\n"


def _told(verdict: dict[str, Any]) -> str:
    """A person's verdict, and what the gate would have had to say."""
    when = datetime.fromisoformat(verdict["created_at"]).astimezone().strftime("%Y-%m-%d %H:%M")
    how = {"moved": "you moved it", "command": "you said so", "key": "you said so"}.get(verdict["how"], "by you")
    return f"{verdict['verdict']}: {how}, {when}"


def _draw(branch: dict[str, Any], indent: str, about: str, lines: list[str], *, last: bool) -> None:
    score = "not scored" if branch["score"] is None else f"{branch['score']:.2f}"
    seed = f"seed {branch['seed']}, " if branch["role"] == "generated" else ""
    gain = f", gain {branch['gain']:+.2f}" if branch["gain"] is not None else ""
    verdict = f" {branch['verdict']}" if branch["verdict"] else ""
    gone = "  (gone)" if branch["is_gone"] else ""
    stopped = f"  ({branch['stopped']})" if branch["stopped"] else ""
    here = "  ◀" if branch["path"] == about else ""
    path = f"{printable(branch['path'])}{gone}"
    lines.append(f"{indent}{'└' if last else '├'}─ {seed}{score}{verdict}{gain}  {path}{stopped}{here}")
    for number, child in enumerate(branch["became"]):
        deeper = indent + ("   " if last else "│  ")
        _draw(child, deeper, about, lines, last=number == len(branch["became"]) - 1)
