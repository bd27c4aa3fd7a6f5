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
#: Sides are at most so long: as in prompts.
_LONGEST = 8192


def is_failed(pixels: torch.Tensor) -> bool:
    """Whether (3 or 4, h, w), 0 to 1, is no picture: not a number somewhere, or black all over."""
    return not bool(torch.isfinite(pixels).all()) or float(pixels[:3].max()) <= _BLACK


def to_picture(pixels: torch.Tensor, background: str = "white") -> Image.Image:
    """(3 or 4, h, w), 0 to 1, as RGB with 8 bits, rounded as diffusers does.

    The fourth is how opaque it is: what is transparent is laid over `background`. It is rounded where the pixels are:
    a quarter of the bytes leaves the device, which does not wait for the CPU to do it.
    """
    levels = (pixels.permute(1, 2, 0).float() * 255).round().to(torch.uint8).cpu()
    picture = Image.fromarray(np.ascontiguousarray(levels.numpy()))
    return picture if picture.mode == "RGB" else to_rgb(picture, background)


def init_image(
    path: Path,
    size: tuple[int | None, int | None],
    usual: tuple[int, int],
    *,
    max_pixels: int,
    max_bytes: int,
    background: str,
    grid: int = 8,
    opens: Opens,
) -> tuple[Image.Image, str]:
    """The picture to begin from, as RGB of the size that is wanted, and the sha256 of its pixels as RGB.

    With both sides given it covers them, and what is too much is cut off evenly. Otherwise its own proportions stay:
    it is made smaller, never larger, to about the `usual` number of pixels, its sides multiples of `grid`. What
    is transparent is laid over `background`.
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
        width = width or _side(picture.width * scale, grid)
        height = height or _side(picture.height * scale, grid)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    return picture, digest


def _side(wanted: float, grid: int) -> int:
    """The nearest side that a prompt could ask for."""
    return min(_LONGEST, max(grid, round(wanted / grid) * grid))
