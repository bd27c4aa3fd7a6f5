"""`hotfolder bench upscale`: the whole way, and the network alone, against the plain loop."""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from hotfolder.bench.document import rounded
from hotfolder.bench.measure import begin_memory, peak_flops, peak_memory, precisions, psnr, seconds
from hotfolder.bench.pictures import write_pictures
from hotfolder.bench.plain import PlainNetwork
from hotfolder.bench.weights import save_random_upscaler
from hotfolder.engines.device import is_out_of_memory, pick_device, precision_name
from hotfolder.engines.upscaling.network import Network
from hotfolder.engines.upscaling.upscaler import Upscaler
from hotfolder.executors.base import Executor
from hotfolder.executors.local import LocalExecutor
from hotfolder.models.registry import Catalogue
from hotfolder.oneshot.work import work
from hotfolder.types import Item, Kind, RunnerSettings

Tell = Callable[[str, int, int], None]
#: Side of the picture for the network alone; of that which is compared with float32 on the CPU.
_SIDE = {"cuda": 1024, "cpu": 256}
_COMPARED = {"cuda": 96, "cpu": 32}
#: What random networks are called.
_RANDOM = {"rrdb": "RRDBNet-23, random weights", "compact": "SRVGGNetCompact-32, random weights"}


def bench_upscale(
    model: str,
    settings: RunnerSettings,
    *,
    images: int,
    size: int,
    naive: int,
    random: str | None = None,
    small: bool = False,
    each_precision: bool = True,
    tell: Tell,
) -> dict[str, Any]:
    """Megapixels a second that go in; `naive` images go through the plain loop, in turns with ours. `each_precision`:
    float32 and half precision side by side, too.

    `random`: a network with random weights, `rrdb` (of RealESRGAN_x4plus' size) or `compact` (of
    realesr-general-x4v3's), in the place of `model`; `small`: scaled down.
    """
    with tempfile.TemporaryDirectory(prefix="hotfolder-bench-") as folder:
        if random is not None:
            model = str(save_random_upscaler(Path(folder), random, small=small))
        settings = replace(settings, scale=None, denoise=None, format="png")
        paths = write_pictures(Path(folder) / "pictures", images, size, "png")
        executor = LocalExecutor(settings, 3600)
        try:
            found = _measure(model, settings, executor, paths, Path(folder), naive, each_precision, tell)
        finally:
            executor.close()
        # Of the worker, now that it has ended.
        worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    memory = {"ours_mb": round(worker)}
    if naive:
        memory["plain_loop_mb"] = round(peak_memory(torch.device("cpu"))["process_mb"])
    name = model if random is None else _RANDOM[random]
    return {"model": name, "picture": f"{size}² png", **found, "peak_memory": memory}


def _measure(
    model: str,
    settings: RunnerSettings,
    executor: Executor,
    paths: Sequence[Path],
    folder: Path,
    naive: int,
    each_precision: bool,
    tell: Tell,
) -> dict[str, Any]:
    items = [Item(i, 1, str(path), str(folder / "ours" / str(i))) for i, path in enumerate(paths)]
    tell("loading", 0, len(paths))
    small = write_pictures(folder / "first", 1, 64, "png")[0]
    device = pick_device(settings.device)
    # A card makes its kernels and its memory ready for a size when it first meets it.
    first = paths[0] if device.type == "cuda" else small
    _ours(executor, model, [Item(0, 1, str(first), str(folder / "first"))])
    plain = _PlainLoop(model, settings, device, folder / "plain")
    ours = theirs = 0.0
    done_plainly = 0
    # In turns, so that a machine that slows down slows both down.
    turns = [items[: len(items) // 2], items[len(items) // 2 :]] if len(items) > 1 else [items]
    for turn in turns:
        tell("the whole way", turn[0].job_id, len(paths))
        ours += seconds(partial(_ours, executor, model, turn), device)
        part = turn[: -(-naive // len(turns))]
        if part:
            tell("the plain loop", turn[0].job_id, len(paths))
            try:
                if not done_plainly:
                    plain.warm(first)
                theirs += seconds(partial(plain, [Path(item.source or "") for item in part]), device)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                naive = done_plainly = 0  # it takes whole pictures: there is nothing to compare with
                continue
            done_plainly += len(part)
    tell("the network alone", len(paths), len(paths))
    upscaler = Upscaler(
        Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.UPSCALE), device, settings
    )
    pixels = _opened(paths[0])[: _SIDE[device.type], : _SIDE[device.type]]
    begin_memory(device)
    network_rate = network_alone(upscaler.network, min(len(pixels), upscaler.tiling.tile))
    alone_memory = peak_memory(device)
    side_by_side = _by_precision(model, settings, device, upscaler.network.dtype, pixels) if each_precision else {}
    compared = pixels[: _COMPARED[device.type], : _COMPARED[device.type]]
    exact = _off_from_cpu(model, settings, upscaler, compared)
    flops = flops_per_pixel(upscaler.network)
    roof = peak_flops(device, upscaler.network.dtype)
    megapixels = sum(_pixels(path) for path in paths) / 1e6
    rate = megapixels / ours
    found: dict[str, Any] = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {os.cpu_count()} cores",
        "precision": upscaler.precision,
        "images": len(paths),
        "tile": upscaler.tiling.tile,
        "overlap": upscaler.tiling.overlap,
        "exact": upscaler.tiling.blend == 0,
        "input_megapixels_per_second": {"network": rounded(network_rate), "end_to_end": rounded(rate)},
        "by_precision": side_by_side,
        "share_of_network": round(rate / network_rate, 3),
        "roofline": {
            "mflop_per_input_pixel": round(flops / 1e6, 3),
            "measured_peak_tflops": rounded(roof / 1e12),
            "share": round(network_rate * 1e6 * flops / roof, 3),
        },
        "against_float32_on_cpu": exact,
        "network_peak_memory": alone_memory,
    }
    if done_plainly:
        plain_rate = megapixels / len(paths) * done_plainly / theirs
        found["input_megapixels_per_second"]["plain_loop"] = rounded(plain_rate)
        found["times_plain"] = round(rate / plain_rate, 2)
        found["psnr_against_plain_db"] = round(_worst_psnr(folder, items, done_plainly), 1)
    return found


def _by_precision(
    model: str, settings: RunnerSettings, device: torch.device, own: torch.dtype, pixels: Any
) -> dict[str, Any]:
    """One picture, (h, w, 3) uint8, in float32 and in half precision: speed, and how far the results are apart."""
    spec = Catalogue(settings.model_folders, settings.model_entries).resolve(model, Kind.UPSCALE)
    found: dict[str, Any] = {}
    exact = None
    for dtype in precisions(device, own):
        begin_memory(device)
        upscaler = Upscaler(spec, device, replace(settings, precision=precision_name(dtype)))
        enlarged = np.asarray(upscaler.enlarge_one(pixels), np.float64)
        took = seconds(partial(upscaler.enlarge_one, pixels), device)
        exact = enlarged if exact is None else exact
        found[precision_name(dtype)] = {
            "worked_in": upscaler.precision,  # float32 where a network does not stand half precision
            "input_megapixels_per_second": round(pixels.shape[0] * pixels.shape[1] / 1e6 / took, 4),
            "psnr_to_float32_db": round(psnr(enlarged, exact), 1),
            "largest_difference_to_float32": int(np.abs(enlarged - exact).max()),  # in levels of 255
            "peak_memory_so_far": peak_memory(device),
        }
        del upscaler
    return found


def network_alone(network: Network, side: int) -> float:
    """Megapixels a second that go in, of a square that lies on the device already; what comes out stays there."""
    side = max(network.minimum, side // network.multiple * network.multiple)
    pixels = torch.rand(1, 3, side, side, device=network.device)
    warm, runs = (3, 5) if network.device.type == "cuda" else (1, 1)
    for _ in range(warm):
        network.run(pixels)

    def work() -> None:
        for _ in range(runs):
            network.run(pixels)

    return runs * side**2 / 1e6 / seconds(work, network.device)


def _off_from_cpu(model: str, settings: RunnerSettings, upscaler: Upscaler, pixels: Any) -> dict[str, Any]:
    """How far a small picture, (h, w, 3) uint8, is from what the bare network makes of it in float32 on the CPU."""
    on_cpu = PlainNetwork(model, settings, torch.device("cpu"))
    ours, exact = (
        np.asarray(found, np.float64) for found in (upscaler.enlarge_one(pixels), on_cpu.enlarge(pixels))
    )
    return {
        "side": pixels.shape[0],
        "psnr_db": round(psnr(ours, exact), 1),
        "largest_difference": int(np.abs(ours - exact).max()),  # in levels of 255
    }


def _ours(executor: Executor, model: str, items: Sequence[Item]) -> None:
    for outcome in work(executor, Kind.UPSCALE, model, items, lambda _: None):
        if outcome.error is not None:
            raise RuntimeError(outcome.error.message)


class _PlainLoop:
    """The plain network, PNG at Pillow's own level, one picture at a time."""

    def __init__(self, model: str, settings: RunnerSettings, device: torch.device, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._network = PlainNetwork(model, settings, device)

    def warm(self, path: Path) -> None:
        """The network alone: to write a large PNG takes seconds."""
        self._network.enlarge(_opened(path))

    def __call__(self, paths: Sequence[Path]) -> None:
        for path in paths:
            Image.fromarray(self._network.enlarge(_opened(path))).save(self._folder / path.name)


def _opened(path: Path) -> Any:
    with Image.open(path) as file:
        return np.asarray(file.convert("RGB"))


def _worst_psnr(folder: Path, items: Sequence[Item], count: int) -> float:
    worst = float("inf")
    for path in sorted((folder / "plain").glob("0*.png")):
        item = next((i for i in items if Path(i.source or "").name == path.name), None)
        if item is None:
            continue
        ours, plain = (np.asarray(Image.open(p), np.float64) for p in (Path(item.staging) / "output.png", path))
        if ours.shape == plain.shape:
            worst = min(worst, psnr(ours, plain))
    return worst


def _pixels(path: Path) -> int:
    with Image.open(path) as image:
        return image.width * image.height


def flops_per_pixel(network: Network) -> float:
    """Floating-point operations for each pixel that goes in."""
    side = 64 // network.multiple * network.multiple or network.multiple
    pixels = torch.rand(1, 3, side, side, device=network.device)
    with FlopCounterMode(display=False) as counter:
        network.run(pixels)
    return float(counter.get_total_flops()) / side**2
