"""Files of jobs for a device that does not see the folders: their bytes go there, and what it makes comes back."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hotfolder.engines.sources import opener, opener_below
from hotfolder.errors import DamagedOnTheWay, HotfolderError
from hotfolder.files.trouble import explain
from hotfolder.imaging.source import Source, read
from hotfolder.types import ErrorInfo, Item, Outcome

#: Bytes that are on their way to one device at a time, or back, unless a single file has more.
AT_ONCE = 64 << 20
SOURCE, INIT = "source", "init"
_PREFIX = "hotfolder-node-"
#: Seconds after which a folder that nobody holds was left behind: one that was made just now is not held yet.
_LEFT_SECONDS = 10.0


def read_inputs(item: Item, max_bytes: int) -> dict[str, Source]:
    """The files that a job reads, by what they are to it. Raises as `imaging.source.read`, and OSError."""
    found = {}
    if item.source is not None:
        found[SOURCE] = read(Path(item.source), max_bytes, opener(item))
    picture = item.params.get("init_file") or item.params.get("init_image")
    if picture:
        found[INIT] = read(Path(picture), max_bytes, opener_below(item.params.get("init_root")))
    return found


def as_error(error: Exception) -> ErrorInfo:
    """Why a file could not be read or written here."""
    if isinstance(error, OSError):
        error = explain(error)
    return error.info() if isinstance(error, HotfolderError) else HotfolderError(str(error)).info()


def put_output(outcome: Outcome, item: Item, data: bytes | memoryview, sent: str | None) -> Outcome:
    """Writes what a device made into the staging folder of its claim, durably; the outcome says that it lies there.

    `sent` is the sha256 of the file that the job worked on. Raises DamagedOnTheWay, OSError.
    """
    assert outcome.staged is not None
    if hashlib.sha256(data).hexdigest() != outcome.staged.sha256:
        raise DamagedOnTheWay(
            f"what was made of job {item.job_id} is not what arrived", "it is done again by itself"
        )
    check_source(outcome, sent)
    folder = Path(item.staging)
    path = folder / Path(outcome.staged.path).name
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return replace(outcome, staged=replace(outcome.staged, path=str(path)))


def check_source(outcome: Outcome, sent: str | None) -> None:
    """Whether the device read what was sent. Raises DamagedOnTheWay."""
    if sent is not None and outcome.source is not None and outcome.source.sha256 != sent:
        raise DamagedOnTheWay(
            f"what was read for job {outcome.job_id} is not what was sent", "it is done again by itself"
        )


class Baggage:
    """A folder of this process's own, on the device's machine, with the files of the batch in work.

    It is locked for as long as the process lives, however that ends: `clear_left_behind` removes what nobody holds.
    """

    def __init__(self) -> None:
        """Raises OSError."""
        self._folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock: int | None = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # where nothing can be locked, nothing is removed either
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._names: dict[int, Mapping[str, str]] = {}  # job -> path here: path there

    def unpack(self, item: Item, files: Mapping[str, bytes | memoryview]) -> Item:
        """Lays the files of a job down; the item names them. Raises OSError."""
        folder = self._folder / str(item.job_id)
        source, params, names = None, dict(item.params), {}
        for role, data in files.items():
            is_source = role == SOURCE
            there = str(item.source if is_source else params.get("init_file") or params["init_image"])
            path = folder / role / Path(there).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            names[str(path)] = there
            if is_source:
                source = str(path)
            else:
                params["init_file"] = str(path)
                params.pop("init_root", None)
        self._names[item.job_id] = names
        return replace(item, source=source, staging=str(folder / "made"), params=params, root=None, file=None)

    def pack(self, outcome: Outcome) -> tuple[Outcome, bytes | None]:
        """The outcome as it is told, and the bytes of what was made. Raises OSError."""
        data = Path(outcome.staged.path).read_bytes() if outcome.staged is not None else None
        error = outcome.error
        if error is not None:
            for here, there in self._names.get(outcome.job_id, {}).items():
                error = replace(error, message=error.message.replace(here, there))
            outcome = replace(outcome, error=error)
        self._names.pop(outcome.job_id, None)
        shutil.rmtree(self._folder / str(outcome.job_id), ignore_errors=True)
        return outcome, data

    def clear(self) -> None:
        """The batch has ended: nothing of it is wanted any more."""
        self._names.clear()
        for folder in self._folder.iterdir():
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def clear_left_behind() -> None:
    """Removes what processes of this user that were killed have left of their baggage."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another one was quicker, or somebody works with it
            facts = path.lstat()
            is_ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
            if not is_ours or time.time() - facts.st_mtime < _LEFT_SECONDS:
                continue
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
