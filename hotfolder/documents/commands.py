"""Commands that wait for a daemon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hotfolder.core.times import span, utc
from hotfolder.folders.layout import Layout
from hotfolder.ledger.reader import Reader
from hotfolder.printable import printable
from hotfolder.status import mailbox


def as_document(layout: Layout, waits: mailbox.Waiting) -> dict[str, Any]:
    """A command that waits, for JSON."""
    return {
        "id": waits.id, "do": str(waits.command.get("do")), "command": described(layout, waits.command),
        "asked_at": utc(waits.asked_at), "begun": waits.is_begun,
    }  # fmt: skip


def described(layout: Layout, command: Mapping[str, Any]) -> str:
    """A command as a person gave it."""
    do = printable(str(command.get("do")))
    match do:
        case "cancel" | "first" | "retry":
            return f"{do} {_what(layout, command)}"
        case "pause" if isinstance(command.get("seconds"), int | float):
            return f"pause for {span(command['seconds'])}"
        case "reroute" if isinstance(command.get("keep"), int | float):
            return f"reroute --keep {command['keep']:g}" + " --also-mine" * (command.get("also_mine") is True)
        case "undo" if isinstance(command.get("asked"), str):
            return "undo of what was asked before"
        case "undo":
            return f"undo {command['last']}" if isinstance(command.get("last"), int) else "reroute --undo"
        case "verdict":
            return f"{printable(str(command.get('verdict')))} {_images(layout, command)}"
        case "stars" if isinstance(command.get("stars"), int):
            return f"{command['stars']} stars: {_images(layout, command)}"
        case "enlarge":
            return f"upscale {_images(layout, command)}"
        case "seen":
            return f"seen: {_images(layout, command)}"
        case "forget_seen":
            return "forget what was looked at"
        case "taste":
            return f"taste {printable(str(command.get('what')))}"
        case "drain" | "undrain":
            name = "drain" if do == "drain" else "resume"
            return f"workers {name} {printable(str(command.get('device')))}"
        case "restore":
            return f"restore {_what(layout, command)}"
    return do


def _images(layout: Layout, command: Mapping[str, Any]) -> str:
    ids = command.get("images") or []
    if len(ids) == 1 and layout.database.exists():
        with Reader(layout.database) as reader:
            row = reader.image_row(ids[0])
        if row is not None:
            return printable(row["path"])
    return f"{len(ids)} images"


def _what(layout: Layout, command: Mapping[str, Any]) -> str:
    if command.get("all") is True:
        return "--all"
    drops, jobs = command.get("drops") or [], command.get("jobs") or []
    line = f" --line {command['line']}" if isinstance(command.get("line"), int) else ""
    if len(drops) == 1 and not jobs and layout.database.exists():
        with Reader(layout.database) as reader:
            path = reader.drop_path(drops[0])
        if path is not None:
            return f"{printable(path)}{line}"
    counts = [f"{len(drops)} files"] * bool(drops) + [f"{len(jobs)} jobs"] * bool(jobs)
    return (" and ".join(counts) or "nothing") + line
