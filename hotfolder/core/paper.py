"""Sizes of paper, and how many pixels a print of that size takes."""

from __future__ import annotations

import re

_INCH = 25.4
_UNITS = {"mm": 1.0, "cm": 10.0, "in": _INCH}
#: Millimetres, short side first: ISO 216, and the American sizes (ANSI/ASME Y14.1, and Legal).
_A_SERIES = (
    (841, 1189), (594, 841), (420, 594), (297, 420), (210, 297), (148, 210), (105, 148), (74, 105), (52, 74), (37, 52),
    (26, 37),
)  # fmt: skip
_NAMED = {
    **{f"a{number}": (float(short), float(long)) for number, (short, long) in enumerate(_A_SERIES)},
    "letter": (8.5 * _INCH, 11 * _INCH), "legal": (8.5 * _INCH, 14 * _INCH), "tabloid": (11 * _INCH, 17 * _INCH),
}  # fmt: skip
_OWN = re.compile(r"(\d+(?:\.\d+)?)\s*[x×]\s*(\d+(?:\.\d+)?)\s*(mm|cm|in)")
#: Longest side, in millimetres: a roll of 20 m.
_LONGEST = 20_000.0
KNOWN = "A0 to A10, Letter, Legal, Tabloid, or such as 200x300mm, 20x30cm, 8x10in"


def sheet(text: str) -> tuple[float, float]:
    """Millimetres of a sheet of paper, short side first. Raises ValueError for a name or size that is not known."""
    wanted = text.strip().lower()
    if wanted in _NAMED:
        return _NAMED[wanted]
    found = _OWN.fullmatch(wanted)
    if found is None:
        raise ValueError(f"{text} is no size of paper")
    sides = sorted(float(found[number]) * _UNITS[found[3]] for number in (1, 2))
    if not sides[0] >= 1 or sides[1] > _LONGEST:
        raise ValueError(f"{text} is no size of paper: a side has 1 mm to {_LONGEST / 1000:g} m")
    return sides[0], sides[1]


def pixels(millimetres: tuple[float, float], dpi: float) -> tuple[int, int]:
    """Of a sheet at so many dots to the inch."""
    short, long = (max(1, round(side / _INCH * dpi)) for side in millimetres)
    return short, long
