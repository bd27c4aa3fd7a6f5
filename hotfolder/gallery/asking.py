"""What the page asks of the daemon: commands in the mailbox, and their answers."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hotfolder.files.trouble import refused
from hotfolder.folders.layout import Layout
from hotfolder.status import mailbox

#: Commands whose answers are waited for, at most; of older ones nobody is told.
_MOST = 10_000
#: Files of an answer that are named.
_SOME = 5
_NAME = re.compile(r"\d{20}-\d{1,10}\.json")


class Asking:
    """Leaves commands, and looks now and then whether they were answered. Safe for threads."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lock = threading.Lock()
        self._asked: dict[str, Mapping[str, Any]] = {}

    def ask(self, command: Mapping[str, Any]) -> str:
        """Leaves a command; gives its name. Raises UsageError where the root cannot be written, DiskFull."""
        try:
            path = mailbox.ask(self._layout, command)
        except OSError as error:
            raise refused(error, "the command mailbox cannot be written", "is this your root?") from None
        with self._lock:
            self._asked[path.name] = command
            while len(self._asked) > _MOST:
                del self._asked[next(iter(self._asked))]
        return path.name

    def withdraw(self, name: str) -> bool:
        """Takes a command of this page back; whether it still waited."""
        if _NAME.fullmatch(name) is None or not mailbox.withdraw(self._path(name)):
            return False
        with self._lock:
            self._asked.pop(name, None)
        return True

    def answered(self) -> list[dict[str, Any]]:
        """What was answered since the last time: `command`, `do`, and what became of it, briefly."""
        with self._lock:
            asked = dict(self._asked)
        there = mailbox.answered(self._layout) if asked else set()
        told = []
        for name, command in asked.items():
            if name not in there:
                continue
            answer = mailbox.answer_to(self._path(name), 0)
            if answer is not None:
                with self._lock:
                    self._asked.pop(name, None)
                told.append({"command": name, "do": command["do"], **_brief(answer)})
        return told

    def waiting(self) -> list[mailbox.Waiting]:
        """Every command that no daemon has carried out yet, oldest first."""
        with contextlib.suppress(OSError):
            return list(mailbox.waiting(self._layout))
        return []

    def _path(self, name: str) -> Path:
        return self._layout.control / name


def _brief(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer may name 100,000 files: how many, and some of those that were left."""
    if "error" in answer:
        return {"error": answer["error"]}
    files = [*answer.get("files", []), *answer.get("images", []), *answer.get("retried", [])]
    files += [file for action in answer.get("undone", []) for file in action["files"]]
    left = [file for file in files if "error" in file]
    brief: dict[str, Any] = {
        "files": len(files), "left": len(left),
        "errors": [f"{file.get('file', 'an image')}: {file['error']}" for file in left[:_SOME]],
    }  # fmt: skip
    brief |= {key: value for key, value in answer.items() if isinstance(value, int | float | str | None)}
    if "undone" in answer:
        brief["undone"] = [action["action"] for action in answer["undone"]]
    return brief
