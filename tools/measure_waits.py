"""How long one waits: the time left as it is foretold against the truth, and how soon first results come.

`uv run python -m tools.measure_waits [eta] [turns] [asleep]`, in a temporary folder; some minutes. `eta` and `turns`
work with the built-in models, `asleep` is `eta` with an executor that only takes its time: for busy machines.
"""

from __future__ import annotations

import itertools
import logging
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from hotfolder.bench.asleep import Asleep
from hotfolder.cli.setup import make_root
from hotfolder.config import loading
from hotfolder.config.settings import Settings
from hotfolder.daemon.loop import Daemon
from hotfolder.demo.pictures import FAULTS, draw_landscape, spoil
from hotfolder.executors.base import Done, Executor
from hotfolder.executors.local import LocalExecutor
from hotfolder.folders.layout import Layout
from hotfolder.status.live import Snapshot
from hotfolder.types import Kind

#: Parts of the whole run at which the time left is looked at.
_AT = (0.1, 0.25, 0.5, 0.75, 0.9)
#: What each run is dropped: prompts, photographs, pictures to enlarge.
_RUNS = ((60, 20, 0), (20, 80, 6), (80, 0, 0))
#: The same four times as long, for models: they draw so fast that a tenth of a run would be less than two seconds.
_LONG_RUNS = tuple((4 * prompts, 4 * photos, 4 * to_enlarge) for prompts, photos, to_enlarge in _RUNS)
#: Of drawn images some are tried again, and some enlarged.
_GATE = {"gate": {"keep": 6.5, "upscale": 7.0, "regenerate_below": 6.0}}
#: The same where scores are spread evenly from 1 to 9; and what the executor without models takes for each job, about
#: as the built-in models on two cores.
_EVEN_GATE = {"gate": {"keep": 6.0, "upscale": 7.0, "regenerate_below": 3.0}}
_SECONDS = {Kind.GENERATE: 0.25, Kind.SCORE: 0.03, Kind.UPSCALE: 0.35}
_LOAD_SECONDS = {Kind.GENERATE: 4.0, Kind.SCORE: 0.5, Kind.UPSCALE: 1.5}
_SHAPES, _COLOURS = ("circle", "star", "heart", "square", "ring"), ("red", "green", "yellow", "purple")


class _Counting(LocalExecutor):
    """Notes which models were loaded."""

    def __init__(self, settings: Settings, layout: Layout) -> None:
        super().__init__(settings.runner(layout.database), settings.executor.idle_unload_seconds)
        self.loads: list[str] = []

    def poll(self, timeout: float) -> Sequence[Done]:
        told = super().poll(timeout)
        self.loads += [each.progress.stage for each in told if each.progress is not None and each.progress.loading]
        return told


def main(parts: Collection[str]) -> None:
    logging.basicConfig(level=logging.WARNING)
    os.environ["HOTFOLDER_OUTPUT__MIN_FREE_MB"] = "1"
    with tempfile.TemporaryDirectory(prefix="hotfolder-waits-") as folder:
        if not parts or "eta" in parts:
            _eta(_root(Path(folder) / "eta"), _Counting, _GATE, _LONG_RUNS)
        if "asleep" in parts:
            _eta(_root(Path(folder) / "asleep"), lambda *_: Asleep(_SECONDS, _LOAD_SECONDS), _EVEN_GATE, _RUNS)
        if not parts or "turns" in parts:
            _turns(_root(Path(folder) / "turns"))


def _root(root: Path) -> Layout:
    make_root(root, "tiny")
    return Layout(root)


def _eta(
    layout: Layout,
    make: Callable[[Settings, Layout], Executor],
    gate: Mapping[str, Any],
    runs: Sequence[tuple[int, int, int]],
) -> None:
    """Prints a table: the time left that was foretold, in parts of the true one."""
    heads = "".join(f" | at {at:.0%}" for at in _AT)
    sys.stdout.write(f"| run | jobs | seconds{heads} |\n| --- | --- | ---{' | ---' * len(_AT)} |\n")
    for number, run in enumerate(runs):
        _drop(layout, number, *run)
        said: list[tuple[float, float | None]] = []

        def note(snapshot: Snapshot, said: list[tuple[float, float | None]] = said) -> None:
            said.append((time.monotonic(), snapshot.left_seconds))

        settings = loading.load(layout.root).overridden(gate)
        began = time.monotonic()
        report = Daemon(layout.root, settings, make(settings, layout), show=note).run(once=True)
        took = time.monotonic() - began
        told = "".join(f" | {_compared(said, began, took, at)}" for at in _AT)
        what = ", ".join(f"{n} {of}" for n, of in zip(run, ("prompts", "photos", "to enlarge"), strict=True) if n)
        sys.stdout.write(f"| {what} | {report.done} | {took:.0f}{told} |\n")


def _compared(said: Sequence[tuple[float, float | None]], began: float, took: float, at: float) -> str:
    moment, left = min(said, key=lambda each: abs(each[0] - began - at * took))
    truth = began + took - moment
    return "not known" if left is None else f"{left / truth:.2f}"


def _drop(layout: Layout, number: int, prompts: int, photos: int, to_enlarge: int) -> None:
    pairs = itertools.cycle(itertools.product(_SHAPES, itertools.permutations(_COLOURS, 2)))
    lines = [
        f"a {a} {shape} on a {b} background --seed {1000 * number + n} --steps 10"
        for n, (shape, (a, b)) in zip(range(prompts), pairs, strict=False)
    ]
    if lines:
        (layout.inbox(Kind.GENERATE) / f"prompts{number}.txt").write_text("\n".join(lines))
    for n in range(photos):
        picture = draw_landscape(100 * number + n, (320, 240))
        spoiled = spoil(picture, FAULTS[n % len(FAULTS)], 4, n) if n % 2 else picture
        spoiled.save(layout.inbox(Kind.SCORE) / f"photo{number}-{n}.png")
    for n in range(to_enlarge):
        draw_landscape(100 * number + 50 + n, (160, 120)).save(
            layout.inbox(Kind.UPSCALE) / f"card{number}-{n}.png"
        )


def _turns(layout: Layout) -> None:
    """500 prompts, and a photo twenty seconds later: prints when the first image was kept, and the photo sorted."""
    lines = "\n".join(f"a red star on a white background --seed {n}" for n in range(500))
    (layout.inbox(Kind.GENERATE) / "many.txt").write_text(lines)
    gate = {"gate": {"keep": 1.0, "upscale": 10.0, "regenerate_below": 1.0}}
    settings = loading.load(layout.root).overridden(gate)
    executor = _Counting(settings, layout)
    daemon = Daemon(layout.root, settings, executor)
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        _wait_for_files(layout.root / "keep", "*.png")
        time.sleep(20)
        draw_landscape(1, (320, 240)).save(layout.inbox(Kind.SCORE) / ".photo.part", "PNG")
        (layout.inbox(Kind.SCORE) / ".photo.part").rename(layout.inbox(Kind.SCORE) / "photo.png")
        dropped = time.monotonic()
        _wait_for_files(layout.root / "keep", "photo.png")
        sorted_after = time.monotonic() - dropped
    finally:
        daemon.stop()
        thread.join()
    first, batch = _first_batches(layout)
    sys.stdout.write(
        f"first image kept {first:.2f} s after the first batch began; drawing and scoring one batch: {batch:.2f} s\n"
        f"a photo dropped among 500 prompts was sorted after {sorted_after:.2f} s\n"
        f"models loaded: {', '.join(each.removeprefix('loading ') for each in executor.loads)}\n"
    )


def _first_batches(layout: Layout) -> tuple[float, float]:
    """From the first claim to the first score, and how long the first batches of both kinds took together."""
    connection = sqlite3.connect(layout.database)
    ask = (
        "SELECT started_at, min(finished_at) AS first, max(finished_at) AS last FROM jobs "
        "WHERE kind = ? AND state = 'done' GROUP BY started_at ORDER BY started_at LIMIT 1"
    )
    (drawn,), (judged,) = (connection.execute(ask, [kind]).fetchall() for kind in ("generate", "score"))
    connection.close()
    return judged[1] - drawn[0], (drawn[2] - drawn[0]) + (judged[2] - judged[0])


def _wait_for_files(folder: Path, pattern: str) -> None:
    while not any(folder.glob(pattern)):
        time.sleep(0.01)


if __name__ == "__main__":
    main(sys.argv[1:])
