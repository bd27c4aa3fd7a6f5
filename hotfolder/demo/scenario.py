"""What the demonstration drops into the inboxes."""

from __future__ import annotations

from pathlib import Path

from hotfolder.demo.pictures import FAULTS, draw_landscape, spoil
from hotfolder.folders.layout import Layout
from hotfolder.types import Kind

PROMPTS = {
    "shapes.txt": """\
# One prompt a line; lines like this one are comments.
a red circle on a blue background --seed 7 --count 2
a large cyan star on a brown background --seed 7 --count 4
a large yellow star on a purple background --seed 21
a small green heart on a white background --seed 3
""",
    "posters/series.toml": """\
# Shared settings first, then a list of prompts.
seed = 40
prompts = [
    "an orange hexagon on a black background",
    { prompt = "a pink diamond on a green background", count = 2 },
]
""",
    # Few words and few steps leave much to the seed: the first one draws a blur, the next one a cross.
    "hasty/cross.txt": "a small cross --seed 6 --steps 3\n",
}
#: Settings of sub-folders. The cross's first try gets 2.6, and the second 8.2.
SETTINGS = {
    "hasty/hotfolder.toml": """\
# Settings of this folder, and of those below it: all else is as the root's hotfolder.toml says.
[gate]
regenerate_below = 6.0
""",
}


def drop_everything(layout: Layout) -> None:
    """Prompt files, pictures to be judged (half of them spoiled) and one to be enlarged."""
    for name, text in {**SETTINGS, **PROMPTS}.items():
        path = layout.inbox(Kind.GENERATE) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    for number in range(3):
        _save(layout.inbox(Kind.SCORE) / f"landscape-{number + 1}.png", number)
    for number, fault in enumerate(FAULTS):
        _save(layout.inbox(Kind.SCORE) / "spoiled" / f"{fault}.png", number, fault)
    _save(layout.inbox(Kind.UPSCALE) / "postcard.png", 11, size=(160, 120))


def _save(path: Path, seed: int, fault: str | None = None, size: tuple[int, int] = (320, 240)) -> None:
    image = draw_landscape(seed, size)
    path.parent.mkdir(parents=True, exist_ok=True)
    (spoil(image, fault, 4, seed) if fault else image).save(path)
