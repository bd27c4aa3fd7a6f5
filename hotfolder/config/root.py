"""Which root a command works on. Light: `status` and its like need no more of the configuration."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from hotfolder.errors import UsageError
from hotfolder.folders.layout import INBOX, OF_A_ROOT, PRIVATE
from hotfolder.home import expanded, home, user_name

FILE_NAME = "hotfolder.toml"


def find_root(
    given: Path | None,
    environ: Mapping[str, str] = os.environ,
    *,
    trusted: bool = False,
    default: Path | None = None,
) -> Path:
    """The root to work on: the one given, else $HOTFOLDER_ROOT, else the one around here, else ~/hotfolder.

    A root is a folder with a hotfolder.toml and a folder .hotfolder, as `init` makes it. Where it is named, the file
    is enough: the first `run` makes the folder. A folder in an inbox is never one: whoever may drop files may write
    both there. `trusted` is for commands that do what its settings say: a root that was only found, and belongs to
    somebody else, is refused for them. `default` takes the place of ~/hotfolder.

    Raises UsageError, also where a folder that is named is no root.
    """
    named = _named(given, environ)
    if named is not None:
        return _checked(*named)
    return _found(trusted=trusted) or _checked(default or home() / "hotfolder", "the default root")


def find_root_if_any(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The same, trusted, for commands that also work without a root: None where none was named and none is there."""
    if _named(given, environ) is not None:
        return find_root(given, environ)
    found = _found(trusted=True)
    if found is not None:
        return found
    try:
        return _checked(home() / "hotfolder", "the default root")
    except UsageError:
        return None


def check_place(folder: Path) -> None:
    """Raises UsageError where a new root would lie in what another root works on."""
    for place in {Path(os.path.normpath(folder.absolute())), Path(os.path.realpath(folder))}:
        for above in place.parents:
            inside = place.relative_to(above).parts[0]
            if (_is_root(above) and inside in OF_A_ROOT) or (inside == INBOX and _has_settings(above)):
                where = "an inbox" if inside == INBOX else f"{inside}/"
                raise UsageError(
                    f"{folder} lies in {where} of the root {above}: no root can be there",
                    "name a folder that lies elsewhere",
                )


def _named(given: Path | None, environ: Mapping[str, str]) -> tuple[Path, str] | None:
    if given is not None:
        return given, "--root"
    return (Path(environ["HOTFOLDER_ROOT"]), "$HOTFOLDER_ROOT") if environ.get("HOTFOLDER_ROOT") else None


def _checked(named: Path, how: str) -> Path:
    root = Path(os.path.normpath(expanded(named).absolute()))
    try:
        is_there = (root / FILE_NAME).is_file()
        is_file = root.is_file()
    except OSError as error:
        raise UsageError(
            f"{root} ({how}) cannot be looked into: {error.strerror}", "may this user enter each folder above it?"
        ) from None
    if is_file:
        raise UsageError(f"{root} ({how}) is a file", "name the folder of a root")
    if not is_there:
        raise UsageError(
            f"{root} ({how}) has no {FILE_NAME}",
            f"make it with: hotfolder init {shlex.quote(str(root))} --preset tiny",
        )
    around = _inbox_of(root.resolve())
    if around is not None:
        raise UsageError(f"{root} ({how}) lies in an inbox of {around} and is no root", f"name that: {around}")
    return root


def _found(*, trusted: bool) -> Path | None:
    """The root that the current folder lies in, as git finds a repository."""
    for here in _current():
        for folder in (here, *here.parents):
            if _is_root(folder):
                root = _inbox_of(folder) or folder
                if trusted:
                    _check_owner(root)
                return root
    here = Path.cwd()
    if _has_settings(here):  # not passed over: another root would be worked on
        raise UsageError(
            f"{here} has a {FILE_NAME} and no folder {PRIVATE}: it is no root, nor in one",
            f"if it is to be one: hotfolder run --root {shlex.quote(str(here))}",
        )
    return None


def _current() -> Iterator[Path]:
    """The current folder; and as the shell calls it, where the way there led over a link: keep/ may be one."""
    here = Path.cwd()
    yield here
    named = os.environ.get("PWD", "")
    try:
        if named != str(here) and os.path.isabs(named) and os.path.samefile(named, here):  # noqa: PTH117, PTH121
            yield Path(named)
    except (OSError, ValueError):
        return


def _inbox_of(folder: Path) -> Path | None:
    """The root in an inbox of which a folder lies, if so."""
    inboxes = [each for each in (folder, *folder.parents) if each.name == INBOX]
    return next((inbox.parent for inbox in reversed(inboxes) if _has_settings(inbox.parent)), None)


def _is_root(folder: Path) -> bool:
    return _has_settings(folder) and os.path.isdir(folder / PRIVATE)  # noqa: PTH112 - never raises


def _has_settings(folder: Path) -> bool:
    return os.path.isfile(folder / FILE_NAME)  # noqa: PTH113 - never raises


def _check_owner(root: Path) -> None:
    """Its settings name programs to run. Raises UsageError for those of somebody else, whom nobody has named."""
    for part in (root / FILE_NAME, root / PRIVATE):
        owner = part.stat().st_uid
        if owner not in (0, os.geteuid()):
            raise UsageError(
                f"{root} was found from here and belongs to {user_name(owner)}, whose settings may name any program",
                f"if you trust them, name it: --root {shlex.quote(str(root))}",
            )
