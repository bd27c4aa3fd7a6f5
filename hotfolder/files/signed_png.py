"""PNG that say which program drew them: such a file may be drawn anew, and no other one is replaced."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image, PngImagePlugin

#: Where it says so: a keyword of the PNG specification.
_KEYWORD = "Software"


def signed(image: Image.Image, software: str) -> bytes:
    """The file of a picture."""
    said, data = PngImagePlugin.PngInfo(), io.BytesIO()
    said.add_text(_KEYWORD, software)
    image.save(data, "PNG", pnginfo=said)
    return data.getvalue()


def is_signed(path: Path, software: str) -> bool:
    """Whether a file is a picture that says so."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            return bool(image.info.get(_KEYWORD) == software)
    except (OSError, ValueError, SyntaxError):
        return False
