"""`hotfolder bench all`: every benchmark, each in a process of its own, into one document.

A process each, because a fault of the device spoils all that comes after it in the same process, and because the most
memory of a part is then its own.
"""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hotfolder.bench.document import BenchAll, Machine, Measurement, Part, Problem, Status
from hotfolder.bench.part import COMPILED
from hotfolder.errors import UsageError
from hotfolder.files.durable import write_durably
from hotfolder.types import RunnerSettings

Tell = Callable[[str, int, int], None]
#: Seconds that all of it may take unless it is said, the start of each process included. With more, parts get more.
LONGEST = 540.0
#: For ending what is late, and the document.
_END = 3.0


@dataclass(frozen=True, slots=True)
class PartSpec:
    """A part, and the seconds after which it is ended."""

    name: str
    seconds: float
    least: float = 8.0  # with fewer left it is not begun
    is_quick: bool = True  # whether --quick runs it, unless it is asked for by name


#: In the order of what is missed most, should the time run out.
PARTS = (
    PartSpec("machine", 60), PartSpec("score", 120), PartSpec("rrdb-1024", 90), PartSpec("sdxl", 80),
    PartSpec("flux", 90), PartSpec("z-image", 80), PartSpec("whole-line", 80), PartSpec("line", 60),
    PartSpec("compact-1024", 50), PartSpec("rrdb-512", 50), PartSpec("compact-512", 40),
    *(PartSpec(f"{name}{COMPILED}", 120, 40, False) for name in ("rrdb-1024", "sdxl", "score", "flux", "z-image")),
)  # fmt: skip


def bench_all(
    settings: RunnerSettings,
    out: Path,
    *,
    quick: bool,
    only: Sequence[str] = (),
    tell: Tell,
    longest: float = LONGEST,
    run: Callable[[PartSpec, RunnerSettings, bool, float], _Ran] | None = None,
) -> BenchAll:
    """Runs the parts, those of `only` if there are any, for at most `longest` seconds. `out` is written after each.

    Raises UsageError for a part that does not exist, and where `out` cannot be written.
    """
    unknown = [name for name in only if name not in {part.name for part in PARTS}]
    if unknown:
        raise UsageError(
            f"no part is called '{unknown[0]}'", f"use some of {', '.join(part.name for part in PARTS)}"
        )
    wanted = [part for part in PARTS if part.name in only or (not only and (part.is_quick or not quick))]
    keeper = _Keeper(out, quick, [part.name for part in wanted])
    keeper.write()
    for number, part in enumerate(wanted):
        tell(part.name, number, len(wanted))
        left = longest - keeper.seconds - _END
        if left < part.least:
            continue  # it stays missing, and the document says so
        seconds = min(part.seconds * max(1.0, longest / LONGEST), left)
        ran, began, worked = _interrupted(), time.monotonic(), _cpu_seconds()
        try:
            ran = (run or _run)(part, settings, quick, seconds)
        finally:
            keeper.keep(part.name, ran, time.monotonic() - began, _cpu_seconds() - worked)
    tell("done", len(wanted), len(wanted))
    return keeper.write(finished=True)


class _Keeper:
    """The document so far, in memory and in its file."""

    def __init__(self, out: Path, quick: bool, names: Sequence[str]) -> None:
        self._out = out
        self._quick = quick
        self._began = time.monotonic()
        self._started_at = datetime.now(UTC).isoformat(timespec="seconds")
        self._parts = {name: Part(name=name, status=Status.MISSING) for name in names}
        self._machine: Machine | None = None
        self._versions: dict[str, str] = {}

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def keep(self, name: str, ran: _Ran, seconds: float, cpu_seconds: float) -> None:
        self._machine = ran.machine or self._machine
        self._versions = ran.versions or self._versions
        self._parts[name] = Part(
            name=name,
            status=ran.status,
            seconds=round(seconds, 2),
            cpu_seconds=round(cpu_seconds, 2),
            error=ran.error,
            skipped=ran.skipped,
            measurements=tuple(ran.measurements),
        )
        self.write()

    def write(self, *, finished: bool = False) -> BenchAll:
        document = BenchAll(
            quick=self._quick,
            started_at=self._started_at,
            seconds=round(self.seconds, 2),
            finished=finished,
            missing=tuple(name for name, part in self._parts.items() if part.status is not Status.DONE),
            machine=self._machine,
            versions=self._versions,
            parts=tuple(self._parts.values()),
        )
        try:
            write_durably(self._out, document.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise UsageError(
                f"{self._out} cannot be written: {error.strerror}", "name another file with --out"
            ) from None
        return document


class _Ran:
    """What a part's process said."""

    def __init__(self) -> None:
        self.status = Status.DONE
        self.error: Problem | None = None
        self.skipped: str | None = None
        self.measurements: list[Measurement] = []
        self.machine: Machine | None = None
        self.versions: dict[str, str] = {}

    def read(self, line: str) -> None:
        """One line of the process: an object with one key. Half a line, of a process that was killed, is left out."""
        try:
            said: dict[str, Any] = json.loads(line)
            if "measurement" in said:
                self.measurements.append(Measurement.model_validate(said["measurement"]))
            elif "machine" in said:
                self.machine = Machine.model_validate(said["machine"])
                self.versions = said["versions"]
            elif "skipped" in said:
                self.skipped = str(said["skipped"])
            elif "error" in said:
                self.status, self.error = Status.FAILED, Problem.model_validate(said["error"])
        except (ValueError, KeyError, ValidationError) as error:
            if self.error is None:
                self.status = Status.FAILED
                self.error = Problem(
                    kind="failed", message=f"it said something that is not understood: {str(error)[:200]}", fix=""
                )


def _cpu_seconds() -> float:
    """Of all processes that were started here, and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _interrupted() -> _Ran:
    """What stands of a part that did not come to its end."""
    ran = _Ran()
    ran.status = Status.FAILED
    ran.error = Problem(kind="interrupted", message="it was stopped", fix="run it again")
    return ran


def _run(part: PartSpec, settings: RunnerSettings, quick: bool, seconds: float) -> _Ran:
    """In a process of its own, which is ended after so many seconds, and with all that it started."""
    command = [sys.executable, "-P", "-m", "hotfolder.bench.part", part.name]
    ran, late = _Ran(), False
    with tempfile.TemporaryFile() as log:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process:  # fmt: skip
            try:
                said, _ = process.communicate(pickle.dumps((settings, quick)), timeout=seconds)
            except subprocess.TimeoutExpired:
                late = True
                process.kill()  # its own children end with it: they asked the kernel for that
                said, _ = process.communicate()
            finally:
                process.kill()
        log.seek(0)
        last = log.read()[-2000:].decode(errors="replace").strip()
    lines = said.decode(errors="replace").split("\n")
    for line in lines[:-1] if late or process.returncode else lines:
        if line:
            ran.read(line)
    if late:
        ran.status = Status.TIMED_OUT
        ran.error = Problem(
            kind="timed_out",
            message=f"it was not done after {seconds:.0f} s",
            fix=f"run it alone: --only {part.name}",
        )
    elif process.returncode and ran.error is None:
        ran.status = Status.FAILED
        how = (
            f"killed by signal {-process.returncode}"
            if process.returncode < 0
            else f"exit code {process.returncode}"
        )
        ran.error = Problem(kind="died", message=f"its process ended: {how}", fix=last[-400:])
    return ran
