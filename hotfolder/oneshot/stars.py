"""Stars for photographs where they lie: in a file beside them, or in them where that is asked for."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hotfolder.core.companions import BY_STEM
from hotfolder.core.pictures import RAW, ending_of
from hotfolder.errors import BadInput
from hotfolder.files.beneath import Beneath
from hotfolder.files.identity import identity_from
from hotfolder.files.trouble import is_full, refused
from hotfolder.imaging import sidecars, xmp
from hotfolder.imaging.packets import with_packet

#: Of one photograph: more is not read into memory.
_MOST_BYTES = 2**31
#: A DNG is the one RAW file that is made to be written into.
_WRITABLE_RAW = ".dng"


class NotRated(BadInput):
    """The stars of a picture are not written; it is as it was."""

    kind = "not_rated"


@dataclass(frozen=True, slots=True)
class Rated:
    """Where the stars of one picture are; or those that it has from a person, which were left."""

    places: tuple[Path, ...] = ()
    kept: int | None = None


def rate(file: Path, stars: int, sha256: str, *, in_file: bool, overwrite: bool) -> Rated:
    """Writes stars (1 to 5, -1 rejected) for a picture whose content has this sha256.

    With `in_file` into it, but for a camera's own RAW files, of which every program keeps them beside. Stars that a
    person gave stay unless `overwrite`. Raises NotRated, DiskFull.
    """
    try:
        if in_file and not is_raw(file):
            return _inside(Path(os.path.realpath(file)), stars, sha256, overwrite=overwrite)
        return _beside(file, stars, overwrite=overwrite)
    except OSError as error:
        if is_full(error):
            raise refused(error, "", "") from None
        raise NotRated(
            f"its stars cannot be written: {error.strerror or error}", "let this user write its folder"
        ) from None


def is_raw(file: Path) -> bool:
    """Whether a picture is a camera's own RAW file, by its name."""
    ending = ending_of(file.name)
    return ending in RAW and ending != _WRITABLE_RAW


def _beside(file: Path, stars: int, *, overwrite: bool) -> Rated:
    names: Sequence[str] = sidecars.sidecar_names(file.name)
    if not is_raw(file) and not _is_alone(file):
        names = names[:1]  # `a.xmp` may be of a.cr2, not of a.jpg
    with Beneath(file.parent) as folder:
        found = sidecars.packets_of(folder, names)
        others = sidecars.others_of(found)
        try:
            if (given := sidecars.given_in(found, stars)) is not None and not overwrite:
                return Rated(kept=given)
            # Lightroom looks for the one beside a RAW file, digiKam and darktable for the other.
            ours = names if is_raw(file) else names[:1]
            for name, packet in sidecars.rated(found, ours, stars).items():
                folder.write(name, packet, like=name in found)
        except ValueError as error:
            named = ", ".join(others) or "its sidecar"
            raise NotRated(
                f"{named} is not understood, and stays as it is: {error}", "mend it, or move it away"
            ) from None
        return Rated(tuple(file.with_name(name) for name in others or ours))


def _inside(file: Path, stars: int, sha256: str, *, overwrite: bool) -> Rated:
    kept: list[int] = []

    def change(packet: bytes | None) -> bytes:
        if packet is not None and len(packet) > sidecars.MOST_BYTES:
            raise ValueError("its XMP is too large")
        if packet is not None and (given := sidecars.given_in({"": packet}, stars)) is not None and not overwrite:
            kept.append(given)
            raise _Kept
        return xmp.rated(packet, stars, sidecars.MOST_BYTES)

    with Beneath(file.parent) as folder:
        with folder.open(file.name) as opened:
            facts, data = os.fstat(opened.fileno()), opened.read(_MOST_BYTES + 1)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise NotRated("it was changed after it had been judged", "judge it again")
        try:
            new = with_packet(data, change)
            _check(new, stars)
        except _Kept:
            return Rated(kept=kept[0])
        except ValueError as error:
            raise NotRated(
                f"no stars can be put into it: {error}", "without --in-file they go beside it"
            ) from None
        if new != data:
            folder.write(file.name, new, like=True, instead_of=identity_from(facts))
    return Rated((file,))


class _Kept(Exception):
    """A person's stars are left as they are."""


def _check(data: bytes, stars: int) -> None:
    """Reads again what is about to be written. Raises ValueError."""
    found: list[int | None] = []

    def look(packet: bytes | None) -> bytes:
        found.append(xmp.rating_of(packet))
        return packet or b""

    with_packet(data, look)
    if found != [stars]:
        raise ValueError("its metadata are not as usual")


def _is_alone(file: Path) -> bool:
    """Whether no other picture of the folder has the same `a.xmp`; captions, films and the like are none."""
    return not any(
        other.stem == file.stem
        and other.name != file.name
        and ending_of(other.name) not in BY_STEM
        and not other.is_dir()
        for other in file.parent.iterdir()
    )
