"""Colours that are told by numbers, not by a profile.

PNG: gAMA, cHRM, sRGB, cICP (third edition, 11.3.2). AVIF: nclx.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

#: What is carried from PNG to PNG as it is: how colours are meant, and (mDCV, cLLI) on which screen they were made.
CHUNKS = frozenset((b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"mDCV", b"cLLI"))
#: x and y of white, red, green, blue: sRGB's, in the hundred-thousandths of cHRM.
_SRGB = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
#: The same for the primaries of H.273 that pictures are in.
_PRIMARIES = {
    1: _SRGB,
    9: (31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600),
    11: (31400, 35100, 68000, 32000, 26500, 69000, 15000, 6000),
    12: (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),
}
#: H.273's transfer characteristics: a plain exponent, or the curve of sRGB (which all but films take BT.709 for).
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
_AS_SRGB = (1, 6, 13, 14, 15)
_HDR = {16: "PQ", 18: "HLG"}
#: Bytes of an AVIF within which its boxes stand, before the pixels.
_AVIF_HEADER = 2**16
#: gAMA that means sRGB, more or less; and what is a gamma at all.
_USUAL_GAMMA, _ANY_GAMMA = range(45_000, 46_000), range(10_000, 1_000_000)


def coding_of_avif(data: bytes) -> dict[bytes, bytes]:
    """The box `colr` with numbers (ISO/IEC 14496-12, 12.1.5) as a PNG's cICP: it has the same ones. Empty for sRGB."""
    at = data.find(b"colrnclx", 0, _AVIF_HEADER)
    if at < 0 or at + 12 > len(data):
        return {}
    primaries, transfer = struct.unpack_from(">HH", data, at + 8)
    if max(primaries, transfer) > 255 or (primaries in (1, 2) and transfer in (2, *_AS_SRGB)):
        return {}
    return {b"cICP": bytes((primaries, transfer, 0, 1))}  # Pillow gives RGB of the full range


def hdr_of(chunks: Mapping[bytes, bytes]) -> str | None:
    """How a picture says that it is brighter than paper, if it does: 'PQ' or 'HLG'."""
    told = chunks.get(b"cICP", b"")
    return _HDR.get(told[1]) if len(told) == 4 else None


def profile_of(chunks: Mapping[bytes, bytes], *, grey: bool = False) -> bytes | None:
    """An ICC profile that says the same; None where that is sRGB, or cannot be said.

    Of several the one that PNG prefers: cICP, sRGB, gAMA with cHRM.
    """
    try:
        if len(told := chunks.get(b"cICP", b"")) == 4:
            return _by_numbers(told[0], told[1], grey)
        if b"sRGB" in chunks:
            return None
        return _by_gamma(chunks, grey)
    except (RuntimeError, ValueError, ZeroDivisionError):  # numbers that are no colours
        return None


def _by_numbers(primaries: int, transfer: int, grey: bool) -> bytes | None:
    colours = _PRIMARIES.get(primaries)
    if colours is None or (transfer not in _AS_SRGB and transfer not in _EXPONENTS):
        return None
    if colours == _SRGB and transfer in _AS_SRGB:
        return None
    return _profile(colours, _EXPONENTS.get(transfer), grey)


def _by_gamma(chunks: Mapping[bytes, bytes], grey: bool) -> bytes | None:
    gamma = struct.unpack(">I", chunks[b"gAMA"])[0] if len(chunks.get(b"gAMA", b"")) == 4 else 0
    colours = struct.unpack(">8I", chunks[b"cHRM"]) if len(chunks.get(b"cHRM", b"")) == 32 else _SRGB
    alike = grey or all(abs(one - other) <= 200 for one, other in zip(colours, _SRGB, strict=True))
    usual = gamma not in _ANY_GAMMA or gamma in _USUAL_GAMMA
    if usual and alike:
        return None
    return _profile(colours, None if usual else 100_000 / gamma, grey)


def _profile(colours: tuple[int, ...], exponent: float | None, grey: bool) -> bytes:
    # Here: a command that only reads what an image says of itself does without NumPy.
    import imagecodecs
    import numpy as np

    from hotfolder.imaging.colour import to_linear

    points = [value / 100_000 for value in colours]
    how: dict[str, Any] = {"whitepoint": (*points[:2], 1.0)}
    if not grey:
        how["primaries"] = [part for at in (2, 4, 6) for part in (*points[at : at + 2], 1.0)]
    if exponent is None:
        how["transferfunction"] = to_linear(np.linspace(0, 1, 1024, dtype=np.float32))
    else:
        how["gamma"] = exponent
    return bytes(imagecodecs.cms_profile("gray" if grey else "rgb", **how))
