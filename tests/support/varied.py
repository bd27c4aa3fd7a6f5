"""Pictures that have little in common."""

from __future__ import annotations

import numpy as np
from PIL import Image

from hotfolder.demo.pictures import draw_landscape


def varied_pictures(count: int) -> list[Image.Image]:
    """Renders, noise, gradients and flat colours of many sizes and aspects."""
    random = np.random.default_rng(5)
    found: list[Image.Image] = []
    for number in range(count):
        width, height = (int(n) for n in random.integers(30, 900, 2))
        match number % 4:
            case 0:
                image = draw_landscape(number).resize((width, height))
            case 1:
                image = Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
            case 2:
                small = Image.fromarray(random.integers(0, 256, (3, 4, 3), dtype=np.uint8))
                image = small.resize((width, height), Image.Resampling.BICUBIC)
            case _:
                image = Image.new("RGB", (width, height), tuple(int(n) for n in random.integers(0, 256, 3)))
        found.append(image)
    return found
