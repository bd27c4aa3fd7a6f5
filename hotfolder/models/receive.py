"""A model that comes in pieces from another machine: goes on where it was cut off, and is there only when it is whole.

Each content gets a folder of its own, so that nothing that lies here already is touched, and two contents of one name
are never mixed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path, PurePosixPath

from hotfolder.core.tastes import head_of
from hotfolder.errors import ModelDamaged, UsageError
from hotfolder.home import cache_folder
from hotfolder.models import records, taste_heads
from hotfolder.models.contents import Content
from hotfolder.models.pull import RECEIVED, alone, check_space
from hotfolder.models.registry import loose_folder, sha256_of, usual_folder

#: Digits of a content's sha256 that its folder is called by.
_DIGITS = 16


def received_tastes() -> Path:
    """Where tastes lie that came from a daemon."""
    return cache_folder() / "tastes"


class Receiver:
    """Takes one model. Nobody else on this machine takes it meanwhile."""

    def __init__(self, content: Content) -> None:
        """Raises DownloadFailed where it is just coming another way, DiskFull, UsageError, OSError."""
        for file in content.files:
            parts = PurePosixPath(file.name).parts
            if not parts or ".." in parts or PurePosixPath(file.name).is_absolute():
                raise UsageError(f"'{file.name}' is no name of a file of a model", "")
        self._content = content
        self._home = self._where()
        self._part = self._home / f".{content.identity[:_DIGITS]}.part"
        with contextlib.ExitStack() as stack:
            stack.enter_context(alone(self._home))
            self._part.mkdir(exist_ok=True)
            #: How much of each file is here already.
            self.had = [self._begun(number) for number in range(len(content.files))]
            check_space(self._home, content.size - sum(self.had))
            self._stack = stack.pop_all()

    def _where(self) -> Path:
        need = self._content.need
        if self._content.is_taste:
            return received_tastes()
        return usual_folder() / loose_folder(need.kind) if self._content.is_loose else usual_folder() / need.name

    def _begun(self, number: int) -> int:
        path, file = self._part_of(number), self._content.files[number]
        if not path.is_file():
            return 0
        size = path.stat().st_size
        if size > file.size:
            path.unlink()
            return 0
        return size

    def _part_of(self, number: int) -> Path:
        return self._part / self._content.files[number].name

    def write(self, number: int, offset: int, data: bytes | memoryview) -> None:
        """A piece of a file, by its number among the content's. Raises OSError, ValueError for one out of turn."""
        path = self._part_of(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            if file.tell() != offset or offset + len(data) > self._content.files[number].size:
                raise ValueError(f"{path.name} is {file.tell()} bytes long, and a piece came for byte {offset}")
            file.write(data)

    def finish(self) -> None:
        """All has come: it is put where models lie. Raises ModelDamaged where it is not what was announced: nothing of
        that file is kept then. OSError."""
        for number, file in enumerate(self._content.files):
            path = self._part_of(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as part:
                os.fsync(part.fileno())
            if sha256_of(path) != file.sha256:
                path.unlink()
                raise ModelDamaged(
                    f"what came of {file.name} of '{self._content.need.name}' is not what was sent",
                    "it is sent again by itself",
                )
        if self._content.is_loose:
            self._put_loose()
        else:
            self._put_whole()
        self.close()

    def _put_loose(self) -> None:
        """A file that is known by its name alone."""
        need, (file,) = self._content.need, self._content.files
        name = head_of(need.name) or need.name
        ending = taste_heads.ENDING if self._content.is_taste else PurePosixPath(file.name).suffix
        self._part_of(0).rename(self._home / (name + ending))
        shutil.rmtree(self._part)

    def _put_whole(self) -> None:
        content = self._content
        folder = self._home / content.identity[:_DIGITS]
        if folder.exists():  # it was put here, and then the power failed
            shutil.rmtree(folder)
        self._part.rename(folder)
        files = tuple(
            records.InstalledFile(str(folder / file.name), file.size, file.sha256) for file in content.files
        )
        record = records.Record(content.need.name, RECEIVED, str(folder), files, dict(content.entry or {}))
        records.write(usual_folder(), record)

    def close(self) -> None:
        """What has come stays, to go on with."""
        self._stack.close()
