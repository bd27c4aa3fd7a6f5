"""The line without models, and the whole line with the built-in ones."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from hotfolder.bench.document import Measurement, limited, reasons, rounded
from hotfolder.bench.line import bench_line
from hotfolder.bench.line_daemon import peak_memory_mb
from hotfolder.bench.measure import begin_memory, peak_memory, seconds
from hotfolder.bench.part import Give
from hotfolder.bench.pictures import write_pictures
from hotfolder.config import loading, presets
from hotfolder.config.root import FILE_NAME
from hotfolder.config.settings import Settings
from hotfolder.daemon.loop import Daemon
from hotfolder.engines.device import pick_device
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.scoring.ensemble import ScorerEnsemble
from hotfolder.engines.upscaling.upscaler import Upscaler
from hotfolder.errors import HotfolderError
from hotfolder.executors.base import DeviceId, Done
from hotfolder.executors.local import LocalExecutor
from hotfolder.folders.layout import Layout
from hotfolder.oneshot.work import work
from hotfolder.types import Batch, Item, Kind, RunnerSettings

_FILES, _FILES_QUICK, _LONE = 2000, 60, 3
#: Of the whole line: prompts, photos and files to enlarge, and the sides of the latter two.
_CARD, _CPU, _QUICK = (200, 200, 8, 1024, 256), (24, 48, 2, 512, 96), (4, 4, 1, 128, 48)
#: On a card the plain way does one in so many of each kind: all of it would take minutes.
_PLAIN_PART = 10
#: What reading, writing and publishing may leave the worker without work.
_WHOLE_GOAL = 0.95


def measure_line(quick: bool, give: Give) -> None:
    """An executor that answers at once: what is left is the daemon, the disk and the database."""
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as name:
        files = _FILES_QUICK if quick else _FILES
        found = bench_line(Path(name), [files], fsync_delay_ms=0, lone=_LONE, tell=lambda *_: None)
        bare, plain = (_moves(Path(name), files, durable=durable) for durable in (False, True))
    run = found["runs"][0]
    rate = run["files_per_second"]
    give(
        Measurement(
            name="the line without models", unit="files", value=rounded(rate), plain=rounded(plain),
            times_plain=rounded(rate / plain), limit=limited("renames", bare, rate),
            process_memory_mb=run["peak_memory_mb"],
            reasons=reasons(
                None, correctness="nothing is computed; that every file is where it should be was checked"
            ),
            details={
                "files": files, "file_system": found["file_system"], "fsync_ms": found["fsync_ms"],
                "fsyncs_per_file": found["fsyncs_per_file"], "cpu_ms_per_file": run["cpu_ms_per_file"],
                "lone_file_ms": found["lone_file"]["median_ms"], "plain": "each file moved, and both folders synced",
            },
        )
    )  # fmt: skip


def _moves(below: Path, files: int, *, durable: bool) -> float:
    """Files a second that are moved from one folder to another, and no more; durably one by one, or not at all."""
    folders = [below / f"{name}-{durable}" for name in ("from", "to")]
    for folder in folders:
        folder.mkdir()
    for number in range(files):
        (folders[0] / str(number)).write_bytes(b"x")
    handles = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY) for folder in folders]
    try:
        os.fsync(handles[0])
        began = time.perf_counter()
        for number in range(files):
            os.rename(str(number), str(number), src_dir_fd=handles[0], dst_dir_fd=handles[1])
            if durable:
                for handle in handles:
                    os.fsync(handle)
        return files / (time.perf_counter() - began)
    finally:
        for handle in handles:
            os.close(handle)


class _Watched(LocalExecutor):
    """Keeps in mind how long the worker had work, what came of it, and the most memory of the card."""

    def __init__(self, settings: RunnerSettings) -> None:
        super().__init__(settings, 3600)
        self.begin()

    def begin(self) -> None:
        """Counts from here on."""
        self.busy, self.ended, self.device_bytes = 0.0, Counter[Kind](), 0
        self._work: tuple[Kind, float] | None = None

    def submit(self, batch: Batch, device: DeviceId) -> None:
        self._work = batch.kind, time.perf_counter()
        super().submit(batch, device)

    def poll(self, timeout: float) -> Sequence[Done]:
        told = super().poll(timeout)
        for done in told:
            if self._work is None:
                break
            kind, began = self._work
            if done.outcome is not None and done.outcome.error is None:
                self.ended[kind] += 1
            if done.progress is not None and done.progress.device.startswith("cuda"):
                self.device_bytes = max(self.device_bytes, done.progress.memory_used)
            if done.finished is not None or done.lost is not None:
                self.busy += time.perf_counter() - began
                self._work = None
        return told


def measure_whole_line(settings: RunnerSettings, quick: bool, give: Give) -> None:
    """Prompts, photos and files to enlarge through a daemon whose worker has its models loaded already."""
    device = pick_device(settings.device)
    sizes = _QUICK if quick else _CARD if device.type == "cuda" else _CPU
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as name:
        below = Path(name)
        prompts, photos, enlargements = _dropped(below, *sizes)
        own = loading.load(below / "root", {})
        runner = replace(
            own.runner(Layout(below / "root").database),
            device=settings.device, precision=settings.precision, compile=settings.compile,
        )  # fmt: skip
        executor = _Watched(runner)
        try:
            _warm(executor, own, prompts, photos, enlargements, below / "warm")
            executor.begin()
            daemon = Daemon(below / "root", own, executor)
            began = time.perf_counter()
            report = daemon.run(once=True)
            took = time.perf_counter() - began
        finally:
            executor.close()
        if report.failed or report.paused:
            why = report.paused or f"{report.failed} pieces of work failed"
            raise HotfolderError(
                f"the line did not do all of it: {why}", "see whether the disk and the models are well"
            )
        ended = sum(executor.ended.values())
        plain = _Plain(own, runner, device, below / "plain")
        begin_memory(device)
        part = _PLAIN_PART if device.type == "cuda" else 1
        plainly = ended / plain.seconds(executor.ended, part, prompts, photos, enlargements)
        plain_memory = peak_memory(device)
    rate = ended / took
    give(
        Measurement(
            name="the whole line with the built-in models", unit="images", value=rounded(rate), plain=rounded(plainly),
            times_plain=rounded(rate / plainly), limit=limited("the worker", ended / executor.busy, rate),
            goal=_WHOLE_GOAL,
            device_memory_mb=round(executor.device_bytes / 2**20) if executor.device_bytes else None,
            process_memory_mb=peak_memory_mb(),
            reasons=reasons(executor.device_bytes or None, correctness="the same models as the plain way's"),
            details={
                **{f"{kind.value}_done": executor.ended[kind] for kind in Kind}, "seconds": round(took, 2),
                "worker_busy_seconds": round(executor.busy, 2), "memory": "of the card: everybody's",
                "plain": "one after the other in one process, PNG as Pillow writes it",
                "plain_part": round(1 / part, 2),
                "plain_device_memory_mb": plain_memory.get("device_mb"),
            },
        )
    )  # fmt: skip


def _dropped(
    below: Path, prompts: int, photos: int, enlargements: int, photo: int, small: int
) -> tuple[list[str], Sequence[Path], Sequence[Path]]:
    """A root with work for each inbox; and the same once more beside it, for the plain loop."""
    layout = Layout(below / "root")
    layout.make()
    (layout.root / FILE_NAME).write_text(presets.render("tiny"), encoding="utf-8")
    colours, shapes = ("red", "blue", "yellow", "green"), ("circle", "square", "star")
    lines = [f"a large {colours[n % 4]} {shapes[n % 3]} on a white background" for n in range(prompts)]
    text = "".join(f"{line} --seed {number}\n" for number, line in enumerate(lines))
    (layout.inbox(Kind.GENERATE) / "prompts.txt").write_text(text, encoding="utf-8")

    def pictures(kind: Kind, count: int, side: int, format_: str) -> Sequence[Path]:
        write_pictures(layout.inbox(kind), count, side, format_)
        return write_pictures(below / kind.value, count, side, format_)

    return lines, pictures(Kind.SCORE, photos, photo, "jpg"), pictures(Kind.UPSCALE, enlargements, small, "png")


def _warm(
    executor: LocalExecutor,
    own: Settings,
    prompts: Sequence[str],
    photos: Sequence[Path],
    enlargements: Sequence[Path],
    staging: Path,
) -> None:
    """Each model does one piece of work, so that none is loaded while it is timed."""
    drawn = Item(0, 1, None, str(staging / "0"), {"prompt": prompts[0], "seed": 0})
    for kind, item in (
        (Kind.GENERATE, drawn),
        (Kind.SCORE, Item(1, 1, str(photos[0]), "")),
        (Kind.UPSCALE, Item(2, 1, str(enlargements[0]), str(staging / "2"))),
    ):
        for outcome in work(executor, kind, own.default_model(kind), [item], lambda _: None):
            if outcome.error is not None:
                raise HotfolderError(outcome.error.message, outcome.error.fix)


def _each(act: Callable[[int], None], numbers: Iterable[int]) -> None:
    for number in numbers:
        act(number)


class _Plain:
    """The same models in this process, one picture at a time: drawn, saved, read again, judged, moved."""

    def __init__(self, own: Settings, runner: RunnerSettings, device: torch.device, folder: Path) -> None:
        self._folder, self._device = folder, device
        (folder / "done").mkdir(parents=True)
        runner = replace(runner, database=None)

        def spec(kind: Kind) -> Any:
            return own.catalogue().resolve(own.default_model(kind), kind)

        self._generator = Generator(spec(Kind.GENERATE), device, runner)
        self._ensemble = ScorerEnsemble.load(own.default_model(Kind.SCORE), runner, device)
        self._upscaler = Upscaler(spec(Kind.UPSCALE), device, runner)

    def seconds(
        self,
        counts: Counter[Kind],
        part: int,
        prompts: Sequence[str],
        photos: Sequence[Path],
        enlargements: Sequence[Path],
    ) -> float:
        """That it takes for as many of each kind as the line did, from one in `part` of them."""

        def draw(number: int) -> None:
            image, _ = self._generator.draw_one({"prompt": prompts[number % len(prompts)], "seed": number})
            self._place(image, f"drawn-{number}.png")

        def enlarge(number: int) -> None:
            with Image.open(enlargements[number % len(enlargements)]) as file:
                enlarged = self._upscaler.enlarge_one(np.asarray(file.convert("RGB")))
            self._place(Image.fromarray(enlarged), f"enlarged-{number}.png")

        def judge(number: int) -> None:
            with Image.open(photos[number % len(photos)]) as file:
                self._ensemble.judge([file.convert("RGB")])

        took = 0.0
        for kind, act in ((Kind.GENERATE, draw), (Kind.UPSCALE, enlarge), (Kind.SCORE, judge)):
            some = range(-(-counts[kind] // part))
            if some:
                took += counts[kind] / len(some) * seconds(partial(_each, act, some), self._device)
        return took

    def _place(self, image: Image.Image, name: str) -> None:
        image.save(self._folder / name)
        (self._folder / name).rename(self._folder / "done" / name)
