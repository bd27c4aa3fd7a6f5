"""`hotfolder status --check`: one line and an exit code for a monitoring system.

As the Monitoring Plugins want it: https://www.monitoring-plugins.org/doc/guidelines.html
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.workers import long_out
from hotfolder.errors import HotfolderError
from hotfolder.files.trouble import explain
from hotfolder.masking import masked
from hotfolder.printable import printable

#: Seconds: without a sign of life, the daemon hangs; without any change though jobs wait, the line is stuck (longer
#: than any model may load, see executor.load_seconds); a start may take that long.
SILENT, STUCK, STARTING = 180.0, 2700.0, 300.0
#: What lies in an inbox and is not taken, by the kinds of folders.admission, that somebody has to mend.
_TO_MEND = ("refused", "unreadable")


class State(enum.IntEnum):
    """Exit codes of a check. They are not those of other commands."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found; the text says the worst first."""

    state: State
    text: str
    values: str = ""  # performance data

    @property
    def line(self) -> str:
        """'HOTFOLDER OK: idle | queued=0;;;0'."""
        text = printable(masked(f"HOTFOLDER {self.state.name}: {self.text}")).replace("|", "/")
        return f"{text} | {self.values}" if self.values else text


def check(found: Mapping[str, Any], now: float, most_failures: int) -> Checked:
    """Judges what `status` tells, at `now` (seconds since the epoch); `most_failures` in an hour are none."""
    daemon, queue = found["daemon"], found["queue"]
    queued, running = (sum(states[state] for states in queue.values()) for state in ("queued", "running"))
    failures, heartbeat = found["failures_last_hour"], found["heartbeat_seconds"]
    problems = [*_of_the_daemon(found, queued + running), *_of_the_work(daemon, failures, most_failures)]
    state = max((state for state, _ in problems), default=State.OK)
    texts = [text for _, text in sorted(problems, key=lambda each: -each[0])]
    if not texts:
        texts = [f"{daemon['stage'] or 'starting'}; {queued + running} jobs open"]
    values = [f"queued={queued};;;0", f"running={running};;;0", f"failures={failures};{most_failures};;0"]
    if heartbeat is not None:
        values.append(f"heartbeat={heartbeat:.1f}s;;{SILENT:g};0")
    return Checked(state, "; ".join(texts), " ".join(values))


def _of_the_daemon(found: Mapping[str, Any], open_jobs: int) -> list[tuple[State, str]]:
    daemon, silent, unchanged = found["daemon"], found["heartbeat_seconds"], found["unchanged_seconds"]
    if not daemon["running"]:
        jobs = found["interrupted"]
        left = f"; jobs in work when the last one ended: {jobs}" if jobs else ""
        return [(State.CRITICAL, f"no daemon works on {found['root']}{left}")]
    if not found["status_is_readable"]:
        return [
            (
                State.UNKNOWN,
                f"process {daemon['pid']} runs; its .hotfolder/status.json may not be read by this user",
            )
        ]
    if silent is None:
        since = found["starting_seconds"]
        slow = since is not None and since > STARTING
        return [(State.WARNING, f"process {daemon['pid']} is starting for {since:.0f} s")] if slow else []
    if silent > SILENT:
        return [(State.CRITICAL, f"the daemon (process {daemon['pid']}) has said nothing for {silent:.0f} s")]
    if daemon["paused"]:
        return [(State.WARNING if daemon["taking"] else State.CRITICAL, f"paused: {daemon['paused']}")]
    if open_jobs and unchanged is not None and unchanged > STUCK:
        return [(State.CRITICAL, f"stuck: {open_jobs} jobs wait and nothing has changed for {unchanged:.0f} s")]
    return []


def _of_the_work(daemon: Mapping[str, Any], failures: int, most_failures: int) -> list[tuple[State, str]]:
    problems = []
    if failures > most_failures:
        problems.append(f"{failures} jobs failed in the last hour")
    if daemon["refused_configuration"]:
        problems.append(f"the configuration is refused: {daemon['refused_configuration']}")
    problems += long_out(daemon["devices"])
    if daemon["unplaced"]:
        problems.append(f"{daemon['unplaced']} results wait, because their files cannot be moved")
    to_mend = sum(count for kind, count in (daemon["left_alone"] or {}).items() if kind in _TO_MEND)
    if to_mend:
        problems.append(f"{to_mend} files or folders of the inboxes may not be read or moved")
    return [(State.WARNING, problem) for problem in problems]


def run_check(gather: Callable[[], dict[str, Any]], now: float, most_failures: int, *, as_json: bool) -> int:
    """Writes the line, or `status` as JSON with a `check`; gives the exit code. Whatever cannot be told is UNKNOWN."""
    found: dict[str, Any] = {}
    try:
        found = gather()
        checked = check(found, now, most_failures)
    except HotfolderError as error:
        checked = Checked(State.UNKNOWN, f"{error.message} ({error.fix})" if error.fix else error.message)
    except OSError as error:
        checked = Checked(State.UNKNOWN, explain(error).message)
    if as_json:
        told = {"state": checked.state.name.lower(), "code": int(checked.state), "line": checked.line}
        table.write_json({**found, "check": told})
    else:
        sys.stdout.write(f"{checked.line}\n")
    return int(checked.state)
