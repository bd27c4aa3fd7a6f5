"""The command mailbox: what people ask of a daemon, as small files, so that it waits for one that does not run."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
import zlib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hotfolder.files.durable import write_durably
from hotfolder.files.regular import open_regular
from hotfolder.files.trouble import explain_read
from hotfolder.folders.layout import Layout

log = logging.getLogger(__name__)
_ANSWER = ".answer"
#: A command that waits, and one that is being carried out: that one cannot be withdrawn any more.
_WAITS, _BEGUN = ".json", ".begun"
#: What a command does of which something can be undone.
UNDOABLE = ("verdict", "stars", "reroute", "retry", "restore")
_MOST_BYTES = 64 * 2**20
_POLL = 0.05


def ask(layout: Layout, command: Mapping[str, Any]) -> Path:
    """Leaves a command for the daemon; gives its file. Raises OSError."""
    layout.control.mkdir(parents=True, exist_ok=True)
    path = layout.control / f"{time.time_ns():020d}-{os.getpid()}.json"
    write_durably(path, json.dumps(dict(command)))
    return path


def answer_to(path: Path, seconds: float) -> dict[str, Any] | None:
    """What the daemon answered to a command, waiting so long for it; None when it has not."""
    answer = path.with_suffix(_ANSWER)
    deadline = time.monotonic() + seconds
    while True:
        try:
            found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            if time.monotonic() >= deadline:
                return None
            time.sleep(_POLL)
            continue
        answer.unlink(missing_ok=True)
        return found


def commands(layout: Layout) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The commands that wait, oldest first, also one that a crash cut off. What is none is put aside, and said.

    What is given here cannot be withdrawn any more. What cannot be read just now is left for the next time.
    """
    try:
        found = _files(layout)
    except OSError as error:
        log.warning("%s cannot be read, its commands wait: %s", layout.control, error)
        return
    for path in found:
        try:
            with open_regular(path) as file:
                command = json.loads(file.read(_MOST_BYTES))
            path = path.rename(path.with_suffix(_BEGUN))
            if not isinstance(command, dict):
                raise ValueError("it is no table")
            for key in ("jobs", "drops", "images"):
                ids = command.get(key, [])
                if not isinstance(ids, list) or not all(isinstance(i, int) and 0 <= i < 2**63 for i in ids):
                    raise ValueError(f"'{key}' is no list of numbers")
        except (OSError, ValueError, RecursionError) as error:
            if isinstance(error, FileNotFoundError):
                continue
            if isinstance(error, OSError) and (trouble := explain_read(error, str(path))) is not None:
                log.warning("%s", trouble.message)
                continue
            log.error("%s is put aside: %s", path, error)
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".unreadable"))
            continue
        yield path, command


@dataclass(frozen=True, slots=True)
class Waiting:
    """A command that no daemon has carried out yet."""

    id: str  # short, for people
    asked_at: float  # seconds since the epoch
    is_begun: bool
    command: Mapping[str, Any]
    path: Path


def waiting(layout: Layout) -> Iterator[Waiting]:
    """The same for who only looks: what is none is passed over. Raises OSError where the folder cannot be read."""
    for path in _files(layout):
        with contextlib.suppress(OSError, ValueError, RecursionError):
            with open_regular(path) as file:
                command = json.loads(file.read(_MOST_BYTES))
            if isinstance(command, dict):
                asked_at = int(path.stem.partition("-")[0]) / 1e9
                number = f"{zlib.crc32(path.stem.encode()):08x}"[:6]
                yield Waiting(number, asked_at, path.suffix == _BEGUN, command, path)


def answered(layout: Layout) -> set[str]:
    """The names of the commands whose answers lie there."""
    with contextlib.suppress(OSError):
        return {f"{path.stem}{_WAITS}" for path in layout.control.glob(f"*{_ANSWER}")}
    return set()


def begun(name: str) -> str:
    """What the file of a command is called while it is carried out, and in the ledger."""
    return f"{name.removesuffix(_WAITS)}{_BEGUN}"


def withdraw(path: Path) -> bool:
    """Takes a command back; whether it still waited. Raises OSError."""
    try:
        path.with_suffix(_WAITS).unlink()
    except FileNotFoundError:
        return False
    return True


def _files(layout: Layout) -> list[Path]:
    """Oldest first. Raises OSError."""
    try:
        found = list(layout.control.iterdir())
    except FileNotFoundError:
        return []
    return sorted((path for path in found if path.suffix in (_WAITS, _BEGUN)), key=lambda path: path.stem)


def forget(layout: Layout, wanted: Collection[str]) -> None:
    """Commands of these kinds that were meant for a daemon that is no more."""
    with contextlib.suppress(OSError):
        for each in list(waiting(layout)):
            if each.command.get("do") in wanted:
                each.path.unlink(missing_ok=True)


def done(path: Path, answer: Mapping[str, Any]) -> None:
    """Answers a command that was carried out. Raises OSError."""
    write_durably(path.with_suffix(_ANSWER), json.dumps(dict(answer)))
    path.unlink(missing_ok=True)


def forget_answers(layout: Layout) -> None:
    """Answers that nobody waited for."""
    try:
        for path in layout.control.glob(f"*{_ANSWER}"):
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("%s cannot be tidied: %s", layout.control, error)
