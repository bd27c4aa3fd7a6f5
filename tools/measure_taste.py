"""Taste with the built-in models, whole and real: `uv run python -m tools.measure_taste`.

A scripted person culls pictures through the gallery's own routes: looks at each original, keeps or rejects what the
gate got wrong, and leaves the rest. What is learnt is offered, used when it is, and then judges pictures that nobody
has said anything of. The person likes warm pictures, or sees it as the gate does. The pictures are drawn by the model
`shapes` of prompts with all of its words (`--drawn`: pictures of shapes drawn by a program instead, in less time).
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import logging
import math
import random
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hotfolder.cli.setup import make_root
from hotfolder.executors.inline import InlineExecutor
from hotfolder.folders.layout import Layout
from tests.support.gallery import Answer, Client, serving
from tests.support.roots import daemon, settings
from tools.builtin.captions import COLOURS, SHAPES, SIZES, Spec
from tools.builtin.renders import draw_spec

#: How often a person says the other thing than what they mean.
_SLIPS = 0.05
_AT_ONCE = 50
#: Score, version and flags by id.
Images = dict[int, tuple[float, int, int]]


@dataclass(frozen=True)
class Outcome:
    """`agreed`: which share of the later pictures the gate, and taste, judged as the person does."""

    person: str
    culled: int
    on_after: int | None  # pictures that were culled when taste was offered; None: never
    later: int
    agreed_gate: float
    agreed_taste: float | None
    gain: float | None
    gain_error: float | None  # one standard error of the paired difference


class Person:
    """Says what they think of a picture, by its pixels and its score."""

    def __init__(self, likes: str, keep: float, seed: int = 1) -> None:
        self.likes = likes
        self.keep = keep
        self.warm = 0.0  # from which warmth on they like a picture
        self._random = random.Random(seed)

    def thinks(self, picture: Image.Image, score: float) -> bool:
        return score >= self.keep if self.likes == "gate" else warmth(picture) >= self.warm

    def says(self, picture: Image.Image, score: float) -> bool:
        return self.thinks(picture, score) != (self._random.random() < _SLIPS)


def warmth(picture: Image.Image) -> float:
    """How much redder than blue, on the whole: -255 to 255."""
    red, _, blue = np.asarray(picture.convert("RGB"), np.float64).mean(axis=(0, 1))
    return float(red - blue)


def _pictures(page: Client, known: Images) -> dict[int, Image.Image]:
    return {image_id: _picture(page, image_id, version) for image_id, (_, version, _) in known.items()}


def _picture(page: Client, image_id: int, version: int) -> Image.Image:
    data = _granted(page.get(f"/original/{image_id}/{version:08x}")).body
    return Image.open(io.BytesIO(data)).convert("RGB")


def _granted(answer: Answer) -> Answer:
    if answer.status >= 300:
        raise RuntimeError(f"the gallery says {answer.status}: {answer.body[:300]!r}")
    return answer


def _taste(page: Client) -> dict[str, Any] | None:
    """Of the one inbox that something was dropped into."""
    tastes = _granted(page.get("/api/taste")).json["tastes"]
    return next(iter(tastes), None)


def measure(folder: Path, likes: str, culled: int, later: int, *, drawn: bool) -> Outcome:
    """One person, in a root of their own below `folder`."""
    root = folder / likes
    make_root(root, "tiny")
    layout = Layout(root)
    specs = _specs(culled + later)
    _drop(layout, "first", specs[:culled], drawn=drawn)
    gate = _gate(layout)
    keep = settings(layout, **gate).gate.keep
    with serving(layout, **gate) as page:
        person = Person(likes, keep)
        _, known = page.columns()
        pictures = _pictures(page, known)
        person.warm = float(np.median([warmth(picture) for picture in pictures.values()]))
        on_after = taste = None
        ids = sorted(known)
        for start in range(0, len(ids), _AT_ONCE):
            _cull(page, person, pictures, known, ids[start : start + _AT_ONCE])
            _work(layout, gate)
            taste = _taste(page)
            if on_after is None and taste is not None and taste["level"] == "direction":
                on_after = start + len(ids[start : start + _AT_ONCE])
        is_on = taste is not None and taste["level"] == "direction"
        if taste is not None and is_on:
            _granted(page.post("/api/taste", {"inbox": taste["inbox"], "head": taste["offered"]}))
            _work(layout, gate)
        _drop(layout, "later", specs[culled:], drawn=drawn)
        _work(layout, gate)
        after = {i: each for i, each in page.columns()[1].items() if i not in known}
        by_gate, by_taste = [], []
        for image_id, (_, version, flags) in after.items():
            told = _granted(page.get(f"/api/images/{image_id}")).json
            prior = next(each["score"] for each in told["scores"] if each["scorer"] == "technical")
            thinks = person.thinks(_picture(page, image_id, version), prior)
            by_gate.append((prior >= keep) == thinks)
            by_taste.append(bool(flags & 1) == thinks)
    gains = np.array(by_taste, float) - np.array(by_gate, float)
    return Outcome(
        likes, len(known), on_after, len(after), float(np.mean(by_gate)),
        float(np.mean(by_taste)) if is_on else None, float(gains.mean()) if is_on else None,
        float(gains.std(ddof=1) / math.sqrt(len(gains))) if is_on else None,
    )  # fmt: skip


def _cull(page: Client, person: Person, pictures: dict[int, Image.Image], known: Images, ids: list[int]) -> None:
    """What the gate got wrong is kept or rejected; the rest is looked at and left."""
    looks = []
    for image_id in ids:
        score, _, flags = known[image_id]
        is_kept = bool(flags & 1)
        says = person.says(pictures[image_id], score)
        if says == is_kept:
            looks.append([image_id, 900])
        else:
            _granted(page.post("/api/verdict", {"images": [image_id], "verdict": "keep" if says else "reject"}))
    _granted(page.post("/api/seen", {"looks": looks}))


def _specs(count: int) -> list[Spec]:
    """Different ones, in an order that the seed gives."""
    pairs = [(a, b) for a, b in itertools.product(COLOURS, COLOURS) if a != b]
    specs = [Spec(a, shape, b, size) for (a, b), shape, size in itertools.product(pairs, SHAPES, SIZES)]
    random.Random(7).shuffle(specs)
    return specs[:count]


def _drop(layout: Layout, name: str, specs: list[Spec], *, drawn: bool) -> None:
    if drawn:
        for number, spec in enumerate(specs):
            path = layout.inbox("score") / name / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_spec(spec, random.Random(number)).save(path)
        return
    lines = [f"{spec.caption()} --seed {number}" for number, spec in enumerate(specs)]
    (layout.inbox("generate") / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _gate(layout: Layout) -> dict[str, Any]:
    """A gate that keeps about half of what was dropped: by the median of its scores."""
    base: dict[str, Any] = {
        "GATE__UPSCALE": "never", "GATE__MAX_ATTEMPTS": "1", "GATE__KEEP": "9.99", "GATE__REGENERATE_BELOW": "1",
        "WATCH__MODE": "polling",
    }  # fmt: skip
    _work(layout, base)
    with serving(layout, **base) as page:
        median = float(np.median([score for score, _, _ in page.columns()[1].values()]))
        gate = {**base, "GATE__KEEP": f"{median:.3f}"}
        _granted(page.post("/api/reroute", {"keep": float(f"{median:.3f}")}))
    _work(layout, gate)
    return gate


def _work(layout: Layout, gate: dict[str, Any]) -> None:
    """As a daemon does, until nothing is left to do."""
    executor = InlineExecutor(settings(layout, **gate).runner(layout.database))
    daemon(layout, executor, **gate).run(once=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--culled", type=int, default=300)
    parser.add_argument("--later", type=int, default=200)
    parser.add_argument("--drawn", action="store_true")
    parser.add_argument("--persons", nargs="+", choices=("warm", "gate"), default=["warm", "gate"])
    asked = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="hotfolder-taste-") as folder:
        for likes in asked.persons:
            found = measure(Path(folder), likes, asked.culled, asked.later, drawn=asked.drawn)
            sys.stdout.write(json.dumps(asdict(found)) + "\n")


if __name__ == "__main__":
    main()
