"""Pictures on their way into a pipeline and out of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from hotfolder.errors import BadInput
from hotfolder.files.regular import Opens
from hotfolder.imaging.decode import decode
from hotfolder.imaging.modes import to_rgb

#: A picture no value of which is above this, of 1, is taken for one that failed.
_BLACK = 1.5 / 255
#: Sides are multiples of it, and at most so long: as in prompts.
_GRID, _LONGEST = 8, 8192


def is_failed(pixels: torch.Tensor) -> bool:
    """Whether (3, h, w), 0 to 1, is no picture: not a number somewhere, or black all over."""
    return not bool(torch.isfinite(pixels).all()) or float(pixels.max()) <= _BLACK


def to_picture(pixels: torch.Tensor) -> Image.Image:
    """(3, h, w), 0 to 1, as RGB with 8 bits, rounded as diffusers does."""
    array = pixels.permute(1, 2, 0).float().cpu().numpy()
    return Image.fromarray((array * 255).round().astype(np.uint8))


def init_image(
    path: Path,
    size: tuple[int | None, int | None],
    usual: tuple[int, int],
    *,
    max_pixels: int,
    max_bytes: int,
    background: str,
    opens: Opens,
) -> tuple[Image.Image, str]:
    """The picture to begin from, as RGB of the size that is wanted, and the sha256 of its pixels as RGB.

    With both sides given it covers them, and what is too much is cut off evenly. Otherwise its own proportions stay:
    it is made smaller, never larger, to about the `usual` number of pixels, its sides multiples of 8. What is
    transparent is laid over `background`.
    Raises what decoding raises, and BadInput for one that is not there.
    """
    if not path.is_file():
        raise BadInput(f"the init-image {path} is not there", "put it back, or name another")
    found = decode(path, max_pixels, max_bytes, opens=opens)
    picture = to_rgb(found.image, background)
    digest = hashlib.sha256(picture.tobytes()).hexdigest()  # not of the file: stars may come into it
    width, height = size
    if width is None or height is None:
        known = (width and width / picture.width) or (height and height / picture.height)
        scale = known or min(1.0, (usual[0] * usual[1] / (picture.width * picture.height)) ** 0.5)
        width = width or _side(picture.width * scale)
        height = height or _side(picture.height * scale)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return picture, digest


def _side(wanted: float) -> int:
    """The nearest side that a prompt could ask for."""
    return min(_LONGEST, max(_GRID, round(wanted / _GRID) * _GRID))
