"""`hotfolder status`."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from hotfolder import __version__
from hotfolder.cli.workers import heat, is_long_out, one_line
from hotfolder.config.root import find_root
from hotfolder.core.times import span
from hotfolder.documents.status import STATES, gather
from hotfolder.errors import UsageError
from hotfolder.folders.layout import Layout
from hotfolder.printable import printable
from hotfolder.status.live import Snapshot, read

#: Seconds between two looks.
_WATCH_EVERY = 1.0
#: Commands that are named.
_SOME = 5


def one_of(**wanted: bool) -> None:
    """Raises UsageError where more than one of these options is there."""
    names = [f"--{name}" for name, is_there in wanted.items() if is_there]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} exclude each other", "choose one")


def check_status(given: Path | None, *, most_failures: int, as_json: bool) -> int:
    """For a monitoring system; gives its exit code. Nothing is raised but for Ctrl-C."""
    from hotfolder.cli.check import run_check

    return run_check(lambda: gather(Layout(find_root(given))), time.time(), most_failures, as_json=as_json)


def export_status(given: Path | None, target: str) -> None:
    """For Prometheus, to a file or with '-' to stdout. Raises UsageError where it cannot be written."""
    from hotfolder.status.prometheus import write

    write(gather(Layout(find_root(given))), time.time(), target)


def show_status(given: Path | None, *, as_json: bool, watch: bool) -> None:
    """Once, or again and again until Ctrl-C. Raises UsageError for JSON that would not end."""
    layout = Layout(find_root(given))
    if watch and as_json:
        raise UsageError("--watch does not end, so it cannot be one JSON document", "leave one of the two out")
    if as_json:
        sys.stdout.write(json.dumps(gather(layout), indent=2) + "\n")
    elif not watch:
        sys.stdout.write(_text(gather(layout), read(layout.live_status)))
    else:
        _watch(layout)


def _watch(layout: Layout) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            _watch_on_terminal(layout)
        while True:
            sys.stdout.write(f"{_text(gather(layout), read(layout.live_status))}\n")
            sys.stdout.flush()
            time.sleep(_WATCH_EVERY)


def _watch_on_terminal(layout: Layout) -> NoReturn:
    from rich.live import Live  # only here: it takes its time
    from rich.text import Text

    with Live(auto_refresh=False, screen=True) as display:
        while True:
            clock = datetime.now().astimezone().strftime("%H:%M:%S")
            text = f"{_text(gather(layout), read(layout.live_status))}\n{clock}, Ctrl-C ends"
            display.update(Text(text), refresh=True)
            time.sleep(_WATCH_EVERY)


def _text(found: dict[str, Any], live: Snapshot | None) -> str:
    daemon = found["daemon"]
    lines = [f"root     {found['root']}"]
    if not daemon["running"]:
        lines.append("daemon   not running (start it with: hotfolder run)")
        lines += _interrupted(found)
    elif live is None or daemon["stage"] is None:
        lines.append(f"daemon   process {daemon['pid']}, {_why_untold(found)}")
        lines += _interrupted(found)
    else:
        since = f" for {span(time.time() - live.started_at)}"
        lines.append(f"daemon   running, process {daemon['pid']}{since}, watching by {daemon['watcher']}")
        if daemon["version"] not in (None, __version__):
            lines.append(f"version  the daemon is of {daemon['version']}, this is {__version__}: start it anew")
        step = f" {daemon['step']}/{daemon['steps']}" if daemon["steps"] else ""
        left = f", {span(daemon['eta_seconds'])} left" if daemon["eta_seconds"] else ""
        lines.append(f"now      {daemon['stage']}{step}{left}")
        if len(daemon["devices"]) > 1 or any(map(is_long_out, daemon["devices"])):
            lines += [
                f"{'devices' if not number else '':<9}{one_line(each)}"
                for number, each in enumerate(daemon["devices"])
            ]
        elif daemon["memory_total"]:
            used, total = daemon["memory_used"] / 2**30, daemon["memory_total"] / 2**30
            hot = "".join(map(heat, daemon["devices"]))
            lines.append(f"device   {daemon['device']}, {used:.1f} of {total:.1f} GiB memory in use{hot}")
        if daemon["paused"]:
            lines.append(f"paused   {daemon['paused']}")
        if daemon["refused_configuration"]:
            lines.append(
                f"refused  {printable(daemon['refused_configuration'])}; what was read before is in force"
            )
        if daemon["unplaced"]:
            lines.append(
                f"waiting  {daemon['unplaced']} results: their files cannot be moved (hotfolder why FILE)"
            )
        if daemon["left_alone"]:
            lines.append(f"left     {left_alone_text(daemon['left_alone'])} (hotfolder why FILE)")
        if daemon["unsettled"] and not daemon["taking"]:
            lines.append(f"waiting  {daemon['unsettled']} files: none is taken while the queue is paused")
        elif daemon["unsettled"]:
            lines.append(f"arriving {daemon['unsettled']} files that are just found or not complete yet")
    lines += [
        f"asked    {command['command']} "
        + ("(begun)" if command["begun"] else f"(to take it back: hotfolder withdraw {command['id']})")
        for command in found["commands"][:_SOME]
    ]
    if len(found["commands"]) > _SOME:
        lines.append(f"         and {len(found['commands']) - _SOME} more commands: hotfolder withdraw")
    lines += ["", f"{'':<9}" + "".join(f"{state:>11}" for state in STATES) + f"{'pace':>13}"]
    for kind, states in found["queue"].items():
        rate = found["jobs_per_second"].get(kind)
        pace = f"{rate:>10.1f}/s" if rate and rate >= 1 else f"{rate * 60:>8.1f}/min" if rate else ""
        lines.append(f"{kind:<9}" + "".join(f"{states[state]:>11}" for state in STATES) + f" {pace}".rstrip())
    if found["eta_seconds"] is not None:
        lines.append(
            f"\ndone in  about {span(found['eta_seconds'])}, with the scores, new tries and enlargements to come"
        )
    lines.append("")
    for name, counts in (("images", found["images"]), ("today", found["today"])):
        lines.append(f"{name:<9}{counts['keep']} kept, {counts['reject']} rejected, {counts['upscaled']} enlarged")
    if found["recent_failures"]:
        lines += ["", "latest failures"]
        for failure in found["recent_failures"]:
            lines.append(f"  {printable(failure['source_file'])}: {printable(failure['error']['message'])}")
            if failure["error"]["fix"]:
                lines.append(f"    fix: {printable(failure['error']['fix'])}")
    return "\n".join(lines) + "\n"


def _interrupted(found: Mapping[str, Any]) -> list[str]:
    """What a daemon that was killed has left."""
    jobs = found["interrupted"]
    what, are = ("1 job was", "is") if jobs == 1 else (f"{jobs} jobs were", "are")
    told = f"begun    {what} in work when the last daemon ended, and {are} taken up again at the start"
    return [told] if jobs else []


def _why_untold(found: Mapping[str, Any]) -> str:
    """Why a daemon that runs has not told what it does."""
    if not found["status_is_readable"]:
        return "running; its .hotfolder/status.json may not be read by this user"
    since = found["starting_seconds"]
    return "starting" if since is None else f"starting for {span(since)}"


def left_alone_text(counts: Mapping[str, int]) -> str:
    """What lies in the inboxes and is not taken, in words."""
    told = ", ".join(f"{count} {_SORTS.get(kind, kind)}" for kind, count in counts.items())
    return f"{sum(counts.values())} in the inboxes are not taken: {told}"


#: What is not taken, by the kinds of folders.admission.
_SORTS = {
    "links": "links",
    "no_files": "pipes, sockets or devices",
    "companions": "companions without their picture",
    "restored": "that you had put back",
    "no_pictures": "no pictures",
    "refused": "that may not be moved",
    "unreadable": "files or folders that may not be read",
}
