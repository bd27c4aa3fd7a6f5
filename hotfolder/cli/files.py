"""Which files a command is to work: files, folders and globs, in the order given."""

from __future__ import annotations

import glob
import os
import shlex
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hotfolder.core.litter import ignored
from hotfolder.core.pictures import PLAIN, RAW, ending_of
from hotfolder.errors import BadInput, UsageError, Vanished
from hotfolder.types import ErrorInfo


@dataclass(frozen=True, slots=True)
class Found:
    """Files to work, and how many others lay in the folders."""

    files: tuple[Path, ...]
    passed_over: int


def check_place(place: Path, option: str, is_older: Callable[[Path], bool], what: str) -> None:
    """Raises UsageError where a file that is to be written would take the place of anything but an older one of its
    kind, or an empty file.

    `is_older` knows those, and is asked of regular files; `what` and `option` are for messages.
    """
    if place.is_dir():
        raise UsageError(f"{place} is a folder", f"name a file with {option}")
    if os.path.lexists(place) and not (place.is_file() and (place.stat().st_size == 0 or is_older(place))):
        raise UsageError(f"{place} is there already, and is no {what}", f"name another file with {option}")


def check_drawn(place: Path, option: str, is_older: Callable[[Path], bool], what: str) -> None:
    """The same of a PNG."""
    if ending_of(place.name) in PLAIN - {".png"}:
        better = shlex.quote(str(place.with_suffix(".png")))
        raise UsageError(f"{place.name} would be a PNG", f"let the name end in .png: {option} {better}")
    check_place(place, option, is_older, what)


def find_images(
    given: Sequence[str],
    *,
    recursive: bool,
    ignore: tuple[str, ...],
    is_own_result: Callable[[Path], bool] = lambda _: False,
) -> Found:
    """The images meant by these arguments, each once. Folders give theirs in order of name.

    What `is_own_result` in a folder is no input; named itself, it is.
    Raises UsageError for an argument that means nothing at all.
    """
    files: dict[Path, None] = {}
    passed_over = 0
    if "" in given:  # what a shell makes of "$folder" where that is not set: not the folder that one stands in
        raise UsageError("one of the names is empty", "name files or folders; . is the folder that you are in")
    for text in given:
        for path in _expand(text):
            if not os.path.isdir(path):  # noqa: PTH112 - False where Path.is_dir would raise
                files[path] = None  # also when it is no image: then that is what is said of it
                continue
            for entry in _walk(path, recursive=recursive, ignore=ignore):
                if entry.suffix.lower() in PLAIN or entry.suffix.lower() in RAW:
                    if not is_own_result(entry):
                        files[entry] = None
                else:
                    passed_over += 1
    if not files:
        among = f" ({passed_over} other files are there)" if passed_over else ""
        more = "" if recursive else "; with --recursive, sub-folders are looked into"
        raise UsageError(f"no images in {', '.join(given)}{among}", f"name image files or folders{more}")
    return Found(tuple(files), passed_over)


def _expand(text: str) -> list[Path]:
    """The path itself where it exists; else what the pattern matches (`**` goes into sub-folders)."""
    if os.path.lexists(text) or not glob.has_magic(text):
        return [Path(text)]
    matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not matches:
        raise UsageError(f"nothing matches {text}", "check the pattern; put it in quotation marks")
    return [Path(match) for match in matches]


def _walk(folder: Path, *, recursive: bool, ignore: tuple[str, ...]) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", "make it readable") from None
    for entry in entries:
        if ignored(entry.name, ignore):
            continue
        if entry.is_dir(follow_symlinks=False):
            if recursive:
                yield from _walk(Path(entry.path), recursive=True, ignore=ignore)
        elif os.path.isfile(entry.path):  # noqa: PTH113 - as above; no pipe, socket or device is opened
            yield Path(entry.path)


def existing_file(text: str) -> str | None:
    """The absolute path of the file that this names, if there is one."""
    path = os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - never raise
    return path if os.path.isfile(path) else None  # noqa: PTH113


def not_a_file(path: Path) -> ErrorInfo | None:
    """Why it may not be opened, if so: reading from a pipe or a device could take for ever."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return None
    except OSError:
        if not os.path.lexists(path):
            return Vanished("no such file", "check the name").info()
    return BadInput("not a file", "name image files").info()
