"""Pixels of any kind as the few kinds that the rest works with: L, LA, RGB and RGBA, 8 bits a channel."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from hotfolder.errors import UnsupportedImage
from hotfolder.imaging.levels import unit, white_of


def normalise(name: str, image: Image.Image) -> Image.Image:
    """To L, LA, RGB or RGBA with 8 bits: palettes resolved, 16 bits scaled (not clipped), CMYK converted."""
    match image.mode:
        case "L" | "LA" | "RGB" | "RGBA":
            # A colour declared transparent (PNG tRNS) becomes real alpha.
            if "transparency" in image.info and image.mode in ("L", "RGB"):
                return image.convert("LA" if image.mode == "L" else "RGBA")
            return image
        case "1":
            return image.convert("LA" if "transparency" in image.info else "L")
        case "P" | "PA":
            return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")
        case "I;16" | "I;16L" | "I;16B":
            return _grey8(np.asarray(image).astype(np.float32) / 65535)
        case "I" | "F":
            values = np.asarray(image)
            return _grey8(unit(values, white_of(values)))
        case "RGBa" | "La":
            return image.convert("RGBA" if image.mode == "RGBa" else "LA")
        case "CMYK" | "YCbCr" | "LAB" | "HSV" | "RGBX":
            return image.convert("RGB")
    raise UnsupportedImage(f"{name} has pixels of the sort '{image.mode}'", "save it as RGB")


def from_cmyk(image: Image.Image, profile: bytes) -> Image.Image:
    """By its own profile where that can be used: Pillow's plain formula knows no ink."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted or image


def _grey8(unit: Any) -> Image.Image:
    return Image.fromarray((np.clip(unit, 0, 1) * 255 + 0.5).astype(np.uint8))


def to_rgb(image: Image.Image, background: str) -> Image.Image:
    """RGB; transparent pixels are laid over `background` ('white', 'black', '#rrggbb'), not just uncovered."""
    if image.mode == "RGB":
        return image
    if image.mode == "L":
        return image.convert("RGB")
    rgba = image.convert("RGBA")
    canvas = Image.new("RGBA", rgba.size, background)
    return Image.alpha_composite(canvas, rgba).convert("RGB")
