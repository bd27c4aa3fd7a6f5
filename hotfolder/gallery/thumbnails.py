"""Small pictures: made when they are first asked for, kept by their content, up to a size of all together."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import anyio
from PIL import Image, ImageCms

from hotfolder.errors import HotfolderError
from hotfolder.files.beneath import Beneath, open_below
from hotfolder.folders.layout import Layout
from hotfolder.imaging.colour import srgb
from hotfolder.imaging.decode import Decoded, decode

log = logging.getLogger(__name__)
#: Longer sides, in pixels: of a grid's cell, of a screen, and in the place of originals that browsers cannot show.
SMALL, LARGE, WHOLE = 256, 1600, 8192
SIZES = (SMALL, LARGE, WHOLE)
#: Raised when pictures are made otherwise.
_VERSION = 1
_QUALITY = {SMALL: 80, LARGE: 86, WHOLE: 92}
#: Made at the same time; of pictures with more pixels than that, one.
_AT_ONCE, _HUGE = 2, 40_000_000
_MOST_PIXELS = 1_000_000_000
#: What cannot be shown is not tried again for so many seconds.
_SECONDS_BAD = 60.0
_MOST_BAD = 10_000


class Thumbnails:
    """Safe to ask from several requests at a time."""

    def __init__(self, layout: Layout, most_bytes: int) -> None:
        self._layout = layout
        self._folder = str(layout.thumbnails.relative_to(layout.root))
        self._most_bytes = most_bytes
        self._bytes: int | None = None  # of all that is kept; None: not counted yet
        self._lock, self._huge = threading.Lock(), threading.Lock()
        self._limit: anyio.CapacityLimiter | None = None
        self._bad: dict[tuple[str, int], float] = {}

    async def get(self, row: Mapping[str, Any], size: int, still_wanted: Any) -> bytes | None:
        """WebP of an image's row, its longer side at most `size`; None where it is not wanted any more.

        `still_wanted` is awaited when its turn has come. Raises HotfolderError or OSError for what cannot be shown.
        """
        kept = await anyio.to_thread.run_sync(self._kept, row["sha256"], size)
        if kept is not None:
            return kept
        if self._limit is None:
            self._limit = anyio.CapacityLimiter(_AT_ONCE)
        async with self._limit:
            if not await still_wanted():
                return None
            return await anyio.to_thread.run_sync(self._make, dict(row), size)

    def _path(self, sha256: str, size: int) -> str:
        return f"{self._folder}/{sha256[:2]}/{sha256}-{size}-{_VERSION}.webp"

    def _kept(self, sha256: str, size: int) -> bytes | None:
        try:
            with Beneath(self._layout.root) as beneath, beneath.open(self._path(sha256, size)) as file:
                return file.read()
        except OSError:
            return None

    def _make(self, row: Mapping[str, Any], size: int) -> bytes:
        kept = self._kept(row["sha256"], size)  # made while this one waited for its turn
        if kept is not None:
            return kept
        key = (row["sha256"], size)
        if time.monotonic() - self._bad.get(key, -_SECONDS_BAD) < _SECONDS_BAD:
            raise HotfolderError("it cannot be shown", "see: hotfolder why FILE")
        try:
            with self._huge if row["width"] * row["height"] > _HUGE else contextlib.nullcontext():
                data = self._drawn(row, size)
        except (HotfolderError, OSError, MemoryError, ValueError):
            if len(self._bad) >= _MOST_BAD:
                self._bad.clear()
            self._bad[key] = time.monotonic()
            raise
        if self._is_as_recorded(row):
            self._keep(self._path(row["sha256"], size), data)
        return data

    def _drawn(self, row: Mapping[str, Any], size: int) -> bytes:
        opens = functools.partial(open_below, self._layout.root)
        path = self._layout.root / row["path"]
        decoded = decode(path, _MOST_PIXELS, first_frame=True, named=True, opens=opens)
        return as_webp(decoded, size)

    def _is_as_recorded(self, row: Mapping[str, Any]) -> bool:
        """Whether the file is the one whose sha256 the ledger has; else what was drawn is not kept under its name."""
        with Beneath(self._layout.root) as beneath:
            found = beneath.identity(row["path"])
        return found is not None and (
            row["size"] is None or (found.size, found.mtime_ns) == (row["size"], row["mtime_ns"])
        )

    def _keep(self, path: str, data: bytes) -> None:
        with self._lock:
            try:
                with Beneath(self._layout.root) as beneath:
                    beneath.write(path, data, durable=False)
            except OSError as error:  # a full disk: they are drawn anew each time
                log.warning("a thumbnail cannot be kept: %s", error)
                return
            if self._bytes is None:
                self._bytes = sum(size for _, size, _ in self._files())
            else:
                self._bytes += len(data)
            if self._bytes > self._most_bytes:
                self._make_room()

    def _make_room(self) -> None:
        """Removes the oldest until there is some room again."""
        files = sorted(self._files())
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= self._most_bytes * 0.9:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)  # noqa: PTH108
                left -= size
        self._bytes = left

    def _files(self) -> list[tuple[float, int, str]]:
        """Time, size and path of each."""
        found = []
        with contextlib.suppress(OSError):
            for folder in os.scandir(self._layout.thumbnails):
                if folder.is_dir(follow_symlinks=False):
                    for file in os.scandir(folder.path):
                        with contextlib.suppress(OSError):
                            stat = file.stat(follow_symlinks=False)
                            found.append((stat.st_mtime, stat.st_size, file.path))
        return found


def as_webp(decoded: Decoded, size: int) -> bytes:
    """An upright picture in sRGB, its longer side at most `size`; nothing is enlarged."""
    image = decoded.image
    if max(image.size) > size:
        scale = size / max(image.size)
        wanted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(wanted, Image.Resampling.LANCZOS, reducing_gap=2.0)
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    image = _in_srgb(image.convert("RGB"), decoded.carried.icc)
    if alpha is not None:
        image.putalpha(alpha)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=_QUALITY.get(size, 86), method=2)
    return buffer.getvalue()


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None or profile[16:20] != b"RGB ":
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.ImageCmsProfile(io.BytesIO(srgb()))
        return (
            ImageCms.profileToProfile(image, source, target, renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC)
            or image
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # a profile that cannot be read
