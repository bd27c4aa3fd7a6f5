"""Other users of the machine: commands as somebody with another uid, for tests that run as root."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hotfolder.errors import HotfolderError

only_root = pytest.mark.skipif(
    os.getuid() != 0 or not all(map(shutil.which, ("setpriv", "unshare"))), reason="only root can be another user"
)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody: a uid that need not be in any list, its groups, and what $HOME says (None: nothing)."""

    uid: int
    groups: tuple[int, ...]
    home: str | None = None

    def command(self, words: Sequence[str]) -> list[str]:
        """These words, run as this person; also with a Python that lies in somebody's private folder."""
        groups = ",".join(map(str, self.groups))
        more = [f"--groups={groups}"] if len(self.groups) > 1 else ["--clear-groups"]
        become = ["setpriv", f"--reuid={self.uid}", f"--regid={self.groups[0]}", *more, "--", *words]
        hidden = _hidden(Path(os.path.realpath(sys.executable)).parents[1])
        if hidden is None:
            return become
        return ["unshare", "--mount", "sh", "-euc", f"{_uncover(*hidden)}\nexec {shlex.join(become)}"]

    def environ(self, **more: str) -> dict[str, str]:
        """What a login would give, and no more."""
        home = {"HOME": self.home} if self.home else {}
        path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, sys.path)])
        return {"PATH": os.environ["PATH"], "PYTHONPATH": path, **home, **more}


def _hidden(python: Path) -> tuple[Path, Path] | None:
    """The folder above Python's that others may not enter, and Python's; None where everybody may."""
    closed = [folder for folder in python.parents if not folder.stat().st_mode & 0o001]
    return (closed[-1], python) if closed else None


def _uncover(closed: Path, python: Path) -> str:
    """In a mount namespace of its own: an empty folder in the place of the closed one, with nothing but Python."""
    return "\n".join(
        [
            "kept=$(mktemp -d)",
            f'mount --bind {shlex.quote(str(python))} "$kept"',
            f"mount -t tmpfs -o mode=755 tmpfs {shlex.quote(str(closed))}",
            f"mkdir -p {shlex.quote(str(python))}",
            f'mount --move "$kept" {shlex.quote(str(python))} || mount --bind "$kept" {shlex.quote(str(python))}',
            'rmdir "$kept" || true',
        ]
    )


def in_child(person: Person, function: Callable[[], Any]) -> Any:
    """What a function gives (as JSON), or the message of its HotfolderError, when this person calls it.

    In a child of this process, which has all modules already: so it costs nothing. Its umask is as here.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        told: Any = None
        try:
            os.setgroups(person.groups)
            os.setresgid(person.groups[0], person.groups[0], person.groups[0])
            os.setresuid(person.uid, person.uid, person.uid)
            try:
                told = function()
            except HotfolderError as error:
                told = f"{error.kind}: {error.message}"
            except BaseException as error:  # noqa: BLE001 - the test is to see it
                told = f"unexpected {type(error).__name__}: {error}"
            os.write(writer, json.dumps(told).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text)
