"""Taste with the built-in models, whole and real: `uv run python -m tools.measure_taste`.

A scripted person culls pictures through the gallery's own routes: looks at each original, keeps or rejects what the
gate got wrong, and leaves the rest. What is learnt is offered, used when it is, and then judges pictures that nobody
has said anything of. The person likes warm pictures, or sees it as the gate does. The pictures are drawn by the model
`shapes` of prompts with all of its words (`--drawn`: pictures of shapes drawn by a program instead, in less time).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import io
import itertools
import json
import logging
import math
import random
import struct
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hotfolder.cli.setup import make_root
from hotfolder.config import loading
from hotfolder.config.settings import Settings
from hotfolder.daemon.loop import Daemon
from hotfolder.executors.inline import InlineExecutor
from hotfolder.folders.layout import Layout
from hotfolder.gallery.access import Access
from hotfolder.gallery.application import application
from hotfolder.gallery.server import hosts_of, listen, server
from tools.builtin.captions import COLOURS, SHAPES, SIZES, Spec
from tools.builtin.renders import draw_spec

#: How often a person says the other thing than what they mean.
_SLIPS = 0.05
_AT_ONCE = 50
_QUICK = {"HOTFOLDER_SETTLE__QUIET_SECONDS": "0.05", "HOTFOLDER_WATCH__MODE": "polling"}


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


class Page:
    """Asks as the gallery's own page does."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str) -> bytes:
        return self._ask("GET", path, None)

    def post(self, path: str, asked: Any) -> Any:
        return json.loads(self._ask("POST", path, json.dumps(asked).encode()))

    def images(self) -> dict[int, tuple[float, int, int]]:
        """Score, version and flags by id."""
        data = self.get("/api/columns")
        (count, _), at = struct.unpack_from("<II", data), 8
        columns = []
        for code in "dIIB":
            column = array(code)
            column.frombytes(data[at : at + count * column.itemsize])
            columns.append(column)
            at += count * column.itemsize
        scores, ids, versions, flags = columns
        return {i: (s, v, f) for i, s, v, f in zip(ids, scores, versions, flags, strict=True)}

    def picture(self, image_id: int, version: int) -> Image.Image:
        return Image.open(io.BytesIO(self.get(f"/original/{image_id}/{version:08x}"))).convert("RGB")

    def _ask(self, method: str, path: str, body: bytes | None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        with contextlib.closing(connection):
            headers = {"content-type": "application/json", "sec-fetch-site": "same-origin"}
            connection.request(method, path, body, headers if body is not None else {})
            answer = connection.getresponse()
            data = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]!r}")
            return data


@contextlib.contextmanager
def serving(layout: Layout, settings: Settings) -> Iterator[Page]:
    listening = listen("127.0.0.1", 0)
    access = Access(hosts_of(listening, "127.0.0.1", ()), None, False, 2**20)
    running = server(application(layout, settings, access))
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[listening])))
    thread.start()
    try:
        while not running.started and thread.is_alive():
            time.sleep(0.02)
        yield Page(listening.getsockname()[1])
    finally:
        running.should_exit = True
        thread.join(10)
        listening.close()


def measure(folder: Path, likes: str, culled: int, later: int, *, drawn: bool) -> Outcome:
    """One person, in a root of their own below `folder`."""
    root = folder / likes
    make_root(root, "tiny")
    layout = Layout(root)
    specs = _specs(culled + later)
    _drop(layout, "first", specs[:culled], drawn=drawn)
    gate = _gate(layout, drawn=drawn)
    settings = loading.load(root, {**_QUICK, **gate})
    with serving(layout, settings) as page:
        person = Person(likes, settings.gate.keep)
        known = page.images()
        pictures = {i: page.picture(i, version) for i, (_, version, _) in known.items()}
        person.warm = float(np.median([warmth(picture) for picture in pictures.values()]))
        on_after = None
        ids = sorted(known)
        for start in range(0, len(ids), _AT_ONCE):
            _cull(page, person, pictures, known, ids[start : start + _AT_ONCE])
            _work(layout, gate)
            tastes = json.loads(page.get("/api/taste"))["tastes"]
            if on_after is None and tastes and tastes[0]["level"] == "direction":
                on_after = start + len(ids[start : start + _AT_ONCE])
        tastes = json.loads(page.get("/api/taste"))["tastes"]
        is_on = bool(tastes) and tastes[0]["level"] == "direction"
        if is_on:
            page.post("/api/taste", {"inbox": tastes[0]["inbox"], "head": tastes[0]["offered"]})
            _work(layout, gate)
        _drop(layout, "later", specs[culled:], drawn=drawn)
        _work(layout, gate)
        after = {i: each for i, each in page.images().items() if i not in known}
        by_gate, by_taste = [], []
        for image_id, (_, version, flags) in after.items():
            told = json.loads(page.get(f"/api/images/{image_id}"))
            prior = next(each["score"] for each in told["scores"] if each["scorer"] == "technical")
            thinks = person.thinks(page.picture(image_id, version), prior)
            by_gate.append((prior >= settings.gate.keep) == thinks)
            by_taste.append(bool(flags & 1) == thinks)
    gains = np.array(by_taste, float) - np.array(by_gate, float)
    return Outcome(
        likes, len(known), on_after, len(after), float(np.mean(by_gate)),
        float(np.mean(by_taste)) if is_on else None, float(gains.mean()) if is_on else None,
        float(gains.std(ddof=1) / math.sqrt(len(gains))) if is_on else None,
    )  # fmt: skip


def _cull(
    page: Page,
    person: Person,
    pictures: dict[int, Image.Image],
    known: dict[int, tuple[float, int, int]],
    ids: list[int],
) -> None:
    """What the gate got wrong is kept or rejected; the rest is looked at and left."""
    looks = []
    for image_id in ids:
        score, _, flags = known[image_id]
        is_kept = bool(flags & 1)
        says = person.says(pictures[image_id], score)
        if says == is_kept:
            looks.append([image_id, 900])
        else:
            page.post("/api/verdict", {"images": [image_id], "verdict": "keep" if says else "reject"})
    page.post("/api/seen", {"looks": looks})


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


def _gate(layout: Layout, *, drawn: bool) -> dict[str, str]:
    """A gate that keeps about half of what was dropped: by the median of its scores."""
    base = {
        "HOTFOLDER_GATE__UPSCALE": "never", "HOTFOLDER_GATE__MAX_ATTEMPTS": "1",
        "HOTFOLDER_GATE__KEEP": "9.99", "HOTFOLDER_GATE__REGENERATE_BELOW": "1",
    }  # fmt: skip
    _work(layout, base)
    with serving(layout, loading.load(layout.root, {**_QUICK, **base})) as page:
        median = float(np.median([score for score, _, _ in page.images().values()]))
        gate = {**base, "HOTFOLDER_GATE__KEEP": f"{median:.3f}"}
        page.post("/api/reroute", {"keep": float(f"{median:.3f}")})
    _work(layout, gate)
    return gate


def _work(layout: Layout, gate: dict[str, str]) -> None:
    """As a daemon does, until nothing is left to do."""
    settings = loading.load(layout.root, {**_QUICK, **gate})
    executor = InlineExecutor(settings.runner(layout.database))
    Daemon(layout.root, settings, executor).run(once=True)


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
