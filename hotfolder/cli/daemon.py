"""`hotfolder reload` and `hotfolder stop`: of a daemon that runs, and not of the next one."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hotfolder.cli import table
from hotfolder.cli.acting import acting_on
from hotfolder.cli.queue import ask
from hotfolder.errors import ConfigError, HotfolderError, Interrupted, ModelMissing, UsageError, raise_all
from hotfolder.folders.layout import Layout
from hotfolder.folders.lock import holder, is_held_by
from hotfolder.printable import printable

#: Seconds that an answer is waited for: a daemon may be in the middle of reading a large inbox.
_TO_RELOAD, _TO_STOP = 60.0, 10.0
_POLL = 0.1
#: Files in work that are named.
_SOME = 5


class NotRunning(HotfolderError):
    """There is no daemon that could be asked."""

    kind = "not_running"


def run_reload(given: Path | None, *, as_json: bool) -> None:
    """Has the settings read anew, and says what changed.

    Raises ConfigError or ModelMissing where the daemon refuses them, HotfolderError where none runs or none answers.
    """
    layout = acting_on(given)
    not_running = NotRunning(
        f"no daemon works on {layout.root}", "its settings are read when it starts: hotfolder run"
    )
    if holder(layout.lock) is None:
        raise not_running
    answer = ask(layout, {"do": "reload"}, patience=_TO_RELOAD, withdrawn=True)
    if answer is None:
        raise HotfolderError("the daemon does not answer", "does it get on? See: hotfolder status --check")
    if answer.get("kind") == NotRunning.kind:
        raise not_running  # a command that works without a daemon had the lock, and has ended
    if "error" in answer:
        first, *others = answer.get("mistakes") or [{**answer, "message": answer["error"]}]
        first = {**first, "message": f"refused, the daemon goes on as before: {first['message']}"}
        raise_all([_refusal(each) for each in (first, *others)])
    changes, waits = answer.get("changes", []), bool(answer.get("waits_for_work")) and bool(answer.get("changes"))
    if as_json:
        table.write_json({"root": str(layout.root), "changes": changes, "waits_for_work": waits})
        return
    sys.stdout.write(f"read anew: {len(changes)} changes\n" if changes else "read anew: nothing has changed\n")
    sys.stdout.writelines(f"  {printable(line)}\n" for line in changes)
    sys.stdout.write("they hold when what is in work is done\n" if waits else "")


def _refusal(told: Mapping[str, Any]) -> HotfolderError:
    """What a daemon has against its settings."""
    message, fix = str(told["message"]), str(told.get("fix") or "")
    if told.get("kind") == ModelMissing.kind:
        return ModelMissing(message, fix)
    return ConfigError(
        message, fix, where=told.get("where") or "", line=told.get("line"), key=told.get("key") or ""
    )


def run_stop(given: Path | None, *, timeout: float, as_json: bool) -> None:
    """Has the daemon end in order, says what it finishes, and waits for its end.

    Raises HotfolderError when it has not ended after `timeout` seconds, or may not be told; Interrupted for Ctrl-C.
    """
    layout = acting_on(given)
    pid = holder(layout.lock)
    told: dict[str, Any] = {}
    if pid is not None:
        told = _tell(layout, pid)
        if not as_json:
            sys.stderr.write(_what_it_finishes(told))
        try:
            _wait(layout, pid, timeout)
        except KeyboardInterrupt:
            raise Interrupted("the daemon was told, and still ends", "see: hotfolder status") from None
    if as_json:
        table.write_json({"root": str(layout.root), "was_running": pid is not None, "pid": pid, **told})
    else:
        sys.stdout.write("stopped\n" if pid is not None else "no daemon runs\n")


def _tell(layout: Layout, pid: int) -> dict[str, Any]:
    """By the mailbox; where it is not read, or cannot be written, by a signal. Gives the answer."""
    trouble: HotfolderError = HotfolderError("the daemon does not answer", "does it get on? See: hotfolder status")
    with contextlib.suppress(HotfolderError):
        answer = ask(layout, {"do": "stop"}, patience=_TO_STOP, withdrawn=True)
        if answer is not None:
            return answer
    if is_held_by(layout.lock, pid):
        try:
            os.kill(pid, signal.SIGTERM)
            return {}
        except PermissionError:
            trouble = UsageError(f"the daemon (process {pid}) is another user's", "may you write to its root?")
        except ProcessLookupError:
            return {}
    elif holder(layout.lock) != pid:
        return {}
    raise trouble


def _what_it_finishes(told: dict[str, Any]) -> str:
    in_work = told.get("finishing", [])
    lines = [f"it finishes: {each['kind']} {printable(str(each['source_file']))}\n" for each in in_work[:_SOME]]
    lines += [f"and {len(in_work) - _SOME} more\n"] if len(in_work) > _SOME else []
    if in_work:
        lines.append(f"what is not done in {told.get('grace_seconds', 0):g} s goes back into the queue\n")
    if told.get("waiting"):
        lines.append(f"{told['waiting']} jobs wait for the next start\n")
    return "".join(lines)


def _wait(layout: Layout, pid: int, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while holder(layout.lock) == pid:
        if time.monotonic() > deadline:
            raise HotfolderError(
                f"the daemon (process {pid}) was told, and has not ended after {seconds:g} s",
                "wait with: hotfolder stop; see what it does with: hotfolder status",
            )
        time.sleep(_POLL)
