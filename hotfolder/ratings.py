"""Scores as stars: xmp:Rating in a sidecar, or in the images that are of our own making.

Nothing depends on it, and it can be done again at any time: what was rated stands in the ledger, and a crash between
a file and its row leaves both for the next look.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hotfolder.folders.layout import Layout
from hotfolder.folders.moves import write_durably
from hotfolder.folders.publish import explain
from hotfolder.imaging import xmp
from hotfolder.imaging.packets import with_packet
from hotfolder.ledger.ledger import Ledger
from hotfolder.regular import open_regular
from hotfolder.types import Role

log = logging.getLogger(__name__)
#: Images rated between two looks at everything else.
_AT_ONCE = 20
_MOST_SIDECAR = 4 * 2**20


class Ratings:
    """`mode` gives output.rating as it is now: off, sidecar, lightroom or in-place."""

    def __init__(self, layout: Layout, ledger: Ledger, mode: Callable[[], str]) -> None:
        self._layout = layout
        self._ledger = ledger
        self._mode = mode

    def work(self) -> bool:
        """Rates some of what is to be rated; whether there may be more. Raises EnvironmentTrouble."""
        mode = self._mode()
        if mode == "off":
            return False
        rows = self._ledger.unrated(_AT_ONCE)
        for row in rows:
            try:
                self._rate(row, mode)
            except OSError as error:
                raise explain(error) from error
        return len(rows) == _AT_ONCE

    def _rate(self, row: Mapping[str, Any], mode: str) -> None:
        path, stars = self._layout.root / row["path"], row["stars"]
        before = (row["rated"] or "").partition(":")[2]
        if before and before != row["path"]:
            self._remove_sidecars(self._layout.root / before)
        sha256 = row["sha256"]
        try:
            if mode == "in-place" and row["role"] != Role.DROPPED and (new := self._in_place(path, row)):
                sha256 = new
            elif path.is_file():
                self._sidecar(path, stars, lightroom=mode == "lightroom")
        except (ValueError, FileNotFoundError) as error:
            log.info("%s is not rated: %s", row["path"], error)
        self._ledger.rated(row["id"], f"{stars}:{row['path']}", row["sha256"], sha256)

    def _in_place(self, path: Path, row: Mapping[str, Any]) -> str | None:
        """Writes the stars into the file; gives its new sha256, None when it has no place for them."""
        with open_regular(path) as file:
            facts, data = os.fstat(file.fileno()), file.read()
        found: list[int | None] = []

        def change(packet: bytes | None) -> bytes:
            found.append(xmp.rating_of(packet) if packet else None)
            return xmp.rated(packet, row["stars"])

        try:
            new = with_packet(data, change)
        except ValueError as error:
            log.debug("%s: %s", row["path"], error)
            return None
        # Rated before a crash, and the row does not know: as good as unchanged.
        if hashlib.sha256(data).hexdigest() != row["sha256"] and found != [row["stars"]]:
            raise ValueError("it was changed by somebody")
        staged = self._layout.staging / f"rating-{row['id']}"
        staged.parent.mkdir(parents=True, exist_ok=True)
        try:
            with staged.open("wb") as file:
                os.fchmod(file.fileno(), facts.st_mode & 0o777)
                file.write(new)
                file.flush()
                os.fsync(file.fileno())
            os.utime(staged, ns=(facts.st_atime_ns, facts.st_mtime_ns))
            now = path.lstat()
            if (now.st_ino, now.st_size, now.st_mtime_ns) != (facts.st_ino, facts.st_size, facts.st_mtime_ns):
                raise ValueError("it is being changed by somebody")
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)
        return hashlib.sha256(new).hexdigest()

    def _sidecar(self, path: Path, stars: int, *, lightroom: bool) -> None:
        """`a.png.xmp` as digiKam and darktable look for it, or `a.xmp`; another program's is left alone."""
        target = path.with_suffix(".xmp") if lightroom else path.with_name(path.name + ".xmp")
        before = None
        with contextlib.suppress(FileNotFoundError), open_regular(target) as file:
            before = file.read(_MOST_SIDECAR)
        if before is not None and not xmp.is_ours(before):
            raise ValueError(f"{target.name} is another program's")
        write_durably(target, xmp.rated(before, stars).decode())

    def _remove_sidecars(self, path: Path) -> None:
        """Ours alone: the image is not there any more."""
        for target in (path.with_name(path.name + ".xmp"), path.with_suffix(".xmp")):
            with contextlib.suppress(OSError), open_regular(target) as file:
                if xmp.is_ours(file.read(_MOST_SIDECAR)) and not path.exists():
                    target.unlink()
