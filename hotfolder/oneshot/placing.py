"""Results of one-shot commands: written apart, then put in their place whole, and nothing is overwritten."""

from __future__ import annotations

import filecmp
import shutil
import signal
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hotfolder.core import naming
from hotfolder.errors import EnvironmentTrouble, UsageError
from hotfolder.files.moves import rename_noreplace

_MOST_NAMES = 1_000_000


def make_folder(folder: Path) -> None:
    """Raises UsageError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"{folder} cannot be made: {problem.strerror}", "name a folder") from None


def make_staging(folders: Iterable[Path]) -> dict[Path, Path]:
    """On the file system of each result, so that it appears there whole, by one rename. Raises UsageError."""
    staging: dict[Path, Path] = {}
    for folder in dict.fromkeys(folders):
        try:
            staging[folder] = Path(tempfile.mkdtemp(prefix=".hotfolder-", dir=folder))
        except OSError as problem:
            clear(staging)
            raise UsageError(
                f"nothing can be written to {folder}: {problem.strerror}", "name another folder with --out"
            ) from None
    return staging


def clear(staging: dict[Path, Path]) -> None:
    for folder in staging.values():
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits for a moment: that a result is there, and that this is known, are one."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def place(staged: Path, folder: Path, name: str) -> Path:
    """Under this name, or with `-1`, `-2`, … where there is another file; the same file is not kept twice.

    To be followed by `fsync_folder`, once its name is known. Raises EnvironmentTrouble.
    """
    for number in range(_MOST_NAMES):
        target = folder / naming.numbered(name, number)
        try:
            rename_noreplace(staged, target)
        except FileExistsError:
            if target.is_file() and filecmp.cmp(staged, target, shallow=False):
                staged.unlink()
                return target
            continue
        except OSError as error:
            raise EnvironmentTrouble(
                f"{target} cannot be written: {error.strerror}", "see to its folder"
            ) from None
        return target
    raise EnvironmentTrouble(f"{folder / name} has no free name", "name another folder with --out")
