"""Letters on drawn pictures, in whatever fonts there are."""

from __future__ import annotations

import functools

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
#: Looked for where systems keep them, in this order: the first with every letter of a text is taken.
_OTHERS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "Arial.ttf", "NotoSansCJK-Regular.ttc",
    "WenQuanYiZenHei.ttf", "Arial Unicode.ttf", "msyh.ttc",
)  # fmt: skip
#: No font has a letter for it.
_NO_LETTER = "\uffff"
_GAP = "..."


@functools.cache
def plain(size: int) -> Font:
    """Pillow's own, which is everywhere the same, and has no letters but those of ASCII."""
    return ImageFont.load_default(size)


@functools.cache
def _others(size: int) -> tuple[Font, ...]:
    found: list[Font] = []
    for name in _OTHERS:
        try:
            found.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(found)


def font_for(text: str, size: int) -> tuple[Font, str]:
    """A font for a text, and the text with '?' for what that font has no letter for."""
    if text.isascii():
        return plain(size), text
    candidates = [(font, _shown(text, font)) for font in (*_others(size), plain(size))]
    return next(
        (each for each in candidates if each[1] == text), max(candidates, key=lambda c: -_missing(c[1], text))
    )


def _missing(shown: str, text: str) -> int:
    return sum(one != other for one, other in zip(shown, text, strict=True))


def _shown(text: str, font: Font) -> str:
    return "".join(letter if letter.isascii() or _has(font, letter) else "?" for letter in text)


@functools.lru_cache(4096)
def _has(font: Font, letter: str) -> bool:
    return bytes(font.getmask(letter)) != bytes(font.getmask(_NO_LETTER))


def shortened(text: str, font: Font, width: float) -> str:
    """The text with its middle left out, so that it is no wider: the ending of a file's name stays."""
    if font.getlength(text) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the most letters that fit
        kept = (low + high + 1) // 2
        if font.getlength(_cut(text, kept)) <= width:
            low = kept
        else:
            high = kept - 1
    return _cut(text, low)


def _cut(text: str, kept: int) -> str:
    behind = min(kept // 2, 12)
    return text[: kept - behind] + _GAP + text[len(text) - behind :]
