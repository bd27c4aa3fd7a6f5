"""Why a file that lies in an inbox is not taken, whatever is in it."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath

from hotfolder.core import companions, pictures
from hotfolder.files.beneath import Beneath
from hotfolder.folders.rights import Rights
from hotfolder.home import user_name
from hotfolder.types import Kind

_OTHERS = 0o022  # group and everybody may write


@dataclass(frozen=True, slots=True)
class Refused:
    reason: str
    fix: str
    kind: str = "refused"  # by which such files are counted


#: Of these a person has to mend something before they, or what is in them, can be worked.
TO_MEND = ("unreadable", "refused")
UNREADABLE = Refused(
    "this user may not read it", "let this user read it (chmod u+rX), or take it away", "unreadable"
)

RESTORED = Refused(
    "you had it put back here, and it is not worked again",
    "to have it worked, take it out and drop it anew, or touch it", "restored",
)  # fmt: skip


def irregular(mode: int) -> Refused | None:
    """Why something of this st_mode is neither opened nor followed; None for files and folders."""
    if stat.S_ISLNK(mode):
        return Refused("it is a link, and links are never followed", "copy the file itself", "links")
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    return Refused(
        "it is no file but a pipe, a socket or a device, and is never opened", "copy a file", "no_files"
    )


def irregular_part(beneath: Beneath, path: str) -> Refused | None:
    """Why a path in an inbox leads to no file of that inbox: it, or a folder of it, is a link or the like."""
    parts = path.split("/")
    for end in range(3, len(parts) + 1):  # inbox/score may be a link
        part = "/".join(parts[:end])
        try:
            why = irregular(beneath.lstat(part).st_mode)
        except OSError:
            return None
        if why is not None:
            return why if part == path else Refused(f"its folder {part}: {why.reason}", why.fix, why.kind)
    return None


def no_picture(beneath: Beneath, path: str, kind: Kind) -> Refused | None:
    """Why a file that lies where pictures are expected is none, by its ending and its content. Raises OSError.

    What has the ending of a picture is taken for one, and so is what begins like one: whether it is whole, a worker
    finds out. Nothing is opened of what has such an ending.
    """
    ending = pictures.ending_of(path.rpartition("/")[2])
    if kind is Kind.GENERATE or ending in pictures.PLAIN or ending in pictures.RAW:
        return None
    with beneath.open(path) as file:
        head = file.read(pictures.HEAD)
    if pictures.is_picture(head):
        return None
    if ending in companions.BY_STEM:
        return Refused(
            "it is no picture but may belong to one, and goes along with that: none of its name lies here",
            "drop the picture, or take this out of the inbox", "companions",
        )  # fmt: skip
    what = pictures.what_it_is(head)
    by = f"it is {what}" if what.startswith("a picture") else f"it is no picture{f' but {what}' if what else ''}"
    fix = "prompts belong into inbox/generate" if what == "text" else "take it out of the inbox"
    return Refused(f"{by}, by its content", fix, "no_pictures")


def refused(beneath: Beneath, path: str, other: Rights | None = None) -> Refused | None:
    """Why the file is left where it is; None for one that may be taken. Raises OSError.

    `other`: a daemon of another user than this one is to take it.

    A file of several names (hard links) may be anybody's: who may write to a folder, may link to files that he may
    not read (link(2); proc_sys_fs(5), protected_hardlinks). It is taken only from a folder that none but the file's
    owner, or root, may write to.
    """
    folder = str(PurePosixPath(path).parent)
    shut = _shut(beneath, folder) if other is None else _shut_to(other, beneath, folder)
    if shut is not None:
        return shut
    file = beneath.lstat(path)
    if file.st_nlink > 1:
        place = beneath.lstat_folder(folder)
        if place.st_uid not in (0, file.st_uid) or place.st_mode & _OTHERS:
            return Refused(
                "it has several names (hard links), and others may write to its folder: it may be a file of theirs, "
                "or of anybody",
                "copy it instead of linking it",
            )
    return None


def _shut(beneath: Beneath, folder: str) -> Refused | None:
    """Why nothing can be moved out of a folder by this process."""
    full = beneath.full(folder)
    if os.access(full, os.W_OK | os.X_OK):
        return None
    is_own = beneath.lstat_folder(folder).st_uid == os.geteuid()
    return Refused(
        "its folder may not be written by this user, so it could not be moved",
        f"chmod u+wx {full}" if is_own else f"let this user write to {full}: chown it, or chmod it for a group",
    )


def _shut_to(other: Rights, beneath: Beneath, folder: str) -> Refused | None:
    """Why nothing can be found in a folder, or be moved out of it, by the daemon of another user."""
    name, parts, full = user_name(other.uid), folder.split("/"), beneath.full(folder)
    for end in range(2, len(parts) + 1):
        part = "/".join(parts[:end])
        if not other.may(beneath.full(part), os.R_OK | os.X_OK):
            return Refused(
                f"its folder {part} may not be read by {name}, who runs the daemon",
                f"let {name} read and write it: chown it, or chmod it for a group", "unreadable",
            )  # fmt: skip
    if other.may(full, os.W_OK | os.X_OK):
        return None
    return Refused(
        f"its folder may not be written by {name}, who runs the daemon, so it could not be moved",
        f"let {name} write to {full}: chown it, or chmod it for a group",
    )
