"""A root with many judged pictures, and a person who likes red ones."""

from __future__ import annotations

import base64
import hashlib
import sqlite3
from pathlib import Path

import numpy as np
from PIL import Image

from hotfolder.folders.layout import Layout
from hotfolder.imaging.decode import decode
from hotfolder.status import mailbox
from hotfolder.types import Embedding, Item, Kind, Outcome, Score
from tests.support.roots import daemon, new_root
from tests.support.scripted import ScriptedExecutor

ENCODER = "technical/test/0123456789abcdef"


class Seeing(ScriptedExecutor):
    """Its scores have nothing to do with how red a picture is; its embeddings do."""

    def __init__(self, scorer: str = "technical") -> None:
        super().__init__(lambda *_: 6.0)
        self._scorer = scorer

    def _work(self, kind: Kind, item: Item, answer: object) -> Outcome:
        assert kind is Kind.SCORE and item.source is not None
        found = decode(Path(item.source), 10**9)
        pixels = np.asarray(found.image.convert("RGB"), np.float64).reshape(-1, 3).mean(axis=0) / 255
        rng = np.random.default_rng(int(hashlib.sha256(Path(item.source).read_bytes()).hexdigest()[:8], 16))
        vector = np.concatenate([pixels - 0.5, rng.normal(0, 0.2, 5)]).astype("<f2")
        score = Score(float(6.5 + (pixels[2] - 0.5) * 3), self._scorer, "0" * 64, "none", "float32")
        seen = (Embedding(ENCODER, base64.b64encode(vector.tobytes()).decode()),)
        return Outcome(item.job_id, item.claim, score=score, embeddings=seen, source=found.facts)


def is_red(path: Path) -> bool:
    with Image.open(path) as image:
        pixel = image.convert("RGB").getpixel((0, 0))
        assert isinstance(pixel, tuple)
        return pixel[0] > 127


def judged_root(folder: Path, count: int = 160) -> Layout:
    layout = new_root(folder)
    drop(layout, count)
    work(layout)
    return layout


def drop(layout: Layout, count: int, first: int = 0) -> None:
    rng = np.random.default_rng(first)
    for number in range(first, first + count):
        colour = tuple(int(x) for x in rng.integers(0, 256, 3))
        Image.new("RGB", (6, 6), colour).save(layout.inbox("score") / f"{number:04d}.png")


def work(layout: Layout, **settings: str) -> None:
    """What waits is done, as by a daemon."""
    quick = {"WATCH__MODE": "polling", "GATE__UPSCALE": "never", **settings}
    daemon(layout, Seeing(), **quick).run(once=True)


def cull(layout: Layout, *, likes_red: bool = True, first: int = 0, last: int = 10**9) -> None:
    """Asks the daemon as the gallery does: what the gate got wrong is moved, the rest was looked at."""
    looks, keeps, rejects = [], [], []
    for image_id, path, score in images(layout):
        if not first <= image_id < last:
            continue
        wanted = is_red(layout.root / path) if likes_red else score >= 6.5
        if wanted == path.startswith("keep/"):
            looks.append(image_id)
        else:
            (keeps if wanted else rejects).append(image_id)
    for verdict, ids in (("keep", keeps), ("reject", rejects)):
        if ids:
            mailbox.ask(layout, {"do": "verdict", "verdict": verdict, "how": "key", "images": ids})
    mailbox.ask(layout, {"do": "seen", "images": looks, "milliseconds": [900] * len(looks)})


def images(layout: Layout) -> list[tuple[int, str, float]]:
    """id, path and score."""
    connection = sqlite3.connect(layout.database)
    try:
        return list(connection.execute("SELECT id, path, score FROM images ORDER BY id"))
    finally:
        connection.close()
