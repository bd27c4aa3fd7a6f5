"""Pictures to measure with: seeded, as hard to decode as photographs are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image


def write_pictures(folder: Path, count: int, size: int, format_: str) -> Sequence[Path]:
    """`count` square pictures of `size` pixels: soft colours with fine grain, like photographs."""
    folder.mkdir(parents=True, exist_ok=True)

    def write(number: int) -> Path:
        random = np.random.default_rng(number)
        soft = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).resize((size, size), 3)
        grain = random.normal(0, 4, (size, size, 1))
        picture = Image.fromarray((np.asarray(soft) + grain).clip(0, 255).astype(np.uint8))
        path = folder / f"{number:05d}.{format_}"
        picture.save(path, quality=90) if format_ != "png" else picture.save(path, compress_level=6)
        return path

    with ThreadPoolExecutor(min(16, len(os.sched_getaffinity(0)))) as pool:  # one takes a second for 15 of 1024²
        return list(pool.map(write, range(count)))
