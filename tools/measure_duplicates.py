"""How well copies are found among many pictures: `uv run python -m tools.measure_duplicates [--scenes N]`.

Each scene is drawn once; it and its four quarters are pictures of the collection, which share colours and textures and
are no copies, and so is each of them turned over, to the side, upside down and both. As many landscapes are drawn,
which are all alike at a glance. Of some, copies are planted: as JPEG, smaller, and with 5 % of width and height cut
off somewhere. Whether a picture is a copy of itself turned over is not asked: some scenes are symmetrical.
"""

from __future__ import annotations

import io
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image

from hotfolder.demo.pictures import draw_landscape
from hotfolder.similarity.copies import COPIES, Collection
from hotfolder.similarity.layout import Array, layout_of
from tools.builtin.renders import draw_scene

_SIDE = 256
_SIDEWAYS, _UPSIDE_DOWN = Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM
#: Copies that are looked for one by one.
_ASKED = 500


def copies_of(image: Image.Image, rng: random.Random) -> Iterator[tuple[str, Image.Image]]:
    """Each with its name."""
    width, height = image.size
    for quality in (90, 60):
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        yield f"JPEG of quality {quality}", Image.open(buffer).convert("RGB")
    for share in (0.75, 0.5):
        size = (round(width * share), round(height * share))
        yield f"{share:.0%} of the size", image.resize(size, Image.Resampling.LANCZOS)
    left, top = round(rng.uniform(0, 0.05) * width), round(rng.uniform(0, 0.05) * height)
    box = (left, top, left + round(0.95 * width), top + round(0.95 * height))
    yield "cropped by 5 %", image.crop(box)


def pictures(scenes: int, every: int) -> Iterator[tuple[str, str, Image.Image]]:
    """What each is of, what was done to it ('' for the original), and the picture."""
    rng, half = random.Random(1), _SIDE // 2
    for number in range(scenes):
        scene = draw_scene(number, _SIDE)
        for quarter in range(4):
            left, top = quarter % 2 * half, quarter // 2 * half
            yield f"scene {number}.{quarter}", "", scene.crop((left, top, left + half, top + half))
        for name, drawn in (
            (f"scene {number}", scene),
            (f"landscape {number}", draw_landscape(number, (_SIDE, _SIDE * 3 // 4))),
        ):
            yield name, "", drawn
            if number % every == 0:
                yield from ((name, kind, copy) for kind, copy in copies_of(drawn, rng))


def turned_over(image: Image.Image) -> Iterator[Image.Image]:
    for how in (_SIDEWAYS, _UPSIDE_DOWN, Image.Transpose.ROTATE_180):
        yield image.transpose(how)


def measure(names: list[str], kinds: list[str], layouts: Array) -> dict[str, object]:
    """Recall and precision of pairs, of the whole collection and of one picture at a time; seconds."""
    name, kind = np.array(names), np.array(kinds)
    drawn = np.array([each.rpartition(" ")[0] for each in names])
    planted = sum(count * (count - 1) // 2 for count in Counter(names).values())
    began = time.process_time(), time.perf_counter()
    first, second, _ = Collection(layouts).copies()
    seconds = time.process_time() - began[0], time.perf_counter() - began[1]
    right = name[first] == name[second]
    asked_for = right | (drawn[first] != drawn[second])
    whole = _told(int(right.sum()), int(asked_for.sum()), planted)
    crops: list[bool] = []
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    for index in np.flatnonzero(kind == "cropped by 5 %").tolist():
        original = names.index(names[index])
        crops.append((original, index) in pairs)
    originals: NDArray[np.intp] = np.flatnonzero(kind == "")
    asked = np.flatnonzero(kind != "")[:_ASKED]
    started = time.process_time()
    collection = Collection(layouts[originals])
    ready = time.process_time() - started
    started = time.process_time()
    answers = [originals[collection.alike(layouts[index]) >= COPIES] for index in asked]
    each = (time.process_time() - started) / max(1, len(asked))
    hits = [
        names[index] == name[answer][(drawn[answer] != drawn[index]) | (name[answer] == names[index])]
        for index, answer in zip(asked, answers, strict=True)
    ]
    return {
        "pictures": len(names),
        "copies planted": int((kind != "").sum()),
        "duplicates": {
            **whole,
            "recall of crops": round(float(np.mean(crops)), 4),
            "seconds": round(seconds[1], 3),
            "seconds of the processor": round(seconds[0], 3),
        },
        "search --like": {
            **_told(int(sum(hit.sum() for hit in hits)), sum(map(len, hits)), len(asked)),
            "seconds of the processor": round(ready + each, 3),
        },
    }


def _told(right: int, found: int, planted: int) -> dict[str, float]:
    return {"precision": round(right / max(1, found), 4), "recall": round(right / max(1, planted), 4)}


def main(
    scenes: Annotated[int, typer.Option(min=3, help="Each is 24 pictures, beside its copies.")] = 100,
    every: Annotated[
        int, typer.Option(min=1, help="Of one scene and landscape in so many, copies are planted.")
    ] = 15,
) -> None:
    """Prints one JSON document."""
    names, kinds, layouts = [], [], []
    for name, kind, image in pictures(scenes, every):
        for number, each in enumerate((image, *(turned_over(image) if not kind else ()))):
            names.append(f"{name} {number}")
            kinds.append(kind)
            layouts.append(layout_of(each))
    # As they are stored.
    stored = np.stack(layouts).astype("<f2").astype(np.float32)
    json.dump(measure(names, kinds, stored), sys.stdout, indent=1)


if __name__ == "__main__":
    typer.run(main)
