"""`hotfolder bench workers`: how well several devices share the work; ratios of one run, whatever else goes on."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from hotfolder.bench.asleep import Asleep
from hotfolder.bench.line_root import picture
from hotfolder.bench.overhead import measure_overhead
from hotfolder.bench.pictures import write_pictures
from hotfolder.config import loading, presets
from hotfolder.config.root import FILE_NAME
from hotfolder.config.settings import Settings
from hotfolder.daemon.loop import Daemon
from hotfolder.errors import HotfolderError
from hotfolder.executors.base import DeviceId, Done, Executor
from hotfolder.executors.local import LocalExecutor
from hotfolder.executors.local_devices import LocalDevice
from hotfolder.folders.layout import Layout
from hotfolder.oneshot.work import work
from hotfolder.types import Batch, Item, Kind

Tell = Callable[[str, int, int], None]
#: Nothing is tried again or enlarged: what is dropped is what is done.
_GATE = {"gate": {"upscale": "never", "regenerate_below": 1.0}}
#: Three devices, of which one takes three times as long.
_UNEQUAL = {"a": 1.0, "b": 1.0, "c": 3.0}
#: Seconds that a job sleeps, and that its model takes to load.
_SLEEP, _LOAD = 0.1, 0.05
_SIDE = 512  # of the photos
#: What one worker on the CPU gets: one thread.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
_TICKS = os.sysconf("SC_CLK_TCK")


class Part(StrEnum):
    """What can be measured alone."""

    ASLEEP = "asleep"
    SCORING = "scoring"
    GENERATING = "generating"
    OVERHEAD = "overhead"


def bench_workers(
    jobs: int, tell: Tell, only: Part | None = None, *, random_weights: bool = False
) -> dict[str, Any]:
    """Sharing with devices that only sleep, then one worker on the CPU against two, each with one thread; last what
    Ray costs for each job.

    `random_weights`: `jobs` photos are judged by a head for ViT-L/14, four times as many by the small model otherwise.
    """
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0))}
    every: dict[Part, tuple[str, Callable[[], dict[str, Any]]]] = {
        Part.ASLEEP: ("three unequal devices, asleep", lambda: _shared(4 * jobs)),
        Part.SCORING: ("scoring", lambda: _judged(jobs, random_weights=random_weights)),
        Part.GENERATING: ("generating", lambda: _raced(Kind.GENERATE, jobs, {})),
        Part.OVERHEAD: ("overhead", lambda: measure_overhead(lambda at, of: tell("overhead", at, of))),
    }
    parts = [every[only]] if only is not None else list(every.values())
    for number, (name, measure) in enumerate(parts):
        tell(name, number, len(parts))
        found[name.replace(" ", "_").replace(",", "")] = measure()
    return found


class _TimedSleep(Asleep):
    """Notes when its first batch came and its last job ended."""

    began = ended_at = 0.0

    def submit(self, batch: Batch, device: DeviceId) -> None:
        self.began = self.began or time.perf_counter()
        super().submit(batch, device)

    def poll(self, timeout: float) -> Sequence[Done]:
        told = super().poll(timeout)
        if any(done.outcome for done in told):
            self.ended_at = time.perf_counter()
        return told


def _shared(count: int) -> dict[str, Any]:
    """How long it takes beside the ideal: every device at work until the end, at its own pace, no model to load."""
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as name:
        layout, settings = _root(Path(name))
        for number in range(count):
            (layout.inbox(Kind.SCORE) / f"{number}.png").write_bytes(picture(number))
        executor = _TimedSleep(dict.fromkeys(Kind, _SLEEP), dict.fromkeys(Kind, _LOAD), _UNEQUAL)
        _run(layout, settings, executor)
    # As it was drawn: jobs are of uneven length.
    seconds = executor.slept / sum(1 / slowness for slowness in _UNEQUAL.values())
    took = executor.ended_at - executor.began
    return {
        "jobs": count,
        "jobs_of_each": dict(sorted(Counter(device for device, _ in executor.ended).items())),
        "seconds": round(took, 2),
        "ideal_seconds": round(seconds, 2),
        "times_ideal": round(took / seconds, 3),
    }


class _Watched(LocalExecutor):
    """Keeps in mind how much processor time its workers have had when it is closed."""

    cpu_seconds = 0.0

    def close(self) -> None:
        self.cpu_seconds = self.worked() or self.cpu_seconds
        super().close()

    def worked(self) -> float:
        """Seconds of processor time of all workers since each began."""
        return sum(_cpu_seconds(device.pid) for device in self.devices() if device.pid is not None)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _judged(jobs: int, *, random_weights: bool) -> dict[str, Any]:
    if not random_weights:
        return _raced(Kind.SCORE, 4 * jobs, {})
    from hotfolder.bench.weights import save_random_clip, save_random_head  # with torch, which takes its time

    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
        save_random_clip(Path(folder))
        head = str(save_random_head(Path(folder)))
        return _raced(Kind.SCORE, jobs, {"score": {"scorer": head}, "models": {"folders": [folder]}})


def _raced(kind: Kind, count: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The same work through one worker and through two; `changes` of the settings."""
    runs = {workers: _timed(kind, count, workers, changes) for workers in (1, 2)}
    one, two = (run["seconds"] / count for run in runs.values())
    cpu_one, cpu_two = (run["worker_cpu_seconds"] / count for run in runs.values())
    return {
        "one": runs[1],
        "two": runs[2],
        "times_as_fast": round(one / two, 2),
        # Where other programs take the cores: what two whole ones would give, by what each image costs.
        "times_as_fast_by_processor_time": round(2 * cpu_one / cpu_two, 2),
    }


def _timed(kind: Kind, count: int, workers: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    ids = ["cpu"] if workers == 1 else [f"cpu-{number + 1}" for number in range(workers)]
    devices = [LocalDevice(id_, "cpu", _ONE_THREAD, readers=1) for id_ in ids]
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as name:
        layout, settings = _root(Path(name) / "root")
        settings = settings.overridden(changes)
        photo = write_pictures(Path(name) / "warm", 1, _SIDE, "jpg")[0]
        executor = _Watched(settings.runner(layout.database), 3600, devices)
        try:
            for device in devices:
                _warm(executor, settings, device.id, photo, Path(name) / "staging", kind)
            if kind is Kind.SCORE:
                write_pictures(layout.inbox(Kind.SCORE), count, _SIDE, "jpg")
            else:
                lines = "".join(f"a large red circle on a white background --seed {n}\n" for n in range(count))
                (layout.inbox(kind) / "prompts.txt").write_text(lines)
            warm, began = executor.worked(), time.perf_counter()
            _run(layout, settings, executor)
            took = time.perf_counter() - began
        finally:
            executor.close()
    cpu = executor.cpu_seconds - warm
    return {
        "images": count,
        "seconds": round(took, 2),
        "images_per_second": round(count / took, 2),
        "worker_cpu_seconds": round(cpu, 2),
        "processors_had": round(cpu / took, 2),
    }


def _warm(
    executor: LocalExecutor, settings: Settings, device: DeviceId, photo: Path, staging: Path, kind: Kind
) -> None:
    """The models that will be needed do one piece of work, so that none is loaded while it is timed."""
    drawn = Item(0, 1, None, str(staging / "0"), {"prompt": "a red circle", "seed": 0})
    items = {Kind.GENERATE: drawn, Kind.SCORE: Item(1, 1, str(photo), "")}
    for each in dict.fromkeys((kind, Kind.SCORE)):
        for outcome in work(executor, each, settings.default_model(each), [items[each]], lambda _: None, device):
            if outcome.error is not None:
                raise HotfolderError(outcome.error.message, outcome.error.fix)


def _root(folder: Path) -> tuple[Layout, Settings]:
    layout = Layout(folder)
    layout.make()
    (layout.root / FILE_NAME).write_text(presets.render("tiny"), encoding="utf-8")
    return layout, loading.load(layout.root, {}).overridden(_GATE)


def _run(layout: Layout, settings: Settings, executor: Executor) -> None:
    report = Daemon(layout.root, settings, executor).run(once=True)
    if report.failed or report.paused:
        why = report.paused or f"{report.failed} pieces of work failed"
        raise HotfolderError(f"not all of it was done: {why}", "see whether the disk and the models are well")
