"""Scores as stars: xmp:Rating in a sidecar, or in the images that are of our own making. A person's stars stand.

Nothing depends on it, and it can be done again at any time: what was rated stands in the ledger, and a crash between
a file and its row leaves both for the next look.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from hotfolder.core.pictures import PLAIN
from hotfolder.core.stars import MOST_STARS, REJECTED, Rated, stars_for
from hotfolder.errors import EnvironmentTrouble, LedgerError
from hotfolder.files.beneath import Beneath
from hotfolder.files.identity import identity_from
from hotfolder.files.trouble import explain
from hotfolder.folders.layout import Layout
from hotfolder.imaging import sidecars, xmp
from hotfolder.imaging.packets import with_packet
from hotfolder.imaging.sidecars import is_our_sidecar, sidecar_names
from hotfolder.ledger.ledger import Ledger

log = logging.getLogger(__name__)
#: Images rated between two looks at everything else.
_AT_ONCE = 20
#: Of generated images: more is not one of ours.
_MOST_IMAGE = 512 * 2**20
#: What, when something is written, is the disk's fault: the queue waits. All else is the file's, or its folder's.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
#: The same, where nothing may be written into a whole top folder.
_PERMISSION = (errno.EACCES, errno.EPERM)


class Ratings:
    def __init__(self, layout: Layout, ledger: Ledger) -> None:
        self._layout = layout
        self._ledger = ledger

    def work(self, mode: str) -> bool:
        """Rates some of what is to be rated; whether there may be more. Raises EnvironmentTrouble.

        `mode` is output.rating: off, sidecar, lightroom or in-place.
        """
        if mode == "off":
            return False
        rows = self._ledger.images.unrated(_AT_ONCE)
        for row in rows:
            self._rate(row, mode)
        return len(rows) == _AT_ONCE

    def give(self, row: Mapping[str, Any], stars: int | None, mode: str) -> None:
        """A person gives an image these stars, here: recorded, and written where stars are. Raises EnvironmentTrouble.

        None: not any more, so that it has those of its score again. A crash between the file and its row leaves stars
        that are found as a person's. `row` is one of Images.to_rate.
        """
        path, image_id, is_mine = row["path"], row["id"], stars is not None
        if stars is None and row["score"] is not None:
            stars = stars_for(row["score"], row["verdict"])
        rated = None if stars is None else Rated(stars, path, is_mine)
        if mode == "off" or rated is None:
            # Of those that it has by its score nothing is known where none are written.
            self._ledger.images.given_stars(image_id, str(rated) if is_mine else None)
        else:
            self._written(row, rated, mode, over=True)

    def _rate(self, row: Mapping[str, Any], mode: str) -> None:
        path, known = row["path"], Rated.of(row["rated"])
        if known is not None and known.is_mine:
            stars = replace(known, path=path)
        else:
            stars = Rated(stars_for(row["score"], row["verdict"]), path)
        self._written(row, stars, mode, known)

    def _written(
        self, row: Mapping[str, Any], stars: Rated, mode: str, known: Rated | None = None, *, over: bool = False
    ) -> None:
        """Writes stars and records them. Others of a person that lie there stay, unless they are to be written `over`.

        `known` are those that were written, or seen, before.
        """
        path, sha256, identity = row["path"], row["sha256"], None
        with Beneath(self._layout.root) as beneath:
            try:
                if known is not None and known.path != path:
                    self._remove_sidecars(beneath, known.path)
                names = _names(beneath, path)
                others = sidecars.others_of(found := sidecars.packets_of(beneath, names))
                if not over and (standing := _standing(found, stars, known)) is not None:
                    if known is None:  # they stand in another program's
                        self._remove_sidecars(beneath, path, beside_others=True)
                    self._ledger.images.rated(row["id"], str(standing), sha256, sha256)
                    return
                if not over and known is None and others:  # after a crash they are known as ours
                    self._ledger.images.given_stars(row["id"], str(stars))
                if mode == "in-place" and row["is_ours"] and (new := self._in_place(beneath, row, stars.stars)):
                    sha256, identity = new, beneath.identity(path)
                    found = sidecars.packets_of(beneath, names)  # that took its time
                    has_sidecar = bool(sidecars.others_of(found))
                else:
                    has_sidecar = beneath.identity(path) is not None
                if has_sidecar:
                    self._sidecar(
                        beneath, path, names[-1] if mode == "lightroom" else names[0], found, stars.stars
                    )
            except (EnvironmentTrouble, LedgerError):
                raise
            except (ValueError, OSError) as error:
                log.info("%s is not rated: %s", path, error)
                stars = _as_before(stars, known)
            except Exception as error:
                log.warning("%s is not rated: unexpected %s", path, type(error).__name__, exc_info=error)
                stars = _as_before(stars, known)
        self._ledger.images.rated(row["id"], str(stars), row["sha256"], sha256, identity)

    def _in_place(self, beneath: Beneath, row: Mapping[str, Any], stars: int) -> str | None:
        """Writes the stars into the file; gives its new sha256, None when it has no place for them."""
        path = row["path"]
        with beneath.open(path) as file:
            facts, data = os.fstat(file.fileno()), file.read(_MOST_IMAGE + 1)
        if len(data) > _MOST_IMAGE:
            raise ValueError("it was changed by somebody")
        try:
            new = with_packet(data, lambda packet: xmp.rated(packet, stars))
        except ValueError as error:
            log.debug("%s: %s", path, error)
            return None
        # The second is what it was to be before a crash.
        if hashlib.sha256(data).hexdigest() not in (row["sha256"], row["rating_sha256"]):
            raise ValueError("it was changed by somebody")
        digest = hashlib.sha256(new).hexdigest()
        self._ledger.images.rating(row["id"], digest)
        staged = self._layout.staging / f"rating-{row['id']}"
        with self._of_the_disk(path):
            try:
                staged.parent.mkdir(parents=True, exist_ok=True)
                with staged.open("wb") as file:
                    with contextlib.suppress(PermissionError):  # of a group that this user is not in
                        os.fchown(file.fileno(), -1, facts.st_gid)
                    os.fchmod(file.fileno(), facts.st_mode & 0o777)
                    file.write(new)
                    file.flush()
                    os.fsync(file.fileno())
                os.utime(staged, ns=(facts.st_atime_ns, facts.st_mtime_ns))
                if beneath.identity(path) != identity_from(facts):
                    raise ValueError("it is being changed by somebody")
                beneath.replace(str(staged.relative_to(self._layout.root)), path)
            finally:
                staged.unlink(missing_ok=True)
        return digest

    def _sidecar(self, beneath: Beneath, path: str, ours: str, found: Mapping[str, bytes], stars: int) -> None:
        """Another program's, of those that were `found`, gets the stars, all else in it stays, and none of `ours` is
        laid beside it: a program reads one of them.
        """
        for name, packet in sidecars.rated(found, [ours], stars).items():
            with self._of_the_disk(path):
                beneath.write(name, packet, like=name in found)
        if sidecars.others_of(found):
            self._remove_sidecars(beneath, path, beside_others=True)

    @contextlib.contextmanager
    def _of_the_disk(self, path: str) -> Iterator[None]:
        """Raises EnvironmentTrouble for an error that concerns more than this file and its folder."""
        try:
            yield
        except OSError as error:
            top = self._layout.root / path.partition("/")[0]
            if error.errno in _DISK or (error.errno in _PERMISSION and not os.access(top, os.W_OK)):
                raise explain(error) from error
            raise

    def _remove_sidecars(self, beneath: Beneath, path: str, *, beside_others: bool = False) -> None:
        """Ours alone: the image is not there any more, or another program has one `beside` it."""
        for target in sidecar_names(path):
            with contextlib.suppress(OSError, ValueError):
                if (
                    is_our_sidecar(beneath, target)
                    and (beside_others or not beneath.exists(path))
                    and not _shared(self._layout.root, target, path)
                ):
                    beneath.unlink(target)


def _names(beneath: Beneath, path: str) -> tuple[str, ...]:
    """`a.png.xmp` as digiKam and darktable look for it, and `a.xmp`, where no other program wrote that for a.jpg.

    Raises OSError.
    """
    names = sidecar_names(path)
    packet = sidecars.packet_at(beneath, names[1])
    if packet is None or xmp.is_ours(packet):
        return names
    stem, own = PurePosixPath(path).with_suffix(""), PurePosixPath(path).name
    endings = (each for ending in PLAIN for each in (ending, ending.upper()))
    pictures = [f"{stem.name}{each}" for each in endings if beneath.exists(f"{stem}{each}")]
    return names if own <= min(pictures, default=own) else names[:1]


def _as_before(stars: Rated, known: Rated | None) -> Rated:
    """What is recorded where these could not be written: those that lie there still, which are not a person's."""
    return stars if known is None else replace(known, path=stars.path)


def _standing(found: Mapping[str, bytes], stars: Rated, known: Rated | None) -> Rated | None:
    """The stars that an image has and keeps: those that were found in its sidecars, and are not ours."""
    if known is None:
        try:
            given = sidecars.given_in(found, stars.stars)
        except ValueError:
            return None
        if given is None or not REJECTED <= given <= MOST_STARS:  # a number that is none of stars
            return None
        return Rated(given, stars.path, is_mine=True)
    there = sidecars.rating_of_any(found)
    if there is None or (not known.is_mine and there in (known.stars, stars.stars)):
        return None
    return replace(known, path=stars.path)  # whether what is there is a verdict is for GivenStars to say


def _shared(root: Path, sidecar: str, path: str) -> bool:
    """Whether another image, a.jpg beside a.png, has the same a.xmp."""
    image = PurePosixPath(path)
    if sidecar != str(image.with_suffix(".xmp")):
        return False
    names = (PurePosixPath(beside.name) for beside in (root / image.parent).iterdir())
    return any(name.stem == image.stem and name.suffix != ".xmp" for name in names)
