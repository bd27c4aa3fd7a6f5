"""Writing image files: whole and durable, or not at all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from hotfolder.types import Staged

ENDINGS = {"png": ".png", "webp": ".webp", "jpeg": ".jpg", "tiff": ".tif"}
#: PNG: level 1 is six times as fast as Pillow's default of 6 on large images, for a tenth more bytes.
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "png": {"compress_level": 1},
    "webp": {"lossless": True, "quality": 0, "method": 0},
    "jpeg": {"quality": 95, "subsampling": 0},
    "tiff": {"compression": "tiff_lzw"},
}


def stage(
    image: Image.Image,
    folder: Path,
    stem: str,
    format_: str,
    *,
    text: Mapping[str, str] | None = None,
    icc_profile: bytes | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Staged:
    """Encodes an image into a staging folder and makes it durable.

    `text` becomes PNG text chunks (other formats carry none yet). Raises OSError when the disk does not take it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (stem + ENDINGS[format_])
    options: dict[str, Any] = dict(_OPTIONS[format_])
    if icc_profile:
        options["icc_profile"] = icc_profile
    if format_ == "png" and text:
        chunks = PngInfo()
        for key, value in text.items():
            chunks.add_itxt(key, value) if not value.isascii() else chunks.add_text(key, value)
        options["pnginfo"] = chunks
    if format_ == "jpeg" and image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "LA" else "RGB")
    if format_ == "webp" and image.mode in ("L", "LA"):
        image = image.convert("RGB" if image.mode == "L" else "RGBA")
    with path.open("wb") as file:
        image.save(file, format=format_.upper(), **options)
        file.flush()
        os.fsync(file.fileno())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Staged(str(path), digest, image.width, image.height, dict(settings or {}))
