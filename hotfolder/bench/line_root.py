"""A root to measure the line on: many tiny pictures, a daemon without models, and whether all of it came out right."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hotfolder.bench.fsync import FsyncCounter
from hotfolder.config.root import FILE_NAME
from hotfolder.errors import HotfolderError
from hotfolder.folders.layout import FAILED, INBOX, KEEP, REJECT, Layout
from hotfolder.ledger.reader import Reader
from hotfolder.types import Kind

#: Scores go from 1 to 9: some files are kept, some rejected, none is enlarged.
_CONFIG = """\
[gate]
keep = 5.0
upscale = 10.0
regenerate_below = 1.0

[settle]
quiet_seconds = {quiet_seconds}
"""


def picture(number: int) -> bytes:
    """A PNG of 16 × 16 grey pixels, another one for each number from 0 to 2**32 - 1."""
    lines = (b"\0" + struct.pack(">I", number) * 4) * 16
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(lines, 1)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


class LineRoot:
    """A new root whose files are numbered; `quiet_seconds` is settle.quiet_seconds."""

    def __init__(self, folder: Path, quiet_seconds: float) -> None:
        self.layout = Layout(folder)
        self.layout.make()
        (folder / FILE_NAME).write_text(_CONFIG.format(quiet_seconds=quiet_seconds))
        self._log = folder / "log.txt"

    def drop(self, number: int) -> str:
        """Puts one picture into inbox/score; its name."""
        name = f"{number:07d}.png"
        (self.layout.inbox(Kind.SCORE) / name).write_bytes(picture(number))
        return name

    def make_durable(self) -> None:
        """Waits until the names in inbox/score are on the disk."""
        handle = os.open(self.layout.inbox(Kind.SCORE), os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def ended(self, name: str) -> bool:
        """Whether this picture lies in keep/ or reject/."""
        return any((self.layout.root / folder / name).exists() for folder in (KEEP, REJECT))

    @contextlib.contextmanager
    def daemon(self, mode: str, counter: FsyncCounter | None = None) -> Iterator[subprocess.Popen[str]]:
        """A daemon that works `once`, or serves until it gets SIGTERM. It does not live longer than the context."""
        command = [sys.executable, "-P", "-m", "hotfolder.bench.line_daemon", str(self.layout.root), mode]
        environment = {**os.environ, **(counter.environment if counter else {})}
        with self._log.open("a") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
            )
        with process:
            try:
                yield process
            finally:
                process.kill()

    def told(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """What a daemon says at its end, as line_daemon has it. Raises HotfolderError when it did not end well."""
        said, _ = process.communicate()
        last = self._log.read_text(errors="replace").strip()[-400:]
        if process.returncode != 0 or not said:
            raise HotfolderError(f"the daemon ended with exit code {process.returncode}: {last}")
        told: dict[str, Any] = json.loads(said)
        if told["paused"] or told["failed"]:
            raise HotfolderError(f"not all was done: {told['paused'] or last}", "mend that, then measure again")
        return told

    def check(self, files: int) -> int:
        """Whether files 0 to `files` - 1 are judged and lie where they should, byte for byte; how many are kept.

        Raises HotfolderError where one is missing, was changed, is there twice, or the database says something else.
        """
        folders = {name: _numbers(self.layout.root / name) for name in (KEEP, REJECT)}
        wrong = []
        if sorted(folders[KEEP] + folders[REJECT]) != list(range(files)):
            wrong.append("keep/ and reject/ do not hold each file once")
        for folder, numbers in folders.items():
            if any((self.layout.root / folder / f"{n:07d}.png").read_bytes() != picture(n) for n in numbers):
                wrong.append(f"a file in {folder}/ was changed")
        left = (self.layout.root / INBOX, self.layout.root / FAILED, self.layout.staging)
        wrong += [f"something lies in {f}" for f in left if any(path.is_file() for path in f.rglob("*"))]
        with Reader(self.layout.database) as reader:
            counted = reader.outcome_counts()
            judged, jobs = reader.score_summary()["images"], reader.counts()
        if (counted[KEEP], counted[REJECT]) != (len(folders[KEEP]), len(folders[REJECT])):
            wrong.append(f"the database counts {counted}")
        if judged != files or jobs != ({Kind.SCORE.value: {"done": files}} if files else {}):
            wrong.append(f"the database has {judged} images with scores, and these jobs: {jobs}")
        if wrong:
            raise HotfolderError(f"the line did not work as it should: {'; '.join(wrong)}", "please report this")
        return len(folders[KEEP])


def _numbers(folder: Path) -> list[int]:
    """The numbers that the files in a folder have; -1 for what is no file of ours."""
    names = [path.name for path in folder.iterdir()]
    return [int(name[:7]) if name[:7].isdigit() and name[7:] == ".png" else -1 for name in names]
