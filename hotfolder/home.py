"""Where a user's own files lie, also for a user who has no home folder."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from hotfolder.errors import UsageError


def home() -> Path:
    """Raises UsageError where neither $HOME nor the list of users names one."""
    try:
        return Path.home()
    except RuntimeError:
        fix = "set HOME, or say what is meant: --root DIR"
        raise UsageError("this user has no home folder: $HOME is not set", fix) from None


def user_folder(variable: str, below_home: str, otherwise: str, environ: Mapping[str, str] = os.environ) -> Path:
    """What a variable of the XDG base directories names, else a folder below home; `otherwise` without a home."""
    if environ.get(variable):
        return Path(environ[variable])
    try:
        return home() / below_home
    except UsageError:
        return Path(otherwise)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """What can be made anew: `$XDG_CACHE_HOME/hotfolder`."""
    return user_folder("XDG_CACHE_HOME", ".cache", "/var/cache", environ) / "hotfolder"


def expanded(path: Path) -> Path:
    """With the home folder in the place of '~'. Where that is not known, it stays: a '~' is a name like any other."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises


def user_name(uid: int) -> str:
    """As people call a user, who may have no name: 'anna' or 'user 1234'."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return f"user {uid}"
