"""`hotfolder bench generate`: the whole way, and the network alone, against the plain loop."""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from hotfolder.bench.measure import begin_memory, peak_flops, peak_memory, seconds
from hotfolder.core.channels_last import told
from hotfolder.core.memory_plan import MemoryPlan
from hotfolder.engines.device import is_out_of_memory, pick_device
from hotfolder.engines.generation.generator import Generator
from hotfolder.engines.generation.loading import load, pick_generator_dtype
from hotfolder.engines.generation.requests import GenerationRequest
from hotfolder.errors import DeviceTrouble
from hotfolder.executors.base import Executor
from hotfolder.executors.local import LocalExecutor
from hotfolder.models.registry import Catalogue, ModelSpec
from hotfolder.oneshot.work import CannotWork, work
from hotfolder.types import Item, Kind, Progress, RunnerSettings, Staged

Tell = Callable[[str, int, int], None]
Params = Mapping[str, Any]
_COLOURS = ("red", "blue", "yellow", "green", "purple", "orange", "white")
_SHAPES = ("circle", "square", "star", "triangle", "ring")


@dataclass(slots=True)
class _Race:
    """Seconds of both ways, and what came of them."""

    ours: float = 0.0
    plain: float = 0.0
    staged: dict[int, Staged] = field(default_factory=dict)
    drawn_plainly: list[int] = field(default_factory=list)
    load_seconds: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)  # MB, of the plain loop


@dataclass(frozen=True, slots=True)
class _Alone:
    """The network that takes the noise away, while one batch is drawn."""

    load_seconds: float  # of the whole pipeline
    calls: int
    seconds_per_call: float  # the median
    flops_per_call: float
    order: str  # what was found of channels last


def bench_generate(
    model: str, settings: RunnerSettings, asked: Params, *, images: int, plain: int, tell: Tell
) -> dict[str, Any]:
    """Images a second, from prompts to files; `plain` of them go through the plain loop, too, in turns with ours.

    `asked` are the fields of PromptSpec that all prompts share; what is not there is the model's default.
    """
    settings = replace(settings, image_format="png")
    device = pick_device(settings.device)
    spec = Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.GENERATE)
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
        items = [Item(i, 1, None, str(Path(folder) / "ours" / str(i)), _params(i, asked)) for i in range(images)]
        executor = LocalExecutor(settings, 3600)
        try:
            race = _run_race(model, spec, settings, device, executor, items, Path(folder), plain, tell)
        finally:
            executor.close()
        # Of the worker, now that it has ended.
        worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        levels = [_difference(race.staged[i], _plain_path(Path(folder), i)) for i in race.drawn_plainly]
    how = race.staged[images - 1].settings
    together = max(staged.settings["batch_size"] for staged in race.staged.values())
    tell("the network alone", images, images)
    alone = _measure_network(
        spec, replace(settings, draw_together=together), device, MemoryPlan(how["memory"]), items[:together]
    )
    memory = {"ours_mb": worker, **race.memory}
    if device.type == "cuda":
        memory["ours_device_mb"] = peak_memory(device)["device_mb"]
    roof = peak_flops(device, pick_generator_dtype(device, settings.precision))
    rate = images / race.ours
    network_rate = together / (alone.calls * alone.seconds_per_call)
    load_seconds = {**race.load_seconds, "ours": alone.load_seconds}
    found: dict[str, Any] = {
        "model": model,
        "picture": f"{how['width']} × {how['height']} png",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores",
        "precision": how["precision"],
        "memory": how["memory"],
        "images": images,
        "together": together,
        "steps": how["steps"],
        "images_per_second": {"network": round(network_rate, 4), "end_to_end": round(rate, 4)},
        "share_of_network": round(rate / network_rate, 3),
        "channels_last": alone.order or settings.channels_last,
        "seconds_per_step": round(alone.seconds_per_call, 5),
        "roofline": {
            "gflop_per_step": round(alone.flops_per_call / 1e9, 3),
            "measured_peak_tflops": round(roof / 1e12, 3),
            "share": round(alone.flops_per_call / alone.seconds_per_call / roof, 3),
        },
        "load_seconds": {name: round(value, 3) for name, value in load_seconds.items()},
    }
    if levels:
        plain_rate = len(levels) / race.plain
        found["images_per_second"]["plain_loop"] = round(plain_rate, 4)
        found["times_plain"] = round(rate / plain_rate, 2)
        found["images_plain"] = len(levels)
        found["grey_levels_from_plain"] = max(levels)
    return {**found, "peak_memory": {name: round(value) for name, value in memory.items()}}


def _params(number: int, asked: Params) -> dict[str, Any]:
    colour, other = (_COLOURS[(number + more) % len(_COLOURS)] for more in (0, 1))
    prompt = f"a large {colour} {_SHAPES[number % len(_SHAPES)]} on a {other} background"
    return {"prompt": prompt, "seed": number, **{key: value for key, value in asked.items() if value is not None}}


def _run_race(
    model: str,
    spec: ModelSpec,
    settings: RunnerSettings,
    device: torch.device,
    executor: Executor,
    items: Sequence[Item],
    folder: Path,
    plain: int,
    tell: Tell,
) -> _Race:
    race = _Race()
    tell("loading", 0, len(items))
    first = [replace(item, staging=str(folder / "first" / str(item.job_id))) for item in items]
    loading = _Loading()
    _ours(executor, model, first[: settings.draw_together], {}, loading)
    race.load_seconds["worker"] = loading.seconds
    plain_loop: _PlainLoop | None = None
    # In turns, so that a machine that slows down slows both down.
    turns = _turns(items, settings.draw_together)
    for number, turn in enumerate(turns):
        tell("the whole way", turn[0].job_id, len(items))
        race.ours += seconds(partial(_ours, executor, model, turn, race.staged), device)
        part = turn[: -(-(plain - len(race.drawn_plainly)) // (len(turns) - number))]
        if not part:
            continue
        with _told_if_out_of_memory():
            if plain_loop is None:
                plain_loop = _PlainLoop(spec, settings, device, folder)
                race.load_seconds["plain_loop"] = plain_loop.load_seconds
                plain_loop(part[:1])
            tell("the plain loop", turn[0].job_id, len(items))
            race.plain += seconds(partial(plain_loop, part), device)
        race.drawn_plainly += [item.job_id for item in part]
    if plain_loop is not None:
        race.memory = {
            f"plain_loop_{name.removeprefix('process_')}": mb for name, mb in peak_memory(device).items()
        }
    return race


def _turns(items: Sequence[Item], together: int) -> list[Sequence[Item]]:
    """Two halves of whole batches, if there are so many."""
    batches = -(-len(items) // together)
    half = -(-batches // 2) * together
    return [part for part in (items[:half], items[half:]) if part]


class _Loading:
    """Looks at a worker's reports: for how long it was loading."""

    def __init__(self) -> None:
        self._began: float | None = None
        self.seconds = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.loading:
            self._began = time.perf_counter()
        elif self._began is not None:
            self.seconds, self._began = time.perf_counter() - self._began, None


def _ours(
    executor: Executor,
    model: str,
    items: Sequence[Item],
    staged: dict[int, Staged],
    look: Callable[[Progress], None] = lambda _: None,
) -> None:
    for outcome in work(executor, Kind.GENERATE, model, items, look):
        if outcome.error is not None:
            raise CannotWork(outcome.error.message, outcome.error.fix)
        if outcome.staged is not None:
            staged[outcome.job_id] = outcome.staged


def _measure_network(
    spec: ModelSpec, settings: RunnerSettings, device: torch.device, step: MemoryPlan, items: Sequence[Item]
) -> _Alone:
    """In a generator of our own, on the step of the memory ladder that the worker's was on."""
    begin_memory(device)
    made: list[Generator] = []
    load_seconds = seconds(lambda: made.append(Generator(spec, device, settings, begin=step)), device)
    generator = made[0]
    network = generator.denoiser
    orders = [GenerationRequest(item.job_id, item.params) for item in items]
    _draw(generator, orders)
    forward = network.forward
    durations: list[float] = []
    given: tuple[Any, Any] = ((), {})

    def timed(*args: Any, **more: Any) -> Any:
        nonlocal given
        given = args, more
        results: list[Any] = []
        durations.append(seconds(lambda: results.append(forward(*args, **more)), device))
        return results[0]

    network.forward = timed
    _draw(generator, orders)
    network.forward = forward
    # Compiled blocks are opaque to the counter.
    with (
        torch.inference_mode(),
        torch.compiler.set_stance("force_eager"),
        FlopCounterMode(display=False) as counter,
    ):
        network(*given[0], **given[1])
    order = told(generator.found_of_order(items[0].params))
    return _Alone(
        load_seconds, len(durations), statistics.median(durations), float(counter.get_total_flops()), order
    )


def _draw(generator: Generator, orders: Sequence[GenerationRequest]) -> None:
    for drawn in generator.draw(orders):
        if drawn.error is not None:
            raise drawn.error


class _PlainLoop:
    """As diffusers' documentation shows it: all of it on the device, one prompt at a time, PNG as Pillow writes it."""

    def __init__(self, spec: ModelSpec, settings: RunnerSettings, device: torch.device, folder: Path) -> None:
        self._folder = folder
        self._defaults = spec.defaults
        self._pipeline: Any = None
        dtype = pick_generator_dtype(device, settings.precision)

        def read() -> None:
            self._pipeline = load(spec, device, dtype, MemoryPlan.FULL)

        self.load_seconds = seconds(read, device)

    def __call__(self, items: Sequence[Item]) -> None:
        for item in items:
            params = {**self._defaults, **item.params}
            asked = {
                "num_inference_steps": params.get("steps"), "guidance_scale": params.get("guidance"),
                "width": params.get("width"), "height": params.get("height"),
                "max_sequence_length": params.get("max_sequence_length"),
            }  # fmt: skip
            image = self._pipeline(
                params["prompt"], generator=torch.Generator("cpu").manual_seed(params["seed"]),
                **{key: value for key, value in asked.items() if value is not None},
            ).images[0]  # fmt: skip
            path = _plain_path(self._folder, item.job_id)
            path.parent.mkdir(exist_ok=True)
            image.save(path)


def _plain_path(folder: Path, number: int) -> Path:
    return folder / "plain" / f"{number}.png"


@contextmanager
def _told_if_out_of_memory() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise DeviceTrouble(
            "the plain loop does not fit into memory beside ours", "use --plain 0, or a smaller --size"
        ) from error


def _difference(ours: Staged, plain: Path) -> int:
    """The worst one, in grey levels of 0 to 255."""
    a, b = (np.asarray(Image.open(path).convert("RGB"), np.int16) for path in (ours.path, plain))
    return int(np.abs(a - b).max()) if a.shape == b.shape else 255
