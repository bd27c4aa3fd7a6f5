"""Colour profiles: what a network made for sRGB is shown, and the way back."""

from __future__ import annotations

import functools
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

Unit = NDArray[np.float32]
#: Converted values beyond this are out of sRGB's reach: no network has seen the like.
_REACH = 0.02
#: A profile that moves no colour by more than this is sRGB by another name.
_SAME = 0.002


@functools.cache
def srgb() -> bytes:
    """An sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def to_srgb(pixels: Unit, profile: bytes | None) -> Unit | None:
    """(h, w, 3) in the profile's colours to sRGB; None where they may stay as they are.

    That is: there is no profile, or it is sRGB itself, is for no RGB pictures, cannot be read, or the picture has
    colours that sRGB cannot show. Those are carried: the network sees their numbers as they are.
    """
    if profile is None or profile[16:20] != b"RGB ":
        return None
    try:
        grid = np.stack(np.meshgrid(*[np.linspace(0, 1, 6, dtype=np.float32)] * 3), axis=-1).reshape(-1, 1, 3)
        if np.abs(_transform(grid, profile, srgb()) - grid).max() < _SAME:
            return None
        converted = _transform(pixels, profile, srgb())
    except (RuntimeError, ValueError):
        return None
    if converted.min() < -_REACH or converted.max() > 1 + _REACH:
        return None
    return converted


def from_srgb(pixels: Unit, profile: bytes) -> Unit:
    """The way back."""
    return _transform(pixels, srgb(), profile)


def _transform(pixels: Unit, profile: bytes, into: bytes) -> Unit:
    # Relative colorimetric (1) keeps every colour that both can show.
    transformed: Unit = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels, np.float32), profile, into, colorspace="rgb", outcolorspace="rgb",
        outdtype="float32", intent=1,
    )  # fmt: skip
    return transformed


def to_linear(values: Unit) -> Unit:
    """sRGB in [0, 1] to linear light (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values.clip(0) + 0.055) / 1.055) ** 2.4).astype(
        np.float32
    )


@functools.cache
def _light_of(levels: int) -> Unit:
    return to_linear(np.linspace(0, 1, levels, dtype=np.float32))


def light(pixels: NDArray[Any]) -> Unit:
    """sRGB, uint8 or uint16 or float32 in [0, 1], to linear light: of whole numbers by a table."""
    if pixels.dtype.kind != "u":
        return to_linear(pixels)
    return _light_of(np.iinfo(pixels.dtype).max + 1)[pixels]


#: Steps of light in the table of `to_8_bits`: the darkest ones are a twentieth of a level apart.
_STEPS = 65_535


@functools.cache
def _levels_of_light() -> NDArray[np.uint8]:
    return (from_linear(np.linspace(0, 1, _STEPS + 1, dtype=np.float32)).clip(0, 1) * 255 + 0.5).astype(np.uint8)


def to_8_bits(linear: Unit) -> NDArray[np.uint8]:
    """Linear light to sRGB in 8 bits, rounded: many times as fast as `from_linear`."""
    steps = np.multiply(linear, np.float32(_STEPS))
    steps += np.float32(0.5)
    np.clip(steps, 0, _STEPS, out=steps)
    return _levels_of_light()[steps.astype(np.uint16)]


def from_linear(values: Unit) -> Unit:
    """The way back."""
    lit = values.clip(0)
    return np.where(lit <= 0.0031308, lit * 12.92, 1.055 * lit ** (1 / 2.4) - 0.055).astype(np.float32)
