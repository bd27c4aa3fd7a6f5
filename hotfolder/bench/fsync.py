"""Counting, and delaying, every fsync of a process, those of the C libraries in it included."""

from __future__ import annotations

import os
import shlex
import shutil
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hotfolder.errors import HotfolderError

_SOURCE = Path(__file__).with_name("fsync.c")
_ROOM = struct.Struct("=3Q")


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls so far."""

    fsync: int
    fdatasync: int
    syncfs: int

    def __sub__(self, before: Counts) -> Counts:
        return Counts(self.fsync - before.fsync, self.fdatasync - before.fdatasync, self.syncfs - before.syncfs)

    @property
    def all(self) -> int:
        return self.fsync + self.fdatasync + self.syncfs


class FsyncCounter:
    """A small library that stands before the C library; compiled when it is needed.

    The counters lie in a file that the counted process maps: a call costs some nanoseconds, and nothing is stopped.
    """

    def __init__(self, folder: Path, delay_ms: float = 0.0) -> None:
        """Compiles it into `folder`. Raises HotfolderError where there is no C compiler."""
        self._counts = folder / "fsync.counts"
        self._counts.write_bytes(bytes(_ROOM.size))
        self._library = folder / "fsync.so"
        self._delay_ms = delay_ms
        command = [*shlex.split(os.environ.get("CC", "cc")), "-O2", "-shared", "-fPIC"]
        if shutil.which(command[0]) is None:
            raise HotfolderError(
                f"fsyncs cannot be counted or delayed: there is no C compiler ('{command[0]}')",
                "install one, such as with: apt install gcc; or name it in CC",
            )
        made = subprocess.run(
            [*command, "-o", str(self._library), str(_SOURCE)], capture_output=True, text=True, check=False
        )
        if made.returncode != 0:
            raise HotfolderError(
                f"fsyncs cannot be counted or delayed: {command[0]} says {made.stderr.strip()[-300:]}",
                "install the C library's headers, such as with: apt install libc6-dev",
            )

    @property
    def environment(self) -> Mapping[str, str]:
        """What the process to be counted is to have in its environment."""
        before = os.environ.get("LD_PRELOAD")
        return {
            "LD_PRELOAD": f"{self._library}:{before}" if before else str(self._library),
            "HOTFOLDER_FSYNC_COUNTS": str(self._counts),
            "HOTFOLDER_FSYNC_DELAY_US": str(round(self._delay_ms * 1000)),
        }

    def counts(self) -> Counts:
        return Counts(*_ROOM.unpack(self._counts.read_bytes()))
