"""Scores as stars: xmp:Rating in a sidecar, or in the images that are of our own making.

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

from hotfolder.core.stars import Rated, stars_for
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
            self._written(row, rated, mode)

    def _rate(self, row: Mapping[str, Any], mode: str) -> None:
        path, known = row["path"], Rated.of(row["rated"])
        if known is not None and known.is_mine:
            stars = replace(known, path=path)
        else:
            stars = Rated(stars_for(row["score"], row["verdict"]), path)
        self._written(row, stars, mode, known)

    def _written(self, row: Mapping[str, Any], stars: Rated, mode: str, known: Rated | None = None) -> None:
        """Writes stars and records them; others of a person that lie there stay, if it is `known` what was written."""
        path, sha256, identity = row["path"], row["sha256"], None
        with Beneath(self._layout.root) as beneath:
            try:
                if known is not None and known.path != path:
                    self._remove_sidecars(beneath, known.path)
                if known is not None and self._is_a_persons(beneath, known, path):
                    # Whether they are a verdict is for GivenStars to say.
                    rated = str(replace(known, path=path))
                    self._ledger.images.rated(row["id"], rated, sha256, sha256)
                    return
                if mode == "in-place" and row["is_ours"] and (new := self._in_place(beneath, row, stars.stars)):
                    sha256, identity = new, beneath.identity(path)
                    has_sidecar = bool(sidecars.others_of(sidecars.packets_of(beneath, sidecar_names(path))))
                else:
                    has_sidecar = beneath.identity(path) is not None
                if has_sidecar:
                    self._sidecar(beneath, path, stars.stars, lightroom=mode == "lightroom")
            except (EnvironmentTrouble, LedgerError):
                raise
            except (ValueError, OSError) as error:
                log.info("%s is not rated: %s", path, error)
            except Exception as error:
                log.warning("%s is not rated: unexpected %s", path, type(error).__name__, exc_info=error)
        self._ledger.images.rated(row["id"], str(stars), row["sha256"], sha256, identity)

    def _is_a_persons(self, beneath: Beneath, known: Rated, path: str) -> bool:
        """Whether the stars beside an image are not those that we wrote. Raises OSError."""
        there = sidecars.rating_beside(beneath, path)
        return there is not None and (known.is_mine or there != known.stars)

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

    def _sidecar(self, beneath: Beneath, path: str, stars: int, *, lightroom: bool) -> None:
        """`a.png.xmp` as digiKam and darktable look for it, or `a.xmp`.

        Another program's gets the stars, all else in it stays, and none of ours is laid beside it: a program reads
        one of them.
        """
        names = sidecar_names(path)
        found = sidecars.packets_of(beneath, names)
        for name, packet in sidecars.rated(found, [names[lightroom]], stars).items():
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


def _shared(root: Path, sidecar: str, path: str) -> bool:
    """Whether another image, a.jpg beside a.png, has the same a.xmp."""
    image = PurePosixPath(path)
    if sidecar != str(image.with_suffix(".xmp")):
        return False
    names = (PurePosixPath(beside.name) for beside in (root / image.parent).iterdir())
    return any(name.stem == image.stem and name.suffix != ".xmp" for name in names)
