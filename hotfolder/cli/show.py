"""`hotfolder show`: where an image comes from, and what came of it."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.finding import NOT_KNOWN, find_image
from hotfolder.config.root import find_root
from hotfolder.documents.image import image_document
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable


def run_show(given: Path | None, image: Path, *, as_json: bool) -> None:
    """Raises UsageError for a file that is no result of this root."""
    layout = Layout(find_root(given))
    with Reader(layout.database) as reader:
        found = find_image(reader, layout, image)
        answer = {**image_document(reader, found.row, layout.root), "note": found.note}
    if as_json:
        table.write_json({"root": str(layout.root), **answer})
    else:
        sys.stdout.write(_text(answer))


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
    source = printable(answer["source_file"] or NOT_KNOWN)
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
    how = {"moved": "you moved it", "stars": "by your stars"}.get(verdict["how"], "you said so")
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
